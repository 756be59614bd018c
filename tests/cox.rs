//! `CoxPh` against R's `coxph` on every data set, tie method and option of the golden file.
#![allow(
    clippy::cast_sign_loss,
    reason = "golden files hold codes and places as numbers"
)]

use cox_survival::{Covariates, CoxFit, CoxPh, Surv, Ties};
use serde_json::Value;
use survlatent_tests::{VETERAN_ALL, all_close, close, csv, json, numbers};

/// Relative agreement asked of everything R computed at eps = 1e-12.
const TOLERANCE: f64 = 1e-8;

struct Case {
    data: &'static str,
    time: &'static str,
    event: &'static str,
    x: &'static [&'static str],
    entry: Option<&'static str>,
    strata: Option<&'static str>,
    weights: Option<&'static str>,
    offset: Option<&'static str>,
    cluster: Option<&'static str>,
    robust: bool,
}

const PLAIN: Case = Case {
    data: "",
    time: "time",
    event: "status",
    x: &[],
    entry: None,
    strata: None,
    weights: None,
    offset: None,
    cluster: None,
    robust: false,
};

const SYNTH: Case = Case {
    data: "synth_ties",
    x: &["x1", "x2", "x3", "x4", "x5"],
    ..PLAIN
};

fn fit(case: &Case, ties: Ties) -> CoxFit {
    let table = csv(&format!("survival/data/{}.csv", case.data));
    let column = |name: &str| &table[name];
    let event: Vec<bool> = column(case.event).iter().map(|&e| e > 0.5).collect();
    let mut builder = Surv::builder(column(case.time), &event);
    let strata: Vec<i64>;
    if let Some(name) = case.strata {
        strata = column(name).iter().map(|&s| s as i64).collect();
        builder = builder.strata(&strata);
    }
    if let Some(name) = case.entry {
        builder = builder.entry(column(name));
    }
    if let Some(name) = case.weights {
        builder = builder.weights(column(name));
    }
    let surv = builder.build().expect("a valid outcome");
    let values: Vec<f64> = case
        .x
        .iter()
        .flat_map(|name| column(name).clone())
        .collect();
    let x = Covariates::from_columns(&values, surv.n(), case.x.len())
        .and_then(|x| x.with_names(case.x.iter().copied()))
        .expect("a valid matrix");
    let mut settings = CoxPh::new().ties(ties).robust(case.robust);
    if let Some(name) = case.offset {
        settings = settings.offset(column(name).clone());
    }
    match case.cluster {
        None => settings.fit(&surv, &x),
        Some(name) => {
            let codes: Vec<u32> = column(name).iter().map(|&c| c as u32).collect();
            settings.fit_clustered(&surv, &x, &codes)
        }
    }
    .expect("a fit")
}

fn compare(key: &str, case: &Case, fits: &Value) {
    for ties in [Ties::Efron, Ties::Breslow] {
        let key = format!("{key}/{}", ties.name());
        let want = &fits[&key];
        assert!(want.is_object(), "{key} is in the golden file");
        let got = fit(case, ties);
        all_close(
            got.coef(),
            &numbers(&want["coef"]),
            TOLERANCE,
            &format!("{key} coef"),
        );
        all_close(
            got.se(),
            &numbers(&want["se"]),
            TOLERANCE,
            &format!("{key} se"),
        );
        close(
            got.loglik0(),
            want["loglik0"].as_f64().unwrap(),
            TOLERANCE,
            &key,
        );
        close(
            got.loglik(),
            want["loglik"].as_f64().unwrap(),
            TOLERANCE,
            &key,
        );
        close(
            got.lr(),
            want["lr"].as_f64().unwrap(),
            TOLERANCE,
            &format!("{key} lr"),
        );
        close(
            got.score_test(),
            want["score"].as_f64().unwrap(),
            TOLERANCE,
            &format!("{key} score"),
        );
        // R's summary prints the Wald statistic with two decimals.
        let wald = want["wald"].as_f64().unwrap();
        assert!(
            (got.wald() - wald).abs() <= 0.005 + 1e-9,
            "{key} wald {} {wald}",
            got.wald()
        );
        let var: Vec<f64> = want["var"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(numbers)
            .collect();
        let scale = var.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert_eq!(got.variance().len(), var.len(), "{key} variance: length");
        for (g, w) in got.variance().iter().zip(&var) {
            assert!((g - w).abs() <= TOLERANCE * scale, "{key} variance {g} {w}");
        }
        match got.robust_se() {
            Some(se) => all_close(se, &numbers(&want["robust_se"]), TOLERANCE, &key),
            None => assert!(
                want.get("robust_se").is_some_and(Value::is_null),
                "{key}: R has robust errors"
            ),
        }
        let (c, se) = got
            .concordance()
            .unwrap_or_else(|| panic!("{key}: no concordance"));
        close(
            c,
            want["concordance"].as_f64().unwrap(),
            TOLERANCE,
            &format!("{key} C"),
        );
        close(
            se,
            want["concordance_se"].as_f64().unwrap(),
            TOLERANCE,
            &format!("{key} se(C)"),
        );
    }
}

/// The fits of the synthetic data with ties of the golden file.
fn synthetic() -> [(&'static str, Case); 8] {
    let weighted = |name| Case {
        weights: Some(name),
        ..SYNTH
    };
    let strata = Case {
        strata: Some("stratum"),
        ..SYNTH
    };
    let entry = Case {
        entry: Some("entry"),
        ..SYNTH
    };
    let robust = Case {
        robust: true,
        ..weighted("w")
    };
    let cluster = Case {
        cluster: Some("cl"),
        ..SYNTH
    };
    let all = Case {
        entry: Some("entry"),
        strata: Some("stratum"),
        weights: Some("w"),
        offset: Some("offset"),
        ..SYNTH
    };
    [
        ("synth", SYNTH),
        ("synth_w", weighted("w")),
        ("synth_w_robust", robust),
        ("synth_iw", weighted("iw")),
        ("synth_strata", strata),
        ("synth_entry", entry),
        ("synth_cluster", cluster),
        ("synth_entry_strata_w_offset", all),
    ]
}

#[test]
fn agrees_with_r_on_every_golden_fit() {
    let golden = json("survival/results/cox_fits.json");
    let fits = &golden["fits"];
    compare(
        "veteran",
        &Case {
            data: "veteran",
            x: &VETERAN_ALL,
            ..PLAIN
        },
        fits,
    );
    let lung = &["age", "sex", "ph_ecog", "ph_karno", "wt_loss"];
    compare(
        "lung",
        &Case {
            data: "lung",
            x: lung,
            ..PLAIN
        },
        fits,
    );
    let ovarian = Case {
        data: "ovarian",
        time: "futime",
        event: "fustat",
        x: &["age", "resid_ds", "rx", "ecog_ps"],
        ..PLAIN
    };
    compare("ovarian", &ovarian, fits);
    for (key, case) in synthetic() {
        compare(key, &case, fits);
    }
    let inst = Case {
        data: "lung",
        x: &["age", "sex", "ph_ecog"],
        strata: Some("inst"),
        ..PLAIN
    };
    compare("lung_strata_inst", &inst, fits);
    // 12 fits with both kinds of ties here; ridges and exact ties are compared in `cox_beyond`.
    let compared = fits.as_object().expect("fits").keys();
    let elsewhere = |key: &&String| key.ends_with("/exact") || key.starts_with("veteran_ridge5/");
    assert_eq!(compared.filter(|key| !elsewhere(key)).count(), 24);
}

#[test]
fn robust_score_tests_are_those_of_r() {
    let golden = json("cox/robust_score.json");
    let cases = [
        (
            "synth_w_robust",
            Case {
                weights: Some("w"),
                robust: true,
                ..SYNTH
            },
        ),
        (
            "synth_cluster",
            Case {
                cluster: Some("cl"),
                ..SYNTH
            },
        ),
        (
            "synth_everything",
            Case {
                entry: Some("entry"),
                strata: Some("stratum"),
                weights: Some("w"),
                cluster: Some("cl"),
                ..SYNTH
            },
        ),
    ];
    for (name, case) in &cases {
        for ties in [Ties::Efron, Ties::Breslow] {
            let key = format!("{name}/{}", ties.name());
            let got = fit(case, ties).robust_score_test().expect("a robust fit");
            close(
                got,
                golden[&key].as_f64().expect("a number"),
                TOLERANCE,
                &key,
            );
        }
    }
    assert!(fit(&SYNTH, Ties::Efron).robust_score_test().is_none());
}
