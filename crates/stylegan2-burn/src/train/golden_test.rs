//! Losses, parameter gradients and five iterations against the reference program's.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{DType, Device, Gradients, Tensor};

use super::loss::{self, Latents, StyleMix};
use super::map::Identity;
use super::trainer::Trainer;
use super::{ImageSource, Networks, RoundInputs, TrainSettings, parameters};
use crate::checkpoint::Names;
use crate::train::loss::numbers;
use crate::{Checkpoint, Discriminator, Generator, Noise, Precision};

#[path = "../../tests/common/mod.rs"]
pub(crate) mod common;
use common::{Golden, folder, relative_l2};

const NETS: [&str; 3] = ["uncond32", "cond32", "gray16_resnetG_skipD"];

/// The bound on gradients. The clamp of the network with labels makes kinks; there the reference
/// differs from its own double precision by up to 1.4e-3.
fn bound(net: &str) -> f64 {
    if net == "cond32" { 5e-3 } else { 2e-4 }
}

struct Case {
    net: &'static str,
    inputs: Golden,
    golden: Golden,
    g: Generator,
    d: Discriminator,
    resolution: usize,
}

impl Case {
    fn open(net: &'static str) -> Self {
        let file = Checkpoint::open(folder().join(format!("official_{net}.pkl"))).unwrap();
        let device = Device::default().autodiff();
        Self {
            net,
            inputs: Golden::open(&format!("official_{net}_loss_f32.safetensors")),
            golden: Golden::open(&format!("train_{net}.safetensors")),
            resolution: file.generator_config("G").unwrap().resolution,
            g: file.generator("G", &device).unwrap(),
            d: file.discriminator("D", &device).unwrap(),
        }
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        self.inputs.tensor(name, &Device::default())
    }

    fn label(&self, name: &str) -> Option<Tensor<2>> {
        (!self.inputs.values(name).is_empty()).then(|| self.tensor(name))
    }

    fn latents(&self, cutoff: Option<usize>) -> Latents {
        Latents {
            z: self.tensor("gen_z"),
            c: self.label("gen_c"),
            mix: cutoff.map(|cutoff| StyleMix {
                z: self.golden.tensor("mix_z", &Device::default()),
                cutoff,
            }),
            noise: Noise::Const,
        }
    }

    fn real(&self) -> Tensor<4> {
        self.tensor::<4>("real_u8") * (1.0 / 127.5) - 1.0
    }

    fn check(&self, name: &str, got: &[f64], bound: f64) {
        let error = relative_l2(got, self.golden.values(name));
        assert!(error < bound, "{} {name}: {error:e}", self.net);
    }

    /// Every sampled gradient of one phase; gives the largest error.
    fn check_gradients<M: Module>(&self, tag: &str, module: &M, names: Names, vector: Tensor<1>) {
        let prefix = if tag.starts_with('D') { "D" } else { "G" };
        let slots = parameters::slots(module, names, &parameters::trained);
        let vector = numbers(vector);
        let mut at = 0;
        for slot in &slots {
            let count = slot.shape.iter().product::<usize>();
            let got = sample(&vector[at..at + count]);
            at += count;
            self.check(
                &format!("{tag}.grad.{prefix}.{}", slot.name),
                &got,
                bound(self.net),
            );
        }
        let expected = self
            .golden
            .names()
            .filter(|n| n.starts_with(&format!("{tag}.grad.{prefix}.")))
            .count();
        assert_eq!(slots.len(), expected, "{} {tag}", self.net);
    }
}

/// The norm and up to 64 entries at a fixed stride, as `trim_train.py` takes them.
fn sample(values: &[f64]) -> Vec<f64> {
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let stride = (values.len() / 64).max(1);
    let entries = values.iter().step_by(stride).take(64).copied();
    std::iter::once(norm).chain(entries).collect()
}

fn of<M: Module>(module: &M, names: Names, gradients: &Gradients) -> Tensor<1> {
    parameters::gradients(module, names, gradients)
}

fn unchanged(x: crate::Dual<4>) -> crate::Dual<4> {
    x
}

#[test]
fn generator_losses_have_the_reference_gradients() {
    for case in NETS.map(Case::open) {
        let names = || Names::generator(case.resolution);
        let frozen = case.d.clone().no_grad();
        for (tag, cutoff) in [("Gmain", None), ("Gmain_mix3", Some(3))] {
            let latents = case.latents(cutoff);
            let (scores, _) =
                loss::generator_main(&case.g, &frozen, latents, &unchanged, Precision::Full);
            case.check(
                &format!("{tag}.Loss/G/loss"),
                &numbers(scores.losses.clone().inner()),
                1e-5,
            );
            case.check(
                &format!("{tag}.Loss/scores/fake"),
                &numbers(scores.logits),
                1e-4,
            );
            let gradients = of(&case.g, names(), &scores.losses.mean().backward());
            case.check_gradients(tag, &case.g, names(), gradients);
        }
    }
}

#[test]
fn discriminator_losses_have_the_reference_gradients() {
    for case in NETS.map(Case::open) {
        let names = || Names::discriminator(case.resolution);
        let plain = case.g.clone().valid();
        let (images, _) = loss::images(&plain, &case.latents(None), Precision::Full);
        let (d, map) = (&case.d, &unchanged);
        let fake = loss::discriminator_fake(d, images, case.label("gen_c"), map, Precision::Full);
        let real_c = case.label("real_c");
        let real = loss::discriminator_real(d, case.real(), real_c.clone(), map, Precision::Full);
        case.check("Dmain.Loss/scores/fake", &numbers(fake.logits), 1e-4);
        case.check("Dmain.Loss/scores/real", &numbers(real.logits), 1e-4);
        let both = fake.losses.clone().inner() + real.losses.clone().inner();
        case.check("Dmain.Loss/D/loss", &numbers(both), 1e-5);
        let gradients = of(d, names(), &fake.losses.mean().backward())
            + of(d, names(), &real.losses.mean().backward());
        case.check_gradients("Dmain", d, names(), gradients);

        let frozen = d.clone().no_grad();
        let r1 = loss::r1(d, &frozen, case.real(), real_c, map);
        case.check(
            "Dr1.Loss/r1_penalty",
            &numbers(r1.penalties),
            bound(case.net),
        );
        let n = case.real().dims()[0] as f64;
        let gradients = of(d, names(), &(r1.objective * (7.0 / n)).backward());
        case.check_gradients("Dr1", d, names(), gradients);
    }
}

#[test]
fn the_path_length_penalty_has_the_reference_gradients() {
    for case in NETS.map(Case::open) {
        let names = || Names::generator(case.resolution);
        let noise = case.tensor::<4>("pl_noise_raw");
        let half: Vec<usize> = (0..noise.dims()[0]).collect();
        let latents = case.latents(None).select(&half);
        let frozen = case.g.clone().no_grad();
        let (paths, _) = loss::path_lengths(&frozen, &latents, noise.clone());
        let found = loss::path_penalty(&paths.lengths, 0.3, 0.01);
        case.check("Gpl.pl_mean_after", &[found.mean], 1e-5);
        case.check("Gpl.Loss/pl_penalty", &found.penalties, bound(case.net));
        let slopes: Vec<f64> = found.slopes.iter().map(|s| 2.0 * s).collect();
        let objective = loss::path_objective(&case.g, latents, noise, paths, &slopes);
        let gradients = of(&case.g, names(), &objective.backward());
        case.check_gradients("Gpl", &case.g, names(), gradients);
    }
}

/// A source that is never asked: the inputs are given.
struct Nothing;

impl ImageSource for Nothing {
    fn len(&self) -> usize {
        1
    }
    fn shape(&self) -> [usize; 3] {
        [3, 32, 32]
    }
    fn label_dim(&self) -> usize {
        0
    }
    fn image(&self, _: usize) -> crate::Result<Vec<u8>> {
        unreachable!("the inputs are given")
    }
    fn label(&self, _: usize) -> Option<Vec<f32>> {
        None
    }
}

/// The recorded inputs of iteration `k`: two rounds of four images.
fn inputs(golden: &Golden, k: usize) -> Vec<RoundInputs> {
    let device = Device::default();
    let z: Tensor<2> = golden.tensor(&format!("it{k}.all_gen_z"), &device);
    let real = golden.tensor::<4>(&format!("it{k}.real_u8"), &device) * (1.0 / 127.5) - 1.0;
    let latents = |phase: usize, round: usize, n: usize| Latents {
        z: z.clone()
            .slice_dim(0, 8 * phase + 4 * round..8 * phase + 4 * round + n),
        c: None,
        mix: None,
        noise: Noise::Const,
    };
    (0..2)
        .map(|round| RoundInputs {
            generator: latents(0, round, 4),
            path: k.is_multiple_of(4).then(|| {
                let noise = format!("it{k}.pl_noise_raw.round{round}");
                (latents(1, round, 2), golden.tensor(&noise, &device))
            }),
            discriminator: latents(2, round, 4),
            real: real.clone().slice_dim(0, 4 * round..4 * round + 4),
            real_labels: None,
            augment_generator: Box::new(Identity),
            augment_fake: Box::new(Identity),
            augment_real: Box::new(Identity),
            augment_r1: k.is_multiple_of(16).then(|| Box::new(Identity) as Box<_>),
        })
        .collect()
}

#[test]
fn five_iterations_are_those_of_the_reference() {
    let device = Device::default();
    let file = Checkpoint::open(folder().join("official_uncond32.pkl")).unwrap();
    let golden = Golden::open("train5_uncond32.safetensors");
    let settings = TrainSettings::new()
        .with_batch(8)
        .with_rounds(2)
        .with_learning_rate(0.0025)
        .with_r1_gamma(0.5)
        .with_style_mixing(0.0)
        .with_ema_kimg(2.5)
        .with_ema_ramp_up(Some(0.05));
    let networks = Networks::open(&file, &device).unwrap();
    let mut trainer = Trainer::new(settings, networks, Arc::new(Nothing)).unwrap();
    for k in 0..5 {
        let rounds = inputs(&golden, k);
        let generator = trainer.generator_main(&rounds).unwrap();
        let path = trainer.path_length(&rounds).unwrap();
        let [fake, real] = trainer.discriminator_main(&rounds).unwrap();
        let r1 = trainer.r1(&rounds).unwrap();
        trainer.conclude(&real, r1.as_ref());

        // The fourth iteration is the last before rounding errors have grown a thousandfold.
        let (bound, regular) = match k {
            0 | 1 => (1e-5, 1e-4),
            2 | 3 => (1e-4, 1e-3),
            _ => (2e-3, 5e-2),
        };
        // The reference kept the samples of the first round.
        let close = |what: &str, got: &[f64], bound: f64| {
            let expected = golden.values(&format!("it{k}.{what}"));
            let error = relative_l2(&got[..expected.len()], expected);
            assert!(error < bound, "iteration {k}, {what}: {error:e}");
        };
        close("Gmain.Loss/G/loss", &generator.losses, bound);
        let both: Vec<f64> = fake
            .losses
            .iter()
            .zip(&real.losses)
            .map(|(f, r)| f + r)
            .collect();
        close("Dmain.Loss/D/loss", &both, bound);
        close("Dmain.Loss/scores/real", &real.logits, 10.0 * bound);
        assert_eq!(path.is_some(), k % 4 == 0);
        if let Some(penalties) = path {
            close("Greg.Loss/pl_penalty", &penalties, regular);
        }
        assert_eq!(r1.is_some(), k == 0);
        if let Some(r1) = r1 {
            close("Dreg.Loss/r1_penalty", &r1.losses, regular);
        }
        close("pl_mean", &[trainer.progress().path_mean], regular);
        let w_avg = trainer.networks().generator.mapping.w_avg.unwrap().val();
        let error = relative_l2(&numbers(w_avg), golden.values(&format!("it{k}.w_avg")));
        assert!(error < bound, "iteration {k}, w_avg: {error:e}");

        // The norm of every parameter after every iteration.
        for (net, vector, slots) in sides(&trainer) {
            let mut at = 0;
            for slot in slots {
                let count = slot.shape.iter().product::<usize>();
                let norm = vector[at..at + count]
                    .iter()
                    .map(|v| v * v)
                    .sum::<f64>()
                    .sqrt();
                at += count;
                let name = format!("norms.{net}.{}", slot.name);
                let expected = golden.values(&name)[k];
                let error = (norm - expected).abs() / expected;
                let bound = if k < 4 { 1e-4 } else { 2e-3 };
                assert!(error < bound, "iteration {k}, {name}: {error:e}");
            }
        }
    }
    compare_everything(&trainer, &golden);
}

/// All tensors at the end, the moving average too.
fn compare_everything(trainer: &Trainer, golden: &Golden) {
    let all = |_: &str, _: bool| true;
    let n = trainer.networks();
    let mut compared = 0;
    let names = Names::generator(32);
    for (net, vector, slots) in [
        (
            "G",
            parameters::values(&n.generator, names.clone(), &all),
            parameters::slots(&n.generator, names.clone(), &all),
        ),
        (
            "G_ema",
            parameters::values(&n.average, names.clone(), &all),
            parameters::slots(&n.average, names, &all),
        ),
        (
            "D",
            parameters::values(&n.discriminator, Names::discriminator(32), &all),
            parameters::slots(&n.discriminator, Names::discriminator(32), &all),
        ),
    ] {
        let vector = numbers(vector);
        let mut at = 0;
        for slot in slots {
            let count = slot.shape.iter().product::<usize>();
            let got = sample(&vector[at..at + count]);
            at += count;
            let error = relative_l2(&got, golden.values(&format!("final.{net}.{}", slot.name)));
            assert!(error < 2e-3, "final {net}.{}: {error:e}", slot.name);
            compared += 1;
        }
    }
    let expected = golden.names().filter(|n| n.starts_with("final.")).count();
    assert_eq!(compared, expected);
}

/// The trained parameters of both networks.
fn sides(trainer: &Trainer) -> [(&'static str, Vec<f64>, &[parameters::Slot]); 2] {
    let all = |_: &str, _: bool| true;
    let pick = |slots: &[parameters::Slot], everything: Vec<parameters::Slot>, vector: Vec<f64>| {
        let mut at = 0;
        let mut kept = Vec::new();
        for slot in everything {
            let count = slot.shape.iter().product::<usize>();
            if slots.contains(&slot) {
                kept.extend_from_slice(&vector[at..at + count]);
            }
            at += count;
        }
        kept
    };
    let (g, d) = (&trainer.g, &trainer.d);
    let (gn, dn) = (|| Names::generator(32), || Names::discriminator(32));
    let g_all = parameters::slots(&g.module, gn(), &all);
    let d_all = parameters::slots(&d.module, dn(), &all);
    let g_values = numbers(parameters::values(&g.module, gn(), &all).cast(DType::F64));
    let d_values = numbers(parameters::values(&d.module, dn(), &all).cast(DType::F64));
    [
        ("G", pick(&g.slots, g_all, g_values), &g.slots),
        ("D", pick(&d.slots, d_all, d_values), &d.slots),
    ]
}
