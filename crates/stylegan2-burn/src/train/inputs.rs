//! Everything random of one iteration, and its real images.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use crate::config::GeneratorConfig;
use crate::error::{Error, Result};
use crate::synthesis::Noise;
use crate::train::draws::{Key, Phase, Purpose};
use crate::train::loss::{Latents, StyleMix};
use crate::train::map::{Augmentation, DrawnAugmentation};
use crate::train::prefetch::{Batch, Reader};
use crate::train::settings::TrainSettings;
use crate::train::source::ImageSource;

/// The inputs of one round: a part of the batch with style mixing of its own.
pub struct RoundInputs {
    /// What the generator's main loss draws.
    pub generator: Latents,
    /// What the path-length penalty draws, where it is due: latents and `[n, C, R, R]` normal
    /// noise.
    pub path: Option<(Latents, Tensor<4>)>,
    /// What the discriminator's main loss draws.
    pub discriminator: Latents,
    /// Real images in [-1, 1], `[n, C, R, R]`.
    pub real: Tensor<4>,
    /// Their labels, `[n, c]`.
    pub real_labels: Option<Tensor<2>>,
    /// The augmentation of generated images in the generator's loss.
    pub augment_generator: Box<dyn DrawnAugmentation>,
    /// The augmentation of generated images in the discriminator's loss.
    pub augment_fake: Box<dyn DrawnAugmentation>,
    /// The augmentation of real images in the discriminator's loss.
    pub augment_real: Box<dyn DrawnAugmentation>,
    /// The augmentation of real images in the R1 penalty, where it is due.
    pub augment_r1: Option<Box<dyn DrawnAugmentation>>,
}

/// Where the order of the real images stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Epoch {
    known: Option<(u64, Vec<usize>)>,
}

impl Epoch {
    /// The entry shown as the `position`-th image since the beginning.
    pub(crate) fn entry(&mut self, seed: u64, count: usize, position: u64) -> usize {
        let (epoch, place) = (position / count as u64, position % count as u64);
        if self
            .known
            .as_ref()
            .is_none_or(|(e, o)| *e != epoch || o.len() != count)
        {
            let key = Key {
                seed,
                iteration: epoch,
                phase: Phase::None,
                purpose: Purpose::Shuffle,
                index: 0,
            };
            self.known = Some((epoch, key.permutation(count)));
        }
        self.known
            .as_ref()
            .map_or(0, |(_, order)| order[place as usize])
    }
}

/// Draws the inputs of iterations.
pub(crate) struct Draw<'a> {
    pub settings: &'a TrainSettings,
    pub generator: &'a GeneratorConfig,
    /// Names and sides of the generator's noise images.
    pub noise_shapes: &'a [(String, usize)],
    pub source: &'a Arc<dyn ImageSource>,
    pub augmentation: &'a dyn Augmentation,
    pub device: &'a Device,
}

impl Draw<'_> {
    /// The inputs of one iteration, in which `position` images have been shown before.
    pub(crate) fn iteration(
        &self,
        iteration: u64,
        position: u64,
        p: f64,
        reader: &mut Reader,
    ) -> Result<Vec<RoundInputs>> {
        let settings = self.settings;
        let size = settings.batch / settings.rounds;
        let due =
            |interval: Option<usize>| interval.is_some_and(|k| iteration.is_multiple_of(k as u64));
        let path_due = due(settings.path_interval) && settings.path_weight > 0.0;
        let r1_due = due(settings.r1_interval) && settings.r1_gamma > 0.0;
        let shape = self.source.shape();
        (0..settings.rounds)
            .map(|round| {
                let key = |phase, purpose| Key {
                    seed: settings.seed,
                    iteration,
                    phase,
                    purpose,
                    index: u32::try_from(round).unwrap_or(u32::MAX),
                };
                let augment = |phase, purpose| {
                    let mut rng = key(phase, purpose).rng();
                    self.augmentation.draw(size, shape, p, &mut rng)
                };
                let batch = reader.take(position + (round * size) as u64, size)?;
                let (real, real_labels) = self.real(&batch)?;
                let path_size = (size / settings.path_shrink).max(1);
                let path = if path_due {
                    let [c, h, w] = shape;
                    let noise =
                        key(Phase::PathLength, Purpose::PathNoise).normals(path_size * c * h * w);
                    let noise = self.tensor(noise, [path_size, c, h, w]);
                    Some((
                        self.latents(path_size, key(Phase::PathLength, Purpose::Latents))?,
                        noise,
                    ))
                } else {
                    None
                };
                Ok(RoundInputs {
                    generator: self.latents(size, key(Phase::Generator, Purpose::Latents))?,
                    path,
                    discriminator: self
                        .latents(size, key(Phase::Discriminator, Purpose::Latents))?,
                    real,
                    real_labels,
                    augment_generator: augment(Phase::Generator, Purpose::AugmentFake),
                    augment_fake: augment(Phase::Discriminator, Purpose::AugmentFake),
                    augment_real: augment(Phase::Discriminator, Purpose::AugmentReal),
                    augment_r1: r1_due.then(|| augment(Phase::R1, Purpose::AugmentReal)),
                })
            })
            .collect()
    }

    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }

    /// The generator's inputs; `key` says for which phase and round.
    fn latents(&self, n: usize, key: Key) -> Result<Latents> {
        let config = self.generator;
        let of = |purpose| Key { purpose, ..key };
        let draw = |purpose| {
            let z = of(purpose).normals(n * config.z_dim);
            self.tensor(z, [n, config.z_dim])
        };
        let mut rng = of(Purpose::Cutoff).rng();
        let rows = config.num_ws() as u64;
        let mix = rng.random::<f64>() < self.settings.style_mixing && rows > 1;
        let cutoff = if rows > 1 {
            rng.random_range(1..rows) as usize
        } else {
            1
        };
        let noise = self
            .noise_shapes
            .iter()
            .enumerate()
            .map(|(layer, (_, side))| {
                let index = key.index << 8 | layer as u32;
                let key = Key {
                    index,
                    ..of(Purpose::Noise)
                };
                self.tensor(key.normals(n * side * side), [n, 1, *side, *side])
            })
            .collect();
        Ok(Latents {
            z: draw(Purpose::Latents),
            c: self.random_labels(n, of(Purpose::Labels))?,
            mix: mix.then(|| StyleMix {
                z: draw(Purpose::MixLatents),
                cutoff,
            }),
            noise: Noise::Given(noise),
        })
    }

    /// Labels of generated images: those of random real ones.
    fn random_labels(&self, n: usize, key: Key) -> Result<Option<Tensor<2>>> {
        if self.generator.c_dim == 0 {
            return Ok(None);
        }
        let mut rng = key.rng();
        let indices: Vec<usize> = (0..n)
            .map(|_| rng.random_range(0..self.source.len() as u64) as usize)
            .collect();
        self.labels(&indices).map(Some)
    }

    fn labels(&self, indices: &[usize]) -> Result<Tensor<2>> {
        let width = self.generator.c_dim;
        let mut values = Vec::with_capacity(indices.len() * width);
        for &index in indices {
            let label = self.source.label(index).unwrap_or_default();
            if label.len() != width {
                return Err(Error::Argument {
                    name: "source",
                    reason: format!(
                        "image {index} has a label of {} numbers; the networks take {width}",
                        label.len()
                    ),
                });
            }
            values.extend(label);
        }
        Ok(self.tensor(values, [indices.len(), width]))
    }

    fn real(&self, batch: &Batch) -> Result<(Tensor<4>, Option<Tensor<2>>)> {
        let [c, h, w] = self.source.shape();
        let values: Vec<f32> = batch
            .images
            .iter()
            .map(|&b| f32::from(b) / 127.5 - 1.0)
            .collect();
        let real = self.tensor(values, [batch.entries.len(), c, h, w]);
        let labels = if self.generator.c_dim == 0 {
            None
        } else {
            let count = self.source.len();
            let indices: Vec<usize> = batch.entries.iter().map(|e| e % count).collect();
            Some(self.labels(&indices)?)
        };
        Ok((real, labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_shows_every_image_once_in_an_order_of_its_own() {
        let mut epoch = Epoch::default();
        let mut orders = Vec::new();
        for e in 0..3 {
            let mut order: Vec<usize> = (0..50).map(|k| epoch.entry(1, 50, e * 50 + k)).collect();
            orders.push(order.clone());
            order.sort_unstable();
            assert!(order.into_iter().eq(0..50));
        }
        assert_ne!(orders[0], orders[1]);
        // From a position alone, without what came before.
        assert_eq!(Epoch::default().entry(1, 50, 117), orders[2][17]);
    }
}
