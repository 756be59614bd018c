//! Cross-validation of a path.

use std::fmt;
use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::curve::{Curve, curve_accessors};
use super::folds::Folds;
use crate::covariates::Covariates;
use crate::cox::likelihood::Likelihood;
use crate::cox::path::{CoxPath, PathFit};
use crate::error::{Error, Result, check_length};
use crate::metrics::Harrell;
use crate::progress::{Counter, Observer, silent};
use crate::surv::Surv;
use crate::table::Table;

/// What is averaged over the folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CvMeasure {
    /// Partial-likelihood deviance per event. Grouped: deviance of all rows minus that of the
    /// training rows, both at the training fit (Verweij & van Houwelingen 1993), which uses the
    /// risk sets of all patients; otherwise the deviance of the held-out rows among themselves.
    Deviance {
        /// Whether the held-out deviance is the difference.
        grouped: bool,
    },
    /// Harrell's concordance of the held-out rows.
    Concordance,
}

impl CvMeasure {
    /// In words.
    pub(super) fn name(self) -> &'static str {
        match self {
            CvMeasure::Deviance { grouped: true } => "partial-likelihood deviance (grouped)",
            CvMeasure::Deviance { grouped: false } => "partial-likelihood deviance (ungrouped)",
            CvMeasure::Concordance => "concordance",
        }
    }

    /// 1 where less is better, -1 where more is.
    pub(super) fn sign(self) -> f64 {
        match self {
            CvMeasure::Deviance { .. } => 1.0,
            CvMeasure::Concordance => -1.0,
        }
    }
}

/// Settings: a path, and what to judge it by.
///
/// Every fold is fitted with its own standardisation. With lambdas of one's own, or after
/// [`CrossValidation::exact`], folds are fitted at exactly the lambdas of the fit to all rows;
/// otherwise, as in `cv.glmnet`, each fold has its own sequence and predictions are interpolated
/// linearly in lambda. Folds run in parallel; results do not depend on the number of threads.
///
/// ```
/// use cox_survival::{CoxPath, Covariates, CrossValidation, Folds, Surv};
/// let n = 60;
/// let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
/// let x: Vec<f64> = (0..n * 20).map(noise).collect();
/// let time: Vec<f64> = (0..n).map(|i| (2.0 - x[i * 20] + noise(i + 5)).exp()).collect();
/// let surv = Surv::new(&time, &vec![true; n])?;
/// let x = Covariates::from_rows(&x, n, 20)?;
/// let cv = CrossValidation::new(CoxPath::new()).fit(&surv, &x, &Folds::stratified(&surv, 5, 1)?)?;
/// assert!(cv.lambda_1se() >= cv.lambda_min());
/// assert!(cv.path().beta(cv.index_min()).index.contains(&0));
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossValidation {
    path: CoxPath,
    measure: CvMeasure,
    exact: bool,
}

impl Default for CrossValidation {
    /// The default path, judged by grouped deviance.
    fn default() -> Self {
        Self::new(CoxPath::default())
    }
}

impl CrossValidation {
    /// Cross-validates `path` by grouped deviance.
    pub fn new(path: CoxPath) -> Self {
        Self {
            path,
            measure: CvMeasure::Deviance { grouped: true },
            exact: false,
        }
    }

    /// What to judge by.
    pub fn measure(mut self, measure: CvMeasure) -> Self {
        self.measure = measure;
        self
    }

    /// Whether folds are fitted at the very lambdas of the fit to all rows rather than along
    /// their own sequences with interpolation (default no, as in `cv.glmnet`).
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Fits the path to all rows and to every fold's training rows.
    ///
    /// # Errors
    /// Those of [`CoxPath::fit`] for all rows; [`Error::WithoutFold`] for a fold's training rows;
    /// [`Error::Fold`] for a fold without an event, without two rows (where they are judged among
    /// themselves), or outside of which there is no event.
    pub fn fit(&self, surv: &Surv, x: &Covariates<'_>, folds: &Folds) -> Result<CvFit> {
        self.fit_with(surv, x, folds, &silent)
    }

    /// [`CrossValidation::fit`] that reports every finished fit (`folds + 1` of them).
    pub fn fit_with(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        folds: &Folds,
        observer: &Observer<'_>,
    ) -> Result<CvFit> {
        check_length("folds", folds.n(), surv.n())?;
        let counter = Counter::new(folds.count() + 1, observer);
        let path = self.path.fit(surv, x)?;
        counter.step()?;
        let along = self.along(path.lambda());
        let held: Vec<Held> = (0..folds.count())
            .into_par_iter()
            .map(|fold| {
                let held = self.fold(surv, x, folds, fold, &along, |along, surv, train| {
                    along.fit(surv, train)?.predict_along(x, path.lambda())
                })?;
                counter.step()?;
                Ok(held)
            })
            .collect::<Result<_>>()?;
        let curve = self.average(&held, 0..path.lambda().len());
        Ok(CvFit {
            path,
            folds: folds.clone(),
            measure: self.measure,
            curve,
        })
    }

    /// The path's settings.
    pub(super) fn path(&self) -> &CoxPath {
        &self.path
    }

    /// What was chosen to judge by.
    pub(super) fn judged_by(&self) -> CvMeasure {
        self.measure
    }

    /// The settings folds are fitted with.
    pub(super) fn along(&self, lambda: &[f64]) -> CoxPath {
        if self.exact {
            self.path.clone().lambdas(lambda.to_vec())
        } else {
            self.path.clone()
        }
    }

    /// Fits without a fold and judges, with `predict` giving linear predictors of all rows from a
    /// fit to the training rows.
    pub(super) fn fold(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        folds: &Folds,
        fold: usize,
        along: &CoxPath,
        predict: impl Fn(&CoxPath, &Surv, &Covariates<'_>) -> Result<Vec<Vec<f64>>>,
    ) -> Result<Held> {
        let label = folds.label(fold);
        let train = folds.training(fold);
        let test = folds.held_out(fold);
        let train_surv = surv.subset(&train).map_err(|error| match error {
            Error::NoEvents | Error::TooFewRows { .. } => Error::Fold {
                fold: label,
                reason: "the rows outside it hold no event",
            },
            other => other,
        })?;
        let fitted = predict(&along.for_rows(&train), &train_surv, &x.select(&train)?);
        let mut eta = fitted.map_err(|error| error.without_fold(label, &train))?;
        for eta in &mut eta {
            along.add_offset(eta);
        }
        let ties = along.tie_method();
        let (values, weight) = match self.measure {
            CvMeasure::Deviance { grouped: true } => {
                let weight = test
                    .iter()
                    .filter(|&&i| surv.event()[i])
                    .map(|&i| surv.weight(i))
                    .sum();
                // A single patient can be judged here, if it had the event.
                if weight <= 0.0 {
                    return Err(no_event(label));
                }
                let mut whole = Likelihood::new(surv, ties);
                let mut part = Likelihood::new(&train_surv, ties);
                let values = eta
                    .iter()
                    .map(|eta| {
                        let among: Vec<f64> = train.iter().map(|&i| eta[i]).collect();
                        deviance(surv, &mut whole, eta) - deviance(&train_surv, &mut part, &among)
                    })
                    .collect();
                (values, weight)
            }
            CvMeasure::Deviance { grouped: false } => {
                let test_surv = held_out(surv, &test, label)?;
                let weight = test
                    .iter()
                    .filter(|&&i| surv.event()[i])
                    .map(|&i| surv.weight(i))
                    .sum();
                let mut part = Likelihood::new(&test_surv, ties);
                let values = eta
                    .iter()
                    .map(|eta| {
                        let among: Vec<f64> = test.iter().map(|&i| eta[i]).collect();
                        deviance(&test_surv, &mut part, &among)
                    })
                    .collect();
                (values, weight)
            }
            CvMeasure::Concordance => {
                let test_surv = held_out(surv, &test, label)?;
                let weight = test.iter().map(|&i| surv.weight(i)).sum();
                let harrell = Harrell::new().variance(false);
                let values = eta
                    .iter()
                    .map(|eta| {
                        let among: Vec<f64> = test.iter().map(|&i| eta[i]).collect();
                        harrell
                            .fit(&test_surv, &among)
                            .map(|c| c.concordance())
                            .map_err(|e| match e {
                                Error::Undefined { .. } => Error::Fold {
                                    fold: label,
                                    reason: "no two of its patients can be compared",
                                },
                                other => other,
                            })
                    })
                    .collect::<Result<_>>()?;
                (values, weight)
            }
        };
        Ok(Held { values, weight })
    }

    /// Averages of the figures at the places `at`, and the choice among them.
    pub(super) fn average(&self, held: &[Held], at: Range<usize>) -> Curve {
        // Deviances are totals and become per-event figures; concordances already are averages.
        let per = |h: &Held, k: usize| match self.measure {
            CvMeasure::Deviance { .. } => h.values[k] / h.weight,
            CvMeasure::Concordance => h.values[k],
        };
        let used: Vec<&Held> = held.iter().filter(|h| h.weight > 0.0).collect();
        let total: f64 = used.iter().map(|h| h.weight).sum();
        let mut cvm = Vec::with_capacity(at.len());
        let mut cvsd = Vec::with_capacity(at.len());
        for k in at {
            let mean = used.iter().map(|h| h.weight * per(h, k)).sum::<f64>() / total;
            let square = used
                .iter()
                .map(|h| h.weight * (per(h, k) - mean).powi(2))
                .sum::<f64>()
                / total;
            cvm.push(mean);
            cvsd.push((square / (used.len() as f64 - 1.0)).sqrt());
        }
        Curve::choose(cvm, cvsd, self.measure.sign())
    }
}

/// Figures of one fold, and its weight in the average.
pub(super) struct Held {
    values: Vec<f64>,
    weight: f64,
}

fn no_event(fold: usize) -> Error {
    Error::Fold {
        fold,
        reason: "it holds no event, by which a model could be judged",
    }
}

fn held_out(surv: &Surv, rows: &[usize], label: usize) -> Result<Surv> {
    surv.subset(rows).map_err(|error| match error {
        Error::NoEvents => no_event(label),
        Error::TooFewRows { .. } => Error::Fold {
            fold: label,
            reason: "it holds fewer than 2 rows",
        },
        other => other,
    })
}

/// Twice the log-likelihood between the saturated model and `eta` (in input order).
fn deviance(surv: &Surv, likelihood: &mut Likelihood<'_>, eta: &[f64]) -> f64 {
    2.0 * (likelihood.saturated() - likelihood.sums(&surv.sorted.by_position(eta)))
}

/// A cross-validated path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CvFit {
    pub(super) path: PathFit,
    pub(super) folds: Folds,
    pub(super) measure: CvMeasure,
    #[serde(flatten)]
    pub(super) curve: Curve,
}

impl CvFit {
    /// The path fitted to all rows.
    pub fn path(&self) -> &PathFit {
        &self.path
    }

    /// The folds.
    pub fn folds(&self) -> &Folds {
        &self.folds
    }

    /// What was averaged.
    pub fn measure(&self) -> CvMeasure {
        self.measure
    }

    /// Lambda sequence, decreasing.
    pub fn lambda(&self) -> &[f64] {
        self.path.lambda()
    }
}

curve_accessors!(
    CvFit,
    "Mean over folds at each lambda (out-of-fold), folds weighted by their events (deviance) or \
     rows (concordance).",
    "Standard error of [`CvFit::cvm`]."
);

impl CvFit {
    /// The two choices as they are printed.
    pub fn table(&self) -> Table {
        let row = |(name, k): (&str, usize)| {
            vec![
                name.to_owned(),
                format!("{:.6}", self.lambda()[k]),
                format!("{:.4}", self.cvm()[k]),
                format!("{:.4}", self.cvsd()[k]),
                self.path.beta(k).index.len().to_string(),
            ]
        };
        let header = ["", "lambda", "measure", "se", "nonzero"];
        let chosen = [("min", self.index_min()), ("1se", self.index_1se())];
        Table::new(&header, chosen.into_iter().map(row).collect())
    }
}

impl fmt::Display for CvFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Cross-validated Cox path, alpha = {}, {} folds, out-of-fold {}\n",
            self.path.alpha(),
            self.folds.count(),
            self.measure.name()
        )?;
        self.table().fmt(f)
    }
}
