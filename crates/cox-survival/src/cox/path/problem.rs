//! The penalised problem in standardised coordinates.
//!
//! Minimises `-l(X b) / W + lambda sum_j v_j (alpha |b_j| + (1 - alpha)/2 b_j^2)` with `W` the
//! sum of the case weights and `l` the log partial likelihood: glmnet's scale.

use std::borrow::Cow;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::groups::Groups;
use super::single::{Single, Standard};
use super::sparse::{Sparse, Weighting};
use crate::covariates::Covariates;
use crate::surv::Surv;

/// Columns handled by one task of a parallel pass over the features.
const COLUMNS: usize = 64;
/// Columns multiplied at a time with a matrix (bounds the copy).
pub(super) const BLOCK: usize = 512;

/// What the settings say of each column, and of each row.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// Penalty factors, rescaled to sum to the number of columns.
    pub(super) factor: Vec<f64>,
    /// Smallest and largest value of each coefficient, in original units.
    pub(super) limits: Option<Vec<[f64; 2]>>,
    pub(super) excluded: Vec<bool>,
    /// Columns that enter together, if any do.
    pub(super) groups: Option<Groups>,
    /// By position.
    pub(super) offset: Vec<f64>,
}

/// The columns `z_j = (x_j - mean_j) / scale_j`, column-major by position.
#[derive(Debug, Clone)]
enum Columns<'a> {
    /// As such; a constant or excluded column is all zeros.
    Double(Vec<f64>),
    /// Not yet standardised.
    Single(Single<'a>),
    /// Neither standardised nor whole.
    Sparse(Sparse),
}

/// Standardised features, and their penalties.
#[derive(Debug, Clone)]
pub(super) struct Problem<'a> {
    pub(super) n: usize,
    pub(super) p: usize,
    columns: Columns<'a>,
    /// 0 for a constant or excluded column.
    pub(super) scale: Vec<f64>,
    pub(super) mean: Vec<f64>,
    /// `|z_j|`, with which changes of gradients are bounded.
    pub(super) norm: Vec<f64>,
    /// Penalty factors, rescaled to sum to the number of columns.
    pub(super) factor: Vec<f64>,
    /// Limits of the standardised coefficients.
    limits: Option<Vec<[f64; 2]>>,
    /// By position.
    pub(super) offset: Vec<f64>,
    /// Sum of the case weights.
    pub(super) total: f64,
}

impl<'a> Problem<'a> {
    pub(super) fn new(surv: &Surv, x: &Covariates<'a>, standardize: bool, terms: Terms) -> Self {
        let (n, p) = (x.n(), x.p());
        let weights = surv.weights().map(|w| surv.sorted.by_position(w));
        let total = weights.as_ref().map_or(n as f64, |w| w.iter().sum());
        let gather = |block: usize, z: &mut [f64]| {
            x.gather_block(&surv.sorted.order, block * COLUMNS, z);
        };
        let moments = |block: usize, z: &mut [f64]| -> Vec<[f64; 3]> {
            z.chunks_exact_mut(n)
                .zip(&terms.excluded[block * COLUMNS..])
                .map(|(z, &excluded)| {
                    if excluded {
                        z.fill(0.0);
                        return [0.0; 3];
                    }
                    standardise(z, weights.as_deref(), total, standardize)
                })
                .collect()
        };
        let sparse = x.sparse(&surv.sorted.order);
        let (columns, moments): (Columns<'a>, Vec<[f64; 3]>) =
            if let Some((matrix, places)) = sparse {
                let kept = Sparse::new(matrix, &places, n);
                let by = Weighting {
                    weights: weights.as_deref(),
                    total,
                    standardize,
                };
                let of = |j: usize| {
                    if terms.excluded[j] {
                        [0.0; 3]
                    } else {
                        kept.moments(j, by)
                    }
                };
                let moments = (0..p).into_par_iter().map(of).collect();
                (Columns::Sparse(kept), moments)
            } else if let Some((values, rows, order)) = x.single_columns(&surv.sorted.order) {
                let moments = (0..p.div_ceil(COLUMNS))
                    .into_par_iter()
                    .flat_map_iter(|block| {
                        let mut z = vec![0.0; n * COLUMNS.min(p - block * COLUMNS)];
                        gather(block, &mut z);
                        moments(block, &mut z)
                    })
                    .collect();
                (
                    Columns::Single(Single::borrowed(values, rows, order)),
                    moments,
                )
            } else if x.is_single() {
                let mut kept = vec![0.0f32; n * p];
                let moments = kept
                    .par_chunks_mut(n * COLUMNS)
                    .enumerate()
                    .flat_map_iter(|(block, kept)| {
                        let mut z = vec![0.0; kept.len()];
                        gather(block, &mut z);
                        for (kept, z) in kept.iter_mut().zip(&z) {
                            // Exact: it was single.
                            *kept = *z as f32;
                        }
                        moments(block, &mut z)
                    })
                    .collect();
                (Columns::Single(Single::by_position(kept, n)), moments)
            } else {
                let mut z = vec![0.0; n * p];
                let moments = z
                    .par_chunks_mut(n * COLUMNS)
                    .enumerate()
                    .flat_map_iter(|(block, z)| {
                        gather(block, z);
                        moments(block, z)
                    })
                    .collect();
                (Columns::Double(z), moments)
            };
        let each = |k: usize| -> Vec<f64> { moments.iter().map(|m| m[k]).collect() };
        let scale = each(1);
        let limits = terms.limits.map(|limits| {
            let standard = |(l, s): ([f64; 2], &f64)| l.map(|l| if *s > 0.0 { l * s } else { 0.0 });
            limits.into_iter().zip(&scale).map(standard).collect()
        });
        Self {
            n,
            p,
            columns,
            mean: each(0),
            scale,
            norm: each(2),
            factor: terms.factor,
            limits,
            offset: terms.offset,
            total,
        }
    }

    /// The ridge on other columns for the same rows, without limits.
    pub(super) fn rotated(&self, z: Vec<f64>, factor: Vec<f64>) -> Problem<'static> {
        let p = factor.len();
        Problem {
            n: self.n,
            p,
            columns: Columns::Double(z),
            scale: vec![1.0; p],
            mean: vec![0.0; p],
            norm: vec![f64::INFINITY; p],
            factor,
            limits: None,
            offset: self.offset.clone(),
            total: self.total,
        }
    }

    /// Whether any coefficient has a limit.
    pub(super) fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    /// Smallest and largest value of a coefficient.
    #[inline]
    pub(super) fn limits(&self, j: usize) -> [f64; 2] {
        self.limits
            .as_ref()
            .map_or([f64::NEG_INFINITY, f64::INFINITY], |limits| limits[j])
    }

    #[inline]
    pub(super) fn column(&self, j: usize) -> Cow<'_, [f64]> {
        match &self.columns {
            Columns::Double(z) => Cow::Borrowed(&z[j * self.n..(j + 1) * self.n]),
            Columns::Single(x) => Cow::Owned(x.standardised(j, self.standard())),
            Columns::Sparse(x) => Cow::Owned(x.standardised(j, self.standard())),
        }
    }

    fn standard(&self) -> Standard<'_> {
        Standard {
            mean: &self.mean,
            scale: &self.scale,
        }
    }

    /// `Z' m`, by blocks of columns.
    pub(super) fn transposed_times(&self, m: MatRef<'_, f64>) -> Mat<f64> {
        match &self.columns {
            Columns::Double(z) => {
                MatRef::from_column_major_slice(z, self.n, self.p).transpose() * m
            }
            Columns::Single(_) | Columns::Sparse(_) => {
                let mut out = Mat::zeros(self.p, m.ncols());
                for first in (0..self.p).step_by(BLOCK) {
                    let count = BLOCK.min(self.p - first);
                    let columns = first..first + count;
                    let z: Vec<f64> = columns.flat_map(|j| self.column(j).into_owned()).collect();
                    let z = MatRef::from_column_major_slice(&z, self.n, count);
                    out.subrows_mut(first, count).copy_from(z.transpose() * m);
                }
                out
            }
        }
    }

    /// `grad_j = z_j' residual / W` of the columns `which`, into `gradient`.
    pub(super) fn gradient_of(&self, which: &[usize], residual: &[f64], gradient: &mut [f64]) {
        let shares = |mut dots: Vec<f64>| {
            for d in &mut dots {
                *d /= self.total;
            }
            dots
        };
        let dots = |which: &[usize]| {
            let z = match &self.columns {
                Columns::Double(z) => z,
                Columns::Single(x) => return shares(x.dots(which, residual, self.standard())),
                Columns::Sparse(x) => return shares(x.dots(which, residual, self.standard())),
            };
            let mut out = vec![0.0; which.len()];
            pulp::Arch::new().dispatch(Dots {
                z,
                inverse: 1.0 / self.total,
                which,
                residual,
                out: &mut out,
            });
            out
        };
        let values: Vec<f64> = if which.len() * self.n < 1 << 16 {
            dots(which)
        } else {
            which.par_chunks(COLUMNS).flat_map_iter(dots).collect()
        };
        for (&j, value) in which.iter().zip(values) {
            gradient[j] = value;
        }
    }

    /// `eta += sum_j change_j z_j`.
    pub(super) fn add_to(&self, eta: &mut [f64], changes: &[(usize, f64)]) {
        match &self.columns {
            Columns::Double(z) => pulp::Arch::new().dispatch(AddTo { z, eta, changes }),
            Columns::Single(x) => x.add_to(eta, changes, self.standard()),
            Columns::Sparse(x) => x.add_to(eta, changes, self.standard()),
        }
    }
}

/// `eta += sum_j change_j z_j`.
struct AddTo<'a> {
    z: &'a [f64],
    eta: &'a mut [f64],
    changes: &'a [(usize, f64)],
}

impl pulp::WithSimd for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        let n = self.eta.len();
        let column = |(j, _): (usize, f64)| &self.z[j * n..(j + 1) * n];
        let (fours, rest) = self.changes.as_chunks::<4>();
        for four in fours {
            add(simd, self.eta, four.map(column), four.map(|(_, b)| b));
        }
        for &one in rest {
            add(simd, self.eta, [column(one)], [one.1]);
        }
    }
}

/// `eta += sum_c b_c z_c`, in the order of the columns.
#[inline(always)]
fn add<S: pulp::Simd, const C: usize>(simd: S, eta: &mut [f64], z: [&[f64]; C], b: [f64; C]) {
    let (head, tail) = S::as_mut_simd_f64s(eta);
    let z = z.map(|z| {
        let (z_head, z_tail) = S::as_simd_f64s(z);
        (&z_head[..head.len()], z_tail)
    });
    let wide = b.map(|b| simd.splat_f64s(b));
    for (i, e) in head.iter_mut().enumerate() {
        let mut sum = *e;
        for c in 0..C {
            sum = simd.mul_add_f64s(wide[c], z[c].0[i], sum);
        }
        *e = sum;
    }
    for c in 0..C {
        for (e, z) in tail.iter_mut().zip(z[c].1) {
            *e += b[c] * z;
        }
    }
}

/// `z_j' r / W` for several columns.
struct Dots<'a> {
    z: &'a [f64],
    /// `1 / W`.
    inverse: f64,
    which: &'a [usize],
    residual: &'a [f64],
    out: &'a mut [f64],
}

impl pulp::WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        let (inverse, n) = (self.inverse, self.residual.len());
        let column = |j: usize| &self.z[j * n..(j + 1) * n];
        // Four columns at a time: the residual is read once for them.
        let (fours, rest) = self.which.as_chunks::<4>();
        let (out_fours, out_rest) = self.out.as_chunks_mut::<4>();
        for (j, out) in fours.iter().zip(out_fours) {
            *out = dots(simd, j.map(column), self.residual).map(|d| d * inverse);
        }
        for (&j, out) in rest.iter().zip(out_rest) {
            *out = dots(simd, [column(j)], self.residual)[0] * inverse;
        }
    }
}

/// Dot products of `C` columns with one vector; the order of each sum does not depend on `C`.
#[inline(always)]
fn dots<S: pulp::Simd, const C: usize>(simd: S, z: [&[f64]; C], r: &[f64]) -> [f64; C] {
    let (r_head, r_tail) = S::as_simd_f64s(r);
    let z = z.map(|z| {
        let (head, tail) = S::as_simd_f64s(z);
        (&head[..r_head.len()], tail)
    });
    let zero = simd.splat_f64s(0.0);
    let mut sums = [[zero; 2]; C];
    let (pairs, odd) = r_head.as_chunks::<2>();
    for (i, r) in pairs.iter().enumerate() {
        for c in 0..C {
            sums[c][0] = simd.mul_add_f64s(z[c].0[2 * i], r[0], sums[c][0]);
            sums[c][1] = simd.mul_add_f64s(z[c].0[2 * i + 1], r[1], sums[c][1]);
        }
    }
    let mut out = [0.0; C];
    for c in 0..C {
        if let [r] = odd {
            let last = z[c].0[r_head.len() - 1];
            sums[c][0] = simd.mul_add_f64s(last, *r, sums[c][0]);
        }
        out[c] = simd.reduce_sum_f64s(simd.add_f64s(sums[c][0], sums[c][1]));
        for (z, r) in z[c].1.iter().zip(r_tail) {
            out[c] += z * r;
        }
    }
    out
}

/// Centres and scales one column in place; returns its mean, scale and norm.
fn standardise(z: &mut [f64], weights: Option<&[f64]>, total: f64, scale: bool) -> [f64; 3] {
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
    type Output = [f64; 3];

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> [f64; 3] {
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
            return [mean, 0.0, 0.0];
        }
        let scale = if scale { sd } else { 1.0 };
        let inverse = 1.0 / scale;
        for v in z.iter_mut() {
            *v = (*v - mean) * inverse;
        }
        [mean, scale, lanes(z, None, |v| v * v).sqrt()]
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
    use crate::CoxPath;

    #[test]
    fn standardised_columns_have_weighted_mean_zero_and_variance_one() {
        let surv = Surv::builder(&[1.0, 2.0, 3.0, 4.0], &[true; 4])
            .weights(&[1.0, 2.0, 0.5, 0.5])
            .build()
            .unwrap();
        let values = [1.0, 5.0, 2.0, 7.0, 3.0, 3.0, 3.0, 3.0];
        let x = Covariates::from_columns(&values, 4, 2).unwrap();
        let terms = CoxPath::new().check(&surv, &x).unwrap();
        let problem = Problem::new(&surv, &x, true, terms);
        let w = [0.5, 0.5, 2.0, 1.0]; // by position: latest time first
        let z = problem.column(0);
        let mean: f64 = z.iter().zip(w).map(|(z, w)| z * w).sum();
        let square: f64 = z.iter().zip(w).map(|(z, w)| z * z * w).sum();
        assert!(mean.abs() < 1e-14 && (square / 4.0 - 1.0).abs() < 1e-14);
        assert!(problem.column(1).iter().all(|z| z.abs() < 1e-300) && problem.scale[1] < 1e-300);
    }

    #[test]
    fn single_precision_is_kept_and_double_never_made() {
        let surv = Surv::new(&[1.0, 2.0, 3.0, 4.0], &[true; 4]).unwrap();
        let values: Vec<f32> = (0..40u16).map(|k| f32::from(k * 7 % 11)).collect();
        let memory = |x: &Covariates<'_>| {
            let terms = CoxPath::new().check(&surv, x).unwrap();
            let problem = Problem::new(&surv, x, true, terms);
            let Columns::Single(kept) = &problem.columns else {
                panic!("columns in double precision");
            };
            // Latest first.
            let (z, mean, scale) = (problem.column(0), problem.mean[0], problem.scale[0]);
            for (z, i) in z.iter().zip([3, 2, 1, 0]) {
                assert!((z * scale + mean - x.get(i, 0)).abs() < 1e-12);
            }
            kept.memory()
        };
        let rows = Covariates::from_rows_f32(&values, 4, 10).unwrap();
        assert_eq!(memory(&rows), 4 * 4 * 10);
        // Where they lie as columns, they stay where they are.
        let columns = Covariates::from_columns_f32(&values, 4, 10).unwrap();
        assert_eq!(memory(&columns), 0);
        // Not so half of the rows, nor a matrix of one column, which lies both ways.
        let few: Vec<f32> = (0..80u16).map(|k| f32::from(k * 7 % 11)).collect();
        let few = Covariates::from_columns_f32(&few, 8, 10).unwrap();
        assert_eq!(memory(&few.select(&[0, 2, 4, 6]).unwrap()), 4 * 4 * 10);
        let one = Covariates::from_rows_f32(&values[..4], 4, 1).unwrap();
        assert_eq!(memory(&one), 4 * 4);
    }
}
