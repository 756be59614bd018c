//! Decision curves: what acting on a predicted risk is worth.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::d_calibration::check_probabilities;
use super::ipcw_loss::last_time;
use crate::error::{Error, Result, check_length};
use crate::surv::Surv;
use crate::text_table;

/// Settings of a decision curve at a time.
///
/// Whoever's predicted risk of the event by `time` is at least the threshold `p` is treated. With
/// `q` the share treated and `S` the Kaplan-Meier estimate at the time among them,
///
/// ```text
/// true positives = (1 - S) q,  false positives = S q
/// net benefit    = true positives - false positives p / (1 - p)
/// ```
///
/// per patient, against nobody (0) and everybody treated. Case weights count patients, strata are
/// not used. `O(n log n)` for the sort and `O(n)` a threshold.
///
/// A. Vickers and E. Elkin, Decision curve analysis, Medical Decision Making 26, 2006; with
/// censoring: A. Vickers, A. Cronin, E. Elkin and M. Gonen, Extensions to decision curve analysis,
/// BMC Medical Informatics and Decision Making 8, 2008. R and Python: `dcurves::dca`.
///
/// ```
/// use cox_survival::{NetBenefit, Surv};
/// let surv = Surv::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, true])?;
/// let curve = NetBenefit::new(2.5).fit(&surv, &[0.9, 0.3, 0.5, 0.1], &[0.25])?;
/// let at = &curve.points[0];
/// assert!((at.treated - 0.75).abs() < 1e-12);
/// assert!((at.net_benefit.unwrap() - (0.5 - 0.25 / 3.0)).abs() < 1e-12);
/// println!("{curve}");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetBenefit {
    time: f64,
}

impl NetBenefit {
    /// At `time`.
    pub fn new(time: f64) -> Self {
        Self { time }
    }

    /// Net benefit of `risk`, one predicted probability per row, at `thresholds` from 0 to below 1.
    ///
    /// # Errors
    /// [`Error::Prediction`] for a value that is no probability, [`Error::TimeOutsideFollowUp`] for
    /// a time beyond the last, [`Error::Undefined`] for left-truncated data.
    pub fn fit(&self, surv: &Surv, risk: &[f64], thresholds: &[f64]) -> Result<DecisionCurve> {
        check_length("risk", risk.len(), surv.n())?;
        check_probabilities(risk)?;
        if surv.entry().is_some() {
            return Err(Error::Undefined {
                what: "the net benefit",
                reason: "it does not account for left truncation",
            });
        }
        if let Some(&bad) = thresholds.iter().find(|p| !(0.0..1.0).contains(*p)) {
            return Err(Error::Setting {
                name: "threshold",
                value: bad.to_string(),
                expected: "must lie in 0 to below 1",
            });
        }
        let latest = last_time(surv);
        if !(self.time >= 0.0 && self.time <= latest) {
            return Err(Error::TimeOutsideFollowUp {
                index: 0,
                value: self.time,
                earliest: 0.0,
                latest,
            });
        }
        let mut order: Vec<usize> = (0..surv.n()).filter(|&i| surv.weight(i) > 0.0).collect();
        order.sort_by(|&a, &b| surv.time()[a].total_cmp(&surv.time()[b]));
        let total: f64 = order.iter().map(|&i| surv.weight(i)).sum();
        let everybody = self.survival(surv, &order);
        let benefit =
            |share: f64, survival: f64, p: f64| share * (1.0 - survival - survival * p / (1.0 - p));
        let point = |p: f64| {
            let treated: Vec<usize> = order.iter().copied().filter(|&i| risk[i] >= p).collect();
            let share = treated.iter().map(|&i| surv.weight(i)).sum::<f64>() / total;
            let survival = self.survival(surv, &treated);
            DecisionPoint {
                threshold: p,
                treated: share,
                true_positives: survival.map(|s| share * (1.0 - s)),
                false_positives: survival.map(|s| share * s),
                net_benefit: survival.map(|s| benefit(share, s, p)),
                treat_all: everybody.map(|s| benefit(1.0, s, p)),
            }
        };
        Ok(DecisionCurve {
            time: self.time,
            points: thresholds.iter().copied().map(point).collect(),
        })
    }

    /// Kaplan-Meier estimate at the time among `rows` (ascending in time); 1 for nobody, `None`
    /// where their follow-up ends before.
    fn survival(self, surv: &Surv, rows: &[usize]) -> Option<f64> {
        let weigh = |rows: &[usize], event: bool| -> f64 {
            let some = rows.iter().filter(|&&i| surv.event()[i] == event);
            some.map(|&i| surv.weight(i)).sum()
        };
        let mut left: f64 = rows.iter().map(|&i| surv.weight(i)).sum();
        let (mut survival, mut seen) = (1.0, 0);
        for same in rows.chunk_by(|&a, &b| surv.time()[a].total_cmp(&surv.time()[b]).is_eq()) {
            if surv.time()[same[0]] > self.time {
                return Some(survival);
            }
            seen += same.len();
            let (dead, censored) = (weigh(same, true), weigh(same, false));
            // Nobody is left after the last, whatever the rounding of the differences says.
            let after = if seen == rows.len() {
                0.0
            } else {
                left - dead - censored
            };
            survival *= (after + censored) / (after + censored + dead);
            left = after;
        }
        let ends_at = rows.last().map(|&i| surv.time()[i]);
        let covered = ends_at.is_none_or(|t| t >= self.time) || survival <= 0.0;
        covered.then_some(survival)
    }
}

/// Result of [`NetBenefit::fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DecisionCurve {
    /// The time.
    pub time: f64,
    /// One point per threshold.
    pub points: Vec<DecisionPoint>,
}

/// One threshold of a decision curve. What is `None` has no estimate: follow-up of those treated
/// ends before the time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DecisionPoint {
    /// The risk from which on a patient is treated.
    pub threshold: f64,
    /// Share of the patients that are.
    pub treated: f64,
    /// Share of the patients treated that would have had the event.
    pub true_positives: Option<f64>,
    /// Share of the patients treated that would not.
    pub false_positives: Option<f64>,
    /// Net benefit of treating by the predictions.
    pub net_benefit: Option<f64>,
    /// Net benefit of treating everybody.
    pub treat_all: Option<f64>,
}

impl fmt::Display for DecisionCurve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |p: &DecisionPoint| {
            vec![
                text_table::significant(p.threshold, 3),
                text_table::significant(p.treated, 3),
                text_table::optional(p.net_benefit, 3),
                text_table::optional(p.treat_all, 3),
            ]
        };
        let rows: Vec<Vec<String>> = self.points.iter().map(row).collect();
        text_table::write(
            f,
            &["threshold", "treated", "net benefit", "treat all"],
            &rows,
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::KaplanMeier;
    use crate::metrics::test_curves::cases;
    use crate::test_data::close;

    proptest! {
        #[test]
        fn agrees_with_kaplan_meier_curves_of_the_treated(case in cases(), time in 1..9i32) {
            let (surv, time) = (case.surv(), f64::from(time));
            let m = case.times.len();
            let risk: Vec<f64> = (0..surv.n()).map(|i| 1.0 - case.predicted[i * m]).collect();
            let thresholds = [0.0, 0.2, 0.5, 0.9];
            let found = NetBenefit::new(time).fit(&surv, &risk, &thresholds);
            if time > last_time(&surv) {
                let refused = matches!(found, Err(Error::TimeOutsideFollowUp { .. }));
                prop_assert!(refused);
                return Ok(());
            }
            for (point, p) in found.unwrap().points.iter().zip(thresholds) {
                let labels: Vec<bool> = risk.iter().map(|&r| r >= p).collect();
                let share = |i: &usize| labels[*i];
                let w: f64 = (0..surv.n()).filter(share).map(|i| case.weights[i]).sum();
                let total: f64 = case.weights.iter().sum();
                close(point.treated, w / total, 1e-12);
                if w <= 0.0 {
                    close(point.net_benefit.unwrap(), 0.0, 0.0);
                    continue;
                }
                let fit = KaplanMeier::new().fit_by(&surv, &labels).unwrap();
                let curve = fit.curves.iter().find(|c| c.name == "true").unwrap();
                let s = curve.survival_at(time);
                if time > *curve.time.last().unwrap() && s > 0.0 {
                    prop_assert!(point.net_benefit.is_none());
                    continue;
                }
                close(point.true_positives.unwrap(), (1.0 - s) * w / total, 1e-12);
                close(point.false_positives.unwrap(), s * w / total, 1e-12);
                close(point.net_benefit.unwrap(), (1.0 - s - s * p / (1.0 - p)) * w / total, 1e-12);
                if p <= 0.0 {
                    close(point.treat_all.unwrap(), point.net_benefit.unwrap(), 1e-12);
                }
            }
        }
    }

    #[test]
    fn faults_are_named() {
        let surv = Surv::new(&[1.0, 2.0], &[true, false]).unwrap();
        let fit = |t: f64, r: &[f64], p: f64| NetBenefit::new(t).fit(&surv, r, &[p]).unwrap_err();
        assert!(matches!(
            fit(1.0, &[0.1, 1.1], 0.5),
            Error::Prediction { row: 1, .. }
        ));
        assert!(matches!(
            fit(1.0, &[0.1, 0.2], 1.0),
            Error::Setting {
                name: "threshold",
                ..
            }
        ));
        assert!(matches!(
            fit(3.0, &[0.1, 0.2], 0.1),
            Error::TimeOutsideFollowUp { .. }
        ));
        assert!(matches!(fit(1.0, &[0.1], 0.1), Error::Length { .. }));
    }
}
