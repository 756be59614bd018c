//! The part of a photo around a square, shrunk and extended as needed.

use super::quad::Quad;
use crate::photo::Photo;

/// Colours in floating point, row by row, and where they lie in the photo.
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Red, green, blue and nothing: four lanes are what processors compute with.
    pub(super) pixels: Vec<[f32; 4]>,
    /// The photo's place of the canvas' left upper corner, in pixels from the photo's corner.
    origin: [f64; 2],
    /// Pixels of the photo to one of the canvas.
    shrink: usize,
}

impl Canvas {
    /// What is needed to draw `quad` with `size` pixels.
    ///
    /// Where a pixel of the result is larger than four of the photo, whole blocks of the photo are
    /// averaged first. If the square, with a border of a tenth of its side, leaves the photo, the
    /// photo is reflected there, by at least 0.3 sides, and fades: blurred (a standard deviation
    /// of 0.02 sides) from a third of the extension inside the photo on, and towards the median
    /// colour outside. These are FFHQ's numbers; other than there, sides that the square does not
    /// leave are left alone, and the blur is three box blurs.
    pub(super) fn cut(photo: &Photo, quad: &Quad, size: usize) -> Self {
        let (mut canvas, extended, side) = Self::inside(photo, quad, size);
        if extended != [0; 4] {
            canvas.extend(extended, side);
        }
        canvas
    }

    /// The part inside the photo, by how much it must be extended left, above, right and below, and
    /// the square's side, all in its own pixels.
    pub(super) fn inside(photo: &Photo, quad: &Quad, size: usize) -> (Self, [usize; 4], f64) {
        #[allow(clippy::cast_sign_loss)]
        let shrink = ((quad.side() / size as f64 * 0.5) as usize).max(1);
        let side = quad.side() / shrink as f64;
        let border = (side * 0.1).round().max(3.0);
        // In blocks of the photo; the last, incomplete one is not used.
        let blocks = [photo.width(), photo.height()].map(|n| (n / shrink).max(1));
        let extent = quad.extent().map(|v| (v + 0.5) / shrink as f64);
        let mut cut = [[0_usize; 2]; 2];
        let mut extended = [0_usize; 4];
        for axis in 0..2 {
            let (least, most) = (extent[axis] - border, extent[axis + 2] + border);
            let n = blocks[axis] as f64;
            #[allow(clippy::cast_sign_loss)]
            let inside = |v: f64| v.clamp(0.0, n) as usize;
            let start = inside(least.floor()).min(blocks[axis] - 1);
            cut[axis] = [start, inside(most.ceil()).max(start + 1)];
            for (k, beyond) in [(axis, -least), (axis + 2, most - n)] {
                // The border alone does not ask for an extension.
                if beyond > border - 4.0 {
                    #[allow(clippy::cast_sign_loss)]
                    let pixels = beyond.max(side * 0.3).round() as usize;
                    extended[k] = pixels;
                }
            }
        }
        let [[left, right], [top, bottom]] = cut;
        let canvas = Self {
            width: right - left,
            height: bottom - top,
            pixels: blocks_of(photo, shrink, cut),
            origin: [(left * shrink) as f64, (top * shrink) as f64],
            shrink,
        };
        (canvas, extended, side)
    }

    /// The share of the square's side by which it leaves the photo, at the most.
    pub(super) fn beyond(photo: &Photo, quad: &Quad) -> f64 {
        let [left, top, right, bottom] = quad.extent();
        let (w, h) = (photo.width() as f64 - 0.5, photo.height() as f64 - 0.5);
        let most = (-0.5 - left).max(-0.5 - top).max(right - w).max(bottom - h);
        (most / quad.side()).max(0.0)
    }

    /// The colours at `count` places of the photo from `start` on, `step` apart, bilinear; pixel
    /// centres are whole numbers.
    pub(super) fn sample_line(
        &self,
        start: [f64; 2],
        step: [f64; 2],
        count: usize,
        out: &mut Vec<[f32; 4]>,
    ) {
        let scale = 1.0 / self.shrink as f64;
        let place = |axis: usize| (start[axis] + 0.5 - self.origin[axis]) * scale - 0.5;
        let (x0, y0) = (place(0), place(1));
        let (dx, dy) = (step[0] * scale, step[1] * scale);
        let [last_x, last_y] = [self.width - 1, self.height - 1];
        // The pixel before, how far the next one is, and the weight of the next.
        #[allow(clippy::cast_sign_loss)]
        let split = |v: f64, last: usize, stride: usize| {
            let v = v.clamp(0.0, last as f64);
            let k = v as u32 as usize;
            (
                k * stride,
                if k < last { stride } else { 0 },
                (v - k as f64) as f32,
            )
        };
        out.extend((0..count).map(|k| {
            let (x, right, a) = split(x0 + k as f64 * dx, last_x, 1);
            let (y, below, b) = split(y0 + k as f64 * dy, last_y, self.width);
            let at = x + y;
            let (p, q) = (self.pixels[at], self.pixels[at + right]);
            let (r, s) = (self.pixels[at + below], self.pixels[at + below + right]);
            std::array::from_fn(|c| {
                let upper = p[c] + (q[c] - p[c]) * a;
                let lower = r[c] + (s[c] - r[c]) * a;
                upper + (lower - upper) * b
            })
        }));
    }

    #[cfg(test)]
    fn sample(&self, place: [f64; 2]) -> [f32; 4] {
        let mut out = Vec::new();
        self.sample_line(place, [0.0; 2], 1, &mut out);
        out[0]
    }

    /// Reflects by so many pixels left, above, right and below, and fades.
    fn extend(&mut self, by: [usize; 4], side: f64) {
        let [left, top, right, bottom] = by;
        let (width, height) = (self.width + left + right, self.height + top + bottom);
        let mut pixels = Vec::with_capacity(width * height);
        let columns: Vec<usize> = (0..width).map(|x| reflect(x, left, self.width)).collect();
        for y in 0..height {
            let row = &self.pixels[reflect(y, top, self.height) * self.width..][..self.width];
            pixels.extend(columns.iter().map(|&x| row[x]));
        }
        let blurred = blur(&pixels, [width, height], side * 0.02);
        // 0 at the photo's border, 1 at the canvas'; negative inside.
        let outside = |k: usize, n: usize, before: usize, after: usize| {
            let part = |distance: usize, by: usize| match by {
                0 => f32::NEG_INFINITY,
                by => 1.0 - distance as f32 / by as f32,
            };
            part(k, before).max(part(n - 1 - k, after))
        };
        let across: Vec<f32> = (0..width).map(|x| outside(x, width, left, right)).collect();
        let down: Vec<f32> = (0..height)
            .map(|y| outside(y, height, top, bottom))
            .collect();
        let mask = |k: usize| across[k % width].max(down[k / width]);
        for (k, (pixel, soft)) in pixels.iter_mut().zip(&blurred).enumerate() {
            let weight = (3.0 * mask(k) + 1.0).clamp(0.0, 1.0);
            for c in 0..3 {
                pixel[c] += (soft[c] - pixel[c]) * weight;
            }
        }
        let median = median(&pixels);
        for (k, pixel) in pixels.iter_mut().enumerate() {
            let weight = mask(k).clamp(0.0, 1.0);
            for c in 0..3 {
                pixel[c] += (median[c] - pixel[c]) * weight;
            }
        }
        self.pixels = pixels;
        (self.width, self.height) = (width, height);
        self.origin[0] -= (left * self.shrink) as f64;
        self.origin[1] -= (top * self.shrink) as f64;
    }
}

/// Means of squares of `shrink` pixels; `cut` counts such squares.
fn blocks_of(photo: &Photo, shrink: usize, cut: [[usize; 2]; 2]) -> Vec<[f32; 4]> {
    let [[left, right], [top, bottom]] = cut;
    let (pixels, _) = photo.rgb().as_chunks::<3>();
    let mut out = Vec::with_capacity((right - left) * (bottom - top));
    for row in top..bottom {
        for column in left..right {
            let rows = row * shrink..((row + 1) * shrink).min(photo.height());
            let columns = column * shrink..((column + 1) * shrink).min(photo.width());
            let area = (rows.len() * columns.len()) as f32;
            let mut sum = [0_u64; 3];
            for y in rows {
                for pixel in &pixels[y * photo.width()..][columns.clone()] {
                    for c in 0..3 {
                        sum[c] += u64::from(pixel[c]);
                    }
                }
            }
            let [r, g, b] = sum.map(|v| v as f32 / area);
            out.push([r, g, b, 0.0]);
        }
    }
    out
}

/// The index in `n` pixels of the `k`th after `before` reflected ones, the last pixel not repeated.
fn reflect(k: usize, before: usize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let period = 2 * (n - 1);
    let k = (k + period * before.div_ceil(period) - before) % period;
    k.min(period - k)
}

/// Three running means in each direction, of together about the variance of a Gaussian.
///
/// Wells 1986, "Efficient synthesis of Gaussian filters by cascaded uniform filters". Cost:
/// O(pixels), whatever the width.
fn blur(pixels: &[[f32; 4]], [width, height]: [usize; 2], sigma: f64) -> Vec<[f32; 4]> {
    // A mean of 2 r + 1 has the variance r (r + 1) / 3.
    #[allow(clippy::cast_sign_loss)]
    let radius = ((sigma * sigma + 0.25).sqrt() - 0.5).round() as usize;
    let mut out = pixels.to_vec();
    if radius == 0 {
        return out;
    }
    for _ in 0..3 {
        mean_across(&mut out, width, radius);
        mean_down(&mut out, [width, height], radius);
    }
    out
}

/// Sums in f64, so that rounding errors do not add up along a line.
type Sum = [f64; 4];

fn add(sum: &mut Sum, new: [f32; 4], old: [f32; 4]) {
    for c in 0..4 {
        sum[c] += f64::from(new[c]) - f64::from(old[c]);
    }
}

/// Means over `2 radius + 1` neighbours of each row, reflected at the ends.
fn mean_across(pixels: &mut [[f32; 4]], width: usize, radius: usize) {
    let scale = 1.0 / (2 * radius + 1) as f64;
    let places: Vec<usize> = (0..=width + 2 * radius)
        .map(|k| reflect(k, radius, width))
        .collect();
    let mut line = Vec::with_capacity(places.len());
    for row in pixels.chunks_exact_mut(width) {
        line.clear();
        line.extend(places.iter().map(|&k| row[k]));
        let mut sum = [0.0; 4];
        for &v in &line[..=2 * radius] {
            add(&mut sum, v, [0.0; 4]);
        }
        for (k, pixel) in row.iter_mut().enumerate() {
            *pixel = sum.map(|s| (s * scale) as f32);
            add(&mut sum, line[k + 2 * radius + 1], line[k]);
        }
    }
}

/// The same of each column, a row at a time.
fn mean_down(pixels: &mut [[f32; 4]], [width, height]: [usize; 2], radius: usize) {
    let scale = 1.0 / (2 * radius + 1) as f64;
    let source = pixels.to_vec();
    let row = |k: usize| &source[reflect(k, radius, height) * width..][..width];
    let mut sums = vec![[0.0; 4]; width];
    for k in 0..=2 * radius {
        for (sum, &v) in sums.iter_mut().zip(row(k)) {
            add(sum, v, [0.0; 4]);
        }
    }
    for (y, out) in pixels.chunks_exact_mut(width).enumerate() {
        let (new, old) = (row(y + 2 * radius + 1), row(y));
        for (x, pixel) in out.iter_mut().enumerate() {
            *pixel = sums[x].map(|s| (s * scale) as f32);
            add(&mut sums[x], new[x], old[x]);
        }
    }
}

fn median(pixels: &[[f32; 4]]) -> [f32; 4] {
    std::array::from_fn(|c| {
        let mut values: Vec<f32> = pixels.iter().map(|p| p[c]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable_by(middle, f32::total_cmp).1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::Landmarks;

    fn quad_at(x: f64, y: f64, half: f64) -> Quad {
        let e = half / 4.0;
        Quad::around(
            &Landmarks::from_five([
                [x - e, y],
                [x + e, y],
                [x, y + e],
                [x - e, y + 1e-6],
                [x + e, y + 1e-6],
            ])
            .unwrap(),
        )
    }

    #[test]
    fn reflection_repeats_no_border() {
        let indices: Vec<usize> = (0..13).map(|k| reflect(k, 5, 4)).collect();
        assert_eq!(indices, [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(reflect(7, 3, 1), 0);
    }

    #[test]
    fn blurs_have_the_variance_asked_for() {
        let (w, h) = (101, 3);
        let mut pixels = vec![[0.0_f32; 4]; w * h];
        for y in 0..h {
            pixels[y * w + 50] = [1.0, 2.0, 0.0, 0.0];
        }
        let out = blur(&pixels, [w, h], 6.0);
        let row = &out[w..2 * w];
        let mass: f64 = row.iter().map(|p| f64::from(p[1])).sum();
        assert!((mass - 2.0).abs() < 1e-4, "{mass}");
        let moment = |p: &[f32; 4], k: usize| (k as f64 - 50.0).powi(2) * f64::from(p[0]);
        let variance: f64 = row.iter().enumerate().map(|(k, p)| moment(p, k)).sum();
        assert!((variance.sqrt() - 6.0).abs() < 0.5, "{}", variance.sqrt());
    }

    #[test]
    fn inside_a_photo_nothing_is_extended_and_samples_are_its_pixels() {
        let rgb: Vec<u8> = (0..100 * 90 * 3_usize)
            .map(|k| (k * 7 % 256) as u8)
            .collect();
        let photo = Photo::from_rgb(100, 90, rgb.clone()).unwrap();
        let canvas = Canvas::cut(&photo, &quad_at(50.0, 45.0, 30.0), 60);
        // The square from 20 to 80, 15 to 75 and its border of 6.
        assert_eq!((canvas.shrink, canvas.origin), (1, [14.0, 9.0]));
        assert_eq!((canvas.width, canvas.height), (73, 73));
        let got = canvas.sample([52.0, 40.0]);
        let at = 3 * (40 * 100 + 52);
        for c in 0..3 {
            assert!((got[c] - f32::from(rgb[at + c])).abs() < 1e-4);
        }
    }

    #[test]
    fn shrunk_photos_keep_their_places() {
        let ramp = (0..400_usize * 400).flat_map(|k| [(k % 400 / 2) as u8, (k / 400 / 2) as u8, 9]);
        let photo = Photo::from_rgb(400, 400, ramp.collect()).unwrap();
        let canvas = Canvas::cut(&photo, &quad_at(200.0, 200.0, 150.0), 32);
        assert_eq!(canvas.shrink, 4);
        let got = canvas.sample([201.0, 100.0]);
        // Pixel 201 of the ramp is 100.25 before it is cut to bytes, 0.25 below on average.
        assert!(
            (got[0] - 100.25).abs() < 0.3 && (got[1] - 49.75).abs() < 0.3,
            "{got:?}"
        );
    }

    #[test]
    fn only_sides_that_the_square_leaves_are_extended() {
        let photo = Photo::from_rgb(100, 100, vec![100; 30_000]).unwrap();
        let quad = quad_at(30.0, 50.0, 40.0);
        let canvas = Canvas::cut(&photo, &quad, 80);
        // By 0.3 sides to the left; to the right up to the border of the square, 70 + 8.
        assert_eq!((canvas.origin[0], canvas.width), (-24.0, 24 + 79));
        assert!(canvas.origin[1] > 0.0 && canvas.height < 100);
        assert!((Canvas::beyond(&photo, &quad) - 9.5 / 80.0).abs() < 1e-6);
        // One colour stays that colour, whatever fades.
        for p in &canvas.pixels {
            assert!((p[0] - 100.0).abs() < 1e-3);
        }
        let got = canvas.sample([60.0, 50.0]);
        assert!((got[2] - 100.0).abs() < 1e-3);
    }
}
