#![doc = include_str!("../README.md")]

mod error;
mod latents;
mod table;

pub use cox_survival;
pub use error::{Error, Header, Place, Result};
pub use latent_attribute;
pub use latents::{Latents, LatentsReader, Values};
pub use table::{Column, Kind, Labels, MISSING, Table, nearest};
