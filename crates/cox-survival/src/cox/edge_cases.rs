//! `CoxPh::fit` where data are strange: errors name the culprit, nothing panics, nothing lies.

#![allow(
    clippy::needless_range_loop,
    reason = "several vectors are compared by column"
)]

use proptest::prelude::*;

use super::Ties;
use super::fit::CoxFit;
use super::twins::{Data, any_ties, cohort, data, noise, slow};
use crate::{Covariates, CoxPh, Error, Surv, Warning};

fn fit(surv: &Surv, columns: &[Vec<f64>]) -> crate::Result<CoxFit> {
    let values: Vec<f64> = columns.concat();
    let names = (0..columns.len()).map(|j| ["a", "b", "c", "d", "e"][j]);
    let x = Covariates::from_columns(&values, surv.n(), columns.len())?.with_names(names)?;
    CoxPh::new().fit(surv, &x)
}

fn column(n: usize, seed: u64) -> Vec<f64> {
    (0..n).map(|i| noise(seed, i)).collect()
}

fn plain(n: usize) -> Surv {
    let time: Vec<f64> = (0..n).map(|i| 2.0 + noise(1, i)).collect();
    Surv::new(&time, &vec![true; n]).unwrap()
}

#[test]
fn columns_without_a_coefficient_are_named() {
    let surv = plain(40);
    let (a, b) = (column(40, 2), column(40, 3));
    let constant = fit(&surv, &[a.clone(), vec![3.7; 40]]);
    assert!(matches!(constant, Err(Error::ConstantColumn { column }) if column == "b"));

    let twice: Vec<f64> = a.iter().map(|v| 5.0 - 2.0 * v).collect();
    match fit(&surv, &[a.clone(), b.clone(), twice]) {
        Err(Error::Collinear { column, with }) => {
            assert_eq!((column.as_str(), with), ("c", vec!["a".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
    let both: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - 3.0 * b + 1.0).collect();
    match fit(&surv, &[a.clone(), column(40, 4), b.clone(), both]) {
        Err(Error::Collinear { column, with }) => {
            assert_eq!(column, "d");
            assert_eq!(with, ["a".to_owned(), "c".to_owned()]);
        }
        other => panic!("{other:?}"),
    }
    let many: Vec<Vec<f64>> = (0..4).map(|j| column(4, j)).collect();
    assert!(matches!(
        fit(&plain(4), &many),
        Err(Error::TooManyColumns {
            columns: 4,
            rows: 4
        })
    ));
}

#[test]
fn a_column_constant_at_risk_has_no_information() {
    // Constant within each stratum.
    let time: Vec<f64> = (0..40).map(|i| 2.0 + noise(1, i)).collect();
    let strata: Vec<usize> = (0..40).map(|i| i % 2).collect();
    let surv = Surv::builder(&time, &[true; 40])
        .strata(&strata)
        .build()
        .unwrap();
    let by_stratum: Vec<f64> = strata.iter().map(|&s| 4.0 + 3.0 * s as f64).collect();
    let found = fit(&surv, &[column(40, 2), by_stratum]);
    assert!(
        matches!(&found, Err(Error::NoInformation { column }) if column == "b"),
        "{found:?}"
    );
    // Differs only for patients censored before the first event.
    let time: Vec<f64> = (0..40).map(f64::from).collect();
    let event: Vec<bool> = (0..40).map(|i| i >= 5).collect();
    let surv = Surv::new(&time, &event).unwrap();
    let early: Vec<f64> = (0..40)
        .map(|i| if i < 5 { f64::from(i) } else { 9.0 })
        .collect();
    let found = fit(&surv, &[column(40, 2), early]);
    assert!(matches!(&found, Err(Error::NoInformation { column }) if column == "b"));
    // The only column: nothing else shows how much information there could be.
    let early: Vec<f64> = (0..40)
        .map(|i| if i < 5 { f64::from(i) } else { 9.0 })
        .collect();
    for ties in [Ties::Efron, Ties::Breslow, Ties::Exact] {
        let x = Covariates::from_columns(&early, 40, 1).unwrap();
        let found = CoxPh::new().ties(ties).fit(&surv, &x);
        assert!(matches!(&found, Err(Error::NoInformation { column }) if column == "x1"));
    }
    // All die at once: nobody is compared with anybody who survives, but denominators differ.
    let once = Surv::new(&[3.0; 12], &[true; 12]).unwrap();
    let found = fit(&once, &[column(12, 2)]);
    assert!(found.is_ok_and(|f| f.coef()[0].is_finite() && f.se()[0].is_finite()));
}

#[test]
fn values_that_are_no_numbers_are_located() {
    let surv = plain(10);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut b = column(10, 3);
        b[7] = bad;
        let found = fit(&surv, &[column(10, 2), b]);
        assert!(
            matches!(&found, Err(Error::NotFinite { column, row: 7, .. }) if column == "b"),
            "{found:?}"
        );
    }
    let mut huge = column(10, 3);
    huge[2] = 1e308;
    huge[3] = -1e308;
    let found = fit(&surv, &[column(10, 2), huge]);
    assert!(
        matches!(&found, Err(Error::Overflow { column, row: 2, .. }) if column == "b"),
        "{found:?}"
    );
}

#[test]
fn scales_do_not_matter() {
    let data = cohort(120, 3, 9, false, false);
    let surv = data.surv().unwrap();
    let columns: Vec<Vec<f64>> = (0..3).map(|j| data.covariates().column(j)).collect();
    let want = fit(&surv, &columns).unwrap();
    let factor = [1e-8, 1e8, 1.0];
    let shift = [3.0e-8, -2e8, 1e4];
    let scaled: Vec<Vec<f64>> = columns
        .iter()
        .zip(factor.iter().zip(shift))
        .map(|(c, (f, s))| c.iter().map(|v| f * v + s).collect())
        .collect();
    let got = fit(&surv, &scaled).unwrap();
    for j in 0..3 {
        let back = got.coef()[j] * factor[j];
        assert!((back - want.coef()[j]).abs() < 1e-9 * want.coef()[j].abs());
        assert!((got.se()[j] * factor[j] / want.se()[j] - 1.0).abs() < 1e-9);
        assert!((got.z()[j] / want.z()[j] - 1.0).abs() < 1e-9);
    }
    assert!((got.loglik() - want.loglik()).abs() < 1e-10);
    assert_eq!(got.concordance(), want.concordance());
}

fn infinite(fit: &CoxFit) -> Vec<(String, bool)> {
    fit.warnings()
        .iter()
        .map(|w| match w {
            Warning::InfiniteCoefficient { column, positive } => (column.clone(), *positive),
        })
        .collect()
}

#[test]
fn a_coefficient_that_runs_to_infinity_is_told() {
    let n = 60;
    let time: Vec<f64> = (0..n).map(|i| 1.0 + i as f64).collect();
    let event: Vec<bool> = (0..n).map(|i| i % 3 != 1).collect();
    let surv = Surv::new(&time, &event).unwrap();
    // Only patients with b = 1 die.
    let b: Vec<f64> = event.iter().map(|&e| f64::from(u8::from(e))).collect();
    let found = fit(&surv, &[column(n, 2), b.clone(), column(n, 3)]).unwrap();
    assert_eq!(infinite(&found), [("b".to_owned(), true)]);
    let other: Vec<f64> = b.iter().map(|v| -v).collect();
    let found = fit(&surv, &[column(n, 2), other]).unwrap();
    assert_eq!(infinite(&found), [("b".to_owned(), false)]);
    // Two columns at once: only patients with a = 1 and d = 0 die.
    let a: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % 6 != 1))).collect();
    let d: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % 6 == 4))).collect();
    let found = fit(&surv, &[a, column(n, 2), column(n, 3), d]).unwrap();
    assert_eq!(
        infinite(&found),
        [("a".to_owned(), true), ("d".to_owned(), false)]
    );
    // The event order is the order of a: the likelihood tends to 1.
    for (n, sign) in [(2usize, 1.0), (3, -1.0), (10, 1.0), (60, -1.0)] {
        let time: Vec<f64> = (0..n).map(|i| 1.0 + i as f64).collect();
        let surv = Surv::new(&time, &vec![true; n]).unwrap();
        let order: Vec<f64> = time.iter().map(|t| -sign * t).collect();
        let found = fit(&surv, &[order]).unwrap();
        assert_eq!(infinite(&found), [("a".to_owned(), sign > 0.0)], "n = {n}");
        assert!(
            found.loglik().abs() < 1e-3,
            "n = {n}: {} {found}",
            found.loglik()
        );
    }
}

#[test]
fn a_large_effect_is_not_called_infinite() {
    for (strength, n) in [(1.0, 200), (3.0, 200), (6.0, 300), (15.0, 400)] {
        let x: Vec<f64> = (0..n).map(|i| noise(21, i)).collect();
        let time: Vec<f64> = (0..n)
            .map(|i| -(0.5 - 0.5 * noise(22, i)).ln() * (-strength * x[i]).exp())
            .collect();
        let surv = Surv::builder(&time, &vec![true; n])
            .timefix(false)
            .build()
            .unwrap();
        let found = fit(&surv, &[x, column(n, 23)]).unwrap();
        assert!(found.warnings().is_empty(), "{strength}: {found}");
        assert!(
            (found.coef()[0] / strength - 1.0).abs() < 0.3,
            "{strength}: {found}"
        );
    }
}

#[test]
fn odd_outcomes_are_fitted() {
    let n = 30;
    let one: Vec<bool> = (0..n).map(|i| i == 12).collect();
    let time: Vec<f64> = (0..n).map(|i| (i % 7) as f64).collect();
    let b = column(n, 3);
    // A single event: its patient is neither extreme.
    let surv = Surv::new(&time, &one).unwrap();
    let mut a = column(n, 2);
    a[12] = 0.01;
    let found = fit(&surv, &[a.clone()]).unwrap();
    assert!(found.warnings().is_empty() && found.se()[0].is_finite());
    // All events in one of three strata; the others are idle.
    let strata: Vec<usize> = (0..n).map(|i| i % 3).collect();
    let event: Vec<bool> = strata.iter().map(|&s| s == 1).collect();
    let surv = Surv::builder(&time, &event)
        .strata(&strata)
        .build()
        .unwrap();
    let within: Vec<usize> = (0..n).filter(|&i| strata[i] == 1).collect();
    let alone = Surv::new(
        &within.iter().map(|&i| time[i]).collect::<Vec<_>>(),
        &vec![true; within.len()],
    )
    .unwrap();
    let whole = fit(&surv, &[a.clone(), b.clone()]).unwrap();
    let pick = |v: &[f64]| within.iter().map(|&i| v[i]).collect::<Vec<_>>();
    let part = fit(&alone, &[pick(&a), pick(&b)]).unwrap();
    for j in 0..2 {
        assert!((whole.coef()[j] - part.coef()[j]).abs() < 1e-9 * part.coef()[j].abs());
        assert!((whole.se()[j] - part.se()[j]).abs() < 1e-9 * part.se()[j]);
    }
    let lengths: Vec<usize> = whole
        .baseline_hazard()
        .iter()
        .map(|b| b.time.len())
        .collect();
    assert_eq!(lengths[0] + lengths[2], 0);
}

#[test]
fn rows_of_weight_zero_are_as_if_absent() {
    let full = cohort(80, 2, 31, true, true);
    let mut wild = full.clone();
    // Thirty rows more, of weight 0, with values that would swamp everything.
    for i in 0..30 {
        wild.time.push(0.1 * f64::from(i));
        wild.event.push(i % 2 == 0);
        wild.entry.as_mut().unwrap().push(-1.0);
        wild.strata.as_mut().unwrap().push(1);
        wild.x.extend([1e300 * f64::from(i - 15), 1e5]);
    }
    let weights = |n: usize| {
        (0..n).map(|i| {
            if i < 80 {
                0.5 + f64::from(i as u32 % 3)
            } else {
                0.0
            }
        })
    };
    wild.weights = Some(weights(110).collect());
    let mut tame = full;
    tame.weights = Some(weights(80).collect());
    for ties in [Ties::Efron, Ties::Breslow] {
        let run = |data: &Data| {
            CoxPh::new()
                .ties(ties)
                .robust(true)
                .fit(&data.surv().unwrap(), &data.covariates())
                .unwrap()
        };
        let (got, want) = (run(&wild), run(&tame));
        assert_eq!((got.n(), got.n_events()), (want.n(), want.n_events()));
        assert_eq!((got.n(), wild.surv().unwrap().n()), (80, 110));
        for j in 0..2 {
            assert!((got.coef()[j] - want.coef()[j]).abs() < 1e-10);
            assert!((got.se()[j] - want.se()[j]).abs() < 1e-10);
            let robust = |fit: &CoxFit| fit.robust_se().unwrap()[j];
            assert!((robust(&got) - robust(&want)).abs() < 1e-10);
        }
        assert!((got.loglik() - want.loglik()).abs() < 1e-9);
    }
    // Weights of zero for all but three.
    let mut few = tame;
    few.weights = Some((0..80).map(|i| f64::from(u8::from(i % 29 == 3))).collect());
    let found = CoxPh::new().fit(&few.surv().unwrap(), &few.covariates());
    assert!(
        !matches!(found, Err(Error::NoConvergence { .. })),
        "{found:?}"
    );
}

#[test]
fn weights_are_repetitions_under_breslow_only() {
    let mut data = cohort(70, 2, 41, false, true);
    data.weights = Some((0..70).map(|i| f64::from(1 + i % 3)).collect());
    let order: Vec<usize> = (0..70usize).flat_map(|i| vec![i; 1 + i % 3]).collect();
    let mut repeated = data.permuted(&order);
    repeated.weights = None;
    let run = |data: &Data, ties| {
        CoxPh::new()
            .ties(ties)
            .fit(&data.surv().unwrap(), &data.covariates())
            .unwrap()
    };
    let (a, b) = (run(&data, Ties::Breslow), run(&repeated, Ties::Breslow));
    for j in 0..2 {
        assert!((a.coef()[j] - b.coef()[j]).abs() < 1e-10);
        assert!((a.se()[j] - b.se()[j]).abs() < 1e-10);
    }
    assert!((a.loglik() - b.loglik()).abs() < 1e-9);
    // Efron spares tied events one after the other: copies are ties, weights are not.
    let (a, b) = (run(&data, Ties::Efron), run(&repeated, Ties::Efron));
    assert!((a.coef()[0] - b.coef()[0]).abs() > 1e-4);
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let mut data = cohort(150, 3, 51, true, true);
    data.weights = Some((0..150).map(|i| f64::from(i % 4)).collect());
    let mut order: Vec<usize> = (0..150).collect();
    order.sort_by(|&a, &b| noise(52, a).total_cmp(&noise(52, b)));
    let run = |data: &Data| {
        CoxPh::new()
            .robust(true)
            .fit(&data.surv().unwrap(), &data.covariates())
            .unwrap()
    };
    let (a, b) = (run(&data), run(&data.permuted(&order)));
    for j in 0..3 {
        assert!((a.coef()[j] - b.coef()[j]).abs() < 1e-12 * (1.0 + a.coef()[j].abs()));
        assert!((a.se()[j] - b.se()[j]).abs() < 1e-12);
        assert!((a.robust_se().unwrap()[j] - b.robust_se().unwrap()[j]).abs() < 1e-12);
    }
    assert!((a.loglik() - b.loglik()).abs() < 1e-10);
}

#[test]
fn threads_do_not_change_a_bit() {
    // With entry and strata, and without: the information has a kernel for either.
    for (entry, strata) in [(true, true), (false, false)] {
        let mut data = cohort(5000, 4, 61, entry, strata);
        if strata {
            data.weights = Some((0..5000).map(|i| f64::from(1 + i % 4)).collect());
        }
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let run = |threads: usize| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
                .install(|| CoxPh::new().robust(true).fit(&surv, &x).unwrap())
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever comes in: a typed error, or a maximum that the definitions confirm.
    #[test]
    fn any_small_data_give_a_maximum_or_a_typed_error(
        data in data(2..25, 4),
        ties in any_ties(),
        coarse in prop::sample::select(vec![0.0, 1.0, 2.0]),
        scale in prop::sample::select(vec![1.0, 1e-8, 1e8, 1e150]),
    ) {
        let mut data = data;
        if coarse > 0.0 {
            // Few distinct values: separation, collinearity and constants abound.
            data.x.iter_mut().for_each(|v| *v = (*v * coarse).round());
        }
        for row in data.x.chunks_exact_mut(data.p) {
            row[0] *= scale;
        }
        let Ok(surv) = data.surv() else { return Ok(()) };
        let found = CoxPh::new().ties(ties).robust(true).fit(&surv, &data.covariates());
        let fit = match found {
            Ok(fit) => fit,
            Err(error) => {
                prop_assert!(!matches!(error, Error::NoConvergence { .. }), "{}", error);
                return Ok(());
            }
        };
        prop_assert!(fit.coef().iter().all(|b| b.is_finite()));
        prop_assert!(fit.loglik().is_finite() && fit.loglik() >= fit.loglik0() - 1e-9);
        let _ = fit.to_string();
        let text = serde_json::to_string(&fit).unwrap();
        let back: CoxFit = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
        if fit.warnings().is_empty() {
            let (n, p) = (data.n(), data.p);
            let eta: Vec<f64> = (0..n)
                .map(|i| (0..p).map(|j| data.x[i * p + j] * fit.coef()[j]).sum())
                .collect();
            let truth = slow(&surv, &data.x, p, &eta, ties);
            prop_assert!((truth.loglik - fit.loglik()).abs() < 1e-8 * (1.0 + fit.loglik().abs()));
            for j in 0..p {
                let gain = truth.score[j] * fit.se()[j];
                prop_assert!(gain.abs() < 1e-6, "score {} se {}\n{}", truth.score[j], fit.se()[j], fit);
                prop_assert!(fit.se()[j] > 0.0 && fit.se()[j].is_finite());
            }
        }
    }
}

/// Each is a typed error that names the place, or a fit that says so.
#[test]
fn degenerate_outcomes_are_named_or_fitted() {
    let n = 24;
    let event: Vec<bool> = (0..n).map(|i| i % 3 != 0).collect();
    let time: Vec<f64> = (0..n).map(|i| 1.0 + (i * 5 % 13) as f64).collect();
    let (a, b) = (column(n, 71), column(n, 72));
    let values: Vec<f64> = a.iter().chain(&b).copied().collect();
    let x = Covariates::from_columns(&values, n, 2).unwrap();

    // Every event has weight 0.
    let weights: Vec<f64> = event.iter().map(|&e| f64::from(u8::from(!e))).collect();
    let found = Surv::builder(&time, &event).weights(&weights).build();
    assert!(matches!(found, Err(Error::NoEvents)));
    // Entry at the time of leaving.
    let mut entry = vec![0.0; n];
    entry[7] = time[7];
    let found = Surv::builder(&time, &event).entry(&entry).build();
    assert!(matches!(
        found,
        Err(Error::EntryNotBeforeTime { row: 7, .. })
    ));

    // All times tied.
    let tied = Surv::new(&vec![2.0; n], &event).unwrap();
    for ties in [Ties::Efron, Ties::Breslow, Ties::Exact] {
        let fit = CoxPh::new().ties(ties).fit(&tied, &x).unwrap();
        assert!(fit.warnings().is_empty() && fit.se().iter().all(|s| s.is_finite()));
        let zph = fit
            .diagnostics(&tied, &x)
            .unwrap()
            .zph(crate::ZphTransform::Rank);
        assert!(matches!(zph, Err(Error::Undefined { .. })));
    }
    // And everybody dies: the exact likelihood is 1 whatever the coefficients.
    let all = Surv::new(&vec![2.0; n], &vec![true; n]).unwrap();
    let found = CoxPh::new().ties(Ties::Exact).fit(&all, &x);
    assert!(matches!(found, Err(Error::NoInformation { column }) if column == "x1"));

    // A stratum without events has no curve, and disturbs no residual.
    let strata: Vec<u8> = event
        .iter()
        .enumerate()
        .map(|(i, &e)| u8::from(!e && i > 8))
        .collect();
    let surv = Surv::builder(&time, &event)
        .strata(&strata)
        .build()
        .unwrap();
    let fit = CoxPh::new().fit(&surv, &x).unwrap();
    let diagnostics = fit.diagnostics(&surv, &x).unwrap();
    for i in (0..n).filter(|&i| strata[i] == 1) {
        assert!(diagnostics.martingale()[i].abs() < 1e-300);
    }
    let idle = &diagnostics.curves().at(&x, 1).unwrap()[0];
    assert!(idle.time.is_empty() && idle.median().unwrap().estimate.is_none());
    assert!((idle.rmst(5.0).unwrap() - 5.0).abs() < 1e-12);

    // Separation is told, with its remedy, and the remedy works.
    let plain = Surv::new(&time, &event).unwrap();
    let split: Vec<f64> = event.iter().map(|&e| f64::from(u8::from(e))).collect();
    let x = Covariates::from_columns(&split, n, 1)
        .unwrap()
        .with_names(["sign"])
        .unwrap();
    let fit = CoxPh::new().fit(&plain, &x).unwrap();
    let text = fit.to_string();
    assert!(
        text.contains("`sign` runs to plus infinity") && text.contains("ridge"),
        "{text}"
    );
    let fit = CoxPh::new().ridge("sign", 0.5).fit(&plain, &x).unwrap();
    assert!(fit.warnings().is_empty() && fit.coef()[0].is_finite() && fit.se()[0].is_finite());

    // One value of 1e308.
    let mut huge = a;
    huge[3] = 1e308;
    let found = CoxPh::new().fit(&plain, &Covariates::from_columns(&huge, n, 1).unwrap());
    assert!(matches!(&found, Err(Error::Overflow { column, row: 3, .. }) if column == "x1"));
    let text = found.unwrap_err().to_string();
    assert!(text.contains("`x1`, row 4: 1e308"), "{text}");
}
