//! `survlatent discriminate`: logits of images.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use clap::Args;
use stylegan2_burn::{Checkpoint, DiscriminatorConfig};
use survlatent::OutputFile;

use super::arrays::{self, Array, Npy, wrong_shape};
use super::network::{choice, in_file, labels_of_file, values};
use crate::failure::Failure;

/// Compute the discriminator's logits of images
#[derive(Args)]
pub(crate) struct Discriminate {
    /// Network file with a discriminator `D`
    #[arg(long, value_name = "FILE")]
    network: PathBuf,
    /// Images in [-1, 1], [N, channels, side, side]; one batch, whose statistics are an input
    #[arg(long, value_name = "FILE.npy")]
    images: PathBuf,
    /// Labels of a conditional network, [N, c]
    #[arg(long, value_name = "FILE.npy")]
    c: Option<PathBuf>,
    /// Where the logits go, [N, 1]
    #[arg(long, value_name = "FILE.npy")]
    raw: PathBuf,
}

impl Discriminate {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let device = Device::default();
        let file =
            Checkpoint::open(&self.network).map_err(|error| in_file(&self.network, error))?;
        let config = file.discriminator_config("D").map_err(choice)?.clone();
        if self.c.is_some() && config.c_dim == 0 {
            return Err(Failure::usage("the network takes no labels"));
        }
        if self.c.is_none() && config.c_dim > 0 {
            return Err(Failure::usage(format!(
                "the network has {} classes: give --c",
                config.c_dim
            )));
        }
        let images = arrays::read(&self.images, "images")?;
        let n = self.check(&config, &images)?;
        let labels = self.labels(&config, n, &device)?;
        let output = OutputFile::create(&self.raw)?;
        let discriminator = file
            .discriminator("D", &device)
            .map_err(|error| in_file(&self.network, error))?;
        let images = Tensor::<4>::from_data(TensorData::new(images.values, images.shape), &device);
        let logits = values(discriminator.forward(images, labels))?;
        let mut output = Npy::begin(output, n, &[1])?;
        output.append(&logits)?;
        output.finish()
    }

    fn labels(
        &self,
        config: &DiscriminatorConfig,
        n: usize,
        device: &Device,
    ) -> Result<Option<Tensor<2>>, Failure> {
        let Some(path) = &self.c else {
            return Ok(None);
        };
        let width = config.c_dim;
        let labels = labels_of_file(path, width)?;
        if labels.shape[0] != n {
            return Err(wrong_shape(path, &labels, &format!("[{n}, {width}]")));
        }
        let data = TensorData::new(labels.values, [n, width]);
        Ok(Some(Tensor::from_data(data, device)))
    }

    /// The number of images.
    fn check(&self, config: &DiscriminatorConfig, images: &Array) -> Result<usize, Failure> {
        let (channels, side) = (config.channels, config.resolution);
        let n = match *images.shape {
            [n, c, h, w] if n > 0 && c == channels && h == side && w == side => n,
            _ => {
                let expected = format!("[N, {channels}, {side}, {side}]");
                return Err(wrong_shape(&self.images, images, &expected));
            }
        };
        let group = config.mbstd_group.map_or(n, |group| group.min(n));
        if config.mbstd_features > 0 && !n.is_multiple_of(group) {
            return Err(Failure::run(format!(
                "{}: {n} images, but the discriminator compares groups of {group}",
                self.images.display()
            )));
        }
        Ok(n)
    }
}
