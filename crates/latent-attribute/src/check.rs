//! Validation shared by all entry points: each check names the argument and the cell at fault.

use crate::error::{Error, Result};

/// Checks that `found` values are `expected`.
pub(crate) fn length(what: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::Length {
            what: what.to_owned(),
            expected,
            found,
        })
    }
}

/// Copies a vector of `expected` finite values to `f64`.
pub(crate) fn vector<T: Copy + Into<f64>>(
    what: &str,
    values: &[T],
    expected: usize,
) -> Result<Vec<f64>> {
    length(what, expected, values.len())?;
    finite(what, values)
}

/// Copies a vector of any length to `f64`, all entries finite.
pub(crate) fn finite<T: Copy + Into<f64>>(what: &str, values: &[T]) -> Result<Vec<f64>> {
    let values: Vec<f64> = values.iter().map(|&value| value.into()).collect();
    all_finite(what, &values)?;
    Ok(values)
}

/// Checks a row-major `[n, p]` matrix: neither side zero, all cells finite. No copy is made, as a
/// cohort in W+ can fill a good part of the memory.
pub(crate) fn matrix<T: Copy + Into<f64>>(what: &str, x: &[T], n: usize, p: usize) -> Result<()> {
    if n == 0 || p == 0 {
        return Err(Error::Empty {
            what: what.to_owned(),
        });
    }
    let cells = n.saturating_mul(p);
    length(what, cells, x.len())?;
    cells_finite(what, x, p)
}

/// Checks that all entries are finite.
pub(crate) fn all_finite(what: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite {
            what: what.to_owned(),
            index,
            value: values[index],
        }),
    }
}

/// Copies rows of `p` values to `f64`; the number of rows follows from the length.
pub(crate) fn rows<T: Copy + Into<f64>>(what: &str, x: &[T], p: usize) -> Result<Vec<f64>> {
    if p == 0 || !x.len().is_multiple_of(p) {
        return Err(Error::Ragged {
            what: what.to_owned(),
            width: p,
            found: x.len(),
        });
    }
    cells_finite(what, x, p)?;
    Ok(x.iter().map(|&value| value.into()).collect())
}

fn cells_finite<T: Copy + Into<f64>>(what: &str, x: &[T], p: usize) -> Result<()> {
    match x.iter().position(|&value| !value.into().is_finite()) {
        None => Ok(()),
        Some(i) => Err(Error::NotFiniteCell {
            what: what.to_owned(),
            row: i / p,
            column: i % p,
            value: x[i].into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_cell_is_named_by_row_and_column() {
        let x = [0.0, 1.0, 2.0, 3.0, f64::NAN, 5.0];
        let error = matrix("latents", &x, 2, 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "latents: row 1, column 1 is NaN, which is not a finite number"
        );
        let error = vector("coefficients", &[1.0_f32, f32::INFINITY], 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "coefficients: entry 1 is inf, which is not a finite number"
        );
    }

    #[test]
    fn shapes_are_checked_without_overflow() {
        let x = [0.0_f64; 4];
        assert!(matches!(
            matrix("x", &x, 3, 2),
            Err(Error::Length {
                expected: 6,
                found: 4,
                ..
            })
        ));
        assert!(matches!(
            matrix("x", &x, usize::MAX, 2),
            Err(Error::Length { .. })
        ));
        assert!(matches!(matrix("x", &x, 0, 2), Err(Error::Empty { .. })));
        assert!(matches!(
            rows("x", &x, 3),
            Err(Error::Ragged {
                width: 3,
                found: 4,
                ..
            })
        ));
        assert!(matches!(rows("x", &x, 0), Err(Error::Ragged { .. })));
    }
}
