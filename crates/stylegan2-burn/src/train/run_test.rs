//! Runs in their folders: what is kept, what is refused, what may change.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;

use super::settings::AugmentStrength;
use super::state_test::{Pictures, SIDE, bits, settings, trainer};
use super::trainer::Trainer;
use super::{
    Networks, Observer, RunSettings, SavedRun, StepReport, TrainPhase, TrainPrecision, TrainRun,
    TrainSettings, TrainState,
};
use crate::image::Pixels;
use crate::{Checkpoint, DiscriminatorConfig, Error, GeneratorConfig};

fn pictures() -> Arc<Pictures> {
    Arc::new(Pictures { labels: 0 })
}

/// Without penalties: quick.
fn plain() -> TrainSettings {
    settings()
        .with_path_interval(None)
        .with_r1_interval(None)
        .with_augment(AugmentStrength::None)
        .with_batch(100)
        .with_kimg(1)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Counts, and answers with a number of its own for every phase.
#[derive(Default)]
struct Watcher {
    steps: u64,
    last: Option<StepReport>,
    grids: Vec<(f64, usize)>,
}

impl Observer for Watcher {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.steps += 1;
        self.last = Some(report.clone());
        ControlFlow::Continue(())
    }
    fn phase(&mut self, phase: TrainPhase) -> Option<u64> {
        (phase != TrainPhase::R1).then_some(1000 + self.steps)
    }
    fn samples(&mut self, kimg: f64, grid: &Pixels) {
        self.grids.push((kimg, grid.width));
    }
}

#[test]
fn snapshots_of_parts_of_a_thousand_stay_beside_each_other_and_the_observer_sees_all() {
    let root = tempfile::tempdir().unwrap();
    let times = RunSettings::new()
        .with_snapshot_kimg(0.4)
        .with_keep(0)
        .with_grid([2, 1]);
    let settings = plain().with_path_interval(Some(5));
    let trainer = trainer(settings, 0).unwrap();
    let mut run = TrainRun::create(root.path().join("run"), trainer, times).unwrap();
    assert!(run.saved_kimg().abs() < 1e-12);
    let mut watcher = Watcher::default();
    run.train_with(&mut watcher).unwrap();
    let names = names(run.folder());
    for name in ["000000.400", "000000.800", "000001"] {
        let [network, fakes] = ["network-", "fakes"].map(|kind| format!("{kind}{name}."));
        let found = |n: &String| n.starts_with(&network) || n.starts_with(&fakes);
        assert_eq!(names.iter().filter(|n| found(n)).count(), 2, "{names:?}");
    }
    let times: Vec<f64> = watcher.grids.iter().map(|g| g.0).collect();
    assert_eq!(times, [0.4, 0.8, 1.0]);
    assert_eq!(watcher.grids[0].1, 2 * SIDE);
    assert_eq!(watcher.last.unwrap().memory.generator, Some(1009));
    // The most of the tick, and of the phases that were due.
    let stats = std::fs::read_to_string(run.folder().join("stats.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(stats.trim()).unwrap();
    assert_eq!(line["memory"]["discriminator"], 1009);
    assert_eq!(line["memory"]["path_length"], 1005);
    assert!(line["memory"]["r1"].is_null());
}

#[test]
fn a_measure_that_fails_loses_neither_state_nor_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("run");
    let times = RunSettings::new().with_snapshot_kimg(0.5);
    let trainer = trainer(plain(), 0).unwrap();
    let run = TrainRun::create(&folder, trainer, times).unwrap();
    // There is something to go on from before the first iteration.
    assert_eq!(
        SavedRun::open(&folder).unwrap().state().progress().images,
        0
    );
    let fault = || Error::Argument {
        name: "measure",
        reason: "no".to_owned(),
    };
    let mut run = run.with_measure(Box::new(move |_| Err(fault())));
    let error = run.train(|_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("measure"), "{error}");
    assert!((run.saved_kimg() - 0.5).abs() < 1e-12);
    let saved = SavedRun::open(&folder).unwrap();
    assert_eq!(saved.state().progress().images, 500);
    assert!((saved.settings().snapshot_kimg - 0.5).abs() < 1e-12);
    assert!(folder.join("network-000000.500.safetensors").exists());
    // What a killed run leaves is swept away, and nothing else.
    std::fs::write(folder.join(".stylegan2-x.part"), b"half").unwrap();
    let before = names(&folder);
    let trainer = SavedRun::open(&folder).unwrap();
    let trainer = trainer.trainer(pictures(), &Device::default(), |_| ());
    assert_eq!(trainer.unwrap().progress().iteration, 5);
    assert_eq!(names(&folder), before, "to look is not to write");
    saved
        .resume(pictures(), &Device::default(), |_| ())
        .unwrap();
    assert!(!folder.join(".stylegan2-x.part").exists());
}

#[test]
fn what_is_not_finite_is_not_written_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut t = trainer(settings(), 0).unwrap();
    t.save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let whole = t.average.clone();
    let bias = &mut t.average.synthesis.blocks[1].conv1.bias;
    *bias = bias.clone().map(|b| b * f32::NAN);
    let networks = folder.path().join("networks");
    for result in [
        t.save(&path),
        t.save_networks(&networks, crate::FloatFormat::F32),
    ] {
        match result {
            Err(Error::NotFinite { step: 0, tensor }) => {
                assert_eq!(tensor, "G_ema.synthesis.b8.conv1.bias");
            }
            other => panic!("{other:?}"),
        }
    }
    t.average = whole;
    let second = &mut t.d.moments.second;
    *second = second.clone() + f32::INFINITY;
    let fault = t.save(&path).unwrap_err().to_string();
    assert!(fault.contains("optimizer.D.second_moment"), "{fault}");
    assert!(std::fs::read(&path).unwrap() == good && !networks.exists());
}

#[test]
fn a_training_that_is_over_before_it_begins_is_refused() {
    for (start, kimg, good) in [
        (300_000, 200, false),
        (200_000, 200, false),
        (199_999, 200, true),
    ] {
        let settings = settings().with_kimg(kimg).with_start_images(start);
        match trainer(settings, 0) {
            Ok(t) => assert!(good && !t.is_finished()),
            Err(Error::Config { field, .. }) => assert!(!good && field == "start_images"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn the_networks_of_a_frozen_training_are_free_again_and_its_states_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (state, networks) = (folder.path().join("s"), folder.path().join("n"));
    let mut frozen = trainer(settings().with_freeze_d(3), 0).unwrap();
    frozen.step().unwrap();
    frozen.save(&state).unwrap();
    frozen
        .save_networks(&networks, crate::FloatFormat::F32)
        .unwrap();
    let file = Checkpoint::open(&networks).unwrap();
    let opened = Networks::open(&file, &Device::default()).unwrap();
    let free = Trainer::new(settings(), opened, pictures()).unwrap();
    let all = trainer(settings(), 0).unwrap().d.slots.len();
    assert_eq!(free.d.slots.len(), all);
    assert!(frozen.d.slots.len() < all);
    let mut again = Trainer::resume(&state, pictures(), &Device::default()).unwrap();
    assert_eq!(again.settings().freeze_d, 3);
    for t in [&mut frozen, &mut again] {
        t.step().unwrap();
    }
    assert!(bits(&again) == bits(&frozen));
}

/// Files of earlier versions and of others keep the number of frozen layers with the network.
#[test]
fn frozen_layers_of_a_networks_own_settings_are_frozen_in_this_training_only() {
    let g = GeneratorConfig::new(SIDE)
        .with_channel_base(64)
        .with_z_dim(6)
        .with_w_dim(5);
    let d = DiscriminatorConfig::new(SIDE)
        .with_channel_base(64)
        .with_mbstd_group(Some(2))
        .with_freeze_layers(2);
    let networks = Networks::init(&g, &d, 1, &Device::default()).unwrap();
    let t = Trainer::new(settings(), networks, pictures()).unwrap();
    assert_eq!(t.settings().freeze_d, 2);
    assert_eq!(t.plan().discriminator.freeze_layers, 0);
    let file = tempfile::NamedTempFile::new().unwrap();
    t.save(file.path()).unwrap();
    let state = TrainState::open(file.path()).unwrap();
    assert_eq!(state.plan().settings.freeze_d, 2);
    let again = state
        .resume(pictures(), &Device::default(), |_| ())
        .unwrap();
    assert!(again.d.slots == t.d.slots);
}

#[test]
fn a_change_to_adaptive_augmentation_starts_it_and_a_new_target_is_taken() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let go_on = |from: AugmentStrength, to: AugmentStrength| {
        let settings = settings().with_augment(from);
        let mut t = trainer(settings, 0).unwrap();
        for _ in 0..2 {
            t.step().unwrap();
        }
        t.save(file.path()).unwrap();
        let state = TrainState::open(file.path()).unwrap();
        let change = |s: &mut TrainSettings| s.augment = to;
        let mut again = state
            .resume(pictures(), &Device::default(), change)
            .unwrap();
        let p = [t.p(), again.p()];
        for _ in 0..2 {
            again.step().unwrap();
        }
        (p, again.p(), again)
    };
    // Aims that no discriminator reaches: p goes up, or down.
    let ada = |target| AugmentStrength::Adaptive { target, kimg: 0.1 };
    let (_, after, _) = go_on(AugmentStrength::None, ada(-1.0));
    assert!((after - 0.38).abs() < 1e-9, "from augment_start: {after}");
    let (_, after, _) = go_on(AugmentStrength::Fixed(0.1), ada(-1.0));
    assert!((after - 0.18).abs() < 1e-9, "from the fixed one: {after}");
    let ([before, begin], after, again) = go_on(ada(-1.0), ada(1.0));
    assert!(
        (before - begin).abs() < 1e-12 && after < begin,
        "{begin} {after}"
    );
    let config = again.progress().ada.as_ref().unwrap().config();
    assert!((config.target - 1.0).abs() < 1e-12);
    let (_, after, again) = go_on(ada(-1.0), AugmentStrength::Fixed(0.25));
    assert!((after - 0.25).abs() < 1e-12 && again.progress().ada.is_none());
}

#[test]
fn half_precision_stays_near_single_precision() {
    let losses = |precision| {
        let g = GeneratorConfig::new(SIDE)
            .with_channel_base(64)
            .with_z_dim(6)
            .with_w_dim(5)
            .with_conv_clamp(Some(256.0))
            .with_half_resolutions(2);
        let d = DiscriminatorConfig::new(SIDE)
            .with_channel_base(64)
            .with_conv_clamp(Some(256.0))
            .with_half_resolutions(2);
        let networks = Networks::init(&g, &d, 1, &Device::default()).unwrap();
        let settings = settings().with_precision(precision);
        let mut t = Trainer::new(settings, networks, pictures())?;
        let reports: Vec<StepReport> = (0..2).map(|_| t.step()).collect::<Result<_, _>>()?;
        let all = reports.iter().flat_map(|r| {
            [
                r.generator_loss,
                r.discriminator_loss,
                r.real_score,
                r.fake_score,
            ]
        });
        Ok::<_, Error>(all.collect::<Vec<f64>>())
    };
    let full = losses(TrainPrecision::Full).unwrap();
    // bfloat16 has 8 bits, half precision 11.
    for (precision, tolerance) in [(TrainPrecision::Bf16, 0.05), (TrainPrecision::F16, 0.01)] {
        match losses(precision) {
            Ok(half) => {
                assert!(half != full, "{precision:?} is at work");
                for (h, f) in half.iter().zip(&full) {
                    assert!(
                        (h - f).abs() < tolerance,
                        "{precision:?}: {half:?} {full:?}"
                    );
                }
            }
            // A device without such numbers says so before it begins.
            Err(error) => assert!(error.to_string().contains("training in"), "{error}"),
        }
    }
}

/// The same parts of a batch on one device and over two: the same bits. Frozen layers stay so in the copies.
#[test]
fn two_devices_compute_what_one_does() {
    let settings = settings()
        .with_batch(12)
        .with_micro_batch(Some(4))
        .with_freeze_d(2)
        .with_frozen(vec!["G.mapping".into()]);
    let mut one = trainer(settings.clone(), 3).unwrap();
    let mut two = trainer(settings.clone(), 3).unwrap();
    two = two.with_devices(&[Device::default()]).unwrap();
    assert_eq!((one.device_count(), two.device_count()), (1, 2));
    for _ in 0..4 {
        let [mut a, mut b] = [&mut one, &mut two].map(|t| t.step().unwrap());
        (a.seconds, b.seconds) = (0.0, 0.0);
        assert_eq!(a, b);
    }
    assert!(bits(&one) == bits(&two));
    // Without a size of the parts each device has its share: not the bits, but the training.
    let shared = settings.with_micro_batch(None).with_epsilon(1e-3);
    let mut whole = trainer(shared.clone(), 3).unwrap();
    let mut t = trainer(shared, 3).unwrap();
    t = t.with_devices(&[Device::default()]).unwrap();
    let [a, b] = [&mut t, &mut whole].map(|t| t.step().unwrap());
    for (a, b) in [
        (a.generator_loss, b.generator_loss),
        (a.discriminator_loss, b.discriminator_loss),
        (a.path_penalty.unwrap(), b.path_penalty.unwrap()),
        (a.r1_penalty.unwrap(), b.r1_penalty.unwrap()),
    ] {
        assert!((a - b).abs() < 1e-4 * b.abs(), "{a} {b}");
    }
    assert!(bits(&t) != bits(&whole));
}
