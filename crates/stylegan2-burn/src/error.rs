//! The crate's error type.

use std::path::PathBuf;

/// What can be wrong with a configuration, a file or an argument.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside its range.
    #[error("configuration: `{field}` is {value}, but must be {expected}")]
    Config {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// The accepted range.
        expected: &'static str,
    },

    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },

    /// The beginning of the file is that of no known format.
    #[error("not a network file: {found}; expected a pickle, a PyTorch archive or safetensors")]
    UnknownFormat {
        /// What the file starts with.
        found: String,
    },

    /// The file ends before the data it announces.
    #[error("byte {offset}: {needed} more bytes announced, but {available} are left")]
    Truncated {
        /// Position in the file.
        offset: u64,
        /// Announced size.
        needed: u64,
        /// Available size.
        available: u64,
    },

    /// A pickle names a function or class outside the allow-list. Nothing was executed.
    #[error("byte {offset}: the pickle asks for `{name}`, which is not on the allow-list")]
    ForbiddenGlobal {
        /// Position in the file.
        offset: u64,
        /// `module.name`.
        name: String,
    },

    /// A pickle is malformed or uses an instruction no network file contains.
    #[error("byte {offset}: malformed pickle: {reason}")]
    Pickle {
        /// Position in the file.
        offset: u64,
        /// What is wrong.
        reason: String,
    },

    /// A tensor's description contradicts itself or its data.
    #[error("tensor `{tensor}`: {reason}")]
    Tensor {
        /// The tensor's name, or its storage key.
        tensor: String,
        /// What is wrong.
        reason: String,
    },

    /// A zip archive is malformed or compressed.
    #[error("zip archive, byte {offset}: {reason}")]
    Zip {
        /// Position in the file.
        offset: u64,
        /// What is wrong.
        reason: String,
    },

    /// A safetensors header is malformed.
    #[error("safetensors: {reason}")]
    Safetensors {
        /// What is wrong.
        reason: String,
    },

    /// The file is a checkpoint, but not of a network this crate knows.
    #[error("{what} is not supported: {detail}")]
    Unsupported {
        /// The part of the file.
        what: String,
        /// What was found, and what would be accepted.
        detail: String,
    },

    /// The file does not hold the network asked for.
    #[error("no network `{wanted}` in the file; it holds {}", list(available))]
    NoSuchNetwork {
        /// The name asked for.
        wanted: String,
        /// The names present.
        available: Vec<String>,
    },

    /// Tensors and configuration do not fit together.
    #[error(
        "tensors do not fit the configuration: missing {}; unexpected {}; wrong shape {}",
        list(missing),
        list(unexpected),
        list(mismatched)
    )]
    Mismatch {
        /// Names the configuration asks for and the file lacks.
        missing: Vec<String>,
        /// Names in the file without a place.
        unexpected: Vec<String>,
        /// `name: [found] instead of [expected]`.
        mismatched: Vec<String>,
    },

    /// A loss or penalty is no finite number: training cannot go on.
    #[error("iteration {step}: the {loss} is not finite; go on from the last state saved")]
    Diverged {
        /// Iterations done before.
        step: u64,
        /// The loss.
        loss: &'static str,
    },

    /// A network or the memory of an optimiser holds numbers that are not finite. They are not
    /// written: the file of before stays.
    #[error("iteration {step}: `{tensor}` is not finite; go on from the last state saved")]
    NotFinite {
        /// Iterations done.
        step: u64,
        /// The first such tensor.
        tensor: String,
    },

    /// Training images cannot be used; every faulty one is named.
    #[cfg(feature = "train")]
    #[error("{}: {} faulty: {}", path.display(), faults.len(), list(faults))]
    Images {
        /// The folder or archive.
        path: PathBuf,
        /// `name: reason`, or a reason that concerns all.
        faults: Vec<String>,
    },

    /// Labels do not fit the images.
    #[cfg(feature = "train")]
    #[error("{}: {reason}", path.display())]
    Labels {
        /// The folder or archive.
        path: PathBuf,
        /// What is wrong, with the image's name.
        reason: String,
    },

    /// An argument has the wrong shape or range.
    #[error("`{name}`: {reason}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "none".to_owned();
    }
    let text = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        return format!("{text} and {} more", names.len() - SHOWN);
    }
    text
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
