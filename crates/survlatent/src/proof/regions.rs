//! Which part of an aligned portrait a pixel belongs to.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A part of a portrait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// Both eyes and what is around them; part of the face.
    Eyes,
    /// Mouth and what is around it; part of the face.
    Mouth,
    /// The rest of the face.
    Skin,
    /// The rest of the head above the mouth: hair, ears, forehead, hats.
    Hair,
    /// Below the mouth beside and under the face: neck and clothes.
    Neck,
    /// Everything else.
    Background,
}

impl Region {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Eyes,
        Self::Mouth,
        Self::Skin,
        Self::Hair,
        Self::Neck,
        Self::Background,
    ];

    /// Whether it is part of the face.
    pub fn is_face(self) -> bool {
        matches!(self, Self::Eyes | Self::Mouth | Self::Skin)
    }

    /// Its name in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Eyes => "eyes",
            Self::Mouth => "mouth",
            Self::Skin => "rest of the face",
            Self::Hair => "hair, ears and forehead",
            Self::Neck => "neck and clothes",
            Self::Background => "background",
        }
    }
}

/// The region of every pixel of a square picture.
///
/// From five landmarks, with `e` the distance of the eyes, `m` the vector from between the eyes to
/// the middle of the mouth and everything turned with the face: the face is an oval around the place
/// `0.42 m` below the eyes with half axes `1.15 |e|` across and `1.35 |m|` along; eyes are boxes of
/// `0.70 |e|` by `0.40 |m|`, the mouth is one of `1.10 |e|` by `0.50 |m|`. The head is an oval
/// `1.4` times as large, and `1.75` times as long upwards. These are proportions of ours, laid over
/// generated portraits and looked at, not a parser of faces: a share inside the face is that of this
/// oval.
///
/// ```
/// use survlatent::proof::{Region, RegionMap};
/// let map = RegionMap::canonical(64);
/// assert_eq!(map.at(32, 30), Region::Skin);
/// assert_eq!(map.at(1, 1), Region::Background);
/// assert!((0.2..0.45).contains(&map.face_area()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionMap {
    side: usize,
    labels: Vec<Region>,
}

/// Where the five landmarks lie in portraits cut out by the square of FFHQ, in parts of the side,
/// for a face whose eyes are as far apart as its mouth is below them, times 0.95.
pub(crate) const ALIGNED: [[f64; 2]; 5] = [
    [0.375, 0.475],
    [0.625, 0.475],
    [0.5, 0.61],
    [0.405, 0.735],
    [0.595, 0.735],
];

impl RegionMap {
    /// For aligned portraits, where the landmarks always lie at about the same place.
    pub fn canonical(side: usize) -> Self {
        let points = ALIGNED.map(|p| p.map(|v| v * side as f64 - 0.5));
        Self::from_landmarks(side, &points)
    }

    /// From the landmarks of one picture in its pixels: left eye, right eye, tip of the nose, left
    /// and right corner of the mouth; left is the viewer's.
    pub fn from_landmarks(side: usize, landmarks: &[[f64; 2]; 5]) -> Self {
        let middle =
            |a: [f64; 2], b: [f64; 2]| [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])];
        let [left, right, _, mouth_left, mouth_right] = *landmarks;
        let (eyes, mouth) = (middle(left, right), middle(mouth_left, mouth_right));
        let across = [right[0] - left[0], right[1] - left[1]];
        let e = across[0].hypot(across[1]).max(1e-6);
        let unit = across.map(|v| v / e);
        let m = (mouth[0] - eyes[0]).hypot(mouth[1] - eyes[1]).max(1e-6);
        // Coordinates of a pixel seen from `from`, in units of e across and m along the face.
        let seen = |x: f64, y: f64, from: [f64; 2]| {
            let d = [x - from[0], y - from[1]];
            [
                (d[0] * unit[0] + d[1] * unit[1]) / e,
                (d[1] * unit[0] - d[0] * unit[1]) / m,
            ]
        };
        let boxed = |[u, v]: [f64; 2], w: f64, h: f64| u.abs() <= w / 2.0 && v.abs() <= h / 2.0;
        let label = |x: f64, y: f64| {
            let [u, v] = seen(x, y, eyes);
            let oval = |across: f64, along: f64| {
                (u / (1.15 * across)).powi(2) + ((v - 0.42) / (1.35 * along)).powi(2) <= 1.0
            };
            let head = oval(1.4, if v < 0.42 { 1.75 } else { 1.4 });
            if boxed(seen(x, y, left), 0.7, 0.4) || boxed(seen(x, y, right), 0.7, 0.4) {
                Region::Eyes
            } else if boxed(seen(x, y, mouth), 1.1, 0.5) {
                Region::Mouth
            } else if oval(1.0, 1.0) {
                Region::Skin
            } else if v < 1.0 && head {
                Region::Hair
            } else if v >= 1.0 {
                Region::Neck
            } else {
                Region::Background
            }
        };
        let labels = (0..side * side)
            .map(|k| label((k % side) as f64, (k / side) as f64))
            .collect();
        Self { side, labels }
    }

    /// From a mask of any size, row by row: what is not 0 is face, told no further, the rest is
    /// background. A mask with no value above 5 tells the parts: 1 is the rest of the face, 2 the eyes, 3
    /// the mouth, 4 hair, ears and forehead, 5 neck and clothes.
    ///
    /// # Errors
    /// [`Error::Study`] where the mask does not have `width height` values or marks no face.
    pub fn from_mask(side: usize, mask: &[u8], width: usize, height: usize) -> Result<Self> {
        let parts = mask.iter().all(|v| *v <= 5);
        let region = |value: u8| match value {
            0 => Region::Background,
            2 if parts => Region::Eyes,
            3 if parts => Region::Mouth,
            4 if parts => Region::Hair,
            5 if parts => Region::Neck,
            _ => Region::Skin,
        };
        if mask.len() != width * height || mask.iter().all(|v| !region(*v).is_face()) {
            let reason = format!(
                "a mask of {width} x {height} pixels has {} values, {} of them face",
                mask.len(),
                mask.iter().filter(|v| region(**v).is_face()).count()
            );
            return Err(Error::Study { reason });
        }
        let labels = (0..side * side)
            .map(|k| {
                // The mask's pixel under the centre of ours.
                let x = (2 * (k % side) + 1) * width / (2 * side);
                let y = (2 * (k / side) + 1) * height / (2 * side);
                region(mask[y * width + x])
            })
            .collect();
        Ok(Self { side, labels })
    }

    /// Side in pixels.
    pub fn side(&self) -> usize {
        self.side
    }

    /// The region of a pixel.
    ///
    /// # Panics
    /// Outside the picture.
    pub fn at(&self, x: usize, y: usize) -> Region {
        self.labels[y * self.side + x]
    }

    /// Regions row by row.
    pub fn labels(&self) -> &[Region] {
        &self.labels
    }

    /// Share of the picture that is face.
    pub fn face_area(&self) -> f64 {
        Region::ALL
            .into_iter()
            .filter(|r| r.is_face())
            .map(|r| self.area(r))
            .sum()
    }

    /// Share of the picture that a region has.
    pub fn area(&self, region: Region) -> f64 {
        let count = self.labels.iter().filter(|l| **l == region).count();
        count as f64 / self.labels.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landmarks_lie_in_their_regions_whatever_the_turn() {
        let map = RegionMap::canonical(64);
        // By hand: eyes at (23.5, 29.9), mouth at (31.5, 46.5).
        assert_eq!(map.at(24, 30), Region::Eyes);
        assert_eq!(map.at(40, 30), Region::Eyes);
        assert_eq!(map.at(32, 47), Region::Mouth);
        assert_eq!(map.at(32, 38), Region::Skin);
        assert_eq!(map.at(32, 3), Region::Hair);
        assert_eq!(map.at(3, 60), Region::Neck);
        assert_eq!(map.at(1, 20), Region::Background);
        let sum: f64 = Region::ALL.into_iter().map(|r| map.area(r)).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        // A face lying on its side: what was up is left.
        let turned = |[x, y]: [f64; 2]| [y, 63.0 - x];
        let points = ALIGNED.map(|p| turned(p.map(|v| v * 64.0 - 0.5)));
        let side = RegionMap::from_landmarks(64, &points);
        for (x, y) in [(24, 30), (32, 47), (32, 38), (32, 3), (3, 60), (10, 20)] {
            assert_eq!(side.at(y, 63 - x), map.at(x, y), "{x}, {y}");
        }
    }

    #[test]
    fn a_size_changes_no_share_by_much() {
        let (small, large) = (RegionMap::canonical(16), RegionMap::canonical(256));
        assert!((small.face_area() - large.face_area()).abs() < 0.03);
    }

    #[test]
    fn masks_are_sampled() {
        let mask = [0, 0, 9, 0, 0, 9, 0, 0, 9];
        let map = RegionMap::from_mask(6, &mask, 3, 3).unwrap();
        assert!((map.face_area() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(
            (map.at(3, 0), map.at(4, 5)),
            (Region::Background, Region::Skin)
        );
        // Parts by number, where no number is larger than there are parts.
        let parts = RegionMap::from_mask(3, &[0, 4, 4, 2, 1, 2, 5, 3, 5], 3, 3).unwrap();
        let found = [
            parts.at(1, 0),
            parts.at(0, 1),
            parts.at(1, 1),
            parts.at(1, 2),
        ];
        assert_eq!(
            found,
            [Region::Hair, Region::Eyes, Region::Skin, Region::Mouth]
        );
        assert_eq!(parts.at(0, 2), Region::Neck);
        assert!((parts.face_area() - 4.0 / 9.0).abs() < 1e-12);
        let whole = RegionMap::from_mask(3, &[0, 4, 4, 2, 1, 2, 5, 3, 6], 3, 3).unwrap();
        assert!((whole.face_area() - 8.0 / 9.0).abs() < 1e-12);
        assert!(RegionMap::from_mask(3, &[0, 4, 4, 4, 4, 4, 5, 5, 5], 3, 3).is_err());
        assert!(RegionMap::from_mask(6, &mask, 2, 3).is_err());
        assert!(RegionMap::from_mask(6, &[0; 9], 3, 3).is_err());
    }
}
