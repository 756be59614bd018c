//! `CoxPh` (settings) -> `fit` -> `CoxFit` (result).

use faer::Mat;
use serde::{Deserialize, Serialize};
use statrs::function::erf::{erfc, erfc_inv};

use super::Ties;
use super::baseline::{BaselineHazard, baseline};
use super::design::Design;
use super::likelihood::Likelihood;
use super::newton::{self, Factor};
use super::robust;
use crate::covariates::Covariates;
use crate::error::{Error, Result, check_length};
use crate::metrics::concordance;
use crate::surv::Surv;

/// Settings of an unpenalised Cox model,
/// `h(t | x) = h0(t) exp(x' beta)` with its own `h0` in every stratum.
///
/// `beta` maximises Cox's (1972) partial likelihood by Newton's method; standard errors come
/// from the inverse information. Cost: about `2 n p^2` operations per iteration, 4 to 6 of them.
///
/// ```
/// use cox_survival::{CoxPh, Covariates, Surv};
/// let surv = Surv::new(
///     &[5.0, 8.0, 12.0, 16.0, 23.0, 27.0, 30.0, 33.0],
///     &[true, true, false, true, true, false, true, true],
/// )?;
/// let dose = [1.0, 0.5, 1.5, 0.9, 0.2, 0.6, 0.1, 0.7];
/// let x = Covariates::from_columns(&dose, 8, 1)?.with_names(["dose"])?;
/// let fit = CoxPh::new().fit(&surv, &x)?;
/// println!("{fit}"); // R's table
/// assert!(fit.coef()[0] > 0.0 && fit.p_values()[0] < 1.0);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoxPh {
    ties: Ties,
    level: f64,
    robust: bool,
    concordance: bool,
}

impl Default for CoxPh {
    fn default() -> Self {
        Self {
            ties: Ties::Efron,
            level: 0.95,
            robust: false,
            concordance: true,
        }
    }
}

impl CoxPh {
    /// Efron ties, 95% limits, model-based standard errors.
    pub fn new() -> Self {
        Self::default()
    }

    /// How ties are treated (default [`Ties::Efron`]).
    pub fn ties(mut self, ties: Ties) -> Self {
        self.ties = ties;
        self
    }

    /// Level of the confidence limits, between 0 and 1 (default 0.95).
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// Whether to compute the robust (sandwich) variance with every row as its own cluster.
    /// Tests, limits and p-values then use it. Right when weights are sampling weights.
    pub fn robust(mut self, robust: bool) -> Self {
        self.robust = robust;
        self
    }

    /// Whether to compute the in-sample concordance of the fitted predictor (default yes; it
    /// costs `O(n log n)`, which shows at a million rows).
    pub fn concordance(mut self, concordance: bool) -> Self {
        self.concordance = concordance;
        self
    }

    /// Fits the model.
    ///
    /// # Errors
    /// [`Error::ConstantColumn`], [`Error::NoInformation`], [`Error::Collinear`] name columns
    /// without a coefficient; a coefficient that runs to infinity is no error but a
    /// [`Warning`] of the result.
    pub fn fit(&self, surv: &Surv, x: &Covariates<'_>) -> Result<CoxFit> {
        self.fit_inner(surv, x, None)
    }

    /// Fits the model with a robust variance that sums over clusters (several rows of one
    /// patient); `cluster` holds a code per row, in input order.
    pub fn fit_clustered(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        cluster: &[u32],
    ) -> Result<CoxFit> {
        check_length("cluster", cluster.len(), surv.n())?;
        // Codes may be anything; the kernel wants them dense.
        let mut levels = cluster.to_vec();
        levels.sort_unstable();
        levels.dedup();
        let dense: Vec<u32> = cluster
            .iter()
            .map(|c| levels.binary_search(c).unwrap_or_default() as u32)
            .collect();
        self.fit_inner(surv, x, Some(&dense))
    }

    fn fit_inner(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        cluster: Option<&[u32]>,
    ) -> Result<CoxFit> {
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(Error::Setting {
                name: "level",
                value: self.level.to_string(),
                expected: "must lie between 0 and 1",
            });
        }
        let design = Design::new(surv, x)?;
        if design.p >= surv.n_used() {
            return Err(Error::TooManyColumns {
                columns: design.p,
                rows: surv.n_used(),
            });
        }
        let mut likelihood = Likelihood::new(surv, self.ties);
        let maximum = newton::maximise(&design, &mut likelihood, x)?;
        let p = design.p;
        let unscale = |v: &Mat<f64>| {
            Mat::from_fn(p, p, |i, j| v[(i, j)] / (design.scale[i] * design.scale[j]))
        };
        let coef: Vec<f64> = maximum
            .beta
            .iter()
            .zip(&design.scale)
            .map(|(b, s)| b / s)
            .collect();
        let variance = unscale(&maximum.variance);
        let robust_variance = (self.robust || cluster.is_some()).then(|| {
            let residuals = robust::score_residuals(&design, &likelihood);
            unscale(&robust::sandwich(
                &residuals,
                &likelihood,
                cluster,
                &maximum.variance,
            ))
        });
        let used = robust_variance.as_ref().unwrap_or(&variance);
        let wald = Factor::new(used).map_or(f64::NAN, |factor| {
            factor
                .solve(&coef)
                .iter()
                .zip(&coef)
                .map(|(a, b)| a * b)
                .sum()
        });
        let diagonal = |v: &Mat<f64>| (0..p).map(|j| v[(j, j)].sqrt()).collect::<Vec<f64>>();
        let concordance = if self.concordance {
            let score = x.times(&coef)?;
            in_sample_concordance(surv, &score, cluster)?
        } else {
            None
        };
        let warnings = maximum
            .infinite
            .iter()
            .map(|&(j, sign)| Warning::InfiniteCoefficient {
                column: x.name(j),
                positive: sign > 0.0,
            })
            .collect();
        Ok(CoxFit {
            names: x.names(),
            n: surv.n_used(),
            n_events: surv.n_events(),
            ties: self.ties,
            level: self.level,
            se: diagonal(&variance),
            robust_se: robust_variance.as_ref().map(diagonal),
            variance: flatten(&variance),
            robust_variance: robust_variance.as_ref().map(flatten),
            loglik0: maximum.loglik0,
            loglik: maximum.loglik,
            wald,
            score_test: maximum.score_test,
            iterations: maximum.iterations,
            concordance,
            baseline: baseline(surv, &likelihood, &coef, &design.mean),
            centre: design.mean,
            warnings,
            coef,
        })
    }
}

fn flatten(v: &Mat<f64>) -> Vec<f64> {
    let p = v.nrows();
    (0..p * p).map(|k| v[(k / p, k % p)]).collect()
}

/// In-sample concordance with its standard error; none when no pair can be compared.
fn in_sample_concordance(
    surv: &Surv,
    score: &[f64],
    cluster: Option<&[u32]>,
) -> Result<Option<(f64, f64)>> {
    let mut found = match concordance(surv, score) {
        Ok(found) => found,
        Err(Error::Undefined { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Some(cluster) = cluster {
        found = found.clustered(cluster)?;
    }
    Ok(found.std_error().map(|se| (found.concordance(), se)))
}

/// Something the user should know about a fit that is otherwise usable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Warning {
    /// The likelihood keeps rising as this coefficient grows (monotone likelihood, separation).
    InfiniteCoefficient {
        /// Column name.
        column: String,
        /// Whether it runs to plus infinity.
        positive: bool,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::InfiniteCoefficient { column, positive } => write!(
                f,
                "the coefficient of `{column}` runs to {} infinity (monotone likelihood: the \
                 column separates who has the event next); its estimate, standard error and Wald \
                 test mean nothing, the likelihood ratio test does; a small ridge penalty \
                 gives it a finite estimate",
                if *positive { "plus" } else { "minus" }
            ),
        }
    }
}

/// A fitted Cox model. Printing it gives the table R's and lifelines' users know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoxFit {
    names: Vec<String>,
    n: usize,
    n_events: usize,
    ties: Ties,
    level: f64,
    coef: Vec<f64>,
    #[serde(with = "crate::number::vector")]
    se: Vec<f64>,
    #[serde(with = "crate::number::optional_vector")]
    robust_se: Option<Vec<f64>>,
    #[serde(with = "crate::number::vector")]
    variance: Vec<f64>,
    #[serde(with = "crate::number::optional_vector")]
    robust_variance: Option<Vec<f64>>,
    loglik0: f64,
    loglik: f64,
    #[serde(with = "crate::number")]
    wald: f64,
    #[serde(with = "crate::number")]
    score_test: f64,
    iterations: usize,
    concordance: Option<(f64, f64)>,
    baseline: Vec<BaselineHazard>,
    centre: Vec<f64>,
    warnings: Vec<Warning>,
}

impl CoxFit {
    /// Column names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of rows with positive weight.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of events (with positive weight).
    pub fn n_events(&self) -> usize {
        self.n_events
    }

    /// How ties were treated.
    pub fn ties(&self) -> Ties {
        self.ties
    }

    /// Level of the confidence limits.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// Log hazard ratios per unit of each column.
    pub fn coef(&self) -> &[f64] {
        &self.coef
    }

    /// Hazard ratios per unit of each column.
    pub fn exp_coef(&self) -> Vec<f64> {
        self.coef.iter().map(|b| b.exp()).collect()
    }

    /// Model-based standard errors of the coefficients.
    pub fn se(&self) -> &[f64] {
        &self.se
    }

    /// Robust standard errors, when they were asked for.
    pub fn robust_se(&self) -> Option<&[f64]> {
        self.robust_se.as_deref()
    }

    /// Inverse information, row-major `[p, p]`.
    pub fn variance(&self) -> &[f64] {
        &self.variance
    }

    /// Robust variance, row-major `[p, p]`, when it was asked for.
    pub fn robust_variance(&self) -> Option<&[f64]> {
        self.robust_variance.as_deref()
    }

    /// Coefficients over their standard errors (robust when present).
    pub fn z(&self) -> Vec<f64> {
        self.coef
            .iter()
            .zip(self.used_se())
            .map(|(b, s)| b / s)
            .collect()
    }

    /// Two-sided Wald p-values.
    pub fn p_values(&self) -> Vec<f64> {
        self.z()
            .iter()
            .map(|z| erfc(z.abs() / std::f64::consts::SQRT_2))
            .collect()
    }

    /// Lower confidence limits of the hazard ratios.
    pub fn lower(&self) -> Vec<f64> {
        self.limits(-1.0)
    }

    /// Upper confidence limits of the hazard ratios.
    pub fn upper(&self) -> Vec<f64> {
        self.limits(1.0)
    }

    fn limits(&self, sign: f64) -> Vec<f64> {
        let width = sign * std::f64::consts::SQRT_2 * erfc_inv(1.0 - self.level);
        self.coef
            .iter()
            .zip(self.used_se())
            .map(|(b, s)| (b + width * s).exp())
            .collect()
    }

    fn used_se(&self) -> &[f64] {
        self.robust_se.as_ref().unwrap_or(&self.se)
    }

    /// Log partial likelihood with all coefficients 0.
    pub fn loglik0(&self) -> f64 {
        self.loglik0
    }

    /// Log partial likelihood at the maximum.
    pub fn loglik(&self) -> f64 {
        self.loglik
    }

    /// Likelihood ratio statistic on `p` degrees of freedom.
    pub fn lr(&self) -> f64 {
        2.0 * (self.loglik - self.loglik0)
    }

    /// Wald statistic on `p` degrees of freedom (robust when the robust variance is present).
    pub fn wald(&self) -> f64 {
        self.wald
    }

    /// Score statistic on `p` degrees of freedom: with one binary column and no ties, the
    /// log-rank test.
    pub fn score_test(&self) -> f64 {
        self.score_test
    }

    /// Newton iterations taken.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// In-sample concordance of the linear predictor and its standard error.
    pub fn concordance(&self) -> Option<(f64, f64)> {
        self.concordance
    }

    /// What the user should know.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Means of the columns, over rows of positive weight.
    pub fn means(&self) -> &[f64] {
        &self.centre
    }

    /// Cumulative baseline hazard of every stratum, at covariates 0.
    pub fn baseline_hazard(&self) -> &[BaselineHazard] {
        &self.baseline
    }
}
