//! `CoxPath` against glmnet 4.1-6 run at thresh = 1e-14.
#![allow(
    clippy::cast_sign_loss,
    reason = "golden files hold codes and places as numbers"
)]

use cox_survival::{
    AdaptiveWeights, Covariates, CoxPath, CrossValidation, CvMeasure, Folds, PathFit, Surv, Ties,
};
use serde_json::Value;
use survlatent_tests::{all_close, close, csv, json, numbers};

/// The heavily tied golden set; features `x1..x50`.
struct Set {
    table: std::collections::BTreeMap<String, Vec<f64>>,
    event: Vec<bool>,
    x: Vec<f64>,
}

impl Set {
    fn read() -> Self {
        let table = csv("survival/data/enet_n300_p50.csv");
        let event = table["status"].iter().map(|&e| e > 0.5).collect();
        let x = (1..=50)
            .flat_map(|j| table[&format!("x{j}")].clone())
            .collect();
        Self { table, event, x }
    }

    fn covariates(&self, p: usize) -> Covariates<'_> {
        Covariates::from_columns(&self.x[..300 * p], 300, p).expect("shape")
    }

    fn surv(&self) -> Surv {
        Surv::new(&self.table["time"], &self.event).expect("valid")
    }
}

/// Compares a path with glmnet's at the lambdas the golden file keeps, relative to the largest
/// coefficient, and asks for our own certificate at every lambda.
fn compare(key: &str, fit: &PathFit, golden: &Value) {
    compare_within(key, fit, golden, 2e-7);
}

/// The same with deviance ratios to `ratios`.
fn compare_within(key: &str, fit: &PathFit, golden: &Value, ratios: f64) {
    let want = &golden[key];
    assert!(want.is_object(), "{key} is in the golden file");
    let lambda = numbers(&want["lambda"]);
    // glmnet's Fortran steps its sequence with a single-precision exponent: 2e-7 off at the end.
    all_close(fit.lambda(), &lambda, 2e-7, &format!("{key} lambda"));
    close(
        fit.nulldev(),
        want["nulldev"].as_f64().unwrap(),
        1e-10,
        &format!("{key} nulldev"),
    );
    let ratio = numbers(&want["dev_ratio"]);
    assert_eq!(fit.dev_ratio().len(), lambda.len(), "{key}: dev_ratio");
    assert_eq!(ratio.len(), lambda.len(), "{key}: golden dev_ratio");
    for (k, (got, want)) in fit.dev_ratio().iter().zip(&ratio).enumerate() {
        assert!(
            (got - want).abs() <= ratios,
            "{key} dev_ratio[{k}] {got} {want}"
        );
    }
    let p = fit.names().len();
    let at = numbers(&want["beta_at"]);
    let slots = want["beta"].as_array().unwrap();
    assert!(!at.is_empty() && at.len() == slots.len(), "{key}: beta");
    for (slot, k) in slots.iter().zip(at) {
        let k = k as usize;
        let mut beta = vec![0.0; p];
        let (places, values) = (numbers(&slot["i"]), numbers(&slot["v"]));
        assert_eq!(places.len(), values.len(), "{key} beta at {k}");
        for (i, v) in places.iter().zip(values) {
            beta[*i as usize] = v;
        }
        let got = fit.beta(k).dense(p);
        let size = beta.iter().fold(0.0f64, |m, b| m.max(b.abs())).max(1e-3);
        let worst = got
            .iter()
            .zip(&beta)
            .map(|(g, w)| (g - w).abs())
            .fold(0.0, f64::max);
        assert!(
            worst <= 1e-5 * size,
            "{key} beta at {k}: off by {:.1e}",
            worst / size
        );
    }
    assert_eq!(fit.kkt().len(), lambda.len(), "{key}: certificates");
    for (k, kkt) in fit.kkt().iter().enumerate() {
        assert!(
            *kkt <= 1e-7,
            "{key}: certificate of lambda {k} is {kkt:.1e}"
        );
    }
}

#[test]
fn agrees_with_glmnet() {
    let golden = json("survival/results/glmnet_paths.json");
    let set = Set::read();
    let (surv, x) = (set.surv(), set.covariates(50));
    let fit = |path: CoxPath| path.fit(&surv, &x).expect("a path");
    compare("A/alpha1", &fit(CoxPath::new()), &golden);
    compare("A/alpha0.5", &fit(CoxPath::new().alpha(0.5)), &golden);
    compare(
        "A/alpha1/nostd",
        &fit(CoxPath::new().n_lambda(50).standardize(false)),
        &golden,
    );
    let mut factor = vec![0.0, 0.0];
    factor.extend((0..48).map(|k| f64::from(1 + k % 2)));
    let path = CoxPath::new()
        .alpha(0.5)
        .n_lambda(50)
        .penalty_factor(factor);
    compare("A/alpha0.5/penaltyfactor", &fit(path), &golden);
    let last = 29.0;
    let ridge: Vec<f64> = (0..30)
        .map(|k| (100f64.ln() + (1e-3f64.ln() - 100f64.ln()) * f64::from(k) / last).exp())
        .collect();
    compare(
        "A/alpha0",
        &fit(CoxPath::new().alpha(0.0).lambdas(ridge)),
        &golden,
    );
    // An offset made of the last column, which is then no covariate.
    let offset: Vec<f64> = set.table["x50"].iter().map(|v| v * 0.3).collect();
    let path = CoxPath::new().alpha(0.5).n_lambda(50).offset(offset);
    let without = path.fit(&surv, &set.covariates(49)).expect("a path");
    compare("A/alpha0.5/offset_x50", &without, &golden);
    let path = CoxPath::new().n_lambda(30).lower_limits(vec![0.0; 50]);
    let limited = fit(path.upper_limits(vec![0.5; 50]));
    compare("A/alpha1/limits", &limited, &golden);
    let relaxed = CoxPath::new().n_lambda(20).fit_relaxed(&surv, &x);
    let relaxed = relaxed.expect("a path");
    compare("A/alpha1/relax", relaxed.refits(), &golden);
}

#[test]
fn agrees_with_glmnet_on_weights_strata_and_entry() {
    let golden = json("survival/results/glmnet_paths.json");
    let set = Set::read();
    let x = set.covariates(50);
    let path = CoxPath::new().alpha(0.5);
    let builder = || Surv::builder(&set.table["time"], &set.event);

    let surv = builder().weights(&set.table["w"]).build().unwrap();
    compare(
        "A/alpha0.5/weights",
        &path.clone().n_lambda(50).fit(&surv, &x).unwrap(),
        &golden,
    );

    let strata: Vec<i64> = set.table["stratum"].iter().map(|&s| s as i64).collect();
    let surv = builder().strata(&strata).build().unwrap();
    compare(
        "A/alpha0.5/strata",
        &path.clone().n_lambda(30).fit(&surv, &x).unwrap(),
        &golden,
    );

    let surv = builder().entry(&set.table["entry"]).build().unwrap();
    compare(
        "A/alpha0.5/entry",
        &path.n_lambda(30).fit(&surv, &x).unwrap(),
        &golden,
    );
}

#[test]
fn cross_validation_agrees_with_cv_glmnet() {
    let golden = json("survival/results/glmnet_paths.json");
    let set = Set::read();
    let (surv, x) = (set.surv(), set.covariates(50));
    let labels: Vec<usize> = set.table["foldid"].iter().map(|&f| f as usize).collect();
    let folds = Folds::given(&labels).unwrap();
    let cases = [
        (
            "A/cv_alpha0.95/deviance/groupedTRUE",
            CvMeasure::Deviance { grouped: true },
        ),
        (
            "A/cv_alpha0.95/deviance/groupedFALSE",
            CvMeasure::Deviance { grouped: false },
        ),
        ("A/cv_alpha0.95/C", CvMeasure::Concordance),
    ];
    for (key, measure) in cases {
        let want = &golden[key];
        let cv = CrossValidation::new(CoxPath::new().alpha(0.95).n_lambda(50))
            .measure(measure)
            .fit(&surv, &x, &folds)
            .unwrap();
        // glmnet ran at thresh = 1e-12 here; the lambdas carry its single-precision exponent.
        let (cvm, cvsd) = (numbers(&want["cvm"]), numbers(&want["cvsd"]));
        all_close(cv.cvm(), &cvm, 1e-5, &format!("{key} cvm"));
        all_close(cv.cvsd(), &cvsd, 1e-4, &format!("{key} cvsd"));
        close(
            cv.lambda_min(),
            want["lambda_min"].as_f64().unwrap(),
            2e-7,
            key,
        );
        close(
            cv.lambda_1se(),
            want["lambda_1se"].as_f64().unwrap(),
            2e-7,
            key,
        );
    }
}

/// Compares what `penalised/golden.json` keeps of a path.
fn compare_some(key: &str, fit: &PathFit) {
    compare(key, fit, &json("penalised/golden.json"));
}

fn offset() -> Vec<f64> {
    let row = |i: i32| 0.3 * f64::from(i).sin() + 0.002 * f64::from(i);
    (1..=300).map(row).collect()
}

#[test]
fn offset_limits_and_exclusions_agree_with_glmnet() {
    let set = Set::read();
    let (surv, x) = (set.surv(), set.covariates(50));
    let path = |alpha: f64, ratio: f64| {
        let path = CoxPath::new().alpha(alpha).n_lambda(25);
        path.lambda_min_ratio(ratio)
    };
    let fit = path(0.5, 0.02).offset(offset()).fit(&surv, &x).unwrap();
    compare_some("offset", &fit);
    let strata: Vec<i64> = set.table["stratum"].iter().map(|&s| s as i64).collect();
    let stratified = Surv::builder(&set.table["time"], &set.event).strata(&strata);
    let stratified = stratified.build().unwrap();
    let fit = path(0.5, 0.05).offset(offset()).fit(&stratified, &x);
    compare_some("offset_strata", &fit.unwrap());

    let (none, inf) = (f64::NEG_INFINITY, f64::INFINITY);
    let lower: Vec<f64> = (0..50).map(|j| [-0.05, none, 0.0, -1.0][j % 4]).collect();
    let upper: Vec<f64> = (0..50)
        .map(|j| [0.06, 0.0, inf, 0.1, 0.02][j % 5])
        .collect();
    for (alpha, key) in [(1.0, "box_alpha1"), (0.3, "box_alpha0.3")] {
        let limited = path(alpha, 0.02).lower_limits(lower.clone());
        let fit = limited.upper_limits(upper.clone()).fit(&surv, &x).unwrap();
        compare_some(key, &fit);
        let last = fit.beta(24).dense(50);
        let binds = |j: usize| last[j].abs() > 0.0 && [lower[j], upper[j]].contains(&last[j]);
        assert!((0..50).filter(|&j| binds(j)).count() > 3, "limits bind");
    }

    let mut factor = vec![0.0, 0.0];
    factor.extend((0..48).map(|k| f64::from(1 + k % 2)));
    // glmnet got an infinite factor for the seventh column.
    let excluded = path(0.8, 0.02).penalty_factor(factor);
    let fit = excluded.exclude(vec![2, 9, 20, 6]).fit(&surv, &x).unwrap();
    compare_some("exclude", &fit);
}

#[test]
fn the_adaptive_lasso_agrees_with_glmnet() {
    let set = Set::read();
    let (surv, x) = (set.surv(), set.covariates(50));
    // glmnet's own ridge: its digits are not ours, and small coefficients magnify that.
    let ridge = numbers(&json("penalised/golden.json")["adaptive"]["ridge"]);
    let weights = AdaptiveWeights::from_coefficients(ridge).gamma(1.5);
    let path = CoxPath::new().n_lambda(25).lambda_min_ratio(0.01);
    let fit = path.adaptive(weights).fit(&surv, &x).unwrap();
    compare_some("adaptive", &fit);
}

#[test]
fn relaxed_fits_agree_with_glmnet() {
    let golden = json("penalised/golden.json");
    let set = Set::read();
    let (surv, x) = (set.surv(), set.covariates(50));
    let want = &golden["relaxed"];
    let lambda = numbers(&want["lambda"]);
    let path = CoxPath::new().alpha(0.9).lambdas(lambda.clone());
    let fit = path.clone().fit_relaxed(&surv, &x).unwrap();
    compare_some("relaxed", fit.path());
    assert_eq!(fit.lambda(), lambda);
    let (ratio, refits) = (numbers(&want["refit_dev_ratio"]), &want["refit"]);
    let what = "deviance ratio of a refit";
    all_close(fit.refits().dev_ratio(), &ratio, 1e-8, what);
    assert_eq!(refits.as_array().unwrap().len(), 3);
    for (slot, k) in refits.as_array().unwrap().iter().zip([1, 5, 11]) {
        let got = fit.coef(k, 0.0).unwrap();
        let places: Vec<u32> = numbers(&slot["i"]).iter().map(|&i| i as u32).collect();
        assert_eq!(got.index, places);
        let values = numbers(&slot["v"]);
        all_close(&got.value, &values, 1e-5, &format!("refit at {k}"));
    }

    let labels: Vec<usize> = set.table["foldid"].iter().map(|&f| f as usize).collect();
    let folds = Folds::given(&labels).unwrap();
    let cv = CrossValidation::new(path.offset(offset()));
    let want = &golden["relaxed_cv"];
    let gamma = numbers(&want["gamma"]);
    let found = cv.fit_relaxed(&surv, &x, &folds, &gamma).unwrap();
    for (g, gamma) in gamma.iter().enumerate() {
        let key = format!("g:{gamma}");
        let (cvm, cvsd) = (numbers(&want["cvm"][&key]), numbers(&want["cvsd"][&key]));
        all_close(found.cvm(g), &cvm, 1e-5, &format!("cvm, gamma {gamma}"));
        all_close(found.cvsd(g), &cvsd, 1e-4, &format!("cvsd, gamma {gamma}"));
    }
    for (got, key) in [
        (found.lambda_min(), "lambda_min"),
        (found.gamma_min(), "gamma_min"),
        (found.lambda_1se(), "lambda_1se"),
        (found.gamma_1se(), "gamma_1se"),
    ] {
        close(got, want[key].as_f64().unwrap(), 1e-12, key);
    }

    let want = &golden["offset_cv"];
    let plain = cv.fit(&surv, &x, &folds).unwrap();
    let (cvm, cvsd) = (numbers(&want["cvm"]), numbers(&want["cvsd"]));
    all_close(plain.cvm(), &cvm, 1e-5, "cvm with an offset");
    all_close(plain.cvsd(), &cvsd, 1e-4, "cvsd with an offset");
    close(
        plain.lambda_1se(),
        want["lambda_1se"].as_f64().unwrap(),
        1e-12,
        "1se",
    );
}

#[test]
fn groups_agree_with_adelie() {
    let golden = json("penalised/groups.json");
    let set = Set::read();
    let x = set.covariates(50);
    let sizes = numbers(&golden["sizes"]);
    let label = |(g, size): (usize, &f64)| vec![g; *size as usize];
    let labels: Vec<usize> = sizes.iter().enumerate().flat_map(label).collect();
    let late = Surv::builder(&set.table["time"], &set.event).entry(&set.table["entry"]);
    let late = late.build().unwrap();
    for (key, alpha, ties) in [
        ("lasso_efron", 1.0, Ties::Efron),
        ("lasso_breslow", 1.0, Ties::Breslow),
        ("mixed_efron", 0.6, Ties::Efron),
        ("lasso_entry", 1.0, Ties::Breslow),
    ] {
        let surv = if key == "lasso_entry" {
            late.clone()
        } else {
            set.surv()
        };
        let want = &golden[key];
        let path = CoxPath::new()
            .alpha(alpha)
            .ties(ties)
            .groups(labels.clone());
        let path = path.n_lambda(12).lambda_min_ratio(0.05).tolerance(1e-9);
        let fit = path.fit(&surv, &x).unwrap();
        let lambda = numbers(&want["lambda"]);
        all_close(fit.lambda(), &lambda, 1e-9, &format!("{key} lambda"));
        let df: Vec<f64> = fit.df().iter().map(|&df| df as f64).collect();
        assert_eq!(df[1..], numbers(&want["df"])[1..], "{key} df");
        let places = numbers(&want["beta_at"]);
        let slots = want["beta"].as_array().unwrap();
        assert!(!places.is_empty() && places.len() == slots.len(), "{key}");
        for (k, want) in places.iter().zip(slots) {
            let (got, want) = (fit.beta(*k as usize).dense(50), numbers(want));
            assert_eq!(want.len(), 50, "{key} beta at {k}");
            let size = want.iter().fold(0.0f64, |m, b| m.max(b.abs()));
            for (j, (got, want)) in got.iter().zip(want).enumerate() {
                let off = (got - want).abs() / size;
                assert!(
                    off <= 1e-6,
                    "{key} beta at {k}, column {j}: off by {off:.1e}"
                );
            }
        }
        assert_eq!(fit.kkt().len(), lambda.len(), "{key}: certificates");
        assert!(fit.kkt().iter().all(|&kkt| kkt <= 1e-9));
    }
}

/// The paths of `make_wide.R`: 100 columns of 60 rows.
#[test]
fn more_columns_than_rows_agree_with_glmnet() {
    let golden = json("penalised/wide.json");
    let numbers_of = |key: &str| numbers(&golden[key]);
    let (time, weights) = (numbers_of("time"), numbers_of("weights"));
    let event: Vec<bool> = numbers_of("status").iter().map(|&e| e > 0.5).collect();
    let columns = golden["x"].as_array().unwrap();
    let values: Vec<f64> = columns.iter().flat_map(numbers).collect();
    let (n, p) = (time.len(), columns.len());
    assert!(p > n);
    let x = Covariates::from_columns(&values, n, p).unwrap();
    for (key, alpha, weighted) in [
        ("lasso", 1.0, false),
        ("elastic", 0.5, false),
        ("ridge", 0.0, false),
        ("weighted", 0.9, true),
    ] {
        let w = if weighted { &weights[..] } else { &[1.0; 60] };
        let surv = Surv::builder(&time, &event).weights(w).build().unwrap();
        let path = CoxPath::new()
            .alpha(alpha)
            .n_lambda(20)
            .lambda_min_ratio(0.05);
        let path = path.tolerance(1e-9);
        let lambda = numbers(&golden[key]["lambda"]);
        all_close(path.fit(&surv, &x).unwrap().lambda(), &lambda, 2e-7, key);
        // At its very lambdas the same coefficients, and no solution that is worse.
        let fit = path.lambdas(lambda.clone()).fit(&surv, &x).unwrap();
        // The deviance is not stationary at the solution: what glmnet leaves in its coefficients shows in it.
        compare_within(key, &fit, &golden, 5e-7);
        let objectives = numbers(&golden[key]["objective"]);
        assert_eq!(objectives.len(), lambda.len(), "{key}: objectives");
        for (k, (lambda, theirs)) in lambda.iter().zip(objectives).enumerate() {
            let ours = objective(&surv, &x, &fit.beta(k).dense(p), *lambda, alpha);
            assert!(
                ours <= theirs + 1e-12 * theirs.abs(),
                "{key}, lambda {k}: {ours} against glmnet's {theirs}"
            );
        }
    }
}

/// What a path minimises, by its formula: Breslow ties, standardised columns, weights that sum to 1.
fn objective(surv: &Surv, x: &Covariates<'_>, beta: &[f64], lambda: f64, alpha: f64) -> f64 {
    let n = surv.n();
    let total: f64 = (0..n).map(|i| surv.weight(i)).sum();
    let w: Vec<f64> = (0..n).map(|i| surv.weight(i) / total).collect();
    let eta = x.times(beta).unwrap();
    let time = surv.time();
    let mut loglik = 0.0;
    for k in (0..n).filter(|&k| surv.event()[k]) {
        let at_risk = (0..n).filter(|&i| time[i] >= time[k]);
        let sum: f64 = at_risk.map(|i| w[i] * eta[i].exp()).sum();
        loglik += w[k] * (eta[k] - sum.ln());
    }
    let mut penalty = 0.0;
    for (j, b) in beta.iter().enumerate() {
        let column = x.column(j);
        let mean: f64 = w.iter().zip(&column).map(|(w, v)| w * v).sum();
        let square = w.iter().zip(&column).map(|(w, v)| w * (v - mean).powi(2));
        let b = b * square.sum::<f64>().sqrt();
        penalty += alpha * b.abs() + (1.0 - alpha) / 2.0 * b * b;
    }
    lambda * penalty - loglik
}
