//! Cox's proportional hazards model: settings here, the parts of the fit in the files beside.

pub(crate) mod anova;
pub(crate) mod baseline;
#[cfg(test)]
mod by_hand;
pub(crate) mod contrast;
pub(crate) mod curves;
pub(crate) mod design;
pub(crate) mod diagnostics;
#[cfg(test)]
mod edge_cases;
pub(crate) mod exact;
pub(crate) mod exponential;
pub(crate) mod fit;
pub(crate) mod information;
pub(crate) mod lifelines;
pub(crate) mod likelihood;
pub(crate) mod newton;
pub(crate) mod pairs;
pub(crate) mod path;
#[cfg(test)]
mod precision;
pub(crate) mod predict;
pub(crate) mod residuals;
pub(crate) mod restricted_mean;
pub(crate) mod risk_means;
pub(crate) mod robust;
pub(crate) mod settings;
pub(crate) mod spline;
pub(crate) mod summary;
pub(crate) mod sums;
#[cfg(test)]
mod term_tests;
#[cfg(test)]
mod time_varying;
#[cfg(test)]
pub(crate) mod twins;
pub(crate) mod used;
pub(crate) mod warning;
pub(crate) mod zph;

use serde::{Deserialize, Serialize};

/// How tied event times enter the partial likelihood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ties {
    /// Efron's approximation: close to exact, R's default and ours.
    #[default]
    Efron,
    /// Breslow's approximation: simpler, biased towards 0 under heavy ties; glmnet's choice.
    Breslow,
    /// The exact partial likelihood of times that are discrete (R's `exact`): each tie asks how likely
    /// just these patients are among all equally many of those at risk. For
    /// [`CoxPh`](crate::CoxPh) without case weights; residuals, [`Zph`](crate::Zph) and baseline use
    /// Breslow's formulas at its coefficients, as R does.
    Exact,
}

impl Ties {
    /// `efron`, `breslow` or `exact`.
    pub fn name(self) -> &'static str {
        match self {
            Ties::Efron => "efron",
            Ties::Breslow => "breslow",
            Ties::Exact => "exact",
        }
    }
}

impl std::str::FromStr for Ties {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "efron" => Ok(Ties::Efron),
            "breslow" => Ok(Ties::Breslow),
            "exact" => Ok(Ties::Exact),
            _ => Err(crate::Error::Setting {
                name: "ties",
                value: text.to_owned(),
                expected: "efron, breslow or exact",
            }),
        }
    }
}
