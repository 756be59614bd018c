//! Exact ties, penalties, fixed coefficients, curves and tests of proportionality beside obvious versions.

use proptest::prelude::*;

use super::Ties;
use super::design::Design;
use super::exact::ExactLikelihood;
use super::newton::Objective;
use super::twins::{Data, any_ties, data, slow};
use crate::{ConfType, Covariates, CoxPh, Error, Surv, ZphTransform};

/// Log-likelihood, score and information of the exact method by going through all subsets.
fn subsets(surv: &Surv, x: &[f64], p: usize, eta: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
    let n = surv.n();
    let (mut loglik, mut score, mut information) = (0.0, vec![0.0; p], vec![0.0; p * p]);
    for stratum in 0..surv.stratum_names().len() as u32 {
        let here = |i: usize| surv.stratum()[i] == stratum;
        let mut times: Vec<f64> = (0..n)
            .filter(|&i| here(i) && surv.event()[i])
            .map(|i| surv.time()[i])
            .collect();
        times.sort_by(f64::total_cmp);
        times.dedup();
        for &t in &times {
            let at: Vec<usize> = (0..n)
                .filter(|&i| here(i) && t <= surv.time()[i])
                .filter(|&i| surv.entry().is_none_or(|entry| entry[i] < t))
                .collect();
            let dies = |i: usize| surv.event()[i] && surv.time()[i] <= t;
            let d = at.iter().filter(|&&i| dies(i)).count() as u32;
            let (mut total, mut first, mut second) = (0.0, vec![0.0; p], vec![0.0; p * p]);
            for set in (0u32..1 << at.len()).filter(|s| s.count_ones() == d) {
                let members = || at.iter().enumerate().filter(|(b, _)| set >> b & 1 == 1);
                let weight = members().map(|(_, &i)| eta[i]).sum::<f64>().exp();
                let mut sum = vec![0.0; p];
                for (_, &i) in members() {
                    for (s, v) in sum.iter_mut().zip(&x[i * p..(i + 1) * p]) {
                        *s += v;
                    }
                }
                total += weight;
                for a in 0..p {
                    first[a] += weight * sum[a];
                    for b in 0..p {
                        second[a * p + b] += weight * sum[a] * sum[b];
                    }
                }
            }
            loglik -= total.ln();
            for &i in at.iter().filter(|&&i| dies(i)) {
                loglik += eta[i];
                for a in 0..p {
                    score[a] += x[i * p + a];
                }
            }
            for a in 0..p {
                score[a] -= first[a] / total;
                for b in 0..p {
                    information[a * p + b] +=
                        second[a * p + b] / total - first[a] * first[b] / (total * total);
                }
            }
        }
    }
    (loglik, score, information)
}

fn close(what: &str, got: f64, want: f64, tolerance: f64) {
    assert!(
        (got - want).abs() <= tolerance * (1.0 + want.abs()),
        "{what}: {got} is not {want}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn exact_ties_are_sums_over_subsets(
        data in data(2..13, 3),
        slope in prop::collection::vec(-3.0..3.0f64, 3),
        stretch in prop::sample::select(vec![1.0, 1.0, 6.0]),
    ) {
        let data = Data { weights: None, ..data };
        let Ok(surv) = data.surv() else { return Ok(()) };
        let Ok(design) = Design::new(&surv, &data.covariates()) else { return Ok(()) };
        let (n, p) = (data.n(), data.p);
        let beta: Vec<f64> = slope[..p].iter().map(|b| b * stretch).collect();
        let mut by_position = vec![0.0; n];
        design.times(&beta, &mut by_position);
        let (mut eta, mut rows) = (vec![0.0; n], vec![0.0; n * p]);
        for (position, &i) in surv.sorted.order.iter().enumerate() {
            let i = i as usize;
            eta[i] = by_position[position];
            rows[i * p..(i + 1) * p].copy_from_slice(&design.rows[position * p..(position + 1) * p]);
        }
        let mut exact = ExactLikelihood::new(&surv);
        let loglik = exact.sums(&by_position);
        exact.derivatives();
        let found = exact.information(&design);
        let (want, score, information) = subsets(&surv, &rows, p, &eta);
        close("loglik", loglik, want, 1e-10);
        for a in 0..p {
            close("score", found.score[a], score[a], 1e-9);
            for b in 0..=a {
                close("information", found.matrix[(a, b)], information[a * p + b], 1e-9);
            }
        }
    }

    /// At the penalised maximum the score is the penalty's slope; the variance is the inverse of the
    /// information with the penalty on its diagonal.
    #[test]
    fn a_ridge_is_where_score_and_penalty_meet(
        data in data(8..30, 3), ties in any_ties(), theta in 0.1..20.0f64,
        fixed in prop::option::of(-1.0..1.0f64), shift in any::<bool>(),
    ) {
        let Ok(surv) = data.surv() else { return Ok(()) };
        let p = data.p;
        let offset: Vec<f64> = (0..data.n()).map(|i| if shift { (i % 5) as f64 / 4.0 } else { 0.0 }).collect();
        let mut settings = CoxPh::new().ties(ties).ridge_all(theta).offset(offset.clone());
        if let Some(value) = fixed {
            settings = settings.fix("x1", value);
        }
        let fit = match settings.fit(&surv, &data.covariates()) {
            Ok(fit) => fit,
            Err(error) => {
                prop_assert!(!matches!(error, Error::NoConvergence { .. }), "{}", error);
                return Ok(());
            }
        };
        let eta: Vec<f64> = (0..data.n())
            .map(|i| offset[i] + (0..p).map(|j| data.x[i * p + j] * fit.coef()[j]).sum::<f64>())
            .collect();
        let truth = slow(&surv, &data.x, p, &eta, ties);
        close("loglik", fit.loglik(), truth.loglik, 1e-9);
        let first = usize::from(fixed.is_some());
        if let Some(value) = fixed {
            prop_assert!((fit.coef()[0] - value).abs() < 1e-15 && fit.se()[0].abs() < 1e-300);
        }
        for j in first..p {
            close("gradient", truth.score[j], theta * fit.coef()[j], 1e-7);
            // Row j of (I + theta) V is that of the identity.
            for k in first..p {
                let product: f64 = (first..p)
                    .map(|l| {
                        let own = if l == j { theta } else { 0.0 };
                        (truth.information[(j, l)] + own) * fit.variance()[l * p + k]
                    })
                    .sum();
                close("inverse", product, f64::from(u8::from(j == k)), 1e-7);
            }
        }
        let trace: f64 = (first..p)
            .map(|j| 1.0 - theta * fit.variance()[j * p + j])
            .sum();
        close("df", fit.df(), trace, 1e-8);
    }

    /// Residuals, curves and the score test of proportionality from their definitions.
    #[test]
    fn diagnostics_are_what_the_definitions_say(data in data(10..40, 3), ties in any_ties()) {
        let Ok(surv) = data.surv() else { return Ok(()) };
        let (n, p) = (data.n(), data.p);
        let x = data.covariates();
        let Ok(fit) = CoxPh::new().ties(ties).fit(&surv, &x) else { return Ok(()) };
        prop_assume!(fit.warnings().is_empty());
        let diagnostics = fit.diagnostics(&surv, &x).unwrap();
        let eta: Vec<f64> = (0..n)
            .map(|i| (0..p).map(|j| data.x[i * p + j] * fit.coef()[j]).sum())
            .collect();
        let truth = slow(&surv, &data.x, p, &eta, ties);
        let (martingale, score) = (diagnostics.martingale(), diagnostics.score());
        let dfbeta = diagnostics.dfbeta();
        for i in 0..n {
            let weight = surv.weight(i);
            if weight <= 0.0 {
                prop_assert!(martingale[i].is_nan() && score[i * p].is_nan());
                continue;
            }
            close("martingale", martingale[i] * weight, truth.residual[i], 1e-9);
            for j in 0..p {
                close("score", score[i * p + j], truth.score_residuals[i * p + j], 1e-8);
                let want: f64 = (0..p)
                    .map(|k| weight * truth.score_residuals[i * p + k] * fit.variance()[k * p + j])
                    .sum();
                close("dfbeta", dfbeta[i * p + j], want, 1e-7);
            }
        }
        // Weighted Schoenfeld residuals sum to the score, which is 0.
        let schoenfeld = diagnostics.schoenfeld();
        for j in 0..p {
            let sum: f64 = (0..schoenfeld.row.len())
                .map(|k| surv.weight(schoenfeld.row[k]) * schoenfeld.values[k * p + j])
                .sum();
            close("schoenfeld", sum * fit.se()[j], 0.0, 1e-6);
        }
        // The baseline at covariates 0 is the curve there.
        let curves = diagnostics.curves();
        let zero = vec![0.0; p];
        for (s, (time, hazard)) in truth.hazard.iter().enumerate() {
            let curve = &curves.at(&Covariates::from_rows(&zero, 1, p).unwrap(), s).unwrap()[0];
            prop_assert_eq!(&curve.time, time);
            for (got, want) in curve.hazard.iter().zip(hazard) {
                close("hazard", *got, *want, 1e-8);
            }
        }
    }

    /// Adding the columns `g(t) x` row by row at every event time, and testing them, is the score test.
    #[test]
    fn proportionality_is_a_score_test_of_split_rows(data in data(10..25, 2), ties in any_ties()) {
        let data = Data { strata: None, ..data };
        let Ok(surv) = data.surv() else { return Ok(()) };
        let (n, p) = (data.n(), data.p);
        let x = data.covariates();
        let Ok(fit) = CoxPh::new().ties(ties).fit(&surv, &x) else { return Ok(()) };
        prop_assume!(fit.warnings().is_empty());
        let Ok(zph) = fit.diagnostics(&surv, &x).unwrap().zph(ZphTransform::Identity) else {
            return Ok(());
        };
        // One row for every event time that a row is at risk at.
        let mut times: Vec<f64> = (0..n)
            .filter(|&i| surv.event()[i] && surv.weight(i) > 0.0)
            .map(|i| surv.time()[i])
            .collect();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let (mut time, mut event, mut strata, mut weights, mut wide) = (vec![], vec![], vec![], vec![], vec![]);
        for (k, &t) in times.iter().enumerate() {
            for i in 0..n {
                let entered = surv.entry().is_none_or(|e| e[i] < t);
                if entered && t <= surv.time()[i] && surv.weight(i) > 0.0 {
                    time.push(1.0);
                    event.push(surv.event()[i] && surv.time()[i] <= t);
                    strata.push(k);
                    weights.push(surv.weight(i));
                    let row = &data.x[i * p..(i + 1) * p];
                    wide.extend(row);
                    wide.extend(row.iter().map(|v| v * (t - times[0])));
                }
            }
        }
        let split = Surv::builder(&time, &event).strata(&strata).weights(&weights).build().unwrap();
        let wide = Covariates::from_rows(&wide, time.len(), 2 * p).unwrap();
        let mut start = fit.coef().to_vec();
        start.extend(vec![0.0; p]);
        let Ok(both) = CoxPh::new().ties(ties).start(start).concordance(false).fit(&split, &wide) else {
            return Ok(());
        };
        let global = *zph.chisq.last().unwrap();
        prop_assert!((both.score_test() - global).abs() < 1e-5 * (1.0 + global), "{} {}", both.score_test(), global);
    }
}

#[test]
fn heavy_exact_ties_do_not_overflow() {
    // 500 of 2,000 have the event at one time, risks over hundreds of orders of magnitude.
    let n: u32 = 2000;
    let time: Vec<f64> = (0..n).map(|i| if i % 4 == 0 { 1.0 } else { 2.0 }).collect();
    let event: Vec<bool> = (0..n).map(|i| i % 4 == 0).collect();
    let x: Vec<f64> = (0..n)
        .map(|i| f64::from(i * 7919 % 2003) / 1000.0 - 1.0)
        .collect();
    let surv = Surv::new(&time, &event).unwrap();
    let x = Covariates::from_columns(&x, n as usize, 1).unwrap();
    let fit = CoxPh::new().ties(Ties::Exact).fit(&surv, &x).unwrap();
    assert!(fit.loglik().is_finite() && fit.se()[0] > 0.0);
    let far = CoxPh::new()
        .ties(Ties::Exact)
        .start(vec![30.0])
        .fit(&surv, &x)
        .unwrap();
    close("from far away", far.coef()[0], fit.coef()[0], 1e-9);
    // The logarithm of e_d beside the recursion of all e_k in logarithms.
    let design = Design::new(&surv, &x).unwrap();
    for slope in [0.0, 0.7, 40.0] {
        let mut eta = vec![0.0; n as usize];
        design.times(&[slope], &mut eta);
        let mut logs = vec![f64::NEG_INFINITY; 501];
        logs[0] = 0.0;
        for e in &eta {
            for k in (1..=500).rev() {
                let (a, b): (f64, f64) = (logs[k], logs[k - 1] + e);
                let most = a.max(b);
                if most > f64::NEG_INFINITY {
                    logs[k] = most + ((a - most).exp() + (b - most).exp()).ln();
                }
            }
        }
        let events: f64 = surv
            .sorted
            .groups
            .iter()
            .flat_map(|g| g.events.clone())
            .map(|i| eta[i])
            .sum();
        let got = ExactLikelihood::new(&surv).sums(&eta);
        close("loglik", got, events - logs[500], 1e-11);
    }
}

#[test]
fn of_a_fixed_coefficient_there_is_nothing_to_test() {
    let time: Vec<f64> = (0..30).map(|i| f64::from(1 + i * 11 % 17)).collect();
    let event: Vec<bool> = (0..30).map(|i| i % 3 != 2).collect();
    let x: Vec<f64> = (0..60).map(|k| f64::from(k * 29 % 61) / 10.0).collect();
    let x = Covariates::from_rows(&x, 30, 2).unwrap();
    let x = x.with_names(["dose", "age"]).unwrap();
    let surv = Surv::new(&time, &event).unwrap();
    for robust in [false, true] {
        let settings = CoxPh::new().fix("age", 0.3).robust(robust);
        let fit = settings.fit(&surv, &x).unwrap();
        for of in [fit.z(), fit.p_values(), fit.lower(), fit.upper()] {
            assert!(of[0].is_finite() && of[1].is_nan(), "{of:?}");
        }
        assert!(fit.se()[1] <= 0.0);
        let last = |table: &crate::Table| table.rows()[1].join("|");
        let told = last(&fit.table());
        assert!(told.starts_with("age|0.30000|1.3499|0.00000|"), "{told}");
        assert!(told.ends_with("||fixed||"), "{told}");
        let told = last(&fit.lifelines_table());
        assert_eq!(told, "age|0.30000|1.3499|0.00000|||||||fixed|");
        // Twice a known number is known; with the other it is not.
        let known = fit.contrast(&[0.0, 2.0, 1.0, 1.0]).unwrap();
        assert!((known.estimate[0] - 0.6).abs() < 1e-15);
        for of in [&known.z, &known.p, &known.lower, &known.upper] {
            assert!(of[0].is_nan() && of[1].is_finite(), "{of:?}");
        }
        assert!(known.to_string().contains("1      0.6"), "{known}");
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let surv = Surv::new(&[1.0, 2.0, 3.0, 4.0, 5.0], &[true, true, false, true, true]).unwrap();
    let x = Covariates::from_columns(&[0.3, 0.1, 0.9, 0.5, 0.2], 5, 1).unwrap();
    let name = |settings: CoxPh| match settings.fit(&surv, &x) {
        Err(Error::Setting { name, .. }) => name,
        Err(Error::Length { column, .. }) if column == "offset" => "offset length",
        Err(Error::NotFinite { column, row: 1, .. }) if column == "offset" => "offset value",
        other => panic!("{other:?}"),
    };
    assert_eq!(name(CoxPh::new().fix("age", 1.0)), "fix");
    assert_eq!(name(CoxPh::new().fix("x1", f64::NAN)), "fix");
    assert_eq!(name(CoxPh::new().ridge("age", 1.0)), "ridge");
    assert_eq!(name(CoxPh::new().ridge("x1", -1.0)), "ridge");
    assert_eq!(name(CoxPh::new().offset(vec![0.0; 4])), "offset length");
    assert_eq!(
        name(CoxPh::new().offset(vec![0.0, f64::NAN, 0.0, 0.0, 0.0])),
        "offset value"
    );
    assert_eq!(name(CoxPh::new().ties(Ties::Exact).robust(true)), "ties");
    assert_eq!(name(CoxPh::new().start(vec![1e308])), "start");
    let weighted = Surv::builder(&[1.0, 2.0, 3.0], &[true; 3])
        .weights(&[1.0, 2.0, 1.0])
        .build()
        .unwrap();
    let three = Covariates::from_columns(&[0.3, 0.1, 0.9], 3, 1).unwrap();
    assert!(
        CoxPh::new()
            .ties(Ties::Exact)
            .fit(&weighted, &three)
            .is_err()
    );
    // All fixed: nothing is estimated.
    let fit = CoxPh::new().fix("x1", 0.5).fit(&surv, &x).unwrap();
    assert!(fit.df() < 0.5 && fit.iterations() == 0 && fit.wald().is_nan());
    let fit = CoxPh::new().ridge("x1", 1.0).fit(&surv, &x).unwrap();
    assert!(
        fit.diagnostics(&surv, &x)
            .unwrap()
            .zph(ZphTransform::Km)
            .is_err()
    );
    let curves = fit
        .diagnostics(&surv, &x)
        .unwrap()
        .curves()
        .conf_type(ConfType::Plain);
    assert!(curves.at(&x, 1).is_err() && curves.clone().level(1.0).at(&x, 0).is_err());
}
