//! Cox models for survival data.

mod confidence;
mod covariates;
mod error;
mod kaplan_meier;
mod life_table;
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
pub use step::StepFunction;
pub use surv::{Surv, SurvBuilder};
