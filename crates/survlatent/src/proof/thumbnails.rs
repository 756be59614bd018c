//! Portraits averaged to a few pixels, row after row: what the tests on pixels read.

use super::portraits::Portraits;
use crate::error::{Error, Result};

/// Pictures of `side` by `side` pixels, RGB, in gray levels from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Thumbnails {
    side: usize,
    values: Vec<f32>,
}

impl Thumbnails {
    /// None yet.
    pub fn new(side: usize) -> Self {
        Self {
            side,
            values: Vec::new(),
        }
    }

    /// Side in pixels.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Numbers of one picture.
    pub fn width(&self) -> usize {
        3 * self.side * self.side
    }

    /// Pictures.
    pub fn n(&self) -> usize {
        self.values.len().checked_div(self.width()).unwrap_or(0)
    }

    /// One picture: pixel after pixel, three colours each.
    ///
    /// # Panics
    /// When there is none of this number.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width()..(i + 1) * self.width()]
    }

    /// All pictures.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Adds an 8-bit picture, every pixel the mean of those it covers.
    ///
    /// # Errors
    /// [`Error::Study`] for a picture smaller than a thumbnail.
    pub fn push(&mut self, rgb: &[u8], width: usize, height: usize) -> Result<()> {
        let side = self.side;
        if side == 0 || width < side || height < side || rgb.len() != 3 * width * height {
            let reason = format!(
                "a picture of {width} x {height} pixels is averaged to {side} x {side} only if it is \
                 larger"
            );
            return Err(Error::Study { reason });
        }
        for y in 0..side {
            let ys = y * height / side..(y + 1) * height / side;
            for x in 0..side {
                let xs = x * width / side..(x + 1) * width / side;
                let mut sum = [0_u32; 3];
                for row in ys.clone() {
                    for k in xs.clone() {
                        for (s, v) in sum.iter_mut().zip(&rgb[3 * (row * width + k)..]) {
                            *s += u32::from(*v);
                        }
                    }
                }
                let count = 255.0 * (ys.len() * xs.len()) as f32;
                self.values.extend(sum.map(|s| s as f32 / count));
            }
        }
        Ok(())
    }

    /// Those of a generator: draws `first` to `first + count - 1`.
    ///
    /// # Errors
    /// What the generator refuses, and pictures smaller than `side`.
    pub fn drawn(
        net: &dyn Portraits,
        side: usize,
        seed: u64,
        first: u64,
        count: usize,
    ) -> Result<Self> {
        Self::of(net, side, &net.draws(seed, first, count)?, count)
    }

    /// Those of `n` latents.
    ///
    /// # Errors
    /// As [`drawn`](Self::drawn).
    pub fn of(net: &dyn Portraits, side: usize, latents: &[f32], n: usize) -> Result<Self> {
        const BATCH: usize = 64;
        let mut out = Self::new(side);
        let width = net.width(latents.len(), n)?;
        let full = net.side();
        for some in latents.chunks(BATCH * width) {
            for planes in net
                .images(some, some.len() / width)?
                .chunks_exact(3 * full * full)
            {
                out.push(super::Picture::from_planes(planes, full).rgb(), full, full)?;
            }
        }
        Ok(out)
    }

    /// Some of the pictures.
    ///
    /// # Panics
    /// For a row that is not there.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            side: self.side,
            values: rows.iter().flat_map(|&i| self.row(i)).copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_means() {
        let mut t = Thumbnails::new(2);
        // 4 x 3 pixels: columns 0 1 | 2 3, rows 0 | 1 2.
        let rgb: Vec<u8> = (0..12).flat_map(|k| [k * 10, 0, 255]).collect();
        t.push(&rgb, 4, 3).unwrap();
        assert_eq!((t.n(), t.width()), (1, 12));
        let red: Vec<f32> = t.row(0).iter().step_by(3).map(|v| v * 255.0).collect();
        for (found, expected) in red.iter().zip([5.0, 25.0, 65.0, 85.0]) {
            assert!((found - expected).abs() < 1e-3, "{red:?}");
        }
        assert!((t.row(0)[2] - 1.0).abs() < 1e-6);
        assert!(t.push(&rgb[..9], 1, 3).is_err());
        assert_eq!(t.select(&[0, 0]).n(), 2);
    }
}
