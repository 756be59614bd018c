//! Linear combinations of coefficients.

use std::fmt;

use faer::Mat;
use serde::{Deserialize, Serialize};
use statrs::function::erf::erfc;

use super::fit::CoxFit;
use super::newton::Factor;
use super::summary::{chi_square_tail, p_text};
use crate::confidence::normal_quantile;
use crate::error::{Error, Result};
use crate::table::Table;
use crate::text_table::significant;

/// Estimates of `L beta` with their errors, and the Wald test that all are 0.
///
/// With `V` the variance of the coefficients (robust when the fit is): standard errors are
/// `sqrt(diag(L V L'))`, the statistic `(L beta)' (L V L')^-1 (L beta)` on as many degrees of freedom
/// as `L` has rows. A row that is known, of fixed coefficients alone, has standard error 0 and neither test nor
/// limits (NaN).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Contrast {
    /// Log hazard ratios, one per row of `L`.
    pub estimate: Vec<f64>,
    /// Standard errors.
    pub se: Vec<f64>,
    /// Estimates over standard errors.
    #[serde(with = "crate::number::vector")]
    pub z: Vec<f64>,
    /// Two-sided p-values.
    #[serde(with = "crate::number::vector")]
    pub p: Vec<f64>,
    /// Lower limits of the hazard ratios, at the level of the fit.
    #[serde(with = "crate::number::vector")]
    pub lower: Vec<f64>,
    /// Upper limits of the hazard ratios.
    #[serde(with = "crate::number::vector")]
    pub upper: Vec<f64>,
    /// Wald statistic of all rows together; NaN where they are not independent.
    #[serde(with = "crate::number")]
    pub chisq: f64,
    /// Its degrees of freedom.
    pub df: usize,
    /// Its upper tail.
    #[serde(with = "crate::number")]
    pub chisq_p: f64,
}

impl CoxFit {
    /// Estimates the rows of `l` (row-major `[rows, p]`) times the coefficients.
    ///
    /// ```
    /// use cox_survival::{CoxPh, Covariates, Surv};
    /// let surv = Surv::new(&[5.0, 8.0, 12.0, 16.0, 23.0, 27.0, 30.0, 33.0], &[true; 8])?;
    /// let x = [1.0, 61.0, 0.5, 70.0, 1.5, 52.0, 0.9, 66.0, 0.2, 58.0, 0.6, 49.0, 0.1, 63.0, 0.7, 55.0];
    /// let fit = CoxPh::new().fit(&surv, &Covariates::from_rows(&x, 8, 2)?)?;
    /// // Half a unit of the first column against ten of the second.
    /// let contrast = fit.contrast(&[0.5, -10.0])?;
    /// assert!((contrast.estimate[0] - (0.5 * fit.coef()[0] - 10.0 * fit.coef()[1])).abs() < 1e-12);
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] unless the length is a positive multiple of the number of coefficients,
    /// [`Error::NotFinite`] for a coefficient of the contrast that is none.
    pub fn contrast(&self, l: &[f64]) -> Result<Contrast> {
        let p = self.coef().len();
        let rows = l.len() / p;
        if rows == 0 || rows * p != l.len() {
            return Err(Error::Shape {
                rows: rows.max(1),
                columns: p,
                expected: rows.max(1) * p,
                found: l.len(),
            });
        }
        if let Some(k) = l.iter().position(|v| !v.is_finite()) {
            return Err(Error::NotFinite {
                column: self.names()[k % p].clone(),
                row: k / p,
                value: l[k],
            });
        }
        let l = Mat::from_fn(rows, p, |i, j| l[i * p + j]);
        let variance = self.used_variance();
        let v = Mat::from_fn(p, p, |i, j| variance[i * p + j]);
        let of = &l * v * l.transpose();
        let estimate: Vec<f64> = (0..rows)
            .map(|i| (0..p).map(|j| l[(i, j)] * self.coef()[j]).sum())
            .collect();
        let se: Vec<f64> = (0..rows).map(|i| of[(i, i)].sqrt()).collect();
        let uncertain = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            let pairs = estimate.iter().zip(&se);
            // Not of what has no error.
            pairs
                .map(|(e, s)| if *s > 0.0 { f(*e, *s) } else { f64::NAN })
                .collect()
        };
        let z = uncertain(&|e, s| e / s);
        let width = normal_quantile(self.level())?;
        let limit = |sign: f64| uncertain(&|e, s| (e + sign * width * s).exp());
        let chisq = Factor::new(&of).map_or(f64::NAN, |factor| {
            factor
                .solve(&estimate)
                .iter()
                .zip(&estimate)
                .map(|(a, b)| a * b)
                .sum()
        });
        Ok(Contrast {
            p: z.iter()
                .map(|z| erfc(z.abs() / std::f64::consts::SQRT_2))
                .collect(),
            lower: limit(-1.0),
            upper: limit(1.0),
            chisq,
            df: rows,
            chisq_p: chi_square_tail(chisq, rows as f64),
            estimate,
            se,
            z,
        })
    }
}

impl Contrast {
    /// The estimates as they are printed, one row per row of `L`.
    pub fn table(&self) -> Table {
        let header = ["", "estimate", "exp(est)", "se", "z", "p", "lower", "upper"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for k in 0..self.estimate.len() {
            let numbers = [
                self.estimate[k],
                self.estimate[k].exp(),
                self.se[k],
                self.z[k],
            ];
            let mut row = vec![(k + 1).to_string()];
            row.extend(numbers.map(|v| significant(v, 5)));
            row.push(p_text(self.p[k]));
            row.extend([self.lower[k], self.upper[k]].map(|v| significant(v, 5)));
            rows.push(row);
        }
        Table::headed(rows)
    }
}

impl fmt::Display for Contrast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (chisq, df, table) = (self.chisq, self.df, self.table());
        writeln!(
            f,
            "{table}\nWald test = {chisq:.2} on {df} df, p = {}",
            p_text(self.chisq_p)
        )
    }
}
