//! Starting values of both networks from a seed.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::checkpoint::{Checkpoint, Names, NetworkConfig};
use crate::config::{DiscriminatorConfig, GeneratorConfig};
use crate::discriminator::Discriminator;
use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::train::draws::{Key, Phase, Purpose};

/// A generator, its moving average and a discriminator, with their settings.
#[derive(Clone, Debug)]
pub struct Networks {
    /// Settings of the generator.
    pub generator_config: GeneratorConfig,
    /// Settings of the discriminator.
    pub discriminator_config: DiscriminatorConfig,
    /// The generator that is trained.
    pub generator: Generator,
    /// The discriminator.
    pub discriminator: Discriminator,
    /// The generator's moving average.
    pub average: Generator,
}

impl Networks {
    /// Networks with random weights; the seed decides them, whatever the device.
    ///
    /// Weights, noise images and the constant input are normal, divided by the learning-rate
    /// multiplier of their layer; biases and noise strengths have their fixed starting values.
    pub fn init(
        generator: &GeneratorConfig,
        discriminator: &DiscriminatorConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let g = randomise(
            generator.init(device)?,
            Names::generator(generator.resolution),
            seed,
            Purpose::GeneratorWeights,
            generator.mapping.lr_multiplier,
        );
        let d = randomise(
            discriminator.init(device)?,
            Names::discriminator(discriminator.resolution),
            seed,
            Purpose::DiscriminatorWeights,
            discriminator.mapping.lr_multiplier,
        );
        Ok(Self {
            generator_config: generator.clone(),
            discriminator_config: discriminator.clone(),
            average: g.clone(),
            generator: g,
            discriminator: d,
        })
    }

    /// The networks of a file: `D`, and `G` and `G_ema`, of which one may be missing.
    ///
    /// Layers that were not trained when the file was written are trained again: what is frozen is
    /// a matter of [`TrainSettings`](crate::train::TrainSettings), not of the network.
    pub fn open(file: &Checkpoint, device: &Device) -> Result<Self> {
        let has = |name: &str| file.networks().any(|(n, _)| n == name);
        let pick = |first: &'static str, second: &'static str| {
            if has(first) { first } else { second }
        };
        let (g, ema) = (pick("G", "G_ema"), pick("G_ema", "G"));
        for (name, _) in file.networks().filter(|(n, _)| *n == g || *n == ema) {
            if file.generator_config(name)? != file.generator_config(g)? {
                return Err(Error::Unsupported {
                    what: "a file whose G and G_ema differ in architecture".into(),
                    detail: file.to_string(),
                });
            }
        }
        let discriminator_config = file.discriminator_config("D")?.clone();
        let discriminator_config = discriminator_config.with_freeze_layers(0);
        Ok(Self {
            generator_config: file.generator_config(g)?.clone(),
            generator: file.generator(g, device)?,
            discriminator: file.load_discriminator("D", &discriminator_config, device)?,
            discriminator_config,
            average: file.generator(ema, device)?,
        })
    }

    /// Takes the generator of a file that has no discriminator, and a random discriminator for it.
    pub fn open_generator(
        file: &Checkpoint,
        discriminator: &DiscriminatorConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let name = file
            .default_generator()
            .ok_or_else(|| Error::NoSuchNetwork {
                wanted: "G_ema".into(),
                available: file.networks().map(|(n, _)| n.to_owned()).collect(),
            })?;
        let config = file.generator_config(name)?.clone();
        let generator = file.generator(name, device)?;
        let fresh = Self::init(&config, discriminator, seed, device)?;
        Ok(Self {
            average: generator.clone(),
            generator,
            ..fresh
        })
    }

    /// Whether a file holds a discriminator.
    pub fn has_discriminator(file: &Checkpoint) -> bool {
        file.networks()
            .any(|(n, c)| n == "D" && matches!(c, NetworkConfig::Discriminator(_)))
    }
}

/// Replaces what is drawn from the device's generator by draws from the seed.
fn randomise<M: Module>(module: M, names: Names, seed: u64, purpose: Purpose, lr: f64) -> M {
    struct Randomise {
        names: Names,
        key: Key,
        lr: f64,
    }
    impl ModuleMapper for Randomise {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.names.enter(name);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.names.leave();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.names.current();
            let drawn = ["weight", "const", "noise_const"];
            if !name.rsplit('.').next().is_some_and(|n| drawn.contains(&n)) {
                return param;
            }
            self.key.index += 1;
            let shape = param.lazy_shape();
            let fc = name.starts_with("mapping.fc");
            let scale = if fc { (1.0 / self.lr) as f32 } else { 1.0 };
            let mut values = self.key.normals(shape.num_elements());
            for value in &mut values {
                *value *= scale;
            }
            let device = param.lazy_device();
            let tensor = Tensor::from_data(TensorData::new(values, shape), &device);
            let id = param.id;
            param.transform_for_load(tensor, id)
        }
    }
    module.map(&mut Randomise {
        names,
        key: Key {
            seed,
            iteration: 0,
            phase: Phase::None,
            purpose,
            index: 0,
        },
        lr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::parameters;

    #[test]
    fn weights_follow_the_seed_and_have_their_variance() {
        let device = Device::default();
        let g = GeneratorConfig::new(16)
            .with_channel_base(512)
            .with_z_dim(64)
            .with_w_dim(64);
        let d = DiscriminatorConfig::new(16).with_channel_base(512);
        let all = |_: &str, _: bool| true;
        let values = |n: &Networks| -> Vec<f32> {
            parameters::values(&n.generator, Names::generator(16), &all)
                .into_data()
                .try_to_vec()
                .unwrap()
        };
        let make = |seed| Networks::init(&g, &d, seed, &device).unwrap();
        assert_eq!(values(&make(1)), values(&make(1)));
        assert_ne!(values(&make(1)), values(&make(2)));
        let networks = make(3);
        let fc: f32 = networks.generator.mapping.layers[1]
            .weight
            .val()
            .square()
            .mean()
            .into_scalar();
        assert!((fc.sqrt() - 100.0).abs() < 5.0, "{fc}");
        let conv = networks.discriminator.blocks[0].conv0.weight.val();
        let conv: f32 = conv.square().mean().into_scalar();
        assert!((conv - 1.0).abs() < 0.1, "{conv}");
        let affine = networks.generator.synthesis.blocks[1]
            .conv1
            .affine
            .bias
            .val();
        let affine: f32 = affine.mean().into_scalar();
        assert!((affine - 1.0).abs() < 1e-6);
    }
}
