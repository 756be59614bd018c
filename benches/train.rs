//! Whole training steps, and the passes they are made of.
//!
//! `cargo bench -p survlatent-benches --bench train --features winograd -- step [side] [batch] [base] [max] [iterations]`
//! prints one JSON line per iteration of a `Trainer` without augmentation, with the penalties that were due,
//! time and the peak of resident memory (Linux); `peers/train_torch.py` does the same with `PyTorch` and
//! alternates the two.
//!
//! `... -- [rounds] [side] [batch] [base]` prints one JSON line per pass, with gradients to the weights.

#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor, activation};
use cpu_time::ProcessTime;
use stylegan2_burn::train::{AugmentStrength, ImageSource, Networks, Plan, Preset, Trainer};
use stylegan2_burn::{DiscriminatorConfig, GeneratorConfig, Result, SynthesisOptions};
use survlatent_benches::{forget_peak, resident};

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let at = |k: usize, default: usize| numbers.get(k).copied().unwrap_or(default);
    if std::env::args().any(|a| a == "step") {
        let (side, batch, base) = (at(0, 64), at(1, 16), at(2, 2048));
        steps(side, batch, base, at(3, 128), at(4, 6)).expect("a training");
    } else {
        passes(at(0, 3), at(1, 64), at(2, 16), at(3, 4096));
    }
}

/// Runs iterations of which every second has the path-length penalty and every third R1; the first has
/// both and is not counted.
fn steps(side: usize, batch: usize, base: usize, max: usize, iterations: usize) -> Result<()> {
    let Plan {
        generator,
        discriminator,
        settings,
    } = Preset::Auto.plan(side, 3, 0);
    let networks = Networks::init(
        &generator.with_channel_base(base).with_channel_max(max),
        &discriminator
            .with_channel_base(base)
            .with_channel_max(max)
            .with_mbstd_group(Some(4)),
        0,
        &Device::default(),
    )?;
    let settings = settings
        .with_batch(batch)
        .with_augment(AugmentStrength::None)
        .with_path_interval(Some(2))
        .with_r1_interval(Some(3));
    let mut trainer = Trainer::new(settings, networks, Arc::new(Gradients { side }))?;
    for k in 0..iterations {
        forget_peak();
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        let report = trainer.step()?;
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
        let kind = match (report.path_penalty, report.r1_penalty) {
            _ if k == 0 => continue,
            (None, None) => "main",
            (Some(_), None) => "path",
            (None, Some(_)) => "r1",
            (Some(_), Some(_)) => "both",
        };
        println!(
            "{{\"kind\":\"{kind}\",\"wall\":{wall:.4},\"cpu\":{cpu:.4},\"peak_mb\":{:.0},\"loss\":{:e}}}",
            resident("VmHWM") / 1024.0,
            report.generator_loss
        );
    }
    Ok(())
}

/// Pictures of slopes of all directions.
struct Gradients {
    side: usize,
}

impl ImageSource for Gradients {
    fn len(&self) -> usize {
        256
    }

    fn shape(&self) -> [usize; 3] {
        [3, self.side, self.side]
    }

    fn label_dim(&self) -> usize {
        0
    }

    fn image(&self, index: usize) -> Result<Vec<u8>> {
        let side = self.side;
        let value = |k: usize| (k / side * index + k % side * (256 - index)) / side;
        Ok((0..3 * side * side)
            .map(|k| value(k % (side * side)) as u8)
            .collect())
    }

    fn label(&self, _: usize) -> Option<Vec<f32>> {
        None
    }
}

fn passes(rounds: usize, side: usize, batch: usize, base: usize) {
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
