//! The quadratic model when the working set has outgrown the number of patients.
//!
//! With `H = L L'` the information in the linear predictor, `K = G'G / W` for `G = L'Z`, so that
//! nothing larger than `n x k` is ever formed: a coordinate move costs `O(n)`, and the minimum
//! over a support of size `s` needs by Woodbury's identity the factor of the `n x n` matrix
//! `W I + G_S D^-1 G_S'` alone. Its main part `B = L' (Z_S V^-1 Z_S') L` does not depend on
//! lambda and follows the support by updates of `O(n^2)` per feature that enters or leaves;
//! `D = lambda (1 - alpha) V` must be positive, so there is no such model for the lasso or with
//! unpenalised columns. Reference: Golub & Van Loan (2013), 2.1.4.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};

use super::cholesky::Cholesky;
use super::gram::Gram;
use super::problem::Problem;
use super::quadratic::{Landing, Penalty, SWEEPING, land, settled};
use crate::cox::design::dot;

const MAX_ROUNDS: usize = 60;
const SWEEPS: usize = 3;

/// What is kept of the support from model to model.
pub(super) struct Wide {
    /// Features in `outer` and `inner`, ascending.
    support: Vec<usize>,
    /// `Z_S V^-1 Z_S'`, lower triangle.
    outer: Mat<f64>,
    /// `B`, lower triangle, under the factor `L` of `epoch`.
    inner: Mat<f64>,
    epoch: Option<u64>,
    key: Option<(u64, u64)>,
    factor: Cholesky,
}

/// The model at hand.
pub(super) struct Model<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) gram: &'a Gram,
    pub(super) penalty: &'a Penalty<'a>,
}

impl Model<'_> {
    fn column(&self, c: usize) -> &[f64] {
        self.gram.wide_column(c)
    }

    /// `out += sign * K d`, from `G d`.
    fn add_product(&self, out: &mut [f64], gd: &[f64], sign: f64) {
        let factor = sign / self.problem.total;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (c, out) in out.iter_mut().enumerate() {
                    *out += factor * dot(self.column(c), gd);
                }
            },
        );
    }

    /// `G d` for steps `d` at the places `at`.
    fn combine(&self, at: &[usize], d: &[f64]) -> Vec<f64> {
        let mut gd = vec![0.0; self.problem.n];
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (&c, d) in at.iter().zip(d) {
                    for (s, g) in gd.iter_mut().zip(self.column(c)) {
                        *s += d * g;
                    }
                }
            },
        );
        gd
    }

    /// Coordinate descent: one sweep over all, then over the support until signs stand still.
    fn sweeps(&self, q: &mut [f64], b: &mut [f64]) {
        let mut gd = vec![0.0; self.problem.n];
        let mut list: Vec<usize> = (0..b.len()).collect();
        for sweep in 0..SWEEPS {
            let moved = self.sweep(q, b, &mut gd, &list);
            if sweep == 0 {
                list.retain(|&c| b[c].abs() > 0.0);
            } else if !moved {
                break;
            }
        }
        self.add_product(q, &gd, -1.0);
    }

    fn sweep(&self, q: &[f64], b: &mut [f64], gd: &mut [f64], list: &[usize]) -> bool {
        let inverse = 1.0 / self.problem.total;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let mut moved = false;
                for &c in list {
                    let g = self.column(c);
                    let own = self.gram.wide_diagonal(c);
                    let curvature = own + self.penalty.l2[c];
                    if curvature <= 0.0 {
                        continue;
                    }
                    let target = q[c] - inverse * dot(g, gd) + own * b[c];
                    let next = self.penalty.best(c, target, curvature);
                    let d = next - b[c];
                    if d.abs() > 0.0 {
                        moved |= (next > 0.0) != (b[c] > 0.0) || (next < 0.0) != (b[c] < 0.0);
                        b[c] = next;
                        for (s, g) in gd.iter_mut().zip(g) {
                            *s += d * g;
                        }
                    }
                }
                moved
            },
        )
    }
}

impl Wide {
    pub(super) fn new() -> Self {
        Self {
            support: Vec::new(),
            outer: Mat::zeros(0, 0),
            inner: Mat::zeros(0, 0),
            epoch: None,
            key: None,
            factor: Cholesky::default(),
        }
    }

    /// Moves `b` to the minimum, as `Quadratic::solve` does with a matrix.
    pub(super) fn solve(
        &mut self,
        model: &Model<'_>,
        q: &mut [f64],
        b: &mut [f64],
        key: (u64, u64),
    ) {
        for round in 0..MAX_ROUNDS {
            if round > 0 || self.key != Some(key) {
                model.sweeps(q, b);
            }
            let mut landing = self.finish(model, q, b, key);
            for _ in 0..b.len() {
                if landing != Landing::First || round < SWEEPING {
                    break;
                }
                landing = self.finish(model, q, b, key);
            }
            if landing == Landing::Whole && settled(q, b, model.penalty) {
                return;
            }
        }
        for _ in 0..200 {
            model.sweeps(q, b);
        }
    }

    fn finish(
        &mut self,
        model: &Model<'_>,
        q: &mut [f64],
        b: &mut [f64],
        key: (u64, u64),
    ) -> Landing {
        let penalty = model.penalty;
        let at: Vec<usize> = (0..b.len())
            .filter(|&c| b[c].abs() > 0.0 && !penalty.holds(c, q[c], b[c]))
            .collect();
        if at.is_empty() {
            return Landing::Whole;
        }
        let moved = self.track(model, &at);
        if moved || self.key != Some(key) {
            self.factorise(model);
            self.key = Some(key);
        }
        let rhs: Vec<f64> = at
            .iter()
            .map(|&c| q[c] - penalty.l2[c] * b[c] - penalty.l1[c] * b[c].signum())
            .collect();
        let scaled: Vec<f64> = at
            .iter()
            .zip(&rhs)
            .map(|(&c, r)| r / penalty.l2[c])
            .collect();
        let mut solved = model.combine(&at, &scaled);
        if !self.factor.solve(&mut solved) {
            return Landing::Clamped;
        }
        let step: Vec<f64> = at
            .iter()
            .zip(&rhs)
            .map(|(&c, r)| (r - dot(model.column(c), &solved)) / penalty.l2[c])
            .collect();
        land(q, b, &at, &step, penalty, |d, kd| {
            model.add_product(kd, &model.combine(&at, d), 1.0);
        })
    }

    /// Brings `outer` and `inner` to the support `at`; says whether anything changed.
    fn track(&mut self, model: &Model<'_>, at: &[usize]) -> bool {
        let (problem, gram) = (model.problem, model.gram);
        let n = problem.n;
        let mut next: Vec<usize> = at.iter().map(|&c| gram.set[c]).collect();
        next.sort_unstable();
        let same_epoch = self.epoch == Some(gram.epoch);
        if same_epoch && self.support == next {
            return false;
        }
        if self.outer.nrows() != n {
            self.outer = Mat::zeros(n, n);
            self.inner = Mat::zeros(n, n);
        }
        let without = |a: &[usize], b: &[usize]| -> Vec<usize> {
            let absent = |j: &&usize| b.binary_search(j).is_err();
            a.iter().filter(absent).copied().collect()
        };
        for (features, sign) in [
            (without(&next, &self.support), 1.0),
            (without(&self.support, &next), -1.0),
        ] {
            let root = |j: usize| problem.factor[j].sqrt().recip();
            let z = features.iter().flat_map(|&j| {
                let mut z = problem.column(j).into_owned();
                for z in &mut z {
                    *z *= root(j);
                }
                z
            });
            add_squares(self.outer.as_mut(), &z.collect::<Vec<_>>(), n, sign);
            if same_epoch {
                let g = features.iter().flat_map(|&j| {
                    let column = gram.wide_column(gram.place(j));
                    column.iter().map(move |g| root(j) * g)
                });
                add_squares(self.inner.as_mut(), &g.collect::<Vec<_>>(), n, sign);
            }
        }
        self.support = next;
        if !same_epoch {
            let full = Mat::from_fn(n, n, |i, j| self.outer[(i.max(j), i.min(j))]);
            if let Some(root) = gram.wide_root() {
                let half = &full * root;
                self.inner = root.transpose() * half;
            }
            self.epoch = Some(gram.epoch);
        }
        true
    }

    /// `W I + B / level`.
    fn factorise(&mut self, model: &Model<'_>) {
        let n = model.problem.n;
        let level = model.penalty.l2[0] / model.problem.factor[model.gram.set[0]];
        let inner = &self.inner;
        self.factor.factorise(n, |matrix| {
            for (j, target) in matrix.chunks_exact_mut(n).enumerate() {
                let column = inner.col_as_slice(j);
                for (target, value) in target[j..].iter_mut().zip(&column[j..]) {
                    *target = value / level;
                }
                target[j] += model.problem.total;
            }
        });
    }
}

/// Lower triangle of `target += sign * C C'` for the columns of length `n` in `columns`.
fn add_squares(target: MatMut<'_, f64>, columns: &[f64], n: usize, sign: f64) {
    if columns.is_empty() {
        return;
    }
    let c = MatRef::from_column_major_slice(columns, n, columns.len() / n);
    triangular::matmul(
        target,
        BlockStructure::TriangularLower,
        Accum::Add,
        c,
        BlockStructure::Rectangular,
        c.transpose(),
        BlockStructure::Rectangular,
        sign,
        Par::Seq,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cox::Ties;
    use crate::cox::likelihood::Likelihood;
    use crate::cox::path::CoxPath;
    use crate::cox::path::quadratic::Quadratic;
    use crate::cox::twins::{cohort, noise};

    /// The same model with its matrix and without has the same minimum, from model to model,
    /// as features join and weights are frozen anew.
    #[test]
    fn the_minimum_is_that_of_the_matrix() {
        let (n, p) = (30, 90);
        let mut data = cohort(n, p, 17, true, true);
        data.weights = Some((0..n).map(|i| [1.0, 0.5, 2.0][i % 3]).collect());
        let surv = data.surv().unwrap();
        let factor: Vec<f64> = (0..p).map(|j| 1.0 + 0.25 * noise(18, j)).collect();
        let settings = CoxPath::new().penalty_factor(factor);
        let terms = settings.check(&surv, &data.covariates()).unwrap();
        let problem = Problem::new(&surv, &data.covariates(), true, terms);
        let mut likelihood = Likelihood::new(&surv, Ties::Efron);
        let (mut dense, mut narrow) = (Gram::new(p), Quadratic::default());
        let (mut thin, mut wide) = (Gram::new(p), Wide::new());
        let mut version = 0;
        for round in 0..3 {
            let eta: Vec<f64> = (0..n).map(|i| 0.7 * noise(19 + round, i)).collect();
            likelihood.evaluate(&eta);
            let first: Vec<usize> = (0..60).map(|j| (j * 7 + round as usize) % p).collect();
            dense.freeze(&problem, &likelihood, &first, false);
            thin.freeze(&problem, &likelihood, &first, true);
            assert!(thin.is_wide());
            for more in [vec![], (0..p).collect::<Vec<_>>()] {
                dense.append(&problem, &likelihood, &more);
                thin.append(&problem, &likelihood, &more);
                version += 1;
                let all: Vec<usize> = (0..p).collect();
                let mut gradient = vec![0.0; p];
                problem.gradient_of(&all, &likelihood.residual, &mut gradient);
                for (lambda, limited) in
                    [(0.1f64, false), (0.03, false), (0.01, false), (0.011, true)]
                {
                    let alpha = 0.1;
                    let set = &dense.set;
                    assert_eq!(set, &thin.set);
                    let of = |f: f64| set.iter().map(|&j| f * problem.factor[j]).collect();
                    let limits = limited.then(|| vec![[-0.01, 0.02]; set.len()]);
                    let l1: Vec<f64> = of(lambda * alpha);
                    let l2: Vec<f64> = of(lambda * (1.0 - alpha));
                    let penalty = Penalty {
                        l1: &l1,
                        l2: &l2,
                        limits: limits.as_deref(),
                    };
                    let start = || -> (Vec<f64>, Vec<f64>) {
                        let q = set.iter().map(|&j| gradient[j]).collect();
                        (q, vec![0.0; set.len()])
                    };
                    let key = (version, lambda.to_bits());
                    let (mut q, mut want) = start();
                    narrow.solve(&dense, &mut q, &mut want, &penalty, key);
                    let (mut q, mut got) = start();
                    let model = Model {
                        problem: &problem,
                        gram: &thin,
                        penalty: &penalty,
                    };
                    wide.solve(&model, &mut q, &mut got, key);
                    assert!(want.iter().filter(|b| b.abs() > 0.0).count() > 10);
                    for (a, b) in got.iter().zip(&want) {
                        assert!((a - b).abs() < 1e-9, "{a} {b}");
                    }
                }
            }
        }
    }
}
