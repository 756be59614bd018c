//! Which photos a folder holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Endings of photos; the last three are named in messages, not read.
const KINDS: [&str; 14] = [
    "png", "jpg", "jpeg", "gif", "webp", "tif", "tiff", "bmp", "pgm", "ppm", "pnm", "heic", "heif",
    "avif",
];

/// Photos of a folder and the folders in it by id: the path below the folder without the ending.
pub(in super::super) fn photos(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut out = BTreeMap::new();
    walk(folder, "", &mut out)?;
    Ok(out)
}

/// Where the ending of a photo's name begins; nothing for other names.
pub(in super::super) fn without_ending(name: &str) -> Option<usize> {
    let (stem, kind) = name.rsplit_once('.')?;
    KINDS
        .contains(&kind.to_lowercase().as_str())
        .then_some(stem.len())
}

fn walk(folder: &Path, prefix: &str, out: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let io = |source| Error::Io {
        path: folder.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(Error::Study {
                reason: format!("{}: the name is not UTF-8; rename it", path.display()),
            });
        };
        if name.starts_with('.') {
            continue;
        }
        // Folders that are links could lead in circles.
        if entry.file_type().map_err(io)?.is_dir() {
            walk(&path, &format!("{prefix}{name}/"), out)?;
            continue;
        }
        let Some(stem) = without_ending(name) else {
            continue;
        };
        if let Some(other) = out.insert(format!("{prefix}{}", &name[..stem]), path.clone()) {
            let reason = format!(
                "{} and {} have one id; rename one of them",
                other.display(),
                path.display()
            );
            return Err(Error::Study { reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_paths_without_endings() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for name in [
            "b.v2.JPG",
            "a.png",
            "sub/a.webp",
            "notes.txt",
            ".hidden.png",
        ] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let found = photos(folder.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b.v2", "sub/a"]);
        std::fs::write(folder.path().join("a.jpg"), b"").unwrap();
        let error = photos(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("a.jpg") && error.contains("a.png"),
            "{error}"
        );
    }
}
