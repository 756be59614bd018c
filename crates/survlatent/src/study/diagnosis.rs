//! Each diagnosis by itself: models fitted within it, beside those of the whole cohort.

use std::sync::atomic::{AtomicBool, Ordering};

use super::data::StudyData;
use super::interval::Interval;
use super::judge::judge;
use super::predict::{OutOfFoldPredictions, Step};
use super::results::{
    DiagnosisConcordance, DiagnosisFigures, DiagnosisIncrement, Increment, ModelFigures,
};
use super::subgroups::cells;
use super::{ModelKind, Study};
use crate::error::Result;

/// Figures of all models, and what the face adds.
type Judged = (Vec<ModelFigures>, Vec<Increment>);

/// What [`diagnoses`] will tell `step` of.
pub(super) fn steps(study: &Study, data: &StudyData) -> usize {
    let v = &study.validation;
    let shown = data.diagnosis.iter().flat_map(|d| cells(data, d, v));
    let shown = shown.filter(|c| c.hidden.is_none()).count();
    shown * (v.repeats * v.outer_folds + 2 * v.bootstraps)
}

pub(super) fn diagnoses(
    study: &Study,
    data: &StudyData,
    predictions: &OutOfFoldPredictions,
    step: &Step<'_>,
) -> Result<Vec<DiagnosisFigures>> {
    let Some(groups) = &data.diagnosis else {
        return Ok(Vec::new());
    };
    let mut out = Vec::new();
    for cell in cells(data, groups, &study.validation) {
        let shown = cell.hidden.is_none();
        let mut figures = DiagnosisFigures {
            level: cell.level,
            rows: shown.then_some(cell.rows.len()),
            patients: shown.then_some(cell.patients),
            events: shown.then_some(cell.events),
            hidden: cell.hidden,
            failed: None,
            models: Vec::new(),
            increment: Vec::new(),
        };
        if shown {
            let part = data.select(&cell.rows)?;
            let mut own = study.clone();
            // Horizons are the cohort's; a diagnosis may be over before them.
            own.validation.horizons.clear();
            own.validation.calibration_bootstraps = 0;
            let seen = predictions.of_rows(&cell.rows);
            let all = judge(&part, &seen, &own.validation, &[], study.seed, step)?;
            let refitted = match refit(&own, &part, step)? {
                Ok(found) => found,
                Err(reason) => {
                    figures.failed = Some(reason);
                    Judged::default()
                }
            };
            fill(&mut figures, &all, &refitted);
        }
        out.push(figures);
    }
    Ok(out)
}

/// The study of one diagnosis, or why there is none; an error where `step` has stopped it.
fn refit(
    study: &Study,
    part: &StudyData,
    step: &Step<'_>,
) -> Result<std::result::Result<Judged, String>> {
    let stopped = AtomicBool::new(false);
    let step = || step().inspect_err(|_| stopped.store(true, Ordering::Relaxed));
    let found = study
        .predict(part, &step)
        .and_then(|own| study.judge(part, &own, &step));
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(error) if stopped.load(Ordering::Relaxed) => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn fill(figures: &mut DiagnosisFigures, all: &Judged, own: &Judged) {
    let harrell = |judged: &Judged, kind: ModelKind| -> Option<Interval> {
        judged.0.iter().find(|m| m.name == kind)?.harrell
    };
    for kind in ModelKind::ALL {
        let (all, own) = (harrell(all, kind), harrell(own, kind));
        if all.is_some() || own.is_some() {
            figures.models.push(DiagnosisConcordance {
                model: kind,
                own,
                all,
            });
        }
    }
    let gain = |judged: &Judged, of: &Increment| -> Option<Increment> {
        let same = |g: &&Increment| (g.base, g.with_face) == (of.base, of.with_face);
        judged.1.iter().find(same).cloned()
    };
    let mut seen: Vec<(ModelKind, ModelKind)> = Vec::new();
    for one in all.1.iter().chain(&own.1) {
        if seen.contains(&(one.base, one.with_face)) {
            continue;
        }
        seen.push((one.base, one.with_face));
        let (all, own) = (gain(all, one), gain(own, one));
        figures.increment.push(DiagnosisIncrement {
            base: one.base,
            with_face: one.with_face,
            p: own.as_ref().and_then(|g| g.p),
            own: own.and_then(|g| g.harrell),
            all: all.and_then(|g| g.harrell),
        });
    }
}
