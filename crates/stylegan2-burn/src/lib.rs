#![doc = include_str!("../README.md")]
//!
//! ## Map
//!
//! | module or type | what it is |
//! | --- | --- |
//! | [`Checkpoint`], [`checkpoint`] | files |
//! | [`GeneratorConfig`], [`DiscriminatorConfig`] | settings and presets |
//! | [`Generator`], [`Mapping`], [`Synthesis`], [`Discriminator`] | networks |
//! | [`Dual`] | exact derivatives along a direction |
//! | [`ops`] | the operations, one per file |
//! | `train`, `metrics` (feature `train`) | training, distances of generated from real images |
//! | [`seed`], [`mod@image`] | numpy's random numbers, 8-bit pictures |

// Tensors are handles: passing them by value is Burn's convention.
#![allow(clippy::needless_pass_by_value)]
// Burn's `Config` derives `Clone` by hand.
#![allow(clippy::expl_impl_clone_on_copy)]
// Formulas are not code.
#![allow(clippy::doc_markdown)]

pub mod checkpoint;
mod config;
mod discriminator;
mod error;
mod file;
mod generator;
pub mod image;
mod interpolate;
mod layers;
mod mapping;
#[cfg(feature = "train")]
pub mod metrics;
pub mod ops;
mod restrict;
pub mod seed;
mod synthesis;
mod tangent;
#[cfg(feature = "train")]
pub mod train;

pub use checkpoint::{Checkpoint, FloatFormat, Format, Network, NetworkConfig};
pub use config::{Architecture, DiscriminatorConfig, GeneratorConfig, MappingConfig};
pub use discriminator::{Discriminator, DiscriminatorBlock, Epilogue};
pub use error::{Error, Result};
pub use generator::{Generator, mix_styles};
pub use interpolate::{lerp, slerp};
pub use layers::{ConvLayer, FullyConnected, Modulation, Precision, SynthesisLayer, ToRgb};
pub use mapping::{Mapping, Truncation};
pub use synthesis::{BlockOutput, Noise, StyleLayer, Synthesis, SynthesisBlock, SynthesisOptions};
pub use tangent::Dual;
