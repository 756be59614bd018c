//! A factor for every plane, as styles and demodulation need it, and its gradients.
//!
//! Burn's broadcasting multiplication and the sums of its gradient run on one thread.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, Flex};
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{CpuKernels, here, in_place, tensor, values};

/// Numbers that are multiplied together; planes consist of such blocks.
const BLOCK: usize = 16;

/// `x * factors` for `x` `[N, C, H, W]` and `factors` `[N, C, 1, 1]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    dims: [usize; 4],
}

impl Scale {
    /// The operation, if the tensors are on the CPU and their planes consist of whole blocks.
    pub(crate) fn suited(x: &Tensor<4>, factors: &Tensor<4>) -> Option<Self> {
        let dims = x.dims();
        let whole = (dims[2] * dims[3]).is_multiple_of(BLOCK) && dims[2] * dims[3] > 0;
        let fits = factors.dims() == [dims[0], dims[1], 1, 1];
        (whole && fits && here(x) && here(factors)).then_some(Self { dims })
    }

    /// Multiplies.
    pub(crate) fn apply(self, x: Tensor<4>, factors: Tensor<4>) -> Tensor<4> {
        let (x, factors) = (x.into_dispatch(), factors.into_dispatch());
        Tensor::from_dispatch(<Dispatch as CpuKernels>::cpu_scale(x, factors, self))
    }

    fn pixels(&self) -> usize {
        self.dims[2] * self.dims[3]
    }

    pub(super) fn forward(&self, x: &[f32], factors: &[f32]) -> FloatTensor<Flex> {
        let per_plane = self.pixels() / BLOCK;
        let (blocks, _) = x.as_chunks::<BLOCK>();
        let blocks: Vec<[f32; BLOCK]> = blocks
            .par_iter()
            .with_min_len(256)
            .enumerate()
            .map(|(k, block)| {
                let factor = factors[k / per_plane];
                block.map(|v| v * factor)
            })
            .collect();
        tensor(blocks.into_flattened(), self.dims)
    }

    /// Multiplies where the values are.
    pub(super) fn forward_in_place(&self, x: &mut [f32], factors: &[f32]) {
        x.par_chunks_mut(self.pixels())
            .zip(factors)
            .for_each(|(plane, factor)| plane.iter_mut().for_each(|v| *v *= factor));
    }

    /// The gradient of the factors: $\sum_{pixels} g\,x$.
    fn factor_gradient(&self, x: &[f32], g: &[f32]) -> Vec<f32> {
        x.par_chunks(self.pixels())
            .zip(g.par_chunks(self.pixels()))
            .map(|(x, g)| {
                // Blocks keep the rounding of large planes small.
                let blocks = x.chunks(256).zip(g.chunks(256));
                let sums = blocks.map(|(x, g)| f64::from(dot(x, g)));
                sums.sum::<f64>() as f32
            })
            .collect()
    }
}

/// $\sum x_i g_i$, in sixteen partial sums.
fn dot(x: &[f32], g: &[f32]) -> f32 {
    let mut sums = [0.0_f32; BLOCK];
    let blocks = x.as_chunks::<BLOCK>().0.iter();
    for (x, g) in blocks.zip(g.as_chunks::<BLOCK>().0) {
        for ((sum, x), g) in sums.iter_mut().zip(x).zip(g) {
            *sum += x * g;
        }
    }
    sums.iter().sum()
}

impl Backward<Flex, 2> for Scale {
    type State = (FloatTensor<Flex>, FloatTensor<Flex>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [of_x, of_factors] = ops.parents;
        let g = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (x, factors) = ops.state;
        if let Some(node) = of_factors {
            let sums = self.factor_gradient(values(&x), values(&g));
            let [n, c, _, _] = self.dims;
            grads.register::<Flex>(node.id, tensor(sums, [n, c, 1, 1]));
        }
        if let Some(node) = of_x {
            let g = in_place(g, |g| self.forward_in_place(g, values(&factors)));
            grads.register::<Flex>(node.id, g);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn equals_the_broadcasting_product_with_its_gradients() {
        let device = Device::flex().autodiff();
        for dims in [[2, 3, 4, 4], [3, 5, 32, 48]] {
            let random = |dims| Tensor::<4>::random(dims, Distribution::Default, &device);
            let (x, g) = (random(dims), random(dims));
            let factors = random([dims[0], dims[1], 1, 1]);
            let run = |fast: bool| {
                let (x, s) = (x.clone().require_grad(), factors.clone().require_grad());
                let y = if fast {
                    let scale = Scale::suited(&x, &s).expect("the sizes suit");
                    scale.apply(x.clone(), s.clone())
                } else {
                    x.clone() * s.clone()
                };
                let grads = (y.clone() * g.clone()).sum().backward();
                [y.inner(), x.grad(&grads).unwrap(), s.grad(&grads).unwrap()]
            };
            for (fast, slow) in run(true).into_iter().zip(run(false)) {
                assert_eq!(fast.dims(), slow.dims());
                let size: f32 = slow.clone().abs().max().into_scalar();
                let worst: f32 = (fast - slow).abs().max().into_scalar();
                assert!(worst <= 1e-6 * size, "{worst:e} of {size}");
            }
        }
        let untracked = Device::flex();
        let (x, s) = (
            Tensor::<4>::ones([1, 2, 4, 4], &untracked),
            Tensor::<4>::full([1, 2, 1, 1], 3.0, &untracked),
        );
        let y = Scale::suited(&x, &s).unwrap().apply(x.clone(), s);
        let sum: f32 = y.sum().into_scalar();
        assert!((sum - 96.0).abs() < 1e-6);
        let sum: f32 = x.sum().into_scalar();
        assert!((sum - 32.0).abs() < 1e-6, "the argument is unchanged");
    }

    #[test]
    fn other_sizes_and_precisions_stay_with_burn() {
        let device = Device::flex();
        let x = Tensor::<4>::ones([1, 2, 3, 4], &device);
        let s = Tensor::<4>::ones([1, 2, 1, 1], &device);
        assert!(Scale::suited(&x, &s).is_none(), "12 pixels");
        let x = Tensor::<4>::ones([1, 2, 4, 4], &device);
        assert!(Scale::suited(&x, &Tensor::ones([1, 1, 1, 1], &device)).is_none());
        assert!(Scale::suited(&x.cast(burn::tensor::DType::F64), &s).is_none());
    }
}
