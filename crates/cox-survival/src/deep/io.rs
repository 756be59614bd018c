//! A trained network as one safetensors file: weights as tensors, all else in the header.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::fit::{About, DeepSurvFit, Inputs};
use super::network::{Layer, Norm, Shape, Weights};
use super::train::DeepSurv;
use crate::cox::baseline::BaselineHazard;
use crate::error::{Error, Result};

const KEY: &str = "cox-survival.deepsurv";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    settings: DeepSurv,
    inputs: Inputs,
    about: About,
}

/// A slice in its shape, little-endian.
pub(super) struct Block<'a> {
    values: &'a [f32],
    shape: Vec<usize>,
}

/// Tensors by name.
pub(super) type Blocks<'a> = Vec<(String, Block<'a>)>;

impl<'a> Block<'a> {
    pub(super) fn vector(values: &'a [f32]) -> Self {
        Self {
            values,
            shape: vec![values.len()],
        }
    }
}

impl View for Block<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.values.iter().flat_map(|v| v.to_le_bytes());
        Cow::Owned(bytes.collect())
    }

    fn data_len(&self) -> usize {
        4 * self.values.len()
    }
}

pub(super) fn bad(reason: impl Into<String>) -> Error {
    Error::File {
        reason: reason.into(),
    }
}

impl DeepSurvFit {
    /// The whole fit as the bytes of a safetensors file: `layer.K.weight` `[inputs, outputs]`,
    /// `layer.K.bias` and so on, `head` `[inputs]`, everything else as JSON in the header.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = Header {
            version: VERSION,
            settings: self.settings.clone(),
            inputs: self.inputs.clone(),
            about: self.about.clone(),
        };
        let header = serde_json::to_string(&header).map_err(|e| bad(e.to_string()))?;
        let blocks = self.weights.blocks("");
        let metadata = HashMap::from([(KEY.to_owned(), header)]);
        safetensors::serialize(blocks, Some(metadata)).map_err(|e| bad(e.to_string()))
    }

    /// The way back. Everything is checked: a file that is not whole or not of this kind is an
    /// error.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let header: Header = header_of(bytes, KEY, "it holds no DeepSurv network")?;
        if header.version != VERSION {
            return Err(bad(format!("version {} is not known", header.version)));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| bad(e.to_string()))?;
        let shape = header.settings.shape();
        let inputs = header.inputs.names.len();
        if header.inputs.mean.len() != inputs || header.inputs.scale.len() != inputs {
            return Err(bad("means and scales are not as many as names"));
        }
        if inputs == 0 {
            return Err(bad("it has no inputs"));
        }
        let uneven = |b: &BaselineHazard| {
            b.hazard.len() != b.time.len() || b.log_at_means.len() != b.time.len()
        };
        if header.about.baseline.iter().any(uneven) {
            return Err(bad("a baseline has not as many hazards as times"));
        }
        let weights = read_weights(&file, "", shape, inputs)?;
        Ok(Self {
            settings: header.settings,
            inputs: header.inputs,
            weights,
            about: header.about,
        })
    }

    /// Writes [`DeepSurvFit::to_bytes`]; the file appears whole or not at all.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), &self.to_bytes()?)
    }

    /// Reads a file of [`DeepSurvFit::save`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let say = |reason: String| bad(format!("{}: {reason}", path.display()));
        let bytes = std::fs::read(path).map_err(|e| say(e.to_string()))?;
        Self::from_bytes(&bytes).map_err(|error| match error {
            Error::File { reason } => say(reason),
            other => other,
        })
    }
}

/// What the header of a file holds under `key`.
pub(super) fn header_of<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    key: &str,
    otherwise: &str,
) -> Result<T> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| bad(e.to_string()))?;
    let header = metadata.metadata().as_ref().and_then(|m| m.get(key));
    serde_json::from_str(header.ok_or_else(|| bad(otherwise))?).map_err(|e| bad(e.to_string()))
}

/// The tensor `name`, which must have this shape.
pub(super) fn read(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let tensor = file.tensor(name).map_err(|e| bad(e.to_string()))?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
        let (dtype, found) = (tensor.dtype(), tensor.shape());
        return Err(bad(format!(
            "`{name}` is {dtype:?} {found:?}, not F32 {shape:?}"
        )));
    }
    let chunks = tensor.data().as_chunks::<4>().0.iter();
    Ok(chunks.map(|b| f32::from_le_bytes(*b)).collect())
}

/// The weights whose names begin with `prefix`, of a network with so many inputs.
pub(super) fn read_weights(
    file: &SafeTensors<'_>,
    prefix: &str,
    shape: &Shape,
    mut inputs: usize,
) -> Result<Weights> {
    let mut layers = Vec::with_capacity(shape.hidden.len());
    for (k, &width) in shape.hidden.iter().enumerate() {
        let vector = |name: &str, present: bool| {
            if present {
                read(file, &format!("{prefix}layer.{k}.{name}"), &[width])
            } else {
                Ok(Vec::new())
            }
        };
        let (normed, batch) = (shape.norm != Norm::None, shape.norm == Norm::Batch);
        layers.push(Layer {
            weight: read(file, &format!("{prefix}layer.{k}.weight"), &[inputs, width])?,
            bias: vector("bias", true)?,
            gain: vector("gain", normed)?,
            shift: vector("shift", normed)?,
            mean: vector("mean", batch)?,
            variance: vector("variance", batch)?,
        });
        inputs = width;
    }
    let head = read(file, &format!("{prefix}head"), &[inputs])?;
    Ok(Weights { layers, head })
}

impl Weights {
    /// All tensors, their names after `prefix`.
    pub(super) fn blocks(&self, prefix: &str) -> Blocks<'_> {
        let mut blocks = Vec::new();
        for (k, layer) in self.layers.iter().enumerate() {
            let width = layer.bias.len();
            for (name, values) in parts(layer) {
                let mut block = Block::vector(values);
                if name == "weight" {
                    block.shape = vec![values.len() / width, width];
                }
                if !values.is_empty() {
                    blocks.push((format!("{prefix}layer.{k}.{name}"), block));
                }
            }
        }
        blocks.push((format!("{prefix}head"), Block::vector(&self.head)));
        blocks
    }
}

/// Writes a file that appears whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let say = |error: std::io::Error| bad(format!("{}: {error}", path.display()));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(say)?;
    file.write_all(bytes).map_err(say)?;
    file.as_file().sync_all().map_err(say)?;
    file.persist(path).map_err(|e| say(e.error))?;
    Ok(())
}

fn parts(layer: &Layer) -> [(&'static str, &[f32]); 6] {
    [
        ("weight", &layer.weight),
        ("bias", &layer.bias),
        ("gain", &layer.gain),
        ("shift", &layer.shift),
        ("mean", &layer.mean),
        ("variance", &layer.variance),
    ]
}
