//! The Frechet distance of two Gaussians.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Spec};

use super::features::Features;
use crate::error::{Error, Result};

/// $|\mu_a - \mu_b|^2 + \operatorname{tr}(\Sigma_a + \Sigma_b - 2 (\Sigma_a \Sigma_b)^{1/2})$.
///
/// Means and covariances (divided by $n$) of the two sets, in double precision. The trace of the
/// root is the sum of the roots of the eigenvalues of the symmetric matrix
/// $\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2}$, so that sets with fewer vectors than dimensions need
/// no special treatment (Heusel et al. 2017, equation 6). Cost: $O(n d^2 + d^3)$, one thread.
///
/// # Errors
///
/// [`Error::Argument`] for sets of different dimension or fewer than two vectors, or if the
/// eigenvalues cannot be found.
pub fn frechet_distance(a: &Features, b: &Features) -> Result<f64> {
    a.check(b, 2)?;
    let (mean_a, cov_a) = moments(a);
    let (mean_b, cov_b) = moments(b);
    let apart: f64 = mean_a
        .iter()
        .zip(&mean_b)
        .map(|(x, y)| (x - y).powi(2))
        .sum();
    let root = root(&cov_a)?;
    let product = product(
        product(root.as_ref(), cov_b.as_ref()).as_ref(),
        root.as_ref(),
    );
    let (values, _) = eigen(&product, false)?;
    let shared: f64 = values.iter().map(|v| v.max(0.0).sqrt()).sum();
    let trace = |m: &Mat<f64>| (0..m.nrows()).map(|i| m[(i, i)]).sum::<f64>();
    Ok(apart + trace(&cov_a) + trace(&cov_b) - 2.0 * shared)
}

fn moments(features: &Features) -> (Vec<f64>, Mat<f64>) {
    let (n, d) = (features.len(), features.dim());
    let mut mean = vec![0.0; d];
    for row in features.rows() {
        for (m, v) in mean.iter_mut().zip(row) {
            *m += f64::from(*v);
        }
    }
    for m in &mut mean {
        *m /= n as f64;
    }
    let centred = Mat::from_fn(n, d, |i, j| f64::from(features.row(i)[j]) - mean[j]);
    let mut cov = Mat::zeros(d, d);
    matmul(
        cov.as_mut(),
        Accum::Replace,
        centred.transpose(),
        centred.as_ref(),
        1.0 / n as f64,
        Par::Seq,
    );
    (mean, cov)
}

fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    out
}

/// The symmetric root of a positive semi-definite matrix.
fn root(m: &Mat<f64>) -> Result<Mat<f64>> {
    let (values, vectors) = eigen(m, true)?;
    let scaled = Mat::from_fn(m.nrows(), m.ncols(), |i, j| {
        vectors[(i, j)] * values[j].max(0.0).sqrt()
    });
    Ok(product(scaled.as_ref(), vectors.transpose()))
}

fn eigen(m: &Mat<f64>, vectors: bool) -> Result<(Vec<f64>, Mat<f64>)> {
    let fault = |reason: &str| Error::Argument {
        name: "features",
        reason: format!("the covariances have no eigenvalues: {reason}"),
    };
    let d = m.nrows();
    let kind = if vectors {
        ComputeEigenvectors::Yes
    } else {
        ComputeEigenvectors::No
    };
    let scratch = self_adjoint_evd_scratch::<f64>(d, kind, Par::Seq, Spec::default());
    let mut memory = MemBuffer::try_new(scratch).map_err(|_| fault("out of memory"))?;
    let mut values = faer::diag::Diag::<f64>::zeros(d);
    let mut basis = Mat::zeros(d, d);
    self_adjoint_evd(
        m.as_ref(),
        values.as_mut(),
        vectors.then_some(basis.as_mut()),
        Par::Seq,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .map_err(|_| fault("no convergence"))?;
    let values = values.column_vector().iter().copied().collect();
    Ok((values, basis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifted_and_scaled_sets_have_the_distance_worked_out_by_hand() {
        // Corners of a square: mean 0, covariance the identity.
        let square = |scale: [f32; 2], shift: f32| {
            let corners = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0_f32]];
            let values = corners
                .iter()
                .flat_map(|c| [c[0] * scale[0] + shift, c[1] * scale[1]]);
            Features::new(values.collect(), 2).unwrap()
        };
        let unit = square([1.0, 1.0], 0.0);
        assert!(frechet_distance(&unit, &unit).unwrap().abs() < 1e-12);
        let moved = frechet_distance(&unit, &square([1.0, 1.0], 3.0)).unwrap();
        assert!((moved - 9.0).abs() < 1e-12);
        // (2 - 1)^2 + (0 - 1)^2.
        let scaled = frechet_distance(&unit, &square([2.0, 0.0], 0.0)).unwrap();
        assert!((scaled - 2.0).abs() < 1e-12, "{scaled}");
    }

    #[test]
    fn fewer_vectors_than_dimensions_are_no_obstacle() {
        let a = Features::new((0..30).map(|i| (i as f32 * 0.7).sin()).collect(), 10).unwrap();
        let b = Features::new((0..40).map(|i| (i as f32 * 0.3).cos()).collect(), 10).unwrap();
        let (there, back) = (frechet_distance(&a, &b), frechet_distance(&b, &a));
        let (there, back) = (there.unwrap(), back.unwrap());
        assert!((there - back).abs() < 1e-6 && there > 0.0, "{there} {back}");
    }
}
