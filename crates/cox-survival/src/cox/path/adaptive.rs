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
    /// From a ridge, its lambda chosen by ten folds (grouped deviance); `gamma` is 1.
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

    /// From a ridge, its lambda chosen by `folds` folds drawn from `seed`.
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
                let folds = Folds::stratified(surv, *folds, *seed)?;
                let cv = CrossValidation::new(path.pilot()).fit(surv, x, &folds)?;
                Ok(cv.path().beta(cv.index_min()).dense(x.p()))
            }
        }
    }
}
