//! What is done to parts of photos, and what it did to their risk.

use serde::{Deserialize, Serialize};

use super::super::interval::Interval;
use crate::proof::{Region, RegionMap};

/// What is done to the photos, in regions of [`RegionMap::canonical`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PhotoEdit {
    /// The eyes get one colour, the region's mean over the photos; likewise the next ones.
    CoverEyes,
    /// The mouth.
    CoverMouth,
    /// Eyes, mouth and the rest of the face.
    CoverFace,
    /// Hair, ears and forehead.
    CoverHair,
    /// Neck and clothes.
    CoverNeck,
    /// Background.
    CoverBackground,
    /// The background comes from another patient's photo.
    SwapBackground,
    /// Everything but the face does.
    SwapAllButFace,
}

impl PhotoEdit {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::CoverEyes,
        Self::CoverMouth,
        Self::CoverFace,
        Self::CoverHair,
        Self::CoverNeck,
        Self::CoverBackground,
        Self::SwapBackground,
        Self::SwapAllButFace,
    ];

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::CoverEyes => "eyes covered",
            Self::CoverMouth => "mouth covered",
            Self::CoverFace => "face covered",
            Self::CoverHair => "hair, ears and forehead covered",
            Self::CoverNeck => "neck and clothes covered",
            Self::CoverBackground => "background covered",
            Self::SwapBackground => "another photo's background",
            Self::SwapAllButFace => "another photo's hair, neck and background",
        }
    }

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::CoverEyes => "cover_eyes",
            Self::CoverMouth => "cover_mouth",
            Self::CoverFace => "cover_face",
            Self::CoverHair => "cover_hair",
            Self::CoverNeck => "cover_neck",
            Self::CoverBackground => "cover_background",
            Self::SwapBackground => "swap_background",
            Self::SwapAllButFace => "swap_all_but_face",
        }
    }

    /// Whether pixels come from another photo.
    pub fn swaps(self) -> bool {
        matches!(self, Self::SwapBackground | Self::SwapAllButFace)
    }

    /// Whether it changes a region.
    pub fn changes(self, region: Region) -> bool {
        match self {
            Self::CoverEyes => region == Region::Eyes,
            Self::CoverMouth => region == Region::Mouth,
            Self::CoverFace => region.is_face(),
            Self::CoverHair => region == Region::Hair,
            Self::CoverNeck => region == Region::Neck,
            Self::CoverBackground | Self::SwapBackground => region == Region::Background,
            Self::SwapAllButFace => !region.is_face(),
        }
    }

    /// The share of the picture that it changes.
    pub fn area(self, regions: &RegionMap) -> f64 {
        let of = |r: &Region| regions.area(*r);
        let some = Region::ALL.into_iter().filter(|r| self.changes(*r));
        some.map(|r| of(&r)).sum()
    }
}

/// What an edit of the photos did to the risk that the face model reads from them, by models that had
/// not seen the patients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OcclusionFigures {
    /// What was done.
    pub edit: PhotoEdit,
    /// Share of the picture that it changes.
    pub area: f64,
    /// Photos that were inverted again, one per patient.
    pub photos: usize,
    /// Mean change of the log risk, in standard deviations of the score over the cohort.
    pub change: Interval,
    /// Mean size of the change, whatever its sign, in the same unit.
    pub absolute: Interval,
    /// Harrell's concordance of these photos before; pairs across folds count, too.
    pub harrell_before: Option<f64>,
    /// The same afterwards.
    pub harrell: Option<f64>,
    /// The difference.
    pub harrell_change: Option<Interval>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_covered_once_and_names_are_those_of_files() {
        let regions = RegionMap::canonical(64);
        let disjoint = [
            PhotoEdit::CoverFace,
            PhotoEdit::CoverHair,
            PhotoEdit::CoverNeck,
            PhotoEdit::CoverBackground,
        ];
        let sum: f64 = disjoint.iter().map(|e| e.area(&regions)).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        let rest = PhotoEdit::SwapAllButFace.area(&regions);
        assert!((rest + PhotoEdit::CoverFace.area(&regions) - 1.0).abs() < 1e-12);
        for edit in PhotoEdit::ALL {
            let written = serde_json::to_string(&edit).unwrap();
            assert_eq!(written, format!("\"{}\"", edit.name()));
        }
    }
}
