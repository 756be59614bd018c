//! What runs from one library to the next.

mod cox_on_latents;
mod report;
mod stability;

pub use cox_on_latents::{CoxOnLatents, CoxOnLatentsFit, Stage, StudyObserver};
pub use report::{
    ChosenPenalty, CohortSummary, CoxOnLatentsReport, DirectionReport, EstimateWithInterval,
    NullDistribution, OutOfFold, RiskGroup, RiskGroups, StableCoefficient,
};
