//! Safetensors files with metadata, the same bytes for the same content.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use half::f16;
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// The number type that numbers are stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    #[default]
    Single,
    /// 16 bits: half the size, three digits.
    Half,
}

/// Takes numbers in single precision, in order.
pub(crate) type Sink<'a> = dyn FnMut(&[f32]) -> std::io::Result<()> + 'a;

/// Where an array's numbers come from.
enum Numbers<'a> {
    Here(&'a [f32], Precision),
    /// Handed over piece by piece, so that they need not all be in memory.
    Streamed(&'a dyn Fn(&mut Sink<'_>) -> std::io::Result<()>),
}

/// Arrays by name, in the order they are written.
#[derive(Default)]
pub(crate) struct Arrays<'a> {
    metadata: BTreeMap<&'a str, String>,
    arrays: Vec<(&'a str, Vec<usize>, Numbers<'a>)>,
}

impl<'a> Arrays<'a> {
    pub(crate) fn metadata(mut self, key: &'a str, value: String) -> Self {
        self.metadata.insert(key, value);
        self
    }

    pub(crate) fn array(self, name: &'a str, shape: &[usize], values: &'a [f32]) -> Self {
        self.array_as(name, shape, values, Precision::Single)
    }

    pub(crate) fn array_as(
        mut self,
        name: &'a str,
        shape: &[usize],
        values: &'a [f32],
        precision: Precision,
    ) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let numbers = Numbers::Here(values, precision);
        self.arrays.push((name, shape.to_vec(), numbers));
        self
    }

    /// An array in single precision whose numbers `rows` hands over, exactly as many as `shape` says.
    pub(crate) fn streamed(
        mut self,
        name: &'a str,
        shape: &[usize],
        rows: &'a dyn Fn(&mut Sink<'_>) -> std::io::Result<()>,
    ) -> Self {
        let numbers = Numbers::Streamed(rows);
        self.arrays.push((name, shape.to_vec(), numbers));
        self
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut header = Map::new();
        if !self.metadata.is_empty() {
            header.insert("__metadata__".to_owned(), json!(self.metadata));
        }
        let mut at = 0;
        for (name, shape, numbers) in &self.arrays {
            let (kind, width) = match numbers {
                Numbers::Here(_, Precision::Half) => ("F16", 2),
                _ => ("F32", 4),
            };
            let end = at + shape.iter().product::<usize>() * width;
            let info = json!({ "dtype": kind, "shape": shape, "data_offsets": [at, end] });
            header.insert((*name).to_owned(), info);
            at = end;
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        // Readers that map the file want the data aligned.
        header.resize(header.len().next_multiple_of(8), b' ');
        crate::file::write_whole(path, |out| {
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(&header)?;
            for (_, _, numbers) in &self.arrays {
                match numbers {
                    Numbers::Here(values, Precision::Single) => single(out, values)?,
                    Numbers::Streamed(rows) => rows(&mut |values| single(out, values))?,
                    Numbers::Here(values, Precision::Half) => {
                        let mut bytes = values.iter().map(|v| f16::from_f32(*v).to_le_bytes());
                        bytes.try_for_each(|b| out.write_all(&b))?;
                    }
                }
            }
            Ok(())
        })
    }
}

fn single(out: &mut impl std::io::Write, values: &[f32]) -> std::io::Result<()> {
    let mut bytes = values.iter().map(|v| v.to_le_bytes());
    bytes.try_for_each(|b| out.write_all(&b))
}

/// The bytes of a file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })
}

/// The arrays of a file, with one entry of its metadata.
pub(crate) fn parse<'a>(
    path: &Path,
    bytes: &'a [u8],
    key: &str,
) -> Result<(SafeTensors<'a>, String)> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| malformed(path, e.to_string()))?;
    let (_, header) =
        SafeTensors::read_metadata(bytes).map_err(|e| malformed(path, e.to_string()))?;
    let text = header.metadata().as_ref().and_then(|m| m.get(key).cloned());
    let text = text.ok_or_else(|| malformed(path, format!("no `{key}` in its header")))?;
    Ok((file, text))
}

/// An array of known shape.
pub(crate) fn numbers(
    path: &Path,
    file: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>> {
    crate::lpips::weights::read(file, name, shape).map_err(|e| malformed(path, e.to_string()))
}

pub(crate) fn malformed(path: &Path, reason: impl Into<String>) -> Error {
    Error::Malformed {
        path: path.to_path_buf(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let values = [1.0, -2.5, 0.125, 65504.0];
        let write = || {
            Arrays::default()
                .metadata("about", "{\"x\": 1}".to_owned())
                .metadata("ids", "[]".to_owned())
                .array("b", &[2, 2], &values)
                .array_as("a", &[4], &values, Precision::Half)
                .write(&path)
                .unwrap();
            std::fs::read(&path).unwrap()
        };
        let bytes = write();
        assert_eq!(bytes, write());
        let (file, about) = parse(&path, &bytes, "about").unwrap();
        assert_eq!(about, "{\"x\": 1}");
        assert_eq!(numbers(&path, &file, "b", &[2, 2]).unwrap(), values);
        assert_eq!(numbers(&path, &file, "a", &[4]).unwrap(), values);
        for wrong in [
            numbers(&path, &file, "c", &[4]).unwrap_err(),
            numbers(&path, &file, "b", &[4]).unwrap_err(),
            parse(&path, &bytes, "other").unwrap_err(),
            parse(&path, &bytes[..40], "about").unwrap_err(),
        ] {
            assert!(wrong.to_string().contains("a.safetensors"), "{wrong}");
        }
    }
}
