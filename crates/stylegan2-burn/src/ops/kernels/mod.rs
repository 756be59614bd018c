//! Kernels for Burn's CPU back end, with their gradients.
//!
//! Burn's own 3x3 convolution takes about twice the time of `PyTorch`'s there, its gradients more.
//! Here they are matrix products: Winograd's for stride 1 ([`winograd`], [`winograd_weight`]), nine
//! strided copies for stride 2 and its transpose ([`strided`]). Filters ([`fir`]), activations
//! ([`act`]) and factors ([`scale`]) go over the memory once.

pub(crate) mod act;
mod conv;
pub(crate) mod fir;
mod lanes;
mod scale;
mod strided;
mod tiles;
mod winograd;
mod winograd_weight;

use std::cell::Cell;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::ops::{Backward as _, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::{DType, Device, Tensor, TensorData};

use act::{Lrelu, LreluTangent, LreluWithNoise};
pub(crate) use conv::{Conv, Stride};
use fir::Fir;
pub(crate) use scale::Scale;

/// Whether a tensor is one of the CPU back end's, in single precision, with or without gradients.
pub(crate) fn here<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device().inner() == Device::flex()
}

/// What the back ends do. Only CPU tensors may be given to it.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait CpuKernels: Backend {
    /// Convolves `x` with `weight`.
    fn cpu_conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, conv: Conv) -> FloatTensor<Self>;

    /// Filters every plane of `x`.
    fn cpu_fir(x: FloatTensor<Self>, fir: Fir) -> FloatTensor<Self>;

    /// Multiplies every plane by a factor.
    fn cpu_scale(
        x: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        scale: Scale,
    ) -> FloatTensor<Self>;

    /// Bias and leaky ReLU.
    fn cpu_lrelu(x: FloatTensor<Self>, bias: FloatTensor<Self>, lrelu: Lrelu) -> FloatTensor<Self>;

    /// The tangent of `cpu_lrelu` for the tangent of its input and its result `y`.
    fn cpu_lrelu_tangent(
        tangent: FloatTensor<Self>,
        y: FloatTensor<Self>,
        lrelu: Lrelu,
    ) -> FloatTensor<Self>;

    /// Noise, bias and leaky ReLU.
    fn cpu_lrelu_with_noise(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        lrelu: LreluWithNoise,
    ) -> FloatTensor<Self>;
}

impl CpuKernels for Flex {
    fn cpu_conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, conv: Conv) -> FloatTensor<Self> {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        tensor(conv.forward(values(&x), values(&weight)), conv.dims())
    }

    fn cpu_fir(x: FloatTensor<Self>, fir: Fir) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        tensor(fir.forward(values(&x)), fir.dims())
    }

    fn cpu_scale(
        x: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        scale: Scale,
    ) -> FloatTensor<Self> {
        let (x, factors) = (x.to_contiguous(), factors.to_contiguous());
        scale.forward(values(&x), values(&factors))
    }

    fn cpu_lrelu(x: FloatTensor<Self>, bias: FloatTensor<Self>, lrelu: Lrelu) -> FloatTensor<Self> {
        let bias = bias.to_contiguous();
        in_place(x, |x| lrelu.forward(x, &[], values(&bias)))
    }

    fn cpu_lrelu_tangent(
        tangent: FloatTensor<Self>,
        y: FloatTensor<Self>,
        lrelu: Lrelu,
    ) -> FloatTensor<Self> {
        let y = y.to_contiguous();
        in_place(tangent, |t| lrelu.derivative(t, values(&y)))
    }

    fn cpu_lrelu_with_noise(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        lrelu: LreluWithNoise,
    ) -> FloatTensor<Self> {
        let (bias, noise) = (bias.to_contiguous(), noise.to_contiguous());
        in_place(x, |x| lrelu.0.forward(x, values(&noise), values(&bias)))
    }
}

impl<C: CheckpointStrategy> CpuKernels for Autodiff<Flex, C> {
    fn cpu_conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, conv: Conv) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match conv.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
                let y = Flex::cpu_conv(x.clone(), weight.clone(), conv);
                prep.finish((x, weight), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::cpu_conv(x, weight, conv)),
        }
    }

    fn cpu_fir(x: FloatTensor<Self>, fir: Fir) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        match fir.clone().prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((), Flex::cpu_fir(x, fir)),
            OpsKind::UnTracked(prep) => prep.finish(Flex::cpu_fir(x, fir)),
        }
    }

    fn cpu_scale(
        x: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        scale: Scale,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), factors.node()];
        let (x, factors) = (x.into_primitive(), factors.into_primitive());
        match scale.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (x, factors) = (x.to_contiguous(), factors.to_contiguous());
                let y = scale.forward(values(&x), values(&factors));
                prep.finish((x, factors), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::cpu_scale(x, factors, scale)),
        }
    }

    fn cpu_lrelu(x: FloatTensor<Self>, bias: FloatTensor<Self>, lrelu: Lrelu) -> FloatTensor<Self> {
        let nodes = [x.node(), bias.node()];
        let y = Flex::cpu_lrelu(x.into_primitive(), bias.into_primitive(), lrelu);
        match lrelu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(y.clone(), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn cpu_lrelu_tangent(
        tangent: FloatTensor<Self>,
        y: FloatTensor<Self>,
        lrelu: Lrelu,
    ) -> FloatTensor<Self> {
        // The factor is constant on both sides of zero: nothing flows back to `y`.
        let nodes = [tangent.node()];
        let (tangent, y) = (tangent.into_primitive(), y.into_primitive());
        match LreluTangent(lrelu)
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let result = Flex::cpu_lrelu_tangent(tangent, y.clone(), lrelu);
                prep.finish(y, result)
            }
            OpsKind::UnTracked(prep) => prep.finish(Flex::cpu_lrelu_tangent(tangent, y, lrelu)),
        }
    }

    fn cpu_lrelu_with_noise(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        lrelu: LreluWithNoise,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), bias.node(), noise.node()];
        let noise = noise.into_primitive();
        let planes = noise.layout().shape()[0];
        let y = Flex::cpu_lrelu_with_noise(x.into_primitive(), bias.into_primitive(), noise, lrelu);
        match lrelu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((y.clone(), planes), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// Runs `f`, and everything inlined into it, compiled for the instruction set of this machine.
///
/// `f` is called by reference: called by value it would be wrapped in a function of its own, which
/// is not inlined and so is compiled for the smallest machine.
pub(crate) fn vectorized(arch: pulp::Arch, f: impl FnMut()) {
    struct Job<F>(F);
    impl<F: FnMut()> pulp::WithSimd for Job<F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(mut self, _simd: S) {
            (self.0)();
        }
    }
    arch.dispatch(Job(f));
}

/// Calls `f` with two pieces of memory that hold anything. The thread keeps them for the next call: asking the
/// system for megabytes, and clearing them, takes as long as some convolutions.
fn with_scratch<R>(lengths: [usize; 2], f: impl FnOnce(&mut [f32], &mut [f32]) -> R) -> R {
    thread_local!(static KEPT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) });
    // Taken, not borrowed: while it waits for others this thread may be given another convolution.
    let mut kept = KEPT.take();
    let total = lengths[0] + lengths[1];
    if kept.len() < total {
        kept.resize(total, 0.0);
    }
    let (first, second) = kept[..total].split_at_mut(lengths[0]);
    let result = f(first, second);
    KEPT.set(kept);
    result
}

/// Changes the values of a tensor, in its own memory if nothing else holds it.
fn in_place(x: FloatTensor<Flex>, f: impl FnOnce(&mut [f32])) -> FloatTensor<Flex> {
    let dims = x.layout().shape().clone();
    let mut values: Vec<f32> = x
        .into_data()
        .try_into_vec()
        .expect("single precision was checked");
    f(&mut values);
    FloatTensor::<Flex>::from_data(TensorData::new(values, dims))
}

fn values(x: &FloatTensor<Flex>) -> &[f32] {
    x.as_slice().expect("contiguous and in single precision")
}

fn tensor(values: Vec<f32>, dims: [usize; 4]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, dims))
}
