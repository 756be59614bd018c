//! Cross-validation of a relaxed path, over lambda and the blend.

use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cross_validation::{CrossValidation, CvFit, CvMeasure, Held};
use super::curve::Curve;
use super::folds::Folds;
use crate::covariates::Covariates;
use crate::cox::path::{RelaxedFit, check_gamma};
use crate::error::{Error, Result, check_length};
use crate::progress::{Counter, Observer, silent};
use crate::surv::Surv;
use crate::table::Table;

impl CrossValidation {
    /// Cross-validates the relaxed path ([`CoxPath::fit_relaxed`](crate::CoxPath::fit_relaxed))
    /// over its lambdas and the blends `gamma` (0, 0.25, 0.5, 0.75 and 1 are customary).
    ///
    /// ```
    /// use cox_survival::{CoxPath, Covariates, CrossValidation, Folds, Surv};
    /// let n = 60;
    /// let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
    /// let x: Vec<f64> = (0..n * 8).map(noise).collect();
    /// let time: Vec<f64> = (0..n).map(|i| (2.0 - x[i * 8] + noise(i + 5)).exp()).collect();
    /// let surv = Surv::new(&time, &vec![true; n])?;
    /// let x = Covariates::from_rows(&x, n, 8)?;
    /// let cv = CrossValidation::new(CoxPath::new().n_lambda(20));
    /// let folds = Folds::stratified(&surv, 5, 1)?;
    /// let cv = cv.fit_relaxed(&surv, &x, &folds, &[0.0, 0.5, 1.0])?;
    /// assert!(cv.lambda_1se() >= cv.lambda_min());
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    pub fn fit_relaxed(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        folds: &Folds,
        gamma: &[f64],
    ) -> Result<RelaxedCvFit> {
        self.fit_relaxed_with(surv, x, folds, gamma, &silent)
    }

    /// [`CrossValidation::fit_relaxed`] that reports every finished fit (`folds + 1` of them).
    pub fn fit_relaxed_with(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        folds: &Folds,
        gamma: &[f64],
        observer: &Observer<'_>,
    ) -> Result<RelaxedCvFit> {
        check_length("folds", folds.n(), surv.n())?;
        if gamma.is_empty() {
            return Err(Error::Setting {
                name: "gamma",
                value: "none".to_owned(),
                expected: "needs at least one value",
            });
        }
        gamma.iter().try_for_each(|&g| check_gamma(g))?;
        let counter = Counter::new(folds.count() + 1, observer);
        let fit = self.path().fit_relaxed(surv, x)?;
        counter.step()?;
        let along = self.along(fit.lambda());
        let whole = fit.path().lambda();
        let held: Vec<Held> = (0..folds.count())
            .into_par_iter()
            .map(|fold| {
                let held = self.fold(surv, x, folds, fold, &along, |along, surv, train| {
                    let part = along.fit_relaxed(surv, train)?;
                    let mut eta = part.predict_along(x, fit.lambda(), gamma)?;
                    eta.extend(part.path().predict_along(x, whole)?);
                    Ok(eta)
                })?;
                counter.step()?;
                Ok(held)
            })
            .collect::<Result<_>>()?;
        let points = fit.lambda().len();
        let curves: Vec<Curve> = (0..gamma.len())
            .map(|g| self.average(&held, g * points..(g + 1) * points))
            .collect();
        let blended = gamma.len() * points;
        let penalised = self.average(&held, blended..blended + whole.len());
        let (best, one_se) = choose(&curves, gamma, self.judged_by().sign());
        Ok(RelaxedCvFit {
            fit,
            folds: folds.clone(),
            measure: self.judged_by(),
            gamma: gamma.to_vec(),
            curves,
            penalised,
            best,
            one_se,
        })
    }
}

/// The best pair of blend and lambda, and the one with the largest lambda (then the largest
/// `gamma`) within one standard error of it.
fn choose(curves: &[Curve], gamma: &[f64], sign: f64) -> ([usize; 2], [usize; 2]) {
    let value = |[g, k]: [usize; 2]| sign * curves[g].cvm[k];
    let mut best = [0, curves[0].index_min];
    for (g, curve) in curves.iter().enumerate() {
        let next = [g, curve.index_min];
        if value(next) < value(best) || (value(best).is_nan() && !value(next).is_nan()) {
            best = next;
        }
    }
    let bound = value(best) + curves[best[0]].cvsd[best[1]];
    let mut one_se = best;
    for (g, curve) in curves.iter().enumerate() {
        let Some(k) = (0..curve.cvm.len()).find(|&k| value([g, k]) <= bound) else {
            continue;
        };
        if k < one_se[1] || (k == one_se[1] && gamma[g] > gamma[one_se[0]]) {
            one_se = [g, k];
        }
    }
    (best, one_se)
}

/// A cross-validated relaxed path. Places are pairs: of the blend in [`RelaxedCvFit::gamma`], and
/// of the lambda.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelaxedCvFit {
    fit: RelaxedFit,
    folds: Folds,
    measure: CvMeasure,
    gamma: Vec<f64>,
    curves: Vec<Curve>,
    /// Of the path itself, at all its lambdas.
    penalised: Curve,
    best: [usize; 2],
    one_se: [usize; 2],
}

impl RelaxedCvFit {
    /// The relaxed path fitted to all rows.
    pub fn fit(&self) -> &RelaxedFit {
        &self.fit
    }

    /// The cross-validation of the path itself, at all its lambdas, as [`CrossValidation::fit`] makes it in
    /// the same folds.
    pub fn penalised(&self) -> CvFit {
        CvFit {
            path: self.fit.path().clone(),
            folds: self.folds.clone(),
            measure: self.measure,
            curve: self.penalised.clone(),
        }
    }

    /// The folds.
    pub fn folds(&self) -> &Folds {
        &self.folds
    }

    /// What was averaged.
    pub fn measure(&self) -> CvMeasure {
        self.measure
    }

    /// The blends.
    pub fn gamma(&self) -> &[f64] {
        &self.gamma
    }

    /// The lambdas.
    pub fn lambda(&self) -> &[f64] {
        self.fit.lambda()
    }

    /// Mean over folds at each lambda (out-of-fold) for the `g`-th blend.
    ///
    /// # Panics
    /// When `g` is not below the number of blends.
    pub fn cvm(&self, g: usize) -> &[f64] {
        &self.curves[g].cvm
    }

    /// Standard error of [`RelaxedCvFit::cvm`].
    ///
    /// # Panics
    /// When `g` is not below the number of blends.
    pub fn cvsd(&self, g: usize) -> &[f64] {
        &self.curves[g].cvsd
    }

    /// Places of the best blend and lambda.
    pub fn index_min(&self) -> [usize; 2] {
        self.best
    }

    /// Places of the largest lambda within one standard error of the best at any blend, and of the
    /// largest blend with that lambda.
    pub fn index_1se(&self) -> [usize; 2] {
        self.one_se
    }

    /// The best lambda.
    pub fn lambda_min(&self) -> f64 {
        self.lambda()[self.best[1]]
    }

    /// The best blend.
    pub fn gamma_min(&self) -> f64 {
        self.gamma[self.best[0]]
    }

    /// The lambda of [`RelaxedCvFit::index_1se`].
    pub fn lambda_1se(&self) -> f64 {
        self.lambda()[self.one_se[1]]
    }

    /// The blend of [`RelaxedCvFit::index_1se`].
    pub fn gamma_1se(&self) -> f64 {
        self.gamma[self.one_se[0]]
    }
}

impl RelaxedCvFit {
    /// The two choices as they are printed.
    pub fn table(&self) -> Table {
        let row = |(name, [g, k]): (&str, [usize; 2])| {
            vec![
                name.to_owned(),
                format!("{:.6}", self.lambda()[k]),
                self.gamma[g].to_string(),
                format!("{:.4}", self.cvm(g)[k]),
                format!("{:.4}", self.cvsd(g)[k]),
                self.fit.path().beta(k).index.len().to_string(),
            ]
        };
        let header = ["", "lambda", "gamma", "measure", "se", "nonzero"];
        let chosen = [("min", self.best), ("1se", self.one_se)];
        Table::new(&header, chosen.into_iter().map(row).collect())
    }
}

impl fmt::Display for RelaxedCvFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Cross-validated relaxed Cox path, alpha = {}, {} folds, out-of-fold {}\n",
            self.fit.path().alpha(),
            self.folds.count(),
            self.measure.name()
        )?;
        self.table().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use crate::cox::twins::cohort;
    use crate::{CoxPath, CrossValidation, Folds};

    #[test]
    fn the_path_itself_is_judged_as_without_refits() {
        let data = cohort(90, 8, 5, false, false);
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let folds = Folds::stratified(&surv, 4, 2).unwrap();
        let settings = CrossValidation::new(CoxPath::new().n_lambda(12));
        let relaxed = settings.fit_relaxed(&surv, &x, &folds, &[0.0, 0.5]);
        let plain = settings.fit(&surv, &x, &folds).unwrap();
        assert_eq!(relaxed.unwrap().penalised(), plain);
    }
}
