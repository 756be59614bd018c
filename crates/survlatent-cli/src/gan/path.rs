//! The perceptual path length of a generator.

use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{DType, Tensor};
use latent_inversion::lpips::Lpips;
use stylegan2_burn::metrics::path_length;

use super::network::Opened;
use crate::failure::Failure;

/// The part of the way between two latents.
const STEP: f64 = 1e-4;
/// The size from which pictures are shrunk before they are compared.
const SIDE: usize = 256;

/// How far pictures move when w moves from that of one seed towards that of another, per squared part of
/// the way, at the beginning of the way (Karras et al. 2019, section 4.1; in W, `end`, no crop). Both
/// pictures have the same noise.
pub(super) fn perceptual(
    net: &Opened,
    lpips: &Lpips,
    pairs: usize,
    batch: usize,
    done: &mut dyn FnMut(u64),
) -> Result<f64, Failure> {
    let mut lengths: Vec<f64> = Vec::with_capacity(pairs);
    for first in (0..pairs).step_by(batch) {
        let last = (first + batch).min(pairs);
        let end = |end: usize| {
            let seeds = (first..last).map(|k| (2 * k + end) as u32);
            let ws = net.ws_of_seeds(&seeds.collect::<Vec<_>>())?;
            Ok::<_, Failure>(Tensor::cat(ws, 0))
        };
        let (from, to) = (end(0)?, end(1)?);
        let near = from.clone() + (to - from.clone()) * STEP;
        let [a, b] = [from, near].map(|ws| lpips.features(shrink(net.image(ws, first as u64))));
        let distances = lpips.distance(&a, &b).into_data_dtype(DType::F64);
        let distances = distances.try_to_vec::<f64>().unwrap_or_default();
        lengths.extend(distances.iter().map(|d| d / (STEP * STEP)));
        done((last - first) as u64);
    }
    Ok(path_length(&lengths)?)
}

/// Means of squares of pixels, where a picture is larger than the published distance takes.
fn shrink(images: Tensor<4>) -> Tensor<4> {
    let factor = images.dims()[3] / SIDE;
    if factor < 2 {
        return images;
    }
    avg_pool2d(images, AvgPoolOptions::new([factor; 2]))
}
