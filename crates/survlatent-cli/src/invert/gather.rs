//! `survlatent gather`: one file of latents from those of the shards.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use latent_inversion::cohort::{self, Gathered, Status};
use serde::Serialize;
use survlatent::{Error, OutputFile};

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
  No shard and no photo is missing or there twice, all shards were made from the same list of photos,
  with the same network and the same settings, and photos whose files are at hand are still those the
  latents were found for.

The file:
  w [N, w_dim] for survival models, w_plus [N, layers, w_dim] for pictures, in the order of the
  photos; the header has ids and patients as JSON lists. Photos that were set aside are in the table
  only. Where the shards have tables of tuned networks (--method pti), tuned-*.csv, they are put
  together, too, as the table's name with -tuned before the ending; the networks stay where they are.

JSON:
  latents, table (files), shards, photos, inverted, trusted, set_aside; tuned (file) where there is one

Examples:
  survlatent gather latents --out all.safetensors
  survlatent cox cohort.csv --time days --event died --features-file all.safetensors --path";

#[derive(Serialize)]
struct Counts {
    latents: String,
    table: String,
    shards: usize,
    photos: usize,
    inverted: usize,
    trusted: usize,
    set_aside: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    tuned: Option<String>,
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
        )?;
        self.tuned
            .as_ref()
            .map_or(Ok(()), |tuned| writeln!(f, "{tuned}"))
    }
}

impl Gather {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        if self.out.extension().is_none_or(|e| e != "safetensors") {
            return Err(Failure::usage("--out is to end in .safetensors"));
        }
        refuse_other_table(&self.out.with_extension("csv"))?;
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
            tuned: self.tuned(&found)?.map(|path| path.display().to_string()),
        };
        report::result(self.json.then_some(&counts), &counts)
    }

    /// One table of those of the shards' tuned networks; none if no shard has one.
    fn tuned(&self, found: &Gathered) -> Result<Option<PathBuf>, Failure> {
        let mut lines: HashMap<String, csv::StringRecord> = HashMap::new();
        let mut header: Option<csv::StringRecord> = None;
        for path in self.tuned_tables()? {
            let failed = |what: String| Failure::run(format!("{}: {what}", path.display()));
            let mut reader = csv::Reader::from_path(&path).map_err(|e| failed(e.to_string()))?;
            let names = reader.headers().map_err(|e| failed(e.to_string()))?.clone();
            if names.get(0) != Some("id") || header.as_ref().is_some_and(|first| *first != names) {
                return Err(failed(
                    "no table of tuned networks, or of other columns".to_owned(),
                ));
            }
            header = Some(names);
            for record in reader.records() {
                let record = record.map_err(|e| failed(e.to_string()))?;
                let id = record.get(0).unwrap_or_default().to_owned();
                if let Some(first) = lines.insert(id, record) {
                    let id = first.get(0).unwrap_or_default();
                    return Err(failed(format!("photo `{id}` is in another table, too")));
                }
            }
        }
        let Some(header) = header else {
            return Ok(None);
        };
        let failed = |e: csv::Error| Failure::run(e.to_string());
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(&header).map_err(failed)?;
        let inverted = found.status.iter().filter(|s| s.quality.is_some());
        for Status { id, .. } in inverted {
            let line = lines.get(id).ok_or_else(|| {
                Failure::run(format!(
                    "photo `{id}` is in no table of tuned networks; --method pti --resume on its shard \
                     makes it"
                ))
            })?;
            csv.write_record(line).map_err(failed)?;
        }
        let bytes = csv.into_inner().map_err(|e| Failure::run(e.to_string()))?;
        let stem = self.out.file_stem().unwrap_or_default().to_string_lossy();
        let path = self.out.with_file_name(format!("{stem}-tuned.csv"));
        OutputFile::create(&path)?.write(&bytes)?;
        Ok(Some(path))
    }

    /// `tuned.csv` and `tuned-*.csv` of the folders, by name.
    fn tuned_tables(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut tables = Vec::new();
        for folder in &self.folders {
            let io = |source| Error::Io {
                path: folder.clone(),
                source,
            };
            for entry in std::fs::read_dir(folder).map_err(io)? {
                let path = entry.map_err(io)?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name == "tuned.csv" || (name.starts_with("tuned-") && name.ends_with(".csv")) {
                    tables.push(path);
                }
            }
        }
        tables.sort();
        Ok(tables)
    }
}

/// Refuses to write the table over one that is none of ours: the list of photos, say, which is called as the
/// cohort is.
fn refuse_other_table(path: &Path) -> Result<(), Failure> {
    let first = std::fs::read(path).unwrap_or_default();
    if first.is_empty() || first.starts_with(b"id,patient,file,status,") {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} would be overwritten by the table of the latents, and is none; give another --out",
        path.display()
    )))
}
