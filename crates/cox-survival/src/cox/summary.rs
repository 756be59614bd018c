//! The printed table: R's order of things, lifelines' columns.

use std::fmt;

use statrs::function::gamma::checked_gamma_ur;

use super::fit::CoxFit;
use crate::table::Table;

/// Upper tail of the chi-square distribution.
pub(crate) fn chi_square_tail(statistic: f64, df: f64) -> f64 {
    if statistic.is_nan() || statistic < 0.0 || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if statistic <= 0.0 {
        return 1.0;
    }
    checked_gamma_ur(df / 2.0, statistic / 2.0).unwrap_or(f64::NAN)
}

/// A p-value as R prints it: three digits, and `<2e-16` below machine precision.
pub(crate) fn p_text(p: f64) -> String {
    if p.is_nan() {
        "NA".to_owned()
    } else if p < 2.2e-16 {
        "<2e-16".to_owned()
    } else if p < 1e-4 {
        format!("{p:.2e}")
    } else {
        format!("{p:.4}")
    }
}

/// Below the tests of a robust fit.
const INDEPENDENCE: &str = "\
  (The likelihood ratio and plain score tests assume independent rows within a cluster and weights
that count rows; the robust Wald and score tests do not.)";

impl CoxFit {
    /// The coefficients as they are printed: one row per column, in R's order.
    ///
    /// ```
    /// use cox_survival::{CoxPh, Covariates, Surv};
    /// let surv = Surv::new(&[5.0, 8.0, 12.0, 16.0, 23.0], &[true, true, false, true, true])?;
    /// let x = Covariates::from_columns(&[1.0, 0.5, 1.5, 0.9, 0.2], 5, 1)?.with_names(["dose"])?;
    /// let table = CoxPh::new().fit(&surv, &x)?.table();
    /// assert_eq!(table.header()[..4], ["", "coef", "exp(coef)", "se(coef)"]);
    /// assert!(table.latex().contains("dose & ") && table.csv().contains("\ndose,"));
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    pub fn table(&self) -> Table {
        let percent = self.level() * 100.0;
        let mut header: Vec<String> = ["", "coef", "exp(coef)", "se(coef)"].map(Into::into).into();
        let shrunken = self.shrunken_se();
        if shrunken.is_some() {
            header.push("se2".into());
        }
        if self.robust_se().is_some() {
            header.push("robust se".into());
        }
        header.extend(["z".into(), "p".into()]);
        header.extend([format!("lower {percent}%"), format!("upper {percent}%")]);
        let mut rows = Vec::with_capacity(self.coef().len());
        let (exp, z, p) = (self.exp_coef(), self.z(), self.p_values());
        let (lower, upper) = (self.lower(), self.upper());
        for j in 0..self.coef().len() {
            let mut row = vec![
                self.names()[j].clone(),
                number(self.coef()[j]),
                number(exp[j]),
                number(self.se()[j]),
            ];
            if let Some(se2) = &shrunken {
                row.push(number(se2[j]));
            }
            if let Some(robust) = self.robust_se() {
                row.push(number(robust[j]));
            }
            row.extend(if self.fixed()[j] {
                // Neither test nor limits.
                ["", "fixed", "", ""].map(Into::into)
            } else {
                [
                    format!("{:.3}", z[j]),
                    p_text(p[j]),
                    number(lower[j]),
                    number(upper[j]),
                ]
            });
            rows.push(row);
        }
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        Table::new(&header, rows)
    }
}

impl fmt::Display for CoxFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Cox proportional hazards model, {} ties",
            match self.ties() {
                super::Ties::Efron => "Efron",
                super::Ties::Breslow => "Breslow",
                super::Ties::Exact => "exact",
            }
        )?;
        writeln!(
            f,
            "n = {}, number of events = {}\n",
            self.n(),
            self.n_events()
        )?;
        write!(f, "{}", self.table())?;
        writeln!(f)?;
        if let Some((c, se)) = self.concordance() {
            writeln!(f, "Concordance (in-sample) = {c:.4}  (se = {se:.4})")?;
        }
        let df = self.df();
        let df_text = if self.ridge().is_empty() {
            format!("{df:.0}")
        } else {
            format!("{df:.2}")
        };
        let tests = [
            ("Likelihood ratio test", self.lr()),
            (
                if self.robust_se().is_some() {
                    "Wald test (robust)"
                } else {
                    "Wald test"
                },
                self.wald(),
            ),
            ("Score (logrank) test", self.score_test()),
        ];
        for (name, statistic) in tests {
            if statistic.is_nan() {
                continue;
            }
            let p = p_text(chi_square_tail(statistic, df));
            writeln!(f, "{name:<21} = {statistic:.2} on {df_text} df, p = {p}")?;
        }
        if let Some(statistic) = self.robust_score_test() {
            let p = p_text(chi_square_tail(statistic, df));
            writeln!(
                f,
                "Score test (robust)   = {statistic:.2} on {df_text} df, p = {p}"
            )?;
        }
        if self.robust_se().is_some() {
            writeln!(f, "{INDEPENDENCE}")?;
        }
        for warning in self.warnings() {
            writeln!(f, "Warning: {warning}")?;
        }
        Ok(())
    }
}

/// Five significant digits without a tail of zeros or an exponent where none is needed.
pub(super) fn number(x: f64) -> String {
    let size = x.abs();
    if !x.is_finite() {
        format!("{x}")
    } else if size >= 1e6 || (size < 1e-4 && size > 0.0) {
        format!("{x:.4e}")
    } else if size >= 1000.0 {
        format!("{x:.1}")
    } else if size >= 1.0 {
        format!("{x:.4}")
    } else {
        format!("{x:.5}")
    }
}

#[cfg(test)]
mod tests {
    use crate::{Covariates, CoxPh, Surv, Ties};

    #[test]
    fn the_table_is_what_it_was() {
        let time: Vec<f64> = (0..30).map(|i| f64::from(1 + i * 11 % 17)).collect();
        let event: Vec<bool> = (0..30).map(|i| i % 3 != 2).collect();
        let weights: Vec<f64> = (0..30).map(|i| 0.5 + f64::from(i % 4)).collect();
        let centre: Vec<u8> = (0..30).map(|i| i % 2).collect();
        let x: Vec<f64> = (0..60).map(|k| f64::from(k * 29 % 61) / 10.0).collect();
        let x = Covariates::from_rows(&x, 30, 2)
            .and_then(|x| x.with_names(["dose", "age_at_start"]))
            .unwrap();
        let plain = Surv::new(&time, &event).unwrap();
        let full = Surv::builder(&time, &event)
            .weights(&weights)
            .strata(&centre)
            .build()
            .unwrap();
        let fit = CoxPh::new().fit(&plain, &x).unwrap();
        assert_eq!(fit.to_string(), PLAIN);
        let fit = CoxPh::new()
            .ties(Ties::Breslow)
            .level(0.9)
            .robust(true)
            .fit(&full, &x)
            .unwrap();
        assert_eq!(fit.to_string(), ROBUST);
    }

    const PLAIN: &str = "\
Cox proportional hazards model, Efron ties
n = 30, number of events = 20

                coef exp(coef) se(coef)     z      p lower 95% upper 95%
dose         0.02325    1.0235  0.13733 0.169 0.8655   0.78199    1.3397
age_at_start 0.15516    1.1678  0.16012 0.969 0.3325   0.85328    1.5984

Concordance (in-sample) = 0.5217  (se = 0.0648)
Likelihood ratio test = 1.02 on 2 df, p = 0.6008
Wald test             = 1.05 on 2 df, p = 0.5923
Score (logrank) test  = 1.06 on 2 df, p = 0.5896
";

    const ROBUST: &str = "\
Cox proportional hazards model, Breslow ties
n = 30, number of events = 20

                 coef exp(coef) se(coef) robust se      z      p lower 90% upper 90%
dose         -0.15557   0.85593  0.12179   0.16804 -0.926 0.3545   0.64923    1.1284
age_at_start  0.11094    1.1173  0.13562   0.14612  0.759 0.4477   0.87863    1.4209

Concordance (in-sample) = 0.6016  (se = 0.1051)
Likelihood ratio test = 4.96 on 2 df, p = 0.0836
Wald test (robust)    = 3.09 on 2 df, p = 0.2128
Score (logrank) test  = 5.44 on 2 df, p = 0.0660
Score test (robust)   = 3.58 on 2 df, p = 0.1669
(The likelihood ratio and plain score tests assume independent rows within a cluster and weights
that count rows; the robust Wald and score tests do not.)
";
}
