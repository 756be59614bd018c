//! Columns kept as they came, in single precision, and standardised as they are read.
//!
//! With `z_j = (x_j - mean_j) / scale_j` both products of a pass over the features need only `x_j`:
//! `z_j' r = (x_j' r - mean_j sum r) / scale_j`, and `sum_j b_j z_j` is `sum_j (b_j / scale_j) x_j`
//! less one number for all rows. All arithmetic is in double precision. Memory: none for columns that lie as
//! columns, whose order of rows is kept and the vector put into it; `4 n p` bytes for others, where standardised
//! columns take `8 n p`.

use std::borrow::Cow;

/// What a column becomes `z` by; a scale of 0 makes it all zeros.
#[derive(Clone, Copy)]
pub(super) struct Standard<'a> {
    pub(super) mean: &'a [f64],
    pub(super) scale: &'a [f64],
}

impl Standard<'_> {
    pub(super) fn inverse(&self, j: usize) -> f64 {
        if self.scale[j] > 0.0 {
            1.0 / self.scale[j]
        } else {
            0.0
        }
    }
}

/// Columns in single precision: those of the caller where they lie as columns, and a copy in the order of the
/// positions where they do not.
#[derive(Debug, Clone)]
pub(super) struct Single<'a> {
    x: Cow<'a, [f32]>,
    /// Length of a column.
    rows: usize,
    /// The row of a column that each position has; none where it is the position itself. A row may have several
    /// positions, or none.
    order: Option<Vec<u32>>,
}

impl<'a> Single<'a> {
    /// Columns of length `n` by position.
    pub(super) fn by_position(x: Vec<f32>, n: usize) -> Self {
        Self {
            x: Cow::Owned(x),
            rows: n,
            order: None,
        }
    }

    /// Columns of length `rows` as they came, of which position `k` has row `order[k]`.
    pub(super) fn borrowed(x: &'a [f32], rows: usize, order: Vec<u32>) -> Self {
        Self {
            x: Cow::Borrowed(x),
            rows,
            order: Some(order),
        }
    }

    /// Bytes of columns that are not the caller's.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        match &self.x {
            Cow::Owned(x) => size_of_val(x.as_slice()),
            Cow::Borrowed(_) => 0,
        }
    }

    fn column(&self, j: usize) -> &[f32] {
        &self.x[j * self.rows..(j + 1) * self.rows]
    }

    /// `z_j`.
    pub(super) fn standardised(&self, j: usize, by: Standard<'_>) -> Vec<f64> {
        let (mean, inverse) = (by.mean[j], by.inverse(j));
        let column = self.column(j);
        let one = |x: f32| (f64::from(x) - mean) * inverse;
        match &self.order {
            None => column.iter().map(|&x| one(x)).collect(),
            Some(order) => order.iter().map(|&row| one(column[row as usize])).collect(),
        }
    }

    /// What is given by position, by the rows of the columns.
    fn by_row<'r>(&self, r: &'r [f64]) -> Cow<'r, [f64]> {
        let Some(order) = &self.order else {
            return Cow::Borrowed(r);
        };
        let mut rows = vec![0.0; self.rows];
        for (&row, r) in order.iter().zip(r) {
            rows[row as usize] += r;
        }
        Cow::Owned(rows)
    }

    /// `z_j' r` of the columns `which`.
    pub(super) fn dots(&self, which: &[usize], r: &[f64], by: Standard<'_>) -> Vec<f64> {
        let sum: f64 = r.iter().sum();
        let by_row = self.by_row(r);
        let r = &*by_row;
        let mut out = Vec::with_capacity(which.len());
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let finish = |j: usize, dot: f64| (dot - by.mean[j] * sum) * by.inverse(j);
                let (fours, rest) = which.as_chunks::<4>();
                for four in fours {
                    let dots = dots(four.map(|j| self.column(j)), r);
                    out.extend(four.iter().zip(dots).map(|(&j, dot)| finish(j, dot)));
                }
                for &j in rest {
                    out.push(finish(j, dots([self.column(j)], r)[0]));
                }
            },
        );
        out
    }

    /// `eta += sum_j change_j z_j`.
    pub(super) fn add_to(&self, eta: &mut [f64], changes: &[(usize, f64)], by: Standard<'_>) {
        let shares: Vec<(usize, f64)> = changes
            .iter()
            .map(|&(j, b)| (j, b * by.inverse(j)))
            .collect();
        let shift: f64 = shares.iter().map(|&(j, b)| b * by.mean[j]).sum();
        if let Some(order) = &self.order {
            let mut sums = vec![0.0; self.rows];
            self.add_shares(&mut sums, &shares, 0.0);
            for (e, &row) in eta.iter_mut().zip(order) {
                *e += sums[row as usize] - shift;
            }
        } else {
            self.add_shares(eta, &shares, shift);
        }
    }

    /// `to += sum_j b_j x_j - shift`, by the rows of the columns.
    fn add_shares(&self, to: &mut [f64], shares: &[(usize, f64)], shift: f64) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let (fours, rest) = shares.as_chunks::<4>();
                for four in fours {
                    let x = four.map(|(j, _)| self.column(j));
                    add(to, x, four.map(|(_, b)| b));
                }
                for &(j, b) in rest {
                    add(to, [self.column(j)], [b]);
                }
                for to in to.iter_mut() {
                    *to -= shift;
                }
            },
        );
    }
}

/// Dot products of `C` columns with one vector, each in eight interleaved sums; their order does
/// not depend on `C`.
#[inline(always)]
fn dots<const C: usize>(x: [&[f32]; C], r: &[f64]) -> [f64; C] {
    let mut sums = [[0.0; 8]; C];
    let (r_head, r_tail) = r.as_chunks::<8>();
    let x = x.map(|x| {
        let (head, tail) = x.as_chunks::<8>();
        (&head[..r_head.len()], tail)
    });
    for (i, r) in r_head.iter().enumerate() {
        for c in 0..C {
            for k in 0..8 {
                sums[c][k] += f64::from(x[c].0[i][k]) * r[k];
            }
        }
    }
    let mut out = [0.0; C];
    for c in 0..C {
        let s = &sums[c];
        out[c] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
        for (x, r) in x[c].1.iter().zip(r_tail) {
            out[c] += f64::from(*x) * r;
        }
    }
    out
}

/// `eta += sum_c b_c x_c`, in the order of the columns.
#[inline(always)]
fn add<const C: usize>(eta: &mut [f64], x: [&[f32]; C], b: [f64; C]) {
    let x = x.map(|x| &x[..eta.len()]);
    for (i, e) in eta.iter_mut().enumerate() {
        let mut sum = *e;
        for c in 0..C {
            sum += b[c] * f64::from(x[c][i]);
        }
        *e = sum;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_are_those_of_standardised_columns(
            x in prop::collection::vec(-3.0f32..3.0, 26 * 7),
            r in prop::collection::vec(-1.0..1.0, 26),
            mean in prop::collection::vec(-50.0..50.0, 7),
            which in prop::collection::vec(0usize..7, 0..12),
            // Rows that are left out, and some that come twice.
            order in prop::collection::vec(0u32..26, 26),
            borrowed in any::<bool>(),
        ) {
            let single = if borrowed {
                Single::borrowed(&x, 26, order.clone())
            } else {
                Single::by_position(x.clone(), 26)
            };
            let scale = [1.0, 0.5, 0.0, 2.0, 3.0, 0.1, 1.0];
            let by = Standard { mean: &mean, scale: &scale };
            let z = |j: usize| single.standardised(j, by);
            for (i, (z, &row)) in z(1).iter().zip(&order).enumerate() {
                let row = if borrowed { row as usize } else { i };
                let want = (f64::from(x[26 + row]) - mean[1]) / 0.5;
                prop_assert!((z - want).abs() < 1e-10);
            }
            prop_assert!(z(2).iter().all(|z| z.abs() < 1e-300));
            for (&j, dot) in which.iter().zip(single.dots(&which, &r, by)) {
                let want: f64 = z(j).iter().zip(&r).map(|(z, r)| z * r).sum();
                prop_assert!((dot - want).abs() < 1e-10, "{dot} {want}");
            }
            let changes: Vec<(usize, f64)> =
                which.iter().map(|&j| (j, 0.3 - 0.1 * j as f64)).collect();
            let mut eta = r.clone();
            single.add_to(&mut eta, &changes, by);
            for (i, eta) in eta.iter().enumerate() {
                let want = r[i] + changes.iter().map(|&(j, b)| b * z(j)[i]).sum::<f64>();
                prop_assert!((eta - want).abs() < 1e-10, "{eta} {want}");
            }
        }
    }
}
