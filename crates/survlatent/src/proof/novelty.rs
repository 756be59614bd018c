//! Directions in which pictures differ more than the generator's own.

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use latent_attribute::PcaConfig;

use super::portraits::Portraits;
use super::thumbnails::Thumbnails;
use crate::error::{Error, Result};
use crate::simulate::normals;

/// Counters of draws that no simulated cohort uses.
const LAW: u64 = 1 << 50;

/// Settings of what the generator's pictures look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PictureLawSettings {
    /// Side of the thumbnails.
    pub side: usize,
    /// Pictures drawn to learn their covariance, and as many again to know chance.
    pub draws: usize,
    /// Cohorts of those drawn to know how much more chance gives.
    pub cohorts: usize,
    /// Standard deviation of noise that no difference is told from, in gray levels of 255.
    pub noise: f64,
    /// Seed.
    pub seed: u64,
}

impl Default for PictureLawSettings {
    fn default() -> Self {
        Self {
            side: 16,
            draws: 4000,
            cohorts: 40,
            noise: 1.0,
            seed: 0,
        }
    }
}

/// The pictures a generator draws: their mean and covariance, and the chance that goes with them.
///
/// With `S` the covariance of the generator's thumbnails and `e` the noise, whitening is
/// `y = (S + e^2 I)^(-1/2) (x - mean)`: the generator's own pictures then have variance 1 or less in
/// every direction, and something they never show (a cap, a mask) has a variance far above.
#[derive(Debug, Clone)]
pub struct PictureLaw {
    settings: PictureLawSettings,
    mean: Vec<f64>,
    /// Rows of the whitening, `[p, p]`.
    whitening: Vec<f64>,
    /// Whitened pictures that the whitening has not seen, `[draws, p]`.
    others: Vec<f64>,
}

/// Directions of one cohort, most unusual first.
#[derive(Debug, Clone)]
pub(super) struct Novelty {
    /// Variance along each, where the generator has about 1.
    pub(super) variance: Vec<f64>,
    /// Scores, `[directions, n]`, of mean 0 and standard deviation 1.
    pub(super) scores: Vec<Vec<f64>>,
}

impl PictureLawSettings {
    /// Draws pictures and learns them.
    ///
    /// # Errors
    /// [`Error::Study`] for settings out of range; what the generator refuses.
    pub fn fit(&self, net: &dyn Portraits) -> Result<PictureLaw> {
        let p = 3 * self.side * self.side;
        if self.side == 0
            || self.draws < 2 * p
            || self.cohorts == 0
            || self.noise.is_nan()
            || self.noise <= 0.0
        {
            let reason = format!(
                "{} draws, {} cohorts and noise {} do not tell thumbnails of side {}: at least {} \
                 draws",
                self.draws,
                self.cohorts,
                self.noise,
                self.side,
                2 * p
            );
            return Err(Error::Study { reason });
        }
        let drawn = Thumbnails::drawn(net, self.side, self.seed, LAW, self.draws)?;
        let pca = PcaConfig::default().fit(drawn.values(), drawn.n(), p)?;
        let noise = (self.noise / 255.0).powi(2);
        // V diag((l + e^2)^(-1/2)) V' + (I - V V') / e, the last where the rank is not full.
        let mut whitening = vec![0.0; p * p];
        for j in 0..p {
            whitening[j * p + j] = noise.sqrt().recip();
        }
        let components = pca.components().chunks_exact(p);
        for (v, variance) in components.zip(pca.explained_variance()) {
            let scale = (variance + noise).sqrt().recip() - noise.sqrt().recip();
            for (row, a) in whitening.chunks_exact_mut(p).zip(v) {
                row.iter_mut().zip(v).for_each(|(m, b)| *m += scale * a * b);
            }
        }
        let mut law = PictureLaw {
            settings: self.clone(),
            mean: pca.mean().to_vec(),
            whitening,
            others: Vec::new(),
        };
        let first = LAW + self.draws as u64;
        law.others = law.whitened(&Thumbnails::drawn(
            net, self.side, self.seed, first, self.draws,
        )?);
        Ok(law)
    }
}

impl PictureLaw {
    /// Side of the thumbnails it knows.
    pub fn side(&self) -> usize {
        self.settings.side
    }

    fn p(&self) -> usize {
        self.mean.len()
    }

    fn whitened(&self, pictures: &Thumbnails) -> Vec<f64> {
        use rayon::prelude::*;
        let p = self.p();
        let one = |i: usize| -> Vec<f64> {
            let x: Vec<f64> = pictures
                .row(i)
                .iter()
                .zip(&self.mean)
                .map(|(v, m)| f64::from(*v) - m)
                .collect();
            self.whitening
                .chunks_exact(p)
                .map(|row| dot(row, &x))
                .collect()
        };
        let rows: Vec<Vec<f64>> = (0..pictures.n()).into_par_iter().map(one).collect();
        rows.concat()
    }

    /// The largest variance that chance gives in a cohort of `n` of the generator's own pictures:
    /// the greatest of as many cohorts as the settings say, drawn without replacement. Cohorts larger
    /// than half the draws are taken for that half, which errs towards less novelty found.
    pub fn threshold(&self, n: usize) -> f64 {
        use rayon::prelude::*;
        let p = self.p();
        let draws = self.settings.draws;
        let n = n.min(draws / 2);
        let top = |cohort: u64| {
            let rows = sample(draws, n, self.settings.seed, cohort);
            let y: Vec<f64> = rows
                .iter()
                .flat_map(|&i| &self.others[i * p..(i + 1) * p])
                .copied()
                .collect();
            leading(y, p, 1).variance.first().copied().unwrap_or(0.0)
        };
        (0..self.settings.cohorts as u64)
            .into_par_iter()
            .map(top)
            .reduce(|| 0.0, f64::max)
    }

    /// The directions whose variance is above `threshold`, at most `most`.
    pub(super) fn novelty(
        &self,
        pictures: &Thumbnails,
        threshold: f64,
        most: usize,
    ) -> Result<Novelty> {
        if pictures.side() != self.side() || pictures.n() < 2 {
            let reason = format!(
                "{} pictures of side {} for a law of side {}",
                pictures.n(),
                pictures.side(),
                self.side()
            );
            return Err(Error::Study { reason });
        }
        let mut found = leading(self.whitened(pictures), self.p(), most);
        let count = found
            .variance
            .iter()
            .take_while(|v| **v > threshold)
            .count();
        found.variance.truncate(count);
        found.scores.truncate(count);
        Ok(found)
    }
}

/// `n` of `draws` numbers without replacement, in the order drawn.
fn sample(draws: usize, n: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut all: Vec<usize> = (0..draws).collect();
    for k in 0..n {
        let other = rng.random_range(k..draws);
        all.swap(k, other);
    }
    all.truncate(n);
    all
}

/// Principal directions of rows of `p` numbers, by orthogonal iteration with a few directions more
/// than asked for; 30 rounds. Directions of nearly equal variance may be mixtures of each other.
fn leading(mut y: Vec<f64>, p: usize, count: usize) -> Novelty {
    const ROUNDS: usize = 30;
    let n = y.len() / p;
    let mut mean = vec![0.0; p];
    for row in y.chunks_exact(p) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(m, v)| *m += v / n as f64);
    }
    for row in y.chunks_exact_mut(p) {
        row.iter_mut().zip(&mean).for_each(|(v, m)| *v -= m);
    }
    let wide = (count + 4).min(p).min(n);
    let mut basis: Vec<Vec<f64>> = (0..wide as u64).map(|k| normals(17, k, p)).collect();
    orthonormal(&mut basis);
    let mut variance = vec![0.0; wide];
    for _ in 0..ROUNDS {
        let mut next = vec![vec![0.0; p]; wide];
        for row in y.chunks_exact(p) {
            for (b, sum) in basis.iter().zip(&mut next) {
                let along = dot(row, b);
                sum.iter_mut().zip(row).for_each(|(s, v)| *s += along * v);
            }
        }
        for ((b, c), v) in basis.iter().zip(&next).zip(&mut variance) {
            *v = dot(b, c) / (n as f64 - 1.0);
        }
        basis = next;
        orthonormal(&mut basis);
    }
    let mut order: Vec<usize> = (0..wide).collect();
    order.sort_by(|&a, &b| variance[b].total_cmp(&variance[a]));
    order.truncate(count);
    let scores = order
        .iter()
        .map(|&k| {
            let sd = variance[k].sqrt().max(f64::MIN_POSITIVE);
            y.chunks_exact(p)
                .map(|row| dot(row, &basis[k]) / sd)
                .collect()
        })
        .collect();
    Novelty {
        variance: order.iter().map(|&k| variance[k]).collect(),
        scores,
    }
}

/// Gram and Schmidt, twice over for rounding; a vector within the span of those before it becomes 0.
pub(super) fn orthonormal(vectors: &mut [Vec<f64>]) {
    for k in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(k);
        let v = &mut rest[0];
        let start = dot(v, v).sqrt();
        for _ in 0..2 {
            for b in before.iter() {
                let along = dot(v, b);
                v.iter_mut().zip(b).for_each(|(v, b)| *v -= along * b);
            }
        }
        let length = dot(v, v).sqrt();
        let scale = if length > 1e-10 * start {
            length.recip()
        } else {
            0.0
        };
        for value in &mut *v {
            *value *= scale;
        }
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums, so that the compiler may use wide registers.
    let (mut sum, mut rest) = ([0.0; 4], 0.0);
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    for (x, y) in a4.remainder().iter().zip(b4.remainder()) {
        rest += x * y;
    }
    for (x, y) in a4.zip(b4) {
        for k in 0..4 {
            sum[k] += x[k] * y[k];
        }
    }
    (sum[0] + sum[1]) + (sum[2] + sum[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::super::portraits::tests::Patches;
    use super::*;

    fn law() -> (Patches, PictureLaw) {
        let net = Patches { dim: 4, side: 16 };
        let settings = PictureLawSettings {
            side: 4,
            draws: 400,
            cohorts: 20,
            ..PictureLawSettings::default()
        };
        let law = settings.fit(&net).unwrap();
        (net, law)
    }

    /// The generator varies rows of gray together; one column that differs is news.
    #[test]
    fn what_the_generator_never_shows_is_novel() {
        let (net, law) = law();
        let threshold = law.threshold(100);
        assert!((1.0..4.0).contains(&threshold), "{threshold}");
        let own = Thumbnails::drawn(&net, 4, 9, 0, 100).unwrap();
        assert!(law.novelty(&own, threshold, 5).unwrap().variance.is_empty());
        let mut marked = Thumbnails::new(4);
        for i in 0..100 {
            #[allow(clippy::cast_sign_loss)]
            let mut rgb: Vec<u8> = own
                .row(i)
                .iter()
                .map(|v| (v * 255.0).round() as u8)
                .collect();
            if i % 4 == 0 {
                (0..4).for_each(|y| rgb[3 * 4 * y] = rgb[3 * 4 * y].saturating_sub(40));
            }
            marked.push(&rgb, 4, 4).unwrap();
        }
        let found = law.novelty(&marked, threshold, 5).unwrap();
        assert!(found.variance[0] > 10.0 * threshold, "{:?}", found.variance);
        let score = &found.scores[0];
        let sign = score[0].signum();
        let (wearers, others): (Vec<f64>, Vec<f64>) = (
            score.iter().step_by(4).map(|s| s * sign).collect(),
            (0..100)
                .filter(|i| i % 4 != 0)
                .map(|i| score[i] * sign)
                .collect(),
        );
        let least = wearers.iter().copied().fold(f64::MAX, f64::min);
        assert!(
            others.iter().all(|o| *o < least),
            "the mark is told from everything else"
        );
        assert!((dot(score, score) / 99.0 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn leading_directions_are_those_of_the_decomposition() {
        let (n, p) = (60, 7);
        let x: Vec<f64> = (0..n)
            .flat_map(|i| normals(3, i as u64, p).into_iter().enumerate())
            .map(|(j, v)| v * 3.0 / (j + 1) as f64)
            .collect();
        let pca = PcaConfig::default().fit(&x, n, p).unwrap();
        let found = leading(x, p, 3);
        for (a, b) in found.variance.iter().zip(pca.explained_variance()) {
            assert!((a / b - 1.0).abs() < 1e-6, "{a} {b}");
        }
        assert!(dot(&found.scores[0], &found.scores[1]).abs() < 1e-6);
    }

    #[test]
    fn too_few_draws_are_refused() {
        let net = Patches { dim: 4, side: 16 };
        let few = PictureLawSettings {
            draws: 1000,
            ..PictureLawSettings::default()
        };
        assert!(
            few.fit(&net)
                .unwrap_err()
                .to_string()
                .contains("at least 1536 draws")
        );
        let (_, law) = law();
        assert!(law.novelty(&Thumbnails::new(4), 1.0, 2).is_err());
    }
}
