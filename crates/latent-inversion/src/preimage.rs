//! From w back to z: the latent whose w is nearest.

use burn::tensor::{Tensor, TensorData};

use crate::adam::{Adam, Moments};
use crate::decoder::Decoder;
use crate::draws::{normals, rng};

/// Draws of z from which the search starts.
const CANDIDATES: usize = 1024;
const STEPS: usize = 200;
const LEARNING_RATE: f64 = 0.1;

/// The z whose w is nearest to each given one, of unit mean square: the nearest of some draws, then
/// Adam on the mapping network alone, which costs little beside one step through the generator.
///
/// # Shapes
///
/// - w: `[N, w_dim]`
/// - output: `[N, z_dim]`
pub(crate) fn preimage(decoder: &dyn Decoder, w: Tensor<2>) -> Tensor<2> {
    let ([n, d], z_dim) = (w.dims(), decoder.z_dim());
    let device = decoder.device();
    let draws = normals(&mut rng(0, 0), CANDIDATES * z_dim);
    let candidates =
        Tensor::<2>::from_data(TensorData::new(draws.clone(), [CANDIDATES, z_dim]), &device);
    let mapped = crate::floats(decoder.map(candidates));
    let nearest = |w: &[f32]| {
        let apart = |k: usize| -> f32 {
            let other = &mapped[k * d..(k + 1) * d];
            w.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum()
        };
        (0..CANDIDATES)
            .map(|k| (k, apart(k)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(0, |(k, _)| k)
    };
    let start: Vec<f32> = crate::floats(w.clone())
        .chunks_exact(d)
        .flat_map(|w| {
            let k = nearest(w);
            draws[k * z_dim..(k + 1) * z_dim].to_vec()
        })
        .collect();
    let mut z = Tensor::<2>::from_data(TensorData::new(start, [n, z_dim]), &device);
    let mut moments = Moments::zeros(&z);
    for step in 0..STEPS {
        let leaf = z.clone().autodiff().require_grad();
        let apart = decoder.map(leaf.clone()) - w.clone().autodiff();
        let gradients = (apart.clone() * apart).sum().backward();
        let gradient = leaf.grad(&gradients).unwrap_or_else(|| z.zeros_like());
        let rate = LEARNING_RATE * (1.0 - step as f64 / STEPS as f64);
        z = Adam::default().step(&mut moments, z, gradient, rate);
    }
    let square = (z.clone() * z.clone()).mean_dim(1);
    z / (square + 1e-12).sqrt()
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
        let found = decoder.map(preimage(&decoder, w.clone()));
        let apart: f32 = (found - w.clone()).abs().max().into_scalar();
        let size: f32 = w.abs().max().into_scalar();
        assert!(apart < 0.02 * size, "{apart} of {size}");
    }
}
