//! One `NumPy` array. Format: numpy's `lib/format` documentation, versions 1.0 to 3.0.

use super::{Array, Element, Values, size};
use crate::error::{Error, Result};

const MAGIC: &[u8] = b"\x93NUMPY";
/// A header is a line of some hundred bytes; numpy itself refuses more than 10,000.
const LONGEST_HEADER: usize = 65_536;

/// What a header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    element: Element,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
    /// Where the data start.
    pub(super) start: usize,
    /// Bytes of data.
    pub(super) size: usize,
}

pub(super) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

pub(super) fn read(bytes: &[u8]) -> Result<Array> {
    let header = Header::parse(bytes)?;
    let found = bytes.len() - header.start;
    if found != header.size {
        return Err(bad(format!(
            "shape {:?} needs {} bytes of data, the file has {found}",
            header.shape, header.size
        )));
    }
    Ok(header.array(&bytes[header.start..]))
}

impl Header {
    /// Parses the header at the start of `bytes`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let short = || bad("the header is cut off".to_owned());
        let version = *bytes.get(MAGIC.len()).ok_or_else(short)?;
        let (start, length) = match version {
            1 => {
                let field = bytes.get(8..10).ok_or_else(short)?;
                (10, usize::from(u16::from_le_bytes([field[0], field[1]])))
            }
            2 | 3 => {
                let field = bytes.get(8..12).ok_or_else(short)?;
                let length = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
                (12, usize::try_from(length).map_err(|_| short())?)
            }
            _ => return Err(bad(format!("version {version} of the format is unknown"))),
        };
        if length > LONGEST_HEADER {
            return Err(bad(format!("a header of {length} bytes")));
        }
        let start = start + length;
        let text = bytes.get(start - length..start).ok_or_else(short)?;
        let text = std::str::from_utf8(text).map_err(|_| bad("the header is not text".into()))?;
        Self::interpret(text, start)
    }

    fn interpret(text: &str, start: usize) -> Result<Self> {
        let odd = || bad(format!("the header {:?} is not understood", text.trim()));
        let mut dict = Dict(text);
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        dict.token('{').ok_or_else(odd)?;
        while dict.token('}').is_none() {
            let key = dict.string().ok_or_else(odd)?;
            dict.token(':').ok_or_else(odd)?;
            match key {
                "descr" if dict.peek() == Some('[') => {
                    return Err(dtype("a structure with named fields"));
                }
                "descr" => descr = Some(dict.string().ok_or_else(odd)?),
                "fortran_order" => fortran_order = Some(dict.boolean().ok_or_else(odd)?),
                "shape" => shape = Some(dict.shape().ok_or_else(odd)?),
                _ => return Err(odd()),
            }
            if dict.token(',').is_none() && dict.peek() != Some('}') {
                return Err(odd());
            }
        }
        let (Some(descr), Some(fortran_order), Some(shape)) = (descr, fortran_order, shape) else {
            return Err(odd());
        };
        let (big_endian, element) = element(descr).ok_or_else(|| dtype(descr))?;
        let size = size(&shape, element).ok_or_else(|| {
            bad(format!(
                "shape {shape:?} has more values than can be counted"
            ))
        })?;
        Ok(Self {
            element,
            big_endian,
            fortran_order,
            shape,
            start,
            size,
        })
    }

    /// Decodes the data, which are `self.size` bytes long.
    pub(super) fn array(&self, data: &[u8]) -> Array {
        let values = self.element.decode(data, self.big_endian);
        let values = match values {
            Values::F32(v) if self.fortran_order => Values::F32(row_major(&v, &self.shape)),
            Values::F64(v) if self.fortran_order => Values::F64(row_major(&v, &self.shape)),
            values => values,
        };
        Array {
            shape: self.shape.clone(),
            values,
        }
    }
}

/// Reorders an array stored first index fastest into last index fastest.
fn row_major<T: Copy>(v: &[T], shape: &[usize]) -> Vec<T> {
    let mut stride = 1;
    let strides: Vec<usize> = shape
        .iter()
        .map(|&extent| {
            let here = stride;
            stride *= extent;
            here
        })
        .collect();
    (0..v.len())
        .map(|mut at| {
            let mut source = 0;
            for (&extent, &stride) in shape.iter().zip(&strides).rev() {
                source += at % extent * stride;
                at /= extent;
            }
            v[source]
        })
        .collect()
}

/// `<f4` and the like.
fn element(descr: &str) -> Option<(bool, Element)> {
    let (order, kind) = descr.split_at_checked(1)?;
    let big_endian = match order {
        // `|` says that the order does not matter, `=` that it is the writer's own.
        "<" | "|" | "=" => false,
        ">" => true,
        _ => return None,
    };
    let element = match kind {
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        "b1" => Element::Bool,
        "i1" => Element::I8,
        "u1" => Element::U8,
        "i2" => Element::I16,
        "u2" => Element::U16,
        "i4" => Element::I32,
        "u4" => Element::U32,
        "i8" => Element::I64,
        "u8" => Element::U64,
        _ => return None,
    };
    Some((big_endian, element))
}

fn bad(reason: String) -> Error {
    Error::Format {
        format: "npy",
        reason,
    }
}

fn dtype(dtype: &str) -> Error {
    Error::Dtype {
        array: String::new(),
        dtype: dtype.to_owned(),
    }
}

/// The rest of a header: the few kinds of Python literals numpy writes there.
struct Dict<'a>(&'a str);

impl<'a> Dict<'a> {
    fn peek(&mut self) -> Option<char> {
        self.0 = self.0.trim_start();
        self.0.chars().next()
    }

    fn token(&mut self, token: char) -> Option<()> {
        self.peek();
        self.0 = self.0.strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let quote = self.peek().filter(|&c| c == '\'' || c == '"')?;
        let (text, rest) = self.0[1..].split_once(quote)?;
        self.0 = rest;
        Some(text)
    }

    fn boolean(&mut self) -> Option<bool> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Some(value);
            }
        }
        None
    }

    fn shape(&mut self) -> Option<Vec<usize>> {
        let mut shape = Vec::new();
        self.token('(')?;
        while self.token(')').is_none() {
            self.peek();
            let digits = self.0.len()
                - self
                    .0
                    .trim_start_matches(|c: char| c.is_ascii_digit())
                    .len();
            // A number too large for this machine is no shape it could hold.
            shape.push(self.0[..digits].parse().ok()?);
            self.0 = &self.0[digits..];
            // Python 2 wrote long integers with an L.
            self.0 = self.0.strip_prefix('L').unwrap_or(self.0);
            if self.token(',').is_none() && self.peek() != Some(')') {
                return None;
            }
        }
        Some(shape)
    }
}
