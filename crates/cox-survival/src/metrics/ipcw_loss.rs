//! Errors of predicted survival probabilities, weighted by the inverse probability of censoring.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::censoring_model::{Bound, CensoringModel};
use super::predicted::{PredictedSurvival, check_times};
use crate::compensated::Sum;
use crate::error::{Error, Result, check_length};
use crate::surv::Surv;
use crate::table::Table;
use crate::text_table;

/// The Brier score of predicted survival curves at each of their times, and its integral.
///
/// ```text
/// BS(t) = sum of w_i ( [t_i <= t, event] S_i(t)^2 / G(t_i-) + [t_i > t] (1 - S_i(t))^2 / G(t) )
///         / sum of w_i
/// IBS   = integral of BS from the first to the last time (trapezia) / (last - first)
/// ```
///
/// A patient censored by `t` has weight 0: the weights of the others make up for it. 0 is perfect,
/// 0.25 a coin. `G` comes from a [`CensoringModel`], of the same patients or of those the model was
/// trained on; [`CensoringModel::at_event`] gives scikit-survival's `brier_score` and
/// `integrated_brier_score`. `O(n m)`.
///
/// E. Graf, C. Schmoor, W. Sauerbrei and M. Schumacher, Assessment and comparison of prognostic
/// classification schemes for survival data, Statistics in Medicine 18, 1999.
///
/// ```
/// use cox_survival::{Brier, CensoringModel, PredictedSurvival, Surv};
/// let surv = Surv::new(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, true])?;
/// let curves = PredictedSurvival::from_rows(
///     &[1.5, 2.5],
///     &[0.2, 0.1, 0.7, 0.5, 0.8, 0.6, 0.9, 0.8],
///     4,
/// )?;
/// let brier = Brier::new().fit(&surv, &curves, &CensoringModel::kaplan_meier(&surv)?)?;
/// assert!((brier.values[0] - (0.04 + 0.09 + 0.04 + 0.01) / 4.0).abs() < 1e-12);
/// assert!((brier.values[1] - (0.01 + (0.16 + 0.04) * 1.5) / 4.0).abs() < 1e-12);
/// println!("{brier}");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Brier {}

impl Brier {
    /// The score at every time of the predictions.
    pub fn new() -> Self {
        Self::default()
    }

    /// The score of `predicted`, one curve per row of `surv`.
    ///
    /// # Errors
    /// [`Error::TimeOutsideFollowUp`] for a time at which nobody is left, and
    /// [`Error::NoCensoringWeight`] where the weights do not exist.
    pub fn fit(
        &self,
        surv: &Surv,
        predicted: &PredictedSurvival,
        censoring: &CensoringModel,
    ) -> Result<ScoreOverTime> {
        over_time("Brier score", surv, predicted, censoring, |s, event| {
            if event { s * s } else { (1.0 - s) * (1.0 - s) }
        })
    }
}

/// The binomial log-likelihood of predicted survival curves with its sign turned, at each of their
/// times, and its integral.
///
/// ```text
/// NBLL(t) = - sum of w_i ( [t_i <= t, event] log(1 - S_i(t)) / G(t_i-)
///                          + [t_i > t] log S_i(t) / G(t) ) / sum of w_i
/// ```
///
/// Probabilities are moved into `[floor, 1 - floor]` first, or one confident error would cost
/// infinitely much. 0 is perfect, `log 2` a coin. pycox: `EvalSurv.nbll`. `O(n m)`.
///
/// E. Graf et al., Statistics in Medicine 18, 1999, section 4; H. Kvamme, O. Borgan and I. Scheel,
/// Time-to-event prediction with neural networks and Cox regression, JMLR 20, 2019.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinomialLoss {
    floor: f64,
}

impl Default for BinomialLoss {
    fn default() -> Self {
        Self { floor: 1e-7 }
    }
}

impl BinomialLoss {
    /// Probabilities no closer to 0 and 1 than 1e-7.
    pub fn new() -> Self {
        Self::default()
    }

    /// How close to 0 and 1 a probability may come, above 0 and below one half.
    pub fn floor(mut self, floor: f64) -> Self {
        self.floor = floor;
        self
    }

    /// The score of `predicted`, one curve per row of `surv`; errors as [`Brier::fit`].
    pub fn fit(
        &self,
        surv: &Surv,
        predicted: &PredictedSurvival,
        censoring: &CensoringModel,
    ) -> Result<ScoreOverTime> {
        if !(self.floor > 0.0 && self.floor < 0.5) {
            return Err(Error::Setting {
                name: "floor",
                value: self.floor.to_string(),
                expected: "must lie above 0 and below 0.5",
            });
        }
        let name = "binomial loss";
        over_time(name, surv, predicted, censoring, |s, event| {
            let p = if event { 1.0 - s } else { s };
            -p.clamp(self.floor, 1.0 - self.floor).ln()
        })
    }
}

/// A score at each of several times: what [`Brier::fit`] and [`BinomialLoss::fit`] give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoreOverTime {
    /// What was measured.
    pub name: String,
    /// The times.
    pub times: Vec<f64>,
    /// The score at each of them; lower is better.
    pub values: Vec<f64>,
    /// Its mean over the time from the first to the last, by trapezia; `None` for a single time.
    pub integrated: Option<f64>,
}

impl ScoreOverTime {
    /// Times and scores as they are printed.
    pub fn table(&self) -> Table {
        let pairs = self.times.iter().zip(&self.values);
        let rows: Vec<Vec<String>> = pairs
            .map(|(&t, &v)| vec![text_table::significant(t, 6), text_table::significant(v, 4)])
            .collect();
        Table::new(&["time", &self.name], rows)
    }
}

impl fmt::Display for ScoreOverTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)?;
        match self.integrated {
            None => Ok(()),
            Some(mean) => writeln!(f, "integrated {}", text_table::significant(mean, 4)),
        }
    }
}

/// `sum_i w_i loss(S_i(t), event by t) / G / sum_i w_i` at each time of `predicted`.
fn over_time(
    name: &str,
    surv: &Surv,
    predicted: &PredictedSurvival,
    censoring: &CensoringModel,
    loss: impl Fn(f64, bool) -> f64,
) -> Result<ScoreOverTime> {
    check_length("predicted survival (rows)", predicted.n(), surv.n())?;
    let times = predicted.times();
    check_within(times, 0.0, last_time(surv))?;
    let bound = censoring.bind(surv)?;
    let by_event = event_weights(surv, &bound, *times.last().unwrap_or(&0.0))?;
    let total: f64 = (0..surv.n()).map(|i| surv.weight(i)).sum();
    let at = |(k, &t): (usize, &f64)| {
        let mut sum = Sum::default();
        for i in (0..surv.n()).filter(|&i| surv.weight(i) > 0.0) {
            let s = predicted.row(i)[k];
            if surv.time()[i] > t {
                sum.add(surv.weight(i) * bound.at_risk_weight(i, t)? * loss(s, false));
            } else if surv.event()[i] {
                sum.add(surv.weight(i) * by_event[i] * loss(s, true));
            }
        }
        Ok(sum.value() / total)
    };
    let values = times
        .iter()
        .enumerate()
        .map(at)
        .collect::<Result<Vec<f64>>>()?;
    Ok(ScoreOverTime {
        name: name.to_owned(),
        integrated: mean_over_time(times, &values),
        times: times.to_vec(),
        values,
    })
}

/// Inverse weights of the rows with an event up to `latest`, 0 for the others.
pub(super) fn event_weights(surv: &Surv, bound: &Bound<'_>, latest: f64) -> Result<Vec<f64>> {
    let used = |i: usize| surv.event()[i] && surv.weight(i) > 0.0 && surv.time()[i] <= latest;
    let weight = |i: usize| {
        if used(i) {
            bound.event_weight(i)
        } else {
            Ok(0.0)
        }
    };
    (0..surv.n()).map(weight).collect()
}

/// The last time of a row that counts.
pub(super) fn last_time(surv: &Surv) -> f64 {
    let counted = (0..surv.n()).filter(|&i| surv.weight(i) > 0.0);
    counted.map(|i| surv.time()[i]).fold(0.0, f64::max)
}

/// Times from `earliest` to before `latest`, ascending.
pub(super) fn check_within(times: &[f64], earliest: f64, latest: f64) -> Result<()> {
    check_times(times)?;
    match times.iter().position(|&t| t < earliest || t >= latest) {
        None => Ok(()),
        Some(index) => Err(Error::TimeOutsideFollowUp {
            index,
            value: times[index],
            earliest,
            latest,
        }),
    }
}

fn mean_over_time(times: &[f64], values: &[f64]) -> Option<f64> {
    let (&[first, ..], &[.., last]) = (times, times) else {
        return None;
    };
    let trapezia = times.windows(2).zip(values.windows(2));
    let mut area = Sum::default();
    for (t, v) in trapezia {
        area.add((t[1] - t[0]) * (v[0] + v[1]) / 2.0);
    }
    (times.len() > 1).then(|| area.value() / (last - first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::test_curves::{Case, cases};
    use crate::test_data::close;

    /// The sums by their definition, `G` row by row.
    fn slow_twin(case: &Case, at_event: bool, loss: impl Fn(f64, bool) -> f64) -> Option<Vec<f64>> {
        let total: f64 = case.weights.iter().sum();
        let mut out = vec![];
        for (k, &t) in case.times.iter().enumerate() {
            let mut sum = 0.0;
            for i in 0..case.time.len() {
                let (g, event) = if case.time[i] > t {
                    (case.censoring(t, true), false)
                } else if case.event[i] {
                    (case.censoring(case.time[i], at_event), true)
                } else {
                    continue;
                };
                if case.weights[i] > 0.0 {
                    if g <= 0.0 {
                        return None;
                    }
                    sum +=
                        case.weights[i] * loss(case.predicted[i * case.times.len() + k], event) / g;
                }
            }
            out.push(sum / total);
        }
        Some(out)
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(case in cases(), at_event in any::<bool>()) {
            let (surv, curves) = (case.surv(), case.curves());
            let mut model = CensoringModel::kaplan_meier(&surv).unwrap();
            if at_event {
                model = model.at_event();
            }
            let found = Brier::new().fit(&surv, &curves, &model);
            let want = slow_twin(&case, at_event, |s, e| if e { s * s } else { (1.0 - s).powi(2) });
            if *case.times.last().unwrap() >= last_time(&surv) {
                let refused = matches!(found, Err(Error::TimeOutsideFollowUp { .. }));
                prop_assert!(refused);
                return Ok(());
            }
            let Some(want) = want else {
                prop_assert!(matches!(found, Err(Error::NoCensoringWeight { .. })), "{found:?}");
                return Ok(());
            };
            for (a, b) in found.unwrap().values.iter().zip(want) {
                close(*a, b, 1e-12);
            }
            let loss = |s: f64, e: bool| -(if e { 1.0 - s } else { s }).clamp(0.01, 0.99).ln();
            let want = slow_twin(&case, at_event, loss).unwrap();
            let found = BinomialLoss::new().floor(0.01).fit(&surv, &curves, &model).unwrap();
            for (a, b) in found.values.iter().zip(want) {
                close(*a, b, 1e-12);
            }
        }

        #[test]
        fn whole_weights_are_repeated_rows(case in cases()) {
            let mut case = case;
            for w in &mut case.weights {
                *w = w.ceil();
            }
            let mut copies: Vec<usize> = vec![];
            for (i, &w) in case.weights.iter().enumerate() {
                copies.extend((0..3).filter(|&c| f64::from(c) < w).map(|_| i));
            }
            // One row alone is no outcome, though rows of weight 0 beside it make it one.
            prop_assume!(copies.len() > 1);
            let fit = |case: &Case| {
                let surv = case.surv();
                Brier::new().fit(&surv, &case.curves(), &CensoringModel::kaplan_meier(&surv)?)
            };
            let (a, b) = (fit(&case), fit(&case.repeated(&copies)));
            match (a, b) {
                (Ok(a), Ok(b)) => for (a, b) in a.values.iter().zip(&b.values) {
                    close(*a, *b, 1e-12);
                },
                (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
            }
        }
    }

    #[test]
    fn the_integral_and_the_table() {
        let score = ScoreOverTime {
            name: "Brier score".to_owned(),
            integrated: mean_over_time(&[1.0, 2.0, 4.0], &[0.1, 0.2, 0.1]),
            times: vec![1.0, 2.0, 4.0],
            values: vec![0.1, 0.2, 0.1],
        };
        close(score.integrated.unwrap(), 0.15, 1e-15);
        assert_eq!(mean_over_time(&[1.0], &[0.1]), None);
        let want = "time Brier score\n1            0.1\n2            0.2\n4            0.1\nintegrated 0.15\n";
        assert_eq!(score.to_string(), want);
        let text = serde_json::to_string(&score).unwrap();
        assert_eq!(serde_json::from_str::<ScoreOverTime>(&text).unwrap(), score);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let surv = Surv::new(&[1.0, 2.0], &[true, true]).unwrap();
        let curves = PredictedSurvival::from_rows(&[1.5], &[0.5, 0.5], 2).unwrap();
        let model = CensoringModel::kaplan_meier(&surv).unwrap();
        let found = BinomialLoss::new().floor(0.5).fit(&surv, &curves, &model);
        assert!(matches!(found, Err(Error::Setting { name: "floor", .. })));
        let short = PredictedSurvival::from_rows(&[1.5], &[0.5], 1).unwrap();
        let found = Brier::new().fit(&surv, &short, &model);
        assert!(matches!(
            found,
            Err(Error::Length {
                found: 1,
                expected: 2,
                ..
            })
        ));
    }
}
