//! Finding faces and five landmarks of each: MTCNN.
//!
//! Zhang, Zhang, Li and Qiao 2016, "Joint face detection and alignment using multitask cascaded
//! convolutional networks". The weights, part of this crate in half precision, and the conventions
//! are those of PyPI's `facenet-pytorch` 2.6.0. With the feature `age-sex` also what age and sex a face seems
//! to have, with `identity` how like two faces are.

#[cfg(feature = "age-sex")]
mod age_sex;
mod area;
mod boxes;
mod cascade;
#[cfg(any(feature = "age-sex", feature = "identity"))]
mod chip;
#[cfg(feature = "identity")]
mod identity;
mod network;
#[cfg(any(feature = "age-sex", feature = "identity"))]
mod residual;
mod settings;

use burn::tensor::Device;
use safetensors::SafeTensors;

#[cfg(feature = "age-sex")]
pub use age_sex::{AgeSex, AgeSexEstimate, Sex};
#[cfg(feature = "identity")]
pub use identity::{Embedding, Identity};
pub use settings::DetectorSettings;

use crate::error::{Error, Result};
use network::{Judge, Proposals};

/// The three networks; see `assets/README.md`.
const WEIGHTS: &[u8] = include_bytes!("../../assets/mtcnn_f16.safetensors");

/// A face in a photo; coordinates are in pixels, the centre of the first pixel being (0, 0).
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    /// Left, top, right, bottom.
    pub bounds: [f64; 4],
    /// The last network's probability that this is a face.
    pub probability: f64,
    /// x and y of the left and the right eye, the tip of the nose, the left and the right corner of
    /// the mouth; left is the viewer's.
    pub landmarks: [[f64; 2]; 5],
}

impl Face {
    /// The mean of the box's sides.
    pub fn side(&self) -> f64 {
        let [left, top, right, bottom] = self.bounds;
        f64::midpoint(right - left, bottom - top)
    }
}

/// The cascade, ready to use.
///
/// ```
/// use burn::tensor::Device;
/// use latent_inversion::{Photo, face::FaceDetector};
///
/// let detector = FaceDetector::new(&Device::default())?;
/// let wall = Photo::from_rgb(64, 64, vec![200; 64 * 64 * 3])?;
/// assert!(detector.detect(&wall)?.is_empty());
/// # Ok::<(), latent_inversion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FaceDetector {
    settings: DetectorSettings,
    proposals: Proposals,
    refinement: Judge,
    output: Judge,
    device: Device,
}

impl FaceDetector {
    /// With the weights that are part of this crate.
    ///
    /// # Errors
    ///
    /// None with the weights as released.
    pub fn new(device: &Device) -> Result<Self> {
        Self::from_bytes(WEIGHTS, device)
    }

    /// From the bytes of a safetensors file in single or half precision, with the names of
    /// facenet-pytorch after `pnet.`, `rnet.` and `onet.`.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] if a tensor is missing or has another shape or type.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| Error::Weights {
            reason: e.to_string(),
        })?;
        Ok(Self {
            settings: DetectorSettings::default(),
            proposals: Proposals::read(&file, device)?,
            refinement: Judge::refinement(&file, device)?,
            output: Judge::output(&file, device)?,
            device: device.clone(),
        })
    }

    /// With other settings.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if one is out of its range.
    pub fn with_settings(mut self, settings: DetectorSettings) -> Result<Self> {
        settings.check()?;
        self.settings = settings;
        Ok(self)
    }

    /// The settings.
    pub fn settings(&self) -> &DetectorSettings {
        &self.settings
    }
}
