//! Our own files: safetensors whose header metadata carries the configuration.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use burn::tensor::Tensor;
use half::f16;

use super::source::Source;
use super::state::{self, Names};
use super::tensor::{Element, RawTensor, Storage};
use super::{Entry, Network, NetworkConfig};
use crate::error::{Error, Result};
use crate::file::write_whole;

const FORMAT: &str = "stylegan2-burn";
const VERSION: &str = "1";
/// The largest network's header has about 50 KiB.
const MAX_HEADER: u64 = 16 << 20;

/// The number type tensors are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloatFormat {
    /// Single precision.
    #[default]
    F32,
    /// Half precision: half the size, about three decimal digits.
    F16,
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Safetensors {
        reason: reason.into(),
    }
}

#[derive(serde::Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// Metadata and tensors of a file.
pub(super) fn contents(
    source: &Source,
) -> Result<(HashMap<String, String>, BTreeMap<String, RawTensor>)> {
    let head = source.read(0, 8)?;
    let mut word = [0; 8];
    word.copy_from_slice(&head);
    let size = u64::from_le_bytes(word);
    if size > MAX_HEADER {
        return Err(malformed(format!("a header of {size} bytes")));
    }
    let header = source.read(8, size)?;
    let mut header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|e| malformed(e.to_string()))?;
    let metadata = header.remove("__metadata__").unwrap_or_default();
    let metadata: HashMap<String, String> = serde_json::from_value(metadata).unwrap_or_default();

    let data = 8 + size;
    let available = source.len().saturating_sub(data);
    let mut tensors = BTreeMap::new();
    for (name, info) in header {
        let info: Info =
            serde_json::from_value(info).map_err(|e| malformed(format!("`{name}`: {e}")))?;
        let element = match info.dtype.as_str() {
            "F32" => Element::F32,
            "F16" => Element::F16,
            "BF16" => Element::Bf16,
            "F64" => Element::F64,
            "I64" => Element::I64,
            other => return Err(malformed(format!("`{name}`: type {other}"))),
        };
        let [start, end] = info.data_offsets;
        if start > end || end > available {
            return Err(malformed(format!(
                "`{name}`: bytes {start} to {end} of {available}"
            )));
        }
        let storage = Storage::File {
            offset: data + start,
            len: end - start,
        };
        let tensor = RawTensor::new(&name, element, storage, 0, info.shape, None)?;
        if (tensor.count() * element.size()) as u64 != end - start {
            return Err(malformed(format!("`{name}`: shape and size disagree")));
        }
        tensors.insert(name, tensor);
    }
    Ok((metadata, tensors))
}

/// All networks of the file.
pub(super) fn read(source: &Source) -> Result<Vec<Entry>> {
    let (metadata, contents) = contents(source)?;
    if metadata.get("format").map(String::as_str) != Some(FORMAT) {
        return Err(Error::Unsupported {
            what: "safetensors file".to_owned(),
            detail: format!(
                "metadata `format` is {:?}; expected {FORMAT}",
                metadata.get("format")
            ),
        });
    }
    if metadata.get("version").map(String::as_str) != Some(VERSION) {
        return Err(Error::Unsupported {
            what: "safetensors file".to_owned(),
            detail: format!("version {:?}; {VERSION} is read", metadata.get("version")),
        });
    }
    let configs = metadata.get("networks").map_or("{}", String::as_str);
    let configs: BTreeMap<String, NetworkConfig> =
        serde_json::from_str(configs).map_err(|e| malformed(format!("metadata: {e}")))?;
    let mut tensors: BTreeMap<String, BTreeMap<String, RawTensor>> = BTreeMap::new();
    for (full, tensor) in contents {
        let (network, name) = full
            .split_once('.')
            .ok_or_else(|| malformed(format!("`{full}` has no network")))?;
        let of_network = tensors.entry(network.to_owned()).or_default();
        of_network.insert(name.to_owned(), tensor);
    }
    configs
        .into_iter()
        .map(|(name, config)| {
            config.validate()?;
            let tensors = tensors.remove(&name).unwrap_or_default();
            Ok(Entry {
                name,
                config,
                tensors,
                optional: Vec::new(),
            })
        })
        .collect()
}

/// Writes networks with their configurations into one file.
///
/// Tensors have the published names behind the network's name, for example
/// `G_ema.synthesis.b4.const`. The file appears whole or not at all.
pub fn save(path: &Path, networks: &[(&str, Network<'_>)], format: FloatFormat) -> Result<()> {
    save_with(path, networks, format, &[], &BTreeMap::new())
}

/// A tensor beside the networks, written in single precision. Its name has a dot, and what comes
/// before the first dot is no network's name.
pub(crate) struct Extra {
    pub name: String,
    pub tensor: Tensor<1>,
}

/// As [`save`], with further tensors and metadata.
pub(crate) fn save_with(
    path: &Path,
    networks: &[(&str, Network<'_>)],
    format: FloatFormat,
    extras: &[Extra],
    metadata: &BTreeMap<&str, String>,
) -> Result<()> {
    let mut header = serde_json::Map::new();
    let mut configs = BTreeMap::new();
    let mut at = 0_u64;
    let (dtype, width) = match format {
        FloatFormat::F32 => ("F32", 4),
        FloatFormat::F16 => ("F16", 2),
    };
    for (network_name, network) in networks {
        if network_name.is_empty() || network_name.contains('.') {
            let reason = format!("`{network_name}` is not a network name");
            return Err(Error::Argument {
                name: "networks",
                reason,
            });
        }
        configs.insert(*network_name, network.config());
        for (name, shape) in network.shapes() {
            let bytes = shape.iter().product::<usize>() as u64 * width;
            let info = serde_json::json!({
                "dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes],
            });
            header.insert(format!("{network_name}.{name}"), info);
            at += bytes;
        }
    }
    for extra in extras {
        let [count] = extra.tensor.dims();
        let bytes = count as u64 * 4;
        let info = serde_json::json!({
            "dtype": "F32", "shape": [count], "data_offsets": [at, at + bytes],
        });
        header.insert(extra.name.clone(), info);
        at += bytes;
    }
    let networks_json = serde_json::to_string(&configs).map_err(|e| malformed(e.to_string()))?;
    let mut about = serde_json::json!({
        "format": FORMAT, "version": VERSION, "networks": networks_json,
    });
    for (key, value) in metadata {
        about[*key] = serde_json::Value::String(value.clone());
    }
    header.insert("__metadata__".to_owned(), about);
    let mut header = serde_json::to_vec(&header).map_err(|e| malformed(e.to_string()))?;
    // Readers that map the file want the data aligned.
    header.resize(header.len().next_multiple_of(8), b' ');

    write_whole(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())
            .map_err(Error::io(path))?;
        out.write_all(&header).map_err(Error::io(path))?;
        for (_, network) in networks {
            network.visit(|values| {
                for value in values {
                    match format {
                        FloatFormat::F32 => out.write_all(&value.to_le_bytes()),
                        FloatFormat::F16 => out.write_all(&half(value)?.to_le_bytes()),
                    }
                    .map_err(Error::io(path))?;
                }
                Ok(())
            })?;
        }
        for extra in extras {
            let values = extra.tensor.clone().into_data().try_into_vec::<f32>();
            let values = values.map_err(|e| malformed(format!("`{}`: {e:?}", extra.name)))?;
            for value in values {
                out.write_all(&value.to_le_bytes())
                    .map_err(Error::io(path))?;
            }
        }
        Ok(())
    })
}

/// Half precision; a finite value beyond its range is refused.
fn half(value: f32) -> Result<f16> {
    let narrow = f16::from_f32(value);
    if narrow.is_infinite() && value.is_finite() {
        return Err(Error::Argument {
            name: "format",
            reason: format!(
                "{value} is beyond half precision, which ends at {}",
                f16::MAX
            ),
        });
    }
    Ok(narrow)
}

impl Network<'_> {
    fn names(&self) -> Names {
        match self {
            Self::Generator(config, _) => Names::generator(config.resolution),
            Self::Discriminator(config, _) => Names::discriminator(config.resolution),
        }
    }

    fn config(&self) -> NetworkConfig {
        match self {
            Self::Generator(config, _) => NetworkConfig::Generator((*config).clone()),
            Self::Discriminator(config, _) => NetworkConfig::Discriminator((*config).clone()),
        }
    }

    fn visit(&self, visit: impl FnMut(Vec<f32>) -> Result<()>) -> Result<()> {
        match self {
            Self::Generator(_, module) => state::visit(*module, self.names(), visit),
            Self::Discriminator(_, module) => state::visit(*module, self.names(), visit),
        }
    }

    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::Generator(_, module) => state::shapes(*module, self.names()),
            Self::Discriminator(_, module) => state::shapes(*module, self.names()),
        }
    }
}

/// Names and shapes of a network's tensors, as files hold them; allocates no parameter.
pub fn parameter_shapes(network: &Network<'_>) -> Vec<(String, Vec<usize>)> {
    network.shapes()
}
