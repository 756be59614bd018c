//! The distribution of W: mean, spread and covariance of the latents a generator draws.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::decoder::Decoder;
use crate::device::product;
use crate::draws::{normals, rng};
use crate::error::{Error, Result};

/// Latents mapped at once.
const CHUNK: usize = 1000;

/// Mean and covariance of W from samples of the mapping network, in double precision.
///
/// With mean $\mu$ and covariance $\Sigma = L L^\top$ the whitened latent of $w$ is
/// $v = L^{-1} (w - \mu)$, and $|v|$ is its Mahalanobis distance. To $\Sigma$ is added
/// $10^{-4}$ of its mean variance on the diagonal: where the mapping makes no difference, neither
/// does the distance explode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WDistribution {
    mean: Vec<f64>,
    std: f64,
    /// $L$, row by row.
    root: Vec<f64>,
    /// $L^{-1}$, row by row.
    inverse: Vec<f64>,
    typical: [f64; 2],
    samples: usize,
    seed: u64,
}

const RIDGE: f64 = 1e-4;

impl WDistribution {
    /// How many latents the published projector takes the moments from, and whoever says nothing else.
    pub const SAMPLES: usize = 10_000;

    /// From `samples` latents; another fifth as many, not used for the moments, give
    /// [`WDistribution::typical`].
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for fewer than two samples, or if a latent is not finite.
    pub fn estimate(decoder: &dyn Decoder, samples: usize, seed: u64) -> Result<Self> {
        let z_dim = decoder.z_dim();
        let fresh = samples.div_ceil(5).max(100);
        let chunks = (0..).map(|k| normals(&mut rng(seed, k), CHUNK * z_dim));
        let mut values = chunks.flatten();
        let take = |count, values: &mut dyn Iterator<Item = f32>| {
            map(decoder, &values.take(count * z_dim).collect::<Vec<_>>())
        };
        let w = take(samples, &mut values);
        let mut found = Self::from_latents(&w, decoder.w_dim(), seed)?;
        found.measure_typical(&take(fresh, &mut values));
        Ok(found)
    }

    /// From latents that are not among those of the moments.
    fn measure_typical(&mut self, others: &[f32]) {
        let others = others.chunks_exact(self.mean.len());
        let mut distances: Vec<f64> = others.map(|w| self.mahalanobis(w)).collect();
        distances.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            #[allow(clippy::cast_sign_loss)]
            let at = (q * (distances.len() - 1) as f64).round() as usize;
            distances[at]
        };
        self.typical = [quantile(0.5), quantile(0.99)];
    }

    /// The samples of the published projector: numpy's `RandomState(123)`, [`WDistribution::SAMPLES`] latents.
    ///
    /// # Errors
    ///
    /// As [`WDistribution::estimate`].
    #[cfg(feature = "stylegan2")]
    pub fn published(decoder: &dyn Decoder) -> Result<Self> {
        Self::from_random_state(decoder, Self::SAMPLES, 123)
    }

    /// Moments of the latents of numpy's `RandomState(seed).randn(samples, z_dim)`.
    ///
    /// The mean is the published program's, which adds up row by row in single precision: up to some
    /// millionths beside the exact one, and enough to send a run of its projector another way. The numbers
    /// that follow, for a fifth as many latents, give [`WDistribution::typical`].
    ///
    /// # Errors
    ///
    /// As [`WDistribution::estimate`].
    #[cfg(feature = "stylegan2")]
    pub fn from_random_state(decoder: &dyn Decoder, samples: usize, seed: u32) -> Result<Self> {
        let fresh = samples.div_ceil(5).max(100);
        let count = (samples + fresh) * decoder.z_dim();
        let z = stylegan2_burn::seed::RandomState::new(seed).randn(count);
        let z: Vec<f32> = z.into_iter().map(|v| v as f32).collect();
        let (z, others) = z.split_at(samples * decoder.z_dim());
        let w = map(decoder, z);
        let mut found = Self::from_latents(&w, decoder.w_dim(), u64::from(seed))?;
        found.mean = single_mean(&w, decoder.w_dim());
        found.measure_typical(&map(decoder, others));
        Ok(found)
    }

    /// Moments of given latents, row by row.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for fewer than two rows or values that are not finite.
    pub fn from_latents(w: &[f32], w_dim: usize, seed: u64) -> Result<Self> {
        let n = w.len() / w_dim.max(1);
        if n < 2 || w.iter().any(|v| !v.is_finite()) {
            return Err(Error::Argument {
                name: "samples",
                reason: format!("{n} latents of width {w_dim}; two or more are needed, all finite"),
            });
        }
        let rows = || w.chunks_exact(w_dim);
        let mut mean = vec![0.0; w_dim];
        for row in rows() {
            for (m, v) in mean.iter_mut().zip(row) {
                *m += f64::from(*v) / n as f64;
            }
        }
        let mut covariance = vec![0.0; w_dim * w_dim];
        let mut centred = vec![0.0; w_dim];
        for row in rows() {
            for ((c, v), m) in centred.iter_mut().zip(row).zip(&mean) {
                *c = f64::from(*v) - m;
            }
            for (i, a) in centred.iter().enumerate() {
                for (s, b) in covariance[i * w_dim..=i * w_dim + i]
                    .iter_mut()
                    .zip(&centred)
                {
                    *s += a * b / n as f64;
                }
            }
        }
        let trace: f64 = (0..w_dim).map(|i| covariance[i * w_dim + i]).sum();
        let ridge = (trace / w_dim as f64 * RIDGE).max(f64::MIN_POSITIVE.sqrt());
        for i in 0..w_dim {
            covariance[i * w_dim + i] += ridge;
        }
        let root = cholesky(covariance, w_dim);
        let inverse = invert_lower(&root, w_dim);
        let d = (w_dim as f64).sqrt();
        Ok(Self {
            mean,
            std: trace.sqrt(),
            root,
            inverse,
            typical: [d, d + 2.326 / 2.0_f64.sqrt()],
            samples: n,
            seed,
        })
    }

    /// The mean latent, `[w_dim]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// $\sqrt{E |w - \mu|^2}$: one number for all directions, as the published projector uses it.
    pub fn std(&self) -> f64 {
        self.std
    }

    /// Median and 99th percentile of the Mahalanobis distances of fresh samples; where there were
    /// none, those of a normal distribution (Fisher's approximation).
    pub fn typical(&self) -> [f64; 2] {
        self.typical
    }

    /// Number of samples behind the moments.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The seed of the samples.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Mahalanobis distance of one latent from the mean.
    pub fn mahalanobis(&self, w: &[f32]) -> f64 {
        let d = self.mean.len();
        let centred: Vec<f64> = w
            .iter()
            .zip(&self.mean)
            .map(|(w, m)| f64::from(*w) - m)
            .collect();
        let row = |i: usize| &self.inverse[i * d..=i * d + i];
        let dot = |i: usize| -> f64 { row(i).iter().zip(&centred).map(|(a, b)| a * b).sum() };
        (0..d).map(|i| dot(i).powi(2)).sum::<f64>().sqrt()
    }

    /// The tensors that map between W and whitened latents.
    pub fn on(&self, device: &Device) -> Whitening {
        let d = self.mean.len();
        let single = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<_>>();
        let matrix = |v: &[f64]| -> Tensor<2> {
            Tensor::from_data(TensorData::new(single(v), [d, d]), device).transpose()
        };
        Whitening {
            mean: Tensor::from_data(TensorData::new(single(&self.mean), [1, 1, d]), device),
            root: matrix(&self.root),
            inverse: matrix(&self.inverse),
        }
    }
}

/// A [`WDistribution`] on a device.
#[derive(Clone, Debug)]
pub struct Whitening {
    /// `[1, 1, w_dim]`
    pub(crate) mean: Tensor<3>,
    /// $L^\top$
    root: Tensor<2>,
    /// $L^{-\top}$
    inverse: Tensor<2>,
}

impl Whitening {
    /// $L^{-1} (w - \mu)$ of every row.
    ///
    /// # Shapes
    ///
    /// - ws: `[N, rows, w_dim]`
    /// - output: as `ws`
    pub fn whiten(&self, ws: Tensor<3>) -> Tensor<3> {
        times(ws - self.mean.clone(), &self.inverse)
    }

    /// $\mu + L v$ of every row.
    ///
    /// # Shapes
    ///
    /// - v: `[N, rows, w_dim]`
    /// - output: as `v`
    pub fn colour(&self, v: Tensor<3>) -> Tensor<3> {
        times(v, &self.root) + self.mean.clone()
    }
}

fn times(x: Tensor<3>, matrix: &Tensor<2>) -> Tensor<3> {
    let [n, rows, d] = x.dims();
    product(x.reshape([n * rows, d]), matrix.clone()).reshape([n, rows, d])
}

fn map(decoder: &dyn Decoder, z: &[f32]) -> Vec<f32> {
    let z_dim = decoder.z_dim();
    let device = decoder.device();
    let mut w = Vec::with_capacity(z.len() / z_dim * decoder.w_dim());
    for chunk in z.chunks(CHUNK * z_dim) {
        let rows = chunk.len() / z_dim;
        let z = Tensor::from_data(TensorData::new(chunk.to_vec(), [rows, z_dim]), &device);
        w.extend(crate::floats(decoder.map(z)));
    }
    w
}

/// The mean of rows, added up one after the other in single precision.
#[cfg(feature = "stylegan2")]
fn single_mean(w: &[f32], w_dim: usize) -> Vec<f64> {
    let mut sum = vec![0.0_f32; w_dim];
    for row in w.chunks_exact(w_dim) {
        for (s, v) in sum.iter_mut().zip(row) {
            *s += v;
        }
    }
    let n = (w.len() / w_dim.max(1)) as f32;
    sum.into_iter().map(|s| f64::from(s / n)).collect()
}

/// The lower triangle $L$ of $A = L L^\top$; needs the lower half of a positive definite `a`.
/// $O(d^3 / 3)$.
pub(crate) fn cholesky(mut a: Vec<f64>, d: usize) -> Vec<f64> {
    for j in 0..d {
        let (above, below) = a.split_at_mut((j + 1) * d);
        let row = &mut above[j * d..];
        let square: f64 = row[..j].iter().map(|v| v * v).sum();
        let pivot = (row[j] - square).max(f64::MIN_POSITIVE).sqrt();
        row[j] = pivot;
        row[j + 1..].fill(0.0);
        for other in below.chunks_exact_mut(d) {
            let dot: f64 = other[..j].iter().zip(&row[..j]).map(|(a, b)| a * b).sum();
            other[j] = (other[j] - dot) / pivot;
        }
    }
    a
}

/// The inverse of a lower triangle. $O(d^3 / 3)$.
pub(crate) fn invert_lower(l: &[f64], d: usize) -> Vec<f64> {
    let mut out = vec![0.0; d * d];
    for i in 0..d {
        let (done, rest) = out.split_at_mut(i * d);
        let row = &mut rest[..d];
        row[i] = 1.0;
        for k in 0..i {
            let factor = l[i * d + k];
            for (r, v) in row[..=k].iter_mut().zip(&done[k * d..]) {
                *r -= factor * v;
            }
        }
        row[..=i].iter_mut().for_each(|v| *v /= l[i * d + i]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_distance_by_hand() {
        // Variances 4 and 1, correlation zero.
        let w = [2.0, 1.0, -2.0, 1.0, 2.0, -1.0, -2.0, -1.0_f32].map(|v| v + 3.0);
        let found = WDistribution::from_latents(&w, 2, 0).unwrap();
        assert_eq!(found.mean(), [3.0, 3.0]);
        assert!((found.std() - 5.0_f64.sqrt()).abs() < 1e-12);
        let distance = found.mahalanobis(&[5.0, 4.0]);
        assert!((distance - 2.0_f64.sqrt()).abs() < 1e-3, "{distance}");
        assert!(WDistribution::from_latents(&w[..2], 2, 0).is_err());
        assert!(WDistribution::from_latents(&[f32::NAN; 8], 2, 0).is_err());
    }

    #[test]
    fn whitened_latents_come_back_and_have_unit_covariance() {
        let d = 5;
        let mix = normals(&mut rng(1, 1), d * d);
        let z = normals(&mut rng(1, 2), 400 * d);
        let w: Vec<f32> = z
            .chunks(d)
            .flat_map(|z| {
                mix.chunks(d)
                    .map(|m| 1.0 + m.iter().zip(z).map(|(a, b)| a * b).sum::<f32>())
                    .collect::<Vec<_>>()
            })
            .collect();
        let found = WDistribution::from_latents(&w, d, 0).unwrap();
        let device = Device::default();
        let ws = Tensor::<3>::from_data(TensorData::new(w.clone(), [400, 1, d]), &device);
        let whitening = found.on(&device);
        let v = whitening.whiten(ws.clone());
        let back: f32 = (whitening.colour(v.clone()) - ws).abs().max().into_scalar();
        assert!(back < 1e-4, "{back}");
        let v = v.reshape([400, d]);
        let covariance = v.clone().transpose().matmul(v.clone()) / 400.0;
        let worst: f32 = (covariance - Tensor::eye(d, &device))
            .abs()
            .max()
            .into_scalar();
        assert!(worst < 2e-3, "{worst}");
        let length: Vec<f32> = crate::floats((v.clone() * v).sum_dim(1).sqrt());
        let distance = found.mahalanobis(&w[..d]);
        assert!((f64::from(length[0]) - distance).abs() < 1e-3 * distance);
    }
}
