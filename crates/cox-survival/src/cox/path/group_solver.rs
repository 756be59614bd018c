//! A path of groups: as `solver.rs`, with groups in the place of columns.

use std::ops::Range;

use super::gram::Gram;
use super::group_quadratic::{Block, Kernels, Model, norm, violation};
use super::groups::Groups;
use super::problem::Problem;
use super::solver::{FLOOR, MAX_STEPS, Pace, Solved, WIDE, line_search};
use crate::cox::likelihood::Likelihood;

/// The quadratic model is solved to this share of the violation at hand.
const INNER: f64 = 0.02;

pub(super) struct GroupSolver<'a, 'b> {
    problem: &'a Problem<'a>,
    pub(super) likelihood: &'a mut Likelihood<'b>,
    /// Usable columns of each group.
    members: Vec<Vec<usize>>,
    weight: &'a [f64],
    alpha: f64,
    tolerance: f64,
    floor: f64,
    /// As in `Solver`.
    share: f64,
    pub(super) beta: Vec<f64>,
    eta: Vec<f64>,
    gradient: Vec<f64>,
    gram: Gram,
    /// Groups of the working set, their places there, and the bounds of their blocks.
    set: Vec<(usize, Range<usize>, f64)>,
    inside: Vec<bool>,
    /// Of the groups in `set`.
    kernels: Kernels,
    fresh: bool,
}

impl<'a, 'b> GroupSolver<'a, 'b> {
    /// Starts at zero penalised coefficients; unpenalised ones are fitted.
    pub(super) fn new(
        problem: &'a Problem<'a>,
        likelihood: &'a mut Likelihood<'b>,
        groups: &'a Groups,
        alpha: f64,
        tolerance: f64,
    ) -> Self {
        let eta = problem.offset.clone();
        likelihood.evaluate(&eta);
        let usable = |group: &Vec<usize>| -> Vec<usize> {
            let varies = |&&j: &&usize| problem.scale[j] > 0.0;
            group.iter().filter(varies).copied().collect()
        };
        let mut solver = Self {
            problem,
            likelihood,
            members: groups.members.iter().map(usable).collect(),
            weight: &groups.weight,
            alpha,
            tolerance,
            floor: f64::MIN_POSITIVE,
            share: 1.0,
            beta: vec![0.0; problem.p],
            eta,
            gradient: vec![0.0; problem.p],
            gram: Gram::new(problem.p),
            set: Vec::new(),
            inside: vec![false; groups.members.len()],
            kernels: Vec::new(),
            fresh: true,
        };
        solver.freeze(&[], false);
        solver.full_gradient();
        solver
    }

    fn full_gradient(&mut self) {
        let all: Vec<usize> = (0..self.problem.p).collect();
        let residual = &self.likelihood.residual;
        self.problem.gradient_of(&all, residual, &mut self.gradient);
    }

    fn values(&self, of: &[f64], g: usize) -> Vec<f64> {
        self.members[g].iter().map(|&j| of[j]).collect()
    }

    /// The smallest lambda at which every penalised group is zero.
    pub(super) fn lambda_max(&mut self) -> f64 {
        if self.weight.iter().any(|&w| w <= 0.0) {
            self.solve(f64::INFINITY);
            self.full_gradient();
        }
        let alpha = self.alpha.max(1e-3);
        let (first, lambda) = (0..self.members.len())
            .filter(|&g| self.weight[g] > 0.0)
            .map(|g| {
                let pull = norm(&self.values(&self.gradient, g));
                (g, pull / (alpha * self.weight[g]))
            })
            .fold(
                (0, 0.0),
                |best, next| if next.1 > best.1 { next } else { best },
            );
        // Rounding of sums that cancel is no gradient.
        let size: f64 = self.likelihood.curvature.iter().map(|c| c.abs()).sum();
        if lambda <= 1e-13 * size / self.problem.total {
            return 0.0;
        }
        self.floor = FLOOR * lambda;
        self.share = self.weight[first].min(1.0);
        lambda
    }

    /// Solves at `lambda`, warm from the last solution.
    pub(super) fn solve(&mut self, lambda: f64) -> Solved {
        let mut steps = 0;
        loop {
            self.enter(lambda);
            steps += self.descend(lambda);
            if !lambda.is_finite() || steps >= MAX_STEPS {
                break;
            }
            self.full_gradient();
            let wants = |g: usize| !self.inside[g] && self.violation(g, lambda) > self.tolerance;
            if !(0..self.members.len()).any(wants) {
                break;
            }
        }
        let kkt = (0..self.members.len())
            .map(|g| self.violation(g, lambda))
            .fold(0.0, f64::max);
        Solved { kkt, steps }
    }

    fn penalty(&self, g: usize, lambda: f64) -> [f64; 2] {
        if self.weight[g] > 0.0 {
            let level = lambda * self.weight[g];
            [level * self.alpha, level * (1.0 - self.alpha)]
        } else {
            [0.0; 2]
        }
    }

    fn unit(&self, lambda: f64) -> f64 {
        if lambda.is_finite() {
            lambda.max(self.floor) * self.alpha.max(1e-3) * self.share
        } else {
            1.0
        }
    }

    /// How far a group is from its optimality condition, relative to `lambda alpha`.
    fn violation(&self, g: usize, lambda: f64) -> f64 {
        if !lambda.is_finite() && self.weight[g] > 0.0 {
            return 0.0;
        }
        let [l1, l2] = self.penalty(g, lambda);
        let (q, b) = (self.values(&self.gradient, g), self.values(&self.beta, g));
        violation(&q, &b, l1, l2) / self.unit(lambda)
    }

    fn enter(&mut self, lambda: f64) {
        let new: Vec<usize> = (0..self.members.len())
            .filter(|&g| {
                let free = self.weight[g] <= 0.0;
                !self.inside[g] && (free || self.violation(g, lambda) > 0.0)
            })
            .collect();
        if new.is_empty() {
            return;
        }
        let columns: Vec<usize> = new.iter().flat_map(|&g| self.members[g].clone()).collect();
        if !self.gram.is_wide() && self.goes_wide(self.gram.set.len() + columns.len(), lambda) {
            let mut all: Vec<usize> = self.set.iter().map(|s| s.0).collect();
            all.extend(new);
            self.freeze(&all, true);
            return;
        }
        self.gram.append(self.problem, self.likelihood, &columns);
        for g in new {
            self.place(g);
        }
    }

    fn goes_wide(&self, k: usize, lambda: f64) -> bool {
        lambda.is_finite() && k as f64 > WIDE * self.problem.n as f64
    }

    /// Notes where a group whose columns have been appended lies.
    fn place(&mut self, g: usize) {
        let from = self.set.last().map_or(0, |s| s.1.end);
        let at = from..from + self.members[g].len();
        let bound = bound(&self.gram, &at, self.problem.total);
        self.set.push((g, at, bound));
        self.inside[g] = true;
    }

    fn freeze(&mut self, groups: &[usize], wide: bool) {
        let columns: Vec<usize> = groups
            .iter()
            .flat_map(|&g| self.members[g].clone())
            .collect();
        self.gram
            .freeze(self.problem, self.likelihood, &columns, wide);
        self.set.clear();
        self.kernels.clear();
        self.inside.fill(false);
        for &g in groups {
            self.place(g);
        }
        self.fresh = true;
    }

    fn refresh(&mut self, lambda: f64) {
        let keep: Vec<usize> = self
            .set
            .iter()
            .map(|s| s.0)
            .filter(|&g| {
                let near = 0.999 * self.penalty(g, lambda)[0];
                norm(&self.values(&self.beta, g)) > 0.0
                    || norm(&self.values(&self.gradient, g)) >= near
            })
            .collect();
        let columns: usize = keep.iter().map(|&g| self.members[g].len()).sum();
        self.freeze(&keep, self.goes_wide(columns, lambda));
    }

    /// Newton steps on the working set until its violation is within tolerance.
    fn descend(&mut self, lambda: f64) -> usize {
        let mut pace = Pace::default();
        for step in 0..MAX_STEPS {
            let worst = self
                .set
                .iter()
                .map(|s| self.violation(s.0, lambda))
                .fold(0.0, f64::max);
            if worst <= self.tolerance {
                return step;
            }
            if pace.outlived(worst, self.fresh) {
                self.refresh(lambda);
            }
            if !self.step(lambda, worst) {
                if self.fresh {
                    return step;
                }
                // The old matrix gave no descent; the exact one should.
                self.refresh(lambda);
            }
        }
        MAX_STEPS
    }

    /// One proximal Newton step with step halving; false when the objective cannot be lowered.
    fn step(&mut self, lambda: f64, worst: f64) -> bool {
        let blocks: Vec<Block> = self
            .set
            .iter()
            .map(|(g, at, bound)| {
                let [l1, l2] = self.penalty(*g, lambda);
                Block {
                    at: at.clone(),
                    l1,
                    l2,
                    bound: *bound,
                }
            })
            .collect();
        let set = self.gram.set.clone();
        let mut q: Vec<f64> = set.iter().map(|&j| self.gradient[j]).collect();
        let old: Vec<f64> = set.iter().map(|&j| self.beta[j]).collect();
        let mut b = old.clone();
        let target = (INNER * worst).max(0.1 * self.tolerance) * self.unit(lambda);
        let mut model = Model {
            gram: &self.gram,
            blocks: &blocks,
            kernels: &mut self.kernels,
            total: self.problem.total,
        };
        model.minimise(&mut q, &mut b, target);
        let changes: Vec<(usize, f64)> = set
            .iter()
            .zip(b.iter().zip(&old))
            .map(|(&j, (b, old))| (j, b - old))
            .filter(|(_, d)| d.abs() > 0.0)
            .collect();
        if changes.is_empty() {
            return false;
        }
        let mut direction = vec![0.0; self.problem.n];
        self.problem.add_to(&mut direction, &changes);
        let between = |size: f64, c: usize| old[c] + size * (b[c] - old[c]);
        let cost = |size: f64| -> f64 {
            let one = |block: &Block| {
                let square: f64 = block.at.clone().map(|c| between(size, c).powi(2)).sum();
                block.l1 * square.sqrt() + 0.5 * block.l2 * square
            };
            blocks.iter().map(one).sum()
        };
        let total = self.problem.total;
        let Some(size) = line_search(self.likelihood, &mut self.eta, &direction, total, cost)
        else {
            return false;
        };
        for (c, &j) in set.iter().enumerate() {
            self.beta[j] = if size >= 1.0 { b[c] } else { between(size, c) };
        }
        self.fresh = false;
        self.problem
            .gradient_of(&set, &self.likelihood.residual, &mut self.gradient);
        true
    }
}

/// Not less than the largest eigenvalue of a block of `K`, or hardly: powers of the block on one
/// vector, and a margin; never more than the root of its sum of squares. The line search forgives
/// what is missing.
fn bound(gram: &Gram, at: &Range<usize>, total: f64) -> f64 {
    let product = |v: &[f64]| -> Vec<f64> {
        if gram.is_wide() {
            let mut gv = vec![0.0; gram.rows()];
            for (c, v) in at.clone().zip(v) {
                for (s, g) in gv.iter_mut().zip(gram.wide_column(c)) {
                    *s += v * g;
                }
            }
            let back = |c: usize| {
                gram.wide_column(c)
                    .iter()
                    .zip(&gv)
                    .map(|(g, v)| g * v)
                    .sum()
            };
            at.clone()
                .map(|c| {
                    let s: f64 = back(c);
                    s / total
                })
                .collect()
        } else {
            let row = |c: usize| gram.column(c)[at.clone()].iter().zip(v).map(|(k, v)| k * v);
            at.clone().map(|c| row(c).sum()).collect()
        }
    };
    let diagonal = |c: usize| {
        if gram.is_wide() {
            gram.wide_diagonal(c)
        } else {
            gram.column(c)[c]
        }
    };
    if at.len() == 1 {
        return diagonal(at.start);
    }
    let trace: f64 = at.clone().map(diagonal).sum();
    // Not orthogonal to any direction but by accident.
    let mut v: Vec<f64> = (0..at.len())
        .map(|i| 1.0 + 0.1 * ((i * 37 % 11) as f64))
        .collect();
    let mut largest = 0.0;
    for _ in 0..25 {
        let size = norm(&v);
        if size <= 0.0 {
            break;
        }
        for v in &mut v {
            *v /= size;
        }
        v = product(&v);
        largest = norm(&v);
    }
    (1.2 * largest).min(trace)
}
