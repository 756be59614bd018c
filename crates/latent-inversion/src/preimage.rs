//! From w back to z: the latent whose w is nearest.

use burn::tensor::{Tensor, TensorData};

use crate::adam::{Adam, Moments};
use crate::decoder::Decoder;
use crate::device::read;
use crate::draws::{normals, rng};
use crate::error::Result;

/// Draws of z from which the search starts.
const CANDIDATES: usize = 1024;
/// How many of the nearest draws are followed: the mapping network bends, and one may lead astray.
const FOLLOWED: usize = 8;
const STEPS: usize = 200;
const LEARNING_RATE: f64 = 0.1;

/// The z whose w is nearest to each given one, of unit mean square: the nearest of some draws, then
/// Adam from each of them on the mapping network alone, which costs little beside one step through
/// the generator, and the best of where they end.
///
/// # Shapes
///
/// - w: `[N, w_dim]`
/// - output: `[N, z_dim]`
pub(crate) fn preimage(decoder: &dyn Decoder, w: Tensor<2>) -> Result<Tensor<2>> {
    let ([n, d], z_dim) = (w.dims(), decoder.z_dim());
    let device = decoder.device();
    let draws = normals(&mut rng(0, 0), CANDIDATES * z_dim);
    let candidates =
        Tensor::<2>::from_data(TensorData::new(draws.clone(), [CANDIDATES, z_dim]), &device);
    let mapped = read(decoder.map(candidates))?;
    let apart = |w: &[f32], other: &[f32]| -> f32 {
        w.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum()
    };
    let wanted = read(w)?;
    let (mut start, mut target) = (Vec::new(), Vec::new());
    for w in wanted.chunks_exact(d) {
        let mut order: Vec<(usize, f32)> = mapped
            .chunks_exact(d)
            .map(|other| apart(w, other))
            .enumerate()
            .collect();
        order.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (k, _) in &order[..FOLLOWED] {
            start.extend_from_slice(&draws[k * z_dim..(k + 1) * z_dim]);
            target.extend_from_slice(w);
        }
    }
    let rows = n * FOLLOWED;
    let mut z = Tensor::<2>::from_data(TensorData::new(start, [rows, z_dim]), &device);
    let target = Tensor::<2>::from_data(TensorData::new(target, [rows, d]), &device);
    let mut moments = Moments::zeros(&z);
    for step in 0..STEPS {
        let leaf = z.clone().autodiff().require_grad();
        let apart = decoder.map(leaf.clone()) - target.clone().autodiff();
        let gradients = (apart.clone() * apart).sum().backward();
        let gradient = leaf.grad(&gradients).unwrap_or_else(|| z.zeros_like());
        let rate = LEARNING_RATE * (1.0 - step as f64 / STEPS as f64);
        z = Adam::default().step(&mut moments, z, gradient, rate);
    }
    let square = (z.clone() * z.clone()).mean_dim(1);
    let z = z / (square + 1e-12).sqrt();
    let reached = read(decoder.map(z.clone()))?;
    let z = read(z)?;
    let best: Vec<f32> = wanted
        .chunks_exact(d)
        .enumerate()
        .flat_map(|(i, w)| {
            let all = i * FOLLOWED..(i + 1) * FOLLOWED;
            let best = all
                .map(|k| (k, apart(w, &reached[k * d..(k + 1) * d])))
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .map_or(0, |(k, _)| k);
            z[best * z_dim..(best + 1) * z_dim].to_vec()
        })
        .collect();
    Ok(Tensor::from_data(
        TensorData::new(best, [n, z_dim]),
        &device,
    ))
}

#[cfg(all(test, feature = "stylegan2"))]
mod tests {
    use burn::tensor::{Device, Distribution};
    use stylegan2_burn::GeneratorConfig;

    use super::*;
    use crate::decoder::StyleGan2;

    #[test]
    fn a_latent_comes_back() {
        let device = Device::default();
        let config = GeneratorConfig::new(16)
            .with_channel_base(128)
            .with_z_dim(4)
            .with_w_dim(32);
        let decoder = StyleGan2::new(&config.init(&device).unwrap()).unwrap();
        let z = Tensor::<2>::random([3, 4], Distribution::Normal(0.0, 1.0), &device);
        let w = decoder.map(z);
        let found = decoder.map(preimage(&decoder, w.clone()).unwrap());
        let length = |x: Tensor<2>| -> f32 { (x.clone() * x).sum().sqrt().into_scalar() };
        let (apart, size) = (length(found - w.clone()), length(w));
        assert!(apart < 0.1 * size, "{apart} of {size}");
    }
}
