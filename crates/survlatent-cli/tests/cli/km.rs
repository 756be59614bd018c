//! `km` against R's `survfit` and `survdiff`.

use std::fmt::Write as _;

use crate::support::{agrees, data, golden, golden_json, run, run_in, run_on};

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
fn strata_are_those_of_the_test_and_the_curves_are_of_everybody() {
    let lung = data("lung");
    let plain = run(&format!(
        "km {lung} --time time --event status --by sex --json"
    ))
    .json();
    let line = format!("{lung} --time time --event status --by sex --strata ph_ecog --json");
    let stratified = run(&format!("km {line}")).json();
    assert_eq!(stratified["strata"], plain["strata"]);
    let test = run(&format!("logrank {line}")).json();
    assert_eq!(stratified["logrank"]["chisq"], test["chisq"]);
    assert_ne!(plain["logrank"]["chisq"], test["chisq"]);
}

#[test]
fn times_taken_as_tied_are_told() {
    let csv = "t,e\n1,1\n1.000000001,1\n2,1\n3,0\n";
    let run = run_on(csv, "km {} --time t --event e --json");
    assert_eq!(run.json()["strata"][0]["time"].as_array().unwrap().len(), 3);
    assert!(
        run.stderr.contains("1 row(s) have a time within rounding"),
        "{}",
        run.stderr
    );
    let plain = run_on(
        &csv.replace("000000001", ""),
        "km {} --time t --event e --json",
    );
    assert_eq!((plain.code, plain.stderr.as_str()), (Some(0), ""));
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

#[test]
fn plots_are_svg_or_png_by_extension() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |file: &str| {
        let line = format!(
            "km {} --time time --event status --by trt --plot {file}",
            data("veteran")
        );
        let run = run_in(folder.path(), &line);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        std::fs::read(folder.path().join(file)).unwrap()
    };
    let svg = String::from_utf8(draw("km.svg")).unwrap();
    assert!(svg.contains("<svg") && svg.contains("trt=1") && svg.contains("</svg>"));
    assert!(draw("km.PNG").starts_with(b"\x89PNG"));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing else"
    );
}

#[test]
fn a_failed_run_leaves_no_picture_and_keeps_an_old_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("old.svg"), "old").unwrap();
    for file in ["old.svg", "new.svg"] {
        let line = format!(
            "km {} --time time --event age --plot {file}",
            data("veteran")
        );
        run_in(folder.path(), &line).fails(1, &["`age`"]);
    }
    assert_eq!(
        std::fs::read(folder.path().join("old.svg")).unwrap(),
        b"old"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = format!(
        "km {} --time time --event status --plot no/such/a.svg",
        data("veteran")
    );
    run_in(folder.path(), &nowhere).fails(1, &["no/such"]);
    let other = format!(
        "km {} --time time --event status --plot a.pdf",
        data("veteran")
    );
    run_in(folder.path(), &other).fails(2, &[".svg or .png"]);
}

/// Twenty patients in two groups; the column `w` holds weights that are no counts, `v` twenty times these.
fn weighted() -> String {
    let mut csv = "t,e,g,w,v\n".to_owned();
    for i in 0..20 {
        let (time, event) = (1 + i * 7 % 19 + 3 * (i % 2), i32::from(i % 4 > 0));
        let weight = 0.5 + 0.25 * f64::from(i % 3);
        writeln!(csv, "{time},{event},{},{weight},{}", i % 2, 20.0 * weight).unwrap();
    }
    csv
}

#[test]
fn weights_that_are_no_counts_are_told_and_have_robust_errors() {
    let csv = weighted();
    let km = |rest: &str| run_on(&csv, &format!("km {{}} --time t --event e --json {rest}"));
    let errors = |rest: &str| -> Vec<f64> {
        let errors = km(rest).json()["strata"][0]["std_err"].clone();
        let errors = errors.as_array().unwrap().iter();
        errors.map(|v| v.as_f64().unwrap_or(0.0)).collect()
    };
    // Relative weights are what they are in any unit.
    let (robust, many) = (
        errors("--weights w --robust"),
        errors("--weights v --robust"),
    );
    assert!(robust.len() == many.len() && robust.iter().any(|&v| v > 0.0));
    for (a, b) in robust.iter().zip(&many) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
    let (one, many) = (errors("--weights w"), errors("--weights v"));
    assert!(one.len() == many.len() && one.iter().any(|&v| v > 0.0));
    let mut both = robust.iter().zip(&one);
    assert!(both.any(|(a, b)| (a - b).abs() > 1e-6), "{robust:?}");
    for (a, b) in one.iter().zip(&many) {
        assert!((a - b * 20f64.sqrt()).abs() < 1e-9, "{a} {b}");
    }
    let told = km("--weights w --by g");
    assert_eq!(told.code, Some(0));
    for words in [
        "standard errors take weights as numbers of patients",
        "give --robust",
        "log-rank tests",
    ] {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    let robust = km("--weights w --by g --robust").stderr;
    assert!(
        !robust.contains("standard errors") && robust.contains("log-rank tests"),
        "{robust}"
    );
    let line = "logrank {} --time t --event e --by g --json --weights";
    let told = run_on(&csv, &format!("{line} w"));
    assert!(told.stderr.contains("numbers of patients") && told.stderr.contains("cox --robust"));
    // Counts say nothing.
    let counted = run_on(&csv, &format!("{line} v"));
    assert_eq!((counted.code, counted.stderr.as_str()), (Some(0), ""));
}
