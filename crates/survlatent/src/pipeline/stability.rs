//! Bootstrap refits: which coefficients come back, and how far the direction turns.

use cox_survival::{CoxPath, CvFit, Resampling, Surv};
use latent_attribute::{FeatureMap, HealthDirection, LatentRisk, LatentSpace, direction_stability};

use rayon::prelude::*;

use super::cox_on_latents::CoxOnLatents;
use super::report::{DirectionReport, StableCoefficient};
use crate::error::Result;
use crate::latents::{Latents, Values};

/// Coefficients listed in the report.
const LISTED: usize = 10;

pub(super) struct Stability {
    pub(super) coefficients: Vec<StableCoefficient>,
    pub(super) weights: Option<DirectionReport>,
    pub(super) pattern: Option<DirectionReport>,
}

/// A latent matrix as it lies in memory.
pub(super) enum Slice<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

pub(super) fn with_values<T>(latents: &Latents, f: impl FnOnce(Slice<'_>) -> T) -> T {
    match latents.values() {
        Values::F32(v) => f(Slice::F32(v)),
        Values::F64(v) => f(Slice::F64(v)),
    }
}

/// Refits the chosen model to resampled patients (drawn within events and censored).
pub(super) fn bootstrap(
    study: &CoxOnLatents,
    surv: &Surv,
    latents: &Latents,
    model: &CvFit,
    directions: Option<&(HealthDirection, HealthDirection)>,
    step: &(dyn Fn() -> Result<()> + Sync),
) -> Result<Stability> {
    let x = latents.covariates()?;
    let (n, p) = (x.n(), x.p());
    let k = model.index_min();
    // A warm start from the top of the path; a ridge is solved directly.
    let alpha = model.path().alpha();
    let lambda = model.lambda();
    let along = if alpha > 0.0 {
        lambda[..=k].to_vec()
    } else {
        vec![lambda[k]]
    };
    let path = CoxPath::new().alpha(alpha).lambdas(along);
    let resampling = Resampling::rows(n).within(surv.event())?;
    let refits: Vec<Vec<f64>> = (0..study.bootstraps as u64)
        .into_par_iter()
        .map(|replicate| {
            let rows = resampling.draw(study.seed, replicate);
            let fit = path.fit(&surv.subset(&rows)?, &x.select(&rows)?)?;
            step()?;
            Ok(fit.beta(fit.lambda().len() - 1).dense(p))
        })
        .collect::<Result<_>>()?;
    let coef = model.path().beta(k).dense(p);
    let coefficients = stable_coefficients(latents, &coef, &refits);
    let Some((weights, pattern)) = directions else {
        return Ok(Stability {
            coefficients,
            weights: None,
            pattern: None,
        });
    };
    if refits.is_empty() {
        return Ok(Stability {
            coefficients,
            weights: Some(DirectionReport::new(weights, None)),
            pattern: Some(DirectionReport::new(pattern, None)),
        });
    }
    let towards_health: Vec<Vec<f64>> = refits
        .iter()
        .map(|b| b.iter().map(|v| -v).collect())
        .collect();
    let patterns: Vec<Vec<f64>> = refits
        .par_iter()
        .map(|beta| {
            if beta.iter().all(|b| b.abs() <= 0.0) {
                return Ok(vec![0.0; p]);
            }
            let space = LatentSpace::Features { dim: p };
            let risk = LatentRisk::from_cox(space, beta, FeatureMap::identity(p))?;
            let pattern = with_values(latents, |values| match values {
                Slice::F32(v) => risk.pattern(v, n),
                Slice::F64(v) => risk.pattern(v, n),
            })?;
            Ok(pattern.unit().to_vec())
        })
        .collect::<Result<_>>()?;
    let of = |direction: &HealthDirection, replicates: &[Vec<f64>]| -> Result<DirectionReport> {
        let stability = direction_stability(direction.unit(), replicates, study.level)?;
        Ok(DirectionReport::new(direction, Some(&stability)))
    };
    Ok(Stability {
        coefficients,
        weights: Some(of(weights, &towards_health)?),
        pattern: Some(of(pattern, &patterns)?),
    })
}

/// Coefficients per standard deviation, ordered by how surely their sign comes back.
fn stable_coefficients(
    latents: &Latents,
    coef: &[f64],
    refits: &[Vec<f64>],
) -> Vec<StableCoefficient> {
    let n = latents.n();
    let spread = |j: usize| {
        let column: Vec<f64> = (0..n).map(|i| latents.get(i, j)).collect();
        let mean = column.iter().sum::<f64>() / n as f64;
        (column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt()
    };
    let count = refits.len().max(1) as f64;
    let mut listed: Vec<StableCoefficient> = (0..coef.len())
        .filter(|&j| coef[j].abs() > 0.0)
        .map(|j| {
            let sd = spread(j);
            let values = refits.iter().map(|b| b[j] * sd);
            let mean = values.clone().sum::<f64>() / count;
            let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
            let same = refits.iter().filter(|b| b[j] * coef[j] > 0.0).count() as f64;
            let chosen = refits.iter().filter(|b| b[j].abs() > 0.0).count() as f64;
            StableCoefficient {
                name: latents.names()[j].clone(),
                column: j,
                log_hazard_ratio_per_sd: coef[j] * sd,
                bootstrap_se: variance.sqrt(),
                chosen: (!refits.is_empty()).then_some(chosen / count),
                same_sign: (!refits.is_empty()).then_some(same / count),
            }
        })
        .collect();
    let rank = |c: &StableCoefficient| {
        let size = c.log_hazard_ratio_per_sd.abs();
        (
            c.same_sign.unwrap_or(0.0),
            if c.bootstrap_se > 0.0 {
                size / c.bootstrap_se
            } else {
                size
            },
        )
    };
    listed.sort_by(|a, b| {
        let ((sa, ra), (sb, rb)) = (rank(a), rank(b));
        sb.total_cmp(&sa)
            .then(rb.total_cmp(&ra))
            .then(a.column.cmp(&b.column))
    });
    listed.truncate(LISTED);
    listed
}
