//! Against pytorch-fid's network, with weights from a formula.

use std::collections::BTreeMap;
use std::io::Write;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::inception::{Inception, resize};
use super::{FeatureNetwork, distance_name};
use crate::checkpoint::StateDict;
use crate::error::Error;
use crate::train::golden_test::common::{Golden, folder, relative_l2};

type Shapes = BTreeMap<String, Vec<usize>>;

/// Numbers in [-1, 1] from a name and the position; the same in `inception.py`.
fn numbers(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(2_166_136_261_u32, |seed, byte| {
        (seed ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let number = |k: usize| {
        let mut x = (k as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
        for (shift, factor) in [(16, 0x7FEB_352D), (15, 0x846C_A68B)] {
            x = (x ^ (x >> shift)).wrapping_mul(factor);
        }
        (f64::from(x ^ (x >> 16)) / 2_147_483_648.0 - 1.0) as f32
    };
    (0..count).map(number).collect()
}

fn formula(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut values = numbers(name, shape.iter().product());
    let (add, times) = if name.ends_with("conv.weight") {
        let inputs: usize = shape[1..].iter().product();
        (0.0, (6.0 / inputs as f64).sqrt() as f32)
    } else if name.ends_with("bn.weight") {
        (1.0, 0.2)
    } else if name.ends_with("running_var") {
        (1.0, 0.5)
    } else {
        (0.0, 0.1)
    };
    for value in &mut values {
        *value = add + times * *value;
    }
    values
}

/// A safetensors file of tensors by name.
fn file(shapes: &Shapes) -> tempfile::NamedTempFile {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape) in shapes {
        let start = data.len();
        for value in formula(name, shape) {
            data.extend(value.to_le_bytes());
        }
        let info = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), info);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let size = (header.len() as u64).to_le_bytes();
    for part in [&size[..], &header, &data] {
        file.write_all(part).unwrap();
    }
    file
}

fn shapes() -> Shapes {
    let text = std::fs::read_to_string(folder().join("inception_keys.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn features_are_those_of_the_reference() {
    let device = Device::default();
    let network = Inception::open(file(&shapes()).path(), &device).unwrap();
    let golden = Golden::open("inception.safetensors");
    for (name, shape) in [("small", [2, 3, 40, 64]), ("large", [1, 3, 310, 299])] {
        let data = TensorData::new(numbers(name, shape.iter().product()), shape);
        let features = network.features(Tensor::from_data(data, &device));
        assert_eq!(features.dims(), [shape[0], 2048]);
        let error = relative_l2(
            &features
                .into_data_dtype(DType::F64)
                .try_to_vec::<f64>()
                .unwrap(),
            golden.values(name),
        );
        assert!(error < 1e-5, "{name}: {error:e}");
    }
    assert_eq!(distance_name("FD", network.name()), "FID");
    // A gray picture is one whose colours are equal.
    let gray = Tensor::<4>::from_data(
        TensorData::new(numbers("gray", 900), [1, 1, 30, 30]),
        &device,
    );
    let colours = gray.clone().repeat_dim(1, 3);
    let features = [gray, colours].map(|x| network.features(x).into_data());
    assert_eq!(features[0], features[1]);
}

#[test]
fn a_wrong_file_is_named_by_its_tensor() {
    let fault = |change: &dyn Fn(&mut Shapes)| {
        let mut shapes = shapes();
        // What is read first decides; the rest need not be there.
        shapes.retain(|name, _| name.starts_with("Conv2d"));
        change(&mut shapes);
        let fault = Inception::open(file(&shapes).path(), &Device::default()).unwrap_err();
        assert!(matches!(fault, Error::Tensor { .. }));
        fault.to_string()
    };
    let missing = fault(&|shapes| {
        shapes.remove("Conv2d_2a_3x3.bn.running_var");
    });
    assert!(
        missing.contains("`Conv2d_2a_3x3.bn.running_var`: not in the file"),
        "{missing}"
    );
    let other = fault(&|shapes| {
        shapes.insert("Conv2d_1a_3x3.conv.weight".to_owned(), vec![64, 3, 7, 7]);
    });
    assert!(
        other.contains("[64, 3, 7, 7] instead of [32, 3, 3, 3]"),
        "{other}"
    );
}

#[test]
fn state_dicts_of_both_formats_are_read() {
    for name in ["state_dict_zip.pth", "state_dict_legacy.pth"] {
        let file = StateDict::open(&folder().join(name)).unwrap();
        let weight = file.read("0.weight", &[3, 2, 1, 2]).unwrap();
        let expected: Vec<f32> = (0..12_u8).map(f32::from).collect();
        assert_eq!(weight, expected, "{name}");
        assert_eq!(
            file.read("1.running_mean", &[3]).unwrap(),
            [40.0, 41.0, 42.0]
        );
        assert!(file.read("1.running_mean", &[4]).is_err());
    }
    let pickle = StateDict::open(&folder().join("official_uncond32.pkl"));
    assert!(matches!(pickle, Err(Error::UnknownFormat { .. })));
}

#[test]
fn resizing_interpolates_between_centres() {
    let device = Device::default();
    let x = Tensor::<4>::from_data([[[[0.0_f32, 4.0]]]], &device);
    let y = resize(x, 4).into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(y[..4], [0.0, 1.0, 3.0, 4.0]);
    assert_eq!(y.len(), 16);
    let x = Tensor::<4>::from_data(TensorData::new(numbers("x", 36), [1, 1, 6, 6]), &device);
    assert_eq!(resize(x.clone(), 6).into_data(), x.into_data());
}
