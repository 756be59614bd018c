//! A matrix of latents or other features from a file, whatever its format.
//!
//! | format | known by | what is read |
//! |---|---|---|
//! | `.npy` | `\x93NUMPY` | one array, either byte order, C or Fortran order |
//! | `.npz` | `PK` | the array asked for, or the only one |
//! | `.safetensors` | a JSON header after 8 bytes | the tensor asked for, `w`, or the only one; `ids` of its metadata |
//! | Parquet, Arrow | `PAR1`, `ARROW1` (feature `parquet`) | all columns but `id` |
//! | `.csv` | anything else that is text | all columns but `id` |
//!
//! Element types: f16, bf16 and f32 stay f32 in memory (exactly), integers up to 16 bits become
//! f32 (exactly), everything else f64. The extension of the file's name plays no part.
//!
//! A size stated in a file is compared with the bytes there are before anything is allocated.

mod npy;
mod npz;
mod safetensors;
mod table;
mod write;

use std::path::Path;

use cox_survival::Covariates;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Place, Result};

/// Which array of a file to read, for files that hold several.
///
/// ```
/// use survlatent::LatentsReader;
/// let latents = LatentsReader::new().read_bytes(b"id,w1,w2\nP7,0.5,1\nP9,-1,2\n")?;
/// assert_eq!((latents.n(), latents.p()), (2, 2));
/// assert_eq!(latents.names(), ["w1", "w2"]);
/// assert_eq!(latents.ids().unwrap(), ["P7", "P9"]);
/// # Ok::<(), survlatent::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatentsReader {
    array: Option<String>,
}

/// A matrix of `n` rows and `p` named columns, row-major, every value finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Latents {
    values: Values,
    n: usize,
    p: usize,
    names: Vec<String>,
    ids: Option<Vec<String>>,
    layers: Option<usize>,
}

/// The values of a matrix in the precision they came in, row after row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

/// An array as a file states it, before it is taken for a matrix.
struct Array {
    shape: Vec<usize>,
    values: Values,
}

impl LatentsReader {
    /// The only array of the file, or `w` of a safetensors file that has one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The array called `name` of an `.npz` or `.safetensors` file; others have no names and are refused.
    pub fn array(mut self, name: impl Into<String>) -> Self {
        self.array = Some(name.into());
        self
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; otherwise what [`LatentsReader::read_bytes`] refuses, with the file's name.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Latents> {
        let path = path.as_ref();
        self.read_bytes(&content(path)?)
            .map_err(|error| error.in_file(path))
    }

    /// Reads the bytes of a file. The format is told by the bytes.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::Dtype`], [`Error::Rank`], [`Error::WhichArray`],
    /// [`Error::NotFinite`] and what [`Table::from_csv`](crate::Table::from_csv) refuses.
    pub fn read_bytes(&self, bytes: &[u8]) -> Result<Latents> {
        let Some((name, array)) = self.find(bytes)? else {
            return table::read(bytes);
        };
        let mut latents = Latents::from_array(array, &name)?;
        if safetensors::is_safetensors(bytes) {
            latents.ids = safetensors::ids(bytes, latents.n)?;
        }
        Ok(latents)
    }

    /// Reads an array of any rank, such as images `[N, C, H, W]`: its shape and its values, last
    /// index fastest. Values that are not finite stay as they are. CSV has no arrays.
    ///
    /// # Errors
    /// As [`LatentsReader::read`].
    pub fn read_array(&self, path: impl AsRef<Path>) -> Result<(Vec<usize>, Values)> {
        let path = path.as_ref();
        match self.find(&content(path)?) {
            Ok(Some((_, array))) => Ok((array.shape, array.values)),
            Ok(None) => Err(Error::Format {
                format: "npy, npz or safetensors",
                reason: "its first bytes are none of these formats'".into(),
            }),
            Err(error) => Err(error),
        }
        .map_err(|error| error.in_file(path))
    }

    /// The array of a file that holds arrays, with its name where it has one.
    fn find(&self, bytes: &[u8]) -> Result<Option<(String, Array)>> {
        let wanted = self.array.as_deref();
        let nameless = || match wanted {
            None => Ok(()),
            Some(name) => Err(Error::Format {
                format: "npz or safetensors",
                reason: format!(
                    "array `{name}` was asked for, and no other format gives arrays names"
                ),
            }),
        };
        if npy::is_npy(bytes) {
            nameless()?;
            Ok(Some((String::new(), npy::read(bytes)?)))
        } else if npz::is_zip(bytes) {
            npz::read(bytes, wanted).map(Some)
        } else if safetensors::is_safetensors(bytes) {
            safetensors::read(bytes, wanted).map(Some)
        } else {
            nameless()?;
            Ok(None)
        }
    }
}

fn content(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

impl Latents {
    /// A matrix from its values, `n` rows of `p`, with columns `x1`, `x2`, ...
    ///
    /// # Errors
    /// [`Error::Rank`] when `n`, `p` and the values do not fit, [`Error::NotFinite`].
    pub fn new(values: Values, n: usize, p: usize) -> Result<Self> {
        Self::from_array(
            Array {
                shape: vec![n, p],
                values,
            },
            "",
        )
    }

    fn from_array(array: Array, name: &str) -> Result<Self> {
        let rank = |shape: &[usize]| Error::Rank {
            array: display_name(name),
            shape: shape.to_vec(),
        };
        let (n, layers, width) = match array.shape[..] {
            [n, p] => (n, None, p),
            [n, layers, width] => (n, Some(layers), width),
            _ => return Err(rank(&array.shape)),
        };
        let p = layers.unwrap_or(1).checked_mul(width);
        let size = p.and_then(|p| p.checked_mul(n));
        let (Some(p), true) = (p, size == Some(array.values.len()) && size != Some(0)) else {
            return Err(rank(&array.shape));
        };
        let names = match layers {
            None => (1..=p).map(|j| format!("x{j}")).collect(),
            Some(_) => (0..p)
                .map(|j| format!("layer{}.{}", j / width, j % width))
                .collect(),
        };
        let latents = Self {
            values: array.values,
            n,
            p,
            names,
            ids: None,
            layers,
        };
        latents.check_finite(&|_| None)?;
        Ok(latents)
    }

    /// Gives the columns names.
    ///
    /// # Errors
    /// [`Error::NameCount`], [`Error::DuplicateColumn`].
    pub fn with_names(mut self, names: Vec<String>) -> Result<Self> {
        if names.len() != self.p {
            return Err(Error::NameCount {
                found: names.len(),
                expected: self.p,
            });
        }
        let mut seen = std::collections::HashMap::new();
        for (second, name) in names.iter().enumerate() {
            if let Some(first) = seen.insert(name, second) {
                return Err(Error::DuplicateColumn {
                    name: name.clone(),
                    first,
                    second,
                });
            }
        }
        self.names = names;
        Ok(self)
    }

    /// Number of rows (patients, or photos).
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of columns; for an array `[n, layers, width]` it is `layers * width`.
    pub fn p(&self) -> usize {
        self.p
    }

    /// Number of layers of an array `[n, layers, width]` (W+ latents), none for a plain matrix.
    pub fn layers(&self) -> Option<usize> {
        self.layers
    }

    /// Column names: those of a CSV file; `x1`, `x2`, ... for a plain matrix; `layer3.17` for
    /// layer 3, component 17 of a layered one, both from 0.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Row identifiers: the column `id` of a CSV file, or the JSON list of strings `ids` in the
    /// metadata of a safetensors file.
    pub fn ids(&self) -> Option<&[String]> {
        self.ids.as_deref()
    }

    /// The values, row-major.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The value of row `i`, column `j`.
    ///
    /// # Panics
    /// When `i` or `j` lies outside the matrix.
    pub fn get(&self, i: usize, j: usize) -> f64 {
        assert!(
            i < self.n && j < self.p,
            "({i}, {j}) is outside {} x {}",
            self.n,
            self.p
        );
        self.values.get(i * self.p + j)
    }

    /// The matrix for a Cox model, borrowed: no value is copied.
    ///
    /// # Errors
    /// None in fact; sizes and names were checked when the matrix was made.
    pub fn covariates(&self) -> Result<Covariates<'_>> {
        let x = match &self.values {
            Values::F32(v) => Covariates::from_rows_f32(v, self.n, self.p)?,
            Values::F64(v) => Covariates::from_rows(v, self.n, self.p)?,
        };
        Ok(x.with_names(self.names.iter().cloned())?)
    }

    /// The rows `rows`, in that order.
    ///
    /// # Panics
    /// When a row lies outside the matrix.
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        fn pick<T: Copy>(v: &[T], p: usize, rows: &[usize]) -> Vec<T> {
            rows.iter()
                .flat_map(|&i| v[i * p..(i + 1) * p].iter().copied())
                .collect()
        }
        Self {
            values: match &self.values {
                Values::F32(v) => Values::F32(pick(v, self.p, rows)),
                Values::F64(v) => Values::F64(pick(v, self.p, rows)),
            },
            n: rows.len(),
            p: self.p,
            names: self.names.clone(),
            ids: self
                .ids
                .as_ref()
                .map(|ids| rows.iter().map(|&i| ids[i].clone()).collect()),
            layers: self.layers,
        }
    }

    /// One row per patient, in the patients' order, found by identifier. Latents of nobody are
    /// left out; one row may serve several patients' rows of one identifier. Without
    /// identifiers the rows are taken to be in the patients' order already.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; without identifiers [`Error::Rows`] when the numbers differ.
    pub fn align(&self, patients: &[String]) -> Result<Self> {
        let Some(ids) = &self.ids else {
            return self.same_rows(patients.len()).map(|()| self.clone());
        };
        let place: std::collections::HashMap<&str, usize> = ids
            .iter()
            .enumerate()
            .map(|(row, id)| (id.as_str(), row))
            .collect();
        let rows = patients
            .iter()
            .enumerate()
            .map(|(row, id)| {
                place
                    .get(id.as_str())
                    .copied()
                    .ok_or_else(|| Error::UnknownId {
                        id: id.clone(),
                        row,
                    })
            })
            .collect::<Result<Vec<usize>>>()?;
        Ok(self.select_rows(&rows))
    }

    /// Refuses a number of rows other than `patients`.
    ///
    /// # Errors
    /// [`Error::Rows`].
    pub fn same_rows(&self, patients: usize) -> Result<()> {
        if self.n == patients {
            Ok(())
        } else {
            Err(Error::Rows {
                latents: self.n,
                patients,
            })
        }
    }

    fn check_finite(&self, line: &dyn Fn(usize) -> Option<u64>) -> Result<()> {
        let bad = match &self.values {
            Values::F32(v) => v.iter().position(|v| !v.is_finite()),
            Values::F64(v) => v.iter().position(|v| !v.is_finite()),
        };
        match bad {
            None => Ok(()),
            Some(at) => Err(Error::NotFinite {
                place: Place {
                    column: self.names[at % self.p].clone(),
                    row: at / self.p,
                    line: line(at / self.p),
                },
                value: self.values.get(at),
            }),
        }
    }
}

impl Values {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `at`, in double precision.
    ///
    /// # Panics
    /// When there is no such value.
    pub fn get(&self, at: usize) -> f64 {
        match self {
            Self::F32(v) => f64::from(v[at]),
            Self::F64(v) => v[at],
        }
    }
}

/// Element types this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    F16,
    BF16,
    F32,
    F64,
    Bool,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Decodes whole elements; a rest of `data` shorter than one is left alone.
    fn decode(self, data: &[u8], big_endian: bool) -> Values {
        fn each<const N: usize, T>(
            data: &[u8],
            big_endian: bool,
            value: impl Fn([u8; N]) -> T,
        ) -> Vec<T> {
            let (chunks, _) = data.as_chunks::<N>();
            chunks
                .iter()
                .map(|&bytes| {
                    let mut bytes = bytes;
                    if big_endian {
                        bytes.reverse();
                    }
                    value(bytes)
                })
                .collect()
        }
        let be = big_endian;
        match self {
            Self::F16 => Values::F32(each(data, be, |b| half::f16::from_le_bytes(b).to_f32())),
            Self::BF16 => Values::F32(each(data, be, |b| half::bf16::from_le_bytes(b).to_f32())),
            Self::F32 => Values::F32(each(data, be, f32::from_le_bytes)),
            Self::F64 => Values::F64(each(data, be, f64::from_le_bytes)),
            Self::Bool => Values::F32(each(data, be, |[b]| f32::from(u8::from(b != 0)))),
            Self::I8 => Values::F32(each(data, be, |b| f32::from(i8::from_le_bytes(b)))),
            Self::U8 => Values::F32(each(data, be, |b| f32::from(u8::from_le_bytes(b)))),
            Self::I16 => Values::F32(each(data, be, |b| f32::from(i16::from_le_bytes(b)))),
            Self::U16 => Values::F32(each(data, be, |b| f32::from(u16::from_le_bytes(b)))),
            Self::I32 => Values::F64(each(data, be, |b| f64::from(i32::from_le_bytes(b)))),
            Self::U32 => Values::F64(each(data, be, |b| f64::from(u32::from_le_bytes(b)))),
            Self::I64 => Values::F64(each(data, be, |b| i64::from_le_bytes(b) as f64)),
            Self::U64 => Values::F64(each(data, be, |b| u64::from_le_bytes(b) as f64)),
        }
    }
}

/// Number of elements of a shape and their bytes, if a computer can count them.
fn size(shape: &[usize], element: Element) -> Option<usize> {
    shape
        .iter()
        .try_fold(element.bytes(), |size, &extent| size.checked_mul(extent))
}

/// The array asked for among `names`, or the only one.
fn choose<'a>(names: &[&'a str], wanted: Option<&str>) -> Result<&'a str> {
    let found = match wanted {
        Some(wanted) => names.iter().find(|&&name| name == wanted),
        None if names.len() == 1 => names.first(),
        None => None,
    };
    found.copied().ok_or_else(|| {
        let mut found: Vec<String> = names.iter().map(ToString::to_string).collect();
        found.sort_unstable();
        Error::WhichArray {
            wanted: wanted.map(str::to_owned),
            found,
        }
    })
}

fn display_name(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!("`{name}` ")
    }
}

#[cfg(test)]
mod tests;
