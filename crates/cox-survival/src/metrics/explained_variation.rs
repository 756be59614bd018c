//! Explained variation of a prognostic index on the scale of normal scores.

use std::f64::consts::PI;
use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::CoxPh;
use crate::covariates::Covariates;
use crate::error::{Result, check_finite, check_length};
use crate::surv::Surv;
use crate::text_table;

/// Royston and Sauerbrei's `D` and explained variation `R2_D` of a prognostic index.
///
/// The ranks of the index become standard normal scores, `u_i = Phi^-1((r_i - 3/8) / (n + 1/4))`,
/// averaged over ties, divided by `kappa = sqrt(8 / pi)`. `D` is their coefficient in a Cox model
/// (Efron ties): the log hazard ratio between the half of the patients at higher risk and the other.
///
/// ```text
/// R2_D = D^2 / kappa^2 / (pi^2 / 6 + D^2 / kappa^2)
/// ```
///
/// R: `royston(fit)` (with `ties = TRUE`). Strata, entry and weights of `surv` are those of the Cox
/// model; the ranks count rows. `O(n log n)`.
///
/// P. Royston and W. Sauerbrei, A new measure of prognostic separation in survival data, Statistics
/// in Medicine 23, 2004.
///
/// ```
/// use cox_survival::{Surv, royston_sauerbrei};
/// let surv = Surv::new(&[5.0, 3.0, 9.0, 7.0, 1.0], &[true, true, false, true, true])?;
/// let fit = royston_sauerbrei(&surv, &[0.2, 0.1, -0.4, 0.3, 0.9])?;
/// assert!(fit.d > 0.0 && fit.r2 > 0.0 && fit.r2 < 1.0);
/// # Ok::<(), cox_survival::Error>(())
/// ```
pub fn royston_sauerbrei(surv: &Surv, index: &[f64]) -> Result<RoystonSauerbrei> {
    check_length("index", index.len(), surv.n())?;
    check_finite("index", index)?;
    let kappa = (8.0 / PI).sqrt();
    let scores: Vec<f64> = normal_scores(index).iter().map(|u| u / kappa).collect();
    let x = Covariates::from_rows(&scores, surv.n(), 1)?.with_names(["index"])?;
    let fit = CoxPh::new().concordance(false).fit(surv, &x)?;
    let (d, std_err) = (fit.coef()[0], fit.se()[0]);
    let explained = d * d / (kappa * kappa);
    Ok(RoystonSauerbrei {
        d,
        std_err,
        r2: explained / (PI * PI / 6.0 + explained),
    })
}

/// Blom's scores, those of tied values averaged.
fn normal_scores(index: &[f64]) -> Vec<f64> {
    let n = index.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| index[a].total_cmp(&index[b]));
    let normal = Normal::standard();
    let score = |rank: usize| normal.inverse_cdf((rank as f64 + 1.0 - 0.375) / (n as f64 + 0.25));
    let mut scores = vec![0.0; n];
    let mut rank = 0;
    for same in
        order.chunk_by(|&a, &b| index[a].partial_cmp(&index[b]) == Some(std::cmp::Ordering::Equal))
    {
        let mean = (rank..rank + same.len()).map(score).sum::<f64>() / same.len() as f64;
        for &i in same {
            scores[i] = mean;
        }
        rank += same.len();
    }
    scores
}

/// Result of [`royston_sauerbrei`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoystonSauerbrei {
    /// Prognostic separation.
    pub d: f64,
    /// Its standard error.
    pub std_err: f64,
    /// Explained variation, 0 to 1.
    pub r2: f64,
}

impl fmt::Display for RoystonSauerbrei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |v| text_table::significant(v, 4);
        writeln!(
            f,
            "D = {} (se = {}), R2_D = {}",
            show(self.d),
            show(self.std_err),
            show(self.r2)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::test_data::close;

    #[test]
    fn scores_depend_on_ranks_only_and_are_symmetric() {
        let a = normal_scores(&[3.0, 1.0, 2.0, 2.0]);
        let b = normal_scores(&[30.0, -5.0, 0.0, -0.0]);
        a.iter().zip(&b).for_each(|(a, b)| close(*a, *b, 0.0));
        close(a[0], -a[1], 1e-15);
        close(a[2], 0.0, 1e-15);
    }

    #[test]
    fn a_monotone_transform_changes_nothing_and_a_reversed_index_turns_the_sign() {
        let surv = Surv::new(
            &[5.0, 3.0, 9.0, 7.0, 1.0, 4.0],
            &[true, true, false, true, true, true],
        )
        .unwrap();
        let index = [0.2, 0.1, -0.4, 0.3, 0.9, -0.1];
        let fit = royston_sauerbrei(&surv, &index).unwrap();
        let cubed: Vec<f64> = index.iter().map(|v: &f64| v.powi(3)).collect();
        assert_eq!(royston_sauerbrei(&surv, &cubed).unwrap(), fit);
        let turned: Vec<f64> = index.iter().map(|v| -v).collect();
        close(royston_sauerbrei(&surv, &turned).unwrap().d, -fit.d, 1e-10);
        let bad = royston_sauerbrei(&surv, &[f64::NAN; 6]);
        assert!(matches!(bad, Err(Error::NotFinite { row: 0, .. })));
    }
}
