//! Out-of-fold predictions of all models on the same folds.

use std::collections::BTreeMap;

use cox_survival::{Folds, Surv};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::data::StudyData;
use super::fold::{Fitted, Training};
use super::models::{ModelKind, StudyModels, Validation};
use crate::error::{Error, Result};

/// What one model says of rows it has not seen, in every repeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predictions {
    /// The model.
    pub model: ModelKind,
    /// Why there are none, where the model could not be fitted in some fold.
    pub failed: Option<String>,
    /// Log risk of every row in every repeat, less the mean of its model's training rows.
    pub risk: Vec<Vec<f64>>,
    /// Predicted log cumulative hazard at the times, `[rows, times]`, averaged over repeats.
    pub log_hazard: Vec<f64>,
    /// Where a row's risk lies among those of its model's training rows, 0 to 1, averaged.
    pub percentile: Vec<f64>,
    /// What each fold chose.
    pub chosen: Vec<String>,
    /// Share of the risk's variance that is owed to the choice of training rows; see
    /// [`widening`](super::widening).
    pub noise: f64,
    /// Coefficients of each fold's model where it is linear in the latents; not kept in files.
    #[serde(skip)]
    pub coef: Vec<Vec<f64>>,
}

/// Predictions of all models, and the folds and times they share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutOfFoldPredictions {
    /// Fold of every row in every repeat.
    pub folds: Vec<Vec<u32>>,
    /// The times at which survival is predicted, ascending.
    pub times: Vec<f64>,
    /// The models.
    pub models: Vec<Predictions>,
}

impl OutOfFoldPredictions {
    /// The predictions of a model that has some.
    pub fn of(&self, model: ModelKind) -> Option<&Predictions> {
        self.models
            .iter()
            .find(|p| p.model == model && p.failed.is_none())
    }

    /// What is said of some of the rows.
    pub(super) fn of_rows(&self, rows: &[usize]) -> Self {
        let m = self.times.len();
        let numbers =
            |v: &[f64]| -> Vec<f64> { rows.iter().filter_map(|&i| v.get(i).copied()).collect() };
        let some = |p: &Predictions| Predictions {
            risk: p.risk.iter().map(|r| numbers(r)).collect(),
            log_hazard: rows
                .iter()
                .filter_map(|&i| p.log_hazard.get(i * m..(i + 1) * m))
                .flatten()
                .copied()
                .collect(),
            percentile: numbers(&p.percentile),
            ..p.clone()
        };
        Self {
            folds: self
                .folds
                .iter()
                .map(|fold| rows.iter().map(|&i| fold[i]).collect())
                .collect(),
            times: self.times.clone(),
            models: self.models.iter().map(some).collect(),
        }
    }
}

impl Predictions {
    /// Risk of every row, averaged over repeats.
    pub fn mean_risk(&self) -> Vec<f64> {
        let n = self.risk.first().map_or(0, Vec::len);
        let count = self.risk.len() as f64;
        (0..n)
            .map(|i| self.risk.iter().map(|r| r[i]).sum::<f64>() / count)
            .collect()
    }

    /// Predicted survival `[rows, times]`.
    pub fn survival(&self) -> Vec<f64> {
        self.log_hazard.iter().map(|h| (-h.exp()).exp()).collect()
    }
}

/// Hears how many of how many trainings are done and can stop the work.
pub type Step<'a> = dyn Fn() -> Result<()> + Sync + 'a;

/// One outer fold: per model its predictions for all rows, and log hazards at the times.
type Part = Vec<(ModelKind, std::result::Result<(Fitted, Vec<f64>), String>)>;

/// Nested cross-validation of `kinds` on the outcome `surv`, which may be another than the data's.
#[expect(clippy::too_many_arguments, reason = "the whole of a study")]
pub(super) fn out_of_fold(
    data: &StudyData,
    surv: &Surv,
    models: &StudyModels,
    validation: &Validation,
    kinds: &[ModelKind],
    repeats: usize,
    times: &[f64],
    seed: u64,
    step: &Step<'_>,
) -> Result<OutOfFoldPredictions> {
    let folds: Vec<Folds> = (0..repeats)
        .map(|repeat| {
            let seed = repeat_seed(seed, repeat);
            Ok(Folds::grouped(
                surv,
                &data.patient,
                validation.outer_folds,
                seed,
            )?)
        })
        .collect::<Result<_>>()?;
    let jobs: Vec<(usize, usize)> = (0..repeats)
        .flat_map(|r| (0..folds[r].count()).map(move |f| (r, f)))
        .collect();
    let parts: Vec<Part> = jobs
        .par_iter()
        .map(|&(repeat, fold)| {
            let rows = folds[repeat].training(fold);
            let seed = repeat_seed(seed, repeat).wrapping_add(fold as u64 + 1);
            let inner = validation.inner_folds;
            let training = Training::new(data, models, surv, rows, inner, seed)
                .map_err(|error| in_fold(repeat, fold, &error))?;
            let part = training
                .fit(kinds)
                .into_iter()
                .map(|(kind, fitted)| {
                    let fitted = fitted.and_then(|fitted| {
                        let hazards = training.log_hazards(&fitted.risk, times)?;
                        // Files cannot hold it, and no figure follows from it.
                        if fitted.risk.iter().chain(&hazards).any(|v| !v.is_finite()) {
                            return Err(Error::Study {
                                reason: "the predicted risk is not finite".into(),
                            });
                        }
                        Ok((fitted, hazards))
                    });
                    (
                        kind,
                        fitted.map_err(|error| in_fold(repeat, fold, &error).to_string()),
                    )
                })
                .collect();
            step()?;
            Ok(part)
        })
        .collect::<Result<_>>()?;
    let mut by_model: BTreeMap<ModelKind, Vec<_>> = BTreeMap::new();
    for (job, part) in jobs.iter().zip(parts) {
        for (kind, fitted) in part {
            by_model.entry(kind).or_default().push((*job, fitted));
        }
    }
    let models = kinds
        .iter()
        .filter_map(|kind| Some((*kind, by_model.remove(kind)?)))
        .map(|(kind, parts)| gather(kind, parts, &folds, times.len()))
        .collect();
    Ok(OutOfFoldPredictions {
        folds: folds.iter().map(|f| f.fold().to_vec()).collect(),
        times: times.to_vec(),
        models,
    })
}

pub(super) fn repeat_seed(seed: u64, repeat: usize) -> u64 {
    seed.wrapping_mul(1_000_003)
        .wrapping_add(7919 * repeat as u64)
}

pub(super) fn in_fold(repeat: usize, fold: usize, error: &Error) -> Error {
    Error::Study {
        reason: format!("repeat {}, fold {}: {error}", repeat + 1, fold + 1),
    }
}

pub(super) type Parts = Vec<(
    (usize, usize),
    std::result::Result<(Fitted, Vec<f64>), String>,
)>;

pub(super) fn gather(model: ModelKind, parts: Parts, folds: &[Folds], m: usize) -> Predictions {
    let n = folds.first().map_or(0, Folds::n);
    let repeats = folds.len();
    let mut out = Predictions {
        model,
        failed: None,
        risk: vec![vec![0.0; n]; repeats],
        log_hazard: vec![0.0; n * m],
        percentile: vec![0.0; n],
        chosen: Vec::new(),
        noise: 0.0,
        coef: Vec::new(),
    };
    let mut fits: Vec<Vec<Vec<f64>>> = vec![Vec::new(); repeats];
    for ((repeat, fold), part) in parts {
        let (fitted, hazards) = match part {
            Ok(part) => part,
            Err(reason) => {
                out.failed = Some(reason);
                out.risk.clear();
                out.log_hazard.clear();
                out.percentile.clear();
                return out;
            }
        };
        let mut training: Vec<f64> = folds[repeat]
            .training(fold)
            .iter()
            .map(|&i| fitted.risk[i])
            .collect();
        training.sort_unstable_by(f64::total_cmp);
        for i in folds[repeat].held_out(fold) {
            let r = fitted.risk[i];
            out.risk[repeat][i] = r;
            let below = training.partition_point(|t| *t < r);
            let upto = training.partition_point(|t| *t <= r);
            let place = (below + upto) as f64 / (2 * training.len()) as f64;
            out.percentile[i] += place / repeats as f64;
            for k in 0..m {
                out.log_hazard[i * m + k] += hazards[i * m + k] / repeats as f64;
            }
        }
        out.chosen.push(fitted.chosen);
        out.coef.extend(fitted.coef);
        fits[repeat].push(fitted.risk);
    }
    let noise = fits
        .iter()
        .zip(folds)
        .map(|(fits, folds)| noise_share(fits, folds));
    out.noise = noise.sum::<f64>() / repeats as f64;
    out
}

/// `(1 - r) (K - 1)`, at most 1, with `r` the mean correlation between the predictions of two
/// folds' models for the rows of both folds: training sets of `K` folds share `(K - 2) / (K - 1)`
/// of their rows, and as much of their noise.
fn noise_share(fits: &[Vec<f64>], folds: &Folds) -> f64 {
    let k = folds.count();
    let held: Vec<Vec<usize>> = (0..k).map(|f| folds.held_out(f)).collect();
    let (mut sum, mut pairs) = (0.0, 0.0);
    for a in 0..k {
        for b in a + 1..k {
            let rows = held[a].iter().chain(&held[b]);
            let both: Vec<(f64, f64)> = rows.map(|&i| (fits[a][i], fits[b][i])).collect();
            sum += correlation(&both);
            pairs += 1.0;
        }
    }
    ((1.0 - sum / pairs) * (k as f64 - 1.0)).clamp(0.0, 1.0)
}

/// 0 where one side does not vary.
fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let (ma, mb) = pairs
        .iter()
        .fold((0.0, 0.0), |(a, b), p| (a + p.0 / n, b + p.1 / n));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        aa += (a - ma) * (a - ma);
        bb += (b - mb) * (b - mb);
        ab += (a - ma) * (b - mb);
    }
    if aa > 0.0 && bb > 0.0 {
        ab / (aa * bb).sqrt()
    } else {
        0.0
    }
}
