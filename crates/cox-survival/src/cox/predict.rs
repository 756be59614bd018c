//! What a fitted model says of new patients.

use super::baseline::survival_of;
use super::fit::CoxFit;
use crate::covariates::Covariates;
use crate::error::{Result, check_length};

impl CoxFit {
    /// Linear predictor `x' beta` of new rows (not centred).
    pub fn predict(&self, x: &Covariates<'_>) -> Result<Vec<f64>> {
        check_length("covariates (columns)", x.p(), self.coef().len())?;
        x.check(x.n())?;
        x.times(self.coef())
    }

    /// Survival probabilities `S(t | x) = exp(-H0(t) exp(x' beta))` of new rows at `times`,
    /// row-major `[n, times]`, all in stratum `stratum` (0 without strata).
    ///
    /// The exponent is put together from logarithms, with `H0` at the means of the columns, so
    /// that no `x` is so far from 0 that the product of `H0` and `exp(x' beta)` has no value: the
    /// result lies in `[0, 1]`, both included.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) for a value of `x`, or a time, that is NaN;
    /// [`Error::Length`](crate::Error::Length) for another number of columns;
    /// [`Error::Setting`](crate::Error::Setting) for a stratum that the fit does not have.
    pub fn survival(&self, x: &Covariates<'_>, times: &[f64], stratum: usize) -> Result<Vec<f64>> {
        let eta = || centred(self.coef(), self.means(), x);
        survival_of(self.baseline_hazard(), eta, times, stratum)
    }
}

/// `(x - centre)' beta` of new rows; an overflow is an infinity of the right sign.
pub(crate) fn centred(coef: &[f64], centre: &[f64], x: &Covariates<'_>) -> Result<Vec<f64>> {
    check_length("covariates (columns)", x.p(), coef.len())?;
    x.check(x.n())?;
    let terms = || coef.iter().zip(centre).enumerate();
    Ok((0..x.n())
        .map(|i| {
            let eta: f64 = terms().map(|(j, (b, m))| (x.get(i, j) - m) * b).sum();
            if eta.is_finite() {
                return eta;
            }
            // Small enough that no product and no sum of them overflows.
            let small = 2f64.powi(-540);
            let term = |j: usize, b: f64, m: f64| (x.get(i, j) * small - m * small) * (b * small);
            let sum: f64 = terms().map(|(j, (b, m))| term(j, *b, *m)).sum();
            sum / small / small
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use crate::{Covariates, CoxFit, CoxPh, Error, Surv};

    /// Two columns whose means are far from 0.
    fn fitted(shift: f64) -> CoxFit {
        let time: Vec<f64> = (1..=40).map(|i| f64::from(i * 7 % 41)).collect();
        let event: Vec<bool> = (0..40).map(|i| i % 4 != 1).collect();
        let x: Vec<f64> = (0..80)
            .map(|k| shift + f64::from(k * 37 % 83) / 20.0)
            .collect();
        let x = Covariates::from_rows(&x, 40, 2).unwrap();
        CoxPh::new()
            .fit(&Surv::new(&time, &event).unwrap(), &x)
            .unwrap()
    }

    #[test]
    fn covariates_far_from_zero_have_a_survival_curve() {
        let near = fitted(0.0);
        let times = [0.0, 3.0, 17.0, 90.0, f64::INFINITY];
        let rows = [0.5, 1.5, 4.0, 2.0];
        let want = near
            .survival(&Covariates::from_rows(&rows, 2, 2).unwrap(), &times, 0)
            .unwrap();
        assert!(want[2] > 0.0 && want[2] < 1.0);
        // The hazard at 0 leaves the range of numbers; the patients are the same.
        for shift in [1e4, -1e5] {
            let far = fitted(shift);
            let moved: Vec<f64> = rows.iter().map(|x| x + shift).collect();
            let got = far
                .survival(&Covariates::from_rows(&moved, 2, 2).unwrap(), &times, 0)
                .unwrap();
            for (g, w) in got.iter().zip(&want) {
                assert!((g - w).abs() < 1e-8, "{shift}: {g} is not {w}");
            }
        }
        let slopes = near.coef();
        let wild: Vec<f64> = [1e5, 1e300, f64::MAX, -f64::MAX]
            .iter()
            .flat_map(|size| [size * slopes[0].signum(), -size * slopes[1].signum()])
            .chain([f64::MAX, f64::MAX, -f64::MAX, -f64::MAX])
            .collect();
        let got = near
            .survival(&Covariates::from_rows(&wild, 6, 2).unwrap(), &times, 0)
            .unwrap();
        for (k, s) in got.iter().enumerate() {
            assert!((0.0..=1.0).contains(s), "{k}: {s}");
            assert!(
                k % 5 > 0 || *s >= 1.0,
                "before the first event everybody lives"
            );
        }
    }

    #[test]
    fn a_time_that_is_no_number_is_told() {
        let fit = fitted(0.0);
        let x = Covariates::from_rows(&[1.0, 1.0], 1, 2).unwrap();
        assert!(matches!(
            fit.survival(&x, &[1.0, f64::NAN], 0),
            Err(Error::NotFinite { column, row: 1, .. }) if column == "times"
        ));
        assert!(fit.baseline_hazard()[0].at(f64::NAN).is_nan());
        assert!(fit.baseline_hazard()[0].at(-1.0).abs() < 1e-300);
    }
}
