//! Patients who come under observation late.

use std::ops::ControlFlow;

use super::*;
use crate::simulate::PortraitSurv;

fn cohort() -> StudyData {
    let settings = PortraitSurv {
        n: 300,
        dim: 5,
        true_c: 0.75,
        ..PortraitSurv::default()
    };
    let cohort = settings.simulate().unwrap();
    let plain = cohort.surv().unwrap();
    let entry = late(plain.time());
    let surv = Surv::builder(plain.time(), plain.event())
        .entry(&entry)
        .build()
        .unwrap();
    StudyData {
        surv,
        patient: (0..300).collect(),
        w: Some(cohort.latents),
        w_plus: None,
        clinical: None,
        age_sex: None,
        condition: None,
        subgroups: vec![],
        diagnosis: None,
    }
}

/// Entry at 0, a third and two thirds of the time, in turn.
fn late(time: &[f64]) -> Vec<f64> {
    let share = |i: usize| (i % 3) as f64 / 3.0;
    time.iter().enumerate().map(|(i, t)| t * share(i)).collect()
}

fn study() -> Study {
    Study {
        models: StudyModels {
            kinds: vec![ModelKind::FaceW],
            n_lambda: 15,
            ..StudyModels::default()
        },
        validation: Validation {
            repeats: 1,
            bootstraps: 40,
            calibration_bootstraps: 10,
            permutations: 1,
            ..Validation::default()
        },
        seed: 2,
    }
}

/// The definition, pair by pair: one has the event while the other is under observation.
#[test]
fn pairs_count_only_when_both_are_at_risk() {
    let data = cohort();
    let study = study();
    let all = study.predict(&data, &|| Ok(())).unwrap();
    let (models, _) = study.judge(&data, &all, &|| Ok(())).unwrap();
    let (time, event) = (data.surv.time(), data.surv.event());
    let (entry, risk) = (data.surv.entry().unwrap(), &all.models[0].risk[0]);
    let (mut right, mut pairs, mut without) = (0.0, 0.0, 0.0);
    for i in (0..300).filter(|&i| event[i]) {
        for j in (0..300).filter(|&j| all.folds[0][i] == all.folds[0][j] && time[j] > time[i]) {
            without += 1.0;
            if entry[j] < time[i] {
                pairs += 1.0;
                right += f64::from(u8::from(risk[i] > risk[j]));
            }
        }
    }
    let found = models[0].harrell.unwrap();
    assert!((found.estimate - right / pairs).abs() < 1e-12, "{found:?}");
    assert!(pairs < 0.9 * without, "entry makes a difference");
    assert!(found.estimate > 0.6 && found.lower.is_some());
    let model = &models[0];
    assert!(model.uno.is_none() && model.auc.is_none() && model.ibs.is_none());
    assert!(model.ibs_reference.is_none());
    assert!(model.calibration_slope.is_some() && model.calibration.len() == 3);
    assert!(
        model
            .calibration
            .iter()
            .all(|c| c.slope.is_some() && c.intercept.is_some())
    );
}

/// Product over the censored times of the share that stays, of those under observation then.
#[test]
fn follow_up_respects_entry() {
    let data = cohort();
    let (time, event) = (data.surv.time(), data.surv.event());
    let entry = data.surv.entry().unwrap();
    let mut order: Vec<usize> = (0..300).collect();
    order.sort_by(|&a, &b| time[a].total_cmp(&time[b]));
    let mut left = 1.0;
    let median = order.iter().find_map(|&i| {
        let at_risk = (0..300).filter(|&j| time[j] >= time[i] && entry[j] < time[i]);
        if !event[i] {
            left *= 1.0 - 1.0 / at_risk.count() as f64;
        }
        (left <= 0.5).then_some(time[i])
    });
    let found = figures::cohort(&data, &Validation::default()).unwrap();
    assert!((found.median_follow_up.unwrap() - median.unwrap()).abs() < 1e-9);
    let mut plain = data.clone();
    plain.surv = Surv::new(time, event).unwrap();
    let plain = figures::cohort(&plain, &Validation::default()).unwrap();
    assert_ne!(found.median_follow_up, plain.median_follow_up);
}

#[test]
fn a_study_with_entry_runs_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let settings = PortraitSurv {
        n: 160,
        dim: 4,
        age_log_hr: 0.4,
        ..PortraitSurv::default()
    };
    settings.simulate().unwrap().write(folder.path()).unwrap();
    let path = folder.path().join("table.csv");
    let table = std::fs::read_to_string(&path).unwrap();
    let mut lines = table.lines();
    let mut text = format!("{},entry\n", lines.next().unwrap());
    for (i, line) in lines.enumerate() {
        let time: f64 = line.split(',').nth(2).unwrap().parse().unwrap();
        let entry = time * (i % 3) as f64 / 3.0;
        text.extend([line, ",", &entry.to_string(), "\n"]);
    }
    std::fs::write(&path, text).unwrap();
    let text = r#"
[data]
table = "table.csv"
latents = "latents.safetensors"
[columns]
clinical = ["age", "sex"]
age = "age"
sex = "sex"
entry = "entry"
subgroups = ["age"]
subgroup_cuts = { age = [60] }
[models]
use = ["age_sex", "clinical", "face_w", "pca_cox", "late_fusion"]
n_lambda = 10
components = [2]
[validation]
repeats = 1
bootstraps = 30
calibration_bootstraps = 5
permutations = 1
"#;
    std::fs::write(folder.path().join("study.toml"), text).unwrap();
    let study = StudyFile::read(&folder.path().join("study.toml"), &[]).unwrap();
    let go = |_: StageEvent<'_>| ControlFlow::Continue(());
    let report = study.run(&folder.path().join("out"), &go).unwrap();
    for model in &report.models {
        assert_eq!(model.failed, None, "{}", model.title);
        assert!(model.harrell.is_some() && model.uno.is_none());
    }
    let note = |what: &str| report.notes.iter().any(|n| n.contains(what));
    assert!(note("left truncation"), "{:?}", report.notes);
    assert!(report.risk_groups.unwrap().p.is_some());
    assert!(report.increment[0].harrell.is_some() && report.increment[0].uno.is_none());
    assert!(report.permutation_null.is_some() && report.direction.is_some());
    assert_eq!(report.clinical_model.len(), 2);
    let bands: Vec<&str> = report.subgroups.iter().map(|g| g.level.as_str()).collect();
    assert_eq!(bands, ["below 60", "60 and above"]);
}
