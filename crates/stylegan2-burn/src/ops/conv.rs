//! Convolution with optional up- or downsampling by a filter.

use burn::config::Config;
use burn::tensor::Tensor;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};

#[cfg(feature = "winograd")]
use super::kernels::{Conv, Stride};
use super::upfirdn::Upfirdn;

/// The parameters of [`conv2d_resample`].
#[derive(Config, Debug, Copy, PartialEq)]
pub struct ConvResample {
    /// Upsampling factor.
    #[config(default = 1)]
    pub up: usize,
    /// Downsampling factor.
    #[config(default = 1)]
    pub down: usize,
    /// Padding at x start, x end, y start, y end, counted in the upsampled image.
    #[config(default = "[0, 0, 0, 0]")]
    pub padding: [isize; 4],
    /// Number of channel groups.
    #[config(default = 1)]
    pub groups: usize,
    /// `true` correlates (as convolution layers do), `false` is a true convolution.
    #[config(default = true)]
    pub flip_weight: bool,
}

impl ConvResample {
    /// The padding that keeps the size with a kernel of `k` x `k`.
    pub fn same(k: usize) -> Self {
        let p = (k / 2).cast_signed();
        Self::new().with_padding([p; 4])
    }
}

/// Convolves `x` with `weight`, upsampling before or downsampling after through `filter`.
///
/// Upsampling is a transposed convolution of stride `up` followed by the filter, downsampling
/// the filter followed by a strided convolution (Karras et al. 2020, section 2.2 and appendix B).
/// The operation is linear in `x` and in `weight`.
///
/// # Shapes
///
/// - x: `[N, I, H, W]`, weight: `[O, I / groups, kh, kw]`, filter: `[fh, fw]`
/// - output: `[N, O, H * up / down, W * up / down]` for the padding of [`ConvResample::same`]
pub fn conv2d_resample(
    x: Tensor<4>,
    weight: Tensor<4>,
    filter: &Tensor<2>,
    options: &ConvResample,
) -> Tensor<4> {
    let &ConvResample {
        up,
        down,
        padding,
        groups,
        flip_weight,
    } = options;
    let [out, _, kh, kw] = weight.dims();
    let [fh, fw] = filter.dims().map(usize::cast_signed);
    let [mut x0, mut x1, mut y0, mut y1] = padding;
    // A filter of fewer taps than the factor crops: halves are rounded down, below zero too.
    if up > 1 {
        let u = up.cast_signed();
        x0 += (fw + u - 1) / 2;
        x1 += (fw - u).div_euclid(2);
        y0 += (fh + u - 1) / 2;
        y1 += (fh - u).div_euclid(2);
    }
    if down > 1 {
        let d = down.cast_signed();
        x0 += (fw - d + 1).div_euclid(2);
        x1 += (fw - d).div_euclid(2);
        y0 += (fh - d + 1).div_euclid(2);
        y1 += (fh - d).div_euclid(2);
    }
    let pads = [x0, x1, y0, y1];
    let resample = Upfirdn::new().with_padding(pads);

    if kh == 1 && kw == 1 {
        // A 1x1 kernel commutes with the filter: run it where there are fewer pixels.
        if down > 1 && up == 1 {
            let x = resample.with_down([down, down]).forward(x, filter);
            return plain(x, weight, 1, [0, 0], groups, flip_weight);
        }
        if up > 1 && down == 1 {
            let x = plain(x, weight, 1, [0, 0], groups, flip_weight);
            let gain = (up * up) as f64;
            return resample
                .with_up([up, up])
                .with_gain(gain)
                .forward(x, filter);
        }
    }
    if down > 1 && up == 1 {
        let x = resample.forward(x, filter);
        return plain(x, weight, down, [0, 0], groups, flip_weight);
    }
    if up > 1 {
        let (k_h, k_w, u) = (kh.cast_signed(), kw.cast_signed(), up.cast_signed());
        let p = [
            x0 - (k_w - 1),
            x1 - (k_w - u),
            y0 - (k_h - 1),
            y1 - (k_h - u),
        ];
        // Cropping both sides alike can be left to the transposed convolution.
        let px = (-p[0]).min(-p[1]).max(0);
        let py = (-p[2]).min(-p[3]).max(0);
        let x = transposed(
            x,
            weight,
            up,
            [py.unsigned_abs(), px.unsigned_abs()],
            groups,
            flip_weight,
        );
        let x = Upfirdn::new()
            .with_padding([p[0] + px, p[1] + px, p[2] + py, p[3] + py])
            .with_gain((up * up) as f64)
            .forward(x, filter);
        return if down > 1 {
            Upfirdn::new().with_down([down, down]).forward(x, filter)
        } else {
            x
        };
    }
    debug_assert!(out % groups == 0);
    if x0 == x1 && y0 == y1 && x0 >= 0 && y0 >= 0 {
        return plain(
            x,
            weight,
            1,
            [y0.unsigned_abs(), x0.unsigned_abs()],
            groups,
            flip_weight,
        );
    }
    let x = Upfirdn::new()
        .with_padding(pads)
        .forward(x, &identity(&filter.device()));
    plain(x, weight, 1, [0, 0], groups, flip_weight)
}

fn identity(device: &burn::tensor::Device) -> Tensor<2> {
    Tensor::ones([1, 1], device)
}

fn plain(
    x: Tensor<4>,
    weight: Tensor<4>,
    stride: usize,
    padding: [usize; 2],
    groups: usize,
    flip_weight: bool,
) -> Tensor<4> {
    let weight = if flip_weight {
        weight
    } else {
        flip_kernel(weight)
    };
    #[cfg(feature = "winograd")]
    {
        let kind = match (stride, padding, groups) {
            (1, [1, 1], 1) => Some(Stride::Same),
            (2, [0, 0], 1) => Some(Stride::Down),
            _ => None,
        };
        if let Some(conv) = kind.and_then(|kind| Conv::suited(&x, &weight, kind)) {
            return conv.apply(x, weight);
        }
    }
    conv2d(
        x,
        weight,
        None,
        ConvOptions::new([stride, stride], padding, [1, 1], groups),
    )
}

fn transposed(
    x: Tensor<4>,
    weight: Tensor<4>,
    up: usize,
    padding: [usize; 2],
    groups: usize,
    flip_weight: bool,
) -> Tensor<4> {
    // Scattering a kernel is a true convolution: no flip when that is what is asked for.
    let weight = if flip_weight {
        flip_kernel(weight)
    } else {
        weight
    };
    let [out, input, kh, kw] = weight.dims();
    let weight = if groups == 1 {
        weight.swap_dims(0, 1)
    } else {
        weight
            .reshape([groups, out / groups, input, kh, kw])
            .swap_dims(1, 2)
            .reshape([groups * input, out / groups, kh, kw])
    };
    #[cfg(feature = "winograd")]
    if up == 2
        && padding == [0, 0]
        && groups == 1
        && let Some(conv) = Conv::suited(&x, &weight, Stride::Up)
    {
        return conv.apply(x, weight);
    }
    let options = ConvTransposeOptions::new([up, up], padding, [0, 0], [1, 1], groups);
    conv_transpose2d(x, weight, None, options)
}

fn flip_kernel(weight: Tensor<4>) -> Tensor<4> {
    let [_, _, kh, kw] = weight.dims();
    if kh == 1 && kw == 1 {
        weight
    } else {
        weight.flip([2, 3])
    }
}

#[cfg(all(test, feature = "winograd"))]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn normal(dims: [usize; 4], device: &Device) -> Tensor<4> {
        Tensor::random(dims, Distribution::Normal(0.0, 1.0), device)
    }

    /// A convolution, its gradients of image and weight for a given gradient of the result.
    fn all(
        [x, weight, g]: [&Tensor<4>; 3],
        f: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
    ) -> [Tensor<4>; 3] {
        let x = x.clone().require_grad();
        let weight = weight.clone().require_grad();
        let y = f(x.clone(), weight.clone());
        let grads = (y.clone() * g.clone()).sum().backward();
        [
            y.inner(),
            x.grad(&grads).unwrap(),
            weight.grad(&grads).unwrap(),
        ]
    }

    fn compare(dims: [usize; 4], weight: [usize; 4], kind: Stride) {
        let device = Device::flex().autodiff();
        let (x, weight) = (normal(dims, &device), normal(weight, &device));
        assert!(Conv::suited(&x, &weight, kind).is_some(), "the sizes suit");
        let options = |stride, pad| ConvOptions::new([stride; 2], [pad; 2], [1, 1], 1);
        let direct = |x: Tensor<4>, w: Tensor<4>| match kind {
            Stride::Same => conv2d(x, w, None, options(1, 1)),
            Stride::Down => conv2d(x, w, None, options(2, 0)),
            Stride::Up => {
                let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
                conv_transpose2d(x, w, None, options)
            }
        };
        let ours = |x: Tensor<4>, w: Tensor<4>| match kind {
            Stride::Same => plain(x, w, 1, [1, 1], 1, true),
            Stride::Down => plain(x, w, 2, [0, 0], 1, true),
            Stride::Up => transposed(x, w.swap_dims(0, 1), 2, [0, 0], 1, false),
        };
        let g = normal(direct(x.clone(), weight.clone()).dims(), &device);
        let slow = all([&x, &weight, &g], direct);
        let fast = all([&x, &weight, &g], ours);
        for (what, (fast, slow)) in ["value", "image", "weight"]
            .iter()
            .zip(fast.into_iter().zip(slow))
        {
            let size: f32 = slow.clone().abs().max().into_scalar();
            let worst: f32 = (fast - slow).abs().max().into_scalar();
            assert!(worst < 1e-5 * size, "{kind:?} {what}: {worst:e} of {size}");
        }
    }

    #[test]
    fn matrix_products_give_what_the_direct_convolution_gives_with_gradients() {
        compare([1, 16, 8, 8], [32, 16, 3, 3], Stride::Same);
        compare([3, 64, 32, 16], [16, 64, 3, 3], Stride::Same);
        compare([2, 16, 17, 9], [24, 16, 3, 3], Stride::Down);
        compare([2, 24, 8, 12], [24, 16, 3, 3], Stride::Up);
    }

    #[test]
    fn small_and_grouped_convolutions_and_other_precisions_stay_direct() {
        let device = Device::flex();
        let x = Tensor::<4>::ones([1, 16, 8, 8], &device);
        let w = Tensor::<4>::ones([16, 16, 3, 3], &device);
        let suited = |x: &Tensor<4>, w: &Tensor<4>| Conv::suited(x, w, Stride::Same).is_some();
        assert!(suited(&x, &w));
        assert!(!suited(&x, &Tensor::ones([16, 16, 1, 1], &device)));
        assert!(!suited(&Tensor::ones([1, 8, 8, 8], &device), &w));
        assert!(!suited(&x.clone().cast(burn::tensor::DType::F64), &w));
        assert!(!suited(&x, &w.clone().cast(burn::tensor::DType::F64)));
        assert!(Conv::suited(&x, &w, Stride::Down).is_none(), "even sides");
    }
}
