//! The network and its loss on a GPU, or on a software Vulkan in its place, beside the CPU.
//!
//! `cargo test -p cox-survival --no-default-features --features wgpu --test gpu`
//! Few rows and few layers, because every new shape costs shader compilation.

#![cfg(any(
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal",
    feature = "cuda"
))]

use burn::tensor::{Device, Tensor};
use cox_survival::deep::{DeepSurv, PartialLikelihood};
use cox_survival::{Covariates, Surv, Ties};

/// Forty patients with heavy ties and three columns.
fn cohort() -> (Vec<f64>, Vec<bool>, Vec<f64>) {
    let time = (0..40u32).map(|i| f64::from(1 + i * 7 % 13));
    let event = (0..40u32).map(|i| i % 3 != 0);
    let x = (0..120u32).map(|k| f64::from(k * 37 % 41) / 20.0 - 1.0);
    (time.collect(), event.collect(), x.collect())
}

#[test]
fn the_loss_and_its_gradient_are_those_of_the_cpu() {
    let (time, event, x) = cohort();
    let surv = Surv::new(&time, &event).unwrap();
    let risk: Vec<f32> = x[..40].iter().map(|&v| v as f32).collect();
    let on = |device: Device, ties: Ties| -> Vec<f32> {
        let device = device.autodiff();
        let likelihood = PartialLikelihood::new(&surv, ties, &device).unwrap();
        let risk = Tensor::<1>::from_data(risk.as_slice(), &device).require_grad();
        let loss = likelihood.loss(risk.clone()).unwrap();
        let gradient = risk.grad(&loss.backward()).unwrap();
        let mut values: Vec<f32> = gradient.into_data().iter::<f32>().collect();
        values.push(loss.into_scalar());
        values
    };
    for ties in [Ties::Efron, Ties::Breslow] {
        let (gpu, cpu) = (on(Device::default(), ties), on(Device::flex(), ties));
        for (g, c) in gpu.iter().zip(&cpu) {
            assert!((g - c).abs() < 1e-5 * c.abs().max(1.0), "{g} is not {c}");
        }
    }
}

#[test]
fn a_network_is_trained_as_on_the_cpu() {
    let (time, event, x) = cohort();
    let surv = Surv::new(&time, &event).unwrap();
    let x = Covariates::from_rows(&x, 40, 3).unwrap();
    let settings = DeepSurv::new().hidden(&[8]).epochs(12).seed(5);
    let on = |device: Device| settings.fit(&surv, &x, &device).unwrap();
    let (gpu, cpu) = (on(Device::default()), on(Device::flex()));
    let risks = (gpu.predict(&x).unwrap(), cpu.predict(&x).unwrap());
    assert!(risks.1.iter().any(|r| r.abs() > 0.05), "nothing was learnt");
    for (g, c) in risks.0.iter().zip(&risks.1) {
        assert!((g - c).abs() < 1e-3, "{g} is not {c}");
    }
}
