//! What the pictures of a study show: of the direction, of where it looks, and of what else the outcome
//! goes with.

mod edits;
#[cfg(feature = "photos")]
mod generator;
#[cfg(feature = "photos")]
mod masks;
#[cfg(feature = "photos")]
mod occlusion;
#[cfg(all(test, feature = "flex", feature = "photos"))]
mod run_tests;
#[cfg(feature = "photos")]
mod stages;
#[cfg(feature = "photos")]
mod traversal;
#[cfg(not(feature = "photos"))]
mod without;

use serde::{Deserialize, Serialize};

use super::account::{Absent, ReportPart};
use super::directed::Directed;
use super::interval::Interval;
use super::photos::Inverted;
use super::stages::Run;
use crate::error::Result;
use crate::proof::{RegionModels, SaliencyFigures, ShortcutFigures};

pub use edits::{OcclusionFigures, PhotoEdit};
#[cfg(feature = "photos")]
pub(super) use generator::Generator;
#[cfg(feature = "photos")]
pub(super) use stages::gather;
#[cfg(all(feature = "photos", feature = "deep"))]
pub(super) use stages::thumbnails;
#[cfg(not(feature = "photos"))]
pub(super) use without::{Generator, gather};

/// What the pictures start from.
#[cfg_attr(not(feature = "photos"), allow(dead_code))]
pub(super) struct Given<'a> {
    /// Photos that this run has inverted.
    pub(super) inverted: Option<&'a Inverted>,
    pub(super) directed: Option<&'a Directed>,
    /// Why there is no direction, where there is none.
    pub(super) no_direction: &'a str,
    /// The generator, or why there is none.
    pub(super) generator: std::result::Result<&'a Generator, &'a str>,
}

/// A picture of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shown {
    /// Its file in the run's folder.
    pub(super) file: String,
    /// What it shows, for who cannot see it.
    pub(super) alt: String,
    /// What to read from it.
    pub(super) caption: String,
    /// The file's bytes.
    pub(super) bytes: Vec<u8>,
}

/// How stable the picture of the direction is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PictureFigures {
    /// Bootstrap refits of the direction, by patient.
    pub replicates: usize,
    /// Cosine of their directions to the study's.
    pub cosine: Interval,
    /// Mean cosine of the pixels' changes, theirs to the study's.
    pub picture: f64,
}

/// Everything the pictures tell; nothing where a study has none.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    pub(super) pictures: Option<PictureFigures>,
    pub(super) saliency: Option<SaliencyFigures>,
    pub(super) shortcut: Option<ShortcutFigures>,
    pub(super) region_models: Option<RegionModels>,
    pub(super) occlusion: Vec<OcclusionFigures>,
    /// Pictures of the direction.
    pub(super) direction: Vec<Shown>,
    /// Of the saliency.
    pub(super) where_it_looks: Vec<Shown>,
    /// Of the test for shortcuts.
    pub(super) shortcuts: Vec<Shown>,
    /// What is not there, and why.
    pub(super) absent: Vec<Absent>,
}

/// Every picture that a run may leave in its folder.
const FILES: [&str; 8] = [
    "strip.png",
    "strip_conditional.png",
    "strip_generated.png",
    "triptych.png",
    "traversal.gif",
    "stability.png",
    "saliency.png",
    "shortcut.png",
];

impl Evidence {
    /// None of it, for one reason.
    pub(super) fn none(reason: &str) -> Self {
        let mut out = Self::default();
        for part in [
            ReportPart::Pictures,
            ReportPart::Saliency,
            ReportPart::Shortcut,
            ReportPart::Occlusion,
        ] {
            out.lacks(part, reason);
        }
        out
    }

    pub(super) fn lacks(&mut self, part: ReportPart, reason: impl Into<String>) {
        let reason = reason.into();
        self.absent.push(Absent { part, reason });
    }

    /// Writes the pictures into the run's folder, and takes those of an earlier run away that this one
    /// has not.
    pub(super) fn write(&self, run: &Run<'_>) -> Result<()> {
        let shown = || {
            let some = self.direction.iter().chain(&self.where_it_looks);
            some.chain(&self.shortcuts)
        };
        for picture in shown() {
            run.write(&picture.file, &picture.bytes)?;
        }
        for name in FILES {
            if shown().all(|picture| picture.file != name) {
                run.remove(name);
            }
        }
        Ok(())
    }
}

impl Shown {
    /// An image element with the picture in it.
    pub(super) fn html(&self) -> String {
        let kind = match self.file.rsplit_once('.') {
            Some((_, "gif")) => "gif",
            _ => "png",
        };
        format!(
            "<img src=\"data:image/{kind};base64,{}\" alt=\"{}\">",
            base64(&self.bytes),
            self.alt
                .replace('&', "&amp;")
                .replace('"', "&quot;")
                .replace('<', "&lt;")
        )
    }
}

/// Bytes as base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for some in bytes.chunks(3) {
        let at = |k: usize| u32::from(some.get(k).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for k in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * k) & 63) as usize];
            out.push(if k <= some.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648, section 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        let known = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        for (n, text) in known.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..n]), *text);
        }
    }
}
