//! Cox models for survival data.

mod compensated;
mod confidence;
mod covariates;
mod error;
mod kaplan_meier;
mod life_table;
mod logrank;
mod nelson_aalen;
#[cfg(feature = "plot")]
mod plot;
mod sort;
mod step;
mod surv;
#[cfg(test)]
mod test_data;
mod text_table;

pub use confidence::ConfType;
pub use covariates::Covariates;
pub use error::{Error, Result};
pub use kaplan_meier::{KaplanMeier, KmCurve, KmFit, Quantile, Rmst};
pub use logrank::{LogRank, LogRankGroup, LogRankTest};
pub use nelson_aalen::{HazardCurve, HazardType, NelsonAalen, NelsonAalenFit};
#[cfg(feature = "plot")]
pub use plot::{ForestPlot, ForestRow, KmPlot, svg_to_png};
pub use step::StepFunction;
pub use surv::{Surv, SurvBuilder};
