//! Paths of groups against a slow solver and certificates computed afresh.

use proptest::prelude::*;

use super::oracle::Oracle;
use super::{CoxPath, PathFit};
use crate::cox::Ties;
use crate::cox::twins::{any_ties, cohort, data, noise};
use crate::{Covariates, CoxPh, Error, Surv};

/// The oracle's loss with the penalty of groups, written out from its definition.
struct Grouped<'a> {
    oracle: Oracle<'a>,
    labels: Vec<usize>,
    alpha: f64,
    lambda: f64,
}

impl<'a> Grouped<'a> {
    fn new(surv: &'a Surv, x: &Covariates<'_>, settings: &CoxPath, lambda: f64) -> Self {
        Self {
            oracle: Oracle::new(surv, x, settings),
            labels: settings.groups.clone().unwrap(),
            alpha: settings.alpha,
            lambda,
        }
    }

    /// Places and weight of every group.
    fn groups(&self) -> Vec<(Vec<usize>, f64)> {
        let mut levels = self.labels.clone();
        levels.sort_unstable();
        levels.dedup();
        let of = |level: usize| (0..self.labels.len()).filter(move |&j| self.labels[j] == level);
        levels
            .into_iter()
            .map(|level| {
                let at: Vec<usize> = of(level).collect();
                let weight = self.oracle.factor[at[0]] * (at.len() as f64).sqrt();
                (at, weight)
            })
            .collect()
    }

    fn objective(&self, b: &[f64]) -> f64 {
        let one = |(at, weight): (Vec<usize>, f64)| {
            let square: f64 = at.iter().map(|&j| b[j] * b[j]).sum();
            let mixed = self.alpha * square.sqrt() + 0.5 * (1.0 - self.alpha) * square;
            self.lambda * weight * mixed
        };
        self.oracle.loss(b).0 + self.groups().into_iter().map(one).sum::<f64>()
    }

    fn certificate(&self, b: &[f64]) -> f64 {
        let (_, gradient) = self.oracle.loss(b);
        let unit = self.lambda * self.alpha.max(1e-3);
        let one = |(at, weight): (Vec<usize>, f64)| {
            let at: Vec<usize> = at
                .into_iter()
                .filter(|&j| self.oracle.scale[j].is_finite())
                .collect();
            let (l1, l2) = (
                self.lambda * weight * self.alpha,
                self.lambda * weight * (1.0 - self.alpha),
            );
            let size = at.iter().map(|&j| b[j] * b[j]).sum::<f64>().sqrt();
            let off: f64 = at
                .iter()
                .map(|&j| match size {
                    0.0 => gradient[j] * gradient[j],
                    size => (gradient[j] + (l2 + l1 / size) * b[j]).powi(2),
                })
                .sum();
            if size > 0.0 {
                off.sqrt() / unit
            } else {
                (off.sqrt() - l1).max(0.0) / unit
            }
        };
        self.groups().into_iter().map(one).fold(0.0, f64::max)
    }

    /// Proximal gradient with backtracking.
    fn minimise(&self, rounds: usize) -> Vec<f64> {
        let p = self.labels.len();
        let (mut b, mut size) = (vec![0.0; p], 1.0);
        for _ in 0..rounds {
            let (loss, gradient) = self.oracle.loss(&b);
            b = loop {
                let mut next: Vec<f64> = (0..p).map(|j| b[j] - size * gradient[j]).collect();
                for (at, weight) in self.groups() {
                    let norm = at.iter().map(|&j| next[j] * next[j]).sum::<f64>().sqrt();
                    let l1 = size * self.lambda * weight * self.alpha;
                    let l2 = size * self.lambda * weight * (1.0 - self.alpha);
                    let share = if norm > l1 { 1.0 - l1 / norm } else { 0.0 };
                    for j in at {
                        next[j] *= share / (1.0 + l2);
                    }
                }
                let (mut linear, mut square) = (0.0, 0.0);
                for j in 0..p {
                    linear += gradient[j] * (next[j] - b[j]);
                    square += (next[j] - b[j]).powi(2);
                }
                if self.oracle.loss(&next).0 <= loss + linear + square / (2.0 * size) + 1e-15 {
                    break next;
                }
                size *= 0.5;
            };
        }
        b
    }
}

fn check(surv: &Surv, x: &Covariates<'_>, settings: &CoxPath, fit: &PathFit, tolerance: f64) {
    for (k, &lambda) in fit.lambda().iter().enumerate() {
        let grouped = Grouped::new(surv, x, settings, lambda);
        let b = grouped.oracle.standardised(fit, k);
        let fresh = grouped.certificate(&b);
        let kkt = fit.kkt()[k];
        let slack = 1e-12 / (lambda * settings.alpha.max(1e-3));
        assert!(
            fresh <= kkt * 1.001 + slack,
            "lambda {k}: {kkt} but {fresh}\n{settings:?}"
        );
        let steps = fit.steps()[k];
        assert!(
            kkt <= tolerance,
            "lambda {k}: KKT {kkt} after {steps} steps\n{settings:?}"
        );
    }
}

#[test]
fn a_slow_solver_finds_nothing_better() {
    let (tall, wide) = (
        cohort(60, 12, 41, true, true),
        cohort(25, 80, 42, false, false),
    );
    for (data, size, alpha) in [
        (&tall, 3, 1.0),
        (&tall, 4, 0.5),
        (&wide, 8, 1.0),
        (&wide, 20, 0.7),
    ] {
        let (surv, x) = (data.surv().unwrap(), data.covariates());
        let p = x.p();
        let mut settings = CoxPath::new().alpha(alpha).ties(Ties::Efron).n_lambda(10);
        settings = settings.lambda_min_ratio(0.1).tolerance(1e-8);
        settings = settings.offset((0..x.n()).map(|i| 0.5 * noise(43, i)).collect());
        // Groups need not lie together.
        settings = settings.groups((0..p).map(|j| j % (p / size)).collect());
        if p == 12 {
            let free = |j: usize| if j % (p / size) == 1 { 0.0 } else { 1.0 };
            settings = settings.penalty_factor((0..p).map(free).collect());
        }
        let fit = settings.fit(&surv, &x).unwrap();
        check(&surv, &x, &settings, &fit, 1e-8);
        assert_eq!(fit.df()[0], if p == 12 { size } else { 0 });
        assert!(
            fit.df().iter().all(|df| df % size == 0),
            "groups come and go whole"
        );
        for k in [4, 9] {
            let grouped = Grouped::new(&surv, &x, &settings, fit.lambda()[k]);
            let ours = grouped.objective(&grouped.oracle.standardised(&fit, k));
            let theirs = grouped.objective(&grouped.minimise(1500));
            assert!(
                ours <= theirs + 1e-12,
                "{size} {alpha} {k}: {ours} {theirs}"
            );
            assert!(theirs <= ours + 1e-4, "{size} {alpha} {k}: {ours} {theirs}");
        }
    }
}

#[test]
fn groups_of_one_are_the_path_itself_and_one_free_group_the_cox_model() {
    let data = cohort(70, 9, 44, true, true);
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    for alpha in [1.0, 0.4, 0.0] {
        let path = CoxPath::new().alpha(alpha).n_lambda(15).tolerance(1e-9);
        let want = path.clone().fit(&surv, &x).unwrap();
        let got = path.groups((0..9).rev().collect()).fit(&surv, &x).unwrap();
        for k in 0..15 {
            assert!((got.lambda()[k] / want.lambda()[k] - 1.0).abs() < 1e-12);
            for (a, b) in got.beta(k).dense(9).iter().zip(want.beta(k).dense(9)) {
                assert!((a - b).abs() < 1e-7, "{alpha} {k}: {a} {b}");
            }
        }
    }
    let path = CoxPath::new().ties(Ties::Efron).lambdas(vec![0.01, 0.0]);
    let fit = path.groups(vec![0; 9]).fit(&surv, &x).unwrap();
    let cox = CoxPh::new().fit(&surv, &x).unwrap();
    for (a, b) in fit.beta(1).dense(9).iter().zip(cox.coef()) {
        assert!((a - b).abs() < 1e-7 * (1.0 + b.abs()), "{a} {b}");
    }
}

#[test]
fn what_does_not_go_with_groups_is_refused() {
    let data = cohort(20, 4, 45, false, false);
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    let base = || CoxPath::new().groups(vec![0, 0, 1, 1]);
    for (settings, want) in [
        (CoxPath::new().groups(vec![0]), "`groups` has 1"),
        (base().lower_limits(vec![0.0; 4]), "cannot go with limits"),
        (
            base().adaptive(crate::AdaptiveWeights::ridge()),
            "cannot go with adaptive weights",
        ),
        (
            base().penalty_factor(vec![1.0, 2.0, 1.0, 1.0]),
            "of column `x2`: must be the same",
        ),
    ] {
        let found = settings.fit(&surv, &x).unwrap_err();
        assert!(matches!(
            found,
            Error::Setting { .. } | Error::Length { .. }
        ));
        assert!(found.to_string().contains(want), "{found}");
    }
    // An excluded column belongs to no group.
    let fit = base()
        .exclude(vec![1])
        .penalty_factor(vec![1.0, 2.0, 1.0, 1.0]);
    let fit = fit.n_lambda(8).fit(&surv, &x).unwrap();
    assert!((0..8).all(|k| !fit.beta(k).index.contains(&1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever comes in: a typed error, or solutions whose certificates are true.
    #[test]
    fn any_small_data_give_a_path_of_groups_or_a_typed_error(
        data in data(3..22, 6),
        ties in any_ties(),
        alpha in prop::sample::select(vec![1.0, 0.9, 0.3, 0.0]),
        labels in prop::collection::vec(0usize..4, 40),
        more in prop::sample::select(vec![0usize, 4, 34]),
        free in prop::option::of(0usize..4),
    ) {
        let (n, p) = (data.n(), data.p + more);
        let mut x = Vec::with_capacity(n * p);
        for (i, row) in data.x.chunks_exact(data.p).enumerate() {
            x.extend_from_slice(row);
            x.extend((0..more).map(|c| noise(c as u64, i)));
        }
        let Ok(surv) = data.surv() else { return Ok(()) };
        let x = Covariates::from_rows(&x, n, p).unwrap();
        let mut settings = CoxPath::new().alpha(alpha).ties(ties).n_lambda(8);
        settings = settings.lambda_min_ratio(0.05).groups(labels[..p].to_vec());
        if let Some(free) = free {
            let factor = labels[..p].iter().map(|&l| if l == free { 0.0 } else { 1.0 });
            settings = settings.penalty_factor(factor.collect());
        }
        let Ok(fit) = settings.fit(&surv, &x) else { return Ok(()) };
        prop_assert!((0..8).all(|k| fit.beta(k).value.iter().all(|b| b.is_finite())));
        // Unpenalised columns may have no finite maximum.
        if free.is_none() {
            check(&surv, &x, &settings, &fit, 1e-4);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit_of_a_path_of_groups() {
    // Wide enough for the products to be shared among threads.
    let data = cohort(700, 120, 17, false, false);
    let (surv, x) = (data.surv().unwrap(), data.covariates());
    let settings = CoxPath::new().groups((0..120).map(|j| j / 30).collect());
    let settings = settings.n_lambda(12).lambda_min_ratio(0.1);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let fit = pool.build().unwrap().install(|| settings.fit(&surv, &x));
        fit.unwrap()
    };
    let one = run(1);
    assert!(one.df().last().is_some_and(|&df| df > 0));
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}
