//! `survlatent train-encoder`: a network that reads latents off pictures.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::{Args, ValueEnum};
use latent_inversion::{
    Coordinates, Encoder, EncoderProgress, EncoderSettings, EncoderTrainer, EncoderTraining,
    Precision,
};
use serde::Serialize;
use survlatent::Error;

use super::open_network;
use crate::device::DeviceArg;
use crate::failure::Failure;
use crate::interrupt::interrupts;
use crate::{gan, report, value};

/// Train a network that reads latents off a generator's pictures, on samples of the generator
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
    /// Go on with the run from its last state; settings are the run's, --kimg may be raised
    #[arg(long)]
    resume: bool,
    /// Start from this encoder, made for an earlier state of the generator, say
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// Thousands of samples to train on [default: 100]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    kimg: Option<f64>,
    /// Samples per step
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = value::count::<1>)]
    batch: usize,
    #[command(flatten)]
    device: DeviceArg,
    /// Learning rate at the start
    #[arg(long, value_name = "X", default_value_t = 1e-3, value_parser = value::positive)]
    learning_rate: f64,
    /// Units in which latents are compared
    #[arg(long, value_enum, default_value_t = Units::Plain)]
    units: Units,
    /// Weight of the difference of latents
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = value::not_negative)]
    latent: f64,
    /// Weight of squared differences of pixels
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = value::not_negative)]
    squared: f64,
    /// Weight of LPIPS
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = value::not_negative)]
    perceptual: f64,
    /// Feature maps at resolution r are this over r
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = value::count::<8>)]
    channel_base: usize,
    /// Upper bound on feature maps
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = value::count::<8>)]
    channel_max: usize,
    /// Seed of weights and samples
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
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
  had not stopped.

JSON:
  encoder (file), generator, images, cosine, seconds

Examples:
  survlatent train-encoder --network faces.safetensors --out encoder --kimg 100
  survlatent train-encoder --network faces.safetensors --out encoder --resume --kimg 200
  survlatent train-encoder --network newer.safetensors --out again --from encoder/encoder.safetensors";

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
            EncoderTrainer::resume(&decoder, &state, |settings| {
                settings.kimg = self.kimg.unwrap_or(settings.kimg);
            })?
        } else {
            if state.exists() {
                return Err(Failure::usage(format!(
                    "{} holds a run; go on with it by --resume, or give another folder",
                    self.out.display()
                )));
            }
            gan::make_folder(&self.out)?;
            match &self.from {
                None => EncoderTrainer::new(&decoder, generator, self.settings())?,
                Some(path) => {
                    let encoder = Encoder::open(path, &device)?;
                    EncoderTrainer::from_encoder(&decoder, generator, self.settings(), &encoder)?
                }
            }
        };
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

    fn settings(&self) -> EncoderTraining {
        let defaults = EncoderTraining::default();
        EncoderTraining {
            network: EncoderSettings {
                channel_base: self.channel_base,
                channel_max: self.channel_max,
                ..EncoderSettings::default()
            },
            coordinates: match self.units {
                Units::Plain => Coordinates::Plain,
                Units::Whitened => Coordinates::Whitened,
            },
            kimg: self.kimg.unwrap_or(defaults.kimg),
            batch: self.batch,
            learning_rate: self.learning_rate,
            latent: self.latent,
            squared: self.squared,
            perceptual: self.perceptual,
            seed: self.seed,
            ..defaults
        }
    }

    fn precision(&self) -> Precision {
        if self.half {
            Precision::Half
        } else {
            Precision::Single
        }
    }

    /// Trains until the end or the first interrupt; the state is saved in either case.
    fn train(&self, trainer: &mut EncoderTrainer<'_>, state: &Path) -> Result<(), Failure> {
        let interrupted = interrupts()?;
        let batch = trainer.settings().batch as u64;
        let steps = trainer.settings().steps();
        #[allow(clippy::cast_sign_loss)]
        let every = |thousands: f64| ((thousands * 1000.0 / batch as f64).ceil() as u64).max(1);
        let (line, save) = (every(1.0), every(self.state));
        let bar = gan::progress(usize::try_from(steps).unwrap_or(usize::MAX), "steps");
        bar.set_position(trainer.steps());
        let mut means = Means::default();
        while !trainer.is_finished() && !interrupted.load(Ordering::SeqCst) {
            let step = trainer.step()?;
            means.add(&step);
            bar.inc(1);
            let saving = step.step.is_multiple_of(save) || trainer.is_finished();
            if step.step.is_multiple_of(line) || saving {
                let held_out = saving.then(|| trainer.validate(HELD_OUT));
                bar.set_message(format!(
                    "loss {:.3}, cosine {:.3}",
                    means.loss(),
                    means.cosine()
                ));
                self.log(&means.line(&step, held_out))?;
                means = Means::default();
            }
            if saving {
                trainer.save(state)?;
                let path = self.out.join("encoder.safetensors");
                trainer.encoder().save(path, self.precision())?;
            }
        }
        bar.finish_and_clear();
        trainer.save(state)?;
        if !trainer.is_finished() {
            return Err(Failure::run(format!(
                "interrupted after {} samples; --resume goes on",
                trainer.images()
            )));
        }
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

/// Means since the last line.
#[derive(Default)]
struct Means {
    steps: f64,
    loss: f64,
    cosine: f64,
}

impl Means {
    fn add(&mut self, step: &EncoderProgress) {
        self.steps += 1.0;
        self.loss += step.loss;
        self.cosine += step.cosine;
    }

    fn loss(&self) -> f64 {
        self.loss / self.steps
    }

    fn cosine(&self) -> f64 {
        self.cosine / self.steps
    }

    fn line(&self, step: &EncoderProgress, held_out: Option<f64>) -> String {
        let mut line = serde_json::json!({
            "images": step.images, "loss": self.loss(), "cosine": self.cosine(),
        });
        if let Some(held_out) = held_out {
            line["held_out_cosine"] = held_out.into();
        }
        line.to_string()
    }
}
