//! Where training images lie: in files or in a zip archive.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use zip::ZipArchive;

use crate::error::{Error, Result};

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Store {
    Files(HashMap<String, PathBuf>),
    Zip {
        path: PathBuf,
        archive: Mutex<ZipArchive<BufReader<File>>>,
    },
}

impl Store {
    /// The images' names, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Files(files) => files.keys().cloned().collect(),
            Self::Zip { archive, .. } => {
                let archive = archive
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                archive
                    .file_names()
                    .filter_map(|name| name.ok().map(std::borrow::Cow::into_owned))
                    .collect()
            }
        };
        names.retain(|n| is_image(n));
        names.sort_unstable();
        names
    }

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Files(files) => {
                let path = files.get(name).ok_or("no such file")?;
                std::fs::read(path).map_err(|e| e.to_string())
            }
            Self::Zip { archive, .. } => {
                let mut archive = archive
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let mut entry = archive.by_name(name).map_err(|e| e.to_string())?;
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
                Ok(bytes)
            }
        }
    }

    /// The text of `dataset.json`.
    pub(super) fn labels(&self, path: &Path) -> Result<Vec<u8>> {
        let fault = |reason: String| Error::Labels {
            path: path.to_path_buf(),
            reason,
        };
        let missing = || fault("no `dataset.json`, where labels are looked for".to_owned());
        match self {
            Self::Files(files) => {
                let file = files.get("dataset.json").ok_or_else(missing)?;
                std::fs::read(file).map_err(Error::io(file))
            }
            Self::Zip { .. } => self.read("dataset.json").map_err(|_| missing()),
        }
    }
}

/// Whether the name is that of an image file.
pub(super) fn is_image(name: &str) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|e| {
        ["png", "jpg", "jpeg"]
            .iter()
            .any(|known| e.eq_ignore_ascii_case(known))
    })
}

/// Files below a folder by their path from there, with slashes.
///
/// Links to folders are followed when what lies there itself is known, and lead nowhere that has been
/// before: a folder counts once, and a link to one above ends.
pub(super) fn list(folder: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    let mut seen = HashSet::new();
    let mut links = vec![(folder.to_owned(), String::new())];
    while !links.is_empty() {
        let mut further = Vec::new();
        for (folder, prefix) in links {
            walk(&folder, &prefix, files, &mut seen, &mut further)?;
        }
        further.sort_unstable();
        links = further;
    }
    Ok(())
}

/// Lists a folder without its links to folders, which come into `links`.
fn walk(
    folder: &Path,
    prefix: &str,
    files: &mut HashMap<String, PathBuf>,
    seen: &mut HashSet<PathBuf>,
    links: &mut Vec<(PathBuf, String)>,
) -> Result<()> {
    if !seen.insert(folder.canonicalize().map_err(Error::io(folder))?) {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let path = entry.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{prefix}{name}");
        if !path.is_dir() {
            files.insert(name, path);
        } else if entry.file_type().map_err(Error::io(&path))?.is_symlink() {
            links.push((path, format!("{name}/")));
        } else {
            walk(&path, &format!("{name}/"), files, seen, links)?;
        }
    }
    Ok(())
}
