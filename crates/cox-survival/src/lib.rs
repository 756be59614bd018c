#![doc = include_str!("../README.md")]
//!
//! # Crate map
//!
//! | step | types |
//! |---|---|
//! | the outcome: checked and sorted once | [`Surv`], [`SurvBuilder`] (entry, strata, weights) |
//! | the features: a borrowed matrix, `f64` or `f32`, by rows or by columns | [`Covariates`] |
//! | a Cox model | [`CoxPh`] to [`CoxFit`]; [`Ties`], [`BaselineHazard`], [`Warning`] |
//! | an elastic-net path | [`CoxPath`] to [`PathFit`]; [`SparseColumn`] |
//! | the penalty | [`Folds`], [`CrossValidation`] to [`CvFit`]; [`CvMeasure`] |
//! | performance on new patients | [`NestedCv`] to [`NestedFit`]; [`LambdaRule`], [`Chosen`] |
//! | how a score orders patients | [`concordance()`], [`Harrell`], [`Concordance`], [`TimeWeight`]; [`uno()`], [`Uno`] |
//! | how sure that is | [`Resampling`], [`Bootstrap`]; [`Permutation`] for the null |
//! | curves | [`KaplanMeier`], [`NelsonAalen`], [`StepFunction`] |
//! | groups | [`LogRank`] |
//! | pictures (feature `plot`) | `KmPlot`, `ForestPlot` |
//! | long work | [`Observer`] hears of [`Progress`] and can stop it |
//! | faults | [`enum@Error`] |
//!
//! Settings are built (`CoxPh::new().ties(..)`), fitted (`.fit(&surv, &x)?`), and the result does not
//! change any more: it answers questions, prints itself, and goes through serde.

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
mod number;
#[cfg(feature = "plot")]
mod plot;
mod progress;
#[cfg(test)]
mod settings_test;
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
#[cfg(feature = "plot")]
pub use plot::{ForestPlot, ForestRow, KmPlot, svg_to_png};
pub use progress::{Observer, Progress};
pub use step::StepFunction;
pub use surv::{Surv, SurvBuilder};
pub use validation::bootstrap::{Bootstrap, BootstrapInterval, IntervalKind};
pub use validation::cross_validation::{CrossValidation, CvFit, CvMeasure};
pub use validation::folds::Folds;
pub use validation::nested::{Chosen, LambdaRule, NestedCv, NestedFit};
pub use validation::permutation::{Permutation, PermutationNull};
pub use validation::resampling::Resampling;
