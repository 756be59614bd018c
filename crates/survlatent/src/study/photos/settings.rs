//! What a study file says about its photos.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How photos become latents: the table `[photos]` of a study file. It counts where `data.photos`
/// is set and `data.latents` is not, and for simulated portraits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhotoSettings {
    /// Whether faces are searched for and cut out; false where `survlatent align` did it before.
    pub align: bool,
    /// Whether the largest face is taken where others are of similar size, instead of none.
    pub largest: bool,
    /// The generator's file; without it, or with `shipped`, the one that ships, faces of 64 pixels. With
    /// `data.latents` it says which generator they belong to, and there are no pictures without it.
    pub network: Option<PathBuf>,
    /// The encoder's file.
    pub encoder: Option<PathBuf>,
    /// Thousands of the generator's samples on which an encoder is trained where none is named; 0
    /// is none.
    pub train_encoder: f64,
    /// How latents are found; without it `default` where there is an encoder and `hybrid` where
    /// there is none.
    pub method: Option<PhotoMethod>,
    /// Steps of optimisation in all; without it the method's own.
    pub steps: Option<usize>,
    /// Photos computed at once; results do not depend on it.
    pub batch: usize,
    /// Whether photos whose inversion is not to be trusted are left out.
    pub drop_untrusted: bool,
    /// What is estimated from the photos because the table lacks it, `age`, `sex` or both: covariates
    /// `age_estimated` and `male_estimated` in the part of `columns.age` and `columns.sex`. Needs
    /// `data.photos` and the feature `age-sex`.
    pub estimate: Vec<PhotoEstimate>,
}

impl Default for PhotoSettings {
    fn default() -> Self {
        Self {
            align: true,
            largest: false,
            network: None,
            encoder: None,
            train_encoder: 0.0,
            method: None,
            steps: None,
            batch: 8,
            drop_untrusted: false,
            estimate: vec![],
        }
    }
}

impl PhotoSettings {
    /// What is to be estimated, each once, in order.
    pub(in super::super) fn estimates(&self) -> Vec<PhotoEstimate> {
        let mut wanted = self.estimate.clone();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }
}

/// What can be estimated from a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhotoEstimate {
    /// Age in years.
    Age,
    /// Sex as a person would be labelled from the photo.
    Sex,
}

impl PhotoEstimate {
    /// As study files name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Sex => "sex",
        }
    }

    /// The name of the covariate: years, or 1 for male and 0 for female.
    pub fn column(self) -> &'static str {
        match self {
            Self::Age => "age_estimated",
            Self::Sex => "male_estimated",
        }
    }
}

/// How the latents of a photo are found; see the page on inversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhotoMethod {
    /// The encoder's latent, then short optimisations of W and W+.
    Default,
    /// The encoder's latent alone.
    Encoder,
    /// W from the mean latent, then W+ tied to it.
    Hybrid,
    /// The published projector of `StyleGAN2`: W from the mean latent, with noise images.
    Projector,
}
