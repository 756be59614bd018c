//! Adam (Kingma and Ba 2015, algorithm 1) on one tensor, with a learning rate per step.

use burn::tensor::Tensor;

/// Decays of the moments and the floor of the denominator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adam {
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// The moments of one tensor, outside any graph.
#[derive(Clone, Debug)]
pub(crate) struct Moments<const D: usize> {
    pub(crate) steps: u64,
    pub(crate) first: Tensor<D>,
    pub(crate) second: Tensor<D>,
}

impl<const D: usize> Moments<D> {
    pub(crate) fn zeros(like: &Tensor<D>) -> Self {
        Self {
            steps: 0,
            first: like.zeros_like(),
            second: like.zeros_like(),
        }
    }
}

impl Adam {
    /// The values after one update.
    pub(crate) fn step<const D: usize>(
        self,
        moments: &mut Moments<D>,
        values: Tensor<D>,
        gradient: Tensor<D>,
        learning_rate: f64,
    ) -> Tensor<D> {
        moments.steps += 1;
        let t = moments.steps as f64;
        let first = moments.first.clone() * self.beta1 + gradient.clone() * (1.0 - self.beta1);
        let second =
            moments.second.clone() * self.beta2 + gradient.clone() * gradient * (1.0 - self.beta2);
        moments.first = first.clone();
        moments.second = second.clone();
        let correction1 = 1.0 - self.beta1.powf(t);
        let correction2 = (1.0 - self.beta2.powf(t)).sqrt();
        let scale = second.sqrt() * (1.0 / correction2) + self.epsilon;
        values - first / scale * (learning_rate / correction1)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn updates_are_those_of_the_algorithm() {
        let device = Device::default();
        let gradients = [0.3, -0.1, 2.0, 1e-7, 0.0];
        let (mut theta, mut m, mut v) = (1.0_f64, 0.0_f64, 0.0_f64);
        let mut values = Tensor::<1>::from_floats([1.0], &device);
        let mut moments = Moments::zeros(&values);
        for (t, g) in gradients.iter().enumerate() {
            let rate = 0.01 * (t + 1) as f64;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let t = t as f64 + 1.0;
            theta -= rate * (m / (1.0 - 0.9_f64.powf(t)))
                / ((v / (1.0 - 0.999_f64.powf(t))).sqrt() + 1e-8);
            let gradient = Tensor::<1>::from_floats([*g], &device);
            values = Adam::default().step(&mut moments, values, gradient, rate);
        }
        let found: f32 = values.into_scalar();
        assert!((f64::from(found) - theta).abs() < 1e-6, "{found} {theta}");
    }
}
