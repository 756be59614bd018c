//! `km` against R's `survfit` and `survdiff`.

use crate::support::{agrees, data, golden, golden_json, run, run_on};

/// Relative agreement with R.
const TOLERANCE: f64 = 1e-9;

#[test]
fn golden_curves() {
    let results = golden_json("cli/results.json");
    let (veteran, lung, synth) = (data("veteran"), data("lung"), data("synth_ties"));
    let raw = golden("cli/veteran_raw.csv");
    let mut cases = vec![
        (
            "veteran_one".to_owned(),
            format!("{veteran} --event status"),
        ),
        (
            "celltype".into(),
            format!(
                "{} --event died --by celltype --drop-missing",
                raw.display()
            ),
        ),
        (
            "lung_two".into(),
            format!("{lung} --event status --by sex,ph_ecog"),
        ),
        (
            "synth_entry".into(),
            format!("{synth} --event status --entry entry"),
        ),
        (
            "synth_weights".into(),
            format!("{synth} --event status --weights w"),
        ),
    ];
    for conf_type in ["log", "plain", "log-log"] {
        cases.push((
            format!("veteran_{conf_type}"),
            format!("{veteran} --event status --by trt --conf-type {conf_type}"),
        ));
    }
    for (key, rest) in cases {
        let got = run(&format!("km --time time --json {rest}")).json();
        agrees(&got, &results["km"][&key], TOLERANCE, &key);
    }
}

#[test]
fn the_table_has_medians_and_the_test() {
    let table = run(&format!(
        "km {} --time time --event status --by trt",
        data("veteran")
    ));
    for word in ["trt=0", "trt=1", "median", "Chisq= 0.00823 on 1 degree"] {
        assert!(table.stdout.contains(word), "{word}: {}", table.stdout);
    }
}

#[test]
fn one_group_has_a_curve_but_no_test() {
    let csv = "t,e,g\n1,1,a\n2,0,a\n3,1,a\n";
    let run = run_on(csv, "km {} --time t --event e --by g --json");
    let json = run.json();
    assert!(json["logrank"].is_null());
    assert_eq!(json["strata"][0]["name"], "g=a");
    assert!(run.stderr.contains("no log-rank test"), "{}", run.stderr);
}
