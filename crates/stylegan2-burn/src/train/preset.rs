//! The published presets: networks and settings that belong together.

use serde::{Deserialize, Serialize};

use crate::config::{Architecture, DiscriminatorConfig, GeneratorConfig, MappingConfig};
use crate::train::settings::{AugmentStrength, TrainSettings};

/// The published settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Settings from the resolution (ADA, appendix C).
    #[default]
    Auto,
    /// Config F of StyleGAN2.
    Stylegan2,
    /// The ADA paper at 256 px.
    Paper256,
    /// The ADA paper at 512 px.
    Paper512,
    /// The ADA paper at 1024 px.
    Paper1024,
    /// The ADA paper on CIFAR-10.
    Cifar,
}

/// Networks and settings that belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The generator.
    pub generator: GeneratorConfig,
    /// The discriminator.
    pub discriminator: DiscriminatorConfig,
    /// The training.
    pub settings: TrainSettings,
}

struct Row {
    batch: usize,
    group: usize,
    channel_base: usize,
    learning_rate: f64,
    gamma: f64,
    ema_kimg: f64,
    ramp_up: Option<f64>,
    mapping_layers: usize,
}

impl Preset {
    /// The networks and settings for images of `[channels, resolution, resolution]` with labels of
    /// `label_dim` (0 for none), on one device, with adaptive augmentation.
    pub fn plan(self, resolution: usize, channels: usize, label_dim: usize) -> Plan {
        let row = self.row(resolution);
        let mapping = MappingConfig::new().with_num_layers(row.mapping_layers);
        let clamp = Some(256.0);
        let generator = GeneratorConfig::new(resolution)
            .with_channels(channels)
            .with_c_dim(label_dim)
            .with_channel_base(row.channel_base)
            .with_mapping(mapping)
            .with_conv_clamp(clamp)
            .with_half_resolutions(4);
        let cifar = self == Self::Cifar;
        let discriminator = DiscriminatorConfig::new(resolution)
            .with_channels(channels)
            .with_c_dim(label_dim)
            .with_channel_base(row.channel_base)
            .with_architecture(if cifar {
                Architecture::Orig
            } else {
                Architecture::Resnet
            })
            .with_conv_clamp(clamp)
            .with_mbstd_group(Some(row.group))
            .with_half_resolutions(4);
        let mut settings = TrainSettings::new()
            .with_batch(row.batch)
            .with_learning_rate(row.learning_rate)
            .with_r1_gamma(row.gamma)
            .with_ema_kimg(row.ema_kimg)
            .with_ema_ramp_up(row.ramp_up)
            .with_augment(AugmentStrength::Adaptive {
                target: 0.6,
                kimg: 500.0,
            });
        if cifar {
            settings = settings
                .with_path_weight(0.0)
                .with_path_interval(None)
                .with_style_mixing(0.0);
        }
        Plan {
            generator,
            discriminator,
            settings,
        }
    }

    fn row(self, resolution: usize) -> Row {
        let paper = |batch, group, channel_base, learning_rate, gamma, ema_kimg| Row {
            batch,
            group,
            channel_base,
            learning_rate,
            gamma,
            ema_kimg,
            ramp_up: None,
            mapping_layers: 8,
        };
        match self {
            Self::Auto => {
                let batch = (4096 / resolution.max(1)).clamp(1, 32);
                Row {
                    batch,
                    group: batch.min(4),
                    channel_base: if resolution >= 512 { 32768 } else { 16384 },
                    learning_rate: if resolution >= 1024 { 0.002 } else { 0.0025 },
                    gamma: 0.0002 * (resolution * resolution) as f64 / batch as f64,
                    ema_kimg: batch as f64 * 10.0 / 32.0,
                    ramp_up: Some(0.05),
                    mapping_layers: 2,
                }
            }
            Self::Stylegan2 => paper(32, 4, 32768, 0.002, 10.0, 10.0),
            Self::Paper256 => paper(64, 8, 16384, 0.0025, 1.0, 20.0),
            Self::Paper512 => paper(64, 8, 32768, 0.0025, 0.5, 20.0),
            Self::Paper1024 => paper(32, 4, 32768, 0.002, 2.0, 10.0),
            Self::Cifar => Row {
                ramp_up: Some(0.05),
                mapping_layers: 2,
                ..paper(64, 32, 32768, 0.0025, 0.01, 500.0)
            },
        }
    }
}

impl Plan {
    /// The same plan for a training that starts from trained networks: a faster augmentation and
    /// a moving average without ramp-up, whose half-life is at most a twentieth of the images to be
    /// shown: set [`TrainSettings::kimg`] before.
    ///
    /// With the usual half-life the average of a short training still is the old network. A
    /// twentieth is the share that the ramp-up of [`Preset::Auto`] comes to at the end of a training from
    /// random weights; of the old network a part of $2^{-20}$ remains.
    #[must_use]
    pub fn fine_tuning(mut self) -> Self {
        let s = &mut self.settings;
        let kimg = s.kimg as f64 - s.start_images as f64 / 1000.0;
        s.ema_ramp_up = None;
        s.ema_kimg = s.ema_kimg.min(kimg.max(0.0) / 20.0);
        if let AugmentStrength::Adaptive { kimg, .. } = &mut self.settings.augment {
            *kimg = 100.0;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_published_table() {
        let auto = Preset::Auto.plan(256, 3, 0);
        assert_eq!(auto.settings.batch, 16);
        assert!((auto.settings.r1_gamma - 0.0002 * 65536.0 / 16.0).abs() < 1e-12);
        assert!((auto.settings.ema_kimg - 5.0).abs() < 1e-12);
        assert_eq!(auto.generator.mapping.num_layers, 2);
        assert_eq!(auto.generator.channel_base, 16384);
        assert_eq!(Preset::Auto.plan(64, 1, 3).settings.batch, 32);
        assert_eq!(Preset::Auto.plan(64, 1, 3).discriminator.c_dim, 3);
        let paper = Preset::Paper256.plan(256, 3, 0);
        assert_eq!(
            (paper.settings.batch, paper.discriminator.mbstd_group),
            (64, Some(8))
        );
        assert_eq!(paper.settings.ema_ramp_up, None);
        let cifar = Preset::Cifar.plan(32, 3, 10);
        assert_eq!(cifar.settings.path_interval, None);
        assert_eq!(cifar.discriminator.architecture, Architecture::Orig);
        let mut short = Preset::Auto.plan(64, 3, 0);
        short.settings.kimg = 3;
        let half_life = short.fine_tuning().settings.ema_kimg;
        assert!((half_life - 0.15).abs() < 1e-12, "{half_life}");
        let long = auto.clone().fine_tuning().settings.ema_kimg;
        assert!((long - auto.settings.ema_kimg).abs() < 1e-12, "{long}");
        let tuned = cifar.fine_tuning().settings;
        assert_eq!(tuned.ema_ramp_up, None);
        assert_eq!(
            tuned.augment,
            AugmentStrength::Adaptive {
                target: 0.6,
                kimg: 100.0
            }
        );
    }

    #[test]
    fn settings_survive_the_round_trip() {
        let plan = Preset::Auto.plan(64, 3, 0);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
