//! Values whose variance overflows, by column and row.

use crate::covariates::Covariates;
use crate::error::Error;

/// The error for column `j`, naming its largest value.
pub(crate) fn overflow(x: &Covariates<'_>, j: usize) -> Error {
    let column = x.column(j);
    let larger = |best: usize, row: usize| {
        if column[row].abs() > column[best].abs() {
            row
        } else {
            best
        }
    };
    let row = (0..column.len()).fold(0, larger);
    Error::Overflow {
        column: x.name(j),
        row,
        value: column[row],
    }
}
