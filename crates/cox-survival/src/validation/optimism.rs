//! Optimism: how much better a model looks on the patients it was made from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::replicates::{finite, replicates};
use super::resampling::Resampling;
use crate::error::{Error, Result};
use crate::progress::{Observer, silent};
use crate::text_table;

/// Settings of a bootstrap estimate of a model's performance on new patients.
///
/// The whole modelling procedure is repeated on each bootstrap sample `b`; with `P(model, rows)` the
/// measure of performance,
///
/// ```text
/// apparent    = P(model of all, all)
/// optimism    = mean of P(model_b, sample_b) - P(model_b, all)
/// corrected   = apparent - optimism
/// out of bag  = mean of P(model_b, rows not in sample_b)
/// .632        = 0.368 apparent + 0.632 out of bag
/// .632+       = (1 - w) apparent + w out of bag',  w = 0.632 / (1 - 0.368 R)
/// R           = (apparent - out of bag') / (apparent - no information)
/// ```
///
/// where `out of bag'` is no worse than `no information` (the measure of a useless model, 0.5 for a
/// concordance), and `R`, the relative overfitting, lies in 0 to 1. The out-of-bag measure is a mean
/// over samples, not over patients as Efron and Tibshirani have it: a concordance belongs to no
/// single patient.
///
/// Samples on which something fails are left out and counted. Replicate `r` of a seed is always the
/// same draw, whatever the number of threads. Cost that of the procedure times the replicates.
///
/// B. Efron, Estimating the error rate of a prediction rule, JASA 78, 1983; F. Harrell, K. Lee and D.
/// Mark, Multivariable prognostic models, Statistics in Medicine 15, 1996; B. Efron and R.
/// Tibshirani, Improvements on cross-validation: the .632+ bootstrap method, JASA 92, 1997. R:
/// `rms::validate`.
///
/// ```
/// use cox_survival::{CoxPh, Covariates, Optimism, Resampling, Surv, concordance};
/// let n = 60;
/// let noise = |k: usize| (k * 7919 % 1009) as f64 / 504.5 - 1.0;
/// let x: Vec<f64> = (0..n * 5).map(noise).collect();
/// let time: Vec<f64> = (0..n).map(|i| (noise(i + 700) - x[i * 5]).exp()).collect();
/// let surv = Surv::new(&time, &vec![true; n])?;
/// let x = Covariates::from_rows(&x, n, 5)?;
/// let fit = Optimism::new(50).seed(1).run(
///     &Resampling::rows(n),
///     |rows| CoxPh::new().fit(&surv.subset(rows)?, &x.select(rows)?),
///     |fit, rows| {
///         let score = fit.predict(&x.select(rows)?)?;
///         Ok(concordance(&surv.subset(rows)?, &score)?.concordance())
///     },
/// )?;
/// assert!(fit.corrected() < fit.apparent());
/// println!("{fit}");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Optimism {
    replicates: usize,
    seed: u64,
    no_information: f64,
    lower_is_better: bool,
}

impl Default for Optimism {
    fn default() -> Self {
        Self::new(200)
    }
}

impl Optimism {
    /// So many replicates, seed 0, a measure of which more is better and 0.5 is useless.
    pub fn new(replicates: usize) -> Self {
        Self {
            replicates,
            seed: 0,
            no_information: 0.5,
            lower_is_better: false,
        }
    }

    /// Seed of the draws.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The measure of a model that knows nothing, for the .632+ estimate.
    pub fn no_information(mut self, value: f64) -> Self {
        self.no_information = value;
        self
    }

    /// The measure is an error: less is better.
    pub fn lower_is_better(mut self) -> Self {
        self.lower_is_better = true;
        self
    }

    /// `fit` makes a model from rows (with repeats), `measure` judges it on rows.
    ///
    /// # Errors
    /// Those of `fit` and `measure` on all rows; the first one met if they fail on all but one
    /// sample.
    pub fn run<M>(
        &self,
        resampling: &Resampling,
        fit: impl Fn(&[usize]) -> Result<M> + Sync,
        measure: impl Fn(&M, &[usize]) -> Result<f64> + Sync,
    ) -> Result<OptimismFit> {
        self.run_with(resampling, fit, measure, &silent)
    }

    /// [`Optimism::run`] with an observer that hears of every finished replicate.
    pub fn run_with<M>(
        &self,
        resampling: &Resampling,
        fit: impl Fn(&[usize]) -> Result<M> + Sync,
        measure: impl Fn(&M, &[usize]) -> Result<f64> + Sync,
        observer: &Observer<'_>,
    ) -> Result<OptimismFit> {
        resampling.check(resampling.n())?;
        self.check()?;
        let all: Vec<usize> = (0..resampling.n()).collect();
        let finite = |value| finite("the measure of performance", value);
        let apparent = finite(measure(&fit(&all)?, &all)?)?;
        let replicate = |r: u64| -> Result<Replicate> {
            let sample = resampling.draw(self.seed, r);
            let mut outside = vec![true; resampling.n()];
            for &row in &sample {
                outside[row] = false;
            }
            let outside: Vec<usize> = all.iter().copied().filter(|&i| outside[i]).collect();
            let model = fit(&sample)?;
            Ok(Replicate {
                in_sample: finite(measure(&model, &sample)?)?,
                all: finite(measure(&model, &all)?)?,
                out_of_bag: finite(measure(&model, &outside)?)?,
            })
        };
        let replicates = replicates(self.replicates, observer, replicate)?;
        Ok(OptimismFit {
            settings: *self,
            apparent,
            failed: self.replicates - replicates.len(),
            replicates,
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
        if !self.no_information.is_finite() {
            return Err(Error::Setting {
                name: "no_information",
                value: self.no_information.to_string(),
                expected: "must be a finite number",
            });
        }
        Ok(())
    }
}

/// The measures of one bootstrap sample's model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Replicate {
    /// On the sample it was made from.
    pub in_sample: f64,
    /// On all rows.
    pub all: f64,
    /// On the rows that are not in the sample.
    pub out_of_bag: f64,
}

/// Result of [`Optimism::run`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptimismFit {
    settings: Optimism,
    apparent: f64,
    failed: usize,
    replicates: Vec<Replicate>,
}

impl OptimismFit {
    /// The measure of the model of all rows, on all rows.
    pub fn apparent(&self) -> f64 {
        self.apparent
    }

    /// Samples on which the procedure failed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// The samples on which it did not, in order of the draws.
    pub fn replicates(&self) -> &[Replicate] {
        &self.replicates
    }

    /// How much better a model looks on its own sample than on all rows, on average.
    pub fn optimism(&self) -> f64 {
        self.mean(|r| r.in_sample - r.all)
    }

    /// Standard error of [`OptimismFit::optimism`] from the finite number of samples.
    pub fn optimism_std_error(&self) -> f64 {
        let mean = self.optimism();
        let n = self.replicates.len() as f64;
        let square = |r: &Replicate| (r.in_sample - r.all - mean).powi(2);
        (self.replicates.iter().map(square).sum::<f64>() / (n - 1.0) / n).sqrt()
    }

    /// Apparent less optimism (Harrell's bias-corrected index).
    pub fn corrected(&self) -> f64 {
        self.apparent - self.optimism()
    }

    /// Mean measure on the rows left out of a sample.
    pub fn out_of_bag(&self) -> f64 {
        self.mean(|r| r.out_of_bag)
    }

    /// The .632 estimate.
    pub fn estimate_632(&self) -> f64 {
        0.368 * self.apparent + 0.632 * self.out_of_bag()
    }

    /// Relative overfitting `R`: 0 if patients left out are predicted as well as the others, 1 if no
    /// better than by chance.
    pub fn overfitting(&self) -> f64 {
        let sign = if self.settings.lower_is_better {
            1.0
        } else {
            -1.0
        };
        let [apparent, outside, none] = [
            self.apparent,
            self.out_of_bag(),
            self.settings.no_information,
        ]
        .map(|v| sign * v);
        if outside > apparent && none > apparent {
            (outside.min(none) - apparent) / (none - apparent)
        } else {
            0.0
        }
    }

    /// The .632+ estimate.
    pub fn estimate_632_plus(&self) -> f64 {
        let none = self.settings.no_information;
        let outside = if self.settings.lower_is_better {
            self.out_of_bag().min(none)
        } else {
            self.out_of_bag().max(none)
        };
        let weight = 0.632 / (1.0 - 0.368 * self.overfitting());
        (1.0 - weight) * self.apparent + weight * outside
    }

    fn mean(&self, of: impl Fn(&Replicate) -> f64) -> f64 {
        self.replicates.iter().map(of).sum::<f64>() / self.replicates.len() as f64
    }
}

impl fmt::Display for OptimismFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: &str, value| vec![name.to_owned(), text_table::significant(value, 4)];
        let rows = [
            row("apparent", self.apparent),
            row("optimism", self.optimism()),
            row("corrected", self.corrected()),
            row("out of bag", self.out_of_bag()),
            row(".632", self.estimate_632()),
            row(".632+", self.estimate_632_plus()),
        ];
        text_table::write(f, &["", "measure"], &rows)?;
        write!(f, "{} bootstrap samples", self.replicates.len())?;
        match self.failed {
            0 => writeln!(f),
            failed => writeln!(f, ", {failed} more failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::test_data::close;
    use crate::{Covariates, CoxFit, CoxPh, Surv, concordance};

    fn data(n: usize, p: usize) -> (Surv, Vec<f64>) {
        let noise = |k: usize| (k * 7919 % 10_007) as f64 / 5003.5 - 1.0;
        let x: Vec<f64> = (0..n * p).map(|k| noise(k * k % 9973 + k)).collect();
        let time: Vec<f64> = (0..n)
            .map(|i| (noise(i * 31 + 77) - 0.3 * x[i * p]).exp())
            .collect();
        let event: Vec<bool> = (0..n).map(|i| i % 4 > 0).collect();
        (Surv::new(&time, &event).unwrap(), x)
    }

    fn judge(surv: &Surv, x: &Covariates<'_>, fit: &CoxFit, rows: &[usize]) -> Result<f64> {
        let score = fit.predict(&x.select(rows)?)?;
        Ok(concordance(&surv.subset(rows)?, &score)?.concordance())
    }

    fn run(settings: Optimism) -> OptimismFit {
        let (surv, x) = data(50, 6);
        let x = Covariates::from_rows(&x, 50, 6).unwrap();
        let resampling = Resampling::rows(50).within(surv.event()).unwrap();
        let fit = |rows: &[usize]| CoxPh::new().fit(&surv.subset(rows)?, &x.select(rows)?);
        settings
            .run(&resampling, fit, |m, rows| judge(&surv, &x, m, rows))
            .unwrap()
    }

    #[test]
    fn agrees_with_a_plain_loop_over_the_same_draws() {
        let found = run(Optimism::new(40).seed(3));
        let (surv, x) = data(50, 6);
        let x = Covariates::from_rows(&x, 50, 6).unwrap();
        let resampling = Resampling::rows(50).within(surv.event()).unwrap();
        let all: Vec<usize> = (0..50).collect();
        let (mut optimism, mut outside) = (0.0, 0.0);
        for r in 0..40 {
            let rows = resampling.draw(3, r);
            let fit = CoxPh::new()
                .fit(&surv.subset(&rows).unwrap(), &x.select(&rows).unwrap())
                .unwrap();
            let at = |rows: &[usize]| judge(&surv, &x, &fit, rows).unwrap();
            let left: Vec<usize> = all.iter().copied().filter(|i| !rows.contains(i)).collect();
            optimism += (at(&rows) - at(&all)) / 40.0;
            outside += at(&left) / 40.0;
        }
        close(found.optimism(), optimism, 1e-12);
        close(found.out_of_bag(), outside, 1e-12);
        let fit = CoxPh::new().fit(&surv, &x).unwrap();
        close(found.apparent(), fit.concordance().unwrap().0, 1e-12);
        close(found.corrected(), found.apparent() - optimism, 1e-12);
        close(
            found.estimate_632(),
            0.368 * found.apparent() + 0.632 * outside,
            1e-12,
        );
        let r = (found.apparent() - outside.max(0.5)) / (found.apparent() - 0.5);
        close(found.overfitting(), r, 1e-12);
        let w = 0.632 / (1.0 - 0.368 * r);
        close(
            found.estimate_632_plus(),
            (1.0 - w) * found.apparent() + w * outside.max(0.5),
            1e-12,
        );
        assert!(found.corrected() < found.apparent() && found.overfitting() > 0.0);
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| run(Optimism::new(24).seed(9)))
        };
        assert_eq!(with(1), with(3));
        assert_ne!(run(Optimism::new(24).seed(1)), with(1));
    }

    #[test]
    fn an_error_is_turned_the_other_way_and_a_model_of_nothing_has_no_optimism() {
        let (surv, x) = data(50, 6);
        let x = Covariates::from_rows(&x, 50, 6).unwrap();
        let resampling = Resampling::rows(50).within(surv.event()).unwrap();
        let fit = |rows: &[usize]| CoxPh::new().fit(&surv.subset(rows)?, &x.select(rows)?);
        let error = |m: &CoxFit, rows: &[usize]| Ok(1.0 - judge(&surv, &x, m, rows)?);
        let turned = Optimism::new(40)
            .seed(3)
            .lower_is_better()
            .run(&resampling, fit, error)
            .unwrap();
        let straight = run(Optimism::new(40).seed(3));
        close(
            turned.estimate_632_plus(),
            1.0 - straight.estimate_632_plus(),
            1e-12,
        );
        close(turned.corrected(), 1.0 - straight.corrected(), 1e-12);
        let constant = Optimism::new(10)
            .run(&resampling, |_| Ok(()), |(), _| Ok(0.7))
            .unwrap();
        close(constant.corrected(), 0.7, 1e-15);
        close(constant.estimate_632_plus(), 0.7, 1e-15);
        let want = "           measure\napparent       0.7\noptimism         0\ncorrected      0.7\n\
                    out of bag     0.7\n.632           0.7\n.632+          0.7\n10 bootstrap samples\n";
        assert_eq!(constant.to_string(), want);
        let text = serde_json::to_string(&straight).unwrap();
        assert_eq!(
            serde_json::from_str::<OptimismFit>(&text).unwrap(),
            straight
        );
    }

    #[test]
    fn failures_are_counted_and_an_observer_can_stop_it() {
        let rows = Resampling::rows(20);
        let fit = |rows: &[usize]| {
            if rows[0].is_multiple_of(2) {
                Ok(rows[0])
            } else {
                Err(Error::NoEvents)
            }
        };
        let found = Optimism::new(30).run(&rows, fit, |_, _| Ok(0.6)).unwrap();
        assert_eq!(found.failed() + found.replicates().len(), 30);
        assert!(found.failed() > 0);
        let never = Optimism::new(30).run(
            &rows,
            |rows| {
                if rows.len() == 20 && rows[0] == 0 && rows[1] == 1 {
                    Ok(())
                } else {
                    Err(Error::NoEvents)
                }
            },
            |(), _| Ok(0.6),
        );
        assert!(matches!(never, Err(Error::NoEvents)));
        let stopped = Optimism::new(30).run_with(&rows, |_| Ok(()), |(), _| Ok(0.6), &|_| {
            ControlFlow::Break(())
        });
        assert_eq!(stopped, Err(Error::Interrupted));
        let few = Optimism::new(1).run(&rows, |_| Ok(()), |(), _| Ok(0.6));
        assert!(matches!(
            few,
            Err(Error::Setting {
                name: "replicates",
                ..
            })
        ));
    }
}
