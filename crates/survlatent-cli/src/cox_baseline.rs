//! The baseline hazard of a point on a penalised path.

use std::fmt::{self, Write as _};

use serde::Serialize;
use survlatent::Cohort;
use survlatent::cox_survival::PathSurvival;

use crate::cox_diagnostics::Baseline;

/// Where on the path, and the hazard there; the fields are those of the JSON.
#[derive(Serialize)]
pub(crate) struct PathBaseline {
    lambda: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gamma: Option<f64>,
    #[serde(flatten)]
    hazard: Baseline,
}

impl PathBaseline {
    pub(crate) fn new(
        lambda: f64,
        gamma: Option<f64>,
        model: &PathSurvival,
        cohort: &Cohort,
    ) -> Self {
        Self {
            lambda,
            gamma,
            hazard: Baseline::new(model.baseline_hazard(), cohort),
        }
    }
}

impl fmt::Display for PathBaseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\nAt lambda {}", self.lambda)?;
        if let Some(gamma) = self.gamma {
            write!(f, ", gamma {gamma}")?;
        }
        write!(f, "\n{}", self.hazard)
    }
}

/// A fit as text, with the hazard where it was asked for.
pub(crate) fn with_baseline(fit: &dyn fmt::Display, baseline: Option<&PathBaseline>) -> String {
    let mut text = fit.to_string();
    if let Some(baseline) = baseline {
        // Writing to a string does not fail.
        let _ = write!(text, "{baseline}");
    }
    text
}
