//! Bytes of a checkpoint, in memory or on disk.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};

/// Random access to the bytes of a file.
///
/// Archives and safetensors stay on disk and are read tensor by tensor; a plain pickle has to be
/// walked from end to end and is held in memory.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Memory(Arc<Vec<u8>>),
    File {
        file: Arc<Mutex<File>>,
        path: PathBuf,
        len: u64,
    },
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let len = file.metadata().map_err(Error::io(path))?.len();
        Ok(Self::File {
            file: Arc::new(Mutex::new(file)),
            path: path.to_owned(),
            len,
        })
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// `len` bytes from `offset`; announced sizes are checked before anything is allocated.
    pub(crate) fn read(&self, offset: u64, len: u64) -> Result<Cow<'_, [u8]>> {
        let available = self.len().saturating_sub(offset);
        let short = Error::Truncated {
            offset,
            needed: len,
            available,
        };
        // Nothing can be read from beyond the end, not even no bytes.
        if offset > self.len() || len > available {
            return Err(short);
        }
        let (Ok(start), Ok(size)) = (usize::try_from(offset), usize::try_from(len)) else {
            return Err(short);
        };
        match self {
            Self::Memory(bytes) => Ok(Cow::Borrowed(&bytes[start..start + size])),
            Self::File { file, path, .. } => {
                let mut buffer = vec![0; size];
                let mut file = file
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                file.seek(SeekFrom::Start(offset))
                    .map_err(Error::io(path))?;
                file.read_exact(&mut buffer).map_err(Error::io(path))?;
                Ok(Cow::Owned(buffer))
            }
        }
    }

    /// The same bytes, held in memory.
    pub(crate) fn in_memory(self) -> Result<Self> {
        match self {
            Self::Memory(_) => Ok(self),
            Self::File { .. } => {
                let bytes = self.read(0, self.len())?.into_owned();
                Ok(Self::Memory(Arc::new(bytes)))
            }
        }
    }
}
