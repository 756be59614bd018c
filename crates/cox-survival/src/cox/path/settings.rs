//! What a path is to minimise, and the checks of it against the data.

use serde::{Deserialize, Serialize};

use super::adaptive::AdaptiveWeights;
use super::groups::Groups;
use super::problem::Terms;
use crate::covariates::Covariates;
use crate::cox::Ties;
use crate::error::{Error, Result, check_finite, check_length};
use crate::surv::Surv;

/// Settings of an elastic-net path of Cox models.
///
/// For each lambda of a decreasing sequence, minimises
/// `-l(beta) / W + lambda sum_j v_j (alpha |beta_j| + (1 - alpha)/2 beta_j^2)`
/// with `W` the sum of the case weights and `v` the penalty factors rescaled to mean 1, in the
/// units of standardised columns; coefficients are reported in the original units. This is
/// glmnet's objective (Simon, Friedman, Hastie & Tibshirani 2011, JSS 39:5).
///
/// ```
/// use cox_survival::{CoxPath, Covariates, Surv};
/// let n = 60;
/// let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
/// let x: Vec<f64> = (0..n * 100).map(noise).collect();
/// let time: Vec<f64> = (0..n).map(|i| (2.0 - x[i * 100] + 0.3 * noise(i + 5)).exp()).collect();
/// let surv = Surv::new(&time, &vec![true; n])?;
/// let path = CoxPath::new().alpha(0.95).fit(&surv, &Covariates::from_rows(&x, n, 100)?)?;
/// assert_eq!(path.df()[0], 0);
/// assert!(path.beta(20).index.contains(&0), "the one real feature is found");
/// assert!(path.kkt().iter().all(|&v| v <= 1e-7), "every solution carries its certificate");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoxPath {
    pub(super) alpha: f64,
    pub(super) n_lambda: usize,
    pub(super) lambda_min_ratio: Option<f64>,
    pub(super) lambda: Option<Vec<f64>>,
    pub(super) standardize: bool,
    pub(super) penalty_factor: Option<Vec<f64>>,
    pub(super) adaptive: Option<AdaptiveWeights>,
    /// `None` where there is no limit: JSON has no infinity.
    pub(super) lower: Option<Vec<Option<f64>>>,
    pub(super) upper: Option<Vec<Option<f64>>>,
    pub(super) exclude: Vec<usize>,
    pub(super) groups: Option<Vec<usize>>,
    pub(super) offset: Vec<f64>,
    pub(super) clusters: Vec<u32>,
    pub(super) ties: Ties,
    pub(super) tolerance: f64,
}

impl Default for CoxPath {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            n_lambda: 100,
            lambda_min_ratio: None,
            lambda: None,
            standardize: true,
            penalty_factor: None,
            adaptive: None,
            lower: None,
            upper: None,
            exclude: Vec::new(),
            groups: None,
            offset: Vec::new(),
            clusters: Vec::new(),
            ties: Ties::Breslow,
            tolerance: 1e-7,
        }
    }
}

impl CoxPath {
    /// The lasso with 100 lambdas, standardised columns and Breslow ties.
    pub fn new() -> Self {
        Self::default()
    }

    /// Mixing: 1 is the lasso, 0 the ridge (default 1).
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Length of the lambda sequence (default 100).
    pub fn n_lambda(mut self, n_lambda: usize) -> Self {
        self.n_lambda = n_lambda;
        self
    }

    /// Smallest lambda as a share of the largest (default 0.01 when there are more columns than
    /// rows, otherwise 0.0001).
    pub fn lambda_min_ratio(mut self, ratio: f64) -> Self {
        self.lambda_min_ratio = Some(ratio);
        self
    }

    /// A lambda sequence of one's own, decreasing.
    pub fn lambdas(mut self, lambda: Vec<f64>) -> Self {
        self.lambda = Some(lambda);
        self
    }

    /// Whether columns are scaled to unit variance (divisor `n`) for the fit (default yes).
    pub fn standardize(mut self, standardize: bool) -> Self {
        self.standardize = standardize;
        self
    }

    /// One factor per column that multiplies its penalty; 0 leaves a column unpenalised. They
    /// are rescaled to sum to the number of columns, excluded ones counting 1.
    pub fn penalty_factor(mut self, factor: Vec<f64>) -> Self {
        self.penalty_factor = Some(factor);
        self
    }

    /// Factors computed from a first fit to the same rows, made anew in every training fold;
    /// they multiply [`CoxPath::penalty_factor`].
    pub fn adaptive(mut self, weights: AdaptiveWeights) -> Self {
        self.adaptive = Some(weights);
        self
    }

    /// Smallest value of each coefficient, in original units: 0 or less, minus infinity for no
    /// limit.
    pub fn lower_limits(mut self, lower: Vec<f64>) -> Self {
        let none = |l: f64| (l > f64::NEG_INFINITY || l.is_nan()).then_some(l);
        self.lower = Some(lower.into_iter().map(none).collect());
        self
    }

    /// Largest value of each coefficient, in original units: 0 or more, infinity for no limit.
    pub fn upper_limits(mut self, upper: Vec<f64>) -> Self {
        let none = |u: f64| (u < f64::INFINITY || u.is_nan()).then_some(u);
        self.upper = Some(upper.into_iter().map(none).collect());
        self
    }

    /// Columns left out, numbered from 0: their coefficients are 0.
    pub fn exclude(mut self, columns: Vec<usize>) -> Self {
        self.exclude = columns;
        self
    }

    /// Columns with the same label enter together (the layers of W+ latents, say): the group lasso.
    ///
    /// The penalty is `lambda sum_g v_g sqrt(p_g) (alpha |b_g| + (1 - alpha)/2 |b_g|^2)` with the
    /// Euclidean norms of the groups' standardised coefficients, `p_g` their number of columns and
    /// `v_g` the penalty factor, which all columns of a group must share (0: unpenalised). Not
    /// together with limits or adaptive weights.
    pub fn groups(mut self, labels: Vec<usize>) -> Self {
        self.groups = Some(labels);
        self
    }

    /// A known part of the linear predictor, one value per row in input order.
    ///
    /// Predictions of the fit are for offset 0: add that of the new rows.
    pub fn offset(mut self, offset: Vec<f64>) -> Self {
        self.offset = offset;
        self
    }

    /// Which rows belong together, one label per row in input order: the folds in which
    /// [`AdaptiveWeights`] choose their ridge never separate them.
    ///
    /// The folds of a [`CrossValidation`](crate::CrossValidation) are those it is given:
    /// [`Folds::grouped`](crate::Folds::grouped) makes them.
    pub fn clusters(mut self, labels: Vec<u32>) -> Self {
        self.clusters = labels;
        self
    }

    /// How ties are treated (default Breslow, as in glmnet 4).
    pub fn ties(mut self, ties: Ties) -> Self {
        self.ties = ties;
        self
    }

    /// Largest violation of the optimality conditions left in a solution, relative to
    /// `lambda * alpha` (default 1e-7); lambdas below 1e-4 of the largest count as that much.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The mixing parameter.
    pub(crate) fn mixing(&self) -> f64 {
        self.alpha
    }

    /// How ties are treated.
    pub(crate) fn tie_method(&self) -> Ties {
        self.ties
    }

    /// A ridge with the same columns, factors and offset, whose lambdas are its own.
    pub(super) fn pilot(&self) -> Self {
        Self {
            alpha: 0.0,
            n_lambda: 50,
            lambda_min_ratio: None,
            lambda: None,
            adaptive: None,
            groups: None,
            lower: None,
            upper: None,
            ..self.clone()
        }
    }

    /// The same settings for some of the rows.
    pub(crate) fn for_rows(&self, rows: &[usize]) -> Self {
        let mut some = self.clone();
        // A length that does not fit the rows is reported where it is used.
        some.offset = rows
            .iter()
            .filter_map(|&i| self.offset.get(i).copied())
            .collect();
        some.clusters = rows
            .iter()
            .filter_map(|&i| self.clusters.get(i).copied())
            .collect();
        some
    }

    /// Adds the offset to linear predictors by row.
    pub(crate) fn add_offset(&self, eta: &mut [f64]) {
        for (e, o) in eta.iter_mut().zip(&self.offset) {
            *e += o;
        }
    }

    /// Checks settings against data; returns what concerns each column.
    pub(super) fn check(&self, surv: &Surv, x: &Covariates<'_>) -> Result<Terms> {
        x.check(surv.n())?;
        if self.ties == Ties::Exact {
            return Err(Error::Setting {
                name: "ties",
                value: self.ties.name().to_owned(),
                expected: "must be efron or breslow for a path",
            });
        }
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(setting("alpha", &self.alpha, "must lie in [0, 1]"));
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(setting(
                "tolerance",
                &self.tolerance,
                "must lie between 0 and 1",
            ));
        }
        if let Some(ratio) = self.lambda_min_ratio
            && !(ratio > 0.0 && ratio < 1.0)
        {
            return Err(setting(
                "lambda_min_ratio",
                &ratio,
                "must lie between 0 and 1",
            ));
        }
        if self.n_lambda == 0 {
            return Err(setting("n_lambda", &0.0, "must be at least 1"));
        }
        if let Some(lambda) = &self.lambda {
            if let Some(&bad) = lambda.iter().find(|l| !(l.is_finite() && **l >= 0.0)) {
                return Err(setting("lambda", &bad, "must be finite and not negative"));
            }
            if let Some([_, low]) = lambda.windows(2).find(|w| w[1] >= w[0]) {
                return Err(setting("lambda", low, "must decrease along the sequence"));
            }
            if lambda.is_empty() {
                return Err(setting("lambda", &f64::NAN, "needs at least one value"));
            }
            if lambda.last().is_some_and(|&l| l <= 0.0) && x.p() >= x.n() {
                return Err(setting(
                    "lambda",
                    &0.0,
                    "must be positive when columns are not fewer than rows",
                ));
            }
        }
        if !self.offset.is_empty() {
            check_length("offset", self.offset.len(), surv.n())?;
            check_finite("offset", &self.offset)?;
        }
        if !self.clusters.is_empty() {
            check_length("clusters", self.clusters.len(), surv.n())?;
        }
        let excluded = self.excluded(x.p())?;
        let factor = self.factors(x, &excluded)?;
        let labels = self.groups.as_deref();
        Ok(Terms {
            groups: labels
                .map(|labels| Groups::new(self, labels, x, &factor, &excluded))
                .transpose()?,
            factor,
            limits: self.limits(x)?,
            excluded,
            offset: match self.offset.as_slice() {
                [] => vec![0.0; surv.n()],
                offset => surv.sorted.by_position(offset),
            },
        })
    }

    fn excluded(&self, p: usize) -> Result<Vec<bool>> {
        let mut excluded = vec![false; p];
        for &j in &self.exclude {
            *excluded
                .get_mut(j)
                .ok_or_else(|| setting("exclude", &j, "must name columns, numbered from 0"))? =
                true;
        }
        if excluded.iter().all(|&e| e) {
            let all = "leaves no column";
            return Err(setting("exclude", &self.exclude.len(), all));
        }
        Ok(excluded)
    }

    fn limits(&self, x: &Covariates<'_>) -> Result<Option<Vec<[f64; 2]>>> {
        if self.lower.is_none() && self.upper.is_none() {
            return Ok(None);
        }
        let mut limits = vec![[f64::NEG_INFINITY, f64::INFINITY]; x.p()];
        let sides = [
            ("lower_limits", &self.lower, -1.0),
            ("upper_limits", &self.upper, 1.0),
        ];
        for (side, (name, given, sign)) in sides.into_iter().enumerate() {
            let Some(given) = given else { continue };
            check_length(name, given.len(), x.p())?;
            for (j, limit) in given.iter().enumerate() {
                let Some(limit) = *limit else { continue };
                if limit.is_nan() || sign * limit < 0.0 {
                    return Err(Error::CoefficientLimit {
                        column: x.name(j),
                        lower: side == 0,
                        value: limit,
                    });
                }
                limits[j][side] = limit;
            }
        }
        Ok(Some(limits))
    }

    /// The factors that are given, rescaled to sum to `p`; excluded columns count 1.
    fn factors(&self, x: &Covariates<'_>, excluded: &[bool]) -> Result<Vec<f64>> {
        let p = x.p();
        let Some(factor) = &self.penalty_factor else {
            return Ok(vec![1.0; p]);
        };
        check_length("penalty_factor", factor.len(), p)?;
        let name = "penalty_factor";
        if let Some(&bad) = factor.iter().find(|f| !(f.is_finite() && **f >= 0.0)) {
            return Err(setting(name, &bad, "must be finite and not negative"));
        }
        let factor: Vec<f64> = factor
            .iter()
            .zip(excluded)
            .map(|(f, out)| if *out { 1.0 } else { *f })
            .collect();
        let used = || factor.iter().zip(excluded).filter(|(_, out)| !**out);
        if used().all(|(f, _)| *f <= 0.0) {
            let none = "must be positive for at least one column";
            return Err(setting(name, &0.0, none));
        }
        if used().filter(|(f, _)| **f <= 0.0).count() >= x.n() {
            return Err(setting(
                name,
                &0.0,
                "leaves at least as many columns unpenalised as there are rows",
            ));
        }
        Ok(rescale(&factor))
    }
}

/// Rescales factors to sum to their number.
pub(super) fn rescale(factor: &[f64]) -> Vec<f64> {
    // Divided first: the sum could overflow.
    let mean: f64 = factor.iter().map(|f| f / factor.len() as f64).sum();
    factor.iter().map(|f| f / mean).collect()
}

pub(super) fn setting(name: &'static str, value: &dyn ToString, expected: &'static str) -> Error {
    Error::Setting {
        name,
        value: value.to_string(),
        expected,
    }
}
