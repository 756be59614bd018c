//! What `cox --path` says in JSON.

use serde::Serialize;
use survlatent::Cohort;
use survlatent::cox_survival::{CvFit, PathFit, RelaxedCvFit, RelaxedFit};

use crate::cox_baseline::PathBaseline;
use crate::cox_columns::ActiveGroups;

/// The path, and what was asked for beside.
#[derive(Serialize)]
pub(crate) struct Json<'a> {
    names: &'a [String],
    alpha: f64,
    lambda: &'a [f64],
    df: Vec<usize>,
    dev_ratio: &'a [f64],
    nulldev: f64,
    beta: Vec<Sparse<'a>>,
    #[serde(flatten)]
    pub(crate) cv: Option<Cv<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) relaxed: Option<Relaxed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) baseline: Option<PathBaseline>,
    #[serde(flatten)]
    pub(crate) groups: Option<ActiveGroups<'a>>,
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
pub(crate) struct Relaxed<'a> {
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
    pub(crate) fn new(fit: &'a RelaxedFit) -> Self {
        Self {
            dev_ratio: fit.refits().dev_ratio(),
            beta: sparse(fit.refits()),
            cv: None,
        }
    }

    pub(crate) fn judged(fit: &'a RelaxedCvFit) -> Self {
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

/// The averages along the path, and the lambdas they choose.
#[derive(Serialize)]
pub(crate) struct Cv<'a> {
    cvm: &'a [f64],
    cvsd: &'a [f64],
    lambda_min: f64,
    lambda_1se: f64,
    foldid: Vec<usize>,
}

impl<'a> Json<'a> {
    pub(crate) fn new(fit: &'a PathFit, cohort: &Cohort, warnings: Vec<String>) -> Self {
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
    pub(crate) fn new(fit: &'a CvFit) -> Self {
        Self {
            cvm: fit.cvm(),
            cvsd: fit.cvsd(),
            lambda_min: fit.lambda_min(),
            lambda_1se: fit.lambda_1se(),
            foldid: fit.folds().ids(),
        }
    }
}
