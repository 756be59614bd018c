//! Settings of the detector.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What the cascade looks for and how sure it must be.
///
/// | setting | default | range |
/// |---|---|---|
/// | `min_face_size` | 20 pixels | at least 8 |
/// | `min_face_fraction` | 0 | 0 to below 1 |
/// | `thresholds` | 0.6, 0.7, 0.7 | 0 to 1 |
/// | `factor` | 0.709 | 0.1 to 0.95 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorSettings {
    pub(super) min_face_size: f64,
    pub(super) min_face_fraction: f64,
    pub(super) thresholds: [f64; 3],
    pub(super) factor: f64,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            min_face_size: 20.0,
            min_face_fraction: 0.0,
            thresholds: [0.6, 0.7, 0.7],
            factor: 0.709,
        }
    }
}

impl DetectorSettings {
    /// The side of the smallest face looked for, in pixels.
    ///
    /// The time of a search grows with the square of its inverse.
    pub fn with_min_face_size(mut self, pixels: f64) -> Self {
        self.min_face_size = pixels;
        self
    }

    /// The side of the smallest face looked for as a fraction of the photo's shorter side, where
    /// that is more than [`DetectorSettings::with_min_face_size`]: the time of a search then no
    /// longer grows with the photo.
    pub fn with_min_face_fraction(mut self, fraction: f64) -> Self {
        self.min_face_fraction = fraction;
        self
    }

    /// The probabilities that a candidate must reach in the three networks.
    pub fn with_thresholds(mut self, thresholds: [f64; 3]) -> Self {
        self.thresholds = thresholds;
        self
    }

    /// The ratio of successive scales of the search.
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let fault = |name, reason: String| Err(Error::Argument { name, reason });
        if !(self.min_face_size >= 8.0 && self.min_face_size.is_finite()) {
            let reason = format!("{} pixels; at least 8 are needed", self.min_face_size);
            return fault("min_face_size", reason);
        }
        if !(0.0..1.0).contains(&self.min_face_fraction) {
            let reason = format!("{} is not in [0, 1)", self.min_face_fraction);
            return fault("min_face_fraction", reason);
        }
        if self.thresholds.iter().any(|t| !(0.0..=1.0).contains(t)) {
            let reason = format!("{:?} are not all in [0, 1]", self.thresholds);
            return fault("thresholds", reason);
        }
        if !(0.1..=0.95).contains(&self.factor) {
            let reason = format!("{} is not in [0.1, 0.95]", self.factor);
            return fault("factor", reason);
        }
        Ok(())
    }

    /// The factors by which a picture is resized, for faces that fill the first network's field.
    ///
    /// # Shapes
    ///
    /// - height, width: of the picture
    pub(super) fn scales(&self, height: usize, width: usize) -> Vec<f64> {
        let field = super::network::Proposals::FIELD as f64;
        let shorter = height.min(width) as f64;
        let smallest = self.min_face_size.max(self.min_face_fraction * shorter);
        let first = field / smallest;
        let mut scale = first;
        let mut side = shorter * first;
        let mut scales = Vec::new();
        while side >= field {
            scales.push(scale);
            scale *= self.factor;
            side *= self.factor;
        }
        scales
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_run_from_the_smallest_face_to_the_whole_picture() {
        let scales = DetectorSettings::default().scales(112, 92);
        assert!((scales[0] - 0.6).abs() < 1e-12);
        assert!((scales[1] - 0.6 * 0.709).abs() < 1e-12);
        let last = scales.last().unwrap();
        assert!(92.0 * last >= 12.0 && 92.0 * last * 0.709 < 12.0);
        let fraction = DetectorSettings::default().with_min_face_fraction(0.05);
        assert!((fraction.scales(4000, 3000)[0] - 12.0 / 150.0).abs() < 1e-12);
        assert!(DetectorSettings::default().scales(10, 300).is_empty());
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let d = DetectorSettings::default;
        for (settings, name) in [
            (d().with_min_face_size(2.0), "min_face_size"),
            (d().with_min_face_size(f64::NAN), "min_face_size"),
            (d().with_min_face_fraction(1.0), "min_face_fraction"),
            (d().with_thresholds([0.5, 1.2, 0.5]), "thresholds"),
            (d().with_factor(1.0), "factor"),
        ] {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
        assert!(d().check().is_ok());
    }
}
