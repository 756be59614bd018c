//! The stored settings of a TensorFlow network.

use serde::de::DeserializeOwned;

use super::super::pickle::{Pickle, Value};
use super::unsupported;
use crate::config::Architecture;
use crate::error::{Error, Result};
use crate::ops::Activation;

/// Settings by name. What is not asked for is of training, speed or names: it is passed over.
pub(super) struct Settings<'p, 'a> {
    pub(super) pickle: &'p Pickle<'a>,
    pub(super) name: &'p str,
    pub(super) dict: Value,
}

impl Settings<'_, '_> {
    pub(super) fn size(&self, name: &str, default: usize) -> Result<usize> {
        match self.pickle.get(self.dict, name) {
            None => Ok(default),
            Some(v) => self.pickle.unsigned(v).ok_or_else(|| {
                unsupported(self.name, format!("`{name}` = {}", self.pickle.describe(v)))
            }),
        }
    }

    pub(super) fn architecture(&self, default: Architecture) -> Result<Architecture> {
        match self
            .pickle
            .get(self.dict, "architecture")
            .map(|v| self.pickle.text(v))
        {
            None => Ok(default),
            Some(Some("skip")) => Ok(Architecture::Skip),
            Some(Some("resnet")) => Ok(Architecture::Resnet),
            Some(Some("orig")) => Ok(Architecture::Orig),
            Some(other) => Err(unsupported(
                self.name,
                format!("`architecture` = {other:?}"),
            )),
        }
    }

    pub(super) fn clamp(&self) -> Option<f64> {
        self.pickle
            .get(self.dict, "conv_clamp")
            .and_then(|v| self.pickle.number(v))
    }

    pub(super) fn channel_base(&self) -> Result<usize> {
        let base = self.size("fmap_base", 16384)?;
        base.checked_mul(2)
            .ok_or_else(|| unsupported(self.name, format!("`fmap_base` = {base}")))
    }

    fn bad(&self, name: &str, value: Value) -> Error {
        let detail = format!("`{name}` = {}", self.pickle.describe(value));
        unsupported(self.name, detail)
    }

    fn word<T: DeserializeOwned>(&self, name: &str, default: T) -> Result<T> {
        let Some(value) = self.pickle.get(self.dict, name) else {
            return Ok(default);
        };
        let word = self.pickle.text(value).map(serde_json::Value::from);
        word.and_then(|w| serde_json::from_value(w).ok())
            .ok_or_else(|| self.bad(name, value))
    }

    pub(super) fn activation(&self) -> Result<Activation> {
        self.word("nonlinearity", Activation::Lrelu)
    }

    pub(super) fn mapping_activation(&self) -> Result<Activation> {
        self.word("mapping_nonlinearity", Activation::Lrelu)
    }

    /// The taps of the resampling filter.
    pub(super) fn filter(&self) -> Result<Vec<f32>> {
        let name = "resample_kernel";
        let Some(value) = self.pickle.get(self.dict, name) else {
            return Ok(vec![1.0, 3.0, 3.0, 1.0]);
        };
        #[allow(clippy::cast_possible_truncation)]
        let taps = self.pickle.sequence(value).and_then(|taps| {
            taps.iter()
                .map(|&t| self.pickle.number(t).map(|t| t as f32))
                .collect()
        });
        taps.ok_or_else(|| self.bad(name, value))
    }

    pub(super) fn noise(&self) -> Result<bool> {
        let name = "use_noise";
        match self.pickle.get(self.dict, name) {
            None => Ok(true),
            Some(Value::Bool(b)) => Ok(b),
            Some(value) => Err(self.bad(name, value)),
        }
    }

    /// Settings that would change the result and that no released network uses.
    pub(super) fn refuse(&self, names: &[(&str, f64)]) -> Result<()> {
        for &(name, usual) in names {
            let value = self
                .pickle
                .get(self.dict, name)
                .and_then(|v| self.pickle.number(v));
            if value.is_some_and(|v| (v - usual).abs() > 1e-12) {
                return Err(unsupported(self.name, format!("`{name}` = {value:?}")));
            }
        }
        Ok(())
    }
}
