//! Elastic-net paths and their cross-validation beside glmnet, adelie and scikit-survival, and sparse
//! columns beside dense ones. `cargo bench -p survlatent-benches --bench path_peers`; `PYTHON` names the
//! interpreter that has adelie and scikit-survival.
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use cox_survival::{Covariates, CoxPath, CrossValidation, Folds, SparseColumns, Surv};
use survlatent_benches::{Data, Peer, Side, latent, table, timed};

const ROUNDS: usize = 3;

fn main() {
    println!(
        "CPU seconds, one thread, medians of {ROUNDS} alternating runs; ratio to the first row\n"
    );
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.expect("a thread");
    for (n, p, ratio) in [
        (500, 512, 0.01),
        (500, 9216, 0.05),
        (5000, 512, 0.01),
        (50_000, 512, 0.01),
    ] {
        let data = latent(n, p, (n + p) as u64);
        let surv = Surv::new(&data.time, &data.event).expect("valid data");
        let peer = Peer::new(&data, "glmnet");
        let ours = |tolerance: f64| {
            let settings = path(ratio).tolerance(tolerance);
            let x = Covariates::from_columns(&data.x, n, p).expect("shape");
            let (cpu, _, said) = one.install(|| timed(|| summary(&settings, &surv, &x)));
            Some((cpu, said))
        };
        let glmnet = format!(
            "f <- glmnet(x, y, family = 'cox', alpha = 0.95, nlambda = 100, lambda.min.ratio = {ratio}); \
             sprintf('lambdas %d df %d dev %.6f', length(f$lambda), tail(f$df, 1), tail(f$dev.ratio, 1))"
        );
        let (peer, data) = (peer.as_ref(), &data);
        let python =
            |task| peer.and_then(|peer| peer.run_python("path_python.py", task, data, Some(ratio)));
        let mut sides: Vec<Side<'_>> = vec![
            ("ours, KKT 1e-7", Box::new(|| ours(1e-7))),
            ("ours, KKT 1e-2", Box::new(|| ours(1e-2))),
            (
                "glmnet",
                Box::new(|| peer.and_then(|r| r.run(data, "library(glmnet)", &glmnet))),
            ),
            ("adelie", Box::new(|| python("adelie"))),
        ];
        if n < 50_000 {
            sides.push(("scikit-survival", Box::new(|| python("sksurv"))));
        }
        table(&format!("path n={n} p={p} to {ratio}"), ROUNDS, &mut sides);
        if (n, p) == (500, 512) {
            cross_validation(data, &surv, peer, &one);
        }
    }
    sparse(&one);
}

fn path(ratio: f64) -> CoxPath {
    CoxPath::new()
        .alpha(0.95)
        .n_lambda(100)
        .lambda_min_ratio(ratio)
}

fn summary(settings: &CoxPath, surv: &Surv, x: &Covariates<'_>) -> String {
    let fit = settings.fit(surv, x).expect("a path");
    format!(
        "lambdas {} df {} dev {:.6} worst KKT {:.0e}",
        fit.lambda().len(),
        fit.df().last().unwrap_or(&0),
        fit.dev_ratio().last().unwrap_or(&0.0),
        fit.kkt().iter().fold(0.0f64, |m, k| m.max(*k))
    )
}

fn cross_validation(data: &Data, surv: &Surv, peer: Option<&Peer>, one: &rayon::ThreadPool) {
    let folds = Folds::stratified(surv, 10, 1).expect("folds");
    let x = Covariates::from_columns(&data.x, data.n, data.p).expect("shape");
    let cv = |tolerance: f64| {
        let cv = CrossValidation::new(path(0.01).tolerance(tolerance));
        let fit = cv.fit(surv, &x, &folds).expect("a cross-validation");
        format!("best {}", fit.index_min())
    };
    let ours = |tolerance: f64| {
        let (cpu, _, said) = one.install(|| timed(|| cv(tolerance)));
        Some((cpu, said))
    };
    let glmnet = "f <- cv.glmnet(x, y, family = 'cox', alpha = 0.95, nlambda = 100, \
                  lambda.min.ratio = 0.01, nfolds = 10); sprintf('best %d', which.min(f$cvm) - 1)";
    let mut sides: Vec<Side<'_>> = vec![
        ("ours, KKT 1e-7", Box::new(|| ours(1e-7))),
        ("ours, KKT 1e-2", Box::new(|| ours(1e-2))),
        (
            "ours 1e-2, all, wall",
            Box::new(|| {
                let (_, wall, said) = timed(|| cv(1e-2));
                Some((wall, said))
            }),
        ),
        (
            "cv.glmnet",
            Box::new(|| peer.and_then(|r| r.run(data, "library(glmnet)", glmnet))),
        ),
        (
            "adelie cv_grpnet",
            Box::new(|| {
                peer.and_then(|r| r.run_python("path_python.py", "adelie_cv", data, Some(0.01)))
            }),
        ),
    ];
    table("10-fold cross-validation of it", ROUNDS, &mut sides);
}

/// One value in a hundred is not 0.
fn sparse(one: &rayon::ThreadPool) {
    let (n, p) = (5000, 5000);
    let mut data = latent(n, p, 11);
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for (j, column) in data.x.chunks_exact_mut(n).enumerate() {
        for (i, v) in column.iter_mut().enumerate() {
            if (i * 7919 + j * 104_729) % 100 == 0 {
                indices.push(i as u32);
                values.push(*v);
            } else {
                *v = 0.0;
            }
        }
        indptr.push(indices.len());
    }
    let surv = Surv::new(&data.time, &data.event).expect("valid data");
    let columns = SparseColumns::new(n, p, &indptr, &indices, &values).expect("a matrix");
    let settings = path(0.3);
    let run = |x: Covariates<'_>| {
        let (cpu, _, said) = one.install(|| timed(|| summary(&settings, &surv, &x)));
        Some((cpu, said))
    };
    let dense = Covariates::from_columns(&data.x, n, p).expect("shape");
    let mut sides: Vec<Side<'_>> = vec![
        ("ours, sparse", Box::new(|| run(columns.into()))),
        ("ours, dense", Box::new(|| run(dense.clone()))),
    ];
    table(
        "path n=5000 p=5000 to 0.3, 1% of the values stored",
        ROUNDS,
        &mut sides,
    );
}
