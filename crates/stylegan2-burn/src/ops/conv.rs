//! Convolution with optional up- or downsampling by a filter.

use burn::config::Config;
use burn::tensor::Tensor;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};

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
    if up > 1 {
        let u = up.cast_signed();
        x0 += (fw + u - 1) / 2;
        x1 += (fw - u) / 2;
        y0 += (fh + u - 1) / 2;
        y1 += (fh - u) / 2;
    }
    if down > 1 {
        let d = down.cast_signed();
        x0 += (fw - d + 1) / 2;
        x1 += (fw - d) / 2;
        y0 += (fh - d + 1) / 2;
        y1 += (fh - d) / 2;
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
    if stride == 1
        && padding == [1, 1]
        && groups == 1
        && let Some(shape) = fast(&x, &weight)
    {
        let device = x.device();
        let y = super::winograd::conv3x3(&super::floats(x), &super::floats(weight), &shape);
        let dims = [shape.batch, shape.output, shape.height, shape.width];
        return Tensor::from_data(burn::tensor::TensorData::new(y, dims), &device);
    }
    conv2d(
        x,
        weight,
        None,
        ConvOptions::new([stride, stride], padding, [1, 1], groups),
    )
}

/// The sizes of a convolution that can go through matrix products: 3x3, on the CPU, in single
/// precision, without gradients.
#[cfg(feature = "winograd")]
fn fast(x: &Tensor<4>, weight: &Tensor<4>) -> Option<super::winograd::Shape> {
    let [batch, input, height, width] = x.dims();
    let [output, _, kh, kw] = weight.dims();
    let shape = super::winograd::Shape {
        batch,
        input,
        output,
        height,
        width,
    };
    let suits = kh == 3 && kw == 3 && super::winograd::suits(&shape);
    (suits && super::on_cpu(x) && super::on_cpu(weight)).then_some(shape)
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

    /// The largest difference between the two ways, and the largest value.
    fn compare(n: usize, input: usize, output: usize, side: usize) -> (f32, f32) {
        let device = Device::flex();
        let normal = Distribution::Normal(0.0, 1.0);
        let x = Tensor::<4>::random([n, input, side, side], normal, &device);
        let w = Tensor::<4>::random([output, input, 3, 3], normal, &device);
        assert!(fast(&x, &w).is_some(), "the sizes suit the fast way");
        let quick = plain(x.clone(), w.clone(), 1, [1, 1], 1, true);
        let direct = conv2d(x, w, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
        let difference = (quick - direct.clone()).abs().max().into_scalar::<f32>();
        (difference, direct.abs().max().into_scalar())
    }

    #[test]
    fn matrix_products_give_what_the_direct_convolution_gives() {
        for (n, input, output, side) in [(1, 16, 32, 8), (2, 64, 16, 32), (1, 256, 32, 16)] {
            let (difference, size) = compare(n, input, output, side);
            assert!(difference < 1e-5 * size, "{difference:e} of {size}");
        }
    }

    #[test]
    fn small_strided_grouped_and_tracked_convolutions_stay_direct() {
        let device = Device::flex();
        let x = Tensor::<4>::ones([1, 16, 8, 8], &device);
        let w = Tensor::<4>::ones([16, 16, 3, 3], &device);
        assert!(fast(&x, &w).is_some());
        assert!(fast(&x, &Tensor::ones([16, 16, 1, 1], &device)).is_none());
        assert!(fast(&Tensor::ones([1, 8, 8, 8], &device), &w).is_none());
        let tracked = device.autodiff();
        assert!(fast(&Tensor::ones([1, 16, 8, 8], &tracked), &w).is_none());
    }
}
