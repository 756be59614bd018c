//! The generator: mapping and synthesis.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::config::GeneratorConfig;
use crate::error::Result;
use crate::mapping::{Mapping, Truncation};
use crate::synthesis::{Synthesis, SynthesisOptions};

/// A StyleGAN2 generator.
///
/// ```
/// use burn::tensor::Device;
/// use stylegan2_burn::{GeneratorConfig, SynthesisOptions, Truncation, seed};
///
/// let device = Device::flex();
/// let config = GeneratorConfig::new(16).with_channel_base(128).with_z_dim(8).with_w_dim(8);
/// let generator = config.init(&device)?;
/// let z = seed::latents(&[85], 8, &device); // [1, 8]
/// let image = generator.forward(z, None, Truncation::psi(0.7), &SynthesisOptions::default());
/// assert_eq!(image.dims(), [1, 3, 16, 16]);
/// # Ok::<(), stylegan2_burn::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Generator {
    /// Z -> W.
    pub mapping: Mapping,
    /// W+ -> image.
    pub synthesis: Synthesis,
}

impl GeneratorConfig {
    /// Makes a generator with random weights.
    pub fn init(&self, device: &Device) -> Result<Generator> {
        self.validate()?;
        Ok(Generator {
            mapping: self
                .mapping
                .init(self.z_dim, self.c_dim, self.w_dim, self.num_ws(), device),
            synthesis: Synthesis::init(self, device),
        })
    }
}

impl Generator {
    /// The images of latents.
    ///
    /// # Shapes
    ///
    /// - z: `[N, z]`, c: `[N, c]`
    /// - output: `[N, channels, resolution, resolution]`, values mostly in [-1, 1]
    pub fn forward(
        &self,
        z: Tensor<2>,
        c: Option<Tensor<2>>,
        truncation: Truncation,
        options: &SynthesisOptions,
    ) -> Tensor<4> {
        self.synthesis
            .forward(self.mapping.forward(z, c, truncation), options)
    }
}

/// Takes the given rows of W+ from `b` and the others from `a`.
///
/// # Shapes
///
/// - a, b: `[N, num_ws, w]`
/// - output: as `a`
///
/// # Panics
///
/// Panics if a row is out of range or the shapes differ.
pub fn mix_styles(a: Tensor<3>, b: Tensor<3>, rows: &[usize]) -> Tensor<3> {
    let [n, count, d] = a.dims();
    assert_eq!(a.dims(), b.dims(), "styles to mix have the same shape");
    assert!(rows.iter().all(|&r| r < count), "rows {rows:?} of {count}");
    let parts = (0..count)
        .map(|r| {
            let source = if rows.contains(&r) { &b } else { &a };
            source.clone().slice([0..n, r..r + 1, 0..d])
        })
        .collect();
    Tensor::cat(parts, 1)
}
