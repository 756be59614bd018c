//! The files of a shard: parts while it is worked on, then latents and table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::latents::{join, read, write};
use super::picture::{checksum, file_checksum};
use super::record::{Record, Settings, Status, table};
use super::{Entry, Shard};
use crate::error::{Error, Result};
use crate::tensors::malformed;

/// A photo that is done, and the part in which its latents lie.
pub(super) struct Done {
    pub(super) status: Status,
    part: PathBuf,
}

/// The files of one shard in a folder.
pub(super) struct Store {
    folder: PathBuf,
    stem: String,
    settings: Settings,
}

impl Store {
    pub(super) fn new(folder: &Path, shard: Shard, settings: Settings) -> Result<Self> {
        let store = Self {
            folder: folder.to_path_buf(),
            stem: shard.stem(),
            settings,
        };
        std::fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
        Ok(store)
    }

    pub(super) fn latents(&self) -> PathBuf {
        self.folder.join(format!("{}.safetensors", self.stem))
    }

    pub(super) fn table(&self) -> PathBuf {
        self.folder.join(format!("{}.csv", self.stem))
    }

    fn part_folder(&self) -> PathBuf {
        self.folder.join(format!("{}.parts", self.stem))
    }

    /// The status of each photo, if the shard is complete.
    pub(super) fn finished(&self, entries: &[Entry]) -> Result<Option<Vec<Status>>> {
        let path = self.latents();
        if !path.exists() {
            return Ok(None);
        }
        let (settings, records) = read(&path)?;
        self.check(&path, &settings)?;
        let status: Vec<Status> = records.into_iter().map(|r| r.status).collect();
        let same = status
            .iter()
            .map(|s| &s.id)
            .eq(entries.iter().map(|e| &e.id));
        if !same {
            return Err(malformed(&path, "its photos are others"));
        }
        let mut photos = status.iter().zip(entries);
        let changed = photos.find_map(|(s, e)| Some((s.change(&e.path)?, e)));
        if let Some((change, entry)) = changed {
            let reason = format!(
                "photo `{}` ({}) {change} since the shard was finished; take another folder, or \
                 delete it",
                entry.id,
                entry.path.display()
            );
            return Err(malformed(&path, reason));
        }
        // An interruption between the latents and the table.
        if !self.table().exists() {
            self.finish_table(&status)?;
        }
        Ok(Some(status))
    }

    fn check(&self, path: &Path, found: &Settings) -> Result<()> {
        if *found == self.settings {
            return Ok(());
        }
        Err(malformed(
            path,
            "it was made from other photos, with another network or with other settings; take \
             another folder, or delete it",
        ))
    }

    /// What earlier runs did of these photos as they are now. A part that cannot be read is as good as
    /// absent, and so is what became of another photo of the same id.
    pub(super) fn parts(&self, entries: &[Entry]) -> Result<HashMap<String, Done>> {
        let folder = self.part_folder();
        if !folder.exists() {
            return Ok(HashMap::new());
        }
        let paths: HashMap<&str, &Path> = entries
            .iter()
            .map(|e| (e.id.as_str(), e.path.as_path()))
            .collect();
        let mut now: HashMap<String, Option<String>> = HashMap::new();
        let mut done = HashMap::new();
        for entry in std::fs::read_dir(&folder).map_err(|e| io(&folder, e))? {
            let path = entry.map_err(|e| io(&folder, e))?.path();
            if path.extension().is_none_or(|e| e != "safetensors") {
                continue;
            }
            let Ok((settings, records)) = read(&path) else {
                continue;
            };
            self.check(&path, &settings)?;
            let current = placed(records, &path).filter(|(id, found)| {
                paths.get(id.as_str()).is_some_and(|file| {
                    let now = now.entry(id.clone());
                    *now.or_insert_with(|| file_checksum(file)) == found.status.photo
                })
            });
            done.extend(current);
        }
        Ok(done)
    }

    /// Keeps the records of a batch, in a file named after its first photo and that one's bytes: a photo
    /// that is done again must not take the place of those it was in a batch with before.
    pub(super) fn add_part(
        &self,
        records: Vec<Record>,
    ) -> Result<impl Iterator<Item = (String, Done)>> {
        let folder = self.part_folder();
        std::fs::create_dir_all(&folder).map_err(|e| io(&folder, e))?;
        let Status { id, photo, .. } = &records[0].status;
        let name = checksum(format!("{id}\n{}", photo.as_deref().unwrap_or_default()).as_bytes());
        let path = folder.join(format!("{name}.safetensors"));
        write(&path, &self.settings, &records)?;
        Ok(placed(records, &path))
    }

    /// Writes table and latents, then removes the parts.
    pub(super) fn finish(&self, photos: Vec<Done>) -> Result<Vec<Status>> {
        let files = photos.iter().map(|d| (d.status.id.clone(), d.part.clone()));
        let files: HashMap<String, PathBuf> = files.collect();
        let status: Vec<Status> = photos.into_iter().map(|d| d.status).collect();
        table(self.table(), &status)?;
        join(&self.latents(), &self.settings, &status, &files)?;
        self.remove_parts()?;
        Ok(status)
    }

    fn finish_table(&self, status: &[Status]) -> Result<()> {
        table(self.table(), status)?;
        self.remove_parts()
    }

    fn remove_parts(&self) -> Result<()> {
        let folder = self.part_folder();
        match std::fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io(&folder, e)),
            _ => Ok(()),
        }
    }
}

/// Without the latents.
fn placed(records: Vec<Record>, part: &Path) -> impl Iterator<Item = (String, Done)> + use<> {
    let part = part.to_path_buf();
    records.into_iter().map(move |r| {
        let part = part.clone();
        (
            r.status.id.clone(),
            Done {
                status: r.status,
                part,
            },
        )
    })
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        source,
    }
}
