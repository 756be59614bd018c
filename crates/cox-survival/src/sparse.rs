//! Feature matrices most of whose values are 0, in compressed columns.

use crate::covariates::Covariates;
use crate::error::{Error, Result};

/// A sparse matrix of `n` rows and `p` columns in compressed columns (CSC, as scipy's `csc_array` and R's
/// `dgCMatrix` lay it out), borrowed and checked.
///
/// The values of column `j` are `values[indptr[j]..indptr[j + 1]]`, in the rows that `indices` names at the
/// same places, ascending; all others are 0. As [`Covariates`] it can be used wherever a dense
/// matrix can. [`CoxPath`](crate::CoxPath) never makes it dense: columns are standardised as they are read, so that
/// a pass over all features costs the number of stored values. Other models copy what they need.
///
/// ```
/// use cox_survival::{Covariates, SparseColumns};
/// // Rows (0 2), (0 0), (5 0).
/// let x = SparseColumns::new(3, 2, &[0, 1, 2], &[2, 0], &[5.0, 2.0])?;
/// assert_eq!((x.n(), x.p(), x.stored()), (3, 2, 2));
/// let x = Covariates::from(x).with_names(["dose", "stage"])?;
/// assert_eq!(x.column(0), [0.0, 0.0, 5.0]);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseColumns<'a> {
    n: usize,
    p: usize,
    indptr: &'a [usize],
    indices: &'a [u32],
    values: &'a [f64],
}

impl<'a> SparseColumns<'a> {
    /// Checks the layout. Values are checked for finiteness by every fit, which names column and row.
    ///
    /// # Errors
    /// [`Error::SparseLength`] when `indptr` has not `p + 1` values, or `indices` and `values` are not
    /// as many as its last one; [`Error::SparseEntry`] when a column ends before it starts, names a row that is not
    /// there, or names rows that do not ascend; [`Error::TooManyRows`].
    pub fn new(
        n: usize,
        p: usize,
        indptr: &'a [usize],
        indices: &'a [u32],
        values: &'a [f64],
    ) -> Result<Self> {
        if n >= u32::MAX as usize {
            return Err(Error::TooManyRows { n });
        }
        let length = |part, found, expected| {
            if found == expected {
                Ok(())
            } else {
                Err(Error::SparseLength {
                    part,
                    found,
                    expected,
                })
            }
        };
        length("indptr", indptr.len(), p.saturating_add(1))?;
        let entry = |column, value, fault| {
            Err(Error::SparseEntry {
                column,
                value,
                fault,
            })
        };
        if indptr[0] != 0 {
            return entry(
                0,
                indptr[0],
                "is not where the first column starts: that is 0",
            );
        }
        if let Some(j) = (0..p).find(|&j| indptr[j + 1] < indptr[j]) {
            return entry(j, indptr[j + 1], "is its end, before its start");
        }
        length("indices", indices.len(), indptr[p])?;
        length("values", values.len(), indptr[p])?;
        for (j, ends) in indptr.windows(2).enumerate() {
            let rows = &indices[ends[0]..ends[1]];
            if let Some(pair) = rows.windows(2).find(|pair| pair[1] <= pair[0]) {
                return entry(j, pair[1] as usize, "is a row not above the row before it");
            }
            if let Some(&row) = rows.last()
                && row as usize >= n
            {
                return entry(j, row as usize, "is a row that is not there");
            }
        }
        Ok(Self {
            n,
            p,
            indptr,
            indices,
            values,
        })
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of columns.
    pub fn p(&self) -> usize {
        self.p
    }

    /// Number of values stored.
    pub fn stored(&self) -> usize {
        self.values.len()
    }

    /// Rows and values of column `j`.
    pub(crate) fn column(&self, j: usize) -> (&'a [u32], &'a [f64]) {
        let at = self.indptr[j]..self.indptr[j + 1];
        (&self.indices[at.clone()], &self.values[at])
    }

    pub(crate) fn get(&self, row: usize, j: usize) -> f64 {
        let (rows, values) = self.column(j);
        rows.binary_search(&(row as u32))
            .map_or(0.0, |at| values[at])
    }

    /// Row and column of the first stored value that is not finite.
    pub(crate) fn not_finite(&self) -> Option<(usize, usize)> {
        let at = self.values.iter().position(|v| !v.is_finite())?;
        let column = self.indptr.partition_point(|&start| start <= at) - 1;
        Some((self.indices[at] as usize, column))
    }

    /// `X beta`: as many multiplications as values are stored.
    pub(crate) fn times(&self, beta: &[f64]) -> Vec<f64> {
        let mut eta = vec![0.0; self.n];
        for (j, &b) in beta.iter().enumerate().filter(|(_, b)| b.abs() > 0.0) {
            let (rows, values) = self.column(j);
            for (&row, v) in rows.iter().zip(values) {
                eta[row as usize] += b * v;
            }
        }
        eta
    }
}

impl<'a> From<SparseColumns<'a>> for Covariates<'a> {
    fn from(matrix: SparseColumns<'a>) -> Self {
        Self::from_sparse(matrix)
    }
}

/// Where each row of a matrix goes: to several places, one or none.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    starts: Vec<u32>,
    places: Vec<u32>,
}

impl Places {
    /// `rows[k]` is the row, of `n`, that goes to place `k`.
    pub(crate) fn new(n: usize, rows: impl Iterator<Item = usize> + Clone) -> Self {
        let mut starts = vec![0u32; n + 1];
        let mut count = 0;
        for row in rows.clone() {
            starts[row + 1] += 1;
            count += 1;
        }
        for row in 0..n {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let mut places = vec![0; count];
        for (k, row) in rows.enumerate() {
            places[next[row] as usize] = k as u32;
            next[row] += 1;
        }
        Self { starts, places }
    }

    /// The places of a row, ascending.
    pub(crate) fn of(&self, row: u32) -> &[u32] {
        let row = row as usize;
        &self.places[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CoxPh, Surv};

    #[test]
    fn what_does_not_fit_together_is_named() {
        let new = |indptr: &'static [usize], indices: &'static [u32], values: &'static [f64]| {
            SparseColumns::new(3, 2, indptr, indices, values)
                .unwrap_err()
                .to_string()
        };
        for (found, want) in [
            (
                new(&[0, 1], &[0], &[1.0]),
                "`indptr` has 2 values, 3 are needed",
            ),
            (
                new(&[0, 1, 2], &[0], &[1.0, 1.0]),
                "`indices` has 1 values, 2",
            ),
            (new(&[0, 1, 2], &[0, 1], &[1.0]), "`values` has 1 values, 2"),
            (
                new(&[1, 1, 2], &[0, 1], &[1.0, 1.0]),
                "column 1: 1 is not where",
            ),
            (new(&[0, 2, 1], &[0], &[1.0]), "column 2: 1 is its end"),
            (
                new(&[0, 1, 2], &[0, 3], &[1.0, 1.0]),
                "column 2: 3 is a row that is not there",
            ),
            (
                new(&[0, 2, 2], &[1, 1], &[1.0, 1.0]),
                "column 1: 1 is a row not above",
            ),
        ] {
            assert!(found.contains(want), "{found}");
        }
        assert!(SparseColumns::new(usize::MAX, 0, &[0], &[], &[]).is_err());
    }

    #[test]
    fn it_is_the_matrix_it_says() {
        let indptr = [0, 2, 2, 5, 6];
        let indices = [0, 3, 1, 2, 4, 0];
        let values = [1.5, -2.0, 3.0, 0.25, 7.0, -1.0];
        let sparse = SparseColumns::new(5, 4, &indptr, &indices, &values).unwrap();
        let mut dense = vec![0.0; 20];
        for j in 0..4 {
            for k in indptr[j]..indptr[j + 1] {
                dense[5 * j + indices[k] as usize] = values[k];
            }
        }
        let whole = Covariates::from_columns(&dense, 5, 4).unwrap();
        let twin = Covariates::from(sparse);
        let select = [4, 0, 0, 3];
        for (a, b) in [
            (twin.clone(), whole.clone()),
            (
                twin.select(&select).unwrap(),
                whole.select(&select).unwrap(),
            ),
        ] {
            assert!(a.check(a.n()).is_ok());
            let rows: Vec<u32> = (0..a.n() as u32).rev().chain([0]).collect();
            let (mut x, mut y) = (vec![9.0; rows.len() * 4], vec![8.0; rows.len() * 4]);
            a.gather_rows(&rows, &mut x);
            b.gather_rows(&rows, &mut y);
            assert_eq!(x, y);
            a.gather_block(&rows, 1, &mut x[..3 * rows.len()]);
            b.gather_block(&rows, 1, &mut y[..3 * rows.len()]);
            assert_eq!(x, y);
            let beta = [1.0, -2.0, 0.5, 0.0];
            assert_eq!(a.times(&beta).unwrap(), b.times(&beta).unwrap());
            assert_eq!(a.column(2), b.column(2));
            assert_eq!(a.get(1, 3).to_bits(), b.get(1, 3).to_bits());
        }
    }

    #[test]
    fn a_bad_value_is_named_and_a_cox_model_is_that_of_the_dense_matrix() {
        let values = [1.0, 1.0, 1.0, 2.0, f64::NAN];
        let sparse = SparseColumns::new(6, 2, &[0, 3, 5], &[0, 2, 5, 1, 4], &values).unwrap();
        let time = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        let surv = Surv::new(&time, &[true; 6]).unwrap();
        let fit = |x: &SparseColumns<'_>| CoxPh::new().fit(&surv, &Covariates::from(*x));
        assert!(matches!(
            fit(&sparse),
            Err(Error::NotFinite { column, row: 4, .. }) if column == "x2"
        ));
        let selected = Covariates::from(sparse).select(&[0, 1, 2, 3]).unwrap();
        assert!(selected.check(4).is_ok());
        assert!(
            Covariates::from(sparse)
                .select(&[4])
                .unwrap()
                .check(1)
                .is_err()
        );
        let values = [1.0, 1.0, 1.0, 2.0, -1.0];
        let sparse = SparseColumns::new(6, 2, &[0, 3, 5], &[0, 2, 5, 1, 4], &values).unwrap();
        let dense = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 0.0, -1.0, 0.0];
        let dense = Covariates::from_columns(&dense, 6, 2).unwrap();
        let want = CoxPh::new().fit(&surv, &dense).unwrap();
        for (a, b) in fit(&sparse).unwrap().coef().iter().zip(want.coef()) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }
}
