//! Calibration at one time: predicted risks against what happened.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::d_calibration::check_probabilities;
use super::ipcw_loss::last_time;
use super::weighted_quantile::Weighted;
use crate::confidence::normal_quantile;
use crate::covariates::Covariates;
use crate::error::{Error, Result, check_length};
use crate::kaplan_meier::KaplanMeier;
use crate::surv::Surv;
use crate::table::Table;
use crate::text_table;
use crate::{CoxPh, RestrictedCubicSpline};

/// Risks are moved into `[FLOOR, 1 - FLOOR]` before their complementary log-log is taken.
const FLOOR: f64 = 1e-7;

/// Settings of the calibration of predicted risks at a time.
///
/// With `P_i` the predicted probability of the event by `time`, a Cox model (Efron ties) on a
/// restricted cubic spline of `log(-log(1 - P_i))` gives each patient a smoothed observed risk
/// `O_i = 1 - exp(-H0(time) exp(f(P_i)))`. Then
///
/// ```text
/// ICI = mean |P_i - O_i|,  E50, E90 = its median and 90th percentile,  Emax = its largest value
/// ```
///
/// The spline has 3 knots unless set, at the quantiles 0.1, 0.5 and 0.9 of the transformed risks
/// (F. Harrell's places for 3 to 7 knots). This is the "Cox" smoother of the paper, not its hazard
/// regression. Risks of 0 and 1 are moved to 1e-7 and 1 - 1e-7 for the spline. Strata of the
/// outcome are not used; weights and entry are. Cost that of a Cox fit with `knots - 1` columns.
///
/// P. Austin, F. Harrell and D. van Klaveren, Graphical calibration curves and the integrated
/// calibration index (ICI) for survival models, Statistics in Medicine 39, 2020.
///
/// ```
/// use cox_survival::{Calibration, Surv};
/// let n = 60;
/// let risk: Vec<f64> = (0..n).map(|i| 0.1 + 0.8 * i as f64 / n as f64).collect();
/// let time: Vec<f64> = (0..n).map(|i| ((i * 37 % n) as f64 + 0.5) / (n as f64 * risk[i])).collect();
/// let surv = Surv::new(&time, &vec![true; n])?;
/// let fit = Calibration::new(1.0).fit(&surv, &risk)?;
/// assert!(fit.ici < 0.15 && fit.e50 <= fit.e90 && fit.e90 <= fit.emax);
/// println!("{fit}");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    time: f64,
    knots: usize,
    groups: usize,
    level: f64,
}

impl Calibration {
    /// At `time`, with 3 knots, 10 groups and limits at level 0.95.
    pub fn new(time: f64) -> Self {
        Self {
            time,
            knots: 3,
            groups: 10,
            level: 0.95,
        }
    }

    /// Knots of the spline, 3 to 7.
    pub fn knots(mut self, knots: usize) -> Self {
        self.knots = knots;
        self
    }

    /// Number of groups of patients of similar risk, at least 1; fewer where risks are tied.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Level of the limits of the groups' observed risk.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// Calibration of `risk`, the predicted probability of the event by the time, one per row.
    ///
    /// # Errors
    /// [`Error::Prediction`] for a value that is no probability,
    /// [`Error::TimeOutsideFollowUp`] for a time beyond the last, [`Error::Undefined`] when the
    /// risks take too few values for the knots.
    pub fn fit(&self, surv: &Surv, risk: &[f64]) -> Result<CalibrationFit> {
        self.check(surv, risk)?;
        let pooled = unstratified(surv)?;
        let observed = self.smoothed(&pooled, risk)?;
        let apart: Vec<f64> = risk
            .iter()
            .zip(&observed)
            .map(|(p, o)| (p - o).abs())
            .collect();
        let counted: Vec<usize> = (0..surv.n()).filter(|&i| surv.weight(i) > 0.0).collect();
        let error = Weighted::new(surv, &counted, &apart);
        let whole = self.group(&pooled, risk, &counted)?;
        Ok(CalibrationFit {
            time: self.time,
            ici: error.mean(),
            e50: error.quantile(0.5),
            e90: error.quantile(0.9),
            emax: error.quantile(1.0),
            predicted: risk.to_vec(),
            observed,
            groups: self.grouped(&pooled, risk, counted)?,
            whole,
        })
    }

    fn check(&self, surv: &Surv, risk: &[f64]) -> Result<()> {
        check_length("risk", risk.len(), surv.n())?;
        check_probabilities(risk)?;
        let setting = |name, value: usize, expected| Error::Setting {
            name,
            value: value.to_string(),
            expected,
        };
        if !(3..=7).contains(&self.knots) {
            return Err(setting("knots", self.knots, "must lie in 3 to 7"));
        }
        if self.groups == 0 {
            return Err(setting("groups", 0, "must be at least 1"));
        }
        normal_quantile(self.level)?;
        let latest = last_time(surv);
        if self.time >= 0.0 && self.time <= latest {
            return Ok(());
        }
        Err(Error::TimeOutsideFollowUp {
            index: 0,
            value: self.time,
            earliest: 0.0,
            latest,
        })
    }

    /// The observed risk of every row, smoothed along the predicted.
    fn smoothed(&self, surv: &Surv, risk: &[f64]) -> Result<Vec<f64>> {
        let transform = |p: &f64| (-(-p.clamp(FLOOR, 1.0 - FLOOR)).ln_1p()).ln();
        let x: Vec<f64> = risk.iter().map(transform).collect();
        let counted: Vec<usize> = (0..surv.n()).filter(|&i| surv.weight(i) > 0.0).collect();
        let spread = Weighted::new(surv, &counted, &x);
        let at: &[f64] = match self.knots {
            3 => &[0.1, 0.5, 0.9],
            4 => &[0.05, 0.35, 0.65, 0.95],
            5 => &[0.05, 0.275, 0.5, 0.725, 0.95],
            6 => &[0.05, 0.23, 0.41, 0.59, 0.77, 0.95],
            _ => &[0.025, 0.1833, 0.3417, 0.5, 0.6583, 0.8167, 0.975],
        };
        let knots: Vec<f64> = at.iter().map(|&p| spread.quantile(p)).collect();
        let spline = RestrictedCubicSpline::new(knots).map_err(|_| Error::Undefined {
            what: "the smoothed calibration",
            reason: "the predictions take too few values for the knots of the spline",
        })?;
        let basis = spline.basis(&x)?;
        let basis = Covariates::from_rows(&basis, x.len(), spline.columns())?;
        let fit = CoxPh::new().concordance(false).fit(surv, &basis)?;
        let survival = fit.survival(&basis, &[self.time], 0)?;
        Ok(survival.into_iter().map(|s| 1.0 - s).collect())
    }

    /// Quantile groups of the risk: equal shares of the weight, tied risks together.
    fn grouped(
        &self,
        surv: &Surv,
        risk: &[f64],
        mut rows: Vec<usize>,
    ) -> Result<Vec<CalibrationGroup>> {
        rows.sort_by(|&a, &b| risk[a].total_cmp(&risk[b]));
        let total: f64 = rows.iter().map(|&i| surv.weight(i)).sum();
        let (mut groups, mut here, mut sum) = (vec![], vec![], 0.0);
        let mut place = 0;
        for same in rows.chunk_by(|&a, &b| risk[a].total_cmp(&risk[b]).is_eq()) {
            // Where the middle of a run of ties lies decides on its group.
            let weight: f64 = same.iter().map(|&i| surv.weight(i)).sum();
            let middle = (sum + weight / 2.0) / total * self.groups as f64;
            let now = (1..self.groups).take_while(|&g| g as f64 <= middle).count();
            if now > place && !here.is_empty() {
                groups.push(self.group(surv, risk, &here)?);
                here.clear();
            }
            place = now;
            sum += weight;
            here.extend_from_slice(same);
        }
        groups.push(self.group(surv, risk, &here)?);
        Ok(groups)
    }

    fn group(&self, surv: &Surv, risk: &[f64], rows: &[usize]) -> Result<CalibrationGroup> {
        let weight: f64 = rows.iter().map(|&i| surv.weight(i)).sum();
        let predicted = rows.iter().map(|&i| surv.weight(i) * risk[i]).sum::<f64>() / weight;
        let mut in_group = vec![1u8; surv.n()];
        for &i in rows {
            in_group[i] = 0;
        }
        let fit = KaplanMeier::new()
            .level(self.level)
            .fit_by(surv, &in_group)?;
        let curve = fit.curves.iter().find(|c| c.name == "0");
        let at = |values: fn(&crate::KmCurve) -> &Vec<f64>| {
            let curve = curve?;
            let last = *curve.time.last()?;
            let end = *curve.surv.last()?;
            if self.time > last && end > 0.0 {
                return None;
            }
            match curve.time.partition_point(|&t| t <= self.time) {
                0 => Some(1.0),
                k => Some(values(curve)[k - 1]),
            }
        };
        let risk_of = |s: Option<f64>| s.filter(|s| s.is_finite()).map(|s| 1.0 - s);
        Ok(CalibrationGroup {
            n: rows.len(),
            predicted,
            observed: risk_of(at(|c| &c.surv)),
            lower: risk_of(at(|c| &c.upper)),
            upper: risk_of(at(|c| &c.lower)),
        })
    }
}

/// The same outcome in one stratum.
pub(super) fn unstratified(surv: &Surv) -> Result<Surv> {
    let mut builder = Surv::builder(surv.time(), surv.event()).timefix(false);
    if let Some(weights) = surv.weights() {
        builder = builder.weights(weights);
    }
    if let Some(entry) = surv.entry() {
        builder = builder.entry(entry);
    }
    builder.build()
}

/// Result of [`Calibration::fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationFit {
    /// The time.
    pub time: f64,
    /// Integrated calibration index: the mean distance of predicted and observed risk.
    pub ici: f64,
    /// The median distance.
    pub e50: f64,
    /// The 90th percentile of the distance.
    pub e90: f64,
    /// The largest distance.
    pub emax: f64,
    /// The predicted risks, one per row.
    pub predicted: Vec<f64>,
    /// The smoothed observed risks, one per row.
    pub observed: Vec<f64>,
    /// Groups of similar predicted risk, ascending.
    pub groups: Vec<CalibrationGroup>,
    /// All patients as one group: calibration in the large.
    pub whole: CalibrationGroup,
}

/// Patients of similar predicted risk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationGroup {
    /// Rows of positive weight.
    pub n: usize,
    /// Mean predicted risk.
    pub predicted: f64,
    /// One less the Kaplan-Meier estimate at the time; `None` where follow-up ends before.
    pub observed: Option<f64>,
    /// Its lower limit.
    pub lower: Option<f64>,
    /// Its upper limit.
    pub upper: Option<f64>,
}

impl CalibrationFit {
    /// The groups as they are printed, and all patients last.
    pub fn table(&self) -> Table {
        let row = |name: String, g: &CalibrationGroup| {
            vec![
                name,
                g.n.to_string(),
                text_table::significant(g.predicted, 3),
                text_table::optional(g.observed, 3),
                text_table::optional(g.lower, 3),
                text_table::optional(g.upper, 3),
            ]
        };
        let named = |(k, g): (usize, &CalibrationGroup)| row((k + 1).to_string(), g);
        let mut rows: Vec<Vec<String>> = self.groups.iter().enumerate().map(named).collect();
        rows.push(row("all".to_owned(), &self.whole));
        let header = ["group", "n", "predicted", "observed", "lower", "upper"];
        Table::new(&header, rows)
    }
}

impl fmt::Display for CalibrationFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)?;
        writeln!(
            f,
            "at {}: ICI {}  E50 {}  E90 {}  Emax {}",
            text_table::significant(self.time, 6),
            text_table::significant(self.ici, 3),
            text_table::significant(self.e50, 3),
            text_table::significant(self.e90, 3),
            text_table::significant(self.emax, 3),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::close;

    fn data(n: usize) -> (Surv, Vec<f64>) {
        // Risk, time and status have nothing to do with one another.
        let noise = |k: usize| 0.5 + 0.5 * crate::test_data::noise(k);
        let time: Vec<f64> = (0..n).map(|i| (noise(i) * 12.0).ceil()).collect();
        let event: Vec<bool> = (0..n).map(|i| noise(i + 300) > 0.3).collect();
        let risk = (0..n)
            .map(|i| (noise(i + 500) * 20.0).round() / 22.0 + 0.02)
            .collect();
        (Surv::new(&time, &event).unwrap(), risk)
    }

    #[test]
    fn groups_hold_everybody_once_and_tied_risks_together() {
        let (surv, risk) = data(120);
        let fit = Calibration::new(6.0).groups(5).fit(&surv, &risk).unwrap();
        assert_eq!(fit.groups.iter().map(|g| g.n).sum::<usize>(), 120);
        assert!(
            fit.groups
                .windows(2)
                .all(|w| w[0].predicted < w[1].predicted)
        );
        assert_eq!(fit.groups.len(), 5);
        let mut order: Vec<usize> = (0..120).collect();
        order.sort_by(|&a, &b| risk[a].total_cmp(&risk[b]));
        let ties = order.chunk_by(|&a, &b| risk[a] >= risk[b]);
        let most = ties.map(<[usize]>::len).max().unwrap();
        assert!(most > 2);
        let mut at = 0usize;
        for (k, g) in fit.groups.iter().enumerate() {
            // Not where a run of ties would be torn, but no further from the share than need be.
            assert!(2 * at.abs_diff(24 * k) <= most, "group {k} starts at {at}");
            let rows = &order[at..at + g.n];
            assert!(at == 0 || risk[order[at - 1]] < risk[rows[0]], "{g:?}");
            at += g.n;
            let mean = rows.iter().map(|&i| risk[i]).sum::<f64>() / g.n as f64;
            close(g.predicted, mean, 1e-12);
            let km = KaplanMeier::new().fit(&surv.subset(rows).unwrap()).unwrap();
            let km = &km.curves[0];
            let here = km.time.partition_point(|&t| t <= 6.0) - 1;
            close(g.observed.unwrap(), 1.0 - km.surv[here], 1e-12);
            close(g.lower.unwrap(), 1.0 - km.upper[here], 1e-12);
            close(g.upper.unwrap(), 1.0 - km.lower[here], 1e-12);
            assert!(g.lower < g.observed && g.observed < g.upper, "{g:?}");
        }
        let km = KaplanMeier::new().fit(&surv).unwrap();
        close(
            fit.whole.observed.unwrap(),
            1.0 - km.curves[0].survival_at(6.0),
            1e-12,
        );
        let text = serde_json::to_string(&fit).unwrap();
        assert_eq!(serde_json::from_str::<CalibrationFit>(&text).unwrap(), fit);
        assert!(fit.to_string().starts_with("group   n predicted observed"));
    }

    #[test]
    fn faults_are_named() {
        let (surv, risk) = data(40);
        let fit = |c: Calibration, r: &[f64]| c.fit(&surv, r).unwrap_err();
        assert!(matches!(
            fit(Calibration::new(99.0), &risk),
            Error::TimeOutsideFollowUp { .. }
        ));
        assert!(matches!(
            fit(Calibration::new(6.0).knots(2), &risk),
            Error::Setting { name: "knots", .. }
        ));
        assert!(matches!(
            fit(Calibration::new(6.0), &[0.5; 40]),
            Error::Undefined { .. }
        ));
        let mut bad = risk.clone();
        bad[7] = f64::NAN;
        assert!(matches!(
            fit(Calibration::new(6.0), &bad),
            Error::Prediction { row: 7, .. }
        ));
    }
}
