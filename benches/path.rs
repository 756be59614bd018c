//! Elastic-net paths against glmnet. `cargo bench -p survlatent-benches --bench path`
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use cox_survival::{Covariates, CoxPath, Surv};
use survlatent_benches::{Peer, contest, latent};

fn main() {
    println!("CPU seconds, one thread, medians of alternating runs; R packages survival, glmnet\n");
    let cases: [(usize, usize, f64, f64, usize); 4] = [
        (500, 512, 0.95, 0.01, 5),
        (500, 9216, 0.95, 0.05, 5),
        (5000, 512, 0.95, 0.01, 3),
        (500, 9216, 0.0, 0.01, 3),
    ];
    for (n, p, alpha, ratio, rounds) in cases {
        let data = latent(n, p, (n + p) as u64);
        let peer = Peer::new(&data, "glmnet");
        let work = format!(
            "f <- glmnet(x, y, family = 'cox', alpha = {alpha}, nlambda = 100, \
             lambda.min.ratio = {ratio}); \
             sprintf('lambdas %d df %d dev %.6f', length(f$lambda), tail(f$df, 1), tail(f$dev.ratio, 1))"
        );
        let surv = Surv::new(&data.time, &data.event).expect("valid data");
        for (label, tolerance) in [("default", 1e-7), ("KKT 1e-2", 1e-2)] {
            let settings = CoxPath::new()
                .alpha(alpha)
                .n_lambda(100)
                .lambda_min_ratio(ratio)
                .tolerance(tolerance);
            let name = format!("path n={n} p={p} alpha={alpha} {label}");
            let peer = peer.as_ref().map(|r| (r, "library(glmnet)", work.as_str()));
            contest(&name, rounds, &data, peer, || {
                let x = Covariates::from_columns(&data.x, n, p).expect("shape");
                let fit = settings.fit(&surv, &x).expect("a path");
                let worst = fit.kkt().iter().fold(0.0f64, |m, k| m.max(*k));
                format!(
                    "lambdas {} df {} dev {:.6} worst KKT {worst:.0e}",
                    fit.lambda().len(),
                    fit.df().last().unwrap_or(&0),
                    fit.dev_ratio().last().unwrap_or(&0.0)
                )
            });
        }
    }
}
