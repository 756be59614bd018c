//! Residual networks as dlib builds them.

use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

use crate::error::Result;
use crate::lpips::weights::read;

/// A convolution or a dense layer.
#[derive(Clone, Debug)]
pub(super) struct Layer<const D: usize> {
    weight: Tensor<D>,
    bias: Tensor<1>,
}

impl<const D: usize> Layer<D> {
    /// `name.weight`, in bytes also with `name.levels`, and `name.bias`.
    pub(super) fn read(
        file: &SafeTensors<'_>,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Self> {
        let weight = weights(file, name, &shape)?;
        let bias = read(file, &format!("{name}.bias"), &shape[..1])?;
        Ok(Self {
            weight: Tensor::from_data(TensorData::new(weight, shape), device),
            bias: Tensor::from_data(TensorData::new(bias, [shape[0]]), device),
        })
    }
}

impl Layer<4> {
    pub(super) fn convolve(&self, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
        conv2d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}

impl Layer<2> {
    pub(super) fn multiply(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.clone().transpose()) + self.bias.clone().unsqueeze()
    }
}

/// Means of squares of 2 by 2 pixels; an odd last row or column is left out.
pub(super) fn halve(x: Tensor<4>) -> Tensor<4> {
    avg_pool2d(x, AvgPoolOptions::new([2, 2]))
}

/// Zeros behind the last channels, rows and columns up to a size.
fn extend(x: Tensor<4>, [channels, height, width]: [usize; 3]) -> Tensor<4> {
    let [_, c, h, w] = x.dims();
    let zeros = [(0, channels - c), (0, height - h), (0, width - w)];
    if zeros.iter().all(|&(_, after)| after == 0) {
        return x;
    }
    x.pad(zeros, PadMode::Constant(0.0))
}

/// Two convolutions whose output is added to the input. Where it goes `down`, the first one has
/// stride 2 and the input is halved. The smaller of both is extended with zeros.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) first: Layer<4>,
    pub(super) second: Layer<4>,
    pub(super) down: bool,
}

impl Block {
    fn run(&self, x: Tensor<4>) -> Tensor<4> {
        let [stride, padding] = if self.down { [2, 0] } else { [1, 1] };
        let y = relu(self.first.convolve(x.clone(), stride, padding));
        let y = self.second.convolve(y, 1, 1);
        let x = if self.down { halve(x) } else { x };
        let ([_, c, h, w], [_, d, i, j]) = (x.dims(), y.dims());
        let size = [c.max(d), h.max(i), w.max(j)];
        relu(extend(x, size) + extend(y, size))
    }
}

/// A convolution of stride 2, maxima of 3 by 3 pixels with stride 2, blocks, and the mean of what is left of the
/// picture.
///
/// # Shapes
///
/// - x: `[N, 3, H, W]`, sides of at least 64
/// - output: `[N, channels of the last block]`
pub(super) fn run(stem: &Layer<4>, blocks: &[Block], x: Tensor<4>) -> Tensor<2> {
    let x = relu(stem.convolve(x, 2, 0));
    let mut x = max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]));
    for block in blocks {
        x = block.run(x);
    }
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c])
}

/// Weights in single or half precision, or bytes with the value of a step and of byte 0 for each output.
fn weights(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let full = format!("{name}.weight");
    let view = match file.tensor(&full) {
        Ok(view) if view.dtype() == Dtype::U8 && view.shape() == shape => view,
        _ => return read(file, &full, shape),
    };
    let levels = read(file, &format!("{name}.levels"), &[shape[0], 2])?;
    let each: usize = shape[1..].iter().product();
    let rows = view
        .data()
        .chunks_exact(each)
        .zip(levels.as_chunks::<2>().0);
    Ok(rows
        .flat_map(|(row, &[step, zero])| row.iter().map(move |&v| f32::from(v) * step + zero))
        .collect())
}
