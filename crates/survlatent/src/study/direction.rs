//! The direction of health of the whole cohort, and how clean it is.

use latent_attribute::{
    Attribute, FeatureMap, HealthDirection, LatentRisk, LatentSpace, PcaConfig,
};

use super::data::StudyData;
use super::fold::Training;
use super::results::Leakage;
use super::{ModelKind, Study};
use crate::error::Result;
use crate::latents::{Latents, Values};

/// The direction of the face model fitted to everybody.
#[derive(Debug, Clone)]
pub struct StudyDirection {
    /// Unconditional.
    pub direction: HealthDirection,
    /// Orthogonal to the gradients of all covariates' predictions, where there are some.
    pub conditional: Option<HealthDirection>,
    /// Coefficients of the log hazard by the latent.
    pub coef: Vec<f64>,
    /// What was chosen.
    pub chosen: String,
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
    if coef.iter().all(|b| b.abs() <= 0.0) {
        return Ok(None);
    }
    let dim = latents.p();
    let risk = LatentRisk::from_cox(LatentSpace::W { dim }, &coef, FeatureMap::identity(dim))?;
    let direction = risk.weights()?;
    let columns = covariates(data);
    let gradients = gradients(latents, &columns)?;
    let attributes = columns
        .iter()
        .zip(&gradients)
        .filter(|(_, g)| g.iter().any(|v| v.abs() > 0.0))
        .map(|((name, _), g)| Ok(Attribute::new(name.clone(), g)?))
        .collect::<Result<Vec<_>>>()?;
    // More covariates than the latents have directions leave none.
    let conditional = if attributes.is_empty() {
        None
    } else {
        direction.conditioned_on(&attributes).ok()
    };
    let mut leakage = Vec::new();
    for ((name, values), gradient) in columns.iter().zip(&gradients) {
        let predicted: Vec<f64> = (0..data.n())
            .map(|i| (0..dim).map(|j| latents.get(i, j) * gradient[j]).sum())
            .collect();
        let spread = moments(&predicted).1;
        let change = |d: &HealthDirection| -> Result<f64> {
            let step = d.step_for_hazard_ratio(0.5)?;
            let moved: f64 = d
                .unit()
                .iter()
                .zip(gradient)
                .map(|(u, g)| u * step * g)
                .sum();
            Ok(if spread > 0.0 { moved / spread } else { 0.0 })
        };
        leakage.push(Leakage {
            name: name.clone(),
            r_squared: correlation(&predicted, values).powi(2),
            unconditional: change(&direction)?,
            conditional: conditional.as_ref().map_or(Ok(0.0), change)?,
        });
    }
    Ok(Some(StudyDirection {
        direction,
        conditional,
        coef,
        chosen: fitted.chosen,
        leakage,
    }))
}

/// Clinical covariates, and of age and sex what is not among them.
fn covariates(data: &StudyData) -> Vec<(String, Vec<f64>)> {
    let mut out: Vec<(String, Vec<f64>)> = Vec::new();
    for design in [&data.clinical, &data.age_sex].into_iter().flatten() {
        for (j, name) in design.names().iter().enumerate() {
            if out.iter().all(|(known, _)| known != name) {
                out.push((name.clone(), design.column(j).to_vec()));
            }
        }
    }
    out
}

/// Least squares of each covariate on the leading principal components, as a gradient by the latent:
/// `sum_k v_k cov(score_k, z) / variance_k`.
fn gradients(latents: &Latents, columns: &[(String, Vec<f64>)]) -> Result<Vec<Vec<f64>>> {
    let (n, p) = (latents.n(), latents.p());
    let count = (n / 20).clamp(1, 64).min(p).min(n - 1);
    let settings = PcaConfig::default().with_components(count);
    let (pca, scores) = match latents.values() {
        Values::F32(v) => {
            let pca = settings.fit(v, n, p)?;
            let scores = pca.transform(v)?;
            (pca, scores)
        }
        Values::F64(v) => {
            let pca = settings.fit(v, n, p)?;
            let scores = pca.transform(v)?;
            (pca, scores)
        }
    };
    let width = pca.output_dim();
    let of = |values: &Vec<f64>| {
        let mean = moments(values).0;
        let mut gradient = vec![0.0; p];
        for k in 0..width {
            let cov = (0..n)
                .map(|i| scores[i * width + k] * (values[i] - mean))
                .sum::<f64>()
                / (n as f64 - 1.0);
            let slope = cov / pca.explained_variance()[k];
            let component = &pca.components()[k * p..(k + 1) * p];
            gradient
                .iter_mut()
                .zip(component)
                .for_each(|(g, v)| *g += slope * v);
        }
        gradient
    };
    Ok(columns.iter().map(|(_, values)| of(values)).collect())
}

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / n).sqrt())
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
