//! The number of threads changes no bit: images, gradients, logits.

#![cfg(feature = "flex")]

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use stylegan2_burn::{
    DiscriminatorConfig, GeneratorConfig, MappingConfig, Modulation, SynthesisOptions, Truncation,
    seed,
};

fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    let values: Vec<f32> = tensor.into_data().try_into_vec().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let device = Device::flex();
    let config = GeneratorConfig::new(64)
        .with_channel_base(4096)
        .with_mapping(MappingConfig::new().with_num_layers(2));
    let tracked = config.init(&device.clone().autodiff()).unwrap();
    let d = DiscriminatorConfig::new(64)
        .with_channel_base(4096)
        .init(&device)
        .unwrap();
    // Parameters are made when first used: before anything is compared.
    assert!(tracked.num_params() + d.num_params() > 1_000_000);
    let g = tracked.valid();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let z = seed::latents(&[1, 2], config.z_dim, &device);
            let ws = g.mapping.forward(z, None, Truncation::psi(0.7));
            let mut results = vec![bits(ws.clone())];
            for modulation in [Modulation::Fused, Modulation::Unfused] {
                let options = SynthesisOptions {
                    modulation,
                    ..Default::default()
                };
                let image = g.synthesis.forward(ws.clone(), &options);
                results.push(bits(image.clone()));
                results.push(bits(d.forward(image, None)));
            }
            let ws = ws.autodiff().require_grad();
            let image = tracked
                .synthesis
                .forward(ws.clone(), &SynthesisOptions::default());
            let grads = image.square().mean().backward();
            results.push(bits(ws.grad(&grads).unwrap()));
            let weight = tracked.synthesis.blocks[3].conv1.weight.val();
            results.push(bits(weight.grad(&grads).unwrap()));
            results
        })
    };
    let one = run(1);
    for threads in [2, 3, 5] {
        for (k, (a, b)) in run(threads).iter().zip(&one).enumerate() {
            assert!(a == b, "result {k} with {threads} threads");
        }
    }
    // The comparison sees a difference of one bit.
    let other = Tensor::<1>::random([8], Distribution::Default, &device);
    assert_ne!(bits(other.clone()), bits(other + 1e-3));
}
