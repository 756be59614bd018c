//! The trainer: one iteration after the other.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Names;
use crate::config::{Architecture, DiscriminatorConfig};
use crate::discriminator::Discriminator;
use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::layers::Precision;
use crate::train::ada::AdaController;
use crate::train::augment::Augment;
use crate::train::ema::{self, ema_weight};
use crate::train::init::Networks;
use crate::train::inputs::{Draw, RoundInputs};
use crate::train::loss::{self, numbers};
use crate::train::map::{Augmentation, Identity};
use crate::train::optimizer::AdamState;
use crate::train::parameters::{self, trained};
use crate::train::prefetch::Reader;
use crate::train::settings::{AugmentStrength, TrainSettings};
use crate::train::source::ImageSource;

/// Everything that moves during training, apart from networks and moments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Iterations done.
    pub iteration: u64,
    /// Real images shown.
    pub images: u64,
    /// Running mean of the path length.
    pub path_mean: f64,
    /// What moves the probability of augmentation, where it is adaptive.
    pub ada: Option<AdaController>,
}

/// What one iteration did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Iterations done.
    pub iteration: u64,
    /// Thousands of real images shown.
    pub kimg: f64,
    /// Mean loss of the generator.
    pub generator_loss: f64,
    /// Mean loss of the discriminator: generated and real images.
    pub discriminator_loss: f64,
    /// Mean path-length penalty, where it was due.
    pub path_penalty: Option<f64>,
    /// Mean R1 penalty, where it was due.
    pub r1_penalty: Option<f64>,
    /// Mean logit of real images.
    pub real_score: f64,
    /// Mean logit of generated images.
    pub fake_score: f64,
    /// Mean sign of the logits of real images.
    pub real_sign: f64,
    /// Mean sign of the logits of generated images.
    pub fake_sign: f64,
    /// Running mean of the path length.
    pub path_mean: f64,
    /// Probability of augmentation.
    pub p: f64,
    /// Real images in this iteration.
    pub batch: usize,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kimg {:.2}  s/kimg {:.1}  G {:.3}  D {:.3}  p {:.3}  real {:+.2}  fake {:+.2}",
            self.kimg,
            self.seconds_per_kimg(),
            self.generator_loss,
            self.discriminator_loss,
            self.p,
            self.real_score,
            self.fake_score,
        )
    }
}

impl StepReport {
    /// Wall time of a thousand images at the speed of this iteration.
    pub fn seconds_per_kimg(&self) -> f64 {
        self.seconds * 1000.0 / self.batch as f64
    }
}

/// One network under training.
#[derive(Clone, Debug)]
pub(crate) struct Side<M> {
    pub module: M,
    /// The trained parameters by name, in the order of the moments.
    pub slots: Vec<parameters::Slot>,
    trained: HashSet<String>,
    pub moments: AdamState,
}

impl<M: Module> Side<M> {
    fn new(module: M, names: Names, adam: &crate::train::Adam) -> Self {
        // Whether a parameter is trained shows on a device that records gradients.
        let slots = parameters::slots(&module.clone().train(), names.clone(), &trained);
        let trained: HashSet<String> = slots.iter().map(|s| s.name.clone()).collect();
        let by_name = |name: &str, _: bool| trained.contains(name);
        let moments = adam.init(&parameters::values(&module, names, &by_name));
        Self {
            module,
            slots,
            trained,
            moments,
        }
    }

    fn update(&mut self, names: Names, adam: &crate::train::Adam, gradients: Tensor<1>) {
        let by_name = |name: &str, _: bool| self.trained.contains(name);
        let values = parameters::values(&self.module, names.clone(), &by_name);
        let values = adam.step(&mut self.moments, values, without_infinities(gradients));
        self.module = parameters::with_values(self.module.clone(), names, &by_name, values);
    }
}

/// What is not a number becomes 0, infinities become ±1e5.
fn without_infinities(gradients: Tensor<1>) -> Tensor<1> {
    let lost = gradients.clone().is_nan();
    let high = gradients.clone().equal_elem(f32::INFINITY);
    let low = gradients.clone().equal_elem(f32::NEG_INFINITY);
    gradients
        .mask_fill(lost, 0.0)
        .mask_fill(high, 1e5)
        .mask_fill(low, -1e5)
}

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
    pub fn new(
        settings: TrainSettings,
        networks: Networks,
        source: Arc<dyn ImageSource>,
    ) -> Result<Self> {
        let progress = Progress {
            images: settings.start_images,
            ada: settings.adaptive().map(AdaController::new).transpose()?,
            ..Progress::default()
        };
        Self::assemble(settings, networks, source, progress)
    }

    pub(crate) fn assemble(
        settings: TrainSettings,
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
        let augmentation: Arc<dyn Augmentation> = if settings.augment == AugmentStrength::None {
            Arc::new(Identity)
        } else {
            let pipeline = Augment::new(settings.pipeline.clone(), generator_config.channels)?;
            Arc::new(Arc::new(pipeline))
        };
        discriminator_config.freeze_layers =
            discriminator_config.freeze_layers.max(settings.freeze_d);
        let resolution = generator_config.resolution;
        let (g_names, d_names) = (
            Names::generator(resolution),
            Names::discriminator(resolution),
        );
        let generator = parameters::freeze(generator, g_names.clone(), &|name| {
            settings.freezes(&format!("G.{name}"))
        });
        let near_image = image_side(&discriminator_config);
        let discriminator = parameters::freeze(discriminator, d_names.clone(), &|name| {
            settings.freezes(&format!("D.{name}"))
                || near_image.iter().any(|layer| {
                    name.strip_prefix(layer.as_str())
                        .is_some_and(|r| r.starts_with('.'))
                })
        });
        let device = generator.mapping.layers[0].weight.val().device().inner();
        let noise_shapes = generator.synthesis.noise_shapes();
        let reader = Reader::new(Arc::clone(&source), settings.seed, settings.mirror);
        Ok(Self {
            g: Side::new(generator.valid(), g_names, &settings.generator_optimizer()),
            d: Side::new(
                discriminator.valid(),
                d_names,
                &settings.discriminator_optimizer(),
            ),
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

    /// Whether all images of [`TrainSettings::kimg`] have been shown.
    pub fn is_finished(&self) -> bool {
        self.progress.images >= self.settings.kimg as u64 * 1000
    }

    /// One iteration: the losses that are due, and the moving average.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`] if a loss is not finite, errors of the image source. The trainer is
    /// then in the middle of an iteration: go on from the last state saved.
    pub fn step(&mut self) -> Result<StepReport> {
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
        let mut report = self.step_with(&inputs)?;
        report.seconds = started.elapsed().as_secs_f64();
        Ok(report)
    }

    /// One iteration on given inputs: one [`RoundInputs`] per round. Penalties are added where
    /// the inputs hold what they need.
    pub fn step_with(&mut self, rounds: &[RoundInputs]) -> Result<StepReport> {
        let started = Instant::now();
        let generator = self.generator_main(rounds)?;
        let path_penalties = self.path_length(rounds)?;
        let [fake, real] = self.discriminator_main(rounds)?;
        let r1 = self.r1(rounds)?;
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

    fn g_names(&self) -> Names {
        Names::generator(self.networks.generator.resolution)
    }

    fn d_names(&self) -> Names {
        Names::discriminator(self.networks.discriminator.resolution)
    }

    fn precision(&self) -> Precision {
        self.settings.precision.into()
    }

    pub(super) fn generator_main(&mut self, rounds: &[RoundInputs]) -> Result<Tally> {
        let g = self.g.module.clone().train();
        let d = self.d.module.clone().train().no_grad();
        let mut tally = Tally::default();
        let mut sum = Sum::default();
        for round in rounds {
            let mut ws = Vec::new();
            for part in self.parts(round.generator.len()) {
                let map = round.augment_generator.select(&part);
                let latents = round.generator.select(&part);
                let map = |x| map.apply(x);
                let (scores, w) = loss::generator_main(&g, &d, latents, &map, self.precision());
                ws.push(w);
                let losses = tally.add(&scores);
                let gradients = losses.sum().backward();
                sum.add(parameters::gradients(&g, self.g_names(), &gradients));
            }
            self.track(ws);
        }
        tally.check(self.progress.iteration, "generator's loss")?;
        let gradients = sum.mean(tally.losses.len());
        let adam = self.settings.generator_optimizer();
        self.g.update(self.g_names(), &adam, gradients);
        Ok(tally)
    }

    /// Moves the mean of w, as every pass of the mapping network in training does.
    fn track(&mut self, ws: Vec<Tensor<2>>) {
        let g = &mut self.g.module;
        g.mapping = g.mapping.clone().track(Tensor::cat(ws, 0));
    }

    pub(super) fn path_length(&mut self, rounds: &[RoundInputs]) -> Result<Option<Vec<f64>>> {
        let due: Vec<_> = rounds.iter().filter_map(|r| r.path.as_ref()).collect();
        if due.is_empty() {
            return Ok(None);
        }
        let g = self.g.module.clone().train();
        let frozen = g.clone().no_grad();
        let mut sum = Sum::default();
        let mut penalties = Vec::new();
        for (latents, noise) in due {
            let n = latents.len();
            let size = self.settings.micro_batch.unwrap_or(n).max(1);
            let parts: Vec<Vec<usize>> = (0..n)
                .step_by(size)
                .map(|start| (start..(start + size).min(n)).collect())
                .collect();
            let mut ws = Vec::new();
            let mut paths = Vec::new();
            for part in &parts {
                let noise = loss::select(noise.clone(), part);
                let (path, w) = loss::path_lengths(&frozen, &latents.select(part), noise);
                ws.push(w);
                paths.push(path);
            }
            self.track(ws);
            let lengths: Vec<f64> = paths.iter().flat_map(|p| p.lengths.clone()).collect();
            let decay = self.settings.path_decay;
            let found = loss::path_penalty(&lengths, self.progress.path_mean, decay);
            if !found.penalties.iter().all(|p| p.is_finite()) {
                return Err(Error::Diverged {
                    step: self.progress.iteration,
                    loss: "path-length penalty",
                });
            }
            self.progress.path_mean = found.mean;
            penalties.extend(found.penalties);
            for (part, path) in parts.iter().zip(paths) {
                // The slopes are those of the mean; the sum over rounds is divided below.
                let slopes: Vec<f64> = part.iter().map(|&k| found.slopes[k] * n as f64).collect();
                let noise = loss::select(noise.clone(), part);
                let objective =
                    loss::path_objective(&g, latents.select(part), noise, path, &slopes);
                sum.add(parameters::gradients(
                    &g,
                    self.g_names(),
                    &objective.backward(),
                ));
            }
        }
        let interval = self.settings.path_interval.unwrap_or(1) as f64;
        let gradients = sum.mean(penalties.len()) * (self.settings.path_weight * interval);
        let adam = self.settings.generator_optimizer();
        self.g.update(self.g_names(), &adam, gradients);
        Ok(Some(penalties))
    }

    pub(super) fn discriminator_main(&mut self, rounds: &[RoundInputs]) -> Result<[Tally; 2]> {
        let d = self.d.module.clone().train();
        let mut sum = Sum::default();
        let (mut fake, mut real) = (Tally::default(), Tally::default());
        for round in rounds {
            let mut ws = Vec::new();
            for part in self.parts(round.real.dims()[0]) {
                let latents = round.discriminator.select(&part);
                let (images, w) = loss::images(&self.g.module, &latents, self.precision());
                ws.push(w);
                let map = round.augment_fake.select(&part);
                let scores = loss::discriminator_fake(
                    &d,
                    images,
                    latents.c,
                    &|x| map.apply(x),
                    self.precision(),
                );
                let gradients = fake.add(&scores).sum().backward();
                sum.add(parameters::gradients(&d, self.d_names(), &gradients));

                let map = round.augment_real.select(&part);
                let scores = loss::discriminator_real(
                    &d,
                    loss::select(round.real.clone(), &part),
                    round.real_labels.clone().map(|c| loss::select(c, &part)),
                    &|x| map.apply(x),
                    self.precision(),
                );
                let gradients = real.add(&scores).sum().backward();
                sum.add(parameters::gradients(&d, self.d_names(), &gradients));
            }
            self.track(ws);
        }
        let step = self.progress.iteration;
        fake.check(step, "discriminator's loss of generated images")?;
        real.check(step, "discriminator's loss of real images")?;
        let gradients = sum.mean(real.losses.len());
        let adam = self.settings.discriminator_optimizer();
        self.d.update(self.d_names(), &adam, gradients);
        Ok([fake, real])
    }

    /// Penalties and logits, where the penalty is due.
    pub(super) fn r1(&mut self, rounds: &[RoundInputs]) -> Result<Option<Tally>> {
        if rounds.iter().all(|r| r.augment_r1.is_none()) {
            return Ok(None);
        }
        let d = self.d.module.clone().train();
        let frozen = d.clone().no_grad();
        let mut sum = Sum::default();
        let mut tally = Tally::default();
        for round in rounds {
            let Some(map) = &round.augment_r1 else {
                continue;
            };
            for part in self.parts(round.real.dims()[0]) {
                let map = map.select(&part);
                let real = loss::select(round.real.clone(), &part);
                let labels = round.real_labels.clone().map(|c| loss::select(c, &part));
                let r1 = loss::r1(&d, &frozen, real, labels, &|x| map.apply(x));
                tally.losses.extend(numbers(r1.penalties));
                tally.logits.extend(numbers(r1.logits));
                let gradients = r1.objective.backward();
                sum.add(parameters::gradients(&d, self.d_names(), &gradients));
            }
        }
        tally.check(self.progress.iteration, "R1 penalty")?;
        let interval = self.settings.r1_interval.unwrap_or(1) as f64;
        let gradients = sum.mean(tally.losses.len()) * (self.settings.r1_gamma * interval);
        let adam = self.settings.discriminator_optimizer();
        self.d.update(self.d_names(), &adam, gradients);
        Ok(Some(tally))
    }

    /// The samples that are computed at once: whole groups of the minibatch standard deviation,
    /// in the order in which the discriminator groups them.
    fn parts(&self, n: usize) -> Vec<Vec<usize>> {
        let group = group_size(&self.networks.discriminator, n);
        parts(n, group, self.settings.micro_batch)
    }
}

/// Samples that the discriminator compares with each other.
fn group_size(config: &DiscriminatorConfig, n: usize) -> usize {
    if config.mbstd_features == 0 {
        1
    } else {
        config.mbstd_group.map_or(n, |g| g.min(n))
    }
}

/// Sample `i` of `n` is in group `i mod (n / group)`; a part holds whole groups, so laid out that
/// the same rule finds them.
fn parts(n: usize, group: usize, size: Option<usize>) -> Vec<Vec<usize>> {
    let groups = n / group;
    let at_once = (size.unwrap_or(n) / group).clamp(1, groups);
    (0..groups)
        .step_by(at_once)
        .map(|first| {
            let members = first..(first + at_once).min(groups);
            (0..group)
                .flat_map(|k| members.clone().map(move |g| k * groups + g))
                .collect()
        })
        .collect()
}

/// The layers nearest the image, as [`DiscriminatorConfig::freeze_layers`] counts them.
fn image_side(config: &DiscriminatorConfig) -> Vec<String> {
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
    layers.truncate(config.freeze_layers);
    layers
}

fn check(
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

/// Gradients of sums of losses.
#[derive(Default)]
struct Sum(Option<Tensor<1>>);

impl Sum {
    fn add(&mut self, gradients: Tensor<1>) {
        self.0 = Some(match self.0.take() {
            Some(sum) => sum + gradients,
            None => gradients,
        });
    }

    fn mean(self, samples: usize) -> Tensor<1> {
        self.0.expect("at least one round") * (1.0 / samples as f64)
    }
}

/// Losses and logits of a phase, one per sample.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub losses: Vec<f64>,
    pub logits: Vec<f64>,
}

impl Tally {
    /// Counts a part; gives its losses back.
    fn add(&mut self, scores: &loss::Scores) -> Tensor<2> {
        self.losses
            .extend(numbers(scores.losses.clone().detach().inner()));
        self.logits.extend(numbers(scores.logits.clone()));
        scores.losses.clone()
    }

    fn check(&self, step: u64, loss: &'static str) -> Result<()> {
        if self.losses.iter().all(|l| l.is_finite()) {
            Ok(())
        } else {
            Err(Error::Diverged { step, loss })
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_whole_groups() {
        assert_eq!(parts(8, 4, None), [[0, 1, 2, 3, 4, 5, 6, 7]]);
        assert_eq!(parts(8, 4, Some(4)), [[0, 2, 4, 6], [1, 3, 5, 7]]);
        assert_eq!(parts(6, 1, Some(4)), [vec![0, 1, 2, 3], vec![4, 5]]);
        assert_eq!(parts(12, 2, Some(5)).len(), 3);
        // In a part of its own a group is found where it was in the batch.
        for part in parts(12, 2, Some(4)) {
            let groups = part.len() / 2;
            for (place, sample) in part.iter().enumerate() {
                let partner = part[(place + groups) % part.len()];
                assert_eq!(sample % 6, partner % 6);
            }
        }
    }

    #[test]
    fn frozen_layers_are_counted_from_the_image() {
        let config = DiscriminatorConfig::new(16).with_freeze_layers(5);
        let layers = [
            "b16.fromrgb",
            "b16.conv0",
            "b16.conv1",
            "b16.skip",
            "b8.conv0",
        ];
        assert_eq!(image_side(&config), layers);
        let skip = config
            .with_architecture(Architecture::Skip)
            .with_freeze_layers(4);
        assert_eq!(image_side(&skip)[3], "b8.fromrgb");
    }

    #[test]
    fn gradients_are_made_finite() {
        let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e9, -1.0];
        let x = Tensor::<1>::from_floats(x, &Device::default());
        let got: Vec<f32> = without_infinities(x).into_data().try_to_vec().unwrap();
        assert_eq!(got, [0.0, 1e5, -1e5, 3e9, -1.0]);
    }
}
