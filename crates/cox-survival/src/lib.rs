//! Cox models for survival data.

mod covariates;
mod error;
mod sort;
mod surv;

pub use covariates::Covariates;
pub use error::{Error, Result};
pub use surv::{Surv, SurvBuilder};
