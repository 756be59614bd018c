//! How well scores order survival times, and how right predicted probabilities are.

mod antolini;
mod calibration;
mod calibration_slope;
mod censoring;
mod censoring_model;
mod concordance;
mod d_calibration;
mod dynamic_auc;
mod explained_variation;
mod harrell;
mod ipcw_loss;
mod net_benefit;
mod observed_expected;
mod pairs;
mod predicted;
mod prefix_tree;
#[cfg(test)]
mod test_curves;
mod time_weight;
mod uno;
mod uno_conditional;
mod weighted_quantile;

pub use antolini::Antolini;
pub use calibration::{Calibration, CalibrationFit, CalibrationGroup};
pub use calibration_slope::{CalibrationSlope, calibration_slope};
pub use censoring_model::CensoringModel;
pub use concordance::{Concordance, ConcordanceDifference};
pub use d_calibration::{DCalibration, DCalibrationFit};
pub use dynamic_auc::{AucOverTime, DynamicAuc};
pub use explained_variation::{RoystonSauerbrei, royston_sauerbrei};
pub use harrell::{Harrell, concordance};
pub use ipcw_loss::{BinomialLoss, Brier, ScoreOverTime};
pub use net_benefit::{DecisionCurve, DecisionPoint, NetBenefit};
pub use observed_expected::{ObservedExpected, observed_expected};
pub use predicted::PredictedSurvival;
pub use time_weight::TimeWeight;
pub use uno::{Uno, uno};
