//! Resizing by averages of areas, from sums computed once.

use crate::photo::Photo;

/// Sums of all pixels above and to the left, per channel, for averages of any rectangle at the
/// cost of one pixel.
///
/// The sums wrap around in 32 bits; the differences are exact as long as one averaged rectangle
/// has fewer than 2^24 pixels.
pub(super) struct AreaSums {
    width: usize,
    height: usize,
    /// `[3, height + 1, width + 1]`
    sums: Vec<u32>,
}

/// Columns `left..right` and rows `top..bottom` of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) right: usize,
    pub(super) bottom: usize,
}

impl AreaSums {
    pub(super) fn new(photo: &Photo) -> Self {
        let (width, height) = (photo.width(), photo.height());
        let stride = width + 1;
        let mut sums = vec![0_u32; 3 * (height + 1) * stride];
        for (c, plane) in sums.chunks_exact_mut((height + 1) * stride).enumerate() {
            for (y, row) in photo.rgb().chunks_exact(3 * width).enumerate() {
                let (above, below) = plane[y * stride..(y + 2) * stride].split_at_mut(stride);
                let mut sum = 0_u32;
                for (x, pixel) in row.as_chunks::<3>().0.iter().enumerate() {
                    sum = sum.wrapping_add(u32::from(pixel[c]));
                    below[x + 1] = above[x + 1].wrapping_add(sum);
                }
            }
        }
        Self {
            width,
            height,
            sums,
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Appends `rows` of the window resized to `width` by `height`, scaled as the networks take
    /// it: `[3, rows, width]`, `(x - 127.5) / 128`.
    ///
    /// Each value is the mean of the pixels that its square, laid over the window, touches.
    pub(super) fn append(
        &self,
        window: Window,
        [height, width]: [usize; 2],
        rows: std::ops::Range<usize>,
        out: &mut Vec<f32>,
    ) {
        let stride = self.width + 1;
        let columns: Vec<[usize; 2]> = (0..width)
            .map(|k| span(k, width, window.left, window.right))
            .collect();
        for plane in self.sums.chunks_exact((self.height + 1) * stride) {
            for k in rows.clone() {
                let [top, bottom] = span(k, height, window.top, window.bottom);
                let upper = &plane[top * stride..][..stride];
                let lower = &plane[bottom * stride..][..stride];
                out.extend(columns.iter().map(|&[left, right]| {
                    let sum = lower[right]
                        .wrapping_sub(lower[left])
                        .wrapping_sub(upper[right])
                        .wrapping_add(upper[left]);
                    let area = (bottom - top) * (right - left);
                    (sum as f32 / area as f32 - 127.5) * 0.007_812_5
                }));
            }
        }
    }
}

/// The pixels of `start..end` that the `k`th of `parts` equal parts touches.
fn span(k: usize, parts: usize, start: usize, end: usize) -> [usize; 2] {
    let length = end - start;
    [
        start + k * length / parts,
        start + ((k + 1) * length).div_ceil(parts),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_those_of_the_pixels() {
        let (w, h) = (23, 17);
        let rgb: Vec<u8> = (0..w * h * 3).map(|i| (i * i % 251) as u8).collect();
        let photo = Photo::from_rgb(w, h, rgb.clone()).unwrap();
        let sums = AreaSums::new(&photo);
        for (window, size) in [
            ([0, 0, 23, 17], [12, 12]),
            ([3, 2, 20, 17], [5, 7]),
            ([3, 2, 5, 4], [6, 9]),
            ([22, 16, 23, 17], [2, 2]),
        ] {
            let [left, top, right, bottom] = window;
            let window = Window {
                left,
                top,
                right,
                bottom,
            };
            let mut got = Vec::new();
            sums.append(window, size, 0..size[0], &mut got);
            assert_eq!(got.len(), 3 * size[0] * size[1]);
            let mut at = got.iter();
            for c in 0..3 {
                for i in 0..size[0] {
                    for j in 0..size[1] {
                        let inside = |k: usize, p: usize, n: usize, parts: usize| {
                            // Pixel p of n touches part k.
                            k * n < (p + 1) * parts && p * parts < (k + 1) * n
                        };
                        let mut values = Vec::new();
                        for y in top..bottom {
                            for x in left..right {
                                if inside(i, y - top, bottom - top, size[0])
                                    && inside(j, x - left, right - left, size[1])
                                {
                                    values.push(f64::from(rgb[3 * (y * w + x) + c]));
                                }
                            }
                        }
                        let mean = values.iter().sum::<f64>() / values.len() as f64;
                        let got = f64::from(*at.next().unwrap()) * 128.0 + 127.5;
                        assert!((got - mean).abs() < 1e-4, "{got} {mean}");
                    }
                }
            }
        }
    }
}
