//! The crate's error type.

use std::path::PathBuf;

/// What can be wrong with a file or an argument.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },

    /// The file is not the one whose contents are known.
    #[error("{}: SHA-256 {found}, which is none of the known weight files; expected {expected}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Its SHA-256.
        found: String,
        /// The network and its SHA-256, for each that is known.
        expected: String,
    },

    /// Weights are missing or of the wrong shape.
    #[error("weights: {reason}")]
    Weights {
        /// What is wrong, with the tensor's name.
        reason: String,
    },

    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A file is no photograph that can be used.
    #[error("{}: {fault}", path.display())]
    Photo {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: crate::PhotoFault,
    },

    /// An argument is out of its range.
    #[error("{name}: {reason}")]
    Argument {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },

    /// What was computed for a photo is no number.
    #[error("photo {}: {reason}", photo(*index, id.as_deref()))]
    NotFinite {
        /// Its place in the batch, from 0.
        index: usize,
        /// Its id, where it is known.
        id: Option<String>,
        /// What it is, and when.
        reason: String,
    },
    /// A training has gone astray: its loss is no number.
    #[error("the loss is {loss} at step {step}; take a lower learning rate")]
    Diverged {
        /// The step, which was not made.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// The device has no room for what was asked of it; fewer photos at once may fit.
    #[error("the device's memory is full: {reason}")]
    OutOfMemory {
        /// What the back end says.
        reason: String,
    },

    /// The device failed.
    #[error("the device failed: {reason}")]
    Device {
        /// What the back end says.
        reason: String,
    },
}

fn photo(index: usize, id: Option<&str>) -> String {
    id.map_or_else(|| format!("{index} of the batch"), |id| format!("`{id}`"))
}

impl Error {
    /// With the id of the photo, of those of a batch, where it is about one.
    pub(crate) fn named<S: AsRef<str>>(self, ids: &[S]) -> Self {
        match self {
            Self::NotFinite { index, reason, .. } => Self::NotFinite {
                index,
                id: ids.get(index).map(|id| id.as_ref().to_owned()),
                reason,
            },
            error => error,
        }
    }
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
