//! Restricted mean survival time of predicted curves, with its standard error.
//!
//! The area under `S(t | x) = exp(-H(t | x))` up to `tau`. With `w_k` the area under the step from event
//! time `t_k` on, a change of the hazards changes the mean by `-sum w_k dH(t_k)`, so that to first order
//! (delta method; the covariance of `H` as in [`curves`](super::curves), Tsiatis 1981)
//!
//! ```text
//! var = exp(2 x' beta) ( sum_k (sum_{l >= k} w_l)^2 dQ_k  +  q' V q ),   q = sum_k w_k q(t_k)
//! ```
//!
//! with `dQ_k` the increments of `sum m sum_l 1 / S0_l^2`. R's `print(survfit(fit), rmean = tau)` has the same
//! mean, but a standard error as if the curve were a Kaplan-Meier curve.

use super::curves::CoxCurves;
use crate::compensated::Sum;
use crate::confidence::normal_quantile;
use crate::covariates::Covariates;
use crate::error::{Error, Result};
use crate::kaplan_meier::Rmst;

impl CoxCurves {
    /// Restricted mean survival time of every row of `x` up to `tau`, in stratum `stratum` (0 without
    /// strata), with its standard error and limits. Cost: `O(times p)` each.
    ///
    /// ```
    /// use cox_survival::{CoxPh, Covariates, Surv};
    /// let surv = Surv::new(
    ///     &[5.0, 8.0, 12.0, 16.0, 23.0, 27.0, 30.0, 33.0],
    ///     &[true, true, false, true, true, false, true, true],
    /// )?;
    /// let dose = [1.0, 0.5, 1.5, 0.9, 0.2, 0.6, 0.1, 0.7];
    /// let x = Covariates::from_columns(&dose, 8, 1)?;
    /// let fit = CoxPh::new().fit(&surv, &x)?;
    /// let curves = fit.diagnostics(&surv, &x)?.curves();
    /// let found = curves.rmst(&Covariates::from_rows(&[0.3, 1.2], 2, 1)?, 0, 30.0)?;
    /// assert!(found[0].mean > found[1].mean && found[0].std_err > 0.0);
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`CoxCurves::at`], and [`Error::Setting`] unless `tau` is a positive number.
    pub fn rmst(&self, x: &Covariates<'_>, stratum: usize, tau: f64) -> Result<Vec<Rmst>> {
        if !(tau.is_finite() && tau > 0.0) {
            return Err(Error::Setting {
                name: "tau",
                value: tau.to_string(),
                expected: "must be a positive number",
            });
        }
        let p = self.coef.len();
        let z = normal_quantile(self.level)?;
        let baseline = super::baseline::of_stratum(&self.strata, stratum)?;
        let eta = super::predict::centred(&self.coef, &self.centre, x)?;
        let upto = baseline.time.partition_point(|&t| t < tau);
        let one = |(i, eta): (usize, &f64)| {
            let log_factor = eta - baseline.shift;
            // Widths of the steps times their heights, from the last to the first.
            let mut after = vec![0.0; upto];
            let (mut area, mut right) = (Sum::default(), tau);
            let mut q = vec![0.0; p];
            let mut weighted = 0.0;
            for k in (0..upto).rev() {
                let hazard = (baseline.hazard[k].ln() + log_factor).exp();
                let weight = (-hazard).exp() * (right - baseline.time[k]);
                right = baseline.time[k];
                area.add(weight);
                after[k] = area.value();
                weighted += weight * baseline.hazard[k];
                for (q, drift) in q.iter_mut().zip(&baseline.drift[k * p..(k + 1) * p]) {
                    *q -= weight * drift;
                }
            }
            area.add(right);
            for (j, q) in q.iter_mut().enumerate() {
                *q += weighted * (x.get(i, j) - self.centre[j]) / self.scale[j];
            }
            let (mut variance, mut before) = (Sum::default(), 0.0);
            for (after, square) in after.iter().zip(&baseline.square) {
                variance.add(after * after * (square - before));
                before = *square;
            }
            for a in 0..p {
                for b in 0..p {
                    variance.add(q[a] * self.variance[(a, b)] * q[b]);
                }
            }
            let mean = area.value();
            let std_err = log_factor.exp() * variance.value().max(0.0).sqrt();
            Rmst {
                tau,
                mean,
                std_err,
                lower: mean - z * std_err,
                upper: mean + z * std_err,
            }
        };
        Ok(eta.iter().enumerate().map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::test_data::noise;
    use crate::{Covariates, CoxPh, Error, Resampling, Surv};

    /// Two covariates with an effect; some times tied.
    fn data(n: usize) -> (Surv, Vec<f64>) {
        let x: Vec<f64> = (0..2 * n).map(|k| noise(k) * 1.5).collect();
        let time = |i: usize| {
            let hazard = (0.7 * x[2 * i] - 0.4 * x[2 * i + 1]).exp();
            (1.0 - 10.0 * (0.5 + 0.499 * noise(7 * n + i)).ln() / hazard).round()
        };
        let time: Vec<f64> = (0..n).map(time).collect();
        let event: Vec<bool> = (0..n).map(|i| noise(11 * n + i) > -0.6).collect();
        (Surv::new(&time, &event).unwrap(), x)
    }

    #[test]
    fn the_mean_is_the_area_and_the_error_that_of_all_pairs_of_times() {
        let (surv, x) = data(150);
        let x = Covariates::from_rows(&x, 150, 2).unwrap();
        let fit = CoxPh::new().fit(&surv, &x).unwrap();
        let curves = fit.diagnostics(&surv, &x).unwrap().curves();
        let new = Covariates::from_rows(&[0.4, -1.0, 0.0, 0.3], 2, 2).unwrap();
        for tau in [0.5, 8.0, 12.5, 40.0] {
            let got = curves.rmst(&new, 0, tau).unwrap();
            for (i, curve) in curves.at(&new, 0).unwrap().iter().enumerate() {
                assert!((got[i].mean - curve.rmst(tau).unwrap()).abs() < 1e-12 * tau);
                // Where one step only lies before `tau` the error is that of the curve there.
                let upto = curve.time.iter().filter(|&&t| t < tau).count();
                if upto == 0 {
                    assert!(got[i].std_err.abs() < 1e-15);
                }
                let first = curve.time[0];
                let near = curves.rmst(&new, 0, first + 0.5).unwrap()[i].std_err;
                let want = 0.5 * curve.surv[0] * curve.std_err[0];
                assert!((near - want).abs() < 1e-12 * want);
                // No more than if all hazards erred together, no less than if the last one did.
                let width = |k: usize| {
                    let end = curve.time.get(k + 1).map_or(tau, |t| t.min(tau));
                    curve.surv[k] * (end - curve.time[k])
                };
                let most: f64 = (0..upto).map(|k| width(k) * curve.std_err[k]).sum();
                assert!(got[i].std_err <= most * (1.0 + 1e-12));
            }
        }
        let bad = curves.rmst(&new, 0, f64::NAN);
        assert!(matches!(bad, Err(Error::Setting { name: "tau", .. })));
        let bad = curves.rmst(&new, 3, 1.0);
        assert!(matches!(
            bad,
            Err(Error::Setting {
                name: "stratum",
                ..
            })
        ));
    }

    #[test]
    fn with_known_coefficients_every_pair_of_times_has_the_error_of_the_earlier() {
        let (surv, x) = data(150);
        let x = Covariates::from_rows(&x, 150, 2).unwrap();
        let fit = CoxPh::new().fix("x1", 0.7).fix("x2", -0.4);
        let fit = fit.fit(&surv, &x).unwrap();
        let curves = fit.diagnostics(&surv, &x).unwrap().curves();
        let new = Covariates::from_rows(&[0.4, -1.0, 0.0, 0.3], 2, 2).unwrap();
        for tau in [8.0, 12.5, 40.0] {
            let got = curves.rmst(&new, 0, tau).unwrap();
            for (got, curve) in got.iter().zip(curves.at(&new, 0).unwrap()) {
                let upto = curve.time.iter().filter(|&&t| t < tau).count();
                assert!(upto > 5);
                let area = |k: usize| {
                    let end = curve.time.get(k + 1).map_or(tau, |t| t.min(tau));
                    curve.surv[k] * (end - curve.time[k])
                };
                let pair = |k: usize, l: usize| area(k) * area(l) * curve.std_err[k.min(l)].powi(2);
                let variance: f64 = (0..upto)
                    .map(|k| (0..upto).map(|l| pair(k, l)).sum::<f64>())
                    .sum();
                let want = variance.sqrt();
                assert!((got.std_err - want).abs() < 1e-10 * want, "{got:?}: {want}");
            }
        }
    }

    #[test]
    fn the_error_is_that_of_a_bootstrap() {
        let (n, tau) = (300, 15.0);
        let (surv, x) = data(n);
        let x = Covariates::from_rows(&x, n, 2).unwrap();
        let new = Covariates::from_rows(&[0.8, -0.5], 1, 2).unwrap();
        let one = |rows: &[usize]| {
            let (surv, x) = (surv.subset(rows).unwrap(), x.select(rows).unwrap());
            let fit = CoxPh::new().concordance(false).fit(&surv, &x).unwrap();
            let curves = fit.diagnostics(&surv, &x).unwrap().curves();
            curves.rmst(&new, 0, tau).unwrap()[0]
        };
        let all: Vec<usize> = (0..n).collect();
        let found = one(&all);
        let resampling = Resampling::rows(n);
        let means: Vec<f64> = (0..500).map(|r| one(&resampling.draw(5, r)).mean).collect();
        let centre = means.iter().sum::<f64>() / 500.0;
        let square: f64 = means.iter().map(|m| (m - centre).powi(2)).sum();
        let want = (square / 499.0).sqrt();
        // The bootstrap's own error is 3%.
        assert!(
            (found.std_err / want - 1.0).abs() < 0.12,
            "{} against {want}",
            found.std_err
        );
    }
}
