//! Aalen-Johansen cumulative incidence against R's `survfit` (`golden/competing/make.R`).

use cox_survival::{AalenJohansen, CompetingRisks, ConfType, Surv};
use serde_json::Value;
use survlatent_tests::golden::{json, numbers};

#[track_caller]
fn all_close(found: &[f64], want: &Value, what: &str) {
    let want = numbers(want);
    assert_eq!(found.len(), want.len(), "{what}: length");
    for (k, (&a, b)) in found.iter().zip(want).enumerate() {
        match b {
            None => assert!(!a.is_finite(), "{what}[{k}]: {a}, R has NA"),
            Some(b) => {
                assert!(
                    (a - b).abs() <= 1e-9 * b.abs() + 1e-14,
                    "{what}[{k}]: {a}, R has {b}"
                );
            }
        }
    }
}

fn column(data: &Value, name: &str) -> Option<Vec<f64>> {
    let values = numbers(data.get(name)?);
    Some(
        values
            .into_iter()
            .map(|v| v.expect("complete data"))
            .collect(),
    )
}

#[test]
fn cumulative_incidence_is_that_of_r() {
    let golden = json("competing/competing.json");
    let cases = golden.as_object().expect("cases");
    assert_eq!(cases.len(), 6);
    for (name, case) in cases {
        let data = &case["data"];
        let (time, cause) = (
            column(data, "time").expect("time"),
            column(data, "cause").expect("cause"),
        );
        let event: Vec<bool> = cause.iter().map(|&c| c > 0.5).collect();
        let labels: Vec<String> = cause.iter().map(|c| format!("{c:.0}")).collect();
        let groups = data["group"].as_array().expect("groups").iter();
        let groups: Vec<&str> = groups.map(|g| g.as_str().expect("text")).collect();
        let (entry, weights) = (column(data, "entry"), column(data, "weights"));
        let mut builder = Surv::builder(&time, &event);
        if let Some(entry) = &entry {
            builder = builder.entry(entry);
        }
        if let Some(weights) = &weights {
            builder = builder.weights(weights);
        }
        let outcome =
            CompetingRisks::new(builder.build().expect("data"), &labels).expect("outcome");
        for (key, want) in case.as_object().expect("results") {
            let Some((conf_type, by)) = key.split_once('/') else {
                continue;
            };
            let conf_type: ConfType = conf_type.parse().expect("a type");
            let settings = AalenJohansen::new().conf_type(conf_type);
            let fit = match by {
                "" => settings.fit(&outcome),
                _ => settings.fit_by(&outcome, &groups),
            };
            let fit = fit.expect("fit");
            let want = want.as_array().expect("curves");
            assert_eq!(fit.curves.len(), want.len(), "{name} {key}");
            for (curve, want) in fit.curves.iter().zip(want) {
                let what = |part: &str| format!("{name} {key} {} {part}", curve.name);
                all_close(&curve.time, &want["time"], &what("time"));
                // R 3.5-3 counts rows here when they are weighted.
                if weights.is_none() {
                    all_close(&curve.n_risk, &want["n_risk"], &what("n_risk"));
                }
                all_close(&curve.surv, &want["surv"], &what("surv"));
                all_close(&curve.std_err_surv, &want["se_surv"], &what("se of surv"));
                let causes = want["cif"].as_array().expect("causes").len();
                assert_eq!(curve.incidence.len(), causes, "{}", what("causes"));
                for (j, cause) in curve.incidence.iter().enumerate() {
                    all_close(&cause.cif, &want["cif"][j], &what("cif"));
                    all_close(&cause.std_err, &want["se"][j], &what("se"));
                    all_close(&cause.lower, &want["lower"][j], &what("lower"));
                    all_close(&cause.upper, &want["upper"][j], &what("upper"));
                }
            }
        }
    }
}
