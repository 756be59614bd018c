//! Random outcomes with predicted curves, for property tests of the metrics.

use proptest::prelude::*;

use super::predicted::PredictedSurvival;
use crate::Surv;

/// Tied whole-number times, weights in quarters (some 0), curves on a grid of their own.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) time: Vec<f64>,
    pub(super) event: Vec<bool>,
    pub(super) weights: Vec<f64>,
    pub(super) times: Vec<f64>,
    /// Row-major.
    pub(super) predicted: Vec<f64>,
}

impl Case {
    pub(super) fn surv(&self) -> Surv {
        let builder = Surv::builder(&self.time, &self.event).weights(&self.weights);
        builder.build().unwrap()
    }

    pub(super) fn curves(&self) -> PredictedSurvival {
        PredictedSurvival::from_rows(&self.times, &self.predicted, self.time.len()).unwrap()
    }

    /// The rows `rows` with weight 1 each.
    pub(super) fn repeated(&self, rows: &[usize]) -> Self {
        let m = self.times.len();
        Self {
            time: rows.iter().map(|&i| self.time[i]).collect(),
            event: rows.iter().map(|&i| self.event[i]).collect(),
            weights: vec![1.0; rows.len()],
            times: self.times.clone(),
            predicted: rows
                .iter()
                .flat_map(|&i| self.predicted[i * m..(i + 1) * m].to_vec())
                .collect(),
        }
    }

    /// The censoring curve by its definition, at `t` or just before.
    pub(super) fn censoring(&self, t: f64, at: bool) -> f64 {
        let mut times = self.time.clone();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let sum = |of: &dyn Fn(usize) -> bool| -> f64 {
            (0..self.time.len())
                .filter(|&j| of(j))
                .map(|j| self.weights[j])
                .sum()
        };
        let before = times.iter().filter(|&&u| u < t || (at && u <= t));
        before.fold(1.0, |g, &u| {
            let here = |j: usize| self.time[j].total_cmp(&u).is_eq();
            let censored = sum(&|j| here(j) && !self.event[j]);
            let risk = sum(&|j| self.time[j] > u || (here(j) && !self.event[j]));
            if censored > 0.0 {
                g * (1.0 - censored / risk)
            } else {
                g
            }
        })
    }
}

/// 4 to 30 rows at 8 distinct times, 1 to 4 evaluation times among and between them; the first row
/// is a full event.
pub(super) fn cases() -> impl Strategy<Value = Case> {
    let row = (1..9i32, any::<bool>(), 0..9u8);
    let rows = prop::collection::vec(row, 4..30);
    let times = prop::collection::btree_set(1..17i32, 1..5);
    let steps = prop::collection::vec(0..5u8, 4 * 30);
    (rows, times, steps).prop_map(|(rows, times, steps)| {
        let (n, m) = (rows.len(), times.len());
        let mut predicted = vec![0.0; n * m];
        for i in 0..n {
            let mut s = 1.0;
            for k in 0..m {
                s *= 1.0 - f64::from(steps[i * 4 + k]) / 5.0;
                predicted[i * m + k] = s;
            }
        }
        let mut case = Case {
            time: rows.iter().map(|r| f64::from(r.0)).collect(),
            event: rows.iter().map(|r| r.1).collect(),
            weights: rows.iter().map(|r| f64::from(r.2) / 4.0).collect(),
            times: times.into_iter().map(|t| f64::from(t) / 2.0).collect(),
            predicted,
        };
        case.event[0] = true;
        case.weights[0] = 1.0;
        case
    })
}
