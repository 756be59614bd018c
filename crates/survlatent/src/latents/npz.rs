//! A zip archive of `NumPy` arrays.

use std::io::{Cursor, Read};

use super::{Array, choose, npy};
use crate::error::{Error, Result};

/// No deflate stream grows by more than this (its codes cost at least two bits per 258 bytes).
const LARGEST_RATIO: usize = 1032;

pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// Reads the array called `wanted` (or the only one) with its name.
pub(super) fn read(bytes: &[u8], wanted: Option<&str>) -> Result<(String, Array)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| bad(&error))?;
    let files: Vec<String> = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
        .collect();
    let arrays: Vec<&str> = files
        .iter()
        .filter_map(|file| file.strip_suffix(".npy"))
        .collect();
    let name = choose(&arrays, wanted)?.to_owned();
    let file = archive
        .by_name(&format!("{name}.npy"))
        .map_err(|error| bad(&error))?;
    let array = member(file, bytes.len()).map_err(|error| match error {
        Error::Dtype { dtype, .. } => Error::Dtype {
            array: super::display_name(&name),
            dtype,
        },
        other => other,
    })?;
    Ok((name, array))
}

fn member(file: impl Read, archive: usize) -> Result<Array> {
    let mut file = file;
    let mut bytes = Vec::new();
    // The header first: it says how many bytes follow, and a bomb is not unpacked.
    let mut upto = 10;
    let header = loop {
        let more = upto - bytes.len();
        let got = file
            .by_ref()
            .take(more as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| bad(&error))?;
        match npy::Header::parse(&bytes) {
            Ok(header) => break header,
            Err(error) if got < more || upto > 1 << 17 => return Err(error),
            Err(_) if !npy::is_npy(&bytes) => return Err(bad(&"a member is no npy file")),
            Err(_) => upto *= 2,
        }
    };
    if header.size / LARGEST_RATIO > archive {
        return Err(bad(&format!(
            "an array of {} bytes cannot be in an archive of {archive} bytes",
            header.size
        )));
    }
    // One byte more than needed, to see that nothing follows.
    let limit = (header.start + header.size + 1).saturating_sub(bytes.len());
    file.take(limit as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| bad(&error))?;
    npy::read(&bytes)
}

fn bad(reason: &dyn std::fmt::Display) -> Error {
    Error::Format {
        format: "npz",
        reason: reason.to_string(),
    }
}
