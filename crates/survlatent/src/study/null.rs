//! The whole procedure on outcomes that belong to other patients.

use cox_survival::{Harrell, Permutation, Surv};

use super::data::StudyData;
use super::interval::{Interval, widening};
use super::judge::by_fold;
use super::models::{ModelKind, StudyModels, Validation};
use super::predict::{Predictions, Step, out_of_fold};
use super::results::NullFigures;
use crate::error::Result;

/// Harrell's concordance within folds, averaged over repeats, with an interval from its influence
/// values (one per patient): quicker than a bootstrap, for tables of many.
pub(super) fn quick_harrell(
    surv: &Surv,
    folds: &[Vec<u32>],
    predictions: &Predictions,
    rows: &[usize],
    patient: &[u32],
    level: f64,
) -> Result<Interval> {
    let patients: Vec<u32> = rows.iter().map(|&i| patient[i]).collect();
    let people = patient.iter().max().map_or(0, |&p| p as usize + 1);
    let repeats = folds.len() as f64;
    let (mut estimate, mut influence) = (0.0, vec![0.0; people]);
    for (fold, risk) in folds.iter().zip(&predictions.risk) {
        let within = by_fold(surv, fold)?.subset(rows)?;
        let risk: Vec<f64> = rows.iter().map(|&i| risk[i]).collect();
        let c = Harrell::new().fit(&within, &risk)?;
        estimate += c.concordance() / repeats;
        for (&p, d) in patients.iter().zip(c.dfbeta().unwrap_or_default()) {
            influence[p as usize] += d / repeats;
        }
    }
    let se = influence.iter().map(|d| d * d).sum::<f64>().sqrt();
    let half = normal_quantile(level) * se * widening(predictions.noise);
    let limit = |v: f64| v.is_finite().then_some(v);
    Ok(Interval {
        estimate,
        lower: limit(estimate - half),
        upper: limit(estimate + half),
    }
    .of_share())
}

/// Two-sided quantile of the standard normal distribution.
fn normal_quantile(level: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    Normal::standard().inverse_cdf(f64::midpoint(1.0, level))
}

/// Nested cross-validation of a model on permuted outcomes, one repeat each, beside the first repeat
/// of its predictions `own` for the study's.
pub(super) fn null(
    data: &StudyData,
    models: &StudyModels,
    validation: &Validation,
    (folds, own): (&[Vec<u32>], &Predictions),
    times: &[f64],
    seed: u64,
    step: &Step<'_>,
) -> Result<Option<NullFigures>> {
    let model = own.model;
    let level = validation.level;
    let everybody: Vec<usize> = (0..data.n()).collect();
    // A mean over repeats varies less than one of them: like is compared with like.
    let first = &folds[..folds.len().min(1)];
    let observed = quick_harrell(&data.surv, first, own, &everybody, &data.patient, level)?;
    if !observed.estimate.is_finite() {
        return Ok(None);
    }
    let (mut harrell, mut intervals_with_half, mut failed) = (Vec::new(), 0, 0);
    for k in 0..validation.permutations as u64 {
        let surv = data.dealt(&order(data, seed, k))?;
        let seed = seed.wrapping_add(104_729 * (k + 1));
        let found = once(data, &surv, models, validation, model, times, seed);
        step()?;
        match found {
            Ok(Some(found)) if found.estimate.is_finite() => {
                intervals_with_half += usize::from(found.contains(0.5));
                harrell.push(found.estimate);
            }
            // As in the study, what cannot be fitted stops nothing else.
            Ok(_) | Err(_) => failed += 1,
        }
    }
    let observed = observed.estimate;
    Ok(Some(summary(
        model,
        observed,
        harrell,
        intervals_with_half,
        failed,
    )))
}

/// One repeat on one outcome; none where the model could not be fitted.
fn once(
    data: &StudyData,
    surv: &Surv,
    models: &StudyModels,
    validation: &Validation,
    model: ModelKind,
    times: &[f64],
    seed: u64,
) -> Result<Option<Interval>> {
    let kinds = [model];
    let all = out_of_fold(
        data,
        surv,
        models,
        validation,
        &kinds,
        1,
        times,
        seed,
        &|| Ok(()),
    )?;
    let everybody: Vec<usize> = (0..data.n()).collect();
    let level = validation.level;
    all.of(model)
        .map(|own| quick_harrell(surv, &all.folds, own, &everybody, &data.patient, level))
        .transpose()
}

fn summary(
    model: ModelKind,
    observed: f64,
    harrell: Vec<f64>,
    intervals_with_half: usize,
    failed: usize,
) -> NullFigures {
    let n = harrell.len() as f64;
    let some = |v: f64| v.is_finite().then_some(v);
    let reached = harrell.iter().filter(|&&h| h >= observed).count() as f64;
    NullFigures {
        model,
        observed,
        mean: some(harrell.iter().sum::<f64>() / n),
        min: some(harrell.iter().copied().fold(f64::INFINITY, f64::min)),
        max: some(harrell.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        p: (!harrell.is_empty()).then_some((reached + 1.0) / (n + 1.0)),
        intervals_with_half,
        failed,
        harrell,
    }
}

/// Which row's outcome each row gets: rows are dealt where patients have one each, otherwise
/// patients are, each row of one getting the outcome of the other's first.
fn order(data: &StudyData, seed: u64, k: u64) -> Vec<usize> {
    let draws = Permutation::new(1).seed(seed);
    if data.one_row_each() {
        return draws.draw(data.n(), k);
    }
    let mut first = vec![0; data.patients()];
    for (row, &p) in data.patient.iter().enumerate().rev() {
        first[p as usize] = row;
    }
    let dealt = draws.draw(first.len(), k);
    data.patient
        .iter()
        .map(|&p| first[dealt[p as usize]])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What JSON cannot hold would keep a run from taking its own stage up again.
    #[test]
    fn no_permutation_at_all_is_read_back() {
        for harrell in [vec![], vec![0.4, 0.6]] {
            let empty = harrell.is_empty();
            let found = summary(ModelKind::FaceW, 0.55, harrell, 0, 3);
            let text = serde_json::to_string(&found).unwrap();
            assert_eq!(serde_json::from_str::<NullFigures>(&text).unwrap(), found);
            assert_eq!(found.p.is_none() && found.max.is_none(), empty);
        }
    }
}
