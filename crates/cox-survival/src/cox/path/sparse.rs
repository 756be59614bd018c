//! Columns most of whose values are 0, standardised as they are read.
//!
//! As in [`single`](super::single), `z_j' r = (x_j' r - mean_j sum r) / scale_j`, and `sum_j b_j z_j` is
//! `sum_j (b_j / scale_j) x_j` less one number for all rows: a pass over the features costs the number of
//! stored values, and 12 bytes of memory for each. Columns of the working set alone are made whole, one at a time.

use super::single::Standard;
use crate::sparse::{Places, SparseColumns};

/// Columns of length `n`, rows by position.
#[derive(Debug, Clone)]
pub(super) struct Sparse {
    n: usize,
    starts: Vec<usize>,
    rows: Vec<u32>,
    values: Vec<f64>,
}

/// What moments weight rows with, by position.
#[derive(Clone, Copy)]
pub(super) struct Weighting<'a> {
    pub(super) weights: Option<&'a [f64]>,
    pub(super) total: f64,
    pub(super) standardize: bool,
}

impl Sparse {
    /// Puts the rows of `matrix` at their places, `n` in all.
    pub(super) fn new(matrix: &SparseColumns<'_>, places: &Places, n: usize) -> Self {
        let mut starts = Vec::with_capacity(matrix.p() + 1);
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        let mut column: Vec<(u32, f64)> = Vec::new();
        starts.push(0);
        for j in 0..matrix.p() {
            let (from, found) = matrix.column(j);
            column.clear();
            for (&row, &value) in from.iter().zip(found) {
                column.extend(places.of(row).iter().map(|&place| (place, value)));
            }
            // Vectors are then read in the order in which they lie.
            column.sort_unstable_by_key(|&(place, _)| place);
            rows.extend(column.iter().map(|&(place, _)| place));
            values.extend(column.iter().map(|&(_, value)| value));
            starts.push(rows.len());
        }
        Self {
            n,
            starts,
            rows,
            values,
        }
    }

    fn column(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + Clone + '_ {
        let at = self.starts[j]..self.starts[j + 1];
        let rows = self.rows[at.clone()].iter();
        rows.zip(&self.values[at])
            .map(|(&row, &v)| (row as usize, v))
    }

    /// Mean, scale and norm of column `j`, as of a whole column: zeros count.
    pub(super) fn moments(&self, j: usize, by: Weighting<'_>) -> [f64; 3] {
        let weight = |row: usize| by.weights.map_or(1.0, |w| w[row]);
        let sum = |f: &dyn Fn(f64) -> f64| -> f64 {
            self.column(j).map(|(row, v)| weight(row) * f(v)).sum()
        };
        let stored = self.starts[j + 1] - self.starts[j];
        let zeros = match by.weights {
            None => (self.n - stored) as f64,
            Some(weights) => {
                let rest = by.total - sum(&|_| 1.0);
                // A small difference would make a constant column vary.
                if rest > 1e-6 * by.total {
                    rest
                } else {
                    let mut absent = vec![true; self.n];
                    self.column(j).for_each(|(row, _)| absent[row] = false);
                    let rest = weights.iter().zip(&absent).filter(|(_, absent)| **absent);
                    rest.map(|(w, _)| w).sum()
                }
            }
        };
        let mut mean = sum(&|v| v) / by.total;
        mean += (sum(&|v| v - mean) - zeros * mean) / by.total;
        let square = sum(&|v| (v - mean) * (v - mean)) + zeros * mean * mean;
        let sd = (square / by.total).sqrt();
        if sd <= 1e-14 * mean.abs() || sd < f64::MIN_POSITIVE {
            return [mean, 0.0, 0.0];
        }
        let scale = if by.standardize { sd } else { 1.0 };
        let squares: f64 = self.column(j).map(|(_, v)| (v - mean) * (v - mean)).sum();
        let norm = (squares + (self.n - stored) as f64 * mean * mean).sqrt() / scale;
        [mean, scale, norm]
    }

    /// `z_j`.
    pub(super) fn standardised(&self, j: usize, by: Standard<'_>) -> Vec<f64> {
        let (mean, inverse) = (by.mean[j], by.inverse(j));
        let mut z = vec![-mean * inverse; self.n];
        for (row, v) in self.column(j) {
            z[row] = (v - mean) * inverse;
        }
        z
    }

    /// `z_j' r` of the columns `which`.
    pub(super) fn dots(&self, which: &[usize], r: &[f64], by: Standard<'_>) -> Vec<f64> {
        let sum: f64 = r.iter().sum();
        let dot = |&j: &usize| {
            let dot: f64 = self.column(j).map(|(row, v)| v * r[row]).sum();
            (dot - by.mean[j] * sum) * by.inverse(j)
        };
        which.iter().map(dot).collect()
    }

    /// `eta += sum_j change_j z_j`.
    pub(super) fn add_to(&self, eta: &mut [f64], changes: &[(usize, f64)], by: Standard<'_>) {
        let mut shift = 0.0;
        for &(j, b) in changes {
            let b = b * by.inverse(j);
            shift += b * by.mean[j];
            for (row, v) in self.column(j) {
                eta[row] += b * v;
            }
        }
        for e in eta {
            *e -= shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Covariates, CoxPath, Error, SparseColumns, Surv};

    /// Compressed columns of a dense column-major matrix.
    fn compress(dense: &[f64], n: usize) -> (Vec<usize>, Vec<u32>, Vec<f64>) {
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for column in dense.chunks_exact(n) {
            for (row, v) in column.iter().enumerate().filter(|(_, v)| v.abs() > 0.0) {
                indices.push(row as u32);
                values.push(*v);
            }
            indptr.push(indices.len());
        }
        (indptr, indices, values)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_path_is_that_of_the_dense_matrix(
            entries in prop::collection::vec(
                prop_oneof![3 => Just(0.0), 1 => (-4..5i32).prop_map(f64::from), 1 => -2.0..3.0f64], 40 * 12),
            times in prop::collection::vec((1..30i32).prop_map(f64::from), 40),
            (weighted, standardize, resampled) in any::<(bool, bool, bool)>(),
            alpha in prop::sample::select(vec![1.0, 0.7]),
        ) {
            let (n, p) = (40, 12);
            let mut dense = entries;
            // Nothing at all, nothing but ones, and a column as it should be.
            dense[..n].fill(0.0);
            dense[n..2 * n].fill(1.0);
            for (i, v) in dense[2 * n..3 * n].iter_mut().enumerate() {
                *v = f64::from(i % 5 == 0);
            }
            let (indptr, indices, values) = compress(&dense, n);
            let sparse = SparseColumns::new(n, p, &indptr, &indices, &values).unwrap();
            let weights: Vec<f64> = (0..n).map(|i| [1.0, 0.0, 2.5][i % 3]).collect();
            let event: Vec<bool> = (0..n).map(|i| i % 4 != 1).collect();
            let mut surv = Surv::builder(&times, &event);
            if weighted {
                surv = surv.weights(&weights);
            }
            let mut surv = surv.build().unwrap();
            let mut x = [Covariates::from(sparse), Covariates::from_columns(&dense, n, p).unwrap()];
            if resampled {
                // As a bootstrap does: rows come twice or not at all.
                let rows: Vec<usize> = (0..n).map(|i| (7 * i + i * i / 9) % n).collect();
                surv = surv.subset(&rows).unwrap();
                x = x.map(|x| x.select(&rows).unwrap());
            }
            let settings = CoxPath::new().alpha(alpha).n_lambda(8).lambda_min_ratio(0.1);
            let settings = settings.standardize(standardize).tolerance(1e-10);
            let [a, b] = x.map(|x| settings.fit(&surv, &x).unwrap());
            for k in 0..8 {
                prop_assert!((a.lambda()[k] - b.lambda()[k]).abs() <= 1e-12 * b.lambda()[k]);
                prop_assert!((a.dev_ratio()[k] - b.dev_ratio()[k]).abs() < 1e-10);
                for (a, b) in a.beta(k).dense(p).iter().zip(b.beta(k).dense(p)) {
                    prop_assert!((a - b).abs() <= 1e-10 * (1.0 + b.abs()), "{} {}", a, b);
                }
            }
        }
    }

    #[test]
    fn a_bad_value_is_named_by_the_path_too() {
        let surv = Surv::new(&[1.0, 2.0, 3.0], &[true; 3]).unwrap();
        let x = SparseColumns::new(3, 2, &[0, 1, 2], &[0, 2], &[1.0, f64::INFINITY]).unwrap();
        let fit = CoxPath::new().fit(&surv, &Covariates::from(x));
        assert!(matches!(fit, Err(Error::NotFinite { column, row: 2, .. }) if column == "x2"));
        let huge = [1e308, -1e308];
        let x = SparseColumns::new(3, 1, &[0, 2], &[0, 1], &huge).unwrap();
        let fit = CoxPath::new().fit(&surv, &Covariates::from(x));
        assert!(
            matches!(fit, Err(Error::Overflow { row: 0, .. })),
            "{fit:?}"
        );
    }
}
