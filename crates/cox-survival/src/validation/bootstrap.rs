//! Bootstrap confidence intervals.

use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::replicates::{counted_replicates, finite};
use super::resampling::Resampling;
use crate::error::{Error, Result};
use crate::progress::{Counter, Observer, silent};

/// How limits are read off the replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IntervalKind {
    /// The quantiles of the replicates.
    #[default]
    Percentile,
    /// Quantiles corrected for bias and for a standard error that changes with the value
    /// (`BCa`). Needs the statistic once more for each unit left out, before the replicates, and none
    /// of these may fail.
    Bca,
}

/// Settings of a bootstrap.
///
/// Replicate `r` of a seed is always the same draw, whatever the number of threads.
///
/// B. Efron, Better bootstrap confidence intervals, JASA 82, 1987.
///
/// ```
/// use cox_survival::{Bootstrap, Resampling};
/// let x: Vec<f64> = (0..40).map(|i| f64::from(i * 17 % 40)).collect();
/// let mean = |rows: &[usize]| Ok(rows.iter().map(|&i| x[i]).sum::<f64>() / rows.len() as f64);
/// let interval = Bootstrap::new(500).seed(1).run(&Resampling::rows(40), mean)?;
/// assert!(interval.lower() < 19.5 && 19.5 < interval.upper());
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    replicates: usize,
    seed: u64,
    level: f64,
    kind: IntervalKind,
}

const STATISTIC: &str = "the bootstrapped statistic";

impl Default for Bootstrap {
    fn default() -> Self {
        Self::new(1000)
    }
}

impl Bootstrap {
    /// So many replicates, seed 0, 95 % percentile interval.
    pub fn new(replicates: usize) -> Self {
        Self {
            replicates,
            seed: 0,
            level: 0.95,
            kind: IntervalKind::Percentile,
        }
    }

    /// Seed of the draws.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Confidence level, 0.95 unless set.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// Kind of interval, percentile unless set.
    pub fn interval(mut self, kind: IntervalKind) -> Self {
        self.kind = kind;
        self
    }

    /// The interval of `statistic`, a function of the rows drawn (row numbers, with repeats).
    ///
    /// Replicates on which it fails, or is not finite, are left out and counted; if fewer than two
    /// remain, the error of the first is returned. On the data themselves, and for
    /// [`IntervalKind::Bca`] without each unit, it must succeed.
    pub fn run<F>(&self, resampling: &Resampling, statistic: F) -> Result<BootstrapInterval>
    where
        F: Fn(&[usize]) -> Result<f64> + Sync,
    {
        self.run_with(resampling, statistic, &silent)
    }

    /// [`Bootstrap::run`] with an observer that hears of every finished replicate, and before them
    /// of every unit left out where the interval needs that.
    pub fn run_with<F>(
        &self,
        resampling: &Resampling,
        statistic: F,
        observer: &Observer<'_>,
    ) -> Result<BootstrapInterval>
    where
        F: Fn(&[usize]) -> Result<f64> + Sync,
    {
        resampling.check(resampling.n())?;
        self.check()?;
        let all: Vec<usize> = (0..resampling.n()).collect();
        let value = |rows: &[usize]| finite(STATISTIC, statistic(rows)?);
        let estimate = value(&all)?;
        let left_out = match self.kind {
            IntervalKind::Percentile => 0,
            IntervalKind::Bca => resampling.units(),
        };
        let counter = Counter::new(left_out + self.replicates, observer);
        let without: Vec<f64> = (0..left_out)
            .into_par_iter()
            .map(|unit| {
                let value = value(&resampling.without(unit))?;
                counter.step()?;
                Ok(value)
            })
            .collect::<Result<_>>()?;
        let mean = without.iter().sum::<f64>() / without.len() as f64;
        let influence: Vec<f64> = without.iter().map(|value| mean - value).collect();
        let seed = self.seed;
        let replicate = |r: u64| statistic(&resampling.draw(seed, r));
        self.counted_interval(estimate, replicate, &influence, &counter)
    }

    pub(crate) fn seed_value(&self) -> u64 {
        self.seed
    }

    /// The interval from a function of the replicate's number, and from the influence of each
    /// unit on the statistic (asked for only where the kind of interval needs it).
    pub(crate) fn interval_of(
        &self,
        estimate: f64,
        replicate: impl Fn(u64) -> Result<f64> + Sync,
        influence: impl FnOnce() -> Result<Vec<f64>>,
        observer: &Observer<'_>,
    ) -> Result<BootstrapInterval> {
        self.check()?;
        let influence = match self.kind {
            IntervalKind::Percentile => vec![],
            IntervalKind::Bca => influence()?,
        };
        let counter = Counter::new(self.replicates, observer);
        self.counted_interval(estimate, replicate, &influence, &counter)
    }

    fn counted_interval(
        &self,
        estimate: f64,
        replicate: impl Fn(u64) -> Result<f64> + Sync,
        influence: &[f64],
        counter: &Counter<'_>,
    ) -> Result<BootstrapInterval> {
        let value = |r| finite(STATISTIC, replicate(r)?);
        let values = counted_replicates(self.replicates, counter, value)?;
        let failed = self.replicates - values.len();
        let tails = match self.kind {
            IntervalKind::Percentile => {
                let tail = (1.0 - self.level) / 2.0;
                (tail, 1.0 - tail)
            }
            IntervalKind::Bca => self.bca_tails(estimate, &values, influence)?,
        };
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Ok(BootstrapInterval {
            estimate,
            lower: quantile(&sorted, tails.0),
            upper: quantile(&sorted, tails.1),
            level: self.level,
            kind: self.kind,
            failed,
            replicates: values,
        })
    }

    fn check(&self) -> Result<()> {
        if self.replicates < 2 {
            return Err(Error::Setting {
                name: "replicates",
                value: self.replicates.to_string(),
                expected: "must be at least 2",
            });
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(Error::Setting {
                name: "level",
                value: self.level.to_string(),
                expected: "must be between 0 and 1",
            });
        }
        Ok(())
    }

    /// `Phi(z0 + (z0 + z) / (1 - a (z0 + z)))` for both limits: `z0` from the share of replicates
    /// below the estimate, `a` the skewness of the influences over 6.
    fn bca_tails(&self, estimate: f64, values: &[f64], influence: &[f64]) -> Result<(f64, f64)> {
        let below = values.iter().filter(|&&v| v < estimate).count() as f64;
        let at_most = values.iter().filter(|&&v| v <= estimate).count() as f64;
        let share = (below + at_most) / (2.0 * values.len() as f64);
        if share <= 0.0 || share >= 1.0 {
            return Err(Error::Undefined {
                what: "the BCa interval",
                reason: "all replicates lie on one side of the estimate",
            });
        }
        let normal = Normal::standard();
        let z0 = normal.inverse_cdf(share);
        let power = |k: i32| influence.iter().map(|d| d.powi(k)).sum::<f64>();
        let squares = power(2);
        let a = if squares > 0.0 {
            power(3) / (6.0 * squares.powf(1.5))
        } else {
            0.0
        };
        let tail = |p: f64| {
            let z = z0 + normal.inverse_cdf(p);
            normal.cdf(z0 + z / (1.0 - a * z))
        };
        let half = (1.0 - self.level) / 2.0;
        Ok((tail(half), tail(1.0 - half)))
    }
}

/// Quantile of ascending values, linear between order statistics (R's type 7).
#[expect(clippy::cast_sign_loss, reason = "a share of the last index")]
pub(crate) fn quantile(sorted: &[f64], p: f64) -> f64 {
    let last = sorted.len() - 1;
    let h = p.clamp(0.0, 1.0) * last as f64;
    let low = (h.floor() as usize).min(last);
    let high = (low + 1).min(last);
    sorted[low] + (h - low as f64) * (sorted[high] - sorted[low])
}

/// A bootstrap interval with its replicates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BootstrapInterval {
    estimate: f64,
    lower: f64,
    upper: f64,
    level: f64,
    kind: IntervalKind,
    failed: usize,
    replicates: Vec<f64>,
}

impl BootstrapInterval {
    /// The statistic on the data themselves.
    pub fn estimate(&self) -> f64 {
        self.estimate
    }

    /// Lower limit.
    pub fn lower(&self) -> f64 {
        self.lower
    }

    /// Upper limit.
    pub fn upper(&self) -> f64 {
        self.upper
    }

    /// Confidence level.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// The statistic on every replicate on which it is defined, in order of the draws.
    pub fn replicates(&self) -> &[f64] {
        &self.replicates
    }

    /// Replicates on which the statistic is not defined.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Standard deviation of the replicates.
    pub fn std_error(&self) -> f64 {
        let n = self.replicates.len() as f64;
        let mean = self.mean();
        let squares: f64 = self.replicates.iter().map(|v| (v - mean).powi(2)).sum();
        (squares / (n - 1.0)).sqrt()
    }

    /// Mean of the replicates less the estimate.
    pub fn bias(&self) -> f64 {
        self.mean() - self.estimate
    }

    fn mean(&self) -> f64 {
        self.replicates.iter().sum::<f64>() / self.replicates.len() as f64
    }
}

impl fmt::Display for BootstrapInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            IntervalKind::Percentile => "percentile",
            IntervalKind::Bca => "BCa",
        };
        write!(
            f,
            "{:.4} ({}% CI {:.4} to {:.4}, {kind}, {} replicates",
            self.estimate,
            100.0 * self.level,
            self.lower,
            self.upper,
            self.replicates.len()
        )?;
        if self.failed > 0 {
            write!(f, ", {} more undefined", self.failed)?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const X: [f64; 15] = [
        0.2, 0.1, 1.5, 0.7, 3.9, 0.4, 2.2, 0.9, 6.1, 1.1, 0.3, 0.8, 1.9, 0.5, 2.8,
    ];

    #[expect(clippy::unnecessary_wraps, reason = "a statistic may fail")]
    fn mean(rows: &[usize]) -> Result<f64> {
        Ok(rows.iter().map(|&i| X[i]).sum::<f64>() / rows.len() as f64)
    }

    #[test]
    fn the_standard_error_of_a_mean_is_the_known_one() {
        let b = Bootstrap::new(4000)
            .seed(5)
            .run(&Resampling::rows(15), mean)
            .unwrap();
        let m = X.iter().sum::<f64>() / 15.0;
        let known = (X.iter().map(|x| (x - m).powi(2)).sum::<f64>() / 225.0).sqrt();
        assert!(
            (b.std_error() / known - 1.0).abs() < 0.05,
            "{} {known}",
            b.std_error()
        );
        assert!(b.bias().abs() < 0.05 * known);
        assert_eq!((b.replicates().len(), b.failed()), (4000, 0));
    }

    #[test]
    fn bca_moves_towards_the_long_tail() {
        let plan = Resampling::rows(15);
        let plain = Bootstrap::new(4000).seed(5);
        let (p, b) = (
            plain.run(&plan, mean).unwrap(),
            plain
                .clone()
                .interval(IntervalKind::Bca)
                .run(&plan, mean)
                .unwrap(),
        );
        assert!(b.lower() > p.lower() && b.upper() > p.upper(), "{p} {b}");
        // For a mean the acceleration is the skewness of the sample over 6 sqrt(n).
        let m = X.iter().sum::<f64>() / 15.0;
        let moment = |k: i32| X.iter().map(|x| (x - m).powi(k)).sum::<f64>();
        let a = moment(3) / (6.0 * moment(2).powf(1.5));
        let normal = Normal::standard();
        let below = p.replicates().iter().filter(|&&v| v < p.estimate()).count() as f64;
        let z0 = normal.inverse_cdf(below / 4000.0);
        let z = z0 + normal.inverse_cdf(0.975);
        let mut sorted = p.replicates().to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let upper = quantile(&sorted, normal.cdf(z0 + z / (1.0 - a * z)));
        assert!((b.upper() - upper).abs() < 0.02, "{} {upper}", b.upper());
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                Bootstrap::new(200)
                    .seed(9)
                    .run(&Resampling::rows(15), mean)
                    .unwrap()
            })
        };
        assert_eq!(run(1), run(3));
        let other = Bootstrap::new(200)
            .seed(10)
            .run(&Resampling::rows(15), mean)
            .unwrap();
        assert_ne!(run(1).replicates(), other.replicates());
    }

    #[test]
    fn failures_are_counted_and_an_observer_can_stop_it() {
        let plan = Resampling::rows(15);
        let fails = |rows: &[usize]| {
            if rows.contains(&3) {
                mean(rows)
            } else {
                Err(Error::NoEvents)
            }
        };
        let b = Bootstrap::new(300).run(&plan, fails).unwrap();
        assert!(b.failed() > 0 && b.failed() + b.replicates().len() == 300);
        assert!(b.to_string().contains("more undefined"));
        let only_whole = |rows: &[usize]| {
            if rows.windows(2).all(|w| w[0] < w[1]) {
                mean(rows)
            } else {
                Err(Error::NoEvents)
            }
        };
        assert_eq!(
            Bootstrap::new(10).run(&plan, only_whole),
            Err(Error::NoEvents)
        );

        let calls = AtomicUsize::new(0);
        let stop = |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Break(())
        };
        let stopped = Bootstrap::new(10_000).run_with(&plan, mean, &stop);
        assert_eq!(stopped, Err(Error::Interrupted));
        assert!(calls.into_inner() < 10_000);
    }

    #[test]
    fn bca_leaves_units_out_first_and_needs_every_one() {
        let plan = Resampling::rows(15);
        let bca = Bootstrap::new(50).interval(IntervalKind::Bca);
        let most = AtomicUsize::new(0);
        let calls = AtomicUsize::new(0);
        let hear = |p: crate::Progress| {
            assert_eq!(p.total, 65);
            most.fetch_max(p.done, Ordering::Relaxed);
            calls.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Continue(())
        };
        bca.run_with(&plan, mean, &hear).unwrap();
        assert_eq!((most.into_inner(), calls.into_inner()), (65, 65));
        let stop = |_| ControlFlow::Break(());
        assert_eq!(bca.run_with(&plan, mean, &stop), Err(Error::Interrupted));

        // Without row 3 there is no value; only the data and the rows left out are asked for it.
        let calls = AtomicUsize::new(0);
        let undefined = |rows: &[usize]| {
            calls.fetch_add(1, Ordering::Relaxed);
            if rows.contains(&3) {
                mean(rows)
            } else {
                Ok(f64::NAN)
            }
        };
        let found = bca.run(&plan, undefined);
        assert!(matches!(found, Err(Error::Undefined { .. })), "{found:?}");
        assert!(calls.load(Ordering::Relaxed) <= 16);
        assert!(Bootstrap::new(50).run(&plan, undefined).is_ok());
        let found = Bootstrap::new(50).run(&plan, |_| Ok(f64::NAN));
        assert!(matches!(found, Err(Error::Undefined { .. })), "{found:?}");
    }

    #[test]
    fn bad_settings_are_named() {
        let plan = Resampling::rows(15);
        for bad in [
            Bootstrap::new(1),
            Bootstrap::new(10).level(1.0),
            Bootstrap::new(10).level(f64::NAN),
        ] {
            assert!(matches!(bad.run(&plan, mean), Err(Error::Setting { .. })));
        }
        let one = Resampling::rows(15).clusters(&[0; 15]).unwrap();
        assert_eq!(
            Bootstrap::new(10).run(&one, mean),
            Err(Error::TooFewGroups { found: 1 })
        );
    }

    #[test]
    fn quantiles_are_type_7() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        for (p, q) in [(0.0, 1.0), (0.5, 3.0), (0.25, 1.75), (0.9, 6.8), (1.0, 8.0)] {
            assert!((quantile(&sorted, p) - q).abs() < 1e-12);
        }
    }
}
