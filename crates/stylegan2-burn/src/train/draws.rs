//! Random numbers by counter: every draw has its own stream, so that nothing but counters need
//! be saved.
//!
//! A stream is ChaCha8 keyed by the seed, the iteration, the phase and the purpose of the draw.
//! Long draws are cut into parts with a stream each, made in parallel; the numbers do not depend
//! on the number of threads.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Values per part of a long draw.
const PART: usize = 1 << 14;

/// What a draw is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Purpose {
    /// Latents of the first mapping pass.
    Latents = 1,
    /// Latents of the second mapping pass, for style mixing.
    MixLatents,
    /// Whether and where styles are mixed.
    Cutoff,
    /// Labels of generated images, as indices of real ones.
    Labels,
    /// Noise images of the synthesis layers.
    Noise,
    /// The direction of the path-length penalty.
    PathNoise,
    /// Augmentation of generated images.
    AugmentFake,
    /// Augmentation of real images.
    AugmentReal,
    /// The order of the real images.
    Shuffle,
    /// Starting values of the generator.
    GeneratorWeights,
    /// Starting values of the discriminator.
    DiscriminatorWeights,
    /// Latents of the sample grid.
    Grid,
}

/// The phases of an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    /// Outside the phases.
    None = 0,
    /// The generator's main loss.
    Generator,
    /// The path-length penalty.
    PathLength,
    /// The discriminator's main loss.
    Discriminator,
    /// The R1 penalty.
    R1,
}

/// The address of one draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub seed: u64,
    pub iteration: u64,
    pub phase: Phase,
    pub purpose: Purpose,
    /// Which of several draws for the same purpose: round, layer or the like.
    pub index: u32,
}

impl Key {
    /// A generator of its own for this address.
    pub(crate) fn rng(self) -> ChaCha8Rng {
        self.part(0)
    }

    fn part(self, part: u32) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&self.iteration.to_le_bytes());
        key[16..20].copy_from_slice(&(self.phase as u32).to_le_bytes());
        key[20..24].copy_from_slice(&(self.purpose as u32).to_le_bytes());
        key[24..28].copy_from_slice(&self.index.to_le_bytes());
        key[28..].copy_from_slice(&part.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }

    /// Standard normal numbers.
    pub(crate) fn normals(self, count: usize) -> Vec<f32> {
        let mut values = vec![0.0; count];
        values
            .par_chunks_mut(PART)
            .enumerate()
            .for_each(|(part, values)| {
                let mut rng = self.part(u32::try_from(part).expect("draws below 2^46 numbers"));
                fill_normal(&mut rng, values);
            });
        values
    }

    /// The numbers below `count` in random order.
    pub(crate) fn permutation(self, count: usize) -> Vec<usize> {
        let mut rng = self.rng();
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            let j = rng.random_range(0..=i as u64) as usize;
            order.swap(i, j);
        }
        order
    }
}

/// Box and Muller's (1958) transform of pairs of uniform numbers.
fn fill_normal(rng: &mut impl Rng, values: &mut [f32]) {
    for pair in values.chunks_mut(2) {
        // (0, 1]: the logarithm is finite.
        let u = 1.0 - rng.random::<f64>();
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        let radius = (-2.0 * u.ln()).sqrt();
        pair[0] = (radius * cos) as f32;
        if let Some(second) = pair.get_mut(1) {
            *second = (radius * sin) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(iteration: u64, index: u32) -> Key {
        Key {
            seed: 7,
            iteration,
            phase: Phase::Generator,
            purpose: Purpose::Latents,
            index,
        }
    }

    #[test]
    fn normals_have_the_moments_of_the_normal_distribution() {
        let values = key(0, 0).normals(200_001);
        let n = values.len() as f64;
        let moment = |k| values.iter().map(|&v| f64::from(v).powi(k)).sum::<f64>() / n;
        for (k, expected, bound) in [
            (1, 0.0, 0.01),
            (2, 1.0, 0.02),
            (3, 0.0, 0.05),
            (4, 3.0, 0.1),
        ] {
            assert!(
                (moment(k) - expected).abs() < bound,
                "moment {k}: {}",
                moment(k)
            );
        }
        // Neighbours, which share a pair of uniform numbers, are not correlated.
        let product: f64 = values.chunks_exact(2).map(|p| f64::from(p[0] * p[1])).sum();
        assert!((product / (n / 2.0)).abs() < 0.02);
    }

    #[test]
    fn addresses_differ_and_repeat_whatever_the_number_of_threads() {
        let a = key(3, 0).normals(40_000);
        assert_ne!(a, key(4, 0).normals(40_000));
        assert_ne!(a, key(3, 1).normals(40_000));
        let mut other = key(3, 0);
        other.phase = Phase::R1;
        assert_ne!(a, other.normals(40_000));
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        assert_eq!(a, pool.install(|| key(3, 0).normals(40_000)));
        // A longer draw starts like a shorter one.
        assert_eq!(a[..100], key(3, 0).normals(100));
    }

    #[test]
    fn permutations_hold_every_number_once() {
        let mut order = key(0, 0).permutation(1000);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
    }
}
