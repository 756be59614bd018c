//! `survlatent train`: train or fine-tune a generator.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use stylegan2_burn::image::{Rounding, from_pixels, to_pixels};
use stylegan2_burn::metrics::{Features, Quality, distance_name};
use stylegan2_burn::train::{
    AugmentStrength, Ending, ImageFolder, ImageSource, Images, Measure, Networks, Plan, Preset,
    RunSettings, StepReport, TrainPrecision, TrainRun, TrainSettings, Trainer,
};

use stylegan2_burn::{Checkpoint, Generator, SynthesisOptions, Truncation, seed};

use super::fd;
use super::network::{in_file, shipped};
use crate::failure::Failure;
use crate::interrupt::interrupts;
use crate::{report, value};

/// Train a generator on pictures, or fine-tune a trained one
#[derive(Args)]
#[command(after_long_help = NOTES)]
// Flags of a command line.
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Train {
    /// Pictures: a folder or zip archive of PNG or JPEG files
    #[arg(long, value_name = "DIR|ZIP")]
    data: PathBuf,
    /// Folder of the run; new or empty
    #[arg(long, value_name = "DIR", required_unless_present_any = ["resume", "dry_run"])]
    out: Option<PathBuf>,
    /// Go on with a run from its last state; settings are the run's, --kimg may be raised
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "from"])]
    resume: Option<PathBuf>,
    /// Start from the networks of this file (.pkl, .pt or .safetensors), or from those that ship
    /// (`--from shipped`: faces of 64 px)
    #[arg(long, value_name = "NET")]
    from: Option<PathBuf>,
    /// Settings of networks and training
    #[arg(long, value_enum, default_value_t = Cfg::Auto)]
    cfg: Cfg,
    /// Crop pictures to their central square and shrink them to this side (default: as they are)
    #[arg(long, value_name = "PX", value_parser = value::count::<8>)]
    resolution: Option<usize>,
    /// 3 for colour, 1 for gray
    #[arg(long, value_name = "N", default_value_t = 3)]
    channels: usize,
    /// Train with the labels of dataset.json
    #[arg(long)]
    labels: bool,
    /// Leave out pictures that cannot be used, instead of stopping
    #[arg(long)]
    set_aside: bool,
    /// Use every picture as its mirror image, too
    #[arg(long)]
    mirror: bool,
    /// Thousands of pictures to train for (default: 25000)
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    kimg: Option<usize>,
    /// Pictures per iteration
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    batch: Option<usize>,
    /// Pictures computed at once: less memory, the same gradients
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    micro_batch: Option<usize>,
    /// Weight of the R1 penalty
    #[arg(long, value_name = "X", value_parser = value::not_negative)]
    gamma: Option<f64>,
    /// Learning rate of both networks
    #[arg(long, value_name = "X", value_parser = value::positive)]
    learning_rate: Option<f64>,
    /// Augmentation: ada, none or fixed:P
    #[arg(long, value_name = "KIND", default_value = "ada", value_parser = augment)]
    augment: AugmentArg,
    /// Probability of augmentation to start from, with ada
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = value::unit)]
    start_p: f64,
    /// Thousands of pictures seen before, with --from
    #[arg(long, value_name = "N", default_value_t = 0)]
    start_kimg: u64,
    /// Layers of the discriminator, from the picture on, that are not trained
    #[arg(long, value_name = "N", default_value_t = 0)]
    freeze_d: usize,
    /// Parts that are not trained, such as G.mapping, D.b64.conv0 or b64
    #[arg(long, value_name = "PART,..", value_delimiter = ',')]
    freeze: Vec<String>,
    /// Feature maps at resolution r are at most this over r (default: the configuration's)
    #[arg(long, value_name = "N", value_parser = value::count::<8>)]
    channel_base: Option<usize>,
    /// Upper bound on feature maps (default: 512)
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    channel_max: Option<usize>,
    /// Precision of the highest resolutions in the main losses
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    precision: PrecisionArg,
    /// Seed of everything random
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Thousands of pictures between snapshots and sample grids
    #[arg(long, value_name = "N", default_value_t = 50.0, value_parser = value::positive)]
    snapshot: f64,
    /// Thousands of pictures between states
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = value::positive)]
    state: f64,
    /// Snapshots kept, the newest ones; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 5)]
    keep: usize,
    /// At every snapshot, measure the distance from these pictures (see `survlatent fd`)
    #[arg(long, value_name = "DIR|ZIP")]
    metrics: Option<PathBuf>,
    /// Take Inception from this file for --metrics, which gives the FID and the KID
    #[arg(long, value_name = "FILE.pth", requires = "metrics")]
    metrics_inception: Option<PathBuf>,
    /// Pictures generated for --metrics
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value::count::<4>)]
    metrics_images: usize,
    /// Print the settings and stop
    #[arg(long)]
    dry_run: bool,
}

const NOTES: &str = "\
Files in the folder of the run:
  config.toml, stats.jsonl (losses, p and speed, a line per thousand pictures), metrics.jsonl
  (with --metrics, a line per snapshot), reals.png,
  fakes000200.png and network-000200.safetensors (at 200 thousand pictures), state.safetensors.
  Ctrl-C, or SIGTERM as batch systems send it, finishes the iteration, saves the state and ends; the
  second ends at once. --resume goes on with the same bits as if the run had not stopped.

Examples:
  survlatent train --data faces --out run --mirror --resolution 64 --kimg 1000
  survlatent train --data portraits --out tuned --from ffhq.pkl --freeze-d 4 --kimg 200
  survlatent train --data portraits --out tuned --from shipped --resolution 64 --kimg 20
  survlatent train --data faces --resume run --kimg 2000";

#[derive(Clone, Copy, ValueEnum)]
enum Cfg {
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
enum PrecisionArg {
    F32,
    F16,
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum AugmentArg {
    Ada,
    None,
    Fixed(f64),
}

fn augment(text: &str) -> Result<AugmentArg, String> {
    match text {
        "ada" => Ok(AugmentArg::Ada),
        "none" => Ok(AugmentArg::None),
        other => match other.strip_prefix("fixed:") {
            Some(p) => value::unit(p).map(AugmentArg::Fixed),
            None => Err("ada, none or fixed:P with P from 0 to 1".to_owned()),
        },
    }
}

impl Train {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let device = Device::default();
        let images = self.images()?;
        let source: Arc<dyn ImageSource> = Arc::new(images);
        if let Some(run) = &self.resume {
            let kimg = self.kimg;
            let change = |settings: &mut TrainSettings| {
                settings.kimg = kimg.unwrap_or(settings.kimg);
            };
            let run = TrainRun::resume(run, source, &device, self.times(), change)?;
            if self.dry_run {
                return print_plan(&run.trainer().plan());
            }
            let measure = self.measure(run.trainer())?;
            return train(with(run, measure));
        }
        let [channels, side, _] = source.shape();
        let mut plan = Preset::from(self.cfg).plan(side, channels, source.label_dim());
        let file = match &self.from {
            None => None,
            Some(path) => {
                plan = plan.fine_tuning();
                let file = if path.as_os_str() == "shipped" {
                    shipped()
                } else {
                    Checkpoint::open(path)
                };
                Some((path, file.map_err(|e| in_file(path, e))?))
            }
        };
        self.adjust(&mut plan);
        let networks = match &file {
            None if self.dry_run => None,
            None => {
                let (g, d) = (&plan.generator, &plan.discriminator);
                Some(Networks::init(g, d, self.seed, &device)?)
            }
            Some((path, file)) => Some(open(path, file, &plan, self.seed, &device)?),
        };
        if let Some(networks) = &networks {
            plan.generator = networks.generator_config.clone();
            plan.discriminator = networks.discriminator_config.clone();
        }
        if self.dry_run {
            plan.settings.validate(plan.generator.resolution)?;
            return print_plan(&plan);
        }
        let (Some(networks), Some(out)) = (networks, &self.out) else {
            return Err(Failure::usage("give --out or --resume"));
        };
        let trainer = Trainer::new(plan.settings, networks, source)?;
        let measure = self.measure(&trainer)?;
        train(with(TrainRun::create(out, trainer, self.times())?, measure))
    }

    fn images(&self) -> Result<Images, Failure> {
        let mut folder = ImageFolder::default()
            .with_labels(self.labels)
            .with_set_aside(self.set_aside);
        folder.resolution = self.resolution;
        folder.channels = Some(self.channels);
        let images = folder.open(&self.data)?;
        for fault in images.set_aside() {
            report::note(&format!("set aside: {fault}"));
        }
        let [_, _, side] = images.shape();
        report::note(&format!(
            "{}: {} pictures of {side} px",
            self.data.display(),
            images.len()
        ));
        Ok(images)
    }

    /// What `--metrics` measures.
    fn measure(&self, trainer: &Trainer) -> Result<Option<Measure>, Failure> {
        let Some(data) = &self.metrics else {
            return Ok(None);
        };
        let config = trainer.plan().generator;
        let network = fd::network(self.metrics_inception.as_deref(), None, trainer.device())?;
        if config.c_dim > 0 || !matches!(config.channels, 1 | 3) {
            return Err(Failure::usage(
                "--metrics: for networks without classes, of gray or colour pictures",
            ));
        }
        if config.resolution < network.least {
            return Err(Failure::usage(format!(
                "--metrics: pictures have {} pixels; features need {}",
                config.resolution, network.least
            )));
        }
        let images = ImageFolder::default()
            .with_resolution(config.resolution)
            .with_channels(config.channels)
            .with_set_aside(self.set_aside)
            .open(data)?;
        let device = trainer.device().clone();
        let real = fd::real(&network, &images, &device, FEATURES_AT_ONCE, &mut |_| ())?;
        let count = u32::try_from(self.metrics_images).unwrap_or(u32::MAX);
        let seeds: Vec<u32> = (0..count).collect();
        Ok(Some(Box::new(move |generator: &Generator| {
            let batches = seeds.chunks(FEATURES_AT_ONCE).map(|seeds| {
                let z = seed::latents(seeds, config.z_dim, &device);
                let options = SynthesisOptions::default();
                let images = generator.forward(z, None, Truncation::default(), &options);
                // Through bytes, as real pictures come.
                Ok(from_pixels(&to_pixels(images, Rounding::Generate), &device))
            });
            let fake = Features::extract(network.features.as_ref(), batches)?;
            let name = network.name();
            let quality = Quality::measure(name, &real, &fake, 0)?;
            Ok(vec![
                (distance_name("FD", name), quality.frechet),
                (distance_name("KD", name), quality.kernel),
                ("precision".to_owned(), quality.precision_recall.precision),
                ("recall".to_owned(), quality.precision_recall.recall),
            ])
        })))
    }

    fn times(&self) -> RunSettings {
        RunSettings::new()
            .with_snapshot_kimg(self.snapshot)
            .with_state_kimg(self.state)
            .with_keep(self.keep)
    }

    /// What the command line says beyond the configuration.
    fn adjust(&self, plan: &mut Plan) {
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
        s.batch = self.batch.unwrap_or(s.batch);
        s.micro_batch = self.micro_batch;
        s.r1_gamma = self.gamma.unwrap_or(s.r1_gamma);
        s.learning_rate = self.learning_rate.unwrap_or(s.learning_rate);
        s.mirror = self.mirror;
        s.augment_start = self.start_p;
        s.start_images = self.start_kimg * 1000;
        s.freeze_d = self.freeze_d;
        s.frozen.clone_from(&self.freeze);
        s.seed = self.seed;
        s.augment = match self.augment {
            AugmentArg::Ada => s.augment,
            AugmentArg::None => AugmentStrength::None,
            AugmentArg::Fixed(p) => AugmentStrength::Fixed(p),
        };
        s.precision = match self.precision {
            PrecisionArg::F32 => TrainPrecision::Full,
            PrecisionArg::F16 => TrainPrecision::F16,
            PrecisionArg::Bf16 => TrainPrecision::Bf16,
        };
    }
}

/// Pictures whose features are computed at once.
const FEATURES_AT_ONCE: usize = 16;

fn with(run: TrainRun, measure: Option<Measure>) -> TrainRun {
    match measure {
        Some(measure) => run.with_measure(measure),
        None => run,
    }
}

/// The networks of a file; a new discriminator where it holds none.
fn open(
    path: &Path,
    file: &Checkpoint,
    plan: &Plan,
    seed: u64,
    device: &Device,
) -> Result<Networks, Failure> {
    if Networks::has_discriminator(file) {
        return Networks::open(file, device).map_err(|e| in_file(path, e));
    }
    report::note(&format!(
        "{}: holds no discriminator; training starts with a new one",
        path.display()
    ));
    Networks::open_generator(file, &plan.discriminator, seed, device).map_err(|e| in_file(path, e))
}

fn print_plan(plan: &Plan) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(plan).map_err(|e| Failure::run(e.to_string()))?;
    report::result(None::<&()>, &(json + "\n"))
}

/// Trains until the end or the first interrupt.
fn train(mut run: TrainRun) -> Result<(), Failure> {
    let interrupted = interrupts()?;
    let total = run.trainer().settings().kimg as u64 * 1000;
    let bar = bar(total, run.trainer().progress().images);
    let speed = Speed::new(run.trainer().progress().images);
    let ending = run.train(|step| {
        let line = speed.line(step, total);
        bar.inc(step.batch as u64);
        bar.set_message(line);
        if interrupted.load(Ordering::SeqCst) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    bar.finish_and_clear();
    let kimg = run.trainer().progress().images as f64 / 1000.0;
    let folder = run.folder().display();
    // What a full disk or a loss that is not finite leaves.
    let ending = ending.map_err(|error| {
        Failure::run(match run.saved_kimg() {
            Some(kimg) => format!(
                "{error}; the state at {kimg} thousand pictures is whole, go on with --resume {folder}"
            ),
            None => format!("{error}; no state had been saved yet"),
        })
    });
    let text = match ending? {
        Ending::Finished => format!("{folder}: {kimg} thousand pictures, finished"),
        Ending::Stopped => {
            format!("{folder}: {kimg} thousand pictures; go on with --resume {folder}")
        }
    };
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
    Ok(())
}

fn bar(total: u64, done: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:20} {msg}") {
        bar.set_style(style);
    }
    bar.set_position(done);
    bar
}

/// Speed since the start of this process.
struct Speed {
    started: Instant,
    first: f64,
}

impl Speed {
    fn new(images: u64) -> Self {
        Self {
            started: Instant::now(),
            first: images as f64 / 1000.0,
        }
    }

    fn line(&self, step: &StepReport, total: u64) -> String {
        let rate = self.started.elapsed().as_secs_f64() / (step.kimg - self.first).max(1e-9);
        let left = rate * (total as f64 / 1000.0 - step.kimg).max(0.0) / 3600.0;
        let memory = memory().map_or(String::new(), |m| format!(", {m:.1} GB"));
        format!(
            "kimg {:.1}, {rate:.1} s/kimg, G {:.3}, D {:.3}, p {:.3}{memory}, {left:.1} h left",
            step.kimg, step.generator_loss, step.discriminator_loss, step.p
        )
    }
}

/// Memory of this process in GB, where the system tells.
fn memory() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e9)
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
    }
}
