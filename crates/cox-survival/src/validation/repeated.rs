//! Repeated cross-validation: the same path, several partitions.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::cross_validation::{CrossValidation, CvFit};
use super::curve::{Curve, curve_accessors};
use super::folds::Folds;
use crate::covariates::Covariates;
use crate::error::{Error, Result};
use crate::surv::Surv;

impl Folds {
    /// `times` partitions into `k` folds, as [`Folds::grouped`] makes them (every row a group of its
    /// own unless `groups` says otherwise). The first is that of `seed`, the others have seeds drawn
    /// from it.
    ///
    /// ```
    /// use cox_survival::{Folds, Surv};
    /// let time: Vec<f64> = (1..=20).map(f64::from).collect();
    /// let surv = Surv::new(&time, &[true; 20])?;
    /// let folds = Folds::repeated(&surv, None, 5, 3, 1)?;
    /// assert_eq!(folds[0], Folds::stratified(&surv, 5, 1)?);
    /// assert_ne!(folds[0], folds[1]);
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    pub fn repeated(
        surv: &Surv,
        groups: Option<&[u32]>,
        k: usize,
        times: usize,
        seed: u64,
    ) -> Result<Vec<Self>> {
        if times == 0 {
            return Err(Error::Setting {
                name: "times",
                value: "0".to_owned(),
                expected: "must be at least 1",
            });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);
        let fold = |r: usize| {
            let seed = if r == 0 { seed } else { rng.next_u64() };
            match groups {
                None => Self::stratified(surv, k, seed),
                Some(groups) => Self::grouped(surv, groups, k, seed),
            }
        };
        (0..times).map(fold).collect()
    }
}

impl CrossValidation {
    /// Cross-validates on each of several partitions and averages: the choice of the penalty then
    /// depends less on how the rows happened to be parted.
    ///
    /// ```
    /// use cox_survival::{CoxPath, Covariates, CrossValidation, Folds, Surv};
    /// let n = 60;
    /// let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
    /// let x: Vec<f64> = (0..n * 8).map(noise).collect();
    /// let time: Vec<f64> = (0..n).map(|i| (2.0 - x[i * 8] + noise(i + 5)).exp()).collect();
    /// let surv = Surv::new(&time, &vec![true; n])?;
    /// let x = Covariates::from_rows(&x, n, 8)?;
    /// let folds = Folds::repeated(&surv, None, 5, 3, 1)?;
    /// let cv = CrossValidation::new(CoxPath::new().n_lambda(20)).fit_repeated(&surv, &x, &folds)?;
    /// assert!(cv.lambda_1se() >= cv.lambda_min());
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    pub fn fit_repeated(
        &self,
        surv: &Surv,
        x: &Covariates<'_>,
        folds: &[Folds],
    ) -> Result<RepeatedCvFit> {
        let fits = folds
            .iter()
            .map(|folds| self.fit(surv, x, folds))
            .collect::<Result<Vec<_>>>()?;
        let Some(first) = fits.first() else {
            return Err(Error::Setting {
                name: "folds",
                value: "none".to_owned(),
                expected: "at least one partition is needed",
            });
        };
        let points = first.lambda().len();
        let mean = |of: fn(&CvFit) -> &[f64]| -> Vec<f64> {
            let at = |k: usize| fits.iter().map(|fit| of(fit)[k]).sum::<f64>() / fits.len() as f64;
            (0..points).map(at).collect()
        };
        let (cvm, cvsd) = (mean(CvFit::cvm), mean(CvFit::cvsd));
        Ok(RepeatedCvFit {
            curve: Curve::choose(cvm, cvsd, first.measure().sign()),
            fits,
        })
    }
}

/// Result of [`CrossValidation::fit_repeated`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepeatedCvFit {
    #[serde(flatten)]
    curve: Curve,
    fits: Vec<CvFit>,
}

impl RepeatedCvFit {
    /// The cross-validation of each partition; all hold the same path of all rows.
    pub fn fits(&self) -> &[CvFit] {
        &self.fits
    }

    /// Lambda sequence, decreasing.
    pub fn lambda(&self) -> &[f64] {
        self.fits[0].lambda()
    }
}

curve_accessors!(
    RepeatedCvFit,
    "Mean over the partitions of [`CvFit::cvm`].",
    "Mean over the partitions of [`CvFit::cvsd`]: the patients are the same, so more partitions \
     make it no smaller."
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::close;
    use crate::{CoxPath, CvMeasure};

    #[test]
    fn the_mean_over_partitions_decides() {
        let n = 60;
        let noise = |k: usize| ((k * 7919 % 1009) as f64 / 504.5 - 1.0) * 1.7;
        let x: Vec<f64> = (0..n * 6).map(noise).collect();
        let time: Vec<f64> = (0..n)
            .map(|i| (2.0 - x[i * 6] + noise(i + 5)).exp())
            .collect();
        let event: Vec<bool> = (0..n).map(|i| i % 5 > 0).collect();
        let surv = Surv::new(&time, &event).unwrap();
        let x = Covariates::from_rows(&x, n, 6).unwrap();
        for measure in [
            CvMeasure::Deviance { grouped: true },
            CvMeasure::Concordance,
        ] {
            let cv = CrossValidation::new(CoxPath::new().n_lambda(15)).measure(measure);
            let folds = Folds::repeated(&surv, None, 4, 3, 7).unwrap();
            assert_eq!(folds[0], Folds::stratified(&surv, 4, 7).unwrap());
            assert!(folds[0] != folds[1] && folds[0] != folds[2] && folds[1] != folds[2]);
            let fit = cv.fit_repeated(&surv, &x, &folds).unwrap();
            let one: Vec<CvFit> = folds
                .iter()
                .map(|f| cv.fit(&surv, &x, f).unwrap())
                .collect();
            let sign = measure.sign();
            for k in 0..fit.lambda().len() {
                let mean =
                    |of: fn(&CvFit) -> &[f64]| one.iter().map(|f| of(f)[k]).sum::<f64>() / 3.0;
                close(fit.cvm()[k], mean(CvFit::cvm), 1e-14);
                close(fit.cvsd()[k], mean(CvFit::cvsd), 1e-14);
                assert!(sign * fit.cvm()[fit.index_min()] <= sign * fit.cvm()[k]);
            }
            assert!(fit.lambda_1se() >= fit.lambda_min());
            // A single partition gives what it gives by itself.
            let alone = cv.fit_repeated(&surv, &x, &folds[..1]).unwrap();
            assert_eq!(alone.index_min(), one[0].index_min());
            assert_eq!(alone.index_1se(), one[0].index_1se());
            assert_eq!(alone.fits(), &one[..1]);
        }
        let none = CrossValidation::new(CoxPath::new()).fit_repeated(&surv, &x, &[]);
        assert!(matches!(none, Err(Error::Setting { name: "folds", .. })));
        assert!(Folds::repeated(&surv, None, 4, 0, 1).is_err());
        let groups: Vec<u32> = (0..n as u32).map(|i| i / 2).collect();
        let folds = Folds::repeated(&surv, Some(&groups), 4, 3, 1).unwrap();
        assert!(folds[0] != folds[1] && folds[0] != folds[2] && folds[1] != folds[2]);
        for folds in folds {
            assert!(folds.fold().chunks(2).all(|pair| pair[0] == pair[1]));
        }
    }
}
