//! Residuals, tests of proportionality, curves, penalties, exact ties and comparisons against R's
//! `survival`, on the golden data of `golden/cox`.
#![allow(clippy::cast_sign_loss, reason = "golden files hold codes as numbers")]

use std::collections::BTreeMap;

use cox_survival::{
    CompetingRisks, ConfType, Covariates, CoxCurve, CoxFit, CoxPh, RestrictedCubicSpline, Surv,
    Ties, Zph, ZphTransform, anova, collapse,
};
use serde_json::Value;
use survlatent_tests::{VETERAN_ALL, close, csv, json, numbers};

const TOLERANCE: f64 = 1e-8;

type Table = BTreeMap<String, Vec<f64>>;

/// Agreement relative to the larger of the value and `floor` times the largest of all: sums of many
/// terms that cancel have no digits of their own.
#[track_caller]
fn agree(found: &[f64], want: &Value, what: &str) {
    let want = numbers(want);
    assert_eq!(found.len(), want.len(), "{what}: length");
    let largest = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (k, (f, w)) in found.iter().zip(&want).enumerate() {
        let error = (f - w).abs() / w.abs().max(1e-3 * largest);
        assert!(
            error <= TOLERANCE,
            "{what}[{k}]: {f} against {w}, {error:.1e}"
        );
    }
}

fn matrix(table: &Table, names: &[&str]) -> Vec<f64> {
    names.iter().flat_map(|name| table[*name].clone()).collect()
}

fn view<'a>(values: &'a [f64], names: &[&str]) -> Covariates<'a> {
    Covariates::from_columns(values, values.len() / names.len(), names.len())
        .and_then(|x| x.with_names(names.iter().copied()))
        .expect("a matrix")
}

fn events(table: &Table) -> Vec<bool> {
    table["status"].iter().map(|&e| e > 0.5).collect()
}

fn strata(table: &Table) -> Vec<i64> {
    table["stratum"].iter().map(|&s| s as i64).collect()
}

const TIES: [Ties; 2] = [Ties::Efron, Ties::Breslow];
const VETERAN: [&str; 4] = ["trt", "karno", "age", "prior"];
const FULL: [&str; 3] = ["x1", "x2", "x3"];

struct Case {
    surv: Surv,
    x: Vec<f64>,
    names: &'static [&'static str],
    settings: CoxPh,
}

impl Case {
    fn veteran() -> Self {
        let table = csv("survival/data/veteran.csv");
        Self {
            surv: Surv::new(&table["time"], &events(&table)).expect("an outcome"),
            x: matrix(&table, &VETERAN),
            names: &VETERAN,
            settings: CoxPh::new(),
        }
    }

    /// Entry, strata, weights and offset together.
    fn full() -> Self {
        let table = csv("survival/data/synth_ties.csv");
        let surv = Surv::builder(&table["time"], &events(&table))
            .entry(&table["entry"])
            .strata(&strata(&table))
            .weights(&table["w"])
            .build()
            .expect("an outcome");
        Self {
            surv,
            x: matrix(&table, &FULL),
            names: &FULL,
            settings: CoxPh::new().offset(table["offset"].clone()),
        }
    }

    fn view(&self) -> Covariates<'_> {
        view(&self.x, self.names)
    }

    fn fit(&self, ties: Ties) -> CoxFit {
        self.settings
            .clone()
            .ties(ties)
            .fit(&self.surv, &self.view())
            .expect("a fit")
    }
}

fn summary(fit: &CoxFit, want: &Value, what: &str) {
    agree(fit.coef(), &want["coef"], &format!("{what} coef"));
    agree(fit.se(), &want["se"], &format!("{what} se"));
    close(
        fit.loglik0(),
        want["loglik0"].as_f64().unwrap(),
        TOLERANCE,
        what,
    );
    close(
        fit.loglik(),
        want["loglik"].as_f64().unwrap(),
        TOLERANCE,
        what,
    );
    close(
        fit.score_test(),
        want["score"].as_f64().unwrap(),
        TOLERANCE,
        what,
    );
}

fn proportional(zph: &Zph, want: &Value, what: &str) {
    let names: Vec<&str> = want["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    assert_eq!(zph.rows, names, "{what}");
    agree(&zph.chisq, &want["chisq"], &format!("{what} chisq"));
    let df: Vec<f64> = zph.df.iter().map(|&d| d as f64).collect();
    agree(&df, &want["df"], what);
    assert_eq!(zph.p.len(), names.len(), "{what} p: length");
    for (p, q) in zph.p.iter().zip(numbers(&want["p"])) {
        close(*p, q, 1e-7, &format!("{what} p"));
    }
}

const TRANSFORMS: [ZphTransform; 4] = [
    ZphTransform::Km,
    ZphTransform::Rank,
    ZphTransform::Identity,
    ZphTransform::Log,
];

#[test]
fn residuals_and_tests_of_proportionality() {
    let golden = json("cox/results.json");
    for (name, case) in [("veteran", Case::veteran()), ("full", Case::full())] {
        for ties in TIES {
            let key = format!("{name}/{}", ties.name());
            let want = &golden["fits"][&key];
            let fit = case.fit(ties);
            summary(&fit, want, &key);
            let x = case.view();
            let d = fit.diagnostics(&case.surv, &x).expect("diagnostics");
            agree(
                &d.martingale(),
                &want["martingale"],
                &format!("{key} martingale"),
            );
            agree(&d.deviance(), &want["deviance"], &format!("{key} deviance"));
            agree(&d.score(), &want["score_residual"], &format!("{key} score"));
            agree(&d.dfbeta(), &want["dfbeta"], &format!("{key} dfbeta"));
            agree(&d.dfbetas(), &want["dfbetas"], &format!("{key} dfbetas"));
            let schoenfeld = d.schoenfeld();
            agree(&schoenfeld.time, &want["schoenfeld_time"], &key);
            agree(
                &schoenfeld.values,
                &want["schoenfeld"],
                &format!("{key} schoenfeld"),
            );
            agree(
                &d.scaled_schoenfeld().values,
                &want["scaledsch"],
                &format!("{key} scaled"),
            );
            for transform in TRANSFORMS {
                let zph = d.zph(transform).expect("a test");
                let what = format!("{key} zph {transform}");
                proportional(&zph, &want["zph"][transform.name()], &what);
            }
        }
    }
}

#[test]
fn residuals_of_clusters() {
    let golden = json("cox/results.json");
    let case = Case::full();
    let codes: Vec<u32> = csv("survival/data/synth_ties.csv")["cl"]
        .iter()
        .map(|&c| c as u32)
        .collect();
    for ties in TIES {
        let want = &golden["fits"][format!("clustered/{}", ties.name())];
        let x = case.view();
        let fit = case
            .settings
            .clone()
            .ties(ties)
            .fit_clustered(&case.surv, &x, &codes)
            .expect("a fit");
        agree(
            fit.robust_se().expect("robust"),
            &want["robust_se"],
            "robust se",
        );
        let d = fit.diagnostics(&case.surv, &x).expect("diagnostics");
        let sums = |values: &[f64], columns| collapse(values, columns, &codes).expect("sums");
        agree(&sums(&d.dfbeta(), 3), &want["dfbeta"], "dfbeta by cluster");
        agree(
            &sums(&d.martingale(), 1),
            &want["martingale"],
            "martingale by cluster",
        );
        agree(&d.dfbetas(), &want["dfbetas"], "dfbetas of a robust fit");
        let status: Vec<f64> = case.surv.event().iter().map(|&e| f64::from(e)).collect();
        let (residual, events) = (sums(&d.martingale(), 1), sums(&status, 1));
        // Several events in a cluster, and none, are both among them.
        assert!(events.iter().any(|&e| e > 1.0) && events.iter().any(|&e| e < 1.0));
        let found = d.deviance_by(&codes).expect("deviances");
        assert_eq!(found.len(), residual.len());
        for (k, (&m, &e)) in residual.iter().zip(&events).enumerate() {
            let logs = if e > 0.0 { e * ((e - m) / e).ln() } else { 0.0 };
            let want = m.signum() * (-2.0 * (m + logs)).sqrt();
            let what = format!("deviance of cluster {k}");
            assert!((found[k] - want).abs() <= 1e-10, "{what}: {}", found[k]);
        }
        // A row that is its own cluster has its own residual.
        let own: Vec<u32> = (0..case.surv.n() as u32).collect();
        assert_eq!(d.deviance_by(&own).expect("deviances"), d.deviance());
    }
}

/// R's curves step at censored times too; ours only at events.
fn same_curve(curve: &CoxCurve, want: &Value, what: &str) {
    let n_event = numbers(&want["n_event"]);
    let steps: Vec<usize> = (0..n_event.len()).filter(|&k| n_event[k] > 0.0).collect();
    let pick = |name: &str| -> Value {
        let all = want[name].as_array().unwrap();
        Value::Array(steps.iter().map(|&k| all[k].clone()).collect())
    };
    agree(&curve.time, &pick("time"), &format!("{what} time"));
    agree(&curve.surv, &pick("surv"), &format!("{what} surv"));
    agree(&curve.hazard, &pick("cumhaz"), &format!("{what} cumhaz"));
    agree(&curve.std_err, &pick("std_err"), &format!("{what} std_err"));
    for (found, name) in [(&curve.lower, "lower"), (&curve.upper, "upper")] {
        let want = pick(name);
        assert_eq!(found.len(), curve.time.len(), "{what} {name}: length");
        for (k, (f, w)) in found.iter().zip(want.as_array().unwrap()).enumerate() {
            match w.as_f64() {
                None => assert!(f.is_nan(), "{what} {name}[{k}]: {f}"),
                Some(w) => close(*f, w, 1e-7, &format!("{what} {name}[{k}]")),
            }
        }
    }
}

#[test]
fn curves_at_new_covariates() {
    let golden = json("cox/results.json");
    let curves = &golden["curves"];
    let (veteran, full) = (Case::veteran(), Case::full());
    let codes: Vec<u32> = csv("survival/data/synth_ties.csv")["cl"]
        .iter()
        .map(|&c| c as u32)
        .collect();
    for ties in TIES {
        let fit = veteran.fit(ties);
        let x = veteran.view();
        let predicted = fit
            .diagnostics(&veteran.surv, &x)
            .expect("diagnostics")
            .curves();
        let new = [0.0, 60.0, 58.0, 0.0, 1.0, 99.0, 30.0, 1.0];
        let new = Covariates::from_rows(&new, 2, 4).unwrap();
        for kind in [ConfType::Log, ConfType::Plain, ConfType::LogLog] {
            let found = predicted
                .clone()
                .conf_type(kind)
                .at(&new, 0)
                .expect("curves");
            for (k, curve) in found.iter().enumerate() {
                let key = format!("veteran/{}/{kind}/{}", ties.name(), k + 1);
                same_curve(curve, &curves[&key], &key);
            }
        }
        for (k, curve) in predicted.at(&new, 0).unwrap().iter().enumerate() {
            let key = |what: &str| format!("veteran/{}/{what}/{}", ties.name(), k + 1);
            let want = &curves[key("quantiles")];
            for (q, p) in [0.25, 0.5, 0.75].into_iter().enumerate() {
                let found = curve.quantile(p).unwrap();
                let limits = [found.estimate, found.lower, found.upper];
                for (found, name) in limits.into_iter().zip(["quantile", "lower", "upper"]) {
                    assert_eq!(
                        found,
                        want[name][q].as_f64(),
                        "{} {name} {p}",
                        key("quantiles")
                    );
                }
            }
            let want = curves[key("rmst100")].as_f64().unwrap();
            close(curve.rmst(100.0).unwrap(), want, TOLERANCE, &key("rmst100"));
        }
        let x = full.view();
        let settings = full.settings.clone().ties(ties);
        let plain = settings.fit(&full.surv, &x).unwrap();
        let robust = settings.fit_clustered(&full.surv, &x, &codes).unwrap();
        for (name, fit) in [("full", plain), ("clustered", robust)] {
            let predicted = fit.diagnostics(&full.surv, &x).unwrap().curves();
            for stratum in 0..4 {
                let new = Covariates::from_rows(&[0.5, -1.0, 2.0], 1, 3).unwrap();
                let key = format!("{name}/{}/{}", ties.name(), stratum + 1);
                same_curve(
                    &predicted.at(&new, stratum).unwrap()[0],
                    &curves[&key],
                    &key,
                );
            }
        }
    }
}

#[test]
fn baseline_hazards() {
    let golden = json("cox/results.json");
    for (name, case) in [("veteran", Case::veteran()), ("full", Case::full())] {
        for ties in TIES {
            // R puts the mean offset into its baseline, so this one is of a fit without.
            let want = &golden["basehaz"][format!("{name}/{}", ties.name())];
            let (time, hazard) = (numbers(&want["time"]), numbers(&want["hazard"]));
            assert_eq!(time.len(), hazard.len(), "{name}");
            let label = |k: usize| want["strata"][k].as_str().unwrap_or("").to_owned();
            let fit = CoxPh::new()
                .ties(ties)
                .fit(&case.surv, &case.view())
                .unwrap();
            for (k, (&t, &h)) in time.iter().zip(&hazard).enumerate() {
                let stratum = fit
                    .baseline_hazard()
                    .iter()
                    .find(|b| b.stratum == label(k))
                    .unwrap();
                assert!(
                    (stratum.at(t) - h).abs() <= TOLERANCE * h,
                    "{name} {t}: {h}"
                );
            }
        }
    }
}

#[test]
fn starting_values_fixed_coefficients_and_ridges() {
    let golden = json("cox/results.json");
    let table = csv("survival/data/synth_ties.csv");
    let surv = Surv::new(&table["time"], &events(&table)).unwrap();
    let two = matrix(&table, &["x1", "x2"]);
    let three = matrix(&table, &["x1", "x2", "x3"]);
    let four_names = ["x1", "x2", "x3", "x4"];
    let four = matrix(&table, &four_names);
    for ties in TIES {
        let settings = CoxPh::new().ties(ties);
        let want = |name: &str| &golden["fits"][format!("{name}/{}", ties.name())];
        let start = settings
            .clone()
            .start(vec![0.3, -0.2])
            .fit(&surv, &view(&two, &["x1", "x2"]))
            .unwrap();
        summary(&start, want("start"), "start");
        close(
            start.wald(),
            want("start")["wald"].as_f64().unwrap(),
            TOLERANCE,
            "start wald",
        );

        let fixed = settings
            .clone()
            .fix("x2", -0.4)
            .fit(&surv, &view(&three, &FULL))
            .unwrap();
        let (coef, se) = (fixed.coef(), fixed.se());
        agree(&[coef[0], coef[2]], &want("fixed")["coef"], "fixed coef");
        agree(&[se[0], se[2]], &want("fixed")["se"], "fixed se");
        assert!((coef[1] + 0.4).abs() < 1e-15 && se[1].abs() < 1e-300);
        close(
            fixed.loglik0(),
            want("fixed")["loglik0"].as_f64().unwrap(),
            TOLERANCE,
            "fixed",
        );
        close(
            fixed.loglik(),
            want("fixed")["loglik"].as_f64().unwrap(),
            TOLERANCE,
            "fixed",
        );
        close(
            fixed.wald(),
            want("fixed")["wald"].as_f64().unwrap(),
            TOLERANCE,
            "fixed wald",
        );

        let weighted = Surv::builder(&table["time"], &events(&table))
            .strata(&strata(&table))
            .weights(&table["w"])
            .build()
            .unwrap();
        let ridge = settings
            .clone()
            .ridge("x1", 20.0)
            .ridge("x3", 3.0)
            .ridge("x4", 3.0)
            .fit(&weighted, &view(&four, &four_names))
            .unwrap();
        let want = want("ridge");
        agree(ridge.coef(), &want["coef"], "ridge coef");
        agree(ridge.variance(), &want["var"], "ridge var");
        agree(
            ridge.shrunken_variance().unwrap(),
            &want["var2"],
            "ridge var2",
        );
        close(
            ridge.df(),
            want["df"].as_f64().unwrap(),
            TOLERANCE,
            "ridge df",
        );
        close(
            ridge.loglik0(),
            want["loglik0"].as_f64().unwrap(),
            TOLERANCE,
            "ridge loglik0",
        );
        close(
            ridge.loglik(),
            want["loglik"].as_f64().unwrap(),
            TOLERANCE,
            "ridge loglik",
        );
        close(
            ridge.penalty(),
            want["penalty"].as_f64().unwrap(),
            TOLERANCE,
            "ridge penalty",
        );
    }
}

#[test]
fn the_ridge_of_the_first_golden_file() {
    let table = csv("survival/data/veteran.csv");
    let names = VETERAN_ALL;
    let surv = Surv::new(&table["time"], &events(&table)).unwrap();
    let values = matrix(&table, &names);
    for ties in TIES {
        let golden = json("survival/results/cox_fits.json");
        let want = &golden["fits"][format!("veteran_ridge5/{}", ties.name())];
        let fit = CoxPh::new()
            .ties(ties)
            .ridge_all(5.0)
            .fit(&surv, &view(&values, &names))
            .unwrap();
        agree(fit.coef(), &want["coef"], "coef");
        close(
            fit.loglik(),
            want["loglik"].as_f64().unwrap(),
            TOLERANCE,
            "loglik",
        );
    }
}

#[test]
fn exact_ties() {
    let golden = json("cox/results.json");
    let table = csv("survival/data/synth_ties.csv");
    let five = ["x1", "x2", "x3", "x4", "x5"];
    let rows = |count: usize| -> Table {
        table
            .iter()
            .map(|(k, v)| (k.clone(), v[..count].to_vec()))
            .collect()
    };
    let heavy: Vec<f64> = table["time"]
        .iter()
        .map(|t| (t / 5.0).ceil() + 1.0)
        .collect();
    let all = events(&table);
    let few = rows(60);
    let plain = Surv::new(&table["time"], &all).unwrap();
    let strata_of = |t: &Table| strata(t);
    let stratified = Surv::builder(&table["time"], &all)
        .strata(&strata_of(&table))
        .build()
        .unwrap();
    let entry = Surv::builder(&few["time"], &events(&few))
        .entry(&few["entry"])
        .strata(&strata_of(&few))
        .build()
        .unwrap();
    let cases: [(&str, Surv, &Table, &[&str], bool); 4] = [
        ("plain", plain, &table, &five, false),
        ("strata", stratified, &table, &FULL, false),
        ("entry", entry, &few, &["x1", "x2"], true),
        (
            "heavy",
            Surv::new(&heavy, &all).unwrap(),
            &table,
            &FULL,
            false,
        ),
    ];
    for (name, surv, data, names, offset) in cases {
        let want = &golden["fits"][format!("exact/{name}")];
        let values = matrix(data, names);
        let x = view(&values, names);
        let mut settings = CoxPh::new().ties(Ties::Exact);
        if offset {
            settings = settings.offset(data["offset"].clone());
        }
        let fit = settings.fit(&surv, &x).unwrap();
        summary(&fit, want, &format!("exact {name}"));
        agree(fit.variance(), &want["var"], &format!("exact {name} var"));
        if want["zph"].is_object() {
            let d = fit.diagnostics(&surv, &x).unwrap();
            agree(
                &d.martingale(),
                &want["martingale"],
                &format!("exact {name} martingale"),
            );
            for transform in TRANSFORMS {
                let zph = d.zph(transform).unwrap();
                proportional(
                    &zph,
                    &want["zph"][transform.name()],
                    &format!("exact {name} {transform}"),
                );
            }
        }
    }
    // The fits of the first golden file.
    let golden = json("survival/results/cox_fits.json");
    let lung = ["age", "sex", "ph_ecog", "ph_karno", "wt_loss"];
    let ovarian = ["age", "resid_ds", "rx", "ecog_ps"];
    let sets: [(&str, &str, &str, &str, &[&str]); 4] = [
        ("lung", "lung", "time", "status", &lung),
        ("ovarian", "ovarian", "futime", "fustat", &ovarian),
        ("veteran", "veteran", "time", "status", &VETERAN_ALL),
        ("synth", "synth_ties", "time", "status", &five),
    ];
    for (name, data, time, status, names) in sets {
        let table = csv(&format!("survival/data/{data}.csv"));
        let event: Vec<bool> = table[status].iter().map(|&e| e > 0.5).collect();
        let values = matrix(&table, names);
        let surv = Surv::new(&table[time], &event).unwrap();
        let fit = CoxPh::new()
            .ties(Ties::Exact)
            .fit(&surv, &view(&values, names))
            .unwrap();
        let want = &golden["fits"][format!("{name}/exact")];
        summary(&fit, want, name);
        let var = want["var"].as_array().unwrap().iter().flat_map(numbers);
        let var = Value::from(var.collect::<Vec<f64>>());
        agree(fit.variance(), &var, &format!("{name} var"));
        let (c, se) = fit.concordance().expect("a concordance");
        agree(&[fit.lr()], &want["lr"], &format!("{name} lr"));
        agree(&[c], &want["concordance"], &format!("{name} C"));
        agree(&[se], &want["concordance_se"], &format!("{name} se(C)"));
    }
}

#[test]
fn contrasts_nested_models_splines_and_causes() {
    let golden = json("cox/results.json");
    let table = csv("survival/data/veteran.csv");
    let case = Case::veteran();
    let full = case.fit(Ties::Efron);
    let want = &golden["contrast"];
    let contrast = full.contrast(&numbers(&want["L"])).unwrap();
    agree(&contrast.estimate, &want["estimate"], "estimate");
    agree(&contrast.se, &want["se"], "se");
    close(
        contrast.chisq,
        want["chisq"].as_f64().unwrap(),
        TOLERANCE,
        "chisq",
    );
    assert_eq!(contrast.df, 2);

    let names = ["karno", "prior"];
    let values = matrix(&table, &names);
    let small = CoxPh::new()
        .fit(&case.surv, &view(&values, &names))
        .unwrap();
    let found = anova(&[&small, &full]).unwrap();
    let want = &golden["anova"];
    agree(&found.loglik, &want["loglik"], "anova loglik");
    close(
        found.chisq[0],
        want["chisq"].as_f64().unwrap(),
        TOLERANCE,
        "anova",
    );
    close(
        found.p[0],
        want["p"].as_f64().unwrap(),
        TOLERANCE,
        "anova p",
    );
    assert!((found.df[0] - 2.0).abs() < 1e-12);
    assert!(anova(&[&full, &small]).is_err() && anova(&[&full]).is_err());

    for k in 3..=7 {
        let spline = RestrictedCubicSpline::from_quantiles(&table["age"], k).unwrap();
        let want = &golden["rcs"][k.to_string()];
        agree(spline.knots(), &want["knots"], "knots");
        let basis = spline.basis(&table["age"][..12]).unwrap();
        agree(&basis, &want["basis_head"], "basis");
    }
    let spline = RestrictedCubicSpline::from_quantiles(&table["age"], 4).unwrap();
    let basis = spline.basis(&table["age"]).unwrap();
    let x = Covariates::from_rows(&basis, case.surv.n(), 3).unwrap();
    summary(
        &CoxPh::new().fit(&case.surv, &x).unwrap(),
        &golden["rcs"]["fit"],
        "spline",
    );

    let synth = csv("survival/data/synth_ties.csv");
    let cause: Vec<u32> = synth["status"]
        .iter()
        .zip(1u32..)
        .map(|(&s, row)| if s > 0.5 { 1 + row % 2 } else { 0 })
        .collect();
    let values = matrix(&synth, &["x1", "x2"]);
    let surv = Surv::new(&synth["time"], &events(&synth)).unwrap();
    let competing = CompetingRisks::new(surv, &cause).unwrap();
    for of in ["1", "2"] {
        let surv = competing.cause_specific(of).unwrap();
        let fit = CoxPh::new()
            .fit(&surv, &view(&values, &["x1", "x2"]))
            .unwrap();
        summary(&fit, &golden["cause"][of], "cause");
    }
}
