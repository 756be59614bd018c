//! Which photos a folder holds, and what their results are called.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use latent_inversion::Photo;
use survlatent::Error;

use crate::failure::Failure;

/// A photo below the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path from the folder, with slashes.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The result's path from its folder, with slashes.
    pub(super) output: String,
    /// The file's size.
    pub(super) bytes: u64,
}

/// The photos below a folder, sorted by name; `except` is not entered, nor is what begins with a
/// dot.
pub(super) fn list(folder: &Path, except: &Path) -> Result<Vec<Entry>, Failure> {
    let except = except.canonicalize().ok();
    let mut found = BTreeMap::new();
    walk(folder, "", except.as_deref(), &mut found)?;
    let mut stems: BTreeMap<String, usize> = BTreeMap::new();
    for name in found.keys() {
        *stems.entry(stem(name).to_lowercase()).or_default() += 1;
    }
    let entries = found.into_iter().map(|(name, (path, bytes))| {
        // Of photos that differ only in their ending the results keep it.
        let single = stems[&stem(&name).to_lowercase()] == 1;
        let output = format!("{}.png", if single { stem(&name) } else { &name });
        Entry {
            name,
            path,
            output,
            bytes,
        }
    });
    let entries: Vec<Entry> = entries.collect();
    let mut outputs = BTreeSet::new();
    for entry in &entries {
        if !outputs.insert(entry.output.to_lowercase()) {
            return Err(Failure::run(format!(
                "{}: its result would have the name of another's, {}; rename one of them",
                entry.path.display(),
                entry.output
            )));
        }
    }
    Ok(entries)
}

type Found = BTreeMap<String, (PathBuf, u64)>;

fn walk(
    folder: &Path,
    prefix: &str,
    except: Option<&Path>,
    found: &mut Found,
) -> Result<(), Failure> {
    let io = |source| {
        Failure::from(Error::Io {
            path: folder.to_owned(),
            source,
        })
    };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Failure::run(format!(
                "{}: the name is not UTF-8; rename it",
                entry.path().display()
            )));
        };
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        let name = format!("{prefix}{name}");
        // Folders that are links could lead in circles.
        if entry.file_type().map_err(io)?.is_dir() {
            if path.canonicalize().ok().as_deref() != except {
                walk(&path, &format!("{name}/"), except, found)?;
            }
        } else if is_photo(&path) {
            let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
            found.insert(name, (path, bytes));
        }
    }
    Ok(())
}

/// The first picture below `folder` of the kind that is written there; `except` is not entered, nor is what
/// begins with a dot, nor a folder that is a link.
pub(super) fn picture(folder: &Path, except: &Path) -> Result<Option<PathBuf>, Failure> {
    let mut found = BTreeMap::new();
    walk(
        folder,
        "",
        except.canonicalize().ok().as_deref(),
        &mut found,
    )?;
    let png = |name: &String| name.to_lowercase().ends_with(".png");
    Ok(found
        .into_iter()
        .find_map(|(name, (path, _))| png(&name).then_some(path)))
}

/// Removes a result, if it is there; one that lies elsewhere than below `folder` is none.
pub(super) fn remove(folder: &Path, output: &str) -> std::io::Result<()> {
    let below = Path::new(output)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !below || Path::new(output).extension() != Some("png".as_ref()) {
        return Ok(());
    }
    match std::fs::remove_file(folder.join(output)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_photo(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str());
    let ending = ending.map(str::to_lowercase);
    // What telephones write is no format that is read, but not to be passed over in silence.
    ending.is_some_and(|e| {
        Photo::EXTENSIONS.contains(&e.as_str()) || ["heic", "heif", "avif"].contains(&e.as_str())
    })
}

/// The name without its ending.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        std::fs::create_dir_all(out.join("sub")).unwrap();
        for file in ["a.png", "out/a.png", "out/sub/a.png", "out/aligned.csv"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let kept = folder.path().join("a.png");
        for output in [
            "../a.png",
            kept.to_str().unwrap(),
            "aligned.csv",
            "none.png",
        ] {
            remove(&out, output).unwrap();
        }
        assert!(kept.is_file() && out.join("a.png").is_file());
        assert!(out.join("aligned.csv").is_file());
        remove(&out, "sub/a.png").unwrap();
        assert!(!out.join("sub/a.png").exists());
        assert_eq!(
            picture(&out, Path::new("none")).unwrap(),
            Some(out.join("a.png"))
        );
        remove(&out, "a.png").unwrap();
        assert_eq!(picture(&out, Path::new("none")).unwrap(), None);
    }

    #[test]
    fn names_of_results() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        for file in [
            "b.JPG",
            "a.jpg",
            "a.png",
            "t.csv",
            ".x.png",
            "c.v2.heic",
            "sub/a.png",
        ] {
            std::fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
            std::fs::write(dir.join(file), "12345").unwrap();
        }
        std::fs::create_dir_all(dir.join("out")).unwrap();
        std::fs::write(dir.join("out/z.png"), "").unwrap();
        let entries = list(dir, &dir.join("out")).unwrap();
        let names: Vec<[&str; 2]> = entries
            .iter()
            .map(|e| [e.name.as_str(), e.output.as_str()])
            .collect();
        let expected = [
            ["a.jpg", "a.jpg.png"],
            ["a.png", "a.png.png"],
            ["b.JPG", "b.png"],
            ["c.v2.heic", "c.v2.png"],
            ["sub/a.png", "sub/a.png"],
        ];
        assert_eq!(names, expected);
        assert_eq!(entries[0].bytes, 5);
        // `a.png` beside `a.jpg` keeps its ending; so would the photo `a.png.bmp` be called.
        std::fs::write(dir.join("a.png.bmp"), "").unwrap();
        assert!(list(dir, &dir.join("out")).is_err());
    }
}
