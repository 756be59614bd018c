//! A fitted model beside the data it was fitted to: the source of residuals, tests of
//! proportionality and survival curves.

use faer::Mat;

use super::design::Design;
use super::fit::CoxFit;
use super::likelihood::Likelihood;
use super::risk_means::RiskMeans;
use crate::covariates::Covariates;
use crate::error::{Result, check_length};
use crate::surv::Surv;

/// A Cox model evaluated on the rows it was fitted to.
///
/// Nothing is fitted here: the likelihood is evaluated once at the coefficients of the fit, and
/// [residuals](CoxDiagnostics::martingale), [`CoxDiagnostics::zph`] and
/// [`CoxDiagnostics::curves`] are read off. Cost: `O(n p)`, and a copy of the covariates.
///
/// Rows of weight 0 have no residuals: they are NaN.
///
/// ```
/// use cox_survival::{CoxPh, Covariates, Surv, ZphTransform};
/// let surv = Surv::new(
///     &[5.0, 8.0, 12.0, 16.0, 23.0, 27.0, 30.0, 33.0],
///     &[true, true, false, true, true, false, true, true],
/// )?;
/// let dose = [1.0, 0.5, 1.5, 0.9, 0.2, 0.6, 0.1, 0.7];
/// let x = Covariates::from_columns(&dose, 8, 1)?.with_names(["dose"])?;
/// let fit = CoxPh::new().fit(&surv, &x)?;
///
/// let diagnostics = fit.diagnostics(&surv, &x)?;
/// let martingale = diagnostics.martingale();
/// assert!(martingale.iter().sum::<f64>().abs() < 1e-9);
/// println!("{}", diagnostics.zph(ZphTransform::Km)?); // is the effect of the dose constant?
/// # Ok::<(), cox_survival::Error>(())
/// ```
pub struct CoxDiagnostics<'a> {
    pub(super) fit: &'a CoxFit,
    pub(super) surv: &'a Surv,
    pub(super) design: Design,
    pub(super) likelihood: Likelihood<'a>,
    pub(super) means: RiskMeans,
}

impl std::fmt::Debug for CoxDiagnostics<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoxDiagnostics")
            .field("fit", self.fit)
            .finish_non_exhaustive()
    }
}

impl CoxFit {
    /// Evaluates the model on the outcome and the covariates it was fitted to.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) for other numbers of rows or columns, and what
    /// [`CoxPh::fit`](crate::CoxPh::fit) refuses in the covariates.
    pub fn diagnostics<'a>(
        &'a self,
        surv: &'a Surv,
        x: &Covariates<'_>,
    ) -> Result<CoxDiagnostics<'a>> {
        check_length("covariates (columns)", x.p(), self.coef().len())?;
        check_length("time", surv.n(), self.rows())?;
        let design = Design::new(surv, x)?;
        let scaled: Vec<f64> = self
            .coef()
            .iter()
            .zip(&design.scale)
            .map(|(b, s)| b * s)
            .collect();
        let mut eta = vec![0.0; design.n];
        design.times(&scaled, &mut eta);
        if !self.offset().is_empty() {
            for (e, &i) in eta.iter_mut().zip(&surv.sorted.order) {
                *e += self.offset()[i as usize];
            }
        }
        let mut likelihood = Likelihood::new(surv, self.ties());
        likelihood.evaluate(&eta);
        let means = RiskMeans::new(&design, &likelihood);
        Ok(CoxDiagnostics {
            fit: self,
            surv,
            design,
            likelihood,
            means,
        })
    }
}

impl CoxDiagnostics<'_> {
    pub(super) fn p(&self) -> usize {
        self.design.p
    }

    /// The model-based variance in the units of the design.
    pub(super) fn scaled(&self, variance: &[f64]) -> Mat<f64> {
        let (p, scale) = (self.p(), &self.design.scale);
        Mat::from_fn(p, p, |i, j| variance[i * p + j] * scale[i] * scale[j])
    }

    /// Values by position as values by row of the user's data.
    pub(super) fn by_row(&self, by_position: &[f64], columns: usize) -> Vec<f64> {
        let mut out = vec![f64::NAN; by_position.len()];
        for (position, &i) in self.likelihood.sorted.order.iter().enumerate() {
            let i = i as usize;
            if self.likelihood.weight(position) > 0.0 {
                out[i * columns..(i + 1) * columns]
                    .copy_from_slice(&by_position[position * columns..(position + 1) * columns]);
            }
        }
        out
    }
}
