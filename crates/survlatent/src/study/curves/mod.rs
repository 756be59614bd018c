//! The curves of the report, as numbers: what its pictures show is in `report.json`, too.

mod fit;

use serde::{Deserialize, Serialize};

use super::ModelKind;

pub(super) use fit::{curves, drawn};
#[cfg(feature = "plot")]
pub(super) use fit::{fronts, risks};

/// Curves of the report; the AUC and the Brier score over time are with the models.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CurveFigures {
    /// Kaplan-Meier curves of the risk groups, whose log-rank test is with the groups.
    pub kaplan_meier: Vec<KmFigures>,
    /// Cumulative/dynamic ROC curves at each horizon.
    pub roc: Vec<RocFigures>,
    /// Brier score over time of a prediction that knows nobody, Kaplan-Meier's.
    pub brier_reference: Vec<CurvePoint>,
    /// Predicted against observed risk at each horizon, of the models in the foreground.
    pub calibration: Vec<CalibrationCurve>,
    /// Net benefit at each horizon, of the model in the foreground.
    pub decision: Vec<DecisionFigures>,
}

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The time.
    pub time: f64,
    /// The value.
    pub value: f64,
}

/// One Kaplan-Meier curve at the times of its events, and at the last time of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KmFigures {
    /// The group.
    pub name: String,
    /// Its points.
    pub points: Vec<KmPoint>,
    /// Numbers at risk at round times.
    pub at_risk: Vec<CurvePoint>,
}

/// One point of a Kaplan-Meier curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KmPoint {
    /// The time.
    pub time: f64,
    /// Survival from then on.
    pub survival: f64,
    /// Its lower limit, at `validation.level`.
    pub lower: Option<f64>,
    /// Its upper limit.
    pub upper: Option<f64>,
    /// At risk just before.
    pub at_risk: f64,
    /// Events.
    pub events: f64,
}

/// One ROC curve: the share of those with the event by the horizon (weighted for censoring) against the
/// share of those still without it, whose out-of-fold risk is above a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RocFigures {
    /// The model.
    pub model: ModelKind,
    /// The horizon.
    pub time: f64,
    /// Pairs of false and true positive rate, from (0, 0) to (1, 1).
    pub points: Vec<[f64; 2]>,
}

/// One calibration curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationCurve {
    /// The model.
    pub model: ModelKind,
    /// The horizon.
    pub time: f64,
    /// Pairs of predicted and smoothed observed risk.
    pub smoothed: Vec<[f64; 2]>,
    /// Groups of predicted risk.
    pub groups: Vec<CalibrationPoint>,
}

/// One group of a calibration curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationPoint {
    /// Rows.
    pub rows: usize,
    /// Mean predicted risk.
    pub predicted: f64,
    /// Observed risk by Kaplan-Meier.
    pub observed: Option<f64>,
    /// Its lower 95 % limit.
    pub lower: Option<f64>,
    /// Its upper limit.
    pub upper: Option<f64>,
}

/// One decision curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionFigures {
    /// The model.
    pub model: ModelKind,
    /// The horizon.
    pub time: f64,
    /// Its points.
    pub points: Vec<DecisionFigure>,
}

/// Net benefit at one threshold; that of acting on nobody is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DecisionFigure {
    /// The threshold of the risk.
    pub threshold: f64,
    /// Acting on the prediction.
    pub net_benefit: Option<f64>,
    /// Acting on everybody.
    pub treat_all: Option<f64>,
}
