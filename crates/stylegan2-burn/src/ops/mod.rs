//! The operations of the networks, one per file.
//!
//! Operations that are linear in the image take plain tensors; the others take and return
//! [`Dual`](crate::Dual) values, so that the same code gives values and exact tangents.

pub mod bias_act;
pub mod conv;
#[cfg(feature = "winograd")]
pub mod cpu;
pub mod dense;
#[cfg(feature = "winograd")]
mod kernels;
#[cfg(all(feature = "train", feature = "winograd"))]
pub(crate) use kernels::{here, vectorized};
pub mod minibatch_std;
pub mod modulated_conv;
pub mod upfirdn;

pub use bias_act::{Activation, BiasAct};
pub use conv::{ConvResample, conv2d_resample};
pub use dense::{dense, normalize_second_moment};
pub use minibatch_std::minibatch_std;
pub use modulated_conv::ModulatedConv;
pub use upfirdn::{Upfirdn, downsample2d, filter2d, fir_filter, upsample2d};

/// The values in row-major order; free of copies where nothing else holds the tensor.
#[cfg(feature = "winograd")]
fn floats<const D: usize>(x: burn::tensor::Tensor<D>) -> Vec<f32> {
    x.into_data()
        .try_into_vec()
        .expect("single precision was checked")
}
