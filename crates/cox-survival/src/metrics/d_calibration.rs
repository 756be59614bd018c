//! D-calibration: are the predicted probabilities of one's own survival time uniform?

use std::fmt;

use serde::{Deserialize, Serialize};

use super::predicted::PredictedSurvival;
use crate::compensated::Sum;
use crate::error::{Error, Result, check_length};
use crate::logrank::chi_squared_tail;
use crate::surv::Surv;
use crate::table::Table;
use crate::text_table;

/// Settings of D-calibration.
///
/// If predicted curves are right, the survival `S_i(t_i)` that each patient's curve has at his own
/// time of event is uniform on 0 to 1. Events are counted in `bins` equal intervals; a patient
/// censored at `c` is spread over the values his event may still have, uniform below `S_i(c)`:
/// with `S_i(c)` in the interval `[a, b)`, `(S_i(c) - a) / S_i(c)` in it and `(b - a) / S_i(c)` in
/// every interval below. With `N_k` in interval `k` and `N` in all,
///
/// ```text
/// chi-squared = sum over k of (N_k - N / K)^2 / (N / K)   on K - 1 degrees of freedom
/// ```
///
/// A small p-value says the curves are not calibrated. Case weights count patients. `O(n K)`.
///
/// H. Haider, B. Hoehn, S. Davis and R. Greiner, Effective ways to build and evaluate individual
/// survival distributions, JMLR 21, 2020, section 3.5 and appendix B.
///
/// ```
/// use cox_survival::{DCalibration, Surv};
/// let surv = Surv::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, true])?;
/// let fit = DCalibration::new().bins(2).fit(&surv, &[0.8, 0.7, 0.6, 0.1])?;
/// assert!((fit.counts[0] - (1.0 + 0.5 / 0.6)).abs() < 1e-12);
/// println!("{fit}");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DCalibration {
    bins: usize,
}

impl Default for DCalibration {
    fn default() -> Self {
        Self { bins: 10 }
    }
}

impl DCalibration {
    /// Ten intervals.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of intervals, at least 2.
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = bins;
        self
    }

    /// From the survival that each patient's curve has at his own time, event or censoring.
    ///
    /// # Errors
    /// [`Error::Prediction`] for a value that is no probability; [`Error::Undefined`] for
    /// left-truncated data.
    pub fn fit(&self, surv: &Surv, at_own_time: &[f64]) -> Result<DCalibrationFit> {
        check_length("survival at own time", at_own_time.len(), surv.n())?;
        check_probabilities(at_own_time)?;
        if self.bins < 2 {
            return Err(Error::Setting {
                name: "bins",
                value: self.bins.to_string(),
                expected: "must be at least 2",
            });
        }
        if surv.entry().is_some() {
            return Err(Error::Undefined {
                what: "D-calibration",
                reason: "it does not account for left truncation",
            });
        }
        let k = self.bins;
        let edge = |b: usize| b as f64 / k as f64;
        let mut counts = vec![Sum::default(); k];
        for (i, &s) in at_own_time.iter().enumerate() {
            let w = surv.weight(i);
            let own = (0..k).rev().find(|&b| s >= edge(b)).unwrap_or(0);
            if surv.event()[i] || s <= 0.0 {
                counts[own].add(w);
                continue;
            }
            counts[own].add(w * (s - edge(own)) / s);
            for below in &mut counts[..own] {
                below.add(w / (k as f64 * s));
            }
        }
        let counts: Vec<f64> = counts.iter().map(|c| c.value()).collect();
        let total: f64 = (0..surv.n()).map(|i| surv.weight(i)).sum();
        let expected = total / k as f64;
        let chi_squared = counts
            .iter()
            .map(|c| (c - expected).powi(2) / expected)
            .sum();
        Ok(DCalibrationFit {
            counts,
            expected,
            chi_squared,
            df: k - 1,
            p_value: chi_squared_tail(chi_squared, k - 1)?,
        })
    }

    /// From predicted curves, taken as step functions of time: give them at many times.
    pub fn fit_curves(
        &self,
        surv: &Surv,
        predicted: &PredictedSurvival,
    ) -> Result<DCalibrationFit> {
        check_length("predicted survival (rows)", predicted.n(), surv.n())?;
        self.fit(surv, &predicted.at_own_time(surv.time())?)
    }
}

/// One probability per row.
pub(super) fn check_probabilities(values: &[f64]) -> Result<()> {
    match values.iter().position(|p| !(0.0..=1.0).contains(p)) {
        None => Ok(()),
        Some(row) => Err(Error::Prediction {
            row,
            column: 0,
            value: values[row],
            fault: "is not a probability",
        }),
    }
}

/// Result of [`DCalibration::fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DCalibrationFit {
    /// Patients in each interval, from the lowest predicted survival to the highest.
    pub counts: Vec<f64>,
    /// Patients each interval should hold.
    pub expected: f64,
    /// The test statistic.
    pub chi_squared: f64,
    /// Its degrees of freedom.
    pub df: usize,
    /// Upper tail of the chi-squared distribution.
    pub p_value: f64,
}

impl DCalibrationFit {
    /// The intervals as they are printed.
    pub fn table(&self) -> Table {
        let k = self.counts.len() as f64;
        let row = |(b, &c): (usize, &f64)| {
            let edge = |b: usize| text_table::significant(b as f64 / k, 3);
            vec![
                format!("{} - {}", edge(b), edge(b + 1)),
                text_table::significant(c, 4),
                text_table::significant(self.expected, 4),
            ]
        };
        let rows: Vec<Vec<String>> = self.counts.iter().enumerate().map(row).collect();
        Table::new(&["survival", "found", "expected"], rows)
    }
}

impl fmt::Display for DCalibrationFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)?;
        writeln!(
            f,
            "Chisq= {} on {} degrees of freedom, p= {}",
            text_table::significant(self.chi_squared, 3),
            self.df,
            text_table::p_value(self.p_value),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::test_curves::cases;
    use crate::test_data::close;

    proptest! {
        #[test]
        fn counts_are_integrals_of_the_density_of_each_patient(case in cases(), bins in 2..12usize) {
            let surv = case.surv();
            let at = case.curves().at_own_time(&case.time).unwrap();
            let fit = DCalibration::new().bins(bins).fit_curves(&surv, &case.curves()).unwrap();
            let total: f64 = case.weights.iter().sum();
            close(fit.counts.iter().sum(), total, 1e-12);
            // Censored: uniform on 0..s, so the distribution function at x is min(x / s, 1).
            let below = |x: f64| -> f64 {
                (0..at.len()).map(|i| {
                    let s = at[i];
                    case.weights[i] * if case.event[i] || s <= 0.0 {
                        if s < x { 1.0 } else { 0.0 }
                    } else {
                        (x / s).min(1.0)
                    }
                }).sum()
            };
            for b in 0..bins {
                let upper = if b + 1 == bins { total } else { below((b + 1) as f64 / bins as f64) };
                close(fit.counts[b], upper - below(b as f64 / bins as f64), 1e-12);
            }
        }
    }

    #[test]
    fn faults_and_printing() {
        let surv = Surv::new(&[1.0, 2.0], &[true, true]).unwrap();
        let bad = DCalibration::new().fit(&surv, &[0.5, 1.2]);
        assert!(matches!(bad, Err(Error::Prediction { row: 1, .. })));
        let bad = DCalibration::new().bins(1).fit(&surv, &[0.5, 0.2]);
        assert!(matches!(bad, Err(Error::Setting { name: "bins", .. })));
        let fit = DCalibration::new().bins(2).fit(&surv, &[0.5, 1.0]).unwrap();
        assert_eq!(fit.counts, [0.0, 2.0]);
        close(fit.p_value, 0.157_299_207_050_285, 1e-12);
        assert_eq!(
            fit.to_string(),
            "survival found expected\n0 - 0.5      0        1\n0.5 - 1      2        1\n\
             Chisq= 2 on 1 degrees of freedom, p= 0.157\n"
        );
    }
}
