//! The operations of the networks, one per file.
//!
//! Operations that are linear in the image take plain tensors; the others take and return
//! [`Dual`](crate::Dual) values, so that the same code gives values and exact tangents.

pub mod bias_act;
pub mod conv;
pub mod dense;
pub mod minibatch_std;
pub mod modulated_conv;
pub mod upfirdn;
#[cfg(feature = "winograd")]
mod winograd;

pub use bias_act::{Activation, BiasAct};
pub use conv::{ConvResample, conv2d_resample};
pub use dense::{dense, normalize_second_moment};
pub use minibatch_std::minibatch_std;
pub use modulated_conv::ModulatedConv;
pub use upfirdn::{Upfirdn, downsample2d, filter2d, fir_filter, upsample2d};

/// Whether a kernel of this crate may take over: the CPU, single precision, no gradients.
#[cfg(feature = "flex")]
fn on_cpu<const D: usize>(x: &burn::tensor::Tensor<D>) -> bool {
    use burn::tensor::{DType, Device};
    x.dtype() == DType::F32 && !x.is_autodiff() && x.device() == Device::flex()
}

/// The values in row-major order; free of copies where nothing else holds the tensor.
#[cfg(feature = "flex")]
fn floats<const D: usize>(x: burn::tensor::Tensor<D>) -> Vec<f32> {
    x.into_data()
        .try_into_vec()
        .expect("single precision was checked")
}
