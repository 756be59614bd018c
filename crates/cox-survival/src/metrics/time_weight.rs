//! Weights for the event times of a concordance.

use serde::{Deserialize, Serialize};

use super::censoring::time_blocks;
use crate::error::{Error, Result};
use crate::surv::Surv;

/// How much a comparison at event time `t` counts.
///
/// The concordance is a mean over event times of how the patient who had the event ranks among
/// those at risk, weighted by `v(t)`; a single pair compared at `t` then has the weight
/// `v(t) / n(t)`, with `n(t)` the (weighted) number at risk just before `t`. `S` and `G` are the
/// Kaplan-Meier curves of the event and of the censoring times, just before `t`, and `N` is the
/// total weight; all are taken within the stratum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TimeWeight {
    /// `v = n(t)`: all comparable pairs count the same. Harrell's C.
    #[default]
    N,
    /// `v = N S(t-)`: Peto-Wilcoxon weights.
    S,
    /// `v = N S(t-) / G(t-)`: Schemper's weights.
    #[serde(rename = "S/G")]
    SOverG,
    /// `v = n(t) / G(t-)^2`: Uno's weights. Without left truncation the same as
    /// [`TimeWeight::SOverG`].
    #[serde(rename = "n/G2")]
    NOverG2,
    /// `v = 1`: every event counts the same, as in the log-rank test.
    I,
}

/// Pair weight `v(t) / n(t)` of every event group; `None` when it is 1 throughout.
///
/// `weight(position)` are the case weights. Groups later than `latest` and those whose events
/// have no weight get 0.
pub(super) fn pair_weights(
    surv: &Surv,
    weight: impl Fn(usize) -> f64,
    kind: TimeWeight,
    latest: f64,
) -> Result<Option<Vec<f64>>> {
    let groups = &surv.sorted.groups;
    if kind == TimeWeight::N {
        let one = |time: f64| f64::from(u8::from(time <= latest));
        let cut = latest < f64::INFINITY;
        return Ok(cut.then(|| groups.iter().map(|group| one(group.time)).collect()));
    }
    let mut out = vec![0.0; groups.len()];
    for stratum in &surv.sorted.strata {
        let total: f64 = stratum.positions.clone().map(&weight).sum();
        let (mut s, mut g) = (1.0, 1.0);
        for block in time_blocks(surv, &weight, stratum).iter().rev() {
            let n = block.at_risk;
            if let Some(group) = block.group
                && block.events > 0.0
            {
                if groups[group].time > latest {
                    break;
                }
                out[group] = match kind {
                    TimeWeight::N => 1.0,
                    TimeWeight::S => total * s / n,
                    TimeWeight::SOverG => total * s / (g * n),
                    TimeWeight::NOverG2 => 1.0 / (g * g),
                    TimeWeight::I => 1.0 / n,
                };
                if !out[group].is_finite() {
                    return Err(Error::Undefined {
                        what: "a concordance weighted by 1/G",
                        reason: "the censoring curve reaches 0 before the last event",
                    });
                }
                s *= (n - block.events).max(0.0) / n;
            }
            g *= block.censoring_factor();
        }
    }
    Ok(Some(out))
}
