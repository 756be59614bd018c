//! The equalised fully connected layer and the normalisation of latents.

#[cfg(feature = "flex")]
use burn::tensor::Device;
use burn::tensor::Tensor;

use crate::tangent::Dual;

/// $x\,(W \cdot lr/\sqrt{in})^\top + b \cdot lr$, without the activation.
///
/// # Shapes
///
/// - x: `[N, in]`, weight: `[out, in]`, bias: `[out]`
/// - output: `[N, out]`
pub fn dense(
    x: Dual<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    lr_multiplier: f64,
) -> Dual<2> {
    let [out, input] = weight.dims();
    let weight = (weight * (lr_multiplier / (input as f64).sqrt())).transpose();
    let y = x.linear(|x| product(x, weight.clone()));
    match bias {
        None => y,
        Some(bias) => Dual {
            value: y.value + (bias * lr_multiplier).reshape([1, out]),
            tangent: y.tangent,
        },
    }
}

/// `x` times `matrix`; on the CPU a row has the same bits whatever the number of rows.
///
/// The CPU back end's product has other kernels, which round otherwise, for a single row and for results of
/// 256 numbers at most: as few rows as that are filled up with zeros. The gradient of `x` is such a product,
/// too, of as many rows and `in` columns.
///
/// # Shapes
///
/// - x: `[N, in]`, matrix: `[in, out]`
/// - output: `[N, out]`
pub fn product(x: Tensor<2>, matrix: Tensor<2>) -> Tensor<2> {
    let [rows, input] = x.dims();
    let [_, out] = matrix.dims();
    let least = least_rows(input.min(out));
    if rows >= least || !on_cpu(&x) {
        return x.matmul(matrix);
    }
    let rest = Tensor::zeros([least - rows, input], (&x.device(), x.dtype()));
    Tensor::cat(vec![x, rest], 0)
        .matmul(matrix)
        .narrow(0, 0, rows)
}

/// Numbers of a result up to which the CPU back end takes its kernel for small ones (gemm 0.19).
const SMALL: usize = 256;

/// Rows of a product from which on its kernel is the usual one, with `columns` columns.
fn least_rows(columns: usize) -> usize {
    match columns {
        // A single column is small up to 256 rows, and never filled up.
        0 | 1 => 0,
        columns => (SMALL / columns + 1).max(2),
    }
}

#[cfg(feature = "flex")]
fn on_cpu(x: &Tensor<2>) -> bool {
    x.device().inner() == Device::flex()
}

#[cfg(not(feature = "flex"))]
fn on_cpu(_: &Tensor<2>) -> bool {
    false
}

/// $x / \sqrt{\mathrm{mean}(x^2) + 10^{-8}}$ over dimension 1.
///
/// # Shapes
///
/// - x: `[N, C]`
/// - output: `[N, C]`
pub fn normalize_second_moment(x: Dual<2>) -> Dual<2> {
    let scale = x
        .clone()
        .times(x.clone())
        .linear(|t| t.mean_dim(1))
        .rsqrt(1e-8);
    x.times(scale)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{DType, Distribution, TensorData};

    use super::*;

    fn bits(x: Tensor<2>) -> Vec<u32> {
        let values: Vec<f32> = x.into_data_dtype(DType::F32).try_to_vec().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    /// Bits of each row of the result and of the gradient, with `rows` of the rows of `x`.
    fn rows_of(x: &Tensor<2>, weight: &Tensor<2>, rows: usize) -> [Vec<u32>; 2] {
        let part = x.clone().narrow(0, 0, rows);
        let alone = bits(dense(part.clone().into(), weight.clone(), None, 1.0).value);
        let leaf = part.autodiff().require_grad();
        let y = dense(leaf.clone().into(), weight.clone().autodiff(), None, 1.0).value;
        let grads = (y.clone() * y).sum().backward();
        [alone, bits(leaf.grad(&grads).unwrap())]
    }

    /// Below and above all numbers of rows at which the back end changes its kernel.
    #[test]
    fn a_row_has_the_same_bits_among_any_number_of_rows() {
        let device = Device::flex();
        let mut state = 1_u32;
        let mut draw = |dims: [usize; 2]| {
            let values = (0..dims[0] * dims[1]).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from((state >> 16) as u16) / 65_536.0 - 0.5
            });
            Tensor::<2>::from_data(TensorData::new(values.collect::<Vec<f32>>(), dims), &device)
        };
        for [out, input] in [
            [32, 512],
            [64, 512],
            [128, 128],
            [512, 24],
            [3, 64],
            [512, 512],
        ] {
            let (x, weight) = (draw([130, input]), draw([out, input]));
            let [value, gradient] = rows_of(&x, &weight, 130);
            for rows in [1, 2, 3, 5, 8, 9, 10, 17, 86] {
                let [v, g] = rows_of(&x, &weight, rows);
                assert!(v == value[..rows * out], "{out} x {input}, {rows} rows");
                assert!(
                    g == gradient[..rows * input],
                    "gradient, {out} x {input}, {rows} rows"
                );
            }
        }
    }

    #[test]
    fn batches_of_training_are_not_filled_up() {
        assert_eq!([32, 64, 128, 512].map(least_rows), [9, 5, 3, 2]);
        assert_eq!(least_rows(1), 0);
        let x = Tensor::<2>::random([2, 3], Distribution::Default, &Device::flex());
        assert_eq!(product(x.clone(), x.transpose()).dims(), [2, 2]);
    }
}
