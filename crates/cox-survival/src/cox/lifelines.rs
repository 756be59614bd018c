//! The printed table in lifelines' layout.

use std::fmt::Write as _;

use super::fit::CoxFit;
use super::summary::{chi_square_tail, number, p_text};
use crate::table::Table;

impl CoxFit {
    /// The coefficients in the columns of lifelines' `print_summary`: both limits of the coefficient and of
    /// the hazard ratio, and `-log2(p)`, the surprise of the p-value in bits. Standard errors are robust
    /// where the fit has them.
    ///
    /// ```
    /// use cox_survival::{CoxPh, Covariates, Surv};
    /// let surv = Surv::new(&[5.0, 8.0, 12.0, 16.0, 23.0], &[true, true, false, true, true])?;
    /// let x = Covariates::from_columns(&[1.0, 0.5, 1.5, 0.9, 0.2], 5, 1)?.with_names(["dose"])?;
    /// let table = CoxPh::new().fit(&surv, &x)?.lifelines_table();
    /// assert_eq!(table.header()[8..], ["cmp to", "z", "p", "-log2(p)"]);
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    pub fn lifelines_table(&self) -> Table {
        let percent = self.level() * 100.0;
        let header = [
            "covariate".to_owned(),
            "coef".to_owned(),
            "exp(coef)".to_owned(),
            "se(coef)".to_owned(),
            format!("coef lower {percent}%"),
            format!("coef upper {percent}%"),
            format!("exp(coef) lower {percent}%"),
            format!("exp(coef) upper {percent}%"),
            "cmp to".to_owned(),
            "z".to_owned(),
            "p".to_owned(),
            "-log2(p)".to_owned(),
        ];
        let se = self.robust_se().unwrap_or(self.se());
        let (exp, z, p) = (self.exp_coef(), self.z(), self.p_values());
        let (lower, upper) = (self.coef_limits(-1.0), self.coef_limits(1.0));
        let row = |j: usize| {
            let mut row = vec![
                self.names()[j].clone(),
                number(self.coef()[j]),
                number(exp[j]),
                number(se[j]),
            ];
            row.extend(if self.fixed()[j] {
                // Neither limits nor test.
                ["", "", "", "", "", "", "fixed", ""].map(Into::into)
            } else {
                [
                    number(lower[j]),
                    number(upper[j]),
                    number(lower[j].exp()),
                    number(upper[j].exp()),
                    // Coefficients are compared with no effect.
                    "0.00".to_owned(),
                    format!("{:.2}", z[j]),
                    p_text(p[j]),
                    bits(p[j]),
                ]
            });
            row
        };
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        Table::new(&header, (0..self.coef().len()).map(row).collect())
    }

    /// `-2 l + 2 df`: Akaike's criterion of the partial likelihood, lifelines' "Partial AIC" and R's
    /// `extractAIC`, with `l` of [`CoxFit::loglik`] and `df` of [`CoxFit::df`].
    pub fn partial_aic(&self) -> f64 {
        2.0 * (self.df() - self.loglik())
    }

    /// [`CoxFit::lifelines_table`] with what lifelines prints around it.
    pub fn lifelines_summary(&self) -> String {
        let mut text = format!(
            "number of observations = {}\nnumber of events observed = {}\npartial log-likelihood = {:.2}\n\
             tie method = {}\n\n{}---\n",
            self.n(),
            self.n_events(),
            self.loglik(),
            self.ties().name(),
            self.lifelines_table(),
        );
        // Writing to a string does not fail.
        if let Some((c, _)) = self.concordance() {
            let _ = writeln!(text, "Concordance (in-sample) = {c:.4}");
        }
        let _ = writeln!(text, "Partial AIC = {:.2}", self.partial_aic());
        let (lr, df) = (self.lr(), self.df());
        if lr.is_finite() {
            let p = chi_square_tail(lr, df);
            let df = format!("{df:.2}");
            let df = df.trim_end_matches('0').trim_end_matches('.');
            let _ = writeln!(text, "log-likelihood ratio test = {lr:.2} on {df} df");
            let _ = writeln!(text, "-log2(p) of ll-ratio test = {}", bits(p));
        }
        for warning in self.warnings() {
            let _ = writeln!(text, "Warning: {warning}");
        }
        text
    }
}

/// `-log2(p)` with two decimals.
fn bits(p: f64) -> String {
    if p.is_nan() {
        return "NA".to_owned();
    }
    // No -0.00 for a p-value of 1.
    format!("{:.2}", (-p.log2()).max(0.0))
}

#[cfg(test)]
mod tests {
    use crate::test_data::close;
    use crate::{Covariates, CoxPh, Surv};

    #[test]
    fn columns_and_figures_are_lifelines() {
        let time: Vec<f64> = (0..30).map(|i| f64::from(1 + i * 11 % 17)).collect();
        let event: Vec<bool> = (0..30).map(|i| i % 3 != 2).collect();
        let x: Vec<f64> = (0..60).map(|k| f64::from(k * 29 % 61) / 10.0).collect();
        let x = Covariates::from_rows(&x, 30, 2)
            .and_then(|x| x.with_names(["dose", "age_at_start"]))
            .unwrap();
        let fit = CoxPh::new().fit(&Surv::new(&time, &event).unwrap(), &x);
        let fit = fit.unwrap();
        close(fit.partial_aic(), -2.0 * fit.loglik() + 4.0, 1e-14);
        let table = fit.lifelines_table();
        assert_eq!(table.header().len(), 12);
        let row = &table.rows()[1];
        let value = |k: usize| row[k].parse::<f64>().unwrap();
        assert_eq!((row[0].as_str(), row[8].as_str()), ("age_at_start", "0.00"));
        // The limits of the coefficient are symmetric, those of the ratio their exponentials.
        close(value(4) + value(5), 2.0 * value(1), 1e-3);
        close(value(4).exp(), value(6), 1e-3);
        close(value(5).exp(), value(7), 1e-3);
        close(value(11), -value(10).log2(), 1e-2);
        let text = fit.lifelines_summary();
        for want in [
            "number of observations = 30\n",
            "number of events observed = 20\n",
            "\n---\nConcordance (in-sample) = 0.5217\nPartial AIC = ",
            "log-likelihood ratio test = 1.02 on 2 df\n-log2(p) of ll-ratio test = 0.73\n",
        ] {
            assert!(text.contains(want), "{text}");
        }
        let robust = CoxPh::new()
            .robust(true)
            .fit(&Surv::new(&time, &event).unwrap(), &x);
        let robust = robust.unwrap();
        let se: f64 = robust.lifelines_table().rows()[0][3].parse().unwrap();
        close(se, robust.robust_se().unwrap()[0], 1e-4);
    }
}
