//! JSON for files.

use serde::Serialize;

use crate::error::{Error, Result};

/// Indented, with a newline at the end.
pub(crate) fn pretty<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| Error::Format {
        format: "JSON",
        reason: error.to_string(),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}
