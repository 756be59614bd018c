use cox_survival::concordance;

use super::*;

fn small() -> PortraitSurv {
    PortraitSurv {
        n: 4000,
        dim: 16,
        ..PortraitSurv::default()
    }
}

#[test]
fn log_risk_and_concordance_belong_together() {
    // Pairs computed by quadrature elsewhere.
    for (c, s) in [
        (0.680, 0.735),
        (0.677, 0.719),
        (0.787, 1.504),
        (0.60, 0.370),
    ] {
        // Both are rounded to three digits.
        assert!((concordance_of_log_risk_sd(s) - c).abs() < 6e-4, "{c}");
        assert!((concordance_of_log_risk_sd(log_risk_sd_of_concordance(c)) - c).abs() < 1e-9);
    }
}

#[test]
fn what_is_planted_is_there() {
    let settings = PortraitSurv {
        censored: 0.0,
        age_log_hr: 0.3,
        sex_log_hr: 0.4,
        ..small()
    };
    let cohort = settings.simulate().unwrap();
    let n = cohort.time.len() as f64;
    let truth = &cohort.truth;
    let sd = (truth.face_log_risk.iter().map(|v| v * v).sum::<f64>() / n).sqrt();
    assert!((sd - 0.735).abs() < 0.03, "{sd}");
    assert!(cohort.event.iter().all(|e| *e));
    // The scores of the latents are the risks.
    let mean: f64 = truth.face_log_risk.iter().sum::<f64>() / n;
    let scores: Vec<f64> = (0..cohort.time.len())
        .map(|i| {
            (0..16)
                .map(|j| cohort.latents.get(i, j) * truth.direction[j])
                .sum()
        })
        .collect();
    let centre = scores.iter().sum::<f64>() / n;
    for (score, risk) in scores.iter().zip(&truth.face_log_risk) {
        assert!((score - centre - (risk - mean)).abs() < 1e-5);
    }
    // Harrell's C of the true risks is the oracle's, two standard errors apart at most.
    let surv = cohort.surv().unwrap();
    for (score, oracle) in [
        (&truth.face_log_risk, truth.oracle.face),
        (&truth.clinical_log_risk, truth.oracle.clinical),
        (&truth.log_risk, truth.oracle.all),
    ] {
        let c = concordance(&surv, score).unwrap();
        let se = c.std_error().unwrap();
        assert!((c.concordance() - oracle).abs() < 3.0 * se, "{oracle}");
    }
    assert!(truth.oracle.face < 0.682 && truth.oracle.all > truth.oracle.face);
    let men = cohort.male.iter().filter(|m| **m).count() as f64 / n;
    assert!((men - 0.5).abs() < 0.04);
}

#[test]
fn alone_the_face_has_the_concordance_asked_for() {
    let cohort = small().simulate().unwrap();
    assert!((cohort.truth.oracle.face - 0.680).abs() < 0.01);
    assert!((cohort.truth.censored - 0.3).abs() < 0.03);
}

#[test]
fn a_patient_does_not_depend_on_the_others() {
    let of = |n| {
        let settings = PortraitSurv {
            n,
            photos: 2,
            censored: 0.0,
            ..small()
        };
        settings.simulate().unwrap()
    };
    let (few, many) = (of(10), of(25));
    assert_eq!(few.time, many.time[..10]);
    assert_eq!(few.age, many.age[..10]);
    let first = many
        .latents
        .select_rows(&(0..20).step_by(2).collect::<Vec<_>>());
    let same = few
        .latents
        .select_rows(&(0..20).step_by(2).collect::<Vec<_>>());
    assert_eq!(first.values(), same.values());
    assert_eq!(few.latents.ids().unwrap()[3], "P00002-2");
    assert_eq!(few.patient[3], 1);
}

#[test]
fn a_shortcut_raises_the_hazard_of_its_wearers() {
    let cap = Shortcut {
        share: 0.25,
        log_hr: 1.0,
        kind: ShortcutKind::Mask,
    };
    let cohort = PortraitSurv {
        shortcut: Some(cap),
        ..small()
    };
    let truth = cohort.simulate().unwrap().truth;
    for (i, wears) in truth.shortcut.iter().enumerate() {
        let rest = truth.log_risk[i] - truth.face_log_risk[i] - truth.clinical_log_risk[i];
        assert!((rest - if *wears { 1.0 } else { 0.0 }).abs() < 1e-12);
    }
    assert!(truth.oracle.all > truth.oracle.face_and_clinical + 0.02);
}

#[test]
fn age_is_in_the_face_as_asked() {
    let settings = PortraitSurv {
        age_in_face: 0.6,
        ..small()
    };
    let cohort = settings.simulate().unwrap();
    let law = NormalLaw::new(16, 6.0, 1).unwrap();
    let ends = law.draws(Purpose::Direction.start(), 4).unwrap();
    let d: Vec<f64> = (0..16)
        .map(|j| f64::from(ends[32 + j]) - f64::from(ends[48 + j]))
        .collect();
    let along = law.along(&d).unwrap();
    let scores: Vec<f64> = (0..4000)
        .map(|i| {
            let w: Vec<f32> = (0..16).map(|j| cohort.latents.get(i, j) as f32).collect();
            along.score(&w)
        })
        .collect();
    let age = cohort.age.iter().map(|a| (a - 62.0) / 12.0);
    let r = scores.iter().zip(age).map(|(s, a)| s * a).sum::<f64>() / 4000.0;
    assert!((r - 0.6).abs() < 0.04, "{r}");
}

#[test]
fn estimated_moments_are_near_the_known() {
    struct Unknown(NormalLaw);
    impl Draws for Unknown {
        fn dim(&self) -> usize {
            self.0.dim()
        }
        fn draws(&self, first: u64, count: usize) -> crate::Result<Vec<f32>> {
            self.0.draws(first, count)
        }
    }
    let law = NormalLaw::new(6, 3.0, 9).unwrap();
    let d = [1.0, -1.0, 0.5, 0.0, 2.0, 0.1];
    let known = law.deviation(&d).unwrap();
    let estimated = Unknown(law).deviation(&d).unwrap();
    assert!((estimated / known - 1.0).abs() < 0.03);
}

#[test]
fn settings_out_of_range_are_named() {
    for (settings, name) in [
        (PortraitSurv { n: 1, ..small() }, "`n`"),
        (
            PortraitSurv {
                true_c: 0.3,
                ..small()
            },
            "`true_c`",
        ),
        (
            PortraitSurv {
                censored: 1.0,
                ..small()
            },
            "`censored`",
        ),
        (
            PortraitSurv {
                shape: 0.0,
                ..small()
            },
            "`shape`",
        ),
    ] {
        let error = settings.simulate().unwrap_err().to_string();
        assert!(error.contains(name.trim_matches('`')), "{error}");
    }
    let text = r#"{"n": 3, "sed": 1}"#;
    assert!(serde_json::from_str::<PortraitSurv>(text).is_err());
}
