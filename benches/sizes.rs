//! Time and memory over sizes: what a fit costs as rows and columns double, and what it holds at most
//! beside the data it is given. `cargo bench -p survlatent-benches --bench sizes` (Linux)
//!
//! Peak memory is that of the process (`VmHWM`, set back through `clear_refs` before every fit) less
//! what was resident before it, in units of the features' own bytes.
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use cox_survival::{Covariates, CoxPath, CoxPh, Surv};
use survlatent_benches::{Data, independent, latent, median, timed};

/// Rows and columns of the Cox fits, and of the paths.
const COX: [(usize, usize); 5] = [
    (25_000, 20),
    (50_000, 20),
    (100_000, 20),
    (200_000, 20),
    (100_000, 40),
];
const PATHS: [(usize, usize); 5] = [
    (1000, 2048),
    (1000, 4096),
    (1000, 8192),
    (2000, 4096),
    (4000, 4096),
];
const ROUNDS: usize = 3;

fn main() {
    println!("One thread; medians of {ROUNDS}; memory beside the data, in copies of it\n");
    println!("| work | n | p | CPU s | peak MiB | copies |");
    println!("|---|---|---|---|---|---|");
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a pool");
    pool.install(|| {
        for (n, p) in COX {
            let data = independent(n, p, 1);
            let surv = surv(&data);
            row("Cox, f64", n, p, 8, || {
                let x = Covariates::from_columns(&data.x, n, p).expect("shape");
                CoxPh::new().fit(&surv, &x).expect("a fit");
            });
        }
        let path = CoxPath::new().alpha(0.95).lambda_min_ratio(0.05);
        for (n, p) in PATHS {
            let data = latent(n, p, 1);
            let surv = surv(&data);
            row("path, f64", n, p, 8, || {
                let x = Covariates::from_columns(&data.x, n, p).expect("shape");
                path.fit(&surv, &x).expect("a path");
            });
            let single: Vec<f32> = data.x.iter().map(|v| *v as f32).collect();
            drop(data);
            row("path, f32", n, p, 4, || {
                let x = Covariates::from_columns_f32(&single, n, p).expect("shape");
                path.fit(&surv, &x).expect("a path");
            });
        }
    });
}

fn surv(data: &Data) -> Surv {
    Surv::new(&data.time, &data.event).expect("valid data")
}

fn row(work: &str, n: usize, p: usize, bytes: usize, fit: impl Fn()) {
    let (mut cpu, mut peak) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = resident("VmRSS");
        // Where this cannot be written the peak of the whole run is reported, which is more.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        cpu.push(timed(&fit).0);
        peak.push(resident("VmHWM") - before);
    }
    let peak = median(peak);
    println!(
        "| {work} | {n} | {p} | {:.3} | {:.1} | {:.2} |",
        median(cpu),
        peak / 1024.0,
        peak * 1024.0 / (bytes * n * p) as f64
    );
}

/// A figure of `/proc/self/status` in KiB.
fn resident(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    let figure = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    figure.unwrap_or(f64::NAN)
}
