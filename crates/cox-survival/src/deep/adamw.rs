//! `AdamW`, with moments that can be written down.
//!
//! Burn's own keeps its moments under parameter numbers that differ from run to run. Reference: Loshchilov &
//! Hutter (2019), Decoupled weight decay regularization, algorithm 2.

use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::network::{Update, values};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
/// Burn's default.
const EPSILON: f64 = 1e-5;

/// The moments of every parameter, flat, in the order in which the network shows them.
#[derive(Debug, Clone)]
pub(super) struct AdamW {
    weight_decay: f64,
    pub(super) steps: u64,
    first: Vec<Tensor<1>>,
    second: Vec<Tensor<1>>,
}

impl AdamW {
    pub(super) fn new(weight_decay: f64) -> Self {
        Self {
            weight_decay,
            steps: 0,
            first: Vec::new(),
            second: Vec::new(),
        }
    }

    /// Goes on after `steps` steps with the moments of [`AdamW::moments`].
    pub(super) fn resumed(
        weight_decay: f64,
        steps: u64,
        moments: &[[Vec<f32>; 2]],
        device: &Device,
    ) -> Self {
        let moment = |k: usize| {
            let one = |pair: &[Vec<f32>; 2]| {
                let data = TensorData::new(pair[k].clone(), [pair[k].len()]);
                Tensor::from_data(data, device)
            };
            moments.iter().map(one).collect()
        };
        Self {
            weight_decay,
            steps,
            first: moment(0),
            second: moment(1),
        }
    }

    /// First and second moment of every parameter.
    pub(super) fn moments(&self) -> Vec<[Vec<f32>; 2]> {
        let pairs = self.first.iter().zip(&self.second);
        pairs
            .map(|(m, v)| [values(m.clone()), values(v.clone())])
            .collect()
    }

    /// One step down the gradients.
    pub(super) fn step<'a>(&'a mut self, rate: f64, gradients: &'a Gradients) -> Step<'a> {
        self.steps += 1;
        Step {
            adam: self,
            rate,
            gradients,
            place: 0,
        }
    }
}

/// A step in progress.
pub(super) struct Step<'a> {
    adam: &'a mut AdamW,
    rate: f64,
    gradients: &'a Gradients,
    /// The next parameter.
    place: usize,
}

impl Update for Step<'_> {
    fn update<const D: usize>(&mut self, value: Tensor<D>) -> Tensor<D> {
        let shape = value.dims();
        let count: usize = shape.iter().product();
        let gradient = value.grad(self.gradients);
        let value = value.inner();
        // A parameter that the loss does not reach has a gradient of zero.
        let gradient = gradient.unwrap_or_else(|| value.zeros_like());
        let g = gradient.reshape([count]);
        let adam = &mut *self.adam;
        let k = self.place;
        self.place += 1;
        if adam.first.len() == k {
            adam.first.push(g.zeros_like());
            adam.second.push(g.zeros_like());
        }
        let m = adam.first[k].clone() * BETA1 + g.clone() * (1.0 - BETA1);
        let v = adam.second[k].clone() * BETA2 + g.square() * (1.0 - BETA2);
        let t = adam.steps as f64;
        let scale = v.clone().sqrt() * (1.0 / (1.0 - BETA2.powf(t)).sqrt()) + EPSILON;
        let change = m.clone() / scale * (self.rate / (1.0 - BETA1.powf(t)));
        adam.first[k] = m;
        adam.second[k] = v;
        let kept = if adam.weight_decay > 0.0 {
            value * (1.0 - self.rate * adam.weight_decay)
        } else {
            value
        };
        Tensor::from_inner(kept - change.reshape(shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_algorithm() {
        let device = Device::flex().autodiff();
        let (rate, decay) = (0.01, 0.1);
        let mut adam = AdamW::new(decay);
        let mut theta = Tensor::<1>::from_data([1.0f32, -2.0], &device).require_grad();
        let mut twin = [(1.0f64, 0.0, 0.0), (-2.0, 0.0, 0.0)];
        for t in 1..=5 {
            // The loss is the sum of squares, the gradient 2 theta.
            let gradients = (theta.clone() * theta.clone()).sum().backward();
            theta = adam.step(rate, &gradients).update(theta).require_grad();
            for (theta, m, v) in &mut twin {
                let g = 2.0 * *theta;
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                let (m, v) = (*m / (1.0 - BETA1.powi(t)), *v / (1.0 - BETA2.powi(t)));
                *theta = *theta * (1.0 - rate * decay) - rate * m / (v.sqrt() + EPSILON);
            }
        }
        for (found, (want, ..)) in values(theta).into_iter().zip(twin) {
            assert!((f64::from(found) - want).abs() < 1e-6, "{found} {want}");
        }
        assert_eq!((adam.steps, adam.moments().len()), (5, 1));
    }
}
