//! `survlatent cox --path`: an elastic-net path, and its cross-validation.

use std::ops::ControlFlow;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use survlatent::cox_survival::{
    AdaptiveWeights, CoxPath, CrossValidation, CvFit, CvMeasure, Folds, PathFit, Progress,
    RelaxedCvFit, RelaxedFit, Ties,
};
use survlatent::{Cohort, Error, Groups};

use crate::cox_baseline::{PathBaseline, with_baseline};
use crate::cox_columns::{ActiveGroups, Given, GroupNames};
use crate::failure::Failure;
use crate::table_format::TableFormat;
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
        requires = "relax"
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
            return Err(Failure::usage(
                "--baseline with --path needs a lambda: --at LAMBDA, or --cv K to choose one",
            ));
        }
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
        settings = self.columns(settings, &x.names())?;
        if let Some(offset) = cohort.offset() {
            settings = settings.offset(offset.to_vec());
        }
        if let Some(cluster) = cohort.cluster() {
            settings = settings.clusters(cluster.codes().to_vec());
        }
        let groups = match &self.group {
            None => None,
            Some(map) => Some(GroupNames::new(map, &x.names())?),
        };
        if let Some(groups) = &groups {
            settings = settings.groups(groups.labels.clone());
        }
        if let Some(ties) = ties {
            settings = settings.ties(ties);
        }
        let (surv, offset) = (cohort.surv(), cohort.offset().unwrap_or_default());
        let build = |path, cv, relaxed, baseline| Json {
            cv,
            relaxed,
            baseline,
            groups: groups.as_ref().map(|groups| groups.of(path)),
            ..Json::new(path, cohort, warnings.clone())
        };
        let Some(folds) = self.make_folds(cohort)? else {
            if self.relax {
                let fit = settings.fit_relaxed(surv, &x)?;
                let text = format.of(|| fit.table()).unwrap_or_else(|| fit.to_string());
                let json = json.then(|| build(fit.path(), None, Some(Relaxed::new(&fit)), None));
                return report::result(json.as_ref(), &text);
            }
            let fit = settings.fit(surv, &x)?;
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
            let fit = fit?;
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
        let fit = fit?;
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
            settings = settings.adaptive(AdaptiveWeights::ridge().gamma(gamma));
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
    #[serde(skip_serializing_if = "Option::is_none")]
    relaxed: Option<Relaxed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<PathBaseline>,
    #[serde(flatten)]
    groups: Option<ActiveGroups<'a>>,
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

fn sparse(fit: &PathFit) -> Vec<Sparse<'_>> {
    let one = |k: usize| {
        let beta = fit.beta(k);
        Sparse {
            i: &beta.index,
            v: &beta.value,
        }
    };
    (0..fit.lambda().len()).map(one).collect()
}

/// The refits, and how they were judged.
#[derive(Serialize)]
struct Relaxed<'a> {
    dev_ratio: &'a [f64],
    beta: Vec<Sparse<'a>>,
    #[serde(flatten)]
    cv: Option<RelaxedCv<'a>>,
}

#[derive(Serialize)]
struct RelaxedCv<'a> {
    gamma: &'a [f64],
    cvm: Vec<&'a [f64]>,
    cvsd: Vec<&'a [f64]>,
    lambda_min: f64,
    gamma_min: f64,
    lambda_1se: f64,
    gamma_1se: f64,
    foldid: Vec<usize>,
}

impl<'a> Relaxed<'a> {
    fn new(fit: &'a RelaxedFit) -> Self {
        Self {
            dev_ratio: fit.refits().dev_ratio(),
            beta: sparse(fit.refits()),
            cv: None,
        }
    }

    fn judged(fit: &'a RelaxedCvFit) -> Self {
        let places = || 0..fit.gamma().len();
        Self {
            cv: Some(RelaxedCv {
                gamma: fit.gamma(),
                cvm: places().map(|g| fit.cvm(g)).collect(),
                cvsd: places().map(|g| fit.cvsd(g)).collect(),
                lambda_min: fit.lambda_min(),
                gamma_min: fit.gamma_min(),
                lambda_1se: fit.lambda_1se(),
                gamma_1se: fit.gamma_1se(),
                foldid: fit.folds().ids(),
            }),
            ..Self::new(fit.fit())
        }
    }
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
        Self {
            names: fit.names(),
            alpha: fit.alpha(),
            lambda: fit.lambda(),
            df: fit.df(),
            dev_ratio: fit.dev_ratio(),
            nulldev: fit.nulldev(),
            beta: sparse(fit),
            cv: None,
            relaxed: None,
            baseline: None,
            groups: None,
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
