//! Time and memory over sizes: what a fit costs as rows and columns double, and what it holds at most
//! beside the data it is given. `cargo bench -p survlatent-benches --bench sizes` (Linux)
//!
//! Peak memory is that of the process (`VmHWM`, set back through `clear_refs` before every fit) less
//! what was resident before it, in units of the features' own bytes. So that what one fit has freed does not
//! hide what the next one takes, the program starts itself again with an allocator (glibc's) that gives it back.
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use cox_survival::{Covariates, CoxPath, CoxPh, Surv};
use survlatent_benches::{Data, forget_peak, independent, latent, median, resident, timed};

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

/// Freed blocks of this size and more go back to the system at once.
const GIVES_BACK: [(&str, &str); 2] = [
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
];

fn main() {
    if std::env::var_os(GIVES_BACK[0].0).is_none() {
        let own = std::env::current_exe().expect("a path");
        let again = std::process::Command::new(own).envs(GIVES_BACK).status();
        assert!(again.expect("a process").success());
        return;
    }
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
        forget_peak();
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
