//! Training of an encoder on the generator's own samples.

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::linear;
use super::network::Plan;
use super::photos::FacePhotos;
use super::training::EncoderTraining;
use super::units::Units;
use super::{About, Encoder, VERSION};
use crate::adam::{Adam, Moments};
use crate::decoder::{Decoder, broadcast};
use crate::device::{guarded, read};
use crate::draws::{normals, rng};
use crate::error::{Error, Result};
use crate::lpips::Lpips;
use crate::objective::to_256;
use crate::tensors::{Arrays, malformed, numbers, parse, read_bytes};

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderProgress {
    /// Steps made, this one included.
    pub step: u64,
    /// Samples seen.
    pub images: u64,
    /// The loss before the step.
    pub loss: f64,
    /// Mean cosine of $w - \mu$ and what the network found, before the step; none on photos, whose w
    /// nobody knows.
    pub cosine: Option<f64>,
}

/// Trains an [`Encoder`].
pub struct EncoderTrainer<'a> {
    decoder: &'a dyn Decoder,
    /// Only where LPIPS has a weight.
    lpips: Option<Lpips>,
    settings: EncoderTraining,
    generator: String,
    plan: Plan,
    values: Tensor<1>,
    moments: Moments<1>,
    units: Units,
    step: u64,
    /// Samples an encoder that was continued had seen before.
    earlier: u64,
    /// What the steps are made on, where not on samples.
    photos: Option<FacePhotos>,
    /// The photos that the state was saved with.
    expected: Option<String>,
}

/// Learning rate of the linear part over that of the rest.
const LINEAR_RATE: f64 = 0.02;

/// Streams of the seed.
const SAMPLES: u64 = 1 << 40;
const VALIDATION: u64 = 2 << 40;
const LINEAR: u64 = 4 << 40;

const STATE: &str = "latent-inversion encoder training";

#[derive(Serialize, Deserialize)]
struct Record {
    settings: EncoderTraining,
    about: About,
    step: u64,
    earlier: u64,
    /// Fingerprint of the photos, if it is trained on photos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    photos: Option<String>,
}

impl<'a> EncoderTrainer<'a> {
    /// A new encoder for `decoder`, which the files will call `generator`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for settings out of range, or a generator of images that are no squares
    /// with a power of two from 16 as side.
    pub fn new(
        decoder: &'a dyn Decoder,
        generator: impl Into<String>,
        settings: EncoderTraining,
    ) -> Result<Self> {
        let mut trainer = Self::assemble(decoder, generator.into(), settings)?;
        trainer.start_linear();
        Ok(trainer)
    }

    /// With the first weights.
    fn assemble(
        decoder: &'a dyn Decoder,
        generator: String,
        settings: EncoderTraining,
    ) -> Result<Self> {
        settings.validate()?;
        let plan = Plan::new(&settings.network, decoder.shape(), decoder.w_dim())?;
        let device = decoder.device();
        let values = plan.init(settings.seed, &device);
        let lpips = (settings.perceptual > 0.0)
            .then(|| Lpips::alexnet(&device))
            .transpose()?;
        let [_, height, width] = decoder.shape();
        if let Some(lpips) = lpips
            .as_ref()
            .filter(|lpips| height.min(width) < lpips.trunk().smallest_side())
        {
            return Err(Error::Argument {
                name: "perceptual",
                reason: format!(
                    "pictures of {width} x {height} pixels; LPIPS needs {}",
                    lpips.trunk().smallest_side()
                ),
            });
        }
        Ok(Self {
            units: Units::new(decoder, settings.coordinates)?,
            moments: Moments::zeros(&values),
            decoder,
            lpips,
            settings,
            generator,
            plan,
            values,
            step: 0,
            earlier: 0,
            photos: None,
            expected: None,
        })
    }

    /// Trains on photos from here on, in place of samples: the loss is that of the pictures of the latents
    /// found, since a photo's own latent is not known. For an encoder that samples have trained
    /// ([`EncoderTrainer::from_encoder`]), or a training on the same photos that is gone on with.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if neither `squared` nor `perceptual` has a weight, or if the state was saved with
    /// other photos or with none.
    pub fn with_photos(mut self, photos: FacePhotos) -> Result<Self> {
        let fault = |name, reason: &str| {
            Err(Error::Argument {
                name,
                reason: reason.to_owned(),
            })
        };
        if self.settings.squared + self.settings.perceptual <= 0.0 {
            let reason = "on photos it is this or `perceptual` that is minimised; both are zero";
            return fault("squared", reason);
        }
        match &self.expected {
            Some(expected) if expected != photos.fingerprint() => {
                return fault("photos", "others than those this training has seen");
            }
            None if self.step > 0 => {
                let reason = "this training is one on samples; start another from its encoder";
                return fault("photos", reason);
            }
            _ => {}
        }
        self.photos = Some(photos);
        Ok(self)
    }

    /// As [`EncoderTrainer::new`], starting from a trained encoder: of an earlier snapshot of the
    /// generator, say. The network's size is that encoder's.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Argument`] if it is an encoder of other shapes.
    pub fn from_encoder(
        decoder: &'a dyn Decoder,
        generator: impl Into<String>,
        settings: EncoderTraining,
        encoder: &Encoder,
    ) -> Result<Self> {
        encoder.check(decoder)?;
        let settings = EncoderTraining {
            network: encoder.about.settings,
            ..settings
        };
        let mut trainer = Self::assemble(decoder, generator.into(), settings)?;
        let parts = trainer.units.unfold(encoder.parts.clone());
        trainer.values = Tensor::cat(parts, 0);
        trainer.earlier = encoder.about.images;
        Ok(trainer)
    }

    /// Goes on from a state that [`EncoderTrainer::save`] wrote, with the same bits as if it had
    /// not stopped; `change` may raise the number of samples, say. A training on photos needs them again
    /// ([`EncoderTrainer::with_photos`]).
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Malformed`] if the file is no state, or one of another generator.
    pub fn resume(
        decoder: &'a dyn Decoder,
        path: impl AsRef<Path>,
        change: impl FnOnce(&mut EncoderTraining),
    ) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_bytes(path)?;
        let (file, record) = parse(path, &bytes, STATE)?;
        let mut record: Record =
            serde_json::from_str(&record).map_err(|e| malformed(path, e.to_string()))?;
        if record.about.fingerprint != decoder.fingerprint() {
            let reason = format!(
                "a training for the generator {} ({}); this one is {}",
                record.about.generator,
                record.about.fingerprint,
                decoder.fingerprint()
            );
            return Err(malformed(path, reason));
        }
        change(&mut record.settings);
        let mut trainer = Self::assemble(decoder, record.about.generator, record.settings)?;
        let count = trainer.plan.count();
        let read = |name| -> Result<Tensor<1>> {
            let values = numbers(path, &file, name, &[count])?;
            Ok(Tensor::from_data(
                TensorData::new(values, [count]),
                &decoder.device(),
            ))
        };
        trainer.values = read("values")?;
        trainer.moments = Moments {
            steps: record.step,
            first: read("first_moment")?,
            second: read("second_moment")?,
        };
        trainer.step = record.step;
        trainer.earlier = record.earlier;
        trainer.expected = record.photos;
        Ok(trainer)
    }

    /// The linear part by least squares.
    fn start_linear(&mut self) {
        let EncoderTraining { seed, linear, .. } = self.settings;
        if linear == 0 {
            return;
        }
        let chunks = (0..linear).step_by(256).map(|first| {
            let count = (linear - first).min(256);
            let (w, images) = self.samples(seed, LINEAR + first as u64, count);
            (images, self.units.measure(w))
        });
        let (weight, bias) = linear::fit(chunks);
        let mut parts = self.plan.split(&self.values);
        let device = self.decoder.device();
        let vector = |v: Vec<f32>| {
            let count = v.len();
            Tensor::from_data(TensorData::new(v, [count]), &device)
        };
        parts[0] = vector(weight);
        parts[1] = vector(bias);
        self.values = Tensor::cat(parts, 0);
    }

    /// Writes the state; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Device`] if the numbers cannot be read from the device.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let record = Record {
            settings: self.settings.clone(),
            about: self.about(),
            step: self.step,
            earlier: self.earlier,
            photos: match &self.photos {
                Some(photos) => Some(photos.fingerprint().to_owned()),
                None => self.expected.clone(),
            },
        };
        let record = serde_json::to_string(&record).map_err(|e| malformed(path, e.to_string()))?;
        let vectors = [&self.values, &self.moments.first, &self.moments.second];
        let vectors: Result<Vec<_>> = vectors.into_iter().map(|v| read(v.clone())).collect();
        let vectors = vectors?;
        let shape = [self.plan.count()];
        Arrays::default()
            .metadata(STATE, record)
            .array("values", &shape, &vectors[0])
            .array("first_moment", &shape, &vectors[1])
            .array("second_moment", &shape, &vectors[2])
            .write(path)
    }

    /// One step on fresh samples, or on photos.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if a training on photos goes on without them, [`Error::Malformed`] if a photo
    /// cannot be read any more;
    /// [`Error::Diverged`] if the loss is not finite: the step is not made. [`Error::OutOfMemory`]
    /// if the device's memory is full: what was saved before is good, the trainer itself may not be.
    pub fn step(&mut self) -> Result<EncoderProgress> {
        guarded(|| self.one_step())
    }

    fn one_step(&mut self) -> Result<EncoderProgress> {
        let leaves: Vec<Tensor<1>> = self
            .plan
            .split(&self.values)
            .into_iter()
            .map(|part| part.autodiff().require_grad())
            .collect();
        let (loss, cosine) = self.loss(&leaves)?;
        let value = f64::from(read(loss.clone().inner())?[0]);
        if !value.is_finite() {
            let step = self.step;
            return Err(Error::Diverged { step, loss: value });
        }
        let gradients = loss.backward();
        let gradients = leaves.iter().map(|leaf| {
            leaf.grad(&gradients)
                .unwrap_or_else(|| leaf.clone().inner().zeros_like())
        });
        let gradient = Tensor::cat(gradients.collect(), 0);
        let rate = self.settings.learning_rate_at(self.step);
        let values = self.values.clone();
        let moved = Adam::default().step(&mut self.moments, values.clone(), gradient, rate);
        // The linear part starts near its optimum, and its many inputs rise and fall together: a
        // step of Adam, which moves every weight, would throw the latent far off.
        let end = self
            .plan
            .places()
            .next()
            .map_or(0, |(_, [_, bias])| bias.end);
        let linear = values.clone().slice_dim(0, 0..end);
        let towards = moved.clone().slice_dim(0, 0..end);
        let linear = linear.clone() + (towards - linear) * LINEAR_RATE;
        let rest = moved.slice_dim(0, end..self.plan.count());
        self.values = Tensor::cat(vec![linear, rest], 0);
        self.step += 1;
        Ok(EncoderProgress {
            step: self.step,
            images: self.images(),
            loss: value,
            cosine,
        })
    }

    /// The loss of this step's batch and, on samples, the cosine of the latents.
    fn loss(&mut self, leaves: &[Tensor<1>]) -> Result<(Tensor<1>, Option<f64>)> {
        let EncoderTraining { seed, batch, .. } = self.settings;
        if let Some(photos) = &mut self.photos {
            let images = photos.batch(self.decoder, seed, self.step, batch)?;
            let found = self.plan.forward(leaves, images.clone().autodiff());
            return Ok((self.image_loss(found, images), None));
        }
        if self.expected.is_some() {
            return Err(Error::Argument {
                name: "photos",
                reason: "this training is one on photos; it needs them to go on".to_owned(),
            });
        }
        let (w, images) = self.samples(seed, SAMPLES + self.step, batch);
        let found = self.plan.forward(leaves, images.clone().autodiff());
        let target = self.units.measure(w.clone()).autodiff();
        let mut loss = (found.clone() - target).square().mean() * self.settings.latent;
        if self.settings.squared + self.settings.perceptual > 0.0 {
            loss = loss + self.image_loss(found.clone(), images);
        }
        Ok((loss, Some(self.cosine(found.inner(), w))))
    }

    /// Mean cosine of $w - \mu$ and what the network finds, over samples that training never sees.
    pub fn validate(&self, samples: usize) -> f64 {
        let parts = self.plan.split(&self.values);
        let chunks = (0..samples).step_by(32).map(|first| {
            let count = (samples - first).min(32);
            let (w, images) = self.samples(self.settings.seed, VALIDATION + first as u64, count);
            self.cosine(self.plan.forward(&parts, images), w) * count as f64
        });
        chunks.sum::<f64>() / samples.max(1) as f64
    }

    /// The encoder as it is.
    pub fn encoder(&self) -> Encoder {
        Encoder {
            about: self.about(),
            plan: self.plan.clone(),
            parts: self.units.fold(self.plan.split(&self.values)),
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &EncoderTraining {
        &self.settings
    }

    /// Steps made.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Whether all steps are made.
    pub fn is_finished(&self) -> bool {
        self.step >= self.settings.steps()
    }

    /// Samples seen, those of an encoder it started from included.
    pub fn images(&self) -> u64 {
        self.earlier + self.step * self.settings.batch as u64
    }

    fn about(&self) -> About {
        About {
            version: VERSION,
            settings: self.settings.network,
            generator: self.generator.clone(),
            fingerprint: self.decoder.fingerprint(),
            shape: self.decoder.shape(),
            w_dim: self.decoder.w_dim(),
            images: self.images(),
        }
    }

    /// Latents and their images.
    fn samples(&self, seed: u64, stream: u64, count: usize) -> (Tensor<2>, Tensor<4>) {
        let z_dim = self.decoder.z_dim();
        let z = normals(&mut rng(seed, stream), count * z_dim);
        let z = TensorData::new(z, [count, z_dim]);
        let w = self
            .decoder
            .map(Tensor::from_data(z, &self.decoder.device()));
        let ws = broadcast(w.clone(), self.decoder.num_ws());
        (w, self.decoder.decode(ws, None))
    }

    fn image_loss(&self, found: Tensor<2>, images: Tensor<4>) -> Tensor<1> {
        let w = self.units.latent(found);
        let made = self
            .decoder
            .decode(broadcast(w, self.decoder.num_ws()), None);
        let difference = made.clone() - images.clone().autodiff();
        let mut loss = difference.square().mean() * self.settings.squared;
        if let Some(lpips) = &self.lpips {
            let target = lpips.features(to_256(images));
            let distance = lpips.distance(&lpips.features(to_256(made)), &target);
            loss = loss + distance.mean() * self.settings.perceptual;
        }
        loss
    }

    fn cosine(&self, found: Tensor<2>, w: Tensor<2>) -> f64 {
        let centre = |w: Tensor<2>| w - self.units.mean.clone();
        let (a, b) = (centre(self.units.latent(found)), centre(w));
        let dot = |a: &Tensor<2>, b: &Tensor<2>| (a.clone() * b.clone()).sum_dim(1);
        let cosine = dot(&a, &b) / ((dot(&a, &a) * dot(&b, &b)).sqrt() + 1e-12);
        f64::from(crate::floats(cosine.mean())[0])
    }
}
