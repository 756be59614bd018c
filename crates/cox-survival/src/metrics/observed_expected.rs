//! Calibration in the large: events that happened against events predicted.

use serde::{Deserialize, Serialize};

use super::d_calibration::check_probabilities;
use crate::error::{Error, Result, check_length};
use crate::surv::Surv;

/// Observed events over those that predicted curves expect up to each patient's own time:
/// calibration in the large over the whole follow-up.
///
/// Expected are `sum of w_i H_i(t_i)` with `H = -log S`; the ratio is 1 if right on average, above 1
/// if risks were too low. The log ratio has the standard error `sqrt(sum over events of w_i^2) /
/// sum over events of w_i`, that of a Poisson intercept with offset `log H_i(t_i)`.
/// `at_own_time` is `S_i(t_i)`, one per row, above 0.
///
/// C. Crowson, E. Atkinson and T. Therneau, Assessing calibration of prognostic risk scores,
/// Statistical Methods in Medical Research 25, 2016.
///
/// ```
/// use cox_survival::{Surv, observed_expected};
/// let surv = Surv::new(&[1.0, 2.0], &[true, true])?;
/// let ratio = observed_expected(&surv, &[(-0.5f64).exp(), (-0.5f64).exp()])?;
/// assert!((ratio.ratio - 2.0).abs() < 1e-12);
/// # Ok::<(), cox_survival::Error>(())
/// ```
pub fn observed_expected(surv: &Surv, at_own_time: &[f64]) -> Result<ObservedExpected> {
    check_length("survival at own time", at_own_time.len(), surv.n())?;
    check_probabilities(at_own_time)?;
    if surv.entry().is_some() {
        return Err(Error::Undefined {
            what: "the number of expected events",
            reason: "it does not account for left truncation",
        });
    }
    if let Some(row) = at_own_time.iter().position(|&s| s <= 0.0) {
        return Err(Error::Prediction {
            row,
            column: 0,
            value: at_own_time[row],
            fault: "means an infinite expected number of events",
        });
    }
    let (mut observed, mut squares, mut expected) = (0.0, 0.0, 0.0);
    for (i, s) in at_own_time.iter().enumerate() {
        let w = surv.weight(i);
        if surv.event()[i] {
            observed += w;
            squares += w * w;
        }
        expected -= w * s.ln();
    }
    if expected <= 0.0 {
        return Err(Error::Undefined {
            what: "observed over expected",
            reason: "no event is expected",
        });
    }
    Ok(ObservedExpected {
        observed,
        expected,
        ratio: observed / expected,
        std_err_log: squares.sqrt() / observed,
    })
}

/// Result of [`observed_expected`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObservedExpected {
    /// Events that happened (weighted).
    pub observed: f64,
    /// Events that were predicted.
    pub expected: f64,
    /// Their ratio.
    pub ratio: f64,
    /// Standard error of the log of the ratio.
    pub std_err_log: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::close;

    #[test]
    fn weights_count_patients() {
        let survival = [0.9, 0.5, 0.3, 0.6];
        let event = [true, false, true, true];
        let weights = [2.0, 1.0, 3.0, 1.0];
        let weighted = Surv::builder(&[1.0, 2.0, 3.0, 4.0], &event)
            .weights(&weights)
            .build()
            .unwrap();
        let found = observed_expected(&weighted, &survival).unwrap();
        close(found.observed, 6.0, 0.0);
        let expected: f64 = survival.iter().zip(weights).map(|(s, w)| -w * s.ln()).sum();
        close(found.ratio, 6.0 / expected, 1e-14);
        close(found.std_err_log, 14.0f64.sqrt() / 6.0, 1e-14);
    }

    #[test]
    fn faults_are_named() {
        let surv = Surv::new(&[1.0, 2.0], &[true, true]).unwrap();
        let none = observed_expected(&surv, &[0.5, 0.0]).unwrap_err();
        assert!(matches!(none, Error::Prediction { row: 1, .. }));
        let none = observed_expected(&surv, &[1.0, 1.0]).unwrap_err();
        assert!(matches!(none, Error::Undefined { .. }));
        let cut = Surv::builder(&[1.0, 2.0], &[true, true])
            .entry(&[0.0, 0.5])
            .build()
            .unwrap();
        let none = observed_expected(&cut, &[0.5, 0.5]).unwrap_err();
        assert!(matches!(none, Error::Undefined { .. }));
    }
}
