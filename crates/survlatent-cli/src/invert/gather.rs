//! `survlatent gather`: one file of latents from those of the shards.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use latent_inversion::cohort;
use serde::Serialize;

use crate::failure::Failure;
use crate::report;

/// Make one file of the latents that survlatent invert found in shards
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Gather {
    /// Folders with the files of the shards
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// File of the latents; the table goes beside it, ending in .csv
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Print one JSON object instead of the counts
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
What is checked:
  No shard and no photo is missing or there twice, and all shards were made from the same photos,
  with the same network and the same settings.

The file:
  w [N, w_dim] for survival models, w_plus [N, layers, w_dim] for pictures, in the order of the
  photos; the header has ids and patients as JSON lists. Photos that were set aside are in the table
  only.

JSON:
  latents, table (files), shards, photos, inverted, trusted, set_aside

Examples:
  survlatent gather latents --out cohort.safetensors
  survlatent cox cohort.csv --time days --event died --features-file cohort.safetensors --path";

#[derive(Serialize)]
struct Counts {
    latents: String,
    table: String,
    shards: usize,
    photos: usize,
    inverted: usize,
    trusted: usize,
    set_aside: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} shards, {} photos: {} inverted, {} of them trusted, {} set aside\n{}\n{}",
            self.shards,
            self.photos,
            self.inverted,
            self.trusted,
            self.set_aside,
            self.latents,
            self.table
        )
    }
}

impl Gather {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        if self.out.extension().is_none_or(|e| e != "safetensors") {
            return Err(Failure::usage("--out is to end in .safetensors"));
        }
        let found = cohort::gather(&self.folders, &self.out)?;
        let qualities = || found.status.iter().filter_map(|s| s.quality);
        let inverted = qualities().count();
        let counts = Counts {
            latents: self.out.display().to_string(),
            table: found.table.display().to_string(),
            shards: found.shards,
            photos: found.status.len(),
            inverted,
            trusted: qualities().filter(|q| q.trusted).count(),
            set_aside: found.status.len() - inverted,
        };
        report::result(self.json.then_some(&counts), &counts)
    }
}
