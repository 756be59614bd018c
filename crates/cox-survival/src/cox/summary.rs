//! The printed table: R's order of things, lifelines' columns.

use std::fmt;

use statrs::function::gamma::checked_gamma_ur;

use super::fit::CoxFit;

/// Upper tail of the chi-square distribution.
pub(crate) fn chi_square_tail(statistic: f64, df: usize) -> f64 {
    if statistic.is_nan() || statistic < 0.0 || df == 0 {
        return f64::NAN;
    }
    if statistic <= 0.0 {
        return 1.0;
    }
    checked_gamma_ur(df as f64 / 2.0, statistic / 2.0).unwrap_or(f64::NAN)
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

impl fmt::Display for CoxFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.level() * 100.0;
        writeln!(
            f,
            "Cox proportional hazards model, {} ties",
            match self.ties() {
                super::Ties::Efron => "Efron",
                super::Ties::Breslow => "Breslow",
            }
        )?;
        writeln!(
            f,
            "n = {}, number of events = {}\n",
            self.n(),
            self.n_events()
        )?;
        let mut rows = vec![vec![
            String::new(),
            "coef".into(),
            "exp(coef)".into(),
            "se(coef)".into(),
        ]];
        if self.robust_se().is_some() {
            rows[0].push("robust se".into());
        }
        rows[0].extend(["z".into(), "p".into()]);
        rows[0].extend([format!("lower {percent}%"), format!("upper {percent}%")]);
        let (exp, z, p) = (self.exp_coef(), self.z(), self.p_values());
        let (lower, upper) = (self.lower(), self.upper());
        for j in 0..self.coef().len() {
            let mut row = vec![
                self.names()[j].clone(),
                number(self.coef()[j]),
                number(exp[j]),
                number(self.se()[j]),
            ];
            if let Some(robust) = self.robust_se() {
                row.push(number(robust[j]));
            }
            row.extend([
                format!("{:.3}", z[j]),
                p_text(p[j]),
                number(lower[j]),
                number(upper[j]),
            ]);
            rows.push(row);
        }
        write_table(f, &rows)?;
        writeln!(f)?;
        if let Some((c, se)) = self.concordance() {
            writeln!(f, "Concordance (in-sample) = {c:.4}  (se = {se:.4})")?;
        }
        let df = self.coef().len();
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
            let p = p_text(chi_square_tail(statistic, df));
            writeln!(f, "{name:<21} = {statistic:.2} on {df} df, p = {p}")?;
        }
        for warning in self.warnings() {
            writeln!(f, "Warning: {warning}")?;
        }
        Ok(())
    }
}

/// Five significant digits without a tail of zeros or an exponent where none is needed.
fn number(x: f64) -> String {
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

/// Prints rows of which the first is the header.
pub(crate) fn write_table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let Some((header, rows)) = rows.split_first() else {
        return Ok(());
    };
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    crate::text_table::write(f, &header, rows)
}
