//! `survlatent style-mix`: coarse styles of one picture, fine styles of another.

use std::path::PathBuf;

use clap::Args;
use stylegan2_burn::image::grid;
use stylegan2_burn::mix_styles;

use super::list::Numbers;
use super::network::NetworkArgs;
use super::picture::{blank, write_png};
use super::{make_folder, progress};
use crate::failure::Failure;

/// Give pictures some layers of other pictures
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct StyleMix {
    #[command(flatten)]
    network: NetworkArgs,
    /// Seeds of the pictures that keep everything but the mixed layers
    #[arg(long, value_name = "LIST")]
    rows: Numbers,
    /// Seeds of the pictures that give the mixed layers
    #[arg(long, value_name = "LIST")]
    cols: Numbers,
    /// Layers taken from the columns: low ones are pose and shape, high ones colours
    #[arg(long, value_name = "LIST", default_value = "0-6")]
    styles: Numbers,
    /// Folder for the pictures; made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

const NOTES: &str = "\
Files:
  ROW-COL.png for every pair, SEED-SEED.png for every seed alone, and grid.png with all of them.

Example:
  survlatent style-mix --network ffhq.pkl --rows 85,100 --cols 55,821 --styles 0-6 --out mixed";

impl StyleMix {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let net = self.network.open()?;
        let layers = net.config.num_ws();
        let styles: Vec<usize> = self.styles.0.iter().map(|&s| s as usize).collect();
        if let Some(bad) = styles.iter().find(|&&style| style >= layers) {
            return Err(Failure::usage(format!(
                "--styles: layer {bad}, but the network has layers 0 to {}",
                layers - 1
            )));
        }
        let (rows, cols) = (&self.rows.0, &self.cols.0);
        let seeds: Vec<u32> = rows.iter().chain(cols).copied().collect();
        let ws = net.ws_of_seeds(&seeds)?;
        make_folder(&self.out)?;
        let bar = progress((rows.len() + 1) * (cols.len() + 1) - 1, "pictures");
        let write = |ws, row: u32, col: u32| {
            // Fresh noise, if any, belongs to the row: mixing leaves it as it is.
            let picture = net.picture(ws, u64::from(row));
            bar.inc(1);
            let name = format!("{row}-{col}.png");
            write_png(&self.out.join(name), &picture).map(|()| picture)
        };
        let (row_ws, col_ws) = ws.split_at(rows.len());
        let mut sheet = Vec::new();
        for (&col, ws) in cols.iter().zip(col_ws) {
            sheet.push(write(ws.clone(), col, col)?);
        }
        sheet.insert(0, blank(&sheet[0]));
        for (&row, from) in rows.iter().zip(row_ws) {
            sheet.push(write(from.clone(), row, row)?);
            for (&col, to) in cols.iter().zip(col_ws) {
                let mixed = mix_styles(from.clone(), to.clone(), &styles);
                sheet.push(if row == col {
                    // Mixing a picture with itself gives the picture that was just written.
                    sheet[sheet.len() - 1].clone()
                } else {
                    write(mixed, row, col)?
                });
            }
        }
        bar.finish_and_clear();
        write_png(&self.out.join("grid.png"), &grid(&sheet, cols.len() + 1))
    }
}
