//! What a layer adds to the distance, on the CPU in one pass, and its gradients.
//!
//! As separate operations of tensors this is twenty passes over the activations, half as much time again
//! as the convolutions of the trunk.

// What runs inside a SIMD dispatch must be inlined into it to be compiled for that instruction set.
#![allow(clippy::inline_always)]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use stylegan2_burn::ops::cpu::{here, vectorized};

/// Numbers that a block of pixels has of each image: they stay in the cache between two sweeps.
const BLOCK: usize = 1 << 15;
/// Pixels of a block are a multiple of this.
const STEP: usize = 16;

/// $\operatorname{mean}_p \sum_c w_c (x_{cp} / |x_p| - y_{cp} / |y_p|)^2$ of `x`, `y`
/// `[N, C, H, W]` and `w` `[1, C, 1, 1]`: `[N]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    images: usize,
    channels: usize,
    pixels: usize,
}

impl Layer {
    /// The operation, if the tensors are on the CPU and in single precision.
    pub(super) fn suited(x: &Tensor<4>, y: &Tensor<4>, head: &Tensor<4>) -> Option<Self> {
        let [images, channels, height, width] = x.dims();
        let fits = x.dims() == y.dims() && head.dims() == [1, channels, 1, 1];
        (fits && here(x) && here(y) && here(head)).then_some(Self {
            images,
            channels,
            pixels: height * width,
        })
    }

    pub(super) fn apply(self, x: Tensor<4>, y: Tensor<4>, head: Tensor<4>) -> Tensor<1> {
        let tracked = x.is_autodiff() || y.is_autodiff();
        let same = |t: Tensor<4>| if tracked { t.autodiff() } else { t };
        let [x, y, head] = [x, y, head].map(|t| same(t).into_dispatch());
        Tensor::from_dispatch(<Dispatch as LpipsKernel>::lpips_layer(x, y, head, self))
    }

    fn block(&self) -> usize {
        (BLOCK / self.channels / STEP * STEP).max(STEP)
    }

    /// The planes of an image.
    fn image<'a>(&self, x: &'a [f32], image: usize) -> &'a [f32] {
        let size = self.channels * self.pixels;
        &x[image * size..(image + 1) * size]
    }

    fn forward(&self, x: &[f32], y: &[f32], head: &[f32]) -> Vec<f32> {
        let block = self.block();
        let blocks = self.pixels.div_ceil(block);
        // Blocks are added up in their order, so that threads make no difference.
        let sums: Vec<f64> = (0..self.images * blocks)
            .into_par_iter()
            .map(|k| {
                let (image, first) = (k / blocks, k % blocks * block);
                let (x, y) = (self.image(x, image), self.image(y, image));
                let pixels = first..(first + block).min(self.pixels);
                let mut sums = vec![0.0; pixels.len()];
                let mut lengths = Lengths::new(pixels.len());
                vectorized(
                    #[inline(always)]
                    || {
                        lengths.fill(self, x, y, pixels.clone());
                        for (c, &head) in head.iter().enumerate() {
                            let plane = c * self.pixels;
                            let x = &x[plane + pixels.start..plane + pixels.end];
                            let y = &y[plane + pixels.start..plane + pixels.end];
                            let scales = lengths.of_x.iter().zip(&lengths.of_y);
                            let values = x.iter().zip(y).zip(scales);
                            for (sum, ((x, y), (sx, sy))) in sums.iter_mut().zip(values) {
                                let apart = x * sx[1] - y * sy[1];
                                *sum += head * apart * apart;
                            }
                        }
                    },
                );
                sums.iter().map(|s| f64::from(*s)).sum()
            })
            .collect();
        let mean = |sums: &[f64]| (sums.iter().sum::<f64>() / self.pixels as f64) as f32;
        sums.chunks_exact(blocks).map(mean).collect()
    }

    /// The gradient of `x` for the gradient `g` `[N]` of the result; of `y` with the two exchanged.
    fn gradient(&self, x: &[f32], y: &[f32], head: &[f32], g: &[f32]) -> Vec<f32> {
        let mut result = vec![0.0; x.len()];
        let size = self.channels * self.pixels;
        for (image, result) in result.chunks_exact_mut(size).enumerate() {
            let (x, y) = (self.image(x, image), self.image(y, image));
            let scale = 2.0 * g[image] / self.pixels as f32;
            // Of each pixel: 1 / |x|, 1 / |y|, and what x itself is multiplied by.
            let factors: Vec<[f32; 3]> = (0..self.pixels.div_ceil(self.block()))
                .into_par_iter()
                .flat_map_iter(|k| self.factors(x, y, head, scale, k))
                .collect();
            result
                .par_chunks_mut(self.pixels)
                .enumerate()
                .for_each(|(c, result)| {
                    let plane = c * self.pixels..(c + 1) * self.pixels;
                    let (x, y, scale) = (&x[plane.clone()], &y[plane], scale * head[c]);
                    vectorized(
                        #[inline(always)]
                        || {
                            let values = x.iter().zip(y).zip(&factors);
                            for (result, ((x, y), [ix, iy, along])) in result.iter_mut().zip(values)
                            {
                                *result = scale * (x * ix - y * iy) * ix - x * along;
                            }
                        },
                    );
                });
        }
        result
    }

    /// The factors of the pixels of block `k`.
    fn factors(&self, x: &[f32], y: &[f32], head: &[f32], scale: f32, k: usize) -> Vec<[f32; 3]> {
        let first = k * self.block();
        let pixels = first..(first + self.block()).min(self.pixels);
        let mut lengths = Lengths::new(pixels.len());
        let mut dots = vec![0.0_f32; pixels.len()];
        vectorized(
            #[inline(always)]
            || {
                lengths.fill(self, x, y, pixels.clone());
                for (c, &head) in head.iter().enumerate() {
                    let plane = c * self.pixels;
                    let x = &x[plane + pixels.start..plane + pixels.end];
                    let y = &y[plane + pixels.start..plane + pixels.end];
                    let scales = lengths.of_x.iter().zip(&lengths.of_y);
                    let values = x.iter().zip(y).zip(scales);
                    for (dot, ((x, y), (sx, sy))) in dots.iter_mut().zip(values) {
                        *dot += head * (x * sx[1] - y * sy[1]) * x;
                    }
                }
            },
        );
        let scales = lengths.of_x.into_iter().zip(lengths.of_y);
        let each = scales.zip(dots);
        each.map(|(([root, ix], [_, iy]), dot)| [ix, iy, scale * dot * ix * ix / root])
            .collect()
    }
}

/// Of every pixel of a block the root of the sum of squares, and one over the length it gives.
struct Lengths {
    of_x: Vec<[f32; 2]>,
    of_y: Vec<[f32; 2]>,
}

impl Lengths {
    fn new(pixels: usize) -> Self {
        Self {
            of_x: vec![[0.0; 2]; pixels],
            of_y: vec![[0.0; 2]; pixels],
        }
    }

    #[inline(always)]
    fn fill(&mut self, layer: &Layer, x: &[f32], y: &[f32], pixels: std::ops::Range<usize>) {
        for (lengths, values) in [(&mut self.of_x, x), (&mut self.of_y, y)] {
            for c in 0..layer.channels {
                let plane = c * layer.pixels;
                let values = &values[plane + pixels.start..plane + pixels.end];
                for (length, v) in lengths.iter_mut().zip(values) {
                    length[0] += v * v;
                }
            }
            for length in lengths.iter_mut() {
                // As `unit_length` has it.
                let root = (length[0] + 1e-20).sqrt();
                *length = [root, 1.0 / (root + 1e-10)];
            }
        }
    }
}

/// What the back ends do. Only CPU tensors may be given to it.
#[backend_extension(Flex, Autodiff)]
trait LpipsKernel: Backend {
    /// What a layer adds.
    fn lpips_layer(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        head: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self>;
}

impl LpipsKernel for Flex {
    fn lpips_layer(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        head: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self> {
        let [x, y, head] = [x, y, head].map(|t| t.to_contiguous());
        let found = layer.forward(values(&x), values(&y), values(&head));
        tensor(found, &[layer.images])
    }
}

impl<C: CheckpointStrategy> LpipsKernel for Autodiff<Flex, C> {
    fn lpips_layer(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        head: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), y.node()];
        let [x, y, head] = [x, y, head].map(|t| t.into_primitive().to_contiguous());
        let found = Flex::lpips_layer(x.clone(), y.clone(), head.clone(), layer);
        match layer.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish([x, y, head], found),
            OpsKind::UnTracked(prep) => prep.finish(found),
        }
    }
}

impl Backward<Flex, 2> for Layer {
    /// The tensors, and the head's weights.
    type State = [FloatTensor<Flex>; 3];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [of_x, of_y] = ops.parents;
        let g = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [x, y, head] = &ops.state;
        let dims = x.layout().shape().to_vec();
        for (node, a, b) in [(of_x, x, y), (of_y, y, x)] {
            if let Some(node) = node {
                let found = self.gradient(values(a), values(b), values(head), values(&g));
                grads.register::<Flex>(node.id, tensor(found, &dims));
            }
        }
    }
}

fn values(x: &FloatTensor<Flex>) -> &[f32] {
    x.as_slice().expect("contiguous and in single precision")
}

fn tensor(values: Vec<f32>, dims: &[usize]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, dims.to_vec()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::super::unit_length;
    use super::*;

    /// The same as separate operations, and the gradients of a weighted sum over the images.
    fn all(fast: bool, [x, y, head]: [&Tensor<4>; 3], g: &Tensor<1>) -> [Vec<f32>; 3] {
        let (x, y) = (x.clone().require_grad(), y.clone().require_grad());
        let found = if fast {
            let layer = Layer::suited(&x, &y, head).expect("the sizes suit");
            layer.apply(x.clone(), y.clone(), head.clone())
        } else {
            let [n, ..] = x.dims();
            let apart = unit_length(x.clone()) - unit_length(y.clone());
            let map = (apart.clone() * apart * head.clone().autodiff()).sum_dim(1);
            map.mean_dim(3).mean_dim(2).reshape([n])
        };
        let grads = (found.clone() * g.clone().autodiff()).sum().backward();
        let list = |t: Tensor<4>| crate::floats(t);
        [
            crate::floats(found.inner()),
            list(x.grad(&grads).unwrap()),
            list(y.grad(&grads).unwrap()),
        ]
    }

    #[test]
    fn one_pass_equals_the_separate_steps_with_their_gradients() {
        let device = Device::flex();
        // Several blocks, the last one not whole; and fewer pixels than a block has.
        for dims in [[2, 40, 31, 33], [3, 7, 3, 2]] {
            let normal = Distribution::Normal(0.0, 1.0);
            // As after a ReLU, but for a channel that keeps every pixel from being all zero: there the
            // gradient is as large as one over nothing.
            let activation = || {
                let x = Tensor::<4>::random(dims, normal, &device).clamp_min(0.0);
                let bias = Tensor::<4>::zeros(dims, &device);
                let ones = Tensor::ones([dims[0], 1, dims[2], dims[3]], &device) * 0.5;
                let all = [0..dims[0], 0..1, 0..dims[2], 0..dims[3]];
                (x + bias.slice_assign(all, ones)).autodiff()
            };
            let (x, y) = (activation(), activation());
            let weights = Tensor::<4>::random([1, dims[1], 1, 1], Distribution::Default, &device);
            let g = Tensor::<1>::random([dims[0]], normal, &device);
            let fast = all(true, [&x, &y, &weights], &g);
            let slow = all(false, [&x, &y, &weights], &g);
            for (what, (fast, slow)) in ["value", "x", "y"].iter().zip(fast.iter().zip(&slow)) {
                let size = slow.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
                assert_eq!(fast.len(), slow.len());
                for (a, b) in fast.iter().zip(slow) {
                    assert!(
                        (a - b).abs() <= 3e-6 * size,
                        "{what}: {a} and {b} of {size}"
                    );
                }
            }
        }
    }

    #[test]
    fn pixels_without_activation_are_finite_and_threads_make_no_difference() {
        let layer = Layer {
            images: 2,
            channels: 48,
            pixels: 3000,
        };
        let count = layer.images * layer.channels * layer.pixels;
        let numbers = |seed: u32| -> Vec<f32> {
            let value = |k: u32| {
                let k = k.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8;
                (f32::from(k as u16) / 65_536.0 - 0.5).max(0.0)
            };
            (0..count as u32).map(value).collect()
        };
        let (x, y) = (numbers(1), numbers(77));
        let head = vec![0.3; layer.channels];
        let run = |threads: usize, x: &[f32]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| {
                let found = layer.forward(x, &y, &head);
                let gradient = layer.gradient(x, &y, &head, &[1.0, -2.0]);
                [found, gradient].map(|v| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
            })
        };
        assert!(run(1, &x) == run(3, &x));
        let none = vec![0.0; count];
        let [found, gradient] = run(2, &none);
        let finite = |bits: &[u32]| bits.iter().all(|b| f32::from_bits(*b).is_finite());
        assert!(finite(&found) && finite(&gradient));
        assert_eq!(layer.forward(&x, &x, &head), [0.0, 0.0]);
    }
}
