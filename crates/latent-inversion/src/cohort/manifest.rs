//! The photos of a cohort.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::photo::Photo;
use crate::tensors::malformed;

/// One photo of a cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the results; no other photo has it.
    pub id: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is; several photos may be of one patient.
    pub patient: Option<String>,
}

/// The photos of a cohort, in the order of the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
}

impl Manifest {
    /// From entries.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for an id that is empty or there twice, or patients that some photos
    /// have and others have not; it names the entry's file.
    pub fn new(entries: Vec<Entry>) -> Result<Self> {
        let mut seen: HashMap<&str, &Path> = HashMap::new();
        let patients = entries.first().is_some_and(|e| e.patient.is_some());
        for Entry { id, path, patient } in &entries {
            if id.is_empty() {
                return Err(malformed(path, "its id is empty"));
            }
            if let Some(other) = seen.insert(id, path) {
                let reason = format!("its id `{id}` is that of {}, too", other.display());
                return Err(malformed(path, reason));
            }
            if patient.is_some() != patients {
                return Err(malformed(path, "it has no patient, but others have"));
            }
        }
        Ok(Self { entries })
    }

    /// All photos of a folder and the folders in it, by name; the id is the path below the folder
    /// without the ending, or with it where two photos differ only in that. What begins with a dot is passed
    /// over, and folders that are links are not entered: they could lead in circles.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a folder cannot be read, [`Error::Malformed`] if there is no photo or a name is not
    /// UTF-8.
    pub fn of_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let mut files = BTreeMap::new();
        collect(folder, "", &mut files)?;
        if files.is_empty() {
            let endings = Photo::EXTENSIONS.join(", ");
            return Err(malformed(
                folder,
                format!("no photos; files ending in {endings} are taken"),
            ));
        }
        let stem = |name: &str| {
            name.rsplit_once('.')
                .map_or(name, |(stem, _)| stem)
                .to_owned()
        };
        let mut stems: HashMap<String, usize> = HashMap::new();
        for name in files.keys() {
            *stems.entry(stem(name)).or_default() += 1;
        }
        let entries = files.into_iter().map(|(name, path)| {
            let stem = stem(&name);
            Entry {
                id: if stems[&stem] > 1 { name } else { stem },
                path,
                patient: None,
            }
        });
        Self::new(entries.collect())
    }

    /// A table with columns `id` and `file` (a path below the table's folder, or a whole one) and,
    /// if wanted, `patient`; others are ignored.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Malformed`] if a column is missing, a cell is empty, an id is there
    /// twice, a quotation mark swallows rows, or a file is not there; it names the line.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Self> {
        Self::read(path.as_ref(), false)
    }

    /// As [`Manifest::read_csv`], but files may be missing: [`Cohort::run`](super::Cohort::run) sets such
    /// photos aside, with the reason.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_csv_skipping(path: impl AsRef<Path>) -> Result<Self> {
        Self::read(path.as_ref(), true)
    }

    fn read(path: &Path, skip_missing: bool) -> Result<Self> {
        let bad = |line: Option<u64>, reason: String| match line {
            Some(line) => malformed(path, format!("line {line}: {reason}")),
            None => malformed(path, reason),
        };
        let bytes = crate::tensors::read_bytes(path)?;
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
        let header = reader
            .headers()
            .map_err(|e| bad(None, e.to_string()))?
            .clone();
        let column = |name: &str| header.iter().position(|h| h == name);
        let needed =
            |name: &str| column(name).ok_or_else(|| bad(Some(1), format!("no column `{name}`")));
        let (id, file, patient) = (needed("id")?, needed("file")?, column("patient"));
        let folder = path.parent().unwrap_or(Path::new("."));
        let (mut entries, mut lines) = (Vec::new(), HashMap::new());
        for record in reader.records() {
            let record = record.map_err(|e| bad(None, e.to_string()))?;
            let line = record.position().map(csv::Position::line);
            // A stray quotation mark takes the lines up to the next one, or to the end, into its cell.
            let rows = |cell: &str| {
                cell.contains(['\n', '\r']) && cell.matches(',').count() + 1 >= header.len()
            };
            if record.iter().any(rows) {
                let reason = "a cell goes on over other rows: is a quotation mark astray?";
                return Err(bad(line, reason.to_owned()));
            }
            let cell = |at: usize, name: &str| match record.get(at) {
                Some(text) if !text.is_empty() => Ok(text.to_owned()),
                _ => Err(bad(line, format!("`{name}` is empty"))),
            };
            let id = cell(id, "id")?;
            if let Some(first) = lines.insert(id.clone(), line) {
                let first = first.unwrap_or_default();
                return Err(bad(line, format!("id `{id}` is on line {first}, too")));
            }
            let file = folder.join(cell(file, "file")?);
            if !skip_missing && !file.is_file() {
                return Err(bad(line, format!("{}: no such file", file.display())));
            }
            entries.push(Entry {
                id,
                path: file,
                patient: patient.map(|at| cell(at, "patient")).transpose()?,
            });
        }
        if entries.is_empty() {
            return Err(bad(None, "no photos".to_owned()));
        }
        Self::new(entries)
    }

    /// Its photos.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A number that stands for the ids, the patients and their order.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for entry in &self.entries {
            for text in [Some(&entry.id), entry.patient.as_ref()] {
                let text = text.map_or("", String::as_str);
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
        let mut text = crate::hex(&hash.finalize());
        text.truncate(16);
        text
    }
}

/// Photos below `folder`, by their path below it with `/` between the parts.
fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let io = |source| Error::Io {
        path: folder.to_path_buf(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(malformed(&path, "the name is not UTF-8; rename it"));
        };
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        // Folders that are links could lead in circles.
        if entry.file_type().map_err(io)?.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
            continue;
        }
        let ending = path.extension().and_then(|e| e.to_str());
        let ending = ending.unwrap_or_default().to_ascii_lowercase();
        if Photo::EXTENSIONS.contains(&ending.as_str()) {
            files.insert(name, path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(manifest: &Manifest) -> Vec<&str> {
        manifest.entries().iter().map(|e| e.id.as_str()).collect()
    }

    #[test]
    fn folders_are_read_by_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for name in [
            "b.png",
            "a.PNG",
            "a.jpg",
            "sub/c.webp",
            "notes.txt",
            ".hidden.png",
        ] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let manifest = Manifest::of_folder(folder.path()).unwrap();
        assert_eq!(ids(&manifest), ["a.PNG", "a.jpg", "b", "sub/c"]);
        let error = Manifest::of_folder(folder.path().join("sub/none")).unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
    }

    /// As `survlatent align` has it.
    #[cfg(unix)]
    #[test]
    fn links_to_folders_are_not_entered_and_no_name_is_passed_over() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        std::fs::write(dir.join("a.png"), b"").unwrap();
        std::os::unix::fs::symlink(".", dir.join("all")).unwrap();
        std::os::unix::fs::symlink("a.png", dir.join("b.png")).unwrap();
        assert_eq!(ids(&Manifest::of_folder(dir).unwrap()), ["a", "b"]);
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
        // Some file systems take no such name.
        if std::fs::write(dir.join(name), b"").is_ok() {
            let error = Manifest::of_folder(dir).unwrap_err().to_string();
            assert!(error.contains("not UTF-8"), "{error}");
        }
    }

    #[test]
    fn tables_are_checked_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("m.csv");
        std::fs::write(folder.path().join("1.png"), b"").unwrap();
        let read = |text: &str| {
            std::fs::write(&table, text).unwrap();
            Manifest::read_csv(&table)
        };
        let found = read("\u{feff}patient,id,file\nP1,a,1.png\nP1, b ,1.png\n").unwrap();
        assert_eq!(ids(&found), ["a", "b"]);
        assert_eq!(found.entries()[1].patient.as_deref(), Some("P1"));
        let astray = read("id,file,note\na,1.png,x\nb,1.png,\"y\nc,1.png,z\nd,1.png,z\n");
        let astray = astray.unwrap_err().to_string();
        assert!(
            astray.contains("line 3: a cell goes on over other rows"),
            "{astray}"
        );
        let other = read("patient,id,file\nP1,b,1.png\nP1,a,1.png\n").unwrap();
        assert_ne!(found.fingerprint(), other.fingerprint());
        let some = "id,file\na,1.png\nb,2.png\n";
        std::fs::write(&table, some).unwrap();
        assert_eq!(
            ids(&Manifest::read_csv_skipping(&table).unwrap()),
            ["a", "b"]
        );
        for (text, says) in [
            ("id\na\n", "no column `file`"),
            ("id,file\na,1.png\nb,2.png\n", "line 3"),
            ("id,file\na,1.png\na,1.png\n", "on line 2, too"),
            ("id,file\n,1.png\n", "`id` is empty"),
            ("id,file\n", "no photos"),
            ("id,file,patient\na,1.png,\n", "`patient` is empty"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("m.csv"), "{error}");
        }
    }
}
