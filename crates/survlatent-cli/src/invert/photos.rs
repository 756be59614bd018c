//! `survlatent invert`: the latents of a cohort of photos.

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use latent_inversion::cohort::{Cohort, CohortProgress, CohortResult, Manifest, Shard};
use latent_inversion::{Decoder, Encoder, Inverter, Method, PivotalTuning, Tools, WDistribution};
use serde::Serialize;

use super::lpips::LpipsArg;
use super::open_network;
use super::tuned::{Tuning, check_ids};
use crate::device::DeviceArg;
use crate::failure::Failure;
use crate::gan::network::PrecisionArg;
use crate::interrupt::interrupts;
use crate::progress::Progress;
use crate::{report, value};

/// Find the latents of photos: of a whole cohort, in shards, restartable
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Invert {
    /// Faces as survlatent align cuts them out: a folder, or a table with columns id, file and, if
    /// wanted, patient
    #[arg(long, value_name = "DIR|MANIFEST.csv")]
    photos: PathBuf,
    /// Set photos of the table aside whose files are not there, instead of refusing the table
    #[arg(long)]
    skip_missing: bool,
    /// The generator (.pkl, .pt or .safetensors; default: the one that ships, faces of 64 px)
    #[arg(long, value_name = "NET")]
    network: Option<PathBuf>,
    /// Generator in the file, where there are several (default: the averaged one)
    #[arg(long, value_name = "NAME")]
    which: Option<String>,
    /// Folder of the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How latents are found
    #[arg(long, value_enum, default_value_t = MethodArg::Default)]
    method: MethodArg,
    /// Encoder of the network, from survlatent train-encoder, for the methods default and encoder
    /// (default: the shipped network's own)
    #[arg(long, value_name = "FILE")]
    encoder: Option<PathBuf>,
    /// Steps of optimisation in all (default: 100, of which 40 in W
    /// and 60 in W+; projector 1000, hybrid 300; pti as the method it starts with)
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    steps: Option<usize>,
    /// Steps of tuning, for the method pti [default: 350]
    #[arg(long, value_name = "N", value_parser = value::count::<1>)]
    tuning_steps: Option<usize>,
    /// Photos computed at once; results do not depend on it, and where the device's memory is too
    /// small for it the run goes on with half of it
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value::count::<1>)]
    batch: usize,
    #[command(flatten)]
    lpips: LpipsArg,
    /// Precision of the generator's highest resolutions, for networks that allow half precision there
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    precision: PrecisionArg,
    #[command(flatten)]
    device: DeviceArg,
    /// Do part I, from 0, of N parts of the photos
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    shard: Shard,
    /// Go on with what an interrupted run has done
    #[arg(long)]
    resume: bool,
    /// Seed of the random numbers, which depend on it and the photo's id
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object instead of the counts
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Methods:
  default    the encoder's latent, then short optimisations of W and of W+
  projector  StyleGAN2's projector: W from the mean latent, with noise images; its schedule, samples of W
             and losses are the published ones, LPIPS too with --lpips and VGG16's weights. The noise
             images are not kept: lpips and psnr are of w with the network's own noise
  encoder    the encoder's latent alone
  hybrid     W from the mean latent, then W+ tied to it
  pti        as default (as hybrid for a --network without --encoder), then the generator itself is tuned
             for each photo around its w: OUT/tuned/ID.safetensors, and OUT/tuned.csv with what was
             reached. What was tuned before is kept if photo, latent, network and settings are the same
  Where a generator's Z is at most a quarter as wide as W, as that of the shipped one, all but projector
  seek w in Z: among the generator's own latents.

Files in OUT:
  latents.safetensors: w [N, w_dim] for survival models (cox --features-file), w_plus
  [N, layers, w_dim] for pictures, ids and patients in the header. latents.csv: id, patient, file,
  status, trusted, lpips and psnr of w_plus and of w, mahalanobis (distance of w from the mean
  latent), iterations (steps made), seconds, reason of what was set aside. With --shard 1/8 the
  names are latents-00001-of-00008.*; survlatent gather makes one file of them. Until a shard is
  done its batches are in a folder *.parts; the same command with --resume goes on from there and
  gives the same bits. Photos that were replaced meanwhile, or were missing and are there now, are
  done again; in a finished shard they are refused.

JSON:
  latents, table (files), photos, inverted, trusted, set_aside, earlier (done by an earlier run);
  tuned (file) with the method pti

Examples:
  survlatent invert --photos faces --out latents
  survlatent invert --photos faces --network faces.safetensors --encoder encoder.safetensors \\
      --out latents
  survlatent invert --photos cohort.csv --network faces.safetensors --method hybrid --out latents \\
      --shard 3/16 --resume";

#[derive(Clone, Copy, ValueEnum)]
enum MethodArg {
    Default,
    Projector,
    Encoder,
    Hybrid,
    Pti,
}

impl From<MethodArg> for Method {
    fn from(method: MethodArg) -> Self {
        match method {
            MethodArg::Default => Self::Default,
            MethodArg::Projector => Self::Projector,
            MethodArg::Encoder => Self::Encoder,
            MethodArg::Hybrid | MethodArg::Pti => Self::Hybrid,
        }
    }
}

#[derive(Serialize)]
struct Counts {
    latents: String,
    table: String,
    photos: usize,
    inverted: usize,
    trusted: usize,
    set_aside: usize,
    earlier: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    tuned: Option<String>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} photos: {} inverted, {} of them trusted",
            self.photos, self.inverted, self.trusted
        )?;
        if self.set_aside > 0 {
            write!(f, ", {} set aside", self.set_aside)?;
        }
        if self.earlier > 0 {
            write!(f, " ({} in an earlier run)", self.earlier)?;
        }
        writeln!(f, "\n{}\n{}", self.latents, self.table)?;
        self.tuned
            .as_ref()
            .map_or(Ok(()), |tuned| writeln!(f, "{tuned}"))
    }
}

impl Invert {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let method = self.method();
        if method.needs_encoder() && self.encoder.is_none() && self.network.is_some() {
            return Err(Failure::usage(
                "this method needs --encoder FILE (make one with survlatent train-encoder), or take \
                 --method hybrid",
            ));
        }
        self.refuse_ignored()?;
        let manifest = if self.photos.is_dir() {
            Manifest::of_folder(&self.photos)?
        } else if self.skip_missing {
            Manifest::read_csv_skipping(&self.photos)?
        } else {
            Manifest::read_csv(&self.photos)?
        };
        if matches!(self.method, MethodArg::Pti) {
            check_ids(&manifest)?;
        }
        let mut inverter = Inverter::new(method).with_seed(self.seed);
        if let Some(steps) = self.steps {
            inverter = inverter.with_steps(steps);
        }
        let mut cohort = Cohort {
            inverter,
            batch: self.batch,
            shard: self.shard,
            ..Cohort::default()
        };
        if !self.resume && cohort.is_begun(&self.out) {
            return Err(Failure::usage(format!(
                "{} holds results of this shard; --resume goes on with them, or give another folder",
                self.out.display()
            )));
        }
        let device = self.device.open()?;
        let (name, config, decoder) =
            open_network(self.network.as_deref(), self.which.as_deref(), &device)?;
        if self.precision != PrecisionArg::F32 && config.half_resolutions == 0 {
            return Err(Failure::usage(format!(
                "--precision: {name} allows half precision in none of its layers"
            )));
        }
        let decoder = decoder.with_precision(self.precision.into());
        cohort.inverter = cohort.inverter.suited_to(decoder.z_dim(), decoder.w_dim());
        let encoder = self.encoder(&device)?;
        if let Some(encoder) = encoder.as_ref().filter(|e| !e.belongs_to(&decoder)) {
            report::note(&format!(
                "the encoder was trained for another state of the generator, {} ({})",
                encoder.generator(),
                encoder.fingerprint()
            ));
        }
        let lpips = self.lpips.open(&name, &decoder, &device)?;
        let distribution = if method == Method::Projector {
            WDistribution::published(&decoder)?
        } else {
            WDistribution::estimate(&decoder, WDistribution::SAMPLES, 0)?
        };
        let tools = Tools {
            decoder: &decoder,
            lpips: &lpips,
            distribution: &distribution,
            encoder: encoder.as_ref(),
        };
        let interrupted = interrupts()?;
        let result = self.cohort(&cohort, &tools, &manifest, &interrupted)?;
        let mut counts = counts(&result);
        if matches!(self.method, MethodArg::Pti) {
            let tuning = Tuning {
                settings: PivotalTuning {
                    steps: self.tuning_steps.unwrap_or(PivotalTuning::default().steps),
                    seed: self.seed,
                    ..PivotalTuning::default()
                },
                decoder: &decoder,
                config: &config,
                lpips: &lpips,
                device: &device,
                interrupted: &interrupted,
            };
            counts.tuned = Some(tuning.run(&result)?.display().to_string());
        }
        report::result(self.json.then_some(&counts), &counts)
    }

    /// Refuses what the method or the photos would leave without effect.
    fn refuse_ignored(&self) -> Result<(), Failure> {
        let method = self.method();
        let reason = if self.encoder.is_some() && !method.needs_encoder() {
            "--encoder: this method starts from the mean latent; leave it out, or take --method default"
        } else if self.steps.is_some() && method == Method::Encoder {
            "--steps: the method encoder makes none"
        } else if self.tuning_steps.is_some() && !matches!(self.method, MethodArg::Pti) {
            "--tuning-steps: only --method pti tunes networks"
        } else if self.skip_missing && self.photos.is_dir() {
            "--skip-missing is for a table of photos; in a folder none is missing"
        } else {
            return Ok(());
        };
        Err(Failure::usage(reason))
    }

    /// Pivotal tuning starts from the encoder where there is one.
    fn method(&self) -> Method {
        match self.method {
            MethodArg::Pti if self.encoder.is_some() || self.network.is_none() => Method::Default,
            method => method.into(),
        }
    }

    fn encoder(&self, device: &Device) -> Result<Option<Encoder>, Failure> {
        if !self.method().needs_encoder() {
            return Ok(None);
        }
        let encoder = match &self.encoder {
            Some(path) => Encoder::open(path, device),
            None => Encoder::from_bytes(survlatent::assets::FACES_64_ENCODER, device),
        };
        Ok(Some(encoder?))
    }

    fn cohort(
        &self,
        cohort: &Cohort,
        tools: &Tools<'_>,
        manifest: &Manifest,
        interrupted: &AtomicBool,
    ) -> Result<CohortResult, Failure> {
        let photos = self.shard.range(manifest.entries().len()).len();
        let bar = Progress::new(photos, "photos");
        let (mut first, mut at_once) = (true, cohort.batch);
        let result = cohort.run(
            tools,
            manifest,
            &self.out,
            &mut |progress: &CohortProgress| {
                if first {
                    bar.start_at(progress.earlier as u64);
                    first = false;
                }
                if progress.at_once < at_once {
                    bar.suspend(|| {
                        report::note(&format!(
                            "the device's memory is too small for {at_once} photos at once; going on \
                             with {}",
                            progress.at_once
                        ));
                    });
                    at_once = progress.at_once;
                }
                let within = progress.within * progress.batch as f64;
                #[allow(clippy::cast_sign_loss)]
                bar.set_position(progress.done as u64 + within as u64);
                if interrupted.load(Ordering::SeqCst) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        bar.finish();
        result?.ok_or_else(|| {
            Failure::run(format!(
                "interrupted; the same command with --resume goes on, what is done is in {}",
                self.out.display()
            ))
        })
    }
}

fn counts(result: &CohortResult) -> Counts {
    Counts {
        latents: result.latents.display().to_string(),
        table: result.table.display().to_string(),
        photos: result.status.len(),
        inverted: result.inverted(),
        trusted: result.trusted(),
        set_aside: result.status.len() - result.inverted(),
        earlier: result.earlier,
        tuned: None,
    }
}
