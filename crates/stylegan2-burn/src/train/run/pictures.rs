//! The pictures of a run: real ones, and those of fixed latents.

use ::image::{ExtendedColorType, ImageEncoder};
use burn::tensor::{Tensor, TensorData};

use super::stats::seconds;
use super::{Observer, REALS, TrainRun};
use crate::error::{Error, Result};
use crate::image::{Pixels, Rounding, grid, to_pixels};
use crate::synthesis::SynthesisOptions;
use crate::train::draws::{Key, Phase, Purpose};
use crate::train::trainer::Trainer;
use crate::{Generator, Truncation};

impl TrainRun {
    pub(super) fn write_reals(&self) -> Result<()> {
        let source = self.trainer.source();
        let [c, h, w] = source.shape();
        let [columns, rows] = self.settings.grid;
        let pictures = (0..source.len().min(columns * rows))
            .map(|k| {
                let planes = source.image(spread(k, columns * rows, source.len()))?;
                let data = (0..h * w)
                    .flat_map(|p| (0..c).map(move |k| (k, p)))
                    .map(|(k, p)| planes[k * h * w + p])
                    .collect();
                Ok(Pixels {
                    width: w,
                    height: h,
                    channels: c,
                    data,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        self.write(REALS, &png(&grid(&pictures, columns))?)
    }

    pub(super) fn write_fakes(&mut self, observer: Option<&mut dyn Observer>) -> Result<()> {
        let [columns, rows] = self.settings.grid;
        let picture = grid(&self.trainer.samples(columns * rows), columns);
        let kimg = self.kimg();
        if matches!(picture.channels, 1 | 3) {
            self.events.image("fakes", kimg, seconds(), &picture)?;
            self.events.flush()?;
        }
        self.write(&format!("fakes{}.png", self.stamp()), &png(&picture)?)?;
        if let Some(observer) = observer {
            observer.samples(self.trainer.progress().images as f64 / 1000.0, &picture);
        }
        Ok(())
    }
}

/// The real image of a grid's place `k` of `places`, spread over all `len`; those of a set that is smaller
/// than the grid follow each other again.
fn spread(k: usize, places: usize, len: usize) -> usize {
    let shown = places.min(len);
    k % shown * len / shown
}

/// A PNG: gray, gray with alpha, RGB or RGBA for 1 to 4 channels.
fn png(picture: &Pixels) -> Result<Vec<u8>> {
    let color = match picture.channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let mut bytes = Vec::new();
    ::image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(
            &picture.data,
            picture.width as u32,
            picture.height as u32,
            color,
        )
        .map_err(|e| Error::Argument {
            name: "grid",
            reason: e.to_string(),
        })?;
    Ok(bytes)
}

impl Trainer {
    /// Pictures of the moving average from fixed latents, with the labels of real images spread over the whole
    /// set: in a grid of as many places, those of `reals.png`.
    pub fn samples(&self, count: usize) -> Vec<Pixels> {
        const AT_ONCE: usize = 8;
        let config = &self.networks.generator;
        let device = self.device();
        let z = Key {
            seed: self.settings.seed,
            iteration: 0,
            phase: Phase::None,
            purpose: Purpose::Grid,
            index: 0,
        }
        .normals(count * config.z_dim);
        let generator: &Generator = &self.average;
        (0..count)
            .step_by(AT_ONCE)
            .flat_map(|start| {
                let n = AT_ONCE.min(count - start);
                let range = start * config.z_dim..(start + n) * config.z_dim;
                let z = TensorData::new(z[range].to_vec(), [n, config.z_dim]);
                let c = (config.c_dim > 0).then(|| {
                    let source = self.source();
                    let labels = (start..start + n)
                        .flat_map(|k| {
                            let index = spread(k, count, source.len());
                            source.label(index).unwrap_or_default()
                        })
                        .collect::<Vec<f32>>();
                    Tensor::from_data(TensorData::new(labels, [n, config.c_dim]), device)
                });
                let options = SynthesisOptions::default();
                let z = Tensor::from_data(z, device);
                let images = generator.forward(z, c, Truncation::default(), &options);
                to_pixels(images, Rounding::Nearest)
            })
            .collect()
    }
}
