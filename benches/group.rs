//! Group lasso over layers as wide as the cohort. `cargo bench -p survlatent-benches --bench group`
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use cox_survival::{Covariates, CoxPath, Surv};
use survlatent_benches::{contest, latent};

/// Rows, layers, columns of a layer, smallest lambda, tolerance, rounds.
const CASES: [(usize, usize, usize, f64, f64, usize); 1] = [(500, 18, 512, 0.2, 1e-4, 1)];

fn main() {
    println!("CPU seconds, one thread, medians of alternating runs\n");
    for (n, layers, width, ratio, tolerance, rounds) in CASES {
        let p = layers * width;
        let data = latent(n, p, (n + p) as u64);
        let surv = Surv::new(&data.time, &data.event).expect("valid data");
        let settings = CoxPath::new()
            .groups((0..p).map(|j| j / width).collect())
            .lambda_min_ratio(ratio)
            .tolerance(tolerance);
        let name = format!("groups n={n} p={layers}x{width} KKT {tolerance:.0e}");
        contest(&name, rounds, &data, None, || {
            let x = Covariates::from_columns(&data.x, n, p).expect("shape");
            let fit = settings.fit(&surv, &x).expect("a path");
            let worst = fit.kkt().iter().fold(0.0f64, |m, k| m.max(*k));
            let active = fit.df().iter().map(|df| df / width).collect::<Vec<_>>();
            format!(
                "groups {active:?} steps {} dev {:.6} worst KKT {worst:.0e}",
                fit.steps().iter().sum::<usize>(),
                fit.dev_ratio().last().unwrap_or(&0.0)
            )
        });
    }
}
