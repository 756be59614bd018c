//! A borrowed view of the covariate matrix, in whatever order it lies in memory.

use std::sync::Arc;

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    F64(&'a [f64]),
    F32(&'a [f32]),
}

/// Covariates of `n` patients in `p` columns, borrowed: nothing is copied until a fit needs it.
///
/// Values are finite (checked by every fit, which names the column and the row of a bad one).
///
/// ```
/// use cox_survival::Covariates;
/// // Two patients, three columns, row after row as numpy and safetensors store them.
/// let x = Covariates::from_rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3)?;
/// assert_eq!(x.get(1, 0), 4.0);
/// // The same matrix column after column, as R stores it.
/// let y = Covariates::from_columns(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0], 2, 3)?;
/// assert_eq!(x.column(2), y.column(2));
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Covariates<'a> {
    values: Values<'a>,
    n: usize,
    p: usize,
    row_stride: usize,
    column_stride: usize,
    names: Option<Arc<[String]>>,
    /// View row -> row in memory, when the view is a selection.
    rows: Option<Arc<[u32]>>,
}

impl<'a> Covariates<'a> {
    /// A row-major `f64` matrix: `values[i * p + j]` is patient `i`, column `j`.
    pub fn from_rows(values: &'a [f64], n: usize, p: usize) -> Result<Self> {
        check_shape(values.len(), n, p)?;
        Ok(Self {
            values: Values::F64(values),
            n,
            p,
            row_stride: p,
            column_stride: 1,
            names: None,
            rows: None,
        })
    }

    /// A column-major `f64` matrix: `values[j * n + i]` is patient `i`, column `j`.
    pub fn from_columns(values: &'a [f64], n: usize, p: usize) -> Result<Self> {
        check_shape(values.len(), n, p)?;
        Ok(Self {
            values: Values::F64(values),
            n,
            p,
            row_stride: 1,
            column_stride: n,
            names: None,
            rows: None,
        })
    }

    /// A row-major `f32` matrix, as latents are usually stored.
    pub fn from_rows_f32(values: &'a [f32], n: usize, p: usize) -> Result<Self> {
        check_shape(values.len(), n, p)?;
        Ok(Self {
            values: Values::F32(values),
            n,
            p,
            row_stride: p,
            column_stride: 1,
            names: None,
            rows: None,
        })
    }

    /// A column-major `f32` matrix.
    pub fn from_columns_f32(values: &'a [f32], n: usize, p: usize) -> Result<Self> {
        check_shape(values.len(), n, p)?;
        Ok(Self {
            values: Values::F32(values),
            n,
            p,
            row_stride: 1,
            column_stride: n,
            names: None,
            rows: None,
        })
    }

    /// Gives the columns names, used in results and in error messages (`x1`, `x2`, ... otherwise).
    pub fn with_names<S: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        crate::error::check_length("names", names.len(), self.p)?;
        self.names = Some(names.into());
        Ok(self)
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of columns.
    pub fn p(&self) -> usize {
        self.p
    }

    /// Name of column `j`.
    pub fn name(&self, j: usize) -> String {
        self.names
            .as_ref()
            .map_or_else(|| format!("x{}", j + 1), |names| names[j].clone())
    }

    /// All column names.
    pub fn names(&self) -> Vec<String> {
        (0..self.p).map(|j| self.name(j)).collect()
    }

    /// The value of row `i`, column `j`.
    ///
    /// # Panics
    /// When `i` or `j` lies outside the matrix.
    #[inline]
    pub fn get(&self, i: usize, j: usize) -> f64 {
        assert!(
            i < self.n && j < self.p,
            "({i}, {j}) is outside {} x {}",
            self.n,
            self.p
        );
        let at = self.memory_row(i) * self.row_stride + j * self.column_stride;
        match self.values {
            Values::F64(v) => v[at],
            Values::F32(v) => f64::from(v[at]),
        }
    }

    /// Whether the values are single precision.
    pub(crate) fn is_single(&self) -> bool {
        matches!(self.values, Values::F32(_))
    }

    #[inline]
    fn memory_row(&self, i: usize) -> usize {
        self.rows.as_ref().map_or(i, |rows| rows[i] as usize)
    }

    /// A view of the rows `rows`, in that order; a row may be named several times. Nothing but
    /// the row numbers is copied.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        if let Some(&row) = rows.iter().find(|&&row| row >= self.n) {
            return Err(Error::Setting {
                name: "row",
                value: row.to_string(),
                expected: "must be below the number of rows",
            });
        }
        let mut view = self.clone();
        view.n = rows.len();
        view.rows = Some(rows.iter().map(|&i| self.memory_row(i) as u32).collect());
        Ok(view)
    }

    /// Column `j` as a new vector.
    pub fn column(&self, j: usize) -> Vec<f64> {
        (0..self.n).map(|i| self.get(i, j)).collect()
    }

    /// Linear predictor `x' beta` of every row.
    pub fn times(&self, beta: &[f64]) -> Result<Vec<f64>> {
        crate::error::check_length("beta", beta.len(), self.p)?;
        let mut eta = vec![0.0; self.n];
        let rows: Vec<u32> = (0..self.n as u32).collect();
        let mut column = vec![0.0; self.n];
        for j in (0..self.p).filter(|&j| beta[j].abs() > 0.0) {
            self.gather_block(&rows, j, &mut column);
            for (e, v) in eta.iter_mut().zip(&column) {
                *e += beta[j] * v;
            }
        }
        Ok(eta)
    }

    /// Copies rows `rows` (in that order) of as many columns as fit, from column `first` on,
    /// into the column-major `out`.
    pub(crate) fn gather_block(&self, rows: &[u32], first: usize, out: &mut [f64]) {
        if rows.is_empty() {
            return;
        }
        let rows: Vec<usize> = rows
            .iter()
            .map(|&i| self.memory_row(i as usize) * self.row_stride)
            .collect();
        let first = first * self.column_stride;
        match self.values {
            Values::F64(v) => gather(&v[first..], &rows, self.column_stride, out),
            Values::F32(v) => gather(&v[first..], &rows, self.column_stride, out),
        }
    }

    /// Finiteness of the selected rows only: the others do not matter here.
    fn check_selection(&self) -> Result<()> {
        let finite_row = |row: usize| {
            let start = self.memory_row(row) * self.row_stride;
            match self.values {
                Values::F64(v) => v[start..start + self.p].iter().all(|v| v.is_finite()),
                Values::F32(v) => v[start..start + self.p].iter().all(|v| v.is_finite()),
            }
        };
        for row in 0..self.n {
            if self.column_stride == 1 && finite_row(row) {
                continue;
            }
            for j in 0..self.p {
                let value = self.get(row, j);
                if !value.is_finite() {
                    return Err(Error::NotFinite {
                        column: self.name(j),
                        row,
                        value,
                    });
                }
            }
        }
        Ok(())
    }

    /// Checks rows, columns and finiteness against an outcome of `n` rows.
    pub(crate) fn check(&self, n: usize) -> Result<()> {
        if self.p == 0 {
            return Err(Error::NoColumns);
        }
        crate::error::check_length("covariates (rows)", self.n, n)?;
        if self.rows.is_some() {
            return self.check_selection();
        }
        let bad = match self.values {
            Values::F64(v) => v.iter().position(|v| !v.is_finite()),
            Values::F32(v) => v.iter().position(|v| !v.is_finite()),
        };
        match bad {
            None => Ok(()),
            Some(at) => {
                let (row, column) = if self.row_stride == 1 && self.column_stride != 1 {
                    (at % self.n, at / self.n)
                } else {
                    (at / self.p, at % self.p)
                };
                Err(Error::NotFinite {
                    column: self.name(column),
                    row,
                    value: self.get(row, column),
                })
            }
        }
    }
}

#[cfg(feature = "nalgebra")]
impl<'a> From<&'a nalgebra::DMatrix<f64>> for Covariates<'a> {
    fn from(matrix: &'a nalgebra::DMatrix<f64>) -> Self {
        let (n, p) = matrix.shape();
        Self {
            values: Values::F64(matrix.as_slice()),
            n,
            p,
            row_stride: 1,
            column_stride: n,
            names: None,
            rows: None,
        }
    }
}

/// `out[j * rows + k] = source[rows[k] + j * stride]`, reading along the direction in which the
/// source is contiguous.
fn gather<T: Copy + Into<f64>>(source: &[T], rows: &[usize], stride: usize, out: &mut [f64]) {
    let m = rows.len();
    if m == 0 {
        return;
    }
    if stride == 1 {
        let columns = out.len() / m;
        for (k, &start) in rows.iter().enumerate() {
            for (j, &value) in source[start..start + columns].iter().enumerate() {
                out[j * m + k] = value.into();
            }
        }
    } else {
        for (j, out) in out.chunks_exact_mut(m).enumerate() {
            for (out, &start) in out.iter_mut().zip(rows) {
                *out = source[start + j * stride].into();
            }
        }
    }
}

fn check_shape(found: usize, rows: usize, columns: usize) -> Result<()> {
    match rows.checked_mul(columns) {
        Some(expected) if expected == found => Ok(()),
        expected => Err(Error::Shape {
            rows,
            columns,
            expected: expected.unwrap_or(usize::MAX),
            found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_value_is_named_by_column_and_row_in_every_layout() {
        let mut v = [0.0; 6];
        v[4] = f64::NAN;
        let rows = Covariates::from_rows(&v, 2, 3).unwrap();
        assert!(
            matches!(rows.check(2), Err(Error::NotFinite { column, row: 1, .. }) if column == "x2")
        );
        let columns = Covariates::from_columns(&v, 2, 3).unwrap();
        assert!(
            matches!(columns.check(2), Err(Error::NotFinite { column, row: 0, .. }) if column == "x3")
        );
        let single = Covariates::from_columns(&v, 1, 6).unwrap();
        assert!(
            matches!(single.check(1), Err(Error::NotFinite { column, row: 0, .. }) if column == "x5")
        );
    }

    #[test]
    fn shapes_are_checked_without_overflow() {
        assert!(matches!(
            Covariates::from_rows(&[1.0], usize::MAX, 2),
            Err(Error::Shape { .. })
        ));
        assert!(matches!(
            Covariates::from_rows(&[1.0], 1, 2),
            Err(Error::Shape { .. })
        ));
    }
}
