//! StyleGAN2 in Burn: numerically identical networks, opened from the checkpoints people have.

pub mod checkpoint;
mod config;
mod discriminator;
mod error;
mod generator;
pub mod image;
mod layers;
mod mapping;
pub mod ops;
pub mod seed;
mod synthesis;
mod tangent;

pub use checkpoint::{Checkpoint, FloatFormat, Format, Network, NetworkConfig};
pub use config::{Architecture, DiscriminatorConfig, GeneratorConfig, MappingConfig};
pub use discriminator::{Discriminator, DiscriminatorBlock, Epilogue};
pub use error::{Error, Result};
pub use generator::{Generator, mix_styles};
pub use layers::{ConvLayer, FullyConnected, Modulation, Precision, SynthesisLayer, ToRgb};
pub use mapping::{Mapping, Truncation};
pub use synthesis::{BlockOutput, Noise, StyleLayer, Synthesis, SynthesisBlock, SynthesisOptions};
pub use tangent::Dual;
