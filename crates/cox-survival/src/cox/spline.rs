//! Restricted cubic splines as columns of a model.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite};

/// The basis of cubic splines that are linear beyond their first and last knot.
///
/// With knots `t_1 < .. < t_k` and `(u)+ = max(u, 0)`, the columns are `x` and, for `j = 1..k-2`,
///
/// ```text
/// [ (x - t_j)+^3 - (x - t_{k-1})+^3 (t_k - t_j) / (t_k - t_{k-1})
///                + (x - t_k)+^3 (t_{k-1} - t_j) / (t_k - t_{k-1}) ] / (t_k - t_1)^2
/// ```
///
/// (Harrell 2015, Regression Modeling Strategies, 2.24; `norm = 2` of Hmisc's `rcspline.eval`): all
/// columns have the unit of `x`. An effect is linear if the coefficients of all but the first are 0.
///
/// ```
/// use cox_survival::RestrictedCubicSpline;
/// let age = [31.0, 48.0, 52.0, 55.0, 61.0, 64.0, 68.0, 70.0, 77.0, 83.0];
/// let spline = RestrictedCubicSpline::from_quantiles(&age, 4)?;
/// let columns = spline.basis(&age)?; // row-major [10, 3]
/// assert_eq!((columns.len(), spline.columns()), (30, 3));
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestrictedCubicSpline {
    knots: Vec<f64>,
}

impl RestrictedCubicSpline {
    /// From knots of one's own.
    ///
    /// # Errors
    /// [`Error::Setting`] unless there are at least 3 that ascend strictly and are finite.
    pub fn new(knots: Vec<f64>) -> Result<Self> {
        let ascend = knots.windows(2).all(|w| w[0] < w[1]);
        let finite = knots.iter().all(|t| t.is_finite());
        if knots.len() < 3 || !ascend || !finite {
            return Err(Error::Setting {
                name: "knots",
                value: format!("{knots:?}"),
                expected: "at least 3 finite numbers that ascend strictly",
            });
        }
        Ok(Self { knots })
    }

    /// `k` knots at Harrell's quantiles of the values (3: .1 .5 .9; 4: .05 .35 .65 .95; 5: .05 .275 .5
    /// .725 .95; 6: .05 .23 .41 .59 .77 .95; 7: .025 .1833 .3417 .5 .6583 .8167 .975), by linear
    /// interpolation (R's type 7).
    ///
    /// # Errors
    /// [`Error::Setting`] for another `k`, or when quantiles coincide; [`Error::NotFinite`].
    pub fn from_quantiles(values: &[f64], k: usize) -> Result<Self> {
        check_finite("x", values)?;
        let at: &[f64] = match k {
            3 => &[0.1, 0.5, 0.9],
            4 => &[0.05, 0.35, 0.65, 0.95],
            5 => &[0.05, 0.275, 0.5, 0.725, 0.95],
            6 => &[0.05, 0.23, 0.41, 0.59, 0.77, 0.95],
            7 => &[0.025, 0.1833, 0.3417, 0.5, 0.6583, 0.8167, 0.975],
            _ => {
                return Err(Error::Setting {
                    name: "knots",
                    value: k.to_string(),
                    expected: "3 to 7 have default places",
                });
            }
        };
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return Err(Error::TooFewRows { n: 0 });
        };
        let quantile = |p: f64| {
            let h = p * last as f64;
            let (low, share) = (h.floor(), h - h.floor());
            let below = (0..=last)
                .take_while(|&i| i as f64 <= low)
                .last()
                .unwrap_or(0);
            let above = (below + 1).min(last);
            sorted[below] + share * (sorted[above] - sorted[below])
        };
        Self::new(at.iter().map(|&p| quantile(p)).collect())
    }

    /// The knots.
    pub fn knots(&self) -> &[f64] {
        &self.knots
    }

    /// Number of columns: one fewer than knots.
    pub fn columns(&self) -> usize {
        self.knots.len() - 1
    }

    /// Names of the columns: `x`, `x'`, `x''` and so on.
    pub fn names(&self, x: &str) -> Vec<String> {
        (0..self.columns())
            .map(|k| format!("{x}{}", "'".repeat(k)))
            .collect()
    }

    /// The basis at values, row-major `[values, columns]`.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a value that is none.
    pub fn basis(&self, values: &[f64]) -> Result<Vec<f64>> {
        check_finite("x", values)?;
        let t = &self.knots;
        let k = t.len();
        let size = (t[k - 1] - t[0]).powi(2);
        let cube = |u: f64| u.max(0.0).powi(3);
        let last = t[k - 1] - t[k - 2];
        let mut out = Vec::with_capacity(values.len() * self.columns());
        for &x in values {
            out.push(x);
            for &knot in &t[..k - 2] {
                let bend = cube(x - knot) - cube(x - t[k - 2]) * (t[k - 1] - knot) / last
                    + cube(x - t[k - 1]) * (t[k - 2] - knot) / last;
                out.push(bend / size);
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_linear_outside_and_bends_inside() {
        let spline = RestrictedCubicSpline::new(vec![1.0, 2.0, 4.0, 5.0]).unwrap();
        let second = |x: f64| {
            let b = spline.basis(&[x - 0.1, x, x + 0.1]).unwrap();
            (b[1] - 2.0 * b[4] + b[7], b[2] - 2.0 * b[5] + b[8])
        };
        for x in [-3.0, 0.5, 5.5, 9.0] {
            let (a, b) = second(x);
            assert!(a.abs() < 1e-12 && b.abs() < 1e-12, "{x}: {a} {b}");
        }
        assert!(second(3.0).0 > 1e-3);
        assert_eq!(spline.names("age"), ["age", "age'", "age''"]);
    }

    #[test]
    fn bad_knots_are_refused() {
        for knots in [
            vec![1.0, 2.0],
            vec![1.0, 1.0, 2.0],
            vec![1.0, f64::NAN, 3.0],
        ] {
            assert!(RestrictedCubicSpline::new(knots).is_err());
        }
        assert!(RestrictedCubicSpline::from_quantiles(&[1.0; 9], 3).is_err());
        assert!(RestrictedCubicSpline::from_quantiles(&[1.0, 2.0, 3.0], 8).is_err());
        assert!(RestrictedCubicSpline::from_quantiles(&[], 3).is_err());
    }
}
