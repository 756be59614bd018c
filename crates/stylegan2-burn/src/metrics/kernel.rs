//! The kernel distance.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::features::Features;
use crate::error::{Error, Result};

/// The kernel distance: the squared maximum mean discrepancy under $(x \cdot y / d + 1)^3$.
///
/// The unbiased estimate, averaged over random subsets of equal size (Binkowski et al. 2018,
/// equation 4). With Inception's features it is the KID. It is unbiased, so it can be negative.
///
/// Two sets of equal size that is no larger than a subset are compared once, whole. Cost: $O(s m^2 d)$ for
/// `s` subsets of `m` vectors.
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
        // Subsets that are the whole set differ in their order alone.
        let whole = a.len() == m && b.len() == m;
        let mut subset = |n: usize| {
            let chosen = choose(n, m, &mut rng);
            if n == m { (0..m).collect() } else { chosen }
        };
        let pairs: Vec<[Vec<usize>; 2]> = (0..if whole { 1 } else { self.subsets })
            .map(|_| [a.len(), b.len()].map(&mut subset))
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
    // Of both sets the last subset and its sum: a whole set comes again and again.
    let mut last: [(&[usize], f64); 2] = [(&[], 0.0); 2];
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
        for ((set, indices), last) in [(a, of_a), (b, of_b)].into_iter().zip(&mut last) {
            if last.0 != indices {
                *last = (indices, within(set, indices));
            }
        }
        let mut across = 0.0;
        for &x in of_a {
            for &y in of_b {
                across += kernel(a.row(x), b.row(y));
            }
        }
        total += last[0].1 + last[1].1 - 2.0 * across / (m * m) as f64;
    }
    Ok(total / subsets.len() as f64)
}

/// The mean kernel of all pairs of a subset.
fn within(set: &Features, indices: &[usize]) -> f64 {
    let mut sum = 0.0;
    for (i, &x) in indices.iter().enumerate() {
        for &y in &indices[..i] {
            sum += 2.0 * kernel(set.row(x), set.row(y));
        }
    }
    sum / (indices.len() * (indices.len() - 1)) as f64
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
    fn whole_sets_are_compared_once_and_as_their_permutations() {
        let set = |n: usize, shift: usize| {
            let value = |k: usize| ((k * k * 31 + shift) % 97) as f32 / 40.0 - 1.0;
            Features::new((0..n * 5).map(value).collect(), 5).unwrap()
        };
        for [n_a, n_b] in [[40, 40], [40, 60], [60, 40]] {
            let (a, b) = (set(n_a, 3), set(n_b, 11));
            // The subsets of seed 1, a whole set in another order each time.
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let pairs: Vec<_> = (0..100)
                .map(|_| [n_a, n_b].map(|n| choose(n, 40, &mut rng)))
                .collect();
            let expected = kernel_distance_of_subsets(&a, &b, &pairs).unwrap();
            let measure = |seed| {
                let distance = KernelDistance::default().with_seed(seed);
                distance.measure(&a, &b).unwrap()
            };
            assert!((measure(1) - expected).abs() < 1e-9);
            let same = measure(1).to_bits() == measure(2).to_bits();
            assert_eq!(same, n_a == n_b, "{n_a} {n_b}");
        }
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
