//! How like two faces are, by a network that tells persons apart.
//!
//! The network is dlib's `dlib_face_recognition_resnet_model_v1` (Davis King, CC0) as `face-api` ships it, with most
//! weights in 8 bits; they are part of this crate.

use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::chip::{cut, tensor};
use super::residual::{self, Block, Layer};
use crate::align::Landmarks;
use crate::error::{Error, Result};
use crate::floats;
use crate::photo::Photo;

/// See `assets/README.md`.
const WEIGHTS: &[u8] = include_bytes!("../../../assets/identity_u8.safetensors");
/// What the square shows around the mean face, in parts of it.
const PADDING: f64 = 0.25;
/// The side of the pictures it takes.
const SIDE: usize = 150;
/// Numbers of an embedding.
const WIDTH: usize = 128;
/// Channels of the blocks, and whether the block goes down.
const BLOCKS: [(usize, bool); 14] = [
    (32, false),
    (32, false),
    (32, false),
    (64, true),
    (64, false),
    (64, false),
    (64, false),
    (128, true),
    (128, false),
    (128, false),
    (256, true),
    (256, false),
    (256, false),
    (256, true),
];

/// 128 numbers of a face. Those of one person lie together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// The numbers.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// The cosine of the angle between two embeddings: 1 for the same picture.
    pub fn cosine(&self, other: &Self) -> f64 {
        let norms = dot(&self.0, &self.0) * dot(&other.0, &other.0);
        if norms > 0.0 {
            dot(&self.0, &other.0) / norms.sqrt()
        } else {
            0.0
        }
    }

    /// Their Euclidean distance, by which the network was trained: below 0.6 within persons.
    pub fn distance(&self, other: &Self) -> f64 {
        let pairs = self.0.iter().zip(&other.0);
        let squares = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        squares.sum::<f64>().sqrt()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b);
    pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// A network that puts faces of one person close together: what a picture has kept of somebody's identity.
///
/// A measure of pictures, not a means to find out who somebody is: it is less sure of some groups of people
/// than of others, and nothing here looks anybody up.
///
/// ```
/// use burn::tensor::Device;
/// use latent_inversion::align::Landmarks;
/// use latent_inversion::face::{FaceDetector, Identity};
/// use latent_inversion::{Photo, PhotoLimits};
///
/// let device = Device::default();
/// let detector = FaceDetector::new(&device)?;
/// let network = Identity::new(&device)?;
/// let embed = |name: &str| {
///     # let name = format!("{}/../../examples/data/orl/{name}", env!("CARGO_MANIFEST_DIR"));
///     let photo = Photo::open(name, &PhotoLimits::default())?;
///     let landmarks = Landmarks::from_five(detector.detect(&photo)?[0].landmarks)?;
///     network.embed(&photo, &landmarks)
/// };
/// let (first, again, other) = (embed("s01_01.png")?, embed("s01_04.png")?, embed("s10_07.png")?);
/// assert!(first.cosine(&again) > first.cosine(&other));
/// # Ok::<(), latent_inversion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Identity {
    stem: Layer<4>,
    blocks: Vec<Block>,
    dense: Layer<2>,
    batch: usize,
    device: Device,
}

impl Identity {
    /// With the weights that are part of this crate.
    ///
    /// # Errors
    ///
    /// None with the weights as released.
    pub fn new(device: &Device) -> Result<Self> {
        Self::from_bytes(WEIGHTS, device)
    }

    /// From the bytes of a safetensors file with the names that `assets/make_identity.py` gives them.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] if a tensor is missing or has another shape or type.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| Error::Weights {
            reason: e.to_string(),
        })?;
        let convolution =
            |k: usize, shape: [usize; 4]| Layer::read(&file, &format!("conv{k}"), shape, device);
        let stem = convolution(0, [32, 3, 7, 7])?;
        let mut blocks = Vec::with_capacity(BLOCKS.len());
        let mut input = 32;
        for (k, (width, down)) in BLOCKS.into_iter().enumerate() {
            blocks.push(Block {
                first: convolution(2 * k + 1, [width, input, 3, 3])?,
                second: convolution(2 * k + 2, [width, width, 3, 3])?,
                down,
            });
            input = width;
        }
        Ok(Self {
            stem,
            blocks,
            dense: Layer::read(&file, "dense", [WIDTH, input], device)?,
            batch: 8,
            device: device.clone(),
        })
    }

    /// How many faces are computed at once, at least 1; 8 unless told.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// The embedding of the face at these landmarks, which are in pixels of the photo.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the face lies outside the photo by more than half of its square's side.
    pub fn embed(&self, photo: &Photo, landmarks: &Landmarks) -> Result<Embedding> {
        let mut found = self.embed_all(&[(photo, *landmarks)])?;
        Ok(found.remove(0))
    }

    /// The embeddings of many photos.
    ///
    /// # Errors
    ///
    /// As [`Identity::embed`], with the number of the photo.
    pub fn embed_all(&self, photos: &[(&Photo, Landmarks)]) -> Result<Vec<Embedding>> {
        let mut out = Vec::with_capacity(photos.len());
        for batch in photos.chunks(self.batch) {
            let chips: Result<Vec<Photo>> = batch
                .iter()
                .enumerate()
                .map(|(k, (photo, landmarks))| cut(photo, landmarks, SIDE, PADDING, out.len() + k))
                .collect();
            let values = floats(self.run(tensor(&chips?, &self.device)));
            out.extend(values.chunks_exact(WIDTH).map(|v| Embedding(v.to_vec())));
        }
        Ok(out)
    }

    /// # Shapes
    ///
    /// - chips: `[N, 3, 150, 150]`
    /// - output: `[N, 128]`
    fn run(&self, chips: Tensor<4>) -> Tensor<2> {
        self.dense
            .multiply(residual::run(&self.stem, &self.blocks, chips))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photo::PhotoLimits;

    #[derive(Deserialize)]
    struct Case {
        photo: String,
        landmarks: [[f64; 2]; 5],
        embedding: Vec<f32>,
    }

    fn open(name: &str) -> Photo {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        Photo::open(format!("{root}{name}"), &PhotoLimits::default()).unwrap()
    }

    fn cases() -> Vec<Case> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/golden/identity/cases.json"
        );
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// On the reference's own pictures, against weights in single precision; 64 of them ship in half.
    #[test]
    fn embeddings_are_those_of_pytorch() {
        let network = Identity::new(&Device::default()).unwrap();
        let strip = open("tests/golden/identity/chips.png");
        let chips: Vec<Photo> = (0..4)
            .map(|k| {
                let rows = strip.rgb().chunks_exact(3 * strip.width());
                let part = rows.flat_map(|row| &row[3 * k * SIDE..3 * (k + 1) * SIDE]);
                Photo::from_rgb(SIDE, SIDE, part.copied().collect()).unwrap()
            })
            .collect();
        let values = floats(network.run(tensor(&chips, &network.device)));
        for (got, case) in values.chunks_exact(WIDTH).zip(cases()) {
            let (got, want) = (Embedding(got.to_vec()), Embedding(case.embedding));
            assert!(got.distance(&want) < 2e-3, "{}", got.distance(&want));
        }
    }

    #[test]
    fn one_person_is_nearer_than_another() {
        let network = Identity::new(&Device::default()).unwrap().with_batch(3);
        let cases = cases();
        let photos: Vec<Photo> = cases.iter().map(|case| open(&case.photo)).collect();
        let faces: Vec<(&Photo, Landmarks)> = photos
            .iter()
            .zip(&cases)
            .map(|(photo, case)| (photo, Landmarks::from_five(case.landmarks).unwrap()))
            .collect();
        let found = network.embed_all(&faces).unwrap();
        for (k, case) in cases.iter().enumerate() {
            let want = Embedding(case.embedding.clone());
            assert!((found[k].cosine(&found[k]) - 1.0).abs() < 1e-6);
            // Where the square leaves the photo it is extended in another way.
            let own = found[k].distance(&want);
            assert!(own < 0.3, "{}: {own}", case.photo);
            for other in found.iter().skip(k + 1) {
                assert!(found[k].distance(other) > 0.6);
            }
        }
        let nothing = Embedding(vec![0.0; WIDTH]);
        assert!(nothing.cosine(&found[0]).abs() < 1e-12);
        assert!(Identity::from_bytes(&WEIGHTS[..99], &network.device).is_err());
        let error = Identity::from_bytes(super::super::WEIGHTS, &network.device).unwrap_err();
        assert!(error.to_string().contains("`conv0.weight`"), "{error}");
    }
}
