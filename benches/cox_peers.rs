//! Cox fits and Harrell's C beside R, lifelines, scikit-survival and the Rust crate `survival`, in turn.
//! `cargo bench -p survlatent-benches --bench cox_peers`; `PYTHON` names the interpreter that has lifelines
//! and scikit-survival, `RUST_SURVIVAL` the program built in `peers/rust_survival`.
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use cox_survival::{Covariates, CoxPh, Harrell, Surv};
use survlatent_benches::{Data, Peer, Side, independent, table, timed};

fn main() {
    println!(
        "CPU seconds, one thread, medians of alternating runs; ratio to the first row. Last: the first \
         coefficient, or C.\n"
    );
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.expect("a thread");
    for (n, p, rounds) in [(10_000, 50, 5), (100_000, 50, 3), (1_000_000, 20, 3)] {
        let data = independent(n, p, (n + p) as u64);
        cox(&data, rounds, &one);
    }
    for (n, rounds) in [(10_000, 5), (100_000, 3), (1_000_000, 3)] {
        harrell(&independent(n, 1, 1), rounds, &one);
    }
}

fn cox(data: &Data, rounds: usize, one: &rayon::ThreadPool) {
    let (n, p) = (data.n, data.p);
    let fit = |concordance: bool| {
        let surv = Surv::new(&data.time, &data.event).expect("valid data");
        let x = Covariates::from_columns(&data.x, n, p).expect("shape");
        let settings = CoxPh::new().concordance(concordance);
        let fit = settings.fit(&surv, &x).expect("a fit");
        format!("{:.9}", fit.coef()[0])
    };
    let ours = |concordance| {
        let (cpu, _, said) = one.install(|| timed(|| fit(concordance)));
        Some((cpu, said))
    };
    let peer = Peer::new(data, "survival");
    let peer = peer.as_ref();
    let r = |work: &str| peer.and_then(|r| r.run(data, "", work));
    let python = |task: &str| peer.and_then(|r| r.run_python("cox_python.py", task, data, None));
    let mut sides: Vec<Side<'_>> = vec![
        ("ours", Box::new(|| ours(false))),
        ("ours, with concordance", Box::new(|| ours(true))),
        (
            "ours, all threads, wall",
            Box::new(|| {
                let (_, wall, said) = timed(|| fit(false));
                Some((wall, said))
            }),
        ),
        (
            "R coxph.fit",
            Box::new(|| {
                r(
                    "f <- coxph.fit(x, y, NULL, NULL, NULL, coxph.control(), NULL, 'efron', \
                   as.character(1:nrow(x)), resid = FALSE); sprintf('%.9f', f$coefficients[1])",
                )
            }),
        ),
        (
            "R coxph",
            Box::new(|| r("f <- coxph(y ~ x); sprintf('%.9f', coef(f)[1])")),
        ),
        (
            "Rust survival",
            Box::new(|| peer.and_then(|r| r.run_rust("cox", data))),
        ),
        ("lifelines", Box::new(|| python("lifelines"))),
    ];
    // It takes minutes at a million rows.
    if n < 1_000_000 {
        sides.push(("scikit-survival", Box::new(|| python("sksurv"))));
    }
    table(&format!("Cox n={n} p={p}"), rounds, &mut sides);
}

fn harrell(data: &Data, rounds: usize, one: &rayon::ThreadPool) {
    let n = data.n;
    let sorted = Surv::new(&data.time, &data.event).expect("valid data");
    let c = |surv: &Surv, variance: bool| {
        let harrell = Harrell::new().variance(variance);
        let c = harrell.fit(surv, &data.x).expect("comparable pairs");
        format!("{:.9}", c.concordance())
    };
    let ours = |variance: bool| {
        let work = || {
            c(
                &Surv::new(&data.time, &data.event).expect("valid data"),
                variance,
            )
        };
        let (cpu, _, said) = one.install(|| timed(work));
        Some((cpu, said))
    };
    let ready = |variance: bool| {
        let (cpu, _, said) = one.install(|| timed(|| c(&sorted, variance)));
        Some((cpu, said))
    };
    let peer = Peer::new(data, "survival");
    let peer = peer.as_ref();
    let r = |std_err: &str| {
        let work = format!(
            "z <- concordancefit(y, x[, 1], reverse = TRUE, std.err = {std_err}); \
             sprintf('%.9f', z$concordance)"
        );
        peer.and_then(|r| r.run(data, "", &work))
    };
    let rust = |task: &str| peer.and_then(|r| r.run_rust(task, data));
    let python = |task: &str| peer.and_then(|r| r.run_python("cox_python.py", task, data, None));
    let mut sides: Vec<Side<'_>> = vec![
        ("ours", Box::new(|| ours(false))),
        ("ours, outcome sorted", Box::new(|| ready(false))),
        ("R concordancefit", Box::new(|| r("FALSE"))),
        ("Rust survival", Box::new(|| rust("concordance"))),
        ("lifelines", Box::new(|| python("lifelines_c"))),
    ];
    // Its cost grows with the square of the rows.
    if n < 1_000_000 {
        sides.push(("scikit-survival", Box::new(|| python("sksurv_c"))));
    }
    table(&format!("Harrell's C n={n}"), rounds, &mut sides);
    let mut sides: Vec<Side<'_>> = vec![
        ("ours", Box::new(|| ours(true))),
        ("ours, outcome sorted", Box::new(|| ready(true))),
        ("R concordancefit", Box::new(|| r("TRUE"))),
        ("Rust survival", Box::new(|| rust("concordance_var"))),
    ];
    table(
        &format!("Harrell's C with variance n={n}"),
        rounds,
        &mut sides,
    );
}
