//! Arrays of numbers from files, and `.npy` files written part by part.

use std::path::Path;

use survlatent::{Error, LatentsReader, OutputFile, Values};

use crate::failure::Failure;

/// Row-major numbers with their shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Reads `.npy`, or one array of an `.npz` or safetensors file: the only one, or the one called
/// `name`. Every value is finite.
pub(crate) fn read(path: &Path, name: &str) -> Result<Array, Failure> {
    let (shape, values) = match LatentsReader::new().read_array(path) {
        Err(Error::InFile { source, .. }) if matches!(*source, Error::WhichArray { .. }) => {
            LatentsReader::new().array(name).read_array(path)?
        }
        found => found?,
    };
    let values: Vec<f32> = match values {
        Values::F32(values) => values,
        Values::F64(values) => values.into_iter().map(|v| v as f32).collect(),
    };
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(Failure::run(format!(
            "{}: the value at {:?} is {}",
            path.display(),
            place(at, &shape),
            values[at]
        )));
    }
    Ok(Array { shape, values })
}

/// The index of value `at`.
fn place(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let k = at % extent;
            at /= extent;
            k
        })
        .collect();
    index.reverse();
    index
}

/// The message about a file of the wrong shape.
pub(crate) fn wrong_shape(path: &Path, found: &Array, expected: &str) -> Failure {
    Failure::run(format!(
        "{}: shape {:?}, expected {expected}",
        path.display(),
        found.shape
    ))
}

/// A `.npy` file of single precision whose shape is known and whose values come in parts.
pub(crate) struct Npy {
    file: OutputFile,
    left: usize,
}

impl Npy {
    /// Starts a file of `count` items, each of shape `item`.
    pub(crate) fn begin(
        mut file: OutputFile,
        count: usize,
        item: &[usize],
    ) -> Result<Self, Failure> {
        let extents: Vec<String> = [&[count], item]
            .concat()
            .iter()
            .map(usize::to_string)
            .collect();
        let shape = format!("({},)", extents.join(", "));
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        // Magic, version and length are 10 bytes, and the data start at a multiple of 64.
        let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
        let mut header = b"\x93NUMPY\x01\x00".to_vec();
        header.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        header.extend(format!("{text:<width$}\n", width = length - 1).bytes());
        file.append(&header)?;
        let left = count * item.iter().product::<usize>();
        Ok(Self { file, left })
    }

    pub(crate) fn append(&mut self, values: &[f32]) -> Result<(), Failure> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.left = self.left.saturating_sub(values.len());
        Ok(self.file.append(&bytes)?)
    }

    pub(crate) fn finish(self) -> Result<(), Failure> {
        debug_assert_eq!(self.left, 0, "the shape says how many values there are");
        Ok(self.file.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_parts_is_read_whole() {
        let path = std::env::temp_dir().join(format!("survlatent-{}.npy", std::process::id()));
        let mut file = Npy::begin(OutputFile::create(&path).unwrap(), 2, &[3]).unwrap();
        file.append(&[1.0, -2.5, 3.0]).unwrap();
        file.append(&[4.0, 5.0, 1e-30]).unwrap();
        file.finish().unwrap();
        let array = read(&path, "w").unwrap();
        assert_eq!(array.shape, [2, 3]);
        assert_eq!(array.values, [1.0, -2.5, 3.0, 4.0, 5.0, 1e-30]);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((bytes.len() - 24) % 64, 0, "aligned as numpy aligns it");
        std::fs::write(&path, b"hello").unwrap();
        assert!(read(&path, "w").is_err());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn places_count_the_last_index_fastest() {
        assert_eq!(place(0, &[2, 3, 4]), [0, 0, 0]);
        assert_eq!(place(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(place(13, &[2, 3, 4]), [1, 0, 1]);
    }
}
