//! What the command line says beyond the configuration.

use clap::ValueEnum;
use stylegan2_burn::train::{
    AugmentConfig, AugmentStrength, Plan, Preset, TrainPrecision, TrainSettings,
};

use super::Train;
use crate::failure::Failure;
use crate::value;

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Cfg {
    Auto,
    Stylegan2,
    Paper256,
    Paper512,
    Paper1024,
    Cifar,
}

impl From<Cfg> for Preset {
    fn from(cfg: Cfg) -> Self {
        match cfg {
            Cfg::Auto => Self::Auto,
            Cfg::Stylegan2 => Self::Stylegan2,
            Cfg::Paper256 => Self::Paper256,
            Cfg::Paper512 => Self::Paper512,
            Cfg::Paper1024 => Self::Paper1024,
            Cfg::Cifar => Self::Cifar,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum PrecisionArg {
    F32,
    F16,
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum AugmentArg {
    Ada,
    None,
    Fixed(f64),
}

pub(super) fn augment(text: &str) -> Result<AugmentArg, String> {
    match text {
        "ada" => Ok(AugmentArg::Ada),
        "none" => Ok(AugmentArg::None),
        other => match other.strip_prefix("fixed:") {
            Some(p) => value::unit(p).map(AugmentArg::Fixed),
            None => Err("ada, none or fixed:P with P from 0 to 1".to_owned()),
        },
    }
}

/// The name of a set of operations.
pub(super) fn pipeline(text: &str) -> Result<String, String> {
    if AugmentConfig::PRESETS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("one of {}", AugmentConfig::PRESETS.join(", ")))
}

/// What ada aims at, and in how many thousand pictures p goes from 0 to 1, unless the plan says.
const ADA: (f64, f64) = (0.6, 500.0);

impl Train {
    /// What other settings follow from.
    pub(super) fn size(&self, plan: &mut Plan) {
        for (own, flag) in [
            (&mut plan.generator.channel_base, self.channel_base),
            (&mut plan.discriminator.channel_base, self.channel_base),
            (&mut plan.generator.channel_max, self.channel_max),
            (&mut plan.discriminator.channel_max, self.channel_max),
        ] {
            *own = flag.unwrap_or(*own);
        }
        let s = &mut plan.settings;
        s.kimg = self.kimg.unwrap_or(s.kimg);
        s.start_images = self.start_kimg * 1000;
    }

    pub(super) fn adjust(&self, plan: &mut Plan) {
        let s = &mut plan.settings;
        s.batch = self.batch.unwrap_or(s.batch);
        s.rounds = self.rounds;
        s.mirror = self.mirror;
        s.augment_start = self.start_p;
        s.pipeline = AugmentConfig::preset(&self.augment_pipe).unwrap_or_default();
        s.freeze_d = self.freeze_d;
        s.frozen.clone_from(&self.freeze);
        s.seed = self.seed;
        s.precision = match self.precision {
            PrecisionArg::F32 => TrainPrecision::Full,
            PrecisionArg::F16 => TrainPrecision::F16,
            PrecisionArg::Bf16 => TrainPrecision::Bf16,
        };
        self.change(s);
    }

    /// What may change from one start of a run to the next.
    pub(super) fn change(&self, s: &mut TrainSettings) {
        s.kimg = self.kimg.unwrap_or(s.kimg);
        s.micro_batch = self.micro_batch.or(s.micro_batch);
        s.r1_gamma = self.gamma.unwrap_or(s.r1_gamma);
        s.path_weight = self.pl_weight.unwrap_or(s.path_weight);
        s.learning_rate = self.learning_rate.unwrap_or(s.learning_rate);
        s.ema_kimg = self.ema_kimg.unwrap_or(s.ema_kimg);
        s.augment = match (self.augment, s.augment) {
            (Some(AugmentArg::None), _) => AugmentStrength::None,
            (Some(AugmentArg::Fixed(p)), _) => AugmentStrength::Fixed(p),
            (None, before) | (Some(AugmentArg::Ada), before @ AugmentStrength::Adaptive { .. }) => {
                before
            }
            (Some(AugmentArg::Ada), _) => AugmentStrength::Adaptive {
                target: ADA.0,
                kimg: ADA.1,
            },
        };
        if let (Some(aim), AugmentStrength::Adaptive { target, .. }) =
            (self.ada_target, &mut s.augment)
        {
            *target = aim;
        }
    }

    /// A target without anything that aims at it.
    pub(super) fn check_changes(&self, settings: &TrainSettings) -> Result<(), Failure> {
        let adaptive = matches!(settings.augment, AugmentStrength::Adaptive { .. });
        if self.ada_target.is_some() && !adaptive {
            return Err(Failure::usage("--ada-target: the augmentation is not ada"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn augmentation_is_one_of_three() {
        assert_eq!(augment("ada"), Ok(AugmentArg::Ada));
        assert_eq!(augment("fixed:0.25"), Ok(AugmentArg::Fixed(0.25)));
        for bad in ["", "fixed", "fixed:2", "fixed:x", "noaug"] {
            assert!(augment(bad).is_err(), "{bad}");
        }
        assert!(pipeline("bgcf").is_ok() && pipeline("bgx").is_err());
    }
}
