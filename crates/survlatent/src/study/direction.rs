//! The direction of health of the whole cohort, at fixed covariates too, and how clean it is.

use latent_attribute::{Attribute, FeatureMap, HealthDirection, LatentRisk, LatentSpace};

use super::data::{Design, StudyData};
use super::fold::{Fitted, Training};
use super::leakage::{Predictor, moments, predictors};
use super::results::Leakage;
use super::{ModelKind, Study};
use crate::error::Result;
use crate::latents::{Latents, Values};

/// The direction of the face model fitted to everybody.
#[derive(Debug, Clone)]
pub struct StudyDirection {
    /// Unconditional.
    pub direction: HealthDirection,
    /// Coefficients of the log hazard by the latent.
    pub coef: Vec<f64>,
    /// What was chosen.
    pub chosen: String,
    /// Covariates held fixed by the other two.
    pub condition: Vec<String>,
    /// Of the model with these covariates in it, unpenalised; absent where nothing of the face is left
    /// beside them.
    pub adjusted: Option<HealthDirection>,
    /// The coefficients of its latents; absent where it could not be fitted.
    pub adjusted_coef: Option<Vec<f64>>,
    /// What it chose.
    pub adjusted_chosen: Option<String>,
    /// The adjusted direction projected, in the metric of the latents' covariance, off the gradients of
    /// these covariates' predictions.
    pub conditional: Option<HealthDirection>,
    /// What halving the hazard does to covariates.
    pub leakage: Vec<Leakage>,
}

pub(super) fn fit(study: &Study, data: &StudyData) -> Result<Option<StudyDirection>> {
    let Some(latents) = &data.w else {
        return Ok(None);
    };
    let rows: Vec<usize> = (0..data.n()).collect();
    let inner = study.validation.inner_folds;
    let training = Training::new(data, &study.models, &data.surv, rows, inner, study.seed)?;
    let (_, fitted) = training.fit(&[ModelKind::FaceW]).swap_remove(0);
    // A face model that cannot be fitted has no direction; why is said with the models.
    let Ok(fitted) = fitted else {
        return Ok(None);
    };
    let coef = fitted.coef.unwrap_or_default();
    let Some(direction) = weights(latents.p(), &coef)? else {
        return Ok(None);
    };
    let known = data.covariates();
    let held = data.condition.clone().or_else(|| known.clone());
    let held = held.filter(|d| !d.names().is_empty());
    let columns = match (&held, known) {
        (Some(held), Some(known)) => held.clone().beside(&known),
        (Some(held), None) => held.clone(),
        (None, known) => known.unwrap_or_default(),
    };
    let condition = held.as_ref().map_or(&[][..], Design::names).to_vec();
    let adjusted_fit: Option<Fitted> = held.as_ref().and_then(|h| training.adjusted(h).ok());
    let adjusted_coef = adjusted_fit.as_ref().and_then(|f| f.coef.clone());
    let adjusted = match &adjusted_coef {
        Some(coef) => weights(latents.p(), coef)?,
        None => None,
    };
    let predictors = if columns.names().is_empty() {
        Vec::new()
    } else {
        predictors(study, data, latents, &columns)?
    };
    let attributes = predictors
        .iter()
        .filter(|p| condition.contains(&p.name) && p.varies())
        .map(|p| Ok(Attribute::new(p.name.clone(), &p.gradient)?))
        .collect::<Result<Vec<_>>>()?;
    // More covariates than the latents have directions leave none.
    let conditional = adjusted
        .as_ref()
        .and_then(|d| project(d, &attributes, latents));
    let change = |d: Option<&HealthDirection>, p: &Predictor| d.map(|d| p.change(d)).transpose();
    let leakage = predictors
        .iter()
        .map(|p| {
            Ok(Leakage {
                name: p.name.clone(),
                held: condition.contains(&p.name),
                r_squared: p.r_squared,
                unconditional: p.change(&direction)?,
                adjusted: change(adjusted.as_ref(), p)?,
                conditional: change(conditional.as_ref(), p)?,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Some(StudyDirection {
        direction,
        coef,
        chosen: fitted.chosen,
        condition,
        adjusted,
        adjusted_coef,
        adjusted_chosen: adjusted_fit.map(|f| f.chosen),
        conditional,
        leakage,
    }))
}

/// The direction of coefficients, if they are not all 0.
fn weights(dim: usize, coef: &[f64]) -> Result<Option<HealthDirection>> {
    if coef.iter().all(|b| b.abs() <= 0.0) {
        return Ok(None);
    }
    let risk = LatentRisk::from_cox(LatentSpace::W { dim }, coef, FeatureMap::identity(dim))?;
    Ok(Some(risk.weights()?))
}

fn project(
    direction: &HealthDirection,
    attributes: &[Attribute],
    latents: &Latents,
) -> Option<HealthDirection> {
    let n = latents.n();
    match latents.values() {
        Values::F32(v) => direction.conditioned_in_data(attributes, v, n),
        Values::F64(v) => direction.conditioned_in_data(attributes, v, n),
    }
    .ok()
}

/// 0 where one side does not vary.
pub(super) fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let ((ma, sa), (mb, sb)) = (moments(a), moments(b));
    let products = a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb));
    let covariance = products.sum::<f64>() / a.len() as f64;
    if sa > 0.0 && sb > 0.0 {
        covariance / (sa * sb)
    } else {
        0.0
    }
}
