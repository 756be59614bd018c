//! Settings of the alignment.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::face::DetectorSettings;

/// Which face is taken where there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Choice {
    /// The largest, unless another is of similar size.
    #[default]
    Only,
    /// The largest in any case.
    Largest,
}

/// How faces are cut out, and which photos are set aside.
///
/// | setting | default | |
/// |---|---|---|
/// | `size` | 256 | side of the result; 16 to 2048 |
/// | `choice` | [`Choice::Only`] | |
/// | `similar` | 0.6 | side of another face, relative to the largest, that makes it a rival |
/// | `min_eye_distance` | size / 16 | pixels of the photo |
/// | `min_sharpness` | 0.03 | see [`sharpness`](super::Measures::sharpness) |
/// | `max_yaw` | 45 | degrees, see [`Landmarks::yaw`](super::Landmarks::yaw) |
/// | `max_beyond` | 0.5 | share of the square's side outside the photo |
///
/// The detector looks for faces down to a 25th of the photo's shorter side, or 20 pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignSettings {
    pub(super) size: usize,
    pub(super) choice: Choice,
    pub(super) similar: f64,
    pub(super) min_eye_distance: Option<f64>,
    pub(super) min_sharpness: f64,
    pub(super) max_yaw: f64,
    pub(super) max_beyond: f64,
    pub(super) detector: DetectorSettings,
}

impl Default for AlignSettings {
    fn default() -> Self {
        Self {
            size: 256,
            choice: Choice::Only,
            similar: 0.6,
            min_eye_distance: None,
            min_sharpness: 0.03,
            max_yaw: 45.0,
            max_beyond: 0.5,
            detector: DetectorSettings::default().with_min_face_fraction(0.04),
        }
    }
}

impl AlignSettings {
    /// The side of the aligned picture, in pixels.
    pub fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Which face is taken where there are several.
    pub fn with_choice(mut self, choice: Choice) -> Self {
        self.choice = choice;
        self
    }

    /// The side of another face, relative to that of the largest, from which on it is not clear
    /// which of them is meant.
    pub fn with_similar(mut self, similar: f64) -> Self {
        self.similar = similar;
        self
    }

    /// The least distance between the eyes, in pixels of the photo; a sixteenth of the size unless
    /// told, which enlarges the photo about fourfold.
    pub fn with_min_eye_distance(mut self, pixels: f64) -> Self {
        self.min_eye_distance = Some(pixels);
        self
    }

    /// The least sharpness; 0 to take every face.
    pub fn with_min_sharpness(mut self, sharpness: f64) -> Self {
        self.min_sharpness = sharpness;
        self
    }

    /// The greatest estimated angle to a side, in degrees.
    pub fn with_max_yaw(mut self, degrees: f64) -> Self {
        self.max_yaw = degrees;
        self
    }

    /// By which share of its side the square may leave the photo.
    pub fn with_max_beyond(mut self, share: f64) -> Self {
        self.max_beyond = share;
        self
    }

    /// Settings of the search for faces.
    pub fn with_detector(mut self, detector: DetectorSettings) -> Self {
        self.detector = detector;
        self
    }

    /// The side of the aligned picture, in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The least distance between the eyes that is in force.
    pub fn min_eye_distance(&self) -> f64 {
        let default = self.size as f64 / 16.0;
        self.min_eye_distance.unwrap_or(default)
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(16..=2048).contains(&self.size) {
            return Err(Error::Argument {
                name: "size",
                reason: format!("{} pixels; 16 to 2048 are possible", self.size),
            });
        }
        let ranges = [
            ("similar", self.similar, 0.0, 1.0),
            ("min_eye_distance", self.min_eye_distance(), 1.0, 1e5),
            ("min_sharpness", self.min_sharpness, 0.0, 1e3),
            ("max_yaw", self.max_yaw, 0.0, 90.0),
            ("max_beyond", self.max_beyond, 0.0, 1.0),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let reason = format!("{value} is not between {least} and {most}");
                return Err(Error::Argument { name, reason });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let d = AlignSettings::default;
        assert!(d().check().is_ok());
        for (settings, name) in [
            (d().with_size(8), "size"),
            (d().with_min_eye_distance(f64::NAN), "min_eye_distance"),
            (d().with_max_yaw(-1.0), "max_yaw"),
            (d().with_similar(2.0), "similar"),
        ] {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }

    #[test]
    fn the_eye_distance_goes_with_the_size() {
        let settings = AlignSettings::default().with_size(512);
        assert!((settings.min_eye_distance() - 32.0).abs() < 1e-12);
        let settings = settings.with_min_eye_distance(10.0);
        assert!((settings.min_eye_distance() - 10.0).abs() < 1e-12);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<AlignSettings>(&text).unwrap(),
            settings
        );
        assert!(serde_json::from_str::<AlignSettings>("{\"sise\": 3}").is_err());
    }
}
