//! Networks the published references do not cover: the orig architecture, 64 px, two and four
//! channels, and the other forms of files, against `tests/golden/stylegan2/reference.py`.

mod common;

use burn::tensor::Tensor;
use common::{Golden, assert_close, device, folder, max_difference, relative_l2, values};
use stylegan2_burn::image::{Rounding, to_pixels};
use stylegan2_burn::{
    Architecture, Checkpoint, Format, Modulation, Noise, SynthesisOptions, Truncation,
};

/// Names, and the pickle protocols they are written in.
const NETS: [(&str, u8); 4] = [("orig16", 4), ("skip64", 5), ("two16", 2), ("four8", 2)];

fn open(name: &str) -> (Checkpoint, Golden) {
    let path = folder().join(format!("reference_{name}.pkl"));
    let golden = Golden::open(&format!("reference_{name}_io.safetensors"));
    (Checkpoint::open(path).unwrap(), golden)
}

fn label(io: &Golden, device: &burn::tensor::Device) -> Option<Tensor<2>> {
    io.has("c").then(|| io.tensor("c", device))
}

/// Largest absolute value, at least 1: errors of images are relative to it.
fn size(golden: &[f64]) -> f64 {
    golden.iter().fold(1.0, |m, v| m.max(v.abs()))
}

#[test]
fn the_files_are_in_the_protocols_they_should_be_in() {
    for (name, protocol) in NETS {
        let bytes = std::fs::read(folder().join(format!("reference_{name}.pkl"))).unwrap();
        assert_eq!(bytes[..2], [0x80, protocol], "{name}");
        assert_eq!(open(name).0.format(), Format::NvidiaPickle);
    }
}

#[test]
fn settings_are_read() {
    let (file, _) = open("orig16");
    let (g, d) = (
        file.generator_config("G_ema").unwrap(),
        file.discriminator_config("D").unwrap(),
    );
    assert_eq!(g.architecture, Architecture::Orig);
    assert!(!g.use_noise);
    assert_eq!((d.architecture, d.cmap_dim), (Architecture::Orig, Some(8)));
    assert_eq!(d.mbstd_features, 0);
    assert_eq!(open("two16").0.generator_config("G").unwrap().channels, 2);
    assert_eq!(open("four8").0.generator_config("G").unwrap().channels, 4);
    assert_eq!(
        open("skip64").0.generator_config("G").unwrap().resolution,
        64
    );
}

#[test]
fn w_images_and_bytes() {
    for (name, _) in NETS {
        let (file, io) = open(name);
        let device = device();
        let g = file.generator("G_ema", &device).unwrap();
        let z = || io.tensor::<2>("z", &device);
        let ws = g
            .mapping
            .forward(z(), label(&io, &device), Truncation::default());
        assert_close(name, ws, io.values("ws"), 1e-5);
        let cut = Truncation {
            psi: 0.5,
            cutoff: Some(3),
        };
        let ws = g.mapping.forward(z(), label(&io, &device), cut);
        assert_close(name, ws, io.values("ws_psi0.5_cut3"), 1e-5);
        for modulation in [Modulation::Auto, Modulation::Fused, Modulation::Unfused] {
            let options = SynthesisOptions {
                modulation,
                ..Default::default()
            };
            for ws in ["ws", "ws_psi0.5_cut3", "ws_plus"] {
                let image = g.synthesis.forward(io.tensor(ws, &device), &options);
                let golden = io.values(&format!("img_{ws}"));
                assert_close(&format!("{name} {ws}"), image, golden, 1e-5 * size(golden));
            }
            let options = SynthesisOptions {
                noise: Noise::None,
                ..options
            };
            let image = g.synthesis.forward(io.tensor("ws", &device), &options);
            let golden = io.values("img_none");
            assert_close(name, image, golden, 1e-5 * size(golden));
        }
        let image = g
            .synthesis
            .forward(io.tensor("ws", &device), &SynthesisOptions::default());
        let bytes: Vec<f64> = to_pixels(image, Rounding::Generate)
            .into_iter()
            .flat_map(|p| p.data)
            .map(f64::from)
            .collect();
        assert!(
            max_difference(&bytes, io.values("img_u8")) <= 1.0,
            "{name}: bytes"
        );
    }
}

#[test]
fn logits_tangents_and_gradients() {
    for (name, _) in NETS {
        let (file, io) = open(name);
        let device = device();
        let close = |what: &str, got: Vec<f64>, bound: f64| {
            let error = relative_l2(&got, io.values(what));
            assert!(error < bound, "{name} {what}: {error:e}");
        };
        let g = file.generator("G_ema", &device).unwrap();
        let d = file.discriminator("D", &device).unwrap();
        let x = || io.tensor::<4>("img_ws", &device);
        let (logits, tangent) = d.jvp(x(), io.tensor("dx", &device), label(&io, &device));
        close("logits", values(logits), 1e-5);
        close("logits_jvp", values(tangent), 2e-4);
        let first = label(&io, &device).map(|c| c.slice_dim(0, 0..1));
        close(
            "logits_one",
            values(d.forward(x().slice_dim(0, 0..1), first)),
            1e-5,
        );
        let options = SynthesisOptions::default();
        let ws = || io.tensor::<3>("ws", &device);
        let (_, tangent) = g.synthesis.jvp(ws(), io.tensor("dws", &device), &options);
        close("img_jvp", values(tangent), 2e-4);

        let device = device.autodiff();
        let g = file.generator("G_ema", &device).unwrap();
        let ws = io.tensor::<3>("ws", &device).require_grad();
        let image = g.synthesis.forward(ws.clone(), &options);
        let loss = (image * io.tensor("y", &device)).sum();
        close("ws_grad", values(ws.grad(&loss.backward()).unwrap()), 2e-4);

        // R1: the gradient of half the squared gradient is that of the tangent along it.
        let d = file.discriminator("D", &device).unwrap();
        let x = io.tensor::<4>("img_ws", &device).require_grad();
        let grads = d.forward(x.clone(), label(&io, &device)).sum().backward();
        let inner = x.grad(&grads).unwrap();
        close("x_grad", values(inner.clone()), 2e-4);
        let (_, tangent) = d.jvp(x.detach(), inner.autodiff(), label(&io, &device));
        let grads = tangent.sum().backward();
        let top = file.discriminator_config("D").unwrap().resolution;
        let eight = d.blocks.len() - 1;
        for (what, gradient) in [
            (
                format!("r1.b{top}.conv0.weight"),
                values(d.blocks[0].conv0.weight.val().grad(&grads).unwrap()),
            ),
            (
                "r1.b8.conv1.weight".to_owned(),
                values(d.blocks[eight].conv1.weight.val().grad(&grads).unwrap()),
            ),
            (
                "r1.b4.fc.weight".to_owned(),
                values(d.b4.fc.weight.val().grad(&grads).unwrap()),
            ),
        ] {
            close(&what, gradient, 2e-4);
        }
    }
}

#[test]
fn older_and_training_checkpoints_hold_the_same_network() {
    let (_, io) = open("skip64");
    let device = device();
    for (kind, format, networks) in [
        ("legacy", Format::RosinalityLegacy, vec!["G_ema"]),
        ("train", Format::RosinalityZip, vec!["G", "D", "G_ema"]),
    ] {
        let path = folder().join(format!("reference_rosinality_{kind}.pt"));
        let file = Checkpoint::open(path).unwrap();
        assert_eq!(file.format(), format);
        let names: Vec<&str> = file.networks().map(|(name, _)| name).collect();
        assert_eq!(names, networks);
        let g = file.generator("G_ema", &device).unwrap();
        let image = g
            .synthesis
            .forward(io.tensor("ws", &device), &SynthesisOptions::default());
        let golden = io.values("img_ws");
        // This format scales weights before demodulation, which changes its epsilon only.
        assert_close(kind, image, golden, 2e-5 * size(golden));
    }
    let train = Checkpoint::open(folder().join("reference_rosinality_train.pt")).unwrap();
    let d = train.discriminator("D", &device).unwrap();
    let error = relative_l2(
        &values(d.forward(io.tensor("img_ws", &device), None)),
        io.values("logits"),
    );
    assert!(error < 1e-5, "{error:e}");
}
