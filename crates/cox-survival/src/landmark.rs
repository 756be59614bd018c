//! Landmark subsets: who is still at risk at a given time, seen from then on.

use crate::error::{Error, Result};
use crate::surv::{Surv, TIME_TOLERANCE};

/// Settings of a landmark analysis: only patients still under observation and event-free at the
/// landmark are kept, and time counts from there. What was measured by then may be used as a
/// covariate or a group without favouring those who lived to see it.
///
/// J. Anderson, K. Cain and R. Gelber, Analysis of survival by tumor response, Journal of Clinical
/// Oncology 1, 1983; horizons: H. van Houwelingen, Dynamic prediction by landmarking in event history
/// analysis, Scandinavian Journal of Statistics 34, 2007.
///
/// ```
/// use cox_survival::{Landmark, Surv};
/// let surv = Surv::new(&[1.0, 3.0, 5.0, 9.0], &[true, true, false, true])?;
/// let subset = Landmark::new(2.0).horizon(6.0).select(&surv)?;
/// assert_eq!(subset.rows, [1, 2, 3]);
/// assert_eq!(subset.surv.time(), [1.0, 3.0, 6.0]);
/// assert_eq!(subset.surv.event(), [true, false, false]);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Landmark {
    time: f64,
    horizon: Option<f64>,
}

/// What [`Landmark::select`] keeps.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LandmarkSubset {
    /// The rows kept, in input order: for covariates, `x.select(&rows)`.
    pub rows: Vec<usize>,
    /// Their outcome from the landmark on.
    pub surv: Surv,
}

impl Landmark {
    /// At `time`, without a horizon.
    pub fn new(time: f64) -> Self {
        Self {
            time,
            horizon: None,
        }
    }

    /// Censors everybody still at risk so long after the landmark. A time that differs from the end by
    /// rounding only (1.5e-8 of it) is at the end: an event then still counts.
    pub fn horizon(mut self, horizon: f64) -> Self {
        self.horizon = Some(horizon);
        self
    }

    /// The rows with a time after the landmark and an entry not after it. Strata and weights are
    /// kept. `O(n log n)`.
    ///
    /// # Errors
    /// [`Error::TooFewRows`] or [`Error::NoEvents`] when too little is left.
    pub fn select(&self, surv: &Surv) -> Result<LandmarkSubset> {
        let setting = |name, value: f64, expected| Error::Setting {
            name,
            value: value.to_string(),
            expected,
        };
        if !(self.time >= 0.0 && self.time.is_finite()) {
            return Err(setting(
                "landmark",
                self.time,
                "must be a finite time of at least 0",
            ));
        }
        let horizon = self.horizon.unwrap_or(f64::INFINITY);
        if horizon.is_nan() || horizon <= 0.0 {
            return Err(setting("horizon", horizon, "must be above 0"));
        }
        let entered = |i: usize| surv.entry().is_none_or(|e| e[i] <= self.time);
        let rows: Vec<usize> = (0..surv.n())
            .filter(|&i| surv.time()[i] > self.time && entered(i))
            .collect();
        // `0.4 - 0.1` is more than 0.3.
        let rounding = TIME_TOLERANCE * (self.time + horizon);
        let after = |i: &usize| {
            let time = surv.time()[*i] - self.time;
            if horizon.is_finite() && (time - horizon).abs() <= rounding {
                horizon
            } else {
                time
            }
        };
        let time: Vec<f64> = rows.iter().map(|i| after(i).min(horizon)).collect();
        let event: Vec<bool> = rows
            .iter()
            .map(|i| surv.event()[*i] && after(i) <= horizon)
            .collect();
        let weights: Vec<f64> = rows.iter().map(|&i| surv.weight(i)).collect();
        let mut builder = Surv::builder(&time, &event)
            .timefix(false)
            .strata_of(surv, rows.iter().copied());
        if surv.weights().is_some() {
            builder = builder.weights(&weights);
        }
        let surv = builder.build()?;
        Ok(LandmarkSubset { rows, surv })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::KaplanMeier;
    use crate::test_data::{self, close};

    proptest! {
        /// Without entry times, survival from the landmark on is conditional survival.
        #[test]
        fn survival_after_the_landmark_is_conditional(rows in test_data::rows(30), at in 0..6i32, horizon in 1..4i32) {
            let mut rows = rows;
            rows.entry = None;
            let (surv, at) = (rows.surv(), f64::from(at));
            let horizon = f64::from(horizon);
            let Ok(subset) = Landmark::new(at).horizon(horizon).select(&surv) else { return Ok(()) };
            let before = KaplanMeier::new().fit(&surv).unwrap();
            let after = KaplanMeier::new().fit(&subset.surv).unwrap();
            for curve in &after.curves {
                let whole = before.curves.iter().find(|c| c.name == curve.name).unwrap();
                for &t in &curve.time {
                    prop_assert!(t <= horizon);
                    let want = whole.survival_at(at + t) / whole.survival_at(at);
                    close(curve.survival_at(t), want, 1e-12);
                }
            }
        }
    }

    #[test]
    fn an_event_at_the_horizon_counts_whatever_the_rounding() {
        for (landmark, horizon, end) in [(0.1, 0.3, 0.4), (0.4, 0.3, 0.7), (1e-9, 3e-9, 4e-9)] {
            let time = [end, end, 0.9 * end, 1.1 * end, 1.1 * end];
            let event = [true, false, true, true, false];
            let surv = Surv::builder(&time, &event).timefix(false).build().unwrap();
            let subset = Landmark::new(landmark).horizon(horizon);
            let subset = subset.select(&surv).unwrap().surv;
            assert_eq!(subset.event(), [true, false, true, false, false], "{end}");
            let at_the_end = subset
                .time()
                .iter()
                .filter(|t| t.total_cmp(&horizon).is_eq());
            assert_eq!(at_the_end.count(), 4, "{end}");
        }
    }

    #[test]
    fn strata_stay_in_their_order() {
        let surv = Surv::builder(&[2.0, 3.0, 4.0, 5.0, 1.0], &[true; 5])
            .strata(&[10, 2, 10, 2, 7])
            .build()
            .unwrap();
        let subset = Landmark::new(1.0).select(&surv).unwrap().surv;
        assert_eq!(subset.stratum_names(), ["2", "10"]);
        assert_eq!(subset.stratum(), [1, 0, 1, 0]);
    }

    #[test]
    fn only_who_has_entered_by_then_is_kept() {
        let surv = Surv::builder(&[2.0, 5.0, 6.0, 7.0], &[true; 4])
            .entry(&[0.0, 1.0, 2.0, 3.0])
            .weights(&[1.0, 2.0, 3.0, 4.0])
            .build()
            .unwrap();
        let subset = Landmark::new(2.0).select(&surv).unwrap();
        assert_eq!(subset.rows, [1, 2]);
        assert_eq!(subset.surv.weights().unwrap(), [2.0, 3.0]);
        assert!(subset.surv.entry().is_none());
        assert!(matches!(
            Landmark::new(6.5).select(&surv),
            Err(Error::TooFewRows { .. })
        ));
        assert!(matches!(
            Landmark::new(-1.0).select(&surv),
            Err(Error::Setting {
                name: "landmark",
                ..
            })
        ));
        let none = Landmark::new(2.0).horizon(0.0).select(&surv);
        assert!(matches!(
            none,
            Err(Error::Setting {
                name: "horizon",
                ..
            })
        ));
    }
}
