//! The 3x3 convolutions this crate does itself on the CPU, and their gradients.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, Flex};
use burn::tensor::Tensor;

use super::strided::{self, Strided};
use super::winograd::{self, Shape};
use super::winograd_weight::conv3x3_weight;
use super::{CpuKernels, here, tensor, values};

/// A convolution with a 3x3 kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Conv {
    /// Stride 1, padded by one; weight `[O, I, 3, 3]`.
    Same(Shape),
    /// Stride 2, not padded, of an image with odd sides; weight `[O, I, 3, 3]`.
    Down(Strided),
    /// The transpose of `Down`; weight `[I, O, 3, 3]`, as transposed convolutions have it.
    Up(Strided),
}

/// What a convolution does to the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stride {
    Same,
    Down,
    Up,
}

impl Conv {
    /// The convolution of `x` and `weight` if this module is the way to do it: 3x3, on the CPU, in
    /// single precision, and large enough for the preparations to pay.
    pub(crate) fn suited(x: &Tensor<4>, weight: &Tensor<4>, stride: Stride) -> Option<Self> {
        let [batch, input, height, width] = x.dims();
        let [first, second, kh, kw] = weight.dims();
        if kh != 3 || kw != 3 || !here(x) || !here(weight) {
            return None;
        }
        let wide = first >= 8 && second >= 8;
        match stride {
            Stride::Same => {
                let output = first;
                let shape = Shape {
                    batch,
                    input,
                    output,
                    height,
                    width,
                };
                winograd::suits(&shape).then_some(Self::Same(shape))
            }
            Stride::Down => {
                let odd = height >= 3 && width >= 3 && height % 2 == 1 && width % 2 == 1;
                (odd && wide).then_some(Self::Down(Strided {
                    batch,
                    small: first,
                    big: second,
                    height: height / 2,
                    width: width / 2,
                }))
            }
            Stride::Up => wide.then_some(Self::Up(Strided {
                batch,
                small: first,
                big: second,
                height,
                width,
            })),
        }
    }

    /// Convolves.
    pub(crate) fn apply(self, x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
        let y = <Dispatch as CpuKernels>::cpu_conv(x.into_dispatch(), weight.into_dispatch(), self);
        Tensor::from_dispatch(y)
    }

    pub(super) fn dims(&self) -> [usize; 4] {
        match *self {
            Self::Same(s) => [s.batch, s.output, s.height, s.width],
            Self::Down(s) => [s.batch, s.small, s.height, s.width],
            Self::Up(s) => [s.batch, s.big, 2 * s.height + 1, 2 * s.width + 1],
        }
    }

    fn input_dims(&self) -> [usize; 4] {
        match *self {
            Self::Same(s) => [s.batch, s.input, s.height, s.width],
            Self::Down(s) => Self::Up(s).dims(),
            Self::Up(s) => Self::Down(s).dims(),
        }
    }

    fn weight_dims(&self) -> [usize; 4] {
        match *self {
            Self::Same(s) => [s.output, s.input, 3, 3],
            Self::Down(s) | Self::Up(s) => [s.small, s.big, 3, 3],
        }
    }

    pub(super) fn forward(&self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        match self {
            Self::Same(s) => winograd::conv3x3(x, weight, s),
            Self::Down(s) => strided::down(x, weight, s),
            Self::Up(s) => strided::up(x, weight, s),
        }
    }

    /// The gradient of the input for the gradient `g` of the output.
    fn input_gradient(&self, g: &[f32], weight: &[f32]) -> Vec<f32> {
        match self {
            Self::Same(s) => {
                let (input, output) = (s.output, s.input);
                let flipped = flip_and_swap(weight, s.output, s.input);
                winograd::conv3x3(
                    g,
                    &flipped,
                    &Shape {
                        input,
                        output,
                        ..*s
                    },
                )
            }
            Self::Down(s) => strided::up(g, weight, s),
            Self::Up(s) => strided::down(g, weight, s),
        }
    }

    /// The gradient of the weight for the gradient `g` of the output.
    fn weight_gradient(&self, x: &[f32], g: &[f32]) -> Vec<f32> {
        match self {
            Self::Same(s) => conv3x3_weight(x, g, s),
            Self::Down(s) => strided::weight(g, x, s),
            Self::Up(s) => strided::weight(x, g, s),
        }
    }
}

/// `[O, I, 3, 3]` to `[I, O, 3, 3]`, each kernel turned by half a turn.
fn flip_and_swap(weight: &[f32], output: usize, input: usize) -> Vec<f32> {
    let mut flipped = vec![0.0; weight.len()];
    for (index, taps) in weight.chunks_exact(9).enumerate() {
        let (o, i) = (index / input, index % input);
        let to = &mut flipped[9 * (i * output + o)..9 * (i * output + o + 1)];
        for (to, from) in to.iter_mut().zip(taps.iter().rev()) {
            *to = *from;
        }
    }
    flipped
}

impl Backward<Flex, 2> for Conv {
    type State = (FloatTensor<Flex>, FloatTensor<Flex>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [of_x, of_weight] = ops.parents;
        let g = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (x, weight) = ops.state;
        if let Some(node) = of_x {
            let dx = self.input_gradient(values(&g), values(&weight));
            grads.register::<Flex>(node.id, tensor(dx, self.input_dims()));
        }
        if let Some(node) = of_weight {
            let dw = self.weight_gradient(values(&x), values(&g));
            grads.register::<Flex>(node.id, tensor(dw, self.weight_dims()));
        }
    }
}
