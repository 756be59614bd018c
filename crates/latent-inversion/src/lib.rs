#![doc = include_str!("../README.md")]
// Tensors are handles: passing them by value is Burn's convention.
#![allow(clippy::needless_pass_by_value)]
// AlexNet and PyPI are names.
#![allow(clippy::doc_markdown)]

mod adam;
pub mod align;
pub mod cohort;
mod decoder;
mod device;
mod distribution;
mod draws;
mod encoder;
mod error;
pub mod face;
mod file;
mod gauss_newton;
mod inverter;
mod jpeg;
pub mod lpips;
mod objective;
mod photo;
#[cfg(feature = "stylegan2")]
mod pivotal;
mod preimage;
mod projector;
mod quality;
mod tensors;

#[cfg(feature = "stylegan2")]
pub use decoder::StyleGan2;
pub use decoder::{Decoder, broadcast};
pub use distribution::{WDistribution, Whitening};
pub use draws::{CounterDraws, Draws};
pub use encoder::{
    Encoder, EncoderProgress, EncoderSettings, EncoderTrainer, EncoderTraining, FacePhotos,
};
pub use error::{Error, Result};
pub use gauss_newton::GaussNewton;
pub use inverter::{Inversion, Inverter, Method, Tools};
pub use objective::{Objective, Target, Terms, noise_penalty, to_256};
pub use photo::{Photo, PhotoFault, PhotoLimits};
#[cfg(feature = "stylegan2")]
pub use pivotal::{PivotalTuning, Tuned};
pub use projector::{Coordinates, Projector, Space, State};
pub use quality::{Quality, Thresholds};
pub use tensors::Precision;

/// The values of a tensor, last index fastest.
pub(crate) fn floats<const D: usize>(x: burn::tensor::Tensor<D>) -> Vec<f32> {
    let data = x.into_data_dtype(burn::tensor::DType::F32);
    data.try_to_vec().unwrap_or_default()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
