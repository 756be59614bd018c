//! The points that place a face.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Left eye, right eye, tip of the nose, left and right corner of the mouth, each x and y in pixels
/// of the photo, the centre of the first pixel being (0, 0); left is the viewer's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Landmarks([[f64; 2]; 5]);

impl Landmarks {
    /// From five points.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if one is not finite, if the eyes coincide, or if the mouth lies on the
    /// line through the eyes or above it (as with points in another order).
    pub fn from_five(points: [[f64; 2]; 5]) -> Result<Self> {
        let fault = |reason: &str| {
            Err(Error::Argument {
                name: "landmarks",
                reason: reason.to_owned(),
            })
        };
        let landmarks = Self(points);
        if points.as_flattened().iter().any(|v| !v.is_finite()) {
            return fault("not all coordinates are finite");
        }
        if landmarks.eye_distance() < 1e-6 {
            return fault("the eyes coincide");
        }
        let (eyes, down) = (landmarks.eye_to_eye(), landmarks.eye_to_mouth());
        if eyes[0] * down[1] - eyes[1] * down[0] <= 0.0 {
            return fault(
                "the mouth is not below the eyes; left eye, right eye, nose, left and right corner \
                 of the mouth are expected, left being the viewer's",
            );
        }
        Ok(landmarks)
    }

    /// From the 68 points of the iBUG scheme, as dlib and others number them from 0: eyes are the
    /// means of 36-41 and 42-47, the nose is 30, the mouth's corners are 48 and 54.
    ///
    /// # Errors
    ///
    /// As [`Landmarks::from_five`].
    pub fn from_68(points: &[[f64; 2]; 68]) -> Result<Self> {
        let mean = |range: std::ops::Range<usize>| {
            let n = range.len() as f64;
            let sum = points[range]
                .iter()
                .fold([0.0, 0.0], |s, p| [s[0] + p[0], s[1] + p[1]]);
            sum.map(|v| v / n)
        };
        Self::from_five([
            mean(36..42),
            mean(42..48),
            points[30],
            points[48],
            points[54],
        ])
    }

    /// The five points.
    pub fn points(&self) -> [[f64; 2]; 5] {
        self.0
    }

    /// The distance between the eyes, in pixels.
    pub fn eye_distance(&self) -> f64 {
        let [x, y] = self.eye_to_eye();
        x.hypot(y)
    }

    /// How far the face is turned to a side, in degrees; positive when the nose points to the
    /// viewer's right.
    ///
    /// Seen from afar, a nose that stands out by `q` eye distances before the middle of eyes and
    /// mouth moves by `q sin(yaw)`, while the eyes come together by `cos(yaw)`: the ratio is
    /// `q tan(yaw)`, measured along the line of the eyes. `q` is 0.6. An estimate for setting
    /// photos aside, not a measurement.
    pub fn yaw(&self) -> f64 {
        const PROTRUSION: f64 = 0.6;
        let [_, _, nose, ..] = self.0;
        let (eyes, down) = (self.eye_to_eye(), self.eye_to_mouth());
        let middle = self.between_eyes();
        // The nose in the frame of eye line and face midline: middle + a * eyes + b * down.
        let to_nose = [nose[0] - middle[0], nose[1] - middle[1]];
        let determinant = eyes[0] * down[1] - eyes[1] * down[0];
        let along = (to_nose[0] * down[1] - to_nose[1] * down[0]) / determinant;
        (along / PROTRUSION).atan().to_degrees()
    }

    pub(super) fn eye_to_eye(&self) -> [f64; 2] {
        let [left, right, ..] = self.0;
        [right[0] - left[0], right[1] - left[1]]
    }

    pub(super) fn between_eyes(&self) -> [f64; 2] {
        middle(self.0[0], self.0[1])
    }

    /// The middle of the mouth.
    pub(crate) fn mouth(&self) -> [f64; 2] {
        middle(self.0[3], self.0[4])
    }

    /// From between the eyes to the middle of the mouth.
    pub(super) fn eye_to_mouth(&self) -> [f64; 2] {
        let (eyes, mouth) = (self.between_eyes(), self.mouth());
        [mouth[0] - eyes[0], mouth[1] - eyes[1]]
    }
}

fn middle(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: [[f64; 2]; 5] = [
        [40.0, 50.0],
        [80.0, 50.0],
        [60.0, 75.0],
        [45.0, 95.0],
        [75.0, 95.0],
    ];

    #[test]
    fn a_turned_nose_is_a_turned_face() {
        let yaw = |nose: f64| {
            let mut points = FRONT;
            points[2][0] = nose;
            Landmarks::from_five(points).unwrap().yaw()
        };
        assert!(yaw(60.0).abs() < 1e-9);
        // A ratio of 0.6 is 45 degrees.
        assert!((yaw(84.0) - 45.0).abs() < 1e-9);
        assert!((yaw(36.0) + 45.0).abs() < 1e-9);
    }

    #[test]
    fn yaw_does_not_depend_on_tilt_and_size() {
        let mut points = FRONT;
        points[2][0] = 70.0;
        let upright = Landmarks::from_five(points).unwrap().yaw();
        let (sin, cos) = 0.4_f64.sin_cos();
        let tilted = points.map(|[x, y]| [3.0 * (x * cos - y * sin), 3.0 * (x * sin + y * cos)]);
        let tilted = Landmarks::from_five(tilted).unwrap();
        assert!((tilted.yaw() - upright).abs() < 1e-9);
        assert!((tilted.eye_distance() - 120.0).abs() < 1e-9);
    }

    #[test]
    fn sixty_eight_points_give_five() {
        let mut points = [[0.0; 2]; 68];
        for (k, p) in points.iter_mut().enumerate() {
            *p = match k {
                36..42 => [40.0 + (k as f64 - 38.5), 50.0],
                42..48 => [80.0, 50.0 + (k as f64 - 44.5)],
                30 => FRONT[2],
                48 => FRONT[3],
                54 => FRONT[4],
                _ => [-1e3, 7.0],
            };
        }
        assert_eq!(Landmarks::from_68(&points).unwrap().points(), FRONT);
    }

    #[test]
    fn impossible_points_are_refused() {
        let refused = |points| {
            let error = Landmarks::from_five(points).unwrap_err();
            error.to_string()
        };
        let mut points = FRONT;
        points[4][1] = f64::NAN;
        assert!(refused(points).contains("finite"));
        let mut points = FRONT;
        points[1] = points[0];
        assert!(refused(points).contains("coincide"));
        let mut points = FRONT;
        points.swap(0, 1);
        assert!(refused(points).contains("the viewer's"));
    }
}
