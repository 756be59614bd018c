//! Settings of the training of an encoder.

use serde::{Deserialize, Serialize};

use super::EncoderSettings;
use crate::error::{Error, Result};
use crate::projector::Coordinates;

/// Settings of the training of an encoder.
///
/// Every step draws `batch` fresh latents $z$, and the loss is
/// $\lambda\,\operatorname{mean}(v - \hat v)^2 + \sigma\,\operatorname{mean}(x - \hat x)^2 +
/// \pi\,\mathrm{LPIPS}(x, \hat x)$ with the latent $v$ in the chosen coordinates, $x$ the sample and
/// $\hat x$ the generator's image of the latent found. Adam's learning rate falls along half a
/// cosine to zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderTraining {
    /// Size of the network.
    pub network: EncoderSettings,
    /// Units of the network's output and of the loss: W over its standard deviation, or whitened.
    pub coordinates: Coordinates,
    /// Thousands of samples to train on.
    pub kimg: f64,
    /// Samples per step.
    pub batch: usize,
    /// Adam's learning rate at the start.
    pub learning_rate: f64,
    /// Weight of the latent.
    pub latent: f64,
    /// Weight of squared differences of pixels.
    pub squared: f64,
    /// Weight of LPIPS.
    pub perceptual: f64,
    /// Samples from which the linear part starts; none with 0.
    pub linear: usize,
    /// Seed of weights and samples.
    pub seed: u64,
}

impl Default for EncoderTraining {
    fn default() -> Self {
        Self {
            network: EncoderSettings::default(),
            coordinates: Coordinates::Plain,
            kimg: 100.0,
            batch: 16,
            learning_rate: 1e-3,
            latent: 1.0,
            squared: 0.0,
            perceptual: 0.0,
            linear: 8192,
            seed: 0,
        }
    }
}

impl EncoderTraining {
    /// Refuses settings out of range.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        self.network.validate()?;
        for (name, value, least, most) in [
            ("kimg", self.kimg, 0.0, 1e9),
            ("batch", self.batch as f64, 1.0, 65536.0),
            ("learning_rate", self.learning_rate, 0.0, 1e3),
            ("latent", self.latent, 0.0, 1e6),
            ("squared", self.squared, 0.0, 1e6),
            ("perceptual", self.perceptual, 0.0, 1e6),
        ] {
            if !(value >= least && value <= most) {
                return Err(Error::Argument {
                    name,
                    reason: format!("{value}; from {least} to {most} is taken"),
                });
            }
        }
        if self.latent + self.squared + self.perceptual > 0.0 {
            return Ok(());
        }
        Err(Error::Argument {
            name: "latent",
            reason: "all weights of the loss are zero".to_owned(),
        })
    }

    /// Number of steps.
    #[allow(clippy::cast_sign_loss)]
    pub fn steps(&self) -> u64 {
        (self.kimg * 1000.0 / self.batch as f64).ceil() as u64
    }

    pub(super) fn learning_rate_at(&self, step: u64) -> f64 {
        let t = step as f64 / self.steps().max(1) as f64;
        self.learning_rate * (0.5 + 0.5 * (std::f64::consts::PI * t.min(1.0)).cos())
    }
}
