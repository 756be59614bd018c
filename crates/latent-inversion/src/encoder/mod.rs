//! A network that reads the latent off an image in one pass.

mod linear;
mod network;
mod photos;
mod trainer;
mod training;
mod units;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use photos::FacePhotos;
pub use trainer::{EncoderProgress, EncoderTrainer};
pub use training::EncoderTraining;

use crate::decoder::{Decoder, check_images};
use crate::error::{Error, Result};
use crate::tensors::{Arrays, Precision, malformed, numbers, parse, read_bytes};
use network::Plan;

/// Size of an [`Encoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderSettings {
    /// Channels at side s are this over s, at least 8.
    pub channel_base: usize,
    /// The most channels.
    pub channel_max: usize,
    /// Width of the dense layer before the last.
    pub hidden: usize,
}

impl Default for EncoderSettings {
    /// 5.9 million parameters for images of 64 px.
    fn default() -> Self {
        Self {
            channel_base: 1024,
            channel_max: 256,
            hidden: 512,
        }
    }
}

impl EncoderSettings {
    pub(crate) fn validate(&self) -> Result<()> {
        for (name, value) in [
            ("channel_base", self.channel_base),
            ("channel_max", self.channel_max),
            ("hidden", self.hidden),
        ] {
            if !(8..=1 << 16).contains(&value) {
                return Err(Error::Argument {
                    name,
                    reason: format!("{value}; from 8 to 65536 is taken"),
                });
            }
        }
        Ok(())
    }
}

/// What an encoder belongs to; in the header of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) version: u32,
    pub(crate) settings: EncoderSettings,
    /// The generator's name, as the trainer was told.
    pub(crate) generator: String,
    /// [`Decoder::fingerprint`].
    pub(crate) fingerprint: String,
    pub(crate) shape: [usize; 3],
    pub(crate) w_dim: usize,
    /// Images it was trained on.
    pub(crate) images: u64,
}

const KEY: &str = "latent-inversion encoder";
const VERSION: u32 = 2;

/// A trained encoder: image to w.
///
/// Space to depth, then for each halving of the side down to 4 px a strided 3 x 3 convolution and
/// a residual block, then two dense layers; leaky ReLU between them and no normalisation, so that
/// no image's latent depends on another's. To this is added a linear map of the image shrunk to
/// 32 px, found by least squares before training. It is trained by an [`EncoderTrainer`] and belongs
/// to one generator.
#[derive(Clone, Debug)]
pub struct Encoder {
    about: About,
    plan: Plan,
    parts: Vec<Tensor<1>>,
}

impl Encoder {
    /// Reads an encoder from the file that [`Encoder::save`] wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], or [`Error::Malformed`] if the file is no encoder.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        Self::parsed(path, &read_bytes(path)?, device)
    }

    /// As [`Encoder::open`], from the bytes of such a file: one that is part of a program, say.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if they are no encoder's.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self> {
        Self::parsed(Path::new("encoder"), bytes, device)
    }

    fn parsed(path: &Path, bytes: &[u8], device: &Device) -> Result<Self> {
        let (file, about) = parse(path, bytes, KEY)?;
        let about: About =
            serde_json::from_str(&about).map_err(|e| malformed(path, e.to_string()))?;
        if about.version != VERSION {
            let reason = format!("version {}; {VERSION} is read", about.version);
            return Err(malformed(path, reason));
        }
        about.settings.validate()?;
        let plan = Plan::new(&about.settings, about.shape, about.w_dim)?;
        let mut values = Vec::with_capacity(plan.count());
        for layer in &plan.layers {
            let name = |part| format!("{}.{part}", layer.name);
            values.extend(numbers(path, &file, &name("weight"), &layer.shape)?);
            values.extend(numbers(path, &file, &name("bias"), &layer.shape[..1])?);
        }
        Ok(Self::new(about, plan, values, device))
    }

    fn new(about: About, plan: Plan, values: Vec<f32>, device: &Device) -> Self {
        let count = values.len();
        let values = Tensor::from_data(TensorData::new(values, [count]), device);
        Self {
            parts: plan.split(&values),
            about,
            plan,
        }
    }

    /// Writes it with its settings and the name and fingerprint of its generator; the file appears
    /// whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>, precision: Precision) -> Result<()> {
        let path = path.as_ref();
        let about =
            serde_json::to_string(&self.about).map_err(|e| malformed(path, e.to_string()))?;
        let names: Vec<[String; 2]> = self
            .plan
            .layers
            .iter()
            .map(|l| ["weight", "bias"].map(|part| format!("{}.{part}", l.name)))
            .collect();
        let values: Vec<Vec<f32>> = self.parts.iter().cloned().map(crate::floats).collect();
        let mut arrays = Arrays::default().metadata(KEY, about);
        for ((layer, names), values) in self
            .plan
            .layers
            .iter()
            .zip(&names)
            .zip(values.chunks_exact(2))
        {
            arrays = arrays
                .array_as(&names[0], &layer.shape, &values[0], precision)
                .array_as(&names[1], &layer.shape[..1], &values[1], precision);
        }
        arrays.write(path)
    }

    /// The latents of images.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]` in [-1, 1], as the generator makes them
    /// - output: `[N, w_dim]`
    ///
    /// # Panics
    ///
    /// Panics for images of another shape.
    pub fn encode(&self, images: Tensor<4>) -> Tensor<2> {
        let [_, c, h, w] = images.dims();
        assert_eq!([c, h, w], self.about.shape, "shape of the images");
        self.plan.forward(&self.parts, images)
    }

    /// As [`Encoder::encode`], after a look at the shapes.
    pub(crate) fn encode_for(&self, decoder: &dyn Decoder, images: Tensor<4>) -> Result<Tensor<2>> {
        check_images(decoder, &images)?;
        self.check(decoder)?;
        Ok(self.encode(images))
    }

    /// Refuses a generator of another shape than that the encoder was trained for.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`].
    pub fn check(&self, decoder: &dyn Decoder) -> Result<()> {
        let found = (decoder.shape(), decoder.w_dim());
        if found == (self.about.shape, self.about.w_dim) {
            return Ok(());
        }
        let About { shape, w_dim, .. } = &self.about;
        Err(Error::Argument {
            name: "encoder",
            reason: format!(
                "made for images {shape:?} and latents of width {w_dim}; the generator has {:?} \
                 and {}",
                found.0, found.1
            ),
        })
    }

    /// Whether it was trained for this very generator, not only for one of its shape.
    pub fn belongs_to(&self, decoder: &dyn Decoder) -> bool {
        self.about.fingerprint == decoder.fingerprint()
    }

    /// SHA-256 of its parameters, 16 digits of it.
    pub fn weights_fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for part in &self.parts {
            for value in crate::floats(part.clone()) {
                hash.update(value.to_le_bytes());
            }
        }
        let mut text = crate::hex(&hash.finalize());
        text.truncate(16);
        text
    }

    /// Name of the generator it was trained for.
    pub fn generator(&self) -> &str {
        &self.about.generator
    }

    /// The generator's [`Decoder::fingerprint`].
    pub fn fingerprint(&self) -> &str {
        &self.about.fingerprint
    }

    /// Number of images it was trained on.
    pub fn images(&self) -> u64 {
        self.about.images
    }

    /// Its size.
    pub fn settings(&self) -> EncoderSettings {
        self.about.settings
    }
}

impl std::fmt::Display for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [channels, height, width] = self.about.shape;
        write!(
            f,
            "encoder of {} parameters, {width} x {height} pixels and {channels} channels to W of \
             width {}, trained on {} images of {} ({})",
            self.plan.count(),
            self.about.w_dim,
            self.about.images,
            self.about.generator,
            self.about.fingerprint
        )
    }
}
