//! Verbs about networks and pictures.

mod arrays;
pub(crate) mod convert;
pub(crate) mod discriminate;
pub(crate) mod fd;
mod film;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod interpolate;
mod list;
pub(crate) mod network;
mod path;
pub(crate) mod picture;
pub(crate) mod style_mix;
pub(crate) mod train;

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use survlatent::Error;

use crate::failure::Failure;

/// A bar on standard error where that is a terminal, nothing elsewhere.
pub(crate) fn progress(count: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {elapsed}, {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.set_position(0);
    bar
}

/// Makes the folder of the pictures.
pub(crate) fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|source| {
        Failure::from(Error::Io {
            path: folder.to_owned(),
            source,
        })
    })
}
