//! Why a photo is set aside.

use std::fmt;

use super::{Landmarks, Measures};
use crate::face::Face;

/// Why a photo was not aligned.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The detector found none.
    NoFace,
    /// More than one face that could be meant.
    SeveralFaces {
        /// How many are of similar size.
        count: usize,
    },
    /// Too few pixels between the eyes.
    TooSmall {
        /// Their distance in pixels.
        eye_distance: f64,
        /// The least asked for.
        least: f64,
    },
    /// Too little detail.
    TooBlurred {
        /// The measured sharpness.
        sharpness: f64,
        /// The least asked for.
        least: f64,
    },
    /// Turned too far to a side.
    TurnedAway {
        /// The estimated angle in degrees.
        yaw: f64,
        /// The greatest asked for.
        most: f64,
    },
    /// The photo shows too little of what surrounds the face.
    BeyondPhoto {
        /// By which share of its side the square leaves the photo.
        share: f64,
        /// The greatest asked for.
        most: f64,
    },
    /// Landmarks that cannot be those of a face in this photo.
    Landmarks {
        /// What is wrong with them.
        reason: String,
    },
}

impl Reason {
    /// One word for tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoFace => "no_face",
            Self::SeveralFaces { .. } => "several_faces",
            Self::TooSmall { .. } => "too_small",
            Self::TooBlurred { .. } => "too_blurred",
            Self::TurnedAway { .. } => "turned_away",
            Self::BeyondPhoto { .. } => "beyond_photo",
            Self::Landmarks { .. } => "landmarks",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFace => write!(f, "no face was found"),
            Self::SeveralFaces { count } => {
                write!(f, "{count} faces of similar size were found")
            }
            Self::TooSmall {
                eye_distance,
                least,
            } => write!(
                f,
                "the face is too small: {eye_distance:.1} pixels between the eyes, {least:.1} are needed"
            ),
            Self::TooBlurred { sharpness, least } => write!(
                f,
                "the face is too blurred: sharpness {sharpness:.4}, {least:.4} is needed"
            ),
            Self::TurnedAway { yaw, most } => write!(
                f,
                "the face is turned away by about {:.0} degrees, {most:.0} are allowed",
                yaw.abs()
            ),
            Self::BeyondPhoto { share, most } => write!(
                f,
                "the photo is cut too close: the square leaves it by {:.0}% of its side, {:.0}% \
                 are allowed",
                100.0 * share,
                100.0 * most
            ),
            Self::Landmarks { reason } => write!(f, "{reason}"),
        }
    }
}

/// A photo that was not aligned, with what is known of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct SetAside {
    /// Why.
    pub reason: Reason,
    /// The face that would have been taken, if one was found.
    pub face: Option<Face>,
    /// The landmarks that were looked at.
    pub landmarks: Option<Landmarks>,
    /// What was measured before the decision.
    pub measures: Measures,
}
