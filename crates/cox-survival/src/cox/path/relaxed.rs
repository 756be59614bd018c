//! Relaxed fits: the columns a path has chosen, fitted again without penalty.
//!
//! Reference: Meinshausen (2007), Computational Statistics & Data Analysis 52:374; the blend of
//! both fits is that of Hastie, Tibshirani & Tibshirani (2020), Statistical Science 35:579.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::problem::Terms;
use super::result::{PathFit, SparseColumn};
use super::settings::{CoxPath, setting};
use crate::covariates::Covariates;
use crate::cox::used::{among, used_rows};
use crate::error::{Error, Result};
use crate::surv::Surv;
use crate::table::Table;

impl CoxPath {
    /// Fits the path, and at each lambda its chosen columns once more without penalty (with the
    /// same limits and offset).
    ///
    /// The relaxed fit ends before the first lambda that has no such refit: at least as many
    /// columns as events, or no solution within [`CoxPath::tolerance`].
    ///
    /// ```
    /// use cox_survival::{CoxPath, Covariates, Surv};
    /// let n = 60;
    /// let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
    /// let x: Vec<f64> = (0..n * 30).map(noise).collect();
    /// let time: Vec<f64> = (0..n).map(|i| (2.0 - x[i * 30] + noise(i + 5)).exp()).collect();
    /// let surv = Surv::new(&time, &vec![true; n])?;
    /// let x = Covariates::from_rows(&x, n, 30)?;
    /// let fit = CoxPath::new().n_lambda(20).fit_relaxed(&surv, &x)?;
    /// let (shrunk, free) = (fit.coef(3, 1.0)?, fit.coef(3, 0.0)?);
    /// assert_eq!(shrunk.index, free.index);
    /// assert!(free.value[0].abs() > shrunk.value[0].abs());
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    pub fn fit_relaxed(&self, surv: &Surv, x: &Covariates<'_>) -> Result<RelaxedFit> {
        let terms = self.check(surv, x)?;
        if let Some(rows) = used_rows(surv) {
            let part = self.for_rows(&rows);
            return among(&rows, surv, x, |surv, x| part.fit_relaxed(surv, x));
        }
        let path = self.fit(surv, x)?;
        let mut refits = PathFit {
            lambda: Vec::new(),
            beta: Vec::new(),
            dev_ratio: Vec::new(),
            kkt: Vec::new(),
            steps: Vec::new(),
            ..path.clone()
        };
        for (k, beta) in path.beta.iter().enumerate() {
            let same = refits
                .beta
                .last()
                .is_some_and(|last| last.index == beta.index);
            if same {
                let again = refits.beta.len() - 1;
                refits.beta.push(refits.beta[again].clone());
                refits.dev_ratio.push(refits.dev_ratio[again]);
                refits.kkt.push(refits.kkt[again]);
                refits.steps.push(0);
            } else if beta.index.is_empty() {
                refits.beta.push(beta.clone());
                refits.dev_ratio.push(0.0);
                refits.kkt.push(0.0);
                refits.steps.push(0);
            } else {
                let Some(free) = self.refit(surv, x, &terms, &beta.index)? else {
                    break;
                };
                refits.beta.push(SparseColumn {
                    index: beta.index.clone(),
                    value: free.beta[0].dense(beta.index.len()),
                });
                refits.dev_ratio.push(free.dev_ratio[0]);
                refits.kkt.push(free.kkt[0]);
                refits.steps.push(free.steps[0]);
            }
            refits.lambda.push(path.lambda[k]);
        }
        if refits.lambda.is_empty() {
            return Err(Error::Undefined {
                what: "a relaxed fit",
                reason: "the columns chosen at the first lambda cannot be fitted without penalty",
            });
        }
        Ok(RelaxedFit { path, refits })
    }

    /// The columns `index` without penalty, if that has a solution.
    fn refit(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        terms: &Terms,
        index: &[u32],
    ) -> Result<Option<PathFit>> {
        let p = index.len();
        if p >= surv.n_events() {
            return Ok(None);
        }
        let columns: Vec<f64> = index.iter().flat_map(|&j| x.column(j as usize)).collect();
        let chosen = Covariates::from_columns(&columns, x.n(), p)?;
        let pick = |limits: &Vec<[f64; 2]>| index.iter().map(|&j| limits[j as usize]).collect();
        let terms = Terms {
            factor: vec![1.0; p],
            limits: terms.limits.as_ref().map(pick),
            excluded: vec![false; p],
            groups: None,
            offset: terms.offset.clone(),
        };
        let free = self.clone().alpha(1.0).lambdas(vec![0.0]);
        let fit = free.fit_terms(surv, &chosen, terms)?;
        Ok((fit.kkt[0] <= self.tolerance).then_some(fit))
    }
}

/// A path and the unpenalised refits of what it chose; between them, `gamma` blends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelaxedFit {
    path: PathFit,
    /// As many lambdas as have a refit.
    refits: PathFit,
}

impl RelaxedFit {
    /// The penalised path, with all its lambdas.
    pub fn path(&self) -> &PathFit {
        &self.path
    }

    /// The unpenalised refits, one for each of [`RelaxedFit::lambda`]; their certificates are
    /// those at lambda 0.
    pub fn refits(&self) -> &PathFit {
        &self.refits
    }

    /// The lambdas that have a refit.
    pub fn lambda(&self) -> &[f64] {
        &self.refits.lambda
    }

    /// `gamma` times the penalised coefficients at the `k`-th lambda plus `1 - gamma` times the
    /// refitted ones, in original units: 1 is the path itself, 0 the relaxed fit.
    pub fn coef(&self, k: usize, gamma: f64) -> Result<SparseColumn> {
        check_gamma(gamma)?;
        if k >= self.lambda().len() {
            let expected = "must be below the number of lambdas that have a refit";
            return Err(setting("lambda index", &k, expected));
        }
        let (shrunk, free) = (&self.path.beta[k], &self.refits.beta[k]);
        let blend = |(s, f): (&f64, &f64)| gamma * s + (1.0 - gamma) * f;
        Ok(SparseColumn {
            index: shrunk.index.clone(),
            value: shrunk.value.iter().zip(&free.value).map(blend).collect(),
        })
    }

    /// Linear predictor of new rows (without their offset).
    pub fn predict(&self, k: usize, gamma: f64, x: &Covariates<'_>) -> Result<Vec<f64>> {
        let coef = self.coef(k, gamma)?;
        x.check(x.n())?;
        x.times(&coef.dense(self.path.names.len()))
    }

    /// Linear predictors of new rows at other lambdas for every `gamma`, `gamma` by `gamma`; both
    /// fits are interpolated by themselves.
    pub(crate) fn predict_along(
        &self,
        x: &Covariates<'_>,
        lambda: &[f64],
        gamma: &[f64],
    ) -> Result<Vec<Vec<f64>>> {
        let shrunk = self.path.predict_along(x, lambda)?;
        let free = self.refits.predict_along(x, lambda)?;
        let pairs = || shrunk.iter().zip(&free);
        Ok(gamma
            .iter()
            .flat_map(|g| {
                pairs().map(move |(s, f)| {
                    let both = s.iter().zip(f);
                    both.map(|(s, f)| g * s + (1.0 - g) * f).collect()
                })
            })
            .collect())
    }
}

/// `gamma` lies in [0, 1].
pub(crate) fn check_gamma(gamma: f64) -> Result<()> {
    if (0.0..=1.0).contains(&gamma) {
        Ok(())
    } else {
        Err(setting("gamma", &gamma, "must lie in [0, 1]"))
    }
}

impl RelaxedFit {
    /// The refits as they are printed, with a row for every lambda that has one.
    pub fn table(&self) -> Table {
        self.rows(0..self.lambda().len())
    }

    fn rows(&self, places: impl Iterator<Item = usize>) -> Table {
        let row = |k: usize| {
            vec![
                (k + 1).to_string(),
                format!("{:.6}", self.lambda()[k]),
                self.path.beta[k].index.len().to_string(),
                format!("{:.2}", 100.0 * self.path.dev_ratio[k]),
                format!("{:.2}", 100.0 * self.refits.dev_ratio[k]),
            ]
        };
        let refitted = "%dev refitted (in-sample)";
        let header = ["", "lambda", "df", "%dev (in-sample)", refitted];
        Table::new(&header, places.map(row).collect())
    }
}

impl fmt::Display for RelaxedFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Relaxed Cox path, alpha = {}, {} ties: {} of {} lambdas have a refit\n",
            self.path.alpha,
            self.path.ties.name(),
            self.lambda().len(),
            self.path.lambda.len()
        )?;
        let last = self.lambda().len() - 1;
        let every = self.lambda().len().div_ceil(20);
        let shown = (0..=last).filter(|k| k % every == 0 || *k == last);
        self.rows(shown).fmt(f)
    }
}
