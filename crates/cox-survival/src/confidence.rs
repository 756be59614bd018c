//! Pointwise confidence intervals of survival curves, and floats that may be absent in files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::{Error, Result};

/// On which scale a confidence interval of a survival probability is symmetric.
///
/// With `se` the standard error of `log S`:
/// `Log`: `S exp(±z se)`; `Plain`: `S ± z S se`; `LogLog`: `S^exp(±z se / log S)`.
/// Limits are cut at 0 and 1. Where a scale has no value (all at `S = 0`, log-log also at
/// `S = 1`) the limits are NaN, R's `NA`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfType {
    /// On the scale of the cumulative hazard (R's default).
    #[default]
    Log,
    /// On the scale of the survival probability.
    Plain,
    /// On the scale of the log cumulative hazard.
    LogLog,
}

impl fmt::Display for ConfType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Plain => "plain",
            Self::LogLog => "log-log",
        })
    }
}

impl FromStr for ConfType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "log" => Ok(Self::Log),
            "plain" => Ok(Self::Plain),
            "log-log" => Ok(Self::LogLog),
            _ => Err(Error::Setting {
                name: "conf_type",
                value: text.to_owned(),
                expected: "one of log, plain, log-log",
            }),
        }
    }
}

/// The two-sided standard normal quantile of a confidence level.
pub(crate) fn normal_quantile(level: f64) -> Result<f64> {
    if !(level > 0.0 && level < 1.0) {
        return Err(Error::Setting {
            name: "level",
            value: level.to_string(),
            expected: "a confidence level lies strictly between 0 and 1",
        });
    }
    Ok(-Normal::standard().inverse_cdf(0.5 * (1.0 - level)))
}

impl ConfType {
    /// Lower and upper limit at survival `s`, with `se` the standard error of `log s`.
    pub(crate) fn limits(self, s: f64, se: f64, z: f64) -> (f64, f64) {
        if s <= 0.0 || (self == Self::LogLog && s >= 1.0) {
            return (f64::NAN, f64::NAN);
        }
        let (lower, upper) = match self {
            Self::Log => (s * (-z * se).exp(), s * (z * se).exp()),
            Self::Plain => (s - z * s * se, s + z * s * se),
            Self::LogLog => {
                // `log s` is negative, so the larger exponent belongs to the lower limit.
                let shift = z * se / s.ln();
                (s.powf((-shift).exp()), s.powf(shift.exp()))
            }
        };
        (lower.max(0.0), upper.min(1.0))
    }
}

/// Serde for vectors in which NaN and infinity may occur: JSON has `null` for both, and `null`
/// is read as NaN.
pub(crate) mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        let finite: Vec<Option<f64>> = values.iter().map(|v| v.is_finite().then_some(*v)).collect();
        finite.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let values = Vec::<Option<f64>>::deserialize(from)?;
        Ok(values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_quantile_has_all_its_digits() {
        assert!((normal_quantile(0.95).unwrap() - 1.959_963_984_540_054).abs() < 1e-14);
        assert!((normal_quantile(0.99).unwrap() - 2.575_829_303_548_901).abs() < 1e-14);
        assert!(matches!(
            normal_quantile(1.0),
            Err(Error::Setting { name: "level", .. })
        ));
        assert!(normal_quantile(f64::NAN).is_err());
    }

    #[test]
    fn names_round_trip() {
        for kind in [ConfType::Log, ConfType::Plain, ConfType::LogLog] {
            assert_eq!(kind.to_string().parse::<ConfType>().unwrap(), kind);
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
        assert!("logit".parse::<ConfType>().is_err());
    }
}
