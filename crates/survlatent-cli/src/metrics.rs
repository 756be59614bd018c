//! `survlatent metrics`: how good are predictions on patients they were not made from?

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use survlatent::cox_survival::{
    self, AucOverTime, Brier, CensoringModel, Concordance, DCalibration, DCalibrationFit,
    DynamicAuc, Error, Harrell, PredictedSurvival, ScoreOverTime, Surv, Uno,
};
use survlatent::{Cohort, LatentsReader, Table};

use crate::data::Outcome;
use crate::failure::Failure;
use crate::table_format::TableFormat;
use crate::{report, value};

/// Discrimination, error and calibration of a risk score and of predicted survival
#[derive(Args)]
#[command(after_long_help = JSON)]
pub(crate) struct Metrics {
    #[command(flatten)]
    outcome: Outcome,
    #[command(flatten)]
    format: TableFormat,
    /// Column of scores; a higher score means a higher risk
    #[arg(long, value_name = "COL")]
    score: String,
    /// A higher score means a longer life instead
    #[arg(long)]
    protective: bool,
    /// Predicted survival probabilities, one row per row of the table and one column per time:
    /// .npy, .npz, .safetensors or .csv
    #[arg(long, value_name = "FILE", requires = "times")]
    survival: Option<PathBuf>,
    /// Evaluation times, ascending (default, for the AUC: those deciles of the event times at which it
    /// can be judged)
    #[arg(long, value_name = "T1,T2,..", value_delimiter = ',', value_parser = value::not_negative)]
    times: Option<Vec<f64>>,
    /// Table of the training patients, with the same columns for time and event: the censoring curve
    /// is estimated on them (default: on the patients judged)
    #[arg(long, value_name = "TRAIN.csv")]
    train: Option<PathBuf>,
    /// Use only events at this time or before for Uno's concordance, with --train not after the end of
    /// the training patients' follow-up
    #[arg(long, value_name = "X", value_parser = value::positive)]
    tau: Option<f64>,
    /// Weight events by the censoring curve just before them, as R does, not at them, as
    /// scikit-survival does
    #[arg(long)]
    left_limit: bool,
}

const JSON: &str = "\
JSON:
  harrell, harrell_std_error, uno, uno_std_error (the estimation of the censoring curve counted,
  as uno_std_error_full of `survlatent concordance`), auc {times[], auc[], mean}, dropped_rows; uno is
  null where an event lies beyond the training patients and there is no --tau, auc where no decile
  can be judged: a note says why;
  with --survival: brier {times[], brier[]}, ibs (null for one time), d_calibration {statistic, df,
  p, counts[], expected}, else null
  d_calibration takes the survival predicted for each patient's own time as that at the last of the
  times before it: give many times.

Examples:
  survlatent metrics test.csv --time days --event died --score risk --train train.csv
  survlatent metrics test.csv --time days --event died --score risk --train train.csv \\
      --survival survival.npy --times 365,730,1095 --json";

/// All that was computed.
struct All {
    harrell: Concordance,
    /// None where an event lies beyond the training patients, and nobody has said up to where.
    uno: Option<Concordance>,
    /// None where no decile of the event times can be judged.
    auc: Option<AucOverTime>,
    curves: Option<(ScoreOverTime, DCalibrationFit)>,
}

impl All {
    /// One row per figure.
    fn table(&self) -> Result<cox_survival::Table, Failure> {
        let time = |t: &f64| t.to_string();
        let number = |v: f64| format!("{v:.4}");
        let error = |c: &Concordance| c.std_error().map_or_else(String::new, number);
        let mut rows = Vec::new();
        let mut row = |name: &str, time: String, value: f64, se: String| {
            rows.push(vec![name.to_owned(), time, number(value), se]);
        };
        for (name, c) in [("Harrell", Some(&self.harrell)), ("Uno", self.uno.as_ref())] {
            if let Some(c) = c {
                row(name, String::new(), c.concordance(), error(c));
            }
        }
        if let Some(auc) = &self.auc {
            for (t, v) in auc.times.iter().zip(&auc.auc) {
                row("AUC", time(t), *v, String::new());
            }
            row("AUC, mean", String::new(), auc.mean, String::new());
        }
        if let Some((brier, d)) = &self.curves {
            for (t, v) in brier.times.iter().zip(&brier.values) {
                row("Brier", time(t), *v, String::new());
            }
            if let Some(integrated) = brier.integrated {
                row(
                    "Brier, integrated",
                    String::new(),
                    integrated,
                    String::new(),
                );
            }
            row("D-calibration, p", String::new(), d.p_value, String::new());
        }
        let header = ["", "time", "estimate", "se"].map(str::to_owned).to_vec();
        Ok(cox_survival::Table::from_cells(header, rows)?)
    }
}

impl fmt::Display for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Harrell: {}", self.harrell)?;
        if let Some(uno) = &self.uno {
            writeln!(f, "Uno: {uno}")?;
        }
        if let Some(auc) = &self.auc {
            write!(f, "{auc}")?;
        }
        match &self.curves {
            None => Ok(()),
            Some((brier, d)) => write!(f, "\n{brier}\nD-calibration\n{d}"),
        }
    }
}

#[derive(Serialize)]
struct Json<'a> {
    harrell: f64,
    harrell_std_error: Option<f64>,
    uno: Option<f64>,
    uno_std_error: Option<f64>,
    auc: Option<Auc<'a>>,
    brier: Option<BrierJson<'a>>,
    ibs: Option<f64>,
    d_calibration: Option<DJson<'a>>,
    dropped_rows: usize,
}

#[derive(Serialize)]
struct Auc<'a> {
    times: &'a [f64],
    #[serde(rename = "auc")]
    values: &'a [f64],
    mean: f64,
}

#[derive(Serialize)]
struct BrierJson<'a> {
    times: &'a [f64],
    brier: &'a [f64],
}

#[derive(Serialize)]
struct DJson<'a> {
    statistic: f64,
    df: usize,
    p: f64,
    counts: &'a [f64],
    expected: f64,
}

impl Metrics {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let table = self.outcome.read()?;
        table.numbers(&self.score)?;
        let cohort = self
            .outcome
            .roles()
            .features([&self.score])
            .cohort(&table)?;
        report::notices(&cohort);
        let training = match &self.train {
            None => None,
            Some(path) => {
                let roles = self.outcome.roles().features([] as [&str; 0]);
                let training = roles.cohort(&Table::read(path)?);
                let training = training.map_err(|error| error.in_file(path))?;
                report::notices(&training);
                Some(training)
            }
        };
        let training = training.as_ref().map_or(cohort.surv(), Cohort::surv);
        let all = self.fit(&cohort, training, table.n())?;
        let json = self.outcome.json.then(|| all.json(cohort.dropped_rows()));
        let table = all.table()?;
        let text = self.format.of(|| table);
        report::result(json.as_ref(), &text.unwrap_or_else(|| all.to_string()))
    }

    fn fit(&self, cohort: &Cohort, training: &Surv, rows: usize) -> Result<All, Failure> {
        let surv = cohort.surv();
        let score = cohort.covariates()?.column(0);
        let (mut harrell, mut uno, mut auc) = (Harrell::new(), Uno::new(), DynamicAuc::new());
        if self.protective {
            (harrell, uno, auc) = (harrell.protective(), uno.protective(), auc.protective());
        }
        if let Some(tau) = self.tau {
            uno = uno.tau(tau);
        }
        let mut censoring = CensoringModel::kaplan_meier(training)?;
        if !self.left_limit {
            (uno, censoring) = (uno.censoring_at_event(), censoring.at_event());
        }
        let uno = if self.train.is_some() {
            uno.fit_with_training(surv, &score, training)
        } else {
            uno.fit(surv, &score)
        };
        let located = |error| cohort.locate(error);
        let uno = match uno {
            Ok(uno) => Some(uno),
            Err(error @ Error::NoCensoringWeight { .. }) if self.tau.is_none() => {
                report::note(&format!("no Uno's concordance: {}", located(error)));
                None
            }
            Err(error) => return Err(located(error).into()),
        };
        let harrell = harrell.fit(surv, &score)?;
        let curves = match (&self.survival, &self.times) {
            (Some(path), Some(times)) => {
                let curves = predicted(path, times, cohort, rows)?;
                let brier = Brier::new().fit(surv, &curves, &censoring);
                let calibration = DCalibration::new().fit_curves(surv, &curves)?;
                Some((brier.map_err(located)?, calibration))
            }
            _ => None,
        };
        let auc = match &self.times {
            Some(times) => {
                let fit = auc.fit(surv, &score, times, &censoring);
                Some(fit.map_err(located)?)
            }
            None => at_deciles(auc, cohort, &score, &censoring)?,
        };
        Ok(All {
            harrell,
            uno,
            auc,
            curves,
        })
    }
}

/// The AUC at the deciles of the event times, as far as the censoring curve reaches; a note says what
/// is left out.
fn at_deciles(
    auc: DynamicAuc,
    cohort: &Cohort,
    score: &[f64],
    censoring: &CensoringModel,
) -> Result<Option<AucOverTime>, Failure> {
    let surv = cohort.surv();
    let mut times = deciles(surv);
    let mut left_out = None;
    while !times.is_empty() {
        match auc.fit(surv, score, &times, censoring) {
            // An event without a weight is a case at its own time and at every later one.
            Err(Error::NoCensoringWeight { row, time, reason })
                if times.iter().any(|&t| t >= time) =>
            {
                times.retain(|&t| t < time);
                left_out = Some((time, Error::NoCensoringWeight { row, time, reason }));
            }
            Err(error) => return Err(cohort.locate(error).into()),
            Ok(fit) => {
                if let Some((time, error)) = left_out {
                    let error = cohort.locate(error);
                    report::note(&format!(
                        "no AUC at the deciles from time {time} on: {error}"
                    ));
                }
                return Ok(Some(fit));
            }
        }
    }
    match left_out {
        Some((_, error)) => report::note(&format!("no AUC: {}", cohort.locate(error))),
        None => report::note(
            &"no AUC: every event is at the end of follow-up, where nobody is left to compare with",
        ),
    }
    Ok(None)
}

/// The predictions of the rows of the table that are in the cohort.
fn predicted(
    path: &PathBuf,
    times: &[f64],
    cohort: &Cohort,
    rows: usize,
) -> Result<PredictedSurvival, Failure> {
    let found = LatentsReader::new().read(path)?;
    if found.n() != rows {
        return Err(Failure::run(format!(
            "{}: {} rows of predictions, but the table has {rows}",
            path.display(),
            found.n()
        )));
    }
    if found.p() != times.len() {
        return Err(Failure::usage(format!(
            "--times has {} values, but {} has {} columns",
            times.len(),
            path.display(),
            found.p()
        )));
    }
    let row = |&i: &usize| (0..found.p()).map(move |j| (i, j));
    let places = cohort.rows().iter().flat_map(row);
    let values: Vec<f64> = places.map(|(i, j)| found.get(i, j)).collect();
    let in_file = |error| match error {
        // The row of the file, where the cohort has left some out.
        Error::Prediction {
            row,
            column,
            value,
            fault,
        } => Error::Prediction {
            row: cohort.rows()[row],
            column,
            value,
            fault,
        },
        other => other,
    };
    Ok(PredictedSurvival::from_rows(times, &values, cohort.rows().len()).map_err(in_file)?)
}

/// Distinct deciles of the event times, before the end of follow-up.
fn deciles(surv: &Surv) -> Vec<f64> {
    let counted = |i: &usize| surv.weight(*i) > 0.0;
    let end = (0..surv.n())
        .filter(counted)
        .map(|i| surv.time()[i])
        .fold(0.0, f64::max);
    let mut events: Vec<f64> = (0..surv.n())
        .filter(counted)
        .filter(|&i| surv.event()[i])
        .map(|i| surv.time()[i])
        .collect();
    events.sort_unstable_by(f64::total_cmp);
    let mut times: Vec<f64> = (1..10)
        .filter_map(|d| events.get((d * events.len()).div_ceil(10).saturating_sub(1)))
        .copied()
        .filter(|&t| t < end)
        .collect();
    times.dedup_by(|a, b| a.total_cmp(b).is_eq());
    times
}

impl All {
    fn json(&self, dropped_rows: usize) -> Json<'_> {
        let (brier, d) = self.curves.as_ref().map(|(b, d)| (b, d)).unzip();
        Json {
            harrell: self.harrell.concordance(),
            harrell_std_error: self.harrell.std_error(),
            uno: self.uno.as_ref().map(Concordance::concordance),
            uno_std_error: self.uno.as_ref().and_then(Concordance::std_error),
            auc: self.auc.as_ref().map(|auc| Auc {
                times: &auc.times,
                values: &auc.auc,
                mean: auc.mean,
            }),
            brier: brier.map(|b| BrierJson {
                times: &b.times,
                brier: &b.values,
            }),
            ibs: brier.and_then(|b| b.integrated),
            d_calibration: d.map(|d| DJson {
                statistic: d.chi_squared,
                df: d.df,
                p: d.p_value,
                counts: &d.counts,
                expected: d.expected,
            }),
            dropped_rows,
        }
    }
}
