//! One file of latents from those of the shards.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::latents::{join, read};
use super::record::{Settings, Status, read_seconds, table};
use crate::error::{Error, Result};
use crate::tensors::malformed;

/// What [`gather`] put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Gathered {
    /// The table beside the latents.
    pub table: PathBuf,
    /// The photos, in the order of the manifest.
    pub status: Vec<Status>,
    /// Number of shards.
    pub shards: usize,
}

/// Merges the shards in folders into one file with `w` `[N, w_dim]` and `w_plus`
/// `[N, num_ws, w_dim]`, with `ids` and, where photos have them, `patients` in its header, and a
/// table beside it.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Malformed`] if there is no shard, a shard is missing, there twice or not
/// finished, shards were made from different lists of photos, networks or settings, a photo is missing
/// or there twice, or its file is there and is another than when its shard was finished.
pub fn gather<P: AsRef<Path>>(folders: &[P], out: impl AsRef<Path>) -> Result<Gathered> {
    let out = out.as_ref();
    let files = shard_files(folders, out)?;
    let mut found: Option<Settings> = None;
    let mut shards: HashMap<usize, (PathBuf, Vec<Status>)> = HashMap::new();
    for path in files {
        let (settings, records) = read(&path)?;
        let alike = |first: &Settings| {
            first.whole() == settings.whole() && first.shard.count() == settings.shard.count()
        };
        if !found.as_ref().is_none_or(alike) {
            return Err(malformed(
                &path,
                "made from other photos, with another network, other settings or another number of \
                 shards than the files before it",
            ));
        }
        if records.len() != settings.shard.range(settings.photos).len() {
            return Err(malformed(&path, "it has not all of its shard's photos"));
        }
        let index = settings.shard.index();
        if let Some((other, _)) = shards.get(&index) {
            let reason = format!("shard {} is in {}, too", settings.shard, other.display());
            return Err(malformed(&path, reason));
        }
        found.get_or_insert(settings);
        let status = records.into_iter().map(|r| r.status).collect();
        shards.insert(index, (path, status));
    }
    let Some(settings) = found else {
        let places: Vec<String> = folders
            .iter()
            .map(|f| f.as_ref().display().to_string())
            .collect();
        let reason = format!("nothing to gather: no latents in {}", places.join(", "));
        return Err(malformed(out, reason));
    };
    let count = settings.shard.count();
    let missing: Vec<String> = (0..count)
        .filter(|k| !shards.contains_key(k))
        .map(|k| format!("{k}/{count}"))
        .collect();
    if !missing.is_empty() {
        let reason = format!("shards are missing: {}", missing.join(", "));
        return Err(malformed(out, reason));
    }
    let mut status: Vec<Status> = Vec::new();
    let mut files: HashMap<String, PathBuf> = HashMap::new();
    let mut tables = Vec::new();
    for (path, photos) in (0..count).filter_map(|k| shards.remove(&k)) {
        for photo in photos {
            if let Some(first) = files.insert(photo.id.clone(), path.clone()) {
                let (id, first, path) = (&photo.id, first.display(), path.display());
                let reason = format!("photo `{id}` is there twice, in {first} and in {path}");
                return Err(malformed(out, reason));
            }
            // Not where the photos were on another machine, or are gone.
            if let Some(change) = photo.change(Path::new(&photo.file)) {
                let reason = format!(
                    "photo `{}` ({}) {change} since its shard was finished",
                    photo.id, photo.file
                );
                return Err(malformed(&path, reason));
            }
            status.push(photo);
        }
        tables.push(path.with_extension("csv"));
    }
    join(out, &settings.whole(), &status, &files)?;
    for path in tables {
        read_seconds(&path, &mut status);
    }
    let table_file = out.with_extension("csv");
    table(&table_file, &status)?;
    Ok(Gathered {
        table: table_file,
        status,
        shards: count,
    })
}

/// The files of shards in folders, by name; an earlier result of gathering is none of them.
fn shard_files<P: AsRef<Path>>(folders: &[P], out: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in folders {
        let folder = folder.as_ref();
        let io = |source| Error::Io {
            path: folder.to_path_buf(),
            source,
        };
        let mut here = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            let shard = name.is_some_and(|n| {
                n == "latents.safetensors"
                    || (n.starts_with("latents-") && n.ends_with(".safetensors"))
            });
            if shard && path.canonicalize().ok() != out.canonicalize().ok() {
                here.push(path);
            }
        }
        here.sort();
        files.extend(here);
    }
    Ok(files)
}
