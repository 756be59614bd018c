//! `survlatent cox --path`: an elastic-net path, and its cross-validation.

use std::ops::ControlFlow;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use survlatent::cox_survival::{CoxPath, CrossValidation, CvFit, CvMeasure, Folds, PathFit, Ties};
use survlatent::{Cohort, Error, Groups, nearest};

use crate::failure::Failure;
use crate::{report, value};

/// Flags that only a path has.
#[derive(Args)]
#[command(next_help_heading = "Penalised path")]
pub(crate) struct PathFlags {
    /// Fit an elastic-net path instead of one unpenalised model
    #[arg(long)]
    path: bool,
    /// Mixing: 1 is the lasso, 0 the ridge
    #[arg(long, value_name = "A", default_value = "1", value_parser = value::unit, requires = "path")]
    alpha: f64,
    /// Length of the lambda sequence
    #[arg(long, value_name = "N", default_value = "100", value_parser = value::count::<1>, requires = "path")]
    nlambda: usize,
    /// Smallest lambda as a share of the largest (default: 0.0001, or 0.01 with more features
    /// than rows)
    #[arg(long, value_name = "R", value_parser = value::inside, requires = "path")]
    lambda_min_ratio: Option<f64>,
    /// Lambdas of one's own, decreasing, instead of a sequence
    #[arg(
        long,
        value_name = "L,..",
        value_delimiter = ',',
        value_parser = value::not_negative,
        requires = "path",
        conflicts_with_all = ["nlambda", "lambda_min_ratio"]
    )]
    lambda: Option<Vec<f64>>,
    /// Cross-validate in K folds with events spread evenly
    #[arg(long, value_name = "K", value_parser = value::count::<2>, requires = "path")]
    cv: Option<usize>,
    /// Column of fold labels: cross-validate in these folds
    #[arg(long, value_name = "COL", requires = "path")]
    foldid: Option<String>,
    /// Seed of the folds
    #[arg(long, value_name = "S", default_value = "0", requires = "path")]
    seed: u64,
    /// What is cross-validated: deviance (per event, differences of whole risk sets),
    /// deviance-ungrouped (within held-out rows) or c (Harrell's concordance)
    #[arg(
        long,
        value_name = "M",
        default_value = "deviance",
        value_parser = ["deviance", "deviance-ungrouped", "c"],
        hide_possible_values = true,
        requires = "path"
    )]
    measure: String,
    /// Scale features to unit variance for the fit; coefficients are in original units either way
    #[arg(
        long,
        value_name = "true|false",
        default_value = "true",
        action = clap::ArgAction::Set,
        hide_possible_values = true,
        requires = "path"
    )]
    standardize: bool,
    /// Penalty factors: one number per feature column in order, or NAME=FACTOR for some (others
    /// 1); 0 leaves a feature unpenalised
    #[arg(long, value_name = "F,..", value_delimiter = ',', requires = "path")]
    penalty_factor: Option<Vec<String>>,
}

impl PathFlags {
    pub(crate) fn wanted(&self) -> bool {
        self.path
    }

    /// The column of fold labels.
    pub(crate) fn folds(&self) -> Option<&String> {
        self.foldid.as_ref()
    }

    /// Refuses combinations of flags that mean nothing.
    pub(crate) fn check(&self, cluster: bool) -> Result<(), Failure> {
        if self.path && cluster && self.cv.is_none() {
            return Err(Failure::usage(
                "--cluster with --path keeps rows together in folds, and so needs --cv K",
            ));
        }
        Ok(())
    }

    pub(crate) fn run(
        &self,
        cohort: &Cohort,
        ties: Option<Ties>,
        json: bool,
    ) -> Result<(), Failure> {
        let warnings = constant(cohort)?;
        for warning in &warnings {
            report::note(warning);
        }
        let x = cohort.covariates()?;
        let mut settings = CoxPath::new()
            .alpha(self.alpha)
            .n_lambda(self.nlambda)
            .standardize(self.standardize);
        if let Some(ratio) = self.lambda_min_ratio {
            settings = settings.lambda_min_ratio(ratio);
        }
        if let Some(lambda) = &self.lambda {
            settings = settings.lambdas(lambda.clone());
        }
        if let Some(factors) = &self.penalty_factor {
            settings = settings.penalty_factor(penalty_factors(factors, &x.names())?);
        }
        if let Some(ties) = ties {
            settings = settings.ties(ties);
        }
        let Some(folds) = self.make_folds(cohort)? else {
            let fit = settings.fit(cohort.surv(), &x)?;
            let json = json.then(|| Json::new(&fit, cohort, warnings));
            return report::result(json.as_ref(), &fit);
        };
        let measure = match self.measure.as_str() {
            "c" => CvMeasure::Concordance,
            grouped => CvMeasure::Deviance {
                grouped: grouped == "deviance",
            },
        };
        let bar = progress(folds.count() + 1);
        let fit = CrossValidation::new(settings).measure(measure).fit_with(
            cohort.surv(),
            &x,
            &folds,
            &|progress| {
                bar.set_position(progress.done as u64);
                ControlFlow::Continue(())
            },
        );
        bar.finish_and_clear();
        let fit = fit?;
        let json = json.then(|| Json {
            cv: Some(Cv::new(&fit)),
            ..Json::new(fit.path(), cohort, warnings)
        });
        report::result(json.as_ref(), &fit)
    }

    fn make_folds(&self, cohort: &Cohort) -> Result<Option<Folds>, Failure> {
        let folds = match (cohort.folds(), self.cv) {
            (Some(given), asked) => {
                let found = given.levels().len();
                if let Some(asked) = asked.filter(|&k| k != found) {
                    return Err(Failure::usage(format!(
                        "--cv {asked} with --foldid, whose column holds {found} folds"
                    )));
                }
                Folds::given(&fold_labels(given))?
            }
            (None, Some(k)) => match cohort.cluster() {
                Some(cluster) => Folds::grouped(cohort.surv(), cluster.codes(), k, self.seed)?,
                None => Folds::stratified(cohort.surv(), k, self.seed)?,
            },
            (None, None) => return Ok(None),
        };
        Ok(Some(folds))
    }
}

/// The user's fold numbers, or 1, 2, ... in sorted order when they are no whole numbers.
fn fold_labels(given: &Groups) -> Vec<usize> {
    let numbers: Option<Vec<usize>> = given.levels().iter().map(|l| l.parse().ok()).collect();
    let labels = numbers.unwrap_or_else(|| (1..=given.levels().len()).collect());
    given.codes().iter().map(|&c| labels[c as usize]).collect()
}

/// Notices about features that do not vary: their coefficient is 0.
fn constant(cohort: &Cohort) -> Result<Vec<String>, Error> {
    let mut notices: Vec<String> = cohort
        .single_level()
        .iter()
        .map(|name| format!("column `{name}` has a single level: it has no coefficient"))
        .collect();
    notices.extend(
        cohort
            .constant_columns()?
            .iter()
            .map(|name| format!("column `{name}` is constant: its coefficient is 0")),
    );
    Ok(notices)
}

fn penalty_factors(given: &[String], names: &[String]) -> Result<Vec<f64>, Failure> {
    let factor = |text: &str| {
        value::not_negative(text)
            .map_err(|error| Failure::usage(format!("--penalty-factor: {error}")))
    };
    if given.iter().any(|item| item.contains('=')) {
        let mut factors = vec![1.0; names.len()];
        for item in given {
            // A column's name may hold an equals sign itself.
            let Some((name, text)) = item.rsplit_once('=') else {
                return Err(Failure::usage(format!(
                    "--penalty-factor: `{item}` among NAME=FACTOR pairs"
                )));
            };
            let Some(j) = names.iter().position(|n| n == name) else {
                let hint = nearest(name, names.iter().map(String::as_str))
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(Failure::usage(format!(
                    "--penalty-factor: there is no feature column `{name}`{hint}"
                )));
            };
            factors[j] = factor(text)?;
        }
        return Ok(factors);
    }
    if given.len() != names.len() {
        return Err(Failure::usage(format!(
            "--penalty-factor: {} factors for {} feature columns",
            given.len(),
            names.len()
        )));
    }
    given.iter().map(|text| factor(text)).collect()
}

/// A bar on standard error where that is a terminal, nothing elsewhere.
fn progress(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} fits, {elapsed}") {
        bar.set_style(style);
    }
    bar.set_position(0);
    bar
}

#[derive(Serialize)]
struct Json<'a> {
    names: &'a [String],
    alpha: f64,
    lambda: &'a [f64],
    df: Vec<usize>,
    dev_ratio: &'a [f64],
    nulldev: f64,
    beta: Vec<Sparse<'a>>,
    #[serde(flatten)]
    cv: Option<Cv<'a>>,
    ties: &'static str,
    n: usize,
    nevent: usize,
    kkt: &'a [f64],
    dropped_rows: usize,
    warnings: Vec<String>,
}

/// Coefficients that are not zero: places from 0, and values.
#[derive(Serialize)]
struct Sparse<'a> {
    i: &'a [u32],
    v: &'a [f64],
}

#[derive(Serialize)]
struct Cv<'a> {
    cvm: &'a [f64],
    cvsd: &'a [f64],
    lambda_min: f64,
    lambda_1se: f64,
    foldid: Vec<usize>,
}

impl<'a> Json<'a> {
    fn new(fit: &'a PathFit, cohort: &Cohort, warnings: Vec<String>) -> Self {
        let sparse = |k: usize| {
            let beta = fit.beta(k);
            Sparse {
                i: &beta.index,
                v: &beta.value,
            }
        };
        Self {
            names: fit.names(),
            alpha: fit.alpha(),
            lambda: fit.lambda(),
            df: fit.df(),
            dev_ratio: fit.dev_ratio(),
            nulldev: fit.nulldev(),
            beta: (0..fit.lambda().len()).map(sparse).collect(),
            cv: None,
            ties: fit.ties().name(),
            n: cohort.surv().n(),
            nevent: cohort.surv().n_events(),
            kkt: fit.kkt(),
            dropped_rows: cohort.dropped_rows(),
            warnings,
        }
    }
}

impl<'a> Cv<'a> {
    fn new(fit: &'a CvFit) -> Self {
        Self {
            cvm: fit.cvm(),
            cvsd: fit.cvsd(),
            lambda_min: fit.lambda_min(),
            lambda_1se: fit.lambda_1se(),
            foldid: fit.folds().ids(),
        }
    }
}
