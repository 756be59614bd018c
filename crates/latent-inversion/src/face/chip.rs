//! The square of a photo that networks look at which were trained with dlib's faces.

use burn::tensor::{Device, Tensor, TensorData};

use crate::align::{Landmarks, Quad, square};
use crate::error::{Error, Result};
use crate::photo::Photo;

/// Mean red, green and blue of the photos the networks were trained on.
const MEANS: [f32; 3] = [122.782, 117.001, 104.298];
/// Where the eyes and the base of the nose lie in the unit square of the mean face that the networks were
/// trained with; an eye is the middle of its two corners.
const LEFT_EYE: [f64; 2] = [0.227_330, 0.221_396];
const RIGHT_EYE: [f64; 2] = [0.752_814, 0.221_233];
const NOSE_BASE: [f64; 2] = [0.490_112, 0.627_798];
/// How far the base of the nose is from its tip to the middle of the mouth, in the same mean face.
const TIP_TO_BASE: f64 = 0.424;
/// An eye stands for its two corners.
const WEIGHTS: [f64; 3] = [2.0, 2.0, 1.0];

/// The square around a face for a picture of `size` pixels, at least 2, wider than the mean face by `padding`
/// on each side.
///
/// Of all shifts, turns and scales of the mean face it takes the one with the least sum of squared distances
/// to the eyes and the base of the nose. Points as complex numbers, $z_k$ in the photo and $m_k$ in the mean
/// face, weights $w_k$ and means $\bar z$, $\bar m$ by these weights:
///
/// $$ a = \frac{\sum w_k (z_k - \bar z) \overline{(m_k - \bar m)}}{\sum w_k |m_k - \bar m|^2},
///    \qquad z = \bar z + a (m - \bar m) $$
///
/// The outermost pixels' centres lie on the square's border, so the picture is larger than the square by
/// `size / (size - 1)`.
fn around(landmarks: &Landmarks, size: usize, padding: f64) -> Quad {
    let [left, right, nose, ..] = landmarks.points();
    let mouth = landmarks.mouth();
    let base = [0, 1].map(|c| nose[c] + TIP_TO_BASE * (mouth[c] - nose[c]));
    let photo = [left, right, base];
    let face = [LEFT_EYE, RIGHT_EYE, NOSE_BASE];
    let [z, m] = [photo, face].map(|points| mean(&points));
    let mut sum = [0.0; 2];
    let mut square = 0.0;
    for ((p, q), weight) in photo.iter().zip(&face).zip(WEIGHTS) {
        let [x, y] = [p[0] - z[0], p[1] - z[1]];
        let [u, v] = [q[0] - m[0], q[1] - m[1]];
        sum[0] += weight * (x * u + y * v);
        sum[1] += weight * (y * u - x * v);
        square += weight * (u * u + v * v);
    }
    let a = sum.map(|s| s / square);
    let turned = |[u, v]: [f64; 2]| [a[0] * u - a[1] * v, a[1] * u + a[0] * v];
    let to_center = turned([0.5 - m[0], 0.5 - m[1]]);
    let larger = size as f64 / (size as f64 - 1.0);
    Quad::new(
        [z[0] + to_center[0], z[1] + to_center[1]],
        turned([(0.5 + padding) * larger, 0.0]),
    )
}

/// The square drawn with `size` pixels; `k` is the number of the photo for the message.
pub(super) fn cut(
    photo: &Photo,
    landmarks: &Landmarks,
    size: usize,
    padding: f64,
    k: usize,
) -> Result<Photo> {
    square(photo, &around(landmarks, size, padding), size).ok_or_else(|| Error::Argument {
        name: "landmarks",
        reason: format!(
            "photo {}: the face lies outside the photo of {} x {} pixels",
            k + 1,
            photo.width(),
            photo.height()
        ),
    })
}

/// Pictures of one size as the networks take them: less the means of red, green and blue, over 256.
///
/// # Shapes
///
/// - output: `[N, 3, side, side]`
pub(super) fn tensor(photos: &[Photo], device: &Device) -> Tensor<4> {
    let side = photos.first().map_or(0, Photo::width);
    let mut values = Vec::with_capacity(photos.len() * 3 * side * side);
    for photo in photos {
        for (c, mean) in MEANS.into_iter().enumerate() {
            let channel = photo.rgb()[c..].iter().step_by(3);
            values.extend(channel.map(|&v| (f32::from(v) - mean) / 256.0));
        }
    }
    let shape = [photos.len(), 3, side, side];
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn mean(points: &[[f64; 2]; 3]) -> [f64; 2] {
    let sum: f64 = WEIGHTS.iter().sum();
    [0, 1].map(|c| {
        let of = points.iter().zip(WEIGHTS).map(|(p, w)| w * p[c]);
        of.sum::<f64>() / sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean face itself, 100 pixels wide, turned by `angle` about its corner.
    fn mean_face(angle: f64) -> Landmarks {
        let (sin, cos) = angle.sin_cos();
        // Tip and mouth such that the base is where it belongs.
        let tip = [NOSE_BASE[0], 0.515_625];
        let mouth = [0, 1].map(|c| tip[c] + (NOSE_BASE[c] - tip[c]) / TIP_TO_BASE);
        let points = [
            LEFT_EYE,
            RIGHT_EYE,
            tip,
            [mouth[0] - 0.23, mouth[1]],
            [mouth[0] + 0.23, mouth[1]],
        ];
        let placed = |[u, v]: [f64; 2]| {
            let [x, y] = [100.0 * u, 100.0 * v];
            [7.0 + x * cos - y * sin, 3.0 + x * sin + y * cos]
        };
        Landmarks::from_five(points.map(placed)).unwrap()
    }

    #[test]
    fn the_mean_face_fills_the_square_up_to_its_border() {
        for angle in [0.0, 0.7] {
            let quad = around(&mean_face(angle), 64, 0.2);
            assert!((quad.side() - 140.0 * 64.0 / 63.0).abs() < 1e-9);
            // The first and the last pixel's centres are the padded square's corners.
            let (sin, cos) = f64::sin_cos(angle);
            for (pixel, [u, v]) in [([0.0, 0.0], [-20.0, -20.0]), ([63.0, 0.0], [120.0, -20.0])] {
                let [x, y] = quad.to_photo(pixel, 64);
                let want = [7.0 + u * cos - v * sin, 3.0 + u * sin + v * cos];
                assert!((x - want[0]).abs() < 1e-9 && (y - want[1]).abs() < 1e-9);
            }
        }
    }

    /// No other place, size or turn is nearer to the points.
    #[test]
    fn the_square_is_the_best_one() {
        let mut points = mean_face(0.2).points();
        points[1][0] += 6.0;
        points[2][1] -= 9.0;
        let landmarks = Landmarks::from_five(points).unwrap();
        let mouth = landmarks.mouth();
        let [left, right, nose, ..] = points;
        let base = [0, 1].map(|c| nose[c] + TIP_TO_BASE * (mouth[c] - nose[c]));
        // Distance for a place (x, y) of the mean face's corner and its two vectors' first (a, b).
        let distance = |[x, y, a, b]: [f64; 4]| -> f64 {
            let pairs = [left, right, base]
                .into_iter()
                .zip([LEFT_EYE, RIGHT_EYE, NOSE_BASE]);
            pairs
                .zip(WEIGHTS)
                .map(|((p, [u, v]), w)| {
                    let [dx, dy] = [x + a * u - b * v - p[0], y + b * u + a * v - p[1]];
                    w * (dx * dx + dy * dy)
                })
                .sum()
        };
        let quad = around(&landmarks, 1000, 0.2);
        // Pixels of the padded square's edges back to the mean face's corner and its width.
        let unit = |u: f64, v: f64| {
            let pixel = [u, v].map(|c| (c + 0.2) / 1.4 * 999.0);
            quad.to_photo(pixel, 1000)
        };
        let (corner, end) = (unit(0.0, 0.0), unit(1.0, 0.0));
        let best = [corner[0], corner[1], end[0] - corner[0], end[1] - corner[1]];
        let least = distance(best);
        for k in 0..4 {
            for step in [-0.05, 0.05] {
                let mut other = best;
                other[k] += step;
                assert!(distance(other) > least, "{k} {step}");
            }
        }
    }
}
