//! A study run in stages, each with an output in the run's folder that a later run takes up.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::account::StudySettings;
use super::figures::Groups;
use super::file::StudyFile;
use super::photos;
use super::read::{self, sha256};
use super::report::{card, checklist, html};
use super::results::{
    DiagnosisFigures, DirectionFigures, HazardRatio, Increment, ModelFigures, StudyReport,
    TruthFigures,
};
use super::{
    OutOfFoldPredictions, Predictions, Study, StudyData, Validation, check, curves, diagnosis,
    directed, exclusions, figures, foreground, proof,
};
use crate::error::{Error, Result};
use crate::output::OutputFile;
use crate::simulate::Truth;

/// Largest side of the pictures that networks see unless the study says otherwise: their papers'.
#[cfg(all(feature = "photos", feature = "deep"))]
const NETWORK_SIDE: usize = 224;

/// What a run tells while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StageEvent<'a> {
    /// A stage's output was there already.
    Resumed {
        /// The stage.
        stage: &'a str,
    },
    /// So much of a stage is done.
    Progress {
        /// The stage.
        stage: &'a str,
        /// Units done.
        done: usize,
        /// Units in all.
        total: usize,
    },
}

/// Hears of every finished unit; `ControlFlow::Break(())` stops the run, which can be taken up again.
pub type StageObserver<'a> = dyn Fn(StageEvent<'_>) -> std::ops::ControlFlow<()> + Sync + 'a;

impl StudyFile {
    /// Runs the study into `folder`, which is made: `report.json`, `index.html`, the directions, the face
    /// model, `exclusions.csv`, and the outputs of the stages. A stage whose inputs are those of an
    /// earlier run is not done again. The same files, settings and seed give the same bytes.
    ///
    /// # Errors
    /// What files and statistics refuse; [`Error::Study`] when the observer stops the run.
    pub fn run(&self, folder: &Path, observer: &StageObserver<'_>) -> Result<StudyReport> {
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            path: folder.to_owned(),
            source,
        })?;
        check::check(self)?;
        let mut file = self.clone();
        let inverted = photos::latents(&mut file, folder, observer)?;
        let estimates = photos::estimates(&mut file, folder, observer)?;
        let cohort = read::cohort(&file, inverted.as_ref(), estimates.as_ref())?;
        let study = self.study();
        let data = &cohort.data;
        // The columns as the estimates have left them: which there are is part of the models.
        let inputs = key(&(&cohort.inputs, &file.columns, &cohort.rows, &study))?;
        let run = Run::new(folder, observer, inputs);
        let kinds = study.kinds(data);
        if kinds.is_empty() && study.models.wanted_networks().is_empty() {
            return Err(Error::Study {
                reason: "there is nothing to model: name data.latents or data.photos, \
                         columns.clinical, or columns.age and columns.sex"
                    .into(),
            });
        }
        let generator = proof::Generator::of(&self.photos, inverted.is_some(), data.w.as_ref())?;
        let v = &study.validation;

        let total = v.repeats * v.outer_folds;
        let predictions = run.stage("1-predictions", total, |step| study.predict(data, step))?;
        let predictions = with_networks(&run, &file, &cohort, inverted.as_ref(), predictions)?;
        let (models, increment) = run.stage("2-figures", v.bootstraps, |step| {
            study.judge(data, &predictions, step)
        })?;
        let null = run.stage("3-null", v.permutations, |step| {
            study.null(data, &predictions, &models, step)
        })?;
        let diagnoses = run.diagnoses(&study, data, &predictions)?;
        let truth = file.truth(data, &cohort.rows)?;
        let network = generator.as_ref().ok().map(proof::Generator::described);
        let about = (network, self.report.time_unit.as_str());
        let found = directed::stage(&run, &study, data, truth.as_ref(), &predictions, about)?;
        let given = proof::Given {
            inverted: inverted.as_ref(),
            directed: found.as_ref(),
            no_direction: &directed::why_none(data, &models),
            generator: generator.as_ref().map_err(String::as_str),
        };
        let (evidence, others) = proof::gather(&run, &file, &study, data, &predictions, &given)?;
        evidence.write(&run)?;
        let front = foreground(&models).and_then(|m| predictions.of(m.name));
        let mut notes = cohort.notes;
        let figures_of = found.as_ref().map(|f| &f.figures);
        notes.extend(told(data, &models, &increment, figures_of));
        let (groups, clinical_model) = of_everybody(data, front, v, &mut notes);
        let km = groups.as_ref().map_or(&[][..], |g| &g.1[..]);
        let horizons = study.horizons(&data.surv)?;
        let curves = curves::curves(data, &models, &predictions, (&horizons, v.level), km)?;
        run.write("exclusions.csv", &exclusions::csv(&cohort.excluded)?)?;
        let mut report = StudyReport {
            title: self.title.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: self.seed,
            time_unit: self.report.time_unit.clone(),
            settings: self.models.clone(),
            study: StudySettings::of(self),
            validation: self.validation.clone(),
            // No stage depends on the study's file: a comment in it changes no figure.
            inputs: cohort
                .inputs
                .into_iter()
                .chain(others)
                .chain(self.source.clone())
                .collect(),
            exclusions: exclusions::shown(cohort.exclusions, self.report.ids),
            inversion: inverted.map(|i| i.figures),
            cohort: figures::cohort(data, v)?,
            estimated: estimates.map_or_else(Vec::new, |e| e.columns()),
            models,
            increment,
            permutation_null: null,
            risk_groups: groups.as_ref().map(|g| g.0.clone()),
            curves,
            clinical_model,
            direction: found.map(|f| f.figures),
            pictures: evidence.pictures,
            saliency: evidence.saliency.clone(),
            shortcut: evidence.shortcut.clone(),
            region_models: evidence.region_models.clone(),
            occlusion: evidence.occlusion.clone(),
            absent: evidence.absent.clone(),
            subgroups: study.subgroups(data, &predictions),
            diagnoses,
            truth: truth.map(|t| planted(&t)),
            notes,
            model_card: Vec::new(),
            tripod_ai: Vec::new(),
        };
        report.model_card = card::card(&report);
        report.tripod_ai = checklist::items(&report);
        let page = html::page(&report, data, &predictions, groups.as_ref(), &evidence);
        run.write("report.json", &crate::json::pretty(&report)?)?;
        run.write("index.html", page.as_bytes())?;
        Ok(report)
    }

    /// What was planted, where the study names it.
    fn truth(&self, data: &StudyData, rows: &[usize]) -> Result<Option<Truth>> {
        let Some(path) = &self.data.truth else {
            return Ok(None);
        };
        let bytes = std::fs::read(path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        let truth: Truth = serde_json::from_slice(&bytes).map_err(|error| {
            let reason = error.to_string();
            Error::Format {
                format: "truth.json",
                reason,
            }
            .in_file(path)
        })?;
        let width = data
            .w
            .as_ref()
            .map_or(truth.direction.len(), crate::Latents::p);
        if truth.direction.len() != width || rows.is_empty() {
            let reason = format!(
                "the direction has {} numbers, latents have {width}",
                truth.direction.len()
            );
            return Err(Error::Study { reason }.in_file(path));
        }
        Ok(Some(truth))
    }
}

/// Risk groups, and the clinical model of everybody; a note in place of what cannot be fitted.
fn of_everybody(
    data: &StudyData,
    front: Option<&Predictions>,
    validation: &Validation,
    notes: &mut Vec<String>,
) -> (Option<Groups>, Vec<HazardRatio>) {
    let mut or_note = |what: &str, error: Error| notes.push(format!("{what}: {error}"));
    let groups = front.and_then(|p| {
        let found = figures::risk_groups(data, p, validation.level);
        found
            .map_err(|e| or_note("there are no risk groups", e))
            .ok()
    });
    let mut clinical = figures::clinical_model(data, validation.level).unwrap_or_else(|e| {
        or_note("the clinical model could not be fitted to everybody", e);
        Vec::new()
    });
    let hidden = figures::hidden(data, validation);
    clinical.retain(|h| !hidden.contains_key(&h.name));
    if !hidden.is_empty() {
        let names: Vec<&str> = hidden.keys().map(String::as_str).collect();
        notes.push(format!(
            "shares and hazard ratios are left out where a group is too small to be shown, or would tell of \
             one that is: {}",
            names.join(", ")
        ));
    }
    (groups, clinical)
}

/// What could not be computed, and why.
fn told(
    data: &StudyData,
    models: &[ModelFigures],
    increment: &[Increment],
    direction: Option<&DirectionFigures>,
) -> Vec<String> {
    let mut notes = Vec::new();
    for model in models.iter().filter(|m| m.failed.is_some()) {
        let reason = model.failed.as_deref().unwrap_or_default();
        notes.push(format!("{} could not be fitted: {reason}", model.title));
    }
    if data.surv.entry().is_some() {
        notes.push(
            "patients enter late (left truncation): Harrell's C, Kaplan-Meier curves, log-rank test, Cox \
             models and calibration compare those under observation at the same time; Uno's C, AUC, Brier \
             score and net benefit need weights that are not defined then and are left out"
                .to_owned(),
        );
    }
    for gain in increment {
        if let Some(reason) = &gain.note {
            let (a, b) = (gain.with_face.title(), gain.base.title());
            notes.push(format!("{a} against {b}: there is no test: {reason}"));
        }
    }
    if let Some(found) = direction
        && !found.condition.is_empty()
        && found.adjusted_correlation.is_none()
    {
        let held = found.condition.join(", ");
        notes.push(match found.adjusted_chosen {
            Some(_) => format!(
                "at fixed {held} the penalised model finds nothing in the face: there is no adjusted \
                 direction"
            ),
            None => format!("the face model with {held} in it could not be fitted"),
        });
    }
    notes
}

fn planted(truth: &Truth) -> TruthFigures {
    TruthFigures {
        face: truth.oracle.face,
        clinical: truth.oracle.clinical,
        face_and_clinical: truth.oracle.face_and_clinical,
        all: truth.oracle.all,
    }
}

/// The predictions and those of the networks that the study asks for.
#[cfg(all(feature = "photos", feature = "deep"))]
fn with_networks(
    run: &Run<'_>,
    file: &StudyFile,
    cohort: &read::Cohort,
    inverted: Option<&photos::Inverted>,
    mut predictions: super::OutOfFoldPredictions,
) -> Result<super::OutOfFoldPredictions> {
    let study = file.study();
    let (Some(inverted), false) = (inverted, study.models.wanted_networks().is_empty()) else {
        return Ok(predictions);
    };
    let (v, training) = (&study.validation, &study.models.training);
    let side = training.side.unwrap_or(inverted.side.min(NETWORK_SIDE));
    // Neither the other models nor what is done with predictions makes a difference to them.
    let how = (training, v.outer_folds, v.inner_folds, side, study.seed);
    let rows = (&cohort.inputs, file.columns.of_models(), &cohort.rows);
    let run = run.with_key(key(&(rows, how))?);
    let pictures = proof::thumbnails(&cohort.data, inverted, side)?;
    super::networks::add(&run, &study, &cohort.data, &pictures, &mut predictions)?;
    Ok(predictions)
}

/// The predictions as they are; a study that asks for networks was refused.
#[cfg(not(all(feature = "photos", feature = "deep")))]
#[expect(clippy::unnecessary_wraps, reason = "as where there are networks")]
fn with_networks(
    _run: &Run<'_>,
    _file: &StudyFile,
    _cohort: &read::Cohort,
    _inverted: Option<&photos::Inverted>,
    predictions: super::OutOfFoldPredictions,
) -> Result<super::OutOfFoldPredictions> {
    Ok(predictions)
}

/// A run's folder, and the stages that depend on the same things.
pub(super) struct Run<'a> {
    folder: &'a Path,
    observer: &'a StageObserver<'a>,
    /// Hash of all that stages depend on.
    key: String,
}

/// What a stage leaves.
#[derive(Serialize, serde::Deserialize)]
struct Envelope<T> {
    inputs: String,
    output: T,
}

impl<'a> Run<'a> {
    /// Each diagnosis by itself, where the study names them.
    fn diagnoses(
        &self,
        study: &Study,
        data: &StudyData,
        predictions: &OutOfFoldPredictions,
    ) -> Result<Vec<DiagnosisFigures>> {
        if data.diagnosis.is_none() {
            return Ok(Vec::new());
        }
        let total = diagnosis::steps(study, data);
        self.stage("3-diagnoses", total, |step| {
            study.diagnoses(data, predictions, step)
        })
    }

    pub(super) fn new(folder: &'a Path, observer: &'a StageObserver<'a>, key: String) -> Self {
        Self {
            folder,
            observer,
            key,
        }
    }

    /// The output of a stage: that of an earlier run with the same inputs, or a new one.
    pub(super) fn stage<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        total: usize,
        work: impl FnOnce(&super::Step<'_>) -> Result<T>,
    ) -> Result<T> {
        if let Some(found) = self.load(name) {
            self.tell(StageEvent::Resumed { stage: name })?;
            return Ok(found);
        }
        let done = AtomicUsize::new(0);
        let step = || {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            self.tell(StageEvent::Progress {
                stage: name,
                done,
                total,
            })
        };
        let output = work(&step)?;
        self.save(name, &output)?;
        Ok(output)
    }

    /// What an earlier run with the same inputs has left under a name.
    pub(super) fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        // A file that cannot be read is as good as none: the stage is done again.
        let bytes = std::fs::read(self.folder.join(format!("{name}.json"))).ok()?;
        let found: Envelope<T> = serde_json::from_slice(&bytes).ok()?;
        (found.inputs == self.key).then_some(found.output)
    }

    /// Leaves something under a name to a later run with the same inputs.
    pub(super) fn save<T: Serialize>(&self, name: &str, output: &T) -> Result<()> {
        let envelope = Envelope {
            inputs: self.key.clone(),
            output,
        };
        let bytes = serde_json::to_vec(&envelope).map_err(|error| Error::Format {
            format: "JSON",
            reason: error.to_string(),
        })?;
        self.write(&format!("{name}.json"), &bytes)
    }

    fn tell(&self, event: StageEvent<'_>) -> Result<()> {
        if (self.observer)(event).is_break() {
            return Err(Error::Study {
                reason: "the run was stopped; run it again to go on".into(),
            });
        }
        Ok(())
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        OutputFile::create(self.folder.join(name))?.write(bytes)
    }

    /// Takes a file away that an earlier run may have left.
    pub(super) fn remove(&self, name: &str) {
        // What is not there need not be removed.
        let _ = std::fs::remove_file(self.folder.join(name));
    }
}

#[cfg(feature = "photos")]
impl<'a> Run<'a> {
    /// The same folder for stages that depend on something else.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn with_key(&self, key: String) -> Run<'a> {
        Run::new(self.folder, self.observer, key)
    }

    /// A folder of its own for each set of inputs, so that nothing of another run is taken or lost.
    pub(super) fn own_folder(&self, name: &str) -> Result<std::path::PathBuf> {
        let path = self.folder.join(format!("{name}-{}", &self.key[..12]));
        std::fs::create_dir_all(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Takes back what was left under a name.
    pub(super) fn forget(&self, name: &str) {
        self.remove(&format!("{name}.json"));
    }

    pub(super) fn progress(&self, stage: &str, done: usize, total: usize) -> Result<()> {
        self.tell(StageEvent::Progress { stage, done, total })
    }
}

/// SHA-256 of what stages depend on: inputs, columns, rows, settings, version.
pub(super) fn key<T: Serialize>(parts: &T) -> Result<String> {
    let bytes =
        serde_json::to_vec(&(env!("CARGO_PKG_VERSION"), parts)).map_err(|error| Error::Format {
            format: "JSON",
            reason: error.to_string(),
        })?;
    Ok(sha256(&bytes))
}
