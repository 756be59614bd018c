//! Antolini's concordance: predicted curves instead of one score per patient.

use serde::{Deserialize, Serialize};

use super::concordance::Concordance;
use super::pairs::{Counted, Pairs, Totals};
use super::predicted::PredictedSurvival;
use crate::error::{Error, Result, check_length};
use crate::surv::Surv;

/// Settings of Antolini's time-dependent concordance.
///
/// A pair is comparable as in [`Harrell`](crate::Harrell): `i` has the event at `t_i` while `j` is
/// at risk and does not. It is concordant if the survival predicted for `t_i` is lower for `i`:
///
/// ```text
/// C = sum of w_i w_j ([S_i(t_i) < S_j(t_i)] + [S_i(t_i) = S_j(t_i)] / 2) / sum of w_i w_j
/// ```
///
/// For a proportional-hazards model the curves do not cross and this is Harrell's C. Curves are
/// step functions of time on their grid (1 before it): give them at all event times for the exact
/// figure. Entry, strata and weights as in [`Harrell`](crate::Harrell); the variance is the
/// infinitesimal jackknife, the predictions taken as given. pycox: `EvalSurv.concordance_td` with
/// `"adj_antolini"` (ties one half). `O(m n log n)` for a grid of `m` times.
///
/// L. Antolini, P. Boracchi and E. Biganzoli, A time-dependent discrimination index for survival
/// data, Statistics in Medicine 24, 2005.
///
/// ```
/// use cox_survival::{Antolini, PredictedSurvival, Surv};
/// let surv = Surv::new(&[1.0, 2.0, 3.0], &[true, true, false])?;
/// let rows = [0.5, 0.4, 0.8, 0.2, 0.7, 0.6];
/// let curves = PredictedSurvival::from_rows(&[1.0, 2.0], &rows, 3)?;
/// assert_eq!(Antolini::new().fit(&surv, &curves)?.concordance(), 1.0);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Antolini {
    point_only: bool,
}

impl Antolini {
    /// All events, with variance.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the variance is computed; it is unless set.
    pub fn variance(mut self, variance: bool) -> Self {
        self.point_only = !variance;
        self
    }

    /// The concordance of `predicted`, one curve per row of `surv`.
    pub fn fit(&self, surv: &Surv, predicted: &PredictedSurvival) -> Result<Concordance> {
        check_length("predicted survival (rows)", predicted.n(), surv.n())?;
        let groups = &surv.sorted.groups;
        let steps_at = |t: f64| predicted.times().partition_point(|&u| u <= t);
        let steps: Vec<usize> = groups.iter().map(|g| steps_at(g.time)).collect();
        let shares = if self.point_only { 0 } else { surv.n() };
        let mut sum = Counted {
            totals: Totals::default(),
            own: vec![(0.0, 0.0); shares],
            others: vec![(0.0, 0.0); shares],
        };
        // All events at which the curves have made the same number of steps are one count.
        for k in 0..=predicted.times().len() {
            if !steps.contains(&k) {
                continue;
            }
            let here = |&s: &usize| if s == k { 1.0 } else { 0.0 };
            let v: Vec<f64> = steps.iter().map(here).collect();
            let pairs = Pairs::new(surv, &predicted.column(k), -1.0);
            let weight = |p: usize| surv.weight(surv.sorted.order[p] as usize);
            match pairs.evaluate(weight, Some(&v), !self.point_only) {
                Ok(counted) => add(&mut sum, &counted),
                // Nobody left to compare with: other times may have pairs.
                Err(Error::Undefined { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        if sum.totals.comparable() <= 0.0 {
            return Err(Error::Undefined {
                what: "the concordance",
                reason: "no two patients are comparable",
            });
        }
        let dfbeta = (!self.point_only).then(|| sum.dfbeta(surv));
        Ok(Concordance::new(surv.n(), &sum.totals, dfbeta, None))
    }
}

fn add(sum: &mut Counted, more: &Counted) {
    let (a, b) = (&mut sum.totals, &more.totals);
    a.concordant += b.concordant;
    a.discordant += b.discordant;
    a.tied_score += b.tied_score;
    a.tied_time += b.tied_time;
    a.tied_both += b.tied_both;
    a.information += b.information;
    let sides = [(&mut sum.own, &more.own), (&mut sum.others, &more.others)];
    for (sum, more) in sides {
        for (s, m) in sum.iter_mut().zip(more) {
            s.0 += m.0;
            s.1 += m.1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::test_curves::{Case, cases};
    use crate::test_data::{self, close};

    /// (concordant + half tied, comparable), every pair looked at.
    fn all_pairs(case: &Case, weights: &[f64]) -> (f64, f64) {
        let (n, m) = (case.time.len(), case.times.len());
        let at = |i: usize, t: f64| match case.times.iter().rposition(|&u| u <= t) {
            None => 1.0,
            Some(k) => case.predicted[i * m + k],
        };
        let (mut won, mut all) = (0.0, 0.0);
        for i in (0..n).filter(|&i| case.event[i]) {
            let t = case.time[i];
            for j in 0..n {
                if case.time[j] > t || (case.time[j] >= t && !case.event[j]) {
                    let w = weights[i] * weights[j];
                    all += w;
                    let apart = at(j, t) - at(i, t);
                    won += w * if apart > 0.0 {
                        1.0
                    } else if apart < 0.0 {
                        0.0
                    } else {
                        0.5
                    };
                }
            }
        }
        (won, all)
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_pair(case in cases()) {
            let found = Antolini::new().fit(&case.surv(), &case.curves());
            let (won, all) = all_pairs(&case, &case.weights);
            if all <= 0.0 {
                let undefined = matches!(found, Err(Error::Undefined { .. }));
                prop_assert!(undefined);
                return Ok(());
            }
            let found = found.unwrap();
            close(found.concordance(), won / all, 1e-12);
            let mut variance = 0.0;
            for i in 0..case.time.len() {
                let mut w = case.weights.clone();
                w[i] += 1e-5;
                let (up, more) = all_pairs(&case, &w);
                w[i] -= 2e-5;
                let (down, less) = all_pairs(&case, &w);
                variance += (case.weights[i] * (up / more - down / less) / 2e-5).powi(2);
            }
            close(found.variance().unwrap(), variance, 1e-6);
        }

        #[test]
        fn with_parallel_curves_it_is_harrells(rows in test_data::rows(30)) {
            let surv = rows.surv();
            let score: Vec<f64> = (0..surv.n()).map(|i| f64::from((i * 7 % 5) as u8) / 5.0).collect();
            let times = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
            let curves = PredictedSurvival::from_fn(surv.n(), &times, |i, t| (-t * score[i].exp() / 9.0).exp()).unwrap();
            match (Antolini::new().fit(&surv, &curves), crate::concordance(&surv, &score)) {
                (Ok(a), Ok(b)) => {
                    close(a.concordance(), b.concordance(), 1e-12);
                    close(a.tied_score(), b.tied_score(), 1e-12);
                    close(a.variance().unwrap(), b.variance().unwrap(), 1e-12);
                }
                (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
            }
        }
    }
}
