//! `cox` against R's `coxph`.

use crate::support::{agrees, data, golden, golden_json, run};

/// Relative agreement with R at eps = 1e-12.
const TOLERANCE: f64 = 1e-8;

#[track_caller]
fn fits_as_r(key: &str, line: &str) {
    let want = &golden_json("survival/results/cox_fits.json")["fits"][key];
    let got = run(line).json();
    let exact = [
        "n",
        "nevent",
        "names",
        "coef",
        "se",
        "robust_se",
        "loglik0",
        "loglik",
        "lr",
        "score",
        "concordance",
        "concordance_se",
    ];
    for name in exact {
        agrees(&got[name], &want[name], TOLERANCE, &format!("{key}.{name}"));
    }
    // R's summary prints the Wald statistic with two decimals.
    let wald = (&got["wald"], &want["wald"]);
    let (got_wald, want_wald) = (wald.0.as_f64().unwrap(), wald.1.as_f64().unwrap());
    assert!((got_wald - want_wald).abs() < 0.005_001, "{key}: {wald:?}");
    assert_eq!(got["ties"], want["method"], "{key}");
    assert_eq!(got["dropped_rows"], 0);
}

#[test]
fn golden_fits() {
    let (veteran, lung, synth) = (data("veteran"), data("lung"), data("synth_ties"));
    let x = "--features x1,x2,x3,x4,x5";
    for ties in ["efron", "breslow"] {
        let fit = |key: &str, rest: String| {
            let line = format!("cox --time time --event status --ties {ties} --json {rest}");
            fits_as_r(&format!("{key}/{ties}"), &line);
        };
        fit("veteran", veteran.clone());
        let five = "age,sex,ph_ecog,ph_karno,wt_loss";
        fit("lung", format!("{lung} --features {five}"));
        let three = "age,sex,ph_ecog";
        fit(
            "lung_strata_inst",
            format!("{lung} --features {three} --strata inst"),
        );
        fit("synth", format!("{synth} {x}"));
        fit("synth_w", format!("{synth} {x} --weights w"));
        fit(
            "synth_w_robust",
            format!("{synth} {x} --weights w --robust"),
        );
        fit("synth_iw", format!("{synth} {x} --weights iw"));
        fit("synth_strata", format!("{synth} {x} --strata stratum"));
        fit("synth_entry", format!("{synth} {x} --entry entry"));
        fit("synth_cluster", format!("{synth} {x} --cluster cl"));
    }
}

#[test]
fn every_number_of_the_contract() {
    let results = golden_json("cli/results.json");
    let raw = golden("cli/veteran_raw.csv");
    let raw = raw.to_str().unwrap();
    let (veteran, synth) = (data("veteran"), data("synth_ties"));
    let mut cases = vec![
        (
            "categorical".to_owned(),
            format!("{raw} --time time --event died --features celltype,karno --drop-missing"),
        ),
        (
            "numeric_categorical".into(),
            format!("{raw} --time time --event died --features trt,age --categorical trt"),
        ),
        (
            "level".into(),
            format!("{veteran} --time time --event status --features karno,age --level 0.9"),
        ),
        (
            "robust".into(),
            format!("{synth} --time time --event status --features x1,x2 --weights w --robust"),
        ),
    ];
    for ties in ["efron", "breslow"] {
        cases.push((
            format!("everything_{ties}"),
            format!("{synth} --time time --event status --entry entry --strata stratum --weights w --cluster cl --features x1,x2,x3 --ties {ties}"),
        ));
        cases.push((
            format!("two_strata_{ties}"),
            format!("{synth} --time time --event status --strata stratum,iw --features x1,x2 --ties {ties}"),
        ));
    }
    for (key, line) in cases {
        let got = run(&format!("cox --json {line}")).json();
        agrees(&got, &results["cox"][&key], TOLERANCE, &key);
    }
}

#[test]
fn the_table_is_r_s() {
    let table = run(&format!(
        "cox {} --time time --event status --features karno,prior",
        data("veteran")
    ));
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    for word in [
        "Cox proportional hazards model, Efron ties",
        "n = 137, number of events = 128",
        "exp(coef)",
        "Likelihood ratio test",
        "Concordance (in-sample)",
    ] {
        assert!(table.stdout.contains(word), "{word}: {}", table.stdout);
    }
}

#[test]
fn dropped_rows_and_text_columns_are_mentioned() {
    let raw = golden("cli/veteran_raw.csv");
    let run = run(&format!(
        "cox {} --time time --event died --drop-missing --json",
        raw.display()
    ));
    let json = run.json();
    assert_eq!(
        json["dropped_rows"], 2,
        "only `karno` is used and misses two"
    );
    assert_eq!(json["names"], serde_json::json!(["trt", "karno", "age"]));
    assert!(
        run.stderr
            .contains("2 row(s) with missing values dropped (`karno`: 2)")
    );
    assert!(run.stderr.contains("`patient`, `celltype`"));
}
