//! Tests of proportional hazards.
//!
//! Score tests of `beta_j(t) = beta_j + theta_j g(t)`, `theta = 0` (Grambsch & Therneau 1994,
//! Biometrika 81:515; the exact score test, not its approximation by the average information).
//! With `V(t)` the information that time `t` contributes, `s` the Schoenfeld residuals,
//!
//! ```text
//! U = sum g s,    S = sum g^2 V - (sum g V) (sum V)^-1 (sum g V),    chi2 = U' S^-1 U
//! ```
//!
//! over all columns for the global test, with the column's own elements for each of them. Each sum of
//! `g V` is one information matrix with the event times weighted. The test does not depend on the
//! origin and the unit of `g`, so `g` is brought to `[0, 1]`. Cost: three information matrices.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use faer::Mat;
use serde::{Deserialize, Serialize};

use super::diagnostics::CoxDiagnostics;
use super::information::information;
use super::newton::Factor;
use super::summary::{chi_square_tail, p_text};
use super::used::used_rows;
use crate::error::{Error, Result};
use crate::kaplan_meier::KaplanMeier;
use crate::surv::Surv;
use crate::table::Table;

/// The function `g` of time that effects might change with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZphTransform {
    /// One less the Kaplan-Meier estimate of all rows just before `t` (without weights and strata, but for
    /// rows of weight 0, which are as if absent): R's default. Outlying times have no leverage.
    #[default]
    Km,
    /// The rank of `t` among the times of all rows (of positive weight), ties at their mean rank.
    Rank,
    /// `t` itself.
    Identity,
    /// `log t`.
    Log,
}

impl ZphTransform {
    /// `km`, `rank`, `identity` or `log`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Km => "km",
            Self::Rank => "rank",
            Self::Identity => "identity",
            Self::Log => "log",
        }
    }
}

impl fmt::Display for ZphTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ZphTransform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Km, Self::Rank, Self::Identity, Self::Log]
            .into_iter()
            .find(|t| t.name() == text)
            .ok_or_else(|| Error::Setting {
                name: "transform",
                value: text.to_owned(),
                expected: "one of km, rank, identity, log",
            })
    }
}

/// Tests of proportional hazards: one per column (or term), and the global one last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Zph {
    /// The function of time.
    pub transform: ZphTransform,
    /// Names of the columns or terms, then `GLOBAL`.
    pub rows: Vec<String>,
    /// Score statistics.
    #[serde(with = "crate::number::vector")]
    pub chisq: Vec<f64>,
    /// Degrees of freedom.
    pub df: Vec<usize>,
    /// Upper tails of the chi-square distribution.
    #[serde(with = "crate::number::vector")]
    pub p: Vec<f64>,
}

impl Zph {
    /// The tests as they are printed.
    pub fn table(&self) -> Table {
        let mut rows = vec![vec![String::new(), "chisq".into(), "df".into(), "p".into()]];
        for k in 0..self.rows.len() {
            rows.push(vec![
                self.rows[k].clone(),
                format!("{:.3}", self.chisq[k]),
                self.df[k].to_string(),
                p_text(self.p[k]),
            ]);
        }
        Table::headed(rows)
    }
}

impl fmt::Display for Zph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transform, table) = (self.transform, self.table());
        write!(
            f,
            "Test of proportional hazards, transform {transform}\n\n{table}"
        )
    }
}

impl CoxDiagnostics<'_> {
    /// Tests every column for an effect that changes with `g(t)`, and all together (R's
    /// `cox.zph(fit, transform, terms = FALSE)` of survival 3 and later).
    ///
    /// # Errors
    /// [`Error::Undefined`] for a penalised fit, for events at a single time, and for `log` with an
    /// event at time 0.
    pub fn zph(&self, transform: ZphTransform) -> Result<Zph> {
        let columns: Vec<(String, Vec<usize>)> = self
            .free()
            .into_iter()
            .map(|j| (self.fit.names()[j].clone(), vec![j]))
            .collect();
        self.zph_terms(transform, &columns)
    }

    /// The same for terms of several columns (the levels of a factor), each with a name.
    ///
    /// # Errors
    /// As [`CoxDiagnostics::zph`], and [`Error::Setting`] for a column that is not there or whose
    /// coefficient is fixed.
    pub fn zph_terms(
        &self,
        transform: ZphTransform,
        terms: &[(String, Vec<usize>)],
    ) -> Result<Zph> {
        let undefined = |reason| Error::Undefined {
            what: "the test of proportional hazards",
            reason,
        };
        if !self.fit.ridge().is_empty() {
            return Err(undefined("the fit is penalised"));
        }
        let free = self.free();
        let mut found = Vec::with_capacity(terms.len());
        for (name, columns) in terms {
            let places: Option<Vec<usize>> = columns
                .iter()
                .map(|j| free.iter().position(|f| f == j))
                .collect();
            found.push((
                name.clone(),
                places
                    .filter(|c| !c.is_empty())
                    .ok_or_else(|| Error::Setting {
                        name: "terms",
                        value: name.clone(),
                        expected: "must hold columns with estimated coefficients",
                    })?,
            ));
        }
        let g = self.transformed(transform)?;
        let (score, variance) = self.slopes(&g, &free);
        let mut out = Zph {
            transform,
            rows: Vec::new(),
            chisq: Vec::new(),
            df: Vec::new(),
            p: Vec::new(),
        };
        found.push(("GLOBAL".to_owned(), (0..free.len()).collect()));
        for (name, at) in found {
            let part = Mat::from_fn(at.len(), at.len(), |a, b| variance[(at[a], at[b])]);
            let u: Vec<f64> = at.iter().map(|&a| score[a]).collect();
            let chisq = Factor::new(&part).map_or(f64::NAN, |factor| {
                factor.solve(&u).iter().zip(&u).map(|(a, b)| a * b).sum()
            });
            out.rows.push(name);
            out.chisq.push(chisq);
            out.df.push(at.len());
            out.p.push(chi_square_tail(chisq, at.len() as f64));
        }
        Ok(out)
    }

    fn free(&self) -> Vec<usize> {
        (0..self.p()).filter(|&j| !self.fit.fixed()[j]).collect()
    }

    /// `g` of every event group, brought to `[0, 1]`.
    fn transformed(&self, transform: ZphTransform) -> Result<Vec<f64>> {
        let undefined = |reason| Error::Undefined {
            what: "the test of proportional hazards",
            reason,
        };
        let groups = &self.likelihood.sorted.groups;
        let times: Vec<f64> = groups.iter().map(|g| g.time).collect();
        let surv = match used_rows(self.surv) {
            Some(rows) => Cow::Owned(self.surv.subset(&rows)?),
            None => Cow::Borrowed(self.surv),
        };
        let mut values: Vec<f64> = match transform {
            ZphTransform::Identity => times,
            ZphTransform::Log => times.iter().map(|t| t.ln()).collect(),
            ZphTransform::Rank => {
                let mut time = surv.time().to_vec();
                time.sort_by(f64::total_cmp);
                let below = |t: f64| time.partition_point(|&s| s < t);
                let upto = |t: f64| time.partition_point(|&s| s <= t);
                times.iter().map(|&t| (below(t) + upto(t)) as f64).collect()
            }
            ZphTransform::Km => {
                let mut builder = Surv::builder(surv.time(), surv.event()).timefix(false);
                if let Some(entry) = surv.entry() {
                    builder = builder.entry(entry);
                }
                let fit = KaplanMeier::new().fit(&builder.build()?)?;
                let curve = fit.curves[0].step()?;
                times.iter().map(|&t| 1.0 - curve.eval_left(t)).collect()
            }
        };
        let (least, most) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| {
                (a.min(v), b.max(v))
            });
        if !least.is_finite() {
            return Err(undefined("log(t) of an event at time 0"));
        }
        if least >= most {
            return Err(undefined(
                "all events are at one time, or the transform is constant",
            ));
        }
        // Divided first: the difference of extreme times may overflow.
        let range = most / 2.0 - least / 2.0;
        for v in &mut values {
            *v = (*v / 2.0 - least / 2.0) / range;
        }
        Ok(values)
    }

    /// Score and variance of the slopes of the free coefficients, in scaled units.
    fn slopes(&self, g: &[f64], free: &[usize]) -> (Vec<f64>, Mat<f64>) {
        let p = self.p();
        let sorted = self.likelihood.sorted;
        let mut score = vec![0.0; free.len()];
        // At a maximum the residuals sum to 0 and any origin of `g` will do. The coefficients of exact
        // ties are no maximum of this likelihood: R takes the mean over the events.
        let events = || sorted.groups.iter().map(|of| of.events.len() as f64);
        let mean = events().zip(g).map(|(d, g)| d * g).sum::<f64>() / events().sum::<f64>();
        for (group, (of, &g_t)) in sorted.groups.iter().zip(g).enumerate() {
            for i in of.events.clone() {
                let weight = self.likelihood.weight(i) * (g_t - mean);
                for (u, &j) in score.iter_mut().zip(free) {
                    *u += weight * (self.design.rows[i * p + j] - self.means.mean[group * p + j]);
                }
            }
        }
        let sum = |factor: &dyn Fn(f64) -> f64| {
            let full = self.weighted_information(&g.iter().map(|&v| factor(v)).collect::<Vec<_>>());
            Mat::from_fn(free.len(), free.len(), |a, b| {
                full[(free[a.max(b)], free[a.min(b)])]
            })
        };
        let (whole, cross, own) = (sum(&|_| 1.0), sum(&|v| v), sum(&|v| v * v));
        let Ok(factor) = Factor::new(&whole) else {
            return (score, Mat::full(free.len(), free.len(), f64::NAN));
        };
        let mut variance = own;
        for a in 0..free.len() {
            let column: Vec<f64> = (0..free.len()).map(|b| cross[(b, a)]).collect();
            let solved = factor.solve(&column);
            for b in 0..free.len() {
                let explained: f64 = (0..free.len()).map(|c| cross[(b, c)] * solved[c]).sum();
                variance[(b, a)] -= explained;
            }
        }
        (score, variance)
    }

    /// The information with every event time's contribution multiplied by a factor of at least 0.
    fn weighted_information(&self, factor: &[f64]) -> Mat<f64> {
        let mut likelihood = self.likelihood.clone();
        for (terms, &f) in likelihood.groups.iter_mut().zip(factor) {
            terms.hazard *= f;
            terms.spared *= f;
            terms.z = terms.z.map(|z| z * f.sqrt());
        }
        likelihood.derivatives();
        information(&self.design, &likelihood).matrix
    }
}
