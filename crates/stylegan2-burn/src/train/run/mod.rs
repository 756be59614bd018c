//! The folder of a training run.
//!
//! | file | what it is |
//! | --- | --- |
//! | `config.toml` | networks and settings |
//! | `stats.jsonl` | one line per tick: means of the [`StepReport`](crate::train::StepReport)s |
//! | `metrics.jsonl` | one line per snapshot, if a [`Measure`] was given |
//! | `reals.png`, `fakes000200.png` | real images; images of fixed latents at 200 kimg |
//! | `network-000200.safetensors` | `G_ema`, `G` and `D` at 200 kimg |
//! | `state.safetensors` | the last state, to go on from; from the beginning on |
//! | `events.out.tfevents.*` | the figures for `TensorBoard`; one file per start |
//!
//! Every file but `*.jsonl` and the events appears whole or not at all. A snapshot that is not the first of
//! its thousand images has the rest in its name: `network-000000.512.safetensors`.

mod observer;
mod pictures;
mod saved;
mod settings;
mod snapshots;
mod stats;

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;

use crate::Generator;
use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::train::events::EventWriter;
use crate::train::settings::TrainSettings;
use crate::train::source::ImageSource;
use crate::train::trainer::{StepReport, Trainer};
pub use observer::Observer;
pub use saved::SavedRun;
pub use settings::RunSettings;
use snapshots::crossed;
use stats::{METRICS, STATS, Tick, events};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All images have been shown.
    Finished,
    /// The observer broke off; the state is saved.
    Stopped,
}

/// What is measured of the moving average at every snapshot: figures by name.
pub type Measure = Box<dyn FnMut(&Generator) -> Result<Vec<(String, f64)>>>;

/// A training and its folder.
pub struct TrainRun {
    trainer: Trainer,
    folder: PathBuf,
    settings: RunSettings,
    tick: Tick,
    events: EventWriter,
    measure: Option<Measure>,
    /// Images of the state in the folder.
    saved: u64,
    /// Images shown before the last iteration.
    before: u64,
}

/// The name of the file of real pictures.
const REALS: &str = "reals.png";

/// The name of the state's file.
const STATE: &str = "state.safetensors";

impl TrainRun {
    /// Whether a run can start in a folder: one that does not exist, or is empty.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for one that holds something, [`Error::Io`] for what is no folder.
    pub fn check_folder(folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let mut held = match std::fs::read_dir(folder) {
            Ok(held) => held,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(folder)(error)),
        };
        if held.next().is_none() {
            return Ok(());
        }
        Err(Error::Argument {
            name: "folder",
            reason: format!(
                "{} is not empty; go on with a run, or choose another folder",
                folder.display()
            ),
        })
    }

    /// Starts a run in a new or empty folder: writes `config.toml`, `reals.png`, the first pictures and
    /// the first state. Where one of them cannot be written, none is left.
    ///
    /// # Errors
    ///
    /// Those of [`TrainRun::check_folder`], of the settings, and of the files.
    pub fn create(
        folder: impl Into<PathBuf>,
        trainer: Trainer,
        settings: RunSettings,
    ) -> Result<Self> {
        settings.validate()?;
        let folder = folder.into();
        Self::check_folder(&folder)?;
        let new = !folder.exists();
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let begun = Self::begin(folder.clone(), trainer, settings);
        if begun.is_err() {
            // Without a state it is no run, and with files no place for another.
            saved::drop_first_files(&folder, new);
        }
        begun
    }

    fn begin(folder: PathBuf, trainer: Trainer, settings: RunSettings) -> Result<Self> {
        let mut run = Self::in_folder(folder, trainer, settings)?;
        run.write_config()?;
        run.write_reals()?;
        run.write_fakes(None)?;
        run.save_state()?;
        Ok(run)
    }

    /// Goes on with the run of a folder, from its last state, with `settings` in place of those of
    /// before. [`SavedRun`] keeps those.
    pub fn resume(
        folder: impl Into<PathBuf>,
        source: Arc<dyn ImageSource>,
        device: &Device,
        settings: RunSettings,
        change: impl FnOnce(&mut TrainSettings),
    ) -> Result<Self> {
        let saved = SavedRun::open(folder)?.with_settings(settings);
        saved.resume(source, device, change)
    }

    fn in_folder(folder: PathBuf, trainer: Trainer, settings: RunSettings) -> Result<Self> {
        let images = trainer.progress().images;
        Ok(Self {
            events: events(&folder, &trainer)?,
            trainer,
            folder,
            settings,
            tick: Tick::default(),
            measure: None,
            saved: images,
            before: images,
        })
    }

    /// Measures the moving average at every snapshot, into `metrics.jsonl` and the events.
    #[must_use]
    pub fn with_measure(mut self, measure: Measure) -> Self {
        self.measure = Some(measure);
        self
    }

    /// Trains on further devices: see [`Trainer::with_devices`].
    ///
    /// # Errors
    ///
    /// As [`Trainer::with_devices`].
    pub fn with_devices(mut self, further: &[Device]) -> Result<Self> {
        self.trainer = self.trainer.with_devices(further)?;
        Ok(self)
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The settings of the run.
    pub fn settings(&self) -> &RunSettings {
        &self.settings
    }

    /// Thousands of images that had been shown when the state in the folder was saved.
    pub fn saved_kimg(&self) -> f64 {
        self.saved as f64 / 1000.0
    }

    /// Trains until all images have been shown or `observe` breaks off, and saves the state.
    ///
    /// # Errors
    ///
    /// Those of [`Trainer::step`] and [`Trainer::save`], of the files, and of the [`Measure`]. After an
    /// error, a full disk say, the state and the snapshots saved before are untouched; a run goes on from
    /// [`TrainRun::saved_kimg`].
    pub fn train(&mut self, observe: impl FnMut(&StepReport) -> ControlFlow<()>) -> Result<Ending> {
        self.train_with(&mut observer::Steps(observe))
    }

    /// As [`TrainRun::train`], for an observer that is told more.
    ///
    /// # Errors
    ///
    /// As [`TrainRun::train`].
    pub fn train_with(&mut self, observer: &mut dyn Observer) -> Result<Ending> {
        while !self.trainer.is_finished() {
            self.before = self.trainer.progress().images;
            let report = self.trainer.step_with_phases(&mut |p| observer.phase(p))?;
            let after = self.trainer.progress().images;
            let go_on = observer.step(&report).is_continue();
            self.tick.reports.push(report);
            let due = |kimg: f64| crossed(self.before, after, kimg);
            let finished = self.trainer.is_finished();
            let last = finished || !go_on;
            let snapshot = due(self.settings.snapshot_kimg) || finished;
            let state = snapshot || due(self.settings.state_kimg) || last;
            if due(self.settings.tick_kimg) || last {
                self.write_stats()?;
            }
            // A state without its snapshot would never be followed by it. What may fail for reasons of
            // its own, the measure above all, comes when both are safe.
            if snapshot {
                self.write_networks()?;
            }
            if state {
                self.save_state()?;
            }
            if snapshot {
                self.drop_old_snapshots()?;
                self.write_fakes(Some(observer))?;
                self.write_metrics()?;
            }
            if !go_on {
                return Ok(Ending::Stopped);
            }
        }
        Ok(Ending::Finished)
    }

    fn save_state(&mut self) -> Result<()> {
        self.trainer.save(self.folder.join(STATE))?;
        self.saved = self.trainer.progress().images;
        Ok(())
    }

    fn write_config(&self) -> Result<()> {
        let text = settings::to_text(&self.settings, self.trainer.plan())?;
        self.write(settings::CONFIG, text.as_bytes())
    }

    fn kimg(&self) -> u64 {
        self.trainer.progress().images / 1000
    }

    /// Writes a small file whole or not at all.
    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        write_whole(&path, |out| {
            out.write_all(content).map_err(Error::io(&path))
        })
    }
}
