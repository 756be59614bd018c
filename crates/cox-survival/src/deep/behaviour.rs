//! What a trained network must do.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use burn::tensor::Device;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Activation, Batches, DeepSurv, DeepSurvFit, Norm, TrainingState};
use crate::{Covariates, CoxPh, Error, Progress, Surv, Ties, concordance};

struct Data {
    time: Vec<f64>,
    event: Vec<bool>,
    x: Vec<f64>,
    p: usize,
}

impl Data {
    fn x(&self) -> Covariates<'_> {
        Covariates::from_rows(&self.x, self.time.len(), self.p).unwrap()
    }
}

/// `n` patients whose log hazard is `risk(row)`; times rounded so that there are ties.
fn data(n: usize, p: usize, seed: u64, risk: impl Fn(&[f64]) -> f64) -> Data {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let x: Vec<f64> = (0..n * p).map(|_| rng.random_range(-1.7..1.7)).collect();
    let (mut time, mut event) = (Vec::new(), Vec::new());
    for row in x.chunks(p) {
        let u: f64 = rng.random_range(1e-9..1.0);
        let t = (-u.ln() / risk(row).exp() * 20.0).ceil().min(200.0);
        let c = rng.random_range(1.0..150.0f64).ceil();
        time.push(t.min(c));
        event.push(t <= c);
    }
    Data { time, event, x, p }
}

fn device() -> Device {
    Device::flex()
}

#[test]
fn a_linear_head_is_the_cox_model() {
    let data = data(300, 3, 1, |x| 0.8 * x[0] - 0.5 * x[1]);
    let strata: Vec<u32> = (0..300).map(|i| i % 2).collect();
    let weights: Vec<f64> = (0..300).map(|i| 0.5 + f64::from(i % 3)).collect();
    for (ties, plain) in [(Ties::Efron, true), (Ties::Breslow, false)] {
        let mut surv = Surv::builder(&data.time, &data.event);
        if !plain {
            surv = surv.strata(&strata).weights(&weights);
        }
        let surv = surv.build().unwrap();
        let cox = CoxPh::new().ties(ties).fit(&surv, &data.x()).unwrap();
        let settings = DeepSurv::new().hidden(&[]).ties(ties).epochs(2500);
        let settings = settings.learning_rate(0.05).learning_rate_decay(0.997);
        let fit = settings.fit(&surv, &data.x(), &device()).unwrap();
        for (a, b) in fit.linear_coef().unwrap().iter().zip(cox.coef()) {
            assert!((a - b).abs() < 1e-5, "{a} is not {b}");
        }
        // And so is everything that follows from it.
        let times = [5.0, 40.0, 100.0];
        let stratum = usize::from(!plain);
        let ours = fit.survival(&data.x(), &times, stratum).unwrap();
        let want = cox.survival(&data.x(), &times, stratum).unwrap();
        for (a, b) in ours.iter().zip(&want) {
            assert!((a - b).abs() < 1e-4, "{a} is not {b}");
        }
    }
}

#[test]
fn it_learns_what_a_line_cannot() {
    let risk = |x: &[f64]| 1.5 * x[0] * x[0] - 1.2 * x[1].abs();
    let (train, test) = (data(600, 4, 2, risk), data(600, 4, 3, risk));
    let surv = Surv::new(&train.time, &train.event).unwrap();
    let new = Surv::new(&test.time, &test.event).unwrap();
    let judge = |risk: &[f64]| concordance(&new, risk).unwrap().concordance();
    let cox = CoxPh::new().fit(&surv, &train.x()).unwrap();
    let line = judge(&cox.predict(&test.x()).unwrap());
    let best = judge(&test.x.chunks(4).map(risk).collect::<Vec<_>>());
    let base = DeepSurv::new().hidden(&[32]).learning_rate(0.02).seed(4);
    for settings in [
        base.clone().early_stopping(0.2, 20),
        base.clone()
            .activation(Activation::Relu)
            .norm(Norm::Batch)
            .dropout(0.1),
        base.clone().norm(Norm::Layer).weight_decay(0.01),
        base.clone()
            .epochs(20)
            .batches(Batches::InRiskSets { size: 64 }),
        base.epochs(20).batches(Batches::CaseControl {
            size: 32,
            controls: 4,
        }),
    ] {
        let fit = settings.fit(&surv, &train.x(), &device()).unwrap();
        let found = judge(&fit.predict(&test.x()).unwrap());
        assert!(
            line < 0.56 && found > best - 0.05,
            "{found}, a line {line}, the truth {best}: {settings:?}"
        );
    }
}

#[test]
fn early_stopping_keeps_the_best_epoch() {
    let data = data(150, 30, 5, |x| 0.7 * x[0]);
    let surv = Surv::new(&data.time, &data.event).unwrap();
    let settings = DeepSurv::new()
        .hidden(&[64])
        .learning_rate(0.01)
        .epochs(200);
    let fit = settings
        .early_stopping(0.25, 15)
        .fit(&surv, &data.x(), &device())
        .unwrap();
    let history = fit.history();
    let held: Vec<f64> = history.iter().map(|e| e.validation.unwrap()).collect();
    let least = held.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(held[fit.epoch()] <= least);
    assert!(history.len() < 200 && history.len() == fit.epoch() + 16);
    // It had begun to learn the patients by heart.
    assert!(held[history.len() - 1] > least);
    assert!(history[history.len() - 1].training < history[fit.epoch()].training);
}

#[test]
fn rows_without_weight_are_as_if_absent() {
    let mut data = data(90, 2, 14, |x| x[0]);
    let weights: Vec<f64> = (0..90).map(|i| [0.0, 1.0, 0.5][i % 3]).collect();
    for i in (0..90).step_by(3) {
        data.x[2 * i] = 1e6;
        data.event[i] = true;
    }
    let used: Vec<usize> = (0..90).filter(|i| i % 3 > 0).collect();
    let surv = Surv::builder(&data.time, &data.event).weights(&weights);
    let surv = surv.build().unwrap();
    let (only, x) = (surv.subset(&used).unwrap(), data.x());
    let patient: Vec<u32> = (0..90).map(|i| i / 2).collect();
    let theirs: Vec<u32> = used.iter().map(|&i| patient[i]).collect();
    let go = |_: Progress| ControlFlow::Continue(());
    let base = DeepSurv::new().hidden(&[4]).norm(Norm::Batch).epochs(4);
    for settings in [
        base.clone().early_stopping(0.3, 2),
        base.batches(Batches::InRiskSets { size: 20 }),
    ] {
        let fit = |surv: &Surv, x: &Covariates<'_>, groups: &[u32]| {
            let fit = settings.fit_grouped(surv, x, groups, &device(), &go, None);
            fit.unwrap()
        };
        let all = fit(&surv, &x, &patient);
        assert_eq!(all, fit(&only, &x.select(&used).unwrap(), &theirs));
        assert!(all.to_string().contains("n = 60,"), "{all}");
    }
}

#[test]
fn a_seed_gives_the_same_bits_on_any_number_of_threads() {
    let data = data(90, 5, 6, |x| x[0]);
    let surv = Surv::new(&data.time, &data.event).unwrap();
    let fit = |threads: usize, seed: u64| {
        let settings = DeepSurv::new().hidden(&[16, 8]).dropout(0.3).epochs(10);
        let settings = settings
            .batches(Batches::InRiskSets { size: 30 })
            .seed(seed);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| settings.fit(&surv, &data.x(), &device()))
            .unwrap()
    };
    let bits = |fit: &DeepSurvFit| -> Vec<u64> {
        let risk = fit.predict(&data.x()).unwrap();
        risk.iter().map(|r| r.to_bits()).collect()
    };
    assert_eq!(bits(&fit(1, 7)), bits(&fit(3, 7)));
    assert_ne!(bits(&fit(1, 7)), bits(&fit(1, 8)));
}

#[test]
fn a_file_holds_all_of_it() {
    let data = data(80, 3, 9, |x| x[0]);
    let surv = Surv::new(&data.time, &data.event).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for norm in [Norm::None, Norm::Batch, Norm::Layer] {
        let settings = DeepSurv::new().hidden(&[5, 4]).norm(norm).epochs(3);
        let fit = settings.fit(&surv, &data.x(), &device()).unwrap();
        let path = folder.path().join("network.safetensors");
        fit.save(&path).unwrap();
        assert_eq!(DeepSurvFit::load(&path).unwrap(), fit);
        // Damage is an error wherever it is, or leaves a whole network; never a panic.
        let bytes = fit.to_bytes().unwrap();
        for cut in (0..bytes.len()).step_by(7) {
            assert!(DeepSurvFit::from_bytes(&bytes[..cut]).is_err());
        }
        for at in (0..bytes.len()).step_by(5) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let _ = DeepSurvFit::from_bytes(&damaged);
        }
        let mut uneven = fit.clone();
        uneven.about.baseline[0].hazard.pop();
        assert!(DeepSurvFit::from_bytes(&uneven.to_bytes().unwrap()).is_err());
    }
    let missing = DeepSurvFit::load(folder.path().join("none.safetensors"));
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .contains("none.safetensors")
    );
}

/// A small file, and where its header ends.
fn small_file() -> &'static (Vec<u8>, usize) {
    static FILE: OnceLock<(Vec<u8>, usize)> = OnceLock::new();
    FILE.get_or_init(|| {
        let data = data(30, 2, 12, |x| x[0]);
        let surv = Surv::new(&data.time, &data.event).unwrap();
        let settings = DeepSurv::new().hidden(&[3]).norm(Norm::Batch).epochs(1);
        let fit = settings.fit(&surv, &data.x(), &device()).unwrap();
        let bytes = fit.to_bytes().unwrap();
        let header = bytes.windows(2).position(|pair| pair == b"}}").unwrap();
        (bytes, header)
    })
}

proptest! {
    /// What the fuzz target `deepsurv` asks of any bytes, of a file with several faults, most of them
    /// in its header, where a digit becomes another digit so that it can often still be read.
    #[test]
    fn a_damaged_file_is_a_whole_network_or_an_error(
        edits in vec((any::<Index>(), any::<u8>(), 0..6u8), 1..5)
    ) {
        let (bytes, header) = small_file();
        let mut bytes = bytes.clone();
        for (place, value, kind) in edits {
            let within = if kind == 0 { bytes.len() } else { *header };
            let at = place.index(within);
            match kind {
                0 | 1 => bytes[at] = value,
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, value),
                _ => {
                    let digits = (at..*header).find(|&k| bytes[k].is_ascii_digit());
                    bytes[digits.unwrap_or(at)] = b'0' + value % 10;
                }
            }
        }
        if let Ok(fit) = DeepSurvFit::from_bytes(&bytes) {
            let p = fit.names().len();
            let zeros = vec![0.0; p];
            let x = Covariates::from_rows(&zeros, 1, p).unwrap();
            prop_assert_eq!(fit.predict(&x).unwrap().len(), 1);
            let curves = fit.survival(&x, &[0.0, 1.0, f64::INFINITY], 0);
            prop_assert!(curves.is_ok() != fit.baseline_hazard().is_empty());
            let written = fit.to_bytes().unwrap();
            let again = DeepSurvFit::from_bytes(&written).unwrap();
            prop_assert_eq!(again.to_bytes().unwrap(), written);
        }
    }
}

#[test]
fn a_training_goes_on_with_the_same_bits() {
    let data = data(90, 4, 11, |x| x[0] - x[1] * x[1]);
    let surv = Surv::new(&data.time, &data.event).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let base = DeepSurv::new().hidden(&[8, 6]).epochs(9).seed(3);
    let base = base.learning_rate(0.02).learning_rate_decay(0.9);
    let variants = [
        base.clone().dropout(0.3).norm(Norm::Batch),
        base.clone()
            .batches(Batches::InRiskSets { size: 25 })
            .norm(Norm::Layer)
            .weight_decay(0.1)
            .early_stopping(0.25, 6),
        base.clone().batches(Batches::CaseControl {
            size: 16,
            controls: 2,
        }),
        base.clone().hidden(&[]),
    ];
    for (k, settings) in variants.iter().enumerate() {
        let whole = settings.fit(&surv, &data.x(), &device()).unwrap();
        let state = TrainingState::new(folder.path().join(format!("{k}"))).every(2);
        let fit = |settings: &DeepSurv, upto: usize| {
            let stop = |p: Progress| {
                if p.done >= upto {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            settings.fit_resumable(&surv, &data.x(), &device(), &stop, &state)
        };
        // Stopped at the third and the fifth epoch (of which the file may miss none).
        for upto in [3, 5] {
            assert_eq!(fit(settings, upto).unwrap_err(), Error::Interrupted);
        }
        assert_eq!(fit(settings, usize::MAX).unwrap(), whole, "{settings:?}");
        // Done: nothing is trained again.
        assert_eq!(fit(settings, 0).unwrap(), whole);
        // More epochs than asked for at first.
        let longer = settings.clone().epochs(12);
        let want = longer.fit(&surv, &data.x(), &device()).unwrap();
        assert_eq!(fit(&longer, usize::MAX).unwrap(), want);
    }
}

#[test]
fn a_state_of_something_else_is_refused() {
    let one = data(60, 2, 12, |x| x[0]);
    let other = data(60, 2, 13, |x| x[0]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let state = TrainingState::new(&path);
    let settings = DeepSurv::new().hidden(&[3]).epochs(2);
    let fit = |settings: &DeepSurv, data: &Data| {
        let surv = Surv::new(&data.time, &data.event).unwrap();
        let go = |_: Progress| ControlFlow::Continue(());
        settings.fit_resumable(&surv, &data.x(), &device(), &go, &state)
    };
    fit(&settings, &one).unwrap();
    let said = |found: crate::Result<DeepSurvFit>| found.unwrap_err().to_string();
    assert!(said(fit(&settings.clone().seed(1), &one)).contains("other settings"));
    assert!(said(fit(&settings, &other)).contains("other data"));
    let bytes = std::fs::read(&path).unwrap();
    for cut in (0..bytes.len()).step_by(31) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(matches!(fit(&settings, &one), Err(Error::File { .. })));
    }
    for at in (0..bytes.len()).step_by(17) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x11;
        std::fs::write(&path, &damaged).unwrap();
        let _ = fit(&settings, &one);
    }
    let fit = DeepSurv::new().hidden(&[3]).epochs(1);
    let surv = Surv::new(&one.time, &one.event).unwrap();
    let fit = fit.fit(&surv, &one.x(), &device()).unwrap();
    fit.save(&path).unwrap();
    let go = |_: Progress| ControlFlow::Continue(());
    let found = settings.fit_resumable(&surv, &one.x(), &device(), &go, &state);
    assert!(said(found).contains("no state of a DeepSurv training"));
}

#[test]
fn faults_are_told() {
    let data = data(60, 2, 10, |x| x[0]);
    let surv = Surv::new(&data.time, &data.event).unwrap();
    let fit = |settings: DeepSurv| settings.fit(&surv, &data.x(), &device());
    let base = DeepSurv::new().epochs(30);
    for settings in [
        base.clone().hidden(&[0]),
        base.clone().dropout(1.0),
        base.clone().epochs(0),
        base.clone().learning_rate(f64::NAN),
        base.clone().weight_decay(-1.0),
        base.clone().early_stopping(0.9, 3),
        base.clone().batches(Batches::InRiskSets { size: 1 }),
        base.clone().batches(Batches::CaseControl {
            size: 3,
            controls: 0,
        }),
    ] {
        assert!(matches!(fit(settings), Err(Error::Setting { .. })));
    }
    let wild = fit(base.clone().learning_rate(1e30));
    assert!(matches!(wild, Err(Error::Diverged { .. })), "{wild:?}");
    let stop = |p: Progress| match p.done {
        0..3 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let stopped = base.fit_with(&surv, &data.x(), &device(), &stop);
    assert!(matches!(stopped, Err(Error::Interrupted)));
    let constant = vec![1.0; 60];
    let constant = Covariates::from_rows(&constant, 60, 1).unwrap();
    assert!(matches!(
        base.fit(&surv, &constant, &device()),
        Err(Error::ConstantColumn { .. })
    ));
}
