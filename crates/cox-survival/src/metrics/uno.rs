//! Uno's concordance: pairs weighted by the inverse probability of having been seen.

use serde::{Deserialize, Serialize};

use super::censoring::CensoringCurve;
use super::concordance::Concordance;
use super::harrell::check_score;
use super::pairs::{Counted, Pairs};
use crate::error::{Error, Result};
use crate::surv::Surv;

/// Uno's C of `score` up to `tau`, a higher score being a higher risk, with its standard error.
///
/// Short for `Uno::new().tau(tau).fit(surv, score)`; `f64::INFINITY` sets no limit.
///
/// ```
/// use cox_survival::{Surv, uno};
/// let time = [2.0, 4.0, 5.0, 8.0, 3.0];
/// let surv = Surv::new(&time, &[true, true, true, true, false])?;
/// let c = uno(&surv, &[1.9, 0.3, 0.8, -1.0, 0.1], 6.0)?;
/// assert!((c.concordance() - 17.0 / 21.0).abs() < 1e-12);
/// # Ok::<(), cox_survival::Error>(())
/// ```
pub fn uno(surv: &Surv, score: &[f64], tau: f64) -> Result<Concordance> {
    Uno::new().tau(tau).fit(surv, score)
}

/// Settings of Uno's C.
///
/// Harrell's C tends to a limit that depends on the censoring; weighting each comparison at time
/// `t` by `1 / G(t)^2`, with `G` the Kaplan-Meier curve of the censoring times, removes that:
///
/// ```text
/// C(tau) = sum of w_i w_j G(t_i)^-2 [score_i > score_j] / sum of w_i w_j G(t_i)^-2
/// ```
///
/// over the pairs in which `i` had the event at `t_i <= tau` while `j` was at risk and did not,
/// tied scores counting one half. Comparable pairs and strata are as in
/// [`Harrell`](crate::Harrell).
/// `G` is taken just before `t_i`, events coming before censorings at the same time: the
/// probability of being under observation at `t_i`. [`Uno::censoring_at_event`] takes `G(t_i)`
/// itself, as scikit-survival does; the two differ where an event and a censoring are tied.
///
/// The variance is that of the infinitesimal jackknife, in which `G` varies with the weights too;
/// with [`Uno::fit_with_training`] the training rows add their own part. `O(n log n)`.
///
/// H. Uno, T. Cai, M. Pencina, R. D'Agostino and L. J. Wei, On the C-statistics for evaluating
/// overall adequacy of risk prediction procedures with censored survival data, Statistics in
/// Medicine 30, 2011, equation 6.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, off by default"
)]
pub struct Uno {
    protective: bool,
    tau: Option<f64>,
    at_event: bool,
    known_censoring: bool,
    point_only: bool,
}

impl Uno {
    /// A higher score is a higher risk, no limit in time, `G` just before each event.
    pub fn new() -> Self {
        Self::default()
    }

    /// A higher score is a lower risk.
    pub fn protective(mut self) -> Self {
        self.protective = true;
        self
    }

    /// Uses events at times up to and including `tau`. The weights grow as few remain under
    /// observation: a `tau` at which `G` is still well above 0 keeps the variance finite.
    pub fn tau(mut self, tau: f64) -> Self {
        self.tau = Some(tau);
        self
    }

    /// Takes `G(t)` instead of `G(t-)`, as scikit-survival does.
    pub fn censoring_at_event(mut self) -> Self {
        self.at_event = true;
        self
    }

    /// Takes the censoring curve as known in the variance, as R's `concordance` does with
    /// `timewt = "n/G2"`.
    pub fn known_censoring(mut self) -> Self {
        self.known_censoring = true;
        self
    }

    /// Whether the variance is computed; it is unless set.
    pub fn variance(mut self, variance: bool) -> Self {
        self.point_only = !variance;
        self
    }

    /// Uno's C of `score` (`surv.n()` finite values), the censoring curve from the same patients.
    pub fn fit(&self, surv: &Surv, score: &[f64]) -> Result<Concordance> {
        let curves = self.curves(surv, score, surv)?;
        let (counted, load) = self.count(surv, score, &curves)?;
        let dfbeta = (!self.point_only).then(|| {
            let mut dfbeta = counted.dfbeta(surv);
            if !self.known_censoring {
                let training = training_dfbeta(surv, &curves, &load, counted.totals.comparable());
                for (d, t) in dfbeta.iter_mut().zip(training) {
                    *d += t;
                }
            }
            dfbeta
        });
        Ok(Concordance::new(surv.n(), &counted.totals, dfbeta, None))
    }

    /// The same, the censoring curve from other patients, `training`, who are taken to be
    /// independent of `surv`. Strata are matched by name.
    ///
    /// # Errors
    /// [`Error::NoCensoringWeight`] for an event beyond the last time of its training stratum: the curve
    /// is not carried on, set [`Uno::tau`] to that time or before.
    pub fn fit_with_training(
        &self,
        surv: &Surv,
        score: &[f64],
        training: &Surv,
    ) -> Result<Concordance> {
        let curves = self.curves(surv, score, training)?;
        let names = training.stratum_names();
        let matched: Vec<usize> = surv
            .stratum_names()
            .iter()
            .map(|name| names.iter().position(|n| n == name))
            .collect::<Option<_>>()
            .ok_or(Error::Undefined {
                what: "Uno's C",
                reason: "a stratum is absent from the training data",
            })?;
        let used: Vec<&CensoringCurve> = matched.iter().map(|&s| &curves[s]).collect();
        let (counted, load) = self.count(surv, score, &used)?;
        let comparable = counted.totals.comparable();
        let dfbeta = (!self.point_only).then(|| counted.dfbeta(surv));
        let from_training = (!self.point_only && !self.known_censoring).then(|| {
            let mut loads: Vec<Vec<f64>> = curves
                .iter()
                .map(|curve| vec![0.0; curve.len() + 1])
                .collect();
            for (&s, load) in matched.iter().zip(load) {
                loads[s] = load;
            }
            training_dfbeta(training, &curves, &loads, comparable)
        });
        Ok(Concordance::new(
            surv.n(),
            &counted.totals,
            dfbeta,
            from_training,
        ))
    }

    /// The last time at which events are used.
    pub(super) fn limit(&self) -> Result<f64> {
        match self.tau {
            Some(tau) if tau.is_nan() => Err(Error::Setting {
                name: "tau",
                value: tau.to_string(),
                expected: "a time",
            }),
            tau => Ok(tau.unwrap_or(f64::INFINITY)),
        }
    }

    pub(super) fn is_protective(&self) -> bool {
        self.protective
    }

    pub(super) fn wants_variance(&self) -> bool {
        !self.point_only
    }

    /// Checks the input; the censoring curve of each stratum of `training`.
    fn curves(&self, surv: &Surv, score: &[f64], training: &Surv) -> Result<Vec<CensoringCurve>> {
        check_score(surv, score)?;
        if surv.entry().is_some() || training.entry().is_some() {
            return Err(Error::Undefined {
                what: "Uno's C",
                reason: "its weights do not account for left truncation",
            });
        }
        self.limit()?;
        let weight = |p: usize| training.weight(training.sorted.order[p] as usize);
        let strata = training.sorted.strata.iter();
        Ok(strata
            .map(|stratum| CensoringCurve::new(training, weight, stratum))
            .collect())
    }

    /// The pairs, and for each stratum what the events ask of its curve: by number of steps, the
    /// sum of `w_i G_i^-2 (a_i - C b_i)` with `a_i` concordant and `b_i` comparable pairs.
    fn count<C: AsRef<CensoringCurve>>(
        &self,
        surv: &Surv,
        score: &[f64],
        curves: &[C],
    ) -> Result<(Counted, Vec<Vec<f64>>)> {
        let sorted = &surv.sorted;
        let tau = self.tau.unwrap_or(f64::INFINITY);
        let mut steps = vec![0; sorted.groups.len()];
        let mut v = vec![0.0; sorted.groups.len()];
        for (stratum, curve) in sorted.strata.iter().zip(curves) {
            let curve = curve.as_ref();
            for g in stratum.groups.clone() {
                let time = sorted.groups[g].time;
                if time > tau {
                    continue;
                }
                steps[g] = curve.steps(time, self.at_event);
                v[g] = curve.value(steps[g]).powi(-2);
                let beyond = time > curve.last();
                if v[g].is_finite() && !beyond {
                    continue;
                }
                let group = &sorted.groups[g];
                let others = (stratum.positions.start..group.events.start)
                    .chain(group.events.end..group.upto)
                    .any(|p| surv.weight(sorted.order[p] as usize) > 0.0);
                if !others {
                    // No pair is compared here.
                    v[g] = 0.0;
                } else if beyond {
                    return Err(Error::NoCensoringWeight {
                        row: sorted.order[group.events.start] as usize,
                        time,
                        reason: "the training data do not reach that far: set tau to their end or before",
                    });
                } else {
                    return Err(Error::Undefined {
                        what: "Uno's C",
                        reason: "the censoring curve is 0 at an event: set tau before it",
                    });
                }
            }
        }
        let pairs = Pairs::new(surv, score, if self.protective { -1.0 } else { 1.0 });
        let shares = !self.point_only;
        let counted = match surv.weights() {
            None => pairs.evaluate(|_| 1u32, Some(&v), shares),
            Some(w) => pairs.evaluate(|p| w[sorted.order[p] as usize], Some(&v), shares),
        }?;
        let mut load: Vec<Vec<f64>> = curves
            .iter()
            .map(|curve| vec![0.0; curve.as_ref().len() + 1])
            .collect();
        if shares {
            let c = counted.totals.concordance();
            for (stratum, load) in sorted.strata.iter().zip(&mut load) {
                for g in stratum.groups.clone() {
                    for p in sorted.groups[g].events.clone() {
                        let (concordant, comparable) = counted.own[p];
                        let w = surv.weight(sorted.order[p] as usize);
                        load[steps[g]] += w * (concordant - c * comparable);
                    }
                }
            }
        }
        Ok((counted, load))
    }
}

/// What each row behind the censoring curves contributes to C through them, in input order:
/// `-2 / N` times the derivative of `sum_i w_i G_i^-2 (a_i - C b_i) ln G_i`.
fn training_dfbeta(
    training: &Surv,
    curves: &[CensoringCurve],
    load: &[Vec<f64>],
    comparable: f64,
) -> Vec<f64> {
    let mut dfbeta = vec![0.0; training.n()];
    let sorted = &training.sorted;
    for ((stratum, curve), load) in sorted.strata.iter().zip(curves).zip(load) {
        let (stayed, left) = curve.derivatives(load);
        for &row in &sorted.order[stratum.positions.clone()] {
            let row = row as usize;
            let w = training.weight(row);
            let event = training.event()[row];
            if w <= 0.0 {
                continue;
            }
            let steps = curve.steps(training.time()[row], !event);
            let mut derivative = stayed[steps];
            if !event {
                derivative += left[steps - 1];
            }
            dfbeta[row] = -2.0 * w * derivative / comparable;
        }
    }
    dfbeta
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Harrell, TimeWeight};

    #[derive(Debug, Clone)]
    struct Data {
        time: Vec<f64>,
        event: Vec<bool>,
        score: Vec<f64>,
        weights: Vec<f64>,
        strata: Vec<u8>,
    }

    /// Whether an event up to `tau` that is compared with anybody lies beyond the training data.
    fn out_of_reach(data: &Data, training: &Data, tau: f64) -> bool {
        let last = |s: u8| {
            let rows = (0..training.time.len()).filter(|&j| training.strata[j] == s);
            rows.map(|j| training.time[j]).fold(0.0, f64::max)
        };
        let n = data.time.len();
        (0..n).any(|i| {
            let (t, s) = (data.time[i], data.strata[i]);
            let other = |j: usize| data.time[j] > t || (data.time[j] >= t && !data.event[j]);
            let compared = (0..n).any(|j| data.strata[j] == s && other(j));
            data.event[i] && t <= tau && t > last(s) && compared
        })
    }

    impl Data {
        fn surv(&self, weights: &[f64]) -> Result<Surv> {
            Surv::builder(&self.time, &self.event)
                .weights(weights)
                .strata(&self.strata)
                .build()
        }

        /// The censoring curve of a stratum by its definition.
        fn g(&self, stratum: u8, t: f64, at: bool) -> f64 {
            let sum = |of: &dyn Fn(usize) -> bool| -> f64 {
                (0..self.time.len())
                    .filter(|&j| self.strata[j] == stratum && of(j))
                    .map(|j| self.weights[j])
                    .sum()
            };
            let mut times = self.time.clone();
            times.sort_by(f64::total_cmp);
            times.dedup();
            times
                .iter()
                .filter(|&&u| u < t || (at && u <= t))
                .fold(1.0, |g, &u| {
                    let here = |j: usize| self.time[j].total_cmp(&u).is_eq();
                    let censored = sum(&|j| here(j) && !self.event[j]);
                    let risk = sum(&|j| self.time[j] > u || (here(j) && !self.event[j]));
                    if censored > 0.0 {
                        g * (1.0 - censored / risk)
                    } else {
                        g
                    }
                })
        }
    }

    /// (concordant + half tied, comparable), every pair looked at.
    fn all_pairs(data: &Data, training: &Data, tau: f64, at: bool) -> (f64, f64) {
        let n = data.time.len();
        let (mut concordant, mut comparable) = (0.0, 0.0);
        for i in (0..n).filter(|&i| data.event[i] && data.time[i] <= tau) {
            let t = data.time[i];
            for j in (0..n).filter(|&j| data.strata[j] == data.strata[i]) {
                if data.time[j] > t || (data.time[j] >= t && !data.event[j]) {
                    let w = data.weights[i]
                        * data.weights[j]
                        * training.g(data.strata[i], t, at).powi(-2);
                    let apart = data.score[i] - data.score[j];
                    comparable += w;
                    concordant += w * if apart > 0.0 {
                        1.0
                    } else if apart < 0.0 {
                        0.0
                    } else {
                        0.5
                    };
                }
            }
        }
        (concordant, comparable)
    }

    fn data(strata: u8) -> impl Strategy<Value = Data> {
        let row = (1u8..9, any::<bool>(), 0u8..6, 1u8..5);
        prop::collection::vec(row, 6..40).prop_map(move |rows| Data {
            time: rows.iter().map(|r| f64::from(r.0)).collect(),
            event: rows.iter().map(|r| r.1).collect(),
            score: rows.iter().map(|r| f64::from(r.2)).collect(),
            weights: rows.iter().map(|r| f64::from(r.3) / 4.0).collect(),
            strata: (0..rows.len())
                .map(|i| (i % usize::from(strata)) as u8)
                .collect(),
        })
    }

    fn uno_settings(at: bool) -> Uno {
        let uno = Uno::new().tau(6.0);
        if at { uno.censoring_at_event() } else { uno }
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_pair(
            (data, training) in (1u8..3).prop_flat_map(|s| (data(s), data(s))),
            at in any::<bool>(),
            separate in any::<bool>(),
        ) {
            let (Ok(surv), Ok(train)) = (data.surv(&data.weights), training.surv(&training.weights))
                else { return Ok(()) };
            let uno = uno_settings(at);
            let (found, behind) = if separate {
                (uno.fit_with_training(&surv, &data.score, &train), &training)
            } else {
                (uno.fit(&surv, &data.score), &data)
            };
            let (concordant, comparable) = all_pairs(&data, behind, 6.0, at);
            if separate && out_of_reach(&data, &training, 6.0) {
                let refused = matches!(
                    found,
                    Err(Error::NoCensoringWeight { .. } | Error::Undefined { .. })
                );
                prop_assert!(refused, "{:?}", found);
            } else if comparable.is_finite() && comparable > 0.0 {
                let found = found.unwrap().concordance();
                prop_assert!((found - concordant / comparable).abs() < 1e-11, "{found}");
            } else {
                let undefined = matches!(found, Err(Error::Undefined { .. }));
                prop_assert!(undefined, "{:?}", found);
            }
        }

        #[test]
        fn the_influence_is_the_derivative_in_the_weight(
            (data, training) in (1u8..3).prop_flat_map(|s| (data(s), data(s))),
            at in any::<bool>(),
            separate in any::<bool>(),
        ) {
            let uno = uno_settings(at);
            let (Ok(surv), Ok(train)) = (data.surv(&data.weights), training.surv(&training.weights))
                else { return Ok(()) };
            let fit = |surv: &Surv, train: &Surv| {
                if separate {
                    uno.fit_with_training(surv, &data.score, train)
                } else {
                    uno.fit(surv, &data.score)
                }
            };
            let Ok(c) = fit(&surv, &train) else { return Ok(()) };
            let step = 1e-5;
            let derivative = |data: &Data, at: &dyn Fn(&Surv) -> f64, i: usize| {
                let mut w = data.weights.clone();
                w[i] += step;
                let up = at(&data.surv(&w).unwrap());
                w[i] -= 2.0 * step;
                let down = at(&data.surv(&w).unwrap());
                data.weights[i] * (up - down) / (2.0 * step)
            };
            let mut variance = 0.0;
            for i in 0..data.time.len() {
                let d = derivative(&data, &|s| fit(s, &train).unwrap().concordance(), i);
                prop_assert!((d - c.dfbeta().unwrap()[i]).abs() < 1e-6, "{i}: {d}");
                variance += d * d;
            }
            if separate {
                for i in 0..training.time.len() {
                    let d = derivative(&training, &|t| fit(&surv, t).unwrap().concordance(), i);
                    variance += d * d;
                }
            }
            prop_assert!((variance - c.variance().unwrap()).abs() < 1e-6);
        }

        #[test]
        fn with_the_censoring_known_it_is_the_concordance_weighted_by_g(data in data(2)) {
            let Ok(surv) = data.surv(&data.weights) else { return Ok(()) };
            let weighted = Harrell::new().time_weight(TimeWeight::NOverG2).fit(&surv, &data.score);
            let Ok(weighted) = weighted else { return Ok(()) };
            let c = Uno::new().known_censoring().fit(&surv, &data.score).unwrap();
            prop_assert!((c.concordance() - weighted.concordance()).abs() < 1e-12);
            let (a, b) = (c.std_error().unwrap(), weighted.std_error().unwrap());
            prop_assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn the_jackknife_and_the_bootstrap_agree_on_the_standard_error() {
        let time: Vec<f64> = (0..200).map(|i| f64::from(i * 173 % 211)).collect();
        let event: Vec<bool> = (0..200).map(|i| i * 7 % 11 > 4).collect();
        let score: Vec<f64> = (0..200)
            .zip(&time)
            .map(|(i, t)| f64::from(i * 91 % 97) / 97.0 - t / 400.0)
            .collect();
        let surv = Surv::new(&time, &event).unwrap();
        let uno = Uno::new().tau(140.0);
        let se = uno.fit(&surv, &score).unwrap().std_error().unwrap();
        let point = uno.variance(false);
        let drawn = crate::Bootstrap::new(1000)
            .run(&crate::Resampling::rows(200), |rows| {
                let score: Vec<f64> = rows.iter().map(|&i| score[i]).collect();
                Ok(point.fit(&surv.subset(rows)?, &score)?.concordance())
            })
            .unwrap();
        assert!(
            (drawn.std_error() / se - 1.0).abs() < 0.1,
            "{} {se}",
            drawn.std_error()
        );
    }

    #[test]
    fn an_event_beyond_the_training_follow_up_has_no_weight() {
        let training = Surv::new(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, true]).unwrap();
        let time = [2.0, 3.0, 5.0, 6.0];
        let score = [4.0, 3.0, 1.0, 2.0];
        let surv = Surv::new(&time, &[true; 4]).unwrap();
        let model = crate::CensoringModel::kaplan_meier(&training).unwrap();
        let both = |uno: &Uno, surv: &Surv| {
            (
                uno.fit_with_training(surv, &score, &training),
                uno.fit_with_censoring(surv, &score, &model),
            )
        };
        let (here, there) = both(&Uno::new(), &surv);
        for found in [here, there] {
            assert!(
                matches!(found, Err(Error::NoCensoringWeight { row: 2, .. })),
                "{found:?}"
            );
        }
        for tau in [3.0, 4.0, 4.5] {
            let (here, there) = both(&Uno::new().tau(tau), &surv);
            let (here, there) = (here.unwrap(), there.unwrap());
            assert!((here.concordance() - there.concordance()).abs() < 1e-15);
        }
        // An event that is compared with nobody needs no weight, whoever of weight 0 is left.
        let weights = [1.0, 1.0, 1.0, 0.0];
        let surv = Surv::builder(&time, &[true; 4]).weights(&weights);
        let (here, there) = both(&Uno::new(), &surv.build().unwrap());
        let (here, there) = (here.unwrap(), there.unwrap());
        assert!((here.concordance() - there.concordance()).abs() < 1e-15);
    }

    #[test]
    fn what_it_cannot_do_is_an_error() {
        let surv = Surv::new(&[1.0, 2.0, 2.0], &[true, true, false]).unwrap();
        let score = [3.0, 2.0, 1.0];
        let undefined = |r: Result<Concordance>| assert!(matches!(r, Err(Error::Undefined { .. })));
        undefined(Uno::new().censoring_at_event().fit(&surv, &score));
        undefined(Uno::new().tau(0.5).fit(&surv, &score));
        let cut = Surv::builder(&[1.0, 2.0, 3.0], &[true, true, false])
            .entry(&[0.0, 0.5, 0.0])
            .build()
            .unwrap();
        undefined(Uno::new().fit(&cut, &score));
        let other = Surv::builder(&[1.0, 2.0], &[true, true])
            .strata(&["a", "b"])
            .build()
            .unwrap();
        undefined(Uno::new().fit_with_training(&surv, &score, &other));
        assert!(matches!(
            Uno::new().tau(f64::NAN).fit(&surv, &score),
            Err(Error::Setting { .. })
        ));
        assert!(matches!(
            Uno::new().fit(&surv, &[1.0, f64::INFINITY, 0.0]),
            Err(Error::NotFinite { row: 1, .. })
        ));
    }
}
