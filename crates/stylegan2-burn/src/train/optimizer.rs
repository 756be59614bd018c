//! Adam on the vector of all parameters.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Adam (Kingma and Ba 2015, algorithm 1).
///
/// With gradient $g_t$: $m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t$,
/// $v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2$,
/// $\theta_t = \theta_{t-1} - \frac{\eta}{1 - \beta_1^t}
/// \frac{m_t}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}$.
///
/// Burn's own keeps its moments under parameter numbers that differ from run to run; here they
/// are two vectors, which are saved and restored to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Learning rate $\eta$.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// $\epsilon$.
    pub epsilon: f64,
}

/// The moments of one network.
#[derive(Clone, Debug)]
pub struct AdamState {
    /// Number of updates made.
    pub steps: u64,
    /// $m$, `[P]`; absent where $\beta_1 = 0$, when it is the gradient itself.
    pub first: Option<Tensor<1>>,
    /// $v$, `[P]`.
    pub second: Tensor<1>,
}

impl AdamState {
    /// The moments with their names.
    pub(crate) fn named(&self) -> Vec<(&'static str, &Tensor<1>)> {
        let first = self.first.as_ref().map(|m| ("first", m));
        first
            .into_iter()
            .chain([("second", &self.second)])
            .collect()
    }
}

impl Adam {
    /// The same optimiser for a network whose regulariser runs every `interval` iterations, as an
    /// update of its own.
    ///
    /// With $r = k / (k + 1)$ the learning rate becomes $r \eta$ and the decays $\beta^r$
    /// (Karras et al. 2020, appendix B), so that $k + 1$ updates do what $k$ did.
    pub fn with_lazy_regularisation(self, interval: Option<usize>) -> Self {
        let Some(interval) = interval else {
            return self;
        };
        let ratio = interval as f64 / (interval as f64 + 1.0);
        Self {
            learning_rate: self.learning_rate * ratio,
            beta1: self.beta1.powf(ratio),
            beta2: self.beta2.powf(ratio),
            ..self
        }
    }

    /// Moments of zero for the parameters `values`.
    pub fn init(&self, values: &Tensor<1>) -> AdamState {
        AdamState {
            steps: 0,
            first: (self.beta1 > 0.0).then(|| values.zeros_like()),
            second: values.zeros_like(),
        }
    }

    /// One update; gives the new parameters.
    ///
    /// # Shapes
    ///
    /// - values, gradients: `[P]`
    /// - output: `[P]`
    pub fn step(
        &self,
        state: &mut AdamState,
        values: Tensor<1>,
        gradients: Tensor<1>,
    ) -> Tensor<1> {
        state.steps += 1;
        let t = state.steps as f64;
        let second =
            state.second.clone() * self.beta2 + gradients.clone().square() * (1.0 - self.beta2);
        let first = match state.first.take() {
            Some(m) => {
                let m = m * self.beta1 + gradients * (1.0 - self.beta1);
                state.first = Some(m.clone());
                m
            }
            None => gradients,
        };
        let correction1 = 1.0 - self.beta1.powf(t);
        let correction2 = (1.0 - self.beta2.powf(t)).sqrt();
        let scale = second.clone().sqrt() * (1.0 / correction2) + self.epsilon;
        state.second = second;
        values - first / scale * (self.learning_rate / correction1)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Algorithm 1 for one number, in double precision.
    fn twin(adam: &Adam, mut theta: f64, gradients: &[f64]) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for (t, g) in gradients.iter().enumerate() {
            m = adam.beta1 * m + (1.0 - adam.beta1) * g;
            v = adam.beta2 * v + (1.0 - adam.beta2) * g * g;
            let t = t as f64 + 1.0;
            let m_hat = m / (1.0 - adam.beta1.powf(t));
            let v_hat = v / (1.0 - adam.beta2.powf(t));
            theta -= adam.learning_rate * m_hat / (v_hat.sqrt() + adam.epsilon);
        }
        theta
    }

    #[test]
    fn updates_are_those_of_the_algorithm() {
        let device = Device::default();
        let gradients = [0.3, -0.1, 2.0, 1e-7, 0.0];
        for beta1 in [0.0, 0.9] {
            let adam = Adam {
                learning_rate: 0.01,
                beta1,
                beta2: 0.99,
                epsilon: 1e-8,
            }
            .with_lazy_regularisation(Some(4));
            assert!((adam.learning_rate - 0.008).abs() < 1e-12);
            let mut values = Tensor::<1>::from_floats([1.0, -2.0], &device);
            let mut state = adam.init(&values);
            assert_eq!(state.first.is_some(), beta1 > 0.0);
            for g in gradients {
                let g = Tensor::<1>::from_floats([g, -3.0 * g], &device);
                values = adam.step(&mut state, values, g);
            }
            let got: Vec<f32> = values.into_data().try_to_vec().unwrap();
            let scaled: Vec<f64> = gradients.iter().map(|g| -3.0 * g).collect();
            let expected = [twin(&adam, 1.0, &gradients), twin(&adam, -2.0, &scaled)];
            for (g, e) in got.iter().zip(expected) {
                assert!((f64::from(*g) - e).abs() < 1e-6, "{g} {e}");
            }
            assert_eq!(state.steps, 5);
        }
    }
}
