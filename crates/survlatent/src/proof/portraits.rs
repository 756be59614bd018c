//! What makes pictures of latents.

use crate::error::{Error, Result};

/// A map from latents to pictures that can be differentiated.
///
/// Latents are rows of W, [`dim`](Self::dim) wide, or of W+, `layers` times as wide; all rows of one
/// call are of one kind. Pictures are planes `[3, side, side]`, -1 black and 1 white.
pub trait Portraits {
    /// Width of a latent of W.
    fn dim(&self) -> usize;

    /// Rows of W+.
    fn layers(&self) -> usize;

    /// Side of the pictures in pixels.
    fn side(&self) -> usize;

    /// Pictures of `n` latents, `[n, 3, side, side]`.
    ///
    /// # Errors
    /// [`Error::Study`] for latents of another width.
    fn images(&self, latents: &[f32], n: usize) -> Result<Vec<f32>>;

    /// Pictures of `n` latents and their derivatives along `along`, which is as wide as a latent.
    ///
    /// # Errors
    /// As [`images`](Self::images).
    fn derivatives(&self, latents: &[f32], n: usize, along: &[f64])
    -> Result<(Vec<f32>, Vec<f32>)>;

    /// Latents of W as the generator draws them, `first` to `first + count - 1`, `[count, dim]`.
    ///
    /// # Errors
    /// What the network refuses.
    fn draws(&self, seed: u64, first: u64, count: usize) -> Result<Vec<f32>>;

    /// The width of `n` latents that are `values` numbers in all: that of W or of W+.
    ///
    /// # Errors
    /// [`Error::Study`] for any other.
    fn width(&self, values: usize, n: usize) -> Result<usize> {
        let (dim, layers) = (self.dim(), self.layers());
        match values.checked_div(n) {
            Some(w) if w * n == values && (w == dim || w == dim * layers) => Ok(w),
            found => {
                let found = found.unwrap_or(0);
                let reason = format!(
                    "latents of {found} numbers: the generator takes {dim} (W) or {} (W+, {layers} \
                     rows)",
                    dim * layers
                );
                Err(Error::Study { reason })
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Pictures that are linear in the latent: patches of gray, each moved by one number.
    pub(crate) struct Patches {
        pub(crate) dim: usize,
        pub(crate) side: usize,
    }

    impl Patches {
        /// The patch that a pixel belongs to.
        fn patch(&self, k: usize) -> usize {
            (k / self.side) * self.dim / self.side
        }
    }

    impl Portraits for Patches {
        fn dim(&self) -> usize {
            self.dim
        }
        fn layers(&self) -> usize {
            3
        }
        fn side(&self) -> usize {
            self.side
        }
        fn images(&self, latents: &[f32], n: usize) -> Result<Vec<f32>> {
            let width = self.width(latents.len(), n)?;
            let size = self.side * self.side;
            let rows = latents.chunks_exact(width);
            Ok(rows
                .flat_map(|w| (0..3 * size).map(move |k| w[self.patch(k % size)] / 4.0))
                .collect())
        }
        fn derivatives(
            &self,
            latents: &[f32],
            n: usize,
            along: &[f64],
        ) -> Result<(Vec<f32>, Vec<f32>)> {
            let along: Vec<f32> = along.iter().map(|v| *v as f32).collect();
            let one = self.images(&along, 1)?;
            Ok((self.images(latents, n)?, one.repeat(n)))
        }
        fn draws(&self, seed: u64, first: u64, count: usize) -> Result<Vec<f32>> {
            Ok((0..count as u64)
                .flat_map(|k| crate::simulate::normals(seed, first + k, self.dim))
                .map(|v| v as f32)
                .collect())
        }
    }

    #[test]
    fn widths_are_those_of_w_and_w_plus() {
        let net = Patches { dim: 4, side: 8 };
        assert_eq!(net.width(8, 2).ok(), Some(4));
        assert_eq!(net.width(24, 2).ok(), Some(12));
        for (latents, n) in [(9, 2), (10, 2), (0, 0), (0, 3)] {
            let error = net.width(latents, n).unwrap_err().to_string();
            assert!(error.contains("4 (W) or 12 (W+, 3 rows)"), "{error}");
        }
    }
}
