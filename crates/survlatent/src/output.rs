//! Output files that appear whole or not at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file to be written at the end of a long computation, whose folder is tried at the start.
///
/// Until [`OutputFile::write`] has succeeded nothing stands at the path, or what stood there
/// before stays.
///
/// ```
/// use survlatent::OutputFile;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("curve.svg");
/// let file = OutputFile::create(&path)?; // fails now if the folder cannot be written to
/// assert!(!path.exists());
/// file.write(b"<svg/>")?;
/// assert_eq!(std::fs::read(&path)?, b"<svg/>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl OutputFile {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder does not exist or cannot be written to, or when `path` is a
    /// folder itself.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        if path.is_dir() {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(Error::Io { path, source });
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".survlatent-").suffix(".part");
        // The mode any new file gets, rather than the private one of temporary files.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        match builder.tempfile_in(folder) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(Error::Io {
                source: without_place(source),
                path,
            }),
        }
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the content and moves it into place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(mut self, content: &[u8]) -> Result<()> {
        self.append(content)?;
        self.finish()
    }

    /// Writes the next part of a file too large to be held in memory; [`OutputFile::finish`] ends
    /// it. An [`OutputFile`] is also a [`std::io::Write`] for encoders.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, part: &[u8]) -> Result<()> {
        self.write_all(part).map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// Moves what was written into place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let Self { path, file } = self;
        let moved = file
            .as_file()
            .sync_all()
            .and_then(|()| file.persist(&path).map_err(|error| error.error));
        match moved {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::Io { path, source }),
        }
    }
}

/// What the system said, without the name of a temporary file that nobody asked for.
fn without_place(error: std::io::Error) -> std::io::Error {
    let text = error.to_string();
    match text.rsplit_once(" at path ") {
        Some((said, _)) => std::io::Error::new(error.kind(), said.to_owned()),
        None => error,
    }
}

impl std::io::Write for OutputFile {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_file_leaves_nothing_and_an_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        std::fs::write(&path, "old").unwrap();
        drop(OutputFile::create(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        OutputFile::create(&path).unwrap().write(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_in_parts_appears_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.npy");
        let mut file = OutputFile::create(&path).unwrap();
        file.append(b"one ").unwrap();
        assert!(!path.exists());
        file.append(b"two").unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one two");
    }

    #[test]
    fn what_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("no/such/folder/a.svg");
        let error = OutputFile::create(&absent).unwrap_err().to_string();
        assert!(error.contains("no/such/folder/a.svg: "), "{error}");
        assert!(!error.contains(".part"), "{error}");
        assert!(OutputFile::create(folder.path()).is_err());
    }
}
