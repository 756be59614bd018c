//! A `StyleGAN2` generator as a source of portraits.

use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use stylegan2_burn::{Checkpoint, Generator, SynthesisOptions, Truncation};

use super::portraits::Portraits;
use crate::assets::FACES_64;
use crate::error::{Error, Result};
use crate::simulate::mapped;

/// Pictures made at once: few enough for any memory.
const BATCH: usize = 16;

/// A generator of RGB or gray portraits with its stored noise images.
///
/// ```
/// use survlatent::proof::{FaceNetwork, Portraits};
/// let net = FaceNetwork::shipped()?;
/// let w = net.draws(1, 0, 1)?;
/// assert_eq!(net.images(&w, 1)?.len(), 3 * 64 * 64);
/// # Ok::<(), survlatent::Error>(())
/// ```
#[derive(Debug)]
pub struct FaceNetwork {
    generator: Generator,
    z_dim: usize,
    dim: usize,
    layers: usize,
    side: usize,
    device: Device,
}

impl FaceNetwork {
    /// The network that ships, [`FACES_64`].
    ///
    /// # Errors
    /// None with the file as released.
    pub fn shipped() -> Result<Self> {
        Self::of(&Checkpoint::from_bytes(FACES_64.to_vec())?)
    }

    /// The default generator of a file in any format that `stylegan2_burn::Checkpoint` reads.
    ///
    /// # Errors
    /// [`Error::InFile`]: no network, or one without a generator of unlabelled RGB or gray pictures.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Checkpoint::open(path)
            .map_err(Error::from)
            .and_then(|file| Self::of(&file))
            .map_err(|error| error.in_file(path))
    }

    /// The default generator of an opened file.
    ///
    /// # Errors
    /// [`Error::Study`] as for [`open`](Self::open).
    pub fn of(file: &Checkpoint) -> Result<Self> {
        let refuse = |reason: &str| Error::Study {
            reason: reason.to_owned(),
        };
        let name = file
            .default_generator()
            .ok_or_else(|| refuse("the file holds no generator"))?;
        let config = file.generator_config(name)?;
        if config.c_dim != 0 || !matches!(config.channels, 1 | 3) {
            return Err(refuse(
                "the generator must make RGB or gray pictures without labels",
            ));
        }
        let device = Device::default();
        Ok(Self {
            z_dim: config.z_dim,
            dim: config.w_dim,
            layers: config.num_ws(),
            side: config.resolution,
            generator: file.generator(name, &device)?,
            device,
        })
    }

    /// Rows of W+ of some latents of W or W+, `[n, layers, dim]`.
    fn rows(&self, latents: &[f32], n: usize) -> Result<Tensor<3>> {
        let given = self.width(latents.len(), n)? / self.dim;
        let data = TensorData::new(latents.to_vec(), [n, given, self.dim]);
        let w = Tensor::<3>::from_data(data, &self.device);
        Ok(w.expand([n, self.layers, self.dim]))
    }

    /// Values of pictures; gray ones three times.
    fn values(image: Tensor<4>) -> Result<Vec<f32>> {
        let [n, channels, h, w] = image.dims();
        let image = image.expand([n, 3.max(channels), h, w]);
        image
            .into_data_dtype(DType::F32)
            .try_to_vec()
            .map_err(|_| Error::Study {
                reason: "the generator gave no numbers".into(),
            })
    }
}

impl Portraits for FaceNetwork {
    fn dim(&self) -> usize {
        self.dim
    }

    fn layers(&self) -> usize {
        self.layers
    }

    fn side(&self) -> usize {
        self.side
    }

    fn images(&self, latents: &[f32], n: usize) -> Result<Vec<f32>> {
        let width = self.width(latents.len(), n)?;
        let mut out = Vec::with_capacity(n * 3 * self.side * self.side);
        for some in latents.chunks(BATCH * width) {
            let ws = self.rows(some, some.len() / width)?;
            let options = SynthesisOptions::default();
            out.extend(Self::values(
                self.generator.synthesis.forward(ws, &options),
            )?);
        }
        Ok(out)
    }

    fn derivatives(
        &self,
        latents: &[f32],
        n: usize,
        along: &[f64],
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let width = self.width(latents.len(), n)?;
        let along: Vec<f32> = along.iter().map(|v| *v as f32).collect();
        if along.len() != width {
            let reason = format!(
                "a direction of {} numbers for latents of {width}",
                along.len()
            );
            return Err(Error::Study { reason });
        }
        let along = self.rows(&along, 1)?;
        let (mut images, mut tangents) = (Vec::new(), Vec::new());
        for some in latents.chunks(BATCH * width) {
            let ws = self.rows(some, some.len() / width)?;
            let along = along.clone().expand(ws.dims());
            let options = SynthesisOptions::default();
            let (image, tangent) = self.generator.synthesis.jvp(ws, along, &options);
            images.extend(Self::values(image)?);
            tangents.extend(Self::values(tangent)?);
        }
        Ok((images, tangents))
    }

    fn draws(&self, seed: u64, first: u64, count: usize) -> Result<Vec<f32>> {
        let map = |z| {
            let mapping = &self.generator.mapping;
            let ws = mapping.forward(z, None, Truncation::psi(1.0));
            ws.narrow(1, 0, 1).squeeze_dim(1)
        };
        mapped(&map, &self.device, self.z_dim, seed, [first, count as u64])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central differences in single precision, extrapolated to a step of 0 (Richardson); what is left falls
    /// with the step, as pixels pass kinks of the activation.
    #[test]
    fn derivatives_are_limits_of_differences() {
        let net = FaceNetwork::shipped().unwrap();
        let w = net.draws(3, 0, 2).unwrap();
        let dim = net.dim();
        let other = net.draws(3, 2, 2).unwrap();
        let mut along: Vec<f64> = (0..dim)
            .map(|j| f64::from(other[j] - other[dim + j]))
            .collect();
        let length = along.iter().map(|v| v * v).sum::<f64>().sqrt();
        for v in &mut along {
            *v /= length;
        }
        let (image, exact) = net.derivatives(&w, 2, &along).unwrap();
        assert_eq!(image, net.images(&w, 2).unwrap());
        let difference = |h: f64| -> Vec<f64> {
            let at = |sign: f64| {
                let moved: Vec<f32> = (0..2 * dim)
                    .map(|k| (f64::from(w[k]) + sign * h * along[k % dim]) as f32)
                    .collect();
                net.images(&moved, 2).unwrap()
            };
            let (up, down) = (at(1.0), at(-1.0));
            up.iter()
                .zip(&down)
                .map(|(u, d)| f64::from(u - d) / (2.0 * h))
                .collect()
        };
        let error = |step: f64| -> f64 {
            let (wide, narrow) = (difference(step), difference(step / 2.0));
            let (mut error, mut size) = (0.0, 0.0);
            for k in 0..exact.len() {
                let limit = (4.0 * narrow[k] - wide[k]) / 3.0;
                error += (f64::from(exact[k]) - limit).powi(2);
                size += limit.powi(2);
            }
            assert!(size > 0.0);
            (error / size).sqrt()
        };
        let errors = [0.1, 0.02, 0.0025].map(error);
        assert!(
            errors[2] < 1e-2 && errors.is_sorted_by(|a, b| *b < 0.7 * a),
            "{errors:?}"
        );
    }

    #[test]
    fn w_is_w_plus_with_equal_rows_and_batches_change_nothing() {
        let net = FaceNetwork::shipped().unwrap();
        let w = net.draws(5, 0, 18).unwrap();
        let plus = w[..net.dim()].repeat(net.layers());
        let all = net.images(&w, 18).unwrap();
        let size = 3 * net.side() * net.side();
        let one = net.images(&plus, 1).unwrap();
        let last = net.images(&w[17 * net.dim()..], 1).unwrap();
        for (a, b) in [(&all[..size], &one), (&all[17 * size..], &last)] {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4));
        }
        assert!(net.images(&w, 17).is_err());
        assert!(net.derivatives(&w, 18, &[1.0]).is_err());
        assert_eq!(net.draws(5, 17, 1).unwrap().len(), net.dim());
    }
}
