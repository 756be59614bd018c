//! A cross-validated path that keeps what each fold's model says of the rows it has not seen.

use std::cell::OnceCell;

use rayon::prelude::*;

use super::cross_validation::{CrossValidation, CvFit};
use super::folds::Folds;
use crate::covariates::Covariates;
use crate::error::{Result, check_length};
use crate::surv::Surv;

impl CrossValidation {
    /// [`CrossValidation::fit`] that keeps the linear predictors of the rows held out: what a model
    /// of a second level is fitted to, which would trust predictions for rows already seen too much.
    /// The same cross-validation to the last bit.
    ///
    /// R. Tibshirani and B. Efron, Pre-validation and inference in microarrays, Statistical
    /// Applications in Genetics and Molecular Biology 1, 2002.
    ///
    /// # Errors
    /// As [`CrossValidation::fit`].
    pub fn fit_prevalidated(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        folds: &Folds,
    ) -> Result<PrevalidatedFit> {
        check_length("folds", folds.n(), surv.n())?;
        let path = self.path().fit(surv, x)?;
        let lambda = path.lambda();
        let along = self.along(lambda);
        let parts = (0..folds.count())
            .into_par_iter()
            .map(|fold| {
                let (train, test) = (folds.training(fold), folds.held_out(fold));
                let kept = OnceCell::new();
                let held = self.fold(surv, x, folds, fold, &along, |along, part, train_x| {
                    let eta = along.fit(part, train_x)?.predict_along(x, lambda)?;
                    let centred = |eta: &Vec<f64>| -> Vec<f64> {
                        let mean = train.iter().map(|&i| eta[i]).sum::<f64>() / train.len() as f64;
                        test.iter().map(|&i| eta[i] - mean).collect()
                    };
                    // Called once for each fold.
                    let _ = kept.set(eta.iter().map(centred).collect::<Vec<_>>());
                    Ok(eta)
                })?;
                Ok((held, kept.into_inner().unwrap_or_default()))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut linear_predictor = vec![vec![0.0; surv.n()]; lambda.len()];
        let mut all = Vec::with_capacity(parts.len());
        for (fold, (held, kept)) in parts.into_iter().enumerate() {
            for (whole, part) in linear_predictor.iter_mut().zip(kept) {
                for (&row, value) in folds.held_out(fold).iter().zip(part) {
                    whole[row] = value;
                }
            }
            all.push(held);
        }
        let curve = self.average(&all, 0..lambda.len());
        Ok(PrevalidatedFit {
            cv: CvFit {
                path,
                folds: folds.clone(),
                measure: self.judged_by(),
                curve,
            },
            linear_predictor,
        })
    }
}

/// Result of [`CrossValidation::fit_prevalidated`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PrevalidatedFit {
    /// The cross-validation.
    pub cv: CvFit,
    /// For each lambda, every row's linear predictor by the model of the fold that holds it out, less
    /// that model's mean over its own training rows. Offsets are not added.
    pub linear_predictor: Vec<Vec<f64>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CoxPath;

    #[test]
    fn the_same_cross_validation_and_the_folds_own_predictions() {
        let (n, p) = (80, 6);
        let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
        let x: Vec<f64> = (0..n * p).map(noise).collect();
        let time: Vec<f64> = (0..n)
            .map(|i| (2.0 - x[i * p] + noise(i + 5)).exp())
            .collect();
        let event: Vec<bool> = (0..n).map(|i| i % 4 != 0).collect();
        let surv = Surv::new(&time, &event).unwrap();
        let x = Covariates::from_rows(&x, n, p).unwrap();
        let folds = Folds::stratified(&surv, 4, 3).unwrap();
        let path = CoxPath::new().alpha(0.5).n_lambda(12);
        let settings = CrossValidation::new(path.clone()).exact(true);
        let fit = settings.fit_prevalidated(&surv, &x, &folds).unwrap();
        assert_eq!(fit.cv, settings.fit(&surv, &x, &folds).unwrap());

        // One fold by hand.
        let (train, test) = (folds.training(2), folds.held_out(2));
        let own = path
            .lambdas(fit.cv.lambda().to_vec())
            .fit(&surv.subset(&train).unwrap(), &x.select(&train).unwrap())
            .unwrap();
        let eta = own.predict(9, &x).unwrap();
        let mean = train.iter().map(|&i| eta[i]).sum::<f64>() / train.len() as f64;
        for i in test {
            assert!((fit.linear_predictor[9][i] - (eta[i] - mean)).abs() < 1e-12);
        }
    }
}
