//! Noise, bias, leaky ReLU, gain and clamp in one pass, and the way back in another.

// What runs inside a SIMD dispatch must be inlined into it to be compiled for that instruction set.
#![allow(clippy::inline_always)]

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Tensor, TensorData};
use pulp::Arch;
use rayon::prelude::*;

use super::{CpuKernels, in_place, tensor, values, vectorized};

/// `clamp(gain * lrelu(x + noise + bias), -bound, bound)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lrelu {
    /// Channels and pixels of a plane.
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
    /// Positive.
    pub(crate) gain: f32,
    /// Positive, or zero for the ReLU.
    pub(crate) slope: f32,
    /// Infinite for none.
    pub(crate) bound: f32,
}

impl Lrelu {
    /// Applies the operation in place. `noise` is empty, one plane, or one plane per image.
    pub(crate) fn forward(&self, values: &mut [f32], noise: &[f32], bias: &[f32]) {
        let &Self {
            channels,
            pixels,
            gain,
            slope,
            bound,
        } = self;
        let arch = Arch::new();
        values
            .par_chunks_mut(pixels)
            .enumerate()
            .for_each(|(plane, values)| {
                let bias = bias[plane % channels];
                let first = if noise.len() > pixels {
                    plane / channels * pixels
                } else {
                    0
                };
                let noise = noise.get(first..first + pixels);
                vectorized(
                    arch,
                    #[inline(always)]
                    move || {
                        let act = |y: f32| {
                            // Not `y * slope` for the ReLU, which would make NaN of an infinity.
                            let below = if slope > 0.0 { y * slope } else { 0.0 };
                            let y = (if y < 0.0 { below } else { y }) * gain;
                            // Comparisons, not `min` and `max`: a NaN stays one.
                            if y > bound {
                                bound
                            } else if y < -bound {
                                -bound
                            } else {
                                y
                            }
                        };
                        match noise {
                            Some(noise) => {
                                for (v, n) in values.iter_mut().zip(noise) {
                                    *v = act(*v + n + bias);
                                }
                            }
                            None => {
                                for v in values.iter_mut() {
                                    *v = act(*v + bias);
                                }
                            }
                        }
                    },
                );
            });
    }

    /// Multiplies by the derivative with respect to the input, in place: tangents of the input
    /// become those of the result `y`, gradients of the result those of the input.
    pub(crate) fn derivative(&self, g: &mut [f32], y: &[f32]) {
        let &Self {
            pixels,
            gain,
            slope,
            bound,
            ..
        } = self;
        let below = gain * slope;
        // A result of zero comes of any input below it where the slope is zero: nothing lies between the two bounds.
        let least_above = if slope > 0.0 { 0.0 } else { f32::from_bits(1) };
        let arch = Arch::new();
        g.par_chunks_mut(pixels)
            .zip(y.par_chunks(pixels))
            .for_each(|(g, y)| {
                vectorized(
                    arch,
                    // Captured by value: a reference could be to what the loop writes, which would then
                    // not be done several at a time.
                    #[inline(always)]
                    move || {
                        for (g, &y) in g.iter_mut().zip(y) {
                            let factor = if y < least_above { below } else { gain };
                            // Where the result was clamped it does not depend on the input.
                            *g *= if y.abs() < bound { factor } else { 0.0 };
                        }
                    },
                );
            });
    }

    /// The gradient of the bias from that of the input: the sum over images and pixels.
    pub(crate) fn bias_gradient(&self, g: &[f32]) -> Vec<f32> {
        // Blocks keep the rounding of large planes small.
        let plane = |plane: &[f32]| plane.chunks(256).map(|b| f64::from(sum(b))).sum();
        let sums: Vec<f64> = g.par_chunks(self.pixels).map(plane).collect();
        let channel = |c: usize| sums[c..].iter().step_by(self.channels).sum::<f64>() as f32;
        (0..self.channels).map(channel).collect()
    }

    /// The gradient of the noise: the sum over channels, and over images too for a single plane.
    pub(crate) fn noise_gradient(&self, g: &[f32], planes: usize) -> Vec<f32> {
        let images = g.len() / (self.channels * self.pixels);
        let mut noise = vec![0.0; planes * self.pixels];
        for image in 0..images {
            let to = (if planes == 1 { 0 } else { image }) * self.pixels;
            let to = &mut noise[to..to + self.pixels];
            let start = image * self.channels * self.pixels;
            let g = &g[start..start + self.channels * self.pixels];
            for plane in g.chunks_exact(self.pixels) {
                for (to, g) in to.iter_mut().zip(plane) {
                    *to += g;
                }
            }
        }
        noise
    }
}

/// A sum in sixteen parts, which do not wait for each other.
fn sum(values: &[f32]) -> f32 {
    let mut parts = [0.0_f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (part, value) in parts.iter_mut().zip(chunk) {
            *part += value;
        }
    }
    parts.iter().chain(rest).sum()
}

impl Lrelu {
    /// Applies the operation to `x` `[N, C, H, W]` with `bias` `[C]` and `noise` `[1 or N, 1, H, W]`.
    pub(crate) fn apply(
        self,
        x: Tensor<4>,
        noise: Option<Tensor<4>>,
        bias: Tensor<1>,
    ) -> Tensor<4> {
        use burn::backend::Dispatch;
        let (x, bias) = (x.into_dispatch(), bias.into_dispatch());
        Tensor::from_dispatch(match noise {
            None => Dispatch::cpu_lrelu(x, bias, self),
            Some(noise) => {
                Dispatch::cpu_lrelu_with_noise(x, bias, noise.into_dispatch(), LreluWithNoise(self))
            }
        })
    }
}

impl Lrelu {
    /// The tangent of the result `y` for the tangent of the input.
    pub(crate) fn tangent(self, tangent: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
        use burn::backend::Dispatch;
        let (tangent, y) = (tangent.into_dispatch(), y.into_dispatch());
        Tensor::from_dispatch(Dispatch::cpu_lrelu_tangent(tangent, y, self))
    }
}

/// The tangent of [`Lrelu`]: linear, and its own transpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LreluTangent(pub(crate) Lrelu);

impl Backward<Flex, 1> for LreluTangent {
    /// The result of the activation.
    type State = FloatTensor<Flex>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [of_tangent] = ops.parents;
        let g = grads.consume::<Flex>(&ops.node);
        if let Some(node) = of_tangent {
            let y = ops.state.to_contiguous();
            let g = in_place(g, |g| self.0.derivative(g, values(&y)));
            grads.register::<Flex>(node.id, g);
        }
    }
}

impl Backward<Flex, 2> for Lrelu {
    /// The result.
    type State = FloatTensor<Flex>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [of_x, of_bias] = ops.parents;
        let g = grads.consume::<Flex>(&ops.node);
        let g = in_place(g, |g| self.derivative(g, values(&ops.state)));
        if let Some(node) = of_bias {
            grads.register::<Flex>(node.id, vector(self.bias_gradient(values(&g))));
        }
        if let Some(node) = of_x {
            grads.register::<Flex>(node.id, g);
        }
    }
}

/// [`Lrelu`] after adding noise: its gradients are three.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LreluWithNoise(pub(crate) Lrelu);

impl Backward<Flex, 3> for LreluWithNoise {
    /// The result, and the number of noise planes.
    type State = (FloatTensor<Flex>, usize);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [of_x, of_bias, of_noise] = ops.parents;
        let (y, planes) = ops.state;
        let g = grads.consume::<Flex>(&ops.node);
        let g = in_place(g, |g| self.0.derivative(g, values(&y)));
        if let Some(node) = of_bias {
            grads.register::<Flex>(node.id, vector(self.0.bias_gradient(values(&g))));
        }
        if let Some(node) = of_noise {
            let shape = y.layout().shape();
            let dims = [planes, 1, shape[2], shape[3]];
            let noise = self.0.noise_gradient(values(&g), planes);
            grads.register::<Flex>(node.id, tensor(noise, dims));
        }
        if let Some(node) = of_x {
            grads.register::<Flex>(node.id, g);
        }
    }
}

fn vector(values: Vec<f32>) -> FloatTensor<Flex> {
    let length = values.len();
    FloatTensor::<Flex>::from_data(TensorData::new(values, [length]))
}
