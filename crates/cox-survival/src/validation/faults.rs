//! A fold that cannot be used, or cannot be trained without, is named.

use crate::cox::twins::cohort;
use crate::{
    Covariates, CoxPath, CrossValidation, CvMeasure, Error, Folds, NestedCv, RelaxedCvFit, Result,
    Surv,
};

#[test]
fn a_fold_without_an_event_is_named_under_every_measure() {
    let data = cohort(60, 3, 8, false, false);
    let (plain, x) = (data.surv().unwrap(), data.covariates());
    let label = |i: usize| 10 * (i % 3 + 1);
    let event: Vec<bool> = (0..60).map(|i| label(i) != 20).collect();
    let surv = Surv::new(plain.time(), &event).unwrap();
    let folds = Folds::given(&(0..60).map(label).collect::<Vec<_>>()).unwrap();
    for measure in [
        CvMeasure::Deviance { grouped: true },
        CvMeasure::Deviance { grouped: false },
        CvMeasure::Concordance,
    ] {
        let cv = CrossValidation::new(CoxPath::new().n_lambda(5)).measure(measure);
        let found = cv.fit(&surv, &x, &folds);
        assert!(
            matches!(found, Err(Error::Fold { fold: 20, .. })),
            "{found:?}"
        );
        let found: Result<RelaxedCvFit> = cv.fit_relaxed(&surv, &x, &folds, &[0.5]);
        assert!(
            matches!(found, Err(Error::Fold { fold: 20, .. })),
            "{found:?}"
        );
    }
    // An event of weight 0 is none.
    let weights: Vec<f64> = (0..60)
        .map(|i| f64::from(u8::from(label(i) != 30)))
        .collect();
    let surv = Surv::builder(plain.time(), &[true; 60]).weights(&weights);
    let cv = CrossValidation::new(CoxPath::new().n_lambda(5));
    let found = cv.fit(&surv.build().unwrap(), &x, &folds);
    assert!(
        matches!(found, Err(Error::Fold { fold: 30, .. })),
        "{found:?}"
    );
    // A single patient with the event can be judged by whole risk sets.
    let surv = Surv::new(plain.time(), &[true; 60]).unwrap();
    let part = |i: usize| if i == 7 { 1 } else { 2 + i % 2 };
    let alone: Vec<usize> = (0..60).map(part).collect();
    assert!(cv.fit(&surv, &x, &Folds::given(&alone).unwrap()).is_ok());
}

#[test]
fn what_training_rows_are_refused_for_names_the_fold() {
    let n = 40;
    let time: Vec<f64> = (0..n).map(|i| f64::from(1 + i * 11 % 41)).collect();
    let surv = Surv::new(&time, &[true; 40]).unwrap();
    let labels: Vec<usize> = (0..40).map(|i| 3 + i / 20).collect();
    let folds = Folds::given(&labels).unwrap();
    // It varies in fold 3 alone.
    let x: Vec<f64> = (0..40)
        .map(|i| if i < 20 { f64::from(i) } else { 1.0 })
        .collect();
    let x = Covariates::from_columns(&x, 40, 1).unwrap();
    let cv = CrossValidation::new(CoxPath::new().n_lambda(4));
    let Err(Error::WithoutFold { fold: 3, error }) = cv.fit(&surv, &x, &folds) else {
        panic!("the fit without fold 3 has nothing to fit");
    };
    assert!(matches!(*error, Error::ConstantColumn { .. }));
    // Nested: the outer fold, and inside it the inner one.
    let nested = NestedCv::new(CoxPath::new().n_lambda(4)).inner_folds(2);
    let found = nested.fit(&surv, &x, &folds).unwrap_err().to_string();
    assert!(
        found.contains("fold 3") && found.contains("`x1`"),
        "{found}"
    );
}

#[test]
fn rows_are_those_of_the_data() {
    let error = Error::Overflow {
        column: "a".to_owned(),
        row: 1,
        value: 1e308,
    };
    let found = error
        .without_fold(4, &[2, 5, 9])
        .without_fold(6, &[0, 1, 3, 4, 6, 7]);
    let text = found.to_string();
    assert!(text.contains("fold 6") && text.contains("fold 4"), "{text}");
    assert!(text.contains("column `a`, row 8"), "{text}");
    assert_eq!(Error::Interrupted.without_fold(1, &[]), Error::Interrupted);
}
