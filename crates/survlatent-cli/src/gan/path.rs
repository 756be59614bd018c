//! The perceptual path length of a generator.

use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{DType, Tensor};
use latent_inversion::lpips::Lpips;
use stylegan2_burn::metrics::path_length;

/// The part of the way between two latents.
const STEP: f64 = 1e-4;
/// The size from which pictures are shrunk before they are compared.
const SIDE: usize = 256;

/// How far pictures move when w moves from that of one seed towards that of another, per squared part of
/// the way, at the beginning of the way (Karras et al. 2019, section 4.1; in W, `end`, no crop). Both
/// pictures have the same noise.
///
/// `ws` gives the w of seeds, `image` pictures of them; the number is that of the pair, for noise that is
/// drawn.
pub(super) fn perceptual<E: From<stylegan2_burn::Error>>(
    ws: &dyn Fn(&[u32]) -> Result<Tensor<3>, E>,
    image: &dyn Fn(Tensor<3>, u64) -> Tensor<4>,
    lpips: &Lpips,
    pairs: usize,
    batch: usize,
    done: &mut dyn FnMut(u64),
) -> Result<f64, E> {
    let mut lengths: Vec<f64> = Vec::with_capacity(pairs);
    for first in (0..pairs).step_by(batch) {
        let last = (first + batch).min(pairs);
        let end = |end: usize| {
            let seeds = (first..last).map(|k| (2 * k + end) as u32);
            ws(&seeds.collect::<Vec<_>>())
        };
        let (from, to) = (end(0)?, end(1)?);
        let near = from.clone() + (to - from.clone()) * STEP;
        let [a, b] = [from, near].map(|ws| lpips.features(shrink(image(ws, first as u64))));
        let distances = lpips.distance(&a, &b).into_data_dtype(DType::F64);
        let distances = distances.try_to_vec::<f64>().unwrap_or_default();
        lengths.extend(distances.iter().map(|d| d / (STEP * STEP)));
        done((last - first) as u64);
    }
    Ok(path_length(&lengths)?)
}

/// What the length is called; the name without a network is that of VGG16.
pub(super) fn name(network: &str) -> String {
    match network {
        "VGG16" => "PPL".to_owned(),
        other => format!("PPL-{other}"),
    }
}

/// Means of squares of pixels, where a picture is larger than the published distance takes.
fn shrink(images: Tensor<4>) -> Tensor<4> {
    let factor = images.dims()[3] / SIDE;
    if factor < 2 {
        return images;
    }
    avg_pool2d(images, AvgPoolOptions::new([factor; 2]))
}
