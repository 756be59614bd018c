//! Stopping and going on, parts of batches, frozen layers, faults.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;

use super::settings::AugmentStrength;
use super::trainer::Trainer;
use super::{ImageSource, Networks, TrainSettings, parameters};
use crate::checkpoint::{Names, to_dtype};
use crate::{Checkpoint, DiscriminatorConfig, Error, GeneratorConfig, MappingConfig, Result};

pub(super) const SIDE: usize = 16;

/// Pictures made by a formula, with labels on request.
pub(super) struct Pictures {
    pub(super) labels: usize,
}

impl ImageSource for Pictures {
    fn len(&self) -> usize {
        11
    }
    fn shape(&self) -> [usize; 3] {
        [3, SIDE, SIDE]
    }
    fn label_dim(&self) -> usize {
        self.labels
    }
    fn image(&self, index: usize) -> Result<Vec<u8>> {
        let value = |k: usize| (k * (index + 3) * 7 % 251) as u8;
        Ok((0..3 * SIDE * SIDE).map(value).collect())
    }
    fn label(&self, index: usize) -> Option<Vec<f32>> {
        let one = |k| f32::from(u8::from(index % self.labels == k));
        (self.labels > 0).then(|| (0..self.labels).map(one).collect())
    }
}

pub(super) fn settings() -> TrainSettings {
    TrainSettings::new()
        .with_batch(4)
        .with_rounds(1)
        .with_path_interval(Some(2))
        .with_r1_interval(Some(3))
        .with_mirror(true)
        .with_augment_interval(2)
        .with_ema_kimg(0.02)
        .with_augment(AugmentStrength::Adaptive {
            target: -0.9,
            kimg: 0.1,
        })
        .with_augment_start(0.3)
        .with_seed(5)
}

pub(super) fn trainer(settings: TrainSettings, labels: usize) -> Result<Trainer> {
    let g = GeneratorConfig::new(SIDE)
        .with_c_dim(labels)
        .with_channel_base(64)
        .with_z_dim(6)
        .with_w_dim(5)
        .with_mapping(MappingConfig::new().with_num_layers(2));
    let d = DiscriminatorConfig::new(SIDE)
        .with_c_dim(labels)
        .with_channel_base(64)
        .with_mbstd_group(Some(2));
    let networks = Networks::init(&g, &d, 1, &Device::default())?;
    Trainer::new(settings, networks, Arc::new(Pictures { labels }))
}

/// Every number that a training carries, as bits.
pub(super) fn bits(trainer: &Trainer) -> Vec<u32> {
    let all = |_: &str, _: bool| true;
    let n = trainer.networks();
    let (g, d) = (Names::generator(SIDE), Names::discriminator(SIDE));
    let mut tensors = vec![
        parameters::values(&n.generator, g.clone(), &all),
        parameters::values(&n.average, g, &all),
        parameters::values(&n.discriminator, d, &all),
    ];
    for moments in [&trainer.g.moments, &trainer.d.moments] {
        tensors.extend(moments.first.clone());
        tensors.push(moments.second.clone());
    }
    tensors
        .into_iter()
        .flat_map(|t| t.into_data().try_to_vec::<f32>().unwrap())
        .map(f32::to_bits)
        .collect()
}

/// The values of every tensor of generator and discriminator.
fn by_name(n: &Networks) -> BTreeMap<String, Vec<f64>> {
    let all = |_: &str, _: bool| true;
    let mut values = BTreeMap::new();
    let mut add = |net: &str, slots: Vec<parameters::Slot>, v: Vec<f64>| {
        let mut at = 0;
        for slot in slots {
            let count = slot.shape.iter().product::<usize>();
            values.insert(format!("{net}.{}", slot.name), v[at..at + count].to_vec());
            at += count;
        }
    };
    let (slots, v) = parameters::named(&n.generator, Names::generator(SIDE), &all);
    add("G", slots, super::loss::numbers(v));
    let (slots, v) = parameters::named(&n.discriminator, Names::discriminator(SIDE), &all);
    add("D", slots, super::loss::numbers(v));
    values
}

#[test]
fn stopping_anywhere_and_going_on_gives_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for (labels, settings) in [
        (0, settings()),
        (3, settings().with_betas([0.5, 0.99]).with_rounds(2)),
    ] {
        let mut whole = trainer(settings.clone(), labels).unwrap();
        let mut states = Vec::new();
        let mut reports = Vec::new();
        for step in 0..7 {
            let path = folder.path().join(format!("{labels}-{step}.safetensors"));
            whole.save(&path).unwrap();
            states.push(path);
            let mut report = whole.step().unwrap();
            report.seconds = 0.0;
            reports.push(report);
        }
        assert!(reports.iter().any(|r| r.path_penalty.is_some()));
        assert!(reports.iter().any(|r| r.path_penalty.is_none()));
        assert!(whole.p() > 0.0, "the augmentation is at work");
        let truth = bits(&whole);
        // Before the first step, between penalties, at one, and in the second epoch.
        for stop in [0, 1, 3, 4, 6] {
            let source = Arc::new(Pictures { labels });
            let mut again = Trainer::resume(&states[stop], source, &Device::default()).unwrap();
            assert_eq!(again.progress().iteration, stop as u64);
            for report in &reports[stop..] {
                let mut found = again.step().unwrap();
                found.seconds = 0.0;
                assert_eq!(&found, report);
            }
            assert_eq!(again.progress(), whole.progress());
            assert!(bits(&again) == truth, "stopped at {stop}");
        }
    }
}

#[test]
fn training_changes_every_trained_parameter_and_the_seed_decides_how() {
    let mut a = trainer(settings(), 0).unwrap();
    let before = by_name(&a.networks());
    let mut b = trainer(settings(), 0).unwrap();
    let mut c = trainer(settings().with_seed(6), 0).unwrap();
    for t in [&mut a, &mut b, &mut c] {
        t.step().unwrap();
    }
    assert!(bits(&a) == bits(&b));
    assert!(bits(&a) != bits(&c));
    let after = by_name(&a.networks());
    assert!(before.keys().eq(after.keys()));
    for (name, old) in &before {
        // Noise images stay; biases that only the penalties cannot reach move with the main losses.
        assert_eq!(*old == after[name], name.ends_with("noise_const"), "{name}");
    }
}

/// Parameters after one iteration without penalties that depend on the order of sums only.
#[test]
fn parts_of_a_batch_give_the_gradient_of_the_whole() {
    let base = settings().with_batch(8).with_epsilon(1e-3);
    let mut whole = trainer(base.clone(), 0).unwrap();
    let report = whole.step().unwrap();
    for size in [2, 4] {
        let mut parts = trainer(base.clone().with_micro_batch(Some(size)), 0).unwrap();
        let found = parts.step().unwrap();
        for (a, b) in [
            (found.generator_loss, report.generator_loss),
            (found.discriminator_loss, report.discriminator_loss),
            (found.path_penalty.unwrap(), report.path_penalty.unwrap()),
            (found.r1_penalty.unwrap(), report.r1_penalty.unwrap()),
            (found.path_mean, report.path_mean),
        ] {
            assert!((a - b).abs() < 1e-4 * b.abs(), "{size}: {a} {b}");
        }
        let number = |b: u32| f64::from(f32::from_bits(b));
        let (mut off, mut moved) = (0.0_f64, 0.0_f64);
        let start = bits(&trainer(base.clone(), 0).unwrap());
        for ((a, b), s) in bits(&parts).iter().zip(bits(&whole)).zip(start) {
            off += (number(*a) - number(b)).powi(2);
            moved += (number(b) - number(s)).powi(2);
        }
        assert!(
            (off / moved).sqrt() < 1e-3,
            "{size}: {}",
            (off / moved).sqrt()
        );
    }
}

#[test]
fn frozen_parts_stay_and_the_rest_moves() {
    let settings = settings()
        .with_freeze_d(2)
        .with_frozen(vec!["G.mapping".into(), "b8".into()]);
    let mut t = trainer(settings, 0).unwrap();
    let before = t.networks();
    t.step().unwrap();
    let after = t.networks();
    let (before, after) = (by_name(&before), by_name(&after));
    for (name, old) in &before {
        let frozen = (name.starts_with("G.mapping") && !name.ends_with("w_avg"))
            || name.contains(".b8.")
            || name.starts_with("D.b16.fromrgb")
            || name.starts_with("D.b16.conv0")
            || name.ends_with("noise_const");
        let same = old
            .iter()
            .zip(&after[name])
            .all(|(a, b)| a.to_bits() == b.to_bits());
        assert_eq!(same, frozen, "{name}");
    }
}

#[test]
fn a_state_is_a_network_file_and_a_network_file_is_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut t = trainer(settings(), 0).unwrap();
    t.step().unwrap();
    let (state, networks) = (folder.path().join("s"), folder.path().join("n"));
    t.save(&state).unwrap();
    t.save_networks(&networks, crate::FloatFormat::F32).unwrap();
    for path in [&state, &networks] {
        let file = Checkpoint::open(path).unwrap();
        let found = Networks::open(&file, &Device::default()).unwrap();
        assert_eq!(
            found.generator.num_params(),
            t.networks().generator.num_params()
        );
    }
    let again = Trainer::resume(
        &networks,
        Arc::new(Pictures { labels: 0 }),
        &Device::default(),
    );
    assert!(matches!(again, Err(Error::Unsupported { .. })), "{again:?}");
}

/// No pictures.
struct Empty;
impl ImageSource for Empty {
    fn len(&self) -> usize {
        0
    }
    fn shape(&self) -> [usize; 3] {
        [3, SIDE, SIDE]
    }
    fn label_dim(&self) -> usize {
        0
    }
    fn image(&self, _: usize) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn label(&self, _: usize) -> Option<Vec<f32>> {
        None
    }
}

#[test]
fn faults_are_named_and_leave_the_training_unharmed() {
    let mut t = trainer(settings(), 0).unwrap();
    let before = bits(&t);
    assert!(matches!(
        t.save(Path::new("/nowhere/at/all")),
        Err(Error::Io { .. })
    ));
    assert!(bits(&t) == before);
    // A weight that is not a number: the first loss stops the training, and says so.
    let w = &mut t.d.module.b4.out.bias;
    *w = w.clone().map(|b| b * f32::NAN);
    match t.step() {
        Err(Error::Diverged { step: 0, loss }) => assert_eq!(loss, "generator's loss"),
        other => panic!("{other:?}"),
    }
    let fault = |s: TrainSettings, labels| match trainer(s, labels) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    };
    assert!(fault(settings().with_batch(3), 0).contains("`batch`"));
    assert!(fault(settings().with_micro_batch(Some(1)), 0).contains("`micro_batch`"));
    let n = trainer(settings(), 0).unwrap().networks();
    let labelled = Trainer::new(settings(), n.clone(), Arc::new(Pictures { labels: 2 }));
    assert!(
        labelled.is_ok(),
        "labels that no network asks for are left alone"
    );
    let empty = Trainer::new(settings(), n, Arc::new(Empty)).unwrap_err();
    assert!(empty.to_string().contains("no images"));
}

#[test]
fn a_run_fills_its_folder_and_goes_on_where_it_stopped() {
    use super::run::{Ending, Measure, RunSettings, TrainRun};
    use std::ops::ControlFlow;

    let root = tempfile::tempdir().unwrap();
    let times = RunSettings::new()
        .with_tick_kimg(0.008)
        .with_state_kimg(0.5)
        .with_snapshot_kimg(1.0)
        .with_keep(1)
        .with_grid([3, 2]);
    // 1 kimg in batches of 100: ten iterations.
    let settings = settings()
        .with_kimg(1)
        .with_batch(100)
        .with_path_interval(Some(4))
        .with_r1_interval(Some(5));
    let make = |name: &str| {
        let trainer = trainer(settings.clone(), 0).unwrap();
        TrainRun::create(root.path().join(name), trainer, times.clone()).unwrap()
    };
    // The mean of w stands for a distance from real images.
    let mean = |g: &crate::Generator| {
        let mean = g.mapping.w_avg.as_ref().unwrap().val().into_data();
        f64::from(mean.try_to_vec::<f32>().unwrap()[0])
    };
    let measure =
        || -> Measure { Box::new(move |generator| Ok(vec![("w".to_owned(), mean(generator))])) };
    let mut whole = make("whole").with_measure(measure());
    assert_eq!(
        whole.train(|_| ControlFlow::Continue(())).unwrap(),
        Ending::Finished
    );

    let mut stopped = make("stopped");
    let mut steps = 0;
    let ending = stopped.train(|_| {
        steps += 1;
        if steps == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!((ending.unwrap(), steps), (Ending::Stopped, 3));
    let folder = stopped.folder().to_owned();
    drop(stopped);
    // A crash after the state was saved: lines of what was not saved.
    let stats = folder.join("stats.jsonl");
    let lines = std::fs::read_to_string(&stats).unwrap();
    assert_eq!(lines.lines().count(), 3);
    std::fs::write(&stats, format!("{lines}{{\"iteration\":4}}\n{{\"iter")).unwrap();
    std::fs::write(folder.join("metrics.jsonl"), "{\"iteration\":10,\"w\":1}\n").unwrap();
    let source = Arc::new(Pictures { labels: 0 });
    let device = Device::default();
    let mut again = TrainRun::resume(&folder, source, &device, times.clone(), |_| {})
        .unwrap()
        .with_measure(measure());
    assert_eq!(
        again.train(|_| ControlFlow::Continue(())).unwrap(),
        Ending::Finished
    );
    assert!(bits(whole.trainer()) == bits(again.trainer()));

    for name in [
        "config.toml",
        "reals.png",
        "fakes000000.png",
        "state.safetensors",
    ] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let same = |name: &str| std::fs::read(whole.folder().join(name)).unwrap() == read(name);
    assert!(same("fakes000001.png") && same("network-000001.safetensors"));
    assert!(read("fakes000000.png") != read("fakes000001.png"));
    let lines = String::from_utf8(read("stats.jsonl")).unwrap();
    let iterations: Vec<u64> = lines
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["iteration"].as_u64())
        .map(Option::unwrap)
        .collect();
    assert!(iterations.into_iter().eq(1..=10));
    // One snapshot, measured once; a line of an iteration that is done again is dropped.
    assert!(same("metrics.jsonl"));
    let lines = String::from_utf8(read("metrics.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(
        (line["iteration"].as_u64(), line["kimg"].as_f64()),
        (Some(10), Some(1.0))
    );
    assert_eq!(line["w"].as_f64(), Some(mean(&whole.trainer().average)));
    let config: toml::Table = String::from_utf8(read("config.toml"))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(config["settings"]["batch"].as_integer(), Some(100));
    // A folder with something in it is nobody's.
    let taken = TrainRun::create(&folder, trainer(settings.clone(), 0).unwrap(), times);
    assert!(taken.is_err_and(|e| e.to_string().contains("not empty")));
}

/// Normal numbers, always the same.
fn normal<const D: usize>(shape: [usize; D], index: u32) -> burn::tensor::Tensor<D> {
    use super::draws::{Key, Phase, Purpose};
    let key = Key {
        seed: 9,
        iteration: 0,
        phase: Phase::None,
        purpose: Purpose::Noise,
        index,
    };
    let values = key.normals(shape.iter().product());
    let data = burn::tensor::TensorData::new(values, shape);
    burn::tensor::Tensor::from_data(data, &Device::default())
}

/// The derivative of `penalty` along `gradients`, by differences over a relative `change` of the
/// penalty, over what the gradients say.
fn slope_ratio<M: Module>(
    module: &M,
    names: &Names,
    gradients: burn::tensor::Tensor<1>,
    change: f64,
    penalty: impl Fn(&M) -> f64,
) -> f64 {
    let plain = module.clone().valid();
    let slots = parameters::slots(module, names.clone(), &parameters::trained);
    let by_name = |name: &str, _: bool| slots.iter().any(|s| s.name == name);
    let values = parameters::values(&plain, names.clone(), &by_name);
    let squared = super::loss::numbers(gradients.clone().square().sum())[0];
    let step = change * penalty(module) / squared;
    let moved = |sign: f64| {
        let values = values.clone() + gradients.clone() * (sign * step);
        let moved = parameters::with_values(plain.clone(), names.clone(), &by_name, values);
        penalty(&moved.train())
    };
    (moved(1.0) - moved(-1.0)) / (2.0 * step * squared)
}

#[test]
fn the_r1_penalty_is_differentiated_through_augmentation() {
    use crate::Dual;
    use crate::train::{Augment, AugmentConfig};
    use rand::SeedableRng;

    let t = trainer(settings(), 0).unwrap();
    let d = t.networks().discriminator.train();
    let pipeline = Augment::new(AugmentConfig::preset("bgcfnc").unwrap(), 3).unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let draw = pipeline.draw(4, [3, SIDE, SIDE], 0.8, &mut rng);
    let map = |x: Dual<4>| pipeline.apply(x, &draw);
    let images = normal([4, 3, SIDE, SIDE], 0);
    let r1 = |d: &crate::Discriminator| {
        super::loss::r1(d, &d.clone().no_grad(), images.clone(), None, &map)
    };
    let names = Names::discriminator(SIDE);
    let gradients = r1(&d).objective.backward();
    let gradients = parameters::gradients(&d, names.clone(), &gradients);
    let penalty =
        |d: &crate::Discriminator| super::loss::numbers(r1(d).penalties).iter().sum::<f64>() / 2.0;
    let ratio = slope_ratio(&d, &names, gradients, 1e-3, penalty);
    assert!((ratio - 1.0).abs() < 0.01, "{ratio}");
}

#[test]
fn the_path_length_penalty_is_differentiated_through_mixed_styles() {
    use super::loss::{Latents, StyleMix, path_lengths, path_objective, path_penalty};

    let t = trainer(settings(), 0).unwrap();
    // In double precision: steps so small that hardly any activation changes its sign.
    let dtype = burn::tensor::DType::F64;
    let g = to_dtype(t.networks().generator, dtype).train();
    let latents = Latents {
        z: normal([3, 6], 1).cast(dtype),
        c: None,
        mix: Some(StyleMix {
            z: normal([3, 6], 2).cast(dtype),
            cutoff: 2,
        }),
        noise: crate::Noise::Const,
    };
    let noise = normal([3, 3, SIDE, SIDE], 3).cast(dtype);
    let found = |g: &crate::Generator| {
        let (paths, _) = path_lengths(&g.clone().no_grad(), &latents, noise.clone());
        let penalty = path_penalty(&paths.lengths, 0.1, 0.3);
        (paths, penalty)
    };
    let names = Names::generator(SIDE);
    let (paths, penalty) = found(&g);
    let objective = path_objective(&g, latents.clone(), noise.clone(), paths, &penalty.slopes);
    let gradients = parameters::gradients(&g, names.clone(), &objective.backward());
    let mean = |g: &crate::Generator| found(g).1.penalties.iter().sum::<f64>() / 3.0;
    let ratio = slope_ratio(&g, &names, gradients, 1e-6, mean);
    assert!((ratio - 1.0).abs() < 1e-5, "{ratio}");
}
