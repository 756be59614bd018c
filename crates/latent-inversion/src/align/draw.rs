//! Drawing the square as a picture.

use super::canvas::Canvas;
use super::quad::Quad;
use crate::photo::{Photo, byte};

/// Samples per pixel and direction.
const SAMPLES: usize = 4;
/// Lobes of the Lanczos window.
const LOBES: f64 = 3.0;

/// The square with `size` pixels: four bilinear samples per pixel and direction, reduced by
/// Lanczos' filter with three lobes.
///
/// Cost: O(size^2) time and O(size^2) memory.
pub(super) fn draw(canvas: &Canvas, quad: &Quad, size: usize) -> Photo {
    let fine = size * SAMPLES;
    let taps = taps(size);
    let [from, to] = [quad.at([0.0, 0.0]), quad.at([1.0, 0.0])];
    let step = [0, 1].map(|c| (to[c] - from[c]) / fine as f64);
    // Across, row by row of samples.
    let mut narrow = Vec::with_capacity(fine * size);
    let mut line = Vec::with_capacity(fine);
    for row in 0..fine {
        line.clear();
        let v = (row as f64 + 0.5) / fine as f64;
        canvas.sample_line(quad.at([0.5 / fine as f64, v]), step, fine, &mut line);
        for (start, weights) in &taps {
            let mut sum = [0.0_f32; 4];
            for (weight, pixel) in weights.iter().zip(&line[*start..]) {
                for c in 0..4 {
                    sum[c] += weight * pixel[c];
                }
            }
            narrow.push(sum);
        }
    }
    // Down.
    let mut rgb = Vec::with_capacity(3 * size * size);
    let mut sums = vec![[0.0_f32; 4]; size];
    for (start, weights) in &taps {
        sums.fill([0.0; 4]);
        for (weight, row) in weights
            .iter()
            .zip(narrow[start * size..].chunks_exact(size))
        {
            for (sum, pixel) in sums.iter_mut().zip(row) {
                for c in 0..4 {
                    sum[c] += weight * pixel[c];
                }
            }
        }
        rgb.extend(sums.iter().flat_map(|&[r, g, b, _]| [r, g, b].map(byte)));
    }
    Photo::from_rgb(size, size, rgb).expect("as many values as pixels")
}

/// For each pixel the first sample and the weights of it and the following; they sum to 1.
fn taps(size: usize) -> Vec<(usize, Vec<f32>)> {
    let fine = size * SAMPLES;
    let reach = LOBES * SAMPLES as f64;
    (0..size)
        .map(|k| {
            let center = (k as f64 + 0.5) * SAMPLES as f64;
            #[allow(clippy::cast_sign_loss)]
            let start = (center - reach).max(0.0) as usize;
            #[allow(clippy::cast_sign_loss)]
            let end = ((center + reach) as usize).min(fine);
            let weights: Vec<f64> = (start..end)
                .map(|s| lanczos((s as f64 + 0.5 - center) / SAMPLES as f64))
                .collect();
            let sum: f64 = weights.iter().sum();
            (start, weights.iter().map(|w| (w / sum) as f32).collect())
        })
        .collect()
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| {
        if x.abs() < 1e-9 {
            1.0
        } else {
            let y = std::f64::consts::PI * x;
            y.sin() / y
        }
    };
    if x.abs() < LOBES {
        sinc(x) * sinc(x / LOBES)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::Landmarks;

    #[test]
    fn filters_sum_to_one_and_are_symmetric() {
        let taps = taps(20);
        for (start, weights) in &taps {
            let sum: f32 = weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-5);
            assert!(start + weights.len() <= 80);
        }
        let (_, middle) = &taps[10];
        for (a, b) in middle.iter().zip(middle.iter().rev()) {
            assert!((a - b).abs() < 1e-6);
        }
        assert_eq!(middle.len(), 24);
    }

    /// Linear colours stay linear: each pixel is the photo's colour at its place.
    #[test]
    fn ramps_are_drawn_where_they_are() {
        let (w, h) = (300_usize, 280);
        let ramp = (0..w * h).flat_map(|k| [(k % w * 250 / w) as u8, (k / w * 250 / h) as u8, 7]);
        let photo = Photo::from_rgb(w, h, ramp.collect()).unwrap();
        let quad = Quad::around(
            &Landmarks::from_five([
                [130.0, 120.0],
                [165.0, 128.0],
                [145.0, 140.0],
                [125.0, 160.0],
                [155.0, 166.0],
            ])
            .unwrap(),
        );
        let drawn = draw(&Canvas::cut(&photo, &quad, 48), &quad, 48);
        for (u, v) in [(10, 10), (24, 30), (40, 8), (5, 41)] {
            let [x, y] = quad.to_photo([u as f64, v as f64], 48);
            let got = &drawn.rgb()[3 * (v * 48 + u)..][..3];
            // Ramps are cut to bytes: half a step below on average.
            let want = [x * 250.0 / w as f64 - 0.5, y * 250.0 / h as f64 - 0.5, 7.0];
            for c in 0..3 {
                assert!(
                    (f64::from(got[c]) - want[c]).abs() < 1.5,
                    "{got:?} {want:?}"
                );
            }
        }
    }
}
