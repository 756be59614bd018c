//! A Cholesky factor in memory that is kept: models follow one another by the thousand, and to clear and fill new
//! pages for each would take as long as the factor itself.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::{factor, solve};
use faer::{MatMut, MatRef, Par, Spec};

/// A factor, or none yet.
#[derive(Default)]
pub(super) struct Cholesky {
    /// The lower triangle counts; the upper one holds anything.
    values: Vec<f64>,
    size: usize,
    /// Whether the matrix was positive definite.
    good: bool,
}

impl Cholesky {
    /// Factorises the `size x size` matrix of which `fill` writes the lower triangle, by columns, over what was there.
    pub(super) fn factorise(&mut self, size: usize, fill: impl FnOnce(&mut [f64])) {
        if self.values.len() < size * size {
            self.values.resize(size * size, 0.0);
        }
        self.size = size;
        let matrix = &mut self.values[..size * size];
        fill(matrix);
        let scratch = factor::cholesky_in_place_scratch::<f64>(size, Par::Seq, Spec::default());
        self.good = MemBuffer::try_new(scratch).is_ok_and(|mut memory| {
            factor::cholesky_in_place(
                MatMut::from_column_major_slice_mut(matrix, size, size),
                factor::LltRegularization::default(),
                Par::Seq,
                MemStack::new(&mut memory),
                Spec::default(),
            )
            .is_ok()
        });
    }

    /// Solves in place; false if there is no factor.
    pub(super) fn solve(&self, rhs: &mut [f64]) -> bool {
        if self.good {
            let size = self.size;
            solve::solve_in_place(
                MatRef::from_column_major_slice(&self.values[..size * size], size, size),
                MatMut::from_column_major_slice_mut(rhs, size, 1),
                Par::Seq,
                MemStack::new(&mut []),
            );
        }
        self.good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_does_not_count() {
        let mut cholesky = Cholesky::default();
        assert!(!cholesky.solve(&mut []));
        cholesky.factorise(3, |m| {
            m.copy_from_slice(&[4.0, 1.0, 0.0, f64::NAN, 3.0, 1.0, 7.0, 7.0, 2.0]);
        });
        let mut x = [4.0 + 2.0, 1.0 + 6.0 + 3.0, 2.0 + 6.0];
        assert!(cholesky.solve(&mut x));
        for (x, want) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((x - want).abs() < 1e-14);
        }
        cholesky.factorise(1, |m| m[0] = -1.0);
        assert!(!cholesky.solve(&mut [1.0]));
        cholesky.factorise(2, |m| (m[0], m[1], m[3]) = (1.0, 0.0, 4.0));
        let mut x = [3.0, 8.0];
        assert!(cholesky.solve(&mut x));
        assert!((x[0] - 3.0).abs() < 1e-15 && (x[1] - 2.0).abs() < 1e-15);
    }
}
