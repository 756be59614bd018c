use super::*;
use crate::simulate::PortraitSurv;

/// A small cohort with age and sex.
fn data(settings: &PortraitSurv) -> StudyData {
    let cohort = settings.simulate().unwrap();
    let of = |values: &dyn Fn(usize) -> f64| -> Vec<f64> {
        cohort.patient.iter().map(|&i| values(i)).collect()
    };
    let age = of(&|i| cohort.age[i]);
    let male = of(&|i| f64::from(u8::from(cohort.male[i])));
    let n = age.len();
    let columns = vec![("age".to_owned(), age), ("male".to_owned(), male.clone())];
    let design = Design::new(n, columns).unwrap();
    StudyData {
        surv: cohort.surv().unwrap(),
        patient: cohort.patient.iter().map(|&i| i as u32).collect(),
        w: Some(cohort.latents),
        w_plus: None,
        clinical: Some(design.clone()),
        age_sex: Some(design),
        subgroups: vec![Subgroups {
            column: "sex".into(),
            codes: male.iter().map(|m| u32::from(*m > 0.5)).collect(),
            levels: vec!["female".into(), "male".into()],
        }],
        condition: None,
        diagnosis: None,
    }
}

fn settings() -> PortraitSurv {
    PortraitSurv {
        n: 400,
        dim: 6,
        age_log_hr: 0.5,
        ..PortraitSurv::default()
    }
}

fn study(kinds: &[ModelKind]) -> Study {
    Study {
        models: StudyModels {
            kinds: kinds.to_vec(),
            n_lambda: 20,
            components: vec![2, 5],
            ..StudyModels::default()
        },
        validation: Validation {
            repeats: 2,
            bootstraps: 100,
            calibration_bootstraps: 20,
            permutations: 3,
            ..Validation::default()
        },
        seed: 4,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a step that never stops")]
fn go() -> Result<()> {
    Ok(())
}

#[test]
fn all_models_find_what_is_planted_and_fusion_finds_both() {
    let data = data(&settings());
    let study = study(&[]);
    let kinds = study.kinds(&data);
    assert!(!kinds.contains(&ModelKind::FaceWPlus) && kinds.contains(&ModelKind::EarlyFusion));
    let all = study.predict(&data, &go).unwrap();
    let (models, increments) = study.judge(&data, &all, &go).unwrap();
    let c = |kind| {
        let found = models.iter().find(|m| m.name == kind).unwrap();
        found.harrell.unwrap().estimate
    };
    for kind in [ModelKind::FaceW, ModelKind::PcaCox] {
        assert!((0.6..0.75).contains(&c(kind)), "{kind}: {}", c(kind));
    }
    assert!(c(ModelKind::LateFusion) > c(ModelKind::FaceW) + 0.01);
    assert!((c(ModelKind::LateFusion) - c(ModelKind::EarlyFusion)).abs() < 0.02);
    for model in &models {
        let h = model.harrell.unwrap();
        assert!(h.lower.unwrap() < h.estimate && h.estimate < h.upper.unwrap());
        // Knowing something is better than knowing nobody.
        assert!(
            model.ibs.unwrap().estimate < model.ibs_reference.unwrap(),
            "{}",
            model.title
        );
        assert_eq!(model.calibration.len(), 3);
        let slope = model.calibration_slope.unwrap();
        assert!(
            (0.6..1.6).contains(&slope.estimate),
            "{}: {slope:?}",
            model.title
        );
        assert!(slope.lower.unwrap() < slope.estimate && slope.estimate < slope.upper.unwrap());
        for at in &model.calibration {
            let (intercept, slope) = (at.intercept.unwrap(), at.slope.unwrap());
            assert!(
                intercept.estimate.abs() < 0.3,
                "{}: {intercept:?}",
                model.title
            );
            assert!(
                (0.5..1.8).contains(&slope.estimate),
                "{}: {slope:?}",
                model.title
            );
            assert!(intercept.lower.unwrap() < intercept.upper.unwrap());
            assert!(slope.lower.unwrap() < slope.upper.unwrap());
        }
        assert!(model.auc_over_time.len() > 8);
    }
    assert_eq!(increments.len(), 3);
    for gain in &increments {
        assert!(
            gain.p.unwrap() < 1e-4 && gain.harrell.unwrap().lower.unwrap() > 0.0,
            "{gain:?}"
        );
        assert!(gain.hazard_ratio_per_sd.unwrap() > 1.3);
        assert_eq!(gain.test, IncrementTest::LikelihoodRatio);
    }
    let groups = study.subgroups(&data, &all);
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0].rows.unwrap() + groups[1].rows.unwrap(), 400);
}

#[test]
fn the_same_bits_on_one_thread_and_on_several() {
    let data = data(&settings());
    let study = study(&[ModelKind::FaceW, ModelKind::LateFusion]);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let all = study.predict(&data, &go).unwrap();
            (study.judge(&data, &all, &go).unwrap(), all)
        })
    };
    assert_eq!(with(1), with(3));
}

/// Predictions for held-out rows come from the outcomes of the others alone.
#[test]
fn nothing_of_a_fold_reaches_its_own_predictions() {
    let mut data = data(&settings());
    let study = study(&[]);
    let before = study.predict(&data, &go).unwrap();
    // Other outcomes for one fold of the first repeat; events stay where they are, so folds do too.
    let fold = before.folds[0].clone();
    let time: Vec<f64> = (0..data.n())
        .map(|i| {
            data.surv.time()[i]
                * if fold[i] == 0 {
                    1.0 + (i % 7) as f64
                } else {
                    1.0
                }
        })
        .collect();
    let times = before.times.clone();
    data.surv = Surv::new(&time, data.surv.event()).unwrap();
    let (validation, models) = (&study.validation, &study.models);
    let kinds = study.kinds(&data);
    let after = predict::out_of_fold(
        &data, &data.surv, models, validation, &kinds, 2, &times, study.seed, &go,
    )
    .unwrap();
    assert_eq!(after.folds[0], fold);
    for (a, b) in before.models.iter().zip(&after.models) {
        let mut moved = 0;
        for (i, own) in fold.iter().enumerate() {
            if *own == 0 {
                assert_eq!(
                    a.risk[0][i].to_bits(),
                    b.risk[0][i].to_bits(),
                    "{}",
                    a.model
                );
            } else {
                moved += usize::from(a.risk[0][i].to_bits() != b.risk[0][i].to_bits());
            }
        }
        assert!(moved > 200, "{}: other folds were trained on it", a.model);
    }
}

/// The noise of a score of pure noise is all of its variance, that of a strong one little of it; the
/// intervals are wider by as much as the formula says.
#[test]
fn intervals_are_widened_where_models_hold_noise() {
    let noise = |data: &StudyData| {
        let study = study(&[ModelKind::FaceW]);
        let all = study.predict(data, &go).unwrap();
        let own = all.of(ModelKind::FaceW).unwrap();
        let (models, _) = study.judge(data, &all, &go).unwrap();
        // The same draws with predictions taken as given.
        let mut given = all.clone();
        given.models[0].noise = 0.0;
        let (plain, _) = study.judge(data, &given, &go).unwrap();
        let limit = |m: &ModelFigures| {
            let h = m.harrell.unwrap();
            h.upper.unwrap() - h.estimate
        };
        let ratio = limit(&models[0]) / limit(&plain[0]);
        assert!((ratio - widening(own.noise)).abs() < 1e-9, "{ratio}");
        own.noise
    };
    let strong = PortraitSurv {
        true_c: 0.8,
        ..settings()
    };
    let mut none = data(&PortraitSurv {
        dim: 60,
        ..settings()
    });
    let order: Vec<usize> = (0..400).map(|i| (i * 173) % 400).collect();
    none.surv = none.surv.subset(&order).unwrap();
    let (strong, none) = (noise(&data(&strong)), noise(&none));
    assert!(strong < 0.2 && none > 0.5, "{strong} {none}");
    assert!((widening(0.0) - 1.0).abs() < 1e-12 && (widening(3.0) - 2f64.sqrt()).abs() < 1e-12);
}

#[cfg(feature = "deep")]
#[test]
fn deep_surv_is_a_model_of_the_study() {
    let data = data(&PortraitSurv {
        n: 200,
        dim: 4,
        true_c: 0.8,
        ..PortraitSurv::default()
    });
    let mut study = study(&[ModelKind::DeepSurv]);
    study.validation.repeats = 1;
    study.validation.outer_folds = 3;
    let all = study.predict(&data, &go).unwrap();
    let (models, _) = study.judge(&data, &all, &go).unwrap();
    assert_eq!(models[0].failed, None);
    let found = models[0].harrell.unwrap();
    assert!(
        found.estimate > 0.65 && found.lower.unwrap() > 0.55,
        "{found:?}"
    );
    assert!(models[0].chosen[0].starts_with("epoch"));
    assert_eq!(study.predict(&data, &go).unwrap(), all);
}

#[test]
fn photos_of_one_patient_stay_together() {
    let data = data(&PortraitSurv {
        n: 90,
        photos: 3,
        ..settings()
    });
    let all = study(&[ModelKind::FaceW]).predict(&data, &go).unwrap();
    for fold in &all.folds {
        for photos in fold.chunks(3) {
            assert!(photos.iter().all(|f| *f == photos[0]));
        }
    }
}

#[test]
fn permuted_outcomes_give_a_half() {
    let data = data(&settings());
    let study = study(&[ModelKind::FaceW]);
    let all = study.predict(&data, &go).unwrap();
    let (models, _) = study.judge(&data, &all, &go).unwrap();
    let null = study.null(&data, &all, &models, &go).unwrap().unwrap();
    assert_eq!((null.harrell.len(), null.failed), (3, 0));
    assert!((null.mean.unwrap() - 0.5).abs() < 0.05 && null.max.unwrap() < null.observed);
    assert!((null.p.unwrap() - 0.25).abs() < 1e-12);
    // What permutations are compared with has one repeat, as they have.
    let mut one = all.clone();
    one.folds.truncate(1);
    one.models[0].risk.truncate(1);
    let first = study
        .concordance(&data.surv, &data.patient, &one, ModelKind::FaceW)
        .unwrap();
    assert_eq!(null.observed.to_bits(), first.estimate.to_bits());
    assert!((null.observed - models[0].harrell.unwrap().estimate).abs() > 1e-6);
}

/// A penalty that leaves nothing gives the same risk to everybody, and that is a result.
#[test]
fn a_model_that_knows_nothing_is_no_failure() {
    let mut data = data(&settings());
    let order: Vec<usize> = (0..400).map(|i| (i * 173) % 400).collect();
    data.surv = data.surv.subset(&order).unwrap();
    let mut study = study(&[ModelKind::FaceW, ModelKind::LateFusion]);
    study.models.alphas = vec![1.0];
    study.models.n_lambda = 1;
    let all = study.predict(&data, &go).unwrap();
    let face = all.of(ModelKind::FaceW).unwrap();
    assert!(face.risk.iter().flatten().all(|r| r.abs() < 1e-12));
    assert!(all.of(ModelKind::LateFusion).is_some());
    let (models, _) = study.judge(&data, &all, &go).unwrap();
    let known = models.iter().find(|m| m.name == ModelKind::FaceW).unwrap();
    assert!((known.harrell.unwrap().estimate - 0.5).abs() < 1e-12);
    assert!((known.ibs.unwrap().estimate - known.ibs_reference.unwrap()).abs() < 0.01);
}

#[test]
fn small_groups_are_named_and_not_shown() {
    let mut data = data(&settings());
    let level = |i: u32| u32::from(i < 12) + u32::from(i < 5);
    data.subgroups[0].codes = (0..400).map(level).collect();
    data.subgroups[0].levels.push("neither".into());
    let study = study(&[ModelKind::FaceW]);
    let all = study.predict(&data, &go).unwrap();
    let groups = study.subgroups(&data, &all);
    assert!(groups[0].rows.is_some());
    assert_eq!((groups[1].rows, groups[1].events), (None, None));
    assert_eq!((groups[2].rows, groups[2].patients), (None, None));
    assert!(groups[1].harrell.is_empty());
    assert_eq!(groups[1].hidden.as_deref(), Some("too few"));
}

#[test]
fn the_direction_is_the_planted_one_and_conditions_clean_it() {
    let settings = PortraitSurv {
        n: 1500,
        age_in_face: 0.8,
        age_log_hr: 0.0,
        ..settings()
    };
    let cohort = settings.simulate().unwrap();
    let data = data(&settings);
    let found = study(&[]).direction(&data).unwrap().unwrap();
    let scores = |v: &[f64]| -> Vec<f64> {
        (0..1500)
            .map(|i| (0..6).map(|j| cohort.latents.get(i, j) * v[j]).sum())
            .collect()
    };
    let cosine = direction::correlation(&scores(&found.coef), &scores(&cohort.truth.direction));
    assert!(cosine > 0.97, "{cosine}");
    let age = found.leakage.iter().find(|l| l.name == "age").unwrap();
    assert!((age.r_squared - 0.64).abs() < 0.08, "{}", age.r_squared);
    assert!(age.conditional.unwrap().abs() < 1e-8);
}

/// The test of what the face adds needs a fit to everybody; the rest of the study does not.
#[test]
fn a_test_that_cannot_be_made_stops_nothing() {
    let mut data = data(&settings());
    let constant = Design::new(400, vec![("ward".into(), vec![3.0; 400])]).unwrap();
    data.clinical = data.clinical.map(|d| d.beside(&constant));
    let study = study(&[ModelKind::Clinical, ModelKind::LateFusion, ModelKind::FaceW]);
    let all = study.predict(&data, &go).unwrap();
    let (_, increments) = study.judge(&data, &all, &go).unwrap();
    assert_eq!((increments.len(), increments[0].p), (1, None));
    assert!(increments[0].harrell.is_some());
    assert!(increments[0].note.as_deref().unwrap().contains("ward"));
    assert!(figures::clinical_model(&data, 0.95).is_err());
}

#[test]
fn events_of_too_few_patients_are_told_before_anything_is_fitted() {
    let mut data = data(&PortraitSurv {
        n: 60,
        photos: 4,
        ..settings()
    });
    let of_first = |k: u32| -> Vec<bool> { data.patient.iter().map(|p| *p < k).collect() };
    let study = study(&[ModelKind::FaceW]);
    let told = |event: &[bool]| {
        let mut data = data.clone();
        data.surv = Surv::new(data.surv.time(), event).unwrap();
        study.predict(&data, &go).unwrap_err().to_string()
    };
    let one = told(&of_first(1));
    assert!(
        one.contains("all events are of one of the 60 patients"),
        "{one}"
    );
    let few = told(&of_first(3));
    assert!(
        few.contains("3 of 60") && few.contains("outer_folds = 5"),
        "{few}"
    );
    let five = of_first(5);
    data.surv = Surv::new(data.surv.time(), &five).unwrap();
    assert!(study.predict(&data, &go).is_ok());
}

#[test]
fn faults_are_told() {
    let data = data(&settings());
    let mut far = study(&[]);
    far.validation.horizons = vec![1e9];
    let error = far.predict(&data, &go).unwrap_err().to_string();
    assert!(
        error.contains("1000000000 lies outside follow-up"),
        "{error}"
    );
    let mut few = study(&[]);
    few.validation.outer_folds = 1;
    assert!(
        few.predict(&data, &go)
            .unwrap_err()
            .to_string()
            .contains("outer_folds")
    );
    let of = |change: &dyn Fn(&mut Study)| {
        let mut study = study(&[]);
        change(&mut study);
        study.predict(&data, &go).unwrap_err().to_string()
    };
    let alphas = |alpha| move |s: &mut Study| s.models.alphas = vec![0.5, alpha];
    for alpha in [2.0, -0.5, f64::NAN] {
        assert_eq!(of(&alphas(alpha)), "models.alphas must lie in [0, 1]");
    }
    for ratio in [5.0, 0.0, 1.0, f64::NAN] {
        let error = of(&|s| s.models.lambda_min_ratio = ratio);
        assert_eq!(error, "models.lambda_min_ratio must lie between 0 and 1");
    }
    let lambdas = of(&|s| s.models.n_lambda = 0);
    assert_eq!(lambdas, "models.n_lambda must be at least 1");
    let components = of(&|s| s.models.components = vec![2, 0]);
    assert_eq!(components, "models.components must be at least 1");
    let horizon = of(&|s| s.validation.horizons = vec![1.0, -2.0]);
    assert_eq!(horizon, "validation.horizons must be positive");
    // A model without its data fails alone.
    let other = study(&[ModelKind::FaceWPlus, ModelKind::AgeSex]);
    let all = other.predict(&data, &go).unwrap();
    let (models, _) = other.judge(&data, &all, &go).unwrap();
    let failed = models
        .iter()
        .find(|m| m.name == ModelKind::FaceWPlus)
        .unwrap();
    assert!(failed.failed.is_some() && failed.harrell.is_none());
    assert!(models.iter().any(|m| m.harrell.is_some()));
}

/// Photos of one patient are never on both sides of the split that says when to stop.
#[cfg(all(feature = "deep", feature = "flex"))]
#[test]
fn deep_surv_stops_by_patients_it_has_not_seen() {
    use cox_survival::deep::DeepSurv;
    let settings = PortraitSurv {
        n: 60,
        photos: 3,
        ..settings()
    };
    let data = data(&settings);
    let kinds = study(&[ModelKind::DeepSurv]);
    let rows: Vec<usize> = (0..data.n()).collect();
    let training = fold::Training::new(&data, &kinds.models, &data.surv, rows, 2, 9).unwrap();
    let (_, found) = training.fit(&[ModelKind::DeepSurv]).swap_remove(0);
    let found = found.unwrap();
    let x = data.w.as_ref().unwrap().covariates().unwrap();
    let fit = DeepSurv::new()
        .hidden(&[32])
        .dropout(0.3)
        .weight_decay(1e-2)
        .early_stopping(0.2, 10)
        .seed(9)
        .fit_grouped(
            &data.surv,
            &x,
            &data.patient,
            &burn::tensor::Device::default(),
            &|_| std::ops::ControlFlow::Continue(()),
            None,
        )
        .unwrap();
    let risk = fit.predict(&x).unwrap();
    let mean = risk.iter().sum::<f64>() / risk.len() as f64;
    let same = |(a, b): (&f64, &f64)| (a - (b - mean)).abs() < 1e-9;
    assert!(found.risk.iter().zip(&risk).all(same));
}
