//! One training: photos of the training rows in, a log risk of every row out.

use burn::tensor::{Device, Tensor, TensorData};
use cox_survival::deep::PartialLikelihood;
use cox_survival::{Surv, Ties};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::layers::{Plan, Statistics, vector};
use super::{NetworkTraining, PhotoNetwork};
use crate::error::{Error, Result};
use crate::proof::Thumbnails;
use crate::simulate::rng;

/// Adam's decays and floor (Kingma and Ba 2015, algorithm 1).
const BETA: [f64; 2] = [0.9, 0.999];
const FLOOR: f64 = 1e-8;
/// Streams of the seed; an epoch has one.
const EPOCHS: u64 = 2 << 40;

/// What one training leaves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trained {
    /// Log risk of every photo, those of the training rows too.
    pub(super) risk: Vec<f64>,
    /// Epochs behind the weights that were taken.
    pub(super) epochs: usize,
}

/// Trains on the photos `fit`, watching the loss of `held` where there are any.
///
/// `surv` and `pictures` are those of all rows. After every epoch `go_on` is asked; nothing comes back
/// if it says no.
pub(super) fn train(
    network: PhotoNetwork,
    settings: &NetworkTraining,
    pictures: &Thumbnails,
    surv: &Surv,
    (fit, held): (&[usize], &[usize]),
    seed: u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Trained>> {
    let device = Device::default();
    let plan = Plan::new(network, pictures.side());
    let mut state = State {
        values: plan.init(seed, &device),
        statistics: plan.statistics(&device),
    };
    let weights = plan.weights(&device);
    let mut optimiser = Adam::new(&state.values);
    let pixels = Pixels::new(pictures, fit);
    let watched = match held {
        [] => None,
        held => {
            let surv = surv.subset(held)?;
            Some(PartialLikelihood::new(&surv, Ties::Efron, &device)?)
        }
    };
    let mut best: Option<(f64, usize, State)> = None;
    let mut order = fit.to_vec();
    for epoch in 0..settings.epochs {
        let mut rng = rng(seed, EPOCHS + epoch as u64);
        order.shuffle(&mut rng);
        for rows in order.chunks(settings.batch) {
            // A batch without an event says nothing, and one picture has no variance.
            let part = surv.subset(rows).ok().filter(|_| rows.len() > 1);
            let Some(part) = part else { continue };
            let flips: Vec<bool> = rows.iter().map(|_| rng.random()).collect();
            let x = pixels.batch(rows, |k| flips[k], &device).autodiff();
            let leaves: Vec<Tensor<1>> = plan
                .split(&state.values)
                .into_iter()
                .map(|part| part.autodiff().require_grad())
                .collect();
            let risk = plan.forward(&leaves, &mut state.statistics, true, x);
            let likelihood = PartialLikelihood::new(&part, Ties::Efron, &risk.device())?;
            let loss = likelihood.loss(risk)?;
            let value = first(loss.clone().inner());
            if !value.is_finite() {
                return Err(not_finite(network));
            }
            let gradients = loss.backward();
            let gradient = Tensor::cat(
                leaves
                    .iter()
                    .map(|leaf| {
                        let found = leaf.grad(&gradients);
                        found.unwrap_or_else(|| leaf.clone().inner().zeros_like())
                    })
                    .collect(),
                0,
            );
            let rate = settings.learning_rate;
            let decayed = state.values.clone()
                - state.values.clone() * weights.clone() * (rate * settings.weight_decay);
            state.values = optimiser.step(decayed, gradient, rate);
        }
        if let Some(watched) = &watched {
            let risk = state.predict(&plan, &pixels, held, settings.batch, &device);
            let loss = first(watched.loss(vector(risk, &device))?);
            if !loss.is_finite() {
                return Err(not_finite(network));
            }
            if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
                best = Some((loss, epoch + 1, state.clone()));
            }
        }
        if !go_on() {
            return Ok(None);
        }
        if best
            .as_ref()
            .is_some_and(|(_, at, _)| epoch + 1 - at >= settings.patience)
        {
            break;
        }
    }
    let (epochs, state) = match best {
        Some((_, epochs, state)) => (epochs, state),
        None => (settings.epochs, state),
    };
    let all: Vec<usize> = (0..pictures.n()).collect();
    let risk = state.predict(&plan, &pixels, &all, settings.batch, &device);
    if risk.iter().any(|r| !r.is_finite()) {
        return Err(not_finite(network));
    }
    Ok(Some(Trained {
        risk: risk.into_iter().map(f64::from).collect(),
        epochs,
    }))
}

fn not_finite(network: PhotoNetwork) -> Error {
    Error::Study {
        reason: format!(
            "the training of {} left the range of numbers; lower models.training.learning_rate",
            network.name()
        ),
    }
}

/// A network at some moment of its training.
#[derive(Clone)]
struct State {
    values: Tensor<1>,
    statistics: Statistics,
}

impl State {
    /// Log risks of rows, in batches, with the running statistics.
    fn predict(
        &self,
        plan: &Plan,
        pixels: &Pixels<'_>,
        rows: &[usize],
        batch: usize,
        device: &Device,
    ) -> Vec<f32> {
        let parts = plan.split(&self.values);
        let mut statistics = self.statistics.clone();
        let of = |rows: &[usize]| {
            let x = pixels.batch(rows, |_| false, device);
            floats(plan.forward(&parts, &mut statistics, false, x))
        };
        rows.chunks(batch).flat_map(of).collect()
    }
}

/// The moments of all parameters.
struct Adam {
    steps: u64,
    first: Tensor<1>,
    second: Tensor<1>,
}

impl Adam {
    fn new(like: &Tensor<1>) -> Self {
        Self {
            steps: 0,
            first: like.zeros_like(),
            second: like.zeros_like(),
        }
    }

    fn step(&mut self, values: Tensor<1>, gradient: Tensor<1>, rate: f64) -> Tensor<1> {
        self.steps += 1;
        let t = self.steps as f64;
        let [one, two] = BETA;
        self.first = self.first.clone() * one + gradient.clone() * (1.0 - one);
        self.second = self.second.clone() * two + gradient.square() * (1.0 - two);
        let scale = self.second.clone().sqrt() * (1.0 / (1.0 - two.powf(t)).sqrt()) + FLOOR;
        values - self.first.clone() / scale * (rate / (1.0 - one.powf(t)))
    }
}

/// Pictures in units of the training rows: mean 0 and standard deviation 1 of each colour.
struct Pixels<'a> {
    pictures: &'a Thumbnails,
    mean: [f32; 3],
    scale: [f32; 3],
}

impl<'a> Pixels<'a> {
    fn new(pictures: &'a Thumbnails, rows: &[usize]) -> Self {
        let (mut sum, mut square) = ([0.0_f64; 3], [0.0_f64; 3]);
        for &row in rows {
            for pixel in pictures.row(row).chunks_exact(3) {
                for c in 0..3 {
                    let v = f64::from(pixel[c]);
                    sum[c] += v;
                    square[c] += v * v;
                }
            }
        }
        let count = (rows.len() * pictures.side() * pictures.side()) as f64;
        let mean = sum.map(|s| s / count);
        let scale = [0, 1, 2].map(|c| {
            let variance = square[c] / count - mean[c] * mean[c];
            // One colour all over has nothing to scale.
            (1.0 / variance.max(1e-6).sqrt()) as f32
        });
        Self {
            pictures,
            mean: mean.map(|m| m as f32),
            scale,
        }
    }

    /// `[N, 3, S, S]`, mirrored where `flip` says so of the place in the batch.
    fn batch(&self, rows: &[usize], flip: impl Fn(usize) -> bool, device: &Device) -> Tensor<4> {
        let side = self.pictures.side();
        let mut values = Vec::with_capacity(rows.len() * self.pictures.width());
        for (k, &row) in rows.iter().enumerate() {
            let picture = self.pictures.row(row);
            let flip = flip(k);
            for c in 0..3 {
                for y in 0..side {
                    for x in 0..side {
                        let x = if flip { side - 1 - x } else { x };
                        let v = picture[3 * (y * side + x) + c];
                        values.push((v - self.mean[c]) * self.scale[c]);
                    }
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [rows.len(), 3, side, side]), device)
    }
}

fn floats(values: Tensor<1>) -> Vec<f32> {
    // The device holds numbers of one kind.
    values.into_data().try_to_vec().unwrap_or_default()
}

fn first(loss: Tensor<1>) -> f64 {
    floats(loss).first().map_or(f64::NAN, |v| f64::from(*v))
}
