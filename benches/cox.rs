//! Cox's model against R's coxph. `cargo bench -p survlatent-benches --bench cox`
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use cox_survival::{Covariates, CoxPh, Surv};
use survlatent_benches::{Peer, contest, independent};

fn main() {
    println!("CPU seconds, one thread, medians of alternating runs; R package survival\n");
    for (n, p, rounds) in [(10_000, 50, 5), (100_000, 50, 5), (1_000_000, 20, 3)] {
        let data = independent(n, p, (n + p) as u64);
        let peer = Peer::new(&data, "survival");
        let engine = "f <- coxph.fit(x, y, NULL, NULL, NULL, coxph.control(), NULL, 'efron', \
                      as.character(1:nrow(x)), resid = FALSE); sprintf('%.9f', f$coefficients[1])";
        let whole = "f <- coxph(y ~ x); sprintf('%.9f', coef(f)[1])";
        for (label, work, concordance) in [("coxph.fit", engine, false), ("coxph", whole, true)] {
            let name = format!("Cox n={n} p={p} against {label}");
            let peer = peer.as_ref().map(|r| (r, "", work));
            contest(&name, rounds, &data, peer, || {
                let surv = Surv::new(&data.time, &data.event).expect("valid data");
                let x = Covariates::from_columns(&data.x, n, p).expect("shape");
                let fit = CoxPh::new()
                    .concordance(concordance)
                    .fit(&surv, &x)
                    .expect("a fit");
                format!("{:.9}", fit.coef()[0])
            });
        }
    }
}
