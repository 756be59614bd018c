//! The square that a face is cut out by.

use serde::{Deserialize, Serialize};

use super::landmarks::Landmarks;

/// A square in a photo, turned with the face.
///
/// The square of the FFHQ data set (Karras, Laine and Aila 2019, appendix A). With the eyes'
/// distance vector $e$ and the vector $m$ from between the eyes to the middle of the mouth:
/// the horizontal half side has the direction of $e - R m$, where $R$ turns the downward direction
/// to the left, and the length $\max(2 |e|, 1.8 |m|)$; the centre lies $0.1\, m$ below the eyes.
///
/// Coordinates are in pixels of the photo, the centre of the first pixel being (0, 0).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quad {
    center: [f64; 2],
    /// From the centre to the middle of the right side.
    half: [f64; 2],
}

impl Quad {
    /// The square around a face.
    pub fn around(landmarks: &Landmarks) -> Self {
        let (eyes, down) = (landmarks.eye_to_eye(), landmarks.eye_to_mouth());
        let direction = [eyes[0] + down[1], eyes[1] - down[0]];
        let length = (2.0 * eyes[0].hypot(eyes[1])).max(1.8 * down[0].hypot(down[1]));
        let scale = length / direction[0].hypot(direction[1]);
        let middle = landmarks.between_eyes();
        Self {
            center: [middle[0] + 0.1 * down[0], middle[1] + 0.1 * down[1]],
            half: [direction[0] * scale, direction[1] * scale],
        }
    }

    /// By its centre and the vector from there to the middle of its right side.
    #[cfg(any(feature = "age-sex", feature = "identity"))]
    pub(crate) fn new(center: [f64; 2], half: [f64; 2]) -> Self {
        Self { center, half }
    }

    /// The corners: top left, bottom left, bottom right, top right, as the face sees them upright.
    pub fn corners(&self) -> [[f64; 2]; 4] {
        [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]].map(|p| self.at(p))
    }

    /// The side, in pixels of the photo.
    pub fn side(&self) -> f64 {
        2.0 * self.half[0].hypot(self.half[1])
    }

    /// The place in the photo of a place in the square, both sides of which are 1.
    pub(super) fn at(&self, [u, v]: [f64; 2]) -> [f64; 2] {
        let ([x, y], [u, v]) = (self.half, [2.0 * u - 1.0, 2.0 * v - 1.0]);
        [
            self.center[0] + u * x - v * y,
            self.center[1] + u * y + v * x,
        ]
    }

    /// The place in the photo of a point of the aligned picture of `size` pixels, pixel centres
    /// being whole numbers in both.
    pub fn to_photo(&self, point: [f64; 2], size: usize) -> [f64; 2] {
        self.at(point.map(|v| (v + 0.5) / size as f64))
    }

    /// The place in the aligned picture of `size` pixels of a point of the photo.
    pub fn to_aligned(&self, [x, y]: [f64; 2], size: usize) -> [f64; 2] {
        let [dx, dy] = [x - self.center[0], y - self.center[1]];
        let [a, b] = self.half;
        let square = a * a + b * b;
        let unit = [(dx * a + dy * b) / square, (dy * a - dx * b) / square];
        unit.map(|v| f64::midpoint(v, 1.0) * size as f64 - 0.5)
    }

    /// Least and greatest x and y of the corners.
    pub(super) fn extent(&self) -> [f64; 4] {
        let reach = self.half[0].abs() + self.half[1].abs();
        let [x, y] = self.center;
        [x - reach, y - reach, x + reach, y + reach]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quad(points: [[f64; 2]; 5]) -> Quad {
        Quad::around(&Landmarks::from_five(points).unwrap())
    }

    /// By hand: eyes 40 apart, mouth 50 below; 1.8 * 50 = 90 is more than 2 * 40.
    #[test]
    fn an_upright_face() {
        let q = quad([
            [40.0, 50.0],
            [80.0, 50.0],
            [60.0, 70.0],
            [50.0, 100.0],
            [70.0, 100.0],
        ]);
        let expected = [
            [-30.0, -35.0],
            [-30.0, 145.0],
            [150.0, 145.0],
            [150.0, -35.0],
        ];
        for (got, want) in q.corners().iter().zip(expected) {
            assert!((got[0] - want[0]).abs() < 1e-9 && (got[1] - want[1]).abs() < 1e-9);
        }
        assert!((q.side() - 180.0).abs() < 1e-9);
        // 60 px: 3 px of the photo each.
        let p = q.to_photo([0.0, 59.0], 60);
        assert!(
            (p[0] + 28.5).abs() < 1e-9 && (p[1] - 143.5).abs() < 1e-9,
            "{p:?}"
        );
        let extent = [-30.0, -35.0, 150.0, 145.0];
        for (got, want) in q.extent().iter().zip(extent) {
            assert!((got - want).abs() < 1e-9);
        }
    }

    #[test]
    fn a_quarter_turn_turns_the_corners() {
        // Eyes below each other: the head lies on its side, its top to the right.
        let q = quad([
            [50.0, 40.0],
            [50.0, 80.0],
            [30.0, 60.0],
            [0.0, 50.0],
            [0.0, 70.0],
        ]);
        let expected = [
            [135.0, -30.0],
            [-45.0, -30.0],
            [-45.0, 150.0],
            [135.0, 150.0],
        ];
        for (got, want) in q.corners().iter().zip(expected) {
            assert!(
                (got[0] - want[0]).abs() < 1e-9 && (got[1] - want[1]).abs() < 1e-9,
                "{q:?}"
            );
        }
    }

    #[test]
    fn places_there_and_back() {
        let q = quad([
            [40.0, 50.0],
            [83.0, 61.0],
            [60.0, 70.0],
            [41.0, 97.0],
            [70.0, 108.0],
        ]);
        for point in [[0.0, 0.0], [13.7, 200.2], [255.0, 255.0]] {
            let back = q.to_aligned(q.to_photo(point, 256), 256);
            assert!((back[0] - point[0]).abs() < 1e-9 && (back[1] - point[1]).abs() < 1e-9);
        }
    }
}
