//! Age and sex estimated from a photo.
//!
//! The networks are Cydral Technology's `dnn_age_predictor_v1` and `dnn_gender_classifier_v1` (CC0, in the
//! repository of models beside dlib); the weights are part of this crate in half precision.

mod network;

use std::fmt;

use burn::tensor::Device;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::chip::{cut, tensor};
use crate::align::Landmarks;
use crate::error::{Error, Result};
use crate::floats;
use crate::photo::Photo;
use network::{AgeNetwork, SexNetwork};

/// Both networks; see `assets/README.md`.
const WEIGHTS: &[u8] = include_bytes!("../../../assets/age_sex_f16.safetensors");
/// What the square shows around the mean face, in parts of it.
const PADDING: f64 = 0.2;
/// The years that the first class stands for; the others stand for their number.
const FIRST_CLASS: f64 = 0.25;

/// What the photos' label calls sex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
}

/// What two networks make of a face. An estimate from a picture, not a record: see [`AgeSex`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgeSexEstimate {
    /// The mean of the network's distribution over 0 to 80 years.
    pub age: f64,
    /// Its standard deviation, in years: how sure the network is, not how right.
    pub age_sd: f64,
    /// The probability that the photo would be labelled male.
    pub male_probability: f64,
}

impl AgeSexEstimate {
    /// The more probable label.
    pub fn sex(&self) -> Sex {
        if self.male_probability > 0.5 {
            Sex::Male
        } else {
            Sex::Female
        }
    }

    /// From the networks' probabilities.
    fn of(years: &[f32], sexes: &[f32]) -> Self {
        let age_of = |k: usize| if k == 0 { FIRST_CLASS } else { k as f64 };
        let moment = |power: i32| -> f64 {
            let terms = years.iter().enumerate();
            terms
                .map(|(k, &p)| f64::from(p) * age_of(k).powi(power))
                .sum()
        };
        let age = moment(1);
        Self {
            age,
            age_sd: (moment(2) - age * age).max(0.0).sqrt(),
            male_probability: f64::from(sexes[1]),
        }
    }
}

impl fmt::Display for AgeSexEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} years (SD {:.1}), male with probability {:.3}",
            self.age, self.age_sd, self.male_probability
        )
    }
}

/// Estimates age and sex from photos whose landmarks are known.
///
/// The networks see a square around the eyes and the nose, wider than the face's mean shape by a fifth of
/// it on each side, as they were trained. They say what a photo looks like to a network trained on labelled
/// photos. Ages are drawn to the middle: those of old people are underestimated, on one set of official
/// portraits by ten years. Sex is the label that a person would be given from the photo and says nothing of
/// the person. See the page on alignment for what was measured.
///
/// ```
/// use burn::tensor::Device;
/// use latent_inversion::align::Landmarks;
/// use latent_inversion::face::{AgeSex, FaceDetector};
/// use latent_inversion::{Photo, PhotoLimits};
///
/// let device = Device::default();
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/orl/s01_01.png");
/// let photo = Photo::open(path, &PhotoLimits::default())?;
/// let face = &FaceDetector::new(&device)?.detect(&photo)?[0];
/// let landmarks = Landmarks::from_five(face.landmarks)?;
/// let estimate = AgeSex::new(&device)?.estimate(&photo, &landmarks)?;
/// assert!(estimate.male_probability > 0.5 && estimate.age > 18.0);
/// # Ok::<(), latent_inversion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AgeSex {
    age: AgeNetwork,
    sex: SexNetwork,
    batch: usize,
    device: Device,
}

impl AgeSex {
    /// The weights' origin, in words for a report.
    pub const SOURCE: &str = "the networks dnn_age_predictor_v1 and dnn_gender_classifier_v1 (Cydral Technology, dlib-models, CC0)";

    /// With the weights that are part of this crate.
    ///
    /// # Errors
    ///
    /// None with the weights as released.
    pub fn new(device: &Device) -> Result<Self> {
        Self::from_bytes(WEIGHTS, device)
    }

    /// From the bytes of a safetensors file in single or half precision, with the names that
    /// `assets/make_age_sex.py` gives them.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] if a tensor is missing or has another shape or type.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| Error::Weights {
            reason: e.to_string(),
        })?;
        Ok(Self {
            age: AgeNetwork::read(&file, device)?,
            sex: SexNetwork::read(&file, device)?,
            batch: 32,
            device: device.clone(),
        })
    }

    /// How many faces are computed at once, at least 1; 32 unless told.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// The estimate for the face at these landmarks, which are in pixels of the photo.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the face lies outside the photo by more than half of its square's side.
    pub fn estimate(&self, photo: &Photo, landmarks: &Landmarks) -> Result<AgeSexEstimate> {
        let estimates = self.estimate_all(&[(photo, *landmarks)])?;
        Ok(estimates[0])
    }

    /// The estimates for many photos.
    ///
    /// # Errors
    ///
    /// As [`AgeSex::estimate`], with the number of the photo.
    pub fn estimate_all(&self, photos: &[(&Photo, Landmarks)]) -> Result<Vec<AgeSexEstimate>> {
        let mut out = Vec::with_capacity(photos.len());
        for batch in photos.chunks(self.batch) {
            let (mut wide, mut narrow) = (Vec::new(), Vec::new());
            for (photo, landmarks) in batch {
                let k = out.len() + wide.len();
                wide.push(cut(photo, landmarks, AgeNetwork::SIDE, PADDING, k)?);
                narrow.push(cut(photo, landmarks, SexNetwork::SIDE, PADDING, k)?);
            }
            out.extend(self.judge(&wide, &narrow));
        }
        Ok(out)
    }

    /// The estimates for faces cut out already, of 64 and of 32 pixels.
    fn judge(&self, wide: &[Photo], narrow: &[Photo]) -> Vec<AgeSexEstimate> {
        let years = floats(self.age.run(tensor(wide, &self.device)));
        let sexes = floats(self.sex.run(tensor(narrow, &self.device)));
        let years = years.chunks_exact(AgeNetwork::CLASSES);
        years
            .zip(sexes.chunks_exact(2))
            .map(|(years, sexes)| AgeSexEstimate::of(years, sexes))
            .collect()
    }
}

#[cfg(test)]
mod tests;
