//! Step curves and bands in pixels.

use std::fmt::Write as _;

use super::svg::number;
use crate::kaplan_meier::KmCurve;

/// Steps closer than this in pixels are drawn as one: a curve of a million times stays small.
const RESOLUTION: f64 = 0.1;
/// Censoring marks closer than this are drawn as one, or they would hide the curve.
const MARK_DISTANCE: f64 = 3.0;

/// The rectangle of the curves: time `0..=x_max` from left to right, survival `0..=1` upwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
    pub(crate) x_max: f64,
}

impl Scale {
    pub(crate) fn x(&self, t: f64) -> f64 {
        self.left + (self.right - self.left) * t / self.x_max
    }

    pub(crate) fn y(&self, survival: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * survival
    }

    /// Pixels of a step function that is 1 at time 0: one point per visible jump, and where it
    /// ends. It ends early where it becomes NaN below the first value.
    fn steps(&self, curve: &KmCurve, values: &[f64]) -> (Vec<(f64, f64)>, f64) {
        let mut points = vec![(self.x(0.0), self.y(1.0))];
        let mut end = self.x(0.0);
        for (k, (&t, &value)) in curve.time.iter().zip(values).enumerate() {
            let x = self.x(t.min(self.x_max));
            end = x;
            // Log-log limits do not exist before the first event; afterwards NaN is the end.
            let value = match value.is_nan() {
                true if curve.surv[k] > 0.0 => 1.0,
                true => break,
                false => value,
            };
            if t > self.x_max {
                break;
            }
            let y = self.y(value);
            match points.last_mut() {
                Some(last) if (last.1 - y).abs() < 1e-9 => {}
                Some(last) if x - last.0 < RESOLUTION && x > self.left => last.1 = y,
                _ => points.push((x, y)),
            }
        }
        (points, end)
    }

    /// The survival curve from (0, 1) to its last time.
    pub(crate) fn curve(&self, curve: &KmCurve) -> String {
        let (points, end) = self.steps(curve, &curve.surv);
        let mut d = format!("M{} {}", number(points[0].0), number(points[0].1));
        for (x, y) in &points[1..] {
            let _ = write!(d, "H{}V{}", number(*x), number(*y));
        }
        let _ = write!(d, "H{}", number(end));
        d
    }

    /// The area between the confidence limits.
    pub(crate) fn band(&self, curve: &KmCurve) -> String {
        let (upper, end) = self.steps(curve, &curve.upper);
        let (lower, _) = self.steps(curve, &curve.lower);
        let mut d = format!("M{} {}", number(upper[0].0), number(upper[0].1));
        for (x, y) in &upper[1..] {
            let _ = write!(d, "H{}V{}", number(*x), number(*y));
        }
        let _ = write!(d, "H{}", number(end));
        for (x, y) in lower.iter().rev() {
            let _ = write!(d, "V{}H{}", number(*y), number(*x));
        }
        d.push('Z');
        d
    }

    /// Short upright marks at the censoring times.
    pub(crate) fn censoring(&self, curve: &KmCurve) -> String {
        let mut d = String::new();
        let mut last = f64::NEG_INFINITY;
        for (k, &t) in curve.time.iter().enumerate() {
            let x = self.x(t);
            if curve.n_censor[k] > 0.0 && t <= self.x_max && x - last >= MARK_DISTANCE {
                let y = self.y(curve.surv[k]);
                let _ = write!(d, "M{} {}v-9", number(x), number(y + 4.5));
                last = x;
            }
        }
        d
    }

    /// Whether the curve (or its band) comes into the box `x.0..x.1`, `y.0..y.1` of pixels.
    pub(crate) fn touches(
        &self,
        curve: &KmCurve,
        band: bool,
        x: (f64, f64),
        y: (f64, f64),
    ) -> bool {
        let time = |x: f64| (x - self.left) / (self.right - self.left) * self.x_max;
        let last = curve.time.last().copied().unwrap_or(0.0);
        if time(x.0) > last {
            return false;
        }
        let value = |values: &[f64], t: f64| {
            let k = curve.time.partition_point(|&u| u <= t);
            (k > 0).then(|| values[k - 1]).filter(|v| !v.is_nan())
        };
        let before = |values: &[f64], t: f64| value(values, t).unwrap_or(1.0);
        // Curves only come down (limits nearly so): the box's two sides bound what lies between.
        let (from, to) = (time(x.0), time(x.1));
        let (upper, lower) = if band {
            (before(&curve.upper, from), value(&curve.lower, to))
        } else {
            (before(&curve.surv, from), value(&curve.surv, to))
        };
        let highest = upper.max(before(&curve.surv, from));
        let lowest = lower.unwrap_or(0.0).min(before(&curve.surv, to));
        self.y(highest) - 6.0 < y.1 && self.y(lowest) + 6.0 > y.0
    }
}
