//! `survlatent cox`: a Cox model, or with `--path` a penalised path.

use clap::Args;
use serde::Serialize;
use survlatent::Cohort;
use survlatent::cox_survival::{CoxFit, CoxPh, Error, Ties};

use crate::cox_diagnostics::{DiagnosticFlags, Diagnostics};
use crate::cox_path::PathFlags;
use crate::data::{FeatureFlags, Outcome};
use crate::failure::Failure;
use crate::table_format::TableFormat;
use crate::{report, value};

/// Fit a Cox model, or a penalised path of them
///
/// Without --path: maximum partial likelihood (fewer features than rows), printed as R's
/// summary(coxph(..)) has it. With --path: an elastic-net path for any number of features, with
/// --cv cross-validated.
#[derive(Args)]
#[command(after_long_help = JSON)]
pub(crate) struct Cox {
    #[command(flatten)]
    outcome: Outcome,
    /// Columns whose combinations are the strata, each with a baseline hazard of its own
    #[arg(long, value_name = "COL,..", value_delimiter = ',')]
    strata: Vec<String>,
    /// Column telling which rows belong together: robust standard errors; with --path folds (of --cv,
    /// --foldid and --adaptive) that never separate them
    #[arg(long, value_name = "COL")]
    cluster: Option<String>,
    #[command(flatten)]
    features: FeatureFlags,
    /// Treatment of tied event times: efron, breslow or exact (default: efron; breslow with --path)
    #[arg(long, value_name = "METHOD", value_parser = ["efron", "breslow", "exact"], hide_possible_values = true)]
    ties: Option<String>,
    /// Robust (sandwich) standard errors, each row a cluster; for sampling weights
    #[arg(long, conflicts_with = "path")]
    robust: bool,
    /// Level of the confidence limits
    #[arg(long, value_name = "L", default_value = "0.95", value_parser = value::inside, conflicts_with = "path")]
    level: f64,
    /// Column of offsets: a known part of the linear predictor
    #[arg(long, value_name = "COL")]
    offset: Option<String>,
    #[command(flatten)]
    format: TableFormat,
    /// Layout of the coefficients: r, or lifelines with both limits of coefficient and hazard ratio and
    /// the p-value in bits
    #[arg(long, value_name = "S", default_value = "r", value_parser = ["r", "lifelines"], hide_possible_values = true, conflicts_with_all = ["path", "json"])]
    style: String,
    #[command(flatten)]
    diagnostics: DiagnosticFlags,
    #[command(flatten)]
    path: PathFlags,
}

const JSON: &str = "\
JSON without --path:
  n, nevent, names[], coef[], exp_coef[], se[], robust_se[] (null unless --cluster or --robust),
  z[], p[], lower[], upper[] (limits of exp_coef at --level), loglik0, loglik,
  lr, wald, score (statistics on length(coef) degrees of freedom), with robust errors
  robust_score, concordance, concordance_se
  (in-sample), iter, ties, dropped_rows, level, warnings[];
  with --zph: zph {transform, rows[], chisq[], df[], p[]}, the last row GLOBAL;
  with --residuals: residuals {..}, of which martingale[], deviance[], score[][], dfbeta[][] by row
  in input order (without dropped rows; null where the weight is 0) and schoenfeld[][],
  scaledsch[][], time[], row[] by event, ordered by stratum, time and row (from 0);
  with --baseline: baseline {time[], hazard[], strata[]} at covariates and offset zero

JSON with --path:
  names[], alpha, lambda[], df[], dev_ratio[], nulldev, beta[] (one {i[], v[]} per lambda, columns
  from 0, original units), ties, n, nevent, kkt[] (the certificate of each solution),
  dropped_rows, warnings[]; with --cv: cvm[], cvsd[], lambda_min, lambda_1se, foldid[];
  with --relax: relaxed {dev_ratio[], beta[]} for the lambdas that have a refit (the first ones),
  and with --cv there, beside those of the path itself above: gamma[], cvm[][], cvsd[][] (by
  gamma), lambda_min, gamma_min, lambda_1se, gamma_1se, foldid[];
  with --baseline: baseline {lambda, gamma (with --relax), time[], hazard[], strata[]} at
  covariates and offset zero;
  with --group: group[] (a name per column), active_groups[] (their number per lambda)

z, p, lower, upper and wald use the robust standard errors when these are present.
Unlike R, weights that are no whole numbers do not switch robust errors on: --robust does.

Examples:
  survlatent cox lung.csv --time time --event status --features age,sex --strata inst
  survlatent cox visits.csv --time stop --event event --entry start --cluster id --json
  survlatent cox cohort.csv --time days --event died --features age,cell --categorical cell
  survlatent cox lung.csv --time time --event status --features age,sex --zph rank \\
      --residuals martingale,schoenfeld --baseline --json
  survlatent cox cohort.csv --time days --event died --features-file latents.npz \\
      --path --alpha 0.5 --cv 10 --seed 1 --json
  survlatent cox cohort.csv --time days --event died --path --cv 10 --baseline";

impl Cox {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut roles = self.outcome.roles().strata(&self.strata);
        if let Some(column) = &self.cluster {
            roles = roles.cluster(column);
        }
        if let Some(column) = &self.offset {
            roles = roles.offset(column);
        }
        if let Some(column) = self.path.folds() {
            roles = roles.folds(column);
        }
        let cohort = self.features.cohort(&self.outcome, roles)?;
        report::notices(&cohort);
        let ties = self.ties.as_deref().map(str::parse).transpose()?;
        if self.path.wanted() && ties == Some(Ties::Exact) {
            return Err(Failure::usage(
                "--ties exact is not for --path: use efron or breslow",
            ));
        }
        if self.path.wanted() {
            return self.path.run(
                &cohort,
                ties,
                self.diagnostics.baseline(),
                &self.format,
                self.outcome.json,
            );
        }
        self.plain(&cohort, ties.unwrap_or_default())
    }

    fn plain(&self, cohort: &Cohort, ties: Ties) -> Result<(), Failure> {
        if let Some(column) = cohort.single_level().first() {
            let column = column.clone();
            return Err(Error::ConstantColumn { column }.into());
        }
        let mut settings = CoxPh::new()
            .ties(ties)
            .level(self.level)
            .robust(self.robust);
        if let Some(offset) = cohort.offset() {
            settings = settings.offset(offset.to_vec());
        }
        let x = cohort.covariates()?;
        let fit = match cohort.cluster() {
            None => settings.fit(cohort.surv(), &x),
            Some(cluster) => settings.fit_clustered(cohort.surv(), &x, cluster.codes()),
        };
        let fit = fit.map_err(|error| cohort.locate(error))?;
        let diagnostics = self.diagnostics.of(&fit, cohort)?;
        let lifelines = self.style == "lifelines";
        let coefficients = || {
            if lifelines {
                fit.lifelines_table()
            } else {
                fit.table()
            }
        };
        let whole = || {
            if lifelines {
                format!("{}{diagnostics}", fit.lifelines_summary())
            } else {
                format!("{fit}{diagnostics}")
            }
        };
        let table = self.format.of(coefficients).unwrap_or_else(whole);
        if self.format.wanted() {
            for warning in fit.warnings() {
                report::note(warning);
            }
        }
        let json = self
            .outcome
            .json
            .then(|| Json::new(&fit, cohort, diagnostics));
        if let Some(json) = &json {
            for warning in &json.warnings {
                report::note(warning);
            }
        }
        report::result(json.as_ref(), &table)
    }
}

#[derive(Serialize)]
struct Json<'a> {
    n: usize,
    nevent: usize,
    names: &'a [String],
    coef: &'a [f64],
    exp_coef: Vec<f64>,
    se: &'a [f64],
    robust_se: Option<&'a [f64]>,
    z: Vec<f64>,
    p: Vec<f64>,
    lower: Vec<f64>,
    upper: Vec<f64>,
    loglik0: f64,
    loglik: f64,
    lr: f64,
    wald: f64,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    robust_score: Option<f64>,
    concordance: Option<f64>,
    concordance_se: Option<f64>,
    iter: usize,
    ties: &'static str,
    dropped_rows: usize,
    level: f64,
    warnings: Vec<String>,
    #[serde(flatten)]
    diagnostics: Diagnostics,
}

impl<'a> Json<'a> {
    fn new(fit: &'a CoxFit, cohort: &Cohort, diagnostics: Diagnostics) -> Self {
        Self {
            n: fit.n(),
            nevent: fit.n_events(),
            names: fit.names(),
            coef: fit.coef(),
            exp_coef: fit.exp_coef(),
            se: fit.se(),
            robust_se: fit.robust_se(),
            z: fit.z(),
            p: fit.p_values(),
            lower: fit.lower(),
            upper: fit.upper(),
            loglik0: fit.loglik0(),
            loglik: fit.loglik(),
            lr: fit.lr(),
            wald: fit.wald(),
            score: fit.score_test(),
            robust_score: fit.robust_score_test(),
            concordance: fit.concordance().map(|(c, _)| c),
            concordance_se: fit.concordance().map(|(_, se)| se),
            iter: fit.iterations(),
            ties: fit.ties().name(),
            dropped_rows: cohort.dropped_rows(),
            level: fit.level(),
            warnings: fit.warnings().iter().map(ToString::to_string).collect(),
            diagnostics,
        }
    }
}
