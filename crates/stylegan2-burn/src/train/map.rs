//! The seam between losses and augmentation.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use crate::tangent::Dual;
use crate::train::augment::{Augment, AugmentDraw};

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

/// A drawn [`Augment`].
struct Drawn {
    pipeline: Arc<Augment>,
    draw: AugmentDraw,
}

impl Augmentation for Arc<Augment> {
    fn draw(
        &self,
        samples: usize,
        shape: [usize; 3],
        p: f64,
        rng: &mut ChaCha8Rng,
    ) -> Box<dyn DrawnAugmentation> {
        Box::new(Drawn {
            pipeline: Self::clone(self),
            draw: Augment::draw(self, samples, shape, p, rng),
        })
    }
}

impl DrawnAugmentation for Drawn {
    fn apply(&self, images: Dual<4>) -> Dual<4> {
        self.pipeline.apply(images, &self.draw)
    }

    fn select(&self, samples: &[usize]) -> Box<dyn DrawnAugmentation> {
        Box::new(Self {
            pipeline: Arc::clone(&self.pipeline),
            draw: self.draw.select(samples),
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tensor};
    use rand::SeedableRng;

    use super::*;
    use crate::train::augment::AugmentConfig;

    #[test]
    fn a_part_is_mapped_as_in_the_whole() {
        let config = AugmentConfig::preset("bgcfnc").unwrap();
        let pipeline = Arc::new(Augment::new(config, 3).unwrap());
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let device = Device::default();
        let normal = Distribution::Normal(0.0, 1.0);
        let images = Tensor::<4>::random([6, 3, 16, 16], normal, &device);
        let draw = Augmentation::draw(&pipeline, 6, [3, 16, 16], 0.8, &mut rng);
        let whole = draw.apply(images.clone().into()).value;
        assert!(
            (whole.clone() - images.clone())
                .abs()
                .max()
                .into_scalar::<f32>()
                > 0.1
        );
        let samples = [4, 1, 5];
        let pick = |t: Tensor<4>| crate::train::loss::select(t, &samples);
        let part = draw.select(&samples).apply(pick(images).into()).value;
        let worst: f32 = (part - pick(whole)).abs().max().into_scalar();
        assert!(worst < 1e-5, "{worst:e}");
    }
}
