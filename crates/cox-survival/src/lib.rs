//! Cox models for survival data.

mod covariates;
mod error;
mod metrics;
mod sort;
mod surv;

pub use covariates::Covariates;
pub use error::{Error, Result};
pub use metrics::{Concordance, ConcordanceDifference, Harrell, TimeWeight, concordance};
pub use surv::{Surv, SurvBuilder};
