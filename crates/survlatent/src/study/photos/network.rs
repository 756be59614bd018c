//! The generator and the encoder of a study.

use std::path::Path;

use burn::tensor::Device;
use latent_inversion::{Encoder, EncoderTrainer, EncoderTraining, Precision, StyleGan2};
use serde::{Deserialize, Serialize};
use stylegan2_burn::Checkpoint;

use super::super::read::sha256;
use super::super::results::Input;
use super::super::stages::{Run, key};
use super::PhotoSettings;
use crate::assets::{FACES_64, FACES_64_ENCODER};
use crate::error::{Error, Result};

/// A generator that is opened when a stage needs it.
pub(super) struct Network {
    file: Checkpoint,
    which: String,
    /// Its file's name, or what the shipped one is called.
    pub(super) name: String,
    pub(super) sha256: String,
    /// Side of its pictures.
    pub(super) side: usize,
    /// Of Z and of W.
    pub(super) widths: [usize; 2],
}

impl Network {
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let (name, bytes) = match path {
            None => ("the shipped network".to_owned(), FACES_64.to_vec()),
            Some(path) => (file_name(path), read(path)?),
        };
        let sha256 = sha256(&bytes);
        let fault = |error: stylegan2_burn::Error| match path {
            Some(path) => Error::from(error).in_file(path),
            None => Error::from(error),
        };
        let file = Checkpoint::from_bytes(bytes).map_err(fault)?;
        let which = file.default_generator().map(str::to_owned);
        let which = which.ok_or_else(|| Error::Study {
            reason: format!("{name}: holds no generator"),
        })?;
        let config = file.generator_config(&which).map_err(fault)?;
        let (side, widths) = (config.resolution, [config.z_dim, config.w_dim]);
        Ok(Self {
            file,
            which,
            name,
            sha256,
            side,
            widths,
        })
    }

    pub(super) fn decoder(&self) -> Result<StyleGan2> {
        let generator = self.file.generator(&self.which, &Device::default())?;
        Ok(StyleGan2::new(&generator)?)
    }

    pub(super) fn input(&self) -> Input {
        Input {
            role: "network".into(),
            name: self.name.clone(),
            sha256: self.sha256.clone(),
        }
    }
}

/// An encoder by its bytes.
pub(super) struct EncoderFile {
    /// None for the one that ships.
    path: Option<std::path::PathBuf>,
    pub(super) input: Input,
}

impl EncoderFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            path: Some(path.to_owned()),
            input: Input {
                role: "encoder".into(),
                name: file_name(path),
                sha256: sha256(&read(path)?),
            },
        })
    }

    /// The shipped network's.
    pub(super) fn shipped() -> Self {
        Self {
            path: None,
            input: Input {
                role: "encoder".into(),
                name: "the shipped network's".into(),
                sha256: sha256(FACES_64_ENCODER),
            },
        }
    }

    pub(super) fn encoder(&self) -> Result<Encoder> {
        let device = Device::default();
        Ok(match &self.path {
            Some(path) => Encoder::open(path, &device)?,
            None => Encoder::from_bytes(FACES_64_ENCODER, &device)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Trained {
    /// Cosine of true and found latents less the mean, on samples not trained on.
    cosine: f64,
}

/// Samples of validation.
const HELD_OUT: usize = 256;
/// Samples between the states that an interrupted training goes on from.
const STATE: u64 = 2000;

/// Trains an encoder of the network in the run's folder, or finds the one trained before.
pub(super) fn train(
    run: &Run<'_>,
    settings: &PhotoSettings,
    network: &Network,
    seed: u64,
) -> Result<EncoderFile> {
    let training = EncoderTraining {
        kimg: settings.train_encoder,
        seed,
        ..EncoderTraining::default()
    };
    training.validate()?;
    let run = run.with_key(key(&(&network.sha256, &training))?);
    let folder = run.own_folder("encoder")?;
    let path = folder.join("encoder.safetensors");
    if !path.is_file() {
        run.forget("0-encoder");
    }
    let steps = usize::try_from(training.steps()).unwrap_or(usize::MAX);
    let trained: Trained = run.stage("0-encoder", steps, |_| {
        let decoder = network.decoder()?;
        let state = folder.join("state.safetensors");
        let mut trainer = if state.is_file() {
            EncoderTrainer::resume(&decoder, &state, |_| {})?
        } else {
            EncoderTrainer::new(&decoder, network.name.clone(), training.clone())?
        };
        let every = STATE.div_ceil(training.batch as u64);
        while !trainer.is_finished() {
            let step = trainer.step()?.step;
            if step.is_multiple_of(every) {
                trainer.save(&state)?;
            }
            let done = usize::try_from(step).unwrap_or(usize::MAX);
            run.progress("0-encoder", done, steps)?;
        }
        trainer.encoder().save(&path, Precision::Single)?;
        let cosine = trainer.validate(HELD_OUT);
        Ok(Trained { cosine })
    })?;
    let mut file = EncoderFile::open(&path)?;
    file.input.name = format!(
        "trained on {:.0} samples, cosine {:.2}",
        1000.0 * settings.train_encoder,
        trained.cosine
    );
    Ok(file)
}

fn file_name(path: &Path) -> String {
    let name = path.file_name();
    name.map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}
