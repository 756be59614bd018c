//! `survlatent train`: train or fine-tune a generator.

mod data;
mod measure;
mod plan;
mod watch;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use clap::Args;
use stylegan2_burn::Checkpoint;
use stylegan2_burn::train::{
    Ending, ImageSource, Measure, Networks, Plan, Preset, RunSettings, SavedRun, TrainRun,
    TrainSettings, Trainer,
};

use super::network::{in_file, shipped};
use crate::device::DevicesArg;
use crate::failure::Failure;
use crate::interrupt::interrupts;
use crate::{report, value};
use data::Notes;
use measure::{Real, measure};
use plan::{AugmentArg, Cfg, PrecisionArg, augment, pipeline};
use watch::Watch;

/// Train a generator on pictures, or fine-tune a trained one
#[derive(Args)]
#[command(after_long_help = NOTES)]
// Flags of a command line.
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Train {
    /// Pictures: a folder or zip archive of PNG or JPEG files, or a list of files (.txt, one a line)
    #[arg(long, value_name = "DIR|ZIP|LIST.txt")]
    data: PathBuf,
    /// Folder of the run; new or empty
    #[arg(long, value_name = "DIR", required_unless_present_any = ["resume", "dry_run"])]
    out: Option<PathBuf>,
    /// Go on with a run from its last state, with the run's settings. Only these may change: --kimg,
    /// --gamma, --pl-weight, --learning-rate, --ema-kimg, --augment, --ada-target, --micro-batch,
    /// --set-aside, --snapshot, --state, --keep, --metrics with --metrics-*, and --device
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "from", "cfg", "resolution",
        "channels", "labels", "mirror", "batch", "rounds", "augment_pipe", "start_p", "start_kimg",
        "freeze_d", "freeze", "channel_base", "channel_max", "precision", "seed"])]
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
    /// Thousands of pictures to train for, those of --start-kimg among them (default: 25000)
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    kimg: Option<usize>,
    /// Pictures per iteration
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    batch: Option<usize>,
    /// Pictures computed at once: less memory, the same gradients
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    micro_batch: Option<usize>,
    /// Parts of the batch with style mixing and minibatch statistics of their own, as several devices
    /// had in the published program; the path-length mean moves once per part
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value::count::<1>)]
    rounds: usize,
    /// Weight of the R1 penalty
    #[arg(long, value_name = "X", value_parser = value::not_negative)]
    gamma: Option<f64>,
    /// Weight of the path-length penalty (default: 2)
    #[arg(long, value_name = "X", value_parser = value::not_negative)]
    pl_weight: Option<f64>,
    /// Learning rate of both networks
    #[arg(long, value_name = "X", value_parser = value::positive)]
    learning_rate: Option<f64>,
    /// Half-life of the generator's moving average in thousands of pictures (default: the
    /// configuration's; with --from at most a twentieth of --kimg, and kept by --resume)
    #[arg(long, value_name = "N", value_parser = value::not_negative)]
    ema_kimg: Option<f64>,
    /// Augmentation: ada, none or fixed:P (default: ada)
    #[arg(long, value_name = "KIND", value_parser = augment)]
    augment: Option<AugmentArg>,
    /// Operations of the augmentation: blit, geom, color, filter, noise, cutout, bg, bgc, bgcf,
    /// bgcfn or bgcfnc (default: bgc)
    #[arg(long, value_name = "NAME", value_parser = pipeline)]
    augment_pipe: Option<String>,
    /// Mean sign of the logits of real pictures that ada aims at (default: 0.6)
    #[arg(long, value_name = "X", value_parser = value::unit)]
    ada_target: Option<f64>,
    /// Probability of augmentation to start from, with ada (default: 0)
    #[arg(long, value_name = "P", value_parser = value::unit)]
    start_p: Option<f64>,
    /// Thousands of pictures seen before, with --from
    #[arg(long, value_name = "N", default_value_t = 0)]
    start_kimg: u64,
    /// Layers of the discriminator, from the picture on, that are not trained; those at 4 px always are
    #[arg(long, value_name = "N", default_value_t = 0)]
    freeze_d: usize,
    /// Parts that are not trained, such as G.mapping, D.b64.conv0 or b64
    #[arg(long, value_name = "PART,..", value_delimiter = ',')]
    freeze: Vec<String>,
    /// Feature maps at resolution r are at most this over r (default: the configuration's); networks of
    /// --from have their own
    #[arg(long, value_name = "N", value_parser = value::count::<8>)]
    channel_base: Option<usize>,
    /// Upper bound on feature maps (default: 512); networks of --from have their own
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    channel_max: Option<usize>,
    /// Precision of the highest resolutions in the main losses
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    precision: PrecisionArg,
    /// Seed of everything random
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Thousands of pictures between snapshots and sample grids (default: 50)
    #[arg(long, value_name = "N", value_parser = value::positive)]
    snapshot: Option<f64>,
    /// Thousands of pictures between states (default: 10)
    #[arg(long, value_name = "N", value_parser = value::positive)]
    state: Option<f64>,
    /// Snapshots kept, the newest ones; 0 keeps all (default: 5)
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// At every snapshot, measure the distance from these pictures (see `survlatent fd`)
    #[arg(long, value_name = "DIR|ZIP|LIST.txt")]
    metrics: Option<PathBuf>,
    /// Take Inception from this file for --metrics, which gives the FID and the KID
    #[arg(long, value_name = "FILE.pth")]
    metrics_inception: Option<PathBuf>,
    /// Pictures generated for --metrics (default: 1000)
    #[arg(long, value_name = "N", value_parser = value::count::<4>)]
    metrics_images: Option<usize>,
    /// Measure the perceptual path length with this many pairs, too, with --metrics
    #[arg(long, value_name = "PAIRS", value_parser = value::count::<2>)]
    metrics_path_length: Option<usize>,
    #[command(flatten)]
    devices: DevicesArg,
    /// Check settings, pictures, files and devices, print the settings and stop; nothing is written or
    /// measured
    #[arg(long)]
    dry_run: bool,
}

const NOTES: &str = "\
Files in the folder of the run:
  config.toml, stats.jsonl (losses, p, speed and memory, a line per thousand pictures),
  metrics.jsonl (with --metrics, a line per snapshot), reals.png,
  fakes000200.png and network-000200.safetensors (at 200 thousand pictures), state.safetensors.
  Ctrl-C, or SIGTERM as batch systems send it, finishes the iteration, saves the state and ends; the
  second ends at once. --resume goes on with the same bits as if the run had not stopped. It takes
  resolution, channels, labels, --metrics and the times of snapshots and states from the run. After
  a loss that is not finite give it a lower --learning-rate or another --gamma: the same settings
  come to the same loss.

Examples:
  survlatent train --data faces --out run --mirror --resolution 64 --kimg 1000
  survlatent train --data portraits --out tuned --from ffhq.pkl --freeze-d 4 --kimg 200
  survlatent train --data portraits --out tuned --from shipped --resolution 64 --kimg 20
  survlatent train --data faces --resume run --kimg 2000";

impl Train {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let devices = self.devices.open()?;
        match &self.resume {
            Some(run) => self.go_on(run, &devices),
            None => self.start(&devices),
        }
    }

    /// Goes on with a run: what is not on the command line is the run's.
    fn go_on(&self, folder: &Path, devices: &[Device]) -> Result<(), Failure> {
        let saved = SavedRun::open(folder)?;
        let generator = &saved.state().plan().generator;
        let before = Notes::of(saved.settings(), generator);
        let images = self.images(&before.spec(generator, self.set_aside))?;
        before.compare(images.len());
        let notes = Notes::new(self, &images, Some(&before))?;
        let run = self.times(saved.settings().clone(), &notes);
        let saved = saved.with_settings(run);
        let mut settings = saved.state().plan().settings.clone();
        self.change(&mut settings, notes.fine_tuned);
        self.check_changes(&settings)?;
        self.compare_half_life(&saved.state().plan().settings);
        on_devices(saved.state().plan(), devices)?;
        let source: Arc<dyn ImageSource> = Arc::new(images);
        let change = |s: &mut TrainSettings| *s = settings;
        let device = &devices[0];
        let generator = saved.state().plan().generator.clone();
        let real = Real::open(&notes, &generator, device)?;
        if self.dry_run {
            return print_plan(&saved.trainer(source, device, change)?.plan());
        }
        // Before anything is written: what cannot be measured is not kept.
        let measure = measure(real, &notes, &generator, &*source, device)?;
        let run = saved
            .resume(source, device, change)?
            .with_devices(&devices[1..])?;
        train(with(run, measure), interrupts()?)
    }

    fn start(&self, devices: &[Device]) -> Result<(), Failure> {
        if let Some(out) = &self.out {
            TrainRun::check_folder(out)?;
        }
        let images = self.images(&self.spec())?;
        let notes = Notes::new(self, &images, None)?;
        let source: Arc<dyn ImageSource> = Arc::new(images);
        let [channels, side, _] = source.shape();
        let mut plan = Preset::from(self.cfg).plan(side, channels, source.label_dim());
        let file = match &self.from {
            None => None,
            Some(path) => {
                let file = if path.as_os_str() == "shipped" {
                    shipped()
                } else {
                    Checkpoint::open(path)
                };
                Some((path, file.map_err(|e| in_file(path, e))?))
            }
        };
        self.size(&mut plan);
        if file.is_some() {
            plan = plan.fine_tuning();
        }
        self.adjust(&mut plan);
        self.check_changes(&plan.settings)?;
        let networks = match &file {
            // The weights are not needed to check the settings.
            None if self.dry_run => None,
            None => {
                let (g, d) = (&plan.generator, &plan.discriminator);
                plan.check(&*source)?;
                Some(Networks::init(g, d, self.seed, &devices[0])?)
            }
            Some((path, file)) => {
                if self.freeze_d > 0 && !Networks::has_discriminator(file) {
                    return Err(Failure::usage(format!(
                        "--freeze-d: {} holds no discriminator, and a new one has learnt nothing",
                        path.display()
                    )));
                }
                let networks = open(path, file, &plan, self.seed, &devices[0])?;
                self.check_networks(path, file, &networks)?;
                Some(networks)
            }
        };
        if let Some(networks) = &networks {
            plan.generator = networks.generator_config.clone();
            plan.discriminator = networks.discriminator_config.clone();
        }
        plan.check(&*source)?;
        on_devices(&plan, devices)?;
        let real = Real::open(&notes, &plan.generator, &devices[0])?;
        if self.dry_run {
            return print_plan(&plan);
        }
        let (Some(networks), Some(out)) = (networks, &self.out) else {
            return Err(Failure::usage("give --out or --resume"));
        };
        let measure = measure(real, &notes, &plan.generator, &*source, &devices[0])?;
        let trainer = Trainer::new(plan.settings, networks, source)?.with_devices(&devices[1..])?;
        let times = self.times(RunSettings::new(), &notes);
        // From the first file on: an interrupt then leaves a run that goes on.
        let interrupted = interrupts()?;
        let run = TrainRun::create(out, trainer, times)?;
        train(with(run, measure), interrupted)
    }

    /// When the run writes what: as before where the command line says nothing.
    fn times(&self, run: RunSettings, notes: &Notes) -> RunSettings {
        let (snapshot, state, keep) = (run.snapshot_kimg, run.state_kimg, run.keep);
        run.with_snapshot_kimg(self.snapshot.unwrap_or(snapshot))
            .with_state_kimg(self.state.unwrap_or(state))
            .with_keep(self.keep.unwrap_or(keep))
            .with_notes(Some(notes.to_map()))
    }
}

/// Whether every device has what the plan needs.
fn on_devices(plan: &Plan, devices: &[Device]) -> Result<(), Failure> {
    Ok(devices
        .iter()
        .try_for_each(|device| plan.check_device(device))?)
}

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
fn train(mut run: TrainRun, interrupted: Arc<AtomicBool>) -> Result<(), Failure> {
    let total = run.trainer().settings().kimg as u64 * 1000;
    let mut watch = Watch::new(total, run.trainer().progress().images, interrupted);
    let ending = run.train_with(&mut watch);
    watch.finish();
    let kimg = run.trainer().progress().images as f64 / 1000.0;
    let folder = run.folder().display();
    // What a full disk or a loss that is not finite leaves.
    let ending = ending.map_err(|error| {
        let kimg = run.saved_kimg();
        Failure::run(format!(
            "{error}; the state at {kimg} thousand pictures is whole, go on with --resume {folder}"
        ))
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
