//! Verbs from photos to latents.

pub(crate) mod gather;
mod lpips;
pub(crate) mod photos;
pub(crate) mod train_encoder;
mod tuned;

use std::path::Path;

use burn::tensor::Device;
use latent_inversion::StyleGan2;
use stylegan2_burn::{GeneratorConfig, NetworkConfig};

use crate::failure::Failure;
use crate::gan::network::{in_file, open_or_shipped};

/// The generator of a network file, or the one that ships, its settings and what to call it.
fn open_network(
    path: Option<&Path>,
    which: Option<&str>,
    device: &Device,
) -> Result<(String, GeneratorConfig, StyleGan2), Failure> {
    let (path, file) = open_or_shipped(path)?;
    let name = match which {
        Some(name) => name,
        None => file
            .default_generator()
            .ok_or_else(|| Failure::run(format!("{}: holds no generator", path.display())))?,
    };
    let generator = file
        .generator(name, device)
        .map_err(|error| in_file(path, error))?;
    let decoder = StyleGan2::new(&generator)
        .map_err(|error| Failure::run(format!("{}: {error}", path.display())))?;
    let config = file.networks().find_map(|(n, config)| match config {
        NetworkConfig::Generator(config) if n == name => Some(config.clone()),
        _ => None,
    });
    let config = config.ok_or_else(|| Failure::run(format!("no generator `{name}`")))?;
    Ok((file_name(path), config, decoder))
}

/// A file's name without its folder.
fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

impl From<latent_inversion::Error> for Failure {
    fn from(error: latent_inversion::Error) -> Self {
        match error {
            // These are not set on the command line: a network or a photo is at fault.
            latent_inversion::Error::Argument {
                name: "generator" | "images" | "samples" | "start" | "ws",
                ..
            } => Self::Run(Box::new(error)),
            latent_inversion::Error::Argument { .. } => Self::usage(error.to_string()),
            error => Self::Run(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_are_a_matter_of_usage() {
        let argument = |name| latent_inversion::Error::Argument {
            name,
            reason: String::new(),
        };
        for (error, usage) in [
            (argument("batch"), true),
            (argument("samples"), false),
            (argument("images"), false),
            (
                latent_inversion::Error::NotFinite {
                    index: 0,
                    id: Some("p1".to_owned()),
                    reason: String::new(),
                },
                false,
            ),
        ] {
            let text = error.to_string();
            let failure = Failure::from(error);
            assert_eq!(matches!(failure, Failure::Usage(_)), usage, "{text}");
        }
    }
}
