//! The two networks.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;

use crate::error::Result;
use crate::lpips::weights::read;

/// A convolution or a dense layer.
#[derive(Clone, Debug)]
struct Layer<const D: usize> {
    weight: Tensor<D>,
    bias: Tensor<1>,
}

impl<const D: usize> Layer<D> {
    fn read(
        file: &SafeTensors<'_>,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Self> {
        let weight = read(file, &format!("{name}.weight"), &shape)?;
        let bias = read(file, &format!("{name}.bias"), &shape[..1])?;
        Ok(Self {
            weight: Tensor::from_data(TensorData::new(weight, shape), device),
            bias: Tensor::from_data(TensorData::new(bias, [shape[0]]), device),
        })
    }
}

impl Layer<4> {
    fn convolve(&self, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
        conv2d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}

impl Layer<2> {
    fn multiply(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.clone().transpose()) + self.bias.clone().unsqueeze()
    }
}

/// Means of squares of 2 by 2 pixels; an odd last row or column is left out.
fn halve(x: Tensor<4>) -> Tensor<4> {
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

/// Two convolutions whose output is added to the input. Where channels double, the first one has stride 2,
/// the input is halved, and the smaller of both is extended with zeros.
#[derive(Clone, Debug)]
struct Block {
    first: Layer<4>,
    second: Layer<4>,
    down: bool,
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

/// Age: a residual network of 11 convolutions.
#[derive(Clone, Debug)]
pub(super) struct AgeNetwork {
    stem: Layer<4>,
    blocks: Vec<Block>,
    dense: Layer<2>,
}

impl AgeNetwork {
    /// The side of the pictures it takes.
    pub(super) const SIDE: usize = 64;
    /// 0 to 80 years.
    pub(super) const CLASSES: usize = 81;

    pub(super) fn read(file: &SafeTensors<'_>, device: &Device) -> Result<Self> {
        let convolution =
            |k: usize, shape: [usize; 4]| Layer::read(file, &format!("age.conv{k}"), shape, device);
        let mut blocks = Vec::new();
        for (k, [input, output]) in [[64, 64], [64, 128], [128, 128], [128, 256], [256, 256]]
            .into_iter()
            .enumerate()
        {
            blocks.push(Block {
                first: convolution(2 * k + 1, [output, input, 3, 3])?,
                second: convolution(2 * k + 2, [output, output, 3, 3])?,
                down: input != output,
            });
        }
        Ok(Self {
            stem: convolution(0, [64, 3, 7, 7])?,
            blocks,
            dense: Layer::read(file, "age.dense0", [Self::CLASSES, 256], device)?,
        })
    }

    /// Probabilities of the classes.
    ///
    /// # Shapes
    ///
    /// - chips: `[N, 3, 64, 64]`, as [`super::AgeSex`] scales them
    /// - output: `[N, 81]`
    pub(super) fn run(&self, chips: Tensor<4>) -> Tensor<2> {
        let x = relu(self.stem.convolve(chips, 2, 0)); // [N, 64, 29, 29]
        let mut x = max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2])); // [N, 64, 14, 14]
        for block in &self.blocks {
            x = block.run(x);
        }
        let [n, c, h, w] = x.dims();
        let x = x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c]); // [N, 256]
        softmax(self.dense.multiply(x), 1)
    }
}

/// Sex: four convolutions and two dense layers.
#[derive(Clone, Debug)]
pub(super) struct SexNetwork {
    convolutions: [Layer<4>; 4],
    dense: [Layer<2>; 2],
}

impl SexNetwork {
    /// The side of the pictures it takes.
    pub(super) const SIDE: usize = 32;

    pub(super) fn read(file: &SafeTensors<'_>, device: &Device) -> Result<Self> {
        let convolution = |k: usize, input: usize, output: usize| {
            let shape = [output, input, 3, 3];
            Layer::read(file, &format!("sex.conv{k}"), shape, device)
        };
        Ok(Self {
            convolutions: [
                convolution(0, 3, 32)?,
                convolution(1, 32, 32)?,
                convolution(2, 32, 64)?,
                convolution(3, 64, 64)?,
            ],
            dense: [
                Layer::read(file, "sex.dense0", [16, 4096], device)?,
                Layer::read(file, "sex.dense1", [2, 16], device)?,
            ],
        })
    }

    /// Probabilities of female and male.
    ///
    /// # Shapes
    ///
    /// - chips: `[N, 3, 32, 32]`, as [`super::AgeSex`] scales them
    /// - output: `[N, 2]`
    pub(super) fn run(&self, chips: Tensor<4>) -> Tensor<2> {
        let mut x = chips;
        for (k, layer) in self.convolutions.iter().enumerate() {
            x = relu(layer.convolve(x, 1, 1));
            if k % 2 == 1 {
                x = halve(x);
            }
        }
        let [first, second] = &self.dense;
        let x = x.flatten(1, 3); // [N, 4096]
        softmax(second.multiply(relu(first.multiply(x))), 1)
    }
}
