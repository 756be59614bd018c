//! Tensors as Hugging Face stores them: the length of a JSON header, the header, the data.
//!
//! Read here rather than by the crate `safetensors` (which writes the files of the tests): that
//! one adds up stated offsets without a check for overflow.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::{Array, Element, choose, display_name, size};
use crate::error::{Error, Result};

/// The key that holds no tensor.
const METADATA: &str = "__metadata__";
/// The entry of the metadata that names the rows: a JSON list of strings.
const IDS: &str = "ids";
/// The tensor taken where several are there and none is asked for: latents of the space W.
const LATENTS: &str = "w";

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// A header of JSON behind its length.
pub(super) fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{') && bytes[..8].contains(&0)
}

/// The header and the data behind it.
fn split(bytes: &[u8]) -> Result<(BTreeMap<String, Value>, &[u8])> {
    let (header, data) = bytes
        .split_first_chunk()
        .and_then(|(length, rest)| {
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        })
        .ok_or_else(|| bad("the header is cut off".to_owned()))?;
    let header =
        serde_json::from_slice(header).map_err(|error| bad(format!("the header: {error}")))?;
    Ok((header, data))
}

/// The identifiers of the `n` rows, where the metadata have them.
pub(super) fn ids(bytes: &[u8], n: usize) -> Result<Option<Vec<String>>> {
    let (header, _) = split(bytes)?;
    let Some(text) = header.get(METADATA).and_then(|m| m.get(IDS)) else {
        return Ok(None);
    };
    let ids = text.as_str().and_then(|t| serde_json::from_str(t).ok());
    let ids: Vec<String> =
        ids.ok_or_else(|| bad(format!("its `{IDS}` are no JSON list of strings")))?;
    if ids.len() != n {
        return Err(bad(format!("{} `{IDS}` for {n} rows", ids.len())));
    }
    let mut seen = HashMap::new();
    for (second, id) in ids.iter().enumerate() {
        if let Some(first) = seen.insert(id, second) {
            return Err(Error::DuplicateId {
                id: id.clone(),
                first,
                second,
            });
        }
    }
    Ok(Some(ids))
}

/// Reads the tensor called `wanted` (or `w`, or the only one) with its name.
pub(super) fn read(bytes: &[u8], wanted: Option<&str>) -> Result<(String, Array)> {
    let (header, data) = split(bytes)?;
    let names: Vec<&str> = header.keys().map(String::as_str).collect();
    let names: Vec<&str> = names.into_iter().filter(|&n| n != METADATA).collect();
    let wanted = wanted.or(names.contains(&LATENTS).then_some(LATENTS));
    let name = choose(&names, wanted)?;
    let tensor = Tensor::deserialize(&header[name])
        .map_err(|error| bad(format!("tensor `{name}`: {error}")))?;
    let element = element(&tensor.dtype).ok_or_else(|| Error::Dtype {
        array: display_name(name),
        dtype: tensor.dtype.clone(),
    })?;
    let [start, end] = tensor.data_offsets;
    let data = data.get(start..end).ok_or_else(|| {
        bad(format!(
            "tensor `{name}` lies at {start}..{end} of {} bytes",
            data.len()
        ))
    })?;
    if size(&tensor.shape, element) != Some(data.len()) {
        return Err(bad(format!(
            "tensor `{name}`: shape {:?} of {} does not fill {} bytes",
            tensor.shape,
            tensor.dtype,
            data.len()
        )));
    }
    let values = element.decode(data, false);
    let array = Array {
        shape: tensor.shape,
        values,
    };
    Ok((name.to_owned(), array))
}

fn bad(reason: String) -> Error {
    Error::Format {
        format: "safetensors",
        reason,
    }
}

fn element(dtype: &str) -> Option<Element> {
    Some(match dtype {
        "F16" => Element::F16,
        "BF16" => Element::BF16,
        "F32" => Element::F32,
        "F64" => Element::F64,
        "BOOL" => Element::Bool,
        "I8" => Element::I8,
        "U8" => Element::U8,
        "I16" => Element::I16,
        "U16" => Element::U16,
        "I32" => Element::I32,
        "U32" => Element::U32,
        "I64" => Element::I64,
        "U64" => Element::U64,
        _ => return None,
    })
}
