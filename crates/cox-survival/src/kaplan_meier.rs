//! The Kaplan-Meier (product-limit) estimate of a survival curve.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::area_influence::Stays;
use crate::compensated::{Product, Sum};
use crate::confidence::{ConfType, normal_quantile, nullable};
use crate::error::{Error, Result};
use crate::life_table::{self, LifeTable, Sample};
use crate::step::StepFunction;
use crate::surv::Surv;
use crate::table::Table;
use crate::text_table;

/// Settings of a Kaplan-Meier estimate.
///
/// ```text
/// S(t)         = product over t_k <= t of (1 - d_k / n_k)
/// var log S(t) = sum over t_k <= t of d_k / (n_k (n_k - d_k))
/// ```
///
/// with `d_k` the (weighted) events and `n_k` the (weighted) number at risk, `entry < t_k <= time`
/// (Kaplan and Meier 1958; Greenwood 1926). R: `survfit(Surv(time, status) ~ group)`.
///
/// ```
/// use cox_survival::{KaplanMeier, Surv};
/// let time = [6.0, 6.0, 6.0, 7.0, 10.0, 13.0, 16.0, 22.0, 23.0];
/// let event = [true, true, true, true, false, true, true, true, true];
/// let fit = KaplanMeier::new().fit(&Surv::new(&time, &event)?)?;
/// let curve = &fit.curves[0];
/// assert_eq!(curve.median, Some(13.0));
/// assert!((curve.survival_at(7.0) - 5.0 / 9.0).abs() < 1e-15);
/// println!("{fit}");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KaplanMeier {
    conf_type: ConfType,
    level: f64,
    robust: bool,
}

impl Default for KaplanMeier {
    fn default() -> Self {
        Self {
            conf_type: ConfType::Log,
            level: 0.95,
            robust: false,
        }
    }
}

impl KaplanMeier {
    /// Log intervals at level 0.95, Greenwood's variance.
    pub fn new() -> Self {
        Self::default()
    }

    /// Scale of the confidence intervals.
    pub fn conf_type(mut self, conf_type: ConfType) -> Self {
        self.conf_type = conf_type;
        self
    }

    /// Confidence level, strictly between 0 and 1.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// Infinitesimal-jackknife variance instead of Greenwood's, of the curve and of the restricted mean:
    /// for case weights that are not counts of patients (R's default as soon as a weight is not a whole
    /// number).
    pub fn robust(mut self, robust: bool) -> Self {
        self.robust = robust;
        self
    }

    /// One curve for each stratum of `surv` (one in all without strata). `O(n log n)`.
    pub fn fit(&self, surv: &Surv) -> Result<KmFit> {
        self.fit_samples(surv, &life_table::by_stratum(surv))
    }

    /// One curve for each distinct label, in sorted order; where `surv` has strata, for each
    /// label and stratum that occur together (named `label, stratum`).
    pub fn fit_by<L: Ord + Display>(&self, surv: &Surv, labels: &[L]) -> Result<KmFit> {
        self.fit_samples(surv, &life_table::by_label(surv, labels)?)
    }

    fn fit_samples(&self, surv: &Surv, samples: &[Sample]) -> Result<KmFit> {
        let z = normal_quantile(self.level)?;
        let curves = samples.iter().map(|sample| self.curve(surv, sample, z));
        Ok(KmFit {
            settings: *self,
            weighted: surv.weights().is_some(),
            truncated: surv.entry().is_some(),
            curves: curves.collect::<Result<_>>()?,
        })
    }

    fn curve(&self, surv: &Surv, sample: &Sample, z: f64) -> Result<KmCurve> {
        let table = LifeTable::new(surv, sample);
        let m = table.time.len();
        let (mut estimate, mut greenwood) = (Product::one(), Sum::default());
        let (mut hazard, mut hazard_variance) = (Sum::default(), Sum::default());
        let mut surv_at = Vec::with_capacity(m);
        let (mut std_err, mut std_cumhaz) = (Vec::with_capacity(m), Vec::with_capacity(m));
        let mut cumhaz = Vec::with_capacity(m);
        for k in 0..m {
            let (n, d, rest) = (table.n_risk[k], table.n_event[k], table.survivors[k]);
            if d > 0.0 {
                estimate.multiply(rest, n);
                greenwood.add(d / n / rest);
                hazard.add(d / n);
                hazard_variance.add(d / n / n);
            }
            surv_at.push(estimate.value());
            std_err.push(greenwood.value().sqrt());
            cumhaz.push(hazard.value());
            std_cumhaz.push(hazard_variance.value().sqrt());
        }
        if self.robust {
            (std_err, std_cumhaz) = infinitesimal_jackknife(surv, sample, &table);
        }
        let stays = self.robust.then(|| Stays::new(surv, sample, &table));
        let limits = (0..m).map(|k| self.conf_type.limits(surv_at[k], std_err[k], z));
        let (lower, upper): (Vec<f64>, Vec<f64>) = limits.unzip();
        let mut curve = KmCurve {
            name: sample.name.clone(),
            n: sample.rows.len(),
            n_start: table.n_risk.first().copied().unwrap_or(0.0),
            n_max: table.n_risk.iter().copied().fold(0.0, f64::max),
            n_events: table.n_event.iter().sum(),
            time: table.time,
            n_risk: table.n_risk,
            n_event: table.n_event,
            n_censor: table.n_censor,
            surv: surv_at,
            std_err,
            lower,
            upper,
            cumhaz,
            std_cumhaz,
            median: None,
            median_lower: None,
            median_upper: None,
            level: self.level,
            entered: life_table::entered(surv, sample),
            stays,
        };
        let half = |y: &[f64]| curve.step_of(y).map(|step| step.descends_to(0.5));
        let medians = [half(&curve.surv)?, half(&curve.lower)?, half(&curve.upper)?];
        [curve.median, curve.median_lower, curve.median_upper] = medians;
        Ok(curve)
    }
}

/// Standard errors of `log S` and of `H` at each time from the derivatives with respect to the
/// case weights: `var = sum_i (w_i d/dw_i)^2`.
///
/// With `a(t) = sum d/(n(n-d))`, a patient at risk from `e` on has `d log S / d w_i = a(t) - a(e)`;
/// after leaving at `T` it stays at `a(T) - a(e)` if censored and at `a(T-) - a(e) - 1/n(T)` if an
/// event. For `H` with `b(t) = sum d/n^2`, the signs turned: `b(T) - b(e)`, and after an event
/// `b(T) - b(e) - 1/n(T)`. Squares of those still at risk are kept as three moments: `O(n)`.
fn infinitesimal_jackknife(
    surv: &Surv,
    sample: &Sample,
    table: &LifeTable,
) -> (Vec<f64>, Vec<f64>) {
    let m = table.time.len();
    let entry_of = |row: u32| surv.entry().map_or(f64::NEG_INFINITY, |e| e[row as usize]);
    let entering = if sample.by_entry.is_empty() {
        &sample.rows
    } else {
        &sample.by_entry
    };
    let (mut std_log, mut std_hazard) = (Vec::with_capacity(m), Vec::with_capacity(m));
    // Moments of the values `origin` at entry, of those at risk: sum w^2, w^2 o, w^2 o^2.
    let mut at_risk = [[0.0; 3]; 2];
    let mut origin: Vec<[f64; 2]> = vec![[0.0; 2]; surv.n()];
    let mut gone = [Sum::default(); 2];
    let (mut now, mut entered) = ([0.0; 2], 0);
    for k in 0..m {
        while entered < entering.len() && entry_of(entering[entered]) < table.time[k] {
            let row = entering[entered] as usize;
            origin[row] = now;
            for (moments, o) in at_risk.iter_mut().zip(now) {
                add_moments(moments, surv.weight(row).powi(2), o);
            }
            entered += 1;
        }
        let (n, d, rest) = (table.n_risk[k], table.n_event[k], table.survivors[k]);
        let before = now;
        if d > 0.0 {
            now[0] += d / n / rest;
            now[1] += d / n / n;
        }
        for &row in table.leaving(k, sample) {
            let row = row as usize;
            let square = surv.weight(row).powi(2);
            let values = if surv.event()[row] {
                [before[0] - 1.0 / n, now[1] - 1.0 / n]
            } else {
                now
            };
            for j in 0..2 {
                add_moments(&mut at_risk[j], -square, origin[row][j]);
                gone[j].add(square * (values[j] - origin[row][j]).powi(2));
            }
        }
        let last = k + 1 == m;
        let variance = |j: usize| {
            let [w, o, oo] = at_risk[j];
            let still = if last {
                0.0
            } else {
                now[j] * (now[j] * w - 2.0 * o) + oo
            };
            (gone[j].value() + still).max(0.0)
        };
        // Once nobody survives, `log S` is minus infinity and has no variance.
        std_log.push(if now[0].is_infinite() {
            f64::INFINITY
        } else {
            variance(0).sqrt()
        });
        std_hazard.push(variance(1).sqrt());
    }
    (std_log, std_hazard)
}

fn add_moments(moments: &mut [f64; 3], square: f64, origin: f64) {
    moments[0] += square;
    moments[1] += square * origin;
    moments[2] += square * origin * origin;
}

/// Result of [`KaplanMeier::fit`]: prints R's table of medians.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KmFit {
    /// The settings of the fit.
    pub settings: KaplanMeier,
    /// Whether the rows had case weights.
    pub weighted: bool,
    /// Whether the rows had entry times.
    pub truncated: bool,
    /// One curve per group, by name.
    pub curves: Vec<KmCurve>,
}

/// One Kaplan-Meier curve. All vectors have one element per distinct time of leaving, censoring
/// times included, ascending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KmCurve {
    /// Label of the group; empty for a single curve.
    pub name: String,
    /// Number of rows (of positive weight).
    pub n: usize,
    /// Number at risk at the first time (with weights: their sum).
    pub n_start: f64,
    /// Largest number at risk at any time.
    pub n_max: f64,
    /// Number of events (with weights: their sum).
    pub n_events: f64,
    /// Distinct times.
    pub time: Vec<f64>,
    /// At risk just before each time.
    pub n_risk: Vec<f64>,
    /// Events at each time.
    pub n_event: Vec<f64>,
    /// Censored at each time.
    pub n_censor: Vec<f64>,
    /// Survival probability from each time on.
    pub surv: Vec<f64>,
    /// Standard error of `log S`, which is R's `survfit(..)$std.err`; that of `S` is `surv`
    /// times this ([`KmCurve::std_err_surv`]). Infinite where `surv` is 0; `null` in JSON.
    #[serde(with = "nullable")]
    pub std_err: Vec<f64>,
    /// Lower confidence limit of `surv`; NaN (`null` in JSON) where it is not defined.
    #[serde(with = "nullable")]
    pub lower: Vec<f64>,
    /// Upper confidence limit of `surv`; NaN (`null` in JSON) where it is not defined.
    #[serde(with = "nullable")]
    pub upper: Vec<f64>,
    /// Nelson-Aalen cumulative hazard `sum d/n`.
    pub cumhaz: Vec<f64>,
    /// Standard error of `cumhaz` (R's `std.chaz`): `sqrt(sum d/n^2)`.
    pub std_cumhaz: Vec<f64>,
    /// Median survival as R's table has it: the first time with `surv <= 0.5`, the middle of the
    /// flat step when `surv` is exactly 0.5 (to 1.5e-8) until a later event; `None` when `surv`
    /// stays above 0.5.
    pub median: Option<f64>,
    /// Lower limit of the median: the same rule on `lower`.
    pub median_lower: Option<f64>,
    /// Upper limit of the median: the same rule on `upper`.
    pub median_upper: Option<f64>,
    /// Confidence level of all limits.
    pub level: f64,
    /// Weight entered up to each entry time; absent without left truncation.
    entered: Option<StepFunction>,
    /// What the jackknife of the restricted mean needs; absent with Greenwood's variance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stays: Option<Stays>,
}

/// A quantile of survival time with its confidence limits; `None` where a curve does not come
/// down far enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quantile {
    /// The probability `p` of having had the event.
    pub p: f64,
    /// The time by which a fraction `p` has had the event.
    pub estimate: Option<f64>,
    /// Lower limit.
    pub lower: Option<f64>,
    /// Upper limit.
    pub upper: Option<f64>,
}

/// Restricted mean survival time: the area under the curve up to `tau`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rmst {
    /// Where the area ends.
    pub tau: f64,
    /// The mean time lived up to `tau`.
    pub mean: f64,
    /// Its standard error.
    pub std_err: f64,
    /// Lower confidence limit, `mean - z std_err`.
    pub lower: f64,
    /// Upper confidence limit, `mean + z std_err`.
    pub upper: f64,
}

impl KmCurve {
    fn step_of(&self, y: &[f64]) -> Result<StepFunction> {
        StepFunction::new(self.time.clone(), y.to_vec(), 1.0)
    }

    /// The survival curve as a step function, 1 before the first time.
    pub fn step(&self) -> Result<StepFunction> {
        self.step_of(&self.surv)
    }

    /// Survival probability at `t`; the last value is carried on beyond the last time.
    pub fn survival_at(&self, t: f64) -> f64 {
        match self.time.partition_point(|&x| x <= t) {
            0 => 1.0,
            k => self.surv[k - 1],
        }
    }

    /// Standard error of `surv` (R's `summary(survfit(..))$std.err`); NaN where `surv` is 0.
    pub fn std_err_surv(&self) -> Vec<f64> {
        self.surv
            .iter()
            .zip(&self.std_err)
            .map(|(s, e)| s * e)
            .collect()
    }

    /// Number (weight) at risk at `t`: entered before `t` and leaving at `t` or later. Up to the
    /// earliest entry everybody who enters then is counted.
    pub fn n_risk_at(&self, t: f64) -> f64 {
        let next = self.time.partition_point(|&x| x < t);
        match &self.entered {
            None => self.n_risk.get(next).copied().unwrap_or(0.0),
            Some(entered) => {
                let first = entered.x().first().copied().unwrap_or(t);
                let came = if t <= first {
                    entered.eval(first)
                } else {
                    entered.eval_left(t)
                };
                let left = (0..next).map(|k| self.n_event[k] + self.n_censor[k]);
                came - left.sum::<f64>()
            }
        }
    }

    /// The time by which a fraction `p` (in `(0, 1]`) has had the event, with limits from the
    /// curve's own limits. R: `quantile(survfit(..), p)`.
    ///
    /// On a flat step at exactly `1 - p` this is its middle; if the step lasts to the end, the
    /// middle between its start and the last time. (R's table, and so [`KmCurve::median`], gives
    /// the start in that case.)
    pub fn quantile(&self, p: f64) -> Result<Quantile> {
        if !(p > 0.0 && p <= 1.0) {
            return Err(Error::Setting {
                name: "p",
                value: p.to_string(),
                expected: "a probability in (0, 1]",
            });
        }
        let last = self.time.last().copied();
        let invert = |y: &[f64]| -> Result<Option<f64>> {
            let step = self.step_of(y)?;
            Ok(step.crossing(1.0 - p).map(|(start, next)| {
                let flat = (step.eval(start) - (1.0 - p)).abs() < crate::step::HEIGHT_TOLERANCE;
                let end = next.or(last.filter(|_| flat)).unwrap_or(start);
                0.5 * (start + end)
            }))
        };
        Ok(Quantile {
            p,
            estimate: invert(&self.surv)?,
            lower: invert(&self.lower)?,
            upper: invert(&self.upper)?,
        })
    }

    /// Restricted mean survival time up to `tau > 0`; beyond the last time the curve is carried
    /// on as it is. R: `summary(survfit(..), rmean = tau)`.
    ///
    /// ```text
    /// mean = area of S over [0, tau]
    /// var  = sum over t_k <= tau of (area of S over [t_k, tau])^2 d_k / (n_k (n_k - d_k))
    /// ```
    ///
    /// After [`KaplanMeier::robust`] the variance is that of the infinitesimal jackknife instead.
    pub fn rmst(&self, tau: f64) -> Result<Rmst> {
        if !(tau > 0.0 && tau.is_finite()) {
            return Err(Error::Setting {
                name: "tau",
                value: tau.to_string(),
                expected: "a positive number",
            });
        }
        let upto = self.time.partition_point(|&t| t <= tau);
        let (mut area, mut variance) = (Sum::default(), Sum::default());
        let mut right = tau;
        let (mut areas, mut steps) = (vec![0.0; upto], vec![0.0; upto]);
        for k in (0..upto).rev() {
            area.add(self.surv[k] * (right - self.time[k]));
            right = self.time[k];
            let rest = self.n_risk[k] - self.n_event[k];
            // Nobody left: the area to the right is 0 and so is its variance.
            if self.n_event[k] > 0.0 && self.surv[k] > 0.0 {
                variance.add(area.value().powi(2) * self.n_event[k] / self.n_risk[k] / rest);
                steps[k] = self.n_event[k] / self.n_risk[k] / rest;
            }
            areas[k] = area.value();
        }
        area.add(right);
        let variance = match &self.stays {
            None => variance.value(),
            Some(stays) => stays.variance(&areas, &self.n_risk, &steps),
        };
        let (mean, std_err) = (area.value(), variance.sqrt());
        let z = normal_quantile(self.level)?;
        Ok(Rmst {
            tau,
            mean,
            std_err,
            lower: mean - z * std_err,
            upper: mean + z * std_err,
        })
    }
}

impl KmFit {
    /// The printed table, to be written in other ways.
    pub fn table(&self) -> Table {
        let level = text_table::significant(self.settings.level, 4);
        let (lower, upper) = (format!("{level}LCL"), format!("{level}UCL"));
        let counts: &[&str] = match (self.truncated, self.weighted) {
            (true, _) => &["records", "n.max", "n.start"],
            (false, true) => &["records", "n"],
            (false, false) => &["n"],
        };
        let mut header = vec![""];
        header.extend(counts);
        header.extend(["events", "median", &lower, &upper]);
        let rows: Vec<Vec<String>> = self
            .curves
            .iter()
            .map(|c| {
                let mut row = vec![c.name.clone()];
                match (self.truncated, self.weighted) {
                    (true, _) => row.extend([c.n as f64, c.n_max, c.n_start].map(count)),
                    (false, true) => row.extend([c.n as f64, c.n_start].map(count)),
                    (false, false) => row.push(c.n.to_string()),
                }
                row.push(count(c.n_events));
                let medians = [c.median, c.median_lower, c.median_upper];
                row.extend(medians.map(|v| text_table::optional(v, 4)));
                row
            })
            .collect();
        Table::new(&header, rows)
    }
}

impl fmt::Display for KmFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)
    }
}

fn count(value: f64) -> String {
    text_table::significant(value, 5)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_data::{self, Rows, close};

    /// Kaplan-Meier, Greenwood and the jackknife from their definitions, `O(n^2)` and worse.
    fn slow_twin(rows: &Rows, stratum: usize) -> Vec<[f64; 6]> {
        let here: Vec<usize> = (0..rows.time.len())
            .filter(|&i| rows.strata[i] == stratum && rows.weights[i] > 0.0)
            .collect();
        let mut times: Vec<f64> = here.iter().map(|&i| rows.time[i]).collect();
        times.sort_by(f64::total_cmp);
        times.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let sum = |t: f64, keep: &dyn Fn(usize) -> bool| {
            let at_risk = here.iter().filter(|&&i| rows.at_risk(i, t) && keep(i));
            at_risk.map(|&i| rows.weights[i]).fold(0.0, |a, w| a + w)
        };
        let counts: Vec<[f64; 3]> = times
            .iter()
            .map(|&t| {
                let died = |i: usize| rows.event[i] && rows.leaves_at(i, t);
                let rest = |i: usize| !died(i);
                [sum(t, &|_| true), sum(t, &died), sum(t, &rest)]
            })
            .collect();
        (0..times.len())
            .map(|last| {
                let (mut s, mut v, mut h) = (1.0, 0.0, 0.0);
                for &[n, d, rest] in counts[..=last].iter().filter(|c| c[1] > 0.0) {
                    s *= rest / n;
                    v += d / (n * rest);
                    h += d / n;
                }
                let mut jackknife = [0.0; 2];
                for &i in &here {
                    let mut u = [0.0; 2];
                    for (k, &[n, d, rest]) in counts[..=last].iter().enumerate() {
                        if d > 0.0 && rows.at_risk(i, times[k]) {
                            let died = rows.event[i] && rows.leaves_at(i, times[k]);
                            u[0] += if died { -1.0 / n } else { d / (n * rest) };
                            u[1] += f64::from(u8::from(died)) / n - d / (n * n);
                        }
                    }
                    jackknife[0] += (rows.weights[i] * u[0]).powi(2);
                    jackknife[1] += (rows.weights[i] * u[1]).powi(2);
                }
                let [jack_s, jack_h] = jackknife.map(f64::sqrt);
                [counts[last][0], s, v.sqrt(), h, jack_s, jack_h]
            })
            .collect()
    }

    proptest! {
        #[test]
        fn agrees_with_the_slow_twin(rows in test_data::rows(30)) {
            let surv = rows.surv();
            let fit = KaplanMeier::new().fit(&surv).unwrap();
            let robust = KaplanMeier::new().robust(true).fit(&surv).unwrap();
            for (curve, jack) in fit.curves.iter().zip(&robust.curves) {
                let stratum: usize = curve.name.parse().unwrap();
                let slow = slow_twin(&rows, stratum);
                prop_assert_eq!(slow.len(), curve.time.len());
                for (k, want) in slow.iter().enumerate() {
                    close(curve.n_risk[k], want[0], 1e-12);
                    close(curve.n_risk_at(curve.time[k]), want[0], 1e-12);
                    close(curve.surv[k], want[1], 1e-12);
                    close(curve.std_err[k], want[2], 1e-10);
                    close(curve.cumhaz[k], want[3], 1e-12);
                    // Moments are differences: an exact zero may come out as 1e-16.
                    if want[1] > 0.0 {
                        prop_assert!((jack.std_err[k].powi(2) - want[4].powi(2)).abs() < 1e-11);
                    }
                    prop_assert!((jack.std_cumhaz[k].powi(2) - want[5].powi(2)).abs() < 1e-11);
                }
            }
        }

        #[test]
        fn labels_and_strata_cut_the_same_curves(rows in test_data::rows(30)) {
            let mut plain = Surv::builder(&rows.time, &rows.event).weights(&rows.weights);
            if let Some(entry) = &rows.entry {
                plain = plain.entry(entry);
            }
            let by_label = KaplanMeier::new().fit_by(&plain.build().unwrap(), &rows.strata).unwrap();
            let by_stratum = KaplanMeier::new().fit(&rows.surv()).unwrap();
            prop_assert_eq!(format!("{:?}", by_label.curves), format!("{:?}", by_stratum.curves));
        }
    }

    #[test]
    fn settings_are_checked_and_survive_serde() {
        let surv = Surv::new(&[1.0, 2.0], &[true, true]).unwrap();
        let bad = KaplanMeier::new().level(1.0).fit(&surv);
        assert!(matches!(bad, Err(Error::Setting { name: "level", .. })));
        let bad = KaplanMeier::new().fit_by(&surv, &["a"]);
        assert!(matches!(bad, Err(Error::Length { .. })));
        let fit = KaplanMeier::new().fit(&surv).unwrap();
        let bad = fit.curves[0].quantile(0.0);
        assert!(matches!(bad, Err(Error::Setting { name: "p", .. })));
        let bad = fit.curves[0].rmst(f64::NAN);
        assert!(matches!(bad, Err(Error::Setting { name: "tau", .. })));
        let settings = KaplanMeier::new().conf_type(ConfType::LogLog).level(0.9);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<KaplanMeier>(&text).unwrap(),
            settings
        );
        assert_eq!(
            serde_json::from_str::<KaplanMeier>("{}").unwrap(),
            KaplanMeier::new()
        );
    }

    #[test]
    fn a_fit_survives_serde_and_what_is_undefined_becomes_nan() {
        let surv = Surv::new(&[1.0, 2.0, 3.0], &[true, false, true]).unwrap();
        let fit = KaplanMeier::new().fit(&surv).unwrap();
        assert!(fit.curves[0].lower[2].is_nan() && fit.curves[0].std_err[2].is_infinite());
        let text = serde_json::to_string(&fit).unwrap();
        let back: KmFit = serde_json::from_str(&text).unwrap();
        assert_eq!(back.curves[0].surv, fit.curves[0].surv);
        assert_eq!(back.curves[0].lower[..2], fit.curves[0].lower[..2]);
        assert!(back.curves[0].lower[2].is_nan());
    }

    #[test]
    fn prints_the_table_of_medians() {
        let time = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let event = [true, true, true, true, true, false, true, false];
        let arm = ["new", "old", "new", "old", "new", "old", "new", "old"];
        let surv = Surv::new(&time, &event).unwrap();
        let fit = KaplanMeier::new().fit_by(&surv, &arm).unwrap();
        let want = "    n events median 0.95LCL 0.95UCL\n\
                    new 4      4      4       1      NA\n\
                    old 4      2      4       2      NA\n";
        assert_eq!(fit.to_string(), want);
    }

    #[test]
    fn a_million_rows_keep_their_digits() {
        // Without censoring and ties S after k deaths is (n - k) / n exactly.
        let n = 1_000_000u32;
        let time: Vec<f64> = (0..n).map(f64::from).collect();
        let surv = Surv::new(&time, &vec![true; time.len()]).unwrap();
        let curve = &KaplanMeier::new().fit(&surv).unwrap().curves[0];
        for k in [1_000u32, 500_000, 999_990] {
            let (n, left, at) = (f64::from(n), f64::from(n - k - 1), k as usize);
            assert!((curve.surv[at] / (left / n) - 1.0).abs() < 1e-14);
            // Greenwood's sum telescopes to 1/left - 1/n.
            let variance = curve.std_err[at].powi(2);
            assert!((variance / (1.0 / left - 1.0 / n) - 1.0).abs() < 1e-12);
        }
    }
}
