//! Cross-validation sees of a held-out row only its features, can be stopped, and does not depend
//! on the number of threads.

use std::ops::ControlFlow;
use std::sync::Mutex;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cross_validation::{CrossValidation, CvMeasure};
use super::folds::Folds;
use super::nested::NestedCv;
use crate::covariates::Covariates;
use crate::cox::path::CoxPath;
use crate::error::Error;
use crate::progress::Progress;
use crate::surv::Surv;

const N: usize = 60;
const P: usize = 30;

struct Data {
    time: Vec<f64>,
    event: Vec<bool>,
    x: Vec<f64>,
}

fn data(seed: u64) -> Data {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let x: Vec<f64> = (0..N * P).map(|_| rng.random_range(-1.7..1.7)).collect();
    let time = (0..N)
        .map(|i| (rng.random_range(0.0..2.0) - x[i * P] - x[i * P + 1]).exp())
        .collect();
    let event = (0..N).map(|_| rng.random_bool(0.7)).collect();
    Data { time, event, x }
}

fn settings() -> CoxPath {
    CoxPath::new().alpha(0.5).n_lambda(8).lambda_min_ratio(0.1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn nobodys_own_outcome_reaches_their_prediction(seed in any::<u64>(), fold in 0usize..4) {
        let Data { mut time, event, x } = data(seed);
        let x = Covariates::from_rows(&x, N, P).unwrap();
        let surv = Surv::new(&time, &event).unwrap();
        let outer = Folds::stratified(&surv, 4, seed).unwrap();
        let nested = NestedCv::new(settings()).inner_folds(3).seed(seed);
        let before = nested.fit(&surv, &x, &outer).unwrap();
        let held = outer.held_out(fold);
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
        let mut event = event;
        for &i in &held {
            time[i] = rng.random_range(0.01..20.0);
            event[i] = rng.random_bool(0.5);
        }
        let other = Surv::new(&time, &event).unwrap();
        let after = nested.fit(&other, &x, &outer).unwrap();
        for &i in &held {
            prop_assert_eq!(before.risk()[i].to_bits(), after.risk()[i].to_bits());
            prop_assert_eq!(before.percentile()[i].to_bits(), after.percentile()[i].to_bits());
        }
        prop_assert_eq!(before.chosen()[fold], after.chosen()[fold]);
        // The test can fail: everybody else's predictions do depend on these outcomes.
        let moved = |i: usize| before.risk()[i].to_bits() != after.risk()[i].to_bits();
        prop_assert!((0..N).filter(|i| !held.contains(i)).any(moved));
    }
}

#[test]
fn an_observer_hears_of_every_fold_and_can_stop_the_work() {
    let Data { time, event, x } = data(3);
    let x = Covariates::from_rows(&x, N, P).unwrap();
    let surv = Surv::new(&time, &event).unwrap();
    let folds = Folds::stratified(&surv, 5, 1).unwrap();
    let heard = Mutex::new(Vec::new());
    let all = |p: Progress| {
        heard.lock().unwrap().push(p);
        ControlFlow::Continue(())
    };
    let cv = CrossValidation::new(settings());
    cv.fit_with(&surv, &x, &folds, &all).unwrap();
    let mut done: Vec<usize> = heard.lock().unwrap().iter().map(|p| p.done).collect();
    done.sort_unstable();
    assert_eq!(done, (1..=6).collect::<Vec<_>>());
    assert!(heard.lock().unwrap().iter().all(|p| p.total == 6));

    let stop = |p: Progress| match p.done {
        0..2 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let stopped = cv.fit_with(&surv, &x, &folds, &stop);
    assert!(matches!(stopped, Err(Error::Interrupted)));
    let nested = NestedCv::new(settings()).inner_folds(3);
    let stopped = nested.fit_with(&surv, &x, &folds, None, &stop);
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

#[test]
fn threads_do_not_change_a_bit() {
    let Data { time, event, x } = data(5);
    let x = Covariates::from_rows(&x, N, P).unwrap();
    let surv = Surv::new(&time, &event).unwrap();
    let folds = Folds::stratified(&surv, 5, 1).unwrap();
    let with = |threads: usize, measure: CvMeasure| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(|| {
                let cv = CrossValidation::new(settings()).measure(measure);
                let cv = cv.fit(&surv, &x, &folds).unwrap();
                let nested = NestedCv::new(settings()).inner_folds(3).measure(measure);
                let nested = nested.fit(&surv, &x, &folds).unwrap();
                serde_json::to_string(&(cv, nested)).unwrap()
            })
    };
    for measure in [
        CvMeasure::Deviance { grouped: true },
        CvMeasure::Deviance { grouped: false },
        CvMeasure::Concordance,
    ] {
        assert_eq!(with(1, measure), with(3, measure), "{measure:?}");
    }
}
