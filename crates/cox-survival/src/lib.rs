//! Cox models for survival data.

mod covariates;
mod cox;
mod error;
mod metrics;
mod number;
mod progress;
mod sort;
mod surv;
mod validation;

pub use covariates::Covariates;
pub use cox::Ties;
pub use cox::baseline::BaselineHazard;
pub use cox::fit::{CoxFit, CoxPh, Warning};
pub use cox::path::{CoxPath, PathFit, SparseColumn};
pub use error::{Error, Result};
pub use metrics::{Concordance, ConcordanceDifference, Harrell, TimeWeight, Uno, concordance, uno};
pub use progress::{Observer, Progress};
pub use surv::{Surv, SurvBuilder};
pub use validation::bootstrap::{Bootstrap, BootstrapInterval, IntervalKind};
pub use validation::cross_validation::{CrossValidation, CvFit, CvMeasure};
pub use validation::folds::Folds;
pub use validation::nested::{Chosen, LambdaRule, NestedCv, NestedFit};
pub use validation::permutation::{Permutation, PermutationNull};
pub use validation::resampling::Resampling;
