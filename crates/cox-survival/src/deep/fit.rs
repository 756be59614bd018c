//! A trained network.

use std::fmt;

use faer::Mat;
use serde::{Deserialize, Serialize};

use super::network::Weights;
use super::train::DeepSurv;
use crate::covariates::Covariates;
use crate::cox::Ties;
use crate::cox::baseline::{BaselineHazard, baseline, survival_of};
use crate::cox::likelihood::Likelihood;
use crate::error::{Error, Result, check_length};
use crate::metrics::Harrell;
use crate::surv::Surv;

/// Loss after one pass over the data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Negative log partial likelihood per event of the patients trained on, with dropout, mean
    /// over the epoch's steps (in-sample).
    pub training: f64,
    /// The same of the patients held out for early stopping.
    pub validation: Option<f64>,
}

/// How columns become inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Inputs {
    pub(super) names: Vec<String>,
    pub(super) mean: Vec<f64>,
    /// 0 for a constant column, which is left out.
    pub(super) scale: Vec<f64>,
}

impl Inputs {
    pub(super) fn new(surv: &Surv, x: &Covariates<'_>, standardize: bool) -> Result<Self> {
        let (mut mean, mut scale) = (Vec::with_capacity(x.p()), Vec::with_capacity(x.p()));
        let total: f64 = (0..surv.n()).map(|i| surv.weight(i)).sum();
        for j in 0..x.p() {
            let column = x.column(j);
            let weighted = |f: &dyn Fn(f64) -> f64| {
                let terms = column.iter().enumerate();
                terms
                    .map(|(i, &v)| surv.weight(i) / total * f(v))
                    .sum::<f64>()
            };
            let centre = weighted(&|v| v);
            let sd = weighted(&|v| (v - centre).powi(2)).sqrt();
            if !centre.is_finite() || !sd.is_finite() {
                return Err(crate::overflow::overflow(x, j));
            }
            let varies = sd > 1e-14 * centre.abs();
            mean.push(if standardize { centre } else { 0.0 });
            scale.push(match (varies, standardize) {
                (false, _) => 0.0,
                (true, true) => sd,
                (true, false) => 1.0,
            });
        }
        if scale.iter().all(|&s| s <= 0.0) {
            return Err(Error::ConstantColumn { column: x.name(0) });
        }
        Ok(Self {
            names: x.names(),
            mean,
            scale,
        })
    }

    fn value(&self, x: &Covariates<'_>, i: usize, j: usize) -> f64 {
        if self.scale[j] > 0.0 {
            (x.get(i, j) - self.mean[j]) / self.scale[j]
        } else {
            0.0
        }
    }

    /// Standardised rows, row-major.
    pub(super) fn rows(&self, x: &Covariates<'_>, rows: &[usize]) -> Vec<f32> {
        let row = |&i: &usize| (0..x.p()).map(move |j| self.value(x, i, j) as f32);
        rows.iter().flat_map(row).collect()
    }

    pub(super) fn standardised(&self, x: &Covariates<'_>, rows: &[usize]) -> Mat<f64> {
        Mat::from_fn(rows.len(), x.p(), |i, j| self.value(x, rows[i], j))
    }
}

/// Negative log partial likelihood per event at log risks by row.
pub(super) fn loss(surv: &Surv, ties: Ties, log_risk: &[f64]) -> f64 {
    let mut likelihood = Likelihood::new(surv, ties);
    let events = (0..surv.n()).filter(|&i| surv.event()[i]);
    -likelihood.sums(&surv.sorted.by_position(log_risk))
        / events.map(|i| surv.weight(i)).sum::<f64>()
}

/// A trained network with its baseline hazard. Predictions are made on the host, in double
/// precision, wherever it was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepSurvFit {
    pub(super) settings: DeepSurv,
    pub(super) inputs: Inputs,
    pub(super) weights: Weights,
    pub(super) about: About,
}

/// What is not weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) n: usize,
    pub(super) n_events: usize,
    pub(super) history: Vec<Epoch>,
    pub(super) epoch: usize,
    pub(super) baseline: Vec<BaselineHazard>,
    #[serde(with = "crate::number")]
    pub(super) concordance: f64,
}

impl DeepSurvFit {
    pub(super) fn assemble(
        settings: DeepSurv,
        surv: &Surv,
        x: &Covariates<'_>,
        inputs: Inputs,
        weights: Weights,
        history: Vec<Epoch>,
        epoch: usize,
    ) -> Result<Self> {
        let rows: Vec<usize> = (0..x.n()).collect();
        let risk = weights.evaluate(settings.shape(), inputs.standardised(x, &rows));
        if risk.iter().any(|r| !r.is_finite()) {
            return Err(Error::Diverged { epoch });
        }
        let mut likelihood = Likelihood::new(surv, settings.tied());
        likelihood.sums(&surv.sorted.by_position(&risk));
        let harrell = Harrell::new().variance(false).fit(surv, &risk);
        Ok(Self {
            about: About {
                n: surv.n(),
                n_events: surv.n_events(),
                history,
                epoch,
                baseline: baseline(surv, &likelihood, &[], &[]),
                concordance: harrell.map_or(f64::NAN, |c| c.concordance()),
            },
            settings,
            inputs,
            weights,
        })
    }

    /// The settings it was trained with.
    pub fn settings(&self) -> &DeepSurv {
        &self.settings
    }

    /// Column names.
    pub fn names(&self) -> &[String] {
        &self.inputs.names
    }

    /// Losses, epoch by epoch.
    pub fn history(&self) -> &[Epoch] {
        &self.about.history
    }

    /// The epoch whose weights were kept, from 0.
    pub fn epoch(&self) -> usize {
        self.about.epoch
    }

    /// Harrell's concordance on the patients it was fitted to (in-sample).
    pub fn concordance(&self) -> f64 {
        self.about.concordance
    }

    /// Cumulative hazard of a patient of log risk 0, per stratum, by Breslow's or Efron's
    /// estimator from all rows.
    pub fn baseline_hazard(&self) -> &[BaselineHazard] {
        &self.about.baseline
    }

    /// Log risk of new rows.
    pub fn predict(&self, x: &Covariates<'_>) -> Result<Vec<f64>> {
        check_length("covariates (columns)", x.p(), self.inputs.names.len())?;
        x.check(x.n())?;
        let rows: Vec<usize> = (0..x.n()).collect();
        let inputs = self.inputs.standardised(x, &rows);
        Ok(self.weights.evaluate(self.settings.shape(), inputs))
    }

    /// Survival probabilities `exp(-H0(t) exp(log risk))` of new rows at `times`, row-major
    /// `[n, times]`, all in stratum `stratum` (0 without strata).
    pub fn survival(&self, x: &Covariates<'_>, times: &[f64], stratum: usize) -> Result<Vec<f64>> {
        survival_of(&self.about.baseline, || self.predict(x), times, stratum)
    }

    /// The coefficients of a network without hidden layers, in original units: a Cox model's.
    pub fn linear_coef(&self) -> Option<Vec<f64>> {
        let per_unit = |(&w, &s): (&f32, &f64)| if s > 0.0 { f64::from(w) / s } else { 0.0 };
        let head = self.weights.head.iter().zip(&self.inputs.scale);
        self.weights
            .layers
            .is_empty()
            .then(|| head.map(per_unit).collect())
    }
}

impl fmt::Display for DeepSurvFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = &self.about;
        let widths = std::iter::once(self.inputs.names.len())
            .chain(self.weights.layers.iter().map(|l| l.bias.len()))
            .chain([1]);
        let widths: Vec<String> = widths.map(|w| w.to_string()).collect();
        writeln!(
            f,
            "DeepSurv {}, {} ties",
            widths.join(" - "),
            self.settings.tied().name()
        )?;
        writeln!(f, "n = {}, number of events = {}", about.n, about.n_events)?;
        write!(f, "\nepochs {}", about.history.len())?;
        if let Some(kept) = about.history.get(about.epoch) {
            write!(
                f,
                ", weights of epoch {}: loss {:.4} (in-sample)",
                about.epoch + 1,
                kept.training
            )?;
            if let Some(held) = kept.validation {
                write!(f, ", {held:.4} (held out, chose the epoch)")?;
            }
        }
        writeln!(f, "\nConcordance (in-sample) = {:.4}", about.concordance)
    }
}
