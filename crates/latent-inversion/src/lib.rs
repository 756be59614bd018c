#![doc = include_str!("../README.md")]
// Tensors are handles: passing them by value is Burn's convention.
#![allow(clippy::needless_pass_by_value)]
// AlexNet and PyPI are names.
#![allow(clippy::doc_markdown)]

pub mod align;
mod error;
pub mod face;
mod file;
pub mod lpips;
mod photo;

pub use error::{Error, Result};
pub use photo::{Photo, PhotoFault, PhotoLimits};
