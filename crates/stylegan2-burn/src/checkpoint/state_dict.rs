//! Tensors by name: PyTorch's state dicts.

use std::collections::BTreeMap;
#[cfg(feature = "train")]
use std::path::Path;

use super::pickle::{Pickle, Value};
#[cfg(feature = "train")]
use super::safetensors;
#[cfg(feature = "train")]
use super::source::Source;
use super::tensor::RawTensor;
use super::torch::{self, Storages};
use crate::error::{Error, Result};

pub(super) type Tensors = BTreeMap<String, RawTensor>;

/// The tensors of a dictionary; values of other kinds are left out.
pub(super) fn state_dict(pickle: &Pickle<'_>, dict: Value, storages: &Storages) -> Result<Tensors> {
    let entries = entries(pickle, dict).ok_or_else(|| Error::Unsupported {
        what: "PyTorch checkpoint".to_owned(),
        detail: format!("{} instead of a state dict", pickle.describe(dict)),
    })?;
    let mut tensors = Tensors::new();
    for (key, value) in entries {
        let name = pickle.text(key).unwrap_or("?");
        // Weights of a network trained on several devices carry a prefix.
        let name = name.strip_prefix("module.").unwrap_or(name);
        if let Some(tensor) = torch::tensor(pickle, value, name, storages)? {
            tensors.insert(name.to_owned(), tensor);
        }
    }
    Ok(tensors)
}

/// The entries of a dictionary; those that Python 2 wrote lie in the call that makes it, as a list of pairs.
fn entries(pickle: &Pickle<'_>, dict: Value) -> Option<Vec<(Value, Value)>> {
    let entries = pickle.entries(dict)?;
    let listed = pickle.object(dict).and_then(|(_, args, _)| {
        let list = pickle.sequence(args)?.first()?;
        pickle.sequence(*list)
    });
    let (true, Some(listed)) = (entries.is_empty(), listed) else {
        return Some(entries.to_vec());
    };
    let pairs = listed.iter().map(|pair| match *pickle.sequence(*pair)? {
        [key, value] => Some((key, value)),
        _ => None,
    });
    pairs.collect()
}

/// A file of nothing but tensors: a state dict in either of `PyTorch`'s formats, or safetensors.
#[cfg(feature = "train")]
#[derive(Debug)]
pub struct StateDict {
    source: Source,
    tensors: Tensors,
}

#[cfg(feature = "train")]
impl StateDict {
    /// Opens a file; tensors are read as they are asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::UnknownFormat`], and those of a damaged file.
    pub fn open(path: &Path) -> Result<Self> {
        let source = Source::open(path)?;
        let head = source.read(0, source.len().min(16))?.into_owned();
        if head.starts_with(b"PK\x03\x04") {
            let tensors = torch::read_zip(&source, |p, s| state_dict(p, p.root, s))?;
            return Ok(Self { source, tensors });
        }
        if head.get(8) == Some(&b'{') {
            let (_, tensors) = safetensors::contents(&source)?;
            return Ok(Self { source, tensors });
        }
        let source = source.in_memory()?;
        let Source::Memory(bytes) = &source else {
            unreachable!("just read")
        };
        if !torch::is_legacy(bytes) {
            let head: Vec<String> = head.iter().map(|b| format!("{b:02x}")).collect();
            return Err(Error::UnknownFormat {
                found: format!("bytes {}", head.join(" ")),
            });
        }
        let tensors = torch::read_legacy(bytes, |p, s| state_dict(p, p.root, s))?;
        Ok(Self { source, tensors })
    }

    /// The values of a tensor that has this shape.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if there is no such tensor or it has another shape; [`Error::Io`].
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let fault = |reason| Error::Tensor {
            tensor: name.to_owned(),
            reason,
        };
        let tensor = self.tensors.get(name);
        let tensor = tensor.ok_or_else(|| fault("not in the file".to_owned()))?;
        if tensor.shape() != shape {
            let found = tensor.shape();
            return Err(fault(format!("{found:?} instead of {shape:?}")));
        }
        tensor.read(&self.source)
    }
}
