//! The stage of the direction: what it leaves to the pictures, and its files.

use latent_attribute::HealthDirection;
use serde::{Deserialize, Serialize};

use super::data::StudyData;
use super::face_model::FaceModel;
use super::results::{DirectionFigures, ModelFigures};
use super::stages::Run;
use super::{ModelKind, OutOfFoldPredictions, Study, direction};
use crate::error::Result;
use crate::simulate::Truth;

const STAGE: &str = "4-direction";
/// Files of the run.
const UNCONDITIONAL: &str = "health_direction.safetensors";
const ADJUSTED: &str = "health_direction_adjusted.safetensors";
const CONDITIONAL: &str = "health_direction_conditional.safetensors";
const MODEL: &str = "face_model.json";

/// The direction of a study with its figures.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "photos"),
    expect(
        dead_code,
        reason = "only pictures and saliency need more than the figures"
    )
)]
pub(super) struct Directed {
    pub(super) figures: DirectionFigures,
    pub(super) direction: HealthDirection,
    pub(super) conditional: Option<HealthDirection>,
    pub(super) model: FaceModel,
}

/// The same as a stage keeps it, so that nothing depends on what lies about in the folder.
#[derive(Serialize, Deserialize)]
struct Kept {
    figures: DirectionFigures,
    direction: Vec<u8>,
    adjusted: Option<Vec<u8>>,
    conditional: Option<Vec<u8>>,
    model: FaceModel,
}

/// The direction of the face model fitted to everybody, and its files in the run's folder, which say of
/// what generator and in what unit of time they are; where there is none, those of an earlier run are taken
/// away.
pub(super) fn stage(
    run: &Run<'_>,
    study: &Study,
    data: &StudyData,
    truth: Option<&Truth>,
    predictions: &OutOfFoldPredictions,
    (network, time_unit): (Option<String>, &str),
) -> Result<Option<Directed>> {
    let kept: Option<Kept> = run.stage(STAGE, 1, |step| {
        let found = find(study, data, truth, predictions)?;
        step()?;
        Ok(found)
    })?;
    let Some(mut kept) = kept else {
        for name in [UNCONDITIONAL, ADJUSTED, CONDITIONAL, MODEL] {
            run.remove(name);
        }
        return Ok(None);
    };
    run.write(UNCONDITIONAL, &kept.direction)?;
    for (name, bytes) in [(ADJUSTED, &kept.adjusted), (CONDITIONAL, &kept.conditional)] {
        match bytes {
            Some(bytes) => run.write(name, bytes)?,
            None => run.remove(name),
        }
    }
    kept.model.network = network;
    time_unit.clone_into(&mut kept.model.time_unit);
    run.write(MODEL, &crate::json::pretty(&kept.model)?)?;
    let load = |bytes: &Vec<u8>| HealthDirection::from_bytes(bytes);
    Ok(Some(Directed {
        direction: load(&kept.direction)?,
        conditional: kept.conditional.as_ref().map(load).transpose()?,
        figures: kept.figures,
        model: kept.model,
    }))
}

/// Why a study has no direction, where it has none.
pub(super) fn why_none(data: &StudyData, models: &[ModelFigures]) -> String {
    let failed = models
        .iter()
        .find(|m| m.name == ModelKind::FaceW)
        .and_then(|m| m.failed.as_ref());
    match failed {
        _ if data.w.is_none() => "the study has no latents in W".to_owned(),
        Some(reason) => format!("the face model could not be fitted: {reason}"),
        None => "fitted to everybody, the penalised face model is the empty one: nothing in the latents \
                 was found to go with the outcome"
            .to_owned(),
    }
}

fn find(
    study: &Study,
    data: &StudyData,
    truth: Option<&Truth>,
    predictions: &OutOfFoldPredictions,
) -> Result<Option<Kept>> {
    let (Some(found), Some(w)) = (study.direction(data)?, &data.w) else {
        return Ok(None);
    };
    let horizons = study.horizons(&data.surv)?;
    let Some(model) = FaceModel::of(data, &found.coef, &found.chosen, &horizons)? else {
        return Ok(None);
    };
    let scores = |v: &[f64]| -> Vec<f64> {
        let of = |i: usize| (0..w.p()).map(|j| w.get(i, j) * v[j]).sum();
        (0..w.n()).map(of).collect()
    };
    let face = predictions
        .of(ModelKind::FaceW)
        .filter(|p| p.failed.is_none());
    let own = scores(&found.coef);
    let adjusted = found.adjusted.as_ref().and(found.adjusted_coef.as_ref());
    let figures = DirectionFigures {
        condition: found.condition,
        adjusted_chosen: found.adjusted_chosen,
        adjusted_correlation: adjusted.map(|c| direction::correlation(&own, &scores(c))),
        chosen: found.chosen,
        agreement: face.map(|p| 1.0 - p.noise),
        step_for_half_hazard: found.direction.step_for_hazard_ratio(0.5)?,
        cosine_with_truth: truth.map(|t| direction::correlation(&own, &scores(&t.direction))),
        leakage: found.leakage,
    };
    Ok(Some(Kept {
        figures,
        direction: found.direction.to_bytes()?,
        adjusted: found.adjusted.map(|a| a.to_bytes()).transpose()?,
        conditional: found.conditional.map(|c| c.to_bytes()).transpose()?,
        model,
    }))
}
