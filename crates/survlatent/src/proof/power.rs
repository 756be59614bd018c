//! Power and false alarms of the test for shortcuts, from repeated cohorts: run by hand,
//! `cargo test --release -p survlatent --features flex --lib -- --ignored --nocapture power_and`.

use std::collections::BTreeMap;

use super::{
    FaceNetwork, Outcome, Picture, PictureLawSettings, Portraits, ShortcutTest, Thumbnails,
};
use crate::error::Result;
use crate::simulate::{Draws, PortraitSurv, Shortcut, ShortcutKind};

/// The generator's draws, with mean and deviations from one large sample of them for all cohorts.
struct Sampled<'a> {
    net: &'a FaceNetwork,
    seed: u64,
    sample: &'a [f32],
}

impl Draws for Sampled<'_> {
    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn draws(&self, first: u64, count: usize) -> Result<Vec<f32>> {
        self.net.draws(self.seed, first, count)
    }

    fn mean(&self) -> Result<Vec<f64>> {
        let n = (self.sample.len() / self.dim()) as f64;
        let mut mean = vec![0.0; self.dim()];
        for row in self.sample.chunks_exact(self.dim()) {
            mean.iter_mut()
                .zip(row)
                .for_each(|(m, v)| *m += f64::from(*v) / n);
        }
        Ok(mean)
    }

    fn deviation(&self, direction: &[f64]) -> Result<f64> {
        let along = |row: &[f32]| {
            row.iter()
                .zip(direction)
                .map(|(w, d)| f64::from(*w) * d)
                .sum()
        };
        let scores: Vec<f64> = self.sample.chunks_exact(self.dim()).map(along).collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let squares: f64 = scores.iter().map(|s| (s - mean).powi(2)).sum();
        Ok((squares / scores.len() as f64).sqrt())
    }
}

#[test]
#[ignore = "takes many minutes"]
#[expect(clippy::print_stdout, reason = "its result is what it prints")]
fn power_and_false_alarms_of_the_shortcut_test() {
    const REPETITIONS: u64 = 100;
    const SIZES: [usize; 2] = [250, 500];
    let net = FaceNetwork::shipped().unwrap();
    let law = PictureLawSettings::default().fit(&net).unwrap();
    let thresholds = SIZES.map(|n| law.threshold(n));
    println!("thresholds {thresholds:?}");
    let sample = net.draws(1, 1 << 40, 5000).unwrap();
    let paints: [(&str, Option<ShortcutKind>, &[f64]); 3] = [
        ("clean", None, &[0.0]),
        ("cap", Some(ShortcutKind::Cap), &[1.0, 0.5, 0.0]),
        ("mask", Some(ShortcutKind::Mask), &[1.0, 0.5, 0.0]),
    ];
    let mut found = BTreeMap::<String, [usize; 3]>::new();
    for repetition in 0..REPETITIONS {
        let seed = 10_000 + repetition;
        let draws = Sampled {
            net: &net,
            seed,
            sample: &sample,
        };
        let cohort = |n: usize, log_hr: f64, painted: bool| {
            let shortcut = painted.then_some(Shortcut {
                share: 0.25,
                log_hr,
                kind: ShortcutKind::Cap,
            });
            let settings = PortraitSurv {
                n,
                seed,
                shortcut,
                ..PortraitSurv::default()
            };
            settings.simulate_from(&draws).unwrap()
        };
        let (most, side, dim) = (SIZES[1], net.side(), net.dim());
        let largest = cohort(most, 0.0, true);
        let w: Vec<f32> = (0..most * dim)
            .map(|k| largest.latents.get(k / dim, k % dim) as f32)
            .collect();
        let planes = net.images(&w, most).unwrap();
        for (name, paint, log_hrs) in &paints {
            let mut pictures = Thumbnails::new(law.side());
            for (i, planes) in planes.chunks_exact(3 * side * side).enumerate() {
                let mut rgb = Picture::from_planes(planes, side).rgb().to_vec();
                if let Some(paint) = paint
                    && largest.truth.shortcut[i]
                {
                    paint.paint(&mut rgb, [side, side], 3);
                }
                pictures.push(&rgb, side, side).unwrap();
            }
            for (n, threshold) in SIZES.into_iter().zip(thresholds) {
                let rows: Vec<usize> = (0..n).collect();
                let patient: Vec<u32> = (0..n as u32).collect();
                let some = pictures.select(&rows);
                let novelty = law.novelty(&some, threshold, 8).unwrap();
                for &log_hr in *log_hrs {
                    let cohort = cohort(n, log_hr, paint.is_some());
                    let surv = cohort.surv().unwrap();
                    let outcome = Outcome {
                        surv: &surv,
                        patient: &patient,
                        covariates: None,
                        face_risk: Some(&cohort.truth.face_log_risk),
                    };
                    let test = ShortcutTest {
                        seed,
                        ..ShortcutTest::default()
                    };
                    let result = test
                        .judge(threshold, &novelty, &rows, &some, &outcome)
                        .unwrap();
                    let counts = found.entry(format!("n {n}, {name} {log_hr}")).or_default();
                    counts[0] += 1;
                    counts[1] += usize::from(result.alarm);
                    counts[2] += usize::from(result.novel > 0);
                }
            }
        }
        if repetition % 5 == 4 {
            println!("cohorts, alarms, with something novel: {found:#?}");
        }
    }
    for n in SIZES {
        for worn in ["cap", "mask"] {
            assert!(found[&format!("n {n}, {worn} 1")][1] >= 95, "{worn}");
        }
        assert!(found[&format!("n {n}, clean 0")][1] <= 5);
    }
}
