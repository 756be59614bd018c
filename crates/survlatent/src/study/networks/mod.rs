//! Networks trained end to end on the photos: what a study asks for, and what becomes of it.

#[cfg(all(feature = "photos", feature = "deep"))]
mod layers;
mod settings;
#[cfg(all(feature = "photos", feature = "deep"))]
mod stage;
#[cfg(all(test, feature = "flex", feature = "photos", feature = "deep"))]
mod tests;
#[cfg(all(feature = "photos", feature = "deep"))]
mod train;

pub use settings::{NetworkTraining, PhotoNetwork};
#[cfg(all(feature = "photos", feature = "deep"))]
pub(super) use stage::add;

use super::StudyFile;
use crate::error::{Error, Result};

/// Refuses a study that asks for networks and has no photos, or a program that cannot train them.
pub(super) fn check(file: &StudyFile) -> Result<()> {
    let wanted = file.models.wanted_networks();
    let Some(first) = wanted.first() else {
        return Ok(());
    };
    let reason = if !file.inverts() {
        "is trained on aligned photos: the study must start from data.photos (without data.latents) \
         or [simulate]"
    } else if !cfg!(all(feature = "photos", feature = "deep")) {
        "needs a program built with the features `photos` and `deep`"
    } else {
        return Ok(());
    };
    Err(Error::Study {
        reason: format!("models.networks: {} {reason}", first.name()),
    })
}
