//! Golden files, and networks with the weights of a formula.
// Each test program uses some of it.
#![allow(dead_code, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::path::PathBuf;

use burn::tensor::{DType, Device, Tensor, TensorData};
use latent_inversion::lpips::{Lpips, Trunk};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

pub(crate) fn golden(name: &str) -> Vec<u8> {
    std::fs::read(golden_path(name)).unwrap()
}

pub(crate) fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")).join(name)
}

pub(crate) fn numbers(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = file.tensor(name).unwrap();
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect(),
        Dtype::F64 => data
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()) as f32)
            .collect(),
        // Bytes are pictures.
        _ => data.iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect(),
    }
}

pub(crate) fn image(file: &SafeTensors<'_>, name: &str, device: &Device) -> Tensor<4> {
    let shape = file.tensor(name).unwrap().shape().to_vec();
    Tensor::from_data(TensorData::new(numbers(file, name), shape), device)
}

pub(crate) fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data_dtype(DType::F32).try_to_vec().unwrap()
}

/// The `n` weights that the golden files' formula gives.
fn formula(seed: u64, n: usize, scale: f64) -> Vec<f32> {
    (1..=n as u64)
        .map(|i| {
            let mut x = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^= x >> 31;
            let u = (x >> 40) as f64 / 16_777_216.0;
            ((2.0 * u - 1.0) * scale) as f32
        })
        .collect()
}

/// The trunk's name in the golden files, the formula's base, and for each convolution its name in
/// torchvision's `features`, channels in and out, and its kernel's side.
fn convolutions(trunk: Trunk) -> (&'static str, u64, Vec<(String, [usize; 3])>) {
    let numbered = |layers: &[(usize, [usize; 3])]| {
        let layers = layers.iter();
        layers.map(|(k, shape)| (k.to_string(), *shape)).collect()
    };
    match trunk {
        Trunk::AlexNet => (
            "alex",
            1000,
            numbered(&[
                (0, [3, 64, 11]),
                (3, [64, 192, 5]),
                (6, [192, 384, 3]),
                (8, [384, 256, 3]),
                (10, [256, 256, 3]),
            ]),
        ),
        Trunk::Vgg16 => (
            "vgg",
            2000,
            numbered(&[
                (0, [3, 64, 3]),
                (2, [64, 64, 3]),
                (5, [64, 128, 3]),
                (7, [128, 128, 3]),
                (10, [128, 256, 3]),
                (12, [256, 256, 3]),
                (14, [256, 256, 3]),
                (17, [256, 512, 3]),
                (19, [512, 512, 3]),
                (21, [512, 512, 3]),
                (24, [512, 512, 3]),
                (26, [512, 512, 3]),
                (28, [512, 512, 3]),
            ]),
        ),
        _ => {
            let mut layers = numbered(&[(0, [3, 64, 3])]);
            for (k, input, squeeze, expand) in [
                (3, 64, 16, 64),
                (4, 128, 16, 64),
                (6, 128, 32, 128),
                (7, 256, 32, 128),
                (9, 256, 48, 192),
                (10, 384, 48, 192),
                (11, 384, 64, 256),
                (12, 512, 64, 256),
            ] {
                layers.push((format!("{k}.squeeze"), [input, squeeze, 1]));
                layers.push((format!("{k}.expand1x1"), [squeeze, expand, 1]));
                layers.push((format!("{k}.expand3x3"), [squeeze, expand, 3]));
            }
            ("squeeze", 3000, layers)
        }
    }
}

/// A network with formula weights in its trunk and the golden file's heads.
pub(crate) fn with_formula(trunk: Trunk, file: &SafeTensors<'_>, device: &Device) -> Lpips {
    let (prefix, base, layers) = convolutions(trunk);
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let bytes = |values: Vec<f32>| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    for (k, (name, [input, output, side])) in layers.into_iter().enumerate() {
        let seed = base + 2 * k as u64;
        let fan_in = input * side * side;
        let weight = formula(seed, output * fan_in, (6.0 / fan_in as f64).sqrt());
        let shape = vec![output, input, side, side];
        tensors.push((format!("features.{name}.weight"), shape, bytes(weight)));
        let bias = formula(seed + 1, output, 0.2);
        tensors.push((format!("features.{name}.bias"), vec![output], bytes(bias)));
    }
    for (i, &width) in trunk.widths().iter().enumerate() {
        let head = numbers(file, &format!("{prefix}.lin{i}.weight"));
        tensors.push((
            format!("lin{i}.model.1.weight"),
            vec![1, width, 1, 1],
            bytes(head),
        ));
    }
    let views = tensors.iter().map(|(name, shape, data)| {
        (
            name.clone(),
            TensorView::new(Dtype::F32, shape.clone(), data).unwrap(),
        )
    });
    let file = safetensors::serialize(views, None).unwrap();
    Lpips::from_bytes(trunk, &file, device).unwrap()
}
