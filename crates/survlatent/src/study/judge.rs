//! Predictions against what happened, with a bootstrap over patients.

use cox_survival::{
    Brier, Calibration, CensoringModel, DynamicAuc, Harrell, KaplanMeier, PredictedSurvival,
    Resampling, Surv, Uno, calibration_slope,
};
use rayon::prelude::*;

use super::data::StudyData;
use super::increment::{self, Scores};
use super::interval::{Interval, widening};
use super::models::Validation;
use super::predict::{OutOfFoldPredictions, Predictions, Step};
use super::recalibrate::{Recalibration, recalibrate};
use super::results::{CalibrationFigures, Increment, ModelFigures, TimeFigure};
use crate::error::Result;

/// What one model reaches on one set of rows; absent where it is not defined there.
#[derive(Debug, Clone, Default)]
pub(super) struct Scored {
    pub(super) harrell: Option<f64>,
    pub(super) uno: Option<f64>,
    pub(super) ibs: Option<f64>,
    auc_mean: Option<f64>,
    auc: Vec<f64>,
    brier: Vec<f64>,
    ici: Vec<Option<f64>>,
    slope: Option<f64>,
    horizons: Vec<Recalibration>,
}

/// One model's predictions, ready to be scored on any selection of rows.
struct Candidate<'a> {
    predictions: &'a Predictions,
    mean_risk: Vec<f64>,
    survival: Vec<f64>,
}

/// The figures of all models and the increments between them.
pub(super) fn judge(
    data: &StudyData,
    all: &OutOfFoldPredictions,
    validation: &Validation,
    horizons: &[f64],
    seed: u64,
    step: &Step<'_>,
) -> Result<(Vec<ModelFigures>, Vec<Increment>)> {
    let judge = Judge::new(data, all, horizons)?;
    let candidates: Vec<Candidate<'_>> = all
        .models
        .iter()
        .filter(|p| p.failed.is_none())
        .map(|p| Candidate {
            predictions: p,
            mean_risk: p.mean_risk(),
            survival: p.survival(),
        })
        .collect();
    let everybody: Vec<usize> = (0..data.n()).collect();
    let estimates: Vec<Scored> = candidates
        .iter()
        .map(|c| judge.score(&everybody, c, true))
        .collect();
    let resampling = Resampling::rows(data.n()).clusters(&data.patient)?;
    let replicates: Vec<Vec<Scored>> = (0..validation.bootstraps as u64)
        .into_par_iter()
        .map(|r| {
            let rows = resampling.draw(seed, r);
            let refit = (r as usize) < validation.calibration_bootstraps;
            let scored = candidates
                .iter()
                .map(|c| judge.score(&rows, c, refit))
                .collect();
            step()?;
            Ok(scored)
        })
        .collect::<Result<_>>()?;

    let level = validation.level;
    let reference = judge.reference();
    let mut figures = Vec::new();
    for predictions in &all.models {
        let place = candidates
            .iter()
            .position(|c| c.predictions.model == predictions.model);
        let Some(k) = place else {
            figures.push(ModelFigures::failed(predictions));
            continue;
        };
        let own = Figures {
            judge: &judge,
            candidate: &candidates[k],
            estimate: &estimates[k],
            replicates: replicates.iter().map(|r| &r[k]).collect(),
            level,
            calibration_bootstraps: validation.calibration_bootstraps,
        };
        figures.push(own.figures(reference));
    }
    let models: Vec<_> = candidates.iter().map(|c| c.predictions).collect();
    let scores = Scores {
        models: &models,
        estimates: &estimates,
        replicates: &replicates,
        level,
    };
    Ok((figures, increment::increments(data, all, &scores)))
}

/// What all models share.
struct Judge<'a> {
    surv: &'a Surv,
    /// The outcome of each repeat with the folds as strata: only rows of one fold are compared.
    within: Vec<Surv>,
    times: &'a [f64],
    horizons: Vec<(f64, usize)>,
    /// Last time of the grid.
    tau: f64,
}

impl<'a> Judge<'a> {
    fn new(data: &'a StudyData, all: &'a OutOfFoldPredictions, horizons: &[f64]) -> Result<Self> {
        let within = all
            .folds
            .iter()
            .map(|fold| by_fold(&data.surv, fold))
            .collect::<Result<_>>()?;
        let place = |t: &f64| {
            let k = all.times.iter().position(|u| u.total_cmp(t).is_eq());
            k.map(|k| (*t, k))
        };
        Ok(Self {
            surv: &data.surv,
            within,
            times: &all.times,
            horizons: horizons.iter().filter_map(place).collect(),
            tau: all.times.last().copied().unwrap_or(0.0),
        })
    }

    fn score(&self, rows: &[usize], candidate: &Candidate<'_>, calibrate: bool) -> Scored {
        let m = self.times.len();
        let mut out = Scored::default();
        let (mut harrell, mut uno) = (Some(0.0), Some(0.0));
        let repeats = self.within.len() as f64;
        for (within, risk) in self.within.iter().zip(&candidate.predictions.risk) {
            let Ok(some) = within.subset(rows) else {
                return out;
            };
            let risk: Vec<f64> = rows.iter().map(|&i| risk[i]).collect();
            let add = |sum: &mut Option<f64>, value: cox_survival::Result<f64>| {
                *sum = sum.zip(value.ok()).map(|(s, v)| s + v / repeats);
            };
            let c = Harrell::new().variance(false).fit(&some, &risk);
            add(&mut harrell, c.map(|c| c.concordance()));
            let c = Uno::new().tau(self.tau).variance(false).fit(&some, &risk);
            add(&mut uno, c.map(|c| c.concordance()));
        }
        (out.harrell, out.uno) = (harrell, uno);
        let Ok(surv) = self.surv.subset(rows) else {
            return out;
        };
        let risk: Vec<f64> = rows.iter().map(|&i| candidate.mean_risk[i]).collect();
        let values: Vec<f64> = rows
            .iter()
            .flat_map(|&i| candidate.survival[i * m..(i + 1) * m].iter().copied())
            .collect();
        // Where patients enter late there is no such model, and then neither AUC nor Brier score.
        if let Ok(censoring) = CensoringModel::kaplan_meier(&surv) {
            if let Ok(auc) = DynamicAuc::new().fit(&surv, &risk, self.times, &censoring) {
                out.auc_mean = Some(auc.mean);
                out.auc = auc.auc;
            }
            let curves = PredictedSurvival::from_rows(self.times, &values, rows.len());
            if let Ok(brier) = curves.and_then(|p| Brier::new().fit(&surv, &p, &censoring)) {
                out.ibs = brier.integrated;
                out.brier = brier.values;
            }
        }
        if calibrate {
            let slope = unstratified(&surv).and_then(|s| Ok(calibration_slope(&s, &risk)?));
            out.slope = slope
                .ok()
                .filter(|s| s.std_err > 0.0 && s.slope.is_finite())
                .map(|s| s.slope);
            let at = |&(time, k): &(f64, usize)| {
                let risk: Vec<f64> = (0..rows.len()).map(|i| 1.0 - values[i * m + k]).collect();
                recalibrate(&surv, &risk, time)
            };
            out.horizons = self.horizons.iter().map(at).collect();
            let ici = |&(time, k): &(f64, usize)| {
                let risk: Vec<f64> = (0..rows.len()).map(|i| 1.0 - values[i * m + k]).collect();
                Calibration::new(time)
                    .groups(1)
                    .fit(&surv, &risk)
                    .ok()
                    .map(|c| c.ici)
            };
            out.ici = self.horizons.iter().map(ici).collect();
        }
        out
    }

    /// Integrated Brier score of the Kaplan-Meier curve of everybody, where it is defined.
    fn reference(&self) -> Option<f64> {
        let km = KaplanMeier::new()
            .fit(&unstratified(self.surv).ok()?)
            .ok()?;
        let of = |_: usize, t: f64| km.curves[0].survival_at(t);
        let curves = PredictedSurvival::from_fn(self.surv.n(), self.times, of).ok()?;
        let censoring = CensoringModel::kaplan_meier(self.surv).ok()?;
        let brier = Brier::new().fit(self.surv, &curves, &censoring);
        brier.ok().and_then(|b| b.integrated)
    }
}

/// One model's figures from its estimates and replicates.
struct Figures<'a> {
    judge: &'a Judge<'a>,
    candidate: &'a Candidate<'a>,
    estimate: &'a Scored,
    replicates: Vec<&'a Scored>,
    level: f64,
    calibration_bootstraps: usize,
}

impl Figures<'_> {
    fn interval(&self, of: &dyn Fn(&Scored) -> Option<f64>, wider: f64) -> Option<Interval> {
        self.of_some(of, wider, self.replicates.len())
    }

    /// The same for what the first replicates alone have.
    fn calibrated(&self, of: &dyn Fn(&Scored) -> Option<f64>, wider: f64) -> Option<Interval> {
        self.of_some(of, wider, self.calibration_bootstraps)
    }

    fn of_some(
        &self,
        of: &dyn Fn(&Scored) -> Option<f64>,
        wider: f64,
        replicates: usize,
    ) -> Option<Interval> {
        let estimate = of(self.estimate).filter(|v| v.is_finite())?;
        let some = self.replicates.iter().take(replicates);
        let draws: Vec<Option<f64>> = some.map(|s| of(s)).collect();
        Some(Interval::new(estimate, &draws, self.level, wider))
    }

    fn over_time(&self, of: fn(&Scored) -> &Vec<f64>, wider: f64) -> Vec<TimeFigure> {
        let at = |(k, &time): (usize, &f64)| {
            let value = self.interval(&|s| of(s).get(k).copied(), wider)?.of_share();
            Some(TimeFigure { time, value })
        };
        self.judge.times.iter().enumerate().filter_map(at).collect()
    }

    fn figures(&self, reference: Option<f64>) -> ModelFigures {
        let p = self.candidate.predictions;
        let wider = widening(p.noise);
        ModelFigures {
            name: p.model,
            title: p.model.title().to_owned(),
            failed: None,
            harrell: self.interval(&|s| s.harrell, wider).map(Interval::of_share),
            uno: self.interval(&|s| s.uno, wider).map(Interval::of_share),
            auc: self
                .interval(&|s| s.auc_mean, wider)
                .map(Interval::of_share),
            auc_over_time: self.over_time(|s| &s.auc, wider),
            ibs: self.interval(&|s| s.ibs, 1.0),
            ibs_reference: reference,
            brier_over_time: self.over_time(|s| &s.brier, 1.0),
            calibration_slope: self.calibrated(&|s| s.slope, wider),
            calibration: self.calibration(wider),
            noise: p.noise,
            chosen: counted(&p.chosen),
        }
    }

    fn calibration(&self, wider: f64) -> Vec<CalibrationFigures> {
        let m = self.judge.times.len();
        let n = self.judge.surv.n();
        let refits = self.replicates.len().min(self.calibration_bootstraps);
        let mut out = Vec::new();
        for (h, &(time, k)) in self.judge.horizons.iter().enumerate() {
            let risk: Vec<f64> = (0..n)
                .map(|i| 1.0 - self.candidate.survival[i * m + k])
                .collect();
            let fit = Calibration::new(time).fit(self.judge.surv, &risk);
            let Some(fit) = fit.ok().filter(|f| f.ici.is_finite() && f.emax.is_finite()) else {
                continue;
            };
            let draws: Vec<Option<f64>> = self.replicates[..refits]
                .iter()
                .map(|s| s.ici.get(h).copied().flatten())
                .collect();
            out.push(CalibrationFigures {
                time,
                ici: Interval::of_distance(fit.ici, &draws, self.level),
                emax: fit.emax,
                predicted: fit.whole.predicted,
                observed: fit.whole.observed,
                intercept: self.calibrated(&|s| s.horizons.get(h)?.intercept, 1.0),
                slope: self.calibrated(&|s| s.horizons.get(h)?.slope, wider),
            });
        }
        out
    }
}

impl ModelFigures {
    fn failed(p: &Predictions) -> Self {
        Self {
            name: p.model,
            title: p.model.title().to_owned(),
            failed: p.failed.clone(),
            harrell: None,
            uno: None,
            auc: None,
            auc_over_time: vec![],
            ibs: None,
            ibs_reference: None,
            brier_over_time: vec![],
            calibration_slope: None,
            calibration: vec![],
            noise: 0.0,
            chosen: vec![],
        }
    }
}

/// Each choice once, with how many folds made it.
fn counted(chosen: &[String]) -> Vec<String> {
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for choice in chosen.iter().filter(|c| !c.is_empty()) {
        *counts.entry(choice).or_default() += 1;
    }
    let line = |(choice, count): (&str, usize)| match count {
        1 => choice.to_owned(),
        _ => format!("{choice} ({count} folds)"),
    };
    counts.into_iter().map(line).collect()
}

/// The outcome with folds as strata.
pub(super) fn by_fold(surv: &Surv, fold: &[u32]) -> Result<Surv> {
    let mut builder = Surv::builder(surv.time(), surv.event()).timefix(false);
    if let Some(entry) = surv.entry() {
        builder = builder.entry(entry);
    }
    Ok(builder.strata(fold).build()?)
}

/// The outcome without strata.
pub(super) fn unstratified(surv: &Surv) -> Result<Surv> {
    let mut builder = Surv::builder(surv.time(), surv.event()).timefix(false);
    if let Some(entry) = surv.entry() {
        builder = builder.entry(entry);
    }
    Ok(builder.build()?)
}
