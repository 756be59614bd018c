//! `CoxPath` (settings) -> `fit` -> `PathFit`: elastic-net paths for many more features than
//! patients.

mod adaptive;
mod cholesky;
mod gram;
mod group_quadratic;
mod group_solver;
#[cfg(test)]
mod group_tests;
mod groups;
#[cfg(test)]
mod oracle;
mod problem;
mod quadratic;
mod relaxed;
mod result;
mod ridge;
mod settings;
mod single;
mod solver;
mod sparse;
mod stale;
mod survival;
mod wide;

pub use self::adaptive::AdaptiveWeights;
use self::group_solver::GroupSolver;
use self::groups::Groups;
use self::problem::{Problem, Terms};
pub use self::relaxed::RelaxedFit;
pub(crate) use self::relaxed::check_gamma;
pub use self::result::{PathFit, SparseColumn};
pub use self::settings::CoxPath;
use self::solver::{Solved, Solver, Start};
pub use self::survival::PathSurvival;
use super::likelihood::Likelihood;
use super::used::{among, used_rows};
use crate::covariates::Covariates;
use crate::error::{Error, Result};
use crate::format_version::FormatVersion;
use crate::surv::Surv;

impl CoxPath {
    /// Fits the whole path.
    ///
    /// A constant column gets coefficient 0. A row of weight 0 is as if it were absent.
    ///
    /// Cost per lambda: `n p` for the check of all
    /// features, plus `n k` per Newton step on a working set of `k`; the matrix of the working
    /// set, `k^2 n`, is rebuilt a few times per path. The ridge costs `n^2 p` once when `p > n`.
    pub fn fit(&self, surv: &Surv, x: &Covariates<'_>) -> Result<PathFit> {
        let mut terms = self.check(surv, x)?;
        if let Some(rows) = used_rows(surv) {
            return among(&rows, surv, x, |surv, x| self.for_rows(&rows).fit(surv, x));
        }
        if let Some(adaptive) = &self.adaptive {
            adaptive.apply(self, surv, x, &mut terms)?;
        }
        self.fit_terms(surv, x, terms)
    }

    fn fit_terms(&self, surv: &Surv, x: &Covariates<'_>, terms: Terms) -> Result<PathFit> {
        let (limits, groups) = (terms.limits.clone(), terms.groups.clone());
        let first = terms.excluded.iter().position(|out| !out).unwrap_or(0);
        let problem = Problem::new(surv, x, self.standardize, terms);
        if problem.scale.iter().all(|&s| s <= 0.0) {
            return Err(Error::ConstantColumn {
                column: x.name(first),
            });
        }
        if let Some(j) =
            (0..x.p()).find(|&j| !problem.scale[j].is_finite() || !problem.mean[j].is_finite())
        {
            return Err(crate::overflow::overflow(x, j));
        }
        let mut likelihood = Likelihood::new(surv, self.ties);
        let saturated = likelihood.saturated();
        if let Some(groups) = groups {
            let raw = self.run_groups(&problem, &mut likelihood, &groups)?;
            return Ok(self.result(surv, x, &problem, raw, saturated, &mut likelihood));
        }
        if ridge::applies(&problem, self.alpha) {
            let small = ridge::Compressed::new(&problem)?;
            // The sequence starts where the original features say, not their rotation.
            let start = Solver::new(&problem, &mut likelihood, self.alpha, self.tolerance).start();
            let mut raw = self.run(&small.problem, &mut likelihood, Some(start))?;
            let beta = small.restore(&problem, &raw);
            ridge::certify(&problem, &beta, &mut raw, start);
            for (k, solution) in raw.iter_mut().enumerate() {
                solution.beta = SparseColumn::from_dense((0..problem.p).map(|j| beta[(j, k)]));
            }
            return Ok(self.result(surv, x, &problem, raw, saturated, &mut likelihood));
        }
        let raw = self.run(&problem, &mut likelihood, None)?;
        let mut fit = self.result(surv, x, &problem, raw, saturated, &mut likelihood);
        if let Some(limits) = limits {
            for beta in &mut fit.beta {
                beta.limit(&limits);
            }
        }
        Ok(fit)
    }

    fn run(
        &self,
        problem: &Problem<'_>,
        likelihood: &mut Likelihood<'_>,
        start: Option<Start>,
    ) -> Result<Vec<Solution>> {
        let mut solver = Solver::new(problem, likelihood, self.alpha, self.tolerance);
        let computed = solver.lambda_max();
        let lambdas = match start {
            Some(start) => {
                solver.measure_by(start);
                self.sequence(problem, start.lambda, true)?
            }
            None => self.sequence(problem, computed, false)?,
        };
        Ok(lambdas
            .into_iter()
            .map(|lambda| {
                let solved = solver.solve(lambda);
                Solution {
                    // Only the ridge's certificates ask for it.
                    residual: start.map_or_else(Vec::new, |_| solver.likelihood.residual.clone()),
                    ..Solution::new(lambda, solved, &solver.beta, solver.likelihood)
                }
            })
            .collect())
    }

    fn run_groups(
        &self,
        problem: &Problem<'_>,
        likelihood: &mut Likelihood<'_>,
        groups: &Groups,
    ) -> Result<Vec<Solution>> {
        let mut solver = GroupSolver::new(problem, likelihood, groups, self.alpha, self.tolerance);
        let first = solver.lambda_max();
        let lambdas = self.sequence(problem, first, false)?;
        Ok(lambdas
            .into_iter()
            .map(|lambda| {
                let solved = solver.solve(lambda);
                Solution::new(lambda, solved, &solver.beta, solver.likelihood)
            })
            .collect())
    }

    /// The lambdas that were given, or a sequence from the first at which something enters.
    fn sequence(&self, problem: &Problem<'_>, first: f64, compressed: bool) -> Result<Vec<f64>> {
        if let Some(lambda) = &self.lambda {
            return Ok(lambda.clone());
        }
        if first <= 0.0 {
            return Err(Error::Undefined {
                what: "a lambda sequence",
                reason: "no penalised column varies among patients at risk together",
            });
        }
        let short = compressed || problem.n < problem.p;
        let ratio = self
            .lambda_min_ratio
            .unwrap_or(if short { 0.01 } else { 1e-4 });
        let last = self.n_lambda.saturating_sub(1).max(1) as f64;
        Ok((0..self.n_lambda)
            .map(|k| first * ratio.powf(k as f64 / last))
            .collect())
    }

    fn result(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        problem: &Problem<'_>,
        raw: Vec<Solution>,
        saturated: f64,
        likelihood: &mut Likelihood<'_>,
    ) -> PathFit {
        let null = likelihood.sums(&problem.offset);
        PathFit {
            version: FormatVersion,
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

impl Solution {
    /// Where a solver stands after `lambda`, without the residual.
    fn new(lambda: f64, solved: Solved, beta: &[f64], likelihood: &Likelihood<'_>) -> Self {
        Self {
            lambda,
            beta: SparseColumn::from_dense(beta.iter().copied()),
            residual: Vec::new(),
            loglik: likelihood.loglik,
            kkt: solved.kkt,
            steps: solved.steps,
        }
    }
}
