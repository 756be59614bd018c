//! One lambda after the other: screening, proximal Newton steps, a check of every feature.
//!
//! The Newton model keeps its information matrix frozen over many steps and even many lambdas
//! ([`Gram`]); it is rebuilt only when steps stop contracting. The gradient is always exact, so
//! a stale matrix costs steps, never accuracy. After each lambda the optimality conditions of all
//! features are checked: by their gradients, or where these cannot have come near their
//! thresholds by a bound ([`Stale`]).

use super::gram::Gram;
use super::problem::Problem;
use super::quadratic::{Penalty, Quadratic, excess};
use super::stale::Stale;
use super::wide::{Model, Wide};
use crate::cox::likelihood::Likelihood;

pub(super) const MAX_STEPS: usize = 500;
/// Steps must shrink the violation to this share, or the matrix is rebuilt.
const CONTRACTION: f64 = 0.3;
/// Features per patient from which the matrix of the working set is not worth forming.
pub(super) const WIDE: f64 = 1.5;
const MOST_DAMPING: f64 = 100.0;
/// Largest change of anybody's linear predictor in one step (as in `newton.rs`).
const LONGEST: f64 = 8.0;
/// A step that long comes from a matrix lost in rounding.
const ABSURD: f64 = 1e4;
/// Share of the largest lambda below which violations are no longer measured against lambda
/// itself, which may be 0.
pub(super) const FLOOR: f64 = 1e-4;

pub(super) struct Solver<'a, 'b> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) likelihood: &'a mut Likelihood<'b>,
    alpha: f64,
    tolerance: f64,
    /// Lambdas below this are measured against it.
    floor: f64,
    /// Penalty factor of the column that enters first, if below 1: with factors of many sizes it
    /// is what lambda has to be multiplied by to be of the size of gradients.
    share: f64,
    /// Whether the model of `wide.rs` can be used: every penalty is strictly convex.
    may_widen: bool,
    wide: Wide,
    /// Share of its diagonal added to the matrix, when it needed that.
    damping: f64,
    pub(super) beta: Vec<f64>,
    eta: Vec<f64>,
    pub(super) gradient: Vec<f64>,
    stale: Stale,
    gram: Gram,
    /// Counts rebuilds and growths of the matrix, so that factors know what they belong to.
    version: u64,
    /// Whether the matrix was frozen at the current point.
    fresh: bool,
    quadratic: Quadratic,
}

/// How fast the violation falls from step to step.
pub(super) struct Pace {
    last: f64,
    since: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            last: f64::INFINITY,
            since: 0,
        }
    }
}

impl Pace {
    /// Whether the matrix should be made anew: a step with one that is not fresh left more than
    /// `CONTRACTION` of the violation.
    pub(super) fn outlived(&mut self, worst: f64, fresh: bool) -> bool {
        let outlived = self.since >= 1 && worst > CONTRACTION * self.last && !fresh;
        self.since = if outlived { 0 } else { self.since + 1 };
        self.last = worst;
        outlived
    }
}

/// Where the sequence of lambdas starts, and the unit of violations along it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) lambda: f64,
    floor: f64,
    share: f64,
}

impl Start {
    /// What violations at a finite `lambda` are measured against.
    pub(super) fn unit(&self, lambda: f64, alpha: f64) -> f64 {
        lambda.max(self.floor) * alpha.max(1e-3) * self.share
    }
}

/// What one lambda took and how good it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Solved {
    pub(super) kkt: f64,
    pub(super) steps: usize,
}

impl<'a, 'b> Solver<'a, 'b> {
    /// Starts at zero penalised coefficients; unpenalised ones are fitted.
    pub(super) fn new(
        problem: &'a Problem<'a>,
        likelihood: &'a mut Likelihood<'b>,
        alpha: f64,
        tolerance: f64,
    ) -> Self {
        let eta = problem.offset.clone();
        likelihood.evaluate(&eta);
        let mut solver = Self {
            problem,
            likelihood,
            alpha,
            tolerance,
            floor: f64::MIN_POSITIVE,
            share: 1.0,
            may_widen: alpha < 1.0 && problem.factor.iter().all(|&f| f > 0.0),
            wide: Wide::new(),
            damping: 0.0,
            beta: vec![0.0; problem.p],
            eta,
            gradient: vec![0.0; problem.p],
            stale: Stale::new(problem.p),
            gram: Gram::new(problem.p),
            version: 0,
            fresh: true,
            quadratic: Quadratic::default(),
        };
        let set: Vec<usize> = (0..problem.p).filter(|&j| solver.always(j)).collect();
        solver.gram.freeze(problem, solver.likelihood, &set, false);
        solver.full_gradient();
        solver
    }

    /// The penalised feature that enters first, and the lambda at which it does.
    fn steepest(&self) -> (usize, f64) {
        // Ridge never reaches zero; glmnet's convention starts it where alpha = 0.001 would.
        let alpha = self.alpha.max(1e-3);
        (0..self.problem.p)
            .filter(|&j| self.problem.factor[j] > 0.0)
            .map(|j| (j, self.gradient[j].abs() / (alpha * self.problem.factor[j])))
            .fold(
                (0, 0.0),
                |best, next| if next.1 > best.1 { next } else { best },
            )
    }

    /// Features that need no screening: unpenalised ones.
    fn always(&self, j: usize) -> bool {
        self.problem.factor[j] <= 0.0 && self.problem.scale[j] > 0.0
    }

    fn usable(&self, j: usize) -> bool {
        self.problem.scale[j] > 0.0
    }

    pub(super) fn full_gradient(&mut self) {
        let all: Vec<usize> = (0..self.problem.p).collect();
        self.compute(&all);
    }

    fn compute(&mut self, which: &[usize]) {
        let residual = &self.likelihood.residual;
        self.problem
            .gradient_of(which, residual, &mut self.gradient);
        self.stale.computed(which, residual);
    }

    /// The smallest lambda at which every penalised coefficient is zero.
    pub(super) fn lambda_max(&mut self) -> f64 {
        if (0..self.problem.p).any(|j| self.always(j)) {
            self.solve(f64::INFINITY);
            self.full_gradient();
        }
        let (j, lambda) = self.steepest();
        // What is rounding noise of its own sum, a difference itself, is zero.
        let at = &*self.likelihood;
        let terms = at.residual.iter().zip(&at.curvature);
        let size = terms
            .zip(self.problem.column(j).iter())
            .map(|((r, c), z)| z.abs() * (r.abs() + c.abs()))
            .sum::<f64>()
            / self.problem.total;
        if self.gradient[j].abs() <= 1e-13 * size {
            return 0.0;
        }
        self.floor = FLOOR * lambda;
        self.share = self.problem.factor[j].min(1.0);
        lambda
    }

    /// [`Solver::lambda_max`], and what violations are then measured against.
    pub(super) fn start(mut self) -> Start {
        let lambda = self.lambda_max();
        Start {
            lambda,
            floor: self.floor,
            share: self.share,
        }
    }

    /// Measures violations as the solver does that `start` comes from.
    pub(super) fn measure_by(&mut self, start: Start) {
        (self.floor, self.share) = (start.floor, start.share);
    }

    /// Solves at `lambda`, warm from the last solution.
    pub(super) fn solve(&mut self, lambda: f64) -> Solved {
        let mut steps = 0;
        loop {
            self.enter(lambda);
            steps += self.descend(lambda);
            if !self.check(lambda) || steps >= MAX_STEPS {
                break;
            }
        }
        let kkt = (0..self.problem.p)
            .map(|j| self.violation(j, lambda))
            .fold(0.0, f64::max);
        Solved { kkt, steps }
    }

    /// Whether a feature outside the working set wants in. Afterwards the gradients of all that
    /// could are exact, and what is known of the others is below their thresholds.
    fn check(&mut self, lambda: f64) -> bool {
        if !lambda.is_finite() {
            return false;
        }
        let (problem, gram, alpha) = (self.problem, &self.gram, self.alpha);
        let doubtful = self.stale.in_doubt(
            problem,
            &self.likelihood.residual,
            &self.gradient,
            (0..problem.p).filter(|&j| problem.scale[j] > 0.0 && !gram.contains(j)),
            |j| lambda * alpha * problem.factor[j],
        );
        self.compute(&doubtful);
        doubtful.iter().any(|&j| self.wants_in(j, lambda))
    }

    fn l1(&self, j: usize, lambda: f64) -> f64 {
        if self.problem.factor[j] > 0.0 {
            lambda * self.alpha * self.problem.factor[j]
        } else {
            0.0
        }
    }

    fn l2(&self, j: usize, lambda: f64) -> f64 {
        if self.problem.factor[j] > 0.0 {
            lambda * (1.0 - self.alpha) * self.problem.factor[j]
        } else {
            0.0
        }
    }

    fn wants_in(&self, j: usize, lambda: f64) -> bool {
        let limits = self.problem.limits(j);
        excess(self.gradient[j], 0.0, self.l1(j, lambda), limits)
            > self.tolerance * self.unit(lambda)
    }

    /// What violations are measured against.
    fn unit(&self, lambda: f64) -> f64 {
        if lambda.is_finite() {
            lambda.max(self.floor) * self.alpha.max(1e-3) * self.share
        } else {
            1.0
        }
    }

    /// How far feature `j` is from its optimality condition, relative to `lambda alpha`.
    fn violation(&self, j: usize, lambda: f64) -> f64 {
        if !self.usable(j) || (!lambda.is_finite() && self.problem.factor[j] > 0.0) {
            return 0.0;
        }
        let (l1, b) = (self.l1(j, lambda), self.beta[j]);
        let pull = self.gradient[j] - self.l2(j, lambda) * b;
        excess(pull, b, l1, self.problem.limits(j)) / self.unit(lambda)
    }

    /// Takes features into the working set whose gradient, as far as known, exceeds their
    /// threshold.
    fn enter(&mut self, lambda: f64) {
        let new: Vec<usize> = (0..self.problem.p)
            .filter(|&j| {
                let l1 = self.l1(j, lambda);
                let out = excess(self.gradient[j], 0.0, l1, self.problem.limits(j));
                let wants = out > 0.0 || (l1 <= 0.0 && lambda.is_finite());
                self.usable(j) && !self.gram.contains(j) && (self.always(j) || wants)
            })
            .collect();
        if new.is_empty() {
            return;
        }
        if !self.gram.is_wide() && self.goes_wide(self.gram.set.len() + new.len(), lambda) {
            let all = [self.gram.set.as_slice(), &new].concat();
            self.gram.freeze(self.problem, self.likelihood, &all, true);
            self.fresh = true;
        } else {
            self.gram.append(self.problem, self.likelihood, &new);
        }
        self.version += 1;
    }

    /// Whether a working set of `k` features is better served by the model of `wide.rs`.
    fn goes_wide(&self, k: usize, lambda: f64) -> bool {
        self.may_widen && lambda.is_finite() && k as f64 > WIDE * self.problem.n as f64
    }

    /// Newton steps on the working set until its violation is within tolerance.
    fn descend(&mut self, lambda: f64) -> usize {
        let mut pace = Pace::default();
        for step in 0..MAX_STEPS {
            let worst = self
                .gram
                .set
                .iter()
                .map(|&j| self.violation(j, lambda))
                .fold(0.0, f64::max);
            if worst <= self.tolerance {
                return step;
            }
            if pace.outlived(worst, self.fresh) {
                self.refresh(lambda);
            }
            if !self.step(lambda) {
                if !self.fresh {
                    // The stale matrix gave no descent; the exact one should.
                    self.refresh(lambda);
                } else if self.gram.is_wide() {
                    self.may_widen = false;
                    self.refresh(lambda);
                } else if self.damping < MOST_DAMPING {
                    // Copies of columns, or a likelihood without curvature in sight, make it
                    // singular: shorter steps then descend, or nothing can.
                    self.damping = (10.0 * self.damping).max(1e-8);
                    self.gram.damp(self.problem, self.damping);
                    self.version += 1;
                } else {
                    return step;
                }
            }
        }
        MAX_STEPS
    }

    /// Rebuilds the matrix at the current point for the features that matter there.
    fn refresh(&mut self, lambda: f64) {
        let keep: Vec<usize> = self
            .gram
            .set
            .iter()
            .copied()
            .filter(|&j| {
                self.beta[j].abs() > 0.0 || self.gradient[j].abs() >= 0.999 * self.l1(j, lambda)
            })
            .collect();
        self.stale.forget(&self.gram.set);
        let wide = self.goes_wide(keep.len(), lambda);
        self.gram.freeze(self.problem, self.likelihood, &keep, wide);
        self.damping *= 0.1;
        if self.damping > 1e-8 {
            self.gram.damp(self.problem, self.damping);
        } else {
            self.damping = 0.0;
        }
        self.version += 1;
        self.fresh = true;
    }

    /// One proximal Newton step with step halving; false when the objective cannot be lowered.
    fn step(&mut self, lambda: f64) -> bool {
        let set = &self.gram.set;
        let l1: Vec<f64> = set.iter().map(|&j| self.l1(j, lambda)).collect();
        let l2: Vec<f64> = set.iter().map(|&j| self.l2(j, lambda)).collect();
        let mut q: Vec<f64> = set.iter().map(|&j| self.gradient[j]).collect();
        let mut b: Vec<f64> = set.iter().map(|&j| self.beta[j]).collect();
        let limits: Option<Vec<[f64; 2]>> = self
            .problem
            .is_limited()
            .then(|| set.iter().map(|&j| self.problem.limits(j)).collect());
        let penalty = Penalty {
            l1: &l1,
            l2: &l2,
            limits: limits.as_deref(),
        };
        let key = (self.version, lambda.to_bits());
        if self.gram.is_wide() {
            let model = Model {
                problem: self.problem,
                gram: &self.gram,
                penalty: &penalty,
            };
            self.wide.solve(&model, &mut q, &mut b, key);
        } else {
            self.quadratic
                .solve(&self.gram, &mut q, &mut b, &penalty, key);
        }
        let changes: Vec<(usize, f64)> = set
            .iter()
            .zip(&b)
            .map(|(&j, b)| (j, b - self.beta[j]))
            .filter(|(_, d)| d.abs() > 0.0)
            .collect();
        if changes.is_empty() {
            return false;
        }
        let mut direction = vec![0.0; self.problem.n];
        self.problem.add_to(&mut direction, &changes);
        let cost = |size: f64, beta: &[f64]| -> f64 {
            set.iter()
                .zip(l1.iter().zip(&l2))
                .zip(&b)
                .map(|((&j, (l1, l2)), b)| {
                    let v = beta[j] + size * (b - beta[j]);
                    l1 * v.abs() + 0.5 * l2 * v * v
                })
                .sum()
        };
        let total = self.problem.total;
        let cost = |size: f64| cost(size, &self.beta);
        let Some(size) = line_search(self.likelihood, &mut self.eta, &direction, total, cost)
        else {
            return false;
        };
        for (&j, b) in set.iter().zip(&b) {
            // A full step lands on exact zeros; a shortened one stays between.
            self.beta[j] = if size >= 1.0 {
                *b
            } else {
                self.beta[j] + size * (b - self.beta[j])
            };
        }
        self.fresh = false;
        let set = self.gram.set.clone();
        self.problem
            .gradient_of(&set, &self.likelihood.residual, &mut self.gradient);
        true
    }
}

/// Goes along `direction` as far as the objective does not rise, at most once its length, and
/// returns the share; `cost` is the penalty at a share. None, and nothing has moved, if it rises
/// however short the step. Leaves the likelihood evaluated with its derivatives.
pub(super) fn line_search(
    likelihood: &mut Likelihood<'_>,
    eta: &mut [f64],
    direction: &[f64],
    total: f64,
    cost: impl Fn(f64) -> f64,
) -> Option<f64> {
    let before = -likelihood.loglik / total + cost(0.0);
    let longest = direction.iter().fold(0.0f64, |m, d| m.max(d.abs()));
    if !(longest < ABSURD && direction.iter().all(|d| d.is_finite())) {
        return None;
    }
    let start = eta.to_vec();
    let mut size = if longest > LONGEST {
        LONGEST / longest
    } else {
        1.0
    };
    let shortest = 1e-8 * size;
    loop {
        for ((eta, start), d) in eta.iter_mut().zip(&start).zip(direction) {
            *eta = start + size * d;
        }
        let loglik = likelihood.sums(eta);
        let after = -loglik / total + cost(size);
        if after <= before + 1e-13 * before.abs() {
            likelihood.derivatives();
            return Some(size);
        }
        size *= 0.5;
        if size <= shortest {
            eta.copy_from_slice(&start);
            likelihood.evaluate(&start);
            return None;
        }
    }
}
