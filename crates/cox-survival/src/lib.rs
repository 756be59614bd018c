//! Cox models for survival data.

mod compensated;
mod confidence;
mod covariates;
mod cox;
mod error;
mod kaplan_meier;
mod life_table;
mod logrank;
mod metrics;
mod nelson_aalen;
mod progress;
mod sort;
mod step;
mod surv;
#[cfg(test)]
mod test_data;
mod text_table;
mod validation;

pub use confidence::ConfType;
pub use covariates::Covariates;
pub use cox::Ties;
pub use cox::baseline::BaselineHazard;
pub use cox::fit::{CoxFit, CoxPh, Warning};
pub use cox::path::{CoxPath, PathFit, SparseColumn};
pub use error::{Error, Result};
pub use kaplan_meier::{KaplanMeier, KmCurve, KmFit, Quantile, Rmst};
pub use logrank::{LogRank, LogRankGroup, LogRankTest};
pub use metrics::{Concordance, ConcordanceDifference, Harrell, TimeWeight, Uno, concordance, uno};
pub use nelson_aalen::{HazardCurve, HazardType, NelsonAalen, NelsonAalenFit};
pub use progress::{Observer, Progress};
pub use step::StepFunction;
pub use surv::{Surv, SurvBuilder};
pub use validation::bootstrap::{Bootstrap, BootstrapInterval, IntervalKind};
pub use validation::cross_validation::{CrossValidation, CvFit, CvMeasure};
pub use validation::folds::Folds;
pub use validation::nested::{Chosen, LambdaRule, NestedCv, NestedFit};
pub use validation::permutation::{Permutation, PermutationNull};
pub use validation::resampling::Resampling;
