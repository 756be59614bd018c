//! What `survlatent cox` says beside the fit: tests of proportionality, residuals, the baseline hazard.

use std::fmt::{self, Write as _};

use clap::Args;
use serde::Serialize;
use survlatent::Cohort;
use survlatent::cox_survival::{BaselineHazard, CoxDiagnostics, CoxFit, Zph, ZphTransform};

use crate::failure::Failure;

/// Flags of an unpenalised fit.
#[derive(Args)]
pub(crate) struct DiagnosticFlags {
    /// Test proportional hazards, with time as km, rank, identity or log (default km)
    #[arg(long, value_name = "TRANSFORM", num_args = 0..=1, default_missing_value = "km",
          value_parser = ["km", "rank", "identity", "log"], hide_possible_values = true,
          conflicts_with_all = ["path", "format"])]
    zph: Option<String>,
    /// Residuals: martingale, deviance, score, dfbeta, schoenfeld, scaledsch
    #[arg(long, value_name = "KIND,..", value_delimiter = ',', value_parser = Kind::NAMES,
          hide_possible_values = true, conflicts_with_all = ["path", "format"])]
    residuals: Vec<String>,
    /// Cumulative baseline hazard at covariates zero, at every distinct time of each stratum; with --path
    /// at --at, or else at the lambda (with --relax, and the blend) that --cv chooses
    #[arg(long, conflicts_with = "format")]
    baseline: bool,
}

struct Kind;

impl Kind {
    const NAMES: [&'static str; 6] = [
        "martingale",
        "deviance",
        "score",
        "dfbeta",
        "schoenfeld",
        "scaledsch",
    ];
}

/// What was asked for; the fields are those of the JSON.
#[derive(Serialize)]
pub(crate) struct Diagnostics {
    #[serde(skip_serializing_if = "Option::is_none")]
    zph: Option<Zph>,
    #[serde(skip_serializing_if = "Option::is_none")]
    residuals: Option<Residuals>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<Baseline>,
    #[serde(skip)]
    names: Vec<String>,
}

#[derive(Serialize, Default)]
struct Residuals {
    #[serde(skip_serializing_if = "Option::is_none")]
    martingale: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deviance: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<Vec<Vec<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dfbeta: Option<Vec<Vec<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schoenfeld: Option<Vec<Vec<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scaledsch: Option<Vec<Vec<f64>>>,
    /// Of the rows of `schoenfeld` and `scaledsch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Vec<f64>>,
    /// Their rows in the data, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<Vec<usize>>,
}

/// A cumulative baseline hazard at the times of the table.
#[derive(Serialize)]
pub(crate) struct Baseline {
    time: Vec<f64>,
    hazard: Vec<f64>,
    strata: Vec<String>,
}

impl DiagnosticFlags {
    /// Whether the baseline hazard is asked for.
    pub(crate) fn baseline(&self) -> bool {
        self.baseline
    }

    /// Computes what was asked for.
    pub(crate) fn of(&self, fit: &CoxFit, cohort: &Cohort) -> Result<Diagnostics, Failure> {
        let mut out = Diagnostics {
            zph: None,
            residuals: None,
            baseline: self
                .baseline
                .then(|| Baseline::new(fit.baseline_hazard(), cohort)),
            names: fit.names().to_vec(),
        };
        if self.zph.is_none() && self.residuals.is_empty() {
            return Ok(out);
        }
        let x = cohort.covariates()?;
        let diagnostics = fit.diagnostics(cohort.surv(), &x)?;
        if let Some(transform) = &self.zph {
            out.zph = Some(diagnostics.zph(transform.parse::<ZphTransform>()?)?);
        }
        if !self.residuals.is_empty() {
            out.residuals = Some(self.residuals(&diagnostics, fit.names().len()));
        }
        Ok(out)
    }

    fn residuals(&self, d: &CoxDiagnostics<'_>, p: usize) -> Residuals {
        let wanted = |kind: &str| self.residuals.iter().any(|k| k == kind);
        let rows = |flat: Vec<f64>| {
            flat.chunks_exact(p)
                .map(<[f64]>::to_vec)
                .collect::<Vec<_>>()
        };
        let mut out = Residuals {
            martingale: wanted("martingale").then(|| d.martingale()),
            deviance: wanted("deviance").then(|| d.deviance()),
            score: wanted("score").then(|| rows(d.score())),
            dfbeta: wanted("dfbeta").then(|| rows(d.dfbeta())),
            ..Residuals::default()
        };
        if wanted("schoenfeld") || wanted("scaledsch") {
            let plain = d.schoenfeld();
            out.scaledsch = wanted("scaledsch").then(|| rows(d.scaled_schoenfeld().values));
            out.schoenfeld = wanted("schoenfeld").then(|| rows(plain.values));
            out.time = Some(plain.time);
            out.row = Some(plain.row);
        }
        out
    }
}

impl Baseline {
    /// At every distinct time of a stratum, as R's `basehaz` has it.
    pub(crate) fn new(curves: &[BaselineHazard], cohort: &Cohort) -> Self {
        let surv = cohort.surv();
        let mut out = Self {
            time: Vec::new(),
            hazard: Vec::new(),
            strata: Vec::new(),
        };
        for (s, curve) in (0u32..).zip(curves) {
            let mut times: Vec<f64> = (0..surv.n())
                .filter(|&i| surv.stratum()[i] == s && surv.weight(i) > 0.0)
                .map(|i| surv.time()[i])
                .collect();
            times.sort_by(f64::total_cmp);
            times.dedup();
            for t in times {
                out.time.push(t);
                out.hazard.push(curve.at(t));
                out.strata.push(curve.stratum.clone());
            }
        }
        out
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(zph) = &self.zph {
            write!(f, "\n{zph}")?;
        }
        if let Some(residuals) = &self.residuals {
            residuals.write(f, &self.names)?;
        }
        match &self.baseline {
            Some(baseline) => write!(f, "\n{baseline}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Baseline hazard\nstrata,time,hazard")?;
        for (k, name) in self.strata.iter().enumerate() {
            writeln!(f, "{name},{},{}", self.time[k], self.hazard[k])?;
        }
        Ok(())
    }
}

impl Residuals {
    /// As comma-separated lines: one block by row, one by event.
    fn write(&self, f: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
        let single = |v: &Option<Vec<f64>>| -> Option<Vec<Vec<f64>>> {
            v.as_ref().map(|v| v.iter().map(|&x| vec![x]).collect())
        };
        let (martingale, deviance) = (single(&self.martingale), single(&self.deviance));
        let by_row = [
            ("martingale", &martingale),
            ("deviance", &deviance),
            ("score", &self.score),
            ("dfbeta", &self.dfbeta),
        ];
        block(f, "row", &by_row, names, |k| (k + 1).to_string())?;
        let by_event = [
            ("schoenfeld", &self.schoenfeld),
            ("scaledsch", &self.scaledsch),
        ];
        let time = self.time.as_deref().unwrap_or_default();
        block(f, "time", &by_event, names, |k| time[k].to_string())
    }
}

fn block(
    f: &mut fmt::Formatter<'_>,
    first: &str,
    columns: &[(&str, &Option<Vec<Vec<f64>>>)],
    names: &[String],
    label: impl Fn(usize) -> String,
) -> fmt::Result {
    let present: Vec<(&str, &Vec<Vec<f64>>)> = columns
        .iter()
        .filter_map(|(kind, values)| values.as_ref().map(|v| (*kind, v)))
        .collect();
    let Some((_, rows)) = present.first() else {
        return Ok(());
    };
    let mut header = first.to_owned();
    for (kind, values) in &present {
        match values.first().map_or(0, Vec::len) {
            1 if matches!(*kind, "martingale" | "deviance") => write!(header, ",{kind}")?,
            _ => {
                for name in names {
                    write!(header, ",{kind}:{name}")?;
                }
            }
        }
    }
    writeln!(f, "\nResiduals\n{header}")?;
    for k in 0..rows.len() {
        let mut line = label(k);
        for (_, values) in &present {
            for v in &values[k] {
                write!(line, ",{v}")?;
            }
        }
        writeln!(f, "{line}")?;
    }
    Ok(())
}
