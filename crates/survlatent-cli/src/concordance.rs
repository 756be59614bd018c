//! `survlatent concordance`: how well a score ranks patients by their survival.

use clap::Args;
use serde::Serialize;
use survlatent::Cohort;
use survlatent::cox_survival::{self, Harrell};

use crate::data::Outcome;
use crate::failure::Failure;
use crate::{report, value};

/// Harrell's and Uno's concordance of a score with survival
#[derive(Args)]
pub(crate) struct Concordance {
    #[command(flatten)]
    outcome: Outcome,
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
    /// Count only pairs whose earlier event is at this time or before
    #[arg(long, value_name = "X", value_parser = value::positive)]
    tau: Option<f64>,
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
        let fit = self.harrell(&cohort, &score)?;
        let json = self.outcome.json.then(|| Json {
            concordance: fit.concordance(),
            std_error: fit.std_error(),
            concordant: fit.concordant(),
            discordant: fit.discordant(),
            tied_score: fit.tied_score(),
            tied_time: fit.tied_time(),
            tied_both: fit.tied_both(),
            n: fit.n(),
            dropped_rows: cohort.dropped_rows(),
        });
        report::result(json.as_ref(), &fit)
    }

    fn harrell(
        &self,
        cohort: &Cohort,
        score: &[f64],
    ) -> Result<cox_survival::Concordance, Failure> {
        let mut settings = Harrell::new();
        if self.protective {
            settings = settings.protective();
        }
        if let Some(tau) = self.tau {
            settings = settings.latest(tau);
        }
        let fit = settings.fit(cohort.surv(), score)?;
        Ok(match cohort.cluster() {
            None => fit,
            Some(cluster) => fit.clustered(cluster.codes())?,
        })
    }
}
