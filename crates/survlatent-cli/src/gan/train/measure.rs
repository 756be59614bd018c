//! What `--metrics` measures at every snapshot.

use burn::tensor::{Device, Tensor, TensorData};
use latent_inversion::lpips::Lpips;
use stylegan2_burn::image::{Rounding, from_pixels, to_pixels};
use stylegan2_burn::metrics::{Features, Quality, distance_name};
use stylegan2_burn::train::{ImageSource, Images, Measure};
use stylegan2_burn::{Error, Generator, GeneratorConfig, SynthesisOptions, Truncation, seed};

use super::super::{fd, path};
use super::Notes;
use crate::failure::Failure;

/// Pictures whose features are computed at once.
const AT_ONCE: usize = 16;

/// Labels of generated pictures or of pairs: those of the pictures trained on, evenly taken.
struct Labels(Option<Vec<Vec<f32>>>);

impl Labels {
    fn new(config: &GeneratorConfig, source: &dyn ImageSource, count: usize) -> Self {
        let all = source.len();
        let label = |k: usize| source.label(k * all / count % all).unwrap_or_default();
        Self((config.c_dim > 0).then(|| (0..count).map(label).collect()))
    }

    /// Those of the pictures and of the path length's pairs, each over the whole set.
    fn all(config: &GeneratorConfig, source: &dyn ImageSource, counts: [usize; 2]) -> [Self; 2] {
        counts.map(|count| Self::new(config, source, count))
    }

    fn of(&self, pictures: impl Iterator<Item = usize>, device: &Device) -> Option<Tensor<2>> {
        let labels = self.0.as_ref()?;
        let rows: Vec<&[f32]> = pictures.map(|k| &labels[k % labels.len()][..]).collect();
        let shape = [rows.len(), rows[0].len()];
        let data = TensorData::new(rows.concat(), shape);
        Some(Tensor::from_data(data, device))
    }
}

/// The real pictures and the network that sees them.
pub(super) struct Real {
    network: fd::Network,
    images: Images,
    /// The network and the pairs of the path length.
    lpips: Option<(Lpips, usize)>,
}

impl Real {
    /// Opens what is measured against, if anything is.
    pub(super) fn open(
        notes: &Notes,
        config: &GeneratorConfig,
        device: &Device,
    ) -> Result<Option<Self>, Failure> {
        let Some(data) = &notes.metrics else {
            return Ok(None);
        };
        let usage = |reason: String| Failure::usage(format!("--metrics: {reason}"));
        let lpips = match notes.pairs {
            None => None,
            Some(pairs) => Some((fd::lpips(None, device)?, pairs)),
        };
        if let Some((lpips, _)) = &lpips {
            fd::large_enough(lpips, config.resolution).map_err(usage)?;
        }
        let network = fd::network(notes.inception.as_deref(), None, device)?;
        if !matches!(config.channels, 1 | 3) {
            return Err(Failure::usage(
                "--metrics: for networks of gray or colour pictures",
            ));
        }
        if config.resolution < network.least {
            return Err(usage(format!(
                "pictures have {} pixels; features need {}",
                config.resolution, network.least
            )));
        }
        let images = notes.measured(config, data)?;
        fd::enough(&images).map_err(usage)?;
        Ok(Some(Self {
            network,
            images,
            lpips,
        }))
    }
}

/// What is measured at every snapshot. The features of the real pictures are computed here.
pub(super) fn measure(
    real: Option<Real>,
    notes: &Notes,
    config: &GeneratorConfig,
    source: &dyn ImageSource,
    device: &Device,
) -> Result<Option<Measure>, Failure> {
    let Some(Real {
        network,
        images,
        lpips,
    }) = real
    else {
        return Ok(None);
    };
    let (config, device) = (config.clone(), device.clone());
    let real = fd::real(&network, &images, &device, AT_ONCE, &mut |_| ())?;
    let [of_pictures, of_pairs] =
        Labels::all(&config, source, [notes.images, notes.pairs.unwrap_or(0)]);
    let count = u32::try_from(notes.images).unwrap_or(u32::MAX);
    let seeds: Vec<u32> = (0..count).collect();
    Ok(Some(Box::new(move |generator: &Generator| {
        let options = SynthesisOptions::default();
        let ws = |seeds: &[u32], labels: &Labels, label: &dyn Fn(u32) -> usize| {
            let z = seed::latents(seeds, config.z_dim, &device);
            let c = labels.of(seeds.iter().map(|&s| label(s)), &device);
            generator.mapping.forward(z, c, Truncation::default())
        };
        let batches = seeds.chunks(AT_ONCE).map(|seeds| {
            let ws = ws(seeds, &of_pictures, &|s| s as usize);
            let images = generator.synthesis.forward(ws, &options);
            // Through bytes, as real pictures come.
            Ok(from_pixels(&to_pixels(images, Rounding::Generate), &device))
        });
        let fake = Features::extract(network.features.as_ref(), batches)?;
        let name = network.name();
        let quality = Quality::measure(name, &real, &fake, 0)?;
        let mut figures = vec![
            (distance_name("FD", name), quality.frechet),
            (distance_name("KD", name), quality.kernel),
            ("precision".to_owned(), quality.precision_recall.precision),
            ("recall".to_owned(), quality.precision_recall.recall),
        ];
        if let Some((lpips, pairs)) = &lpips {
            let length = path::perceptual::<Error>(
                // Both ends of a way have one label.
                &|seeds| Ok(ws(seeds, &of_pairs, &|s| s as usize / 2)),
                &|ws, _| generator.synthesis.forward(ws, &options),
                lpips,
                *pairs,
                AT_ONCE,
                &mut |_| (),
            )?;
            figures.push((path::name(lpips.trunk().name()), length));
        }
        Ok(figures)
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten pictures, sorted: six of the first class, four of the second.
    struct Sorted;

    impl ImageSource for Sorted {
        fn len(&self) -> usize {
            10
        }
        fn shape(&self) -> [usize; 3] {
            [3, 8, 8]
        }
        fn label_dim(&self) -> usize {
            2
        }
        fn image(&self, _: usize) -> stylegan2_burn::Result<Vec<u8>> {
            Ok(vec![0; 192])
        }
        fn label(&self, index: usize) -> Option<Vec<f32>> {
            let second = f32::from(u8::from(index >= 6));
            Some(vec![1.0 - second, second])
        }
    }

    #[test]
    fn pictures_and_pairs_each_have_the_labels_of_the_whole_set() {
        let config = GeneratorConfig::new(8).with_c_dim(2);
        for counts in [[5, 100], [100, 5], [20, 20]] {
            for (labels, count) in Labels::all(&config, &Sorted, counts).iter().zip(counts) {
                let labels = labels.0.as_ref().unwrap();
                let second: f32 = labels.iter().map(|l| l[1]).sum();
                assert_eq!(labels.len(), count);
                assert!((second / count as f32 - 0.4).abs() < 1e-6, "{counts:?}");
            }
        }
    }
}
