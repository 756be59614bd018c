//! Likelihood ratio comparison of nested fits.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fit::CoxFit;
use super::summary::{chi_square_tail, p_text};
use crate::error::{Error, Result};
use crate::table::Table;

/// Likelihood ratio tests of each fit against the one before, from the smallest model on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Anova {
    /// Log partial likelihood of each fit.
    pub loglik: Vec<f64>,
    /// Twice the gain over the fit before; one value fewer than fits.
    pub chisq: Vec<f64>,
    /// The additional degrees of freedom.
    pub df: Vec<f64>,
    /// Upper tails of the chi-square distribution.
    #[serde(with = "crate::number::vector")]
    pub p: Vec<f64>,
}

/// Compares nested fits to the same rows, the smallest first: `2 (l_2 - l_1)` on the difference of
/// their degrees of freedom (R's `anova(small, large)`). That the models are nested is the caller's
/// word; that they could be is checked.
///
/// # Errors
/// [`Error::Setting`] for fewer than two fits, for fits to different rows or with different ties, for
/// models that do not grow, and for robust fits, whose likelihood ratio has no chi-square distribution.
pub fn anova(fits: &[&CoxFit]) -> Result<Anova> {
    let refuse = |value: String, expected| Error::Setting {
        name: "fits",
        value,
        expected,
    };
    if fits.len() < 2 {
        return Err(refuse(fits.len().to_string(), "at least two are compared"));
    }
    let mut out = Anova {
        loglik: fits.iter().map(|fit| fit.loglik()).collect(),
        chisq: Vec::new(),
        df: Vec::new(),
        p: Vec::new(),
    };
    for (k, pair) in fits.windows(2).enumerate() {
        let (small, large) = (pair[0], pair[1]);
        let place = format!("{} and {}", k + 1, k + 2);
        if small.robust_se().is_some() || large.robust_se().is_some() {
            return Err(refuse(
                place,
                "a robust fit has no likelihood ratio test, use a Wald contrast",
            ));
        }
        let rows = |fit: &CoxFit| (fit.rows(), fit.n(), fit.n_events(), fit.ties());
        // The same rows, strata, weights and offset have the same likelihood at coefficients 0.
        let origin = |fit: &CoxFit| fit.start().iter().all(|b| b.abs() <= 0.0);
        let apart =
            (small.loglik0() - large.loglik0()).abs() > 1e-9 * (1.0 + small.loglik0().abs());
        if rows(small) != rows(large) || (origin(small) && origin(large) && apart) {
            return Err(refuse(
                place,
                "must be fitted to the same rows, in the same way",
            ));
        }
        if large.df() <= small.df() {
            return Err(refuse(
                place,
                "each model must hold more than the one before",
            ));
        }
        let (chisq, df) = (
            2.0 * (large.loglik() - small.loglik()),
            large.df() - small.df(),
        );
        out.chisq.push(chisq);
        out.df.push(df);
        out.p.push(chi_square_tail(chisq.max(0.0), df));
    }
    Ok(out)
}

impl Anova {
    /// The comparisons as they are printed, one row per fit.
    pub fn table(&self) -> Table {
        let header = ["", "loglik", "chisq", "df", "p"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for (k, loglik) in self.loglik.iter().enumerate() {
            let mut row = vec![(k + 1).to_string(), format!("{loglik:.3}")];
            match k.checked_sub(1) {
                None => row.extend([String::new(), String::new(), String::new()]),
                Some(k) => row.extend([
                    format!("{:.3}", self.chisq[k]),
                    format!("{:.4}", self.df[k])
                        .trim_end_matches('0')
                        .trim_end_matches('.')
                        .to_owned(),
                    p_text(self.p[k]),
                ]),
            }
            rows.push(row);
        }
        Table::headed(rows)
    }
}

impl fmt::Display for Anova {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)
    }
}
