//! What became of a photo, and the table of it.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::picture::file_checksum;
use super::{Entry, Manifest, Shard};
use crate::error::Result;
use crate::inverter::{Inversion, Inverter, Tools};
use crate::quality::Quality;
use crate::tensors::malformed;

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
    /// The first digits of the SHA-256 of the file's bytes; none if they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo: Option<String>,
}

impl Status {
    /// What has become of its file, at `path`, since, if anything has: another one, or one where there was none.
    /// Where the photos are not at hand there is nothing to compare.
    pub(super) fn change(&self, path: &Path) -> Option<&'static str> {
        match (&self.photo, &self.quality) {
            (Some(before), _) => {
                let now = file_checksum(path);
                (now.is_some_and(|now| now != *before)).then_some("is another")
            }
            (None, None) => file_checksum(path).map(|_| "could not be read, and can be"),
            // Of before checksums were kept.
            (None, Some(_)) => None,
        }
    }
}

/// A photo's status with its latents, empty if it was set aside.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) status: Status,
    pub(super) w: Vec<f32>,
    pub(super) w_plus: Vec<f32>,
}

impl Record {
    pub(super) fn new(
        entry: &Entry,
        photo: Option<String>,
        inversion: Result<Inversion, String>,
    ) -> Self {
        let status = Status {
            id: entry.id.clone(),
            patient: entry.patient.clone(),
            file: entry.path.display().to_string(),
            quality: inversion.as_ref().ok().map(|i| i.quality),
            reason: inversion.as_ref().err().cloned(),
            photo,
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
    /// Of LPIPS; none in files of before it was a choice.
    #[serde(default)]
    pub(super) lpips: Option<String>,
    /// The number type of the generator's highest resolutions, where it is not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) precision: Option<String>,
    /// Number and seed of the samples of W.
    #[serde(default)]
    pub(super) samples: Option<(usize, u64)>,
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
            lpips: Some(tools.lpips.fingerprint()),
            precision: tools.decoder.precision().map(str::to_owned),
            samples: Some((tools.distribution.samples(), tools.distribution.seed())),
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

/// Writes the table of a cohort: id, patient, file, status, reason and the quality.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io).
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
pub(super) fn read_seconds(path: &Path, photos: &mut [Status]) {
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
    for status in photos {
        if let (Some(quality), Some(s)) = (&mut status.quality, seconds.get(&status.id)) {
            quality.seconds = *s;
        }
    }
}
