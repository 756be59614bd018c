//! The gradient of a 3x3 convolution with respect to its weight, in Winograd's domain.
//!
//! With $Y = A^\top [(G g G^\top) \odot (B^\top d B)] A$ and $\bar Y$ the gradient of the output,
//! the gradient of the weight is
//! $G^\top [\sum_{tiles} (A \bar Y A^\top) \odot (B^\top d B)] G$: 36 matrix products over the
//! tiles, with a quarter of the multiplications of the direct sum. The products are added up group
//! by group in a fixed order, so that the result does not depend on the number of threads.

// What runs inside a SIMD dispatch must be inlined into it to be compiled for that instruction set.
#![allow(clippy::inline_always)]

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::Arch;
use rayon::prelude::*;

use super::tiles::{A1, A2, B1, B2, GradientTiles, L0, LA, LB, P, TILE};
use super::winograd::{Group, Shape, groups, transform_inputs};
use super::{vectorized, with_scratch};

/// The gradient `[O, I, 3, 3]` of [`conv3x3`](super::winograd::conv3x3) for inputs
/// `x` `[N, I, H, W]` and the gradient `g` `[N, O, H, W]` of its output.
pub(crate) fn conv3x3_weight(x: &[f32], g: &[f32], shape: &Shape) -> Vec<f32> {
    let &Shape { input, output, .. } = shape;
    let arch = Arch::new();
    let groups = groups(shape);
    let most = groups.iter().map(|g| g.images.0 * g.per_image(shape)).max();
    let lengths = [input, output].map(|c| c * P * most.unwrap_or(0));
    let mut m = vec![0.0; P * output * input];
    with_scratch(lengths, |v, u| {
        for group in &groups {
            let tiles = group.images.0 * group.per_image(shape);
            let v = &mut v[..input * P * tiles];
            let u = &mut u[..output * P * tiles];
            transform_inputs(arch, x, shape, group, v);
            transform_gradients(arch, g, shape, group, u);
            add_products(v, u, (input, output, tiles), &mut m);
        }
    });
    let mut weight = vec![0.0; output * input * 9];
    weight
        .par_chunks_mut(9 * input)
        .enumerate()
        .for_each(|(o, weight)| {
            vectorized(
                arch,
                #[inline(always)]
                || weight_of_products(&m, input, output, o, weight),
            );
        });
    weight
}

/// Adds the products of all 36 places: `v` `[I, 36, tiles]` and `u` `[O, 36, tiles]` to `m` `[36, O, I]`.
fn add_products(
    v: &[f32],
    u: &[f32],
    (input, output, tiles): (usize, usize, usize),
    m: &mut [f32],
) {
    m.par_chunks_mut(output * input)
        .enumerate()
        .for_each(|(p, m)| {
            let lhs = MatRef::from_row_major_slice_with_stride(
                &v[p * tiles..(P * (input - 1) + p + 1) * tiles],
                input,
                tiles,
                P * tiles,
            );
            let rhs = MatRef::from_column_major_slice_with_stride(
                &u[p * tiles..(P * (output - 1) + p + 1) * tiles],
                tiles,
                output,
                P * tiles,
            );
            let out = MatMut::from_column_major_slice_mut(m, input, output);
            matmul(out, Accum::Add, lhs, rhs, 1.0_f32, Par::Seq);
        });
}

/// The tiles of the output's gradient of every channel, to `[O, 36, tiles]`: $A \bar Y A^\top$.
fn transform_gradients(arch: Arch, g: &[f32], shape: &Shape, group: &Group, u: &mut [f32]) {
    let (output, plane) = (shape.output, shape.height * shape.width);
    let each = group.per_image(shape);
    let (images, first) = group.images;
    let tiles = images * each;
    u.par_chunks_mut(P * tiles)
        .enumerate()
        .for_each_init(Vec::new, |scratch, (o, u)| {
            for image in 0..images {
                let start = ((first + image) * output + o) * plane;
                let (g, place) = (&g[start..start + plane], (image * each, tiles));
                arch.dispatch(GradientTiles {
                    plane: g,
                    width: shape.width,
                    rows: group.rows,
                    place,
                    scratch,
                    u,
                });
            }
        });
}

/// $G^\top u$ along one dimension.
#[inline(always)]
fn g_adjoint([u0, u1, u2, u3, u4, u5]: [f32; TILE]) -> [f32; 3] {
    let (even_a, odd_a) = (LA * (u1 + u2), LA * (u1 - u2));
    let (even_b, odd_b) = (LB * (u3 + u4), LB * (u3 - u4));
    [
        L0 * u0 + even_a + even_b,
        A1 * odd_a + B1 * odd_b,
        A2 * even_a + B2 * even_b + u5,
    ]
}

/// The kernels of one output channel from the products `[36, O, I]`.
#[inline(always)]
fn weight_of_products(m: &[f32], input: usize, output: usize, o: usize, weight: &mut [f32]) {
    let product = |p: usize| &m[(p * output + o) * input..(p * output + o + 1) * input];
    // Along y first: half[c][k].
    let mut half = vec![0.0_f32; 3 * TILE * input];
    for (c, half) in half.chunks_exact_mut(3 * input).enumerate() {
        let u = [0, 1, 2, 3, 4, 5].map(|r| product(r * TILE + c));
        let (h0, rest) = half.split_at_mut(input);
        let (h1, h2) = rest.split_at_mut(input);
        for i in 0..input {
            let taps = g_adjoint([u[0][i], u[1][i], u[2][i], u[3][i], u[4][i], u[5][i]]);
            [h0[i], h1[i], h2[i]] = taps;
        }
    }
    for k in 0..3 {
        let u = [0, 1, 2, 3, 4, 5].map(|c| &half[(3 * c + k) * input..(3 * c + k + 1) * input]);
        for (i, taps) in weight.chunks_exact_mut(9).enumerate() {
            let row = g_adjoint([u[0][i], u[1][i], u[2][i], u[3][i], u[4][i], u[5][i]]);
            taps[3 * k..3 * k + 3].copy_from_slice(&row);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::winograd::tests::numbers;
    use super::*;

    /// The sum as it is defined, in double precision.
    fn direct(x: &[f32], g: &[f32], s: &Shape) -> Vec<f64> {
        let (h, w) = (s.height, s.width);
        let mut weight = vec![0.0; s.output * s.input * 9];
        for (index, out) in weight.iter_mut().enumerate() {
            let (k, i, o) = (index % 9, index / 9 % s.input, index / 9 / s.input);
            for (n, y, z) in (0..s.batch * h * w).map(|p| (p / (h * w), p / w % h, p % w)) {
                let (sy, sz) = (y + k / 3, z + k % 3);
                if sy == 0 || sz == 0 || sy > h || sz > w {
                    continue;
                }
                let x = x[((n * s.input + i) * h + sy - 1) * w + sz - 1];
                *out += f64::from(x) * f64::from(g[((n * s.output + o) * h + y) * w + z]);
            }
        }
        weight
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn equals_the_direct_sum(
            batch in 1_usize..4, input in 16_usize..24, output in 16_usize..24,
            rows in 2_usize..5, columns in 2_usize..9, seed in any::<u64>(),
        ) {
            let shape = Shape { batch, input, output, height: 4 * rows, width: 4 * columns };
            let x = numbers(batch * input * 16 * rows * columns, seed);
            let g = numbers(batch * output * 16 * rows * columns, seed ^ 1);
            let fast = conv3x3_weight(&x, &g, &shape);
            let slow = direct(&x, &g, &shape);
            let terms = (batch * 16 * rows * columns) as f64;
            for (a, b) in fast.iter().zip(&slow) {
                prop_assert!((f64::from(*a) - b).abs() < 6e-6 * terms.sqrt(), "{a} and {b}");
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
        let x = numbers(2 * 512 * 32 * 32, 3);
        let g = numbers(2 * 16 * 32 * 32, 4);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| conv3x3_weight(&x, &g, &shape))
        };
        // Two images, each in two parts.
        assert_eq!(groups(&shape).len(), 4);
        let (one, three) = (run(1), run(3));
        assert!(
            one.iter()
                .zip(&three)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        let slow = direct(&x, &g, &shape);
        assert_eq!((one.len(), three.len()), (slow.len(), slow.len()));
        let worst = one
            .iter()
            .zip(&slow)
            .map(|(a, b)| (f64::from(*a) - b).abs())
            .fold(0.0, f64::max);
        assert!(worst < 6e-6 * 2048.0_f64.sqrt(), "{worst:e}");
    }
}
