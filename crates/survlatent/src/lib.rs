#![doc = include_str!("../README.md")]

pub mod assets;
mod cohort;
#[cfg(feature = "parquet")]
mod columnar;
mod error;
mod features;
mod formula;
mod json;
mod latents;
mod output;
pub mod pipeline;
#[cfg(feature = "pictures")]
pub mod png;
pub mod proof;
mod quotes;
mod roles;
pub mod simulate;
pub mod study;
mod table;

pub use cohort::{Cohort, Group, Groups, Notice};
pub use cox_survival;
pub use error::{Error, Header, Place, Result};
pub use latent_attribute;
#[cfg(feature = "photos")]
pub use latent_inversion;
pub use latents::{Latents, LatentsReader, Values};
pub use output::OutputFile;
pub use roles::Roles;
#[cfg(feature = "gan")]
pub use stylegan2_burn;
pub use table::{Column, Kind, Labels, MISSING, Table, nearest};
