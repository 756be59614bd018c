//! Nelson-Aalen and Fleming-Harrington estimates of a cumulative hazard.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::compensated::Sum;
use crate::confidence::{ConfType, normal_quantile, nullable};
use crate::error::Result;
use crate::life_table::{self, LifeTable, Sample};
use crate::step::StepFunction;
use crate::surv::Surv;
use crate::text_table;

/// How tied events enter a cumulative hazard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HazardType {
    /// All at once: the step is `d / n` (R: `ctype = 1`).
    #[default]
    NelsonAalen,
    /// One after the other: the step of `d` deaths is `1/n + 1/(n-1) + .. + 1/(n-d+1)`
    /// (R: `ctype = 2`).
    FlemingHarrington,
}

/// Settings of a cumulative hazard estimate.
///
/// ```text
/// Nelson-Aalen:        H(t) = sum over t_k <= t of d_k / n_k,  var = sum of d_k / n_k^2
/// Fleming-Harrington:  H(t) = sum over t_k <= t of sum over j < m_k of w_k / (n_k - j w_k),
///                      var  = the same with w_k / (n_k - j w_k)^2
/// ```
///
/// with `m_k` events of total weight `d_k` at `t_k`, `w_k = d_k / m_k` their mean weight, and `n_k`
/// the weight at risk (Nelson 1972; Aalen 1978; Fleming and Harrington 1984). R:
/// `survfit(Surv(time, status) ~ group, stype = 2, ctype = 1)`.
///
/// ```
/// use cox_survival::{HazardType, NelsonAalen, Surv};
/// let surv = Surv::new(&[1.0, 1.0, 2.0, 3.0], &[true, true, false, true])?;
/// let fit = NelsonAalen::new().fit(&surv)?;
/// assert_eq!(fit.curves[0].cumhaz, [0.5, 0.5, 1.5]);
/// let fit = NelsonAalen::new().hazard_type(HazardType::FlemingHarrington).fit(&surv)?;
/// assert!((fit.curves[0].cumhaz[0] - (1.0 / 4.0 + 1.0 / 3.0)).abs() < 1e-15);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NelsonAalen {
    hazard_type: HazardType,
    conf_type: ConfType,
    level: f64,
}

impl Default for NelsonAalen {
    fn default() -> Self {
        Self {
            hazard_type: HazardType::NelsonAalen,
            conf_type: ConfType::Log,
            level: 0.95,
        }
    }
}

impl NelsonAalen {
    /// Nelson-Aalen with log intervals at level 0.95.
    pub fn new() -> Self {
        Self::default()
    }

    /// How ties enter.
    pub fn hazard_type(mut self, hazard_type: HazardType) -> Self {
        self.hazard_type = hazard_type;
        self
    }

    /// Scale of the confidence intervals, named for the survival curve `exp(-H)`: `Log` is
    /// symmetric in `H`, `LogLog` in `log H`.
    pub fn conf_type(mut self, conf_type: ConfType) -> Self {
        self.conf_type = conf_type;
        self
    }

    /// Confidence level, strictly between 0 and 1.
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// One curve for each stratum of `surv` (one in all without strata). `O(n log n)`.
    pub fn fit(&self, surv: &Surv) -> Result<NelsonAalenFit> {
        self.fit_samples(surv, &life_table::by_stratum(surv))
    }

    /// One curve for each distinct label, in sorted order; where `surv` has strata, for each
    /// label and stratum that occur together (named `label, stratum`).
    pub fn fit_by<L: Ord + Display>(&self, surv: &Surv, labels: &[L]) -> Result<NelsonAalenFit> {
        self.fit_samples(surv, &life_table::by_label(surv, labels)?)
    }

    fn fit_samples(&self, surv: &Surv, samples: &[Sample]) -> Result<NelsonAalenFit> {
        let z = normal_quantile(self.level)?;
        let curves = samples.iter().map(|sample| self.curve(surv, sample, z));
        Ok(NelsonAalenFit {
            settings: *self,
            curves: curves.collect(),
        })
    }

    fn curve(&self, surv: &Surv, sample: &Sample, z: f64) -> HazardCurve {
        let table = LifeTable::new(surv, sample);
        let (mut hazard, mut variance) = (Sum::default(), Sum::default());
        let mut curve = HazardCurve {
            name: sample.name.clone(),
            n: sample.rows.len(),
            n_events: table.n_event.iter().sum(),
            ..HazardCurve::default()
        };
        for k in 0..table.time.len() {
            let (n, d) = (table.n_risk[k], table.n_event[k]);
            match self.hazard_type {
                HazardType::NelsonAalen if d > 0.0 => {
                    hazard.add(d / n);
                    variance.add(d / n / n);
                }
                HazardType::FlemingHarrington => {
                    let events = table.events[k];
                    let mean_weight = d / f64::from(events.max(1));
                    for j in 0..events {
                        // From the survivors up, so that the last death of all meets its own weight.
                        let left = table.survivors[k] + f64::from(events - j) * mean_weight;
                        hazard.add(mean_weight / left);
                        variance.add(mean_weight / left / left);
                    }
                }
                HazardType::NelsonAalen => {}
            }
            let (h, se) = (hazard.value(), variance.value().sqrt());
            let survival = (-h).exp();
            let (lower, upper) = self.conf_type.limits(survival, se, z);
            curve.cumhaz.push(h);
            curve.std_err.push(se);
            curve.surv.push(survival);
            curve.surv_lower.push(lower);
            curve.surv_upper.push(upper);
            curve.lower.push(-upper.ln() + 0.0);
            curve.upper.push(-lower.ln() + 0.0);
        }
        curve.time = table.time;
        curve.n_risk = table.n_risk;
        curve.n_event = table.n_event;
        curve.n_censor = table.n_censor;
        curve
    }
}

/// Result of [`NelsonAalen::fit`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NelsonAalenFit {
    /// The settings of the fit.
    pub settings: NelsonAalen,
    /// One curve per group, by name.
    pub curves: Vec<HazardCurve>,
}

/// One cumulative hazard. All vectors have one element per distinct time of leaving, censoring
/// times included, ascending.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HazardCurve {
    /// Label of the group; empty for a single curve.
    pub name: String,
    /// Number of rows (of positive weight).
    pub n: usize,
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
    /// Cumulative hazard `H` from each time on.
    pub cumhaz: Vec<f64>,
    /// Standard error of `cumhaz`, and of `log surv`.
    pub std_err: Vec<f64>,
    /// Lower confidence limit of `cumhaz`, `-log surv_upper`.
    #[serde(with = "nullable")]
    pub lower: Vec<f64>,
    /// Upper confidence limit of `cumhaz`, `-log surv_lower`; infinite (`null` in JSON) where a
    /// plain interval of the survival reaches 0.
    #[serde(with = "nullable")]
    pub upper: Vec<f64>,
    /// Survival `exp(-H)` (Breslow's estimate for Nelson-Aalen).
    pub surv: Vec<f64>,
    /// Lower confidence limit of `surv`; NaN (`null` in JSON) where it is not defined.
    #[serde(with = "nullable")]
    pub surv_lower: Vec<f64>,
    /// Upper confidence limit of `surv`; NaN (`null` in JSON) where it is not defined.
    #[serde(with = "nullable")]
    pub surv_upper: Vec<f64>,
}

impl HazardCurve {
    /// The cumulative hazard as a step function, 0 before the first time.
    pub fn step(&self) -> Result<StepFunction> {
        StepFunction::new(self.time.clone(), self.cumhaz.clone(), 0.0)
    }

    /// The survival curve `exp(-H)` as a step function, 1 before the first time.
    pub fn survival(&self) -> Result<StepFunction> {
        StepFunction::new(self.time.clone(), self.surv.clone(), 1.0)
    }
}

impl fmt::Display for NelsonAalenFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |values: &[f64]| text_table::optional(values.last().copied(), 4);
        let rows: Vec<Vec<String>> = self
            .curves
            .iter()
            .map(|c| {
                vec![
                    c.name.clone(),
                    c.n.to_string(),
                    text_table::significant(c.n_events, 5),
                    last(&c.time),
                    last(&c.cumhaz),
                    last(&c.std_err),
                ]
            })
            .collect();
        let header = ["", "n", "events", "last time", "cumhaz", "se"];
        text_table::write(f, &header, &rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_data::{self, close};

    proptest! {
        #[test]
        fn agrees_with_the_definition(rows in test_data::rows(30)) {
            let surv = rows.surv();
            for hazard_type in [HazardType::NelsonAalen, HazardType::FlemingHarrington] {
                let fit = NelsonAalen::new().hazard_type(hazard_type).fit(&surv).unwrap();
                for curve in &fit.curves {
                    let stratum: usize = curve.name.parse().unwrap();
                    let here = |i: &usize| rows.strata[*i] == stratum && rows.weights[*i] > 0.0;
                    let mut last = [0.0; 2];
                    for (k, &t) in curve.time.iter().enumerate() {
                        let weight = |keep: &dyn Fn(usize) -> bool| {
                            let some = (0..rows.time.len()).filter(here).filter(|&i| keep(i));
                            some.fold((0.0, 0), |(w, m), i| (w + rows.weights[i], m + 1))
                        };
                        let (n, _) = weight(&|i| rows.at_risk(i, t));
                        let (d, m) = weight(&|i| rows.event[i] && rows.leaves_at(i, t));
                        if hazard_type == HazardType::NelsonAalen {
                            last = [last[0] + d / n, last[1] + d / (n * n)];
                        } else {
                            for j in 0..m {
                                let w = d / f64::from(m);
                                let left = n - f64::from(j) * w;
                                last = [last[0] + w / left, last[1] + w / (left * left)];
                            }
                        }
                        close(curve.cumhaz[k], last[0], 1e-12);
                        close(curve.std_err[k], last[1].sqrt(), 1e-12);
                        close(curve.surv[k], (-last[0]).exp(), 1e-12);
                    }
                }
            }
        }
    }

    #[test]
    fn a_fit_survives_serde_and_prints() {
        let surv = Surv::new(&[1.0, 2.0, 4.0], &[true, false, true]).unwrap();
        let fit = NelsonAalen::new().fit(&surv).unwrap();
        let text = serde_json::to_string(&fit).unwrap();
        assert_eq!(serde_json::from_str::<NelsonAalenFit>(&text).unwrap(), fit);
        let want = " n events last time cumhaz    se\n 3      2         4  1.333 1.054\n";
        assert_eq!(fit.to_string(), want);
    }
}
