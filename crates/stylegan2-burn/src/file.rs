//! Files that appear whole or not at all.

use std::io::BufWriter;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Writes `path` through a temporary file beside it, which takes its place when all is written.
pub(crate) fn write_whole(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<NamedTempFile>) -> Result<()>,
) -> Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".stylegan2-").suffix(".part");
    // The mode any new file gets, rather than the private one of temporary files.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder).map_err(Error::io(folder))?;
    let mut out = BufWriter::new(file);
    content(&mut out)?;
    let file = out
        .into_inner()
        .map_err(|e| Error::io(path)(e.into_error()))?;
    // Otherwise the name may reach the disk before the content does, and a power cut leaves it empty.
    file.as_file().sync_all().map_err(Error::io(path))?;
    file.persist(path).map_err(|e| Error::io(path)(e.error))?;
    Ok(())
}
