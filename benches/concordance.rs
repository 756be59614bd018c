//! Harrell's C against R's `concordancefit`, with and without its variance.
//!
//! R's function sorts the times itself, so ours is timed twice: from the raw times (building the
//! outcome and the concordance, R's work) and on an outcome that exists already.
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use cox_survival::{Harrell, Surv};
use survlatent_benches::{Data, Peer, contest, independent};

fn report(c: &cox_survival::Concordance) -> String {
    format!("{:.9}", c.concordance())
}

fn main() {
    println!("Harrell's C, CPU seconds of one thread, medians; one normal score, 40% censored");
    for (n, rounds) in [(10_000, 9), (100_000, 5), (1_000_000, 3)] {
        let data: Data = independent(n, 1, 1);
        let peer = Peer::new(&data, "survival");
        if peer.is_none() {
            println!("R with `survival` not found: ours alone");
        }
        let surv = Surv::new(&data.time, &data.event).expect("valid data");
        for (what, variance) in [("without variance", false), ("with variance", true)] {
            let harrell = Harrell::new().variance(variance);
            let flag = if variance { "TRUE" } else { "FALSE" };
            let work = format!(
                "z <- concordancefit(y, x[, 1], reverse = TRUE, std.err = {flag}); \
                 format(z$concordance, digits = 10)"
            );
            let peer = peer.as_ref().map(|p| (p, "", work.as_str()));
            let fit = |surv: &Surv| report(&harrell.fit(surv, &data.x).expect("comparable pairs"));
            contest(
                &format!("n = {n:>7}, {what}, from the data"),
                rounds,
                &data,
                peer,
                || fit(&Surv::new(&data.time, &data.event).expect("valid data")),
            );
            contest(
                &format!("n = {n:>7}, {what}, outcome ready"),
                rounds,
                &data,
                peer,
                || fit(&surv),
            );
        }
    }
}
