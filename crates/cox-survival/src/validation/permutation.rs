//! What a statistic looks like when the outcome has nothing to do with the features.

use std::fmt;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bootstrap::quantile;
use super::replicates::finite;
use crate::error::{Error, Result};
use crate::progress::{Counter, Observer, silent};

/// Settings of a permutation null.
///
/// ```
/// use cox_survival::{Permutation, Surv, concordance};
/// let time: Vec<f64> = (1..=20).map(f64::from).collect();
/// let surv = Surv::new(&time, &[true; 20])?;
/// let score: Vec<f64> = (0..20).map(|i| -f64::from(i / 2)).collect();
/// let null = Permutation::new(200).seed(1).run(20, |rows| {
///     Ok(concordance(&surv.subset(rows)?, &score)?.concordance())
/// })?;
/// assert!(null.p() < 0.01);
/// assert!((null.mean() - 0.5).abs() < 0.05);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Permutation {
    permutations: usize,
    seed: u64,
}

impl Default for Permutation {
    fn default() -> Self {
        Self::new(200)
    }
}

impl Permutation {
    /// So many permutations, seed 0.
    pub fn new(permutations: usize) -> Self {
        Self {
            permutations,
            seed: 0,
        }
    }

    /// Seed of the permutations; each has a random stream of its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The `k`-th permutation of `n` rows; its own random stream, so that threads do not matter.
    pub fn draw(&self, n: usize, k: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(k);
        let mut rows: Vec<usize> = (0..n).collect();
        rows.shuffle(&mut rng);
        rows
    }

    /// The null of `statistic`, which is told for each of `n` rows whose outcome it has
    /// (`surv.subset(rows)`), and is large when there is something to find.
    ///
    /// # Errors
    /// Those of the statistic, and [`Error::Undefined`] where it is not finite: no other value could be
    /// said to be at least as large.
    pub fn run<F>(&self, n: usize, statistic: F) -> Result<PermutationNull>
    where
        F: Fn(&[usize]) -> Result<f64> + Sync,
    {
        self.run_with(n, statistic, &silent)
    }

    /// [`Permutation::run`] with an observer that hears of every finished permutation.
    pub fn run_with<F>(
        &self,
        n: usize,
        statistic: F,
        observer: &Observer<'_>,
    ) -> Result<PermutationNull>
    where
        F: Fn(&[usize]) -> Result<f64> + Sync,
    {
        if self.permutations == 0 {
            return Err(Error::Setting {
                name: "permutations",
                value: "0".to_owned(),
                expected: "must be at least 1",
            });
        }
        let rows: Vec<usize> = (0..n).collect();
        let value = |rows: &[usize]| finite("the permuted statistic", statistic(rows)?);
        let observed = value(&rows)?;
        let counter = Counter::new(self.permutations, observer);
        let null = (0..self.permutations as u64)
            .into_par_iter()
            .map(|k| {
                let value = value(&self.draw(n, k))?;
                counter.step()?;
                Ok(value)
            })
            .collect::<Result<_>>()?;
        Ok(PermutationNull { observed, null })
    }
}

/// A statistic beside its values under permuted outcomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PermutationNull {
    observed: f64,
    null: Vec<f64>,
}

impl PermutationNull {
    /// The statistic on the data as they are.
    pub fn observed(&self) -> f64 {
        self.observed
    }

    /// Its values under permuted outcomes, in order of the draws.
    pub fn null(&self) -> &[f64] {
        &self.null
    }

    /// Mean of the null.
    pub fn mean(&self) -> f64 {
        self.null.iter().sum::<f64>() / self.null.len() as f64
    }

    /// Quantile of the null, linear between order statistics.
    pub fn quantile(&self, p: f64) -> f64 {
        let mut sorted = self.null.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        quantile(&sorted, p)
    }

    /// `(1 + number of permutations at least as large) / (1 + number of permutations)`: one-sided,
    /// never 0.
    pub fn p(&self) -> f64 {
        let as_large = self.null.iter().filter(|&&v| v >= self.observed).count();
        (1 + as_large) as f64 / (1 + self.null.len()) as f64
    }
}

impl fmt::Display for PermutationNull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.4}; with permuted outcomes {:.4} ({:.4} to {:.4}), p = {:.4} ({} permutations)",
            self.observed,
            self.mean(),
            self.quantile(0.025),
            self.quantile(0.975),
            self.p(),
            self.null.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    /// How many rows kept their place.
    #[expect(clippy::unnecessary_wraps, reason = "a statistic may fail")]
    fn fixed(rows: &[usize]) -> Result<f64> {
        Ok(rows.iter().enumerate().filter(|(i, r)| i == *r).count() as f64)
    }

    #[test]
    fn a_permutation_leaves_one_row_in_place_on_average() {
        let null = Permutation::new(2000).seed(4).run(30, fixed).unwrap();
        assert!((null.observed() - 30.0).abs() < 1e-12);
        assert!((null.mean() - 1.0).abs() < 0.1, "{}", null.mean());
        assert!((null.p() - 1.0 / 2001.0).abs() < 1e-12);
        let whole = Permutation::new(3)
            .run(7, |rows| {
                let mut seen = rows.to_vec();
                seen.sort_unstable();
                assert_eq!(seen, (0..7).collect::<Vec<_>>());
                Ok(0.0)
            })
            .unwrap();
        assert!((whole.p() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_number_of_threads_changes_nothing_and_it_can_be_stopped() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| Permutation::new(50).run(30, fixed).unwrap())
        };
        assert_eq!(run(1), run(3));
        let stop = |_| ControlFlow::Break(());
        assert_eq!(
            Permutation::new(50).run_with(30, fixed, &stop),
            Err(Error::Interrupted)
        );
        assert!(matches!(
            Permutation::new(0).run(30, fixed),
            Err(Error::Setting { .. })
        ));
    }

    #[test]
    fn what_is_no_number_is_neither_large_nor_small() {
        let in_order = |rows: &[usize]| rows.iter().enumerate().all(|(i, r)| i == *r);
        for bad in [f64::NAN, f64::INFINITY] {
            for at_the_data in [true, false] {
                let statistic = |rows: &[usize]| {
                    Ok(if in_order(rows) == at_the_data {
                        bad
                    } else {
                        0.5
                    })
                };
                let found = Permutation::new(20).run(10, statistic);
                assert!(matches!(found, Err(Error::Undefined { .. })), "{found:?}");
            }
        }
    }
}
