//! 3x3 convolution through matrix products: Winograd's F(4x4, 3x3) (Lavin and Gray 2016).
//!
//! Each 4x4 tile of the output needs a 6x6 tile of the input. In the transformed domain the
//! convolution is 36 independent matrix products over the channels, with a quarter of the
//! multiplications of the direct sum:
//! $Y = A^\top [ (G g G^\top) \odot (B^\top d B) ] A$.
//!
//! The points of the transform are $0, \pm a, \pm b, \infty$ with $a = 3/4$, $b = 3/2$ instead of the
//! usual 1 and 2 (Barabasz et al. 2020, "Error analysis and improving the accuracy of Winograd
//! convolution for deep neural networks"): every constant of $A$ and $B$ is still exact in single
//! precision, and the rounding error is about three times that of the direct sum instead of seven
//! (largest error: four times instead of fifteen).
//!
//! Tiles are processed in groups that stay in the cache. Groups and the order of summation depend
//! on the shapes only, so that the result does not depend on the number of threads. Cost:
//! $O(36/16 \cdot O\,I\,H\,W)$ multiplications and $O((I + O)\,H\,W)$ for the transforms.

// What runs inside a SIMD dispatch must be inlined into it to be compiled for that instruction set.
#![allow(clippy::inline_always)]

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::Arch;
use rayon::prelude::*;

use super::tiles::{A1, A2, B1, B2, InputTiles, L0, LA, LB, OutputTiles, P, STEP, TILE};
use super::{vectorized, with_scratch};

/// The transformed input of a group of tiles stays below this many numbers.
const GROUP: usize = 1 << 20;

/// Sizes of one convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Whether the sizes suit this path: whole tiles, and enough work for the transforms to pay.
pub(crate) fn suits(shape: &Shape) -> bool {
    let Shape {
        input,
        output,
        height,
        width,
        ..
    } = *shape;
    height.is_multiple_of(STEP)
        && width.is_multiple_of(STEP)
        && height >= 8
        && width >= 8
        && input >= 16
        && output >= 16
}

/// The tiles that are transformed and multiplied together: whole images where they are small,
/// some rows of tiles of one image where they are large.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// The images, `images.0` of them from `images.1` on.
    pub(super) images: (usize, usize),
    /// The rows of tiles of each, `rows.0` of them from `rows.1` on.
    pub(super) rows: (usize, usize),
}

impl Group {
    /// Tiles of one image.
    pub(super) fn per_image(&self, shape: &Shape) -> usize {
        self.rows.0 * shape.width / STEP
    }
}

/// Splits a convolution into groups whose transforms stay in the cache.
pub(super) fn groups(shape: &Shape) -> Vec<Group> {
    let (rows, columns) = (shape.height / STEP, shape.width / STEP);
    let most = GROUP / (P * shape.input.max(shape.output));
    let at_once = (most / (rows * columns)).clamp(1, shape.batch);
    let group_rows = (most / columns).clamp(1, rows);
    let mut groups = Vec::new();
    for image in (0..shape.batch).step_by(at_once) {
        for row in (0..rows).step_by(group_rows) {
            groups.push(Group {
                images: (at_once.min(shape.batch - image), image),
                rows: (group_rows.min(rows - row), row),
            });
        }
    }
    groups
}

/// Correlates `x` `[N, I, H, W]` with `weight` `[O, I, 3, 3]`, padding by one zero.
pub(crate) fn conv3x3(x: &[f32], weight: &[f32], shape: &Shape) -> Vec<f32> {
    let &Shape {
        batch,
        input,
        output,
        height,
        width,
    } = shape;
    let arch = Arch::new();
    let kernel = transform_weight(arch, weight, input, output);
    let plane = height * width;
    let mut y = vec![0.0; batch * output * plane];
    let groups = groups(shape);
    let most = groups.iter().map(|g| g.images.0 * g.per_image(shape)).max();
    let lengths = [input, output].map(|c| c * P * most.unwrap_or(0));
    with_scratch(lengths, |v, m| {
        for group in &groups {
            let tiles = group.images.0 * group.per_image(shape);
            let v = &mut v[..input * P * tiles];
            let m = &mut m[..P * output * tiles];
            transform_inputs(arch, x, shape, group, v);
            multiply(v, &kernel, (input, output, tiles), m);
            let (images, first) = group.images;
            let y = &mut y[first * output * plane..(first + images) * output * plane];
            transform_outputs(arch, m, shape, group, y);
        }
    });
    y
}

/// The products of all 36 places: `v` `[I, 36, tiles]` and `kernel` `[O, 36, I]` to `m` `[36, O, tiles]`.
fn multiply(
    v: &[f32],
    kernel: &[f32],
    (input, output, tiles): (usize, usize, usize),
    m: &mut [f32],
) {
    m.par_chunks_mut(output * tiles)
        .enumerate()
        .for_each(|(p, m)| {
            let lhs = MatRef::from_column_major_slice_with_stride(
                &v[p * tiles..(P * (input - 1) + p + 1) * tiles],
                tiles,
                input,
                P * tiles,
            );
            let rhs = MatRef::from_column_major_slice_with_stride(
                &kernel[p * input..(P * (output - 1) + p + 1) * input],
                input,
                output,
                P * input,
            );
            let out = MatMut::from_column_major_slice_mut(m, tiles, output);
            matmul(out, Accum::Replace, lhs, rhs, 1.0_f32, Par::Seq);
        });
}

/// The pixels of a group of every channel from its products `[36, O, tiles]`.
fn transform_outputs(arch: Arch, m: &[f32], shape: &Shape, group: &Group, y: &mut [f32]) {
    let &Shape {
        output,
        height,
        width,
        ..
    } = shape;
    let each = group.per_image(shape);
    let tiles = group.images.0 * each;
    y.par_chunks_mut(height * width)
        .enumerate()
        .for_each_init(Vec::new, |scratch, (k, plane)| {
            let (image, o) = (k / output, k % output);
            arch.dispatch(OutputTiles {
                m: &m[o * tiles + image * each..],
                apart: output * tiles,
                width,
                rows: group.rows,
                scratch,
                plane,
            });
        });
}

/// The tiles of a group of every channel, to `[I, 36, tiles]`.
pub(super) fn transform_inputs(arch: Arch, x: &[f32], shape: &Shape, group: &Group, v: &mut [f32]) {
    let (input, plane) = (shape.input, shape.height * shape.width);
    let each = group.per_image(shape);
    let (images, first) = group.images;
    let tiles = images * each;
    v.par_chunks_mut(P * tiles)
        .enumerate()
        .for_each_init(Vec::new, |scratch, (i, v)| {
            for image in 0..images {
                let start = ((first + image) * input + i) * plane;
                let (x, place) = (&x[start..start + plane], (image * each, tiles));
                arch.dispatch(InputTiles {
                    plane: x,
                    width: shape.width,
                    rows: group.rows,
                    place,
                    scratch,
                    v,
                });
            }
        });
}

/// `[O, I, 3, 3]` to `[O, 36, I]`: $G g G^\top$.
fn transform_weight(arch: Arch, weight: &[f32], input: usize, output: usize) -> Vec<f32> {
    let mut kernel = vec![0.0; output * P * input];
    kernel
        .par_chunks_mut(P * input)
        .zip(weight.par_chunks(9 * input))
        .for_each(|(u, w)| {
            vectorized(
                arch,
                #[inline(always)]
                || weight_of_output(w, u, input),
            );
        });
    kernel
}

#[inline(always)]
fn weight_of_output(w: &[f32], u: &mut [f32], input: usize) {
    let mut taps = vec![0.0_f32; 9 * input];
    for (i, w) in w.chunks_exact(9).enumerate() {
        for (k, &w) in w.iter().enumerate() {
            taps[k * input + i] = w;
        }
    }
    // Rows first: half[r][c] = (G g)[r][c].
    let mut half = vec![0.0_f32; 18 * input];
    for c in 0..3 {
        let g = [0, 1, 2].map(|r| &taps[(3 * r + c) * input..(3 * r + c + 1) * input]);
        for i in 0..input {
            let out = g_transform(g[0][i], g[1][i], g[2][i]);
            for (r, value) in out.into_iter().enumerate() {
                half[(3 * r + c) * input + i] = value;
            }
        }
    }
    for r in 0..TILE {
        let g = [0, 1, 2].map(|c| &half[(3 * r + c) * input..(3 * r + c + 1) * input]);
        let u = &mut u[TILE * r * input..TILE * (r + 1) * input];
        for i in 0..input {
            let out = g_transform(g[0][i], g[1][i], g[2][i]);
            for (c, value) in out.into_iter().enumerate() {
                u[c * input + i] = value;
            }
        }
    }
}

/// $G g$ along one dimension.
#[inline(always)]
fn g_transform(g0: f32, g1: f32, g2: f32) -> [f32; TILE] {
    let (even_a, odd_a) = ((g0 + A2 * g2) * LA, g1 * (A1 * LA));
    let (even_b, odd_b) = ((g0 + B2 * g2) * LB, g1 * (B1 * LB));
    [
        g0 * L0,
        even_a + odd_a,
        even_a - odd_a,
        even_b + odd_b,
        even_b - odd_b,
        g2,
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sum as it is defined, in double precision.
    fn direct(x: &[f32], w: &[f32], s: &Shape) -> Vec<f64> {
        let (h, wd) = (s.height, s.width);
        let mut y = vec![0.0; s.batch * s.output * h * wd];
        for (index, out) in y.iter_mut().enumerate() {
            let (px, rest) = (index % wd, index / wd);
            let (py, rest) = (rest % h, rest / h);
            let (o, n) = (rest % s.output, rest / s.output);
            for i in 0..s.input {
                for k in 0..9 {
                    let (sy, sx) = (py + k / 3, px + k % 3);
                    if sy == 0 || sx == 0 || sy > h || sx > wd {
                        continue;
                    }
                    let x = x[((n * s.input + i) * h + sy - 1) * wd + sx - 1];
                    *out += f64::from(x) * f64::from(w[(o * s.input + i) * 9 + k]);
                }
            }
        }
        y
    }

    pub(in super::super) fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2) + 1;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn equals_the_direct_sum(
            batch in 1_usize..3, input in 16_usize..40, output in 16_usize..40,
            rows in 2_usize..5, columns in 2_usize..9, seed in any::<u64>(),
        ) {
            let shape = Shape { batch, input, output, height: 4 * rows, width: 4 * columns };
            prop_assert!(suits(&shape));
            let x = numbers(batch * input * 16 * rows * columns, seed);
            let w = numbers(output * input * 9, seed ^ 1);
            let fast = conv3x3(&x, &w, &shape);
            let slow = direct(&x, &w, &shape);
            // Sums of 9 I products of numbers up to 1.
            let bound = 6e-6 * (9.0 * input as f64).sqrt();
            for (a, b) in fast.iter().zip(&slow) {
                prop_assert!((f64::from(*a) - b).abs() < bound, "{a} and {b}");
            }
        }
    }

    #[test]
    fn several_groups_and_threads_give_the_same_bits() {
        let shape = Shape {
            batch: 2,
            input: 512,
            output: 16,
            height: 32,
            width: 32,
        };
        // Two images, each in two parts.
        assert_eq!(groups(&shape).len(), 4);
        let x = numbers(2 * 512 * 32 * 32, 3);
        let w = numbers(16 * 512 * 9, 4);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| conv3x3(&x, &w, &shape))
        };
        let one = run(1);
        assert!(
            run(3)
                .iter()
                .zip(&one)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        let slow = direct(&x, &w, &shape);
        assert_eq!(one.len(), slow.len());
        let worst = one
            .iter()
            .zip(&slow)
            .map(|(a, b)| (f64::from(*a) - b).abs())
            .fold(0.0, f64::max);
        assert!(worst < 6e-6 * (9.0 * 512.0_f64).sqrt(), "{worst:e}");
    }
}
