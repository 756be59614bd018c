//! A borrowed view of the covariate matrix, in whatever order it lies in memory.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::sparse::{Places, SparseColumns};

#[derive(Debug, Clone)]
enum Values<'a> {
    F64(&'a [f64]),
    F32(&'a [f32]),
    /// Each column somewhere else; the strides are those of one column.
    Columns(Arc<[&'a [f64]]>),
    /// The strides are those of one column here too.
    Sparse(SparseColumns<'a>),
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

    /// A row-major `f32` matrix, as latents are usually stored. A penalised path copies it once, into columns of
    /// single precision.
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

    /// A column-major `f32` matrix. A penalised path reads it where it lies and copies nothing of it, but for a
    /// [`select`](Self::select)ion of half its rows or fewer.
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

    /// Columns that lie apart, all of one length: those of a data frame, or of a matrix with gaps
    /// between its columns.
    ///
    /// ```
    /// use cox_survival::Covariates;
    /// let (age, dose) = ([61.0, 70.0, 52.0], [1.0, 0.5, 1.5]);
    /// let x = Covariates::from_column_slices(&[&age, &dose])?.with_names(["age", "dose"])?;
    /// assert_eq!((x.n(), x.p(), x.get(2, 1)), (3, 2, 1.5));
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] when a column has another length than the first.
    pub fn from_column_slices(columns: &[&'a [f64]]) -> Result<Self> {
        let n = columns.first().map_or(0, |c| c.len());
        for column in columns {
            crate::error::check_length("column", column.len(), n)?;
        }
        Ok(Self {
            values: Values::Columns(columns.into()),
            n,
            p: columns.len(),
            row_stride: 1,
            column_stride: 0,
            names: None,
            rows: None,
        })
    }

    pub(crate) fn from_sparse(matrix: SparseColumns<'a>) -> Self {
        Self {
            n: matrix.n(),
            p: matrix.p(),
            values: Values::Sparse(matrix),
            row_stride: 1,
            column_stride: 0,
            names: None,
            rows: None,
        }
    }

    /// The sparse matrix, if it is one, and where its rows go when view row `order[k]` goes to `k`.
    pub(crate) fn sparse(&self, order: &[u32]) -> Option<(&SparseColumns<'a>, Places)> {
        let Values::Sparse(matrix) = &self.values else {
            return None;
        };
        let rows = order.iter().map(|&i| self.memory_row(i as usize));
        Some((matrix, Places::new(matrix.n(), rows)))
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
        let row = self.memory_row(i);
        let at = row * self.row_stride + j * self.column_stride;
        match &self.values {
            Values::F64(v) => v[at],
            Values::F32(v) => f64::from(v[at]),
            Values::Columns(columns) => columns[j][row],
            Values::Sparse(matrix) => matrix.get(row, j),
        }
    }

    /// Whether the values are single precision.
    pub(crate) fn is_single(&self) -> bool {
        matches!(self.values, Values::F32(_))
    }

    /// Values in single precision where they lie as columns, the length of one, and the row of it that is view row
    /// `order[k]`. None for a view of half the rows or fewer, of which a copy is read faster.
    pub(crate) fn single_columns(&self, order: &[u32]) -> Option<(&'a [f32], usize, Vec<u32>)> {
        let Values::F32(values) = self.values else {
            return None;
        };
        let rows = self.column_stride;
        let as_columns = self.row_stride == 1 && values.len() == rows * self.p;
        if !as_columns || 2 * order.len() <= rows {
            return None;
        }
        let row = |&i: &u32| self.memory_row(i as usize) as u32;
        Some((values, rows, order.iter().map(row).collect()))
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
        if let Values::Sparse(matrix) = &self.values {
            let eta = matrix.times(beta);
            return Ok((0..self.n).map(|i| eta[self.memory_row(i)]).collect());
        }
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
        if let Some((matrix, places)) = self.sparse(rows) {
            out.fill(0.0);
            for (k, out) in out.chunks_exact_mut(rows.len()).enumerate() {
                let (rows, values) = matrix.column(first + k);
                for (&row, &value) in rows.iter().zip(values) {
                    for &place in places.of(row) {
                        out[place as usize] = value;
                    }
                }
            }
            return;
        }
        let rows: Vec<usize> = rows
            .iter()
            .map(|&i| self.memory_row(i as usize) * self.row_stride)
            .collect();
        let start = first * self.column_stride;
        match &self.values {
            Values::F64(v) => gather(&v[start..], &rows, self.column_stride, out),
            Values::F32(v) => gather(&v[start..], &rows, self.column_stride, out),
            Values::Columns(columns) => {
                for (out, column) in out.chunks_exact_mut(rows.len()).zip(&columns[first..]) {
                    for (out, &row) in out.iter_mut().zip(&rows) {
                        *out = column[row];
                    }
                }
            }
            Values::Sparse(_) => {}
        }
    }

    /// Copies the rows `rows` into the row-major `out`, `[rows, p]`.
    pub(crate) fn gather_rows(&self, rows: &[u32], out: &mut [f64]) {
        let starts = |i: &u32| self.memory_row(*i as usize) * self.row_stride;
        let starts = rows.iter().map(starts);
        match &self.values {
            Values::F64(v) => gather_rows(v, starts, self.column_stride, self.p, out),
            Values::F32(v) => gather_rows(v, starts, self.column_stride, self.p, out),
            Values::Columns(columns) => {
                let starts: Vec<usize> = starts.collect();
                for (j, column) in columns.iter().enumerate() {
                    let out = out.iter_mut().skip(j).step_by(self.p);
                    for (out, &row) in out.zip(&starts) {
                        *out = column[row];
                    }
                }
            }
            Values::Sparse(matrix) => {
                for (row, out) in starts.zip(out.chunks_exact_mut(self.p)) {
                    for (j, out) in out.iter_mut().enumerate() {
                        *out = matrix.get(row, j);
                    }
                }
            }
        }
    }

    /// Column `j` as a slice, where that is how it lies in memory.
    pub(crate) fn column_slice(&self, j: usize) -> Option<&[f64]> {
        match &self.values {
            _ if self.rows.is_some() => None,
            Values::F64(v) if self.row_stride == 1 => Some(&v[j * self.n..(j + 1) * self.n]),
            Values::Columns(columns) => Some(columns[j]),
            _ => None,
        }
    }

    /// Finiteness of the selected rows only: the others do not matter here.
    fn check_selection(&self) -> Result<()> {
        if let Values::Sparse(matrix) = &self.values
            && matrix.not_finite().is_none()
        {
            return Ok(());
        }
        let finite_row = |row: usize| {
            let start = self.memory_row(row) * self.row_stride;
            match &self.values {
                Values::F64(v) => v[start..start + self.p].iter().all(|v| v.is_finite()),
                Values::F32(v) => v[start..start + self.p].iter().all(|v| v.is_finite()),
                Values::Columns(_) | Values::Sparse(_) => false,
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
        self.check_size(n)?;
        self.check_finite()
    }

    /// Checks the numbers of rows and columns.
    pub(crate) fn check_size(&self, n: usize) -> Result<()> {
        if self.p == 0 {
            return Err(Error::NoColumns);
        }
        crate::error::check_length("covariates (rows)", self.n, n)
    }

    /// Names a value that is not finite.
    pub(crate) fn check_finite(&self) -> Result<()> {
        if self.rows.is_some() {
            return self.check_selection();
        }
        let bad = match &self.values {
            Values::F64(v) => v.iter().position(|v| !v.is_finite()),
            Values::F32(v) => v.iter().position(|v| !v.is_finite()),
            Values::Columns(columns) => columns.iter().enumerate().find_map(|(j, column)| {
                let row = column.iter().position(|v| !v.is_finite())?;
                Some(j * self.n + row)
            }),
            Values::Sparse(matrix) => matrix.not_finite().map(|(row, j)| j * self.n + row),
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

/// The columns of a faer matrix, which lie apart where it pads them; nothing is copied.
///
/// Fails with [`Error::Setting`] where rows are not next to each other, as in a transposed view.
///
/// ```
/// use cox_survival::Covariates;
/// let matrix = faer::Mat::from_fn(3, 2, |i, j| (10 * i + j) as f64);
/// let x = Covariates::try_from(matrix.as_ref())?;
/// assert_eq!((x.n(), x.p(), x.get(2, 1)), (3, 2, 21.0));
/// # Ok::<(), cox_survival::Error>(())
/// ```
impl<'a> TryFrom<faer::MatRef<'a, f64>> for Covariates<'a> {
    type Error = Error;

    fn try_from(matrix: faer::MatRef<'a, f64>) -> Result<Self> {
        let column = |j| {
            let column = matrix.col(j).try_as_col_major()?;
            Some(column.as_slice())
        };
        let columns: Option<Vec<&[f64]>> = (0..matrix.ncols()).map(column).collect();
        Self::from_column_slices(&columns.ok_or_else(gaps)?)
    }
}

/// A matrix without gaps, row after row or column after column; nothing is copied.
#[cfg(feature = "ndarray")]
impl<'a> TryFrom<ndarray::ArrayView2<'a, f64>> for Covariates<'a> {
    type Error = Error;

    fn try_from(matrix: ndarray::ArrayView2<'a, f64>) -> Result<Self> {
        let (n, p) = matrix.dim();
        if let Some(values) = matrix.to_slice() {
            return Self::from_rows(values, n, p);
        }
        let values = matrix.reversed_axes().to_slice().ok_or_else(gaps)?;
        Self::from_columns(values, n, p)
    }
}

/// The same in single precision.
#[cfg(feature = "ndarray")]
impl<'a> TryFrom<ndarray::ArrayView2<'a, f32>> for Covariates<'a> {
    type Error = Error;

    fn try_from(matrix: ndarray::ArrayView2<'a, f32>) -> Result<Self> {
        let (n, p) = matrix.dim();
        if let Some(values) = matrix.to_slice() {
            return Self::from_rows_f32(values, n, p);
        }
        let values = matrix.reversed_axes().to_slice().ok_or_else(gaps)?;
        Self::from_columns_f32(values, n, p)
    }
}

fn gaps() -> Error {
    Error::Setting {
        name: "covariates",
        value: "a view with gaps".to_owned(),
        expected: "must lie in memory row after row or column after column: copy it first",
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

/// `out[k * p + j] = source[start_k + j * stride]`.
fn gather_rows<T: Copy + Into<f64>>(
    source: &[T],
    starts: impl Iterator<Item = usize>,
    stride: usize,
    p: usize,
    out: &mut [f64],
) {
    if stride == 1 {
        for (start, out) in starts.zip(out.chunks_exact_mut(p)) {
            for (out, &value) in out.iter_mut().zip(&source[start..start + p]) {
                *out = value.into();
            }
        }
        return;
    }
    let starts: Vec<usize> = starts.collect();
    if starts.is_empty() {
        return;
    }
    for j in 0..p {
        let column = &source[j * stride..];
        for (&start, out) in starts.iter().zip(out[j..].iter_mut().step_by(p)) {
            *out = column[start].into();
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
    fn columns_that_lie_apart_are_one_matrix() {
        let values: Vec<f64> = (0..12).map(|k| f64::from(k * k)).collect();
        let whole = Covariates::from_columns(&values, 4, 3).unwrap();
        let parts: Vec<&[f64]> = values.chunks_exact(4).collect();
        let apart = Covariates::from_column_slices(&parts).unwrap();
        let select = [3, 0, 3];
        for (a, b) in [
            (whole.clone(), apart.clone()),
            (
                whole.select(&select).unwrap(),
                apart.select(&select).unwrap(),
            ),
        ] {
            assert!(a.check(a.n()).is_ok() && b.check(b.n()).is_ok());
            let rows: Vec<u32> = (0..a.n() as u32).rev().collect();
            let (mut x, mut y) = (vec![0.0; a.n() * 3], vec![1.0; a.n() * 3]);
            a.gather_rows(&rows, &mut x);
            b.gather_rows(&rows, &mut y);
            assert_eq!(x, y);
            a.gather_block(&rows, 1, &mut x[..2 * a.n()]);
            b.gather_block(&rows, 1, &mut y[..2 * a.n()]);
            assert_eq!(x, y);
            for j in 0..3 {
                assert_eq!(a.column(j), b.column(j));
            }
        }
        let mut bad = values.clone();
        bad[9] = f64::INFINITY;
        let parts: Vec<&[f64]> = bad.chunks_exact(4).collect();
        let apart = Covariates::from_column_slices(&parts).unwrap();
        assert!(
            matches!(apart.check(4), Err(Error::NotFinite { column, row: 1, .. }) if column == "x3")
        );
        let uneven = Covariates::from_column_slices(&[&values[..4], &values[..3]]);
        assert!(matches!(uneven, Err(Error::Length { .. })));
        let matrix = faer::Mat::from_fn(4, 3, |i, j| values[4 * j + i]);
        let view = Covariates::try_from(matrix.as_ref()).unwrap();
        assert_eq!(view.column(2), whole.column(2));
        assert!(Covariates::try_from(matrix.as_ref().transpose()).is_err());
    }

    #[cfg(feature = "ndarray")]
    #[test]
    fn arrays_are_views_in_either_order() {
        use ndarray::{Array2, Axis, ShapeBuilder};
        let value = |(i, j): (usize, usize)| (10 * i + j) as f64;
        let rows = Array2::from_shape_fn((4, 3), value);
        let columns = Array2::from_shape_fn((4, 3).f(), value);
        for array in [rows.view(), columns.view()] {
            let x = Covariates::try_from(array).unwrap();
            assert_eq!((x.n(), x.p()), (4, 3));
            assert_eq!(x.column(1), vec![1.0, 11.0, 21.0, 31.0]);
        }
        let single = rows.mapv(|v| v as f32);
        assert_eq!(
            Covariates::try_from(single.view()).unwrap().column(2)[3].to_bits(),
            32f64.to_bits()
        );
        let (gaps, _) = rows.view().split_at(Axis(1), 2);
        assert!(matches!(
            Covariates::try_from(gaps),
            Err(Error::Setting { .. })
        ));
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
