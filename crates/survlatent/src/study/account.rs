//! What the report says of itself: settings, the checklist, and why something is not in it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::file::{Columns, ProofSettings, ReportSettings, StudyFile};
use super::photos::PhotoSettings;
use crate::simulate::PortraitSurv;

/// The settings of a study beside those of models and validation. Files are named without their folders,
/// which are nobody's business; their bytes are among the inputs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StudySettings {
    /// Columns of the table.
    pub columns: Columns,
    /// How photos became latents.
    pub photos: PhotoSettings,
    /// The cohort that was simulated.
    pub simulate: Option<PortraitSurv>,
    /// Pictures and proof.
    pub proof: ProofSettings,
    /// The report.
    pub report: ReportSettings,
}

impl StudySettings {
    pub(super) fn of(file: &StudyFile) -> Self {
        let name = |path: &mut Option<PathBuf>| {
            *path = path.take().and_then(|p| p.file_name().map(PathBuf::from));
        };
        let mut out = Self {
            columns: file.columns.clone(),
            photos: file.photos.clone(),
            simulate: file.simulate.clone(),
            proof: file.proof.clone(),
            report: file.report.clone(),
        };
        name(&mut out.photos.network);
        name(&mut out.photos.encoder);
        name(&mut out.proof.masks);
        out
    }
}

/// One item of the TRIPOD+AI checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecklistItem {
    /// Its number.
    pub item: String,
    /// What it asks, in our words.
    pub asks: String,
    /// What the run says to it; absent where it is the authors' to write.
    pub filled: Option<String>,
}

/// A part of the report that this run has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// Which.
    pub part: ReportPart,
    /// Why.
    pub reason: String,
}

/// Parts of a report that not every study has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportPart {
    /// The direction of health.
    Direction,
    /// Its pictures.
    Pictures,
    /// Where it looks.
    Saliency,
    /// The test for shortcuts, and the models of face and background.
    Shortcut,
    /// Photos covered and swapped.
    Occlusion,
}

/// Increments as an object whose keys name the comparison, `late_fusion_over_clinical`.
pub(super) mod increments {
    use std::fmt;

    use serde::de::{MapAccess, Visitor};
    use serde::ser::SerializeMap as _;
    use serde::{Deserializer, Serializer};

    use super::super::results::Increment;

    pub(in super::super) fn serialize<S: Serializer>(
        all: &[Increment],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(all.len()))?;
        for one in all {
            let key = format!("{}_over_{}", one.with_face.name(), one.base.name());
            map.serialize_entry(&key, one)?;
        }
        map.end()
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Increment>, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Vec<Increment>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("increments by comparison")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some((_, one)) = map.next_entry::<String, Increment>()? {
                    out.push(one);
                }
                Ok(out)
            }
        }
        deserializer.deserialize_map(Each)
    }
}
