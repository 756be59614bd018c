//! The Aalen-Johansen estimate of cumulative incidence under competing risks.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::compensated::{Product, Sum};
use crate::competing_risks::CompetingRisks;
use crate::confidence::{ConfType, normal_quantile, nullable};
use crate::error::Result;
use crate::life_table::{self, LifeTable, Sample};
use crate::step::StepFunction;
use crate::table::Table;
use crate::text_table;

/// Settings of a cumulative incidence.
///
/// ```text
/// F_j(t) = sum over t_k <= t of S(t_k-) d_jk / n_k,   S(t) = product of (1 - d_k / n_k)
/// ```
///
/// with `d_jk` the (weighted) events of cause `j`, `d_k` those of any cause and `n_k` the weight at
/// risk; the `F_j` and `S` add up to 1. Standard errors are those of the infinitesimal jackknife,
/// `sum_i (w_i dF/dw_i)^2`, as R's `survfit` reports them for several states. `O(n log n + m c)` for
/// `m` times and `c` causes. R: `survfit(Surv(time, cause) ~ group)` with a factor `cause`.
///
/// O. Aalen and S. Johansen, An empirical transition matrix for non-homogeneous Markov chains based on
/// censored observations, Scandinavian Journal of Statistics 5, 1978.
///
/// ```
/// use cox_survival::{AalenJohansen, CompetingRisks, Surv};
/// let surv = Surv::new(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, true])?;
/// let outcome = CompetingRisks::new(surv, &["a", "b", "", "a"])?;
/// let fit = AalenJohansen::new().fit(&outcome)?;
/// let a = &fit.curves[0].incidence[0];
/// assert_eq!(a.cif, [0.25, 0.25, 0.25, 0.75]);
/// println!("{fit}");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AalenJohansen {
    conf_type: ConfType,
    level: f64,
}

impl Default for AalenJohansen {
    fn default() -> Self {
        Self {
            conf_type: ConfType::Log,
            level: 0.95,
        }
    }
}

impl AalenJohansen {
    /// Log intervals at level 0.95.
    pub fn new() -> Self {
        Self::default()
    }

    /// Scale of the confidence intervals, of each probability.
    pub fn conf_type(mut self, conf_type: ConfType) -> Self {
        self.conf_type = conf_type;
        self
    }

    /// Confidence level, strictly between 0 and 1.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// One set of curves for each stratum of the outcome (one in all without strata).
    pub fn fit(&self, outcome: &CompetingRisks) -> Result<AjFit> {
        self.fit_samples(outcome, &life_table::by_stratum(outcome.surv()))
    }

    /// One set of curves for each distinct label, in sorted order; where the outcome has strata, for
    /// each label and stratum that occur together (named `label, stratum`).
    pub fn fit_by<L: Ord + Display>(
        &self,
        outcome: &CompetingRisks,
        labels: &[L],
    ) -> Result<AjFit> {
        self.fit_samples(outcome, &life_table::by_label(outcome.surv(), labels)?)
    }

    fn fit_samples(&self, outcome: &CompetingRisks, samples: &[Sample]) -> Result<AjFit> {
        let z = normal_quantile(self.level)?;
        let curves = samples.iter().map(|sample| self.curve(outcome, sample, z));
        Ok(AjFit {
            settings: *self,
            causes: outcome.causes().to_vec(),
            curves: curves.collect(),
        })
    }

    fn curve(&self, outcome: &CompetingRisks, sample: &Sample, z: f64) -> AjCurve {
        let table = LifeTable::new(outcome.surv(), sample);
        let m = table.time.len();
        let mut survival = Product::one();
        let mut surv = Vec::with_capacity(m);
        let mut sums = vec![Sum::default(); outcome.causes().len()];
        let mut incidence: Vec<Incidence> = outcome
            .causes()
            .iter()
            .map(|name| Incidence::new(name))
            .collect();
        for k in 0..m {
            let before = survival.value();
            for cause in &mut incidence {
                cause.n_event.push(0.0);
            }
            for &row in table.leaving(k, sample) {
                if let Some(j) = outcome.cause(row as usize) {
                    incidence[j].n_event[k] += outcome.surv().weight(row as usize);
                }
            }
            for (cause, sum) in incidence.iter_mut().zip(&mut sums) {
                sum.add(before * cause.n_event[k] / table.n_risk[k]);
                cause.cif.push(sum.value());
            }
            if table.n_event[k] > 0.0 {
                survival.multiply(table.survivors[k], table.n_risk[k]);
            }
            surv.push(survival.value());
        }
        let (std_err_surv, std_err) = jackknife(outcome, sample, &table, &surv, &incidence);
        for (cause, se) in incidence.iter_mut().zip(std_err) {
            let limits = |k: usize| match (self.conf_type, cause.cif[k], se[k]) {
                // The only scale that has a value at 0.
                (ConfType::Plain, p, se) => ((p - z * se).max(0.0), (p + z * se).min(1.0)),
                (scale, p, se) => scale.limits(p, se / p, z),
            };
            (cause.lower, cause.upper) = (0..m).map(limits).unzip();
            cause.std_err = se;
        }
        AjCurve {
            name: sample.name.clone(),
            n: sample.rows.len(),
            time: table.time,
            n_risk: table.n_risk,
            n_censor: table.n_censor,
            surv,
            std_err_surv,
            incidence,
        }
    }
}

/// Standard errors of `S` and of every `F_j` from the derivatives in the case weights.
///
/// Letters: with `a(t) = sum d / (n (n - d))`, a row at risk since `e` has `d log S / dw = a(t) - a(e)`;
/// once gone this is a constant `c` (`a(T) - a(e)`, or `a(T-) - a(e) - 1 / n` after an event). The
/// derivative of `F` grows by `(d log S / dw)(t-) dF` and, while at risk, by
/// `S(t-) ([event of the cause] - d_j / n) / n`. Hence for rows at risk it is
/// `x + alpha + beta F` with `x` common to all, and for those gone `alpha + c F`: two quadratic forms
/// whose moments are kept, `O(1)` for a row and for a time.
fn jackknife(
    outcome: &CompetingRisks,
    sample: &Sample,
    table: &LifeTable,
    survival: &[f64],
    incidence: &[Incidence],
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let surv = outcome.surv();
    let causes = incidence.len();
    let entry_of = |row: u32| surv.entry().map_or(f64::NEG_INFINITY, |e| e[row as usize]);
    let entering = if sample.by_entry.is_empty() {
        &sample.rows
    } else {
        &sample.by_entry
    };
    let mut std_surv = Vec::with_capacity(survival.len());
    let mut std_err = vec![Vec::with_capacity(survival.len()); causes];
    let (mut a, mut x) = (0.0, vec![0.0; causes]);
    let mut at_risk = vec![Moments::default(); causes];
    let mut gone = vec![Moments::default(); causes];
    // Per row at entry: `beta = -a(e)`, and per cause `alpha`.
    let mut start = vec![0.0; surv.n()];
    let mut alpha = vec![0.0; surv.n() * causes];
    let mut entered = 0;
    for k in 0..survival.len() {
        if k > 0 && survival[k - 1] <= 0.0 {
            // Whoever enters now changes nothing any more.
            std_surv.push(0.0);
            for out in &mut std_err {
                out.push(out[k - 1]);
            }
            continue;
        }
        let f_before = |j: usize| if k == 0 { 0.0 } else { incidence[j].cif[k - 1] };
        while entered < entering.len() && entry_of(entering[entered]) < table.time[k] {
            let row = entering[entered] as usize;
            start[row] = a;
            for j in 0..causes {
                alpha[row * causes + j] = a * f_before(j) - x[j];
                at_risk[j].add(surv.weight(row).powi(2), alpha[row * causes + j], -a);
            }
            entered += 1;
        }
        let (n, rest) = (table.n_risk[k], table.survivors[k]);
        let before = if k == 0 { 1.0 } else { survival[k - 1] };
        let (a_before, d) = (a, table.n_event[k]);
        for (j, x) in x.iter_mut().enumerate() {
            let step = before * incidence[j].n_event[k] / n;
            *x += a_before * step - step / n;
        }
        // Where nobody survives, nothing that is used lies beyond.
        if d > 0.0 && rest > 0.0 {
            a += d / n / rest;
        }
        for &row in table.leaving(k, sample) {
            let cause = outcome.cause(row as usize);
            let row = row as usize;
            let square = surv.weight(row).powi(2);
            let c = match cause {
                Some(_) => a_before - start[row] - 1.0 / n,
                None => a - start[row],
            };
            for j in 0..causes {
                let f = incidence[j].cif[k];
                let own = alpha[row * causes + j];
                at_risk[j].add(-square, own, -start[row]);
                let event = if cause == Some(j) { before / n } else { 0.0 };
                let value = x[j] + own - start[row] * f + event;
                gone[j].add(square, value - c * f, c);
            }
        }
        // `S`: the coefficient of `F` in both forms is `d log S / dw`, less `a` for those at risk.
        let log_surv = gone.first().map_or(0.0, |g| g.bb)
            + at_risk
                .first()
                .map_or(0.0, |r| a * (a * r.w + 2.0 * r.b) + r.bb);
        std_surv.push(survival[k] * log_surv.max(0.0).sqrt());
        let last = k + 1 == survival.len() || survival[k] <= 0.0;
        for (j, out) in std_err.iter_mut().enumerate() {
            let f = incidence[j].cif[k];
            let still = if last { 0.0 } else { at_risk[j].sum(x[j], f) };
            out.push((gone[j].sum(0.0, f) + still).max(0.0).sqrt());
        }
    }
    (std_surv, std_err)
}

/// Moments of `(alpha, beta)` with weights `w`.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    w: f64,
    a: f64,
    b: f64,
    aa: f64,
    ab: f64,
    bb: f64,
}

impl Moments {
    fn add(&mut self, w: f64, a: f64, b: f64) {
        self.w += w;
        self.a += w * a;
        self.b += w * b;
        self.aa += w * a * a;
        self.ab += w * a * b;
        self.bb += w * b * b;
    }

    /// `sum w (x + alpha + beta f)^2`.
    fn sum(&self, x: f64, f: f64) -> f64 {
        x * (x * self.w + 2.0 * (self.a + f * self.b)) + self.aa + f * (2.0 * self.ab + f * self.bb)
    }
}

/// Result of [`AalenJohansen::fit`]: prints a line per group and cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AjFit {
    /// The settings of the fit.
    pub settings: AalenJohansen,
    /// Names of the causes.
    pub causes: Vec<String>,
    /// One set of curves per group, by name.
    pub curves: Vec<AjCurve>,
}

/// The curves of one group. All vectors have one element per distinct time of leaving, censoring
/// times included, ascending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AjCurve {
    /// Label of the group; empty for a single one.
    pub name: String,
    /// Number of rows (of positive weight).
    pub n: usize,
    /// Distinct times.
    pub time: Vec<f64>,
    /// At risk just before each time.
    pub n_risk: Vec<f64>,
    /// Censored at each time.
    pub n_censor: Vec<f64>,
    /// Probability of no event of any cause.
    pub surv: Vec<f64>,
    /// Its standard error.
    pub std_err_surv: Vec<f64>,
    /// One curve per cause, in the order of the causes.
    pub incidence: Vec<Incidence>,
}

/// Cumulative incidence of one cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Incidence {
    /// The cause.
    pub cause: String,
    /// Events at each time.
    pub n_event: Vec<f64>,
    /// Probability of an event of this cause by each time.
    pub cif: Vec<f64>,
    /// Its standard error.
    pub std_err: Vec<f64>,
    /// Lower confidence limit; NaN (`null` in JSON) where `cif` is 0 (but for plain intervals).
    #[serde(with = "nullable")]
    pub lower: Vec<f64>,
    /// Upper confidence limit; NaN (`null` in JSON) where `cif` is 0 (but for plain intervals).
    #[serde(with = "nullable")]
    pub upper: Vec<f64>,
}

impl Incidence {
    fn new(cause: &str) -> Self {
        Self {
            cause: cause.to_owned(),
            n_event: vec![],
            cif: vec![],
            std_err: vec![],
            lower: vec![],
            upper: vec![],
        }
    }
}

impl AjCurve {
    /// The cumulative incidence of cause number `cause` as a step function, 0 before the first time;
    /// `None` if there is no such cause.
    pub fn step(&self, cause: usize) -> Option<StepFunction> {
        let cif = &self.incidence.get(cause)?.cif;
        StepFunction::new(self.time.clone(), cif.clone(), 0.0).ok()
    }
}

impl AjFit {
    /// The printed table, to be written in other ways.
    pub fn table(&self) -> Table {
        let last = |values: &[f64]| text_table::optional(values.last().copied(), 4);
        let row = |curve: &AjCurve, cause: &Incidence| {
            let name = match curve.name.as_str() {
                "" => cause.cause.clone(),
                name => format!("{name}, {}", cause.cause),
            };
            vec![
                name,
                curve.n.to_string(),
                text_table::significant(cause.n_event.iter().sum(), 5),
                last(&curve.time),
                last(&cause.cif),
                last(&cause.std_err),
            ]
        };
        let mut rows = vec![];
        for curve in &self.curves {
            rows.extend(curve.incidence.iter().map(|cause| row(curve, cause)));
        }
        Table::new(&["", "n", "events", "last time", "incidence", "se"], rows)
    }
}

impl fmt::Display for AjFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_data::{self, Rows, close};

    /// `S` and the `F_j` of one stratum after each time, by their definition, with weights `w`.
    fn definition(rows: &Rows, w: &[f64], stratum: usize, times: &[f64]) -> Vec<[f64; 4]> {
        let here = |i: &usize| rows.strata[*i] == stratum;
        let mut now = [1.0, 0.0, 0.0, 0.0];
        let mut out = vec![];
        for &t in times {
            let sum = |of: &dyn Fn(usize) -> bool| -> f64 {
                (0..w.len())
                    .filter(here)
                    .filter(|&i| of(i))
                    .map(|i| w[i])
                    .sum()
            };
            let n = sum(&|i| rows.at_risk(i, t));
            let before = now[0];
            for j in 0..3 {
                let d = sum(&|i| rows.event[i] && rows.leaves_at(i, t) && rows.group[i] == j);
                if d > 0.0 {
                    now[j + 1] += before * d / n;
                }
            }
            let d = sum(&|i| rows.event[i] && rows.leaves_at(i, t));
            if d > 0.0 {
                now[0] *= (n - d) / n;
            }
            out.push(now);
        }
        out
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition_and_its_derivatives(rows in test_data::rows(25)) {
            let outcome = CompetingRisks::new(rows.surv(), &rows.group).unwrap();
            let fit = AalenJohansen::new().fit(&outcome).unwrap();
            for curve in &fit.curves {
                let stratum: usize = curve.name.parse().unwrap();
                let want = definition(&rows, &rows.weights, stratum, &curve.time);
                let mut variance = vec![[0.0; 4]; want.len()];
                for i in (0..rows.time.len()).filter(|&i| rows.weights[i] > 0.0) {
                    let moved = |by: f64| {
                        let mut w = rows.weights.clone();
                        w[i] += by;
                        definition(&rows, &w, stratum, &curve.time)
                    };
                    for ((v, up), down) in variance.iter_mut().zip(moved(1e-5)).zip(moved(-1e-5)) {
                        for s in 0..4 {
                            v[s] += (rows.weights[i] * (up[s] - down[s]) / 2e-5).powi(2);
                        }
                    }
                }
                for k in 0..curve.time.len() {
                    close(curve.surv[k], want[k][0], 1e-12);
                    close(curve.std_err_surv[k], variance[k][0].sqrt(), 1e-7);
                    let mut total = curve.surv[k];
                    for cause in &curve.incidence {
                        let j: usize = cause.cause.parse().unwrap();
                        close(cause.cif[k], want[k][j + 1], 1e-12);
                        close(cause.std_err[k], variance[k][j + 1].sqrt(), 1e-7);
                        total += cause.cif[k];
                    }
                    close(total, 1.0, 1e-12);
                }
            }
        }
    }

    #[test]
    fn with_one_cause_it_is_one_less_kaplan_meier() {
        let time = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0];
        let event = [true, true, false, true, false, true];
        let surv = crate::Surv::new(&time, &event).unwrap();
        let km = crate::KaplanMeier::new().robust(true).fit(&surv).unwrap();
        let outcome = CompetingRisks::new(surv, &["x"; 6]).unwrap();
        let fit = AalenJohansen::new().fit(&outcome).unwrap();
        let (aj, km) = (&fit.curves[0], &km.curves[0]);
        for k in 0..5 {
            close(aj.incidence[0].cif[k], 1.0 - km.surv[k], 1e-14);
            close(aj.std_err_surv[k], aj.incidence[0].std_err[k], 1e-12);
        }
        for k in 0..4 {
            close(aj.std_err_surv[k], km.surv[k] * km.std_err[k], 1e-12);
        }
        close(aj.step(0).unwrap().eval(0.5), 0.0, 0.0);
        assert!(aj.step(1).is_none());
        assert_eq!(
            fit.to_string(),
            "  n events last time incidence se\nx 6      4         5         1  0\n"
        );
        let text = serde_json::to_string(&fit).unwrap();
        assert_eq!(serde_json::from_str::<AjFit>(&text).unwrap(), fit);
    }
}
