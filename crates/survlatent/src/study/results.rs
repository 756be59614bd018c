//! The figures of a study: the content of `report.json`.

use serde::{Deserialize, Serialize};

use super::interval::Interval;
use super::models::{ModelKind, StudyModels, Validation};

/// Everything a study found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyReport {
    /// Title of the study.
    pub title: String,
    /// Version of this program.
    pub version: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Unit of time.
    pub time_unit: String,
    /// Models and their settings.
    pub settings: StudyModels,
    /// The other settings: columns, photos, proof.
    pub study: super::StudySettings,
    /// How they were judged.
    pub validation: Validation,
    /// SHA-256 of the files read, by role.
    pub inputs: Vec<Input>,
    /// Who was left out, step by step.
    pub exclusions: Vec<Exclusion>,
    /// How well photos were inverted, where the study starts from photos.
    pub inversion: Option<InversionFigures>,
    /// Who was studied.
    pub cohort: CohortFigures,
    /// Covariates that are estimates from the photos, not records.
    pub estimated: Vec<EstimatedColumn>,
    /// Every model on the same folds.
    pub models: Vec<ModelFigures>,
    /// What the face adds; in JSON an object by comparison, `late_fusion_over_clinical`.
    #[serde(with = "super::account::increments")]
    pub increment: Vec<Increment>,
    /// The whole procedure on permuted outcomes.
    pub permutation_null: Option<NullFigures>,
    /// Risk groups of the model in the foreground.
    pub risk_groups: Option<RiskGroupFigures>,
    /// The curves that the page draws.
    pub curves: super::CurveFigures,
    /// Hazard ratios of the clinical covariates, fitted to everybody (not out of fold).
    pub clinical_model: Vec<HazardRatio>,
    /// The health direction.
    pub direction: Option<DirectionFigures>,
    /// How stable the pictures of the direction are, where there are pictures.
    pub pictures: Option<super::PictureFigures>,
    /// Which part of the picture the direction changes.
    pub saliency: Option<crate::proof::SaliencyFigures>,
    /// Whether the outcome goes with something in the photos that no generated portrait shows.
    pub shortcut: Option<crate::proof::ShortcutFigures>,
    /// What the pixels of face and background say by themselves.
    pub region_models: Option<crate::proof::RegionModels>,
    /// What covering or swapping a part of the photos does to the face model's risk.
    pub occlusion: Vec<super::OcclusionFigures>,
    /// Parts that this study has not, and why.
    pub absent: Vec<super::Absent>,
    /// Models by subgroup.
    pub subgroups: Vec<SubgroupFigures>,
    /// Models fitted to one diagnosis at a time, beside those fitted to all.
    pub diagnoses: Vec<DiagnosisFigures>,
    /// What was planted, in a simulated cohort.
    pub truth: Option<TruthFigures>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// The model card, from the figures above.
    pub model_card: Vec<CardItem>,
    /// The TRIPOD+AI checklist.
    pub tripod_ai: Vec<super::ChecklistItem>,
}

/// One line of the model card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardItem {
    /// What it is about.
    pub item: String,
    /// What there is to say.
    pub text: String,
}

/// A covariate estimated from the photos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EstimatedColumn {
    /// Its name.
    pub column: String,
    /// What it is an estimate of.
    pub what: super::PhotoEstimate,
    /// What estimated it.
    pub by: String,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What it is.
    pub role: String,
    /// Its name without folders.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// One step of the flow diagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// Why rows were left out.
    pub reason: String,
    /// How many.
    pub rows: usize,
    /// How many were left afterwards.
    pub left: usize,
    /// The first of them, where the study asks for identifiers (`report.ids`).
    pub examples: Vec<String>,
}

/// How well photos were inverted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InversionFigures {
    /// The generator.
    pub network: String,
    /// How latents were found.
    pub method: String,
    /// Steps of optimisation.
    pub steps: usize,
    /// Faces to be inverted.
    pub photos: usize,
    /// Those that were.
    pub inverted: usize,
    /// Those whose latents are to be trusted.
    pub trusted: usize,
    /// Whether the others were left out of the study.
    pub untrusted_left_out: bool,
    /// LPIPS between photo and picture of W+.
    pub lpips: Quantiles,
    /// LPIPS between photo and picture of w.
    pub lpips_w: Quantiles,
    /// Peak signal-to-noise ratio of the picture of W+, in dB.
    pub psnr: Quantiles,
    /// The same for the picture of w.
    pub psnr_w: Quantiles,
    /// Mahalanobis distance of w from the mean latent.
    pub mahalanobis: Quantiles,
    /// Median and 99th percentile of that distance of the network's own latents.
    pub mahalanobis_of_network: [f64; 2],
    /// Correlation of the planted log hazard at the latents found and at the true ones, in a simulated
    /// cohort.
    pub correlation_with_truth: Option<f64>,
}

/// A distribution; absent where there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// 5th percentile.
    pub p5: Option<f64>,
    /// 25th percentile.
    pub p25: Option<f64>,
    /// Median.
    pub median: Option<f64>,
    /// 75th percentile.
    pub p75: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
}

/// Size and follow-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CohortFigures {
    /// Rows (photos).
    pub rows: usize,
    /// Patients.
    pub patients: usize,
    /// Rows with the event.
    pub events: usize,
    /// Patients with the event, in any of their rows.
    pub patients_with_event: usize,
    /// Median survival by Kaplan-Meier; late entry is respected.
    pub median_survival: Option<f64>,
    /// Median follow-up by reverse Kaplan-Meier; late entry is respected.
    pub median_follow_up: Option<f64>,
    /// Columns of the latents in W.
    pub latents: usize,
    /// Covariates.
    pub covariates: Vec<CovariateFigures>,
}

/// One covariate of the cohort table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CovariateFigures {
    /// Its name.
    pub name: String,
    /// Whether it is 0 or 1: its mean is then a share.
    pub indicator: bool,
    /// Mean; absent for an indicator that would tell of a group too small to be shown.
    pub mean: Option<f64>,
    /// Standard deviation; absent where the mean is.
    pub sd: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

/// How well a model predicts rows it has not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFigures {
    /// Its name in files.
    pub name: ModelKind,
    /// Its name in words.
    pub title: String,
    /// Why there are no figures, where it could not be fitted.
    pub failed: Option<String>,
    /// Harrell's concordance within folds.
    pub harrell: Option<Interval>,
    /// Uno's concordance within folds, up to the last time of the grid.
    pub uno: Option<Interval>,
    /// Mean cumulative/dynamic AUC over the grid.
    pub auc: Option<Interval>,
    /// AUC at each time of the grid.
    pub auc_over_time: Vec<TimeFigure>,
    /// Integrated Brier score over the grid.
    pub ibs: Option<Interval>,
    /// The same of a prediction that knows nobody, Kaplan-Meier's.
    pub ibs_reference: Option<f64>,
    /// Brier score at each time of the grid.
    pub brier_over_time: Vec<TimeFigure>,
    /// Calibration slope of the log risk; 1 is right, below it predictions are too extreme. Limits by a
    /// bootstrap over patients.
    pub calibration_slope: Option<Interval>,
    /// Calibration at each horizon.
    pub calibration: Vec<CalibrationFigures>,
    /// Share of the score's variance owed to the choice of training rows, which widens intervals.
    pub noise: f64,
    /// What the folds chose, with how often.
    pub chosen: Vec<String>,
}

/// A figure at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimeFigure {
    /// The time.
    pub time: f64,
    /// The figure.
    #[serde(flatten)]
    pub value: Interval,
}

/// Calibration at a horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationFigures {
    /// The horizon.
    pub time: f64,
    /// Integrated calibration index: mean distance of predicted and smoothed observed risk.
    pub ici: Interval,
    /// Largest distance.
    pub emax: f64,
    /// Mean predicted risk.
    pub predicted: f64,
    /// Observed risk by Kaplan-Meier.
    pub observed: Option<f64>,
    /// Log of the observed over the predicted cumulative hazard up to the horizon; 0 is right, above it
    /// risks are too low.
    pub intercept: Option<Interval>,
    /// Coefficient of the complementary log-log of the predicted risk in a Cox model of the time up to
    /// the horizon; 1 is right, below it risks are too extreme.
    pub slope: Option<Interval>,
}

/// What the face adds to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Increment {
    /// The model without the face.
    pub base: ModelKind,
    /// The model with it.
    pub with_face: ModelKind,
    /// Gain in Harrell's concordance.
    pub harrell: Option<Interval>,
    /// Gain in Uno's concordance.
    pub uno: Option<Interval>,
    /// Fall of the integrated Brier score.
    pub ibs: Option<Interval>,
    /// The test of the face's out-of-fold log risk beside the base's covariates.
    pub test: IncrementTest,
    /// Its statistic; absent where the model cannot be fitted.
    pub chi_squared: Option<f64>,
    /// Its degrees of freedom.
    pub df: f64,
    /// Its p value, the statistic divided by `1 + noise` of the face's score.
    pub p: Option<f64>,
    /// Hazard ratio of one standard deviation of the face's out-of-fold log risk in that model.
    pub hazard_ratio_per_sd: Option<f64>,
    /// Why there is no test, where there is none.
    pub note: Option<String>,
}

/// How what the face adds is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncrementTest {
    /// Likelihood ratio of two Cox models; patients have one row each.
    LikelihoodRatio,
    /// Wald test with a variance that sums over the rows of each patient.
    RobustWald,
}

impl IncrementTest {
    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::LikelihoodRatio => "likelihood ratio",
            Self::RobustWald => "Wald, by patient",
        }
    }
}

/// The procedure on permuted outcomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NullFigures {
    /// The model.
    pub model: ModelKind,
    /// Harrell's concordance of the study's first repeat: permutations have one repeat, too.
    pub observed: f64,
    /// Harrell's concordances.
    pub harrell: Vec<f64>,
    /// Their mean; absent, as what follows, where the model could be fitted to no permutation.
    pub mean: Option<f64>,
    /// Smallest.
    pub min: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// Share of them, the data's counted in, that reach the data's.
    pub p: Option<f64>,
    /// How many of their intervals contain 0.5.
    pub intervals_with_half: usize,
    /// Permutations on which the model could not be fitted; they are in no figure.
    pub failed: usize,
}

/// Out-of-fold risk groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskGroupFigures {
    /// The model.
    pub model: ModelKind,
    /// The groups, from the lowest risk.
    pub groups: Vec<GroupFigures>,
    /// Whether the test is the Cox model's score test with the rows of each patient summed, in place of
    /// the log-rank test, which takes rows as independent.
    pub by_patient: bool,
    /// Log-rank statistic.
    pub chi_squared: Option<f64>,
    /// Its degrees of freedom.
    pub df: Option<usize>,
    /// Its p value.
    pub p: Option<f64>,
}

/// One risk group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupFigures {
    /// Its name.
    pub name: String,
    /// Rows.
    pub rows: usize,
    /// Events.
    pub events: usize,
    /// Median survival.
    pub median: Option<f64>,
}

/// A hazard ratio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HazardRatio {
    /// The covariate.
    pub name: String,
    /// The ratio with its limits.
    pub ratio: Interval,
    /// p value.
    pub p: f64,
}

/// The direction of health.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirectionFigures {
    /// What the model of all patients chose.
    pub chosen: String,
    /// Mean correlation of the scores of two folds' models; absent where no fold fitted the face model.
    pub agreement: Option<f64>,
    /// Length in latent units of the step that halves the hazard.
    pub step_for_half_hazard: f64,
    /// Covariates held fixed by the other two directions.
    pub condition: Vec<String>,
    /// What the model with these covariates chose; absent where it could not be fitted.
    pub adjusted_chosen: Option<String>,
    /// Correlation of the scores of the adjusted direction's model with those of the first; absent where
    /// nothing is left of the face at fixed covariates.
    pub adjusted_correlation: Option<f64>,
    /// Correlation of its scores with the planted ones: the cosine in the whitened metric.
    pub cosine_with_truth: Option<f64>,
    /// What that step does to what the latents say of each covariate.
    pub leakage: Vec<Leakage>,
}

/// What halving the hazard along each direction changes in a covariate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leakage {
    /// The covariate.
    pub name: String,
    /// Whether it is held fixed by the adjusted and the conditional direction.
    pub held: bool,
    /// Share of its variance that a prediction from the latents explains in patients it was not fitted
    /// to; below 0 the prediction is worse than the mean, and the changes beside say little.
    pub r_squared: f64,
    /// Change of its prediction, in standard deviations of the prediction.
    pub unconditional: f64,
    /// The same along the direction of the model with the covariates in it.
    pub adjusted: Option<f64>,
    /// The same along that direction projected off the covariates' predictions.
    pub conditional: Option<f64>,
}

/// Models within one level of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubgroupFigures {
    /// The column.
    pub column: String,
    /// The level.
    pub level: String,
    /// Why nothing is shown, where nothing is.
    pub hidden: Option<String>,
    /// Rows; absent where the group is not shown.
    pub rows: Option<usize>,
    /// Patients; absent likewise.
    pub patients: Option<usize>,
    /// Patients with the event; absent likewise.
    pub events: Option<usize>,
    /// Harrell's concordance of each model.
    pub harrell: Vec<SubgroupConcordance>,
}

/// One diagnosis by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosisFigures {
    /// The diagnosis.
    pub level: String,
    /// Why nothing is shown, where nothing is.
    pub hidden: Option<String>,
    /// Rows; absent where the diagnosis is not shown.
    pub rows: Option<usize>,
    /// Patients; absent likewise.
    pub patients: Option<usize>,
    /// Patients with the event; absent likewise.
    pub events: Option<usize>,
    /// Why no model was fitted to this diagnosis alone, where none could be.
    pub failed: Option<String>,
    /// Harrell's concordance of each model within the diagnosis.
    pub models: Vec<DiagnosisConcordance>,
    /// What the face adds within the diagnosis.
    pub increment: Vec<DiagnosisIncrement>,
}

/// One model in one diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosisConcordance {
    /// The model.
    pub model: ModelKind,
    /// Fitted to patients of this diagnosis alone.
    pub own: Option<Interval>,
    /// Fitted to patients of all diagnoses.
    pub all: Option<Interval>,
}

/// What the face adds in one diagnosis, as a gain in Harrell's concordance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosisIncrement {
    /// The model without the face.
    pub base: ModelKind,
    /// The model with it.
    pub with_face: ModelKind,
    /// Both fitted to patients of this diagnosis alone.
    pub own: Option<Interval>,
    /// p value of the test of the face beside the base's covariates in these.
    pub p: Option<f64>,
    /// Both fitted to patients of all diagnoses.
    pub all: Option<Interval>,
}

/// One model in one subgroup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubgroupConcordance {
    /// The model.
    pub model: ModelKind,
    /// Its concordance.
    pub harrell: Interval,
}

/// What was planted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TruthFigures {
    /// Expected concordance of the perfect face score.
    pub face: f64,
    /// Of age and sex.
    pub clinical: f64,
    /// Of both.
    pub face_and_clinical: f64,
    /// Of everything, a shortcut included.
    pub all: f64,
}
