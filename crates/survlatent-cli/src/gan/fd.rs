//! `survlatent fd`: how far generated pictures are from real ones.

use std::fmt;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use clap::Args;
use indicatif::ProgressBar;
use latent_inversion::lpips::Lpips;
use serde::Serialize;
use stylegan2_burn::image::{Rounding, from_pixels, to_pixels};
use stylegan2_burn::metrics::{Features, Quality, nearest, nearest_other};
use stylegan2_burn::train::{ImageFolder, ImageSource, Images};

use super::network::{NetworkArgs, Opened};
use super::progress;
use crate::failure::Failure;
use crate::{report, value};

/// Measure how far a generator's pictures are from real ones
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Fd {
    #[command(flatten)]
    network: NetworkArgs,
    /// Real pictures: a folder or zip archive of PNG or JPEG files, cropped and shrunk as needed
    #[arg(long, value_name = "DIR|ZIP")]
    data: PathBuf,
    /// Pictures to generate, from seeds 0 on (default: as many as there are real ones)
    #[arg(long, value_name = "N", value_parser = value::count::<4>)]
    images: Option<usize>,
    /// Take VGG16 from this file as the feature network, instead of AlexNet
    #[arg(long, value_name = "FILE.safetensors")]
    vgg: Option<PathBuf>,
    /// Pictures computed at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value::count::<1>)]
    batch: usize,
    /// Leave out real pictures that cannot be read
    #[arg(long)]
    set_aside: bool,
    /// Seed of the subsets of the kernel distance
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Distances:
  FD is the Frechet distance of the features (mean over the last layer of AlexNet or VGG16, the
  networks of LPIPS), KD the kernel distance; they carry the network's name and are not the FID and
  KID, which are Inception's. They depend on the number of pictures: compare at equal numbers.
  precision and recall have three neighbours. nearest: median distance of a generated picture from
  the nearest real one, and of a real one from the nearest other; far below that, a network has
  learnt pictures by heart.

JSON:
  network, real, generated (numbers of pictures), frechet, kernel, precision, recall,
  nearest_real, nearest_among_real

Examples:
  survlatent fd --network network-000200.safetensors --data heldout --images 1000
  survlatent fd --network ffhq.pkl --data portraits.zip --trunc 0.7 --json";

#[derive(Serialize)]
struct Distances {
    network: String,
    real: usize,
    generated: usize,
    frechet: f64,
    kernel: f64,
    precision: f64,
    recall: f64,
    nearest_real: f64,
    nearest_among_real: f64,
    #[serde(skip)]
    quality: Quality,
}

impl Fd {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let device = Device::default();
        let net = self.network.open()?;
        let lpips = match &self.vgg {
            None => Lpips::alexnet(&device),
            Some(file) => Lpips::open(file, &device),
        }
        .map_err(|error| Failure::run(error.to_string()))?;
        let side = net.config.resolution;
        let least = lpips.trunk().smallest_side();
        if side < least {
            return Err(Failure::run(format!(
                "the network's pictures have {side} pixels; features need {least}"
            )));
        }
        let channels = net.config.channels;
        if channels != 1 && channels != 3 {
            return Err(Failure::run(format!(
                "the network's pictures have {channels} channels; features need 1 or 3"
            )));
        }
        let images = ImageFolder::default()
            .with_resolution(side)
            .with_channels(channels)
            .with_set_aside(self.set_aside)
            .open(&self.data)?;
        for fault in images.set_aside() {
            report::note(&format!("left out: {fault}"));
        }
        let count = self.images.unwrap_or(images.len()).max(4);
        let bar = progress(images.len() + count, "pictures");
        let real = real(&lpips, &images, &device, self.batch, &mut |n| bar.inc(n))?;
        let fake = self.generated(&lpips, &net, count, &bar)?;
        bar.finish_and_clear();
        let quality = Quality::measure(lpips.trunk().name(), &real, &fake, self.seed)?;
        let distances = Distances {
            network: quality.network.clone(),
            real: real.len(),
            generated: fake.len(),
            frechet: quality.frechet,
            kernel: quality.kernel,
            precision: quality.precision_recall.precision,
            recall: quality.precision_recall.recall,
            nearest_real: median(&nearest(&real, &fake)?),
            nearest_among_real: median(&nearest_other(&real)?),
            quality,
        };
        report::result(self.json.then_some(&distances), &distances)
    }

    fn generated(
        &self,
        lpips: &Lpips,
        net: &Opened,
        count: usize,
        bar: &ProgressBar,
    ) -> Result<Features, Failure> {
        let seeds: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
        let ws = net.ws_of_seeds(&seeds)?;
        let batches = ws.chunks(self.batch).enumerate().map(|(k, ws)| {
            let ws = Tensor::cat(ws.to_vec(), 0);
            bar.inc(ws.dims()[0] as u64);
            // Through bytes, as real pictures come.
            let images = net.image(ws, k as u64);
            let pictures = to_pixels(images, Rounding::Generate);
            Ok(from_pixels(&pictures, &net.device))
        });
        Ok(Features::extract(lpips, batches)?)
    }
}

/// Features of all images.
pub(super) fn real(
    lpips: &Lpips,
    images: &Images,
    device: &Device,
    batch: usize,
    done: &mut dyn FnMut(u64),
) -> Result<Features, stylegan2_burn::Error> {
    let [c, h, w] = images.shape();
    let starts = (0..images.len()).step_by(batch);
    let batches = starts.map(|first| {
        let last = (first + batch).min(images.len());
        let mut values = Vec::with_capacity((last - first) * c * h * w);
        for index in first..last {
            let image = images.image(index)?;
            values.extend(image.into_iter().map(|v| f32::from(v) / 127.5 - 1.0));
        }
        done((last - first) as u64);
        let data = TensorData::new(values, [last - first, c, h, w]);
        Ok(Tensor::<4>::from_data(data, device))
    });
    Features::extract(lpips, batches)
}

fn median(neighbours: &[(usize, f64)]) -> f64 {
    let mut distances: Vec<f64> = neighbours.iter().map(|n| n.1).collect();
    distances.sort_unstable_by(f64::total_cmp);
    let middle = distances.len() / 2;
    if distances.len().is_multiple_of(2) {
        f64::midpoint(distances[middle - 1], distances[middle])
    } else {
        distances[middle]
    }
}

impl fmt::Display for Distances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.quality)?;
        writeln!(
            f,
            "nearest     {:.4} from generated to real, {:.4} among real",
            self.nearest_real, self.nearest_among_real
        )
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert!((median(&[(0, 3.0), (1, 1.0), (2, 9.0)]) - 3.0).abs() < 1e-12);
        assert!((median(&[(0, 3.0), (1, 1.0)]) - 2.0).abs() < 1e-12);
    }
}
