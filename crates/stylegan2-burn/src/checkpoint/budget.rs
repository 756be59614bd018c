//! What the networks of a pickle may grow to when it is opened.
//!
//! A pickle names an object once and refers to it as often as it likes: a few kilobytes can describe
//! millions of modules that are all the same one. So what is made of each reference is counted.

use super::pickle::{Pickle, Value};
use crate::error::{Error, Result};

/// Released files have a few hundred.
const MAX_PARTS: usize = 1 << 16;
const MAX_NAME: usize = 1 << 10;

/// The tensors and modules that a file may still have.
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: MAX_PARTS }
    }

    /// The full name of one more tensor or module.
    pub(super) fn name(&mut self, pickle: &Pickle<'_>, prefix: &str, key: Value) -> Result<String> {
        let fail = |detail: String| Error::Unsupported {
            what: "network pickle".to_owned(),
            detail,
        };
        let left = self.left.checked_sub(1);
        self.left =
            left.ok_or_else(|| fail(format!("more than {MAX_PARTS} tensors and modules")))?;
        let key = pickle.text(key).unwrap_or("?");
        if prefix.len() + key.len() > MAX_NAME {
            return Err(fail(format!("a name of more than {MAX_NAME} bytes")));
        }
        Ok(format!("{prefix}{key}"))
    }
}
