//! Settings of the networks and the published presets.

use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::Activation;

/// How the blocks of a network are joined (Karras et al. 2020, figure 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// An RGB image is carried along and each block adds to it (or reads from it).
    Skip,
    /// Residual connections between blocks.
    Resnet,
    /// Plain chain of blocks.
    Orig,
}

/// Settings of the mapping network Z -> W.
#[derive(Config, Debug, PartialEq)]
pub struct MappingConfig {
    /// Number of fully connected layers.
    #[config(default = 8)]
    pub num_layers: usize,
    /// Width of the embedded label; `None` is the width of W.
    pub embed_features: Option<usize>,
    /// Width of the hidden layers; `None` is the width of W.
    pub layer_features: Option<usize>,
    /// Nonlinearity.
    #[config(default = "Activation::Lrelu")]
    pub activation: Activation,
    /// Learning-rate multiplier of the layers.
    #[config(default = 0.01)]
    pub lr_multiplier: f64,
    /// Decay of the running mean of W.
    #[config(default = 0.995)]
    pub w_avg_beta: f64,
}

/// Settings of a generator. The defaults are those of config F at 1024 px.
#[derive(Config, Debug, PartialEq)]
pub struct GeneratorConfig {
    /// Side of the square image: a power of two from 8.
    pub resolution: usize,
    /// Dimension of Z.
    #[config(default = 512)]
    pub z_dim: usize,
    /// Dimension of the label, 0 for none.
    #[config(default = 0)]
    pub c_dim: usize,
    /// Dimension of W.
    #[config(default = 512)]
    pub w_dim: usize,
    /// Image channels, 1 to 4.
    #[config(default = 3)]
    pub channels: usize,
    /// Mapping network.
    #[config(default = "MappingConfig::new()")]
    pub mapping: MappingConfig,
    /// Feature maps at resolution `r` are `min(channel_base / r, channel_max)`.
    #[config(default = 32768)]
    pub channel_base: usize,
    /// Upper bound on the number of feature maps.
    #[config(default = 512)]
    pub channel_max: usize,
    /// How blocks are joined.
    #[config(default = "Architecture::Skip")]
    pub architecture: Architecture,
    /// Bound on the absolute value of each layer's output.
    pub conv_clamp: Option<f64>,
    /// Taps of the separable resampling filter.
    #[config(default = "vec![1.0, 3.0, 3.0, 1.0]")]
    pub resample_filter: Vec<f32>,
    /// Whether layers have noise inputs.
    #[config(default = true)]
    pub use_noise: bool,
    /// Nonlinearity.
    #[config(default = "Activation::Lrelu")]
    pub activation: Activation,
    /// How many of the highest resolutions run in half precision when the caller asks for it.
    #[config(default = 0)]
    pub half_resolutions: usize,
}

/// Settings of a discriminator. The defaults are those of config F at 1024 px.
#[derive(Config, Debug, PartialEq)]
pub struct DiscriminatorConfig {
    /// Side of the square image: a power of two from 8.
    pub resolution: usize,
    /// Dimension of the label, 0 for none.
    #[config(default = 0)]
    pub c_dim: usize,
    /// Image channels, 1 to 4.
    #[config(default = 3)]
    pub channels: usize,
    /// How blocks are joined.
    #[config(default = "Architecture::Resnet")]
    pub architecture: Architecture,
    /// Feature maps at resolution `r` are `min(channel_base / r, channel_max)`.
    #[config(default = 32768)]
    pub channel_base: usize,
    /// Upper bound on the number of feature maps.
    #[config(default = 512)]
    pub channel_max: usize,
    /// Bound on the absolute value of each layer's output.
    pub conv_clamp: Option<f64>,
    /// Dimension of the mapped label; `None` is the number of maps at 4 px.
    pub cmap_dim: Option<usize>,
    /// Mapping network of the label.
    #[config(default = "MappingConfig::new()")]
    pub mapping: MappingConfig,
    /// Group size of the minibatch standard deviation; `None` is the whole batch.
    #[config(default = "Some(4)")]
    pub mbstd_group: Option<usize>,
    /// Maps the minibatch standard deviation adds; 0 leaves it out.
    #[config(default = 1)]
    pub mbstd_features: usize,
    /// Taps of the separable resampling filter.
    #[config(default = "vec![1.0, 3.0, 3.0, 1.0]")]
    pub resample_filter: Vec<f32>,
    /// Nonlinearity.
    #[config(default = "Activation::Lrelu")]
    pub activation: Activation,
    /// How many layers, counted from the image side, are not trained (Freeze-D).
    #[config(default = 0)]
    pub freeze_layers: usize,
    /// How many of the highest resolutions run in half precision when the caller asks for it.
    #[config(default = 0)]
    pub half_resolutions: usize,
}

const AUTO_CLAMP: Option<f64> = Some(256.0);

impl GeneratorConfig {
    /// The 256 px network of the papers: half the feature maps of config F, 8 mapping layers.
    pub fn paper256() -> Self {
        Self::new(256)
            .with_channel_base(16384)
            .with_conv_clamp(AUTO_CLAMP)
            .with_half_resolutions(4)
    }

    /// The 512 px network of the papers.
    pub fn paper512() -> Self {
        Self::new(512)
            .with_conv_clamp(AUTO_CLAMP)
            .with_half_resolutions(4)
    }

    /// The 1024 px network of the papers (config F).
    pub fn paper1024() -> Self {
        Self::new(1024)
            .with_conv_clamp(AUTO_CLAMP)
            .with_half_resolutions(4)
    }

    /// The automatic settings of the 2020 training procedure for `resolution`.
    ///
    /// The batch size decides only the discriminator's groups; it is an argument here so that
    /// both networks are made alike.
    pub fn auto(resolution: usize, _batch: usize) -> Self {
        let base = if resolution >= 512 { 32768 } else { 16384 };
        Self::new(resolution)
            .with_channel_base(base)
            .with_mapping(MappingConfig::new().with_num_layers(2))
            .with_conv_clamp(AUTO_CLAMP)
            .with_half_resolutions(4)
    }

    /// Number of w vectors per image: `2 log2(resolution) - 2`.
    pub fn num_ws(&self) -> usize {
        2 * log2(self.resolution) - 2
    }

    /// Feature maps at `resolution`.
    pub fn channels_at(&self, resolution: usize) -> usize {
        (self.channel_base / resolution).min(self.channel_max)
    }

    /// Checks all ranges.
    pub fn validate(&self) -> Result<()> {
        check_image(self.resolution, self.channels)?;
        check_channels(self.resolution, self.channel_base, self.channel_max)?;
        within("z_dim", self.z_dim, 1, MAX_WIDTH, WIDTH)?;
        within("w_dim", self.w_dim, 1, MAX_WIDTH, WIDTH)?;
        within("c_dim", self.c_dim, 0, MAX_WIDTH, WIDTH)?;
        check_filter(&self.resample_filter)?;
        check_clamp(self.conv_clamp)?;
        self.mapping.validate()
    }
}

impl DiscriminatorConfig {
    /// The 256 px network of the papers.
    pub fn paper256() -> Self {
        Self::new(256)
            .with_channel_base(16384)
            .with_conv_clamp(AUTO_CLAMP)
            .with_mbstd_group(Some(8))
            .with_half_resolutions(4)
    }

    /// The 512 px network of the papers.
    pub fn paper512() -> Self {
        Self::new(512)
            .with_conv_clamp(AUTO_CLAMP)
            .with_mbstd_group(Some(8))
            .with_half_resolutions(4)
    }

    /// The 1024 px network of the papers (config F).
    pub fn paper1024() -> Self {
        Self::new(1024)
            .with_conv_clamp(AUTO_CLAMP)
            .with_half_resolutions(4)
    }

    /// The automatic settings of the 2020 training procedure for `resolution` and a batch size
    /// per device.
    pub fn auto(resolution: usize, batch: usize) -> Self {
        let base = if resolution >= 512 { 32768 } else { 16384 };
        Self::new(resolution)
            .with_channel_base(base)
            .with_conv_clamp(AUTO_CLAMP)
            .with_mbstd_group(Some(batch.clamp(1, 4)))
            .with_half_resolutions(4)
    }

    /// Feature maps at `resolution`.
    pub fn channels_at(&self, resolution: usize) -> usize {
        (self.channel_base / resolution).min(self.channel_max)
    }

    /// Dimension of the mapped label, 0 for an unconditional network.
    pub fn mapped_label(&self) -> usize {
        if self.c_dim == 0 {
            0
        } else {
            self.cmap_dim.unwrap_or_else(|| self.channels_at(4))
        }
    }

    /// Checks all ranges.
    pub fn validate(&self) -> Result<()> {
        check_image(self.resolution, self.channels)?;
        check_channels(self.resolution, self.channel_base, self.channel_max)?;
        within("c_dim", self.c_dim, 0, MAX_WIDTH, WIDTH)?;
        within("cmap_dim", self.cmap_dim.unwrap_or(1), 1, MAX_WIDTH, WIDTH)?;
        within(
            "mbstd_group",
            self.mbstd_group.unwrap_or(1),
            1,
            MAX_WIDTH,
            WIDTH,
        )?;
        let maps = self.channels_at(4);
        if self.mbstd_features > maps
            || (self.mbstd_features > 0 && !maps.is_multiple_of(self.mbstd_features))
        {
            return Err(Error::Config {
                field: "mbstd_features",
                value: self.mbstd_features.to_string(),
                expected: "a divisor of the number of maps at 4 px",
            });
        }
        check_filter(&self.resample_filter)?;
        check_clamp(self.conv_clamp)?;
        self.mapping.validate()
    }
}

impl MappingConfig {
    /// Checks all ranges.
    pub fn validate(&self) -> Result<()> {
        within("mapping.num_layers", self.num_layers, 1, 64, "from 1 to 64")?;
        within(
            "mapping.embed_features",
            self.embed_features.unwrap_or(1),
            1,
            MAX_WIDTH,
            WIDTH,
        )?;
        within(
            "mapping.layer_features",
            self.layer_features.unwrap_or(1),
            1,
            MAX_WIDTH,
            WIDTH,
        )?;
        if !(self.lr_multiplier.is_finite() && self.lr_multiplier > 0.0) {
            return Err(Error::Config {
                field: "mapping.lr_multiplier",
                value: self.lr_multiplier.to_string(),
                expected: "positive and finite",
            });
        }
        if !(0.0..=1.0).contains(&self.w_avg_beta) {
            return Err(Error::Config {
                field: "mapping.w_avg_beta",
                value: self.w_avg_beta.to_string(),
                expected: "from 0 to 1",
            });
        }
        Ok(())
    }
}

const MAX_WIDTH: usize = 1 << 16;
const WIDTH: &str = "from 1 (0 for no label) to 65536";

pub(crate) fn log2(resolution: usize) -> usize {
    resolution.ilog2() as usize
}

fn within(
    field: &'static str,
    value: usize,
    low: usize,
    high: usize,
    expected: &'static str,
) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::Config {
        field,
        value: value.to_string(),
        expected,
    })
}

fn check_image(resolution: usize, channels: usize) -> Result<()> {
    if !resolution.is_power_of_two() || !(8..=16384).contains(&resolution) {
        return Err(Error::Config {
            field: "resolution",
            value: resolution.to_string(),
            expected: "a power of two from 8 to 16384",
        });
    }
    within("channels", channels, 1, 4, "from 1 to 4")
}

fn check_channels(resolution: usize, base: usize, max: usize) -> Result<()> {
    within("channel_max", max, 1, MAX_WIDTH, "from 1 to 65536")?;
    if base / resolution == 0 || base > (1 << 30) {
        return Err(Error::Config {
            field: "channel_base",
            value: base.to_string(),
            expected: "at least the resolution and at most 2^30",
        });
    }
    Ok(())
}

fn check_filter(taps: &[f32]) -> Result<()> {
    let total: f32 = taps.iter().sum();
    if taps.is_empty() || taps.len() > 32 || !total.is_finite() || total.abs() < 1e-6 {
        return Err(Error::Config {
            field: "resample_filter",
            value: format!("{taps:?}"),
            expected: "1 to 32 finite taps with a sum other than zero",
        });
    }
    Ok(())
}

fn check_clamp(clamp: Option<f64>) -> Result<()> {
    match clamp {
        Some(c) if !(c.is_finite() && c > 0.0) => Err(Error::Config {
            field: "conv_clamp",
            value: c.to_string(),
            expected: "positive and finite",
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_published_sizes() {
        assert_eq!(GeneratorConfig::paper1024().num_ws(), 18);
        assert_eq!(GeneratorConfig::paper256().num_ws(), 14);
        assert_eq!(GeneratorConfig::paper256().channels_at(256), 64);
        assert_eq!(GeneratorConfig::paper1024().channels_at(1024), 32);
        assert_eq!(GeneratorConfig::auto(128, 32).mapping.num_layers, 2);
        assert_eq!(DiscriminatorConfig::auto(128, 2).mbstd_group, Some(2));
    }

    #[test]
    fn ranges_are_checked() {
        assert!(GeneratorConfig::new(8).validate().is_ok());
        for bad in [0, 4, 48, 32768] {
            assert!(matches!(
                GeneratorConfig::new(bad).validate(),
                Err(Error::Config {
                    field: "resolution",
                    ..
                })
            ));
        }
        assert!(
            GeneratorConfig::new(64)
                .with_channels(5)
                .validate()
                .is_err()
        );
        assert!(
            GeneratorConfig::new(1024)
                .with_channel_base(512)
                .validate()
                .is_err()
        );
        assert!(
            DiscriminatorConfig::new(64)
                .with_mbstd_features(3)
                .validate()
                .is_err()
        );
        assert!(
            DiscriminatorConfig::new(64)
                .with_conv_clamp(Some(f64::NAN))
                .validate()
                .is_err()
        );
    }

    #[test]
    fn json_round_trip() {
        let config = GeneratorConfig::paper256().with_architecture(Architecture::Resnet);
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains("\"architecture\":\"resnet\""));
        assert_eq!(
            serde_json::from_str::<GeneratorConfig>(&text).unwrap(),
            config
        );
    }
}
