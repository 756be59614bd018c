//! The kernel distance.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::features::Features;
use crate::error::{Error, Result};

/// The kernel distance: the squared maximum mean discrepancy under $(x \cdot y / d + 1)^3$.
///
/// The unbiased estimate, averaged over random subsets of equal size (Binkowski et al. 2018,
/// equation 4). With Inception's features it is the KID. It is unbiased, so it can be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelDistance {
    /// The number of subsets.
    pub subsets: usize,
    /// The largest size of a subset.
    pub largest: usize,
    /// Chooses the subsets.
    pub seed: u64,
}

impl Default for KernelDistance {
    /// 100 subsets of at most 1000 vectors.
    fn default() -> Self {
        Self {
            subsets: 100,
            largest: 1000,
            seed: 0,
        }
    }
}

impl KernelDistance {
    /// Sets the seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The distance.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for sets of different dimension or fewer than two vectors, or if
    /// subsets of fewer than two vectors or none are asked for.
    pub fn measure(&self, a: &Features, b: &Features) -> Result<f64> {
        a.check(b, 2)?;
        if self.subsets == 0 || self.largest < 2 {
            return Err(Error::Argument {
                name: "subsets",
                reason: format!("{} of at most {} vectors", self.subsets, self.largest),
            });
        }
        let m = a.len().min(b.len()).min(self.largest);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let pairs: Vec<[Vec<usize>; 2]> = (0..self.subsets)
            .map(|_| [a.len(), b.len()].map(|n| choose(n, m, &mut rng)))
            .collect();
        kernel_distance_of_subsets(a, b, &pairs)
    }
}

/// `m` of `0..n` without repetition (the first steps of Fisher's and Yates' shuffle).
fn choose(n: usize, m: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in 0..m {
        let j = i + ((u64::from(rng.next_u32()) * (n - i) as u64) >> 32) as usize;
        order.swap(i, j);
    }
    order.truncate(m);
    order
}

/// The kernel distance over given subsets of both sets; see [`KernelDistance`].
///
/// # Errors
///
/// [`Error::Argument`] for sets of different dimension, subsets of unequal size or fewer than two
/// vectors, or indices that do not exist.
pub fn kernel_distance_of_subsets(
    a: &Features,
    b: &Features,
    subsets: &[[Vec<usize>; 2]],
) -> Result<f64> {
    a.check(b, 2)?;
    let fault = |reason: String| Error::Argument {
        name: "subsets",
        reason,
    };
    if subsets.is_empty() {
        return Err(fault("none".to_owned()));
    }
    let mut total = 0.0;
    for (k, [of_a, of_b]) in subsets.iter().enumerate() {
        let m = of_a.len();
        if m < 2 || of_b.len() != m {
            return Err(fault(format!("subset {k}: {m} and {} vectors", of_b.len())));
        }
        for (indices, set) in [(of_a, a), (of_b, b)] {
            if let Some(i) = indices.iter().find(|i| **i >= set.len()) {
                return Err(fault(format!("subset {k}: vector {i} of {}", set.len())));
            }
        }
        let within = |set: &Features, indices: &[usize]| -> f64 {
            let mut sum = 0.0;
            for (i, &x) in indices.iter().enumerate() {
                for &y in &indices[..i] {
                    sum += 2.0 * kernel(set.row(x), set.row(y));
                }
            }
            sum / (m * (m - 1)) as f64
        };
        let mut across = 0.0;
        for &x in of_a {
            for &y in of_b {
                across += kernel(a.row(x), b.row(y));
            }
        }
        total += within(a, of_a) + within(b, of_b) - 2.0 * across / (m * m) as f64;
    }
    Ok(total / subsets.len() as f64)
}

fn kernel(x: &[f32], y: &[f32]) -> f64 {
    // Sixteen running sums, so that they can be kept in registers side by side.
    let mut sums = [0.0_f64; 16];
    for (x, y) in x.chunks(16).zip(y.chunks(16)) {
        for ((s, x), y) in sums.iter_mut().zip(x).zip(y) {
            *s += f64::from(*x) * f64::from(*y);
        }
    }
    (sums.iter().sum::<f64>() / x.len() as f64 + 1.0).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pairs_worked_out_by_hand() {
        // One dimension: k(x, y) = (x y + 1)^3.
        let a = Features::new(vec![0.0, 1.0], 1).unwrap();
        let b = Features::new(vec![2.0, -1.0], 1).unwrap();
        let all = [[vec![0, 1], vec![0, 1]]];
        // Within: k(0, 1) = 1; k(2, -1) = -1. Across: 1, 1, 27, 0.
        let expected = 1.0 - 1.0 - 2.0 * 29.0 / 4.0;
        let found = kernel_distance_of_subsets(&a, &b, &all).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}");
    }

    #[test]
    fn subsets_have_no_repetition_and_depend_on_the_seed() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut chosen = choose(50, 20, &mut rng);
        assert_ne!(chosen, choose(50, 20, &mut rng));
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 20);
        assert!(chosen[19] < 50);
        let mut all = choose(7, 7, &mut rng);
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn impossible_subsets_are_refused() {
        let a = Features::new(vec![0.0, 1.0], 1).unwrap();
        for subsets in [
            vec![],
            vec![[vec![0], vec![0]]],
            vec![[vec![0, 2], vec![0, 1]]],
        ] {
            assert!(kernel_distance_of_subsets(&a, &a, &subsets).is_err());
        }
        let none = KernelDistance {
            subsets: 0,
            ..KernelDistance::default()
        };
        assert!(none.measure(&a, &a).is_err());
    }
}
