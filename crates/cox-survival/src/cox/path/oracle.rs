//! The path against slow solvers of the same problem and certificates computed afresh.
//!
//! Everything here starts from the user's columns: standardisation, likelihood, gradient and
//! objective are written out again with the definitions of `twins.rs`.

use argmin::core::{CostFunction, Executor, Gradient, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use proptest::prelude::*;

use super::{AdaptiveWeights, CoxPath, PathFit, Problem};
use crate::cox::Ties;
use crate::cox::likelihood::Likelihood;
use crate::cox::twins::{Data, any_ties, cohort, data, noise, slow};
use crate::{Covariates, CoxPh, CrossValidation, Error, Folds, Surv};

/// The objective in standardised units.
pub(super) struct Oracle<'a> {
    surv: &'a Surv,
    /// Column-major.
    z: Vec<Vec<f64>>,
    pub(super) scale: Vec<f64>,
    pub(super) factor: Vec<f64>,
    total: f64,
    alpha: f64,
    lambda: f64,
    ties: Ties,
    /// Of the standardised coefficients.
    limits: Vec<[f64; 2]>,
    offset: Vec<f64>,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(surv: &'a Surv, x: &Covariates<'_>, settings: &CoxPath) -> Self {
        let w: Vec<f64> = (0..surv.n()).map(|i| surv.weight(i)).collect();
        let total: f64 = w.iter().sum();
        let mut scale = Vec::new();
        let z = (0..x.p())
            .map(|j| {
                let v = x.column(j);
                let mean = v.iter().zip(&w).map(|(v, w)| v * w).sum::<f64>() / total;
                let square = |(v, w): (&f64, &f64)| w * (v - mean) * (v - mean);
                let sd = (v.iter().zip(&w).map(square).sum::<f64>() / total).sqrt();
                let constant = sd <= 1e-14 * mean.abs() || settings.exclude.contains(&j);
                scale.push(match (constant, settings.standardize) {
                    (true, _) => f64::INFINITY,
                    (false, true) => sd,
                    (false, false) => 1.0,
                });
                v.iter().map(|v| (v - mean) / scale[j]).collect()
            })
            .collect();
        let given = settings.penalty_factor.clone();
        let mut given = given.unwrap_or_else(|| vec![1.0; x.p()]);
        for &j in &settings.exclude {
            given[j] = 1.0;
        }
        let side = |given: &Option<Vec<Option<f64>>>, j: usize, none: f64| {
            given.as_ref().and_then(|g| g[j]).map_or(none, |l| {
                // 0 times the infinite scale of an unusable column.
                if l == 0.0 { 0.0 } else { l * scale[j] }
            })
        };
        let limits = (0..x.p())
            .map(|j| {
                let lower = side(&settings.lower, j, f64::NEG_INFINITY);
                [lower, side(&settings.upper, j, f64::INFINITY)]
            })
            .collect();
        let offset = match settings.offset.as_slice() {
            [] => vec![0.0; surv.n()],
            offset => offset.to_vec(),
        };
        let sum: f64 = given.iter().sum();
        Self {
            surv,
            limits,
            offset,
            z,
            scale,
            factor: given.iter().map(|v| v * x.p() as f64 / sum).collect(),
            total,
            alpha: settings.alpha,
            lambda: 0.0,
            ties: settings.ties,
        }
    }

    fn at(self, lambda: f64) -> Self {
        Self { lambda, ..self }
    }

    pub(super) fn standardised(&self, fit: &PathFit, k: usize) -> Vec<f64> {
        let dense = fit.beta(k).dense(self.z.len());
        let pairs = dense.iter().zip(&self.scale);
        pairs
            .map(|(b, s)| if *b == 0.0 { 0.0 } else { b * s })
            .collect()
    }

    /// Loss and its gradient.
    pub(super) fn loss(&self, b: &[f64]) -> (f64, Vec<f64>) {
        let mut eta = self.offset.clone();
        for (z, b) in self.z.iter().zip(b).filter(|(_, b)| b.abs() > 0.0) {
            for (e, z) in eta.iter_mut().zip(z) {
                *e += b * z;
            }
        }
        let found = slow(self.surv, &[], 0, &eta, self.ties);
        let gradient = self.z.iter().map(|z| {
            -z.iter()
                .zip(&found.residual)
                .map(|(z, r)| z * r)
                .sum::<f64>()
                / self.total
        });
        (-found.loglik / self.total, gradient.collect())
    }

    fn penalty(&self, b: &[f64]) -> f64 {
        let one = |(b, v): (&f64, &f64)| {
            self.lambda * v * (self.alpha * b.abs() + 0.5 * (1.0 - self.alpha) * b * b)
        };
        b.iter().zip(&self.factor).map(one).sum()
    }

    fn objective(&self, b: &[f64]) -> f64 {
        self.loss(b).0 + self.penalty(b)
    }

    /// Violation of the optimality conditions relative to `lambda alpha`.
    fn certificate(&self, b: &[f64]) -> f64 {
        let (_, gradient) = self.loss(b);
        let unit = self.lambda * self.alpha.max(1e-3);
        (0..b.len())
            .filter(|&j| self.scale[j].is_finite())
            .map(|j| {
                let l1 = self.lambda * self.alpha * self.factor[j];
                let l2 = self.lambda * (1.0 - self.alpha) * self.factor[j];
                // Slopes of the objective to either side, where there is room.
                let slope = gradient[j] + l2 * b[j];
                let right = slope + if b[j] >= 0.0 { l1 } else { -l1 };
                let left = slope + if b[j] > 0.0 { l1 } else { -l1 };
                let [lower, upper] = self.limits[j];
                let near =
                    |limit: f64| limit.is_finite() && (b[j] - limit).abs() <= 1e-14 * limit.abs();
                let up = if near(upper) { 0.0 } else { (-right).max(0.0) };
                let down = if near(lower) { 0.0 } else { left.max(0.0) };
                up.max(down) / unit
            })
            .fold(0.0, f64::max)
    }

    /// Accelerated proximal gradient with backtracking and restarts (Beck & Teboulle 2009).
    fn minimise(&self, rounds: usize) -> Vec<f64> {
        let p = self.z.len();
        let (mut b, mut y, mut momentum, mut size) = (vec![0.0; p], vec![0.0; p], 1.0f64, 1.0);
        let mut value = self.objective(&b);
        for _ in 0..rounds {
            let (loss, gradient) = self.loss(&y);
            let next = loop {
                let next: Vec<f64> = (0..p)
                    .map(|j| {
                        let l1 = size * self.lambda * self.alpha * self.factor[j];
                        let l2 = size * self.lambda * (1.0 - self.alpha) * self.factor[j];
                        let u = y[j] - size * gradient[j];
                        let [lower, upper] = self.limits[j];
                        (u.signum() * (u.abs() - l1).max(0.0) / (1.0 + l2)).clamp(lower, upper)
                    })
                    .collect();
                let (mut linear, mut square) = (0.0, 0.0);
                for j in 0..p {
                    linear += gradient[j] * (next[j] - y[j]);
                    square += (next[j] - y[j]).powi(2);
                }
                if self.loss(&next).0 <= loss + linear + square / (2.0 * size) + 1e-15 {
                    break next;
                }
                size *= 0.5;
            };
            let now = self.objective(&next);
            if now > value {
                (y, momentum) = (b.clone(), 1.0);
                continue;
            }
            let ahead = 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt());
            y = (0..p)
                .map(|j| next[j] + (momentum - 1.0) / ahead * (next[j] - b[j]))
                .collect();
            (b, momentum, value) = (next, ahead, now);
        }
        b
    }
}

impl CostFunction for &Oracle<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, b: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        Ok(self.objective(b))
    }
}

impl Gradient for &Oracle<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, b: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        let (_, mut gradient) = self.loss(b);
        for (g, (b, v)) in gradient.iter_mut().zip(b.iter().zip(&self.factor)) {
            *g += self.lambda * v * b;
        }
        Ok(gradient)
    }
}

/// Certificates computed afresh agree with those reported; `slack` is rounding of the gradient.
fn check(surv: &Surv, x: &Covariates<'_>, settings: &CoxPath, fit: &PathFit, tolerance: f64) {
    let mut oracle = Oracle::new(surv, x, settings);
    for k in 0..fit.lambda().len() {
        oracle = oracle.at(fit.lambda()[k]);
        let b = oracle.standardised(fit, k);
        let fresh = oracle.certificate(&b);
        let slack = 1e-12 / (fit.lambda()[k] * settings.alpha.max(1e-3));
        assert!(
            fresh <= fit.kkt()[k] * (1.0 + 1e-3) + slack,
            "lambda {k}: certificate {} but {fresh}\n{settings:?}",
            fit.kkt()[k]
        );
        assert!(
            fit.kkt()[k] <= tolerance,
            "lambda {k}: KKT {} after {} steps\n{settings:?}",
            fit.kkt()[k],
            fit.steps()[k]
        );
    }
}

fn weighted(mut data: Data) -> Data {
    data.weights = Some((0..data.n()).map(|i| [1.0, 0.5, 2.0, 0.0][i % 4]).collect());
    data
}

#[test]
fn slow_solvers_find_nothing_better() {
    let (tall, wide) = (
        cohort(45, 6, 1, false, false),
        cohort(30, 50, 2, false, false),
    );
    let mixed = weighted(cohort(45, 12, 3, true, true));
    let mut factor = vec![1.0; 12];
    (factor[1], factor[4]) = (0.0, 2.5);
    for (data, alpha, ties, factor) in [
        (&tall, 1.0, Ties::Efron, None),
        (&tall, 0.1, Ties::Breslow, None),
        (&wide, 1.0, Ties::Breslow, None),
        (&wide, 0.5, Ties::Efron, None),
        (&wide, 0.1, Ties::Efron, None),
        (&mixed, 0.95, Ties::Efron, Some(factor)),
        (&mixed, 0.5, Ties::Breslow, None),
    ] {
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let mut settings = CoxPath::new().alpha(alpha).ties(ties).n_lambda(20);
        settings = settings.lambda_min_ratio(0.05).tolerance(1e-9);
        settings.penalty_factor = factor;
        let fit = settings.fit(&surv, &x).unwrap();
        check(&surv, &x, &settings, &fit, 1e-9);
        for k in [7, 19] {
            let oracle = Oracle::new(&surv, &x, &settings).at(fit.lambda()[k]);
            let ours = oracle.objective(&oracle.standardised(&fit, k));
            let theirs = oracle.objective(&oracle.minimise(600));
            assert!(ours <= theirs + 1e-12, "{settings:?}: {ours} {theirs}");
            assert!(
                theirs <= ours + 1e-5,
                "the oracle is close too: {ours} {theirs}"
            );
        }
    }
}

#[test]
fn limits_offset_and_exclusions_against_slow_solvers() {
    let (tall, wide) = (
        weighted(cohort(60, 12, 31, true, true)),
        cohort(25, 60, 32, false, false),
    );
    for (data, alpha) in [
        (&tall, 1.0),
        (&tall, 0.0),
        (&wide, 0.6),
        (&wide, 0.1),
        (&wide, 0.0),
    ] {
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let p = x.p();
        let one = |j: usize, of: [f64; 4]| of[j % 4];
        let mut settings = CoxPath::new().alpha(alpha).ties(Ties::Efron).n_lambda(12);
        settings = settings
            .lambda_min_ratio(0.05)
            .tolerance(1e-9)
            .lower_limits(
                (0..p)
                    .map(|j| one(j, [-0.02, f64::NEG_INFINITY, 0.0, -0.3]))
                    .collect(),
            )
            .upper_limits(
                (0..p)
                    .map(|j| one(j, [f64::INFINITY, 0.01, 0.05, 0.0]))
                    .collect(),
            )
            .offset((0..x.n()).map(|i| 0.8 * noise(33, i)).collect())
            .exclude(vec![1, 6]);
        let fit = settings.fit(&surv, &x).unwrap();
        check(&surv, &x, &settings, &fit, 1e-8);
        let last = fit.beta(11).dense(p);
        assert!(last[1].abs() < 1e-300 && last[6].abs() < 1e-300);
        let limits = settings.check(&surv, &x).unwrap().limits.unwrap();
        let at = |j: usize| last[j].abs() > 0.0 && limits[j].contains(&last[j]);
        assert!((0..p).any(at), "a limit binds");
        for (b, [lower, upper]) in last.iter().zip(limits) {
            assert!(*b >= lower && *b <= upper);
        }
        for k in [5, 11] {
            let oracle = Oracle::new(&surv, &x, &settings).at(fit.lambda()[k]);
            let ours = oracle.objective(&oracle.standardised(&fit, k));
            let theirs = oracle.objective(&oracle.minimise(600));
            assert!(ours <= theirs + 1e-12, "{alpha} {k}: {ours} {theirs}");
            assert!(theirs <= ours + 1e-5, "{alpha} {k}: {ours} {theirs}");
        }
    }
}

#[test]
fn limits_out_of_reach_change_nothing() {
    let data = cohort(40, 70, 34, false, true);
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    for alpha in [1.0, 0.3] {
        let settings = CoxPath::new().alpha(alpha).n_lambda(15);
        let far = settings.clone().lower_limits(vec![-1e9; 70]);
        assert_eq!(
            settings.fit(&surv, &x).unwrap(),
            far.upper_limits(vec![1e9; 70]).fit(&surv, &x).unwrap()
        );
        let same = settings.clone().offset(vec![0.7; 40]).fit(&surv, &x);
        let (same, plain) = (same.unwrap(), settings.fit(&surv, &x).unwrap());
        let near = |(a, b): (f64, f64)| (a - b).abs() <= 1e-6 * b.abs().max(1e-3);
        for k in 0..15 {
            let pairs = same.beta(k).dense(70).into_iter();
            assert!(pairs.zip(plain.beta(k).dense(70)).all(near));
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let data = cohort(20, 3, 35, false, false);
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    let refused = |settings: CoxPath| settings.fit(&surv, &x).unwrap_err().to_string();
    let new = CoxPath::new;
    for (settings, want) in [
        (
            new().lower_limits(vec![0.0, 0.1, 0.0]),
            "column `x2`: the lower limit 0.1",
        ),
        (
            new().upper_limits(vec![0.0, 0.1, -2.0]),
            "column `x3`: the upper limit -2",
        ),
        (
            new().upper_limits(vec![f64::NAN, 0.1, 2.0]),
            "column `x1`: the upper limit NaN",
        ),
        (
            new().upper_limits(vec![f64::NEG_INFINITY, 0.1, 2.0]),
            "column `x1`",
        ),
        (new().upper_limits(vec![1.0]), "`upper_limits` has 1"),
        (new().exclude(vec![3]), "exclude = 3"),
        (new().exclude(vec![0, 1, 2]), "leaves no column"),
        (new().offset(vec![0.0; 3]), "`offset` has 3 values"),
        (new().offset(vec![f64::NAN; 20]), "column `offset`, row 1"),
        (
            new().adaptive(AdaptiveWeights::ridge().gamma(0.0)),
            "adaptive gamma = 0",
        ),
        (
            new().adaptive(AdaptiveWeights::from_coefficients(vec![0.0; 3])),
            "an adaptive lasso is not defined",
        ),
        (
            new().adaptive(AdaptiveWeights::from_coefficients(vec![1.0])),
            "`adaptive coefficients` has 1",
        ),
        (
            new().adaptive(AdaptiveWeights::ridge_at(-1.0)),
            "lambda = -1",
        ),
        (new().adaptive(AdaptiveWeights::ridge_cv(1, 0)), "folds = 1"),
    ] {
        let found = refused(settings);
        assert!(found.contains(want), "{found}");
    }
    let fit = new().fit_relaxed(&surv, &x).unwrap();
    assert!(fit.coef(0, 1.5).is_err() && fit.coef(1000, 0.5).is_err());
    let limited = new().upper_limits(vec![f64::INFINITY, 0.1, 2.0]);
    let text = serde_json::to_string(&limited).unwrap();
    assert_eq!(limited, serde_json::from_str(&text).unwrap());
}

#[test]
fn a_relaxed_fit_is_the_cox_model_of_the_chosen_columns() {
    let data = weighted(cohort(150, 20, 36, true, true));
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    let offset: Vec<f64> = (0..150).map(|i| 0.5 * noise(37, i)).collect();
    let settings = CoxPath::new()
        .ties(Ties::Efron)
        .n_lambda(12)
        .lambda_min_ratio(0.1);
    let fit = settings
        .offset(offset.clone())
        .fit_relaxed(&surv, &x)
        .unwrap();
    assert_eq!(fit.lambda().len(), 12);
    for k in [4, 11] {
        let chosen = &fit.path().beta(k).index;
        assert!(!chosen.is_empty() && chosen.len() < 20);
        let columns: Vec<f64> = chosen.iter().flat_map(|&j| x.column(j as usize)).collect();
        let small = Covariates::from_columns(&columns, 150, chosen.len()).unwrap();
        let cox = CoxPh::new()
            .offset(offset.clone())
            .fit(&surv, &small)
            .unwrap();
        let free = fit.coef(k, 0.0).unwrap();
        for (a, b) in free.value.iter().zip(cox.coef()) {
            assert!((a - b).abs() < 1e-8 * (1.0 + b.abs()), "{k}: {a} {b}");
        }
        let half = fit.coef(k, 0.25).unwrap();
        for (c, half) in half.value.iter().enumerate() {
            let want = 0.25 * fit.path().beta(k).value[c] + 0.75 * free.value[c];
            assert!((half - want).abs() < 1e-15);
        }
        let eta = fit.predict(k, 0.25, &x).unwrap();
        let by_hand = x.times(&half.dense(20)).unwrap();
        assert_eq!(eta, by_hand);
    }
    // More columns than events: no refit from there on, and none at all if that is the start.
    let data = cohort(20, 60, 38, false, false);
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    let fit = CoxPath::new()
        .alpha(0.1)
        .n_lambda(10)
        .fit_relaxed(&surv, &x)
        .unwrap();
    assert!(fit.lambda().len() < 10 && fit.path().lambda().len() == 10);
    let none = CoxPath::new().alpha(0.0).n_lambda(4).fit_relaxed(&surv, &x);
    assert!(matches!(none, Err(Error::Undefined { .. })));
}

#[test]
fn adaptive_factors_by_hand() {
    let data = cohort(60, 9, 39, false, true);
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    let ridge = CoxPath::new()
        .alpha(0.0)
        .lambdas(vec![0.3])
        .fit(&surv, &x)
        .unwrap();
    let mut coef = ridge.beta(0).dense(9);
    let scale = Oracle::new(&surv, &x, &CoxPath::new()).scale;
    let factor = |coef: &[f64]| -> Vec<f64> {
        let pairs = coef.iter().zip(&scale);
        pairs.map(|(b, s)| (b * s).abs().powf(-1.5)).collect()
    };
    let settings = CoxPath::new().n_lambda(15).alpha(0.7);
    let by = |weights: AdaptiveWeights| settings.clone().adaptive(weights.gamma(1.5));
    let same = |a: &PathFit, b: &PathFit| {
        for k in 0..15 {
            for (a, b) in a.beta(k).dense(9).iter().zip(b.beta(k).dense(9)) {
                assert!((a - b).abs() < 1e-6, "{k}: {a} {b}");
            }
        }
    };
    let want = settings
        .clone()
        .penalty_factor(factor(&coef))
        .fit(&surv, &x)
        .unwrap();
    same(
        &by(AdaptiveWeights::ridge_at(0.3)).fit(&surv, &x).unwrap(),
        &want,
    );
    let given = AdaptiveWeights::from_coefficients(coef.clone());
    same(&by(given).fit(&surv, &x).unwrap(), &want);
    // A coefficient of 0 leaves its column out.
    coef[2] = 0.0;
    let mut factors = factor(&coef);
    factors[2] = 1.0;
    // Left out, it counts 1 after the others have been computed.
    let out = settings.clone().exclude(vec![2]).penalty_factor(factors);
    let given = AdaptiveWeights::from_coefficients(coef);
    same(
        &by(given).fit(&surv, &x).unwrap(),
        &out.fit(&surv, &x).unwrap(),
    );
}

#[test]
fn ridge_is_where_lbfgs_goes() {
    let (tall, wide) = (
        weighted(cohort(50, 5, 4, true, true)),
        cohort(24, 60, 5, false, true),
    );
    for (data, ties) in [
        (&tall, Ties::Efron),
        (&wide, Ties::Efron),
        (&wide, Ties::Breslow),
    ] {
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let settings = CoxPath::new().alpha(0.0).ties(ties).n_lambda(12);
        let fit = settings.fit(&surv, &x).unwrap();
        check(&surv, &x, &settings, &fit, 1e-6);
        for k in [5, 11] {
            let oracle = Oracle::new(&surv, &x, &settings).at(fit.lambda()[k]);
            let search = LBFGS::new(MoreThuenteLineSearch::new(), 10)
                .with_tolerance_grad(1e-9)
                .unwrap();
            let found = Executor::new(&oracle, search)
                .configure(|s| s.param(vec![0.0; x.p()]).max_iters(300))
                .run()
                .unwrap();
            let best = found.state().get_best_param().unwrap();
            let ours = oracle.standardised(&fit, k);
            assert!(oracle.objective(&ours) <= oracle.objective(best) + 1e-12);
            let size = best.iter().fold(0.0f64, |m, b| m.max(b.abs()));
            for (a, b) in ours.iter().zip(best) {
                assert!((a - b).abs() < 1e-5 * size, "{k}: {a} {b}");
            }
        }
    }
}

#[test]
fn certificates_of_the_ridge_have_the_unit_of_every_path() {
    let data = cohort(24, 60, 5, false, true);
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    let factor: Vec<f64> = (0..60).map(|j| [0.01, 0.3, 2.0][j % 3]).collect();
    // So coarse that what is left is far above rounding.
    let base = CoxPath::new().alpha(0.0).tolerance(0.1);
    let base = base.penalty_factor(factor);
    let first = base.clone().n_lambda(1).fit(&surv, &x).unwrap().lambda()[0];
    let settings = base.lambdas([0.5, 0.1, 1e-2, 1e-5, 1e-7].map(|l| l * first).to_vec());
    let fit = settings.fit(&surv, &x).unwrap();
    let oracle = Oracle::new(&surv, &x, &settings);
    let (_, gradient) = oracle.loss(&[0.0; 60]);
    let enters = |j: usize| gradient[j].abs() / oracle.factor[j];
    let largest = (0..60).max_by(|&a, &b| enters(a).total_cmp(&enters(b)));
    let share = oracle.factor[largest.unwrap()].min(1.0);
    assert!(share < 0.1);
    let mut oracle = oracle;
    for (k, &lambda) in fit.lambda().iter().enumerate() {
        oracle = oracle.at(lambda);
        let fresh = oracle.certificate(&oracle.standardised(&fit, k));
        let want = fresh * lambda / lambda.max(1e-4 * first) / share;
        let found = fit.kkt()[k];
        assert!(
            (found - want).abs() <= 1e-6 * want + 1e-9,
            "{k}: {found} {want}"
        );
        assert!(found <= 0.1 * 60f64.sqrt(), "{k}: {found}");
    }
}

#[test]
fn the_ridge_in_few_dimensions_is_the_ridge_in_many() {
    let data = weighted(cohort(30, 70, 6, false, true));
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    let mut factor: Vec<f64> = (0..70).map(|j| 1.0 + f64::from(j % 3)).collect();
    factor[3] = 0.0;
    let settings = CoxPath::new()
        .alpha(0.0)
        .n_lambda(10)
        .tolerance(1e-9)
        .penalty_factor(factor);
    let dual = settings.fit(&surv, &x).unwrap();
    let problem = Problem::new(&surv, &x, true, settings.check(&surv, &x).unwrap());
    let mut likelihood = Likelihood::new(&surv, settings.ties);
    let given = settings.clone().lambdas(dual.lambda().to_vec());
    let primal = given.run(&problem, &mut likelihood, None).unwrap();
    for (k, solution) in primal.iter().enumerate() {
        let oracle = Oracle::new(&surv, &x, &settings);
        for (a, b) in oracle
            .standardised(&dual, k)
            .iter()
            .zip(&solution.beta.dense(70))
        {
            assert!((a - b).abs() < 1e-8, "{k}: {a} {b}");
        }
    }
}

#[test]
fn no_penalty_is_the_cox_model() {
    for (data, ties) in [
        (cohort(120, 4, 7, false, false), Ties::Breslow),
        (weighted(cohort(150, 4, 8, true, true)), Ties::Efron),
    ] {
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let plain = CoxPh::new().ties(ties).fit(&surv, &x).unwrap();
        for alpha in [1.0, 0.5, 0.0] {
            let settings = CoxPath::new()
                .alpha(alpha)
                .ties(ties)
                .lambdas(vec![0.02, 0.001, 0.0]);
            let fit = settings.fit(&surv, &x).unwrap();
            assert!(
                fit.kkt()[2] <= 1e-7 && fit.steps()[2] < 60,
                "{:?}",
                fit.steps()
            );
            for (a, b) in fit.beta(2).dense(4).iter().zip(plain.coef()) {
                assert!((a - b).abs() < 1e-8 * (1.0 + b.abs()), "{a} {b}");
            }
        }
        // The same, with the penalty on a column that has no effect on the others.
        let unpenalised = CoxPath::new()
            .ties(ties)
            .penalty_factor(vec![0.0, 0.0, 0.0, 1.0]);
        let fit = unpenalised.fit(&surv, &x).unwrap();
        let three =
            Covariates::from_columns(&[x.column(0), x.column(1), x.column(2)].concat(), x.n(), 3)
                .map(|three| CoxPh::new().ties(ties).fit(&surv, &three).unwrap());
        let three = three.unwrap();
        for j in 0..3 {
            assert!((fit.beta(0).dense(4)[j] - three.coef()[j]).abs() < 1e-6);
        }
    }
}

#[test]
fn copies_and_constants() {
    let data = cohort(50, 30, 9, false, false);
    let surv = data.surv().unwrap();
    let whole = data.covariates();
    let mut columns: Vec<Vec<f64>> = (0..30).map(|j| whole.column(j)).collect();
    columns.push(columns[0].clone());
    columns.push(vec![-4.2; 50]);
    columns.push(columns[1].iter().map(|v| 3.0 - v).collect());
    let values = columns.concat();
    let x = Covariates::from_columns(&values, 50, 33).unwrap();
    for alpha in [1.0, 0.5, 0.1, 0.0] {
        for ties in [Ties::Efron, Ties::Breslow] {
            let settings = CoxPath::new()
                .alpha(alpha)
                .ties(ties)
                .n_lambda(30)
                .lambda_min_ratio(0.02);
            let fit = settings.fit(&surv, &x).unwrap();
            check(&surv, &x, &settings, &fit, 1e-6);
            for k in 0..30 {
                let beta = fit.beta(k).dense(33);
                assert!(beta[31].abs() < 1e-300);
                if alpha < 1.0 {
                    // The penalty is strictly convex: copies share.
                    assert!((beta[0] - beta[30]).abs() < 1e-6 * (1.0 + beta[0].abs()));
                    assert!((beta[1] + beta[32]).abs() < 1e-6 * (1.0 + beta[1].abs()));
                }
            }
        }
    }
    let constant = Covariates::from_columns(&values[31 * 50..32 * 50], 50, 1).unwrap();
    let refused = CoxPath::new().fit(&surv, &constant);
    assert!(matches!(refused, Err(Error::ConstantColumn { .. })));
}

#[test]
fn where_one_starts_does_not_matter() {
    let data = weighted(cohort(60, 90, 10, true, true));
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    for alpha in [1.0, 0.5, 0.05] {
        let settings = CoxPath::new()
            .alpha(alpha)
            .ties(Ties::Efron)
            .tolerance(1e-9)
            .n_lambda(25);
        let path = settings.fit(&surv, &x).unwrap();
        for k in [0, 10, 24] {
            let one = settings
                .clone()
                .lambdas(vec![path.lambda()[k]])
                .fit(&surv, &x)
                .unwrap();
            let (kkt, steps) = (one.kkt()[0], one.steps()[0]);
            assert!(kkt <= 1e-9, "alpha {alpha}, lambda {k}: {kkt} {steps}");
            let (a, b) = (path.beta(k).dense(90), one.beta(0).dense(90));
            for (a, b) in a.iter().zip(&b) {
                assert!((a - b).abs() < 1e-6, "alpha {alpha}, lambda {k}: {a} {b}");
            }
        }
        let beyond = settings
            .clone()
            .lambdas(vec![50.0 * path.lambda()[0], path.lambda()[5]]);
        let beyond = beyond.fit(&surv, &x).unwrap();
        assert_eq!(beyond.df()[0], 0);
        let threads = |threads: usize| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
                .install(|| settings.fit(&surv, &x).unwrap())
        };
        assert_eq!(threads(1), threads(2));
        assert_eq!(threads(1), threads(3));
    }
}

#[test]
fn single_precision_is_read_as_what_it_is() {
    let data = cohort(40, 60, 11, false, false);
    let surv = data.surv().unwrap();
    let short: Vec<f32> = data.x.iter().map(|&v| v as f32).collect();
    let long: Vec<f64> = short.iter().map(|&v| f64::from(v)).collect();
    let across: Vec<f32> = (0..60 * 40)
        .map(|at| short[at % 40 * 60 + at / 40])
        .collect();
    // Rows are copied once, columns are read where they lie.
    let rows = Covariates::from_rows_f32(&short, 40, 60).unwrap();
    let columns = Covariates::from_columns_f32(&across, 40, 60).unwrap();
    let b = Covariates::from_rows(&long, 40, 60).unwrap();
    for (a, alpha) in [(&rows, 1.0), (&rows, 0.0), (&columns, 1.0), (&columns, 0.0)] {
        let settings = CoxPath::new().alpha(alpha).n_lambda(20);
        let (short, long) = (settings.fit(&surv, a), settings.fit(&surv, &b));
        let (short, long) = (short.unwrap(), long.unwrap());
        for k in 0..20 {
            assert!(short.kkt()[k] <= long.kkt()[k].max(1e-7));
            assert!((short.lambda()[k] / long.lambda()[k] - 1.0).abs() < 1e-12);
            for (a, b) in short.beta(k).dense(60).iter().zip(long.beta(k).dense(60)) {
                assert!((a - b).abs() < 1e-6, "{k}: {a} {b}");
            }
        }
        check(
            &surv,
            a,
            &settings,
            &short,
            if alpha > 0.0 { 1e-7 } else { 1e-6 },
        );
    }
}

#[test]
fn cross_validation_reads_single_precision_however_it_lies() {
    let data = cohort(60, 30, 11, false, false);
    let surv = data.surv().unwrap();
    let rows: Vec<f32> = data.x.iter().map(|&v| v as f32).collect();
    let columns: Vec<f32> = (0..30 * 60)
        .map(|at| rows[at % 60 * 30 + at / 60])
        .collect();
    let rows = Covariates::from_rows_f32(&rows, 60, 30).unwrap();
    let columns = Covariates::from_columns_f32(&columns, 60, 30).unwrap();
    let folds = Folds::stratified(&surv, 4, 2).unwrap();
    let cv = CrossValidation::new(CoxPath::new().n_lambda(15));
    let (rows, columns) = (
        cv.fit(&surv, &rows, &folds),
        cv.fit(&surv, &columns, &folds),
    );
    let (rows, columns) = (rows.unwrap(), columns.unwrap());
    for (a, b) in rows.cvm().iter().zip(columns.cvm()) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn small_alpha_with_many_features() {
    let data = cohort(120, 1000, 12, false, false);
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    for alpha in [0.05, 0.01] {
        let settings = CoxPath::new().alpha(alpha).n_lambda(25).ties(Ties::Efron);
        let fit = settings.fit(&surv, &x).unwrap();
        assert!(
            *fit.df().last().unwrap() > 120,
            "more features than patients"
        );
        check(&surv, &x, &settings, &fit, 1e-7);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever comes in: a typed error, or solutions whose certificates are true.
    #[test]
    fn any_small_data_give_a_path_or_a_typed_error(
        data in data(2..22, 6),
        ties in any_ties(),
        alpha in prop::sample::select(vec![1.0, 0.95, 0.5, 0.1, 1e-4, 0.0]),
        standardize in any::<bool>(),
        coarse in any::<bool>(),
        copies in 0usize..12,
        factor in prop::option::of(prop::collection::vec(
            prop::sample::select(vec![0.0, 0.5, 1.0, 1.0, 3.0]), 18)),
        limits in prop::option::of(prop::collection::vec(
            prop::sample::select(vec![0.0, 0.02, 0.5, f64::INFINITY]), 36)),
        offset in prop::option::of(prop::collection::vec(-2.0..2.0, 22)),
        left_out in prop::option::of(0usize..6),
    ) {
        let (n, p) = (data.n(), data.p + copies);
        let mut x = Vec::with_capacity(n * p);
        for (i, row) in data.x.chunks_exact(data.p).enumerate() {
            x.extend(row.iter().map(|v| if coarse { v.round() } else { *v }));
            // Every third further column copies an old one.
            let first = x[i * p];
            x.extend((0..copies).map(|c| if c % 3 == 0 { first } else { noise(c as u64, i) }));
        }
        let Ok(surv) = data.surv() else { return Ok(()) };
        let x = Covariates::from_rows(&x, n, p).unwrap();
        let mut settings = CoxPath::new().alpha(alpha).ties(ties).n_lambda(12);
        settings = settings.standardize(standardize).lambda_min_ratio(0.01);
        let free = factor.as_ref().is_some_and(|f| f[..p].contains(&0.0));
        settings.penalty_factor = factor.map(|f| f[..p].to_vec());
        if let Some(limits) = limits {
            settings = settings.lower_limits(limits[..p].iter().map(|l| -l).collect());
            settings = settings.upper_limits(limits[18..18 + p].to_vec());
        }
        settings.offset = offset.map_or_else(Vec::new, |offset| offset[..n].to_vec());
        settings.exclude = left_out.into_iter().collect();
        let Ok(fit) = settings.fit(&surv, &x) else { return Ok(()) };
        prop_assert!(fit.lambda().iter().all(|l| l.is_finite() && *l > 0.0));
        prop_assert!(fit.dev_ratio().iter().all(|d| d.is_finite()));
        prop_assert!((0..12).all(|k| fit.beta(k).value.iter().all(|b| b.is_finite())));
        // Unpenalised columns may have no finite maximum, and coefficients without end.
        if !free {
            check(&surv, &x, &settings, &fit, 1e-4);
        }
        let _ = fit.to_string();
        let text = serde_json::to_string(&fit).unwrap();
        let back: PathFit = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
}
