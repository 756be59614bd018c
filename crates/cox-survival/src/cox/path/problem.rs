//! The penalised problem in standardised coordinates.
//!
//! Minimises `-l(X b) / W + lambda sum_j v_j (alpha |b_j| + (1 - alpha)/2 b_j^2)` with `W` the
//! sum of the case weights and `l` the log partial likelihood: glmnet's scale.

use rayon::prelude::*;

use crate::covariates::Covariates;
use crate::cox::design::dot;
use crate::surv::Surv;

/// Columns handled by one task of a parallel pass over the features.
const COLUMNS: usize = 64;

/// Standardised features, column-major by position, and their penalty factors.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) n: usize,
    pub(super) p: usize,
    /// `z_j = (x_j - mean_j) / scale_j`; a constant column is all zeros.
    pub(super) z: Vec<f64>,
    pub(super) scale: Vec<f64>,
    pub(super) mean: Vec<f64>,
    /// Penalty factors, rescaled to sum to the number of columns.
    pub(super) factor: Vec<f64>,
    /// Sum of the case weights.
    pub(super) total: f64,
}

impl Problem {
    pub(super) fn new(
        surv: &Surv,
        x: &Covariates<'_>,
        standardize: bool,
        factor: Vec<f64>,
    ) -> Self {
        let (n, p) = (x.n(), x.p());
        let weights: Option<Vec<f64>> = surv
            .weights()
            .map(|w| surv.sorted.order.iter().map(|&i| w[i as usize]).collect());
        let total = weights.as_ref().map_or(n as f64, |w| w.iter().sum());
        let mut z = vec![0.0; n * p];
        let moments: Vec<(f64, f64)> = z
            .par_chunks_mut(n * COLUMNS)
            .enumerate()
            .flat_map_iter(|(block, z)| {
                let first = block * COLUMNS;
                x.gather_block(&surv.sorted.order, first, z);
                z.chunks_exact_mut(n)
                    .map(|z| standardise(z, weights.as_deref(), total, standardize))
                    .collect::<Vec<_>>()
            })
            .collect();
        let (mean, scale) = moments.into_iter().unzip();
        Self {
            n,
            p,
            z,
            scale,
            mean,
            factor,
            total,
        }
    }

    #[inline]
    pub(super) fn column(&self, j: usize) -> &[f64] {
        &self.z[j * self.n..(j + 1) * self.n]
    }

    /// `grad_j = z_j' residual / W` of the columns `which`, into `gradient`.
    pub(super) fn gradient_of(&self, which: &[usize], residual: &[f64], gradient: &mut [f64]) {
        let inverse = 1.0 / self.total;
        let one = |j: usize| dot(self.column(j), residual) * inverse;
        if which.len() * self.n < 1 << 16 {
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for &j in which {
                        gradient[j] = one(j);
                    }
                },
            );
        } else {
            let values: Vec<f64> = which
                .par_chunks(COLUMNS)
                .flat_map_iter(|which| {
                    pulp::Arch::new().dispatch(
                        #[inline(always)]
                        || which.iter().map(|&j| one(j)).collect::<Vec<_>>(),
                    )
                })
                .collect();
            for (&j, value) in which.iter().zip(values) {
                gradient[j] = value;
            }
        }
    }

    /// `eta += sum_j change_j z_j`.
    pub(super) fn add_to(&self, eta: &mut [f64], changes: &[(usize, f64)]) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for &(j, change) in changes {
                    for (e, z) in eta.iter_mut().zip(self.column(j)) {
                        *e += change * z;
                    }
                }
            },
        );
    }
}

/// Centres and scales one column in place; returns its mean and scale.
fn standardise(z: &mut [f64], weights: Option<&[f64]>, total: f64, scale: bool) -> (f64, f64) {
    pulp::Arch::new().dispatch(Standardise {
        z,
        weights,
        total,
        scale,
    })
}

struct Standardise<'a> {
    z: &'a mut [f64],
    weights: Option<&'a [f64]>,
    total: f64,
    scale: bool,
}

impl pulp::WithSimd for Standardise<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> (f64, f64) {
        let Self {
            z,
            weights,
            total,
            scale,
        } = self;
        let mut mean = lanes(z, weights, |v| v) / total;
        mean += lanes(z, weights, |v| v - mean) / total;
        let sd = (lanes(z, weights, |v| (v - mean) * (v - mean)) / total).sqrt();
        if sd <= 1e-14 * mean.abs() || sd < f64::MIN_POSITIVE {
            z.fill(0.0);
            return (mean, 0.0);
        }
        let scale = if scale { sd } else { 1.0 };
        let inverse = 1.0 / scale;
        for v in z.iter_mut() {
            *v = (*v - mean) * inverse;
        }
        (mean, scale)
    }
}

/// `sum w f(z)` in eight interleaved sums, so that it vectorises and its order is fixed.
#[inline(always)]
fn lanes(z: &[f64], weights: Option<&[f64]>, f: impl Fn(f64) -> f64) -> f64 {
    let cut = z.len() - z.len() % 8;
    let mut sums = [0.0; 8];
    match weights {
        None => {
            for z in z[..cut].chunks_exact(8) {
                for k in 0..8 {
                    sums[k] += f(z[k]);
                }
            }
        }
        Some(w) => {
            for (z, w) in z[..cut].chunks_exact(8).zip(w.chunks_exact(8)) {
                for k in 0..8 {
                    sums[k] += w[k] * f(z[k]);
                }
            }
        }
    }
    let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
    let tail: f64 = (cut..z.len()).map(|i| weight(i) * f(z[i])).sum();
    sums.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardised_columns_have_weighted_mean_zero_and_variance_one() {
        let surv = Surv::builder(&[1.0, 2.0, 3.0, 4.0], &[true; 4])
            .weights(&[1.0, 2.0, 0.5, 0.5])
            .build()
            .unwrap();
        let values = [1.0, 5.0, 2.0, 7.0, 3.0, 3.0, 3.0, 3.0];
        let x = Covariates::from_columns(&values, 4, 2).unwrap();
        let problem = Problem::new(&surv, &x, true, vec![1.0; 2]);
        let w = [0.5, 0.5, 2.0, 1.0]; // by position: latest time first
        let z = problem.column(0);
        let mean: f64 = z.iter().zip(w).map(|(z, w)| z * w).sum();
        let square: f64 = z.iter().zip(w).map(|(z, w)| z * z * w).sum();
        assert!(mean.abs() < 1e-14 && (square / 4.0 - 1.0).abs() < 1e-14);
        assert!(problem.column(1).iter().all(|z| z.abs() < 1e-300) && problem.scale[1] < 1e-300);
    }
}
