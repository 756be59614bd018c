//! Nested cross-validation: every choice is made again without the patients it is judged on.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cross_validation::{CrossValidation, CvMeasure};
use super::folds::Folds;
use crate::covariates::Covariates;
use crate::cox::path::CoxPath;
use crate::error::{Error, Result, check_length};
use crate::progress::{Counter, Observer, silent};
use crate::surv::Surv;

/// Which lambda of the inner cross-validation is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LambdaRule {
    /// The best.
    #[default]
    Min,
    /// The largest within one standard error of the best.
    OneSe,
}

/// Settings of a nested cross-validation.
///
/// For every outer fold, the mixing parameter and lambda are chosen by an inner cross-validation
/// of the training rows alone; the model refitted there predicts the rows held out. No figure
/// computed from these predictions has seen its own patients, in tuning or in fitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NestedCv {
    path: CoxPath,
    alphas: Vec<f64>,
    inner: usize,
    measure: CvMeasure,
    rule: LambdaRule,
    seed: u64,
}

impl Default for NestedCv {
    /// The default path, tuned by five inner folds and grouped deviance.
    fn default() -> Self {
        Self::new(CoxPath::default())
    }
}

impl NestedCv {
    /// Tunes lambda of `path` by five inner folds and grouped deviance.
    pub fn new(path: CoxPath) -> Self {
        Self {
            path,
            alphas: Vec::new(),
            inner: 5,
            measure: CvMeasure::Deviance { grouped: true },
            rule: LambdaRule::Min,
            seed: 0,
        }
    }

    /// Mixing parameters to choose from (by default only the path's own).
    pub fn alphas(mut self, alphas: Vec<f64>) -> Self {
        self.alphas = alphas;
        self
    }

    /// Number of inner folds (default 5).
    pub fn inner_folds(mut self, inner: usize) -> Self {
        self.inner = inner;
        self
    }

    /// What the inner cross-validation judges by.
    pub fn measure(mut self, measure: CvMeasure) -> Self {
        self.measure = measure;
        self
    }

    /// Which lambda is used.
    pub fn rule(mut self, rule: LambdaRule) -> Self {
        self.rule = rule;
        self
    }

    /// Seed of the inner folds.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Predicts every row by a model that has not seen it.
    pub fn fit(&self, surv: &Surv, x: &Covariates<'_>, outer: &Folds) -> Result<NestedFit> {
        self.fit_with(surv, x, outer, None, &silent)
    }

    /// [`NestedCv::fit`] with `groups` that inner folds must not separate either, and an observer
    /// that hears of every finished outer fold.
    pub fn fit_with(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        outer: &Folds,
        groups: Option<&[u32]>,
        observer: &Observer<'_>,
    ) -> Result<NestedFit> {
        check_length("folds", outer.n(), surv.n())?;
        if let Some(groups) = groups {
            check_length("groups", groups.len(), surv.n())?;
        }
        let counter = Counter::new(outer.count(), observer);
        let parts: Vec<Part> = (0..outer.count())
            .into_par_iter()
            .map(|fold| {
                let part = self.outer(surv, x, outer, fold, groups)?;
                counter.step()?;
                Ok(part)
            })
            .collect::<Result<_>>()?;
        let n = surv.n();
        let mut fit = NestedFit {
            risk: vec![0.0; n],
            percentile: vec![0.0; n],
            folds: outer.clone(),
            chosen: Vec::with_capacity(parts.len()),
        };
        for part in parts {
            for (k, &row) in part.rows.iter().enumerate() {
                fit.risk[row] = part.risk[k];
                fit.percentile[row] = part.percentile[k];
            }
            fit.chosen.push(part.chosen);
        }
        Ok(fit)
    }

    fn outer(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        outer: &Folds,
        fold: usize,
        groups: Option<&[u32]>,
    ) -> Result<Part> {
        let label = outer.label(fold);
        let train = outer.training(fold);
        let rows = outer.held_out(fold);
        let train_surv = surv.subset(&train).map_err(|error| match error {
            Error::NoEvents | Error::TooFewRows { .. } => Error::Fold {
                fold: label,
                reason: "the rows outside it hold no event",
            },
            other => other,
        })?;
        let train_x = x.select(&train)?;
        let seed = self
            .seed
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(fold as u64 + 1);
        let without = |error: Error| error.without_fold(label, &train);
        let mut path = self.path.for_rows(&train);
        let inner = match groups {
            None => Folds::stratified(&train_surv, self.inner, seed),
            Some(groups) => {
                let groups: Vec<u32> = train.iter().map(|&i| groups[i]).collect();
                let inner = Folds::grouped(&train_surv, &groups, self.inner, seed);
                path = path.clusters(groups);
                inner
            }
        };
        let inner = inner.map_err(without)?;
        let alphas = if self.alphas.is_empty() {
            vec![self.path.mixing()]
        } else {
            self.alphas.clone()
        };
        let mut best: Option<(f64, Chosen, Vec<f64>)> = None;
        for alpha in alphas {
            let cv = CrossValidation::new(path.clone().alpha(alpha))
                .measure(self.measure)
                .fit(&train_surv, &train_x, &inner)
                .map_err(without)?;
            let k = match self.rule {
                LambdaRule::Min => cv.index_min(),
                LambdaRule::OneSe => cv.index_1se(),
            };
            let value = self.measure.sign() * cv.cvm()[cv.index_min()];
            if best.as_ref().is_none_or(|(b, _, _)| value < *b) {
                let beta = cv.path().beta(k);
                let chosen = Chosen {
                    alpha,
                    lambda: cv.lambda()[k],
                    df: beta.index.len(),
                };
                best = Some((value, chosen, beta.dense(x.p())));
            }
        }
        let Some((_, chosen, beta)) = best else {
            return Err(Error::Setting {
                name: "alphas",
                value: String::new(),
                expected: "needs at least one value",
            });
        };
        let mut training = train_x.times(&beta)?;
        path.add_offset(&mut training);
        training.sort_unstable_by(f64::total_cmp);
        let mut risk = x.select(&rows)?.times(&beta)?;
        self.path.for_rows(&rows).add_offset(&mut risk);
        let percentile = risk
            .iter()
            .map(|r| {
                let below = training.partition_point(|t| t < r);
                let upto = training.partition_point(|t| t <= r);
                (below + upto) as f64 / (2.0 * training.len() as f64)
            })
            .collect();
        Ok(Part {
            rows,
            risk,
            percentile,
            chosen,
        })
    }
}

struct Part {
    rows: Vec<usize>,
    risk: Vec<f64>,
    percentile: Vec<f64>,
    chosen: Chosen,
}

/// What the inner cross-validation of one outer fold chose.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Mixing parameter.
    pub alpha: f64,
    /// Penalty.
    pub lambda: f64,
    /// Number of nonzero coefficients.
    pub df: usize,
}

/// Out-of-fold predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NestedFit {
    risk: Vec<f64>,
    percentile: Vec<f64>,
    folds: Folds,
    chosen: Vec<Chosen>,
}

impl NestedFit {
    /// Out-of-fold linear predictor of every row, in the units of its own fold's model: compare
    /// rows of one fold with it.
    pub fn risk(&self) -> &[f64] {
        &self.risk
    }

    /// Where each row's prediction lies among the predictions for the training rows of its own
    /// model, from 0 to 1: comparable between folds, whose models differ in shrinkage.
    pub fn percentile(&self) -> &[f64] {
        &self.percentile
    }

    /// The outer folds.
    pub fn folds(&self) -> &Folds {
        &self.folds
    }

    /// What each outer fold chose.
    pub fn chosen(&self) -> &[Chosen] {
        &self.chosen
    }

    /// Risk groups by the quantiles of each model's own training rows (`groups = 2`: their
    /// median), from 0 (lowest risk) upwards. The cut-offs have not seen the rows they divide,
    /// so the groups need not be of equal size. A row exactly at a cut-off, as all are under a
    /// model without coefficients, goes to the lower group.
    pub fn risk_groups(&self, groups: usize) -> Vec<u32> {
        let cuts: Vec<f64> = (1..groups.max(1))
            .map(|g| g as f64 / groups as f64)
            .collect();
        self.percentile
            .iter()
            .map(|p| cuts.partition_point(|cut| cut < p) as u32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cox::twins::cohort;

    #[test]
    fn an_offset_counts_in_every_fit_and_in_every_prediction() {
        let data = cohort(120, 8, 23, false, false);
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let offset: Vec<f64> = (0..120)
            .map(|i| 0.9 * x.get(i, 0) - 0.2 * x.get(i, 5))
            .collect();
        let outer = Folds::stratified(&surv, 4, 9).unwrap();
        let path = CoxPath::new().n_lambda(15).lambda_min_ratio(0.05);
        let nested = |path: CoxPath| NestedCv::new(path).seed(2).fit(&surv, &x, &outer).unwrap();
        let found = nested(path.clone().offset(offset.clone()));
        for fold in 0..4 {
            // The same by hand, at the penalty that was chosen.
            let (train, held) = (outer.training(fold), outer.held_out(fold));
            let of = |rows: &[usize]| rows.iter().map(|&i| offset[i]).collect::<Vec<f64>>();
            let chosen = found.chosen()[fold];
            let one = path
                .clone()
                .alpha(chosen.alpha)
                .lambdas(vec![chosen.lambda]);
            let one = one.offset(of(&train));
            let part = surv.subset(&train).unwrap();
            let fit = one.fit(&part, &x.select(&train).unwrap()).unwrap();
            let beta = fit.beta(0).dense(8);
            let risk = x.select(&held).unwrap().times(&beta).unwrap();
            for ((row, risk), offset) in held.iter().zip(risk).zip(of(&held)) {
                let found = found.risk()[*row];
                assert!(
                    (found - risk - offset).abs() < 1e-5,
                    "{found} {risk} {offset}"
                );
            }
        }
        assert_ne!(found.risk(), nested(path).risk());
    }
}
