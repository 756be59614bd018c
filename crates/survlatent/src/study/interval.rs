//! Estimates with intervals from bootstrap replicates.

use serde::{Deserialize, Serialize};

/// An estimate with its interval; limits are absent where too few replicates have a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub estimate: f64,
    /// Lower limit.
    pub lower: Option<f64>,
    /// Upper limit.
    pub upper: Option<f64>,
}

impl Interval {
    /// Quantiles of the replicates, their distances from the estimate multiplied by `wider`.
    pub fn new(estimate: f64, replicates: &[Option<f64>], level: f64, wider: f64) -> Self {
        let mut values: Vec<f64> = replicates.iter().flatten().copied().collect();
        values.retain(|v| v.is_finite());
        // Less than half of them is no sample of the statistic any more.
        if values.len() < 2 || 2 * values.len() < replicates.len() {
            return Self {
                estimate,
                lower: None,
                upper: None,
            };
        }
        values.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - level) / 2.0;
        let limit = |p| estimate + (quantile(&values, p) - estimate) * wider;
        Self {
            estimate,
            lower: Some(limit(tail)),
            upper: Some(limit(1.0 - tail)),
        }
    }

    /// The same for a distance, which is never negative and which chance makes larger in every
    /// replicate: replicates are moved so that their median is the estimate, and end at 0.
    pub fn of_distance(estimate: f64, replicates: &[Option<f64>], level: f64) -> Self {
        let mut values: Vec<f64> = replicates.iter().flatten().copied().collect();
        values.sort_unstable_by(f64::total_cmp);
        let shift = match values.len() {
            0 => 0.0,
            _ => estimate - quantile(&values, 0.5),
        };
        let moved: Vec<Option<f64>> = replicates
            .iter()
            .map(|v| v.map(|v| (v + shift).max(0.0)))
            .collect();
        Self::new(estimate, &moved, level, 1.0)
    }

    /// The same with limits that end where the figure does: at 0 and 1.
    #[must_use]
    pub fn of_share(self) -> Self {
        Self {
            lower: self.lower.map(|l| l.max(0.0)),
            upper: self.upper.map(|u| u.min(1.0)),
            ..self
        }
    }

    /// Whether all of it lies above a value; without limits nothing is known of that.
    pub fn is_above(&self, value: f64) -> bool {
        self.lower.is_some_and(|l| l > value)
    }

    /// Whether a value lies within.
    pub fn contains(&self, value: f64) -> bool {
        self.lower.is_some_and(|l| l <= value) && self.upper.is_some_and(|u| value <= u)
    }
}

/// How much wider an interval must be than a bootstrap of predictions says, which takes the models
/// as given: `sqrt(1 + noise)`.
///
/// A concordance out of fold is a sum over pairs of a patient predicted and a patient trained on.
/// Where a model holds nothing but noise, the pair (i, j) counts twice with one sign, once with i
/// trained on and once with j: the variance is twice that of a score from elsewhere. Where training
/// rows hardly change the model, it is once. In between, `noise` is the share of the score's variance that
/// comes from the choice of training rows, measured by how well the folds' models agree.
pub fn widening(noise: f64) -> f64 {
    (1.0 + noise.clamp(0.0, 1.0)).sqrt()
}

/// Quantile of ascending values, linear between them (R's type 7).
pub(super) fn quantile(sorted: &[f64], p: f64) -> f64 {
    let last = sorted.len() - 1;
    let place = p.clamp(0.0, 1.0) * last as f64;
    #[expect(clippy::cast_sign_loss, reason = "a share of the last index")]
    let low = (place.floor() as usize).min(last);
    let high = (low + 1).min(last);
    sorted[low] + (place - low as f64) * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_quantiles_moved_apart() {
        let values: Vec<Option<f64>> = (0..=100).map(|k| Some(f64::from(k) / 100.0)).collect();
        let plain = Interval::new(0.5, &values, 0.9, 1.0);
        assert!((plain.lower.unwrap() - 0.05).abs() < 1e-12);
        assert!((plain.upper.unwrap() - 0.95).abs() < 1e-12);
        let wide = Interval::new(0.5, &values, 0.9, widening(1.0));
        assert!((wide.upper.unwrap() - 0.5 - 0.45 * 2f64.sqrt()).abs() < 1e-12);
        assert!(plain.contains(0.05) && !plain.contains(0.96));
        let far = Interval::new(0.9, &values, 0.9, widening(1.0)).of_share();
        assert!(
            far.lower.unwrap().abs() < 1e-12
                && (far.upper.unwrap() - 0.9 - 0.05 * 2f64.sqrt()).abs() < 1e-12
        );
        let high = Interval::new(0.99, &values, 0.9, 10.0).of_share();
        assert!(high.lower.unwrap().abs() < 1e-12);
        assert!(plain.is_above(0.04) && !plain.is_above(0.05) && !plain.is_above(0.97));
        let few = [Some(0.1), None, None, Some(0.2), None];
        let unknown = Interval::new(0.5, &few, 0.9, 1.0);
        assert!(unknown.lower.is_none() && !unknown.is_above(0.0));
    }
}
