//! 3x3 convolution of stride 2 without padding, its transpose, and the gradient of the weight.
//!
//! All three are matrix products with the nine strided copies of the image
//! (`columns[9 c + k][y, x] = big[c][2 y + k / 3, 2 x + k % 3]`), which are made a few rows at a time,
//! so that they stay in the cache:
//!
//! - down: $small_s = \sum_{c,k} w_{sck}\, columns_{ck}$
//! - up: $columns_{ck} = \sum_s w_{sck}\, small_s$, added back into the image
//! - weight: $w_{sck} = \sum_{n,y,x} small_s \, columns_{ck}$
//!
//! Each image (each tap for the weight) is one task, and a task adds in a fixed order: the number
//! of threads does not change the result.

// What runs inside a SIMD dispatch must be inlined into it to be compiled for that instruction set.
#![allow(clippy::inline_always)]

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::Arch;
use rayon::prelude::*;

use super::vectorized;

/// The columns of a block stay below this many numbers.
const BLOCK: usize = 1 << 17;

/// Sizes: `small` is `[N, S, h, w]`, `big` is `[N, C, 2h + 1, 2w + 1]`, weights are `[S, C, 3, 3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strided {
    pub(crate) batch: usize,
    pub(crate) small: usize,
    pub(crate) big: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Strided {
    fn big_size(&self) -> (usize, usize) {
        (2 * self.height + 1, 2 * self.width + 1)
    }

    fn rows_at_once(&self) -> usize {
        (BLOCK / (9 * self.big * self.width)).clamp(1, self.height)
    }

    /// The parts of the sizes of one image.
    fn planes(&self) -> (usize, usize) {
        let (bh, bw) = self.big_size();
        (self.height * self.width, bh * bw)
    }
}

/// `[N, C, 2h + 1, 2w + 1]` to `[N, S, h, w]`: correlation of stride 2.
pub(crate) fn down(big: &[f32], weight: &[f32], s: &Strided) -> Vec<f32> {
    let (small_plane, big_plane) = s.planes();
    let mut small = vec![0.0; s.batch * s.small * small_plane];
    small
        .par_chunks_mut(s.small * small_plane)
        .zip(big.par_chunks(s.big * big_plane))
        .for_each(|(small, big)| {
            let mut columns = vec![0.0; 9 * s.big * s.rows_at_once() * s.width];
            for first in (0..s.height).step_by(s.rows_at_once()) {
                let count = s.rows_at_once().min(s.height - first);
                let pixels = count * s.width;
                let columns = &mut columns[..9 * s.big * pixels];
                gather(big, s, first, count, columns);
                let lhs = MatRef::from_column_major_slice(columns, pixels, 9 * s.big);
                let rhs = MatRef::from_column_major_slice(weight, 9 * s.big, s.small);
                let start = first * s.width;
                let out = MatMut::from_column_major_slice_with_stride_mut(
                    &mut small[start..(s.small - 1) * small_plane + start + pixels],
                    pixels,
                    s.small,
                    small_plane,
                );
                matmul(out, Accum::Replace, lhs, rhs, 1.0_f32, Par::Seq);
            }
        });
    small
}

/// `[N, S, h, w]` to `[N, C, 2h + 1, 2w + 1]`: the transpose of [`down`].
pub(crate) fn up(small: &[f32], weight: &[f32], s: &Strided) -> Vec<f32> {
    let (small_plane, big_plane) = s.planes();
    let mut big = vec![0.0; s.batch * s.big * big_plane];
    big.par_chunks_mut(s.big * big_plane)
        .zip(small.par_chunks(s.small * small_plane))
        .for_each(|(big, small)| {
            let mut columns = vec![0.0; 9 * s.big * s.rows_at_once() * s.width];
            for first in (0..s.height).step_by(s.rows_at_once()) {
                let count = s.rows_at_once().min(s.height - first);
                let pixels = count * s.width;
                let columns = &mut columns[..9 * s.big * pixels];
                let start = first * s.width;
                let lhs = MatRef::from_column_major_slice_with_stride(
                    &small[start..(s.small - 1) * small_plane + start + pixels],
                    pixels,
                    s.small,
                    small_plane,
                );
                let rhs = MatRef::from_row_major_slice(weight, s.small, 9 * s.big);
                let out = MatMut::from_column_major_slice_mut(columns, pixels, 9 * s.big);
                matmul(out, Accum::Replace, lhs, rhs, 1.0_f32, Par::Seq);
                scatter(columns, s, first, count, big);
            }
        });
    big
}

/// The gradient `[S, C, 3, 3]` of the weight of [`down`] for the gradient `small` of its output, and
/// of the weight of [`up`] for the gradient `big` of its output.
pub(crate) fn weight(small: &[f32], big: &[f32], s: &Strided) -> Vec<f32> {
    let (small_plane, big_plane) = s.planes();
    let (_, bw) = s.big_size();
    let taps: Vec<Vec<f32>> = (0..9)
        .into_par_iter()
        .map(|k| {
            let mut sum = vec![0.0; s.small * s.big];
            let mut copy = vec![0.0; s.big * small_plane];
            for n in 0..s.batch {
                let big = &big[n * s.big * big_plane..(n + 1) * s.big * big_plane];
                for (copy, plane) in copy
                    .chunks_exact_mut(small_plane)
                    .zip(big.chunks_exact(big_plane))
                {
                    for (y, copy) in copy.chunks_exact_mut(s.width).enumerate() {
                        let start = (2 * y + k / 3) * bw + k % 3;
                        every_second(&plane[start..start + 2 * s.width - 1], copy);
                    }
                }
                let small = &small[n * s.small * small_plane..(n + 1) * s.small * small_plane];
                let lhs = MatRef::from_row_major_slice(&copy, s.big, small_plane);
                let rhs = MatRef::from_column_major_slice(small, small_plane, s.small);
                let out = MatMut::from_column_major_slice_mut(&mut sum, s.big, s.small);
                matmul(out, Accum::Add, lhs, rhs, 1.0_f32, Par::Seq);
            }
            sum
        })
        .collect();
    let mut weight = vec![0.0; s.small * s.big * 9];
    for (index, weight) in weight.chunks_exact_mut(9).enumerate() {
        for (weight, tap) in weight.iter_mut().zip(&taps) {
            *weight = tap[index];
        }
    }
    weight
}

fn every_second(from: &[f32], to: &mut [f32]) {
    let (last, to) = to.split_last_mut().expect("widths are positive");
    let (pairs, rest) = from.as_chunks::<2>();
    for (to, pair) in to.iter_mut().zip(pairs) {
        *to = pair[0];
    }
    *last = rest[0];
}

/// Rows of `2 width + 1` numbers taken apart: those at even places, one more, and those at odd ones. Each of the
/// three taps of a row is then without gaps.
struct Halves {
    width: usize,
    even: Vec<f32>,
    odd: Vec<f32>,
}

impl Halves {
    fn new(rows: usize, width: usize) -> Self {
        Self {
            width,
            even: vec![0.0; rows * (width + 1)],
            odd: vec![0.0; rows * width],
        }
    }

    /// The even and the odd places of every row.
    #[inline(always)]
    fn rows_mut(&mut self) -> impl Iterator<Item = (&mut [f32], &mut [f32])> {
        let even = self.even.chunks_exact_mut(self.width + 1);
        even.zip(self.odd.chunks_exact_mut(self.width))
    }

    /// Places `x, x + 2, ...` of a row.
    #[inline(always)]
    fn tap(&mut self, row: usize, x: usize) -> &mut [f32] {
        let (half, start) = match x {
            1 => (&mut self.odd, row * self.width),
            _ => (&mut self.even, row * (self.width + 1) + x / 2),
        };
        &mut half[start..start + self.width]
    }
}

/// The columns `[9 C, count * w]` of `count` rows of the small image from `first` on.
///
/// Rows are taken apart into even and odd places once; what remains is copying.
fn gather(big: &[f32], s: &Strided, first: usize, count: usize, columns: &mut [f32]) {
    let (_, big_plane) = s.planes();
    let (_, bw) = s.big_size();
    let rows = 2 * count + 1;
    let mut halves = Halves::new(rows, s.width);
    let arch = Arch::new();
    for (columns, plane) in columns
        .chunks_exact_mut(9 * count * s.width)
        .zip(big.chunks_exact(big_plane))
    {
        let plane = &plane[2 * first * bw..][..rows * bw];
        vectorized(
            arch,
            #[inline(always)]
            || gather_plane(plane, &mut halves, columns),
        );
    }
}

/// The nine copies `[9, count, width]` of `2 count + 1` rows of one channel.
#[inline(always)]
fn gather_plane(plane: &[f32], halves: &mut Halves, columns: &mut [f32]) {
    let width = halves.width;
    for (row, (even, odd)) in plane.chunks_exact(2 * width + 1).zip(halves.rows_mut()) {
        let (pairs, last) = row.as_chunks::<2>();
        for ((pair, even), odd) in pairs.iter().zip(even.iter_mut()).zip(odd) {
            (*even, *odd) = (pair[0], pair[1]);
        }
        even[width] = last[0];
    }
    let one = columns.len() / 9;
    for (k, copy) in columns.chunks_exact_mut(one).enumerate() {
        for (y, copy) in copy.chunks_exact_mut(width).enumerate() {
            copy.copy_from_slice(halves.tap(2 * y + k / 3, k % 3));
        }
    }
}

/// Adds the columns back into the image: the transpose of [`gather`].
fn scatter(columns: &[f32], s: &Strided, first: usize, count: usize, big: &mut [f32]) {
    let (_, big_plane) = s.planes();
    let (_, bw) = s.big_size();
    let rows = 2 * count + 1;
    let mut halves = Halves::new(rows, s.width);
    let arch = Arch::new();
    for (columns, plane) in columns
        .chunks_exact(9 * count * s.width)
        .zip(big.chunks_exact_mut(big_plane))
    {
        let plane = &mut plane[2 * first * bw..][..rows * bw];
        vectorized(
            arch,
            #[inline(always)]
            || scatter_plane(columns, &mut halves, plane),
        );
    }
}

/// The nine copies `[9, count, width]` of one channel, added to `2 count + 1` rows of its plane.
#[inline(always)]
fn scatter_plane(columns: &[f32], halves: &mut Halves, plane: &mut [f32]) {
    let width = halves.width;
    halves.even.fill(0.0);
    halves.odd.fill(0.0);
    for (k, copy) in columns.chunks_exact(columns.len() / 9).enumerate() {
        for (y, copy) in copy.chunks_exact(width).enumerate() {
            let to = halves.tap(2 * y + k / 3, k % 3);
            for (to, from) in to.iter_mut().zip(copy) {
                *to += from;
            }
        }
    }
    for (row, (even, odd)) in plane.chunks_exact_mut(2 * width + 1).zip(halves.rows_mut()) {
        let (pairs, last) = row.as_chunks_mut::<2>();
        for ((pair, even), odd) in pairs.iter_mut().zip(&*even).zip(&*odd) {
            pair[0] += even;
            pair[1] += odd;
        }
        last[0] += even[width];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::winograd::tests::numbers;
    use super::*;

    /// Every product `small * big * weight` of the definition, to a function of the three places.
    fn visit(s: &Strided, mut f: impl FnMut(usize, usize, usize)) {
        let (bh, bw) = s.big_size();
        for n in 0..s.batch {
            for (o, c) in (0..s.small).flat_map(|o| (0..s.big).map(move |c| (o, c))) {
                for (y, x) in (0..s.height).flat_map(|y| (0..s.width).map(move |x| (y, x))) {
                    for k in 0..9 {
                        f(
                            ((n * s.small + o) * s.height + y) * s.width + x,
                            ((n * s.big + c) * bh + 2 * y + k / 3) * bw + 2 * x + k % 3,
                            (o * s.big + c) * 9 + k,
                        );
                    }
                }
            }
        }
    }

    /// All three by their definition, in double precision.
    fn direct(a: &[f32], b: &[f32], w: &[f32], s: &Strided) -> [Vec<f64>; 3] {
        let [mut d, mut u, mut g] = [a, b, w].map(|like| vec![0.0; like.len()]);
        visit(s, |i, j, k| {
            d[i] += f64::from(b[j]) * f64::from(w[k]);
            u[j] += f64::from(a[i]) * f64::from(w[k]);
            g[k] += f64::from(a[i]) * f64::from(b[j]);
        });
        [d, u, g]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn all_three_equal_the_direct_sums(
            batch in 1_usize..3, small in 1_usize..6, big in 1_usize..6,
            height in 1_usize..9, width in 1_usize..9, seed in any::<u64>(),
        ) {
            let s = Strided { batch, small, big, height, width };
            let (sp, bp) = s.planes();
            let a = numbers(batch * small * sp, seed);
            let b = numbers(batch * big * bp, seed ^ 1);
            let w = numbers(small * big * 9, seed ^ 2);
            let [d, u, g] = direct(&a, &b, &w, &s);
            for (what, fast, slow) in [
                ("down", down(&b, &w, &s), d), ("up", up(&a, &w, &s), u),
                ("weight", weight(&a, &b, &s), g),
            ] {
                prop_assert_eq!(fast.len(), slow.len(), "{}", what);
                for (f, d) in fast.iter().zip(&slow) {
                    prop_assert!((f64::from(*f) - d).abs() < 3e-5, "{what}: {f} and {d}");
                }
            }
        }
    }

    #[test]
    fn several_blocks_and_threads_give_the_same_bits() {
        let s = Strided {
            batch: 3,
            small: 24,
            big: 40,
            height: 30,
            width: 20,
        };
        assert!(s.rows_at_once() < s.height, "several blocks");
        let (sp, bp) = s.planes();
        let (a, b) = (numbers(3 * 24 * sp, 1), numbers(3 * 40 * bp, 2));
        let w = numbers(24 * 40 * 9, 3);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| [down(&b, &w, &s), up(&a, &w, &s), weight(&a, &b, &s)].concat())
        };
        let (one, three) = (run(1), run(3));
        assert!(
            one.iter()
                .zip(&three)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        let slow = direct(&a, &b, &w, &s).concat();
        assert_eq!((one.len(), three.len()), (slow.len(), slow.len()));
        for (f, d) in one.iter().zip(&slow) {
            assert!((f64::from(*f) - d).abs() < 3e-4, "{f} and {d}");
        }
    }
}
