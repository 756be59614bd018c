//! Modulated convolution: styles scale the input channels, demodulation restores unit variance.

use burn::config::Config;
use burn::tensor::{DType, Tensor};

use super::conv::{ConvResample, conv2d_resample};
use super::dense::product;
use crate::tangent::Dual;

/// The parameters of a modulated convolution (Karras et al. 2020, equations 1 to 3).
///
/// $w'_{oikl} = s_i w_{oikl}$, and with `demodulate`
/// $w''_{oikl} = w'_{oikl} / \sqrt{\sum_{ikl} {w'_{oikl}}^2 + 10^{-8}}$.
#[derive(Config, Debug, Copy, PartialEq)]
pub struct ModulatedConv {
    /// Resampling, padding and orientation.
    pub resample: ConvResample,
    /// Whether outputs are rescaled to unit expected variance.
    #[config(default = true)]
    pub demodulate: bool,
    /// `true` multiplies the styles into one kernel per sample, `false` into the activations.
    ///
    /// The result is the same up to rounding. One kernel per sample suits a batch of one.
    #[config(default = false)]
    pub fused: bool,
}

impl ModulatedConv {
    /// Applies the convolution, then adds `noise`.
    ///
    /// # Shapes
    ///
    /// - x: `[N, I, H, W]`, weight: `[O, I, k, k]`, styles: `[N, I]`, filter: `[fh, fw]`,
    ///   noise: broadcastable to the output
    /// - output: `[N, O, H', W']`
    pub fn forward(
        &self,
        x: Dual<4>,
        weight: Tensor<4>,
        styles: Dual<2>,
        filter: &Tensor<2>,
        noise: Option<Tensor<4>>,
    ) -> Dual<4> {
        let half = matches!(x.value.dtype(), DType::F16 | DType::BF16);
        let (weight, styles) = if half && self.demodulate {
            normalise_for_half(weight, styles)
        } else {
            (weight, styles)
        };
        let y = if self.fused {
            self.fused(x, weight, styles, filter)
        } else {
            self.unfused(x, weight, styles, filter)
        };
        match noise {
            Some(noise) => {
                let noise = noise.cast(y.value.dtype());
                Dual {
                    value: y.value + noise,
                    tangent: y.tangent,
                }
            }
            None => y,
        }
    }

    fn unfused(
        &self,
        x: Dual<4>,
        weight: Tensor<4>,
        styles: Dual<2>,
        filter: &Tensor<2>,
    ) -> Dual<4> {
        let [n, i, _, _] = x.dims();
        let [o, _, _, _] = weight.dims();
        let dtype = x.value.dtype();
        let demodulation = self.demodulate.then(|| {
            let power = weight
                .clone()
                .square()
                .sum_dim(3)
                .sum_dim(2)
                .reshape([o, i])
                .transpose();
            styles
                .clone()
                .times(styles.clone())
                .linear(|t| product(t, power.clone()))
                .rsqrt(1e-8)
        });
        let scale = styles.linear(|t| t.reshape([n, i, 1, 1]).cast(dtype));
        let weight = weight.cast(dtype);
        let y = x
            .bilinear(scale, scale_planes)
            .linear(|t| conv2d_resample(t, weight.clone(), filter, &self.resample));
        match demodulation {
            Some(d) => y.bilinear(
                d.linear(|t| t.reshape([n, o, 1, 1]).cast(dtype)),
                scale_planes,
            ),
            None => y,
        }
    }

    fn fused(&self, x: Dual<4>, weight: Tensor<4>, styles: Dual<2>, filter: &Tensor<2>) -> Dual<4> {
        let [n, i, h, w] = x.dims();
        let [o, _, kh, kw] = weight.dims();
        let dtype = x.value.dtype();
        let weight = Dual::constant(weight.reshape([1, o, i, kh, kw]));
        let modulated = weight.times(styles.linear(|t| t.reshape([n, 1, i, 1, 1]))); // [N, O, I, k, k]
        let kernel = if self.demodulate {
            let d = modulated
                .clone()
                .times(modulated.clone())
                .linear(|t| t.sum_dim(4).sum_dim(3).sum_dim(2))
                .rsqrt(1e-8);
            modulated.times(d)
        } else {
            modulated
        };
        let kernel = kernel.linear(|t| t.reshape([n * o, i, kh, kw]).cast(dtype));
        let options = self.resample.with_groups(n);
        let y = x
            .linear(|t| t.reshape([1, n * i, h, w]))
            .bilinear(kernel, |x, k| conv2d_resample(x, k, filter, &options));
        let [_, _, oh, ow] = y.dims();
        y.linear(|t| t.reshape([n, o, oh, ow]))
    }
}

/// `x` `[N, C, H, W]` times `factors` `[N, C, 1, 1]`.
fn scale_planes(x: Tensor<4>, factors: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "winograd")]
    if let Some(scale) = super::kernels::Scale::suited(&x, &factors) {
        return scale.apply(x, factors);
    }
    x * factors
}

/// Keeps the products of a half-precision convolution in range: demodulation cancels both factors.
fn normalise_for_half(weight: Tensor<4>, styles: Dual<2>) -> (Tensor<4>, Dual<2>) {
    let [_, i, kh, kw] = weight.dims();
    let largest = weight.clone().abs().max_dim(3).max_dim(2).max_dim(1);
    let weight = weight / (largest * ((i * kh * kw) as f64).sqrt());
    // Taken as a constant of the differentiation, which is exact because it cancels.
    let peak = styles.value.clone().detach().abs().max_dim(1).recip();
    (weight, styles.times(Dual::constant(peak)))
}
