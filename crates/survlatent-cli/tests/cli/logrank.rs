//! `logrank` against R's `survdiff`.

use std::fmt::Write as _;

use crate::support::{data, golden_json, run, run_on};

#[test]
fn golden_tests() {
    let golden = golden_json("curves/curves.json");
    let mut compared = 0;
    for name in ["veteran", "ties", "lonely_group"] {
        let case = &golden["cases"][name];
        let column = |key: &str| case["data"][key].as_array().cloned();
        let (time, status) = (column("time").unwrap(), column("status").unwrap());
        let group = column("group").unwrap();
        let strata = column("strata").unwrap_or_else(|| group.clone());
        let mut csv = "t,e,g,s\n".to_owned();
        for i in 0..time.len() {
            let text = |v: &serde_json::Value| v.as_str().map(|s| format!("level {s}")).unwrap();
            let (g, s) = (text(&group[i]), text(&strata[i]));
            writeln!(csv, "{},{},{g},{s}", time[i], status[i]).unwrap();
        }
        for want in case["logrank"].as_array().unwrap() {
            if want.get("singular").is_some() {
                continue;
            }
            let strata = if want["stratified"] == true {
                "--strata s"
            } else {
                ""
            };
            let line = format!(
                "logrank {{}} --time t --event e --by g --rho {} {strata} --json",
                want["rho"]
            );
            let got = run_on(&csv, &line).json();
            for key in ["chisq", "p"] {
                let (a, b) = (got[key].as_f64().unwrap(), want[key].as_f64().unwrap());
                assert!(
                    (a - b).abs() <= 1e-9 * b.abs().max(1e-3),
                    "{name} {key}: {a} {b}"
                );
            }
            assert_eq!(got["df"], want["df"], "{name}");
            for key in ["observed", "expected"] {
                let (got, want) = (got[key].as_array().unwrap(), want[key].as_array().unwrap());
                assert_eq!(got.len(), want.len(), "{name} {key}");
                for (a, b) in got.iter().zip(want) {
                    let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
                    assert!((a - b).abs() <= 1e-9 * b, "{name} {key}: {a} {b}");
                }
            }
            compared += 1;
        }
    }
    assert!(compared >= 12, "{compared}");
}

#[test]
fn the_table_and_the_faults() {
    let lung = data("lung");
    let table = run(&format!(
        "logrank {lung} --time time --event status --by sex"
    ));
    assert!(
        table.stdout.contains("Chisq= 9.46 on 1 degree"),
        "{}",
        table.stdout
    );
    assert!(table.stdout.contains("sex=1"), "{}", table.stdout);
    run(&format!("logrank {lung} --time time --event status")).fails(2, &["--by"]);
    run(&format!(
        "logrank {lung} --time time --event status --by sex --rho x"
    ))
    .fails(2, &["--rho"]);
    let one = "t,e,g\n1,1,a\n2,1,a\n";
    run_on(one, "logrank {} --time t --event e --by g").fails(1, &["1 group"]);
}
