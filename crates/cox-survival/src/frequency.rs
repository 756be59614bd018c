//! Frequency weights: one row of data for several patients.

use crate::covariates::Covariates;
use crate::error::{Error, Result};
use crate::surv::Surv;

/// How many patients each row stands for.
///
/// A row of frequency `k` is the same as `k` rows, for every estimator: they count in `n` and in the
/// number of events, Efron's method takes them for tied, robust errors let each stand for itself, and
/// resampling draws them one by one. A case weight of `k` ([`SurvBuilder::weights`](crate::SurvBuilder::weights))
/// is one patient who counts `k` times: with Breslow's ties and model-based errors the coefficients and
/// their errors are the same, otherwise they are not.
///
/// ```
/// use cox_survival::{CoxPh, Covariates, Frequencies, Surv};
/// // Fifteen patients in five rows.
/// let surv = Surv::new(&[5.0, 8.0, 12.0, 16.0, 23.0], &[true, true, false, true, true])?;
/// let x = Covariates::from_columns(&[1.0, 0.5, 1.5, 0.9, 0.2], 5, 1)?;
/// let many = Frequencies::new(&[2.0, 4.0, 0.0, 6.0, 3.0])?;
/// let fit = CoxPh::new().fit(&many.surv(&surv)?, &many.covariates(&x)?)?;
/// assert_eq!((fit.n(), fit.n_events()), (15, 15));
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frequencies {
    n: usize,
    rows: Vec<usize>,
}

impl Frequencies {
    /// From a whole number per row; rows of 0 are left out.
    ///
    /// # Errors
    /// [`Error::Frequency`] names the first row whose number is negative or not whole;
    /// [`Error::TooManyPatients`] the one with the largest, when there are more patients than [`Surv`] or the
    /// memory holds.
    pub fn new(counts: &[f64]) -> Result<Self> {
        let whole = |v: &f64| *v >= 0.0 && v.is_finite() && v.fract().abs() <= 0.0;
        if let Some(row) = counts.iter().position(|v| !whole(v)) {
            let value = counts[row];
            return Err(Error::Frequency { row, value });
        }
        let Some(mut rows) = room(counts.iter().sum()) else {
            let (row, value) =
                (0..).zip(counts).fold(
                    (0, 0.0),
                    |most, (row, &value)| {
                        if value > most.1 { (row, value) } else { most }
                    },
                );
            return Err(Error::TooManyPatients { row, value });
        };
        for (row, &k) in counts.iter().enumerate() {
            #[expect(clippy::cast_sign_loss, reason = "no count is negative")]
            rows.extend(std::iter::repeat_n(row, k as usize));
        }
        Ok(Self {
            n: counts.len(),
            rows,
        })
    }

    /// The row of each patient, ascending.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The outcome, a row per patient.
    ///
    /// # Errors
    /// [`Error::Length`]; what [`Surv::subset`] refuses.
    pub fn surv(&self, surv: &Surv) -> Result<Surv> {
        self.check(surv.n())?;
        surv.subset(&self.rows)
    }

    /// The covariates, a row per patient; no value is copied.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn covariates<'a>(&self, x: &Covariates<'a>) -> Result<Covariates<'a>> {
        self.check(x.n())?;
        x.select(&self.rows)
    }

    fn check(&self, n: usize) -> Result<()> {
        crate::error::check_length("frequencies", self.n, n)
    }
}

/// A list for so many patients, if row numbers can count them and the memory holds it.
fn room(total: f64) -> Option<Vec<usize>> {
    if total >= f64::from(u32::MAX) {
        return None;
    }
    #[expect(clippy::cast_sign_loss, reason = "no count is negative")]
    let total = total as usize;
    let mut rows = Vec::new();
    rows.try_reserve_exact(total).ok().map(|()| rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cox::Ties;
    use crate::{CoxPh, KaplanMeier};

    const TIME: [f64; 8] = [5.0, 8.0, 8.0, 12.0, 16.0, 16.0, 23.0, 27.0];
    const EVENT: [bool; 8] = [true, true, true, false, true, true, false, true];
    const X: [f64; 8] = [1.0, 0.5, 1.5, 0.9, 0.2, 0.6, 0.1, 0.7];
    const COUNT: [f64; 8] = [2.0, 1.0, 3.0, 0.0, 1.0, 2.0, 4.0, 1.0];

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-10 * b.abs()
    }

    #[test]
    fn with_breslow_ties_they_are_case_weights_in_all_but_the_robust_errors() {
        let x = Covariates::from_columns(&X, 8, 1).unwrap();
        let surv = Surv::new(&TIME, &EVENT).unwrap();
        let many = Frequencies::new(&COUNT).unwrap();
        let (surv, all) = (many.surv(&surv).unwrap(), many.covariates(&x).unwrap());
        let weighted = Surv::builder(&TIME, &EVENT)
            .weights(&COUNT)
            .build()
            .unwrap();
        let settings = CoxPh::new().ties(Ties::Breslow);
        let fit = settings.fit(&surv, &all).unwrap();
        let by_weight = settings.fit(&weighted, &x).unwrap();
        assert_eq!((fit.n(), by_weight.n()), (14, 7));
        assert!(close(fit.coef()[0], by_weight.coef()[0]));
        assert!(close(fit.se()[0], by_weight.se()[0]));
        assert!(close(fit.loglik(), by_weight.loglik()));
        // Efron's ties are more when patients are repeated.
        let efron = CoxPh::new();
        let (fit, by_weight) = (
            efron.fit(&surv, &all).unwrap(),
            efron.fit(&weighted, &x).unwrap(),
        );
        assert!((fit.coef()[0] - by_weight.coef()[0]).abs() > 1e-3);
        // Greenwood's formula counts weights as patients.
        let km = KaplanMeier::new();
        let (fit, by_weight) = (km.fit(&surv).unwrap(), km.fit(&weighted).unwrap());
        let (a, b) = (&fit.curves[0], &by_weight.curves[0]);
        assert!(a.surv.iter().zip(&b.surv).all(|(a, b)| close(*a, *b)));
        assert!(
            a.std_err
                .iter()
                .zip(&b.std_err)
                .all(|(a, b)| a.is_infinite() || close(*a, *b))
        );
    }

    #[test]
    fn doubling_everybody_halves_every_variance_the_robust_one_too() {
        let x = Covariates::from_columns(&X, 8, 1).unwrap();
        let surv = Surv::new(&TIME, &EVENT).unwrap();
        let settings = CoxPh::new().ties(Ties::Breslow).robust(true);
        let once = settings.fit(&surv, &x).unwrap();
        let many = Frequencies::new(&[2.0; 8]).unwrap();
        let twice = settings
            .fit(&many.surv(&surv).unwrap(), &many.covariates(&x).unwrap())
            .unwrap();
        let half = |a: f64, b: f64| close(2.0 * a * a, b * b);
        assert!(half(twice.se()[0], once.se()[0]));
        assert!(half(
            twice.robust_se().unwrap()[0],
            once.robust_se().unwrap()[0]
        ));
        // As case weights they would leave the robust variance as it is.
        let weighted = Surv::builder(&TIME, &EVENT)
            .weights(&[2.0; 8])
            .build()
            .unwrap();
        let weighted = settings.fit(&weighted, &x).unwrap();
        assert!(close(
            weighted.robust_se().unwrap()[0],
            once.robust_se().unwrap()[0]
        ));
    }

    #[test]
    fn what_is_no_number_of_patients_is_refused_by_row() {
        for bad in [1.5, -1.0, f64::NAN, f64::INFINITY] {
            let error = Frequencies::new(&[1.0, bad]).unwrap_err();
            assert!(matches!(error, Error::Frequency { row: 1, .. }), "{error}");
        }
        for (counts, row) in [([2e9, 3e9, 0.0], 1), ([1.0, 7.0, 1e300], 2)] {
            let many = Frequencies::new(&counts).unwrap_err();
            let value = counts[row];
            assert_eq!(many, Error::TooManyPatients { row, value }, "{many}");
        }
        // Reserved or refused, as the machine has it, but never the end of the program.
        drop(room(4e9));
        let surv = Surv::new(&TIME, &EVENT).unwrap();
        let short = Frequencies::new(&[1.0; 3]).unwrap();
        assert!(matches!(short.surv(&surv), Err(Error::Length { .. })));
    }
}
