//! The networks whose features are compared.

use burn::tensor::Tensor;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
#[cfg(feature = "stylegan2")]
use stylegan2_burn::Dual;
#[cfg(feature = "stylegan2")]
use stylegan2_burn::ops::{Activation, BiasAct, ConvResample, conv2d_resample};

/// A network trained on photographs, up to its last convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trunk {
    /// Krizhevsky 2014; five convolutions.
    AlexNet,
    /// Simonyan and Zisserman 2015; thirteen convolutions.
    Vgg16,
    /// Iandola et al. 2016, version 1.1; a convolution and eight modules of three.
    SqueezeNet,
}

/// A convolution's weight `[O, I, k, k]` and bias `[O]`.
#[derive(Clone, Debug)]
pub(super) struct Convolution {
    pub(super) weight: Tensor<4>,
    pub(super) bias: Tensor<1>,
}

/// One step of a trunk.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Convolution and ReLU: place in torchvision's `features`, channels, kernel, stride, padding,
    /// and whether the result is one of the features.
    Conv {
        index: usize,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: usize,
        tap: bool,
    },
    /// Maximum over squares of this side, every second position.
    Pool(usize),
    /// Maximum over squares of 3, every second position, the last one cut off by the border where the
    /// side is even.
    PoolToBorder,
    /// A convolution of 1 to `squeeze` channels, and of 1 and of 3 of its result to `expand` channels
    /// each, all with ReLU: place in torchvision's `features`, and whether the result is one of the
    /// features.
    Fire {
        index: usize,
        input: usize,
        squeeze: usize,
        expand: usize,
        tap: bool,
    },
}

impl Step {
    /// Names and shapes `[O, I, k, k]` of its convolutions, in the order they are computed.
    pub(super) fn convolutions(self) -> Vec<(String, [usize; 4])> {
        match self {
            Self::Pool(_) | Self::PoolToBorder => Vec::new(),
            Self::Conv {
                index,
                channels: [input, output],
                kernel,
                ..
            } => vec![(format!("features.{index}"), [output, input, kernel, kernel])],
            Self::Fire {
                index,
                input,
                squeeze,
                expand,
                ..
            } => {
                let name = |part: &str| format!("features.{index}.{part}");
                vec![
                    (name("squeeze"), [squeeze, input, 1, 1]),
                    (name("expand1x1"), [expand, squeeze, 1, 1]),
                    (name("expand3x3"), [expand, squeeze, 3, 3]),
                ]
            }
        }
    }
}

const fn conv(index: usize, channels: [usize; 2], geometry: [usize; 3], tap: bool) -> Step {
    let [kernel, stride, padding] = geometry;
    Step::Conv {
        index,
        channels,
        kernel,
        stride,
        padding,
        tap,
    }
}

const fn fire(index: usize, channels: [usize; 3], tap: bool) -> Step {
    let [input, squeeze, expand] = channels;
    Step::Fire {
        index,
        input,
        squeeze,
        expand,
        tap,
    }
}

const SAME: [usize; 3] = [3, 1, 1];

const ALEXNET: [Step; 7] = [
    conv(0, [3, 64], [11, 4, 2], true),
    Step::Pool(3),
    conv(3, [64, 192], [5, 1, 2], true),
    Step::Pool(3),
    conv(6, [192, 384], SAME, true),
    conv(8, [384, 256], SAME, true),
    conv(10, [256, 256], SAME, true),
];

const VGG16: [Step; 17] = [
    conv(0, [3, 64], SAME, false),
    conv(2, [64, 64], SAME, true),
    Step::Pool(2),
    conv(5, [64, 128], SAME, false),
    conv(7, [128, 128], SAME, true),
    Step::Pool(2),
    conv(10, [128, 256], SAME, false),
    conv(12, [256, 256], SAME, false),
    conv(14, [256, 256], SAME, true),
    Step::Pool(2),
    conv(17, [256, 512], SAME, false),
    conv(19, [512, 512], SAME, false),
    conv(21, [512, 512], SAME, true),
    Step::Pool(2),
    conv(24, [512, 512], SAME, false),
    conv(26, [512, 512], SAME, false),
    conv(28, [512, 512], SAME, true),
];

const SQUEEZENET: [Step; 12] = [
    conv(0, [3, 64], [3, 2, 0], true),
    Step::PoolToBorder,
    fire(3, [64, 16, 64], false),
    fire(4, [128, 16, 64], true),
    Step::PoolToBorder,
    fire(6, [128, 32, 128], false),
    fire(7, [256, 32, 128], true),
    Step::PoolToBorder,
    fire(9, [256, 48, 192], true),
    fire(10, [384, 48, 192], true),
    fire(11, [384, 64, 256], true),
    fire(12, [512, 64, 256], true),
];

impl Trunk {
    /// Its name, as distances carry it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AlexNet => "AlexNet",
            Self::Vgg16 => "VGG16",
            Self::SqueezeNet => "SqueezeNet",
        }
    }

    /// The shortest side of an image that leaves a pixel in every layer.
    pub fn smallest_side(self) -> usize {
        match self {
            Self::AlexNet => 31,
            Self::Vgg16 => 16,
            Self::SqueezeNet => 17,
        }
    }

    /// The channels of the tapped layers: five, of SqueezeNet seven.
    pub fn widths(self) -> &'static [usize] {
        match self {
            Self::AlexNet => &[64, 192, 384, 256, 256],
            Self::Vgg16 => &[64, 128, 256, 512, 512],
            Self::SqueezeNet => &[64, 128, 256, 384, 384, 512, 512],
        }
    }

    pub(super) fn steps(self) -> &'static [Step] {
        match self {
            Self::AlexNet => &ALEXNET,
            Self::Vgg16 => &VGG16,
            Self::SqueezeNet => &SQUEEZENET,
        }
    }

    /// The tapped activations of prepared images.
    pub(super) fn run(self, convolutions: &[Convolution], images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut weights = convolutions.iter();
        let mut next = |x: Tensor<4>, stride, padding| {
            let Convolution { weight, bias } = weights.next().expect("a weight per convolution");
            let weight = weight.clone().cast(x.dtype());
            let bias = bias.clone().cast(x.dtype());
            convolve(x, weight, bias, stride, padding)
        };
        let mut taps = Vec::with_capacity(self.widths().len());
        let mut x = images;
        for step in self.steps() {
            let tapped;
            (x, tapped) = match *step {
                Step::Pool(side) => {
                    let options = MaxPoolOptions::new([side, side]).with_stride([2, 2]);
                    (max_pool2d(x, options), false)
                }
                Step::PoolToBorder => {
                    let options = MaxPoolOptions::new([3, 3]).with_stride([2, 2]);
                    (max_pool2d(x, options.with_ceil_mode(true)), false)
                }
                Step::Conv {
                    stride,
                    padding,
                    tap,
                    ..
                } => (next(x, stride, padding), tap),
                Step::Fire { tap, .. } => {
                    let x = next(x, 1, 0);
                    let ones = next(x.clone(), 1, 0);
                    (Tensor::cat(vec![ones, next(x, 1, 1)], 1), tap)
                }
            };
            if tapped {
                taps.push(x.clone());
            }
        }
        taps
    }
}

/// Convolution, bias and ReLU.
#[cfg(not(feature = "stylegan2"))]
fn convolve(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
    burn::tensor::activation::relu(conv2d(x, weight, Some(bias), options))
}

/// Convolution, bias and ReLU, on the CPU by the kernels of `stylegan2-burn` where they suit: those of
/// Burn take twice the time and more.
#[cfg(feature = "stylegan2")]
fn convolve(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    let (weight, bias) = if x.is_autodiff() {
        (weight.autodiff(), bias.autodiff())
    } else {
        (weight, bias)
    };
    let kernel = weight.dims()[2];
    let y = if matches!((kernel, stride, padding), (3, 1, 1) | (1, 1, 0)) {
        // The filter is that of resampling, of which there is none.
        let filter = Tensor::ones([1, 1], &x.device());
        conv2d_resample(x, weight, &filter, &ConvResample::same(kernel))
    } else {
        let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
        conv2d(x, weight, None, options)
    };
    BiasAct::new(Activation::Relu)
        .with_gain(Some(1.0))
        .forward_with_noise(Dual::constant(y), None, bias)
        .value
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Trunk; 3] = [Trunk::AlexNet, Trunk::Vgg16, Trunk::SqueezeNet];

    #[test]
    fn widths_are_those_of_the_tapped_steps() {
        for trunk in ALL {
            let taps: Vec<usize> = trunk
                .steps()
                .iter()
                .filter_map(|s| match s {
                    Step::Conv {
                        channels,
                        tap: true,
                        ..
                    } => Some(channels[1]),
                    Step::Fire {
                        expand, tap: true, ..
                    } => Some(2 * expand),
                    _ => None,
                })
                .collect();
            assert_eq!(taps, trunk.widths());
        }
    }

    /// One pixel less and some layer would be empty.
    #[test]
    fn the_smallest_side_leaves_one_pixel() {
        let last = |trunk: Trunk, side: usize| -> Option<usize> {
            trunk.steps().iter().try_fold(side, |side, step| {
                let (kernel, stride, padding) = match *step {
                    Step::Pool(k) => (k, 2, 0),
                    // As a square of 2, which the border does not cut.
                    Step::PoolToBorder => (2, 2, 0),
                    Step::Fire { .. } => (1, 1, 0),
                    Step::Conv {
                        kernel,
                        stride,
                        padding,
                        ..
                    } => (kernel, stride, padding),
                };
                Some((side + 2 * padding).checked_sub(kernel)? / stride + 1)
            })
        };
        for trunk in ALL {
            let side = trunk.smallest_side();
            assert_eq!(last(trunk, side), Some(1), "{trunk:?}");
            assert_eq!(last(trunk, side - 1), None, "{trunk:?}");
        }
    }
}
