//! The whole state of a training in one file, from which it goes on with the same bits.
//!
//! A safetensors file: the network (`network.`), that of the best epoch (`best.`) and the moments of the optimiser
//! (`moment.`) as tensors; settings, losses and the place in the stream of random numbers in the header.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::SafeTensors;
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use super::fit::{Epoch, Inputs};
use super::io::{Block, Blocks, bad, header_of, read, read_weights, write_whole};
use super::network::Weights;
use super::train::DeepSurv;
use crate::error::{Error, Result};
use crate::surv::Surv;

const KEY: &str = "cox-survival.deepsurv-training";
const VERSION: u32 = 1;

/// Where a training keeps its state: see [`DeepSurv::fit_resumable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingState {
    path: PathBuf,
    every: usize,
}

impl TrainingState {
    /// A file that need not exist yet; it is written every 10 epochs.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            every: 10,
        }
    }

    /// Writes the state every so many epochs (at least 1), at the end, and on interruption.
    pub fn every(mut self, epochs: usize) -> Self {
        self.every = epochs.max(1);
        self
    }

    pub(super) fn is_due(&self, epochs: usize) -> bool {
        epochs.is_multiple_of(self.every)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Where a training stands after an epoch.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) history: Vec<Epoch>,
    /// Learning rate of the next epoch.
    pub(super) rate: f64,
    /// Epoch of the least loss of those held out, and its network.
    pub(super) best: Option<(usize, Weights)>,
    pub(super) optimiser: AdamW,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    settings: DeepSurv,
    fingerprint: u64,
    history: Vec<Epoch>,
    rate: f64,
    best: Option<usize>,
    steps: u64,
    parameters: usize,
    /// Words taken from the generator of the seed, which may exceed what JSON holds as a number.
    drawn: String,
}

/// A number that other data hardly share (FNV-1a over all that training sees).
pub(super) fn fingerprint(surv: &Surv, inputs: &Inputs, values: &[f32]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut mix = |word: u64| {
        for byte in word.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for i in 0..surv.n() {
        mix(surv.time()[i].to_bits());
        mix(u64::from(surv.event()[i]) | u64::from(surv.stratum()[i]) << 1);
        mix(surv.weight(i).to_bits());
    }
    for v in inputs.mean.iter().chain(&inputs.scale) {
        mix(v.to_bits());
    }
    for v in values {
        mix(u64::from(v.to_bits()));
    }
    hash
}

/// Writes the state; the file appears whole or not at all.
pub(super) fn save(
    path: &Path,
    settings: &DeepSurv,
    fingerprint: u64,
    standing: &Standing,
    network: &Weights,
    rng: &ChaCha8Rng,
) -> Result<()> {
    let moments = standing.optimiser.moments();
    let header = Header {
        version: VERSION,
        settings: settings.clone(),
        fingerprint,
        history: standing.history.clone(),
        rate: standing.rate,
        best: standing.best.as_ref().map(|(epoch, _)| *epoch),
        steps: standing.optimiser.steps,
        parameters: moments.len(),
        drawn: rng.get_word_pos().to_string(),
    };
    let header = serde_json::to_string(&header).map_err(|e| bad(e.to_string()))?;
    let mut blocks: Blocks<'_> = network.blocks("network.");
    if let Some((_, best)) = &standing.best {
        blocks.extend(best.blocks("best."));
    }
    for (k, pair) in moments.iter().enumerate() {
        for (name, values) in ["first", "second"].into_iter().zip(pair) {
            blocks.push((format!("moment.{k}.{name}"), Block::vector(values)));
        }
    }
    let metadata = std::collections::HashMap::from([(KEY.to_owned(), header)]);
    let bytes = safetensors::serialize(blocks, Some(metadata)).map_err(|e| bad(e.to_string()))?;
    write_whole(path, &bytes)
}

/// What a file of [`save`] for so many inputs holds, if there is one.
///
/// # Errors
/// [`Error::File`] when it is no such file, not whole, or of a training with other settings (the number of epochs
/// aside) or other data.
pub(super) fn load(
    path: &Path,
    settings: &DeepSurv,
    inputs: usize,
    fingerprint: u64,
    device: &Device,
) -> Result<Option<(Standing, Weights, ChaCha8Rng)>> {
    let say = |reason: String| Error::File {
        reason: format!("{}: {reason}", path.display()),
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(say(error.to_string())),
    };
    parse(&bytes, settings, inputs, fingerprint, device)
        .map(Some)
        .map_err(|error| match error {
            Error::File { reason } => say(reason),
            other => other,
        })
}

fn parse(
    bytes: &[u8],
    settings: &DeepSurv,
    inputs: usize,
    fingerprint: u64,
    device: &Device,
) -> Result<(Standing, Weights, ChaCha8Rng)> {
    let header: Header = header_of(bytes, KEY, "it holds no state of a DeepSurv training")?;
    if header.version != VERSION {
        return Err(bad(format!("version {} is not known", header.version)));
    }
    if header.settings.clone().epochs(1) != settings.clone().epochs(1) {
        return Err(bad("it is of a training with other settings"));
    }
    if header.fingerprint != fingerprint {
        return Err(bad("it is of a training on other data"));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| bad(e.to_string()))?;
    let shape = settings.shape();
    let network = read_weights(&file, "network.", shape, inputs)?;
    let best = match header.best {
        Some(epoch) if epoch < header.history.len() => {
            Some((epoch, read_weights(&file, "best.", shape, inputs)?))
        }
        Some(_) => return Err(bad("its best epoch is not one of its epochs")),
        None => None,
    };
    let sizes = network.sizes();
    if header.parameters != 0 && header.parameters != sizes.len() {
        return Err(bad("it has not as many moments as parameters"));
    }
    let mut moments = Vec::with_capacity(sizes.len());
    for (k, &size) in sizes.iter().enumerate().take(header.parameters) {
        let one = |name: &str| read(&file, &format!("moment.{k}.{name}"), &[size]);
        moments.push([one("first")?, one("second")?]);
    }
    let drawn = header.drawn.parse().map_err(|_| bad("no place of draws"))?;
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seeded());
    rng.set_word_pos(drawn);
    let plain = device.clone().inner();
    let standing = Standing {
        history: header.history,
        rate: header.rate,
        best,
        optimiser: AdamW::resumed(settings.decayed(), header.steps, &moments, &plain),
    };
    Ok((standing, network, rng))
}
