//! Latents and follow-up in, a judged Cox model and a direction of health out.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use cox_survival::{
    CoxPath, CrossValidation, CvFit, Folds, KaplanMeier, KmCurve, LogRank, LogRankTest, NestedCv,
    Permutation, Progress, Surv, concordance, uno,
};
use latent_attribute::{FeatureMap, HealthDirection, LatentRisk, LatentSpace};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::report::{
    ChosenPenalty, CohortSummary, CoxOnLatentsReport, EstimateWithInterval, NullDistribution,
    OutOfFold, RiskGroup, RiskGroups,
};
use super::stability;
use crate::error::{Error, Result};
use crate::latents::Latents;

/// Settings of the study: penalties to choose from, folds, repeats, null and bootstrap.
///
/// [`CoxOnLatents::run`] estimates how well Cox models on these latents predict patients they
/// have not seen (nested cross-validation, repeated, beside the same procedure on permuted
/// outcomes), fits the model to all patients, and turns its coefficients into health directions
/// whose stability is measured by the bootstrap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoxOnLatents {
    /// Mixing parameters to choose from: 0 ridge, 1 lasso.
    pub alphas: Vec<f64>,
    /// Lambdas per path.
    pub n_lambda: usize,
    /// Smallest lambda as a share of the largest.
    pub lambda_min_ratio: f64,
    /// Outer folds.
    pub outer_folds: usize,
    /// Inner folds.
    pub inner_folds: usize,
    /// Repeats of the nested cross-validation with other outer folds; predictions are averaged.
    pub repeats: usize,
    /// Permutations of the outcome for the null (0: none).
    pub permutations: usize,
    /// Bootstrap replicates for stability (0: none).
    pub bootstraps: usize,
    /// Confidence level of every interval.
    pub level: f64,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for CoxOnLatents {
    fn default() -> Self {
        Self {
            alphas: vec![0.0, 0.5],
            n_lambda: 20,
            lambda_min_ratio: 0.1,
            outer_folds: 5,
            inner_folds: 5,
            repeats: 3,
            permutations: 20,
            bootstraps: 100,
            level: 0.95,
            seed: 1,
        }
    }
}

/// Which part of the study is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nested cross-validation.
    OutOfFold,
    /// The same on permuted outcomes.
    Null,
    /// The fit to all patients.
    Fit,
    /// Bootstrap refits.
    Bootstrap,
}

/// Hears of every finished unit of work; `ControlFlow::Break(())` stops the study.
pub type StudyObserver<'a> = dyn Fn(Stage, Progress) -> ControlFlow<()> + Sync + 'a;

/// Everything the study found.
#[derive(Debug, Clone)]
pub struct CoxOnLatentsFit {
    /// The figures.
    pub report: CoxOnLatentsReport,
    /// Out-of-fold risk of every patient on the percentile scale (0 lowest, 1 highest), averaged
    /// over repeats.
    pub risk: Vec<f64>,
    /// Risk group of every patient: 0 low, 1 high.
    pub group: Vec<u32>,
    /// Kaplan-Meier curves of the risk groups.
    pub curves: Vec<KmCurve>,
    /// Log-rank test between them.
    pub log_rank: Option<LogRankTest>,
    /// The cross-validated fit to all patients.
    pub model: CvFit,
    /// Coefficients in latent units.
    pub coef: Vec<f64>,
    /// What the model reads; absent when the chosen model has no coefficient.
    pub weights: Option<HealthDirection>,
    /// What changes in the data along with risk.
    pub pattern: Option<HealthDirection>,
}

impl CoxOnLatents {
    /// Runs the study on the rows of `surv` and `latents`, which are the same patients.
    pub fn run(&self, surv: &Surv, latents: &Latents) -> Result<CoxOnLatentsFit> {
        self.run_with(surv, latents, &|_, _| ControlFlow::Continue(()))
    }

    /// [`CoxOnLatents::run`] with an observer.
    pub fn run_with(
        &self,
        surv: &Surv,
        latents: &Latents,
        observer: &StudyObserver<'_>,
    ) -> Result<CoxOnLatentsFit> {
        latents.same_rows(surv.n())?;
        let x = latents.covariates()?;
        let work = Work::new(self, observer);
        let path = CoxPath::new()
            .n_lambda(self.n_lambda)
            .lambda_min_ratio(self.lambda_min_ratio);

        let risk = self.out_of_fold(surv, latents, &path, self.repeats, self.seed, &|| {
            work.step(Stage::OutOfFold)
        })?;
        let tau = latest_time(surv);
        let observed = self.judge(surv, &risk, tau)?;
        let null = self.null(surv, latents, &path, tau, observed.harrell.estimate, &work)?;

        let group: Vec<u32> = risk.iter().map(|&r| u32::from(r > 0.5)).collect();
        let mut curves = KaplanMeier::new()
            .level(self.level)
            .fit_by(surv, &group)?
            .curves;
        for curve in &mut curves {
            let name = if curve.name == "0" {
                "low risk"
            } else {
                "high risk"
            };
            name.clone_into(&mut curve.name);
        }
        let log_rank = if group.iter().any(|g| *g != group[0]) {
            Some(LogRank::new().test(surv, &group)?)
        } else {
            None
        };

        let (model, chosen) = self.final_model(surv, latents, &path)?;
        work.step(Stage::Fit)?;
        let coef = model.path().beta(model.index_min()).dense(x.p());
        let n = surv.n();
        let directions = if coef.iter().any(|b| b.abs() > 0.0) {
            let space = LatentSpace::Features { dim: x.p() };
            let risk = LatentRisk::from_cox(space, &coef, FeatureMap::identity(x.p()))?;
            let pattern = stability::with_values(latents, |values| match values {
                stability::Slice::F32(v) => risk.pattern(v, n),
                stability::Slice::F64(v) => risk.pattern(v, n),
            })?;
            Some((risk.weights()?, pattern))
        } else {
            None
        };
        let stable =
            stability::bootstrap(self, surv, latents, &model, directions.as_ref(), &|| {
                work.step(Stage::Bootstrap)
            })?;
        let (weights, pattern) = directions.unzip();
        let report = CoxOnLatentsReport {
            settings: self.clone(),
            cohort: CohortSummary::new(surv, latents)?,
            penalty: chosen,
            out_of_fold: observed,
            null,
            risk_groups: RiskGroups {
                cut: "median of the training patients' risk, averaged over repeats".to_owned(),
                groups: curves.iter().map(RiskGroup::new).collect(),
                log_rank_chi_squared: log_rank.as_ref().map(|t| t.chi_squared),
                log_rank_df: log_rank.as_ref().map(|t| t.df),
                log_rank_p: log_rank.as_ref().map(|t| t.p_value),
            },
            coefficients: stable.coefficients,
            weights: stable.weights,
            pattern: stable.pattern,
        };
        Ok(CoxOnLatentsFit {
            report,
            risk,
            group,
            curves,
            log_rank,
            model,
            coef,
            weights,
            pattern,
        })
    }

    /// Out-of-fold percentile of every patient, averaged over `repeats` partitions.
    fn out_of_fold(
        &self,
        surv: &Surv,
        latents: &Latents,
        path: &CoxPath,
        repeats: usize,
        seed: u64,
        step: &(dyn Fn() -> Result<()> + Sync),
    ) -> Result<Vec<f64>> {
        let x = latents.covariates()?;
        let mut total = vec![0.0; surv.n()];
        for repeat in 0..repeats.max(1) {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(repeat as u64);
            let outer = Folds::stratified(surv, self.outer_folds, seed)?;
            let nested = NestedCv::new(path.clone())
                .alphas(self.alphas.clone())
                .inner_folds(self.inner_folds)
                .seed(seed);
            let fit = nested.fit_with(surv, &x, &outer, None, &|_| match step() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })?;
            for (t, p) in total.iter_mut().zip(fit.percentile()) {
                *t += p / repeats.max(1) as f64;
            }
        }
        Ok(total)
    }

    fn judge(&self, surv: &Surv, risk: &[f64], tau: f64) -> Result<OutOfFold> {
        let harrell = concordance(surv, risk)?;
        let uno = uno(surv, risk, tau)?;
        Ok(OutOfFold {
            harrell: EstimateWithInterval::of(&harrell, self.level),
            uno: EstimateWithInterval::of(&uno, self.level),
            uno_tau: tau,
            repeats: self.repeats.max(1),
            outer_folds: self.outer_folds,
        })
    }

    /// The whole procedure, one repeat each, with outcomes dealt to other patients.
    fn null(
        &self,
        surv: &Surv,
        latents: &Latents,
        path: &CoxPath,
        tau: f64,
        observed: f64,
        work: &Work<'_>,
    ) -> Result<Option<NullDistribution>> {
        if self.permutations == 0 {
            return Ok(None);
        }
        let order = Permutation::new(self.permutations).seed(self.seed);
        let values: Vec<(f64, f64)> = (0..self.permutations as u64)
            .into_par_iter()
            .map(|k| {
                let dealt = surv.subset(&order.draw(surv.n(), k))?;
                let seed = self.seed.wrapping_add(7919 * (k + 1));
                let step = || work.step(Stage::Null);
                let risk = self.out_of_fold(&dealt, latents, path, 1, seed, &step)?;
                let harrell = concordance(&dealt, &risk)?.concordance();
                Ok((harrell, uno(&dealt, &risk, tau)?.concordance()))
            })
            .collect::<Result<_>>()?;
        let (harrell, uno_values) = values.into_iter().unzip();
        Ok(Some(NullDistribution::new(observed, harrell, uno_values)))
    }

    /// Penalty chosen by cross-validation of all patients, and the fit with it.
    fn final_model(
        &self,
        surv: &Surv,
        latents: &Latents,
        path: &CoxPath,
    ) -> Result<(CvFit, ChosenPenalty)> {
        let x = latents.covariates()?;
        let folds = Folds::stratified(surv, self.inner_folds, self.seed)?;
        let mut best: Option<CvFit> = None;
        for &alpha in &self.alphas {
            let cv = CrossValidation::new(path.clone().alpha(alpha)).fit(surv, &x, &folds)?;
            let value = |cv: &CvFit| cv.cvm()[cv.index_min()];
            if best.as_ref().is_none_or(|b| value(&cv) < value(b)) {
                best = Some(cv);
            }
        }
        let Some(model) = best else {
            return Err(Error::Cox(cox_survival::Error::Setting {
                name: "alphas",
                value: String::new(),
                expected: "needs at least one value",
            }));
        };
        let k = model.index_min();
        let chosen = ChosenPenalty {
            alpha: model.path().alpha(),
            lambda: model.lambda()[k],
            nonzero: model.path().beta(k).index.len(),
            cv_deviance: model.cvm()[k],
            cv_deviance_se: model.cvsd()[k],
            cv_deviance_without_features: model.cvm()[0],
            folds: self.inner_folds,
        };
        Ok((model, chosen))
    }
}

/// The time up to which at least a tenth of the patients are still followed: weights of later
/// pairs would rest on a handful.
fn latest_time(surv: &Surv) -> f64 {
    let mut time = surv.time().to_vec();
    time.sort_unstable_by(f64::total_cmp);
    time[(time.len() * 9 / 10).min(time.len() - 1)]
}

/// Counts the units of all stages.
struct Work<'a> {
    done: AtomicUsize,
    total: usize,
    observer: &'a StudyObserver<'a>,
}

impl<'a> Work<'a> {
    fn new(study: &CoxOnLatents, observer: &'a StudyObserver<'a>) -> Self {
        let nested = (study.repeats.max(1) + study.permutations) * study.outer_folds;
        Self {
            done: AtomicUsize::new(0),
            total: nested + 1 + study.bootstraps,
            observer,
        }
    }

    fn step(&self, stage: Stage) -> Result<()> {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match (self.observer)(
            stage,
            Progress {
                done,
                total: self.total,
            },
        ) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cox(cox_survival::Error::Interrupted)),
        }
    }
}
