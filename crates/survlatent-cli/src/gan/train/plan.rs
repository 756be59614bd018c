//! What the command line says beyond the configuration.

use std::path::Path;

use clap::ValueEnum;
use stylegan2_burn::Checkpoint;
use stylegan2_burn::train::{
    AugmentConfig, AugmentStrength, Networks, Plan, Preset, TrainPrecision, TrainSettings,
};

use super::Train;
use crate::failure::Failure;
use crate::{report, value};

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

#[derive(Clone, Copy, PartialEq, ValueEnum)]
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

/// What ada aims at unless the plan says.
const ADA_TARGET: f64 = 0.6;

/// In how many thousand pictures p goes from 0 to 1 with ada, as the presets and a fine-tuning have it.
fn ada_kimg(fine_tuned: bool) -> f64 {
    if fine_tuned { 100.0 } else { 500.0 }
}

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
        s.augment_start = self.start_p.unwrap_or(0.0);
        let pipeline = self.augment_pipe.as_deref().unwrap_or("bgc");
        s.pipeline = AugmentConfig::preset(pipeline).unwrap_or_default();
        s.freeze_d = self.freeze_d;
        s.frozen.clone_from(&self.freeze);
        s.seed = self.seed;
        s.precision = match self.precision {
            PrecisionArg::F32 => TrainPrecision::Full,
            PrecisionArg::F16 => TrainPrecision::F16,
            PrecisionArg::Bf16 => TrainPrecision::Bf16,
        };
        self.change(s, self.from.is_some());
    }

    /// What may change from one start of a run to the next.
    pub(super) fn change(&self, s: &mut TrainSettings, fine_tuned: bool) {
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
                target: ADA_TARGET,
                kimg: ada_kimg(fine_tuned),
            },
        };
        if let (Some(aim), AugmentStrength::Adaptive { target, .. }) =
            (self.ada_target, &mut s.augment)
        {
            *target = aim;
        }
    }

    /// A target without anything that aims at it, and what else the augmentation does not use.
    pub(super) fn check_changes(&self, settings: &TrainSettings) -> Result<(), Failure> {
        let adaptive = matches!(settings.augment, AugmentStrength::Adaptive { .. });
        if self.ada_target.is_some() && !adaptive {
            return Err(Failure::usage("--ada-target: the augmentation is not ada"));
        }
        if self.start_p.is_some() && matches!(settings.augment, AugmentStrength::Fixed(_)) {
            return Err(Failure::usage(
                "--start-p: the augmentation is fixed, and ada after it starts from its probability",
            ));
        }
        if settings.augment == AugmentStrength::None {
            for (given, flag) in [
                (self.start_p.is_some(), "--start-p"),
                (self.augment_pipe.is_some(), "--augment-pipe"),
            ] {
                if given {
                    report::note(&format!(
                        "{flag}: nothing is augmented; the run keeps it for a later --augment"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What the command line says of networks, where those of a file have it otherwise.
    pub(super) fn check_networks(
        &self,
        path: &Path,
        file: &Checkpoint,
        networks: &Networks,
    ) -> Result<(), Failure> {
        let path = path.display();
        let (g, d) = (&networks.generator_config, &networks.discriminator_config);
        if Networks::has_discriminator(file) {
            let sizes = [
                (self.channel_base, "--channel-base"),
                (self.channel_max, "--channel-max"),
            ];
            if let Some((_, flag)) = sizes.iter().find(|(size, _)| size.is_some()) {
                return Err(Failure::usage(format!(
                    "{flag}: the networks are those of {path}, with their own feature maps"
                )));
            }
        }
        if self.labels && g.c_dim == 0 {
            return Err(Failure::usage(format!(
                "--labels: the networks of {path} take none"
            )));
        }
        if self.precision != PrecisionArg::F32 && g.half_resolutions + d.half_resolutions == 0 {
            return Err(Failure::usage(format!(
                "--precision: the networks of {path} have no resolution in half precision"
            )));
        }
        Ok(())
    }

    /// The half-life of a fine-tuning follows from the pictures of its beginning.
    pub(super) fn compare_half_life(&self, before: &TrainSettings) {
        let Some(kimg) = self.kimg.filter(|kimg| *kimg > before.kimg) else {
            return;
        };
        let twentieth = |kimg: usize| (kimg as f64 - before.start_images as f64 / 1000.0) / 20.0;
        let of_beginning = (before.ema_kimg / twentieth(before.kimg) - 1.0).abs() < 1e-6;
        if self.ema_kimg.is_none() && before.ema_ramp_up.is_none() && of_beginning {
            report::note(&format!(
                "the moving average keeps its half-life of {} thousand pictures, a twentieth of --kimg {}; \
                 of {kimg} it is --ema-kimg {}",
                before.ema_kimg,
                before.kimg,
                twentieth(kimg)
            ));
        }
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

    #[test]
    fn a_later_ada_is_as_fast_as_that_of_the_plan() {
        let plan = Preset::Auto.plan(64, 3, 0);
        for (plan, fine_tuned) in [(plan.clone(), false), (plan.fine_tuning(), true)] {
            let ada = AugmentStrength::Adaptive {
                target: ADA_TARGET,
                kimg: ada_kimg(fine_tuned),
            };
            assert_eq!(plan.settings.augment, ada);
        }
    }
}
