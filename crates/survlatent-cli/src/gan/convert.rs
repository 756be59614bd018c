//! `survlatent convert`: any network file to safetensors.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use stylegan2_burn::checkpoint::save;
use stylegan2_burn::{
    Checkpoint, Discriminator, DiscriminatorConfig, FloatFormat, Generator, GeneratorConfig,
    Network, NetworkConfig,
};

use super::network::in_file;
use crate::failure::Failure;
use crate::value;

/// Turn any network file into safetensors
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Convert {
    /// Network file: .pkl (NVIDIA or TensorFlow), .pt (rosinality) or .safetensors of this program
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write; it carries the settings, so that it is the whole network
    #[arg(value_name = "OUT.safetensors", value_parser = safetensors)]
    output: PathBuf,
    /// Write half-precision numbers: half the size, about three digits
    #[arg(long)]
    f16: bool,
    /// Which networks to write: G_ema, G, D, some of them, or all
    #[arg(
        long,
        value_name = "NAME,..",
        default_value = "all",
        value_delimiter = ','
    )]
    which: Vec<String>,
    /// Feed the generators from a random subspace of Z with so many dimensions: fewer latents than
    /// the network was trained with, which pictures then tell apart
    #[arg(long, value_name = "K", value_parser = value::count::<1>)]
    z_dim: Option<usize>,
    /// Seed of the subspace; the quality of the pictures depends on it (see survlatent fd)
    #[arg(long, value_name = "S", default_value_t = 0, requires = "z_dim")]
    z_seed: u32,
}

const EXAMPLES: &str = "\
Examples:
  survlatent convert ffhq.pkl ffhq.safetensors
  survlatent convert 550000.pt faces.safetensors --which G_ema --f16
  survlatent convert network-000200.safetensors small.safetensors --which G_ema,D --f16
  survlatent convert network-000200.safetensors narrow.safetensors --z-dim 32 --z-seed 5";

fn safetensors(name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(name);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("safetensors") => Ok(path),
        _ => Err("networks are written as .safetensors".to_owned()),
    }
}

// One or three of them exist at a time.
#[allow(clippy::large_enum_variant)]
enum Loaded {
    Generator(GeneratorConfig, Generator),
    Discriminator(DiscriminatorConfig, Discriminator),
}

impl Convert {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let device = Device::default();
        let file = Checkpoint::open(&self.input).map_err(|error| in_file(&self.input, error))?;
        let mut networks = Vec::new();
        for (name, config) in file.networks() {
            if !self.which.iter().any(|w| w == "all" || w == name) {
                continue;
            }
            let network = match config {
                NetworkConfig::Generator(config) => file
                    .generator(name, &device)
                    .and_then(|network| self.restricted(config, network)),
                NetworkConfig::Discriminator(config) => file
                    .discriminator(name, &device)
                    .map(|network| Loaded::Discriminator(config.clone(), network)),
            };
            let network = network.map_err(|error| in_file(&self.input, error))?;
            networks.push((name.to_owned(), network));
        }
        let written = |w: &str| w == "all" || networks.iter().any(|(name, _)| name == w);
        if let Some(missing) = self.which.iter().find(|w| !written(w)) {
            let names: Vec<&str> = file.networks().map(|(name, _)| name).collect();
            return Err(Failure::usage(format!(
                "no network `{missing}` in the file; it holds {}",
                names.join(", ")
            )));
        }
        let borrowed: Vec<(&str, Network<'_>)> = networks
            .iter()
            .map(|(name, network)| {
                let network = match network {
                    Loaded::Generator(config, g) => Network::Generator(config, g),
                    Loaded::Discriminator(config, d) => Network::Discriminator(config, d),
                };
                (name.as_str(), network)
            })
            .collect();
        let format = if self.f16 {
            FloatFormat::F16
        } else {
            FloatFormat::F32
        };
        Ok(save(&self.output, &borrowed, format)?)
    }

    fn restricted(
        &self,
        config: &GeneratorConfig,
        network: Generator,
    ) -> Result<Loaded, stylegan2_burn::Error> {
        let (config, network) = match self.z_dim {
            Some(z_dim) => network.restrict_z(config, z_dim, self.z_seed)?,
            None => (config.clone(), network),
        };
        Ok(Loaded::Generator(config, network))
    }
}
