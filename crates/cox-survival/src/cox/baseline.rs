//! Cumulative baseline hazard.

use serde::{Deserialize, Serialize};

use super::likelihood::Likelihood;
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
}

impl BaselineHazard {
    /// `H0(t)`: 0 before the first event, constant after the last.
    pub fn at(&self, t: f64) -> f64 {
        match self.time.partition_point(|&s| s <= t) {
            0 => 0.0,
            k => self.hazard[k - 1],
        }
    }
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
            let factor = (-shift - offset).exp();
            let mut total = 0.0;
            let (mut time, mut hazard) = (Vec::new(), Vec::new());
            for g in stratum.groups.clone().rev() {
                total += likelihood.groups[g].hazard * factor;
                time.push(sorted.groups[g].time);
                hazard.push(total);
            }
            BaselineHazard {
                stratum: name.clone(),
                time,
                hazard,
            }
        })
        .collect()
}
