//! `survlatent logrank`: do groups differ in survival?

use clap::Args;
use serde::Serialize;
use survlatent::Cohort;
use survlatent::cox_survival::{LogRank, LogRankTest};

use crate::data::Outcome;
use crate::failure::Failure;
use crate::table_format::TableFormat;
use crate::{report, value};

/// Log-rank test and its G-rho relatives, stratified where asked for
#[derive(Args)]
#[command(after_long_help = JSON)]
pub(crate) struct Logrank {
    #[command(flatten)]
    outcome: Outcome,
    #[command(flatten)]
    format: TableFormat,
    /// Columns whose combinations are the groups
    #[arg(long, value_name = "COL,..", value_delimiter = ',', required = true)]
    by: Vec<String>,
    /// Columns whose combinations are the strata: groups are compared within strata
    #[arg(long, value_name = "COL,..", value_delimiter = ',')]
    strata: Vec<String>,
    /// Weight events by the survival just before, to this power: 0 is the log-rank test, 1 the
    /// Peto-Peto modification of the Wilcoxon test
    #[arg(long, value_name = "R", default_value = "0", value_parser = value::finite, allow_hyphen_values = true)]
    rho: f64,
}

const JSON: &str = "\
JSON:
  chisq, df, p, rho, groups[], n[], observed[], expected[] (by group, summed over strata; weighted
  by rho), variance[][] of observed less expected, strata (their number), dropped_rows
  As R's survdiff has them. Weights are taken as numbers of patients; for others see cox --robust.

Examples:
  survlatent logrank lung.csv --time time --event status --by sex
  survlatent logrank lung.csv --time time --event status --by sex --strata ph_ecog --rho 1 --json";

#[derive(Serialize)]
struct Json<'a> {
    chisq: f64,
    df: usize,
    p: f64,
    rho: f64,
    groups: Vec<&'a str>,
    n: Vec<usize>,
    observed: Vec<f64>,
    expected: Vec<f64>,
    variance: &'a [Vec<f64>],
    strata: usize,
    dropped_rows: usize,
}

impl Logrank {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let roles = self
            .outcome
            .roles()
            .groups(&self.by)
            .strata(&self.strata)
            .features([] as [&str; 0]);
        let cohort = roles.cohort(&self.outcome.read()?)?;
        report::notices(&cohort);
        let labels = cohort
            .groups()
            .map(survlatent::Groups::labels)
            .unwrap_or_default();
        let test = LogRank::new().rho(self.rho).test(cohort.surv(), &labels)?;
        weights_as_counts(&cohort);
        let json = self
            .outcome
            .json
            .then(|| json(&test, cohort.dropped_rows()));
        let text = self.format.of(|| test.table());
        report::result(json.as_ref(), &text.unwrap_or_else(|| test.to_string()))
    }
}

/// Says what the test takes weights for.
pub(crate) fn weights_as_counts(cohort: &Cohort) {
    report::weights_as_counts(
        cohort.surv(),
        "log-rank tests",
        "use `survlatent cox --robust`",
    );
}

fn json(test: &LogRankTest, dropped_rows: usize) -> Json<'_> {
    let groups = &test.groups;
    Json {
        chisq: test.chi_squared,
        df: test.df,
        p: test.p_value,
        rho: test.rho(),
        groups: groups.iter().map(|g| g.name.as_str()).collect(),
        n: groups.iter().map(|g| g.n).collect(),
        observed: groups.iter().map(|g| g.observed).collect(),
        expected: groups.iter().map(|g| g.expected).collect(),
        variance: &test.variance,
        strata: test.strata,
        dropped_rows,
    }
}
