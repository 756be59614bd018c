//! `DeepSurv` (settings) -> `fit` -> `DeepSurvFit`: a network in place of the linear predictor.
//!
//! Reference: Katzman et al. (2018), BMC Medical Research Methodology 18:24.

mod adamw;
#[cfg(test)]
mod behaviour;
mod cases;
mod fit;
mod io;
mod loss;
mod network;
mod split;
mod state;
mod train;

pub use fit::{DeepSurvFit, Epoch};
pub use loss::{PartialLikelihood, cox_ph_loss};
pub use network::{Activation, Norm};
pub use state::TrainingState;
pub use train::{Batches, DeepSurv};
