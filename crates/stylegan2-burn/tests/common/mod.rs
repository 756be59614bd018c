//! Golden tensors and comparisons.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::float_cmp
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

pub fn folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/stylegan2"
    ))
}

/// The device under test: the CPU unless a GPU feature is compiled in.
pub fn device() -> Device {
    Device::default()
}

/// A file of golden tensors.
pub struct Golden {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    pub fn open(name: &str) -> Self {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                (
                    name,
                    (view.shape().to_vec(), numbers(view.dtype(), view.data())),
                )
            })
            .collect();
        Self { tensors }
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub fn values(&self, name: &str) -> &[f64] {
        &self
            .tensors
            .get(name)
            .unwrap_or_else(|| panic!("no golden tensor {name}"))
            .1
    }

    pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        self.tensor_as(name, device, DType::F32)
    }

    pub fn tensor_as<const D: usize>(
        &self,
        name: &str,
        device: &Device,
        dtype: DType,
    ) -> Tensor<D> {
        let (shape, values) = self
            .tensors
            .get(name)
            .unwrap_or_else(|| panic!("no golden tensor {name}"));
        let shape = if shape.is_empty() {
            vec![1; D]
        } else {
            shape.clone()
        };
        Tensor::from_data(TensorData::new(values.clone(), shape), (device, dtype))
    }
}

fn numbers(dtype: Dtype, data: &[u8]) -> Vec<f64> {
    match dtype {
        Dtype::F32 => data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()).into())
            .collect(),
        Dtype::F64 => data
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect(),
        Dtype::U8 => data.iter().map(|&b| b.into()).collect(),
        Dtype::I64 => data
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64)
            .collect(),
        other => panic!("golden tensors are not {other:?}"),
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data_dtype(DType::F64).try_to_vec().unwrap()
}

/// The largest absolute difference.
pub fn max_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "same number of values");
    assert!(!a.is_empty());
    a.iter()
        .zip(b)
        .map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() })
        .fold(0.0, |m, d| {
            // A NaN must fail every bound.
            if d.is_nan() { f64::INFINITY } else { d.max(m) }
        })
}

/// $|a - b|_2 / |b|_2$.
pub fn relative_l2(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "same number of values");
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let size: f64 = b.iter().map(|b| b * b).sum();
    if size == 0.0 {
        difference.sqrt()
    } else {
        (difference / size).sqrt()
    }
}

#[track_caller]
pub fn assert_close<const D: usize>(what: &str, tensor: Tensor<D>, golden: &[f64], bound: f64) {
    let difference = max_difference(&values(tensor), golden);
    assert!(
        difference <= bound,
        "{what}: differs by {difference:e}, allowed {bound:e}"
    );
}
