//! Whether settings, networks and pictures belong together.

use burn::tensor::{DType, Device};

use crate::checkpoint::Names;
use crate::config::{Architecture, DiscriminatorConfig, GeneratorConfig};
use crate::error::{Error, Result};
use crate::train::augment::Augment;
use crate::train::parameters;
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

/// Whether a parameter of the discriminator belongs to one of the layers.
pub(super) fn of_layers(name: &str, layers: &[String]) -> bool {
    let within = |layer: &String| {
        let rest = name.strip_prefix(layer.as_str());
        rest.is_some_and(|r| r.starts_with('.'))
    };
    layers.iter().any(within)
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
        frozen(&self.settings, &self.generator, &self.discriminator)?;
        check(&self.settings, &self.generator, &self.discriminator, source)?;
        pipeline(&self.settings, self.generator.channels).map(|_| ())
    }

    /// Checks what depends on a device: whether it has the numbers of [`TrainSettings::precision`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if it has not.
    pub fn check_device(&self, device: &Device) -> Result<()> {
        precision(self.settings.precision, device)
    }
}

/// What is to be frozen must be there, and something must be left to train in both networks.
pub(super) fn frozen(
    settings: &TrainSettings,
    g: &GeneratorConfig,
    d: &DiscriminatorConfig,
) -> Result<()> {
    let layers = image_side(d, usize::MAX);
    let freeze_d = settings.freeze_d.max(d.freeze_layers);
    if freeze_d > layers.len() {
        return Err(Error::Config {
            field: "freeze_d",
            value: format!("{freeze_d} of {} layers", layers.len()),
            expected: "at most the discriminator's layers above 4 px",
        });
    }
    // For the names alone: no value is initialised.
    let device = Device::default();
    let g = parameters::trainable(&g.init(&device)?, Names::generator(g.resolution));
    let d = parameters::trainable(&d.init(&device)?, Names::discriminator(d.resolution));
    let all = |net: &str, names: &[String]| -> Vec<String> {
        names.iter().map(|name| format!("{net}.{name}")).collect()
    };
    let (in_g, in_d) = (all("G", &g), all("D", &d));
    for part in &settings.frozen {
        let alone = TrainSettings::new().with_frozen(vec![part.clone()]);
        if !in_g.iter().chain(&in_d).any(|name| alone.freezes(name)) {
            return Err(Error::Config {
                field: "frozen",
                value: part.clone(),
                expected: "the name of a part with trained parameters, such as G.mapping, D.b64.conv0 or b64",
            });
        }
    }
    trained("G", !in_g.iter().all(|name| settings.freezes(name)))?;
    let near_image = &layers[..freeze_d];
    let frozen =
        |(name, full): (&String, &String)| settings.freezes(full) || of_layers(name, near_image);
    trained("D", !d.iter().zip(&in_d).all(frozen))
}

/// A network with no trained parameter has no gradients.
pub(super) fn trained(network: &str, any: bool) -> Result<()> {
    if any {
        return Ok(());
    }
    Err(Error::Config {
        field: "frozen",
        value: format!("all of {network}"),
        expected: "parts that leave something to train in both networks",
    })
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
    g: &GeneratorConfig,
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
