//! Training of a network against `PyTorch` with pycox's and torchsurv's losses.
//! `cargo bench -p survlatent-benches --features deep --bench deepsurv`; `PYTHON` names the interpreter.
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use std::process::Command;

use burn::tensor::Device;
use cox_survival::deep::{Activation, Batches, DeepSurv};
use cox_survival::{Covariates, Surv};
use survlatent_benches::{independent, median, timed};

const N: usize = 10_000;
const P: usize = 512;
const EPOCHS: usize = 10;
const ROUNDS: usize = 3;
/// What the peers' script can run: plain `PyTorch`, and the losses of two libraries in the same loop.
const PEERS: [&str; 3] = ["torch", "pycox", "torchsurv"];

fn main() {
    println!(
        "CPU seconds of {EPOCHS} epochs, n={N} p={P}, two hidden layers of 256, one thread, medians of \
         {ROUNDS} alternating runs\n"
    );
    let data = independent(N, P, 7);
    let surv = Surv::new(&data.time, &data.event).expect("valid data");
    let x = Covariates::from_columns(&data.x, N, P).expect("shape");
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.expect("a thread");
    for (name, batch) in [("full batch", N), ("batches of 256", 256)] {
        let mut settings = DeepSurv::new()
            .hidden(&[256, 256])
            .activation(Activation::Relu)
            .epochs(EPOCHS);
        if batch < N {
            settings = settings.batches(Batches::InRiskSets { size: batch });
        }
        let (mut ours, mut last) = (Vec::new(), 0.0);
        let mut theirs = PEERS.map(|_| Vec::new());
        let mut said = PEERS.map(|_| f64::NAN);
        for _ in 0..ROUNDS {
            let (cpu, _, fit) = one
                .install(|| timed(|| settings.fit(&surv, &x, &Device::flex()).expect("a network")));
            ours.push(cpu);
            last = fit.history()[EPOCHS - 1].training;
            for (k, peer) in PEERS.iter().enumerate() {
                if let Some((seconds, loss)) = run(peer, batch) {
                    theirs[k].push(seconds);
                    said[k] = loss;
                }
            }
        }
        let ours = median(ours);
        println!("{name:<16} ours {ours:>7.3} s, loss {last:.4}");
        for ((peer, theirs), loss) in PEERS.iter().zip(theirs).zip(said) {
            let theirs = median(theirs);
            println!(
                "{peer:>16}      {theirs:>7.3} s, loss {loss:.4}, peer/ours {:.2}",
                theirs / ours
            );
        }
    }
}

/// CPU seconds and last loss of a peer; none when it cannot run.
fn run(peer: &str, batch: usize) -> Option<(f64, f64)> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/deepsurv_torch.py");
    let numbers = [N, P, batch, EPOCHS].map(|k| k.to_string());
    let mut command = Command::new(python);
    command.arg(script).arg(peer).args(numbers);
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (seconds, loss) = text.lines().last()?.split_once(' ')?;
    Some((seconds.parse().ok()?, loss.parse().ok()?))
}
