#![doc = include_str!("../README.md")]
//!
//! # Crate map
//!
//! | step | types |
//! |---|---|
//! | the outcome: checked and sorted once | [`Surv`], [`SurvBuilder`] (entry, strata, weights) |
//! | the features: a borrowed matrix, `f64` or `f32`, by rows or by columns, dense or sparse | [`Covariates`], [`SparseColumns`] |
//! | a Cox model | [`CoxPh`] to [`CoxFit`]; [`Ties`], [`BaselineHazard`], [`Warning`] |
//! | its residuals, curves and tests | [`CoxDiagnostics`]; [`Schoenfeld`], [`Zph`], [`CoxCurves`], [`CoxCurve`], [`collapse`] |
//! | comparisons | [`Contrast`], [`anova()`] to [`Anova`] |
//! | columns made for it | [`RestrictedCubicSpline`] |
//! | an elastic-net path | [`CoxPath`] to [`PathFit`] or [`RelaxedFit`]; [`SparseColumn`], [`AdaptiveWeights`] |
//! | the penalty | [`Folds`], [`CrossValidation`] to [`CvFit`] or [`RelaxedCvFit`]; [`CvMeasure`] |
//! | linear predictors out of fold | [`PrevalidatedFit`] |
//! | performance on new patients | [`NestedCv`] to [`NestedFit`]; [`LambdaRule`], [`Chosen`] |
//! | how a score orders patients | [`concordance()`], [`Harrell`], [`Concordance`], [`TimeWeight`]; [`uno()`], [`Uno`] |
//! | predicted curves | [`PredictedSurvival`]; [`Antolini`] for their order, [`DynamicAuc`] at each time |
//! | how wrong they are | [`Brier`], [`BinomialLoss`]; [`CensoringModel`] for the weights |
//! | too high or too low | [`Calibration`] (ICI), [`DCalibration`], [`calibration_slope`], [`observed_expected`] |
//! | what acting on them is worth | [`NetBenefit`]; [`royston_sauerbrei`] |
//! | how sure that is | [`Resampling`], [`Bootstrap`]; [`Permutation`] for the null |
//! | how much of it is optimism | [`Optimism`] (bootstrap, .632+); [`RepeatedCvFit`] |
//! | curves | [`KaplanMeier`], [`NelsonAalen`], [`StepFunction`] |
//! | competing risks | [`CompetingRisks`], [`AalenJohansen`] |
//! | from a later time on | [`Landmark`] |
//! | groups | [`LogRank`] |
//! | tables as text, Markdown, HTML, LaTeX, CSV | [`Table`] |
//! | networks (feature `deep`) | `deep::DeepSurv` to `deep::DeepSurvFit`; `deep::cox_ph_loss` |
//! | pictures (feature `plot`) | `KmPlot`, `ForestPlot`, `Chart` |
//! | long work | [`Observer`] hears of [`Progress`] and can stop it |
//! | faults | [`enum@Error`] |
//!
//! Settings are built (`CoxPh::new().ties(..)`), fitted (`.fit(&surv, &x)?`), and the result does not
//! change any more: it answers questions, prints itself, and goes through serde.

mod aalen_johansen;
mod area_influence;
mod compensated;
mod competing_risks;
mod confidence;
mod covariates;
mod cox;
#[cfg(feature = "deep")]
pub mod deep;
mod error;
mod format_version;
mod frequency;
mod kaplan_meier;
mod landmark;
mod life_table;
mod logrank;
mod metrics;
mod nelson_aalen;
mod number;
mod overflow;
#[cfg(feature = "plot")]
mod plot;
mod progress;
#[cfg(test)]
mod settings_test;
mod sort;
mod sparse;
mod step;
mod surv;
mod table;
#[cfg(test)]
mod test_data;
mod text_table;
mod validation;

pub use aalen_johansen::{AalenJohansen, AjCurve, AjFit, Incidence};
pub use competing_risks::CompetingRisks;
pub use confidence::ConfType;
pub use covariates::Covariates;
pub use cox::Ties;
pub use cox::anova::{Anova, anova};
pub use cox::baseline::BaselineHazard;
pub use cox::contrast::Contrast;
pub use cox::curves::{CoxCurve, CoxCurves};
pub use cox::diagnostics::CoxDiagnostics;
pub use cox::fit::CoxFit;
pub use cox::path::{AdaptiveWeights, CoxPath, PathFit, PathSurvival, RelaxedFit, SparseColumn};
pub use cox::residuals::{Schoenfeld, collapse};
pub use cox::settings::CoxPh;
pub use cox::spline::RestrictedCubicSpline;
pub use cox::warning::Warning;
pub use cox::zph::{Zph, ZphTransform};
pub use error::{Error, Result};
pub use frequency::Frequencies;
pub use kaplan_meier::{KaplanMeier, KmCurve, KmFit, Quantile, Rmst};
pub use landmark::{Landmark, LandmarkSubset};
pub use logrank::{LogRank, LogRankGroup, LogRankTest};
pub use metrics::{
    Antolini, AucOverTime, BinomialLoss, Brier, Calibration, CalibrationFit, CalibrationGroup,
    CalibrationSlope, CensoringModel, Concordance, ConcordanceDifference, DCalibration,
    DCalibrationFit, DecisionCurve, DecisionPoint, DynamicAuc, Harrell, NetBenefit,
    ObservedExpected, PredictedSurvival, RoystonSauerbrei, ScoreOverTime, TimeWeight, Uno,
    calibration_slope, concordance, observed_expected, royston_sauerbrei, uno,
};
pub use nelson_aalen::{HazardCurve, HazardType, NelsonAalen, NelsonAalenFit};
#[cfg(feature = "plot")]
pub use plot::{Chart, ChartLine, ForestPlot, ForestRow, KmPlot, Picture, svg_to_png};
pub use progress::{Observer, Progress};
pub use sparse::SparseColumns;
pub use step::StepFunction;
pub use surv::{Surv, SurvBuilder};
pub use table::Table;
pub use validation::bootstrap::{Bootstrap, BootstrapInterval, IntervalKind};
pub use validation::cross_validation::{CrossValidation, CvFit, CvMeasure};
pub use validation::folds::Folds;
pub use validation::nested::{Chosen, LambdaRule, NestedCv, NestedFit};
pub use validation::optimism::{Optimism, OptimismFit, Replicate};
pub use validation::permutation::{Permutation, PermutationNull};
pub use validation::prevalidated::PrevalidatedFit;
pub use validation::relaxed::RelaxedCvFit;
pub use validation::repeated::RepeatedCvFit;
pub use validation::resampling::Resampling;
