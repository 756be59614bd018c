//! The models that are compared.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::data::StudyData;

/// A model of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelKind {
    /// Cox model of age and sex.
    AgeSex,
    /// Cox model of the clinical covariates.
    Clinical,
    /// Penalised Cox model of the latents in W.
    FaceW,
    /// Penalised Cox model of the latents in W+.
    FaceWPlus,
    /// Cox model of principal components of W.
    PcaCox,
    /// `DeepSurv` on W (feature `deep`).
    DeepSurv,
    /// Cox model of two out-of-fold log risks, the face's and the clinical one's.
    LateFusion,
    /// The same with age and sex in place of the clinical covariates.
    LateFusionAgeSex,
    /// Penalised Cox model of W with the clinical covariates unpenalised.
    EarlyFusion,
}

impl ModelKind {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 9] = [
        Self::AgeSex,
        Self::Clinical,
        Self::FaceW,
        Self::FaceWPlus,
        Self::PcaCox,
        Self::DeepSurv,
        Self::LateFusionAgeSex,
        Self::LateFusion,
        Self::EarlyFusion,
    ];

    /// The name in files, as `models.use` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AgeSex => "age_sex",
            Self::Clinical => "clinical",
            Self::FaceW => "face_w",
            Self::FaceWPlus => "face_w_plus",
            Self::PcaCox => "pca_cox",
            Self::DeepSurv => "deep_surv",
            Self::LateFusion => "late_fusion",
            Self::LateFusionAgeSex => "late_fusion_age_sex",
            Self::EarlyFusion => "early_fusion",
        }
    }

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::AgeSex => "Age and sex",
            Self::Clinical => "Clinical",
            Self::FaceW => "Face (W, penalised Cox)",
            Self::FaceWPlus => "Face (W+, penalised Cox)",
            Self::PcaCox => "Face (principal components, Cox)",
            Self::DeepSurv => "Face (DeepSurv)",
            Self::LateFusion => "Face and clinical (late fusion)",
            Self::LateFusionAgeSex => "Face, age and sex (late fusion)",
            Self::EarlyFusion => "Face and clinical (early fusion)",
        }
    }

    /// Whether the data and this build have what it needs.
    pub fn possible(self, data: &StudyData) -> bool {
        let some =
            |design: &Option<super::Design>| design.as_ref().is_some_and(|d| !d.names().is_empty());
        match self {
            Self::AgeSex => some(&data.age_sex),
            Self::Clinical => some(&data.clinical),
            Self::FaceW | Self::PcaCox => data.w.is_some(),
            Self::DeepSurv => data.w.is_some() && cfg!(feature = "deep"),
            Self::FaceWPlus => data.w_plus.is_some(),
            Self::LateFusion | Self::EarlyFusion => data.w.is_some() && some(&data.clinical),
            Self::LateFusionAgeSex => data.w.is_some() && some(&data.age_sex),
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// How models are fitted and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StudyModels {
    /// Which models; all that the data allow where none is named.
    #[serde(rename = "use")]
    pub kinds: Vec<ModelKind>,
    /// Mixing parameters of the penalised models to choose from: 0 ridge, 1 lasso.
    pub alphas: Vec<f64>,
    /// Lambdas per path.
    pub n_lambda: usize,
    /// Smallest lambda as a share of the largest.
    pub lambda_min_ratio: f64,
    /// Numbers of principal components to choose from.
    pub components: Vec<usize>,
}

impl Default for StudyModels {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            alphas: vec![0.0, 0.5],
            n_lambda: 50,
            lambda_min_ratio: 0.01,
            components: vec![4, 8, 16, 32, 64, 128],
        }
    }
}

/// How performance is estimated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Validation {
    /// Outer folds.
    pub outer_folds: usize,
    /// Inner folds.
    pub inner_folds: usize,
    /// Repeats of the nested cross-validation with other outer folds.
    pub repeats: usize,
    /// Bootstrap replicates behind every interval.
    pub bootstraps: usize,
    /// Of those, how many refit the calibration curves.
    pub calibration_bootstraps: usize,
    /// Repetitions of the whole procedure on permuted outcomes (0: none).
    pub permutations: usize,
    /// Confidence level.
    pub level: f64,
    /// Times at which risks are judged; the quartiles of the event times where none is given.
    pub horizons: Vec<f64>,
    /// Groups with fewer rows are not shown.
    pub min_rows: usize,
    /// Nor those with fewer events.
    pub min_events: usize,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            outer_folds: 5,
            inner_folds: 5,
            repeats: 3,
            bootstraps: 1000,
            calibration_bootstraps: 200,
            permutations: 20,
            level: 0.95,
            horizons: Vec::new(),
            min_rows: 20,
            min_events: 10,
        }
    }
}
