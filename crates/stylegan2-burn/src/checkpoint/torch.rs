//! PyTorch's tensors and its two file formats.

use super::pickle::{Global, Node, Pickle, Value};
use super::source::Source;
use super::tensor::{Element, RawTensor, Storage};
use super::zip::Archive;
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// `0x1950a86a20f9469cfc6c`, little-endian: the first object of a legacy file.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Storages of nested streams, by the node that holds the stream and whether it had to be decoded.
type Parsed = RefCell<HashMap<(usize, bool), (Element, Storage)>>;

/// How persistent ids of a file become storages.
pub(crate) enum Storages {
    /// No persistent ids: storages are nested legacy streams, each parsed once however many
    /// tensors refer to it.
    Nested(Parsed),
    /// By key, with the position in the file.
    Keyed(HashMap<String, (Element, Storage)>),
}

fn element(class: Global) -> Option<Element> {
    Some(match class {
        Global::FloatStorage => Element::F32,
        Global::DoubleStorage => Element::F64,
        Global::HalfStorage => Element::F16,
        Global::Bfloat16Storage => Element::Bf16,
        Global::LongStorage => Element::I64,
        Global::IntStorage => Element::I32,
        Global::ShortStorage => Element::I16,
        Global::CharStorage => Element::I8,
        Global::ByteStorage | Global::BoolStorage => Element::U8,
        _ => return None,
    })
}

/// `('storage', type, key, location, numel[, view])` of a persistent id.
fn storage_id<'a>(pickle: &Pickle<'a>, id: Value) -> Option<(Element, &'a str, u64)> {
    let id = pickle.sequence(id)?;
    if pickle.text(*id.first()?)? != "storage" {
        return None;
    }
    // Views into other storages were dropped from PyTorch in 2018.
    if id.get(5).is_some_and(|&view| view != Value::None) {
        return None;
    }
    let element = element(pickle.global(*id.get(1)?)?)?;
    Some((
        element,
        pickle.text(*id.get(2)?)?,
        pickle.unsigned(*id.get(4)?)? as u64,
    ))
}

/// The tensor a value of a state dict describes; `None` if it is not a tensor.
pub(crate) fn tensor(
    pickle: &Pickle<'_>,
    value: Value,
    name: &str,
    storages: &Storages,
) -> Result<Option<RawTensor>> {
    let fail = |reason: &str| Error::Tensor {
        tensor: name.to_owned(),
        reason: reason.to_owned(),
    };
    let Some((class, args, _)) = pickle.object(value) else {
        return Ok(None);
    };
    let args = pickle.sequence(args).unwrap_or(&[]);
    let args = match class {
        Global::RebuildParameter => {
            let inner = args
                .first()
                .copied()
                .ok_or_else(|| fail("parameter without a tensor"))?;
            match pickle.object(inner) {
                Some((Global::RebuildTensor, args, _)) => pickle.sequence(args).unwrap_or(&[]),
                _ => return Err(fail("parameter without a tensor")),
            }
        }
        Global::RebuildTensor => args,
        _ => return Ok(None),
    };
    let [storage, offset, shape, strides, ..] = *args else {
        return Err(fail("too few arguments"));
    };
    let (element, storage) = match (pickle.node(storage), storages) {
        (
            Some(&Node::Object {
                class: Global::LoadFromBytes,
                args,
                ..
            }),
            Storages::Nested(parsed),
        ) => nested_storage(pickle, args, name, parsed)?,
        (Some(&Node::Persistent(id)), Storages::Keyed(map)) => {
            let (_, key, count) =
                storage_id(pickle, id).ok_or_else(|| fail("malformed storage"))?;
            let (element, storage) = map
                .get(key)
                .ok_or_else(|| fail(&format!("storage {key} is not in the file")))?;
            if storage.len() / element.size() as u64 != count {
                return Err(fail(&format!(
                    "storage {key} does not have {count} elements"
                )));
            }
            (*element, storage.clone())
        }
        _ => return Err(fail("no storage")),
    };
    let sizes = |v: Value| -> Option<Vec<usize>> {
        pickle
            .sequence(v)?
            .iter()
            .map(|&d| match d {
                Value::Int(i) => usize::try_from(i).ok(),
                _ => None,
            })
            .collect()
    };
    let offset = pickle
        .unsigned(offset)
        .ok_or_else(|| fail("offset is not a size"))?;
    let shape = sizes(shape).ok_or_else(|| fail("shape is not a list of sizes"))?;
    let strides = sizes(strides).ok_or_else(|| fail("strides are not a list of sizes"))?;
    let strides: Option<Vec<isize>> = strides.iter().map(|&s| isize::try_from(s).ok()).collect();
    let strides = strides.ok_or_else(|| fail("stride overflows"))?;
    RawTensor::new(name, element, storage, offset as u64, shape, Some(strides)).map(Some)
}

/// A legacy stream with one storage, as plain pickles hold them.
fn nested_storage(
    pickle: &Pickle<'_>,
    args: Value,
    name: &str,
    parsed: &Parsed,
) -> Result<(Element, Storage)> {
    let fail = |reason: &str| Error::Tensor {
        tensor: name.to_owned(),
        reason: reason.to_owned(),
    };
    let stream = pickle.sequence(args).and_then(|a| a.first()).copied();
    let key = stream.and_then(|s| pickle.characters(s));
    if let Some(known) = key.and_then(|k| parsed.borrow().get(&k).cloned()) {
        return Ok(known);
    }
    let (bytes, position) = stream
        .and_then(|s| pickle.bytes(s))
        .ok_or_else(|| fail("storage without bytes"))?;
    let base = position.unwrap_or(0);
    let legacy = Legacy::parse(&bytes, base)?;
    let Some(Node::Persistent(id)) = legacy.object.node(legacy.object.root) else {
        return Err(fail("nested stream is not a storage"));
    };
    let (element, own, count) =
        storage_id(&legacy.object, *id).ok_or_else(|| fail("malformed storage"))?;
    let start = legacy.data(|k| (k == own).then_some((element, count)))?;
    let (_, offset, len) = start
        .into_iter()
        .find(|&(k, ..)| k == own)
        .ok_or_else(|| fail("storage is missing"))?;
    let storage = match position {
        Some(base) => Storage::File {
            offset: (base + offset) as u64,
            len: len as u64,
        },
        None => Storage::Owned(Arc::new(bytes[offset..offset + len].to_vec())),
    };
    if let Some(key) = key {
        parsed.borrow_mut().insert(key, (element, storage.clone()));
    }
    Ok((element, storage))
}

/// The pickles of a legacy stream.
struct Legacy<'a> {
    bytes: &'a [u8],
    base: usize,
    object: Pickle<'a>,
    /// Not copied: a list may refer to one long key many times.
    keys: Vec<&'a str>,
    end: usize,
}

impl<'a> Legacy<'a> {
    fn parse(bytes: &'a [u8], base: usize) -> Result<Self> {
        let fail = |at: usize, reason: &str| Error::Pickle {
            offset: (base + at) as u64,
            reason: reason.to_owned(),
        };
        let magic = Pickle::parse(bytes, base)?;
        if !matches!(magic.node(magic.root), Some(Node::Big(m)) if m == &MAGIC) {
            return Err(fail(0, "no PyTorch magic number"));
        }
        let mut at = magic.end;
        let mut next = || -> Result<Pickle<'a>> {
            let pickle = Pickle::parse(&bytes[at..], base + at)?;
            at += pickle.end;
            Ok(pickle)
        };
        if next()?.root != Value::Int(1001) {
            return Err(fail(at, "PyTorch protocol is not 1001"));
        }
        let system = next()?;
        if system.get(system.root, "little_endian") == Some(Value::Bool(false)) {
            return Err(fail(at, "big-endian data"));
        }
        let object = next()?;
        let keys = next()?;
        let names = keys.sequence(keys.root).and_then(|list| {
            list.iter()
                .map(|&k| keys.text(k))
                .collect::<Option<Vec<_>>>()
        });
        let names = names.ok_or_else(|| fail(at, "storage keys are not a list of names"))?;
        Ok(Self {
            bytes,
            base,
            object,
            keys: names,
            end: at,
        })
    }

    /// Key, position in `bytes` and length of each storage.
    fn data(
        &self,
        expected: impl Fn(&str) -> Option<(Element, u64)>,
    ) -> Result<Vec<(&'a str, usize, usize)>> {
        let mut at = self.end;
        let mut found = Vec::new();
        for &key in &self.keys {
            let fail = |reason: String| Error::Tensor {
                tensor: format!("storage {key}"),
                reason,
            };
            let (element, count) = expected(key).ok_or_else(|| fail("is not used".to_owned()))?;
            let head = self.bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
            let head: [u8; 8] = head.ok_or(Error::Truncated {
                offset: (self.base + at) as u64,
                needed: 8,
                available: self.bytes.len().saturating_sub(at) as u64,
            })?;
            let stored = u64::from_le_bytes(head);
            if stored != count {
                return Err(fail(format!(
                    "holds {stored} elements, but {count} are announced"
                )));
            }
            let available = (self.bytes.len() - at - 8) as u64;
            let needed = count.saturating_mul(element.size() as u64);
            if needed > available {
                let offset = (self.base + at + 8) as u64;
                return Err(Error::Truncated {
                    offset,
                    needed,
                    available,
                });
            }
            #[allow(clippy::cast_possible_truncation)]
            let len = needed as usize;
            found.push((key, at + 8, len));
            at += 8 + len;
        }
        Ok(found)
    }
}

/// All storages a pickle refers to.
fn referenced(pickle: &Pickle<'_>) -> HashMap<String, (Element, u64)> {
    pickle
        .persistent()
        .filter_map(|id| storage_id(pickle, id))
        .map(|(element, key, count)| (key.to_owned(), (element, count)))
        .collect()
}

/// Reads the legacy format and hands the object with its storages to `use_it`.
pub(crate) fn read_legacy<T>(
    bytes: &[u8],
    use_it: impl FnOnce(&Pickle<'_>, &Storages) -> Result<T>,
) -> Result<T> {
    let legacy = Legacy::parse(bytes, 0)?;
    let wanted = referenced(&legacy.object);
    let data = legacy.data(|key| wanted.get(key).copied())?;
    let map = data
        .into_iter()
        .map(|(key, offset, len)| {
            let element = wanted[key].0;
            (
                key.to_owned(),
                (
                    element,
                    Storage::File {
                        offset: offset as u64,
                        len: len as u64,
                    },
                ),
            )
        })
        .collect();
    use_it(&legacy.object, &Storages::Keyed(map))
}

/// Reads the zip format and hands the object with its storages to `use_it`.
pub(crate) fn read_zip<T>(
    source: &Source,
    use_it: impl FnOnce(&Pickle<'_>, &Storages) -> Result<T>,
) -> Result<T> {
    let archive = Archive::open(source)?;
    let unsupported = |detail: &str| Error::Unsupported {
        what: "zip archive".to_owned(),
        detail: detail.to_owned(),
    };
    let (name, entry) = archive
        .entries
        .iter()
        .find(|(name, _)| *name == "data.pkl" || name.ends_with("/data.pkl"))
        .ok_or_else(|| unsupported("no data.pkl, so it was not written by PyTorch"))?;
    let prefix = name.trim_end_matches("data.pkl").to_owned();
    if let Some(order) = archive.entries.get(&format!("{prefix}byteorder"))
        && &*source.read(order.offset, order.len)? != b"little"
    {
        return Err(unsupported("big-endian data"));
    }
    let bytes = source.read(entry.offset, entry.len)?;
    #[allow(clippy::cast_possible_truncation)]
    let pickle = Pickle::parse(&bytes, entry.offset as usize)?;
    let mut map = HashMap::new();
    for (key, (element, _)) in referenced(&pickle) {
        if let Some(e) = archive.entries.get(&format!("{prefix}data/{key}")) {
            map.insert(
                key,
                (
                    element,
                    Storage::File {
                        offset: e.offset,
                        len: e.len,
                    },
                ),
            );
        }
    }
    use_it(&pickle, &Storages::Keyed(map))
}

/// Whether `bytes` start like a legacy file.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.len() > 14 && bytes[0] == 0x80 && bytes[2] == 0x8a && bytes[4..14] == MAGIC
}
