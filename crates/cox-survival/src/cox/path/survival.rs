//! Baseline hazard and survival curves of penalised coefficients.
//!
//! The coefficients are taken as given: with the linear predictor `eta` of the training rows,
//! `dH0(t) = d(t) / sum over those at risk of w exp(eta)` after Breslow, or Efron's increments. There are no
//! limits: a penalised estimate has no standard error that would say what it is worth. Reference: Breslow
//! (1972), JRSS B 34:216.

use serde::{Deserialize, Serialize};

use super::relaxed::RelaxedFit;
use super::result::PathFit;
use crate::covariates::Covariates;
use crate::cox::Ties;
use crate::cox::baseline::{BaselineHazard, baseline, survival_of};
use crate::cox::likelihood::Likelihood;
use crate::cox::predict::centred;
use crate::error::{Result, check_finite, check_length};
use crate::format_version::FormatVersion;
use crate::surv::Surv;
use crate::validation::cross_validation::CvFit;
use crate::validation::nested::LambdaRule;

/// What penalised coefficients predict: a baseline hazard per stratum, and survival of new patients.
///
/// ```
/// use cox_survival::{CoxPath, Covariates, CrossValidation, Folds, LambdaRule, Surv};
/// let n = 60;
/// let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
/// let x: Vec<f64> = (0..n * 100).map(noise).collect();
/// let time: Vec<f64> = (0..n).map(|i| (2.0 - x[i * 100] + 0.3 * noise(i + 5)).exp()).collect();
/// let surv = Surv::new(&time, &vec![true; n])?;
/// let x = Covariates::from_rows(&x, n, 100)?;
/// let folds = Folds::stratified(&surv, 5, 1)?;
/// let cv = CrossValidation::new(CoxPath::new().n_lambda(20)).fit(&surv, &x, &folds)?;
/// let model = cv.survival(&surv, &x, LambdaRule::Min, &[])?;
/// // The first two patients, after 1, 5 and 20 days.
/// let curves = model.survival(&x.select(&[0, 1])?, &[1.0, 5.0, 20.0], 0)?;
/// assert!(curves[0] > curves[1] && curves[1] > curves[2]);
/// println!("hazard at covariates 0 after 5 days: {}", model.baseline_hazard()[0].at(5.0));
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathSurvival {
    version: FormatVersion,
    names: Vec<String>,
    ties: Ties,
    coef: Vec<f64>,
    /// Of the columns, so that covariates far from 0 lose no digits.
    means: Vec<f64>,
    baseline: Vec<BaselineHazard>,
}

impl PathSurvival {
    /// From coefficients of any origin, in original units, and the rows they were fitted to. `offset` is by
    /// row, or empty.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) and [`Error::NotFinite`](crate::Error::NotFinite);
    /// [`Error::Setting`](crate::Error::Setting) for exact ties.
    pub fn new(
        surv: &Surv,
        x: &Covariates<'_>,
        coef: &[f64],
        ties: Ties,
        offset: &[f64],
    ) -> Result<Self> {
        x.check(surv.n())?;
        check_length("coefficients", coef.len(), x.p())?;
        check_finite("coefficients", coef)?;
        if !offset.is_empty() {
            check_length("offset", offset.len(), surv.n())?;
            check_finite("offset", offset)?;
        }
        if ties == Ties::Exact {
            return Err(super::settings::setting(
                "ties",
                &ties.name(),
                "must be efron or breslow for a path",
            ));
        }
        let total: f64 = (0..surv.n()).map(|i| surv.weight(i)).sum();
        let mean = |(j, b): (usize, &f64)| {
            // Of a column that is not used nothing is asked.
            if b.abs() <= 0.0 {
                return 0.0;
            }
            let column = x.column(j);
            let terms = column.iter().enumerate();
            terms.map(|(i, v)| surv.weight(i) / total * v).sum()
        };
        let means: Vec<f64> = coef.iter().enumerate().map(mean).collect();
        let mut eta = centred(coef, &means, x)?;
        for (e, o) in eta.iter_mut().zip(offset) {
            *e += o;
        }
        let mut likelihood = Likelihood::new(surv, ties);
        likelihood.sums(&surv.sorted.by_position(&eta));
        Ok(Self {
            version: FormatVersion,
            names: x.names(),
            ties,
            baseline: baseline(surv, &likelihood, coef, &means),
            coef: coef.to_vec(),
            means,
        })
    }

    /// Column names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How ties were treated.
    pub fn ties(&self) -> Ties {
        self.ties
    }

    /// All coefficients, in original units.
    pub fn coef(&self) -> &[f64] {
        &self.coef
    }

    /// Cumulative hazard at covariates and offset 0, per stratum.
    pub fn baseline_hazard(&self) -> &[BaselineHazard] {
        &self.baseline
    }

    /// Survival probabilities `exp(-H0(t) exp(x' beta))` of new rows at `times`, row-major
    /// `[n, times]`, all in stratum `stratum` (0 without strata), at offset 0.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) for a value of `x`, or a time, that is NaN;
    /// [`Error::Length`](crate::Error::Length) for another number of columns;
    /// [`Error::Setting`](crate::Error::Setting) for a stratum that is not there.
    pub fn survival(&self, x: &Covariates<'_>, times: &[f64], stratum: usize) -> Result<Vec<f64>> {
        let eta = || centred(&self.coef, &self.means, x);
        survival_of(&self.baseline, eta, times, stratum)
    }
}

impl PathFit {
    /// Baseline hazard and survival at `lambda` (coefficients as [`PathFit::coef_at`] has them), from the
    /// rows the path was fitted to and their offset (empty without one).
    ///
    /// # Errors
    /// Those of [`PathSurvival::new`] and [`PathFit::coef_at`].
    pub fn survival(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        lambda: f64,
        offset: &[f64],
    ) -> Result<PathSurvival> {
        let coef = self.coef_at(lambda)?;
        PathSurvival::new(surv, x, &coef, self.ties, offset)
    }
}

impl CvFit {
    /// [`PathFit::survival`] at the lambda that was chosen.
    ///
    /// # Errors
    /// Those of [`PathSurvival::new`].
    pub fn survival(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        rule: LambdaRule,
        offset: &[f64],
    ) -> Result<PathSurvival> {
        let lambda = match rule {
            LambdaRule::Min => self.lambda_min(),
            LambdaRule::OneSe => self.lambda_1se(),
        };
        self.path().survival(surv, x, lambda, offset)
    }
}

impl RelaxedFit {
    /// Baseline hazard and survival by the blend `gamma` at the `k`-th lambda ([`RelaxedFit::coef`]), from
    /// the rows the path was fitted to and their offset (empty without one).
    ///
    /// # Errors
    /// Those of [`PathSurvival::new`] and [`RelaxedFit::coef`].
    pub fn survival(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        k: usize,
        gamma: f64,
        offset: &[f64],
    ) -> Result<PathSurvival> {
        let coef = self.coef(k, gamma)?.dense(self.path().names().len());
        PathSurvival::new(surv, x, &coef, self.path().ties(), offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cox::twins::cohort;
    use crate::test_data::close;
    use crate::{CoxPath, CoxPh, CrossValidation, Error, Folds};

    #[test]
    fn the_baseline_is_that_of_a_cox_model_with_these_coefficients() {
        let (n, p) = (120, 5);
        for (entry, strata) in [(false, false), (true, true)] {
            let data = cohort(n, p, 7, entry, strata);
            let (surv, x) = (data.surv().unwrap(), data.covariates());
            let offset: Vec<f64> = (0..n).map(|i| 0.4 * x.get(i, 1)).collect();
            for ties in [Ties::Breslow, Ties::Efron] {
                let path = CoxPath::new()
                    .ties(ties)
                    .n_lambda(12)
                    .offset(offset.clone());
                let fit = path.fit_relaxed(&surv, &x).unwrap();
                let lambda = 0.7 * fit.lambda()[6] + 0.3 * fit.lambda()[7];
                for found in [
                    fit.path().survival(&surv, &x, lambda, &offset).unwrap(),
                    fit.survival(&surv, &x, 7, 0.3, &offset).unwrap(),
                ] {
                    let mut fixed = CoxPh::new().ties(ties).offset(offset.clone());
                    for (name, b) in x.names().iter().zip(found.coef()) {
                        fixed = fixed.fix(name, *b);
                    }
                    let twin = fixed.fit(&surv, &x).unwrap();
                    assert_eq!(found.baseline_hazard().len(), surv.stratum_names().len());
                    for (a, b) in found.baseline_hazard().iter().zip(twin.baseline_hazard()) {
                        assert_eq!((&a.stratum, &a.time), (&b.stratum, &b.time));
                        for (a, b) in a.hazard.iter().zip(&b.hazard) {
                            close(*a, *b, 1e-11);
                        }
                    }
                    let new = x.select(&[3, 11]).unwrap();
                    let times = [0.1, 1.0, 2.0, 5.0];
                    let got = found.survival(&new, &times, 0).unwrap();
                    let want = twin.survival(&new, &times, 0).unwrap();
                    for (a, b) in got.iter().zip(&want) {
                        close(*a, *b, 1e-11);
                    }
                }
            }
        }
    }

    #[test]
    fn without_coefficients_it_is_the_nelson_aalen_curve() {
        let data = cohort(60, 3, 2, false, false);
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let folds = Folds::stratified(&surv, 4, 1).unwrap();
        let cv = CrossValidation::new(CoxPath::new().n_lambda(8));
        let cv = cv.fit(&surv, &x, &folds).unwrap();
        let first = cv.path().survival(&surv, &x, cv.lambda()[0], &[]).unwrap();
        let curves = crate::NelsonAalen::new().fit(&surv).unwrap();
        let want = &curves.curves[0];
        for (time, hazard) in want.time.iter().zip(&want.cumhaz) {
            close(first.baseline_hazard()[0].at(*time), *hazard, 1e-12);
        }
        let chosen = cv.survival(&surv, &x, LambdaRule::Min, &[]).unwrap();
        assert_eq!(chosen.coef(), cv.path().coef_at(cv.lambda_min()).unwrap());
        let text = serde_json::to_string(&chosen).unwrap();
        assert_eq!(chosen, serde_json::from_str(&text).unwrap());
        let short = PathSurvival::new(&surv, &x, &[1.0], Ties::Breslow, &[]);
        assert!(matches!(short, Err(Error::Length { .. })));
        let exact = PathSurvival::new(&surv, &x, &[0.0; 3], Ties::Exact, &[]);
        assert!(matches!(exact, Err(Error::Setting { name: "ties", .. })));
    }
}
