//! Adaptive discriminator augmentation: the pipeline of random, differentiable transformations.
//!
//! Karras et al. 2020, "Training generative adversarial networks with limited data", appendix B.
//! Everything that the discriminator sees, real or generated, goes through it; each
//! transformation is applied to an image with probability $p$ times its multiplier, so that as
//! long as $p < 1$ the generator cannot learn the augmented look.
//!
//! [`Augment::draw`] makes the random numbers on the host, [`Augment::apply`] carries images (and
//! a tangent) through the transformations they stand for. In the image every transformation is
//! affine, so that R1, whose gradient is taken before the augmentation, passes through exactly.

mod color;
mod config;
mod draw;
mod filter;
mod geometry;
#[cfg(feature = "winograd")]
mod kernel;
mod matrix;

use burn::tensor::{Device, Tensor, TensorData};

pub use config::AugmentConfig;
pub use draw::{AugmentDraw, DrawSource};

use crate::error::Result;
use crate::tangent::Dual;

/// The augmentation pipeline for images of a given number of channels.
///
/// ```
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
/// use burn::tensor::{Device, Tensor};
/// use stylegan2_burn::train::{Augment, AugmentConfig};
///
/// # fn main() -> Result<(), stylegan2_burn::Error> {
/// let augment = Augment::new(AugmentConfig::bgc(), 3)?;
/// let draw = augment.draw(2, [3, 16, 16], 0.5, &mut ChaCha8Rng::seed_from_u64(1));
/// let images = Tensor::<4>::zeros([2, 3, 16, 16], &Device::default());
/// assert_eq!(augment.apply(images.into(), &draw).dims(), [2, 3, 16, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Augment {
    config: AugmentConfig,
    channels: usize,
}

impl Augment {
    /// Checks the settings against the number of channels.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) if a setting is negative or not finite, or if
    /// colours are to be changed of images that have neither 1 nor 3 channels.
    pub fn new(config: AugmentConfig, channels: usize) -> Result<Self> {
        config.validate(channels)?;
        Ok(Self { config, channels })
    }

    /// The settings.
    pub fn config(&self) -> &AugmentConfig {
        &self.config
    }

    /// Draws the transformations of `n` images of shape `[C, H, W]`.
    ///
    /// `p` is the probability of each transformation before its multiplier; above 1 it means 1.
    ///
    /// # Panics
    ///
    /// Panics if the number of channels is not the one the pipeline was made for.
    pub fn draw(
        &self,
        n: usize,
        shape: [usize; 3],
        p: f64,
        source: &mut impl DrawSource,
    ) -> AugmentDraw {
        assert_eq!(
            shape[0], self.channels,
            "channels of the images and of the pipeline"
        );
        AugmentDraw::new(&self.config, n, shape, p, source)
    }

    /// Carries images through the transformations drawn for them.
    ///
    /// The tangent goes through the linear part: shifts of brightness and noise do not depend on
    /// the image.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`
    /// - output: as `images`
    ///
    /// # Panics
    ///
    /// Panics if the transformations were drawn for another shape.
    pub fn apply(&self, images: Dual<4>, draw: &AugmentDraw) -> Dual<4> {
        let [n, c, h, w] = images.dims();
        assert_eq!(
            (n, [c, h, w]),
            (draw.n, draw.shape),
            "images of the shape the transformations were drawn for"
        );
        let mut x = images;
        if let Some(warp) = &draw.geometry {
            x = x.linear(|t| warp.apply(t));
        }
        if let Some(colors) = &draw.color {
            x = color::apply(x, colors);
        }
        if let Some(gains) = &draw.filter {
            x = x.linear(|t| filter::apply(t, gains));
        }
        if let Some(noise) = &draw.noise {
            let noise = upload(noise.clone(), [n, c, h, w], &x.value);
            x = Dual {
                value: x.value + noise,
                tangent: x.tangent,
            };
        }
        if let Some(holes) = &draw.cutout {
            let mask = draw::cutout_mask(holes, h, w, &x.value);
            x = x.linear(|t| t * mask.clone());
        }
        x
    }
}

/// Host numbers as a tensor beside `like`: on its device and in its precision.
fn upload<const D: usize>(values: Vec<f32>, shape: [usize; D], like: &Tensor<4>) -> Tensor<D> {
    let device: Device = like.device();
    Tensor::from_data(TensorData::new(values, shape), (&device, like.dtype()))
}
