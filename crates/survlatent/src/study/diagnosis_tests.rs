//! Each diagnosis by itself.

use super::*;
use crate::simulate::PortraitSurv;

/// In the second diagnosis the outcome goes the other way; two more are too small.
fn cohort() -> StudyData {
    let settings = PortraitSurv {
        n: 420,
        dim: 4,
        true_c: 0.75,
        age_log_hr: 0.3,
        ..PortraitSurv::default()
    };
    let cohort = settings.simulate().unwrap();
    let plain = cohort.surv().unwrap();
    let mut latents: Vec<f64> = (0..420 * 4)
        .map(|k| cohort.latents.get(k / 4, k % 4))
        .collect();
    for value in &mut latents[220 * 4..400 * 4] {
        *value = -*value;
    }
    let age = Design::new(420, vec![("age".into(), cohort.age.clone())]).unwrap();
    let level = |i: usize| match i {
        0..220 => 0,
        220..400 => 1,
        400..412 => 2,
        _ => 3,
    };
    StudyData {
        surv: plain,
        patient: (0..420).collect(),
        w: Some(crate::Latents::new(crate::latents::Values::F64(latents), 420, 4).unwrap()),
        w_plus: None,
        clinical: Some(age),
        age_sex: None,
        condition: None,
        subgroups: vec![],
        diagnosis: Some(Subgroups {
            column: "site".into(),
            codes: (0..420).map(level).collect(),
            levels: ["lung", "breast", "skin", "other"]
                .map(str::to_owned)
                .to_vec(),
        }),
    }
}

fn study() -> Study {
    Study {
        models: StudyModels {
            kinds: vec![ModelKind::Clinical, ModelKind::FaceW, ModelKind::LateFusion],
            n_lambda: 15,
            ..StudyModels::default()
        },
        validation: Validation {
            repeats: 1,
            bootstraps: 40,
            calibration_bootstraps: 2,
            ..Validation::default()
        },
        seed: 5,
    }
}

#[test]
fn a_diagnosis_of_its_own_kind_is_found_by_its_own_model_alone() {
    let (data, study) = (cohort(), study());
    let all = study.predict(&data, &|| Ok(())).unwrap();
    let found = study.diagnoses(&data, &all, &|| Ok(())).unwrap();
    assert_eq!(found.len(), 4);
    for d in &found[..2] {
        assert_eq!((d.failed.as_deref(), d.hidden.as_deref()), (None, None));
        let face = d
            .models
            .iter()
            .find(|m| m.model == ModelKind::FaceW)
            .unwrap();
        let (own, pan) = (face.own.unwrap(), face.all.unwrap());
        assert!(own.estimate > 0.65 && own.lower.unwrap() > 0.55, "{d:?}");
        // The larger one rules the model of all.
        if d.level == "breast" {
            assert!(pan.estimate < 0.4, "{d:?}");
        } else {
            assert!((own.estimate - pan.estimate).abs() < 0.05, "{d:?}");
        }
        let gain = &d.increment[0];
        assert_eq!(
            (gain.base, gain.with_face),
            (ModelKind::Clinical, ModelKind::LateFusion)
        );
        assert!(gain.own.unwrap().estimate > 0.05 && gain.p.unwrap() < 0.001);
        assert!(gain.all.is_some());
    }
    assert_eq!(
        (found[0].patients, found[1].patients),
        (Some(220), Some(180))
    );
    for d in &found[2..] {
        assert!(d.hidden.is_some() && d.patients.is_none() && d.models.is_empty());
    }
    // What the pan-cohort model reaches in a level is what the subgroup table says of it.
    let mut groups = data.clone();
    groups.subgroups = data.diagnosis.iter().cloned().collect();
    let table = study.subgroups(&groups, &all);
    let pan = |d: &DiagnosisFigures| d.models[1].all.unwrap().estimate;
    assert!((table[0].harrell[1].harrell.estimate - pan(&found[0])).abs() < 1e-12);
}

#[test]
fn a_diagnosis_nothing_can_be_fitted_to_says_why_and_a_stopped_run_stops() {
    let (data, mut study) = (cohort(), study());
    let all = study.predict(&data, &|| Ok(())).unwrap();
    // More folds than the small one has patients.
    study.validation.outer_folds = 9;
    (study.validation.min_patients, study.validation.min_events) = (1, 1);
    let mut small = data.clone();
    if let Some(groups) = &mut small.diagnosis {
        groups.codes.iter_mut().for_each(|c| *c = (*c).max(2) - 2);
    }
    let found = study.diagnoses(&small, &all, &|| Ok(())).unwrap();
    let other = found.iter().find(|d| d.failed.is_some()).unwrap();
    assert!(other.failed.as_deref().unwrap().contains("outer_folds"));
    assert!(other.models.iter().all(|m| m.own.is_none()));
    let stop = || -> Result<()> {
        Err(Error::Study {
            reason: "stopped".into(),
        })
    };
    let error = study
        .diagnoses(&small, &all, &stop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("stopped"), "{error}");
}
