//! Cumulative/dynamic AUC: who has had the event by a time against who has not.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::censoring_model::CensoringModel;
use super::harrell::check_score;
use super::ipcw_loss::{check_within, event_weights, last_time};
use super::predicted::PredictedSurvival;
use crate::compensated::Sum;
use crate::error::{Result, check_length};
use crate::kaplan_meier::KaplanMeier;
use crate::surv::Surv;
use crate::table::Table;
use crate::text_table;

/// Settings of the cumulative/dynamic area under the ROC curve.
///
/// At a time `t` the cases are those with the event by then, each weighted by the inverse
/// probability of not having been censored before, the controls those still at risk:
///
/// ```text
/// AUC(t) = sum over cases i, controls j of w_i w_j / G(t_i-) ([s_i > s_j] + [s_i = s_j] / 2)
///          / sum over cases i, controls j of w_i w_j / G(t_i-)
/// ```
///
/// and the mean over times `t_1 < .. < t_m` weighs each by the events since the one before,
/// `sum AUC(t_k) (S(t_{k-1}) - S(t_k)) / (1 - S(t_m))`, `S` the Kaplan-Meier curve of these
/// patients with `S(t_0) = 1`. All patients are compared, whatever their stratum.
/// [`CensoringModel::at_event`] gives scikit-survival's `cumulative_dynamic_auc`.
/// `O(n log n + n m)` for one score, `O(m n log n)` for curves.
///
/// H. Uno, T. Cai, L. Tian and L. J. Wei, Evaluating prediction rules for t-year survivors with
/// censored regression models, JASA 102, 2007; H. Hung and C. T. Chiang, Estimation methods for
/// time-dependent AUC models with survival data, Canadian Journal of Statistics 38, 2010; the mean:
/// J. Lambert and S. Chevret, Statistical Methods in Medical Research 25, 2016.
///
/// ```
/// use cox_survival::{CensoringModel, DynamicAuc, Surv};
/// let surv = Surv::new(&[1.0, 2.0, 3.0, 4.0, 5.0], &[true, true, true, false, true])?;
/// let censoring = CensoringModel::kaplan_meier(&surv)?;
/// let score = [2.0, 0.5, 1.0, -1.0, 0.7];
/// let auc = DynamicAuc::new().fit(&surv, &score, &[2.5, 3.5], &censoring)?;
/// assert!((auc.auc[0] - 4.0 / 6.0).abs() < 1e-12);
/// println!("{auc}");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DynamicAuc {
    protective: bool,
}

impl DynamicAuc {
    /// A higher score is a higher risk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A higher score is a lower risk.
    pub fn protective(mut self) -> Self {
        self.protective = true;
        self
    }

    /// The AUC of one score per row of `surv` at `times`.
    ///
    /// # Errors
    /// [`Error::TimeOutsideFollowUp`](crate::Error::TimeOutsideFollowUp) for a time before the first
    /// event or at the end of follow-up, where there is no case or no control;
    /// [`Error::NoCensoringWeight`](crate::Error::NoCensoringWeight) where the weights do not exist.
    pub fn fit(
        &self,
        surv: &Surv,
        score: &[f64],
        times: &[f64],
        censoring: &CensoringModel,
    ) -> Result<AucOverTime> {
        check_score(surv, score)?;
        let sign = if self.protective { -1.0 } else { 1.0 };
        let order = by_score(score, sign);
        over_time(surv, times, censoring, |_| (score.to_vec(), order.clone()))
    }

    /// The AUC of predicted survival curves at their own times: the lower the predicted survival at
    /// a time, the higher the risk. Errors as [`DynamicAuc::fit`].
    pub fn fit_curves(
        &self,
        surv: &Surv,
        predicted: &PredictedSurvival,
        censoring: &CensoringModel,
    ) -> Result<AucOverTime> {
        check_length("predicted survival (rows)", predicted.n(), surv.n())?;
        over_time(surv, predicted.times(), censoring, |k| {
            let survival = predicted.column(k + 1);
            let order = by_score(&survival, -1.0);
            (survival, order)
        })
    }
}

/// Rows by `sign * score`, ascending.
fn by_score(score: &[f64], sign: f64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..score.len() as u32).collect();
    let at = |i: &u32| sign * score[*i as usize];
    order.sort_unstable_by(|a, b| at(a).total_cmp(&at(b)));
    order
}

/// `ranked(k)` gives the scores for time `k` and the rows from the lowest risk to the highest.
fn over_time(
    surv: &Surv,
    times: &[f64],
    censoring: &CensoringModel,
    ranked: impl Fn(usize) -> (Vec<f64>, Vec<u32>),
) -> Result<AucOverTime> {
    let counted = |i: &usize| surv.weight(*i) > 0.0;
    let events = (0..surv.n()).filter(counted).filter(|&i| surv.event()[i]);
    let first = events.map(|i| surv.time()[i]).fold(f64::INFINITY, f64::min);
    check_within(times, first, last_time(surv))?;
    let bound = censoring.bind(surv)?;
    let by_event = event_weights(surv, &bound, times[times.len() - 1])?;
    let mut auc = Vec::with_capacity(times.len());
    for (k, &t) in times.iter().enumerate() {
        let (score, order) = ranked(k);
        let (mut controls, mut cases, mut won) = (Sum::default(), Sum::default(), Sum::default());
        for same in order.chunk_by(|&a, &b| equal(score[a as usize], score[b as usize])) {
            let (mut c, mut d) = (0.0, 0.0);
            for &i in same {
                let i = i as usize;
                if surv.time()[i] > t {
                    c += surv.weight(i);
                } else {
                    d += surv.weight(i) * by_event[i];
                }
            }
            won.add(d * (controls.value() + c / 2.0));
            controls.add(c);
            cases.add(d);
        }
        auc.push(won.value() / (controls.value() * cases.value()));
    }
    Ok(AucOverTime {
        mean: mean(surv, times, &auc)?,
        times: times.to_vec(),
        auc,
    })
}

fn equal(a: f64, b: f64) -> bool {
    a.partial_cmp(&b) == Some(std::cmp::Ordering::Equal)
}

fn mean(surv: &Surv, times: &[f64], auc: &[f64]) -> Result<f64> {
    let mut together = Surv::builder(surv.time(), surv.event()).timefix(false);
    if let Some(weights) = surv.weights() {
        together = together.weights(weights);
    }
    let fit = KaplanMeier::new().fit(&together.build()?)?;
    let (mut before, mut sum) = (1.0, Sum::default());
    for (&t, &a) in times.iter().zip(auc) {
        let now = fit.curves[0].survival_at(t);
        sum.add(a * (before - now));
        before = now;
    }
    Ok(sum.value() / (1.0 - before))
}

/// Result of [`DynamicAuc::fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AucOverTime {
    /// The times.
    pub times: Vec<f64>,
    /// The area under the ROC curve at each of them.
    pub auc: Vec<f64>,
    /// Their mean, weighted by the events between the times.
    pub mean: f64,
}

impl AucOverTime {
    /// Times and areas as they are printed.
    pub fn table(&self) -> Table {
        let pairs = self.times.iter().zip(&self.auc);
        let rows: Vec<Vec<String>> = pairs
            .map(|(&t, &v)| vec![text_table::significant(t, 6), text_table::significant(v, 4)])
            .collect();
        Table::new(&["time", "AUC"], rows)
    }
}

impl fmt::Display for AucOverTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = text_table::significant(self.mean, 4);
        writeln!(f, "{}mean {mean}", self.table())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Error;
    use crate::metrics::test_curves::{Case, cases};
    use crate::test_data::close;

    fn all_pairs(case: &Case, risk: impl Fn(usize) -> f64, t: f64) -> f64 {
        let n = case.time.len();
        let (mut won, mut all) = (0.0, 0.0);
        for i in (0..n).filter(|&i| case.event[i] && case.time[i] <= t && case.weights[i] > 0.0) {
            for j in (0..n).filter(|&j| case.time[j] > t) {
                let w = case.weights[i] * case.weights[j] / case.censoring(case.time[i], false);
                all += w;
                let apart = risk(i) - risk(j);
                won += w * if apart > 0.0 {
                    1.0
                } else if apart < 0.0 {
                    0.0
                } else {
                    0.5
                };
            }
        }
        won / all
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_pair(case in cases()) {
            let (surv, curves) = (case.surv(), case.curves());
            let model = CensoringModel::kaplan_meier(&surv).unwrap();
            let m = case.times.len();
            let score: Vec<f64> = (0..case.time.len()).map(|i| -case.predicted[i * m]).collect();
            let event = |i: &usize| case.event[*i] && case.weights[*i] > 0.0;
            let first = (0..case.time.len()).filter(event).map(|i| case.time[i]).fold(99.0, f64::min);
            let fits = DynamicAuc::new().fit(&surv, &score, &case.times, &model);
            if case.times[0] < first || case.times[m - 1] >= last_time(&surv) {
                let refused = matches!(fits, Err(Error::TimeOutsideFollowUp { .. }));
                prop_assert!(refused);
                return Ok(());
            }
            let (one, many) = (fits.unwrap(), DynamicAuc::new().fit_curves(&surv, &curves, &model).unwrap());
            let low: Vec<f64> = score.iter().map(|s| -s).collect();
            let turned = DynamicAuc::new().protective().fit(&surv, &low, &case.times, &model).unwrap();
            prop_assert_eq!(&turned, &one);
            for (k, &t) in case.times.iter().enumerate() {
                close(one.auc[k], all_pairs(&case, |i| score[i], t), 1e-12);
                close(many.auc[k], all_pairs(&case, |i| -case.predicted[i * m + k], t), 1e-12);
            }
        }
    }

    #[test]
    fn prints_and_survives_serde() {
        let surv = Surv::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, true, true]).unwrap();
        let model = CensoringModel::kaplan_meier(&surv).unwrap();
        let auc = DynamicAuc::new()
            .fit(&surv, &[4.0, 1.0, 3.0, 1.0], &[1.0, 3.0], &model)
            .unwrap();
        // 1: beats all three. 3: cases 4, 1, 3 against 1: 1, 1/2, 1.
        close(auc.auc[1], 2.5 / 3.0, 1e-15);
        close(auc.mean, (1.0 / 4.0 + 0.5 * 2.5 / 3.0) / 0.75, 1e-15);
        assert_eq!(
            auc.to_string(),
            "time    AUC\n1         1\n3    0.8333\nmean 0.8889\n"
        );
        let text = serde_json::to_string(&auc).unwrap();
        assert_eq!(serde_json::from_str::<AucOverTime>(&text).unwrap(), auc);
        let late = DynamicAuc::new().fit(&surv, &[1.0; 4], &[1.0, 4.0], &model);
        assert!(matches!(
            late,
            Err(Error::TimeOutsideFollowUp { index: 1, .. })
        ));
    }
}
