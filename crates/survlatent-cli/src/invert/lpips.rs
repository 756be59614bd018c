//! Which LPIPS an inversion minimises: `--lpips`.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use latent_inversion::lpips::Lpips;
use latent_inversion::{Decoder, Error};

use crate::failure::Failure;

/// Weights of the perceptual distance.
#[derive(Args)]
pub(super) struct LpipsArg {
    /// Weights of another LPIPS than AlexNet's, which ships: VGG16's safetensors file, or torchvision's
    /// .pth of a network with --lpips-heads
    #[arg(long, value_name = "FILE")]
    lpips: Option<PathBuf>,
    /// The network's heads, a .pth of PyPI's lpips (weights/v0.1)
    #[arg(long, value_name = "FILE.pth", requires = "lpips")]
    lpips_heads: Option<PathBuf>,
}

impl LpipsArg {
    /// Opens it, for pictures of a generator that is called `name`.
    pub(super) fn open(
        &self,
        name: &str,
        decoder: &dyn Decoder,
        device: &Device,
    ) -> Result<Lpips, Failure> {
        let lpips = match (&self.lpips, &self.lpips_heads) {
            (None, _) => Lpips::alexnet(device),
            (Some(file), None) => Lpips::open(file, device),
            (Some(network), Some(heads)) => Lpips::open_torch(network, heads, device),
        };
        let lpips = lpips.map_err(explain)?;
        check_size(name, decoder, &lpips)?;
        Ok(lpips)
    }
}

/// Refuses a generator whose pictures are too small for the network of LPIPS.
fn check_size(name: &str, decoder: &dyn Decoder, lpips: &Lpips) -> Result<(), Failure> {
    let [_, height, width] = decoder.shape();
    let least = lpips.trunk().smallest_side();
    if height.min(width) >= least {
        return Ok(());
    }
    Err(Failure::run(format!(
        "{name}: pictures of {width} x {height} pixels; LPIPS needs {least}"
    )))
}

/// What to do about a file that is not there, or not the one.
fn explain(error: Error) -> Failure {
    let where_from = "; AlexNet's weights ship and need no --lpips, docs/inversion.md says where those of \
                      others are";
    match error {
        Error::Io { ref path, .. } if !path.exists() => Failure::run(format!(
            "{}: no such file of LPIPS weights{where_from}",
            path.display()
        )),
        Error::Checksum { .. } => Failure::run(format!("{error}{where_from}")),
        error => error.into(),
    }
}
