//! The models that are compared.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::data::StudyData;
use super::networks::{NetworkTraining, PhotoNetwork};

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
    /// ResNet-18 with a linear log risk, trained on the photos (`models.networks`).
    Resnet18,
    /// Cox model of two log risks, that of ResNet-18 and that of the clinical covariates.
    Resnet18Fusion,
    /// VGG-16 with a linear log risk, trained on the photos (`models.networks`).
    Vgg16,
    /// Cox model of two log risks, that of VGG-16 and that of the clinical covariates.
    Vgg16Fusion,
}

impl ModelKind {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 13] = [
        Self::AgeSex,
        Self::Clinical,
        Self::FaceW,
        Self::FaceWPlus,
        Self::PcaCox,
        Self::DeepSurv,
        Self::Resnet18,
        Self::Vgg16,
        Self::LateFusionAgeSex,
        Self::LateFusion,
        Self::EarlyFusion,
        Self::Resnet18Fusion,
        Self::Vgg16Fusion,
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
            Self::Resnet18 => "resnet18",
            Self::Resnet18Fusion => "resnet18_fusion",
            Self::Vgg16 => "vgg16",
            Self::Vgg16Fusion => "vgg16_fusion",
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
            Self::Resnet18 => "Photo (ResNet-18, end to end)",
            Self::Resnet18Fusion => "ResNet-18 and clinical (late fusion)",
            Self::Vgg16 => "Photo (VGG-16, end to end)",
            Self::Vgg16Fusion => "VGG-16 and clinical (late fusion)",
        }
    }

    /// The network it is trained by or rests on, if any.
    pub fn network(self) -> Option<PhotoNetwork> {
        PhotoNetwork::ALL
            .into_iter()
            .find(|n| n.model() == self || n.fusion() == self)
    }

    /// Whether the data and this build have what it needs; for networks, beside the photos.
    pub fn possible(self, data: &StudyData) -> bool {
        let some =
            |design: &Option<super::Design>| design.as_ref().is_some_and(|d| !d.names().is_empty());
        match self {
            Self::AgeSex => some(&data.age_sex),
            Self::Clinical | Self::Resnet18Fusion | Self::Vgg16Fusion => some(&data.clinical),
            Self::FaceW | Self::PcaCox => data.w.is_some(),
            Self::DeepSurv => data.w.is_some() && cfg!(feature = "deep"),
            Self::FaceWPlus => data.w_plus.is_some(),
            Self::LateFusion | Self::EarlyFusion => data.w.is_some() && some(&data.clinical),
            Self::LateFusionAgeSex => data.w.is_some() && some(&data.age_sex),
            Self::Resnet18 | Self::Vgg16 => true,
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
    /// Networks trained end to end on the photos, beside the other models: the slow part.
    pub networks: Vec<PhotoNetwork>,
    /// How they are trained.
    pub training: NetworkTraining,
}

impl StudyModels {
    /// The networks of `networks`, and those of which a model is named in `use`.
    pub fn wanted_networks(&self) -> Vec<PhotoNetwork> {
        let wanted = |n: &PhotoNetwork| {
            let named = self.kinds.iter().filter_map(|k| k.network());
            self.networks.iter().copied().chain(named).any(|m| m == *n)
        };
        PhotoNetwork::ALL.into_iter().filter(wanted).collect()
    }

    /// The first key out of its range, and what it should be.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let ratio = self.lambda_min_ratio;
        match self {
            m if m.alphas.is_empty() => Some(("models.alphas", "needs a value")),
            m if !m.alphas.iter().all(|alpha| (0.0..=1.0).contains(alpha)) => {
                Some(("models.alphas", "must lie in [0, 1]"))
            }
            m if m.n_lambda == 0 => Some(("models.n_lambda", "must be at least 1")),
            _ if !(ratio > 0.0 && ratio < 1.0) => {
                Some(("models.lambda_min_ratio", "must lie between 0 and 1"))
            }
            m if m.components.is_empty() => Some(("models.components", "needs a value")),
            m if m.components.contains(&0) => Some(("models.components", "must be at least 1")),
            _ => None,
        }
    }
}

impl Default for StudyModels {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            alphas: vec![0.0, 0.5],
            n_lambda: 50,
            lambda_min_ratio: 0.01,
            components: vec![4, 8, 16, 32, 64, 128],
            networks: Vec::new(),
            training: NetworkTraining::default(),
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
    /// Groups with fewer patients are not shown, and no model is fitted to them.
    #[serde(alias = "min_rows")]
    pub min_patients: usize,
    /// Nor those in which fewer patients have the event.
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
            min_patients: 20,
            min_events: 10,
        }
    }
}
