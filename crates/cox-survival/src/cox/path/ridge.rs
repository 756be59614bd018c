//! Ridge with more features than rows, in as many dimensions as there are rows.
//!
//! With `Z Z' = Q S Q'` the penalised fit depends on `Z` only through `U = Q sqrt(S)`: the ridge
//! on `U` has the same linear predictor and likelihood, and `b = Z' Q S^{-1/2} theta`. Penalty
//! factors scale the columns first; unpenalised columns stay beside `U` as they are.
//! Cost: `n^2 p / 2` for `Z Z'` and `n p` per solution carried back, so `p` enters linearly once.
//! Reference: Hastie & Tibshirani (2004), Biostatistics 5:329.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par, Spec};

use super::Solution;
use super::problem::{BLOCK, Problem};
use super::solver::Start;
use crate::error::{Error, Result};

/// Replaces the certificates of the small problem by those of the original features: how far
/// `z_j' r / W - lambda v_j b_j` is from 0, in the unit of every path. Cost: `n p` per lambda.
pub(super) fn certify(problem: &Problem<'_>, beta: &Mat<f64>, raw: &mut [Solution], start: Start) {
    let residuals = Mat::from_fn(problem.n, raw.len(), |i, s| {
        raw[s].residual[i] / problem.total
    });
    let gradient = problem.transposed_times(residuals.as_ref());
    for (s, solution) in raw.iter_mut().enumerate() {
        let unit = start.unit(solution.lambda, 0.0);
        solution.kkt = (0..problem.p)
            .filter(|&j| problem.scale[j] > 0.0)
            .map(|j| {
                let pull = solution.lambda * problem.factor[j] * beta[(j, s)];
                let relative = (gradient[(j, s)] - pull).abs() / unit;
                if relative.is_nan() {
                    f64::INFINITY
                } else {
                    relative
                }
            })
            .fold(0.0, f64::max);
    }
}

/// The small problem and the way back.
pub(super) struct Compressed {
    pub(super) problem: Problem<'static>,
    /// `Q S^{-1/2}`, `[n, r]`.
    back: Mat<f64>,
    unpenalised: Vec<usize>,
}

/// Whether the detour pays.
pub(super) fn applies(problem: &Problem<'_>, alpha: f64) -> bool {
    alpha <= 0.0 && problem.p > problem.n && !problem.is_limited()
}

impl Compressed {
    pub(super) fn new(problem: &Problem<'_>) -> Result<Self> {
        let n = problem.n;
        let penalised = |j: &usize| problem.factor[*j] > 0.0 && problem.scale[*j] > 0.0;
        let mut kernel = Mat::<f64>::zeros(n, n);
        let columns: Vec<usize> = (0..problem.p).filter(penalised).collect();
        let mut block = Vec::with_capacity(n * BLOCK);
        for columns in columns.chunks(BLOCK) {
            block.clear();
            for &j in columns {
                let root = problem.factor[j].sqrt().recip();
                block.extend(problem.column(j).iter().map(|z| root * z));
            }
            let z = MatRef::from_column_major_slice(&block, n, columns.len());
            triangular::matmul(
                kernel.as_mut(),
                BlockStructure::TriangularLower,
                Accum::Add,
                z,
                BlockStructure::Rectangular,
                z.transpose(),
                BlockStructure::Rectangular,
                1.0,
                Par::Seq,
            );
        }
        let (q, s) = eigen(&kernel)?;
        let largest = (0..n).map(|k| s[k]).fold(0.0, f64::max);
        let kept: Vec<usize> = (0..n).filter(|&k| s[k] > 1e-12 * largest).collect();
        let mut z = Vec::with_capacity(n * kept.len());
        for &k in &kept {
            let root = s[k].sqrt();
            z.extend((0..n).map(|i| q[(i, k)] * root));
        }
        let back = Mat::from_fn(n, kept.len(), |i, c| q[(i, kept[c])] / s[kept[c]].sqrt());
        let mut factor = vec![1.0; kept.len()];
        let unpenalised: Vec<usize> = (0..problem.p)
            .filter(|&j| problem.factor[j] <= 0.0 && problem.scale[j] > 0.0)
            .collect();
        for &j in &unpenalised {
            z.extend_from_slice(&problem.column(j));
            factor.push(0.0);
        }
        Ok(Self {
            problem: problem.rotated(z, factor),
            back,
            unpenalised,
        })
    }

    /// Standardised coefficients of the original features for several solutions of the small
    /// problem, `[p, solutions]`.
    pub(super) fn restore(&self, problem: &Problem<'_>, raw: &[Solution]) -> Mat<f64> {
        let r = self.back.ncols();
        let dense = |s: &Solution| s.beta.dense(self.problem.p);
        let solutions: Vec<Vec<f64>> = raw.iter().map(dense).collect();
        let theta = Mat::from_fn(r, solutions.len(), |k, s| solutions[s][k]);
        let rows = &self.back * &theta;
        let mut beta = problem.transposed_times(rows.as_ref());
        for s in 0..solutions.len() {
            for j in 0..problem.p {
                let factor = problem.factor[j];
                beta[(j, s)] = if factor > 0.0 {
                    beta[(j, s)] / factor
                } else {
                    0.0
                };
            }
            for (k, &j) in self.unpenalised.iter().enumerate() {
                beta[(j, s)] = solutions[s][r + k];
            }
        }
        beta
    }
}

/// Eigenvectors and eigenvalues of a symmetric matrix given by its lower triangle.
fn eigen(kernel: &Mat<f64>) -> Result<(Mat<f64>, Vec<f64>)> {
    let n = kernel.nrows();
    let failed = || Error::NoConvergence {
        what: "eigenvalues of Z Z'".to_owned(),
        iterations: 0,
    };
    let mut q = Mat::<f64>::zeros(n, n);
    let mut s = Diag::<f64>::zeros(n);
    // In parallel the sums would depend on the number of threads, and the bits with them.
    let par = Par::Seq;
    let scratch =
        self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, par, Spec::default());
    let mut memory = MemBuffer::try_new(scratch).map_err(|_| failed())?;
    self_adjoint_evd(
        kernel.as_ref(),
        s.as_mut(),
        Some(q.as_mut()),
        par,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .map_err(|_| failed())?;
    Ok((q, s.column_vector().iter().copied().collect()))
}

#[cfg(test)]
mod tests {
    use crate::{Covariates, CoxPath, Surv};

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (n, p) = (100, 150);
        let x: Vec<f64> = (0..n * p)
            .map(|k| ((k * k * 7919 + k * 31) % 10_007) as f64 / 5003.0 - 1.0)
            .collect();
        let time: Vec<f64> = (0..n).map(|i| (x[i * p] - x[i * p + 1]).exp()).collect();
        let event: Vec<bool> = (0..n).map(|i| i % 3 > 0).collect();
        let surv = Surv::new(&time, &event).unwrap();
        let x = Covariates::from_rows(&x, n, p).unwrap();
        let fit = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let path = CoxPath::new().alpha(0.0).n_lambda(5);
            let fit = pool
                .build()
                .unwrap()
                .install(|| path.fit(&surv, &x))
                .unwrap();
            let bits = |k: usize| fit.beta(k).value.iter().map(|b| b.to_bits()).collect();
            (0..5).map(bits).collect::<Vec<Vec<u64>>>()
        };
        let one = fit(1);
        assert!(one[4].len() == p);
        assert_eq!(one, fit(2));
        assert_eq!(one, fit(3));
    }
}
