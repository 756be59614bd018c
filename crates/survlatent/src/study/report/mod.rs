//! The report of a study as one page that opens anywhere.

mod checklist;
pub(super) mod html;
mod pictures;
mod tables;
