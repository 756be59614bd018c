//! Whether settings, networks and pictures belong together.

use burn::tensor::{DType, Device};

use crate::config::{Architecture, DiscriminatorConfig};
use crate::error::{Error, Result};
use crate::train::augment::Augment;
use crate::train::preset::Plan;
use crate::train::settings::{AugmentStrength, TrainPrecision, TrainSettings};
use crate::train::source::ImageSource;

use super::phases::group_size;

/// The `count` layers nearest the image, as [`DiscriminatorConfig::freeze_layers`] counts them.
pub(super) fn image_side(config: &DiscriminatorConfig, count: usize) -> Vec<String> {
    let mut layers = Vec::new();
    let mut side = config.resolution;
    while side > 4 {
        if side == config.resolution || config.architecture == Architecture::Skip {
            layers.push(format!("b{side}.fromrgb"));
        }
        layers.push(format!("b{side}.conv0"));
        layers.push(format!("b{side}.conv1"));
        if config.architecture == Architecture::Resnet {
            layers.push(format!("b{side}.skip"));
        }
        side /= 2;
    }
    layers.truncate(count);
    layers
}

impl Plan {
    /// Checks everything that can be known before a training begins: ranges, whether networks,
    /// pictures and batch belong together, whether there is anything to do.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting out of range, [`Error::Argument`] for parts that do not fit.
    pub fn check(&self, source: &dyn ImageSource) -> Result<()> {
        self.generator.validate()?;
        self.discriminator.validate()?;
        something_to_do(&self.settings)?;
        check(&self.settings, &self.generator, &self.discriminator, source)?;
        pipeline(&self.settings, self.generator.channels).map(|_| ())
    }
}

/// A training that is over before it begins leaves no network.
pub(super) fn something_to_do(settings: &TrainSettings) -> Result<()> {
    let end = settings.kimg as u64 * 1000;
    if settings.start_images < end {
        return Ok(());
    }
    Err(Error::Config {
        field: "start_images",
        value: settings.start_images.to_string(),
        expected: "below the images to train for (kimg, which counts those seen before)",
    })
}

/// Half precision is a matter of the device.
pub(super) fn precision(precision: TrainPrecision, device: &Device) -> Result<()> {
    let dtype = match precision {
        TrainPrecision::Full => return Ok(()),
        TrainPrecision::Bf16 => DType::BF16,
        TrainPrecision::F16 => DType::F16,
    };
    if device.supports_dtype(dtype) {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!("training in {}", dtype.name()),
        detail: format!("{device:?} has no such numbers"),
    })
}

/// The pipeline of the augmentation, if there is any.
pub(super) fn pipeline(settings: &TrainSettings, channels: usize) -> Result<Option<Augment>> {
    if settings.augment == AugmentStrength::None {
        return Ok(None);
    }
    Augment::new(settings.pipeline.clone(), channels).map(Some)
}

/// Everything that can be known before the first iteration.
pub(super) fn check(
    settings: &TrainSettings,
    g: &crate::GeneratorConfig,
    d: &DiscriminatorConfig,
    source: &dyn ImageSource,
) -> Result<()> {
    settings.validate(g.resolution)?;
    let fail = |name, reason| Err(Error::Argument { name, reason });
    if (g.resolution, g.channels, g.c_dim) != (d.resolution, d.channels, d.c_dim) {
        return fail(
            "networks",
            format!(
                "the generator makes {} x {} px, {} channels, labels of {}; the discriminator \
                 takes {} x {} px, {} channels, labels of {}",
                g.resolution,
                g.resolution,
                g.channels,
                g.c_dim,
                d.resolution,
                d.resolution,
                d.channels,
                d.c_dim
            ),
        );
    }
    if source.is_empty() {
        return fail("source", "there are no images".to_owned());
    }
    let [c, h, w] = source.shape();
    if [c, h, w] != [g.channels, g.resolution, g.resolution] {
        return fail(
            "source",
            format!(
                "images of {w} x {h} px with {c} channels; the networks are for {} x {} px with \
                 {} channels",
                g.resolution, g.resolution, g.channels
            ),
        );
    }
    if g.c_dim > 0 && source.label_dim() != g.c_dim {
        return fail(
            "source",
            format!(
                "labels of {} numbers; the networks take {}",
                source.label_dim(),
                g.c_dim
            ),
        );
    }
    let round = settings.batch / settings.rounds;
    let group = group_size(d, round);
    if !round.is_multiple_of(group) {
        return Err(Error::Config {
            field: "batch",
            value: format!("{} in {} rounds", settings.batch, settings.rounds),
            expected: "in every round a multiple of the discriminator's group size",
        });
    }
    if settings.micro_batch.is_some_and(|m| m < group && m < round) {
        return Err(Error::Config {
            field: "micro_batch",
            value: format!("{:?} with groups of {group}", settings.micro_batch),
            expected: "at least the discriminator's group size",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_layers_are_counted_from_the_image() {
        let config = DiscriminatorConfig::new(16);
        let layers = [
            "b16.fromrgb",
            "b16.conv0",
            "b16.conv1",
            "b16.skip",
            "b8.conv0",
        ];
        assert_eq!(image_side(&config, 5), layers);
        let skip = config.with_architecture(Architecture::Skip);
        assert_eq!(image_side(&skip, 4)[3], "b8.fromrgb");
    }
}
