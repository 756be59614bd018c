//! The networks against obvious twins, and what they learn.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use cox_survival::{Harrell, Surv};

use super::super::stages::Run;
use super::super::{Design, ModelKind, StageEvent, Study, StudyData};
use super::layers::{Layer, Plan};
use super::train::{Trained, train};
use super::*;
use crate::proof::Thumbnails;
use crate::simulate::{PortraitSurv, normals};

#[test]
fn parameters_are_as_many_as_published() {
    let body = |network, side| Plan::new(network, side).body();
    // He et al. 2016 and Simonyan and Zisserman 2015, without the layers of the 1000 classes.
    assert_eq!(body(PhotoNetwork::Resnet18, 224), 11_176_512);
    assert_eq!(body(PhotoNetwork::Vgg16, 224), 14_714_688);
    // Smaller pictures: a stem of 3 x 3 in place of 7 x 7, and the same convolutions.
    let stem = 64 * 3 * (7 * 7 - 3 * 3);
    assert_eq!(body(PhotoNetwork::Resnet18, 32), 11_176_512 - stem);
    assert_eq!(body(PhotoNetwork::Resnet18, 64), 11_176_512);
    assert_eq!(body(PhotoNetwork::Vgg16, 16), 14_714_688);
}

/// A picture of some channels, in the slow way.
#[derive(Clone)]
struct Slow {
    channels: usize,
    side: usize,
    values: Vec<f64>,
}

impl Slow {
    /// 0 outside.
    fn at(&self, c: usize, y: isize, x: isize) -> Option<f64> {
        let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
        (y < self.side && x < self.side).then(|| self.values[(c * self.side + y) * self.side + x])
    }

    /// Every output from its window: place within the window, and what lies there.
    fn windows(
        &self,
        channels: usize,
        size: usize,
        stride: usize,
        of: impl Fn(usize, &dyn Fn(usize, usize, usize) -> Option<f64>) -> f64,
    ) -> Self {
        let beyond = ((size - 1) / 2).cast_signed();
        let side = (self.side + 2 * beyond.unsigned_abs() - size) / stride + 1;
        let mut values = Vec::new();
        for o in 0..channels {
            for y in 0..side {
                for x in 0..side {
                    let seen = |c: usize, dy: usize, dx: usize| {
                        let y = (y * stride + dy).cast_signed() - beyond;
                        let x = (x * stride + dx).cast_signed() - beyond;
                        self.at(c, y, x)
                    };
                    values.push(of(o, &seen));
                }
            }
        }
        Self {
            channels,
            side,
            values,
        }
    }
}

/// Parameters in order, and fixed statistics: mean 0.2, variance 1.5.
fn slow(layers: &[Layer], mut x: Slow, parts: &mut dyn Iterator<Item = f64>) -> Slow {
    for layer in layers {
        x = match layer {
            Layer::Convolution {
                shape: [output, input, size, _],
                stride,
                bias,
            } => {
                let count = output * input * size * size;
                let weight: Vec<f64> = parts.take(count).collect();
                let bias: Vec<f64> = match bias {
                    true => parts.take(*output).collect(),
                    false => vec![0.0; *output],
                };
                x.windows(*output, *size, *stride, |o, seen| {
                    let mut sum = bias[o];
                    for c in 0..*input {
                        for dy in 0..*size {
                            for dx in 0..*size {
                                let w = weight[((o * input + c) * size + dy) * size + dx];
                                sum += w * seen(c, dy, dx).unwrap_or(0.0);
                            }
                        }
                    }
                    sum
                })
            }
            Layer::Norm(channels) => {
                let gamma: Vec<f64> = parts.take(*channels).collect();
                let beta: Vec<f64> = parts.take(*channels).collect();
                x.windows(*channels, 1, 1, |c, seen| {
                    let z = (seen(c, 0, 0).unwrap() - 0.2) / (1.5_f64 + 1e-5).sqrt();
                    gamma[c] * z + beta[c]
                })
            }
            Layer::Rectify => {
                x.windows(x.channels, 1, 1, |c, seen| seen(c, 0, 0).unwrap().max(0.0))
            }
            Layer::MaxPool { size, stride } => x.windows(x.channels, *size, *stride, |c, seen| {
                let inside = (0..size * size).filter_map(|k| seen(c, k / size, k % size));
                inside.fold(f64::NEG_INFINITY, f64::max)
            }),
            Layer::Sum { body, shortcut } => {
                let mut own = slow(body, x.clone(), parts);
                let other = slow(shortcut, x, parts);
                assert_eq!(own.side, other.side);
                own.values
                    .iter_mut()
                    .zip(&other.values)
                    .for_each(|(a, b)| *a += b);
                own
            }
        };
    }
    x
}

#[test]
fn layers_are_those_of_an_obvious_twin() {
    let convolution = |output, input, size, stride, bias| Layer::Convolution {
        shape: [output, input, size, size],
        stride,
        bias,
    };
    let layers = vec![
        convolution(4, 3, 7, 2, false),
        Layer::Norm(4),
        Layer::Rectify,
        Layer::MaxPool { size: 3, stride: 2 },
        Layer::Sum {
            body: vec![
                convolution(5, 4, 3, 2, false),
                Layer::Norm(5),
                Layer::Rectify,
                convolution(5, 5, 3, 1, true),
            ],
            shortcut: vec![convolution(5, 4, 1, 2, false), Layer::Norm(5)],
        },
        Layer::MaxPool { size: 2, stride: 2 },
    ];
    let plan = Plan::of(layers.clone(), 5);
    let device = Device::default();
    let first = plan.init(3, &device);
    let count = first.dims()[0];
    // Normalisations that do something.
    let values: Vec<f32> = normals(5, 0, count)
        .iter()
        .map(|v| *v as f32 * 0.4)
        .collect();
    let parts = plan.split(&Tensor::from_data(
        TensorData::new(values.clone(), [count]),
        &device,
    ));
    let mut statistics = plan.statistics(&device);
    for [mean, variance] in &mut statistics {
        *mean = mean.zeros_like() + 0.2;
        *variance = variance.zeros_like() + 1.5;
    }
    let side = 18;
    let pictures: Vec<f64> = normals(6, 0, 2 * 3 * side * side);
    let input: Vec<f32> = pictures.iter().map(|v| *v as f32).collect();
    let x = Tensor::from_data(TensorData::new(input, [2, 3, side, side]), &device);
    let found = plan.forward(&parts, &mut statistics, false, x);
    let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
    for (picture, found) in pictures.chunks(3 * side * side).zip(found) {
        let mut own = values.iter().map(|v| f64::from(*v));
        let x = Slow {
            channels: 3,
            side,
            values: picture.to_vec(),
        };
        let end = slow(&layers, x, &mut own);
        let area = end.side * end.side;
        let weights: Vec<f64> = own.collect();
        let want: f64 = end
            .values
            .chunks(area)
            .zip(&weights)
            .map(|(v, w)| w * v.iter().sum::<f64>() / area as f64)
            .sum();
        assert!(
            (want - f64::from(found)).abs() < 1e-4 * (1.0 + want.abs()),
            "{found} is not {want}"
        );
    }
}

/// Noise, and a patch in the upper half whose brightness is the log hazard.
fn patches(n: usize) -> (Thumbnails, Surv) {
    let settings = PortraitSurv {
        n,
        dim: 2,
        true_c: 0.85,
        censored: 0.2,
        seed: 5,
        ..PortraitSurv::default()
    };
    let cohort = settings.simulate().unwrap();
    let mut pictures = Thumbnails::new(16);
    for (i, risk) in cohort.truth.face_log_risk.iter().enumerate() {
        let noise = normals(8, i as u64, 16 * 16);
        let rgb: Vec<u8> = noise
            .iter()
            .enumerate()
            .flat_map(|(k, noise)| {
                let (x, y) = (k % 16, k / 16);
                let told = if (4..12).contains(&x) && (2..8).contains(&y) {
                    30.0 * risk
                } else {
                    0.0
                };
                #[allow(clippy::cast_sign_loss, reason = "clamped")]
                let v = (128.0 + told + 10.0 * noise).clamp(0.0, 255.0) as u8;
                [v; 3]
            })
            .collect();
        pictures.push(&rgb, 16, 16).unwrap();
    }
    (pictures, cohort.surv().unwrap())
}

fn learnt() -> (Trained, f64) {
    let (pictures, surv) = patches(120);
    let fit: Vec<usize> = (0..64).collect();
    let rest: Vec<usize> = (64..120).collect();
    let settings = NetworkTraining {
        epochs: 2,
        patience: 0,
        batch: 16,
        learning_rate: 1e-3,
        ..NetworkTraining::default()
    };
    let parts = (&fit[..], &rest[..0]);
    let resnet = PhotoNetwork::Resnet18;
    let found = train(resnet, &settings, &pictures, &surv, parts, 3, &mut || true);
    let found = found.unwrap().unwrap();
    let risk: Vec<f64> = rest.iter().map(|&i| found.risk[i]).collect();
    let c = Harrell::new().fit(&surv.subset(&rest).unwrap(), &risk);
    (found, c.unwrap().concordance())
}

#[test]
fn a_patch_that_tells_is_learnt() {
    let (first, c) = learnt();
    assert!(c > 0.65, "{c}");
    assert_eq!((first.epochs, first.risk.len()), (2, 120));
}

#[test]
fn a_training_has_one_result_and_can_be_stopped() {
    let (pictures, surv) = patches(40);
    let (fit, held): (Vec<usize>, Vec<usize>) = ((0..16).collect(), (16..40).collect());
    let settings = NetworkTraining {
        epochs: 1,
        patience: 1,
        batch: 16,
        ..NetworkTraining::default()
    };
    let run = |threads: usize, seed: u64, epochs: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut left = epochs;
            let mut go_on = || {
                left -= 1;
                left > 0
            };
            let parts = (&fit[..], &held[..]);
            let vgg = PhotoNetwork::Vgg16;
            train(vgg, &settings, &pictures, &surv, parts, seed, &mut go_on).unwrap()
        })
    };
    let first = run(1, 1, 9).unwrap();
    assert_eq!(first.epochs, 1);
    assert_eq!(run(2, 1, 9).unwrap(), first);
    assert_eq!(run(2, 2, 1), None);
    // Nobody had the event: there is nothing to watch.
    let none: Vec<usize> = (0..40).filter(|&i| !surv.event()[i]).collect();
    let found = train(
        PhotoNetwork::Vgg16,
        &settings,
        &pictures,
        &surv,
        (&fit, &none),
        1,
        &mut || true,
    );
    assert!(found.is_err());
}

#[test]
fn a_study_without_photos_is_refused() {
    let text = "[data]\ntable = 't.csv'\nlatents = 'l.npy'\n[models]\nnetworks = ['vgg16']\n";
    let study = StudyFile::parse(text, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let go = |_: StageEvent<'_>| ControlFlow::Continue(());
    let error = study.run(folder.path(), &go).unwrap_err().to_string();
    assert!(
        error.contains("models.networks: vgg16") && error.contains("data.photos"),
        "{error}"
    );
    let named = "[data]\ntable = 't.csv'\n[models]\nuse = ['face_w', 'vgg16_fusion']\n";
    let study = StudyFile::parse(named, &[]).unwrap();
    assert_eq!(study.models.wanted_networks(), [PhotoNetwork::Vgg16]);
    let mut study = StudyFile::parse("[simulate]\nn = 10\n", &[]).unwrap();
    study.models.networks = vec![PhotoNetwork::Vgg16];
    study.models.training.side = Some(128);
    let error = study.run(folder.path(), &go).unwrap_err().to_string();
    assert!(
        error.contains("side is 128") && error.contains("64"),
        "{error}"
    );
    study.proof.occlusion = 1;
    let error = study.run(folder.path(), &go).unwrap_err().to_string();
    assert!(error.contains("proof.occlusion"), "{error}");
}

#[test]
fn folds_are_taken_up_where_a_run_stopped() {
    let n = 48;
    let (pictures, surv) = patches(n);
    let column = ("x".to_owned(), normals(1, 0, n));
    let data = StudyData {
        surv,
        patient: (0..n as u32).collect(),
        w: None,
        w_plus: None,
        clinical: Some(Design::new(n, vec![column]).unwrap()),
        age_sex: None,
        condition: None,
        subgroups: vec![],
        diagnosis: None,
    };
    let mut study = Study::default();
    study.models.networks = vec![PhotoNetwork::Vgg16];
    study.models.training = NetworkTraining {
        epochs: 1,
        patience: 1,
        ..NetworkTraining::default()
    };
    study.validation.repeats = 1;
    study.validation.outer_folds = 2;
    study.validation.inner_folds = 3;
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    for folder in [&whole, &parts] {
        std::fs::create_dir(folder).unwrap();
    }
    let resumed = std::sync::Mutex::new(Vec::new());
    let run = |folder: &std::path::Path, stop_at: &str| {
        let observer = |event: StageEvent<'_>| match event {
            StageEvent::Resumed { stage } => {
                resumed.lock().unwrap().push(stage.to_owned());
                ControlFlow::Continue(())
            }
            StageEvent::Progress { stage, .. } if stage == stop_at => ControlFlow::Break(()),
            StageEvent::Progress { .. } => ControlFlow::Continue(()),
        };
        let run = Run::new(folder, &observer, "key".into());
        let mut all = study.predict(&data, &|| Ok(())).unwrap();
        stage::add(&run, &study, &data, &pictures, &mut all).map(|()| all)
    };
    let first = run(&whole, "").unwrap();
    let names: Vec<ModelKind> = first.models.iter().map(|p| p.model).collect();
    let expected = [
        ModelKind::Clinical,
        ModelKind::Vgg16,
        ModelKind::Vgg16Fusion,
    ];
    assert_eq!(names, expected);
    for own in &first.models {
        assert_eq!((own.failed.as_ref(), own.chosen.len()), (None, 2));
        assert_eq!(own.risk[0].len(), n);
    }
    let error = run(&parts, "1-vgg16-1-2").unwrap_err().to_string();
    assert!(error.contains("run it again"), "{error}");
    assert!(resumed.lock().unwrap().is_empty());
    assert_eq!(run(&parts, "").unwrap(), first);
    assert_eq!(*resumed.lock().unwrap(), ["1-vgg16-1-1"]);
    // What judges them takes them as any other model, with what they add.
    let (models, increments) = study_of(&study).judge(&data, &first, &|| Ok(())).unwrap();
    assert!(models.iter().all(|m| m.harrell.is_some()));
    assert_eq!(increments[0].with_face, ModelKind::Vgg16Fusion);
    // Left truncation is not for networks, and said so instead of stopping the study.
    let entry = vec![0.0; n];
    let builder = Surv::builder(data.surv.time(), data.surv.event()).entry(&entry);
    let late = StudyData {
        surv: builder.build().unwrap(),
        ..data.clone()
    };
    let observer = |_: StageEvent<'_>| ControlFlow::Continue(());
    let run = Run::new(folder.path(), &observer, "late".into());
    let mut all = study.predict(&late, &|| Ok(())).unwrap();
    stage::add(&run, &study, &late, &pictures, &mut all).unwrap();
    let reason = all.models[1].failed.as_deref().unwrap_or_default();
    assert!(reason.contains("left-truncated"), "{reason}");
}

/// With few replicates.
fn study_of(study: &Study) -> Study {
    let mut study = study.clone();
    study.validation.bootstraps = 5;
    study.validation.calibration_bootstraps = 0;
    study
}
