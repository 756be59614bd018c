//! `survlatent cox --path`: an elastic-net path, and its cross-validation.

use std::ops::ControlFlow;

use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressStyle};
use survlatent::cox_survival::{
    AdaptiveWeights, CoxPath, CrossValidation, CvMeasure, Folds, Progress, Ties,
};
use survlatent::{Cohort, Error, Groups};

use crate::cox_baseline::{PathBaseline, with_baseline};
use crate::cox_columns::{Given, GroupNames};
use crate::cox_path_json::{Cv, Json, Relaxed};
use crate::failure::Failure;
use crate::table_format::TableFormat;
use crate::{report, value};

/// Folds in which the ridge of an adaptive lasso is cross-validated.
const RIDGE_FOLDS: usize = 10;

/// Flags that only a path has.
#[derive(Args)]
#[command(next_help_heading = "Penalised path")]
#[command(group = ArgGroup::new("folds").args(["cv", "foldid"]).multiple(true))]
#[command(group = ArgGroup::new("draws").args(["cv", "adaptive"]).multiple(true))]
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
    /// Seed of the folds of --cv and of --adaptive
    #[arg(
        long,
        value_name = "S",
        default_value = "0",
        requires = "path",
        requires = "draws"
    )]
    seed: u64,
    /// What is cross-validated: deviance (per event, differences of whole risk sets),
    /// deviance-ungrouped (within held-out rows) or c (Harrell's concordance)
    #[arg(
        long,
        value_name = "M",
        default_value = "deviance",
        value_parser = ["deviance", "deviance-ungrouped", "c"],
        hide_possible_values = true,
        requires = "path",
        requires = "folds"
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
    /// Features left out: their coefficients are 0
    #[arg(long, value_name = "COL,..", value_delimiter = ',', requires = "path")]
    exclude: Vec<String>,
    /// Smallest coefficients, at most 0: one number for all features, one per feature column in
    /// order, or NAME=LIMIT for some
    #[arg(
        long,
        value_name = "L,..",
        value_delimiter = ',',
        allow_hyphen_values = true,
        requires = "path"
    )]
    lower_limits: Option<Vec<String>>,
    /// Largest coefficients, at least 0, in the same ways
    #[arg(long, value_name = "U,..", value_delimiter = ',', requires = "path")]
    upper_limits: Option<Vec<String>>,
    /// Adaptive lasso: penalties divided by the size of a ridge's coefficients to this power, the
    /// ridge cross-validated in ten folds, anew in every fold of --cv
    #[arg(
        long,
        value_name = "GAMMA",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        value_parser = value::positive,
        requires = "path"
    )]
    adaptive: Option<f64>,
    /// Also fit what each lambda chooses without penalty; with --cv, choose the blend too
    #[arg(long, requires = "path")]
    relax: bool,
    /// Blends that --relax cross-validates: 1 is the penalised fit, 0 the unpenalised
    #[arg(
        long,
        value_name = "G,..",
        value_delimiter = ',',
        default_value = "0,0.25,0.5,0.75,1",
        value_parser = value::unit,
        requires = "relax",
        requires = "folds"
    )]
    gamma: Vec<f64>,
    /// Group lasso: features of one group enter together
    ///
    /// `layer`: a group per layer of [rows, layers, columns] latents (features named LAYER.COLUMN),
    /// every other feature by itself. Or one group name per feature column in order, or
    /// FEATURE=GROUP for some, the others by themselves. Or a CSV file with the columns feature
    /// and group.
    #[arg(
        long,
        value_name = "MAP",
        value_delimiter = ',',
        requires = "path",
        conflicts_with_all = ["lower_limits", "upper_limits", "adaptive"]
    )]
    group: Option<Vec<String>>,
    /// Lambda of the --baseline hazard (default: the one that --cv chooses)
    #[arg(
        long,
        value_name = "LAMBDA",
        value_parser = value::not_negative,
        requires = "path",
        requires = "baseline",
        conflicts_with = "relax"
    )]
    at: Option<f64>,
}

impl PathFlags {
    pub(crate) fn wanted(&self) -> bool {
        self.path
    }

    /// The column of fold labels.
    pub(crate) fn folds(&self) -> Option<&String> {
        self.foldid.as_ref()
    }

    /// Refuses a cluster, be it from the flag or from the formula, that has nothing to keep together.
    fn check(&self, cohort: &Cohort) -> Result<(), Failure> {
        let folds = self.cv.is_some() || self.foldid.is_some() || self.adaptive.is_some();
        if cohort.cluster().is_some() && !folds {
            return Err(Failure::usage(
                "a cluster with --path keeps rows together in folds, and so needs --cv K, --foldid COL or \
                 --adaptive",
            ));
        }
        Ok(())
    }

    pub(crate) fn run(
        &self,
        cohort: &Cohort,
        ties: Option<Ties>,
        baseline: bool,
        format: &TableFormat,
        json: bool,
    ) -> Result<(), Failure> {
        self.check(cohort)?;
        if baseline && self.at.is_none() && self.cv.is_none() && self.foldid.is_none() {
            return Err(Failure::usage(if self.relax {
                "--baseline with --relax needs --cv K or --foldid COL, which choose lambda and blend"
            } else {
                "--baseline with --path needs a lambda: --at LAMBDA, or --cv K to choose one"
            }));
        }
        let warnings = constant(cohort)?;
        for warning in &warnings {
            report::note(warning);
        }
        let x = cohort.covariates()?;
        let (settings, groups) = self.settings(cohort, &x.names(), ties)?;
        let (surv, offset) = (cohort.surv(), cohort.offset().unwrap_or_default());
        let build = |path, cv, relaxed, baseline| {
            let mut json = Json::new(path, cohort, warnings.clone());
            (json.cv, json.relaxed, json.baseline) = (cv, relaxed, baseline);
            json.groups = groups.as_ref().map(|groups| groups.of(path));
            json
        };
        let located = |error| cohort.locate(error);
        let Some(folds) = self.make_folds(cohort)? else {
            if self.relax {
                let fit = settings.fit_relaxed(surv, &x).map_err(located)?;
                let text = format.of(|| fit.table()).unwrap_or_else(|| fit.to_string());
                let json = json.then(|| build(fit.path(), None, Some(Relaxed::new(&fit)), None));
                return report::result(json.as_ref(), &text);
            }
            let fit = settings.fit(surv, &x).map_err(located)?;
            let baseline = match self.at.filter(|_| baseline) {
                None => None,
                Some(lambda) => {
                    let model = fit.survival(surv, &x, lambda, offset)?;
                    Some(PathBaseline::new(lambda, None, &model, cohort))
                }
            };
            let text = format.of(|| fit.table());
            let text = text.unwrap_or_else(|| with_baseline(&fit, baseline.as_ref()));
            let json = json.then(|| build(&fit, None, None, baseline));
            return report::result(json.as_ref(), &text);
        };
        let measure = match self.measure.as_str() {
            "c" => CvMeasure::Concordance,
            grouped => CvMeasure::Deviance {
                grouped: grouped == "deviance",
            },
        };
        let bar = progress(folds.count() + 1);
        let cv = CrossValidation::new(settings).measure(measure);
        let observer = |progress: Progress| {
            bar.set_position(progress.done as u64);
            ControlFlow::Continue(())
        };
        if self.relax {
            let fit = cv.fit_relaxed_with(surv, &x, &folds, &self.gamma, &observer);
            bar.finish_and_clear();
            let fit = fit.map_err(located)?;
            let plain = fit.penalised();
            let (lambda, gamma) = (fit.lambda_min(), fit.gamma_min());
            let baseline = if baseline {
                let model = fit
                    .fit()
                    .survival(surv, &x, fit.index_min()[1], gamma, offset)?;
                Some(PathBaseline::new(lambda, Some(gamma), &model, cohort))
            } else {
                None
            };
            let text = format.of(|| fit.table());
            let text = text.unwrap_or_else(|| with_baseline(&fit, baseline.as_ref()));
            let json = json.then(|| {
                let (cv, relaxed) = (Cv::new(&plain), Relaxed::judged(&fit));
                build(fit.fit().path(), Some(cv), Some(relaxed), baseline)
            });
            return report::result(json.as_ref(), &text);
        }
        let fit = cv.fit_with(surv, &x, &folds, &observer);
        bar.finish_and_clear();
        let fit = fit.map_err(located)?;
        let baseline = if baseline {
            let lambda = self.at.unwrap_or(fit.lambda_min());
            let model = fit.path().survival(surv, &x, lambda, offset)?;
            Some(PathBaseline::new(lambda, None, &model, cohort))
        } else {
            None
        };
        let text = format.of(|| fit.table());
        let text = text.unwrap_or_else(|| with_baseline(&fit, baseline.as_ref()));
        let json = json.then(|| build(fit.path(), Some(Cv::new(&fit)), None, baseline));
        report::result(json.as_ref(), &text)
    }

    /// What the path is to minimise, and the groups of its columns.
    fn settings(
        &self,
        cohort: &Cohort,
        names: &[String],
        ties: Option<Ties>,
    ) -> Result<(CoxPath, Option<GroupNames>), Failure> {
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
        settings = self.columns(settings, names)?;
        if let Some(offset) = cohort.offset() {
            settings = settings.offset(offset.to_vec());
        }
        if let Some(cluster) = cohort.cluster() {
            settings = settings.clusters(cluster.codes().to_vec());
        }
        let groups = match &self.group {
            None => None,
            Some(map) => Some(GroupNames::new(map, names)?),
        };
        if let Some(groups) = &groups {
            settings = settings.groups(groups.labels.clone());
        }
        if let Some(ties) = ties {
            settings = settings.ties(ties);
        }
        Ok((settings, groups))
    }

    /// Settings that name feature columns.
    fn columns(&self, mut settings: CoxPath, names: &[String]) -> Result<CoxPath, Failure> {
        if let Some(factors) = &self.penalty_factor {
            let given = Given::new("--penalty-factor", "FACTOR", factors, names);
            settings = settings.penalty_factor(given.numbers(1.0, false, value::not_negative)?);
        }
        if let Some(lower) = &self.lower_limits {
            let given = Given::new("--lower-limits", "LIMIT", lower, names);
            let limits = given.numbers(f64::NEG_INFINITY, true, value::any)?;
            settings = settings.lower_limits(limits);
        }
        if let Some(upper) = &self.upper_limits {
            let given = Given::new("--upper-limits", "LIMIT", upper, names);
            settings = settings.upper_limits(given.numbers(f64::INFINITY, true, value::any)?);
        }
        let excluded = Given::new("--exclude", "", &self.exclude, names);
        let places = self.exclude.iter().map(|name| excluded.place(name));
        settings = settings.exclude(places.collect::<Result<_, _>>()?);
        if let Some(gamma) = self.adaptive {
            settings =
                settings.adaptive(AdaptiveWeights::ridge_cv(RIDGE_FOLDS, self.seed).gamma(gamma));
        }
        Ok(settings)
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
                let folds = Folds::given(&fold_labels(given))?;
                if let Some(cluster) = cohort.cluster() {
                    folds.check_groups(cluster.codes())?;
                }
                folds
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

/// A bar on standard error where that is a terminal, nothing elsewhere.
fn progress(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} fits, {elapsed}") {
        bar.set_style(style);
    }
    bar.set_position(0);
    bar
}
