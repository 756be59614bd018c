//! Generator forward, and forward with the gradient to w, with random weights.
//!
//! `cargo bench -p survlatent-benches --bench stylegan2 -- [rounds] [task ...]` prints one JSON
//! line per run. `peers/stylegan2_torch.py` does the same with `PyTorch` and alternates the two.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use burn::module::Module as _;
use burn::tensor::{Device, Distribution, Tensor};
use cpu_time::ProcessTime;
use stylegan2_burn::{GeneratorConfig, SynthesisOptions};

fn main() {
    let mut args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let rounds = if args.is_empty() {
        3
    } else {
        args.remove(0).parse().unwrap_or(3)
    };
    let wanted = |task: &str| args.is_empty() || args.iter().any(|a| a == task);
    let base = Device::default();
    for (task, config, gradient) in [
        ("g256", GeneratorConfig::paper256(), false),
        ("g256_grad", GeneratorConfig::paper256(), true),
        ("g1024", GeneratorConfig::paper1024(), false),
        ("g1024_grad", GeneratorConfig::paper1024(), true),
    ] {
        if !wanted(task) {
            continue;
        }
        let device = if gradient {
            base.clone().autodiff()
        } else {
            base.clone()
        };
        // The gradient to w only, as in a projector: the weights stand still on both sides.
        let g = config.init(&device).expect("presets are valid").no_grad();
        let shape = [1, config.num_ws(), config.w_dim];
        let ws = Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        for round in 0..=rounds {
            let (wall, cpu) = (Instant::now(), ProcessTime::now());
            let value: f32 = if gradient {
                let ws = ws.clone().require_grad();
                let image = g
                    .synthesis
                    .forward(ws.clone(), &SynthesisOptions::default());
                let grads = image.square().mean().backward();
                ws.grad(&grads).expect("tracked").abs().sum().into_scalar()
            } else {
                g.synthesis
                    .forward(ws.clone(), &SynthesisOptions::default())
                    .sum()
                    .into_scalar()
            };
            // The first run makes the parameters.
            if round > 0 {
                let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
                println!(
                    "{{\"task\":\"{task}\",\"wall\":{wall:.4},\"cpu\":{cpu:.4},\"peak_mb\":{},\"value\":{value:e}}}",
                    peak_megabytes()
                );
            }
        }
    }
}

/// The largest resident set so far; 0 where the system does not tell.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .unwrap_or("");
    line.split_whitespace()
        .nth(1)
        .and_then(|k| k.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}
