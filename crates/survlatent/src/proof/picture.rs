//! 8-bit pictures with the label that every edited one carries, and their files.

use super::glyphs;
use crate::error::{Error, Result};

/// What stands in every edited picture.
pub const LABEL: &str = "SYNTHETIC";

/// What the metadata of such pictures say.
pub const DESCRIPTION: &str =
    "Synthetic picture: made or edited by a generative network; not a photograph";

/// An RGB picture, 8 bits each.
///
/// ```
/// use survlatent::proof::Picture;
/// let gray = Picture::filled(64, 64, [128; 3]).labelled();
/// assert!(gray.rgb().iter().any(|v| *v > 250), "the label is white");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// One colour all over.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Self {
            width,
            height,
            rgb: colour.repeat(width * height),
        }
    }

    /// From interleaved values, row by row.
    ///
    /// # Errors
    /// [`Error::Study`] where their number is not `3 width height`.
    pub fn from_rgb(width: usize, height: usize, rgb: Vec<u8>) -> Result<Self> {
        if rgb.len() != 3 * width * height || rgb.is_empty() {
            let reason = format!(
                "{} values are no RGB picture of {width} x {height} pixels",
                rgb.len()
            );
            return Err(Error::Study { reason });
        }
        Ok(Self { width, height, rgb })
    }

    /// What a generator makes of one latent.
    ///
    /// # Errors
    /// What the generator refuses.
    pub fn of(net: &dyn super::Portraits, latent: &[f32]) -> Result<Self> {
        Ok(Self::from_planes(&net.images(latent, 1)?, net.side()))
    }

    /// From a network's planes `[3 or 1, side, side]`, -1 black and 1 white; others are clamped.
    pub(super) fn from_planes(planes: &[f32], side: usize) -> Self {
        let size = side * side;
        let last = planes.len() / size - 1;
        let byte = |c: usize, k: usize| {
            let value = planes[c.min(last) * size + k] * 127.5 + 128.0;
            // In range by the clamp.
            #[allow(clippy::cast_sign_loss)]
            let byte = value.clamp(0.0, 255.0) as u8;
            byte
        };
        Self {
            width: side,
            height: side,
            rgb: (0..size)
                .flat_map(|k| [byte(0, k), byte(1, k), byte(2, k)])
                .collect(),
        }
    }

    /// Gray values in `[0, 1]`, row by row; others are clamped.
    pub(super) fn from_gray(values: &[f64], side: usize) -> Self {
        #[allow(clippy::cast_sign_loss)]
        let byte = |v: &f64| (v * 255.0).round().clamp(0.0, 255.0) as u8;
        Self {
            width: side,
            height: side,
            rgb: values.iter().flat_map(|v| [byte(v); 3]).collect(),
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Interleaved values, row by row.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    pub(super) fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            self.rgb[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Every pixel `times` by `times` large.
    #[must_use]
    pub fn enlarged(&self, times: usize) -> Self {
        let (width, height) = (self.width * times, self.height * times);
        let mut rgb = Vec::with_capacity(3 * width * height);
        for y in 0..height {
            for x in 0..width {
                let at = 3 * ((y / times) * self.width + x / times);
                rgb.extend_from_slice(&self.rgb[at..at + 3]);
            }
        }
        Self { width, height, rgb }
    }

    /// Enlarged by the whole number that brings the width nearest to `width` from above.
    #[must_use]
    pub(super) fn at_least(&self, width: usize) -> Self {
        self.enlarged(width.div_ceil(self.width.max(1)).max(1))
    }

    fn write(&mut self, text: &str, x: usize, y: usize, scale: usize, colour: [u8; 3]) {
        for (dx, dy) in glyphs::dots(text) {
            for k in 0..scale * scale {
                self.set(
                    x + dx * scale + k % scale,
                    y + dy * scale + k / scale,
                    colour,
                );
            }
        }
    }

    /// With [`LABEL`] in white on black along the lower edge, over the picture, so that cutting it
    /// off cuts the picture.
    #[must_use]
    pub fn labelled(mut self) -> Self {
        let scale = (self.width / 90).max(1);
        let band = (glyphs::HEIGHT + 2) * scale;
        let top = self.height.saturating_sub(band);
        for y in top..self.height {
            for x in 0..self.width {
                self.set(x, y, [0; 3]);
            }
        }
        let left = self.width.saturating_sub(glyphs::width(LABEL) * scale) / 2;
        self.write(LABEL, left, top + scale, scale, [255; 3]);
        self
    }

    /// With a line of text in black on white above it.
    #[must_use]
    pub fn captioned(&self, text: &str) -> Self {
        let scale = (self.width / 90).max(1);
        let band = (glyphs::HEIGHT + 3) * scale;
        let mut out = Self::filled(self.width, self.height + band, [255; 3]);
        out.rgb[3 * band * self.width..].copy_from_slice(&self.rgb);
        let left = self.width.saturating_sub(glyphs::width(text) * scale) / 2;
        out.write(text, left, scale, scale, [0; 3]);
        out
    }

    /// Pictures from left to right with white between them, aligned at their lower edges.
    ///
    /// # Errors
    /// [`Error::Study`] where there are none.
    pub fn row(pictures: &[Self]) -> Result<Self> {
        const GAP: usize = 4;
        let Some(height) = pictures.iter().map(|p| p.height).max() else {
            return Err(Error::Study {
                reason: "a row of pictures needs at least one".into(),
            });
        };
        let width = pictures.iter().map(|p| p.width + GAP).sum::<usize>() - GAP;
        let mut out = Self::filled(width, height, [255; 3]);
        let mut left = 0;
        for p in pictures {
            for (y, line) in p.rgb.chunks_exact(3 * p.width).enumerate() {
                let at = 3 * ((y + height - p.height) * width + left);
                out.rgb[at..at + line.len()].copy_from_slice(line);
            }
            left += p.width + GAP;
        }
        Ok(out)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn ramp() -> Picture {
        let rgb = (0..3 * 64 * 64_u32)
            .map(|k| (k / 3 % 64 * 4) as u8)
            .collect();
        Picture::from_rgb(64, 64, rgb).unwrap()
    }

    #[test]
    fn the_label_stands_in_the_picture_and_in_the_file() {
        let plain = ramp();
        let labelled = plain.clone().labelled();
        let changed = |y: usize| {
            let row = 3 * 64 * y..3 * 64 * (y + 1);
            plain.rgb()[row.clone()] != labelled.rgb()[row]
        };
        assert!((0..55).all(|y| !changed(y)) && (55..64).all(changed));
    }

    #[test]
    fn rows_and_captions_keep_every_pixel() {
        let row = Picture::row(&[ramp().captioned("HR 1/4"), ramp()]).unwrap();
        assert_eq!((row.width(), row.height()), (64 + 4 + 64, 74));
        let at = |x: usize, y: usize| row.rgb()[3 * (y * row.width() + x)];
        assert_eq!((at(10, 73), at(68 + 10, 73)), (40, 40));
        assert_eq!(
            (at(66, 73), at(70, 5)),
            (255, 255),
            "white between and above"
        );
        assert!((0..64).any(|x| at(x, 4) == 0), "the caption");
        let planes = [[-1.0_f32; 4], [0.0; 4], [2.0; 4]].concat();
        assert_eq!(Picture::from_planes(&planes, 2).rgb()[..3], [0, 128, 255]);
        assert!(Picture::row(&[]).is_err());
        assert!(Picture::from_rgb(2, 2, vec![0; 11]).is_err());
    }
}
