//! The networks as functions of one vector of parameters.

use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm, batch_norm_train, conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use stylegan2_burn::ops::{ConvResample, conv2d_resample};

use super::PhotoNetwork;
use crate::simulate::normals;

/// Added to variances before they divide.
const EPSILON: f64 = 1e-5;
/// Weight of a batch in the running statistics.
const MOMENTUM: f64 = 0.1;
/// From this side on a stem is the published one.
const PUBLISHED_STEM: usize = 64;

/// A step of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layer {
    Convolution {
        /// Output, input, height, width.
        shape: [usize; 4],
        stride: usize,
        bias: bool,
    },
    /// Batch normalisation of so many channels.
    Norm(usize),
    Rectify,
    MaxPool {
        size: usize,
        stride: usize,
    },
    /// What both ways make of the input, added; an empty way leaves it as it is.
    Sum {
        body: Vec<Layer>,
        shortcut: Vec<Layer>,
    },
}

/// One part of the vector of parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    count: usize,
    /// Normal of this standard deviation, or the same value everywhere.
    first: First,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum First {
    Normal(f64),
    All(f32),
}

/// A network: layers, the mean over the picture, and one linear log risk.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    layers: Vec<Layer>,
    /// Channels at the end.
    features: usize,
}

/// Mean and variance of every batch normalisation, as seen in training.
pub(super) type Statistics = Vec<[Tensor<1>; 2]>;

impl Plan {
    /// For square pictures of three colours.
    pub(super) fn new(network: PhotoNetwork, side: usize) -> Self {
        let layers = match network {
            PhotoNetwork::Resnet18 => resnet18(side),
            PhotoNetwork::Vgg16 => vgg16(side),
        };
        Self {
            layers,
            features: 512,
        }
    }

    /// Layers of a test.
    #[cfg(test)]
    pub(super) fn of(layers: Vec<Layer>, features: usize) -> Self {
        Self { layers, features }
    }

    /// Parameters before the last layer.
    #[cfg(test)]
    pub(super) fn body(&self) -> usize {
        self.parts().iter().map(|p| p.count).sum::<usize>() - self.features
    }

    fn parts(&self) -> Vec<Part> {
        let mut out = Vec::new();
        parts(&self.layers, &mut out);
        // A log risk near 0 for everybody; it has no constant, which the partial likelihood cannot see.
        out.push(Part {
            count: self.features,
            first: First::Normal(0.01),
        });
        out
    }

    /// Weights that keep variances through rectifiers (He et al. 2015, equation 10).
    pub(super) fn init(&self, seed: u64, device: &Device) -> Tensor<1> {
        let mut values: Vec<f32> = Vec::new();
        for (stream, part) in self.parts().into_iter().enumerate() {
            match part.first {
                First::All(value) => values.extend(std::iter::repeat_n(value, part.count)),
                First::Normal(sd) => {
                    let draws = normals(seed, WEIGHTS + stream as u64, part.count);
                    values.extend(draws.into_iter().map(|v| (sd * v) as f32));
                }
            }
        }
        vector(values, device)
    }

    /// 1 where a parameter is a weight, which decays; 0 for biases and normalisations.
    pub(super) fn weights(&self, device: &Device) -> Tensor<1> {
        let of = |p: Part| match p.first {
            First::Normal(_) => std::iter::repeat_n(1.0, p.count),
            First::All(_) => std::iter::repeat_n(0.0, p.count),
        };
        vector(self.parts().into_iter().flat_map(of).collect(), device)
    }

    /// Statistics before any training.
    pub(super) fn statistics(&self, device: &Device) -> Statistics {
        let mut channels = Vec::new();
        norms(&self.layers, &mut channels);
        let of = |&c: &usize| [Tensor::zeros([c], device), Tensor::ones([c], device)];
        channels.iter().map(of).collect()
    }

    /// The vector of parameters in parts.
    pub(super) fn split(&self, values: &Tensor<1>) -> Vec<Tensor<1>> {
        let mut at = 0;
        let cut = |part: Part| {
            at += part.count;
            values.clone().slice_dim(0, at - part.count..at)
        };
        self.parts().into_iter().map(cut).collect()
    }

    /// The log risk of each picture.
    ///
    /// # Shapes
    /// - parts: as [`Plan::split`] gives them
    /// - x: `[N, 3, S, S]`
    /// - output: `[N]`
    pub(super) fn forward(
        &self,
        parts: &[Tensor<1>],
        statistics: &mut Statistics,
        training: bool,
        x: Tensor<4>,
    ) -> Tensor<1> {
        let mut pass = Pass {
            parts: parts.iter(),
            statistics: statistics.iter_mut(),
            training,
        };
        let x = pass.through(&self.layers, x);
        let [n, c, h, w] = x.dims();
        let mean = x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c]);
        let weight = pass.next().reshape([c, 1]);
        mean.matmul(weight).reshape([n])
    }
}

/// Streams of the seed from which the first weights come.
const WEIGHTS: u64 = 1 << 40;

pub(super) fn vector(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

fn parts(layers: &[Layer], out: &mut Vec<Part>) {
    let all = |count, value| Part {
        count,
        first: First::All(value),
    };
    for layer in layers {
        match layer {
            Layer::Convolution { shape, bias, .. } => {
                let [output, input, h, w] = *shape;
                out.push(Part {
                    count: output * input * h * w,
                    first: First::Normal((2.0 / (input * h * w) as f64).sqrt()),
                });
                if *bias {
                    out.push(all(output, 0.0));
                }
            }
            Layer::Norm(channels) => out.extend([all(*channels, 1.0), all(*channels, 0.0)]),
            Layer::Rectify | Layer::MaxPool { .. } => {}
            Layer::Sum { body, shortcut } => {
                parts(body, out);
                parts(shortcut, out);
            }
        }
    }
}

fn norms(layers: &[Layer], out: &mut Vec<usize>) {
    for layer in layers {
        match layer {
            Layer::Norm(channels) => out.push(*channels),
            Layer::Sum { body, shortcut } => {
                norms(body, out);
                norms(shortcut, out);
            }
            _ => {}
        }
    }
}

/// One way through the layers, which take their parameters in order.
struct Pass<'a> {
    parts: std::slice::Iter<'a, Tensor<1>>,
    statistics: std::slice::IterMut<'a, [Tensor<1>; 2]>,
    training: bool,
}

impl Pass<'_> {
    fn next(&mut self) -> Tensor<1> {
        self.parts.next().expect("a part for every layer").clone()
    }

    fn through(&mut self, layers: &[Layer], mut x: Tensor<4>) -> Tensor<4> {
        for layer in layers {
            x = match layer {
                Layer::Convolution {
                    shape,
                    stride,
                    bias,
                } => {
                    let weight = self.next().reshape(*shape);
                    let y = convolve(x, weight, *stride);
                    if *bias {
                        y + self.next().reshape([1, shape[0], 1, 1])
                    } else {
                        y
                    }
                }
                Layer::Norm(_) => self.norm(x),
                Layer::Rectify => relu(x),
                Layer::MaxPool { size, stride } => {
                    // A window of 3 looks one pixel beyond the edge, one of 2 does not.
                    let beyond = (size - 1) / 2;
                    let options = MaxPoolOptions::new([*size, *size])
                        .with_stride([*stride, *stride])
                        .with_padding([beyond, beyond]);
                    max_pool2d(x, options)
                }
                Layer::Sum { body, shortcut } => {
                    let own = self.through(body, x.clone());
                    own + self.through(shortcut, x)
                }
            };
        }
        x
    }

    fn norm(&mut self, x: Tensor<4>) -> Tensor<4> {
        let (gamma, beta) = (self.next(), self.next());
        let statistics = self.statistics.next().expect("statistics for every norm");
        let [mean, variance] = statistics.clone();
        if !self.training {
            return batch_norm(x, gamma, beta, mean, variance, EPSILON);
        }
        let found = batch_norm_train(x, gamma, beta, EPSILON);
        let moved =
            |old: Tensor<1>, new: Tensor<1>| old * (1.0 - MOMENTUM) + new.inner() * MOMENTUM;
        *statistics = [moved(mean, found.mean), moved(variance, found.variance)];
        found.output
    }
}

/// A convolution that keeps the size, or divides it by the stride.
fn convolve(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    let [.., size, _] = weight.dims();
    if size == 3 && stride == 1 {
        // The generator's own, whose kernels are the faster ones.
        let filter = Tensor::ones([1, 1], &x.device().inner());
        return conv2d_resample(x, weight, &filter, &ConvResample::same(3));
    }
    let beyond = size / 2;
    let options = ConvOptions::new([stride, stride], [beyond, beyond], [1, 1], 1);
    conv2d(x, weight, None, options)
}

/// Four stages of two residual blocks. Pictures smaller than 64 pixels are not reduced before the first
/// stage, as in the paper's own networks for pictures of 32 (section 4.2).
fn resnet18(side: usize) -> Vec<Layer> {
    let convolution = |output, input, size, stride| Layer::Convolution {
        shape: [output, input, size, size],
        stride,
        bias: false,
    };
    let mut layers = if side >= PUBLISHED_STEM {
        vec![convolution(64, 3, 7, 2), Layer::Norm(64), Layer::Rectify]
    } else {
        vec![convolution(64, 3, 3, 1), Layer::Norm(64), Layer::Rectify]
    };
    if side >= PUBLISHED_STEM {
        layers.push(Layer::MaxPool { size: 3, stride: 2 });
    }
    let mut input = 64;
    for (stage, output) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let body = vec![
                convolution(output, input, 3, stride),
                Layer::Norm(output),
                Layer::Rectify,
                convolution(output, output, 3, 1),
                Layer::Norm(output),
            ];
            let shortcut = match stride {
                1 => vec![],
                _ => vec![convolution(output, input, 1, stride), Layer::Norm(output)],
            };
            layers.extend([Layer::Sum { body, shortcut }, Layer::Rectify]);
            input = output;
        }
    }
    layers
}

/// Thirteen convolutions with a pooling after 2, 4, 7, 10 and 13, while there is something to pool. In
/// place of the three dense layers, which need 224 pixels, stands the mean over the picture.
fn vgg16(side: usize) -> Vec<Layer> {
    let mut layers = Vec::new();
    let (mut input, mut side) = (3, side);
    for (output, depth) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..depth {
            layers.push(Layer::Convolution {
                shape: [output, input, 3, 3],
                stride: 1,
                bias: true,
            });
            layers.push(Layer::Rectify);
            input = output;
        }
        if side >= 2 {
            layers.push(Layer::MaxPool { size: 2, stride: 2 });
            side /= 2;
        }
    }
    layers
}
