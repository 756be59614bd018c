//! Cumulative baseline hazard.

use serde::{Deserialize, Serialize};

use super::likelihood::Likelihood;
use crate::error::{Error, Result};
use crate::surv::Surv;

/// `H0(t)` of one stratum at covariates 0, a step function that jumps at event times.
///
/// Breslow's estimator `sum over t_k <= t of d_k / S0(t_k)`, or Efron's with one denominator per
/// tied event, after the ties of the fit. Reference: Breslow (1972), JRSS B 34:216; Efron (1977).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineHazard {
    /// Stratum name, empty without strata.
    pub stratum: String,
    /// Event times, ascending.
    pub time: Vec<f64>,
    /// Cumulative hazard just after each of them.
    #[serde(with = "crate::number::vector")]
    pub hazard: Vec<f64>,
    /// Its logarithm at the means of the columns, which is always within range.
    #[serde(with = "crate::number::vector")]
    pub(crate) log_at_means: Vec<f64>,
}

impl BaselineHazard {
    /// `H0(t)`: 0 before the first event, constant after the last, NaN where `t` is NaN.
    ///
    /// Where covariates 0 are hundreds of linear-predictor units away from the data, `H0` may be 0
    /// or infinite; [`CoxFit::survival`](crate::CoxFit::survival) does not suffer from that.
    pub fn at(&self, t: f64) -> f64 {
        if t.is_nan() {
            return f64::NAN;
        }
        match self.time.partition_point(|&s| s <= t) {
            0 => 0.0,
            k => self.hazard[k - 1],
        }
    }

    /// `log H(t)` at the means of the columns.
    pub(crate) fn log_at(&self, t: f64) -> f64 {
        match self.time.partition_point(|&s| s <= t) {
            0 => f64::NEG_INFINITY,
            k => self.log_at_means[k - 1],
        }
    }
}

/// The baseline of a stratum.
pub(crate) fn of_stratum<T>(strata: &[T], stratum: usize) -> Result<&T> {
    strata.get(stratum).ok_or_else(|| Error::Setting {
        name: "stratum",
        value: stratum.to_string(),
        expected: "must be one of the fit's strata",
    })
}

/// `exp(-H(t) exp(eta))` at every row's `eta` (beside the means of the columns) and every time,
/// row-major `[n, times]`; put together from logarithms, so that nothing is out of range.
///
/// # Errors
/// [`Error::Setting`] for a stratum that is not there, [`Error::NotFinite`] for a time that is NaN, both
/// before `eta` is asked for.
pub(crate) fn survival_of(
    baselines: &[BaselineHazard],
    eta: impl FnOnce() -> Result<Vec<f64>>,
    times: &[f64],
    stratum: usize,
) -> Result<Vec<f64>> {
    let baseline = of_stratum(baselines, stratum)?;
    if let Some(row) = times.iter().position(|t| t.is_nan()) {
        return Err(Error::NotFinite {
            column: "times".to_owned(),
            row,
            value: times[row],
        });
    }
    let hazards: Vec<f64> = times.iter().map(|&t| baseline.log_at(t)).collect();
    Ok(eta()?
        .iter()
        .flat_map(|e| hazards.iter().map(move |h| (-(h + e).exp()).exp()))
        .collect())
}

/// From an evaluated likelihood whose linear predictor was centred at `centre`.
pub(crate) fn baseline(
    surv: &Surv,
    likelihood: &Likelihood<'_>,
    coef: &[f64],
    centre: &[f64],
) -> Vec<BaselineHazard> {
    let offset: f64 = coef.iter().zip(centre).map(|(b, m)| b * m).sum();
    let sorted = likelihood.sorted;
    sorted
        .strata
        .iter()
        .zip(surv.stratum_names())
        .zip(&likelihood.shift)
        .map(|((stratum, name), shift)| {
            let mut total = 0.0f64;
            let mut time = Vec::new();
            let mut log_at_means = Vec::new();
            for g in stratum.groups.clone().rev() {
                total += likelihood.groups[g].hazard;
                time.push(sorted.groups[g].time);
                log_at_means.push(total.ln() - shift);
            }
            BaselineHazard {
                stratum: name.clone(),
                time,
                hazard: log_at_means.iter().map(|l| (l - offset).exp()).collect(),
                log_at_means,
            }
        })
        .collect()
}
