//! The whole state of a training in one file.
//!
//! A state is a network file (`G`, `D` and `G_ema` under their published names, so that every
//! reader of networks opens it) with the optimisers' moments beside them and settings and
//! counters in the metadata. Numbers are written as they are: a training that goes on from a file
//! computes the same bits as one that never stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Extra, FloatFormat, Network, save_with};
use crate::error::{Error, Result};
use crate::train::ada::AdaController;
use crate::train::init::Networks;
use crate::train::optimizer::AdamState;
use crate::train::parameters::{self, Slot};
use crate::train::preset::Plan;
use crate::train::settings::{AugmentStrength, TrainSettings};
use crate::train::source::ImageSource;
use crate::train::trainer::{Progress, Trainer};

/// The key of the metadata that makes a network file a state.
const KEY: &str = "training";

/// What the metadata hold.
#[derive(Debug, Serialize, Deserialize)]
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
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] if a parameter or a moment is not finite: what nothing can go on from
    /// never takes the place of a state of before.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check_finite()?;
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
            for (name, moment) in moments.named() {
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
    ///
    /// # Errors
    ///
    /// As [`Trainer::save`].
    pub fn save_networks(&self, path: impl AsRef<Path>, format: FloatFormat) -> Result<()> {
        self.check_finite()?;
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

    /// Finds the first tensor that is not finite.
    fn check_finite(&self) -> Result<()> {
        let all = |_: &str, _: bool| true;
        let (g, d) = (self.g_names(), self.d_names());
        let networks = [
            ("G", parameters::named(&self.g.module, g.clone(), &all)),
            ("D", parameters::named(&self.d.module, d, &all)),
            ("G_ema", parameters::named(&self.average, g, &all)),
        ];
        let moments = [("G", &self.g.moments), ("D", &self.d.moments)];
        let moments = moments.into_iter().flat_map(|(side, moments)| {
            let named = moments.named().into_iter();
            named.map(move |(name, m)| (format!("optimizer.{side}.{name}_moment"), m.clone()))
        });
        let find = |name: String, slots: &[Slot], values: Tensor<1>| {
            if values.clone().is_finite().all().into_scalar::<bool>() {
                return Ok(());
            }
            let mut at = 0;
            let first = slots.iter().find(|slot| {
                let count = slot.shape.iter().product::<usize>();
                at += count;
                let part = values.clone().slice_dim(0, at - count..at);
                !part.is_finite().all().into_scalar::<bool>()
            });
            Err(Error::NotFinite {
                step: self.progress.iteration,
                tensor: first.map_or(name.clone(), |slot| format!("{name}.{}", slot.name)),
            })
        };
        for (name, (slots, values)) in networks {
            find(name.to_owned(), &slots, values)?;
        }
        for (name, values) in moments {
            find(name, &[], values)?;
        }
        Ok(())
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

    /// As [`Trainer::resume`], with some settings changed: see [`TrainState::resume`].
    pub fn resume_with(
        path: impl AsRef<Path>,
        source: Arc<dyn ImageSource>,
        device: &Device,
        change: impl FnOnce(&mut TrainSettings),
    ) -> Result<Self> {
        TrainState::open(path)?.resume(source, device, change)
    }
}

/// A state in a file, to look at before a training goes on from it: what pictures it needs, say.
#[derive(Debug)]
pub struct TrainState {
    path: PathBuf,
    file: Checkpoint,
    record: Record,
    plan: Plan,
}

impl TrainState {
    /// Opens a file written by [`Trainer::save`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if it holds networks but no state.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
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
        let generator = file.generator_config("G")?.clone();
        let discriminator = file.discriminator_config("D")?.clone();
        // States of earlier versions keep the number with the network.
        let frozen = discriminator.freeze_layers;
        record.settings.freeze_d = record.settings.freeze_d.max(frozen);
        Ok(Self {
            plan: Plan {
                generator,
                discriminator: discriminator.with_freeze_layers(0),
                settings: record.settings.clone(),
            },
            path: path.to_owned(),
            file,
            record,
        })
    }

    /// Networks and settings.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Counters and running means.
    pub fn progress(&self) -> &Progress {
        &self.record.progress
    }

    /// Goes on with the training, with some settings changed: the number of images to train for,
    /// say, or the weight of a penalty. Without a change the bits are those of a training that did not stop.
    ///
    /// An augmentation that becomes adaptive starts from the fixed probability of before, or from
    /// [`TrainSettings::augment_start`]; one that was adaptive keeps its probability and takes the new
    /// target and speed.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the change concerns which parameters are trained.
    pub fn resume(
        self,
        source: Arc<dyn ImageSource>,
        device: &Device,
        change: impl FnOnce(&mut TrainSettings),
    ) -> Result<Trainer> {
        let Self {
            path, file, record, ..
        } = self;
        let Record {
            mut settings,
            mut progress,
            ..
        } = record;
        let before = settings.augment;
        change(&mut settings);
        progress.ada = match (settings.adaptive(), progress.ada) {
            (None, _) => None,
            (Some(config), Some(ada)) => Some(ada.with_config(config)?),
            (Some(mut config), None) => {
                if let AugmentStrength::Fixed(p) = before {
                    config.initial = p;
                }
                Some(AdaController::new(config)?)
            }
        };
        let networks = Networks::open(&file, device)?;
        let mut trainer = Trainer::assemble(settings, networks, source, progress)?;
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
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
