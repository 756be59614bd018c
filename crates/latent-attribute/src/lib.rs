#![doc = include_str!("../README.md")]
//!
//! # Crate map
//!
//! | step | types |
//! |---|---|
//! | where latents live | [`LatentSpace`], [`LayerMask`] |
//! | from latent to model features | [`Standardizer`], [`PcaConfig`] and [`Pca`], chained in a [`FeatureMap`] |
//! | the model in latent coordinates | [`LatentRisk`] (gradient, log hazards, hazard ratios) |
//! | the direction | [`HealthDirection`], of a [`DirectionKind`] |
//! | the dose | [`HealthDirection::step_for_hazard_ratio`], [`HealthDirection::apply_hazard_ratio`], [`HealthDirection::walk`], [`log_spaced`] |
//! | other attributes held fixed | [`Attribute`], [`HealthDirection::conditioned_on`], [`HealthDirection::conditioned_in_data`] |
//! | how stable it is | [`bootstrap_directions`], [`direction_stability`], [`score_correlation`] |
//! | files | [`HealthDirection::save`], [`HealthDirection::load`] |
//!
//! Matrices are row-major slices: one latent is one row of `dim` values, W+ latents are
//! `[layers, dim]` flattened. Every function that reads latents takes `f32` or `f64`; all
//! computation is in `f64`. Nothing here prints, reads the environment or touches the network, and
//! bad input gives an [`enum@Error`] that names the place.

mod bootstrap;
mod check;
mod condition;
mod container;
mod direction;
mod dose;
mod error;
mod feature_map;
mod from_cox;
mod io;
mod pca;
mod space;
mod stability;
mod standardizer;
mod vector;
mod whitened;

pub use bootstrap::{bootstrap_directions, resample_rows};
pub use condition::Attribute;
pub use direction::{DirectionKind, HealthDirection};
pub use dose::{WalkStep, log_spaced};
pub use error::{Error, Result};
pub use feature_map::{Affine, FeatureMap, FeatureStep};
pub use from_cox::LatentRisk;
pub use pca::{ComponentCount, Pca, PcaConfig};
pub use space::{LatentSpace, LayerMask};
pub use stability::{DirectionStability, direction_stability, score_correlation};
pub use standardizer::{ConstantColumns, Standardizer};
pub use vector::cosine;
