//! `survlatent concordance`: how well a score ranks patients by their survival.

use std::fmt;

use clap::Args;
use serde::Serialize;
use survlatent::Cohort;
use survlatent::cox_survival::{self, Harrell, Table, Uno};

use crate::data::Outcome;
use crate::failure::Failure;
use crate::table_format::TableFormat;
use crate::{report, value};

/// Harrell's and Uno's concordance of a score with survival
#[derive(Args)]
#[command(after_long_help = JSON)]
pub(crate) struct Concordance {
    #[command(flatten)]
    outcome: Outcome,
    #[command(flatten)]
    format: TableFormat,
    /// Column of scores; a higher score means a higher risk
    #[arg(long, value_name = "COL")]
    score: String,
    /// Columns whose combinations are the strata: pairs are compared within strata
    #[arg(long, value_name = "COL,..", value_delimiter = ',')]
    strata: Vec<String>,
    /// Column telling which rows belong together, for the standard error
    #[arg(long, value_name = "COL")]
    cluster: Option<String>,
    /// A higher score means a longer life instead
    #[arg(long)]
    protective: bool,
    /// Use only events at this time or before (for both concordances)
    #[arg(long, value_name = "X", value_parser = value::positive)]
    tau: Option<f64>,
    /// Uno's concordance as well: pairs weighted by the inverse of the censoring curve squared
    #[arg(long)]
    uno: bool,
}

const JSON: &str = "\
JSON:
  concordance, std_error, concordant, discordant, tied_score, tied_time, tied_both (numbers of
  pairs, weighted), n, dropped_rows; with --uno: uno, uno_std_error (censoring curve taken as
  known, as R's concordance(timewt = \"n/G2\") does), uno_std_error_full (its estimation counted)

Examples:
  survlatent concordance scored.csv --time days --event died --score risk
  survlatent concordance scored.csv --time days --event died --score survival5 --protective \\
      --uno --tau 1825 --json";

/// Both concordances.
struct Both {
    harrell: cox_survival::Concordance,
    uno: Option<UnoFit>,
}

/// Uno's concordance with its two standard errors.
struct UnoFit {
    known: cox_survival::Concordance,
    full: cox_survival::Concordance,
}

impl Both {
    /// One row for each, Uno's standard error that which counts the censoring curve.
    fn table(&self) -> Result<Table, Failure> {
        let rows = [("Harrell", Some(&self.harrell))]
            .into_iter()
            .chain([("Uno", self.uno.as_ref().map(|uno| &uno.full))]);
        let table = self.harrell.table();
        let rows = rows.filter_map(|(name, fit)| {
            let mut row = fit?.table().rows()[0].clone();
            name.clone_into(&mut row[0]);
            Some(row)
        });
        Ok(Table::from_cells(table.header().to_vec(), rows.collect())?)
    }
}

impl fmt::Display for Both {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.uno {
            None => write!(f, "{}", self.harrell),
            Some(uno) => write!(f, "Harrell: {}\nUno: {}", self.harrell, uno.full),
        }
    }
}

#[derive(Serialize)]
struct Json {
    concordance: f64,
    std_error: Option<f64>,
    concordant: f64,
    discordant: f64,
    tied_score: f64,
    tied_time: f64,
    tied_both: f64,
    n: usize,
    dropped_rows: usize,
    #[serde(flatten)]
    uno: Option<UnoJson>,
}

#[derive(Serialize)]
struct UnoJson {
    uno: f64,
    uno_std_error: Option<f64>,
    uno_std_error_full: Option<f64>,
}

impl Concordance {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut roles = self
            .outcome
            .roles()
            .strata(&self.strata)
            .features([&self.score]);
        if let Some(column) = &self.cluster {
            roles = roles.cluster(column);
        }
        let table = self.outcome.read()?;
        table.numbers(&self.score)?;
        let cohort = roles.cohort(&table)?;
        report::notices(&cohort);
        let score = cohort.covariates()?.column(0);
        let fit = self.fit(&cohort, &score)?;
        let harrell = &fit.harrell;
        let json = self.outcome.json.then(|| Json {
            concordance: harrell.concordance(),
            std_error: harrell.std_error(),
            concordant: harrell.concordant(),
            discordant: harrell.discordant(),
            tied_score: harrell.tied_score(),
            tied_time: harrell.tied_time(),
            tied_both: harrell.tied_both(),
            n: harrell.n(),
            dropped_rows: cohort.dropped_rows(),
            uno: fit.uno.as_ref().map(|uno| UnoJson {
                uno: uno.known.concordance(),
                uno_std_error: uno.known.std_error(),
                uno_std_error_full: uno.full.std_error(),
            }),
        });
        let table = fit.table()?;
        let text = self.format.of(|| table);
        report::result(json.as_ref(), &text.unwrap_or_else(|| fit.to_string()))
    }

    fn fit(&self, cohort: &Cohort, score: &[f64]) -> Result<Both, Failure> {
        let clustered = |fit: cox_survival::Concordance| match cohort.cluster() {
            None => Ok(fit),
            Some(cluster) => fit.clustered(cluster.codes()),
        };
        let (mut harrell, mut uno) = (Harrell::new(), Uno::new());
        if self.protective {
            (harrell, uno) = (harrell.protective(), uno.protective());
        }
        if let Some(tau) = self.tau {
            (harrell, uno) = (harrell.latest(tau), uno.tau(tau));
        }
        let surv = cohort.surv();
        Ok(Both {
            harrell: clustered(harrell.fit(surv, score)?)?,
            uno: if self.uno {
                Some(UnoFit {
                    full: clustered(uno.fit(surv, score)?)?,
                    known: clustered(uno.known_censoring().fit(surv, score)?)?,
                })
            } else {
                None
            },
        })
    }
}
