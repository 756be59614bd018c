//! Upsampling, filtering with a small FIR kernel, and downsampling.

use burn::config::Config;
use burn::tensor::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};

/// The 2-D kernel of a separable filter: the outer product of `taps` with itself, summing to one.
///
/// # Shapes
///
/// - output: `[taps, taps]`
pub fn fir_filter(taps: &[f32], device: &burn::tensor::Device) -> Tensor<2> {
    let total: f64 = taps.iter().map(|&t| f64::from(t)).sum();
    let mut kernel = Vec::with_capacity(taps.len() * taps.len());
    for &a in taps {
        for &b in taps {
            #[allow(clippy::cast_possible_truncation)]
            kernel.push((f64::from(a) * f64::from(b) / (total * total)) as f32);
        }
    }
    let n = taps.len();
    Tensor::from_data(burn::tensor::TensorData::new(kernel, [n, n]), device)
}

/// The parameters of one upfirdn: insert zeros, pad, convolve, decimate.
///
/// `up - 1` zeros follow each sample, the edges are padded (a negative number crops), the result
/// is convolved with the filter (a true convolution unless `flip_filter`) without further
/// padding, multiplied by `gain`, and every `down`-th sample from index 0 is kept:
/// $W' = \lfloor (W\,up + p_0 + p_1 - f_w)/down \rfloor + 1$.
#[derive(Config, Debug, Copy, PartialEq)]
pub struct Upfirdn {
    /// Upsampling factor of x and y.
    #[config(default = "[1, 1]")]
    pub up: [usize; 2],
    /// Downsampling factor of x and y.
    #[config(default = "[1, 1]")]
    pub down: [usize; 2],
    /// Padding at x start, x end, y start, y end.
    #[config(default = "[0, 0, 0, 0]")]
    pub padding: [isize; 4],
    /// Correlate instead of convolve.
    #[config(default = false)]
    pub flip_filter: bool,
    /// Factor on the result.
    #[config(default = 1.0)]
    pub gain: f64,
}

impl Upfirdn {
    /// Applies the operation. It is linear in `x`.
    ///
    /// # Shapes
    ///
    /// - x: `[N, C, H, W]`, filter: `[fh, fw]`
    /// - output: `[N, C, H', W']`
    ///
    /// # Panics
    ///
    /// Panics if padding and cropping leave less than the filter's size.
    pub fn forward(&self, x: Tensor<4>, filter: &Tensor<2>) -> Tensor<4> {
        #[cfg(feature = "winograd")]
        if let Some(fir) = self.separable(&x, filter) {
            return fir.apply(x);
        }
        let [ux, uy] = self.up;
        let x = zero_insert(x, uy, ux);
        let [x0, x1, y0, y1] = self.padding;
        // The convolution itself pads where both sides are alike.
        let (x, inner) = if x0 == x1 && y0 == y1 && x0 >= 0 && y0 >= 0 {
            (x, [y0.unsigned_abs(), x0.unsigned_abs()])
        } else {
            (pad_or_crop(x, [x0, x1, y0, y1]), [0, 0])
        };
        let [_, c, h, w] = x.dims();
        let (h, w) = (h + 2 * inner[0], w + 2 * inner[1]);
        let [fh, fw] = filter.dims();
        assert!(
            h >= fh && w >= fw,
            "{h} x {w} pixels after padding, but a {fh} x {fw} filter"
        );
        // `conv2d` correlates, so a true convolution needs the flipped kernel.
        let kernel = if self.flip_filter {
            filter.clone()
        } else {
            filter.clone().flip([0, 1])
        };
        let kernel = (kernel * self.gain)
            .cast(x.dtype())
            .reshape([1, 1, fh, fw])
            .expand([c, 1, fh, fw]);
        let options = ConvOptions::new([self.down[1], self.down[0]], inner, [1, 1], c);
        conv2d(x, kernel, None, options)
    }

    /// The operation as two passes of one dimension: on the CPU, for a filter that is an outer
    /// product.
    #[cfg(feature = "winograd")]
    fn separable(&self, x: &Tensor<4>, filter: &Tensor<2>) -> Option<super::kernels::fir::Fir> {
        use super::kernels::fir::{Axis, Fir, separate};

        if !super::kernels::here(x) || !super::kernels::here(filter) {
            return None;
        }
        let [n, c, height, width] = x.dims();
        let [_, fw] = filter.dims();
        let (mut y, mut x) = separate(&super::floats(filter.clone()), fw)?;
        if !self.flip_filter {
            y.reverse();
            x.reverse();
        }
        #[allow(clippy::cast_possible_truncation)]
        for tap in &mut y {
            *tap *= self.gain as f32;
        }
        let [x0, x1, y0, y1] = self.padding;
        let axis = |size, k: usize, padding, taps| Axis {
            size,
            up: self.up[k],
            down: self.down[k],
            padding,
            taps,
        };
        let fir = Fir {
            outer: [n, c],
            y: axis(height, 1, [y0, y1], y),
            x: axis(width, 0, [x0, x1], x),
        };
        (fir.y.output().is_some() && fir.x.output().is_some()).then_some(fir)
    }

    /// The adjoint of this operation for inputs of `height` x `width`: the transpose of its matrix.
    ///
    /// `adjoint.forward(g)` is the gradient of `sum(g * self.forward(x))` with respect to `x`.
    pub fn adjoint(&self, height: usize, width: usize, filter: [usize; 2]) -> Self {
        let along = |size: usize, f: usize, up: usize, down: usize, p0: isize, p1: isize| {
            let (size, f, up, down) = (
                size.cast_signed(),
                f.cast_signed(),
                up.cast_signed(),
                down.cast_signed(),
            );
            let out = (size * up + p0 + p1 - f) / down + 1;
            [f - p0 - 1, size * up - out * down + p0 - up + 1]
        };
        let [fh, fw] = filter;
        let [x0, x1, y0, y1] = self.padding;
        let [ax0, ax1] = along(width, fw, self.up[0], self.down[0], x0, x1);
        let [ay0, ay1] = along(height, fh, self.up[1], self.down[1], y0, y1);
        Self {
            up: self.down,
            down: self.up,
            padding: [ax0, ax1, ay0, ay1],
            flip_filter: !self.flip_filter,
            gain: self.gain,
        }
    }
}

/// `[N, C, H, W]` to `[N, C, H * uy, W * ux]` with `u - 1` zeros after each sample.
fn zero_insert(x: Tensor<4>, uy: usize, ux: usize) -> Tensor<4> {
    if uy == 1 && ux == 1 {
        return x;
    }
    let [n, c, h, w] = x.dims();
    let (device, dtype) = (x.device(), x.dtype());
    let mut x = x.reshape([n * c, h, 1, w, 1]);
    if ux > 1 {
        let zeros = Tensor::zeros([n * c, h, 1, w, ux - 1], (&device, dtype));
        x = Tensor::cat(vec![x, zeros], 4);
    }
    if uy > 1 {
        let zeros = Tensor::zeros([n * c, h, uy - 1, w, ux], (&device, dtype));
        x = Tensor::cat(vec![x, zeros], 2);
    }
    x.reshape([n, c, h * uy, w * ux])
}

fn pad_or_crop(x: Tensor<4>, padding: [isize; 4]) -> Tensor<4> {
    let [x0, x1, y0, y1] = padding;
    let grow = |p: isize| p.max(0).unsigned_abs();
    let cut = |p: isize| (-p).max(0).unsigned_abs();
    let mut x = x;
    if padding.iter().any(|&p| p < 0) {
        let [n, c, h, w] = x.dims();
        x = x.slice([0..n, 0..c, cut(y0)..h - cut(y1), cut(x0)..w - cut(x1)]);
    }
    if padding.iter().any(|&p| p > 0) {
        let pairs = [(0, 0), (0, 0), (grow(y0), grow(y1)), (grow(x0), grow(x1))];
        x = x.pad(pairs, PadMode::Constant(0.0));
    }
    x
}

/// Filters and keeps the size, up to `padding` (x start, x end, y start, y end) beyond it.
///
/// # Shapes
///
/// - x: `[N, C, H, W]`, filter: `[fh, fw]`
/// - output: `[N, C, H + py, W + px]`
pub fn filter2d(
    x: Tensor<4>,
    filter: &Tensor<2>,
    padding: [isize; 4],
    flip_filter: bool,
    gain: f64,
) -> Tensor<4> {
    let [fh, fw] = filter.dims().map(usize::cast_signed);
    let [x0, x1, y0, y1] = padding;
    Upfirdn::new()
        .with_padding([
            x0 + fw / 2,
            x1 + (fw - 1) / 2,
            y0 + fh / 2,
            y1 + (fh - 1) / 2,
        ])
        .with_flip_filter(flip_filter)
        .with_gain(gain)
        .forward(x, filter)
}

/// Doubles (`up` = 2) the size and filters, keeping the mean.
///
/// # Shapes
///
/// - x: `[N, C, H, W]`, filter: `[fh, fw]`
/// - output: `[N, C, H * up + py, W * up + px]`
pub fn upsample2d(
    x: Tensor<4>,
    filter: &Tensor<2>,
    up: usize,
    padding: [isize; 4],
    flip_filter: bool,
    gain: f64,
) -> Tensor<4> {
    let [fh, fw] = filter.dims().map(usize::cast_signed);
    let u = up.cast_signed();
    let [x0, x1, y0, y1] = padding;
    Upfirdn::new()
        .with_up([up, up])
        .with_padding([
            x0 + (fw + u - 1) / 2,
            x1 + (fw - u).div_euclid(2),
            y0 + (fh + u - 1) / 2,
            y1 + (fh - u).div_euclid(2),
        ])
        .with_flip_filter(flip_filter)
        .with_gain(gain * (up * up) as f64)
        .forward(x, filter)
}

/// Filters and keeps every `down`-th sample.
///
/// # Shapes
///
/// - x: `[N, C, H, W]`, filter: `[fh, fw]`
/// - output: `[N, C, (H + py) / down, (W + px) / down]`
pub fn downsample2d(
    x: Tensor<4>,
    filter: &Tensor<2>,
    down: usize,
    padding: [isize; 4],
    flip_filter: bool,
    gain: f64,
) -> Tensor<4> {
    let [fh, fw] = filter.dims().map(usize::cast_signed);
    let d = down.cast_signed();
    let [x0, x1, y0, y1] = padding;
    Upfirdn::new()
        .with_down([down, down])
        .with_padding([
            x0 + (fw - d + 1).div_euclid(2),
            x1 + (fw - d).div_euclid(2),
            y0 + (fh - d + 1).div_euclid(2),
            y1 + (fh - d).div_euclid(2),
        ])
        .with_flip_filter(flip_filter)
        .with_gain(gain)
        .forward(x, filter)
}
