//! The keys other programs rely on, and how the program behaves in a pipe.

use std::fmt::Write as _;
use std::io::Read as _;
use std::process::Stdio;

use survlatent::cox_survival::CoxPh;
use survlatent::{Roles, Table};

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

/// Keys of the object under `key`.
#[track_caller]
fn nested(line: &str, key: &str, wanted: &[&str]) {
    let json = run(line).json();
    for name in wanted {
        assert!(json[key].get(name).is_some(), "{line}: {key}.{name}");
    }
}

/// Diagnostics, exact ties, groups and refits.
#[test]
fn every_key_of_the_later_flags_of_cox_is_there() {
    let veteran = format!("{} --time time --event status --json", data("veteran"));
    let features = "--features trt,age,karno";
    for transform in ["km", "rank", "identity", "log"] {
        let line = format!("cox {veteran} {features} --zph {transform}");
        nested(&line, "zph", &["transform", "rows", "chisq", "df", "p"]);
    }
    let residuals = [
        "martingale",
        "deviance",
        "score",
        "dfbeta",
        "schoenfeld",
        "scaledsch",
    ];
    let line = format!(
        "cox {veteran} {features} --residuals {}",
        residuals.join(",")
    );
    nested(
        &line,
        "residuals",
        &[&residuals[..], &["time", "row"]].concat(),
    );
    let baseline = ["time", "hazard", "strata"];
    nested(
        &format!("cox {veteran} {features} --baseline"),
        "baseline",
        &baseline,
    );
    let exact = run(&format!(
        "cox {veteran} {features} --ties exact --offset prior"
    ))
    .json();
    assert_eq!(exact["ties"], "exact");
    let groups = format!("cox {veteran} --path --nlambda 5 {features} --group a,b,b");
    keys(&groups, &["group", "active_groups", "beta"]);
    let relaxed = format!("cox {veteran} --path --nlambda 8 {features} --relax --cv 4 --baseline");
    keys(
        &relaxed,
        &["cvm", "cvsd", "lambda_min", "lambda_1se", "foldid"],
    );
    let own = [
        "dev_ratio",
        "beta",
        "gamma",
        "cvm",
        "cvsd",
        "lambda_min",
        "gamma_min",
        "lambda_1se",
        "gamma_1se",
        "foldid",
    ];
    nested(&relaxed, "relaxed", &own);
    nested(
        &relaxed,
        "baseline",
        &[&baseline[..], &["lambda", "gamma"]].concat(),
    );
}

/// Tests, metrics and networks.
#[test]
fn every_key_of_the_later_verbs_is_there() {
    let table = data("veteran");
    let veteran = format!("{table} --time time --event status --json");
    keys(
        &format!("logrank {veteran} --by trt --strata prior --rho 1"),
        &[
            "chisq", "df", "p", "rho", "groups", "n", "observed", "expected", "variance", "strata",
        ],
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("survival.csv");
    let rows = std::fs::read_to_string(&table).unwrap().lines().count() - 1;
    let mut curves = String::from("a,b\n");
    for i in 0..rows {
        writeln!(curves, "0.{},0.{}", 60 + i % 30, 20 + i % 30).unwrap();
    }
    std::fs::write(&file, curves).unwrap();
    let metrics = format!(
        "metrics {veteran} --score age --train {table} --survival {} --times 50,200",
        file.display()
    );
    let all = [
        "harrell",
        "harrell_std_error",
        "uno",
        "uno_std_error",
        "auc",
        "brier",
        "ibs",
        "d_calibration",
        "dropped_rows",
    ];
    keys(&metrics, &all);
    nested(&metrics, "auc", &["times", "auc", "mean"]);
    nested(&metrics, "brier", &["times", "brier"]);
    nested(
        &metrics,
        "d_calibration",
        &["statistic", "df", "p", "counts", "expected"],
    );
    #[cfg(feature = "deep")]
    {
        let features = "--features trt,age,karno";
        let line = format!("deepsurv {veteran} {features} --hidden 4 --epochs 2 --cv 2");
        let all = [
            "names",
            "hidden",
            "n",
            "nevent",
            "ties",
            "epochs",
            "epoch",
            "loss",
            "validation_loss",
            "concordance_in_sample",
            "cv",
            "dropped_rows",
        ];
        keys(&line, &all);
        nested(&line, "cv", &["foldid", "log_risk", "concordance", "mean"]);
    }
}

/// Tables alone, for a manuscript.
#[test]
fn tables_stand_alone_in_every_form() {
    let table = data("veteran");
    let on = |verb: &str, rest: &str| {
        let run = run(&format!("{verb} {table} --time time --event status {rest}"));
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run.stdout
    };
    let csv = |verb: &str, rest: &str| on(verb, &format!("{rest} --format csv"));
    let first = |text: &str| text.lines().next().unwrap().to_owned();
    assert_eq!(
        first(&csv("cox", "--features trt,age --style lifelines")),
        "covariate,coef,exp(coef),se(coef),coef lower 95%,coef upper 95%,exp(coef) lower 95%,\
         exp(coef) upper 95%,cmp to,z,p,-log2(p)"
    );
    let text = on("cox", "--features trt,age --style lifelines");
    assert!(
        text.contains("Partial AIC = ") && text.contains("-log2(p) of ll-ratio"),
        "{text}"
    );
    let path = csv("cox", "--features trt,age --path --nlambda 30");
    assert_eq!(path.lines().count(), 31, "every lambda");
    let chosen = csv("cox", "--features trt,age --path --cv 4");
    assert!(
        chosen.starts_with(",lambda,measure,se,nonzero\nmin,"),
        "{chosen}"
    );
    assert!(on("logrank", "--by trt --format latex").starts_with("\\begin{tabular}"));
    assert!(on("km", "--by trt --format markdown").starts_with("|  | n | events |"));
    let both = csv("concordance", "--score age --uno");
    assert_eq!(both.lines().count(), 3);
    assert!(
        both.contains("\nHarrell,137,") && both.contains("\nUno,137,"),
        "{both}"
    );
    let metrics = csv("metrics", "--score age --times 50,200");
    let want = [
        "Harrell,,",
        "Uno,,",
        "AUC,50,",
        "AUC,200,",
        "\"AUC, mean\",,",
    ];
    let found: Vec<&str> = metrics.lines().skip(1).collect();
    assert!(
        found.len() == want.len()
            && found
                .iter()
                .zip(want)
                .all(|(line, want)| line.starts_with(want)),
        "{metrics}"
    );
    run(&format!(
        "cox {table} --time time --event status --format csv --json"
    ))
    .fails(2, &["cannot be used with"]);
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
    // And they are those of the fit itself.
    let table = Table::read(data("veteran")).unwrap();
    let roles = Roles::new("time", "status").features(["karno"]);
    let cohort = roles.cohort(&table).unwrap();
    let fit = CoxPh::new().fit(cohort.surv(), &cohort.covariates().unwrap());
    let written = json["coef"][0].as_f64().unwrap();
    assert_eq!(written.to_bits(), fit.unwrap().coef()[0].to_bits());
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
