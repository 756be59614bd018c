//! Verbs about whole studies.

pub(crate) mod edit;
pub(crate) mod run;
pub(crate) mod simulate;
