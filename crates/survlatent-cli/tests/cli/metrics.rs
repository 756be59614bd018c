//! `metrics` against scikit-survival.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::support::{agrees, golden_json, run_in};

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

/// Writes the training and test tables and the predictions of a golden case into `folder`.
fn write(folder: &Path, case: &Value) -> String {
    let rows = |key: &str| -> Vec<usize> {
        case[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap() as usize)
            .collect()
    };
    let mut tables = vec![];
    for key in ["train", "test"] {
        let mut csv = "days,died,risk\n".to_owned();
        for i in rows(key) {
            let died = i32::from(case["event"][i] == true);
            writeln!(csv, "{},{died},{}", case["time"][i], case["score"][i]).unwrap();
        }
        tables.push(csv);
    }
    std::fs::write(folder.join("train.csv"), &tables[0]).unwrap();
    std::fs::write(folder.join("test.csv"), &tables[1]).unwrap();
    let times = numbers(&case["times"]);
    let name = |k: usize| format!("s{k}");
    let header: Vec<String> = (0..times.len()).map(name).collect();
    let mut csv = header.join(",") + "\n";
    for i in rows("test") {
        let row: Vec<String> = numbers(&case["surv"][i])
            .iter()
            .map(f64::to_string)
            .collect();
        csv += &(row.join(",") + "\n");
    }
    std::fs::write(folder.join("survival.csv"), csv).unwrap();
    let text: Vec<String> = times.iter().map(f64::to_string).collect();
    text.join(",")
}

#[test]
fn golden_metrics() {
    let golden = golden_json("metrics/metrics.json");
    for (name, case) in golden["cases"].as_object().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let times = write(folder.path(), case);
        for (key, train) in [("with_train", "--train train.csv"), ("with_own", "")] {
            let line = format!(
                "metrics test.csv --time days --event died --score risk --survival survival.csv \
                 --times {times} {train} --tau {} --json",
                numbers(&case["times"])[4]
            );
            let got = run_in(folder.path(), &line).json();
            let want = &case[key];
            agrees(
                &got["auc"]["auc"],
                &want["auc"],
                1e-9,
                &format!("{name} {key} auc"),
            );
            agrees(
                &got["auc"]["mean"],
                &want["mean"],
                1e-9,
                &format!("{name} {key} mean"),
            );
            agrees(
                &got["brier"]["brier"],
                &want["brier"],
                1e-9,
                &format!("{name} {key} brier"),
            );
            agrees(
                &got["ibs"],
                &want["ibs"],
                1e-9,
                &format!("{name} {key} ibs"),
            );
            assert_eq!(numbers(&got["brier"]["times"]), numbers(&case["times"]));
            assert!(got["harrell"].as_f64().unwrap() > 0.5 && got["uno"].as_f64().unwrap() > 0.5);
            let d = &got["d_calibration"];
            let counts: f64 = numbers(&d["counts"]).iter().sum();
            assert!((counts - case["test"].as_array().unwrap().len() as f64).abs() < 1e-9);
            assert!((0.0..=1.0).contains(&d["p"].as_f64().unwrap()));
        }
    }
}

#[test]
fn uno_is_that_of_scikit_survival() {
    let golden = golden_json("uno/uno.json");
    for (name, case) in golden["cases"].as_object().unwrap() {
        let mut case = case.clone();
        case["times"] = serde_json::json!([1.0]);
        let n = case["time"].as_array().unwrap().len();
        case["surv"] = serde_json::json!(vec![[0.5]; n]);
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &case);
        let line = format!(
            "metrics test.csv --time days --event died --score risk --train train.csv --tau {} --json",
            case["tau"]
        );
        let got = run_in(folder.path(), &line).json();
        agrees(&got["uno"], &case["uno_tau"], 1e-9, name);
        assert!(got["brier"].is_null() && got["ibs"].is_null() && got["d_calibration"].is_null());
        assert!(got["auc"]["times"].as_array().unwrap().len() > 3);
    }
}

#[test]
fn the_table_and_the_faults() {
    let golden = golden_json("metrics/metrics.json");
    let folder = tempfile::tempdir().unwrap();
    let times = write(folder.path(), &golden["cases"]["veteran"]);
    let run = |rest: &str| {
        let line = format!("metrics test.csv --time days --event died --score risk {rest}");
        run_in(folder.path(), &line)
    };
    let table = run(&format!("--survival survival.csv --times {times}"));
    for word in ["Harrell:", "Uno:", "AUC", "Brier score", "D-calibration"] {
        assert!(table.stdout.contains(word), "{word}: {}", table.stdout);
    }
    run("--survival survival.csv").fails(2, &["--times"]);
    run("--survival survival.csv --times 10,20").fails(2, &["2 values", "6 columns"]);
    run("--times 1,99999").fails(1, &["times, value 2", "follow-up"]);
    run("--times 20,10").fails(1, &["times, value 2"]);
    std::fs::write(folder.path().join("bad.csv"), "a\n0.5\n1.5\n").unwrap();
    let two = "days,died,risk\n1,1,2\n5,0,1\n";
    std::fs::write(folder.path().join("test.csv"), two).unwrap();
    run("--survival bad.csv --times 2").fails(1, &["row 2, column 1", "1.5"]);
    std::fs::write(folder.path().join("bad.csv"), "a\n0.5\n").unwrap();
    run("--survival bad.csv --times 2")
        .fails(1, &["bad.csv: 1 rows of predictions", "the table has 2"]);
}

#[test]
fn a_row_without_a_censoring_weight_is_that_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file(
        "test.csv",
        "days,died,risk\n1,1,\n2,1,5\n3,1,4\n4,0,3\n6,1,2\n8,0,1\n",
    );
    file("train.csv", "days,died\n1,1\n2,0\n3,1\n5,1\n");
    let run = |rest: &str| {
        let line = "metrics test.csv --time days --event died --score risk --drop-missing --train train.csv";
        run_in(folder.path(), &format!("{line} {rest}"))
    };
    let place = "row 5 (line 6): no censoring weight at time 6";
    run("--times 2.5,7").fails(1, &[place]);
    let line = "metrics test.csv --time days --event died --score risk --drop-missing --train";
    file("other.csv", "day,died\n1,1\n2,0\n");
    run_in(folder.path(), &format!("{line} other.csv")).fails(1, &["other.csv: ", "`days`"]);
    file("other.csv", "days,died\n1,1\n-2,0\n");
    run_in(folder.path(), &format!("{line} other.csv"))
        .fails(1, &["other.csv: ", "row 2 (line 3)"]);
    file("survival.csv", "a,b\n1,1\n1,1\n1,1\n1,1\n1,1\n1,1\n");
    run("--times 2.5,7 --survival survival.csv").fails(1, &[place]);
    let whole = run("--tau 5 --json").json();
    assert!(whole["uno"].as_f64().unwrap() > 0.99);
    run("--tau 6").fails(1, &[place]);
    // Nobody asked for the decile that the training patients do not reach.
    let run = run("--json");
    let json = run.json();
    assert_eq!(numbers(&json["auc"]["times"]), [2.0, 3.0]);
    assert!(json["harrell"].as_f64().unwrap() > 0.99);
    assert!(json["uno"].is_null() && json["uno_std_error"].is_null());
    for words in [
        "from time 6 on",
        "no Uno's concordance: row 5 (line 6)",
        place,
    ] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
}

#[test]
fn without_a_time_that_can_be_judged_there_is_no_auc() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("last.csv", "days,died,risk\n5,1,3\n5,1,2\n5,0,1\n3,0,1\n");
    let line = "metrics last.csv --time days --event died --score risk --left-limit";
    let run = run_in(folder.path(), &format!("{line} --json"));
    let json = run.json();
    assert!(json["auc"].is_null() && json["harrell"].as_f64().unwrap() > 0.99);
    assert!(
        run.stderr.contains("no AUC: every event is at the end"),
        "{}",
        run.stderr
    );
    let table = run_in(folder.path(), line);
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    assert!(table.stdout.contains("Harrell:") && !table.stdout.contains("AUC"));
    // Nor where the training patients were all gone before the first event.
    file("test.csv", "days,died,risk\n5,1,3\n6,1,2\n7,0,1\n");
    file("train.csv", "days,died\n1,0\n2,1\n");
    let line = "metrics test.csv --time days --event died --score risk --train train.csv --json";
    let run = run_in(folder.path(), line);
    assert!(run.json()["auc"].is_null());
    for words in ["no AUC: row 1 (line 2)", "do not reach that far"] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
}
