//! Loading keeps little more than the tensors in memory, and the largest network stays small.

#![cfg(target_os = "linux")]

mod common;

use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::Tensor;
use common::device;
use stylegan2_burn::checkpoint::save;
use stylegan2_burn::{Checkpoint, FloatFormat, GeneratorConfig, Network, SynthesisOptions};

/// The peak is that of the process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A line of `/proc/self/status`, in bytes.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[test]
fn the_peak_of_loading_is_near_the_size_of_the_file() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.safetensors");
    let config = GeneratorConfig::new(64);
    let generator = config.init(&device()).unwrap();
    save(
        &path,
        &[("G", Network::Generator(&config, &generator))],
        FloatFormat::F32,
    )
    .unwrap();
    let file = std::fs::metadata(&path).unwrap().len();
    assert!(file > 80_000_000);
    assert_eq!(file / 4_000_000, generator.num_params() as u64 / 1_000_000);

    // The old peak is forgotten, so that only what follows counts.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let loaded = Checkpoint::open(&path)
        .unwrap()
        .generator("G", &device())
        .unwrap();
    let used = status("VmHWM").saturating_sub(before);
    assert_eq!(loaded.num_params(), generator.num_params());
    // Freed pages may be used again, so there is no lower bound worth testing.
    assert!(used < file * 22 / 10, "{used} bytes for a file of {file}");
}

#[cfg(feature = "flex")]
#[test]
fn a_picture_of_1024_pixels_takes_less_than_two_and_a_half_gigabytes() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let config = GeneratorConfig::paper1024();
    let generator = config.init(&device()).unwrap();
    let ws = Tensor::<3>::ones([1, config.num_ws(), config.w_dim], &device());
    let image = generator
        .synthesis
        .forward(ws, &SynthesisOptions::default());
    assert_eq!(image.dims(), [1, 3, 1024, 1024]);
    let sum: f32 = image.abs().mean().into_scalar();
    assert!(sum.is_finite() && sum > 0.0);
    let peak = status("VmHWM");
    // At least the weights, which is how the figure is seen to be one.
    assert!(peak > 100_000_000, "{peak}");
    assert!(peak < 2_500_000_000, "{peak}");
}
