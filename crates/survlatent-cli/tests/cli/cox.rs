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
    cases.push((
        "frequencies".into(),
        format!("{synth} --time time --event status --features x1,x2 --frequencies iw --robust"),
    ));
    cases.push((
        "formula".into(),
        format!("{} --time time --event status --formula rcs(age,4)+factor(sex)*log(ph_karno)+strata(ph_ecog)+cluster(inst)", data("lung")),
    ));
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

/// `coxph` of R's survival 3.5.3 on veteran, `trt` and `prior` behind `factor()`; what it shows as NA is left
/// out.
#[test]
fn products_without_their_margins_are_those_of_r() {
    let cases: [(&str, &str, &[f64], f64); 5] = [
        (
            "factor(trt):age",
            "trt0:age trt1:age",
            &[0.007_452_465_907_05, 0.007_511_795_011_71],
            -505.136_159_558,
        ),
        (
            "factor(trt)*age-age",
            "trt1 trt0:age trt1:age",
            &[
                -0.311_394_221_267,
                0.005_700_613_342_15,
                0.010_906_045_628_3,
            ],
            -505.102_761_546,
        ),
        (
            "age*karno:trt",
            "age karno:trt age:karno:trt",
            &[
                0.008_221_788_619_87,
                -0.011_024_919_520_3,
                9.420_697_727_83e-5,
            ],
            -502.799_557_875,
        ),
        (
            "factor(trt):age+age:karno+factor(trt):karno",
            "trt0:age trt1:age age:karno trt1:karno",
            &[
                0.015_089_826_116_5,
                0.027_650_816_193_5,
                -0.000_400_501_780_607,
                -0.010_443_807_606_8,
            ],
            -485.666_456_289,
        ),
        (
            "age*factor(trt):factor(prior)",
            "age trt0:prior0 trt1:prior0 trt0:prior1 age:trt0:prior0 age:trt1:prior0 age:trt0:prior1",
            &[
                0.015_280_289_716,
                0.732_119_311_395,
                1.515_902_924_49,
                1.461_064_737_53,
                -0.007_890_387_402_2,
                -0.017_838_998_560_8,
                -0.017_418_211_038_6,
            ],
            -503.451_068_954,
        ),
    ];
    for (formula, names, coef, loglik) in cases {
        let line = format!(
            "cox {} --time time --event status --json --formula {formula}",
            data("veteran")
        );
        let got = run(&line).json();
        let names: Vec<&str> = names.split(' ').collect();
        agrees(&got["names"], &serde_json::json!(names), 0.0, formula);
        agrees(&got["coef"], &serde_json::json!(coef), 1e-6, formula);
        agrees(&got["loglik"], &serde_json::json!(loglik), 1e-10, formula);
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

/// R's residuals and tests of proportionality on the same flags.
#[test]
fn diagnostics_are_r_s() {
    let golden = golden_json("cox/results.json");
    let (veteran, synth) = (data("veteran"), data("synth_ties"));
    let all = "martingale,deviance,score,dfbeta,schoenfeld,scaledsch";
    let flat = |rows: &serde_json::Value| {
        let rows = rows.as_array().unwrap().iter();
        serde_json::Value::Array(rows.flat_map(|r| r.as_array().unwrap().clone()).collect())
    };
    for ties in ["efron", "breslow"] {
        for (key, line) in [
            (
                "veteran",
                format!("{veteran} --features trt,karno,age,prior"),
            ),
            (
                "full",
                format!(
                    "{synth} --features x1,x2,x3 --entry entry --strata stratum --weights w --offset offset"
                ),
            ),
        ] {
            let key = format!("{key}/{ties}");
            let want = &golden["fits"][&key];
            let base = format!("cox --time time --event status --ties {ties} --json {line}");
            for transform in ["km", "rank", "identity", "log"] {
                let got = run(&format!("{base} --zph {transform}")).json();
                for name in ["rows", "chisq", "df"] {
                    let found = &got["zph"][name];
                    agrees(
                        found,
                        &want["zph"][transform][name],
                        1e-7,
                        &format!("{key} {name}"),
                    );
                }
            }
            let got = run(&format!("{base} --residuals {all} --zph")).json();
            assert_eq!(got["zph"]["transform"], "km");
            let residuals = &got["residuals"];
            agrees(
                &residuals["martingale"],
                &want["martingale"],
                1e-7,
                "martingale",
            );
            agrees(&residuals["deviance"], &want["deviance"], 1e-7, "deviance");
            agrees(&residuals["time"], &want["schoenfeld_time"], 1e-12, "time");
            agrees(
                &flat(&residuals["schoenfeld"]),
                &want["schoenfeld"],
                1e-6,
                "schoenfeld",
            );
            agrees(
                &flat(&residuals["scaledsch"]),
                &want["scaledsch"],
                1e-5,
                "scaledsch",
            );
            agrees(&flat(&residuals["dfbeta"]), &want["dfbeta"], 1e-5, "dfbeta");
            agrees(
                &flat(&residuals["score"]),
                &want["score_residual"],
                1e-5,
                "score",
            );
        }
        let got = run(&format!(
            "cox {veteran} --time time --event status --features trt,karno,age,prior --ties {ties} --baseline --json"
        ))
        .json();
        let want = &golden["basehaz"][format!("veteran/{ties}")];
        agrees(
            &got["baseline"]["time"],
            &want["time"],
            1e-12,
            "baseline time",
        );
        agrees(
            &got["baseline"]["hazard"],
            &want["hazard"],
            TOLERANCE,
            "baseline hazard",
        );
        let got = run(&format!(
            "cox {synth} --time time --event status --features x1,x2,x3 --entry entry --strata stratum --weights w --ties {ties} --baseline --json"
        ))
        .json();
        let want = &golden["basehaz"][format!("full/{ties}")];
        agrees(
            &got["baseline"]["hazard"],
            &want["hazard"],
            TOLERANCE,
            "baseline hazard",
        );
        assert_eq!(
            got["baseline"]["strata"].as_array().unwrap().len(),
            want["time"].as_array().unwrap().len()
        );
    }
}

#[test]
fn exact_ties_are_r_s() {
    let want = &golden_json("cox/results.json")["fits"]["exact/plain"];
    let line = format!(
        "cox {} --time time --event status --features x1,x2,x3,x4,x5 --ties exact --json --zph log",
        data("synth_ties")
    );
    let got = run(&line).json();
    for name in ["coef", "se", "loglik0", "loglik", "score"] {
        agrees(&got[name], &want[name], TOLERANCE, name);
    }
    agrees(
        &got["zph"]["chisq"],
        &want["zph"]["log"]["chisq"],
        1e-7,
        "zph",
    );
    assert_eq!(got["ties"], "exact");
}

#[test]
fn diagnostics_as_text_and_what_is_refused() {
    let veteran = data("veteran");
    let base = format!("cox {veteran} --time time --event status --features karno,prior");
    let table = run(&format!(
        "{base} --zph --residuals deviance,scaledsch --baseline"
    ));
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    for word in [
        "GLOBAL",
        "row,deviance",
        "time,scaledsch:karno,scaledsch:prior",
        "strata,time,hazard",
    ] {
        assert!(table.stdout.contains(word), "{word}: {}", table.stdout);
    }
    for flags in ["--zph km", "--residuals score", "--baseline"] {
        run(&format!("{base} --path {flags}")).fails(2, &["--path"]);
    }
    run(&format!("{base} --path --ties exact")).fails(2, &["--ties exact"]);
    run(&format!("{base} --zph week")).fails(2, &["week"]);
    run(&format!("{base} --residuals cox")).fails(2, &["cox"]);
    run(&format!("{base} --ties exact --weights age")).fails(2, &["exact"]);
    run(&format!("{base} --ties exact --robust")).fails(2, &["exact"]);
    run(&format!("{base} --offset agee")).fails(1, &["did you mean `age`"]);
}
