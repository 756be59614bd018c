//! Harrell's C and its variance against R's `concordance`, Uno's against scikit-survival.

use cox_survival::{Concordance, Harrell, Surv, TimeWeight, Uno};
use survlatent_tests::golden_metrics::{ConcordanceCase, concordances, unos};

const TOLERANCE: f64 = 1e-9;

fn close(name: &str, what: &str, found: f64, expected: f64, scale: f64) {
    let error = (found - expected).abs();
    assert!(
        error <= TOLERANCE * expected.abs().max(scale),
        "{name}, {what}: {found} instead of {expected}"
    );
}

fn fit(case: &ConcordanceCase) -> Concordance {
    let event: Vec<bool> = case.event.iter().map(|&e| e == 1).collect();
    let mut surv = Surv::builder(&case.time, &event);
    if let Some(entry) = &case.entry {
        surv = surv.entry(entry);
    }
    if let Some(weights) = &case.weights {
        surv = surv.weights(weights);
    }
    if let Some(strata) = &case.strata {
        surv = surv.strata(strata);
    }
    let mut harrell = Harrell::new().time_weight(match case.timewt.as_str() {
        "n" => TimeWeight::N,
        "S" => TimeWeight::S,
        "S/G" => TimeWeight::SOverG,
        "n/G2" => TimeWeight::NOverG2,
        "I" => TimeWeight::I,
        other => panic!("unknown time weight {other}"),
    });
    if !case.reverse {
        harrell = harrell.protective();
    }
    if let Some(ymin) = case.ymin {
        harrell = harrell.earliest(ymin);
    }
    if let Some(ymax) = case.ymax {
        harrell = harrell.latest(ymax);
    }
    let surv = surv.build().unwrap();
    let fitted = harrell.fit(&surv, &case.score).unwrap();
    let short = harrell.variance(false).fit(&surv, &case.score).unwrap();
    assert_eq!(
        short.concordance().to_bits(),
        fitted.concordance().to_bits()
    );
    assert_eq!(short.variance(), None);
    match &case.cluster {
        Some(cluster) => fitted.clustered(cluster).unwrap(),
        None => fitted,
    }
}

#[test]
fn every_case_agrees_with_r() {
    let golden = concordances();
    assert!(golden.cases.len() >= 61);
    for (name, case) in &golden.cases {
        let c = fit(case);
        assert_eq!(c.n(), case.time.len());
        close(name, "concordance", c.concordance(), case.concordance, 0.0);
        let counts = [
            c.concordant(),
            c.discordant(),
            c.tied_score(),
            c.tied_time(),
            c.tied_both(),
        ];
        let pairs: f64 = case.count.iter().sum();
        for (k, (found, expected)) in counts.into_iter().zip(case.count).enumerate() {
            close(name, &format!("count {k}"), found, expected, 1e-6 * pairs);
        }
        close(name, "var", c.variance().unwrap(), case.var, 1e-12);
        close(name, "cvar", c.score_variance(), case.cvar, 1e-12);
        if case.cluster.is_none() {
            let largest = case.dfbeta.iter().fold(0.0f64, |m, d| m.max(d.abs()));
            assert_eq!(
                c.dfbeta().unwrap().len(),
                case.dfbeta.len(),
                "{name}: dfbeta"
            );
            for (found, expected) in c.dfbeta().unwrap().iter().zip(&case.dfbeta) {
                close(name, "dfbeta", *found, *expected, largest.max(1e-12));
            }
        }
    }
}

#[test]
fn two_scores_on_the_same_patients_agree_with_r() {
    let case = concordances().compare;
    let event: Vec<bool> = case.event.iter().map(|&e| e == 1).collect();
    let surv = Surv::new(&case.time, &event).unwrap();
    let a = cox_survival::concordance(&surv, &case.score_a).unwrap();
    let b = cox_survival::concordance(&surv, &case.score_b).unwrap();
    let test = a.compare(&b).unwrap();
    close("compare", "a", test.concordance.0, case.concordance[0], 0.0);
    close("compare", "b", test.concordance.1, case.concordance[1], 0.0);
    close("compare", "var a", test.variance.0, case.var[0][0], 0.0);
    close("compare", "var b", test.variance.1, case.var[1][1], 0.0);
    close(
        "compare",
        "covariance",
        test.covariance,
        case.var[0][1],
        0.0,
    );
    let variance = case.var[0][0] + case.var[1][1] - 2.0 * case.var[0][1];
    close("compare", "se", test.std_error, variance.sqrt(), 0.0);
}

#[test]
fn uno_agrees_with_scikit_survival() {
    let golden = unos();
    assert!(golden.cases.len() >= 8);
    for (name, case) in &golden.cases {
        let all = Surv::new(&case.time, &case.event).unwrap();
        let part = |rows: &[usize]| -> (Surv, Vec<f64>) {
            let score = rows.iter().map(|&i| case.score[i]).collect();
            (all.subset(rows).unwrap(), score)
        };
        let ((train, train_score), (test, score)) = (part(&case.train), part(&case.test));
        let uno = Uno::new().censoring_at_event();
        let whole = uno.fit_with_training(&test, &score, &train).unwrap();
        close(name, "uno", whole.concordance(), case.uno, 0.0);
        let uno = uno.tau(case.tau);
        let cut = uno.fit_with_training(&test, &score, &train).unwrap();
        close(name, "uno to tau", cut.concordance(), case.uno_tau, 0.0);
        let same = uno.fit(&train, &train_score).unwrap();
        close(
            name,
            "uno, same rows",
            same.concordance(),
            case.uno_tau_same,
            0.0,
        );
    }
}

#[test]
fn uno_with_the_censoring_known_is_what_r_reports() {
    let golden = concordances();
    let mut seen = 0;
    for (name, case) in &golden.cases {
        if case.timewt != "n/G2" || case.ymin.is_some() {
            continue;
        }
        let event: Vec<bool> = case.event.iter().map(|&e| e == 1).collect();
        let one = vec![1; case.time.len()];
        let surv = Surv::builder(&case.time, &event)
            .weights(case.weights.as_ref().unwrap_or(&vec![1.0; case.time.len()]))
            .strata(case.strata.as_ref().unwrap_or(&one))
            .build()
            .unwrap();
        let uno = Uno::new()
            .known_censoring()
            .tau(case.ymax.unwrap_or(f64::INFINITY));
        let mut c = uno.fit(&surv, &case.score).unwrap();
        if let Some(cluster) = &case.cluster {
            c = c.clustered(cluster).unwrap();
        }
        close(name, "concordance", c.concordance(), case.concordance, 0.0);
        close(name, "var", c.variance().unwrap(), case.var, 0.0);
        seen += 1;
    }
    assert!(seen >= 8, "{seen}");
}
