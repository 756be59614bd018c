//! The search: proposals at every scale, refined, judged.

use burn::tensor::{Tensor, TensorData};

use super::area::{AreaSums, Window};
use super::boxes::{Candidate, Overlap, suppress};
use super::network::{Judge, Proposals, Verdicts};
use super::{Face, FaceDetector};
use crate::error::Result;
use crate::photo::Photo;

/// Candidates judged at once.
const BATCH: usize = 128;
/// Pixels of a resized picture that the first network sees at once: memory stays below 100 MB.
const STRIP: usize = 1 << 19;
/// Larger photos are halved before the search, as often as needed.
const LARGEST: usize = 1 << 24;
/// Overlaps beyond which the lesser box goes: within a scale, among scales and later.
const WITHIN_SCALE: f32 = 0.5;
const AMONG_ALL: f32 = 0.7;

impl FaceDetector {
    /// The faces of a photo, the largest box first.
    ///
    /// A photo of more than 16.8 million pixels is searched at half its size (or a quarter, and so
    /// on); coordinates are always those of the photo given.
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn detect(&self, photo: &Photo) -> Result<Vec<Face>> {
        if photo.width() * photo.height() > LARGEST && photo.width().min(photo.height()) > 1 {
            let mut faces = self.detect(&halved(photo))?;
            for face in &mut faces {
                // The centre of a pixel of the half is between those of two.
                face.bounds = face.bounds.map(|v| v * 2.0 + 0.5);
                face.landmarks = face.landmarks.map(|p| p.map(|v| v * 2.0 + 0.5));
            }
            return Ok(faces);
        }
        Ok(self.search(&AreaSums::new(photo)))
    }

    fn search(&self, sums: &AreaSums) -> Vec<Face> {
        let [_, refine, accept] = self.settings.thresholds.map(|t| t as f32);
        let boxes = self.propose(sums);
        let (boxes, verdicts) = self.judge(&self.refinement, sums, &boxes);
        let mut passed = Vec::new();
        for (k, candidate) in boxes.iter().enumerate() {
            if verdicts.scores[k] > refine {
                passed.push(rescored(candidate, k, &verdicts));
            }
        }
        let boxes: Vec<Candidate> = suppress(&passed, AMONG_ALL, Overlap::Union)
            .into_iter()
            .map(|k| passed[k].corrected(1.0).squared())
            .collect();

        let (boxes, verdicts) = self.judge(&self.output, sums, &boxes);
        let mut passed = Vec::new();
        let mut landmarks = Vec::new();
        for (k, candidate) in boxes.iter().enumerate() {
            if verdicts.scores[k] > accept {
                passed.push(rescored(candidate, k, &verdicts).corrected(1.0));
                landmarks.push(points(candidate, &verdicts.landmarks[10 * k..][..10]));
            }
        }
        let mut faces: Vec<Face> = suppress(&passed, AMONG_ALL, Overlap::Smaller)
            .into_iter()
            .map(|k| Face {
                bounds: passed[k].corners.map(f64::from),
                probability: f64::from(passed[k].score),
                landmarks: landmarks[k],
            })
            .collect();
        let area = |f: &Face| (f.bounds[2] - f.bounds[0]) * (f.bounds[3] - f.bounds[1]);
        faces.sort_by(|a, b| area(b).total_cmp(&area(a)));
        faces
    }

    /// Boxes of the first network over all scales, corrected and squared.
    fn propose(&self, sums: &AreaSums) -> Vec<Candidate> {
        let (width, height) = (sums.width(), sums.height());
        let mut all = Vec::new();
        for scale in self.settings.scales(height, width) {
            #[allow(clippy::cast_sign_loss)]
            let side = |length: usize| (length as f64 * scale + 1.0) as usize;
            let found = self.propose_at(sums, [side(height), side(width)], scale as f32);
            let kept = suppress(&found, WITHIN_SCALE, Overlap::Union);
            all.extend(kept.into_iter().map(|k| found[k]));
        }
        suppress(&all, AMONG_ALL, Overlap::Union)
            .into_iter()
            .map(|k| all[k].corrected(0.0).squared())
            .collect()
    }

    /// Boxes at one scale, in strips of rows so that memory does not grow with the photo.
    fn propose_at(&self, sums: &AreaSums, size: [usize; 2], scale: f32) -> Vec<Candidate> {
        let [height, width] = size;
        let field = Proposals::FIELD;
        // Twelve rows give one row of the grid, further ones one for two, with an odd one at the
        // end giving one more.
        let strip = (STRIP / width).max(2 * field) / 2 * 2;
        let whole = Window {
            left: 0,
            top: 0,
            right: sums.width(),
            bottom: sums.height(),
        };
        let mut found = Vec::new();
        let mut start = 0;
        loop {
            let last = start + strip + field >= height;
            let end = if last {
                height
            } else {
                start + strip + field - 2
            };
            let mut values = Vec::with_capacity(3 * (end - start) * width);
            sums.append(whole, size, start..end, &mut values);
            let data = TensorData::new(values, [1, 3, end - start, width]);
            let grid = self.proposals.run(Tensor::from_data(data, &self.device));
            let [rows, columns] = grid.size;
            for row in 0..rows {
                for column in 0..columns {
                    let at = row * columns + column;
                    let score = grid.scores[at];
                    if score >= self.settings.thresholds[0] as f32 {
                        let corner =
                            |k: usize, side: usize| ((2 * k + side) as f32 / scale).floor();
                        let (x, y) = (column, row + start / 2);
                        found.push(Candidate {
                            corners: [
                                corner(x, 1),
                                corner(y, 1),
                                corner(x, field),
                                corner(y, field),
                            ],
                            score,
                            shift: std::array::from_fn(|k| grid.shifts[k * rows * columns + at]),
                        });
                    }
                }
            }
            if last {
                return found;
            }
            start += strip;
        }
    }

    /// What a network says of the boxes that lie in the picture.
    fn judge(
        &self,
        judge: &Judge,
        sums: &AreaSums,
        boxes: &[Candidate],
    ) -> (Vec<Candidate>, Verdicts) {
        let side = judge.side();
        let inside: Vec<(Candidate, Window)> = boxes
            .iter()
            .filter_map(|b| Some((*b, b.window(sums.width(), sums.height())?)))
            .collect();
        let mut all = Verdicts {
            scores: Vec::new(),
            shifts: Vec::new(),
            landmarks: Vec::new(),
        };
        for batch in inside.chunks(BATCH) {
            let mut values = Vec::with_capacity(batch.len() * 3 * side * side);
            for (_, window) in batch {
                sums.append(*window, [side, side], 0..side, &mut values);
            }
            let data = TensorData::new(values, [batch.len(), 3, side, side]);
            let verdicts = judge.run(Tensor::from_data(data, &self.device));
            all.scores.extend(verdicts.scores);
            all.shifts.extend(verdicts.shifts);
            all.landmarks.extend(verdicts.landmarks);
        }
        (inside.into_iter().map(|(b, _)| b).collect(), all)
    }
}

fn rescored(candidate: &Candidate, k: usize, verdicts: &Verdicts) -> Candidate {
    Candidate {
        corners: candidate.corners,
        score: verdicts.scores[k],
        shift: std::array::from_fn(|c| verdicts.shifts[4 * k + c]),
    }
}

/// Landmarks from fractions of a box whose corners are counted from 1.
fn points(candidate: &Candidate, fractions: &[f32]) -> [[f64; 2]; 5] {
    let [left, top, right, bottom] = candidate.corners;
    let (w, h) = (right - left + 1.0, bottom - top + 1.0);
    std::array::from_fn(|k| {
        let x = w * fractions[k] + left - 1.0;
        let y = h * fractions[k + 5] + top - 1.0;
        [f64::from(x), f64::from(y)]
    })
}

/// Means of squares of four pixels; an odd last row or column is left out.
fn halved(photo: &Photo) -> Photo {
    let (width, height) = (photo.width() / 2, photo.height() / 2);
    let stride = 3 * photo.width();
    let mut rgb = Vec::with_capacity(3 * width * height);
    for rows in photo.rgb().chunks_exact(2 * stride) {
        let (upper, lower) = rows.split_at(stride);
        for x in 0..width {
            for c in 0..3 {
                let at = 6 * x + c;
                let sum: u16 = [upper[at], upper[at + 3], lower[at], lower[at + 3]]
                    .map(u16::from)
                    .iter()
                    .sum();
                rgb.push(((sum + 2) / 4) as u8);
            }
        }
    }
    Photo::from_rgb(width, height, rgb).expect("half the sides of a photo")
}
