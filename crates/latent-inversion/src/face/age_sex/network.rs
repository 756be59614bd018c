//! The two networks.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;

use super::super::residual::{self, Block, Layer, halve};
use crate::error::Result;

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
        let x = residual::run(&self.stem, &self.blocks, chips); // [N, 256]
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
