//! AUC, Brier score, binomial loss, Antolini's C, calibration, decision curves and explained
//! variation against scikit-survival, pycox, `SurvivalEVAL`, dcurves and R (`golden/metrics`).

use cox_survival::{
    Antolini, BinomialLoss, Brier, Calibration, CensoringModel, Covariates, DCalibration,
    DynamicAuc, NetBenefit, PredictedSurvival, Surv, calibration_slope, observed_expected,
    royston_sauerbrei,
};
use serde_json::Value;
use survlatent_tests::golden::{json, number, numbers};

const TOLERANCE: f64 = 1e-9;
/// For what Newton's method has converged to.
const CONVERGED: f64 = 1e-8;

#[track_caller]
fn close(found: f64, want: &Value, what: &str) {
    close_to(found, want, TOLERANCE, what);
}

#[track_caller]
fn close_to(found: f64, want: &Value, tolerance: f64, what: &str) {
    let want = number(want).unwrap_or_else(|| panic!("{what}: no golden value"));
    let error = (found - want).abs();
    assert!(
        error <= tolerance * want.abs() + 1e-13,
        "{what}: {found} instead of {want}"
    );
}

#[track_caller]
fn all_close(found: &[f64], want: &Value, what: &str) {
    let items = want
        .as_array()
        .unwrap_or_else(|| panic!("{what}: no golden values"));
    assert_eq!(found.len(), items.len(), "{what}: length");
    for (k, (&a, b)) in found.iter().zip(items).enumerate() {
        close(a, b, &format!("{what}[{k}]"));
    }
}

fn floats(value: &Value) -> Vec<f64> {
    numbers(value)
        .into_iter()
        .map(|v| v.expect("a number"))
        .collect()
}

fn matrix(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .expect("rows")
        .iter()
        .flat_map(floats)
        .collect()
}

fn indices(value: &Value) -> Vec<usize> {
    let rows = value.as_array().expect("rows").iter();
    rows.map(|v| v.as_u64().expect("a row") as usize).collect()
}

struct Case<'a> {
    golden: &'a Value,
    train: Surv,
    test: Surv,
    score: Vec<f64>,
    curves: PredictedSurvival,
}

fn each_case(check: impl Fn(&str, &Case<'_>)) {
    let golden = json("metrics/metrics.json");
    let cases = golden["cases"].as_object().expect("cases");
    assert_eq!(cases.len(), 4);
    for (name, golden) in cases {
        let time = floats(&golden["time"]);
        let event: Vec<bool> = golden["event"]
            .as_array()
            .expect("events")
            .iter()
            .map(|e| e.as_bool().expect("an event"))
            .collect();
        let all = Surv::new(&time, &event).expect("golden data are valid");
        let rows = indices(&golden["test"]);
        let times = floats(&golden["times"]);
        let surv = matrix(&golden["surv"]);
        let m = times.len();
        let picked: Vec<f64> = rows
            .iter()
            .flat_map(|&i| surv[i * m..(i + 1) * m].to_vec())
            .collect();
        let score = floats(&golden["score"]);
        check(
            name,
            &Case {
                golden,
                train: all.subset(&indices(&golden["train"])).expect("train"),
                test: all.subset(&rows).expect("test"),
                score: rows.iter().map(|&i| score[i]).collect(),
                curves: PredictedSurvival::from_rows(&times, &picked, rows.len()).expect("curves"),
            },
        );
    }
}

#[test]
fn auc_and_brier_are_those_of_scikit_survival() {
    each_case(|name, case| {
        for (key, training) in [("with_train", &case.train), ("with_own", &case.test)] {
            let want = &case.golden[key];
            let model = CensoringModel::kaplan_meier(training)
                .expect("model")
                .at_event();
            let times = case.curves.times();
            let auc = DynamicAuc::new()
                .fit(&case.test, &case.score, times, &model)
                .expect("auc");
            all_close(&auc.auc, &want["auc"], &format!("{name} {key} auc"));
            close(auc.mean, &want["mean"], &format!("{name} {key} mean auc"));
            let whole: Vec<f64> = case.score.iter().map(|s| s.round_ties_even()).collect();
            let auc = DynamicAuc::new()
                .fit(&case.test, &whole, times, &model)
                .expect("auc");
            all_close(
                &auc.auc,
                &want["auc_rounded"],
                &format!("{name} {key} auc with ties"),
            );
            let auc = DynamicAuc::new()
                .fit_curves(&case.test, &case.curves, &model)
                .expect("auc");
            all_close(
                &auc.auc,
                &want["auc_curves"],
                &format!("{name} {key} auc of curves"),
            );
            close(
                auc.mean,
                &want["mean_curves"],
                &format!("{name} {key} mean auc of curves"),
            );
            let brier = Brier::new()
                .fit(&case.test, &case.curves, &model)
                .expect("brier");
            all_close(
                &brier.values,
                &want["brier"],
                &format!("{name} {key} brier"),
            );
            let ibs = brier.integrated.expect("several times");
            close(ibs, &want["ibs"], &format!("{name} {key} ibs"));
        }
    });
}

#[test]
fn antolini_and_the_binomial_loss_are_those_of_pycox() {
    each_case(|name, case| {
        let n = case.test.n();
        let curves = |values: &str, grid: &[f64]| {
            PredictedSurvival::from_rows(grid, &matrix(&case.golden[values]), n).expect("curves")
        };
        let full = curves("full", &floats(&case.golden["grid"]));
        let c = Antolini::new().fit(&case.test, &full).expect("c");
        let comparable = c.concordant() + c.discordant() + c.tied_score();
        let strict = c.concordant() / comparable;
        close(
            strict,
            &case.golden["c_td_strict"],
            &format!("{name} c_td, ties nothing"),
        );
        // Times without ties: the ranks of the first, the curves moved along.
        let once = floats(&case.golden["once"]);
        let own = Surv::new(&once, case.test.event()).expect("once");
        let coarse = curves("coarse", &floats(&case.golden["grid"]));
        let mut ranks: Vec<usize> = (0..n).collect();
        ranks.sort_by(|&a, &b| once[a].total_cmp(&once[b]));
        let grid: Vec<f64> = (1..=n).map(|k| k as f64).collect();
        let at = |i: usize, t: f64| {
            let k = grid.partition_point(|&u| u < t);
            coarse.at(i, case.test.time()[ranks[k]])
        };
        let moved = PredictedSurvival::from_fn(n, &grid, at).expect("curves");
        let c = Antolini::new().fit(&own, &moved).expect("c").concordance();
        close(
            c,
            &case.golden["c_td_once"],
            &format!("{name} c_td, ties one half"),
        );
        let model = CensoringModel::kaplan_meier(&case.test)
            .expect("model")
            .at_event();
        let loss = BinomialLoss::new()
            .fit(&case.test, &case.curves, &model)
            .expect("loss");
        // No value where events and censorings are tied, which pycox weights otherwise.
        if !case.golden["nbll"].is_null() {
            all_close(
                &loss.values,
                &case.golden["nbll"],
                &format!("{name} binomial loss"),
            );
        }
    });
}

#[test]
fn d_calibration_is_that_of_survivaleval() {
    each_case(|name, case| {
        let own = floats(&case.golden["own_survival"]);
        for (bins, want) in case.golden["d_calibration"].as_object().expect("bins") {
            let bins: usize = bins.parse().expect("a number");
            let fit = DCalibration::new()
                .bins(bins)
                .fit(&case.test, &own)
                .expect("fit");
            all_close(
                &fit.counts,
                &want["counts"],
                &format!("{name} counts of {bins}"),
            );
            close(
                fit.chi_squared,
                &want["chisq"],
                &format!("{name} statistic of {bins}"),
            );
            close(fit.p_value, &want["p"], &format!("{name} p of {bins}"));
        }
    });
}

#[test]
fn decision_curves_are_those_of_dcurves() {
    each_case(|name, case| {
        let want = &case.golden["decision"];
        let (risk, at) = (floats(&want["risk"]), floats(&want["thresholds"]));
        let time = number(&want["time"]).expect("a time");
        let curve = NetBenefit::new(time)
            .fit(&case.test, &risk, &at)
            .expect("curve");
        for (k, point) in curve.points.iter().enumerate() {
            let check = |found: f64, key: &str| {
                close(found, &want[key][k], &format!("{name} {key} at {}", at[k]));
            };
            check(point.treated, "treated");
            check(point.true_positives.expect("tp"), "tp");
            check(point.false_positives.expect("fp"), "fp");
            check(point.net_benefit.expect("benefit"), "benefit");
            check(point.treat_all.expect("all"), "all");
        }
    });
}

#[test]
fn calibration_and_explained_variation_are_those_of_r() {
    let golden = json("metrics/calibration.json");
    each_case(|name, case| {
        let want = &golden["cases"][name];
        let time = number(&want["time"]).expect("a time");
        let risk = floats(&want["risk"]);
        for knots in [3, 4, 5] {
            let fit = Calibration::new(time)
                .knots(knots)
                .fit(&case.test, &risk)
                .expect("fit");
            let want = &want[format!("knots{knots}")];
            let what = |key: &str| format!("{name}, {knots} knots, {key}");
            for (k, &o) in fit.observed.iter().enumerate() {
                close_to(o, &want["observed"][k], CONVERGED, &what("observed"));
            }
            for (key, found) in [
                ("ici", fit.ici),
                ("e50", fit.e50),
                ("e90", fit.e90),
                ("emax", fit.emax),
            ] {
                close_to(found, &want[key], CONVERGED, &what(key));
            }
        }
        let whole = Calibration::new(time)
            .fit(&case.test, &risk)
            .expect("fit")
            .whole;
        let survival = [whole.observed, whole.upper, whole.lower].map(|r| 1.0 - r.expect("risk"));
        all_close(&survival, &want["whole"], &format!("{name} Kaplan-Meier"));
        let slope = calibration_slope(&case.test, &case.score).expect("slope");
        close(slope.slope, &want["slope"], &format!("{name} slope"));
        close(
            slope.std_err,
            &want["slope_se"],
            &format!("{name} se of the slope"),
        );
        for digits in ["3", "0"] {
            let want = &want[format!("royston{digits}")];
            let fit = royston_sauerbrei(&case.test, &floats(&want["lp"])).expect("fit");
            let what = |key: &str| format!("{name} royston {digits} {key}");
            close(fit.d, &want["d"], &what("D"));
            close(fit.std_err, &want["se"], &what("se"));
            close(fit.r2, &want["r2"], &what("R2"));
            // R's own figure, from a fit that stops early.
            let theirs = number(&want["royston_r"]).expect("a number");
            assert!((fit.r2 - theirs).abs() < 1e-4, "{}", what("R's R2"));
        }
        let x = Covariates::from_rows(&case.score, case.test.n(), 1).expect("covariate");
        let model = CensoringModel::cox(&case.test, &x, &x).expect("model");
        let brier = Brier::new()
            .fit(&case.test, &case.curves, &model)
            .expect("brier");
        for (k, &b) in brier.values.iter().enumerate() {
            let what = format!("{name} Brier score, censoring by Cox");
            close_to(b, &want["brier_cox"][k], CONVERGED, &what);
        }
        let ratio = observed_expected(&case.test, &floats(&want["oe_own"])).expect("ratio");
        close(
            ratio.ratio,
            &want["oe"],
            &format!("{name} observed over expected"),
        );
        close(
            ratio.std_err_log,
            &want["oe_se"],
            &format!("{name} its standard error"),
        );
    });
}
