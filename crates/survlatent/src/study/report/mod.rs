//! The report of a study as one page that opens anywhere.

pub(super) mod card;
pub(super) mod checklist;
pub(super) mod html;
mod pictures;
mod summary;
mod tables;
