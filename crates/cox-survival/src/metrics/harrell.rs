//! Harrell's concordance index.

use serde::{Deserialize, Serialize};

use super::concordance::Concordance;
use super::pairs::Pairs;
use super::time_weight::{TimeWeight, pair_weights};
use crate::error::{Error, Result, check_finite, check_length};
use crate::progress::{Observer, silent};
use crate::surv::Surv;
use crate::validation::bootstrap::{Bootstrap, BootstrapInterval};
use crate::validation::resampling::Resampling;

/// Harrell's C of `score`, a higher score being a higher risk, with its standard error.
///
/// Short for `Harrell::new().fit(surv, score)`; see [`Harrell`] for time weights, time limits and
/// protective scores.
///
/// ```
/// use cox_survival::{Surv, concordance};
/// let surv = Surv::new(&[2.0, 4.0, 5.0, 8.0], &[true, true, false, true])?;
/// let c = concordance(&surv, &[1.9, 0.3, 0.8, -1.0])?;
/// assert_eq!((c.concordant(), c.discordant()), (4.0, 1.0));
/// assert_eq!(c.concordance(), 0.8);
/// # Ok::<(), cox_survival::Error>(())
/// ```
pub fn concordance(surv: &Surv, score: &[f64]) -> Result<Concordance> {
    Harrell::new().fit(surv, score)
}

/// Settings of a concordance.
///
/// A pair of patients is comparable if one had the event while the other was at risk and did not
/// have it then: a patient censored at the time of another's event was at risk, two events at the
/// same time are not comparable, patients of different strata neither. With
/// `N` the weight of the comparable pairs,
///
/// ```text
/// C = (concordant + tied_score / 2) / N
/// ```
///
/// The variance is that of the infinitesimal jackknife, `sum_i (w_i dC/dw_i)^2`, the time weights
/// held fixed, as R's `concordance` reports it. `O(n log n)` with and without.
///
/// F. E. Harrell et al., Evaluating the yield of medical tests, JAMA 247, 1982; time weights:
/// T. Therneau and E. Atkinson, the vignette "Concordance" of R's package `survival`.
///
/// ```
/// use cox_survival::{Harrell, Surv, TimeWeight};
/// let surv = Surv::new(&[2.0, 4.0, 5.0, 8.0], &[true, true, false, true])?;
/// let c = Harrell::new()
///     .protective()
///     .time_weight(TimeWeight::S)
///     .latest(6.0)
///     .fit(&surv, &[-1.9, -0.3, -0.8, 1.0])?;
/// assert_eq!(c.concordance(), 0.8);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Harrell {
    protective: bool,
    time_weight: TimeWeight,
    earliest: Option<f64>,
    latest: Option<f64>,
    point_only: bool,
}

impl Harrell {
    /// A higher score is a higher risk, all pairs count the same, all times, with variance.
    pub fn new() -> Self {
        Self::default()
    }

    /// A higher score is a lower risk (R's `reverse = FALSE`).
    pub fn protective(mut self) -> Self {
        self.protective = true;
        self
    }

    /// How comparisons at different times are weighted. [`TimeWeight::N`] unless set.
    pub fn time_weight(mut self, time_weight: TimeWeight) -> Self {
        self.time_weight = time_weight;
        self
    }

    /// Uses events at times up to and including `time` only (R's `ymax`); patients with later
    /// times remain at risk.
    pub fn latest(mut self, time: f64) -> Self {
        self.latest = Some(time);
        self
    }

    /// Takes all times before `time` for `time` (R's `ymin`): events before it are tied. A
    /// censored time before it is an error.
    pub fn earliest(mut self, time: f64) -> Self {
        self.earliest = Some(time);
        self
    }

    /// Whether the variance is computed; it is unless set. Without it the work is halved.
    pub fn variance(mut self, variance: bool) -> Self {
        self.point_only = !variance;
        self
    }

    /// Computes the concordance of `score` (`surv.n()` finite values).
    pub fn fit(&self, surv: &Surv, score: &[f64]) -> Result<Concordance> {
        check_score(surv, score)?;
        let clamped = self.moved(surv)?;
        let surv = clamped.as_ref().unwrap_or(surv);
        let pairs = Pairs::new(surv, score, self.sign());
        let v = self.pair_weights(surv, |p| surv.weight(surv.sorted.order[p] as usize))?;
        let (v, shares) = (v.as_deref(), !self.point_only);
        let counted = match surv.weights() {
            None => pairs.evaluate(|_| 1u32, v, shares),
            Some(w) => pairs.evaluate(|p| w[surv.sorted.order[p] as usize], v, shares),
        }?;
        let dfbeta = shares.then(|| counted.dfbeta(surv));
        Ok(Concordance::new(surv.n(), &counted.totals, dfbeta, None))
    }

    /// Bootstrap interval of the concordance. Scores are sorted once; a replicate is a count with
    /// the number of times each row was drawn as its weight, `O(n log n)` additions.
    ///
    /// ```
    /// use cox_survival::{Bootstrap, Harrell, Resampling, Surv};
    /// let time: Vec<f64> = (0..50).map(|i| f64::from(i * 13 % 50)).collect();
    /// let event: Vec<bool> = (0..50).map(|i| i % 3 != 0).collect();
    /// let surv = Surv::new(&time, &event)?;
    /// let score: Vec<f64> = time.iter().map(|t| (t / 5.0).sin() - t / 50.0).collect();
    /// let rows = Resampling::rows(50).within(&event)?;
    /// let interval = Harrell::new().bootstrap(&surv, &score, &Bootstrap::new(200), &rows)?;
    /// assert!(interval.lower() < interval.estimate() && interval.estimate() < interval.upper());
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    pub fn bootstrap(
        &self,
        surv: &Surv,
        score: &[f64],
        bootstrap: &Bootstrap,
        resampling: &Resampling,
    ) -> Result<BootstrapInterval> {
        self.bootstrap_with(surv, score, bootstrap, resampling, &silent)
    }

    /// [`Harrell::bootstrap`] with an observer that hears of every finished replicate.
    pub fn bootstrap_with(
        &self,
        surv: &Surv,
        score: &[f64],
        bootstrap: &Bootstrap,
        resampling: &Resampling,
        observer: &Observer<'_>,
    ) -> Result<BootstrapInterval> {
        resampling.check(surv.n())?;
        let estimate = self.clone().variance(false).fit(surv, score)?;
        let clamped = self.moved(surv)?;
        let surv = clamped.as_ref().unwrap_or(surv);
        let pairs = Pairs::new(surv, score, self.sign());
        let order = &surv.sorted.order;
        let replicate = |r: u64| {
            let times = resampling.multiplicities(bootstrap.seed_value(), r);
            let row = |p: usize| order[p] as usize;
            let weight = |p: usize| f64::from(times[row(p)]) * surv.weight(row(p));
            let v = self.pair_weights(surv, weight)?;
            let counted = match surv.weights() {
                None => pairs.evaluate(|p| times[row(p)], v.as_deref(), false),
                Some(_) => pairs.evaluate(weight, v.as_deref(), false),
            }?;
            Ok(counted.totals.concordance())
        };
        let influence = || {
            let fit = self.clone().variance(true).fit(surv, score)?;
            Ok(resampling.sums(fit.dfbeta().unwrap_or_default()))
        };
        bootstrap.interval_of(estimate.concordance(), replicate, influence, observer)
    }

    /// The outcome with early times moved, if that is asked for.
    fn moved(&self, surv: &Surv) -> Result<Option<Surv>> {
        self.earliest.map(|time| not_before(surv, time)).transpose()
    }

    pub(super) fn sign(&self) -> f64 {
        if self.protective { -1.0 } else { 1.0 }
    }

    /// Weight of a pair compared at each event group, `None` when it is 1 throughout.
    pub(super) fn pair_weights(
        &self,
        surv: &Surv,
        weight: impl Fn(usize) -> f64,
    ) -> Result<Option<Vec<f64>>> {
        let latest = self.latest.unwrap_or(f64::INFINITY);
        if latest.is_nan() {
            return Err(Error::Setting {
                name: "latest",
                value: latest.to_string(),
                expected: "a time",
            });
        }
        pair_weights(surv, weight, self.time_weight, latest)
    }
}

pub(super) fn check_score(surv: &Surv, score: &[f64]) -> Result<()> {
    check_length("score", score.len(), surv.n())?;
    check_finite("score", score)
}

/// `surv` with all times before `earliest` moved to it.
fn not_before(surv: &Surv, earliest: f64) -> Result<Surv> {
    if !earliest.is_finite() {
        return Err(Error::Setting {
            name: "earliest",
            value: earliest.to_string(),
            expected: "a finite time",
        });
    }
    if (0..surv.n()).any(|i| surv.time()[i] < earliest && !surv.event()[i]) {
        return Err(Error::Setting {
            name: "earliest",
            value: earliest.to_string(),
            expected: "no censored time may lie before it",
        });
    }
    let time: Vec<f64> = surv.time().iter().map(|t| t.max(earliest)).collect();
    let mut moved = Surv::builder(&time, surv.event())
        .timefix(false)
        .strata(surv.stratum());
    if let Some(entry) = surv.entry() {
        moved = moved.entry(entry);
    }
    if let Some(weights) = surv.weights() {
        moved = moved.weights(weights);
    }
    moved.build()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows of a small data set in which everything ties.
    #[derive(Debug, Clone)]
    struct Data {
        time: Vec<f64>,
        event: Vec<bool>,
        score: Vec<f64>,
        entry: Option<Vec<f64>>,
        weights: Option<Vec<f64>>,
        strata: Vec<u32>,
    }

    impl Data {
        fn surv(&self) -> Result<Surv> {
            let mut surv = Surv::builder(&self.time, &self.event).strata(&self.strata);
            if let Some(entry) = &self.entry {
                surv = surv.entry(entry);
            }
            if let Some(weights) = &self.weights {
                surv = surv.weights(weights);
            }
            surv.build()
        }

        fn w(&self, i: usize) -> f64 {
            self.weights.as_ref().map_or(1.0, |w| w[i])
        }

        fn at_risk(&self, j: usize, t: f64) -> bool {
            self.time[j] >= t && self.entry.as_ref().is_none_or(|e| e[j] < t)
        }

        fn event_at(&self, j: usize, t: f64) -> bool {
            self.event[j] && self.w(j) > 0.0 && self.time[j].total_cmp(&t).is_eq()
        }

        fn sum(&self, stratum: u32, of: impl Fn(usize) -> bool) -> f64 {
            (0..self.time.len())
                .filter(|&j| self.strata[j] == stratum && of(j))
                .map(|j| self.w(j))
                .sum()
        }

        /// Kaplan-Meier just before `t`: of the events, or of the censored times.
        fn before(&self, stratum: u32, t: f64, censoring: bool) -> f64 {
            let mut times = self.time.clone();
            times.sort_by(f64::total_cmp);
            times.dedup();
            times.iter().filter(|&&u| u < t).fold(1.0, |curve, &u| {
                let n = self.sum(stratum, |j| self.at_risk(j, u));
                let d = self.sum(stratum, |j| self.event_at(j, u));
                let c = self.sum(stratum, |j| {
                    self.time[j].total_cmp(&u).is_eq() && !self.event_at(j, u)
                });
                let (hit, risk) = if censoring { (c, n - d) } else { (d, n) };
                if hit > 0.0 {
                    curve * (1.0 - hit / risk)
                } else {
                    curve
                }
            })
        }

        fn pair_weight(&self, kind: TimeWeight, i: usize) -> f64 {
            let (s, t) = (self.strata[i], self.time[i]);
            let n = self.sum(s, |j| self.at_risk(j, t));
            let total = self.sum(s, |_| true);
            match kind {
                TimeWeight::N => 1.0,
                TimeWeight::S => total * self.before(s, t, false) / n,
                TimeWeight::SOverG => {
                    total * self.before(s, t, false) / self.before(s, t, true) / n
                }
                TimeWeight::NOverG2 => self.before(s, t, true).powi(-2),
                TimeWeight::I => 1.0 / n,
            }
        }
    }

    /// Every pair looked at: totals and each row's (concordant + half tied, comparable).
    /// `None` if an event would get an infinite weight.
    fn all_pairs(
        data: &Data,
        kind: TimeWeight,
        latest: f64,
    ) -> Option<([f64; 5], Vec<[f64; 2]>, f64)> {
        let n = data.time.len();
        let mut counts = [0.0; 5];
        let mut shares = vec![[0.0; 2]; n];
        let mut information = 0.0;
        for i in 0..n {
            let t = data.time[i];
            if !data.event_at(i, t) || t > latest {
                continue;
            }
            let v = data.pair_weight(kind, i);
            if !v.is_finite() {
                return None;
            }
            let risk: Vec<usize> = (0..n)
                .filter(|&j| data.strata[j] == data.strata[i] && data.at_risk(j, t))
                .collect();
            for &j in risk.iter().filter(|&&j| j != i) {
                let w = data.w(i) * data.w(j) * v;
                let tied = data.score[i].total_cmp(&data.score[j]).is_eq();
                if data.event_at(j, t) {
                    // Met twice, once from each side.
                    counts[if tied { 4 } else { 3 }] += w / 2.0;
                    continue;
                }
                let (kind, value) = if tied {
                    (2, 0.5)
                } else if data.score[i] > data.score[j] {
                    (0, 1.0)
                } else {
                    (1, 0.0)
                };
                counts[kind] += w;
                for row in [i, j] {
                    shares[row][0] += w * value;
                    shares[row][1] += w;
                }
            }
            let total: f64 = risk.iter().map(|&j| data.w(j)).sum();
            let spread: f64 = risk
                .iter()
                .map(|&j| {
                    let lead: f64 = risk
                        .iter()
                        .map(|&k| {
                            let apart = data.score[j] - data.score[k];
                            if apart.abs() > 0.0 {
                                apart.signum() * data.w(k)
                            } else {
                                0.0
                            }
                        })
                        .sum();
                    data.w(j) * lead * lead
                })
                .sum();
            information += data.w(i) * v * spread / total;
        }
        Some((counts, shares, information))
    }

    fn data() -> impl Strategy<Value = Data> {
        let row = (1u8..9, any::<bool>(), 0u8..6, 0u8..5, 1u8..5, 0u32..3);
        (
            prop::collection::vec(row, 2..40),
            any::<bool>(),
            any::<bool>(),
            1u32..4,
        )
            .prop_map(|(rows, entry, weights, strata)| Data {
                time: rows.iter().map(|r| f64::from(r.0)).collect(),
                event: rows.iter().map(|r| r.1).collect(),
                score: rows.iter().map(|r| f64::from(r.2) - 2.0).collect(),
                entry: entry.then(|| {
                    rows.iter()
                        .map(|r| f64::from(r.0) - f64::from(r.4))
                        .collect()
                }),
                weights: weights.then(|| rows.iter().map(|r| f64::from(r.3) / 4.0).collect()),
                strata: rows.iter().map(|r| r.5 % strata).collect(),
            })
    }

    fn near(a: f64, b: f64, scale: f64) -> bool {
        (a - b).abs() <= 1e-10 * scale.max(1e-3)
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_pair(
            data in data(),
            kind in prop::sample::select(vec![
                TimeWeight::N, TimeWeight::S, TimeWeight::SOverG, TimeWeight::NOverG2, TimeWeight::I,
            ]),
            latest in prop_oneof![Just(f64::INFINITY), (3u8..8).prop_map(f64::from)],
        ) {
            let Ok(surv) = data.surv() else { return Ok(()) };
            let fitted = Harrell::new().time_weight(kind).latest(latest).fit(&surv, &data.score);
            let (counts, shares, information) = all_pairs(&data, kind, latest)
                .unwrap_or(([0.0; 5], vec![], 0.0));
            let all = counts[0] + counts[1] + counts[2];
            if all <= 0.0 {
                prop_assert!(matches!(fitted, Err(Error::Undefined { .. })), "{fitted:?}");
                return Ok(());
            }
            let c = fitted.unwrap();
            let found = [c.concordant(), c.discordant(), c.tied_score(), c.tied_time(), c.tied_both()];
            let scale: f64 = counts.iter().sum();
            for (a, b) in found.iter().zip(counts) {
                prop_assert!(near(*a, b, scale), "{found:?} {counts:?}");
            }
            let expected = (counts[0] + counts[2] / 2.0) / all;
            prop_assert!(near(c.concordance(), expected, 1.0));
            for (a, [concordant, comparable]) in c.dfbeta().unwrap().iter().zip(shares) {
                prop_assert!(near(*a, (concordant - expected * comparable) / all, 1.0));
            }
            let score_variance = information / (4.0 * all * all);
            prop_assert!(near(c.score_variance(), score_variance, score_variance));

            let reversed: Vec<f64> = data.score.iter().map(|s| -s).collect();
            let protective = Harrell::new()
                .time_weight(kind).latest(latest).protective().fit(&surv, &reversed).unwrap();
            prop_assert_eq!(c, protective);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_replicate_is_the_concordance_of_the_rows_drawn(
            data in data(), seed in any::<u64>(),
            kind in prop::sample::select(vec![TimeWeight::N, TimeWeight::S, TimeWeight::I]),
        ) {
            let Ok(surv) = data.surv() else { return Ok(()) };
            let harrell = Harrell::new().time_weight(kind);
            let plan = Resampling::rows(surv.n());
            let bootstrap = Bootstrap::new(8).seed(seed);
            let slow = bootstrap.run(&plan, |rows| {
                let score: Vec<f64> = rows.iter().map(|&i| data.score[i]).collect();
                Ok(harrell.fit(&surv.subset(rows)?, &score)?.concordance())
            });
            let fast = harrell.bootstrap(&surv, &data.score, &bootstrap, &plan);
            match (fast, slow) {
                (Ok(fast), Ok(slow)) => {
                    prop_assert_eq!(fast.failed(), slow.failed());
                    for (a, b) in fast.replicates().iter().zip(slow.replicates()) {
                        prop_assert!((a - b).abs() < 1e-11, "{a} {b}");
                    }
                }
                (fast, slow) => prop_assert!(fast.is_err() && slow.is_err()),
            }
        }
    }

    #[test]
    fn the_jackknife_and_the_bootstrap_agree_on_the_standard_error() {
        let rows = 300;
        let time: Vec<f64> = (0..rows).map(|i| f64::from(i * 173 % 211)).collect();
        let event: Vec<bool> = (0..rows).map(|i| i * 7 % 11 > 3).collect();
        let score: Vec<f64> = (0..rows)
            .zip(&time)
            .map(|(i, t)| f64::from(i * 91 % 97) / 97.0 - t / 400.0)
            .collect();
        let surv = Surv::new(&time, &event).unwrap();
        let se = concordance(&surv, &score).unwrap().std_error().unwrap();
        let plan = Resampling::rows(surv.n());
        let b = Harrell::new()
            .bootstrap(&surv, &score, &Bootstrap::new(2000), &plan)
            .unwrap();
        assert!(
            (b.std_error() / se - 1.0).abs() < 0.08,
            "{} {se}",
            b.std_error()
        );
        let bca = Bootstrap::new(2000).interval(crate::IntervalKind::Bca);
        let bca = Harrell::new()
            .bootstrap(&surv, &score, &bca, &plan)
            .unwrap();
        assert!((bca.lower() - b.lower()).abs() < se && (bca.upper() - b.upper()).abs() < se);
    }

    #[test]
    fn the_influence_is_the_derivative_in_the_weight() {
        let time: Vec<f64> = (0..30).map(|i| f64::from(i * 7 % 13 + 1)).collect();
        let event: Vec<bool> = (0..30).map(|i| i % 3 != 0).collect();
        let score: Vec<f64> = (0..30).map(|i| f64::from(i * 11 % 9)).collect();
        let mut weights = vec![1.0; 30];
        let at = |weights: &[f64]| {
            let surv = Surv::builder(&time, &event)
                .weights(weights)
                .build()
                .unwrap();
            concordance(&surv, &score).unwrap()
        };
        let dfbeta = at(&weights).dfbeta().unwrap().to_vec();
        for i in 0..30 {
            let step = 1e-5;
            weights[i] = 1.0 + step;
            let up = at(&weights).concordance();
            weights[i] = 1.0 - step;
            let down = at(&weights).concordance();
            weights[i] = 1.0;
            assert!(((up - down) / (2.0 * step) - dfbeta[i]).abs() < 1e-9);
        }
    }

    #[test]
    fn bad_scores_and_settings_are_named() {
        let surv = Surv::new(&[1.0, 2.0, 3.0], &[false, true, true]).unwrap();
        assert!(matches!(
            concordance(&surv, &[1.0, 2.0]),
            Err(Error::Length {
                found: 2,
                expected: 3,
                ..
            })
        ));
        assert!(matches!(
            concordance(&surv, &[1.0, f64::NAN, 0.0]),
            Err(Error::NotFinite { row: 1, .. })
        ));
        let score = [3.0, 2.0, 1.0];
        for bad in [
            Harrell::new().earliest(1.5),
            Harrell::new().earliest(f64::INFINITY),
            Harrell::new().latest(f64::NAN),
        ] {
            assert!(matches!(bad.fit(&surv, &score), Err(Error::Setting { .. })));
        }
        let none = Harrell::new().latest(1.0).fit(&surv, &score);
        assert!(matches!(none, Err(Error::Undefined { .. })));
        let alone = Surv::new(&[1.0, 2.0], &[false, true]).unwrap();
        assert!(matches!(
            concordance(&alone, &[1.0, 2.0]),
            Err(Error::Undefined { .. })
        ));
    }

    #[test]
    fn settings_survive_serde() {
        let harrell = Harrell::new()
            .protective()
            .time_weight(TimeWeight::NOverG2)
            .latest(3.5);
        let text = serde_json::to_string(&harrell).unwrap();
        assert_eq!(serde_json::from_str::<Harrell>(&text).unwrap(), harrell);
        assert_eq!(
            serde_json::from_str::<Harrell>("{}").unwrap(),
            Harrell::new()
        );
    }
}
