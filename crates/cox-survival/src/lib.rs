//! Cox models for survival data.

mod covariates;
mod cox;
mod error;
mod metrics;
mod sort;
mod surv;

pub use covariates::Covariates;
pub use cox::Ties;
pub use cox::baseline::BaselineHazard;
pub use cox::fit::{CoxFit, CoxPh, Warning};
pub use cox::path::{CoxPath, PathFit, SparseColumn};
pub use error::{Error, Result};
pub use metrics::{Concordance, ConcordanceDifference, Harrell, TimeWeight, concordance};
pub use surv::{Surv, SurvBuilder};
