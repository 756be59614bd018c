//! A small network on a GPU, or on a software Vulkan in its place.
//!
//! `cargo test -p stylegan2-burn --no-default-features --features wgpu --test gpu`
//! The shapes are tiny because every new one costs shader compilation.

#![cfg(any(
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal",
    feature = "cuda"
))]

mod common;

use burn::tensor::Tensor;
use common::{Golden, assert_close, device, folder, relative_l2, values};
use stylegan2_burn::{Checkpoint, Modulation, SynthesisOptions, Truncation};

const NAME: &str = "gray16_resnetG_skipD";

#[test]
fn images_logits_gradients_and_tangents() {
    let io = Golden::open(&format!("official_{NAME}_io.safetensors"));
    let file = Checkpoint::open(folder().join(format!("official_{NAME}.pkl"))).unwrap();
    let device = device();
    let g = file.generator("G_ema", &device).unwrap();
    let d = file.discriminator("D", &device).unwrap();
    let options = SynthesisOptions {
        modulation: Modulation::Unfused,
        ..Default::default()
    };

    let ws = g
        .mapping
        .forward(io.tensor("z", &device), None, Truncation::default());
    assert_close("ws", ws.clone(), io.values("ws"), 1e-3);
    let (image, tangent) = g.synthesis.jvp(ws.clone(), ws.clone().sin(), &options);
    assert_close("image", image.clone(), io.values("img_const"), 1e-3);
    let logits = d.forward(image, None);
    let error = relative_l2(&values(logits), io.values("logits_fake"));
    assert!(error < 1e-3, "logits: {error:e}");

    // <y, J v> by forward mode is <J' y, v> by reverse mode.
    let device = device.autodiff();
    let g = file.generator("G_ema", &device).unwrap();
    let tracked: Tensor<3> = io.tensor("ws", &device).require_grad();
    let y: Tensor<4> = io.tensor("img_none", &device);
    let image = g.synthesis.forward(tracked.clone(), &options);
    let gradient = tracked.grad(&(image * y.clone()).sum().backward()).unwrap();
    let dot = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>();
    let forward = dot(values(tangent), values(y));
    let reverse = dot(values(gradient), values(ws.sin()));
    assert!(
        (forward - reverse).abs() < 1e-3 * forward.abs().max(1.0),
        "{forward} and {reverse}"
    );
}

/// More than any device holds: the read says so, in words that `latent-inversion` looks for to take fewer
/// photos at once, and the device stays usable.
#[test]
fn a_full_memory_is_reported_by_the_read() {
    let device = device();
    let error = Tensor::<1>::empty([1_usize << 38], &device)
        .try_into_data()
        .expect_err("a terabyte");
    let text = error.to_string().to_lowercase();
    let words = [
        "out of device memory",
        "out of memory",
        "can't allocate buffer of size",
    ];
    assert!(words.iter().any(|w| text.contains(w)), "{text}");
    let sum: f32 = Tensor::<1>::ones([4], &device).sum().into_scalar();
    assert!((sum - 4.0).abs() < 1e-6);
}
