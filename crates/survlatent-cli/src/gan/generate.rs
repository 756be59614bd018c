//! `survlatent generate`: pictures of seeds or latents.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use stylegan2_burn::image::{Pixels, Rounding, grid, to_pixels};
use survlatent::OutputFile;

use super::arrays::Npy;
use super::list::Numbers;
use super::network::{NetworkArgs, values};
use super::picture::{blank, write_png};
use super::{make_folder, progress};
use crate::failure::Failure;

/// Make pictures from seeds, latents z or latents w
#[derive(Args)]
#[command(group = ArgGroup::new("source").required(true), after_long_help = NOTES)]
pub(crate) struct Generate {
    #[command(flatten)]
    network: NetworkArgs,
    /// Seeds, for example 0-15,42
    #[arg(long, group = "source", value_name = "LIST")]
    seeds: Option<Numbers>,
    /// Latents w, [N, w] or [N, layers, w]: .npy, .npz or .safetensors (the only array, or `w`)
    #[arg(long, group = "source", value_name = "FILE")]
    w: Option<PathBuf>,
    /// Latents z, [N, z]: .npy, .npz or .safetensors (the only array, or `z`)
    #[arg(long, group = "source", value_name = "FILE")]
    z: Option<PathBuf>,
    /// Folder for the pictures; made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Also join the pictures, columns x rows, for example 4x4
    #[arg(long, value_name = "CxR", value_parser = columns_rows)]
    grid: Option<[usize; 2]>,
    /// Also write the images as floats, [N, channels, side, side]
    #[arg(long, value_name = "FILE.npy")]
    raw: Option<PathBuf>,
    /// Also write w after truncation, [N, layers, w]
    #[arg(long, value_name = "FILE.npy")]
    save_w: Option<PathBuf>,
}

const NOTES: &str = "\
Files:
  seed0042.png for seeds, image00000.png and so on for latents; grid.png, or grid00.png and so on
  where one grid does not hold all. Bytes are 127.5 x + 128, cut off, as the original rounds.

Examples:
  survlatent generate --network ffhq.pkl --seeds 85,100-103 --trunc 0.7 --out faces
  survlatent generate --network ffhq.pkl --w projected_w.npz --out back --raw images.npy
  survlatent generate --network cifar10.pkl --seeds 0-15 --class 3 --grid 4x4 --out cats";

fn columns_rows(text: &str) -> Result<[usize; 2], String> {
    let parts = text
        .split_once(['x', 'X'])
        .and_then(|(c, r)| Some([c.trim().parse().ok()?, r.trim().parse().ok()?]));
    match parts {
        Some([c, r]) if (1..=256).contains(&c) && (1..=256).contains(&r) => Ok([c, r]),
        _ => Err("columns x rows, each from 1 to 256, such as 4x4".to_owned()),
    }
}

impl Generate {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        if self.w.is_some() && self.network.labelled() {
            let text = "--w says it all: labels act on the way from z to w";
            return Err(Failure::usage(text));
        }
        let net = self.network.open()?;
        let (ws, seeds) = match (&self.seeds, &self.w, &self.z) {
            (Some(Numbers(seeds)), ..) => (net.ws_of_seeds(seeds)?, Some(seeds)),
            (None, Some(path), _) => (net.ws_of_w(path)?, None),
            (None, None, Some(path)) => (net.ws_of_z(path)?, None),
            (None, None, None) => return Err(Failure::usage("give --seeds, --w or --z")),
        };
        let config = &net.config;
        make_folder(&self.out)?;
        let mut raw = match &self.raw {
            None => None,
            Some(path) => {
                let side = config.resolution;
                let file = OutputFile::create(path)?;
                Some(Npy::begin(file, ws.len(), &[config.channels, side, side])?)
            }
        };
        if let Some(path) = &self.save_w {
            let shape = [config.num_ws(), config.w_dim];
            let mut file = Npy::begin(OutputFile::create(path)?, ws.len(), &shape)?;
            for ws in &ws {
                file.append(&values(ws.clone())?)?;
            }
            file.finish()?;
        }
        let bar = progress(ws.len(), "pictures");
        let mut pictures = Vec::new();
        for (index, ws) in ws.into_iter().enumerate() {
            let seed = seeds.map(|seeds| seeds[index]);
            let image = net.image(ws, seed.map_or(index as u64, u64::from));
            if let Some(raw) = &mut raw {
                raw.append(&values(image.clone())?)?;
            }
            let picture = to_pixels(image, Rounding::Generate).remove(0);
            let name = match seed {
                Some(seed) => format!("seed{seed:04}.png"),
                None => format!("image{index:05}.png"),
            };
            write_png(&self.out.join(name), &picture)?;
            if self.grid.is_some() {
                pictures.push(picture);
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        if let Some([columns, rows]) = self.grid {
            self.write_grids(&pictures, columns, rows)?;
        }
        raw.map_or(Ok(()), Npy::finish)
    }

    fn write_grids(&self, pictures: &[Pixels], columns: usize, rows: usize) -> Result<(), Failure> {
        let one = pictures.len() <= columns * rows;
        for (k, page) in pictures.chunks(columns * rows).enumerate() {
            let mut page = page.to_vec();
            let black = blank(&page[0]);
            page.resize(columns * rows, black);
            let name = if one {
                "grid.png".to_owned()
            } else {
                format!("grid{k:02}.png")
            };
            write_png(&self.out.join(name), &grid(&page, columns))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::columns_rows;

    #[test]
    fn grids_are_columns_by_rows() {
        assert_eq!(columns_rows("4x3"), Ok([4, 3]));
        for bad in ["4", "0x4", "4x", "x", "4x4x4", "-1x2", "300x1"] {
            assert!(columns_rows(bad).is_err(), "{bad}");
        }
    }
}
