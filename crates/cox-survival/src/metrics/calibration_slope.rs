//! Calibration slope: is the spread of a linear predictor right on new patients?

use serde::{Deserialize, Serialize};

use crate::CoxPh;
use crate::confidence::normal_quantile;
use crate::covariates::Covariates;
use crate::error::{Result, check_finite, check_length};
use crate::surv::Surv;

/// The slope of a linear predictor on new patients.
///
/// The slope is the coefficient of the predictor in a Cox model (Efron ties) of its own: 1 if its
/// spread is right, below 1 if predictions are too extreme (overfitting). R:
/// `coxph(Surv(time, status) ~ lp)`. Strata, weights and entry of `surv` are used.
///
/// ```
/// use cox_survival::{Surv, calibration_slope};
/// let surv = Surv::new(&[5.0, 3.0, 9.0, 7.0, 1.0], &[true, true, false, true, true])?;
/// let slope = calibration_slope(&surv, &[0.2, 0.1, -0.4, 0.3, 0.9])?;
/// assert!(slope.slope > 1.0 && slope.lower < slope.slope);
/// # Ok::<(), cox_survival::Error>(())
/// ```
pub fn calibration_slope(surv: &Surv, linear_predictor: &[f64]) -> Result<CalibrationSlope> {
    check_length("linear predictor", linear_predictor.len(), surv.n())?;
    check_finite("linear predictor", linear_predictor)?;
    let x =
        Covariates::from_rows(linear_predictor, surv.n(), 1)?.with_names(["linear predictor"])?;
    let fit = CoxPh::new().concordance(false).fit(surv, &x)?;
    let (slope, std_err) = (fit.coef()[0], fit.se()[0]);
    let z = normal_quantile(0.95)?;
    Ok(CalibrationSlope {
        slope,
        std_err,
        lower: slope - z * std_err,
        upper: slope + z * std_err,
    })
}

/// Result of [`calibration_slope`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationSlope {
    /// The slope; 1 is right.
    pub slope: f64,
    /// Its standard error.
    pub std_err: f64,
    /// Lower 95 % limit.
    pub lower: f64,
    /// Upper 95 % limit.
    pub upper: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::test_data::close;

    #[test]
    fn a_predictor_stretched_has_its_slope_shrunk() {
        let time = [5.0, 3.0, 9.0, 7.0, 1.0, 4.0];
        let surv = Surv::new(&time, &[true, true, false, true, true, true]).unwrap();
        let lp = [0.2, 0.1, -0.4, 0.3, 0.9, -0.1];
        let one = calibration_slope(&surv, &lp).unwrap();
        let stretched: Vec<f64> = lp.iter().map(|v| 4.0 * v + 1.0).collect();
        let four = calibration_slope(&surv, &stretched).unwrap();
        close(four.slope, one.slope / 4.0, 1e-8);
        close(four.upper - four.lower, (one.upper - one.lower) / 4.0, 1e-8);
    }

    #[test]
    fn faults_are_named() {
        let surv = Surv::new(&[1.0, 2.0, 3.0], &[true; 3]).unwrap();
        let slope = calibration_slope(&surv, &[1.0; 3]).unwrap_err();
        assert!(matches!(slope, Error::ConstantColumn { .. }));
        let slope = calibration_slope(&surv, &[1.0, f64::NAN, 0.0]).unwrap_err();
        assert!(matches!(slope, Error::NotFinite { row: 1, .. }));
    }
}
