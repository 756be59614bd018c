//! The safetensors container: tensors out, tensors in from a file of unknown origin, whole files.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorView, serialize};

use crate::check;
use crate::error::{Error, Result};

/// Writes a file whole or not at all: to a temporary file in the same folder, then renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; a result is as readable as any other file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(".direction-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Tensors on their way into a file.
#[derive(Default)]
pub(crate) struct Tensors(pub(crate) Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    pub(crate) fn floats(&mut self, name: &str, shape: Vec<usize>, values: &[f64]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.0.push((name.to_owned(), Dtype::F64, shape, bytes));
    }

    pub(crate) fn integers(&mut self, name: &str, values: &[usize]) {
        let bytes = values
            .iter()
            .flat_map(|&v| (v as u64).to_le_bytes())
            .collect();
        self.0
            .push((name.to_owned(), Dtype::U64, vec![values.len()], bytes));
    }

    /// The file, with one metadata entry: the order of several would change from run to run.
    pub(crate) fn encode(&self, key: &str, json: String) -> Result<Vec<u8>> {
        let views = self
            .0
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                Ok((
                    name.as_str(),
                    TensorView::new(*dtype, shape.clone(), bytes)?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        let metadata = HashMap::from([(key.to_owned(), json)]);
        Ok(serialize(views, Some(metadata))?)
    }
}

/// A safetensors file of unknown origin.
pub(crate) struct Reader<'a> {
    pub(crate) metadata: Metadata,
    pub(crate) data: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        let fault = |reason: &str| Error::NotSafetensors {
            reason: reason.to_owned(),
        };
        let (prefix, rest) = bytes.split_first_chunk::<8>().ok_or(fault("too short"))?;
        let length = usize::try_from(u64::from_le_bytes(*prefix))
            .map_err(|_| fault("the header length is too large"))?;
        let (header, data) = rest
            .split_at_checked(length)
            .ok_or(fault("the header is longer than the file"))?;
        // `Metadata` checks offsets against shapes, but adding up the total in
        // `SafeTensors::deserialize` can overflow; compared here, it cannot.
        let metadata: Metadata =
            serde_json::from_slice(header).map_err(|error| Error::NotSafetensors {
                reason: error.to_string(),
            })?;
        if metadata.data_len() != data.len() {
            return Err(fault("the tensors do not fill the file"));
        }
        Ok(Self { metadata, data })
    }

    /// The metadata entry `key`.
    pub(crate) fn entry(&self, key: &'static str) -> Result<&str> {
        let entry = self
            .metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(key));
        entry
            .map(String::as_str)
            .ok_or(Error::MissingMetadata { key })
    }

    /// Bytes of a tensor of the given type and number of dimensions, with its shape.
    fn tensor(
        &self,
        name: &str,
        dtype: Dtype,
        dimensions: usize,
        expected: &'static str,
    ) -> Result<(&[usize], &'a [u8])> {
        let missing = || Error::MissingTensor {
            name: name.to_owned(),
        };
        let info = self.metadata.info(name).ok_or_else(missing)?;
        if info.dtype != dtype || info.shape.len() != dimensions {
            let found = format!("{:?} {:?}", info.dtype, info.shape);
            return Err(Error::Tensor {
                name: name.to_owned(),
                expected,
                found,
            });
        }
        let (start, end) = info.data_offsets;
        let bytes = self.data.get(start..end).ok_or_else(missing)?;
        Ok((&info.shape, bytes))
    }

    pub(crate) fn vector(&self, name: &str) -> Result<Vec<f64>> {
        let (_, bytes) = self.tensor(name, Dtype::F64, 1, "F64 with one dimension")?;
        check::finite(&format!("tensor `{name}`"), &floats(bytes))
    }

    pub(crate) fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<Vec<f64>> {
        let (shape, bytes) = self.tensor(name, Dtype::F64, 2, "F64 with two dimensions")?;
        let what = format!("tensor `{name}`");
        check::length(&format!("{what}, rows"), rows, shape[0])?;
        check::length(&format!("{what}, columns"), columns, shape[1])?;
        let values = floats(bytes);
        check::matrix(&what, &values, rows, columns)?;
        Ok(values)
    }

    pub(crate) fn indices(&self, name: &str) -> Result<Vec<usize>> {
        let (_, bytes) = self.tensor(name, Dtype::U64, 1, "U64 with one dimension")?;
        let (words, _) = bytes.as_chunks::<8>();
        // What does not fit is out of range for any selection, which `then` reports.
        let index = |word: &[u8; 8]| usize::try_from(u64::from_le_bytes(*word));
        Ok(words
            .iter()
            .map(|word| index(word).unwrap_or(usize::MAX))
            .collect())
    }
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| f64::from_le_bytes(*word)).collect()
}
