//! Verbs about whole studies.

pub(crate) mod run;
pub(crate) mod simulate;
