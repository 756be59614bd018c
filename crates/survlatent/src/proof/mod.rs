//! What a direction looks like, and whether it looks at the face.
//!
//! | question | answer |
//! |---|---|
//! | how does a face change with the hazard? | [`strip`], [`triptych`], `film`, [`stability`] |
//! | which part of the picture changes? | [`Saliency`]: the exact derivative, summed by [`Region`] |
//! | does the outcome go with something that no face has? | [`ShortcutTest`] |
//! | what do face and background say by themselves? | [`RegionModels`] |
//!
//! Pictures come from anything that is [`Portraits`]; `FaceNetwork` (feature `gan`) is a
//! generator. Every picture that shows a generated or edited face is labelled in the picture and in
//! its file.

#[cfg(feature = "pictures")]
mod files;
mod glyphs;
#[cfg(feature = "gan")]
mod network;
mod novelty;
mod picture;
mod portraits;
#[cfg(all(test, feature = "gan"))]
mod power;
mod regions;
mod retrain;
mod saliency;
mod shortcut;
mod strip;
mod thumbnails;

#[cfg(feature = "gan")]
pub use network::FaceNetwork;
pub use novelty::{PictureLaw, PictureLawSettings};
pub use picture::{DESCRIPTION, LABEL, Picture};
pub use portraits::Portraits;
#[cfg(feature = "age-sex")]
pub(crate) use regions::ALIGNED;
pub use regions::{Region, RegionMap};
pub use retrain::RegionModels;
pub use saliency::{RegionShare, Saliency, SaliencyFigures};
pub use shortcut::{Outcome, ShortcutFigures, ShortcutTest};
pub use strip::{
    DEFAULT_RATIOS, StabilityMaps, hazard_ratio_of_survival, stability, stability_at, strip,
    strip_with_survival, triptych,
};
#[cfg(feature = "pictures")]
pub use strip::{film, film_with_survival};
pub use thumbnails::Thumbnails;
