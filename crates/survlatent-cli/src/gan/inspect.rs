//! `survlatent inspect`: what a network file holds.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use stylegan2_burn::checkpoint::TensorInfo;
use stylegan2_burn::{Architecture, Checkpoint, Format, NetworkConfig};

use super::network::in_file;
use crate::failure::Failure;
use crate::report;

/// Print what a network file holds
#[derive(Args)]
#[command(after_long_help = JSON)]
pub(crate) struct Inspect {
    /// Network file: .pkl (NVIDIA or TensorFlow), .pt (rosinality) or .safetensors of this program
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

const JSON: &str = "\
JSON:
  format; networks: for G, D and G_ema as far as present kind, architecture, resolution, channels,
  c_dim, for generators z_dim, w_dim, num_ws, parameters (trained values), config (all settings),
  tensors (name, shape, dtype as stored)";

#[derive(Serialize)]
struct Contents {
    format: Format,
    networks: BTreeMap<String, Network>,
    #[serde(skip)]
    head: String,
}

#[derive(Serialize)]
struct Network {
    kind: &'static str,
    architecture: Architecture,
    resolution: usize,
    channels: usize,
    c_dim: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    z_dim: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    w_dim: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_ws: Option<usize>,
    parameters: usize,
    config: NetworkConfig,
    tensors: Vec<TensorInfo>,
}

impl Network {
    fn describe(file: &Checkpoint, name: &str, config: &NetworkConfig) -> Result<Self, Failure> {
        let (parameters, tensors) = (file.parameter_count(name)?, file.tensors(name)?);
        Ok(match config {
            NetworkConfig::Generator(c) => Self {
                kind: "generator",
                architecture: c.architecture,
                resolution: c.resolution,
                channels: c.channels,
                c_dim: c.c_dim,
                z_dim: Some(c.z_dim),
                w_dim: Some(c.w_dim),
                num_ws: Some(c.num_ws()),
                parameters,
                config: config.clone(),
                tensors,
            },
            NetworkConfig::Discriminator(c) => Self {
                kind: "discriminator",
                architecture: c.architecture,
                resolution: c.resolution,
                channels: c.channels,
                c_dim: c.c_dim,
                z_dim: None,
                w_dim: None,
                num_ws: None,
                parameters,
                config: config.clone(),
                tensors,
            },
        })
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        for (name, network) in &self.networks {
            for t in &network.tensors {
                let full = format!("{name}.{}", t.name);
                writeln!(f, "  {full:<48} {:<5} {:?}", t.dtype, t.shape)?;
            }
        }
        Ok(())
    }
}

impl Inspect {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let file = Checkpoint::open(&self.file).map_err(|error| in_file(&self.file, error))?;
        let networks = file
            .networks()
            .map(|(name, config)| Ok((name.to_owned(), Network::describe(&file, name, config)?)))
            .collect::<Result<_, Failure>>()?;
        let contents = Contents {
            format: file.format(),
            networks,
            head: file.to_string(),
        };
        report::result(self.json.then_some(&contents), &contents)
    }
}
