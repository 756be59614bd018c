//! The uncompressed zip archives PyTorch writes.

use std::collections::BTreeMap;

use super::source::Source;
use crate::error::{Error, Result};

/// Position of a stored file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// The table of contents.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) entries: BTreeMap<String, Entry>,
}

const END: u64 = 22;
const MAX_ENTRIES: u64 = 1 << 20;

fn word(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes
        .get(at..at + width)
        .unwrap_or(&[])
        .iter()
        .rev()
        .fold(0, |n, &b| (n << 8) | u64::from(b))
}

impl Archive {
    pub(crate) fn open(source: &Source) -> Result<Self> {
        let fail = |offset: u64, reason: &str| Error::Zip {
            offset,
            reason: reason.to_owned(),
        };
        let len = source.len();
        // The end record is followed by at most 64 KiB of comment.
        let tail_at = len.saturating_sub(END + 0xffff);
        let tail = source.read(tail_at, len - tail_at)?;
        let end = tail
            .windows(4)
            .rposition(|w| w == b"PK\x05\x06")
            .filter(|&p| p + 22 <= tail.len())
            .ok_or_else(|| fail(len, "no end record: the file is cut short"))?;
        let mut count = word(&tail, end + 10, 2);
        let mut size = word(&tail, end + 12, 4);
        let mut start = word(&tail, end + 16, 4);
        if count == 0xffff || size == 0xffff_ffff || start == 0xffff_ffff {
            let locator = end
                .checked_sub(20)
                .filter(|&p| tail[p..].starts_with(b"PK\x06\x07"));
            let locator = locator.ok_or_else(|| fail(tail_at, "no zip64 locator"))?;
            let at = word(&tail, locator + 8, 8);
            let record = source.read(at, 56)?;
            if !record.starts_with(b"PK\x06\x06") {
                return Err(fail(at, "no zip64 end record"));
            }
            count = word(&record, 32, 8);
            size = word(&record, 40, 8);
            start = word(&record, 48, 8);
        }
        if count > MAX_ENTRIES {
            return Err(fail(tail_at, "more than a million entries"));
        }
        let table = source.read(start, size)?;
        let mut entries = BTreeMap::new();
        let mut at = 0;
        for _ in 0..count {
            let here = start + at as u64;
            let head = table
                .get(at..at + 46)
                .filter(|h| h.starts_with(b"PK\x01\x02"));
            let head = head.ok_or_else(|| fail(here, "malformed table of contents"))?;
            #[allow(clippy::cast_possible_truncation)]
            let [name_len, extra_len, comment_len] =
                [28, 30, 32].map(|p| word(head, p, 2) as usize);
            let name = table.get(at + 46..at + 46 + name_len);
            let name = name.and_then(|n| std::str::from_utf8(n).ok());
            let name = name.ok_or_else(|| fail(here, "malformed name"))?;
            let extra = table
                .get(at + 46 + name_len..at + 46 + name_len + extra_len)
                .ok_or_else(|| fail(here, "malformed table of contents"))?;
            let (packed, plain, local) = zip64(head, extra);
            if word(head, 10, 2) != 0 || packed != plain {
                return Err(fail(
                    here,
                    &format!("`{name}` is compressed; PyTorch stores files plainly"),
                ));
            }
            let local_head = source.read(local, 30)?;
            if !local_head.starts_with(b"PK\x03\x04") {
                return Err(fail(local, "no file header"));
            }
            let offset = local + 30 + word(&local_head, 26, 2) + word(&local_head, 28, 2);
            let available = len.saturating_sub(offset);
            if plain > available {
                return Err(Error::Truncated {
                    offset,
                    needed: plain,
                    available,
                });
            }
            entries.insert(name.to_owned(), Entry { offset, len: plain });
            at += 46 + name_len + extra_len + comment_len;
        }
        Ok(Self { entries })
    }
}

/// Packed size, plain size and header position, from the extra field where they do not fit.
fn zip64(head: &[u8], extra: &[u8]) -> (u64, u64, u64) {
    let mut fields = [word(head, 24, 4), word(head, 20, 4), word(head, 42, 4)];
    let mut rest = extra;
    while rest.len() >= 4 {
        #[allow(clippy::cast_possible_truncation)]
        let (id, len) = (word(rest, 0, 2), word(rest, 2, 2) as usize);
        if id == 1 {
            let mut at = 4;
            for field in &mut fields {
                if *field == 0xffff_ffff {
                    *field = word(rest, at, 8);
                    at += 8;
                }
            }
        }
        rest = rest.get(4 + len..).unwrap_or(&[]);
    }
    let [plain, packed, local] = fields;
    (packed, plain, local)
}
