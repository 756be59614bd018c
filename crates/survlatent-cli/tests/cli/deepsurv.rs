//! `deepsurv`: with the feature `deep` it trains, without it it says so.

#[cfg(feature = "deep")]
use std::fmt::Write as _;

use crate::support::run_on;

/// Forty patients whose risk falls and rises again with `x`.
#[cfg(feature = "deep")]
fn cohort() -> String {
    let mut csv = "t,e,x,z\n".to_owned();
    for i in 0..60 {
        let x = f64::from(i * 17 % 60) / 15.0 - 2.0;
        let noise = f64::from(i * 29 % 31) / 31.0;
        let time = (2.0 - x * x + noise).exp();
        writeln!(csv, "{time},{},{x},{noise}", i % 5 > 0).unwrap();
    }
    csv
}

#[cfg(feature = "deep")]
#[test]
fn a_network_is_trained_judged_and_saved() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("network.safetensors");
    let line = "deepsurv {} --time t --event e --hidden 16 --activation relu --lr 0.02 \
                --epochs 150 --cv 3 --seed 2 --json";
    let line = format!("{line} --save {}", file.display());
    let json = run_on(&cohort(), &line).json();
    assert_eq!(
        (json["n"].as_u64(), json["epochs"].as_u64()),
        (Some(60), Some(150))
    );
    assert_eq!(json["loss"].as_array().unwrap().len(), 150);
    assert_eq!(json["cv"]["log_risk"].as_array().unwrap().len(), 60);
    assert!(json["validation_loss"].is_null());
    assert!(
        json["cv"]["mean"].as_f64().unwrap() > 0.75,
        "{}",
        json["cv"]["mean"]
    );
    let fit = survlatent::cox_survival::deep::DeepSurvFit::load(&file).unwrap();
    assert_eq!(fit.names(), ["x", "z"]);
    // A line cannot follow it, and early stopping is told.
    let line = "deepsurv {} --time t --event e --hidden 0 --lr 0.05 --early-stopping 0.25 --json";
    let json = run_on(&cohort(), line).json();
    assert!(json["concordance_in_sample"].as_f64().unwrap() < 0.65);
    let held = json["validation_loss"].as_array().unwrap();
    assert_eq!(held.len(), json["epochs"].as_u64().unwrap() as usize);
}

#[cfg(feature = "deep")]
#[test]
fn a_training_goes_on_from_its_state() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.safetensors");
    let line = "deepsurv {} --time t --event e --hidden 4 --dropout 0.2 --json --epochs";
    let whole = run_on(&cohort(), &format!("{line} 25")).json();
    let kept = format!("--state {}", state.display());
    let part = run_on(&cohort(), &format!("{line} 15 {kept}")).json();
    assert_eq!(part["loss"].as_array().unwrap().len(), 15);
    let rest = run_on(&cohort(), &format!("{line} 25 {kept}")).json();
    assert_eq!(rest, whole);
    let other = format!("{line} 25 {kept} --lr 0.1");
    run_on(&cohort(), &other).fails(1, &["state.safetensors", "other settings"]);
}

#[cfg(feature = "deep")]
#[test]
fn a_formula_counts_in_full() {
    // Three rows to a patient.
    let mut csv = String::new();
    for (row, line) in cohort().lines().enumerate() {
        let id = if row == 0 {
            "id".to_owned()
        } else {
            ((row - 1) / 3).to_string()
        };
        writeln!(csv, "{line},{id}").unwrap();
    }
    let line = "deepsurv {} --time t --event e --hidden 0 --epochs 3 --device cpu --json";
    let written = format!("{line} --formula x+z+cluster(id) --cv 4");
    let json = run_on(&csv, &written).json();
    let flagged = format!("{line} --features x,z --cluster id --cv 4");
    assert_eq!(json, run_on(&csv, &flagged).json());
    assert_eq!(json["hidden"], serde_json::json!([]));
    let fold = json["cv"]["foldid"].as_array().unwrap();
    assert!(fold.chunks(3).all(|of| of.iter().all(|f| f == &of[0])));
    let plain = format!("{line} --formula x+cluster(id)");
    run_on(&csv, &plain).fails(2, &["a cluster", "--cv"]);
    run_on(&csv, &format!("{line} --formula x+offset(z)")).fails(2, &["offset"]);
    run_on(&csv, "deepsurv {} --time t --event e --device abacus")
        .fails(2, &["--device", "flex (the CPU)"]);
}

#[cfg(feature = "deep")]
#[test]
fn faults_are_told() {
    let csv = cohort();
    run_on(&csv, "deepsurv {} --time t --event e --dropout 2").fails(2, &["--dropout"]);
    run_on(&csv, "deepsurv {} --time t --event e --hidden 3,0").fails(2, &["hidden"]);
    run_on(&csv, "deepsurv {} --time t --event e --lr 1e30").fails(1, &["diverged", "epoch"]);
    run_on(&csv, "deepsurv {} --time t --event e --features y").fails(1, &["`y`"]);
}

#[cfg(feature = "deep")]
#[test]
fn faults_of_the_folds_are_told_before_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.safetensors");
    let line = format!(
        "deepsurv {{}} --time t --event e --epochs 2 --state {}",
        state.display()
    );
    // One patient has the only event, and all of `x`.
    let mut alone = "t,e,f,x\n".to_owned();
    for i in 0..12 {
        writeln!(
            alone,
            "{},{},{},{}",
            1 + i * 5 % 12,
            i32::from(i == 3),
            i % 3,
            i32::from(i == 3)
        )
        .unwrap();
    }
    let csv = cohort();
    let short = csv.lines().take(9).collect::<Vec<_>>().join("\n");
    run_on(&short, &format!("{line} --cv 400")).fails(2, &["folds = 400"]);
    run_on(&short, &format!("{line} --cv 8")).fails(1, &["fold 1", "too few"]);
    run_on(&alone, &format!("{line} --features f --cv 2")).fails(1, &["fold", "no event"]);
    let all = alone.replace(",0,", ",1,");
    run_on(&all, &format!("{line} --features x --cv 2")).fails(1, &["fold", "`x` is constant"]);
    run_on(&csv, &format!("{line} --save no/such/network.safetensors")).fails(1, &["no/such"]);
    assert!(!state.exists(), "nothing was trained");
}

#[cfg(feature = "deep")]
#[test]
fn a_training_is_saved_although_its_cross_validation_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("network.safetensors");
    // This share of sixty patients is two of them; of the forty outside a fold it is one, too few to judge by.
    let line = "deepsurv {} --time t --event e --hidden 0 --epochs 2 --early-stopping 0.028 --cv 3";
    let line = format!("{line} --save {}", file.display());
    run_on(&cohort(), &line).fails(1, &["fold 1", "early_stopping"]);
    let fit = survlatent::cox_survival::deep::DeepSurvFit::load(&file).unwrap();
    assert_eq!(fit.names(), ["x", "z"]);
}

#[cfg(not(feature = "deep"))]
#[test]
fn without_networks_it_says_how_to_get_them() {
    let csv = "t,e,x\n1,1,2\n2,0,3\n3,1,1\n";
    let run = run_on(csv, "deepsurv {} --time t --event e");
    run.fails(2, &["--features deep"]);
}
