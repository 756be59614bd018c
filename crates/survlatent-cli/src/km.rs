//! `survlatent km`: Kaplan-Meier curves.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use survlatent::OutputFile;
use survlatent::cox_survival::{
    ConfType, Error, KaplanMeier, KmCurve, KmFit, KmPlot, LogRank, LogRankTest, Surv,
};

use crate::data::Outcome;
use crate::failure::Failure;
use crate::table_format::TableFormat;
use crate::{report, value};

/// Kaplan-Meier curves, medians and the log-rank test
#[derive(Args)]
#[command(after_long_help = JSON)]
pub(crate) struct Km {
    #[command(flatten)]
    outcome: Outcome,
    #[command(flatten)]
    format: TableFormat,
    /// Columns whose combinations are the groups: one curve each, and the log-rank test
    #[arg(long, value_name = "COL,..", value_delimiter = ',')]
    by: Vec<String>,
    /// Columns whose combinations are the strata of the log-rank test; the curves are those of
    /// everybody
    #[arg(long, value_name = "COL,..", value_delimiter = ',', requires = "by")]
    strata: Vec<String>,
    /// Scale on which confidence intervals are symmetric: log, plain or log-log
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "log",
        value_parser = ["log", "plain", "log-log"],
        hide_possible_values = true
    )]
    conf_type: String,
    /// Robust standard errors (infinitesimal jackknife), each row a patient; for weights that are not
    /// numbers of patients
    #[arg(long)]
    robust: bool,
    /// Level of the confidence limits
    #[arg(long, value_name = "L", default_value = "0.95", value_parser = value::inside)]
    level: f64,
    /// Draw the curves with their numbers at risk: an SVG file, or PNG by the extension .png
    #[arg(long, value_name = "FILE.svg", value_parser = picture)]
    plot: Option<PathBuf>,
}

/// A file whose extension says what kind of picture it is.
fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if is(&path, "svg") || is(&path, "png") {
        Ok(path)
    } else {
        Err("the file must end in .svg or .png".to_owned())
    }
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// Pixels of a PNG to a unit of the picture.
const PNG_SCALE: f64 = 2.0;

const JSON: &str = "\
JSON:
  strata[]: one {name, time[], n_risk[], n_event[], n_censor[], surv[], std_err[], lower[],
  upper[], median, median_lower, median_upper} per group (name `COL=level`, empty without --by);
  logrank {chisq, df, p} with two groups or more, else null; dropped_rows
  std_err is that of log S: Greenwood's, or with --robust the infinitesimal jackknife's. R's survfit
  has the first too while all weights are whole numbers; with others it goes over to the jackknife
  by itself, and its std.err is then that of S: surv * std_err here.
  The log-rank test takes weights as numbers of patients.

Examples:
  survlatent km lung.csv --time time --event status --by sex --plot lung.svg
  survlatent km lung.csv --time time --event status --by sex --conf-type log-log --json";

/// Curves and the test between them.
struct Curves {
    fit: KmFit,
    test: Option<LogRankTest>,
}

impl fmt::Display for Curves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fit)?;
        match &self.test {
            None => Ok(()),
            Some(test) => write!(f, "\n{test}"),
        }
    }
}

impl Km {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // Before any work: a folder that cannot be written to.
        let picture = self.plot.as_ref().map(OutputFile::create).transpose()?;
        let roles = self
            .outcome
            .roles()
            .groups(&self.by)
            .strata(&self.strata)
            .features([] as [&str; 0]);
        let cohort = roles.cohort(&self.outcome.read()?)?;
        report::notices(&cohort);
        let conf_type: ConfType = self.conf_type.parse()?;
        let settings = KaplanMeier::new()
            .conf_type(conf_type)
            .level(self.level)
            .robust(self.robust);
        if !self.robust {
            report::weights_as_counts(cohort.surv(), "standard errors", "give --robust");
        }
        let everybody = unstratified(cohort.surv())?;
        let curves = match cohort.groups() {
            None => Curves {
                fit: settings.fit(&everybody)?,
                test: None,
            },
            Some(groups) => {
                let labels = groups.labels();
                let test = match LogRank::new().test(cohort.surv(), &labels) {
                    Ok(test) => {
                        crate::logrank::weights_as_counts(&cohort);
                        Some(test)
                    }
                    Err(error @ (Error::TooFewGroups { .. } | Error::Undefined { .. })) => {
                        report::note(&format!("no log-rank test: {error}"));
                        None
                    }
                    Err(error) => return Err(error.into()),
                };
                Curves {
                    fit: settings.fit_by(&everybody, &labels)?,
                    test,
                }
            }
        };
        if let Some(file) = picture {
            let content = self.draw(&curves, is(file.path(), "png"))?;
            file.write(&content)?;
        }
        let json = self.outcome.json.then(|| Json {
            strata: curves.fit.curves.iter().map(Curve::new).collect(),
            logrank: curves.test.as_ref().map(|test| Test {
                chisq: test.chi_squared,
                df: test.df,
                p: test.p_value,
            }),
            dropped_rows: cohort.dropped_rows(),
        });
        let text = self.format.of(|| curves.fit.table());
        report::result(json.as_ref(), &text.unwrap_or_else(|| curves.to_string()))
    }

    fn draw(&self, curves: &Curves, png: bool) -> Result<Vec<u8>, Failure> {
        let mut plot = KmPlot::new().x_label(self.outcome.time());
        if let Some(test) = &curves.test {
            plot = plot.log_rank(test);
        }
        Ok(if png {
            plot.png(&curves.fit.curves, PNG_SCALE)?
        } else {
            plot.svg(&curves.fit.curves)?.into_bytes()
        })
    }
}

/// The same outcome in one stratum.
fn unstratified(surv: &Surv) -> Result<Surv, Error> {
    let mut builder = Surv::builder(surv.time(), surv.event()).timefix(false);
    if let Some(entry) = surv.entry() {
        builder = builder.entry(entry);
    }
    if let Some(weights) = surv.weights() {
        builder = builder.weights(weights);
    }
    builder.build()
}

#[derive(Serialize)]
struct Json<'a> {
    strata: Vec<Curve<'a>>,
    logrank: Option<Test>,
    dropped_rows: usize,
}

#[derive(Serialize)]
struct Test {
    chisq: f64,
    df: usize,
    p: f64,
}

#[derive(Serialize)]
struct Curve<'a> {
    name: &'a str,
    time: &'a [f64],
    n_risk: &'a [f64],
    n_event: &'a [f64],
    n_censor: &'a [f64],
    surv: &'a [f64],
    std_err: &'a [f64],
    lower: &'a [f64],
    upper: &'a [f64],
    median: Option<f64>,
    median_lower: Option<f64>,
    median_upper: Option<f64>,
}

impl<'a> Curve<'a> {
    fn new(curve: &'a KmCurve) -> Self {
        Self {
            name: &curve.name,
            time: &curve.time,
            n_risk: &curve.n_risk,
            n_event: &curve.n_event,
            n_censor: &curve.n_censor,
            surv: &curve.surv,
            std_err: &curve.std_err,
            lower: &curve.lower,
            upper: &curve.upper,
            median: curve.median,
            median_lower: curve.median_lower,
            median_upper: curve.median_upper,
        }
    }
}
