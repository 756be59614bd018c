//! `CoxPath` (settings) -> `fit` -> `PathFit`: elastic-net paths for many more features than
//! patients.

mod gram;
#[cfg(test)]
mod oracle;
mod problem;
mod quadratic;
mod result;
mod ridge;
mod solver;
mod stale;
mod wide;

use serde::{Deserialize, Serialize};

use self::problem::Problem;
pub use self::result::{PathFit, SparseColumn};
use self::solver::Solver;
use super::Ties;
use super::likelihood::Likelihood;
use crate::covariates::Covariates;
use crate::error::{Error, Result, check_length};
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
    alpha: f64,
    n_lambda: usize,
    lambda_min_ratio: Option<f64>,
    lambda: Option<Vec<f64>>,
    standardize: bool,
    penalty_factor: Option<Vec<f64>>,
    ties: Ties,
    tolerance: f64,
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
    /// are rescaled to sum to the number of columns.
    pub fn penalty_factor(mut self, factor: Vec<f64>) -> Self {
        self.penalty_factor = Some(factor);
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

    /// Fits the whole path.
    ///
    /// A constant column gets coefficient 0. Cost per lambda: `n p` for the check of all
    /// features, plus `n k` per Newton step on a working set of `k`; the matrix of the working
    /// set, `k^2 n`, is rebuilt a few times per path. The ridge costs `n^2 p` once when `p > n`.
    pub fn fit(&self, surv: &Surv, x: &Covariates<'_>) -> Result<PathFit> {
        let factor = self.check(surv, x)?;
        let problem = Problem::new(surv, x, self.standardize, factor);
        if problem.scale.iter().all(|&s| s <= 0.0) {
            return Err(Error::ConstantColumn { column: x.name(0) });
        }
        if let Some(j) =
            (0..x.p()).find(|&j| !problem.scale[j].is_finite() || !problem.mean[j].is_finite())
        {
            return Err(Error::Overflow { column: x.name(j) });
        }
        let mut likelihood = Likelihood::new(surv, self.ties);
        let saturated = likelihood.saturated();
        if ridge::applies(&problem, self.alpha) {
            let small = ridge::Compressed::new(&problem)?;
            // The sequence starts where the original features say, not their rotation.
            let start = Solver::new(&problem, &mut likelihood, self.alpha, self.tolerance)
                .lambda_max_ridge();
            let mut raw = self.run(&small.problem, &mut likelihood, Some(start))?;
            let beta = small.restore(&problem, &raw);
            ridge::certify(&problem, &beta, &mut raw);
            for (k, solution) in raw.iter_mut().enumerate() {
                solution.beta = SparseColumn::from_dense((0..problem.p).map(|j| beta[(j, k)]));
            }
            return Ok(self.result(surv, x, &problem, raw, saturated, &mut likelihood));
        }
        let raw = self.run(&problem, &mut likelihood, None)?;
        Ok(self.result(surv, x, &problem, raw, saturated, &mut likelihood))
    }

    fn run(
        &self,
        problem: &Problem,
        likelihood: &mut Likelihood<'_>,
        start: Option<f64>,
    ) -> Result<Vec<Solution>> {
        let mut solver = Solver::new(problem, likelihood, self.alpha, self.tolerance);
        let computed = solver.lambda_max();
        let first = start.unwrap_or(computed);
        if self.lambda.is_none() && first <= 0.0 {
            return Err(Error::Undefined {
                what: "a lambda sequence",
                reason: "no penalised column varies among patients at risk together",
            });
        }
        let lambdas = self.lambda.clone().unwrap_or_else(|| {
            let default = if problem.n < problem.p { 0.01 } else { 1e-4 };
            let ratio =
                self.lambda_min_ratio
                    .unwrap_or(if start.is_some() { 0.01 } else { default });
            let last = self.n_lambda.saturating_sub(1).max(1) as f64;
            (0..self.n_lambda)
                .map(|k| first * ratio.powf(k as f64 / last))
                .collect()
        });
        Ok(lambdas
            .into_iter()
            .map(|lambda| {
                let solved = solver.solve(lambda);
                Solution {
                    lambda,
                    beta: SparseColumn::from_dense(solver.beta.iter().copied()),
                    // Only the ridge's certificates ask for it.
                    residual: start.map_or_else(Vec::new, |_| solver.likelihood.residual.clone()),
                    loglik: solver.likelihood.loglik,
                    kkt: solved.kkt,
                    steps: solved.steps,
                }
            })
            .collect())
    }

    fn result(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        problem: &Problem,
        raw: Vec<Solution>,
        saturated: f64,
        likelihood: &mut Likelihood<'_>,
    ) -> PathFit {
        let null = likelihood.sums(&vec![0.0; problem.n]);
        PathFit {
            names: x.names(),
            n: surv.n(),
            n_events: surv.n_events(),
            ties: self.ties,
            alpha: self.alpha,
            lambda: raw.iter().map(|s| s.lambda).collect(),
            nulldev: 2.0 * (saturated - null),
            dev_ratio: raw
                .iter()
                // Without a deviance there is nothing to explain.
                .map(|s| match saturated - null {
                    all if all > 1e-12 => 1.0 - (saturated - s.loglik) / all,
                    _ => 0.0,
                })
                .collect(),
            kkt: raw.iter().map(|s| s.kkt).collect(),
            steps: raw.iter().map(|s| s.steps).collect(),
            beta: raw
                .into_iter()
                .map(|s| s.beta.unscaled(&problem.scale))
                .collect(),
        }
    }

    /// Checks settings against data; returns the rescaled penalty factors.
    fn check(&self, surv: &Surv, x: &Covariates<'_>) -> Result<Vec<f64>> {
        x.check(surv.n())?;
        let setting = |name, value: f64, expected| {
            Err(Error::Setting {
                name,
                value: value.to_string(),
                expected,
            })
        };
        if self.ties == Ties::Exact {
            return Err(Error::Setting {
                name: "ties",
                value: self.ties.name().to_owned(),
                expected: "must be efron or breslow for a path",
            });
        }
        if !(0.0..=1.0).contains(&self.alpha) {
            return setting("alpha", self.alpha, "must lie in [0, 1]");
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return setting("tolerance", self.tolerance, "must lie between 0 and 1");
        }
        if let Some(ratio) = self.lambda_min_ratio
            && !(ratio > 0.0 && ratio < 1.0)
        {
            return setting("lambda_min_ratio", ratio, "must lie between 0 and 1");
        }
        if self.n_lambda == 0 {
            return setting("n_lambda", 0.0, "must be at least 1");
        }
        if let Some(lambda) = &self.lambda {
            if let Some(&bad) = lambda.iter().find(|l| !(l.is_finite() && **l >= 0.0)) {
                return setting("lambda", bad, "must be finite and not negative");
            }
            if let Some(pair) = lambda.windows(2).find(|w| w[1] >= w[0]) {
                return setting("lambda", pair[1], "must decrease along the sequence");
            }
            if lambda.is_empty() {
                return setting("lambda", f64::NAN, "needs at least one value");
            }
            if lambda.last().is_some_and(|&l| l <= 0.0) && x.p() >= x.n() {
                return setting(
                    "lambda",
                    0.0,
                    "must be positive when columns are not fewer than rows",
                );
            }
        }
        let p = x.p();
        let Some(factor) = &self.penalty_factor else {
            return Ok(vec![1.0; p]);
        };
        check_length("penalty_factor", factor.len(), p)?;
        if let Some(&bad) = factor.iter().find(|f| !(f.is_finite() && **f >= 0.0)) {
            return setting("penalty_factor", bad, "must be finite and not negative");
        }
        let sum: f64 = factor.iter().sum();
        if sum <= 0.0 {
            return setting(
                "penalty_factor",
                0.0,
                "must be positive for at least one column",
            );
        }
        if factor.iter().filter(|&&f| f <= 0.0).count() >= x.n() {
            return setting(
                "penalty_factor",
                0.0,
                "leaves at least as many columns unpenalised as there are rows",
            );
        }
        Ok(factor.iter().map(|f| f * p as f64 / sum).collect())
    }
}

/// One lambda's solution in standardised units.
struct Solution {
    lambda: f64,
    beta: SparseColumn,
    /// `dl / d eta` by position.
    residual: Vec<f64>,
    loglik: f64,
    kkt: f64,
    steps: usize,
}
