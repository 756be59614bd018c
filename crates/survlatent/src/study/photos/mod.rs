//! From photos to latents: the stages before the statistics.

#[cfg(feature = "photos")]
mod align;
mod estimates;
#[cfg(feature = "photos")]
mod invert;
mod list;
#[cfg(feature = "photos")]
mod network;
mod settings;
#[cfg(feature = "photos")]
mod stages;
#[cfg(all(test, feature = "flex", feature = "photos"))]
mod tests;

use std::collections::HashSet;

use super::results::{Input, InversionFigures};

pub(super) use estimates::{Estimates, check as check_estimates, estimates};
#[cfg(feature = "photos")]
pub(super) use invert::Reinversion;
pub(super) use list::{photos, without_ending};
pub use settings::{PhotoEstimate, PhotoMethod, PhotoSettings};
#[cfg(feature = "photos")]
pub(super) use stages::latents;

/// A folder of pictures as one input: SHA-256 over the names and the SHA-256 of each.
#[cfg(feature = "photos")]
pub(super) fn folder_input(folder: &std::path::Path) -> crate::Result<Input> {
    let files: Vec<_> = photos(folder)?.into_iter().collect();
    let mut input = stages::digest(folder, &files)?;
    input.role = "masks".into();
    Ok(input)
}

/// Whether a network's name is the word for the one that ships.
pub(super) fn is_shipped(path: &std::path::Path) -> bool {
    path == std::path::Path::new("shipped")
}

/// What the stages leave to the statistics, beside a study whose data are files.
pub(super) struct Inverted {
    /// Why photos were set aside, with their ids, in order.
    pub(super) set_aside: Vec<(String, HashSet<String>)>,
    /// Files read, and the latents by what they depend on.
    pub(super) inputs: Vec<Input>,
    pub(super) figures: InversionFigures,
    pub(super) notes: Vec<String>,
    /// The face of every photo, by id.
    #[cfg(feature = "photos")]
    pub(super) files: std::collections::HashMap<String, std::path::PathBuf>,
    /// Landmarks of every face that was cut out, in pixels of its picture, by id.
    #[cfg(feature = "photos")]
    pub(super) landmarks: std::collections::HashMap<String, [[f64; 2]; 5]>,
    /// Side of the generator's pictures.
    #[cfg(feature = "photos")]
    pub(super) side: usize,
    /// How they were inverted.
    #[cfg(feature = "photos")]
    pub(super) how: Reinversion,
}

/// The same in a program without networks: a refusal where the study starts from photos.
#[cfg(not(feature = "photos"))]
pub(super) fn latents(
    file: &mut super::StudyFile,
    _folder: &std::path::Path,
    _observer: &super::StageObserver<'_>,
) -> crate::Result<Option<Inverted>> {
    if file.inverts() {
        return Err(crate::Error::Study {
            reason: "this study starts from photos, for which the program must be built with the \
                     feature `photos`; or invert them before and name data.latents"
                .into(),
        });
    }
    Ok(None)
}
