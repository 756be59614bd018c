//! `CoxFit`: the result of a Cox model.

use faer::Mat;
use serde::{Deserialize, Serialize};
use statrs::function::erf::{erfc, erfc_inv};

use super::Ties;
use super::baseline::BaselineHazard;
use super::design::Design;
use super::newton::{Factor, Maximum};
use super::warning::Warning;
use crate::covariates::Covariates;
use crate::format_version::FormatVersion;
use crate::surv::Surv;

/// A fitted Cox model. Printing it gives the table R's and lifelines' users know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoxFit {
    version: FormatVersion,
    names: Vec<String>,
    rows: usize,
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
    /// Ridge penalties by column; empty without.
    ridge: Vec<f64>,
    #[serde(with = "crate::number::optional_vector")]
    shrunken_variance: Option<Vec<f64>>,
    #[serde(with = "crate::number")]
    df: f64,
    fixed: Vec<bool>,
    start: Vec<f64>,
    /// Offset of the rows fitted, in input order; empty without.
    offset: Vec<f64>,
    loglik0: f64,
    loglik: f64,
    #[serde(with = "crate::number")]
    wald: f64,
    #[serde(with = "crate::number")]
    score_test: f64,
    #[serde(default)]
    robust_score: Option<f64>,
    iterations: usize,
    concordance: Option<(f64, f64)>,
    baseline: Vec<BaselineHazard>,
    centre: Vec<f64>,
    warnings: Vec<Warning>,
}

/// What [`CoxFit::new`] is made of.
pub(crate) struct Parts<'a> {
    pub(crate) surv: &'a Surv,
    pub(crate) x: &'a Covariates<'a>,
    pub(crate) ties: Ties,
    pub(crate) level: f64,
    pub(crate) design: Design,
    pub(crate) maximum: Maximum,
    /// In the units of the design.
    pub(crate) robust: Option<Mat<f64>>,
    pub(crate) robust_score: Option<f64>,
    pub(crate) baseline: Vec<BaselineHazard>,
    pub(crate) concordance: Option<(f64, f64)>,
    pub(crate) ridge: Vec<f64>,
    pub(crate) fixed: Vec<bool>,
    pub(crate) start: Vec<f64>,
    pub(crate) offset: Vec<f64>,
}

impl CoxFit {
    /// Turns everything into the units of the columns.
    pub(crate) fn new(parts: Parts<'_>) -> Self {
        let (design, maximum, x) = (parts.design, parts.maximum, parts.x);
        let p = design.p;
        let scale = &design.scale;
        let flat = |v: &Mat<f64>| -> Vec<f64> {
            let places = (0..p).flat_map(|i| (0..p).map(move |j| (i, j)));
            places
                .map(|(i, j)| v[(i, j)] / (scale[i] * scale[j]))
                .collect()
        };
        let errors = |v: &Vec<f64>| (0..p).map(|j| v[j * p + j].sqrt()).collect::<Vec<f64>>();
        let coef = unscaled(&maximum.beta, scale);
        let coef: Vec<f64> = (0..p)
            .map(|j| {
                if parts.fixed[j] {
                    parts.start[j]
                } else {
                    coef[j]
                }
            })
            .collect();
        let variance = flat(&maximum.variance);
        let robust_variance = parts.robust.as_ref().map(flat);
        let free: Vec<usize> = (0..p).filter(|&j| !parts.fixed[j]).collect();
        let wald = wald(
            robust_variance.as_ref().unwrap_or(&variance),
            &free,
            &coef
                .iter()
                .zip(&parts.start)
                .map(|(b, s)| b - s)
                .collect::<Vec<_>>(),
        );
        Self {
            version: FormatVersion,
            names: x.names(),
            rows: parts.surv.n(),
            n: parts.surv.n_used(),
            n_events: parts.surv.n_events(),
            ties: parts.ties,
            level: parts.level,
            se: errors(&variance),
            robust_se: robust_variance.as_ref().map(errors),
            variance,
            robust_variance,
            shrunken_variance: maximum.shrunken.as_ref().map(|(v, _)| flat(v)),
            df: maximum
                .shrunken
                .as_ref()
                .map_or(free.len() as f64, |(_, df)| *df),
            ridge: parts.ridge,
            fixed: parts.fixed,
            start: parts.start,
            offset: parts.offset,
            loglik0: maximum.loglik0,
            loglik: maximum.loglik,
            wald,
            score_test: maximum.score_test,
            robust_score: parts.robust_score,
            iterations: maximum.iterations,
            concordance: parts.concordance,
            baseline: parts.baseline,
            centre: design.mean,
            warnings: maximum
                .infinite
                .iter()
                .map(|&(j, sign)| Warning::InfiniteCoefficient {
                    column: x.name(j),
                    positive: sign > 0.0,
                })
                .collect(),
            coef,
        }
    }

    /// Column names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Offset of the rows fitted, in input order; empty without one.
    pub fn offset(&self) -> &[f64] {
        &self.offset
    }

    /// Starting values: the null hypothesis of the three tests (0 unless
    /// [`CoxPh::start`](crate::CoxPh::start) said otherwise; fixed coefficients at their value).
    pub fn start(&self) -> &[f64] {
        &self.start
    }

    /// Degrees of freedom of the three tests: the number of estimated coefficients, or with a
    /// ridge penalty the effective number `tr(I (I + Theta)^-1)` (Gray 1992).
    /// R's `fit$df` is this where one `ridge()` holds all columns; otherwise R adds up the traces
    /// within its terms, which is not quite the same.
    pub fn df(&self) -> f64 {
        self.df
    }

    /// With a ridge penalty, the standard errors of the shrunken estimates,
    /// from `H^-1 I H^-1` with `H = I + Theta` (R's `se2`); [`CoxFit::se`] comes from `H^-1`, which
    /// allows for the bias and is the posterior of a Bayesian.
    pub fn shrunken_se(&self) -> Option<Vec<f64>> {
        let p = self.coef.len();
        let v = self.shrunken_variance.as_ref()?;
        Some((0..p).map(|j| v[j * p + j].sqrt()).collect())
    }

    /// The variance behind [`CoxFit::shrunken_se`], row-major `[p, p]` (R's `var2`).
    pub fn shrunken_variance(&self) -> Option<&[f64]> {
        self.shrunken_variance.as_deref()
    }

    /// The penalty at the estimates, `1/2 sum theta_j beta_j^2`; 0 without.
    pub fn penalty(&self) -> f64 {
        let terms = self.ridge.iter().zip(&self.coef);
        0.5 * terms.map(|(t, b)| t * b * b).sum::<f64>()
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

    /// Inverse information (of a penalised fit, inverse penalised information), row-major `[p, p]`;
    /// rows and columns of fixed coefficients are 0.
    pub fn variance(&self) -> &[f64] {
        &self.variance
    }

    /// Robust variance, row-major `[p, p]`, when it was asked for.
    pub fn robust_variance(&self) -> Option<&[f64]> {
        self.robust_variance.as_deref()
    }

    /// Coefficients over their standard errors (robust when present); NaN for a fixed coefficient, of which
    /// there is nothing to test.
    pub fn z(&self) -> Vec<f64> {
        self.estimated(|b, s| b / s)
    }

    /// Two-sided Wald p-values; NaN for a fixed coefficient.
    pub fn p_values(&self) -> Vec<f64> {
        self.z()
            .iter()
            .map(|z| erfc(z.abs() / std::f64::consts::SQRT_2))
            .collect()
    }

    /// Lower confidence limits of the hazard ratios; NaN for a fixed coefficient.
    pub fn lower(&self) -> Vec<f64> {
        self.limits(-1.0)
    }

    /// Upper confidence limits of the hazard ratios; NaN for a fixed coefficient.
    pub fn upper(&self) -> Vec<f64> {
        self.limits(1.0)
    }

    fn limits(&self, sign: f64) -> Vec<f64> {
        let limits = self.coef_limits(sign).into_iter();
        limits.map(f64::exp).collect()
    }

    /// Limits of the coefficients themselves: the lower ones for a `sign` of -1, the upper ones for 1.
    pub(super) fn coef_limits(&self, sign: f64) -> Vec<f64> {
        let width = sign * std::f64::consts::SQRT_2 * erfc_inv(1.0 - self.level);
        self.estimated(|b, s| b + width * s)
    }

    /// `f` of every coefficient and its standard error; NaN where it was not estimated.
    fn estimated(&self, f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let each = self.coef.iter().zip(self.used_se()).zip(&self.fixed);
        each.map(|((b, s), fixed)| if *fixed { f64::NAN } else { f(*b, *s) })
            .collect()
    }

    /// Variance of the coefficients that tests and limits use, row-major: robust when present.
    pub(crate) fn used_variance(&self) -> &[f64] {
        self.robust_variance.as_ref().unwrap_or(&self.variance)
    }

    /// Number of rows that were fitted, those of weight 0 included.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn ridge(&self) -> &[f64] {
        &self.ridge
    }

    pub(crate) fn fixed(&self) -> &[bool] {
        &self.fixed
    }

    fn used_se(&self) -> &[f64] {
        self.robust_se.as_ref().unwrap_or(&self.se)
    }

    /// Log partial likelihood at the starting values: with all coefficients 0, unless told otherwise.
    pub fn loglik0(&self) -> f64 {
        self.loglik0
    }

    /// Log partial likelihood at the maximum, without the penalty.
    pub fn loglik(&self) -> f64 {
        self.loglik
    }

    /// Likelihood ratio statistic on [`CoxFit::df`] degrees of freedom.
    pub fn lr(&self) -> f64 {
        2.0 * (self.loglik - self.loglik0)
    }

    /// Wald statistic on [`CoxFit::df`] degrees of freedom (robust when the robust variance is present).
    pub fn wald(&self) -> f64 {
        self.wald
    }

    /// Score statistic on [`CoxFit::df`] degrees of freedom: with one binary column and no ties, the
    /// log-rank test. NaN with a ridge penalty.
    pub fn score_test(&self) -> f64 {
        self.score_test
    }

    /// The score statistic with the spread of the score over rows or clusters in place of the information,
    /// `u' (sum u_c u_c')^-1 u` at the starting values (R's `summary(fit)$robscore`), when robust errors
    /// were asked for. None with a ridge penalty, and with fewer clusters than coefficients.
    pub fn robust_score_test(&self) -> Option<f64> {
        self.robust_score
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

/// From the units of the design to those of the columns.
fn unscaled(beta: &[f64], scale: &[f64]) -> Vec<f64> {
    beta.iter().zip(scale).map(|(b, s)| b / s).collect()
}

/// `d' V^-1 d` over the free coefficients.
fn wald(variance: &[f64], free: &[usize], difference: &[f64]) -> f64 {
    let p = difference.len();
    let k = free.len();
    if k == 0 {
        return f64::NAN;
    }
    let v = Mat::from_fn(k, k, |a, b| variance[free[a] * p + free[b]]);
    let d: Vec<f64> = free.iter().map(|&j| difference[j]).collect();
    Factor::new(&v).map_or(f64::NAN, |factor| {
        factor.solve(&d).iter().zip(&d).map(|(a, b)| a * b).sum()
    })
}
