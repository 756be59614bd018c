//! The keys other programs rely on, and how the program behaves in a pipe.

use std::io::Read as _;
use std::process::Stdio;

use crate::support::{data, program, run};

#[track_caller]
fn keys(line: &str, wanted: &[&str]) {
    let json = run(line).json();
    let object = json.as_object().unwrap();
    for key in wanted {
        assert!(object.contains_key(*key), "{line}: {key}");
    }
}

#[test]
fn every_key_of_the_contract_is_there() {
    let veteran = format!("{} --time time --event status --json", data("veteran"));
    keys(
        &format!("cox {veteran}"),
        &[
            "n",
            "nevent",
            "names",
            "coef",
            "exp_coef",
            "se",
            "robust_se",
            "z",
            "p",
            "lower",
            "upper",
            "loglik0",
            "loglik",
            "lr",
            "wald",
            "score",
            "concordance",
            "concordance_se",
            "iter",
            "ties",
            "dropped_rows",
        ],
    );
    let path = [
        "names",
        "alpha",
        "lambda",
        "df",
        "dev_ratio",
        "nulldev",
        "beta",
    ];
    keys(&format!("cox {veteran} --path"), &path);
    let cv = ["cvm", "cvsd", "lambda_min", "lambda_1se", "foldid"];
    keys(
        &format!("cox {veteran} --path --cv 5"),
        &[&path[..], &cv].concat(),
    );
    let concordance = [
        "concordance",
        "std_error",
        "concordant",
        "discordant",
        "tied_score",
        "tied_time",
        "tied_both",
        "n",
    ];
    keys(&format!("concordance {veteran} --score age"), &concordance);
    keys(
        &format!("concordance {veteran} --score age --uno"),
        &[&concordance[..], &["uno", "uno_std_error"]].concat(),
    );
    keys(&format!("km {veteran} --by trt"), &["strata", "logrank"]);
    let json = run(&format!("km {veteran} --by trt")).json();
    for key in [
        "name",
        "time",
        "n_risk",
        "n_event",
        "n_censor",
        "surv",
        "std_err",
        "lower",
        "upper",
        "median",
        "median_lower",
        "median_upper",
    ] {
        assert!(json["strata"][0].get(key).is_some(), "{key}");
    }
    for key in ["chisq", "df", "p"] {
        assert!(json["logrank"].get(key).is_some(), "{key}");
    }
    assert!(run(&format!("cox {veteran}")).json()["robust_se"].is_null());
}

#[test]
fn numbers_come_back_to_the_last_bit() {
    let line = format!(
        "cox {} --time time --event status --features karno --json",
        data("veteran")
    );
    let text = run(&line).stdout;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&json["coef"]).unwrap(), {
        let start = text.find("\"coef\":").unwrap() + 7;
        text[start..=start + text[start..].find(']').unwrap()].to_owned()
    });
    assert!(text.ends_with("}\n") && text.lines().count() == 1);
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let line = format!("km {} --time time --event status --json", data("veteran"));
    let mut child = program()
        .args(line.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}
