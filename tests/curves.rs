//! Kaplan-Meier, Nelson-Aalen, Fleming-Harrington and log-rank against R's `survival`
//! (`golden/curves/make.R`).

use cox_survival::{ConfType, Error, HazardType, KaplanMeier, KmCurve, LogRank, NelsonAalen, Surv};
use serde_json::Value;
use survlatent_tests::golden::{json, number, numbers};

const TOLERANCE: f64 = 1e-10;

/// Relative difference at most `TOLERANCE`; R's `null` is NaN, infinity or `None` here.
#[track_caller]
fn same(found: Option<f64>, want: Option<f64>, what: &str) {
    match (found.filter(|v| v.is_finite()), want) {
        (None, None) => {}
        (Some(a), Some(b)) if (a - b).abs() <= TOLERANCE * b.abs() + 1e-14 => {}
        (found, want) => panic!("{what}: found {found:?}, R has {want:?}"),
    }
}

#[track_caller]
fn all_same(found: &[f64], want: &Value, what: &str) {
    let want = numbers(want);
    assert_eq!(found.len(), want.len(), "{what}: length");
    for (k, (&a, &b)) in found.iter().zip(&want).enumerate() {
        same(Some(a), b, &format!("{what}[{k}]"));
    }
}

fn column(data: &Value, name: &str) -> Option<Vec<f64>> {
    let values = data.get(name)?;
    Some(
        numbers(values)
            .into_iter()
            .map(|v| v.expect("complete data"))
            .collect(),
    )
}

fn labels(data: &Value, name: &str) -> Option<Vec<String>> {
    let items = data.get(name)?.as_array().expect("labels");
    Some(
        items
            .iter()
            .map(|v| v.as_str().expect("text").to_owned())
            .collect(),
    )
}

fn surv(data: &Value, strata: Option<&[String]>) -> Surv {
    let time = column(data, "time").expect("time");
    let event: Vec<bool> = column(data, "status")
        .expect("status")
        .iter()
        .map(|&s| s > 0.5)
        .collect();
    let (entry, weights) = (column(data, "entry"), column(data, "weights"));
    let mut builder = Surv::builder(&time, &event);
    if let Some(entry) = &entry {
        builder = builder.entry(entry);
    }
    if let Some(weights) = &weights {
        builder = builder.weights(weights);
    }
    if let Some(strata) = strata {
        builder = builder.strata(strata);
    }
    builder.build().expect("golden data are valid")
}

fn each_case(mut check: impl FnMut(&str, &Value)) {
    let golden = json("curves/curves.json");
    let cases = golden["cases"].as_object().expect("cases");
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    for (name, case) in cases {
        check(name, case);
    }
}

fn descends(limit: &[f64]) -> bool {
    limit
        .windows(2)
        .all(|w| w[1].is_nan() || w[0].is_nan() || w[1] <= w[0])
}

fn check_curve(curve: &KmCurve, want: &Value, what: &str) {
    assert_eq!(curve.name, want["name"].as_str().expect("name"), "{what}");
    let vectors: [(&str, &[f64]); 10] = [
        ("time", &curve.time),
        ("n_risk", &curve.n_risk),
        ("n_event", &curve.n_event),
        ("n_censor", &curve.n_censor),
        ("surv", &curve.surv),
        ("std_err", &curve.std_err),
        ("lower", &curve.lower),
        ("upper", &curve.upper),
        ("cumhaz", &curve.cumhaz),
        ("std_chaz", &curve.std_cumhaz),
    ];
    for (key, found) in vectors {
        all_same(found, &want[key], &format!("{what} {key}"));
    }
    let single = |key: &str, found: Option<f64>| {
        same(found, number(&want[key]), &format!("{what} {key}"));
    };
    single("records", Some(curve.n as f64));
    single("n_max", Some(curve.n_max));
    single("n_start", Some(curve.n_start));
    single("events", Some(curve.n_events));
    single("median", curve.median);
    single("median_lower", curve.median_lower);
    single("median_upper", curve.median_upper);
    for (k, p) in numbers(&want["p"]).into_iter().enumerate() {
        let q = curve.quantile(p.expect("p")).expect("p is valid");
        let at = |key: &str| numbers(&want[key])[k];
        same(q.estimate, at("q"), &format!("{what} quantile {p:?}"));
        // A limit can rise when the risk set grows (left truncation); R's `quantile` is then not
        // the first time at or below the level, as its own table of medians has it. Ours is.
        if descends(&curve.lower) {
            same(
                q.lower,
                at("q_lower"),
                &format!("{what} quantile {p:?} lower"),
            );
        }
        if descends(&curve.upper) {
            same(
                q.upper,
                at("q_upper"),
                &format!("{what} quantile {p:?} upper"),
            );
        }
    }
    for (k, tau) in numbers(&want["tau"]).into_iter().enumerate() {
        let rmst = curve.rmst(tau.expect("tau")).expect("tau is valid");
        same(
            Some(rmst.mean),
            numbers(&want["rmean"])[k],
            &format!("{what} rmst {tau:?}"),
        );
        same(
            Some(rmst.std_err),
            numbers(&want["se_rmean"])[k],
            &format!("{what} se rmst"),
        );
    }
}

#[test]
fn kaplan_meier_is_that_of_r() {
    let mut curves = 0;
    each_case(|name, case| {
        let data = &case["data"];
        let group = labels(data, "group").expect("group");
        for (key, wanted) in case["km"].as_object().expect("km") {
            let mut parts = key.split('/');
            let conf_type: ConfType = parts.next().expect("type").parse().expect("known");
            let level = if key.ends_with("level 0.8") {
                0.8
            } else {
                0.95
            };
            let settings = KaplanMeier::new().conf_type(conf_type).level(level);
            let fits = if parts.next().is_none() {
                vec![settings.fit(&surv(data, None)).expect("fit")]
            } else {
                // Labels and strata are two ways to the same curves.
                vec![
                    settings.fit_by(&surv(data, None), &group).expect("fit"),
                    settings.fit(&surv(data, Some(&group))).expect("fit"),
                ]
            };
            let wanted = wanted.as_array().expect("curves");
            for fit in fits {
                assert_eq!(fit.curves.len(), wanted.len(), "{name} {key}");
                for (curve, want) in fit.curves.iter().zip(wanted) {
                    check_curve(curve, want, &format!("{name} {key} {}", curve.name));
                    curves += 1;
                }
            }
        }
    });
    assert!(curves > 200, "only {curves} curves were compared");
}

#[test]
fn the_robust_variance_is_that_of_r() {
    let mut compared = 0;
    each_case(|name, case| {
        let Some(want) = case.get("robust") else {
            return;
        };
        let surv = surv(&case["data"], None);
        let fit = KaplanMeier::new().robust(true).fit(&surv).expect("fit");
        let curve = &fit.curves[0];
        // Where nobody survives R has a standard error of 0 for S and none for log S.
        let last = numbers(&want["std_surv"]).pop().expect("values");
        let mut std_surv = curve.std_err_surv();
        if curve.surv.last().is_some_and(|&s| s <= 0.0) && last.is_some() {
            *std_surv.last_mut().expect("values") = 0.0;
        }
        all_same(&std_surv, &want["std_surv"], &format!("{name} robust std"));
        all_same(
            &curve.std_cumhaz,
            &want["std_chaz"],
            &format!("{name} robust std.chaz"),
        );
        all_same(
            &curve.lower,
            &want["lower"],
            &format!("{name} robust lower"),
        );
        all_same(
            &curve.upper,
            &want["upper"],
            &format!("{name} robust upper"),
        );
        compared += 1;
    });
    assert_eq!(compared, 3);
}

#[test]
fn cumulative_hazards_are_those_of_r() {
    each_case(|name, case| {
        let surv = surv(&case["data"], None);
        let types = [
            ("1", HazardType::NelsonAalen),
            ("2", HazardType::FlemingHarrington),
        ];
        for (key, hazard_type) in types {
            let fit = NelsonAalen::new()
                .hazard_type(hazard_type)
                .fit(&surv)
                .expect("fit");
            let (curve, want) = (&fit.curves[0], &case["fh"][key][0]);
            let what = format!("{name} ctype {key}");
            all_same(&curve.time, &want["time"], &format!("{what} time"));
            all_same(&curve.cumhaz, &want["cumhaz"], &format!("{what} cumhaz"));
            all_same(
                &curve.std_err,
                &want["std_chaz"],
                &format!("{what} std.chaz"),
            );
            all_same(&curve.std_err, &want["std_err"], &format!("{what} std.err"));
            all_same(&curve.surv, &want["surv"], &format!("{what} surv"));
            all_same(&curve.surv_lower, &want["lower"], &format!("{what} lower"));
            all_same(&curve.surv_upper, &want["upper"], &format!("{what} upper"));
        }
    });
}

#[test]
fn log_rank_tests_are_those_of_r() {
    let (mut compared, mut singular) = (0, 0);
    each_case(|name, case| {
        let Some(tests) = case.get("logrank") else {
            return;
        };
        let data = &case["data"];
        let group = labels(data, "group").expect("group");
        let strata = labels(data, "strata");
        for want in tests.as_array().expect("tests") {
            let rho = number(&want["rho"]).expect("rho");
            let stratified = want["stratified"].as_bool().expect("flag");
            let surv = surv(data, strata.as_deref().filter(|_| stratified));
            let what = format!("{name} rho {rho} stratified {stratified}");
            let found = LogRank::new().rho(rho).test(&surv, &group);
            if want.get("singular").is_some() {
                assert!(matches!(found, Err(Error::Undefined { .. })), "{what}");
                singular += 1;
                continue;
            }
            let found = found.unwrap_or_else(|e| panic!("{what}: {e}"));
            let observed: Vec<f64> = found.groups.iter().map(|g| g.observed).collect();
            let expected: Vec<f64> = found.groups.iter().map(|g| g.expected).collect();
            all_same(&observed, &want["observed"], &format!("{what} observed"));
            all_same(&expected, &want["expected"], &format!("{what} expected"));
            if data.get("weights").is_none() {
                let n: Vec<f64> = found.groups.iter().map(|g| g.n as f64).collect();
                all_same(&n, &want["n"], &format!("{what} n"));
            }
            for (g, row) in found.variance.iter().enumerate() {
                all_same(row, &want["var"][g], &format!("{what} variance"));
            }
            let single = |key: &str, value: f64| {
                same(Some(value), number(&want[key]), &format!("{what} {key}"));
            };
            single("chisq", found.chi_squared);
            single("df", found.df as f64);
            single("p", found.p_value);
            compared += 1;
        }
    });
    assert!(
        compared > 40 && singular == 3,
        "{compared} tests, {singular} singular"
    );
}

#[test]
fn the_log_rank_test_with_entry_is_the_exact_score_test() {
    let mut compared = 0;
    each_case(|name, case| {
        let Some(tests) = case.get("score") else {
            return;
        };
        let data = &case["data"];
        let group = labels(data, "group").expect("group");
        let strata = labels(data, "strata");
        for want in tests.as_array().expect("tests") {
            let stratified = want["stratified"].as_bool().expect("flag");
            let surv = surv(data, strata.as_deref().filter(|_| stratified));
            let found = LogRank::new().test(&surv, &group).expect("defined");
            same(Some(found.chi_squared), number(&want["chisq"]), name);
            same(Some(found.df as f64), number(&want["df"]), name);
            same(Some(found.p_value), number(&want["p"]), name);
            compared += 1;
        }
    });
    assert_eq!(compared, 2);
}
