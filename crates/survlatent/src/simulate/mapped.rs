//! Latents of a generator, by counter.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::normals;
use crate::error::{Error, Result};

/// Latents mapped at once.
const CHUNK: usize = 1000;

/// What `map` (`[N, z_dim]` to `[N, w_dim]`) makes of the normal numbers `first` to
/// `first + count - 1` of a seed, row after row.
///
/// # Errors
/// [`Error::Study`] where the network gives no numbers.
pub(crate) fn mapped(
    map: &dyn Fn(Tensor<2>) -> Tensor<2>,
    device: &Device,
    z_dim: usize,
    seed: u64,
    [first, count]: [u64; 2],
) -> Result<Vec<f32>> {
    let mut out = Vec::new();
    let end = first + count;
    for start in (first..end).step_by(CHUNK) {
        let some = start..(start + CHUNK as u64).min(end);
        let rows = (some.end - some.start) as usize;
        let z: Vec<f32> = some
            .flat_map(|k| normals(seed, k, z_dim))
            .map(|v| v as f32)
            .collect();
        let w = map(Tensor::from_data(TensorData::new(z, [rows, z_dim]), device));
        let w: std::result::Result<Vec<f32>, _> = w.into_data_dtype(DType::F32).try_into_vec();
        out.extend(w.map_err(|_| Error::Study {
            reason: "the mapping network gave no numbers".into(),
        })?);
    }
    Ok(out)
}
