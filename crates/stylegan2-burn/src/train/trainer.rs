//! The trainer: one iteration after the other.

mod check;
mod devices;
mod memory;
mod phases;
mod report;
mod side;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;

use crate::checkpoint::Names;
use crate::config::DiscriminatorConfig;
use crate::discriminator::Discriminator;
use crate::error::Result;
use crate::generator::Generator;
use crate::layers::Precision;
use crate::train::ada::AdaController;
use crate::train::ema::{self, ema_weight};
use crate::train::init::Networks;
use crate::train::inputs::{Draw, RoundInputs};
use crate::train::map::{Augmentation, Identity};
use crate::train::parameters;
use crate::train::prefetch::Reader;
use crate::train::preset::Plan;
use crate::train::settings::{AugmentStrength, TrainSettings};
use crate::train::source::ImageSource;
use check::{check, image_side, of_layers};
use devices::Place;
pub use memory::{PhaseMemory, TrainPhase};
use phases::Tally;
pub use report::{Progress, StepReport};
pub(crate) use side::Side;

/// Trains a generator and a discriminator.
///
/// ```
/// use std::sync::Arc;
/// use burn::tensor::Device;
/// use stylegan2_burn::train::{ImageSource, Networks, TrainSettings, Trainer};
/// use stylegan2_burn::{DiscriminatorConfig, GeneratorConfig, Result};
///
/// struct Gray;
/// impl ImageSource for Gray {
///     fn len(&self) -> usize { 8 }
///     fn shape(&self) -> [usize; 3] { [1, 8, 8] }
///     fn label_dim(&self) -> usize { 0 }
///     fn image(&self, index: usize) -> Result<Vec<u8>> { Ok(vec![index as u8 * 30; 64]) }
///     fn label(&self, _: usize) -> Option<Vec<f32>> { None }
/// }
///
/// let g = GeneratorConfig::new(8).with_channels(1).with_channel_base(64).with_w_dim(8);
/// let d = DiscriminatorConfig::new(8).with_channels(1).with_channel_base(64);
/// let networks = Networks::init(&g, &d, 1, &Device::flex())?;
/// let settings = TrainSettings::new().with_batch(4);
/// let mut trainer = Trainer::new(settings, networks, Arc::new(Gray))?;
/// let report = trainer.step()?;
/// assert_eq!(report.iteration, 1);
/// assert!(report.generator_loss.is_finite());
/// # Ok::<(), stylegan2_burn::Error>(())
/// ```
pub struct Trainer {
    pub(crate) settings: TrainSettings,
    pub(crate) networks: NetworkSettings,
    pub(crate) g: Side<Generator>,
    pub(crate) d: Side<Discriminator>,
    pub(crate) average: Generator,
    pub(crate) progress: Progress,
    source: Arc<dyn ImageSource>,
    augmentation: Arc<dyn Augmentation>,
    noise_shapes: Vec<(String, usize)>,
    reader: Reader,
    device: Device,
    places: Vec<Place>,
}

/// The settings of both networks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NetworkSettings {
    pub generator: crate::GeneratorConfig,
    pub discriminator: DiscriminatorConfig,
}

impl fmt::Debug for Trainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer")
            .field("settings", &self.settings)
            .field("networks", &self.networks)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl Trainer {
    /// Starts a training from networks, random or trained.
    ///
    /// # Errors
    ///
    /// Those of [`Plan::check`](crate::train::Plan::check).
    pub fn new(
        settings: TrainSettings,
        networks: Networks,
        source: Arc<dyn ImageSource>,
    ) -> Result<Self> {
        check::something_to_do(&settings)?;
        check::frozen(
            &settings,
            &networks.generator_config,
            &networks.discriminator_config,
        )?;
        let progress = Progress {
            images: settings.start_images,
            ada: settings.adaptive().map(AdaController::new).transpose()?,
            ..Progress::default()
        };
        Self::assemble(settings, networks, source, progress)
    }

    pub(crate) fn assemble(
        mut settings: TrainSettings,
        networks: Networks,
        source: Arc<dyn ImageSource>,
        progress: Progress,
    ) -> Result<Self> {
        let Networks {
            generator_config,
            mut discriminator_config,
            generator,
            discriminator,
            average,
        } = networks;
        check(
            &settings,
            &generator_config,
            &discriminator_config,
            &*source,
        )?;
        let augmentation: Arc<dyn Augmentation> =
            match check::pipeline(&settings, generator_config.channels)? {
                None => Arc::new(Identity),
                Some(pipeline) => Arc::new(Arc::new(pipeline)),
            };
        // What is frozen belongs to this training and not to the networks that it writes.
        settings.freeze_d = settings.freeze_d.max(discriminator_config.freeze_layers);
        discriminator_config.freeze_layers = 0;
        let resolution = generator_config.resolution;
        let (g_names, d_names) = (
            Names::generator(resolution),
            Names::discriminator(resolution),
        );
        let generator = parameters::freeze(generator, g_names.clone(), &|name| {
            settings.freezes(&format!("G.{name}"))
        });
        let near_image = image_side(&discriminator_config, settings.freeze_d);
        let discriminator = parameters::freeze(discriminator, d_names.clone(), &|name| {
            settings.freezes(&format!("D.{name}")) || of_layers(name, &near_image)
        });
        let device = generator.mapping.layers[0].weight.val().device().inner();
        check::precision(settings.precision, &device)?;
        let noise_shapes = generator.synthesis.noise_shapes();
        let reader = Reader::new(Arc::clone(&source), settings.seed, settings.mirror);
        let g = Side::new(generator.valid(), g_names, &settings.generator_optimizer());
        let adam = settings.discriminator_optimizer();
        let d = Side::new(discriminator.valid(), d_names, &adam);
        check::trained("G", !g.slots.is_empty())?;
        check::trained("D", !d.slots.is_empty())?;
        Ok(Self {
            g,
            d,
            average: average.valid(),
            networks: NetworkSettings {
                generator: generator_config,
                discriminator: discriminator_config,
            },
            settings,
            progress,
            source,
            augmentation,
            noise_shapes,
            reader,
            device,
            places: vec![Place::default()],
        })
    }

    /// The same trainer with an augmentation of one's own instead of [`TrainSettings::pipeline`].
    /// A state does not hold it: give it again after [`Trainer::resume`].
    #[must_use]
    pub fn with_augmentation(mut self, augmentation: Arc<dyn Augmentation>) -> Self {
        self.augmentation = augmentation;
        self
    }

    /// The settings.
    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// Counters and running means.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The real images.
    pub fn source(&self) -> &dyn ImageSource {
        &*self.source
    }

    /// The device the networks are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Networks and settings as they are now.
    pub fn networks(&self) -> Networks {
        Networks {
            generator_config: self.networks.generator.clone(),
            discriminator_config: self.networks.discriminator.clone(),
            generator: self.g.module.clone(),
            discriminator: self.d.module.clone(),
            average: self.average.clone(),
        }
    }

    /// Networks and settings as one plan.
    pub fn plan(&self) -> Plan {
        Plan {
            generator: self.networks.generator.clone(),
            discriminator: self.networks.discriminator.clone(),
            settings: self.settings.clone(),
        }
    }

    /// Whether all images of [`TrainSettings::kimg`] have been shown.
    pub fn is_finished(&self) -> bool {
        self.progress.images >= self.settings.kimg as u64 * 1000
    }

    /// One iteration: the losses that are due, and the moving average.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`](crate::Error::Diverged) if a loss is not finite, errors of the image source. The trainer is
    /// then in the middle of an iteration: go on from the last state saved.
    pub fn step(&mut self) -> Result<StepReport> {
        self.step_with_phases(&mut |_| None)
    }

    /// As [`Trainer::step`]; `phase` is called at the end of every phase and may say how many bytes of
    /// memory are in use, which [`StepReport::memory`] then holds.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`].
    pub fn step_with_phases(
        &mut self,
        phase: &mut dyn FnMut(TrainPhase) -> Option<u64>,
    ) -> Result<StepReport> {
        let started = Instant::now();
        let draw = Draw {
            settings: &self.settings,
            generator: &self.networks.generator,
            noise_shapes: &self.noise_shapes,
            source: &self.source,
            augmentation: &*self.augmentation,
            device: &self.device,
        };
        let p = self.p();
        let Progress {
            iteration, images, ..
        } = self.progress;
        let inputs = draw.iteration(iteration, images, p, &mut self.reader)?;
        let mut report = self.phases(&inputs, phase)?;
        report.seconds = started.elapsed().as_secs_f64();
        Ok(report)
    }

    /// One iteration on given inputs: one [`RoundInputs`] per round. Penalties are added where
    /// the inputs hold what they need.
    pub fn step_with(&mut self, rounds: &[RoundInputs]) -> Result<StepReport> {
        self.phases(rounds, &mut |_| None)
    }

    fn phases(
        &mut self,
        rounds: &[RoundInputs],
        phase: &mut dyn FnMut(TrainPhase) -> Option<u64>,
    ) -> Result<StepReport> {
        let started = Instant::now();
        let mut memory = PhaseMemory::default();
        let generator = self.generator_main(rounds)?;
        memory.generator = phase(TrainPhase::Generator);
        let path_penalties = self.path_length(rounds)?;
        if path_penalties.is_some() {
            memory.path_length = phase(TrainPhase::PathLength);
        }
        let [fake, real] = self.discriminator_main(rounds)?;
        memory.discriminator = phase(TrainPhase::Discriminator);
        let r1 = self.r1(rounds)?;
        if r1.is_some() {
            memory.r1 = phase(TrainPhase::R1);
        }
        self.conclude(&real, r1.as_ref());
        let p = self.p();
        let Progress {
            iteration,
            images,
            path_mean,
            ..
        } = self.progress;
        Ok(StepReport {
            iteration,
            kimg: images as f64 / 1000.0,
            generator_loss: mean(&generator.losses),
            discriminator_loss: mean(&fake.losses) + mean(&real.losses),
            path_penalty: path_penalties.map(|p| mean(&p)),
            r1_penalty: r1.map(|r1| mean(&r1.losses)),
            real_score: mean(&real.logits),
            fake_score: mean(&fake.logits),
            real_sign: mean(&signs(&real.logits)),
            fake_sign: mean(&signs(&fake.logits)),
            path_mean,
            p,
            batch: real.losses.len(),
            memory,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Moving average and counters after the phases.
    pub(super) fn conclude(&mut self, real: &Tally, r1: Option<&Tally>) {
        let batch = real.losses.len();
        let (images, settings) = (self.progress.images, &self.settings);
        let weight = ema_weight(
            batch,
            settings.ema_kimg * 1000.0,
            settings.ema_ramp_up,
            images,
        );
        self.average = ema::update(self.average.clone(), &self.g.module, self.g_names(), weight);

        self.progress.images += batch as u64;
        self.progress.iteration += 1;
        if let Some(ada) = &mut self.progress.ada {
            for tally in std::iter::once(real).chain(r1) {
                let logits: Vec<f32> = tally.logits.iter().map(|&l| l as f32).collect();
                ada.report(&logits);
            }
            ada.step(batch);
        }
    }

    /// The probability of augmentation.
    pub fn p(&self) -> f64 {
        match self.settings.augment {
            AugmentStrength::None => 0.0,
            AugmentStrength::Fixed(p) => p,
            AugmentStrength::Adaptive { .. } => {
                self.progress.ada.as_ref().map_or(0.0, AdaController::p)
            }
        }
    }

    pub(in crate::train) fn g_names(&self) -> Names {
        Names::generator(self.networks.generator.resolution)
    }

    pub(in crate::train) fn d_names(&self) -> Names {
        Names::discriminator(self.networks.discriminator.resolution)
    }

    fn precision(&self) -> Precision {
        self.settings.precision.into()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// -1, 0 or 1 for each logit.
fn signs(logits: &[f64]) -> Vec<f64> {
    let sign = |&l: &f64| f64::from(i8::from(l > 0.0) - i8::from(l < 0.0));
    logits.iter().map(sign).collect()
}
