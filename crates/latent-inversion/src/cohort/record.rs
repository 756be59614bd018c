//! The files of a shard: parts while it is worked on, then latents and table.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Entry, Manifest, Shard};
use crate::error::{Error, Result};
use crate::inverter::{Inversion, Inverter, Tools};
use crate::quality::Quality;
use crate::tensors::{Arrays, malformed, numbers, parse, read_bytes};

/// The header's entry that only this crate reads; `ids` beside it is for everybody.
const KEY: &str = "latent-inversion cohort";

/// What became of a photo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub patient: Option<String>,
    /// The file's path, as it was given.
    pub file: String,
    /// Of its latents; none if it was set aside.
    pub quality: Option<Quality>,
    /// Why it was set aside.
    pub reason: Option<String>,
}

/// A photo's status with its latents, empty if it was set aside.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) status: Status,
    pub(super) w: Vec<f32>,
    pub(super) w_plus: Vec<f32>,
}

impl Record {
    pub(super) fn new(entry: &Entry, inversion: Result<Inversion, String>) -> Self {
        let status = Status {
            id: entry.id.clone(),
            patient: entry.patient.clone(),
            file: entry.path.display().to_string(),
            quality: inversion.as_ref().ok().map(|i| i.quality),
            reason: inversion.as_ref().err().cloned(),
        };
        let (w, w_plus) = inversion.map_or_else(|_| Default::default(), |i| (i.w, i.w_plus));
        Self { status, w, w_plus }
    }
}

/// What the latents of a shard depend on; equal in all parts and shards of a cohort.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) inverter: Inverter,
    pub(super) generator: String,
    pub(super) encoder: Option<String>,
    pub(super) manifest: String,
    pub(super) photos: usize,
    pub(super) w_dim: usize,
    pub(super) num_ws: usize,
    pub(super) shard: Shard,
}

impl Settings {
    pub(super) fn new(
        inverter: &Inverter,
        tools: &Tools<'_>,
        manifest: &Manifest,
        shard: Shard,
    ) -> Self {
        let encoder = tools.encoder.filter(|_| inverter.method.needs_encoder());
        Self {
            inverter: *inverter,
            generator: tools.decoder.fingerprint(),
            encoder: encoder.map(crate::Encoder::weights_fingerprint),
            manifest: manifest.fingerprint(),
            photos: manifest.entries().len(),
            w_dim: tools.decoder.w_dim(),
            num_ws: tools.decoder.num_ws(),
            shard,
        }
    }

    /// The same settings for the whole cohort.
    pub(super) fn whole(&self) -> Self {
        Self {
            shard: Shard::default(),
            ..self.clone()
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    settings: Settings,
    status: Vec<Status>,
}

/// Writes records as a file of latents.
pub(super) fn write(path: &Path, settings: &Settings, records: &[Record]) -> Result<()> {
    let status = records.iter().map(|r| r.status.clone()).collect();
    let inverted = || records.iter().filter(|r| !r.w.is_empty());
    let ids: Vec<&str> = inverted().map(|r| r.status.id.as_str()).collect();
    let patients: Option<Vec<&str>> = inverted().map(|r| r.status.patient.as_deref()).collect();
    let w: Vec<f32> = inverted().flat_map(|r| r.w.iter().copied()).collect();
    let w_plus: Vec<f32> = inverted().flat_map(|r| r.w_plus.iter().copied()).collect();
    let header = Header {
        settings: settings.clone(),
        status,
    };
    let mut file = Arrays::default()
        .metadata(KEY, json(path, &header)?)
        .metadata("ids", json(path, &ids)?);
    if let Some(patients) = patients.filter(|p| !p.is_empty()) {
        file = file.metadata("patients", json(path, &patients)?);
    }
    let (n, d) = (ids.len(), settings.w_dim);
    file.array("w", &[n, d], &w)
        .array("w_plus", &[n, settings.num_ws, d], &w_plus)
        .write(path)
}

fn json<T: Serialize>(path: &Path, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| malformed(path, e.to_string()))
}

/// Reads a file of latents.
pub(super) fn read(path: &Path) -> Result<(Settings, Vec<Record>)> {
    let bytes = read_bytes(path)?;
    let (file, header) = parse(path, &bytes, KEY)?;
    let Header { settings, status } =
        serde_json::from_str(&header).map_err(|e| malformed(path, e.to_string()))?;
    let (rows, d) = (settings.num_ws, settings.w_dim);
    let n = status.iter().filter(|s| s.quality.is_some()).count();
    let w = numbers(path, &file, "w", &[n, d])?;
    let w_plus = numbers(path, &file, "w_plus", &[n, rows, d])?;
    let mut latents = w.chunks_exact(d).zip(w_plus.chunks_exact(rows * d));
    let records = status.into_iter().map(|status| {
        let latents = status.quality.and_then(|_| latents.next());
        let (w, w_plus) = latents.unwrap_or_default();
        Record {
            status,
            w: w.to_vec(),
            w_plus: w_plus.to_vec(),
        }
    });
    Ok((settings, records.collect()))
}

/// Writes the table of a cohort: id, patient, file, status, reason and the quality.
///
/// # Errors
///
/// [`Error::Io`].
pub fn table(path: impl AsRef<Path>, status: &[Status]) -> Result<()> {
    let path = path.as_ref();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let bad = |e: csv::Error| malformed(path, e.to_string());
    writer
        .write_record([
            "id",
            "patient",
            "file",
            "status",
            "trusted",
            "lpips",
            "lpips_w",
            "psnr",
            "psnr_w",
            "mahalanobis",
            "iterations",
            "seconds",
            "reason",
        ])
        .map_err(bad)?;
    for s in status {
        let number = |value: fn(&Quality) -> f64| {
            s.quality
                .map_or_else(String::new, |q| format!("{:.6}", value(&q)))
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let outcome = if s.quality.is_some() {
            "inverted"
        } else {
            "set_aside"
        };
        writer
            .write_record([
                s.id.clone(),
                text(&s.patient),
                s.file.clone(),
                outcome.to_owned(),
                s.quality
                    .map_or_else(String::new, |q| q.trusted.to_string()),
                number(|q| q.lpips),
                number(|q| q.lpips_w),
                number(|q| q.psnr),
                number(|q| q.psnr_w),
                number(|q| q.mahalanobis),
                s.quality
                    .map_or_else(String::new, |q| q.iterations.to_string()),
                number(|q| q.seconds),
                text(&s.reason),
            ])
            .map_err(bad)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|e| malformed(path, e.to_string()))?;
    crate::file::write_whole(path, |out| out.write_all(&bytes))
}

/// Fills in the seconds, which the table has and the latents have not; without a table they stay
/// zero.
pub(super) fn read_seconds(path: &Path, records: &mut [Record]) {
    let Ok(mut reader) = csv::Reader::from_path(path) else {
        return;
    };
    let header = reader.headers().cloned().unwrap_or_default();
    let column = |name: &str| header.iter().position(|h| h == name);
    let (Some(id), Some(seconds)) = (column("id"), column("seconds")) else {
        return;
    };
    let rows = reader.records().filter_map(Result::ok);
    let rows = rows.filter_map(|r| Some((r.get(id)?.to_owned(), r.get(seconds)?.parse().ok()?)));
    let seconds: HashMap<String, f64> = rows.collect();
    for status in records.iter_mut().map(|r| &mut r.status) {
        if let (Some(quality), Some(s)) = (&mut status.quality, seconds.get(&status.id)) {
            quality.seconds = *s;
        }
    }
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

    /// The records of earlier runs. A part that cannot be read is as good as absent.
    pub(super) fn parts(&self) -> Result<HashMap<String, Record>> {
        let folder = self.part_folder();
        if !folder.exists() {
            return Ok(HashMap::new());
        }
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
            done.extend(records.into_iter().map(|r| (r.status.id.clone(), r)));
        }
        Ok(done)
    }

    /// Keeps the records of a batch, in a file named after its first photo.
    pub(super) fn add_part(&self, records: &[Record]) -> Result<()> {
        let folder = self.part_folder();
        std::fs::create_dir_all(&folder).map_err(|e| io(&folder, e))?;
        let name = Sha256::digest(records[0].status.id.as_bytes());
        let path = folder.join(format!("{}.safetensors", &crate::hex(&name)[..16]));
        write(&path, &self.settings, records)
    }

    /// Writes latents and table, then removes the parts.
    pub(super) fn finish(&self, records: &[Record]) -> Result<()> {
        let status: Vec<Status> = records.iter().map(|r| r.status.clone()).collect();
        table(self.table(), &status)?;
        // The same latents are the same bytes, however long they took.
        let mut timeless = records.to_vec();
        for quality in timeless
            .iter_mut()
            .filter_map(|r| r.status.quality.as_mut())
        {
            quality.seconds = 0.0;
        }
        write(&self.latents(), &self.settings, &timeless)?;
        self.remove_parts()
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

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        source,
    }
}
