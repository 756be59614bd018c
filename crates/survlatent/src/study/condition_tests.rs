//! The direction at fixed covariates.

use super::noise::{normal, uniform};
use super::*;
use crate::latents::{Latents, Values};

const N: usize = 1500;

/// Age stands in the first latent, correlation 0.8, and the second goes with the first. The log
/// hazard is `age . by_age + latent . by_latent`.
fn cohort(by_age: f64, by_latent: [f64; 4]) -> StudyData {
    let at = |i: usize, j: u64| normal(j, i);
    let x: Vec<f64> = (0..N)
        .flat_map(|i| {
            let first = at(i, 0);
            [first, 0.6 * first + 0.8 * at(i, 1), at(i, 2), at(i, 3)]
        })
        .collect();
    let age: Vec<f64> = (0..N).map(|i| 0.8 * x[i * 4] + 0.6 * at(i, 4)).collect();
    let time: Vec<f64> = (0..N)
        .map(|i| {
            let face: f64 = (0..4).map(|j| by_latent[j] * x[i * 4 + j]).sum();
            -uniform(99, i).ln() / (by_age * age[i] + face).exp()
        })
        .collect();
    let design = Design::new(N, vec![("age".into(), age)]).unwrap();
    StudyData {
        surv: Surv::new(&time, &[true; N]).unwrap(),
        patient: (0..N as u32).collect(),
        w: Some(Latents::new(Values::F64(x), N, 4).unwrap()),
        w_plus: None,
        clinical: Some(design),
        age_sex: None,
        condition: None,
        subgroups: vec![],
        diagnosis: None,
    }
}

fn found(data: &StudyData) -> StudyDirection {
    let study = Study {
        models: StudyModels {
            n_lambda: 20,
            lambda_min_ratio: 1e-3,
            ..StudyModels::default()
        },
        ..Study::default()
    };
    study.direction(data).unwrap().unwrap()
}

fn cosine(direction: &latent_attribute::HealthDirection, to: [f64; 4]) -> f64 {
    direction.cosine_with(&to).unwrap()
}

/// Age acts by itself: at fixed age nothing of it is left in the direction.
#[test]
fn with_age_in_the_model_its_own_effect_is_not_in_the_direction() {
    let found = found(&cohort(0.9, [0.0, 0.0, 0.7, 0.0]));
    let age = &found.leakage[0];
    assert!((age.r_squared - 0.64).abs() < 0.06, "{}", age.r_squared);
    assert!(age.unconditional < -0.3, "{age:?}");
    let adjusted = found.adjusted.as_ref().unwrap();
    assert!(age.adjusted.unwrap().abs() < 0.12, "{age:?}");
    assert!(cosine(adjusted, [0.0, 0.0, -1.0, 0.0]) > 0.97);
    assert!(cosine(&found.direction, [0.0, 0.0, -1.0, 0.0]) < 0.9);
    assert!(age.conditional.unwrap().abs() < 1e-9);
}

/// Outcome depends on age only through latents: a covariate in the model takes nothing away, and only
/// the projection keeps the prediction of age where it is, along with what goes with age.
#[test]
fn an_effect_through_latents_stays_and_projection_holds_age() {
    let found = found(&cohort(0.0, [0.7, 0.0, 0.5, 0.0]));
    let age = &found.leakage[0];
    assert!(
        age.unconditional < -0.3 && age.adjusted.unwrap() < -0.3,
        "{age:?}"
    );
    let adjusted = found.adjusted.as_ref().unwrap();
    assert!(cosine(adjusted, [-0.7, 0.0, -0.5, 0.0]) > 0.95);
    assert!(age.conditional.unwrap().abs() < 1e-9);
    let conditional = found.conditional.as_ref().unwrap();
    // Without the first latent goes 0.6 of the second, as in the data.
    let left = [0.0, 0.7 * 0.6, -0.5, 0.0];
    assert!(cosine(conditional, left) > 0.93, "{:?}", conditional.unit());
    assert!(conditional.risk_slope() < 0.0);
}

#[test]
fn columns_held_fixed_are_those_named() {
    let mut data = cohort(0.9, [0.0, 0.0, 0.7, 0.0]);
    let x = data.w.as_ref().unwrap();
    let smile: Vec<f64> = (0..N).map(|i| x.get(i, 2)).collect();
    data.condition = Some(Design::new(N, vec![("smile".into(), smile)]).unwrap());
    let smiling = found(&data);
    assert_eq!(smiling.condition, ["smile"]);
    let names: Vec<(&str, bool)> = smiling
        .leakage
        .iter()
        .map(|l| (l.name.as_str(), l.held))
        .collect();
    assert_eq!(names, [("smile", true), ("age", false)]);
    // A smile that is all of the third latent leaves the others to the direction.
    assert!(smiling.leakage[0].r_squared > 0.99);
    assert!(smiling.leakage[0].conditional.unwrap().abs() < 1e-9);
    assert!(smiling.leakage[1].conditional.unwrap() < -0.5);
    data.condition = Some(Design::new(N, vec![]).unwrap());
    let none = found(&data);
    assert!(none.adjusted.is_none() && none.conditional.is_none());
    assert_eq!((none.leakage.len(), none.leakage[0].held), (1, false));
}
