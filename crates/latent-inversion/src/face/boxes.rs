//! Candidate boxes: overlap, correction, squares.

use super::area::Window;

/// A scored box; corners in pixels of the photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Left, top, right, bottom.
    pub(super) corners: [f32; 4],
    pub(super) score: f32,
    /// Corrections in units of the box's sides.
    pub(super) shift: [f32; 4],
}

/// How the overlap of two boxes is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// Common area over the area of the union.
    Union,
    /// Common area over that of the smaller box, pixels counted with both ends.
    Smaller,
}

impl Overlap {
    fn of(self, a: &[f32; 4], b: &[f32; 4]) -> f32 {
        let extra = match self {
            Self::Union => 0.0,
            Self::Smaller => 1.0,
        };
        let area = |c: &[f32; 4]| (c[2] - c[0] + extra) * (c[3] - c[1] + extra);
        let width = (a[2].min(b[2]) - a[0].max(b[0]) + extra).max(0.0);
        let height = (a[3].min(b[3]) - a[1].max(b[1]) + extra).max(0.0);
        let common = width * height;
        match self {
            Self::Union => common / (area(a) + area(b) - common),
            Self::Smaller => common / area(a).min(area(b)),
        }
    }
}

/// The indices of those boxes that overlap no better one by more than `limit`, best first; equal
/// scores keep their order.
///
/// Cost: O(kept * given).
pub(super) fn suppress(boxes: &[Candidate], limit: f32, overlap: Overlap) -> Vec<usize> {
    let mut waiting: Vec<usize> = (0..boxes.len()).collect();
    waiting.sort_by(|&a, &b| boxes[b].score.total_cmp(&boxes[a].score));
    let mut kept = Vec::new();
    while let Some(&best) = waiting.first() {
        kept.push(best);
        let best = &boxes[best].corners;
        waiting = waiting[1..]
            .iter()
            .copied()
            .filter(|&k| overlap.of(best, &boxes[k].corners) <= limit)
            .collect();
    }
    kept
}

impl Candidate {
    /// Moves the corners by the network's correction; `extra` is 1 where pixels are counted with
    /// both ends.
    pub(super) fn corrected(mut self, extra: f32) -> Self {
        let [left, top, right, bottom] = self.corners;
        let sides = [right - left + extra, bottom - top + extra];
        for (k, corner) in self.corners.iter_mut().enumerate() {
            *corner += self.shift[k] * sides[k % 2];
        }
        self
    }

    /// The square around the same centre with the longer side.
    pub(super) fn squared(mut self) -> Self {
        let [left, top, right, bottom] = self.corners;
        let (w, h) = (right - left, bottom - top);
        let side = w.max(h);
        let left = left + w * 0.5 - side * 0.5;
        let top = top + h * 0.5 - side * 0.5;
        self.corners = [left, top, left + side, top + side];
        self
    }

    /// The pixels of a picture that it covers, corners counted from 1; none if it lies outside.
    pub(super) fn window(&self, width: usize, height: usize) -> Option<Window> {
        #[allow(clippy::cast_sign_loss)]
        let corner = |value: f32, least: usize| (value.trunc().max(0.0) as usize).max(least);
        let [left, top, right, bottom] = self.corners;
        let window = Window {
            left: corner(left, 1) - 1,
            top: corner(top, 1) - 1,
            right: corner(right, 0).min(width),
            bottom: corner(bottom, 0).min(height),
        };
        (window.left < window.right && window.top < window.bottom).then_some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(corners: [f32; 4], score: f32) -> Candidate {
        Candidate {
            corners,
            score,
            shift: [0.0; 4],
        }
    }

    #[test]
    fn overlaps_by_hand() {
        let (a, b) = ([0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 10.0, 10.0]);
        assert!((Overlap::Union.of(&a, &b) - 0.5).abs() < 1e-6);
        // 6 x 11 pixels of the smaller are all in the larger.
        assert!((Overlap::Smaller.of(&a, &b) - 1.0).abs() < 1e-6);
        assert!(Overlap::Union.of(&a, &[20.0, 0.0, 30.0, 10.0]).abs() < 1e-6);
    }

    #[test]
    fn the_best_of_overlapping_boxes_stays() {
        let boxes = [
            scored([0.0, 0.0, 10.0, 10.0], 0.8),
            scored([1.0, 0.0, 11.0, 10.0], 0.9),
            scored([30.0, 0.0, 40.0, 10.0], 0.7),
            scored([30.0, 0.0, 40.0, 10.0], 0.7),
        ];
        assert_eq!(suppress(&boxes, 0.5, Overlap::Union), [1, 2]);
        assert_eq!(suppress(&boxes, 1.0, Overlap::Union), [1, 0, 2, 3]);
        assert!(suppress(&[], 0.5, Overlap::Smaller).is_empty());
    }

    #[test]
    fn corrections_squares_and_windows() {
        let same = |got: Candidate, want: [f32; 4]| {
            for (got, want) in got.corners.iter().zip(want) {
                assert!((got - want).abs() < 1e-4, "{got} {want}");
            }
        };
        let mut candidate = scored([10.0, 20.0, 30.0, 60.0], 1.0);
        candidate.shift = [0.1, -0.1, 0.0, 0.5];
        same(candidate.corrected(0.0), [12.0, 16.0, 30.0, 80.0]);
        same(candidate.squared(), [0.0, 20.0, 40.0, 60.0]);
        let window = candidate.window(25, 50).unwrap();
        let expected = Window {
            left: 9,
            top: 19,
            right: 25,
            bottom: 50,
        };
        assert_eq!(window, expected);
        let outside = scored([-30.0, 5.0, -2.0, 30.0], 1.0);
        assert_eq!(outside.window(25, 50), None);
        assert_eq!(scored([26.5, 5.0, 40.0, 30.0], 1.0).window(25, 50), None);
    }
}
