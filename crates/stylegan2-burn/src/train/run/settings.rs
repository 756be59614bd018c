//! When a run writes what, and the file that keeps it.

use std::collections::BTreeMap;
use std::path::Path;

use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::train::preset::Plan;

/// The name of the file.
pub(super) const CONFIG: &str = "config.toml";

/// When a run writes what.
#[derive(Config, Debug, PartialEq)]
pub struct RunSettings {
    /// Thousands of images between lines of `stats.jsonl`.
    #[config(default = 1.0)]
    pub tick_kimg: f64,
    /// Thousands of images between states.
    #[config(default = 10.0)]
    pub state_kimg: f64,
    /// Thousands of images between snapshots and sample grids.
    #[config(default = 50.0)]
    pub snapshot_kimg: f64,
    /// Snapshots kept, the newest ones; 0 keeps all.
    #[config(default = 5)]
    pub keep: usize,
    /// Columns and rows of the grids.
    #[config(default = "[8, 4]")]
    pub grid: [usize; 2],
    /// What the caller wants to find again in `config.toml` when the run goes on: how it read its
    /// pictures, say. The library does not look at it.
    pub notes: Option<BTreeMap<String, String>>,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl RunSettings {
    pub(super) fn validate(&self) -> Result<()> {
        let positive = [
            ("tick_kimg", self.tick_kimg),
            ("state_kimg", self.state_kimg),
            ("snapshot_kimg", self.snapshot_kimg),
        ];
        for (field, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::Config {
                    field,
                    value: value.to_string(),
                    expected: "positive and finite",
                });
            }
        }
        if self.grid.iter().any(|n| !(1..=64).contains(n)) {
            return Err(Error::Config {
                field: "grid",
                value: format!("{:?}", self.grid),
                expected: "from 1 to 64 columns and rows",
            });
        }
        Ok(())
    }
}

/// What `config.toml` holds.
#[derive(Serialize)]
struct File<'a> {
    run: &'a RunSettings,
    #[serde(flatten)]
    plan: Plan,
}

/// The part of it that the networks' state does not hold.
#[derive(Deserialize)]
struct Run {
    run: RunSettings,
}

/// The text of `config.toml`.
pub(super) fn to_text(run: &RunSettings, plan: Plan) -> Result<String> {
    toml::to_string(&File { run, plan }).map_err(|e| Error::Argument {
        name: "settings",
        reason: e.to_string(),
    })
}

/// The settings of a run by its folder; the usual ones where there is no such file.
pub(super) fn read(folder: &Path) -> Result<RunSettings> {
    let path = folder.join(CONFIG);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(RunSettings::default());
        }
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let file: Run = toml::from_str(&text).map_err(|e| Error::Unsupported {
        what: format!("{}", path.display()),
        detail: e.to_string(),
    })?;
    Ok(file.run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Preset;

    #[test]
    fn settings_are_found_again_and_those_of_earlier_versions_too() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), RunSettings::new());
        let notes = BTreeMap::from([("metrics".to_owned(), "held \"out\"".to_owned())]);
        let settings = RunSettings::new().with_keep(0).with_notes(Some(notes));
        let text = to_text(&settings, Preset::Auto.plan(64, 3, 0)).unwrap();
        std::fs::write(folder.path().join(CONFIG), &text).unwrap();
        assert_eq!(read(folder.path()).unwrap(), settings);
        let text = to_text(
            &settings.clone().with_notes(None),
            Preset::Auto.plan(64, 3, 0),
        );
        std::fs::write(folder.path().join(CONFIG), text.unwrap()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), settings.with_notes(None));
        std::fs::write(folder.path().join(CONFIG), "run = 3").unwrap();
        let fault = read(folder.path()).unwrap_err().to_string();
        assert!(fault.contains("config.toml"), "{fault}");
    }
}
