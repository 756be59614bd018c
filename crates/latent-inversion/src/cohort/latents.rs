//! The file of latents of a shard, of a part of it, or of a whole cohort.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::{Record, Settings, Status};
use crate::error::Result;
use crate::tensors::{Arrays, Sink, malformed, numbers, parse, read_bytes};

/// The header's entry that only this crate reads; `ids` beside it is for everybody.
const KEY: &str = "latent-inversion cohort";

#[derive(Serialize, Deserialize)]
struct Header {
    settings: Settings,
    status: Vec<Status>,
}

/// A file with nothing but its header, and the number of photos that have latents.
fn headed<'a>(
    path: &Path,
    settings: &Settings,
    status: Vec<Status>,
) -> Result<(Arrays<'a>, usize)> {
    let inverted = || status.iter().filter(|s| s.quality.is_some());
    let ids: Vec<&str> = inverted().map(|s| s.id.as_str()).collect();
    let patients: Option<Vec<&str>> = inverted().map(|s| s.patient.as_deref()).collect();
    let mut file = Arrays::default().metadata("ids", json(path, &ids)?);
    if let Some(patients) = patients.filter(|p| !p.is_empty()) {
        file = file.metadata("patients", json(path, &patients)?);
    }
    let n = ids.len();
    let header = Header {
        settings: settings.clone(),
        status,
    };
    Ok((file.metadata(KEY, json(path, &header)?), n))
}

/// Writes records as a file of latents.
pub(super) fn write(path: &Path, settings: &Settings, records: &[Record]) -> Result<()> {
    let status = records.iter().map(|r| r.status.clone()).collect();
    let w: Vec<f32> = records.iter().flat_map(|r| r.w.iter().copied()).collect();
    let w_plus: Vec<f32> = records
        .iter()
        .flat_map(|r| r.w_plus.iter().copied())
        .collect();
    let (file, n) = headed(path, settings, status)?;
    let d = settings.w_dim;
    file.array("w", &[n, d], &w)
        .array("w_plus", &[n, settings.num_ws, d], &w_plus)
        .write(path)
}

/// Writes one file of latents that lie in others, given for every photo, holding one of those
/// at a time. The same latents are the same bytes: the time they took is left out.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io), with the name of the file if one of the others cannot be read any more.
pub(super) fn join(
    path: &Path,
    settings: &Settings,
    status: &[Status],
    files: &HashMap<String, PathBuf>,
) -> Result<()> {
    let mut timeless = status.to_vec();
    for quality in timeless.iter_mut().filter_map(|s| s.quality.as_mut()) {
        quality.seconds = 0.0;
    }
    let open = RefCell::new(Open::default());
    let rows = |of: fn(&Record) -> &[f32], out: &mut Sink<'_>| {
        let mut open = open.borrow_mut();
        let inverted = status.iter().filter(|s| s.quality.is_some());
        inverted.map(|s| &s.id).try_for_each(|id| {
            let record = open.record(id, files).map_err(std::io::Error::other)?;
            out(of(record))
        })
    };
    let (file, n) = headed(path, settings, timeless)?;
    let d = settings.w_dim;
    file.streamed("w", &[n, d], &|out| rows(|r| &r.w, out))
        .streamed("w_plus", &[n, settings.num_ws, d], &|out| {
            rows(|r| &r.w_plus, out)
        })
        .write(path)
}

/// The records of the file read last.
#[derive(Default)]
struct Open {
    path: PathBuf,
    records: HashMap<String, Record>,
}

impl Open {
    fn record(&mut self, id: &str, files: &HashMap<String, PathBuf>) -> Result<&Record> {
        let path = files
            .get(id)
            .ok_or_else(|| malformed(&self.path, format!("photo `{id}` is in no file")))?;
        if *path != self.path {
            // Not two of them in memory at once.
            self.records = HashMap::new();
            let (_, records) = read(path)?;
            let by_id = records.into_iter().map(|r| (r.status.id.clone(), r));
            self.records = by_id.collect();
            self.path.clone_from(path);
        }
        let record = self.records.get(id).filter(|r| !r.w.is_empty());
        record.ok_or_else(|| malformed(path, format!("photo `{id}` is not in it any more")))
    }
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
    let row = rows.checked_mul(d).filter(|row| *row > 0);
    let row =
        row.ok_or_else(|| malformed(path, format!("latents of {rows} rows and width {d}")))?;
    let n = status.iter().filter(|s| s.quality.is_some()).count();
    let w = numbers(path, &file, "w", &[n, d])?;
    let w_plus = numbers(path, &file, "w_plus", &[n, rows, d])?;
    let mut latents = w.chunks_exact(d).zip(w_plus.chunks_exact(row));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cohort::{Entry, Shard};
    use crate::error::Error;
    use crate::inverter::{Inversion, Inverter};
    use crate::quality::Quality;

    fn settings() -> Settings {
        Settings {
            inverter: Inverter::default(),
            generator: "g".to_owned(),
            encoder: None,
            lpips: Some("l".to_owned()),
            precision: None,
            samples: None,
            manifest: "m".to_owned(),
            photos: 5,
            w_dim: 3,
            num_ws: 2,
            shard: Shard::default(),
        }
    }

    /// The photo of a number; the third could not be read.
    fn record(k: u8) -> Record {
        let entry = Entry {
            id: format!("p{k}"),
            patient: Some("x".to_owned()),
            path: PathBuf::from("p.png"),
        };
        let latents = |n: usize, of: f32| (0..n).map(|i| of * f32::from(k) + i as f32).collect();
        let quality = Quality {
            lpips: 0.1,
            lpips_w: 0.2,
            psnr: 20.0,
            psnr_w: 10.0,
            mahalanobis: 1.0,
            iterations: 3,
            seconds: 0.0,
            trusted: true,
        };
        let inversion = Inversion {
            w: latents(3, 10.0),
            w_plus: latents(6, 100.0),
            quality,
        };
        Record::new(
            &entry,
            Some(format!("h{k}")),
            if k == 3 {
                Err("cut off".to_owned())
            } else {
                Ok(inversion)
            },
        )
    }

    /// A header that no run writes is refused, not divided by.
    #[test]
    fn widths_of_nothing_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad");
        for (w_dim, num_ws) in [(0, 2), (3, 0), (usize::MAX, 2)] {
            let bad = Settings {
                w_dim,
                num_ws,
                ..settings()
            };
            let record = record(3);
            // Without a photo that has latents the arrays are empty whatever the widths.
            let status = vec![record.status];
            let (file, _) = headed(&path, &bad, status).unwrap();
            file.write(&path).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("width"), "{error}");
        }
    }

    #[test]
    fn what_is_joined_from_files_is_what_is_written_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let all: Vec<Record> = (0..5).map(record).collect();
        write(&at("once"), &settings(), &all).unwrap();
        // Parts that lie across each other, as interruptions leave them.
        let mut files = HashMap::new();
        for (name, members) in [("a", vec![0, 3, 4]), ("b", vec![1, 2])] {
            let mut part: Vec<Record> = members.into_iter().map(record).collect();
            for quality in part.iter_mut().filter_map(|r| r.status.quality.as_mut()) {
                quality.seconds = 7.0;
            }
            write(&at(name), &settings(), &part).unwrap();
            files.extend(part.into_iter().map(|r| (r.status.id, at(name))));
        }
        let status: Vec<Status> = all.iter().map(|r| r.status.clone()).collect();
        join(&at("joined"), &settings(), &status, &files).unwrap();
        let bytes = |name: &str| std::fs::read(at(name)).unwrap();
        assert_eq!(bytes("joined"), bytes("once"));
        assert_eq!(read(&at("joined")).unwrap(), (settings(), all));

        // A part that is gone is named, and nothing half written stays.
        std::fs::remove_file(at("b")).unwrap();
        let error = join(&at("again"), &settings(), &status, &files).unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
        let named = at("b").display().to_string();
        assert!(error.to_string().contains(&named), "{error:?}");
        assert!(!at("again").exists());
    }
}
