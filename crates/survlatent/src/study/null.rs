//! The whole procedure on outcomes that belong to other patients, and subgroups.

use cox_survival::{Harrell, Permutation, Surv};

use super::data::StudyData;
use super::interval::{Interval, widening};
use super::judge::by_fold;
use super::models::{ModelKind, StudyModels, Validation};
use super::predict::{OutOfFoldPredictions, Predictions, Step, out_of_fold};
use super::results::{NullFigures, SubgroupConcordance, SubgroupFigures};
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
    Ok(Interval {
        estimate,
        lower: Some(estimate - half),
        upper: Some(estimate + half),
    })
}

/// Two-sided quantile of the standard normal distribution.
fn normal_quantile(level: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    Normal::standard().inverse_cdf(f64::midpoint(1.0, level))
}

/// Nested cross-validation of `model` on permuted outcomes, one repeat each.
#[expect(clippy::too_many_arguments, reason = "the whole of a study")]
pub(super) fn null(
    data: &StudyData,
    models: &StudyModels,
    validation: &Validation,
    model: ModelKind,
    observed: f64,
    times: &[f64],
    seed: u64,
    step: &Step<'_>,
) -> Result<NullFigures> {
    let everybody: Vec<usize> = (0..data.n()).collect();
    let (mut harrell, mut intervals_with_half, mut failed) = (Vec::new(), 0, 0);
    for k in 0..validation.permutations as u64 {
        let surv = data.dealt(&order(data, seed, k))?;
        let seed = seed.wrapping_add(104_729 * (k + 1));
        let all = out_of_fold(
            data,
            &surv,
            models,
            validation,
            &[model],
            1,
            times,
            seed,
            &|| Ok(()),
        )?;
        step()?;
        let Some(own) = all.of(model) else {
            failed += 1;
            continue;
        };
        let level = validation.level;
        let found = quick_harrell(&surv, &all.folds, own, &everybody, &data.patient, level)?;
        intervals_with_half += usize::from(found.contains(0.5));
        harrell.push(found.estimate);
    }
    let n = harrell.len() as f64;
    let reached = harrell.iter().filter(|&&h| h >= observed).count() as f64;
    Ok(NullFigures {
        model,
        mean: harrell.iter().sum::<f64>() / n,
        min: harrell.iter().copied().fold(f64::INFINITY, f64::min),
        max: harrell.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        p: (reached + 1.0) / (n + 1.0),
        intervals_with_half,
        failed,
        harrell,
    })
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

/// Models within each level of each column; small groups are named and not shown.
pub(super) fn subgroups(
    data: &StudyData,
    all: &OutOfFoldPredictions,
    validation: &Validation,
) -> Vec<SubgroupFigures> {
    let mut out = Vec::new();
    for groups in &data.subgroups {
        for (code, level) in groups.levels.iter().enumerate() {
            let rows: Vec<usize> = (0..data.n())
                .filter(|&i| groups.codes[i] as usize == code)
                .collect();
            let events = rows.iter().filter(|&&i| data.surv.event()[i]).count();
            let small = rows.len() < validation.min_rows || events < validation.min_events;
            let of = |p: &Predictions| {
                let (surv, folds) = (&data.surv, &all.folds);
                let found =
                    quick_harrell(surv, folds, p, &rows, &data.patient, validation.level).ok()?;
                Some(SubgroupConcordance {
                    model: p.model,
                    harrell: found,
                })
            };
            let shown = all.models.iter().filter(|p| p.failed.is_none() && !small);
            out.push(SubgroupFigures {
                column: groups.column.clone(),
                level: level.clone(),
                rows: (!small).then_some(rows.len()),
                events: (!small).then_some(events),
                harrell: shown.filter_map(of).collect(),
            });
        }
    }
    out
}
