//! The version that serialised models carry.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// Stands in a model as the field `version` when it is serialised; other versions are refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FormatVersion;

/// To be raised when the fields of a serialised model change their meaning.
const VERSION: u32 = 1;

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(Self),
            other => Err(D::Error::custom(format!(
                "version {other} of the format is not known, only {VERSION}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Covariates, CoxFit, CoxPath, CoxPh, PathFit, Surv};

    #[test]
    fn models_carry_a_version_and_others_are_refused() {
        let surv = Surv::new(&[5.0, 8.0, 12.0, 16.0], &[true, true, false, true]).unwrap();
        let x = Covariates::from_columns(&[1.0, 0.5, 1.5, 0.9], 4, 1).unwrap();
        let fit = serde_json::to_value(CoxPh::new().fit(&surv, &x).unwrap()).unwrap();
        let path = serde_json::to_value(CoxPath::new().fit(&surv, &x).unwrap()).unwrap();
        assert_eq!((&fit["version"], &path["version"]), (&1.into(), &1.into()));
        assert!(serde_json::from_value::<CoxFit>(fit.clone()).is_ok());
        for bad in [
            serde_json::json!(2),
            serde_json::json!("1"),
            serde_json::Value::Null,
        ] {
            let (mut fit, mut path) = (fit.clone(), path.clone());
            fit["version"] = bad.clone();
            path["version"] = bad;
            assert!(serde_json::from_value::<CoxFit>(fit).is_err());
            assert!(serde_json::from_value::<PathFit>(path).is_err());
        }
        let mut fit = fit;
        fit["version"] = 2.into();
        let error = serde_json::from_value::<CoxFit>(fit)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("version 2 of the format is not known"),
            "{error}"
        );
    }
}
