//! The seam between losses and augmentation.

use rand_chacha::ChaCha8Rng;

use crate::tangent::Dual;

/// A random map of images on their way to the discriminator.
pub trait Augmentation: Send + Sync {
    /// Draws the map of `samples` images of `shape` (channels, height, width); each operation
    /// happens with a probability in proportion to `p`.
    fn draw(
        &self,
        samples: usize,
        shape: [usize; 3],
        p: f64,
        rng: &mut ChaCha8Rng,
    ) -> Box<dyn DrawnAugmentation>;
}

/// A map whose random numbers are drawn.
pub trait DrawnAugmentation: Send + Sync {
    /// Maps images and their tangent; differentiable.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`
    /// - output: as `images`
    fn apply(&self, images: Dual<4>) -> Dual<4>;

    /// The same map for some of the samples.
    fn select(&self, samples: &[usize]) -> Box<dyn DrawnAugmentation>;
}

/// Leaves images alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity;

impl Augmentation for Identity {
    fn draw(
        &self,
        _: usize,
        _: [usize; 3],
        _: f64,
        _: &mut ChaCha8Rng,
    ) -> Box<dyn DrawnAugmentation> {
        Box::new(Self)
    }
}

impl DrawnAugmentation for Identity {
    fn apply(&self, images: Dual<4>) -> Dual<4> {
        images
    }

    fn select(&self, _: &[usize]) -> Box<dyn DrawnAugmentation> {
        Box::new(*self)
    }
}
