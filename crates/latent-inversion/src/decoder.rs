//! What inversion asks of a generator.

use burn::tensor::{Device, Tensor};

use crate::error::{Error, Result};

/// A generator: latent to image.
///
/// A latent w is one row; W+ is a row per layer. Anything that decodes W+ differentiably can be
/// inverted; StyleGAN2 is the one that comes with the crate.
pub trait Decoder: Send + Sync {
    /// Channels, height and width of its images.
    fn shape(&self) -> [usize; 3];

    /// Rows of W+.
    fn num_ws(&self) -> usize;

    /// Width of W.
    fn w_dim(&self) -> usize;

    /// Width of Z, the normal latents that [`Decoder::map`] takes.
    fn z_dim(&self) -> usize;

    /// Where it computes; not an autodiff device.
    fn device(&self) -> Device;

    /// Maps normal latents to W, with gradients where `z` has a history.
    ///
    /// # Shapes
    ///
    /// - z: `[N, z_dim]`
    /// - output: `[N, w_dim]`
    fn map(&self, z: Tensor<2>) -> Tensor<2>;

    /// The images of W+, with gradients where `ws` or the noise have a history.
    ///
    /// # Shapes
    ///
    /// - ws: `[N, num_ws, w_dim]`
    /// - noise: one `[N, 1, R, R]` per side of [`Decoder::noise_sides`]; without it the decoder's
    ///   own
    /// - output: `[N, C, H, W]`, mostly in [-1, 1]
    fn decode(&self, ws: Tensor<3>, noise: Option<&[Tensor<4>]>) -> Tensor<4>;

    /// The sides of the noise images that may be optimised; none by default.
    fn noise_sides(&self) -> Vec<usize> {
        Vec::new()
    }

    /// A name that two decoders share only if they have the same weights.
    fn fingerprint(&self) -> String;

    /// The number type it computes in, where that is not single precision throughout: latents found with
    /// another are others.
    fn precision(&self) -> Option<&'static str> {
        None
    }
}

/// Repeats w for all rows of W+.
///
/// # Shapes
///
/// - w: `[N, w_dim]`
/// - output: `[N, num_ws, w_dim]`
pub fn broadcast(w: Tensor<2>, num_ws: usize) -> Tensor<3> {
    let [n, d] = w.dims();
    w.reshape([n, 1, d]).expand([n, num_ws, d])
}

/// Refuses images that are not of the decoder's shape.
pub(crate) fn check_images(decoder: &dyn Decoder, images: &Tensor<4>) -> Result<()> {
    let [n, c, h, w] = images.dims();
    if n > 0 && [c, h, w] == decoder.shape() {
        return Ok(());
    }
    let [dc, dh, dw] = decoder.shape();
    Err(Error::Argument {
        name: "images",
        reason: format!(
            "{n} of {w} x {h} pixels and {c} channels; the generator makes {dw} x {dh} and {dc}"
        ),
    })
}

#[cfg(feature = "stylegan2")]
pub use stylegan2::StyleGan2;

#[cfg(feature = "stylegan2")]
mod stylegan2 {
    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::{DType, Device, Tensor};
    use sha2::{Digest, Sha256};
    use stylegan2_burn::{Generator, Modulation, Noise, Precision, SynthesisOptions, Truncation};

    use super::Decoder;
    use crate::error::{Error, Result};

    /// A StyleGAN2 generator as a [`Decoder`].
    ///
    /// Styles are multiplied into the activations, never into a kernel per image, so that an image
    /// is the same alone and in a batch.
    #[derive(Clone, Debug)]
    pub struct StyleGan2 {
        plain: Generator,
        /// The same for latents with gradients; its own parameters have none.
        tracked: Generator,
        shape: [usize; 3],
        z_dim: usize,
        device: Device,
        precision: Precision,
        fingerprint: String,
    }

    impl StyleGan2 {
        /// Wraps a generator.
        ///
        /// # Errors
        ///
        /// [`Error::Argument`] for a generator of classes: their latents are several clouds, one
        /// per class, with no common mean.
        pub fn new(generator: &Generator) -> Result<Self> {
            if generator.mapping.embed.is_some() {
                return Err(Error::Argument {
                    name: "generator",
                    reason: "a generator of classes; one without labels is inverted".to_owned(),
                });
            }
            let plain = generator.valid().no_grad();
            let blocks = &plain.synthesis.blocks;
            let side = 4 << (blocks.len() - 1);
            let torgb = blocks.last().and_then(|b| b.torgb.as_ref());
            let channels = torgb.map_or(3, |t| t.weight.dims()[0]);
            let device = plain.devices().first().cloned().unwrap_or_default();
            Ok(Self {
                tracked: plain.clone().train().no_grad(),
                shape: [channels, side, side],
                z_dim: plain.mapping.layers[0].weight.dims()[1],
                device: device.inner(),
                precision: Precision::Full,
                fingerprint: fingerprint(&plain),
                plain,
            })
        }

        /// Sets the precision of the highest resolutions, where the network allows for half.
        pub fn with_precision(mut self, precision: Precision) -> Self {
            self.precision = precision;
            self
        }

        /// The generator.
        pub fn generator(&self) -> &Generator {
            &self.plain
        }
    }

    impl Decoder for StyleGan2 {
        fn shape(&self) -> [usize; 3] {
            self.shape
        }

        fn num_ws(&self) -> usize {
            self.plain.synthesis.num_ws()
        }

        fn w_dim(&self) -> usize {
            self.plain.synthesis.w_dim()
        }

        fn z_dim(&self) -> usize {
            self.z_dim
        }

        fn device(&self) -> Device {
            self.device.clone()
        }

        fn map(&self, z: Tensor<2>) -> Tensor<2> {
            let [n, _] = z.dims();
            let network = if z.is_autodiff() {
                &self.tracked
            } else {
                &self.plain
            };
            let ws = network.mapping.forward(z, None, Truncation::default());
            let w_dim = self.w_dim();
            ws.slice([0..n, 0..1, 0..w_dim]).reshape([n, w_dim])
        }

        fn decode(&self, ws: Tensor<3>, noise: Option<&[Tensor<4>]>) -> Tensor<4> {
            let options = SynthesisOptions {
                noise: noise.map_or(Noise::Const, |n| Noise::Given(n.to_vec())),
                modulation: Modulation::Unfused,
                precision: self.precision,
            };
            let network = if ws.is_autodiff() {
                &self.tracked
            } else {
                &self.plain
            };
            network.synthesis.forward(ws, &options)
        }

        fn noise_sides(&self) -> Vec<usize> {
            let shapes = self.plain.synthesis.noise_shapes();
            shapes.into_iter().map(|(_, side)| side).collect()
        }

        fn fingerprint(&self) -> String {
            self.fingerprint.clone()
        }

        fn precision(&self) -> Option<&'static str> {
            match self.precision {
                Precision::Full => None,
                Precision::F16 => Some("f16"),
                Precision::Bf16 => Some("bf16"),
            }
        }
    }

    /// SHA-256 of all parameters in the order of the layers, as a text of 16 digits.
    fn fingerprint(generator: &Generator) -> String {
        struct Hash(Sha256);
        impl ModuleVisitor for Hash {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let values = param.val().into_data_dtype(DType::F32);
                self.0.update(values.as_bytes());
            }
        }
        let mut hash = Hash(Sha256::new());
        generator.visit(&mut hash);
        let mut text = crate::hex(&hash.0.finalize());
        text.truncate(16);
        text
    }

    #[cfg(test)]
    mod tests {
        use burn::tensor::Distribution;
        use stylegan2_burn::GeneratorConfig;

        use super::*;

        fn tiny() -> GeneratorConfig {
            GeneratorConfig::new(16)
                .with_channel_base(128)
                .with_z_dim(8)
                .with_w_dim(8)
        }

        #[test]
        fn fingerprints_tell_weights_apart() {
            let device = Device::default();
            let a = tiny().init(&device).unwrap();
            let b = tiny().init(&device).unwrap();
            let name = |g| StyleGan2::new(g).unwrap().fingerprint();
            let again = a.clone();
            assert_eq!(name(&a), name(&again));
            assert_ne!(name(&a), name(&b));
            assert_eq!(name(&a).len(), 16);
        }

        #[test]
        fn images_are_those_of_the_generator_alone_and_in_a_batch() {
            let device = Device::default();
            let decoder = StyleGan2::new(&tiny().init(&device).unwrap()).unwrap();
            assert_eq!(decoder.shape(), [3, 16, 16]);
            assert_eq!(
                (decoder.num_ws(), decoder.w_dim(), decoder.z_dim()),
                (6, 8, 8)
            );
            assert_eq!(decoder.noise_sides(), [4, 8, 8, 16, 16]);
            let z = Tensor::<2>::random([2, 8], Distribution::Normal(0.0, 1.0), &device);
            let ws = super::super::broadcast(decoder.map(z.clone()), 6);
            let images = decoder.decode(ws.clone(), None);
            let options = SynthesisOptions::default();
            let expected = decoder
                .generator()
                .forward(z, None, Truncation::default(), &options);
            let worst = |a: Tensor<4>, b: Tensor<4>| -> f32 { (a - b).abs().max().into_scalar() };
            assert!(worst(images.clone(), expected) < 1e-5);
            let one = decoder.decode(ws.clone().narrow(0, 1, 1), None);
            assert!(worst(images.clone().narrow(0, 1, 1), one) < 1e-6);
            let tracked = decoder.decode(ws.autodiff().require_grad(), None);
            assert!(worst(images, tracked.inner()) < 1e-6);
        }

        #[test]
        fn classes_are_refused() {
            let generator = tiny().with_c_dim(2).init(&Device::default()).unwrap();
            let error = StyleGan2::new(&generator).unwrap_err();
            assert!(error.to_string().contains("classes"), "{error}");
        }
    }
}
