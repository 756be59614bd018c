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

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
