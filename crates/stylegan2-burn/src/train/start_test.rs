//! How a training starts, and what keeps it from starting.

use std::sync::Arc;

use burn::tensor::{DType, Device};

use super::state_test::{Pictures, SIDE, settings, trainer};
use super::trainer::Trainer;
use super::{
    ImageSource, Plan, RunSettings, TrainPrecision, TrainRun, TrainSettings, TrainState, parameters,
};
use crate::checkpoint::Names;
use crate::{Error, Result};

/// Sorted by their labels; on request none can be read.
struct Sorted {
    readable: bool,
}

impl ImageSource for Sorted {
    fn len(&self) -> usize {
        11
    }
    fn shape(&self) -> [usize; 3] {
        [3, SIDE, SIDE]
    }
    fn label_dim(&self) -> usize {
        2
    }
    fn image(&self, index: usize) -> Result<Vec<u8>> {
        if self.readable {
            return Ok(vec![index as u8; 3 * SIDE * SIDE]);
        }
        Err(Error::Argument {
            name: "image",
            reason: "gone".to_owned(),
        })
    }
    fn label(&self, index: usize) -> Option<Vec<f32>> {
        let second = f32::from(u8::from(index >= 5));
        Some(vec![1.0 - second, second])
    }
}

fn plan(settings: TrainSettings) -> Plan {
    let plan = trainer(self::settings(), 0).unwrap().plan();
    Plan { settings, ..plan }
}

#[test]
fn what_cannot_be_frozen_is_refused_before_anything_is_written() {
    let frozen = |parts: &[&str]| {
        let parts = parts.iter().map(ToString::to_string);
        settings().with_frozen(parts.collect())
    };
    for (bad, field, words) in [
        (frozen(&["G.maping"]), "frozen", "G.maping"),
        (frozen(&["b8", "b64"]), "frozen", "b64"),
        (frozen(&["noise_const"]), "frozen", "noise_const"),
        (frozen(&["G"]), "frozen", "all of G"),
        (frozen(&["D"]), "frozen", "all of D"),
        (frozen(&["G.mapping", "G.synthesis"]), "frozen", "all of G"),
        (frozen(&["b4"]).with_freeze_d(7), "frozen", "all of D"),
        (settings().with_freeze_d(8), "freeze_d", "8 of 7 layers"),
    ] {
        let faults = [
            trainer(bad.clone(), 0).map(|_| ()).unwrap_err(),
            plan(bad).check(&Pictures { labels: 0 }).unwrap_err(),
        ];
        for fault in faults {
            let text = fault.to_string();
            assert!(text.contains(words), "{words}: {text}");
            assert!(matches!(fault, Error::Config { field: f, .. } if f == field));
        }
    }
    for good in [
        settings().with_freeze_d(7),
        frozen(&["G.mapping", "D.b16", "b8"]),
    ] {
        trainer(good.clone(), 0).unwrap().step().unwrap();
        plan(good).check(&Pictures { labels: 0 }).unwrap();
    }
    // A state in which nothing of one network is trained cannot go on.
    let file = tempfile::NamedTempFile::new().unwrap();
    trainer(settings(), 0).unwrap().save(file.path()).unwrap();
    let state = TrainState::open(file.path()).unwrap();
    let source = Arc::new(Pictures { labels: 0 });
    let all = |s: &mut TrainSettings| s.frozen = vec!["G".to_owned()];
    let fault = state.resume(source, &Device::default(), all).unwrap_err();
    assert!(fault.to_string().contains("all of G"), "{fault}");
}

/// The names by which parts are frozen are those of the trained parameters.
#[test]
fn names_are_known_before_values_are() {
    for labels in [0, 3] {
        let t = trainer(settings(), labels).unwrap();
        let (g, d) = (t.g_names(), t.d_names());
        let networks = [
            (t.g.slots.iter(), lazy_generator(&t, g)),
            (t.d.slots.iter(), lazy_discriminator(&t, d)),
        ];
        for (slots, names) in networks {
            assert!(slots.map(|s| &s.name).eq(&names), "{names:?}");
        }
    }
}

fn lazy_generator(t: &Trainer, names: Names) -> Vec<String> {
    let network = t.networks.generator.init(&Device::default()).unwrap();
    parameters::trainable(&network, names)
}

fn lazy_discriminator(t: &Trainer, names: Names) -> Vec<String> {
    let network = t.networks.discriminator.init(&Device::default()).unwrap();
    parameters::trainable(&network, names)
}

#[test]
fn a_run_that_cannot_begin_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let networks = trainer(settings(), 2).unwrap().networks();
    let create = |name: &str, readable: bool| {
        let source = Arc::new(Sorted { readable });
        let trainer = Trainer::new(settings(), networks.clone(), source).unwrap();
        TrainRun::create(root.path().join(name), trainer, RunSettings::new())
    };
    std::fs::create_dir(root.path().join("empty")).unwrap();
    for name in ["new", "empty"] {
        let fault = create(name, false).map(|_| ()).unwrap_err().to_string();
        assert!(fault.contains("gone"), "{fault}");
        TrainRun::check_folder(root.path().join(name)).unwrap();
        create(name, true).unwrap();
        let taken = TrainRun::check_folder(root.path().join(name)).unwrap_err();
        assert!(taken.to_string().contains("not empty"), "{taken}");
    }
    let file = root.path().join("empty/config.toml");
    assert!(TrainRun::check_folder(&file).is_err());
    // What is not the run's stays, and so does the folder it is in.
    std::fs::create_dir(root.path().join("other")).unwrap();
    std::fs::write(root.path().join("other/notes"), "").unwrap();
    assert!(create("other", false).is_err());
    assert!(root.path().join("other/notes").exists());
}

#[test]
fn samples_have_the_labels_of_the_whole_set() {
    let of_each = trainer(settings(), 2).unwrap();
    let sorted = Arc::new(Sorted { readable: true });
    let sorted = Trainer::new(settings(), of_each.networks(), sorted).unwrap();
    // Pictures 0 and 5 of both sets are of the first and the second class.
    assert!(sorted.samples(2) == of_each.samples(2));
    assert!(sorted.samples(3) != of_each.samples(3));
}

#[test]
fn precision_is_checked_without_networks() {
    let device = Device::default();
    for (precision, dtype) in [
        (TrainPrecision::Full, DType::F32),
        (TrainPrecision::Bf16, DType::BF16),
        (TrainPrecision::F16, DType::F16),
    ] {
        let plan = plan(settings().with_precision(precision));
        let expected = device.supports_dtype(dtype);
        assert_eq!(plan.check_device(&device).is_ok(), expected);
    }
}
