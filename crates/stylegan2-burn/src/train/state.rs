//! The whole state of a training in one file.
//!
//! A state is a network file (`G`, `D` and `G_ema` under their published names, so that every
//! reader of networks opens it) with the optimisers' moments beside them and settings and
//! counters in the metadata. Numbers are written as they are: a training that goes on from a file
//! computes the same bits as one that never stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Extra, FloatFormat, Network, save_with};
use crate::error::{Error, Result};
use crate::train::init::Networks;
use crate::train::optimizer::AdamState;
use crate::train::parameters::Slot;
use crate::train::settings::TrainSettings;
use crate::train::source::ImageSource;
use crate::train::trainer::{Progress, Trainer};

/// The key of the metadata that makes a network file a state.
const KEY: &str = "training";

/// What the metadata hold.
#[derive(Serialize, Deserialize)]
struct Record {
    settings: TrainSettings,
    progress: Progress,
    /// Updates made by the optimisers of G and D.
    steps: [u64; 2],
    /// Names of the trained parameters of G and D, in the order of the moments.
    trained: [Vec<String>; 2],
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Safetensors {
        reason: reason.into(),
    }
}

impl Trainer {
    /// Writes the state; the file appears whole or not at all, and the training is the same after
    /// a failure.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let names = |slots: &[Slot]| slots.iter().map(|s| s.name.clone()).collect();
        let record = Record {
            settings: self.settings.clone(),
            progress: self.progress.clone(),
            steps: [self.g.moments.steps, self.d.moments.steps],
            trained: [names(&self.g.slots), names(&self.d.slots)],
        };
        let record = serde_json::to_string(&record).map_err(|e| malformed(e.to_string()))?;
        let mut extras = Vec::new();
        for (side, moments) in [("G", &self.g.moments), ("D", &self.d.moments)] {
            let first = moments.first.as_ref().map(|m| ("first", m));
            for (name, moment) in first.into_iter().chain([("second", &moments.second)]) {
                extras.push(Extra {
                    name: format!("optimizer.{side}.{name}_moment"),
                    tensor: moment.clone(),
                });
            }
        }
        save_with(
            path.as_ref(),
            &self.network_list(),
            FloatFormat::F32,
            &extras,
            &BTreeMap::from([(KEY, record)]),
        )
    }

    /// Writes `G_ema`, `G` and `D` as a network file without the optimisers' moments.
    pub fn save_networks(&self, path: impl AsRef<Path>, format: FloatFormat) -> Result<()> {
        crate::checkpoint::save(path.as_ref(), &self.network_list(), format)
    }

    fn network_list(&self) -> [(&'static str, Network<'_>); 3] {
        let (g, d) = (&self.networks.generator, &self.networks.discriminator);
        [
            ("G", Network::Generator(g, &self.g.module)),
            ("D", Network::Discriminator(d, &self.d.module)),
            ("G_ema", Network::Generator(g, &self.average)),
        ]
    }

    /// Goes on from a state written by [`Trainer::save`].
    ///
    /// On the same kind of device the training computes the same bits as if it had not stopped.
    pub fn resume(
        path: impl AsRef<Path>,
        source: Arc<dyn ImageSource>,
        device: &Device,
    ) -> Result<Self> {
        Self::resume_with(path, source, device, |_| {})
    }

    /// As [`Trainer::resume`], with some settings changed: the number of images to train for,
    /// say.
    pub fn resume_with(
        path: impl AsRef<Path>,
        source: Arc<dyn ImageSource>,
        device: &Device,
        change: impl FnOnce(&mut TrainSettings),
    ) -> Result<Self> {
        let path = path.as_ref();
        let file = Checkpoint::open(path)?;
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|e| malformed(e.to_string()))?;
        let text = header.metadata().as_ref().and_then(|m| m.get(KEY));
        let text = text.ok_or_else(|| Error::Unsupported {
            what: format!("going on from {}", path.display()),
            detail: "it holds networks but no state of a training; start from it as a network"
                .to_owned(),
        })?;
        let mut record: Record =
            serde_json::from_str(text).map_err(|e| malformed(format!("metadata: {e}")))?;
        change(&mut record.settings);
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
        let networks = Networks::open(&file, device)?;
        let mut trainer = Self::assemble(record.settings, networks, source, record.progress)?;
        let [g_steps, d_steps] = record.steps;
        let [g_trained, d_trained] = &record.trained;
        restore(
            "G",
            &tensors,
            &mut trainer.g.moments,
            &trainer.g.slots,
            g_trained,
            g_steps,
        )?;
        restore(
            "D",
            &tensors,
            &mut trainer.d.moments,
            &trainer.d.slots,
            d_trained,
            d_steps,
        )?;
        Ok(trainer)
    }
}

/// Fills moments of zero with those of the file.
fn restore(
    side: &str,
    file: &SafeTensors<'_>,
    moments: &mut AdamState,
    slots: &[Slot],
    trained: &[String],
    steps: u64,
) -> Result<()> {
    if !slots.iter().map(|s| &s.name).eq(trained) {
        return Err(Error::Unsupported {
            what: format!("going on with other trained parameters of {side}"),
            detail: format!("{} in the state, {} now", trained.len(), slots.len()),
        });
    }
    let read = |name: &str, like: &Tensor<1>| {
        let name = format!("optimizer.{side}.{name}_moment");
        let view = file
            .tensor(&name)
            .map_err(|e| malformed(format!("`{name}`: {e}")))?;
        let values: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        if view.dtype() != safetensors::Dtype::F32 || [values.len()] != like.dims() {
            let reason = format!("{} numbers instead of {}", values.len(), like.dims()[0]);
            return Err(Error::Tensor {
                tensor: name,
                reason,
            });
        }
        let count = values.len();
        Ok(Tensor::from_data(
            TensorData::new(values, [count]),
            &like.device(),
        ))
    };
    if let Some(first) = moments.first.take() {
        moments.first = Some(read("first", &first)?);
    }
    moments.second = read("second", &moments.second)?;
    moments.steps = steps;
    Ok(())
}
