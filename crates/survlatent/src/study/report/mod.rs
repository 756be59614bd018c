//! The report of a study as one page that opens anywhere.

pub(super) mod card;
mod checklist;
pub(super) mod html;
mod pictures;
mod tables;
