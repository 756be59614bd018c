//! Models of faces and of clinical data side by side on the same folds, judged on patients they have
//! not seen, and the report of it.
//!
//! [`StudyFile`] (what `study.toml` says) -> [`run`](StudyFile::run) in stages, each with an output in
//! the run's folder -> [`StudyReport`], as `report.json` and as one HTML page. The statistics are
//! [`Study`] (settings) -> [`predict`](Study::predict) -> [`judge`](Study::judge), on [`StudyData`].

mod account;
mod bands;
mod check;
mod curves;
mod data;
mod diagnosis;
mod directed;
mod direction;
mod exclusions;
mod face_model;
mod figures;
mod file;
mod fold;
mod increment;
mod interval;
mod judge;
mod leakage;
mod models;
mod networks;
mod null;
mod photos;
mod predict;
mod proof;
mod read;
mod recalibrate;
mod report;
mod results;
mod stages;
mod subgroups;

use cox_survival::Surv;
use serde::{Deserialize, Serialize};

pub use account::{Absent, ChecklistItem, ReportPart, StudySettings};
pub use curves::{
    CalibrationCurve, CalibrationPoint, CurveFigures, CurvePoint, DecisionFigure, DecisionFigures,
    KmFigures, KmPoint, RocFigures,
};
pub use data::{Design, StudyData, Subgroups};
pub use direction::StudyDirection;
pub use face_model::{Baseline, FaceModel, HorizonSurvival};
pub use file::{Columns, DataFiles, ProofSettings, ReportSettings, StudyFile};
pub use interval::{Interval, widening};
pub use models::{ModelKind, StudyModels, Validation};
pub use networks::{NetworkTraining, PhotoNetwork};
pub use photos::{PhotoEstimate, PhotoMethod, PhotoSettings};
pub use predict::{OutOfFoldPredictions, Predictions, Step};
pub use proof::{OcclusionFigures, PhotoEdit, PictureFigures};
pub use results::*;
pub use stages::{StageEvent, StageObserver};

use crate::error::{Error, Result};

/// Settings of the statistics of a study.
///
/// ```
/// use survlatent::simulate::PortraitSurv;
/// use survlatent::study::{ModelKind, Study, StudyData, StudyModels, Validation};
/// let cohort = PortraitSurv { n: 120, dim: 4, ..PortraitSurv::default() }.simulate()?;
/// let data = StudyData {
///     surv: cohort.surv()?,
///     patient: (0..120).collect(),
///     w: Some(cohort.latents),
///     w_plus: None,
///     clinical: None,
///     age_sex: None,
///     condition: None,
///     subgroups: vec![],
///     diagnosis: None,
/// };
/// let study = Study {
///     models: StudyModels { kinds: vec![ModelKind::FaceW], ..StudyModels::default() },
///     validation: Validation { repeats: 1, bootstraps: 50, ..Validation::default() },
///     seed: 1,
/// };
/// let predictions = study.predict(&data, &|| Ok(()))?;
/// let (models, _) = study.judge(&data, &predictions, &|| Ok(()))?;
/// assert!(models[0].harrell.unwrap().estimate > 0.55);
/// # Ok::<(), survlatent::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Study {
    /// The models.
    pub models: StudyModels,
    /// How they are judged.
    pub validation: Validation,
    /// Seed of everything random.
    pub seed: u64,
}

impl Study {
    /// The models asked for, or all that the data allow; without networks, which need the photos of a
    /// run ([`StudyFile::run`]).
    pub fn kinds(&self, data: &StudyData) -> Vec<ModelKind> {
        let wanted = |kind: &ModelKind| {
            if self.models.kinds.is_empty() {
                kind.possible(data)
            } else {
                self.models.kinds.contains(kind)
            }
        };
        let of_data = |kind: &ModelKind| kind.network().is_none();
        let all = ModelKind::ALL.into_iter();
        // Whoever names networks alone in `use` wants those alone.
        all.filter(of_data).filter(wanted).collect()
    }

    /// Out-of-fold predictions of every model; `step` hears of every outer fold.
    ///
    /// # Errors
    /// A setting out of its range, a horizon outside follow-up, too few patients or events for the
    /// folds, and what `step` returns. A model that cannot be fitted is no error: it says so.
    pub fn predict(&self, data: &StudyData, step: &Step<'_>) -> Result<OutOfFoldPredictions> {
        self.check()?;
        self.check_events(data.patients(), data.patients_with_event())?;
        let times = self.times(&data.surv)?;
        let kinds = self.kinds(data);
        let validation = &self.validation;
        let repeats = validation.repeats;
        let surv = &data.surv;
        predict::out_of_fold(
            data,
            surv,
            &self.models,
            validation,
            &kinds,
            repeats,
            &times,
            self.seed,
            step,
        )
    }

    /// Figures of every model and what the face adds; `step` hears of every bootstrap replicate.
    ///
    /// # Errors
    /// What the statistics refuse, and what `step` returns.
    pub fn judge(
        &self,
        data: &StudyData,
        predictions: &OutOfFoldPredictions,
        step: &Step<'_>,
    ) -> Result<(Vec<ModelFigures>, Vec<Increment>)> {
        let horizons = self.horizons(&data.surv)?;
        judge::judge(
            data,
            predictions,
            &self.validation,
            &horizons,
            self.seed,
            step,
        )
    }

    /// The foreground model's procedure on permuted outcomes; `step` hears of every permutation.
    ///
    /// # Errors
    /// What the statistics refuse, and what `step` returns.
    pub fn null(
        &self,
        data: &StudyData,
        predictions: &OutOfFoldPredictions,
        models: &[ModelFigures],
        step: &Step<'_>,
    ) -> Result<Option<NullFigures>> {
        let front = foreground(models).and_then(|m| predictions.of(m.name));
        match front {
            // A network would be trained anew on every permutation.
            Some(own) if self.validation.permutations > 0 && own.model.network().is_none() => {
                null::null(
                    data,
                    &self.models,
                    &self.validation,
                    (&predictions.folds, own),
                    &self.times(&data.surv)?,
                    self.seed,
                    step,
                )
            }
            _ => Ok(None),
        }
    }

    /// Models within each level of the subgroup columns.
    pub fn subgroups(
        &self,
        data: &StudyData,
        predictions: &OutOfFoldPredictions,
    ) -> Vec<SubgroupFigures> {
        subgroups::subgroups(data, predictions, &self.validation)
    }

    /// Models fitted to each diagnosis by itself, beside what the models of all diagnoses, whose
    /// predictions these are, reach in it; `step` hears of every outer fold and bootstrap replicate. A
    /// diagnosis to which none can be fitted says why.
    ///
    /// # Errors
    /// What the statistics refuse, and what `step` returns.
    pub fn diagnoses(
        &self,
        data: &StudyData,
        predictions: &OutOfFoldPredictions,
        step: &Step<'_>,
    ) -> Result<Vec<DiagnosisFigures>> {
        diagnosis::diagnoses(self, data, predictions, step)
    }

    /// Harrell's concordance of a model within folds with an interval from influence values; a
    /// quick look beside [`Study::judge`].
    ///
    /// # Errors
    /// What the statistics refuse; a model without predictions.
    pub fn concordance(
        &self,
        surv: &Surv,
        patient: &[u32],
        predictions: &OutOfFoldPredictions,
        model: ModelKind,
    ) -> Result<Interval> {
        let own = predictions.of(model).ok_or_else(|| Error::Study {
            reason: format!("there are no predictions of `{}`", model.name()),
        })?;
        let rows: Vec<usize> = (0..surv.n()).collect();
        null::quick_harrell(
            surv,
            &predictions.folds,
            own,
            &rows,
            patient,
            self.validation.level,
        )
    }

    /// The direction of the face model fitted to everybody.
    ///
    /// # Errors
    /// What the statistics refuse.
    pub fn direction(&self, data: &StudyData) -> Result<Option<StudyDirection>> {
        direction::fit(self, data)
    }

    /// The times at which risks are judged.
    ///
    /// # Errors
    /// A horizon outside follow-up.
    pub fn horizons(&self, surv: &Surv) -> Result<Vec<f64>> {
        if self.validation.horizons.is_empty() {
            let events = event_times(surv);
            let mut out: Vec<f64> = [0.25, 0.5, 0.75]
                .iter()
                .map(|&p| rounded(interval::quantile(&events, p)))
                .filter(|&t| t < last_time(surv) && t >= events[0])
                .collect();
            out.dedup_by(|a, b| a.total_cmp(b).is_eq());
            return Ok(out);
        }
        let mut out = self.validation.horizons.clone();
        out.sort_unstable_by(f64::total_cmp);
        out.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let (first, last) = (event_times(surv)[0], last_time(surv));
        match out.iter().find(|t| !(**t >= first && **t < last)) {
            None => Ok(out),
            Some(bad) => Err(Error::Study {
                reason: format!(
                    "horizon {bad} lies outside follow-up: the first event is at {first}, the last \
                     time {last}"
                ),
            }),
        }
    }

    /// The grid of predictions: quantiles of the event times while a tenth is at risk, and the
    /// horizons.
    fn times(&self, surv: &Surv) -> Result<Vec<f64>> {
        let events = event_times(surv);
        let mut leaving = surv.time().to_vec();
        leaving.sort_unstable_by(f64::total_cmp);
        let end = interval::quantile(&leaving, 0.9);
        let mut times: Vec<f64> = (1..16u8)
            .map(|k| interval::quantile(&events, f64::from(k) / 16.0))
            .filter(|&t| t <= end && t < last_time(surv))
            .collect();
        times.extend(self.horizons(surv)?);
        times.sort_unstable_by(f64::total_cmp);
        times.dedup_by(|a, b| a.total_cmp(b).is_eq());
        if times.is_empty() {
            return Err(Error::Study {
                reason: "no event lies before the end of follow-up".into(),
            });
        }
        Ok(times)
    }

    /// Refuses events of too few patients: every outer fold must hold one with the event.
    fn check_events(&self, patients: usize, with_event: usize) -> Result<()> {
        let folds = self.validation.outer_folds;
        let reason = match with_event {
            0 => "no patient has the event".to_owned(),
            1 => format!("all events are of one of the {patients} patients: nothing can be learnt"),
            k if k < folds => format!(
                "{k} of {patients} patients have the event, fewer than validation.outer_folds = \
                 {folds}: a fold would hold none"
            ),
            _ => return Ok(()),
        };
        Err(Error::Study { reason })
    }

    fn check(&self) -> Result<()> {
        let v = &self.validation;
        let fault = match v {
            v if v.repeats == 0 => Some(("validation.repeats", "must be at least 1")),
            v if v.outer_folds < 2 => Some(("validation.outer_folds", "must be at least 2")),
            v if v.inner_folds < 2 => Some(("validation.inner_folds", "must be at least 2")),
            v if v.bootstraps < 2 => Some(("validation.bootstraps", "must be at least 2")),
            v if !(v.level > 0.0 && v.level < 1.0) => {
                Some(("validation.level", "must lie between 0 and 1"))
            }
            v if v.horizons.iter().any(|t| !(t.is_finite() && *t > 0.0)) => {
                Some(("validation.horizons", "must be positive"))
            }
            _ => self.models.fault(),
        };
        match fault {
            None => self.models.training.validate(),
            Some((name, expected)) => Err(Error::Study {
                reason: format!("{name} {expected}"),
            }),
        }
    }
}

/// The model that groups, pictures and the null are about: the first of face, fusion, any.
pub(crate) fn foreground(models: &[ModelFigures]) -> Option<&ModelFigures> {
    let sound = |m: &&ModelFigures| m.harrell.is_some();
    let named = |kind: ModelKind| models.iter().filter(sound).find(|m| m.name == kind);
    named(ModelKind::FaceW)
        .or_else(|| named(ModelKind::FaceWPlus))
        .or_else(|| named(ModelKind::PcaCox))
        .or_else(|| models.iter().find(|m| m.harrell.is_some()))
}

/// Event times, ascending; at least one, as a [`Surv`] has.
fn event_times(surv: &Surv) -> Vec<f64> {
    let rows = (0..surv.n()).filter(|&i| surv.event()[i]);
    let mut times: Vec<f64> = rows.map(|i| surv.time()[i]).collect();
    times.sort_unstable_by(f64::total_cmp);
    times
}

fn last_time(surv: &Surv) -> f64 {
    surv.time().iter().copied().fold(0.0, f64::max)
}

/// To two significant digits, as a person would choose a horizon.
fn rounded(t: f64) -> f64 {
    if t.is_nan() || t <= 0.0 {
        return t;
    }
    let unit = 10f64.powf(t.log10().floor() - 1.0);
    // Through text, so that 0.3 is the nearest number to 0.3.
    let text = format!("{:e}", (t / unit).round() * unit);
    let value: f64 = text.parse().unwrap_or(t);
    format!("{value:.10}").parse().unwrap_or(value)
}

#[cfg(test)]
mod condition_tests;
#[cfg(test)]
mod diagnosis_tests;
#[cfg(test)]
mod entry_tests;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod tests;
