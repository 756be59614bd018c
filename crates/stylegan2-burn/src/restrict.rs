//! A generator whose Z is a subspace of the one it was trained with.

use burn::tensor::{Tensor, TensorData};

use crate::config::GeneratorConfig;
use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::mapping::Mapping;
use crate::seed::RandomState;

/// Draws from which the mean of w is taken anew.
const DRAWS: usize = 20_000;
const BATCH: usize = 1000;

impl Generator {
    /// The same generator fed from a random subspace of Z with `z_dim` dimensions.
    ///
    /// With an orthonormal basis $Q$ `[Z, z_dim]` the first layer's weight $W$ becomes $W Q$; the
    /// equalised gain $1/\sqrt{Z}$ becomes $1/\sqrt{z\\_dim}$, which makes up for the shorter
    /// normalised latent, so that every image still comes out as the image of the latent $Q z$. The
    /// running mean of w becomes the mean over 20,000 draws. A network trained on a few hundred
    /// pictures with 512 dimensions has far more of them than a picture shows; with fewer, the
    /// latent can be read off the picture. `config` is the generator's, and returned as it is then.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use stylegan2_burn::GeneratorConfig;
    ///
    /// let config = GeneratorConfig::new(16).with_channel_base(128).with_z_dim(32).with_w_dim(16);
    /// let generator = config.init(&Device::flex())?;
    /// let (config, _generator) = generator.restrict_z(&config, 4, 0)?;
    /// assert_eq!(config.z_dim, 4);
    /// # Ok::<(), stylegan2_burn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if `z_dim` is 0 or larger than now, or the generator has labels.
    pub fn restrict_z(
        mut self,
        config: &GeneratorConfig,
        z_dim: usize,
        seed: u32,
    ) -> Result<(GeneratorConfig, Self)> {
        if z_dim == 0 || z_dim > config.z_dim {
            return Err(Error::Config {
                field: "z_dim",
                value: z_dim.to_string(),
                expected: "from 1 to what it is",
            });
        }
        if config.c_dim > 0 {
            return Err(Error::Config {
                field: "c_dim",
                value: config.c_dim.to_string(),
                expected: "0 where Z is restricted",
            });
        }
        let mut config = config.clone();
        let mut random = RandomState::new(seed);
        let basis = orthonormal(&mut random, config.z_dim, z_dim);
        config.z_dim = z_dim;
        let device = self.mapping.layers[0].weight.val().device();
        let fresh = config
            .mapping
            .init(z_dim, 0, config.w_dim, config.num_ws(), &device);
        self.mapping = narrowed(self.mapping, fresh, &basis, z_dim, &mut random);
        Ok((config, self))
    }
}

/// `mapping` behind the basis; `fresh` has the shapes of the result.
fn narrowed(
    mapping: Mapping,
    mut fresh: Mapping,
    basis: &[f32],
    z_dim: usize,
    random: &mut RandomState,
) -> Mapping {
    let mut layers = mapping.layers;
    let mut first = layers.remove(0);
    first.weight = first.weight.map(|weight| {
        let rows = weight.dims()[1];
        let tracked = weight.is_require_grad();
        let basis = TensorData::new(basis.to_vec(), [rows, z_dim]);
        let basis = Tensor::<2>::from_data(basis, &weight.device());
        weight.detach().matmul(basis).set_require_grad(tracked)
    });
    layers.insert(0, first);
    fresh.layers = layers;
    let device = fresh.layers[0].weight.val().device();
    #[allow(clippy::cast_possible_truncation)]
    let mut draw = || -> Tensor<2> {
        let z = random.randn(BATCH * z_dim);
        let z = z.into_iter().map(|v| v as f32).collect();
        Tensor::from_data(TensorData::new(z, [BATCH, z_dim]), &device)
    };
    let mean = |z: Tensor<2>| fresh.w(Some(z.into()), None).value.detach().mean_dim(0);
    let first = mean(draw());
    let sum = (1..DRAWS / BATCH).fold(first, |sum, _| sum + mean(draw()));
    let width = sum.dims()[1];
    let mean = sum.div_scalar((DRAWS / BATCH) as f64).reshape([width]);
    fresh.w_avg = fresh
        .w_avg
        .map(|old| old.map(|_| mean.set_require_grad(false)));
    fresh
}

/// `columns` orthonormal columns of height `rows`, row-major: Gram and Schmidt, twice, on normals.
#[allow(clippy::cast_possible_truncation)]
fn orthonormal(random: &mut RandomState, rows: usize, columns: usize) -> Vec<f32> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(columns);
    while basis.len() < columns {
        let mut v = random.randn(rows);
        for _ in 0..2 {
            for u in &basis {
                let along: f64 = u.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
            }
            let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            for v in &mut v {
                *v /= norm;
            }
        }
        basis.push(v);
    }
    (0..rows)
        .flat_map(|i| basis.iter().map(move |v| v[i] as f32))
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tolerance};

    use super::*;
    use crate::mapping::Truncation;
    use crate::seed;
    use crate::synthesis::SynthesisOptions;

    #[test]
    fn images_are_those_of_latents_in_the_subspace() {
        let device = Device::flex();
        let config = GeneratorConfig::new(16)
            .with_channel_base(128)
            .with_z_dim(24)
            .with_w_dim(16);
        let whole = config.init(&device).unwrap();
        let (narrow_config, narrow) = whole.clone().restrict_z(&config, 5, 3).unwrap();
        assert_eq!(narrow_config.z_dim, 5);
        let basis = orthonormal(&mut RandomState::new(3), 24, 5);
        let basis = Tensor::<2>::from_data(TensorData::new(basis, [24, 5]), &device);
        let gram = basis.clone().transpose().matmul(basis.clone());
        gram.into_data().assert_approx_eq::<f32>(
            &Tensor::<2>::eye(5, &device).into_data(),
            Tolerance::absolute(1e-6),
        );
        let z = seed::latents(&[1, 2, 3], 5, &device);
        let options = SynthesisOptions::default();
        let same = |a: Tensor<4>, b: Tensor<4>| {
            a.into_data()
                .assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(1e-4));
        };
        let wide = z.clone().matmul(basis.transpose());
        same(
            narrow.forward(z.clone(), None, Truncation::default(), &options),
            whole.forward(wide, None, Truncation::default(), &options),
        );
        // Truncated to nothing, the image is that of the mean of its own w.
        let own: Vec<u32> = (100..4100).collect();
        let w = narrow
            .mapping
            .w(Some(seed::latents(&own, 5, &device).into()), None);
        let mean = narrow.mapping.w_avg.as_ref().unwrap().val();
        let spread = w.value.clone().var(0).mean().sqrt().into_scalar::<f32>();
        let apart = (w.value.mean_dim(0).reshape([16]) - mean).abs().max();
        assert!(apart.into_scalar::<f32>() < 0.1 * spread);
    }

    #[test]
    fn what_cannot_be_restricted_is_refused() {
        let device = Device::flex();
        let config = GeneratorConfig::new(16)
            .with_channel_base(128)
            .with_z_dim(8)
            .with_w_dim(8);
        for dims in [0, 9] {
            let generator = config.init(&device).unwrap();
            let error = generator.restrict_z(&config, dims, 0).unwrap_err();
            assert!(error.to_string().contains("z_dim"), "{error}");
        }
        let config = config.with_c_dim(2);
        let generator = config.init(&device).unwrap();
        let error = generator.restrict_z(&config, 4, 0).unwrap_err();
        assert!(error.to_string().contains("c_dim"), "{error}");
    }
}
