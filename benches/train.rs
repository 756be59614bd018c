//! The passes a training step is made of, with gradients to the weights.
//!
//! `cargo bench -p survlatent-benches --bench train --features winograd -- [rounds] [side] [batch] [base]`
//! prints one JSON line per pass and round.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor, activation};
use cpu_time::ProcessTime;
use stylegan2_burn::{DiscriminatorConfig, GeneratorConfig, SynthesisOptions};

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let at = |k: usize, default: usize| numbers.get(k).copied().unwrap_or(default);
    let (rounds, side, batch, base) = (at(0, 3), at(1, 64), at(2, 16), at(3, 4096));
    let device = Device::default().autodiff();
    let g = GeneratorConfig::new(side)
        .with_channel_base(base)
        .with_channel_max(128)
        .init(&device)
        .expect("valid");
    let d = DiscriminatorConfig::new(side)
        .with_channel_base(base)
        .with_channel_max(128)
        .init(&device)
        .expect("valid");
    let normal = Distribution::Normal(0.0, 1.0);
    for round in 0..=rounds {
        let timed = |what: &str, f: &dyn Fn() -> f32| {
            let (wall, cpu) = (Instant::now(), ProcessTime::now());
            let value = f();
            if round > 0 {
                let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
                println!(
                    "{{\"pass\":\"{what}\",\"wall\":{wall:.4},\"cpu\":{cpu:.4},\"value\":{value:e}}}"
                );
            }
        };
        let images = Tensor::<4>::random([batch, 3, side, side], normal, &device);
        let ws = Tensor::<3>::random([batch, g.synthesis.num_ws(), 512], normal, &device);
        timed("d_forward", &|| {
            d.forward(images.clone(), None).sum().into_scalar()
        });
        timed("d_gradients", &|| {
            let loss = activation::softplus(d.forward(images.clone(), None), 1.0).mean();
            let _grads = loss.clone().backward();
            loss.into_scalar()
        });
        timed("g_forward", &|| {
            g.synthesis
                .forward(ws.clone(), &SynthesisOptions::default())
                .sum()
                .into_scalar()
        });
        timed("g_gradients", &|| {
            let image = g
                .synthesis
                .forward(ws.clone(), &SynthesisOptions::default());
            let loss = image.square().mean();
            let _grads = loss.clone().backward();
            loss.into_scalar()
        });
        timed("r1", &|| {
            let (_, slope) = d.jvp(images.clone(), images.clone(), None);
            let loss = slope.mean();
            let _grads = loss.clone().backward();
            loss.into_scalar()
        });
    }
}
