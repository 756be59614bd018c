//! A run in its folder, before it goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;

use super::settings::{self, RunSettings};
use super::{METRICS, REALS, STATE, STATS, TrainRun};
use crate::error::{Error, Result};
use crate::train::settings::TrainSettings;
use crate::train::source::ImageSource;
use crate::train::state::TrainState;
use crate::train::trainer::Trainer;

/// A run that stopped, opened to go on with its own settings. Nothing is written before
/// [`SavedRun::resume`].
#[derive(Debug)]
pub struct SavedRun {
    folder: PathBuf,
    settings: RunSettings,
    state: TrainState,
}

impl SavedRun {
    /// Opens the folder of a run.
    ///
    /// # Errors
    ///
    /// Those of [`TrainState::open`], and of a `config.toml` that cannot be read.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        Ok(Self {
            state: TrainState::open(folder.join(STATE))?,
            settings: settings::read(&folder)?,
            folder,
        })
    }

    /// The state.
    pub fn state(&self) -> &TrainState {
        &self.state
    }

    /// When the run has written what.
    pub fn settings(&self) -> &RunSettings {
        &self.settings
    }

    /// The same run with other settings of its folder.
    #[must_use]
    pub fn with_settings(mut self, settings: RunSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The training alone, as it would go on.
    ///
    /// # Errors
    ///
    /// Those of [`TrainState::resume`].
    pub fn trainer(
        self,
        source: Arc<dyn ImageSource>,
        device: &Device,
        change: impl FnOnce(&mut TrainSettings),
    ) -> Result<Trainer> {
        self.settings.validate()?;
        self.state.resume(source, device, change)
    }

    /// Goes on with the run, with some settings of the training changed.
    ///
    /// Lines of `stats.jsonl` and `metrics.jsonl` behind the state are dropped: they are written
    /// again. So are unfinished files that a killed run has left.
    ///
    /// # Errors
    ///
    /// Those of [`TrainState::resume`] and of the files.
    pub fn resume(
        self,
        source: Arc<dyn ImageSource>,
        device: &Device,
        change: impl FnOnce(&mut TrainSettings),
    ) -> Result<TrainRun> {
        let (folder, settings) = (self.folder.clone(), self.settings.clone());
        let trainer = self.trainer(source, device, change)?;
        drop_parts(&folder)?;
        let run = TrainRun::in_folder(folder, trainer, settings)?;
        run.trim(STATS)?;
        run.trim(METRICS)?;
        run.write_config()?;
        Ok(run)
    }
}

/// Removes what a run has written that could not begin, and the folder where it is new.
pub(super) fn drop_first_files(folder: &Path, new: bool) {
    let first = |name: &str| {
        let events = name.starts_with("events.out.tfevents");
        events || name.starts_with("fakes") || [settings::CONFIG, REALS, STATE].contains(&name)
    };
    // What cannot be removed stays: the error to tell is that of the file which could not be written.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(first) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    if new {
        let _ = std::fs::remove_dir(folder);
    }
}

/// Removes what a run that was killed while it wrote a file has left of it.
fn drop_parts(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let path = entry.path();
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|n| n.starts_with(".stylegan2-"));
        if ours && path.extension().is_some_and(|e| e == "part") {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}
