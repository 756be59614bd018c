//! The equalised fully connected layer and the normalisation of latents.

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
    let y = x.linear(|x| x.matmul(weight.clone()));
    match bias {
        None => y,
        Some(bias) => Dual {
            value: y.value + (bias * lr_multiplier).reshape([1, out]),
            tangent: y.tangent,
        },
    }
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
