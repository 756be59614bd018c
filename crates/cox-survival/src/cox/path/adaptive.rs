//! Penalty factors from a first fit: the adaptive lasso.
//!
//! With `b` the first fit in the units in which the penalty acts (standardised ones by default),
//! column `j` is penalised by `v_j / |b_j|^gamma`: what looked weak at first is held back more.
//! Reference: Zou (2006), JASA 101:1418; for the Cox model Zhang & Lu (2007), Biometrika 94:691.

use serde::{Deserialize, Serialize};

use super::problem::{Problem, Terms};
use super::settings::{CoxPath, rescale, setting};
use crate::covariates::Covariates;
use crate::error::{Error, Result, check_finite, check_length};
use crate::surv::Surv;
use crate::validation::cross_validation::CrossValidation;
use crate::validation::folds::Folds;

/// How the factors of an adaptive lasso come about ([`CoxPath::adaptive`]).
///
/// Those of a ridge are computed from the very rows a path is fitted to, so that in a
/// cross-validation every fold's factors are made without the rows it is judged on.
///
/// ```
/// use cox_survival::{AdaptiveWeights, CoxPath, Covariates, Surv};
/// let n = 80;
/// let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
/// let x: Vec<f64> = (0..n * 10).map(noise).collect();
/// let time: Vec<f64> = (0..n).map(|i| (2.0 - x[i * 10] + 0.3 * noise(i + 5)).exp()).collect();
/// let surv = Surv::new(&time, &vec![true; n])?;
/// let x = Covariates::from_rows(&x, n, 10)?;
/// let path = CoxPath::new().adaptive(AdaptiveWeights::ridge()).n_lambda(20);
/// let fit = path.fit(&surv, &x)?;
/// assert_eq!(fit.beta(1).index, [0], "the one real feature comes first");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveWeights {
    gamma: f64,
    pilot: Pilot,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pilot {
    /// A ridge, at `lambda` or at the best of a cross-validation.
    Ridge {
        lambda: Option<f64>,
        folds: usize,
        seed: u64,
    },
    /// In original units.
    Coefficients(Vec<f64>),
}

impl AdaptiveWeights {
    /// From a ridge, its lambda chosen by ten folds (grouped deviance) that keep
    /// [`CoxPath::clusters`] together; `gamma` is 1.
    pub fn ridge() -> Self {
        Self {
            gamma: 1.0,
            pilot: Pilot::Ridge {
                lambda: None,
                folds: 10,
                seed: 0,
            },
        }
    }

    /// From a ridge at this lambda.
    pub fn ridge_at(lambda: f64) -> Self {
        Self {
            gamma: 1.0,
            pilot: Pilot::Ridge {
                lambda: Some(lambda),
                folds: 0,
                seed: 0,
            },
        }
    }

    /// From a ridge, its lambda chosen by `folds` folds drawn from `seed` (fewer where fewer patients or
    /// clusters have an event).
    pub fn ridge_cv(folds: usize, seed: u64) -> Self {
        Self {
            gamma: 1.0,
            pilot: Pilot::Ridge {
                lambda: None,
                folds,
                seed,
            },
        }
    }

    /// From coefficients in original units; columns with coefficient 0 are left out. Where they
    /// come from the same patients, a cross-validation of the path is too good.
    pub fn from_coefficients(coef: Vec<f64>) -> Self {
        Self {
            gamma: 1.0,
            pilot: Pilot::Coefficients(coef),
        }
    }

    /// The exponent (default 1).
    pub fn gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// Multiplies the factors of `terms`, and excludes what would have an infinite one.
    pub(super) fn apply(
        &self,
        path: &CoxPath,
        surv: &Surv,
        x: &Covariates<'_>,
        terms: &mut Terms,
    ) -> Result<()> {
        if !(self.gamma > 0.0 && self.gamma.is_finite()) {
            let expected = "must be positive and finite";
            return Err(setting("adaptive gamma", &self.gamma, expected));
        }
        let coef = self.first_fit(path, surv, x)?;
        let scale = Problem::new(surv, x, path.standardize, terms.clone()).scale;
        for j in 0..x.p() {
            let size = (coef[j] * scale[j]).abs();
            let factor = terms.factor[j] / size.powf(self.gamma);
            if terms.factor[j] <= 0.0 {
                continue;
            }
            if factor.is_finite() {
                terms.factor[j] = factor;
            } else {
                terms.excluded[j] = true;
            }
        }
        let excluded = &terms.excluded;
        if (0..x.p()).all(|j| excluded[j] || terms.factor[j] <= 0.0) {
            return Err(Error::Undefined {
                what: "an adaptive lasso",
                reason: "the first fit leaves no penalised coefficient different from 0",
            });
        }
        for (factor, excluded) in terms.factor.iter_mut().zip(excluded) {
            if *excluded {
                *factor = 1.0;
            }
        }
        terms.factor = rescale(&terms.factor);
        Ok(())
    }

    /// Coefficients of the first fit, in original units.
    fn first_fit(&self, path: &CoxPath, surv: &Surv, x: &Covariates<'_>) -> Result<Vec<f64>> {
        match &self.pilot {
            Pilot::Coefficients(coef) => {
                check_length("adaptive coefficients", coef.len(), x.p())?;
                check_finite("adaptive coefficients", coef)?;
                Ok(coef.clone())
            }
            Pilot::Ridge {
                lambda: Some(lambda),
                ..
            } => {
                let fit = path.pilot().lambdas(vec![*lambda]).fit(surv, x)?;
                Ok(fit.beta(0).dense(x.p()))
            }
            Pilot::Ridge {
                lambda: None,
                folds,
                seed,
            } => {
                let own: Vec<u32> = (0..surv.n() as u32).collect();
                let clusters = match path.clusters.as_slice() {
                    [] => &own,
                    clusters => clusters,
                };
                // Every fold needs an event.
                let mut eventful: Vec<u32> = (0..surv.n())
                    .filter(|&i| surv.event()[i] && surv.weight(i) > 0.0)
                    .map(|i| clusters[i])
                    .collect();
                eventful.sort_unstable();
                eventful.dedup();
                let folds = (*folds).min(eventful.len().max(2));
                let folds = Folds::grouped(surv, clusters, folds, *seed)?;
                let cv = CrossValidation::new(path.pilot()).fit(surv, x, &folds)?;
                Ok(cv.path().beta(cv.index_min()).dense(x.p()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cox::twins::cohort;

    #[test]
    fn the_ridge_is_chosen_in_folds_that_keep_clusters_together() {
        let data = cohort(80, 6, 4, false, false);
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let clusters: Vec<u32> = (0..80).map(|i| i / 4).collect();
        let path = CoxPath::new().n_lambda(10).clusters(clusters.clone());
        let found = path
            .clone()
            .adaptive(AdaptiveWeights::ridge_cv(5, 3))
            .fit(&surv, &x)
            .unwrap();
        // The same by hand: its lambda, and then the ridge at it.
        let chosen = |folds: &Folds| {
            let cv = CrossValidation::new(path.pilot())
                .fit(&surv, &x, folds)
                .unwrap();
            let coef = cv.path().beta(cv.index_min()).dense(6);
            let weights = AdaptiveWeights::from_coefficients(coef);
            path.clone().adaptive(weights).fit(&surv, &x).unwrap()
        };
        assert_eq!(
            found,
            chosen(&Folds::grouped(&surv, &clusters, 5, 3).unwrap())
        );
        assert_ne!(found, chosen(&Folds::stratified(&surv, 5, 3).unwrap()));
        let short = path.clusters(vec![1, 2]).fit(&surv, &x);
        assert!(matches!(short, Err(Error::Length { .. })));
    }

    #[test]
    fn with_few_events_there_are_as_many_folds() {
        let data = cohort(30, 2, 9, false, false);
        let event: Vec<bool> = (0..30).map(|i| i % 8 == 1).collect();
        let surv = Surv::new(data.surv().unwrap().time(), &event).unwrap();
        let path = CoxPath::new().n_lambda(6).lambda_min_ratio(0.1);
        let fit = |weights| {
            path.clone()
                .adaptive(weights)
                .fit(&surv, &data.covariates())
        };
        assert_eq!(
            fit(AdaptiveWeights::ridge()),
            fit(AdaptiveWeights::ridge_cv(4, 0))
        );
        assert!(fit(AdaptiveWeights::ridge()).is_ok());
    }
}
