//! Latents and numbers by counter.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// Where latents come from: draw `k` is always the same latent.
pub trait Draws {
    /// Width of a latent.
    fn dim(&self) -> usize;

    /// Draws `first` to `first + count - 1`, `[count, dim]`.
    ///
    /// # Errors
    /// What the source refuses.
    fn draws(&self, first: u64, count: usize) -> Result<Vec<f32>>;

    /// Mean of the law; estimated from draws of its own unless it is known.
    ///
    /// # Errors
    /// As [`Draws::draws`].
    fn mean(&self) -> Result<Vec<f64>> {
        let dim = self.dim();
        let w = self.draws(Purpose::Reference.start(), REFERENCE)?;
        let mut mean = vec![0.0; dim];
        for row in w.chunks_exact(dim) {
            for (m, v) in mean.iter_mut().zip(row) {
                *m += f64::from(*v) / REFERENCE as f64;
            }
        }
        Ok(mean)
    }

    /// Standard deviation of the law along `direction`; estimated likewise.
    ///
    /// # Errors
    /// As [`Draws::draws`].
    fn deviation(&self, direction: &[f64]) -> Result<f64> {
        let dim = self.dim();
        let w = self.draws(Purpose::Reference.start(), REFERENCE)?;
        let scores: Vec<f64> = w.chunks_exact(dim).map(|row| dot(row, direction)).collect();
        let mean = scores.iter().sum::<f64>() / REFERENCE as f64;
        let squares: f64 = scores.iter().map(|s| (s - mean).powi(2)).sum();
        Ok((squares / REFERENCE as f64).sqrt())
    }

    /// The scores of latents along a direction, of mean 0 and standard deviation 1 in the law.
    ///
    /// # Errors
    /// As [`Draws::draws`]; a direction along which latents do not vary.
    fn along(&self, direction: &[f64]) -> Result<Along> {
        let deviation = self.deviation(direction)?;
        if !(deviation > 0.0 && deviation.is_finite()) {
            return Err(Error::Cox(cox_survival::Error::Undefined {
                what: "the planted direction",
                reason: "latents do not vary along it",
            }));
        }
        let mean = self.mean()?;
        let gradient: Vec<f64> = direction.iter().map(|d| d / deviation).collect();
        let origin = mean.iter().zip(&gradient).map(|(m, g)| m * g).sum();
        Ok(Along { gradient, origin })
    }
}

/// Draws behind estimated moments.
const REFERENCE: usize = 8192;

/// A linear score of latents.
#[derive(Debug, Clone)]
pub struct Along {
    pub(super) gradient: Vec<f64>,
    origin: f64,
}

impl Along {
    /// The score of one latent.
    pub(super) fn score(&self, w: &[f32]) -> f64 {
        dot(w, &self.gradient) - self.origin
    }
}

fn dot(w: &[f32], direction: &[f64]) -> f64 {
    w.iter()
        .zip(direction)
        .map(|(w, d)| f64::from(*w) * d)
        .sum()
}

/// What numbers are drawn for; each has counters of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Patient = 1,
    Photo,
    Direction,
    Reference,
    Age,
    Sex,
    Shortcut,
    Time,
    Censoring,
    Axes,
}

impl Purpose {
    /// Where its counters start.
    pub(super) fn start(self) -> u64 {
        (self as u64) << 40
    }
}

pub(crate) fn rng(seed: u64, counter: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(counter);
    rng
}

/// A number in `[0, 1)`.
pub(super) fn uniform(seed: u64, purpose: Purpose, k: u64) -> f64 {
    rng(seed, purpose.start() + k).random()
}

/// A standard normal number.
pub(super) fn normal(seed: u64, purpose: Purpose, k: u64) -> f64 {
    normals(seed, purpose.start() + k, 1)[0]
}

/// `count` standard normal numbers of a counter (Box and Muller 1958): what a generator's z is made
/// of.
pub fn normals(seed: u64, counter: u64, count: usize) -> Vec<f64> {
    let mut rng = rng(seed, counter);
    let mut out = Vec::with_capacity(count + 1);
    while out.len() < count {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        // 1 - u lies in (0, 1].
        let radius = (-2.0 * (1.0 - u).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
        out.extend([radius * cos, radius * sin]);
    }
    out.truncate(count);
    out
}

/// Normal latents of mean 0 whose variances decay, in turned axes, so that no column is special.
#[derive(Debug, Clone)]
pub struct NormalLaw {
    scale: Vec<f64>,
    /// Unit normals of the mirrors that turn the axes.
    mirrors: Vec<Vec<f64>>,
    seed: u64,
}

impl NormalLaw {
    /// Width `dim`; the variance of component `k` is `exp(-decay k / dim)`.
    ///
    /// # Errors
    /// A width below 2 or a decay that is negative or not finite.
    pub fn new(dim: usize, decay: f64, seed: u64) -> Result<Self> {
        if dim < 2 || !(0.0..=200.0).contains(&decay) {
            return Err(Error::Cox(cox_survival::Error::Setting {
                name: "dim and decay",
                value: format!("{dim} and {decay}"),
                expected: "must be at least 2, and lie in 0 to 200",
            }));
        }
        let scale = (0..dim)
            .map(|k| (-0.5 * decay * k as f64 / dim as f64).exp())
            .collect();
        let mirror = |k: u64| {
            let v = normals(seed, Purpose::Axes.start() + k, dim);
            let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            v.iter().map(|v| v / length).collect()
        };
        Ok(Self {
            scale,
            mirrors: (0..8).map(mirror).collect(),
            seed,
        })
    }

    /// Turns a vector by all mirrors, in order or back.
    fn turn(&self, v: &mut [f64], back: bool) {
        let one = |v: &mut [f64], mirror: &[f64]| {
            let along: f64 = v.iter().zip(mirror).map(|(v, m)| v * m).sum();
            for (v, m) in v.iter_mut().zip(mirror) {
                *v -= 2.0 * along * m;
            }
        };
        if back {
            self.mirrors.iter().rev().for_each(|m| one(v, m));
        } else {
            self.mirrors.iter().for_each(|m| one(v, m));
        }
    }
}

impl Draws for NormalLaw {
    fn dim(&self) -> usize {
        self.scale.len()
    }

    fn draws(&self, first: u64, count: usize) -> Result<Vec<f32>> {
        use rayon::prelude::*;
        let rows: Vec<Vec<f32>> = (0..count as u64)
            .into_par_iter()
            .map(|k| {
                let mut z = normals(self.seed, first + k, self.dim());
                z.iter_mut().zip(&self.scale).for_each(|(z, s)| *z *= s);
                self.turn(&mut z, false);
                z.into_iter().map(|v| v as f32).collect()
            })
            .collect();
        Ok(rows.concat())
    }

    fn mean(&self) -> Result<Vec<f64>> {
        Ok(vec![0.0; self.dim()])
    }

    fn deviation(&self, direction: &[f64]) -> Result<f64> {
        let mut d = direction.to_vec();
        self.turn(&mut d, true);
        let variance: f64 = d
            .iter()
            .zip(&self.scale)
            .map(|(d, s)| (d * s).powi(2))
            .sum();
        Ok(variance.sqrt())
    }
}
