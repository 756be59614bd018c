//! `CoxPh` (settings) -> `fit` -> [`CoxFit`] (result).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Ties;
use super::baseline::baseline;
use super::design::Design;
use super::exact::ExactLikelihood;
use super::fit::{CoxFit, Parts};
use super::likelihood::Likelihood;
use super::newton::{self, Terms};
use super::robust;
use crate::covariates::Covariates;
use crate::error::{Error, Result, check_finite, check_length};
use crate::metrics::concordance;
use crate::surv::Surv;

/// Settings of a Cox model,
/// `h(t | x) = h0(t) exp(offset + x' beta)` with its own `h0` in every stratum.
///
/// `beta` maximises Cox's (1972) partial likelihood, less a ridge penalty where one is asked for,
/// by Newton's method; standard errors come from the inverse information. Cost: about `2 n p^2`
/// operations per iteration, 4 to 6 of them.
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
///
/// // Shrunken towards 0 by a penalty of 2 beta^2 / 2.
/// let shrunken = CoxPh::new().ridge("dose", 2.0).fit(&surv, &x)?;
/// assert!(shrunken.coef()[0] < fit.coef()[0] && shrunken.df() < 1.0);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoxPh {
    ties: Ties,
    level: f64,
    robust: bool,
    concordance: bool,
    offset: Vec<f64>,
    start: Vec<f64>,
    fix: BTreeMap<String, f64>,
    ridge: BTreeMap<String, f64>,
    ridge_all: f64,
}

impl Default for CoxPh {
    fn default() -> Self {
        Self {
            ties: Ties::Efron,
            level: 0.95,
            robust: false,
            concordance: true,
            offset: Vec::new(),
            start: Vec::new(),
            fix: BTreeMap::new(),
            ridge: BTreeMap::new(),
            ridge_all: 0.0,
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

    /// A known part of the linear predictor, one value per row in input order (R's `offset()`).
    ///
    /// Predictions of the fit are for offset 0: add that of the new rows to the linear predictor.
    pub fn offset(mut self, offset: Vec<f64>) -> Self {
        self.offset = offset;
        self
    }

    /// Values that Newton's method starts from, one per column (R's `init`). They are also the null
    /// hypothesis of the three tests, and [`CoxFit::loglik0`] is the log-likelihood there, as in R.
    pub fn start(mut self, start: Vec<f64>) -> Self {
        self.start = start;
        self
    }

    /// Keeps the coefficient of a column at a value; its standard error is 0, its test and limits are
    /// undefined (NaN).
    pub fn fix(mut self, column: impl Into<String>, coefficient: f64) -> Self {
        self.fix.insert(column.into(), coefficient);
        self
    }

    /// Penalises a column by `theta / 2 beta^2`, in the column's own units: R's
    /// `ridge(column, theta = theta, scale = FALSE)`. Call it once per column.
    ///
    /// Standard errors come from the inverse of the penalised information `H = I + Theta`
    /// (R's `se(coef)`), those of [`CoxFit::shrunken_se`] from `H^-1 I H^-1` (R's `se2`). The likelihood
    /// ratio test leaves the penalty out and has [`CoxFit::df`] degrees of freedom.
    pub fn ridge(mut self, column: impl Into<String>, theta: f64) -> Self {
        self.ridge.insert(column.into(), theta);
        self
    }

    /// The same penalty for every column that [`CoxPh::ridge`] does not name.
    pub fn ridge_all(mut self, theta: f64) -> Self {
        self.ridge_all = theta;
        self
    }

    /// Fits the model.
    ///
    /// # Errors
    /// [`Error::ConstantColumn`], [`Error::NoInformation`], [`Error::Collinear`] name columns
    /// without a coefficient; a coefficient that runs to infinity is no error but a
    /// [`Warning`](crate::Warning) of the result. [`Error::Setting`] for a column named by
    /// [`CoxPh::fix`] or [`CoxPh::ridge`] that is not there, for a negative penalty, and for weights
    /// or robust errors with [`Ties::Exact`].
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
        let robust = self.robust || cluster.is_some();
        self.check(surv, robust)?;
        let design = Design::new(surv, x)?;
        let (terms, ridge) = self.terms(surv, x, &design)?;
        let unpenalised = terms
            .free
            .iter()
            .filter(|&&j| ridge.get(j).is_none_or(|&t| t <= 0.0));
        let unpenalised = unpenalised.count();
        if unpenalised >= surv.n_used() {
            return Err(Error::TooManyColumns {
                columns: unpenalised,
                rows: surv.n_used(),
            });
        }
        let mut likelihood = Likelihood::new(surv, self.ties);
        let maximum = if self.ties == Ties::Exact {
            let mut exact = ExactLikelihood::new(surv);
            let maximum = newton::maximise(&design, &mut exact, x, &terms)?;
            likelihood.evaluate(&terms.predictor_of(&design, &maximum.beta));
            maximum
        } else {
            newton::maximise(&design, &mut likelihood, x, &terms)?
        };
        let sums = |likelihood: &Likelihood<'_>| {
            let residuals = robust::score_residuals(&design, likelihood);
            robust::cluster_sums(&residuals, likelihood, cluster, design.p)
        };
        let robust_score = if robust && terms.ridge.is_empty() {
            let mut null = Likelihood::new(surv, self.ties);
            null.evaluate(&terms.predictor_of(&design, &terms.start));
            robust::score_test(&sums(&null), &terms.free)
        } else {
            None
        };
        let robust = robust.then(|| robust::sandwich(&sums(&likelihood), &maximum.variance));
        let mut coef: Vec<f64> = maximum
            .beta
            .iter()
            .zip(&design.scale)
            .map(|(b, s)| b / s)
            .collect();
        let mut fixed = vec![true; design.p];
        for &j in &terms.free {
            fixed[j] = false;
        }
        let start: Vec<f64> = self.starting_values(x)?;
        for j in (0..design.p).filter(|&j| fixed[j]) {
            coef[j] = start[j];
        }
        let concordance = if self.concordance {
            let mut score = x.times(&coef)?;
            for (s, o) in score.iter_mut().zip(&self.offset) {
                *s += o;
            }
            in_sample_concordance(surv, &score, cluster)?
        } else {
            None
        };
        Ok(CoxFit::new(Parts {
            surv,
            x,
            ties: self.ties,
            level: self.level,
            robust,
            robust_score,
            baseline: baseline(surv, &likelihood, &coef, &design.mean),
            maximum,
            design,
            concordance,
            ridge,
            fixed,
            start,
            offset: self.offset.clone(),
        }))
    }

    fn check(&self, surv: &Surv, robust: bool) -> Result<()> {
        let setting = |name, value: String, expected| {
            Err(Error::Setting {
                name,
                value,
                expected,
            })
        };
        if !(self.level > 0.0 && self.level < 1.0) {
            return setting("level", self.level.to_string(), "must lie between 0 and 1");
        }
        if !self.offset.is_empty() {
            check_length("offset", self.offset.len(), surv.n())?;
            check_finite("offset", &self.offset)?;
        }
        if self.ties == Ties::Exact {
            if surv.weights().is_some() {
                let expected =
                    "case weights have no exact partial likelihood: use efron or breslow";
                return setting("ties", "exact".to_owned(), expected);
            }
            if robust {
                let expected = "no robust variance is defined for it: use efron or breslow";
                return setting("ties", "exact".to_owned(), expected);
            }
        }
        let bad = |t: &f64| !(t.is_finite() && *t >= 0.0);
        let mut thetas = self.ridge.values().chain([&self.ridge_all]);
        if let Some(theta) = thetas.find(|t| bad(t)) {
            return setting(
                "ridge",
                theta.to_string(),
                "must be a finite number of at least 0",
            );
        }
        if let Some(value) = self.fix.values().find(|v| !v.is_finite()) {
            return setting("fix", value.to_string(), "must be a finite number");
        }
        Ok(())
    }

    /// Starting values in the units of the columns, those of fixed coefficients included.
    fn starting_values(&self, x: &Covariates<'_>) -> Result<Vec<f64>> {
        let mut start = vec![0.0; x.p()];
        if !self.start.is_empty() {
            check_length("start", self.start.len(), x.p())?;
            check_finite("start", &self.start)?;
            start.clone_from(&self.start);
        }
        for (column, &value) in &self.fix {
            start[place("fix", column, x)?] = value;
        }
        Ok(start)
    }

    /// Terms of the maximisation in scaled units, and the penalties in the units of the columns.
    fn terms(&self, surv: &Surv, x: &Covariates<'_>, design: &Design) -> Result<(Terms, Vec<f64>)> {
        let p = x.p();
        let mut free = vec![true; p];
        for column in self.fix.keys() {
            free[place("fix", column, x)?] = false;
        }
        let mut ridge = vec![self.ridge_all; p];
        for (column, &theta) in &self.ridge {
            ridge[place("ridge", column, x)?] = theta;
        }
        if (0..p).all(|j| ridge[j] <= 0.0 || !free[j]) {
            ridge.clear();
        }
        let start = self.starting_values(x)?;
        let order = &surv.sorted.order;
        let terms = Terms {
            start: start
                .iter()
                .zip(&design.scale)
                .map(|(b, s)| b * s)
                .collect(),
            free: (0..p).filter(|&j| free[j]).collect(),
            ridge: ridge
                .iter()
                .zip(&design.scale)
                .map(|(t, s)| t / (s * s))
                .collect(),
            offset: if self.offset.is_empty() {
                Vec::new()
            } else {
                order.iter().map(|&i| self.offset[i as usize]).collect()
            },
        };
        Ok((terms, ridge))
    }
}

/// Where a column that a setting names is.
fn place(name: &'static str, column: &str, x: &Covariates<'_>) -> Result<usize> {
    (0..x.p())
        .find(|&j| x.name(j) == column)
        .ok_or_else(|| Error::Setting {
            name,
            value: column.to_owned(),
            expected: "is not the name of a column",
        })
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
