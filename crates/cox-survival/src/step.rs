//! Right-continuous step functions: the type of every estimated curve.

use serde::{Deserialize, Serialize};

use crate::compensated::Sum;
use crate::error::{Error, Result, check_finite, check_length};

/// Two heights this close are one height when a curve is inverted (R's tolerance for quantiles).
pub(crate) const HEIGHT_TOLERANCE: f64 = 1.490_116_119_384_765_6e-8;

/// A right-continuous step function: `before` to the left of the first jump, `y[k]` on
/// `[x[k], x[k + 1])`, and the last `y` from the last jump on.
///
/// ```
/// use cox_survival::StepFunction;
/// let survival = StepFunction::new(vec![1.0, 3.0], vec![0.5, 0.0], 1.0)?;
/// assert_eq!(survival.eval_many(&[0.9, 1.0, 2.9, 3.0]), [1.0, 0.5, 0.5, 0.0]);
/// assert_eq!(survival.integral(0.0, 2.0), 1.5);
/// assert_eq!(survival.descends_to(0.5), Some(2.0)); // the middle of the flat step at 0.5
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepFunction {
    x: Vec<f64>,
    y: Vec<f64>,
    before: f64,
}

impl StepFunction {
    /// From jump points (strictly ascending, finite), the values from each jump on, and the value
    /// before the first jump. A value may be NaN where a curve is not defined.
    pub fn new(x: Vec<f64>, y: Vec<f64>, before: f64) -> Result<Self> {
        check_length("y", y.len(), x.len())?;
        check_finite("x", &x)?;
        if let Some(k) = x.windows(2).position(|w| w[0] >= w[1]) {
            return Err(Error::Setting {
                name: "x",
                value: x[k + 1].to_string(),
                expected: "jump points must ascend strictly",
            });
        }
        Ok(Self { x, y, before })
    }

    /// Jump points, ascending.
    pub fn x(&self) -> &[f64] {
        &self.x
    }

    /// Value from each jump point on.
    pub fn y(&self) -> &[f64] {
        &self.y
    }

    /// Value before the first jump point.
    pub fn before(&self) -> f64 {
        self.before
    }

    /// Value at `t`: the last `y[k]` with `x[k] <= t`. `O(log n)`.
    pub fn eval(&self, t: f64) -> f64 {
        match self.x.partition_point(|&x| x <= t) {
            0 => self.before,
            k => self.y[k - 1],
        }
    }

    /// Limit from the left at `t`: the last `y[k]` with `x[k] < t`.
    pub fn eval_left(&self, t: f64) -> f64 {
        match self.x.partition_point(|&x| x < t) {
            0 => self.before,
            k => self.y[k - 1],
        }
    }

    /// Values at many points, in any order.
    pub fn eval_many(&self, t: &[f64]) -> Vec<f64> {
        t.iter().map(|&t| self.eval(t)).collect()
    }

    /// Integral over `[a, b]`; minus the integral over `[b, a]` when `b < a`. `O(n)`.
    pub fn integral(&self, a: f64, b: f64) -> f64 {
        if b < a {
            return -self.integral(b, a);
        }
        let first = self.x.partition_point(|&x| x <= a);
        let last = self.x.partition_point(|&x| x < b);
        let mut sum = Sum::default();
        let (mut from, mut height) = (a, self.eval(a));
        for k in first..last {
            sum.add(height * (self.x[k] - from));
            (from, height) = (self.x[k], self.y[k]);
        }
        sum.add(height * (b - from));
        sum.value()
    }

    /// Where a decreasing function first comes down to `level`, or `None` where it never does.
    ///
    /// If it stays at `level` (to 1.5e-8) for a while, this is the middle of that flat step: the
    /// usual median of an even number of values. A flat step that lasts to the end has no middle
    /// and gives its start. Values that are NaN are passed over.
    pub fn descends_to(&self, level: f64) -> Option<f64> {
        let (start, next) = self.crossing(level)?;
        Some(next.map_or(start, |next| 0.5 * (start + next)))
    }

    /// Start of the first step at or below `level`, and the next descent if that step lies on it.
    pub(crate) fn crossing(&self, level: f64) -> Option<(f64, Option<f64>)> {
        let first = self.y.iter().position(|&y| y < level + HEIGHT_TOLERANCE)?;
        let flat = (self.y[first] - level).abs() < HEIGHT_TOLERANCE;
        let next = (first + 1..self.y.len())
            .find(|&k| flat && self.y[k] < self.y[first])
            .map(|k| self.x[k]);
        Some((self.x[first], next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn faults_are_named() {
        let bad = StepFunction::new(vec![1.0, 1.0], vec![0.0, 0.0], 1.0);
        assert!(matches!(bad, Err(Error::Setting { name: "x", .. })));
        let bad = StepFunction::new(vec![1.0], vec![], 1.0);
        assert!(matches!(bad, Err(Error::Length { .. })));
        let bad = StepFunction::new(vec![f64::NAN], vec![1.0], 1.0);
        assert!(matches!(bad, Err(Error::NotFinite { .. })));
    }

    #[test]
    fn inversion_of_a_decreasing_curve() {
        let f = StepFunction::new(vec![1.0, 2.0, 4.0], vec![0.8, 0.5, 0.2], 1.0).unwrap();
        assert_eq!(f.descends_to(0.6), Some(2.0));
        assert_eq!(f.descends_to(0.5), Some(3.0));
        assert_eq!(f.descends_to(0.2), Some(4.0), "flat to the end");
        assert_eq!(f.descends_to(0.1), None);
    }

    #[test]
    fn serde_round_trip() {
        let f = StepFunction::new(vec![0.1, 2.0], vec![0.3, 1.0 / 3.0], 1.0).unwrap();
        let text = serde_json::to_string(&f).unwrap();
        assert_eq!(serde_json::from_str::<StepFunction>(&text).unwrap(), f);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            jumps in prop::collection::btree_map(0..40i32, -5..5i32, 0..12),
            before in -5..5i32,
            a in -10..50i32,
            b in -10..50i32,
        ) {
            let f = StepFunction::new(
                jumps.keys().map(|&x| f64::from(x)).collect(),
                jumps.values().map(|&y| f64::from(y)).collect(),
                f64::from(before),
            ).unwrap();
            let slow = |t: i32| jumps.range(..=t).next_back().map_or(before, |(_, &y)| y);
            prop_assert!((f.eval(f64::from(a)) - f64::from(slow(a))).abs() < 1e-12);
            prop_assert!((f.eval_left(f64::from(a)) - f64::from(slow(a - 1))).abs() < 1e-12);
            // Between integers the function is constant, so the integral is a plain sum.
            let (lo, hi) = (a.min(b), a.max(b));
            let area: i32 = (lo..hi).map(slow).sum();
            let sign = if a <= b { 1.0 } else { -1.0 };
            let found = f.integral(f64::from(a), f64::from(b));
            prop_assert!((found - sign * f64::from(area)).abs() < 1e-12);
        }
    }
}
