//! Settings of a training run and the published presets.

use burn::config::Config;
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::error::{Error, Result};
use crate::layers::Precision;
use crate::train::ada::AdaConfig;
use crate::train::augment::AugmentConfig;
use crate::train::optimizer::Adam;

/// How strongly the discriminator's images are augmented.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AugmentStrength {
    /// Not at all.
    None,
    /// With a fixed probability.
    Fixed(f64),
    /// With a probability that follows the discriminator (Karras et al. 2020, ADA, section 3.1).
    Adaptive {
        /// The mean sign of the logits of real images to aim at.
        target: f64,
        /// Thousands of images in which the probability can move from 0 to 1.
        kimg: f64,
    },
}

/// Half precision of the highest resolutions in the main losses; the penalties are computed in
/// single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainPrecision {
    /// Single precision.
    #[default]
    Full,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
}

impl From<TrainPrecision> for Precision {
    fn from(precision: TrainPrecision) -> Self {
        match precision {
            TrainPrecision::Full => Self::Full,
            TrainPrecision::Bf16 => Self::Bf16,
            TrainPrecision::F16 => Self::F16,
        }
    }
}

/// Settings of a training run.
///
/// ```
/// use stylegan2_burn::train::TrainSettings;
///
/// let settings = TrainSettings::new().with_batch(16).with_r1_gamma(0.5);
/// assert!(settings.validate(64).is_ok());
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct TrainSettings {
    /// Images per iteration.
    #[config(default = 32)]
    pub batch: usize,
    /// Groups of images with style mixing and minibatch statistics of their own, in which the batch
    /// is processed one after the other; what several devices did in the published program. The mean
    /// of the path length is one for all and moves once per group.
    #[config(default = 1)]
    pub rounds: usize,
    /// Images computed at once, a multiple of the discriminator's group size; `None` is all of a
    /// round. Decides memory and speed; gradients are the same up to rounding.
    pub micro_batch: Option<usize>,
    /// Thousands of images to train for.
    #[config(default = 25000)]
    pub kimg: usize,
    /// Learning rate of both networks.
    #[config(default = 0.002)]
    pub learning_rate: f64,
    /// Adam's decays, before the correction for lazy regularisation.
    #[config(default = "[0.0, 0.99]")]
    pub betas: [f64; 2],
    /// Adam's epsilon.
    #[config(default = 1e-8)]
    pub epsilon: f64,
    /// Weight of the R1 penalty.
    #[config(default = 10.0)]
    pub r1_gamma: f64,
    /// Iterations between R1 penalties; `None` leaves them out.
    #[config(default = "Some(16)")]
    pub r1_interval: Option<usize>,
    /// Weight of the path-length penalty.
    #[config(default = 2.0)]
    pub path_weight: f64,
    /// Iterations between path-length penalties; `None` leaves them out.
    #[config(default = "Some(4)")]
    pub path_interval: Option<usize>,
    /// By how much the batch of the path-length penalty is smaller.
    #[config(default = 2)]
    pub path_shrink: usize,
    /// Speed of the running mean of the path length.
    #[config(default = 0.01)]
    pub path_decay: f64,
    /// Probability of mixing styles.
    #[config(default = 0.9)]
    pub style_mixing: f64,
    /// Half-life of the generator's moving average, in thousands of images.
    #[config(default = 10.0)]
    pub ema_kimg: f64,
    /// The half-life is at most this share of the images seen; `None` for no such bound.
    pub ema_ramp_up: Option<f64>,
    /// Strength of the augmentation.
    #[config(default = "AugmentStrength::None")]
    pub augment: AugmentStrength,
    /// The operations of the augmentation.
    #[config(default = "AugmentConfig::bgc()")]
    pub pipeline: AugmentConfig,
    /// The probability of augmentation to start from, when adaptive.
    #[config(default = 0.0)]
    pub augment_start: f64,
    /// Iterations between changes of an adaptive probability.
    #[config(default = 4)]
    pub augment_interval: usize,
    /// Whether every image is used as its mirror image, too.
    #[config(default = false)]
    pub mirror: bool,
    /// Images seen before, where a training goes on from a network without its state.
    #[config(default = 0)]
    pub start_images: u64,
    /// Layers of the discriminator, counted from the image side, that are not trained (Freeze-D,
    /// Mo et al. 2020); at most those above 4 px.
    #[config(default = 0)]
    pub freeze_d: usize,
    /// Parts that are not trained: beginnings of names such as `G.mapping` or
    /// `D.b64.conv0`, or a part of names such as `b64`. Each must be there, and both networks must keep
    /// something to train.
    #[config(default = "Vec::new()")]
    pub frozen: Vec<String>,
    /// Precision of the main losses.
    #[config(default = "TrainPrecision::Full")]
    pub precision: TrainPrecision,
    /// Seed of everything random.
    #[config(default = 0)]
    pub seed: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl TrainSettings {
    /// The optimiser of the generator.
    pub fn generator_optimizer(&self) -> Adam {
        self.optimizer()
            .with_lazy_regularisation(self.path_interval)
    }

    /// The optimiser of the discriminator.
    pub fn discriminator_optimizer(&self) -> Adam {
        self.optimizer().with_lazy_regularisation(self.r1_interval)
    }

    /// The settings of an adaptive augmentation.
    pub(crate) fn adaptive(&self) -> Option<AdaConfig> {
        match self.augment {
            AugmentStrength::Adaptive { target, kimg } => Some(AdaConfig {
                target,
                interval: self.augment_interval,
                kimg,
                initial: self.augment_start,
            }),
            _ => None,
        }
    }

    fn optimizer(&self) -> Adam {
        Adam {
            learning_rate: self.learning_rate,
            beta1: self.betas[0],
            beta2: self.betas[1],
            epsilon: self.epsilon,
        }
    }

    /// Whether a parameter such as `G.mapping.fc0.weight` is excluded by [`Self::frozen`].
    pub(crate) fn freezes(&self, name: &str) -> bool {
        self.frozen.iter().any(|f| {
            name.strip_prefix(f.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                || name.split('.').any(|part| part == f)
        })
    }

    /// Checks all ranges against the resolution of the networks.
    pub fn validate(&self, resolution: usize) -> Result<()> {
        let count = |field, value: usize, low: usize| {
            check(
                field,
                value,
                value >= low,
                if low == 0 { "0 or more" } else { "1 or more" },
            )
        };
        count("batch", self.batch, 1)?;
        count("rounds", self.rounds, 1)?;
        check(
            "rounds",
            self.rounds,
            self.batch.is_multiple_of(self.rounds.max(1)),
            "a divisor of the batch",
        )?;
        count("micro_batch", self.micro_batch.unwrap_or(1), 1)?;
        count("kimg", self.kimg, 1)?;
        count("r1_interval", self.r1_interval.unwrap_or(1), 1)?;
        count("path_interval", self.path_interval.unwrap_or(1), 1)?;
        count("path_shrink", self.path_shrink, 1)?;
        count("augment_interval", self.augment_interval, 1)?;
        let within = |field, value: f64, low: f64, high: f64, expected| {
            check(field, value, (low..=high).contains(&value), expected)
        };
        let positive = "positive and at most 1";
        within(
            "learning_rate",
            self.learning_rate,
            f64::MIN_POSITIVE,
            1.0,
            positive,
        )?;
        within("epsilon", self.epsilon, f64::MIN_POSITIVE, 1.0, positive)?;
        let share = "from 0 to 1";
        for beta in self.betas {
            check(
                "betas",
                beta,
                (0.0..1.0).contains(&beta),
                "from 0 to below 1",
            )?;
        }
        within("style_mixing", self.style_mixing, 0.0, 1.0, share)?;
        within("path_decay", self.path_decay, 0.0, 1.0, share)?;
        let finite = "0 or more and finite";
        within("r1_gamma", self.r1_gamma, 0.0, f64::MAX, finite)?;
        within("path_weight", self.path_weight, 0.0, f64::MAX, finite)?;
        within("ema_kimg", self.ema_kimg, 0.0, f64::MAX, finite)?;
        within(
            "ema_ramp_up",
            self.ema_ramp_up.unwrap_or(0.0),
            0.0,
            f64::MAX,
            finite,
        )?;
        within("augment_start", self.augment_start, 0.0, 1.0, share)?;
        match self.augment {
            AugmentStrength::None => {}
            AugmentStrength::Fixed(p) => within("augment", p, 0.0, 1.0, share)?,
            AugmentStrength::Adaptive { target, kimg } => {
                within("augment.target", target, -1.0, 1.0, "from -1 to 1")?;
                within(
                    "augment.kimg",
                    kimg,
                    f64::MIN_POSITIVE,
                    f64::MAX,
                    "positive and finite",
                )?;
            }
        }
        check(
            "resolution",
            resolution,
            resolution.is_power_of_two() && resolution >= 8,
            "a power of two from 8",
        )
    }
}

fn check(
    field: &'static str,
    value: impl fmt::Display,
    valid: bool,
    expected: &'static str,
) -> Result<()> {
    if valid {
        return Ok(());
    }
    Err(Error::Config {
        field,
        value: value.to_string(),
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_by_name() {
        let good = TrainSettings::new();
        assert!(good.validate(64).is_ok());
        for (bad, name) in [
            (good.clone().with_batch(0), "batch"),
            (good.clone().with_rounds(5), "rounds"),
            (good.clone().with_learning_rate(f64::NAN), "learning_rate"),
            (good.clone().with_betas([0.0, 1.0]), "betas"),
            (good.clone().with_style_mixing(1.5), "style_mixing"),
            (
                good.clone().with_augment(AugmentStrength::Fixed(-0.1)),
                "augment",
            ),
            (good.clone().with_r1_interval(Some(0)), "r1_interval"),
        ] {
            match bad.validate(64) {
                Err(Error::Config { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(good.validate(48).is_err());
    }

    #[test]
    fn parts_are_frozen_by_name_or_resolution() {
        let settings = TrainSettings::new().with_frozen(vec!["G.mapping".into(), "b16".into()]);
        assert!(settings.freezes("G.mapping.fc0.weight"));
        assert!(settings.freezes("D.b16.conv0.weight"));
        assert!(!settings.freezes("D.mapping.fc0.weight"));
        assert!(!settings.freezes("G.synthesis.b160.conv0.weight"));
    }
}
