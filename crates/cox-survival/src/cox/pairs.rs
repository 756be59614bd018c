//! Sums of products of row vectors, `sum u v'`, in cache-sized batches: the lower triangle only.
//!
//! Needs: pairs whose total is symmetric. Returns its lower triangle. Cost: half of `p^2` multiply-adds per
//! pair, in tiles of the matrix that stay in registers while a batch goes by; beyond [`OWN`]
//! columns faer's triangular product does the same, blocked for the caches besides.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use pulp::Simd;

/// Pairs gathered before each product.
const BATCH: usize = 128;
/// The most columns for which the tiles here are faster.
const OWN: usize = 96;
/// Columns of a tile.
const WIDTH: usize = 4;
/// Rows are padded with zeros to a multiple of this.
const PAD: usize = 8;

/// Pairs waiting, and the sum of those gone by.
pub(crate) struct Pairs {
    p: usize,
    /// Padded length of a row.
    stride: usize,
    u: Vec<f64>,
    v: Vec<f64>,
    filled: usize,
    /// Column-major `[stride, stride]`.
    sum: Vec<f64>,
}

/// Length of a row of `p` columns with its padding.
pub(crate) fn padded(p: usize) -> usize {
    p.next_multiple_of(PAD)
}

impl Pairs {
    pub(crate) fn new(p: usize) -> Self {
        let stride = padded(p);
        Self {
            p,
            stride,
            u: vec![0.0; BATCH * stride],
            v: vec![0.0; BATCH * stride],
            filled: 0,
            sum: vec![0.0; stride * stride],
        }
    }

    /// The next pair, to be written whole.
    #[inline(always)]
    pub(crate) fn next<S: Simd>(&mut self, simd: S) -> (&mut [S::f64s], &mut [S::f64s]) {
        if self.filled == BATCH {
            self.flush(simd);
        }
        let at = self.filled * self.stride..(self.filled + 1) * self.stride;
        self.filled += 1;
        (
            S::as_mut_simd_f64s(&mut self.u[at.clone()]).0,
            S::as_mut_simd_f64s(&mut self.v[at]).0,
        )
    }

    fn flush<S: Simd>(&mut self, simd: S) {
        simd.vectorize(Flush { pairs: self });
        self.filled = 0;
    }

    /// The lower triangle of the sum; the upper one is zero.
    pub(crate) fn finish<S: Simd>(mut self, simd: S) -> Mat<f64> {
        self.flush(simd);
        Mat::from_fn(self.p, self.p, |i, j| {
            if i >= j {
                self.sum[j * self.stride + i]
            } else {
                0.0
            }
        })
    }
}

struct Flush<'a> {
    pairs: &'a mut Pairs,
}

impl pulp::WithSimd for Flush<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Pairs {
            p,
            stride,
            u,
            v,
            filled,
            sum,
        } = self.pairs;
        let (stride, used) = (*stride, *filled * *stride);
        if *p > OWN {
            triangular_product(
                MatMut::from_column_major_slice_mut(sum, stride, stride),
                MatRef::from_column_major_slice(&u[..used], stride, *filled),
                MatRef::from_column_major_slice(&v[..used], stride, *filled),
                1.0,
            );
            return;
        }
        let lanes = S::F64_LANES;
        let vectors = stride / lanes;
        let u = S::as_simd_f64s(&u[..used]).0;
        let v = &v[..used];
        for j in (0..*p).step_by(WIDTH) {
            let mut i = j / lanes;
            while i < vectors {
                let columns = &mut sum[j * stride..(j + WIDTH) * stride];
                let rest = vectors - i;
                // Four vectors by four columns where there are registers for them.
                let rows = if lanes >= 8 { 5 } else { 3 };
                match rest.min(rows) {
                    5 => tile::<S, 5>(simd, u, v, [i, j, vectors], columns),
                    4 => tile::<S, 4>(simd, u, v, [i, j, vectors], columns),
                    3 => tile::<S, 3>(simd, u, v, [i, j, vectors], columns),
                    2 => tile::<S, 2>(simd, u, v, [i, j, vectors], columns),
                    _ => tile::<S, 1>(simd, u, v, [i, j, vectors], columns),
                }
                i += rest.min(rows);
            }
        }
    }
}

/// `sum[i.., j..] += u' v` for `R` vectors of rows from the `i`-th on and [`WIDTH`] columns.
#[inline(always)]
fn tile<S: Simd, const R: usize>(
    simd: S,
    u: &[S::f64s],
    v: &[f64],
    [i, j, vectors]: [usize; 3],
    columns: &mut [f64],
) {
    let stride = vectors * S::F64_LANES;
    let mut sums = [[simd.splat_f64s(0.0); R]; WIDTH];
    for (u, v) in u.chunks_exact(vectors).zip(v.chunks_exact(stride)) {
        let u: &[S::f64s] = &u[i..i + R];
        let v = &v[j..j + WIDTH];
        for c in 0..WIDTH {
            let wide = simd.splat_f64s(v[c]);
            for r in 0..R {
                sums[c][r] = simd.mul_add_f64s(u[r], wide, sums[c][r]);
            }
        }
    }
    for (sums, column) in sums.iter().zip(columns.chunks_exact_mut(stride)) {
        let column = &mut S::as_mut_simd_f64s(column).0[i..i + R];
        for r in 0..R {
            column[r] = simd.add_f64s(column[r], sums[r]);
        }
    }
}

/// Lower triangle of `target += sign * U V'`.
fn triangular_product(target: MatMut<'_, f64>, u: MatRef<'_, f64>, v: MatRef<'_, f64>, sign: f64) {
    triangular::matmul(
        target,
        BlockStructure::TriangularLower,
        Accum::Add,
        u,
        BlockStructure::Rectangular,
        v.transpose(),
        BlockStructure::Rectangular,
        sign,
        Par::Seq,
    );
}

/// Lower triangle of `target += sign * B B'`.
pub(crate) fn add_gram(target: MatMut<'_, f64>, b: MatRef<'_, f64>, sign: f64) {
    triangular_product(target, b, b, sign);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Run<'a>(&'a [f64], usize);

    impl pulp::WithSimd for Run<'_> {
        type Output = Mat<f64>;

        fn with_simd<S: Simd>(self, simd: S) -> Mat<f64> {
            let Self(rows, p) = self;
            let mut pairs = Pairs::new(p);
            for (k, row) in rows.chunks_exact(p).enumerate() {
                let (u, v) = pairs.next(simd);
                let mut whole = vec![0.0; padded(p)];
                whole[..p].copy_from_slice(row);
                u.copy_from_slice(S::as_simd_f64s(&whole).0);
                for x in &mut whole {
                    *x *= 1.0 + k as f64;
                }
                v.copy_from_slice(S::as_simd_f64s(&whole).0);
            }
            pairs.finish(simd)
        }
    }

    #[test]
    fn the_sum_of_the_pairs_is_that_of_their_products() {
        for p in [1, 3, 4, 7, 8, 9, 20, 33, 50, 64, 97, 100] {
            for n in [1, 127, 128, 300] {
                let rows: Vec<f64> = (0..n * p)
                    .map(|k| ((k * 37 % 101) as f64 - 50.0) / 50.0)
                    .collect();
                let got = pulp::Arch::new().dispatch(Run(&rows, p));
                for i in 0..p {
                    for j in 0..p {
                        let terms = rows.chunks_exact(p).enumerate();
                        let want: f64 = terms.map(|(k, x)| (1.0 + k as f64) * x[i] * x[j]).sum();
                        let want = if i >= j { want } else { 0.0 };
                        assert!(
                            (got[(i, j)] - want).abs() < 1e-9,
                            "{p} columns, {n} pairs, ({i}, {j})"
                        );
                    }
                }
            }
        }
    }
}
