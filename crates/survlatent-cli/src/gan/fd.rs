//! `survlatent fd`: how far generated pictures are from real ones.

use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use clap::Args;
use indicatif::ProgressBar;
use latent_inversion::lpips::Lpips;
use serde::Serialize;
use stylegan2_burn::image::{Rounding, from_pixels, to_pixels};
use stylegan2_burn::metrics::{
    FeatureNetwork, Features, Inception, Quality, nearest, nearest_other,
};
use stylegan2_burn::train::{ImageFolder, ImageSource, Images};

use super::network::{NetworkArgs, Opened};
use super::{path, progress};
use crate::failure::Failure;
use crate::{report, value};

/// Measure how far a generator's pictures are from real ones
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Fd {
    #[command(flatten)]
    network: NetworkArgs,
    /// Real pictures: a folder or zip archive of PNG or JPEG files, or a list of files (.txt, one a
    /// line), cropped and shrunk as needed
    #[arg(long, value_name = "DIR|ZIP|LIST.txt")]
    data: PathBuf,
    /// Real pictures that the network has not seen, to compare how near they come to --data
    #[arg(long, value_name = "DIR|ZIP|LIST.txt")]
    held_out: Option<PathBuf>,
    /// Pictures to generate, from seeds 0 on (default: as many as there are real ones)
    #[arg(long, value_name = "N", value_parser = value::count::<4>)]
    images: Option<usize>,
    /// Take VGG16 from this file as the feature network, instead of AlexNet
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "inception")]
    vgg: Option<PathBuf>,
    /// Take Inception from this file, which gives the FID and the KID
    #[arg(long, value_name = "FILE.pth")]
    inception: Option<PathBuf>,
    /// Measure the perceptual path length, too, with this many pairs of latents
    #[arg(long, value_name = "N", value_parser = value::count::<2>)]
    path_length: Option<usize>,
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
  KID, which are Inception's (--inception, with the weights that pytorch-fid distributes, 95 MB).
  They depend on the number of pictures: compare at equal numbers, 50,000 for published ones.
  precision and recall have three neighbours, in the features of the distances (the published
  pr50k3 has VGG16's, also where the FID is Inception's). nearest: distance of a generated picture
  from the nearest real one, of a real one from the nearest other, and of a picture of --held-out
  from the nearest real one: median, and what one in twenty stays below. Generated pictures far
  nearer than those that the network has not seen: it has learnt pictures by heart. The path length
  (PPL) is the mean LPIPS per squared step towards another latent, in W, without its extreme
  percents; with AlexNet unless --vgg is given, and then named so. Published ones have VGG16 and
  50,000 pairs.

JSON:
  network, real, generated (numbers of pictures), frechet, kernel, precision, recall,
  path_length (null unless asked for), nearest_real, nearest_among_real, nearest_held_out (null
  without --held-out), each with median and twentieth

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
    path_length: Option<f64>,
    nearest_real: Nearest,
    nearest_among_real: Nearest,
    nearest_held_out: Option<Nearest>,
    #[serde(skip)]
    quality: Quality,
    /// The network of the path length.
    #[serde(skip)]
    lpips: &'static str,
}

impl Fd {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let device = Device::default();
        let net = self.network.open()?;
        let side = net.config.resolution;
        let lpips = lpips(self.vgg.as_deref(), &device)?;
        if self.path_length.is_some() {
            large_enough(&lpips, side).map_err(Failure::run)?;
        }
        let network = network(self.inception.as_deref(), self.vgg.as_deref(), &device)?;
        if side < network.least {
            return Err(Failure::run(format!(
                "the network's pictures have {side} pixels; features need {}",
                network.least
            )));
        }
        let channels = net.config.channels;
        if channels != 1 && channels != 3 {
            return Err(Failure::run(format!(
                "the network's pictures have {channels} channels; features need 1 or 3"
            )));
        }
        let open = |data: &PathBuf| {
            let images = ImageFolder::default()
                .with_resolution(side)
                .with_channels(channels)
                .with_set_aside(self.set_aside)
                .open(data)?;
            for fault in images.set_aside() {
                report::note(&format!("left out: {fault}"));
            }
            Ok::<_, stylegan2_burn::Error>(images)
        };
        let images = open(&self.data)?;
        enough(&images)
            .map_err(|reason| Failure::run(format!("{}: {reason}", self.data.display())))?;
        let held_out = self.held_out.as_ref().map(open).transpose()?;
        let count = self.images.unwrap_or(images.len());
        let others = held_out.as_ref().map_or(0, ImageSource::len);
        let pairs = self.path_length.unwrap_or(0);
        let bar = progress(images.len() + others + count + pairs, "pictures");
        let mut features =
            |images: &Images| real(&network, images, &device, self.batch, &mut |n| bar.inc(n));
        let held_out = held_out.as_ref().map(&mut features).transpose()?;
        let real = features(&images)?;
        let fake = self.generated(&network, &net, count, &bar)?;
        let path_length = match self.path_length {
            None => None,
            Some(pairs) => Some(path::perceptual::<Failure>(
                &|seeds| Ok(Tensor::cat(net.ws_of_seeds(seeds)?, 0)),
                &|ws, draw| net.image(ws, draw),
                &lpips,
                pairs,
                self.batch,
                &mut |n| bar.inc(n),
            )?),
        };
        bar.finish_and_clear();
        let quality = Quality::measure(network.name(), &real, &fake, self.seed)?;
        let distances = Distances {
            network: quality.network.clone(),
            real: real.len(),
            generated: fake.len(),
            frechet: quality.frechet,
            kernel: quality.kernel,
            precision: quality.precision_recall.precision,
            recall: quality.precision_recall.recall,
            path_length,
            nearest_real: Nearest::of(&nearest(&real, &fake)?),
            nearest_among_real: Nearest::of(&nearest_other(&real)?),
            nearest_held_out: match held_out {
                Some(held_out) => Some(Nearest::of(&nearest(&real, &held_out)?)),
                None => None,
            },
            quality,
            lpips: lpips.trunk().name(),
        };
        report::result(self.json.then_some(&distances), &distances)
    }

    fn generated(
        &self,
        network: &Network,
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
        Ok(Features::extract(network.features.as_ref(), batches)?)
    }
}

/// A feature network and the smallest pictures that it takes.
pub(super) struct Network {
    pub(super) features: Box<dyn FeatureNetwork>,
    pub(super) least: usize,
}

impl Network {
    pub(super) fn name(&self) -> &str {
        self.features.name()
    }
}

/// The network that was asked for, AlexNet if none was.
pub(super) fn network(
    inception: Option<&Path>,
    vgg: Option<&Path>,
    device: &Device,
) -> Result<Network, Failure> {
    if let Some(file) = inception {
        let inception = Inception::open(file, device)
            .map_err(|error| Failure::run(format!("{}: {error}", file.display())))?;
        return Ok(Network {
            features: Box::new(inception),
            least: 1,
        });
    }
    let lpips = lpips(vgg, device)?;
    Ok(Network {
        least: lpips.trunk().smallest_side(),
        features: Box::new(lpips),
    })
}

/// The network of LPIPS.
pub(super) fn lpips(vgg: Option<&Path>, device: &Device) -> Result<Lpips, Failure> {
    match vgg {
        None => Lpips::alexnet(device),
        Some(file) => Lpips::open(file, device),
    }
    .map_err(|error| Failure::run(error.to_string()))
}

/// The path length is LPIPS's whatever network the distances are of.
pub(super) fn large_enough(lpips: &Lpips, side: usize) -> Result<(), String> {
    let least = lpips.trunk().smallest_side();
    if side >= least {
        return Ok(());
    }
    Err(format!(
        "the network's pictures have {side} pixels; the path length needs {least}"
    ))
}

/// Before features are computed.
pub(super) fn enough(images: &Images) -> Result<(), String> {
    if images.len() >= Quality::FEWEST {
        return Ok(());
    }
    Err(format!(
        "{} pictures; at least {} are needed",
        images.len(),
        Quality::FEWEST
    ))
}

/// Features of all images.
pub(super) fn real(
    network: &Network,
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
    Features::extract(network.features.as_ref(), batches)
}

/// Distances from the nearest neighbour.
#[derive(Serialize)]
struct Nearest {
    median: f64,
    /// What one in twenty stays below.
    twentieth: f64,
}

impl Nearest {
    fn of(neighbours: &[(usize, f64)]) -> Self {
        let mut distances: Vec<f64> = neighbours.iter().map(|n| n.1).collect();
        distances.sort_unstable_by(f64::total_cmp);
        Self {
            median: quantile(&distances, 0.5),
            twentieth: quantile(&distances, 0.05),
        }
    }
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} ({:.4})", self.median, self.twentieth)
    }
}

/// Linear between the sorted values.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    // From 0 to the last index.
    #[allow(clippy::cast_sign_loss)]
    let below = at as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

impl fmt::Display for Distances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.quality)?;
        if let Some(length) = self.path_length {
            let name = path::name(self.lpips);
            writeln!(f, "{name:<10}  {length:.2}")?;
        }
        writeln!(
            f,
            "nearest     {} from generated to real, {} among real",
            self.nearest_real, self.nearest_among_real
        )?;
        match &self.nearest_held_out {
            Some(held_out) => writeln!(f, "            {held_out} from held-out to real"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Nearest;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let of = |distances: &[f64]| {
            let neighbours: Vec<(usize, f64)> = distances.iter().map(|d| (0, *d)).collect();
            let nearest = Nearest::of(&neighbours);
            [nearest.median, nearest.twentieth]
        };
        let near = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).abs() + (a[1] - b[1]).abs() < 1e-12;
        assert!(near(of(&[3.0, 1.0, 9.0]), [3.0, 1.2]));
        assert!(near(of(&[3.0, 1.0]), [2.0, 1.1]));
        assert!(near(of(&[4.0]), [4.0, 4.0]));
    }
}
