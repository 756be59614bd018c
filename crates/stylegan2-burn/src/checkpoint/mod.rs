//! Opening and writing network files.
//!
//! [`Checkpoint::open`] recognises a file by its content: NVIDIA's pickles, the TensorFlow
//! pickles, rosinality's PyTorch files and this crate's own safetensors. Nothing in a file is
//! executed, and no announced size is believed before it is compared with the file's.

mod budget;
#[cfg(test)]
mod crafted;
mod nvidia;
mod pickle;
mod rosinality;
mod safetensors;
mod source;
mod state;
mod state_dict;
mod tensor;
mod tensorflow;
mod torch;
mod zip;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

#[cfg(feature = "train")]
pub(crate) use safetensors::{Extra, save_with};
pub use safetensors::{FloatFormat, parameter_shapes, save};
pub use state::to_dtype;

use crate::config::{DiscriminatorConfig, GeneratorConfig};
use crate::discriminator::Discriminator;
use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::seed;
use pickle::Pickle;
use source::Source;
pub(crate) use state::Names;
#[cfg(feature = "train")]
pub use state_dict::StateDict;
use tensor::RawTensor;

/// The kinds of files that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// stylegan2-ada-pytorch, stylegan3 with `--cfg=stylegan2`.
    NvidiaPickle,
    /// The TensorFlow releases of 2019 and 2020.
    TensorflowPickle,
    /// rosinality's checkpoints in PyTorch's zip format.
    RosinalityZip,
    /// rosinality's checkpoints in PyTorch's older format.
    RosinalityLegacy,
    /// This crate's files.
    Safetensors,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NvidiaPickle => "NVIDIA pickle (PyTorch)",
            Self::TensorflowPickle => "TensorFlow pickle",
            Self::RosinalityZip => "rosinality checkpoint (zip)",
            Self::RosinalityLegacy => "rosinality checkpoint (legacy)",
            Self::Safetensors => "stylegan2-burn safetensors",
        })
    }
}

/// The configuration of either network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkConfig {
    /// A generator.
    Generator(GeneratorConfig),
    /// A discriminator.
    Discriminator(DiscriminatorConfig),
}

impl NetworkConfig {
    fn validate(&self) -> Result<()> {
        match self {
            Self::Generator(config) => config.validate(),
            Self::Discriminator(config) => config.validate(),
        }
    }
}

/// A network to be written, with its configuration.
#[derive(Clone, Copy, Debug)]
pub enum Network<'a> {
    /// A generator.
    Generator(&'a GeneratorConfig, &'a Generator),
    /// A discriminator.
    Discriminator(&'a DiscriminatorConfig, &'a Discriminator),
}

/// One network of a file: what it is, and where its tensors are.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    config: NetworkConfig,
    tensors: BTreeMap<String, RawTensor>,
    /// Tensors that the file may leave out.
    optional: Vec<String>,
}

impl Entry {
    fn parameter_count(&self) -> usize {
        let buffers = ["noise_const", "w_avg", "resample_filter"];
        let trained = |name: &str| !buffers.iter().any(|b| name.ends_with(b));
        self.tensors
            .iter()
            .filter(|(name, _)| trained(name))
            .map(|(_, t)| t.count())
            .sum()
    }
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// Published name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: &'static str,
}

/// An opened file.
///
/// ```no_run
/// use burn::tensor::Device;
/// use stylegan2_burn::Checkpoint;
///
/// let file = Checkpoint::open("ffhq.pkl")?;
/// println!("{file}");
/// let generator = file.generator("G_ema", &Device::flex())?;
/// # Ok::<(), stylegan2_burn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    format: Format,
    source: Source,
    entries: Vec<Entry>,
}

impl Checkpoint {
    /// Opens a file and reads its table of contents.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_source(Source::open(path.as_ref())?)
    }

    /// Reads a file that is already in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::from_source(Source::Memory(Arc::new(bytes)))
    }

    fn from_source(source: Source) -> Result<Self> {
        let head = source.read(0, source.len().min(16))?.into_owned();
        if head.starts_with(b"PK\x03\x04") {
            let entries = torch::read_zip(&source, rosinality::read)?;
            return Ok(Self {
                format: Format::RosinalityZip,
                source,
                entries,
            });
        }
        if head.len() > 8 && head[8] == b'{' && head[0] != 0x80
            || head.len() > 8 && head[8] == b'{' && head[4..8] == [0; 4]
        {
            let entries = safetensors::read(&source)?;
            return Ok(Self {
                format: Format::Safetensors,
                source,
                entries,
            });
        }
        if head.first() != Some(&0x80) {
            let found = head
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<Vec<_>>()
                .join(" ");
            return Err(Error::UnknownFormat {
                found: format!("bytes {found}"),
            });
        }
        let source = source.in_memory()?;
        let Source::Memory(bytes) = &source else {
            unreachable!("just read")
        };
        if torch::is_legacy(bytes) {
            let entries = torch::read_legacy(bytes, rosinality::read)?;
            return Ok(Self {
                format: Format::RosinalityLegacy,
                source,
                entries,
            });
        }
        let pickle = Pickle::parse(bytes, 0)?;
        let (format, entries) = if nvidia::recognises(&pickle) {
            (Format::NvidiaPickle, nvidia::read(&pickle)?)
        } else if tensorflow::recognises(&pickle) {
            (Format::TensorflowPickle, tensorflow::read(&pickle)?)
        } else {
            let found = format!("a pickle of {}", pickle.describe(pickle.root));
            return Err(Error::UnknownFormat { found });
        };
        drop(pickle);
        Ok(Self {
            format,
            source,
            entries,
        })
    }

    /// What kind of file this is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Names and configurations of the networks: `G`, `D`, `G_ema`, as far as present.
    pub fn networks(&self) -> impl Iterator<Item = (&str, &NetworkConfig)> {
        self.entries.iter().map(|e| (e.name.as_str(), &e.config))
    }

    /// The tensors of a network.
    pub fn tensors(&self, network: &str) -> Result<Vec<TensorInfo>> {
        let entry = self.entry(network)?;
        let info = |(name, t): (&String, &RawTensor)| TensorInfo {
            name: name.clone(),
            shape: t.shape().to_vec(),
            dtype: t.element.name(),
        };
        Ok(entry.tensors.iter().map(info).collect())
    }

    /// The number of trained values of a network: without noise images, filters and the mean of w.
    pub fn parameter_count(&self, network: &str) -> Result<usize> {
        Ok(self.entry(network)?.parameter_count())
    }

    /// The values of one tensor, in row-major order.
    pub fn tensor(&self, network: &str, tensor: &str) -> Result<Vec<f32>> {
        let entry = self.entry(network)?;
        let found = entry.tensors.get(tensor).ok_or_else(|| Error::Tensor {
            tensor: tensor.to_owned(),
            reason: "is not in the file".to_owned(),
        })?;
        found.read(&self.source)
    }

    /// The name of the generator to prefer: `G_ema`, else `G`, else any.
    pub fn default_generator(&self) -> Option<&str> {
        let generators: Vec<&str> = self
            .networks()
            .filter(|(_, c)| matches!(c, NetworkConfig::Generator(_)))
            .map(|(n, _)| n)
            .collect();
        let preferred = ["G_ema", "G"]
            .into_iter()
            .find_map(|p| generators.iter().find(|g| **g == p));
        preferred.or(generators.first()).copied()
    }

    /// Loads a generator onto a device, in single precision.
    pub fn generator(&self, name: &str, device: &Device) -> Result<Generator> {
        let entry = self.entry(name)?;
        let NetworkConfig::Generator(config) = &entry.config else {
            return Err(self.no_such(&format!("{name} as a generator")));
        };
        let names = Names::generator(config.resolution);
        let module = state::load(
            config.init(device)?,
            names,
            &self.source,
            &entry.tensors,
            &entry.optional,
            &config.resample_filter,
        )?;
        if entry.tensors.contains_key("mapping.w_avg") {
            return Ok(module);
        }
        Ok(estimate_mean(module, config, device))
    }

    /// Loads a discriminator onto a device, in single precision.
    pub fn discriminator(&self, name: &str, device: &Device) -> Result<Discriminator> {
        self.load_discriminator(name, self.discriminator_config(name)?, device)
    }

    /// The discriminator of a file with settings of its own, which have the same parameters.
    pub(crate) fn load_discriminator(
        &self,
        name: &str,
        config: &DiscriminatorConfig,
        device: &Device,
    ) -> Result<Discriminator> {
        let entry = self.entry(name)?;
        let names = Names::discriminator(config.resolution);
        state::load(
            config.init(device)?,
            names,
            &self.source,
            &entry.tensors,
            &entry.optional,
            &config.resample_filter,
        )
    }

    /// The configuration of a generator.
    pub fn generator_config(&self, name: &str) -> Result<&GeneratorConfig> {
        match &self.entry(name)?.config {
            NetworkConfig::Generator(config) => Ok(config),
            NetworkConfig::Discriminator(_) => Err(self.no_such(&format!("{name} as a generator"))),
        }
    }

    /// The configuration of a discriminator.
    pub fn discriminator_config(&self, name: &str) -> Result<&DiscriminatorConfig> {
        match &self.entry(name)?.config {
            NetworkConfig::Discriminator(config) => Ok(config),
            NetworkConfig::Generator(_) => Err(self.no_such(&format!("{name} as a discriminator"))),
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries
            .iter()
            .find(|e| e.name == name)
            .ok_or_else(|| self.no_such(name))
    }

    fn no_such(&self, wanted: &str) -> Error {
        Error::NoSuchNetwork {
            wanted: wanted.to_owned(),
            available: self.entries.iter().map(|e| e.name.clone()).collect(),
        }
    }
}

/// Training checkpoints of rosinality have no mean of w: it is taken over 4096 fixed latents.
fn estimate_mean(generator: Generator, config: &GeneratorConfig, device: &Device) -> Generator {
    let seeds: Vec<u32> = (0..4096).collect();
    let Generator {
        mut mapping,
        synthesis,
    } = generator;
    let z = seed::latents(&seeds, config.z_dim, device);
    let w = mapping.w(Some(z.into()), None).value.detach();
    mapping.w_avg = mapping.w_avg.map(|mean| {
        mean.map(|m| {
            let d = m.dims()[0];
            w.mean_dim(0).reshape([d]).set_require_grad(false)
        })
    });
    Generator { mapping, synthesis }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} bytes", self.format, self.source.len())?;
        for entry in &self.entries {
            let parameters = entry.parameter_count();
            let (kind, side, channels, labels) = match &entry.config {
                NetworkConfig::Generator(c) => (
                    format!("generator, {:?}", c.architecture),
                    c.resolution,
                    c.channels,
                    c.c_dim,
                ),
                NetworkConfig::Discriminator(c) => (
                    format!("discriminator, {:?}", c.architecture),
                    c.resolution,
                    c.channels,
                    c.c_dim,
                ),
            };
            write!(
                f,
                "{:<6} {}, {side} x {side} x {channels}, {} tensors, {parameters} parameters",
                entry.name,
                kind.to_lowercase(),
                entry.tensors.len(),
            )?;
            if labels > 0 {
                write!(f, ", labels of {labels}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
