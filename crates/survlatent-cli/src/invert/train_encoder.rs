//! `survlatent train-encoder`: a network that reads latents off pictures.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use latent_inversion::cohort::Manifest;
use latent_inversion::{
    Coordinates, Encoder, EncoderProgress, EncoderSettings, EncoderTrainer, EncoderTraining,
    FacePhotos, PhotoLimits, Precision, StyleGan2,
};
use serde::Serialize;
use survlatent::Error;

use super::open_network;
use crate::device::DeviceArg;
use crate::failure::Failure;
use crate::interrupt::interrupts;
use crate::progress::Progress;
use crate::{gan, report, value};

/// Train a network that reads latents off a generator's pictures, on samples of the generator or photos
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct TrainEncoder {
    /// The generator (.pkl, .pt or .safetensors; default: the one that ships, faces of 64 px)
    #[arg(long, value_name = "NET")]
    network: Option<PathBuf>,
    /// Generator in the file, where there are several (default: the averaged one)
    #[arg(long, value_name = "NAME")]
    which: Option<String>,
    /// Folder of the run
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Go on with the run from its last state; settings are the run's, of which --kimg may be raised and others
    /// are refused
    #[arg(long)]
    resume: bool,
    /// Start from this encoder, made for an earlier state of the generator, say
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// Refine an encoder on these photos, cut out as the generator's are, in place of samples: a folder, or
    /// a table with columns id and file. Starts from --from (default: the shipped network's encoder)
    #[arg(long, value_name = "DIR|MANIFEST.csv")]
    photos: Option<PathBuf>,
    /// Thousands of samples or photos to train on [default: 100, with --photos 20]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    kimg: Option<f64>,
    /// Samples per step [default: 16]
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    batch: Option<usize>,
    #[command(flatten)]
    device: DeviceArg,
    /// Learning rate at the start [default: 0.001, with --photos 0.0001]
    #[arg(long, value_name = "X", value_parser = value::positive)]
    learning_rate: Option<f64>,
    /// Units in which latents are compared [default: plain]
    #[arg(long, value_enum)]
    units: Option<Units>,
    /// Weight of the difference of latents [default: 1]
    #[arg(long, value_name = "X", value_parser = value::not_negative)]
    latent: Option<f64>,
    /// Weight of squared differences of pixels [default: 0, with --photos 1]
    #[arg(long, value_name = "X", value_parser = value::not_negative)]
    squared: Option<f64>,
    /// Weight of LPIPS [default: 0, with --photos 1]
    #[arg(long, value_name = "X", value_parser = value::not_negative)]
    perceptual: Option<f64>,
    /// Feature maps at resolution r are this over r [default: 1024; those of an encoder that is started from
    /// stay]
    #[arg(long, value_name = "N", value_parser = value::count::<8>)]
    channel_base: Option<usize>,
    /// Upper bound on feature maps [default: 256; as there]
    #[arg(long, value_name = "N", value_parser = value::count::<8>)]
    channel_max: Option<usize>,
    /// Seed of weights and samples [default: 0]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Thousands of samples between states
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = value::positive)]
    state: f64,
    /// Write the encoder in half precision
    #[arg(long)]
    half: bool,
    /// Print one JSON object at the end instead of a sentence
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Files in the folder of the run:
  encoder.safetensors (for survlatent invert --encoder), state.safetensors, stats.jsonl (images,
  loss, cosine: mean over a thousand samples or so of the cosine of the true and the found latent,
  both less the mean latent; and at each state the same on samples that training never sees).
  Ctrl-C or SIGTERM saves the state and ends; --resume goes on with the same bits as if the run
  had not stopped. An error saves state and encoder, too, but for a full memory of the device.

Photos:
  A photo's latent is not known, so that only --squared and --perceptual count, which compare the photo
  with the generator's picture of the latent found. The cosine is that on samples all the same: where it
  falls, pictures come closer at the cost of latents. --resume needs --photos again.

JSON:
  encoder (file), generator, images, cosine, seconds

Examples:
  survlatent train-encoder --network faces.safetensors --out encoder --kimg 100
  survlatent train-encoder --network faces.safetensors --out encoder --resume --kimg 200
  survlatent train-encoder --network newer.safetensors --out again --from encoder/encoder.safetensors
  survlatent train-encoder --network faces.safetensors --from encoder/encoder.safetensors --photos aligned \\
      --out refined --kimg 20";

#[derive(Clone, Copy, ValueEnum)]
enum Units {
    Plain,
    Whitened,
}

#[derive(Serialize)]
struct Report {
    encoder: String,
    generator: String,
    images: u64,
    cosine: f64,
    seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} samples of {}, cosine {:.3}, {:.0} s",
            self.encoder, self.images, self.generator, self.cosine, self.seconds
        )
    }
}

/// Samples of validation.
const HELD_OUT: usize = 256;

impl TrainEncoder {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let device = self.device.open()?;
        let (generator, _, decoder) =
            open_network(self.network.as_deref(), self.which.as_deref(), &device)?;
        let state = self.out.join("state.safetensors");
        let mut trainer = if self.resume {
            let mut other = None;
            let trainer = EncoderTrainer::resume(&decoder, &state, |settings| {
                other = self.other_than(settings);
                settings.kimg = self.kimg.unwrap_or(settings.kimg);
            })?;
            if let Some(option) = other {
                return Err(Failure::usage(format!(
                    "{option}: the run in {} has another; --resume goes on with its own, so leave it out",
                    self.out.display()
                )));
            }
            trainer
        } else {
            if state.exists() {
                return Err(Failure::usage(format!(
                    "{} holds a run; go on with it by --resume, or give another folder",
                    self.out.display()
                )));
            }
            let first = self.first(&device)?;
            gan::make_folder(&self.out)?;
            match first {
                None => EncoderTrainer::new(&decoder, generator, self.settings())?,
                Some(encoder) => {
                    EncoderTrainer::from_encoder(&decoder, generator, self.settings(), &encoder)?
                }
            }
        };
        if let Some(path) = &self.photos {
            trainer = trainer.with_photos(photos(path, &decoder)?)?;
        }
        let started = Instant::now();
        self.train(&mut trainer, &state)?;
        let path = self.out.join("encoder.safetensors");
        let encoder = trainer.encoder();
        encoder.save(&path, self.precision())?;
        let report = Report {
            encoder: path.display().to_string(),
            generator: encoder.generator().to_owned(),
            images: trainer.images(),
            cosine: trainer.validate(HELD_OUT),
            seconds: started.elapsed().as_secs_f64(),
        };
        report::result(self.json.then_some(&report), &report)
    }

    /// The encoder to start from, if there is to be one.
    fn first(&self, device: &Device) -> Result<Option<Encoder>, Failure> {
        let sized = self.channel_base.or(self.channel_max).is_some();
        if sized && (self.from.is_some() || self.photos.is_some()) {
            return Err(Failure::usage(
                "--channel-base and --channel-max: the size is that of the encoder it starts from",
            ));
        }
        if let Some(path) = &self.from {
            return Ok(Some(Encoder::open(path, device)?));
        }
        match (&self.photos, &self.network) {
            (None, _) => Ok(None),
            (Some(_), None) => {
                let shipped = survlatent::assets::FACES_64_ENCODER;
                Ok(Some(Encoder::from_bytes(shipped, device)?))
            }
            (Some(_), Some(_)) => Err(Failure::usage(
                "--photos refine an encoder that samples have trained; give it as --from FILE",
            )),
        }
    }

    fn settings(&self) -> EncoderTraining {
        let on_photos = self.photos.is_some();
        let image = if on_photos { 1.0 } else { 0.0 };
        let defaults = EncoderTraining {
            kimg: if on_photos { 20.0 } else { 100.0 },
            learning_rate: if on_photos { 1e-4 } else { 1e-3 },
            squared: image,
            perceptual: image,
            ..EncoderTraining::default()
        };
        EncoderTraining {
            network: EncoderSettings {
                channel_base: self.channel_base.unwrap_or(defaults.network.channel_base),
                channel_max: self.channel_max.unwrap_or(defaults.network.channel_max),
                ..defaults.network
            },
            coordinates: self.coordinates().unwrap_or(defaults.coordinates),
            kimg: self.kimg.unwrap_or(defaults.kimg),
            batch: self.batch.unwrap_or(defaults.batch),
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            latent: self.latent.unwrap_or(defaults.latent),
            squared: self.squared.unwrap_or(defaults.squared),
            perceptual: self.perceptual.unwrap_or(defaults.perceptual),
            seed: self.seed.unwrap_or(defaults.seed),
            ..defaults
        }
    }

    fn coordinates(&self) -> Option<Coordinates> {
        self.units.map(|units| match units {
            Units::Plain => Coordinates::Plain,
            Units::Whitened => Coordinates::Whitened,
        })
    }

    /// The first option given that says something else than the settings of a run.
    fn other_than(&self, run: &EncoderTraining) -> Option<&'static str> {
        fn other<T: PartialEq>(given: Option<T>, run: &T) -> bool {
            given.is_some_and(|given| given != *run)
        }
        let options = [
            ("--batch", other(self.batch, &run.batch)),
            (
                "--learning-rate",
                other(self.learning_rate, &run.learning_rate),
            ),
            ("--units", other(self.coordinates(), &run.coordinates)),
            ("--latent", other(self.latent, &run.latent)),
            ("--squared", other(self.squared, &run.squared)),
            ("--perceptual", other(self.perceptual, &run.perceptual)),
            (
                "--channel-base",
                other(self.channel_base, &run.network.channel_base),
            ),
            (
                "--channel-max",
                other(self.channel_max, &run.network.channel_max),
            ),
            ("--seed", other(self.seed, &run.seed)),
        ];
        options
            .into_iter()
            .find_map(|(name, other)| other.then_some(name))
    }

    fn precision(&self) -> Precision {
        if self.half {
            Precision::Half
        } else {
            Precision::Single
        }
    }

    /// Trains until the end, the first interrupt or an error; the state is saved in each case, but where the
    /// device's memory is full: the trainer itself may not be good then.
    fn train(&self, trainer: &mut EncoderTrainer<'_>, state: &Path) -> Result<(), Failure> {
        let begun = trainer.steps();
        if let Err(failure) = self.steps(trainer, state) {
            let full = matches!(&failure, Failure::Run(error) if matches!(
                error.downcast_ref(),
                Some(latent_inversion::Error::OutOfMemory { .. })
            ));
            if !full && trainer.steps() > begun {
                self.keep(trainer, state);
            }
            return Err(failure);
        }
        trainer.save(state)?;
        if !trainer.is_finished() {
            return Err(Failure::run(format!(
                "interrupted after {} samples; --resume goes on",
                trainer.images()
            )));
        }
        Ok(())
    }

    /// Saves what was learnt before an error.
    fn keep(&self, trainer: &EncoderTrainer<'_>, state: &Path) {
        let path = self.out.join("encoder.safetensors");
        let saved = trainer.save(state);
        let saved = saved.and_then(|()| trainer.encoder().save(path, self.precision()));
        report::note(&match saved {
            Ok(()) => format!(
                "what was learnt in {} steps is in {}",
                trainer.steps(),
                self.out.display()
            ),
            Err(error) => format!("what was learnt could not be saved: {error}"),
        });
    }

    /// Makes steps until the end or the first interrupt.
    fn steps(&self, trainer: &mut EncoderTrainer<'_>, state: &Path) -> Result<(), Failure> {
        let interrupted = interrupts()?;
        let batch = trainer.settings().batch as u64;
        let steps = trainer.settings().steps();
        #[allow(clippy::cast_sign_loss)]
        let every = |thousands: f64| ((thousands * 1000.0 / batch as f64).ceil() as u64).max(1);
        let (line, save) = (every(1.0), every(self.state));
        let bar = Progress::new(usize::try_from(steps).unwrap_or(usize::MAX), "steps");
        bar.start_at(trainer.steps());
        let mut means = Means::default();
        while !trainer.is_finished() && !interrupted.load(Ordering::SeqCst) {
            let step = trainer.step()?;
            means.add(&step);
            bar.inc();
            let saving = step.step.is_multiple_of(save) || trainer.is_finished();
            if step.step.is_multiple_of(line) || saving {
                let held_out = saving.then(|| trainer.validate(HELD_OUT));
                bar.set_message(means.to_string());
                self.log(&means.line(&step, held_out))?;
                means = Means::default();
            }
            if saving {
                trainer.save(state)?;
                let path = self.out.join("encoder.safetensors");
                trainer.encoder().save(path, self.precision())?;
            }
        }
        bar.finish();
        Ok(())
    }

    fn log(&self, line: &str) -> Result<(), Failure> {
        let path = self.out.join("stats.jsonl");
        let open = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path);
        open.and_then(|mut file| writeln!(file, "{line}"))
            .map_err(|source| Error::Io { path, source }.into())
    }
}

/// The photos to refine on; those that cannot be used are named.
fn photos(path: &Path, decoder: &StyleGan2) -> Result<FacePhotos, Failure> {
    let manifest = if path.is_dir() {
        Manifest::of_folder(path)?
    } else {
        Manifest::read_csv(path)?
    };
    let (photos, others) = FacePhotos::open(&manifest, &PhotoLimits::default(), decoder)?;
    if let Some((id, reason)) = others.first() {
        report::note(&format!(
            "{} of {} photos cannot be used, the first being `{id}`: {reason}",
            others.len(),
            manifest.entries().len()
        ));
    }
    Ok(photos)
}

/// Means since the last line.
#[derive(Default)]
struct Means {
    steps: f64,
    loss: f64,
    /// None on photos.
    cosine: Option<f64>,
}

impl Means {
    fn add(&mut self, step: &EncoderProgress) {
        self.steps += 1.0;
        self.loss += step.loss;
        if let Some(cosine) = step.cosine {
            *self.cosine.get_or_insert(0.0) += cosine;
        }
    }

    fn loss(&self) -> f64 {
        self.loss / self.steps
    }

    fn cosine(&self) -> Option<f64> {
        self.cosine.map(|sum| sum / self.steps)
    }

    fn line(&self, step: &EncoderProgress, held_out: Option<f64>) -> String {
        let mut line = serde_json::json!({"images": step.images, "loss": self.loss()});
        if let Some(cosine) = self.cosine() {
            line["cosine"] = cosine.into();
        }
        if let Some(held_out) = held_out {
            line["held_out_cosine"] = held_out.into();
        }
        line.to_string()
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "steps, loss {:.3}", self.loss())?;
        self.cosine()
            .map_or(Ok(()), |cosine| write!(f, ", cosine {cosine:.3}"))
    }
}
