//! Cox's proportional hazards model: settings here, the parts of the fit in the files beside.

pub(crate) mod baseline;
#[cfg(test)]
mod by_hand;
pub(crate) mod design;
#[cfg(test)]
mod edge_cases;
pub(crate) mod fit;
pub(crate) mod information;
pub(crate) mod likelihood;
pub(crate) mod newton;
pub(crate) mod path;
pub(crate) mod predict;
pub(crate) mod robust;
pub(crate) mod summary;
pub(crate) mod sums;
#[cfg(test)]
pub(crate) mod twins;

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
}

impl Ties {
    /// `efron` or `breslow`.
    pub fn name(self) -> &'static str {
        match self {
            Ties::Efron => "efron",
            Ties::Breslow => "breslow",
        }
    }
}

impl std::str::FromStr for Ties {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "efron" => Ok(Ties::Efron),
            "breslow" => Ok(Ties::Breslow),
            _ => Err(crate::Error::Setting {
                name: "ties",
                value: text.to_owned(),
                expected: "efron or breslow",
            }),
        }
    }
}
