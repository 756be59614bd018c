//! The covariates in sorted order, centred and scaled once per fit.

use rayon::prelude::*;

use crate::covariates::Covariates;
use crate::error::{Error, Result};
use crate::surv::Surv;

/// Rows per block of a fixed partition: sums over blocks do not depend on the number of threads.
pub(crate) const ROWS: usize = 2048;

/// Row-major `[n, p]` matrix by position; column `j` holds `(x_j - mean_j) / scale_j`.
///
/// Centring keeps the information matrix, a difference of two products, from losing digits.
#[derive(Debug, Clone)]
pub(crate) struct Design {
    pub(crate) n: usize,
    pub(crate) p: usize,
    pub(crate) rows: Vec<f64>,
    pub(crate) mean: Vec<f64>,
    pub(crate) scale: Vec<f64>,
}

impl Design {
    /// Checks the covariates against the outcome and copies them.
    pub(crate) fn new(surv: &Surv, x: &Covariates<'_>) -> Result<Self> {
        x.check(surv.n())?;
        let (n, p) = (x.n(), x.p());
        let mut rows = vec![0.0; n * p];
        rows.par_chunks_mut(ROWS * p)
            .enumerate()
            .for_each(|(block, rows)| {
                for (row, &i) in rows
                    .chunks_exact_mut(p)
                    .zip(&surv.sorted.order[block * ROWS..])
                {
                    for (j, value) in row.iter_mut().enumerate() {
                        *value = x.get(i as usize, j);
                    }
                }
            });
        let used = surv
            .sorted
            .order
            .iter()
            .map(|&i| surv.weight(i as usize) > 0.0);
        let (mean, scale) = moments(&rows, p, used.collect::<Vec<_>>().as_slice());
        for (j, &s) in scale.iter().enumerate() {
            // A spread that is rounding noise of the mean is no spread.
            if s <= 1e-14 * mean[j].abs() || s < f64::MIN_POSITIVE {
                return Err(Error::ConstantColumn { column: x.name(j) });
            }
            if !s.is_finite() || !mean[j].is_finite() {
                return Err(Error::Overflow { column: x.name(j) });
            }
        }
        rows.par_chunks_mut(p)
            .zip(&surv.sorted.order)
            .for_each(|(row, &i)| {
                if surv.weight(i as usize) > 0.0 {
                    for ((value, &m), &s) in row.iter_mut().zip(&mean).zip(&scale) {
                        *value = (*value - m) / s;
                    }
                } else {
                    // As if absent, however wild its values.
                    row.fill(0.0);
                }
            });
        Ok(Self {
            n,
            p,
            rows,
            mean,
            scale,
        })
    }

    /// `eta = X beta` by position, with `beta` in the scaled units.
    pub(crate) fn times(&self, beta: &[f64], eta: &mut [f64]) {
        let p = self.p;
        eta.par_chunks_mut(ROWS)
            .zip(self.rows.par_chunks(ROWS * p))
            .for_each(|(eta, rows)| {
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        for (e, row) in eta.iter_mut().zip(rows.chunks_exact(p)) {
                            *e = dot(row, beta);
                        }
                    },
                );
            });
    }
}

/// Dot product in eight interleaved sums, so that it vectorises and its order is fixed.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    let cut = n - n % 8;
    let mut sums = [0.0; 8];
    for (x, y) in a[..cut].chunks_exact(8).zip(b[..cut].chunks_exact(8)) {
        for k in 0..8 {
            sums[k] += x[k] * y[k];
        }
    }
    let mut tail = 0.0;
    for (x, y) in a[cut..n].iter().zip(&b[cut..n]) {
        tail += x * y;
    }
    let pairs = [
        sums[0] + sums[4],
        sums[1] + sums[5],
        sums[2] + sums[6],
        sums[3] + sums[7],
    ];
    (pairs[0] + pairs[2]) + (pairs[1] + pairs[3]) + tail
}

/// Mean and standard deviation (divisor: number of used rows) of every column, by blocks.
fn moments(rows: &[f64], p: usize, used: &[bool]) -> (Vec<f64>, Vec<f64>) {
    let count = used.iter().filter(|&&u| u).count().max(1) as f64;
    let blocked = |f: &(dyn Fn(usize, f64) -> f64 + Sync)| -> Vec<f64> {
        let blocks: Vec<Vec<f64>> = rows
            .par_chunks(ROWS * p)
            .zip(used.par_chunks(ROWS))
            .map(|(rows, used)| {
                let mut sum = vec![0.0; p];
                for (row, _) in rows.chunks_exact(p).zip(used).filter(|(_, u)| **u) {
                    for (j, (s, &v)) in sum.iter_mut().zip(row).enumerate() {
                        *s += f(j, v);
                    }
                }
                sum
            })
            .collect();
        (0..p)
            .map(|j| blocks.iter().map(|b| b[j]).sum::<f64>() / count)
            .collect()
    };
    let first = blocked(&|_, v| v);
    // A second pass takes the rounding error out of the mean and gives the variance.
    let rest = blocked(&|j, v| v - first[j]);
    let mean: Vec<f64> = first.iter().zip(&rest).map(|(a, b)| a + b).collect();
    let variance = blocked(&|j, v| (v - mean[j]) * (v - mean[j]));
    (mean, variance.into_iter().map(f64::sqrt).collect())
}
