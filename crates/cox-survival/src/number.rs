//! Floats that may be infinite or undefined, in formats (JSON) that know neither: written as
//! nothing, read back as NaN.

#![allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::ref_option,
    reason = "the signatures serde asks for"
)]

use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn known(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

pub(crate) fn serialize<S: Serializer>(x: &f64, to: S) -> Result<S::Ok, S::Error> {
    known(*x).serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// The same for vectors.
pub(crate) mod vector {
    use super::{Deserialize, Deserializer, Serializer, known};

    pub(crate) fn serialize<S: Serializer>(x: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(x.iter().map(|&x| known(x)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let found = Vec::<Option<f64>>::deserialize(from)?;
        Ok(found.into_iter().map(|x| x.unwrap_or(f64::NAN)).collect())
    }
}

/// The same for vectors that need not be there.
pub(crate) mod optional_vector {
    use super::{Deserialize, Deserializer, Serialize, Serializer, known};

    pub(crate) fn serialize<S: Serializer>(x: &Option<Vec<f64>>, to: S) -> Result<S::Ok, S::Error> {
        x.as_ref()
            .map(|x| x.iter().map(|&x| known(x)).collect::<Vec<_>>())
            .serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<f64>>, D::Error> {
        let found = Option::<Vec<Option<f64>>>::deserialize(from)?;
        Ok(found.map(|x| x.into_iter().map(|x| x.unwrap_or(f64::NAN)).collect()))
    }
}
