//! Strided tensors inside a file.

use std::borrow::Cow;
use std::sync::Arc;

use half::{bf16, f16};

use super::source::Source;
use crate::error::{Error, Result};

/// Element types that network files use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
}

impl Element {
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
        }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn read(self, b: &[u8]) -> f32 {
        match (self, b) {
            (Self::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Self::F64, &[a, b, c, d, e, f, g, h]) => {
                f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32
            }
            (Self::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (Self::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            (Self::I64, &[a, b, c, d, e, f, g, h]) => {
                i64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32
            }
            (Self::I32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) as f32,
            (Self::I16, &[a, b]) => i16::from_le_bytes([a, b]).into(),
            (Self::I8, &[a]) => a.cast_signed().into(),
            (Self::U8, &[a]) => a.into(),
            _ => f32::NAN,
        }
    }
}

/// Where a storage's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    File { offset: u64, len: u64 },
    Owned(Arc<Vec<u8>>),
}

impl Storage {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Owned(bytes) => bytes.len() as u64,
        }
    }
}

/// A view of a storage. Strides may be negative: a flip is a change of strides.
#[derive(Clone, Debug)]
pub(crate) struct RawTensor {
    pub(crate) element: Element,
    pub(crate) storage: Storage,
    offset: isize,
    shape: Vec<usize>,
    strides: Vec<isize>,
    add: f32,
}

/// No network tensor has more dimensions.
const MAX_RANK: usize = 8;

impl RawTensor {
    /// Checks that every element lies within the storage, and that none is there twice.
    pub(crate) fn new(
        name: &str,
        element: Element,
        storage: Storage,
        offset: u64,
        shape: Vec<usize>,
        strides: Option<Vec<isize>>,
    ) -> Result<Self> {
        let fail = |reason: String| Error::Tensor {
            tensor: name.to_owned(),
            reason,
        };
        if shape.len() > MAX_RANK {
            return Err(fail(format!("{} dimensions", shape.len())));
        }
        let count = shape
            .iter()
            .try_fold(1_u64, |n, &d| n.checked_mul(d as u64))
            .ok_or_else(|| fail(format!("shape {shape:?} overflows")))?;
        let held = storage.len() / element.size() as u64;
        if count > held {
            return Err(fail(format!(
                "shape {shape:?} needs {count} elements, storage has {held}"
            )));
        }
        let strides = match strides {
            Some(s) if s.len() == shape.len() => s,
            Some(s) => {
                return Err(fail(format!(
                    "{} strides for {} dimensions",
                    s.len(),
                    shape.len()
                )));
            }
            None => contiguous(&shape),
        };
        if count > 0 {
            let mut last = i128::from(offset);
            for (&d, &s) in shape.iter().zip(&strides) {
                if s < 0 {
                    return Err(fail(format!("negative stride {s}")));
                }
                last += (d as i128 - 1) * s as i128;
            }
            if last >= i128::from(held) {
                return Err(fail(format!(
                    "reaches element {last} of a storage of {held}"
                )));
            }
        }
        let offset = isize::try_from(offset).map_err(|_| fail(format!("offset {offset}")))?;
        Ok(Self {
            element,
            storage,
            offset,
            shape,
            strides,
            add: 0.0,
        })
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Reorders the dimensions.
    pub(crate) fn permute(mut self, order: &[usize]) -> Option<Self> {
        if order.len() != self.shape.len() {
            return None;
        }
        self.shape = order.iter().map(|&d| self.shape[d]).collect();
        self.strides = order.iter().map(|&d| self.strides[d]).collect();
        Some(self)
    }

    /// Reverses one dimension.
    pub(crate) fn flip(mut self, dim: usize) -> Self {
        if let (Some(&d), Some(s)) = (self.shape.get(dim), self.strides.get_mut(dim)) {
            self.offset += (d.cast_signed() - 1).max(0) * *s;
            *s = -*s;
        }
        self
    }

    /// Drops leading dimensions of size one until `rank` are left, and trailing ones after that.
    pub(crate) fn squeeze_to(mut self, rank: usize) -> Self {
        while self.shape.len() > rank {
            let d = match (self.shape.first(), self.shape.last()) {
                (Some(1), _) => 0,
                (_, Some(1)) => self.shape.len() - 1,
                _ => break,
            };
            self.shape.remove(d);
            self.strides.remove(d);
        }
        self
    }

    /// A constant added to every element on reading.
    pub(crate) fn plus(mut self, add: f32) -> Self {
        self.add += add;
        self
    }

    /// The elements in row-major order.
    pub(crate) fn read(&self, source: &Source) -> Result<Vec<f32>> {
        let bytes: Cow<'_, [u8]> = match &self.storage {
            Storage::File { offset, len } => source.read(*offset, *len)?,
            Storage::Owned(bytes) => Cow::Borrowed(bytes),
        };
        let size = self.element.size();
        let count = self.count();
        let mut out = Vec::with_capacity(count);
        let at = |index: usize| bytes.get(index * size..index * size + size).unwrap_or(&[]);
        if self.strides == contiguous(&self.shape) {
            let start = self.offset.unsigned_abs();
            let bytes = bytes
                .get(start * size..(start + count) * size)
                .unwrap_or(&[]);
            out.extend(
                bytes
                    .chunks_exact(size)
                    .map(|b| self.element.read(b) + self.add),
            );
        } else {
            let mut index = vec![0_usize; self.shape.len()];
            for _ in 0..count {
                let position: isize = self.offset
                    + index
                        .iter()
                        .zip(&self.strides)
                        .map(|(&i, &s)| i.cast_signed() * s)
                        .sum::<isize>();
                out.push(self.element.read(at(position.unsigned_abs())) + self.add);
                for d in (0..index.len()).rev() {
                    index[d] += 1;
                    if index[d] < self.shape[d] {
                        break;
                    }
                    index[d] = 0;
                }
            }
        }
        Ok(out)
    }
}

#[allow(clippy::cast_possible_wrap)]
fn contiguous(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1_isize; shape.len()];
    for d in (0..shape.len().saturating_sub(1)).rev() {
        strides[d] = strides[d + 1].saturating_mul(shape[d + 1].max(1) as isize);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(n: u8) -> Storage {
        Storage::Owned(Arc::new((0..n).collect()))
    }

    fn none() -> Source {
        Source::Memory(Arc::new(Vec::new()))
    }

    fn view(shape: &[usize], strides: &[isize]) -> Result<RawTensor> {
        RawTensor::new(
            "t",
            Element::U8,
            storage(12),
            0,
            shape.to_vec(),
            Some(strides.to_vec()),
        )
    }

    #[test]
    fn strides_flips_and_permutations() {
        let t = view(&[3, 4], &[4, 1]).unwrap();
        let p = t.clone().permute(&[1, 0]).unwrap().read(&none()).unwrap();
        assert_eq!(p, [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
        let f = t.flip(1).plus(1.0).read(&none()).unwrap();
        assert_eq!(f, [4., 3., 2., 1., 8., 7., 6., 5., 12., 11., 10., 9.]);
    }

    #[test]
    fn views_outside_the_storage_are_refused() {
        assert!(view(&[13], &[1]).is_err());
        assert!(view(&[3, 4], &[5, 1]).is_err());
        assert!(view(&[3, 4], &[-4, 1]).is_err());
        assert!(view(&[usize::MAX, 4], &[0, 0]).is_err());
        assert!(view(&[100], &[0]).is_err());
        assert!(view(&[3], &[1, 1]).is_err());
        assert!(view(&[2], &[isize::MAX]).is_err());
        let far = RawTensor::new("t", Element::U8, storage(12), u64::MAX, vec![1], None);
        assert!(far.is_err());
    }
}
