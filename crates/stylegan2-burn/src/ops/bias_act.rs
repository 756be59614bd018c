//! Bias, activation, gain and clamp, in that order.

use burn::config::Config;
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::tangent::Dual;

/// The nonlinearities the networks may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// $x$.
    Linear,
    /// $\max(x, 0)$.
    Relu,
    /// $x$ for $x \ge 0$, else $0.2\,x$: what all released networks use.
    #[default]
    Lrelu,
    /// Hyperbolic tangent.
    Tanh,
    /// $1 / (1 + e^{-x})$.
    Sigmoid,
    /// $x$ for $x \ge 0$, else $e^x - 1$.
    Elu,
    /// Scaled exponential linear unit.
    Selu,
    /// $\log(1 + e^x)$.
    Softplus,
    /// $x \cdot \mathrm{sigmoid}(x)$.
    Swish,
}

const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

impl Activation {
    /// The gain that keeps the variance, used when none is given.
    pub fn default_gain(self) -> f64 {
        match self {
            Self::Relu | Self::Lrelu | Self::Swish => std::f64::consts::SQRT_2,
            _ => 1.0,
        }
    }

    fn apply<const D: usize>(self, x: Tensor<D>, slope: f64) -> Tensor<D> {
        match self {
            Self::Linear => x,
            Self::Relu => activation::relu(x),
            Self::Lrelu => activation::leaky_relu(x, slope),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Elu => elu(x, 1.0),
            Self::Selu => elu(x, SELU_ALPHA) * SELU_SCALE,
            Self::Softplus => activation::relu(x.clone()) + (-x.abs()).exp().log1p(),
            Self::Swish => x.clone() * activation::sigmoid(x),
        }
    }

    fn derivative<const D: usize>(self, x: Tensor<D>, slope: f64) -> Tensor<D> {
        let step = |x: Tensor<D>, below: f64| x.ones_like().mask_fill(x.lower_elem(0.0), below);
        match self {
            Self::Linear => x.ones_like(),
            Self::Relu => x.ones_like().mask_fill(x.lower_equal_elem(0.0), 0.0),
            Self::Lrelu => step(x, slope),
            Self::Tanh => {
                let y = x.tanh();
                y.clone() * -y + 1.0
            }
            Self::Sigmoid => {
                let y = activation::sigmoid(x);
                y.clone() * (-y + 1.0)
            }
            Self::Elu => x.clamp_max(0.0).exp(),
            Self::Selu => {
                let positive = x.clone().greater_equal_elem(0.0);
                (x.clamp_max(0.0).exp() * (SELU_ALPHA * SELU_SCALE)).mask_fill(positive, SELU_SCALE)
            }
            Self::Softplus => activation::sigmoid(x),
            Self::Swish => {
                let s = activation::sigmoid(x.clone());
                s.clone() + x * s.clone() * (-s + 1.0)
            }
        }
    }
}

/// Written out so that its derivative exists to second order on every back end.
fn elu<const D: usize>(x: Tensor<D>, alpha: f64) -> Tensor<D> {
    activation::relu(x.clone()) + (x.clamp_max(0.0).exp() - 1.0) * alpha
}

/// `clamp(gain * activation(x + bias), -clamp, clamp)`.
#[derive(Config, Debug, Copy, PartialEq)]
pub struct BiasAct {
    /// The nonlinearity.
    pub activation: Activation,
    /// The factor after the activation; `None` is [`Activation::default_gain`].
    pub gain: Option<f64>,
    /// The slope of the leaky ReLU below zero.
    #[config(default = 0.2)]
    pub slope: f64,
    /// The bound on the absolute value of the result.
    pub clamp: Option<f64>,
}

impl BiasAct {
    /// Adds noise, then applies bias, activation, gain and clamp.
    ///
    /// # Shapes
    ///
    /// - x: `[N, C, H, W]`, noise: `[1 or N, 1, H, W]`, bias: `[C]`
    /// - output: as `x`
    pub fn forward_with_noise(
        &self,
        x: Dual<4>,
        noise: Option<Tensor<4>>,
        bias: Tensor<1>,
    ) -> Dual<4> {
        #[cfg(feature = "flex")]
        if x.tangent.is_none()
            && self.activation == Activation::Lrelu
            && super::on_cpu(&x.value)
            && super::on_cpu(&bias)
            && noise.as_ref().is_none_or(super::on_cpu)
        {
            return Dual::constant(self.in_one_pass(x.value, noise, bias));
        }
        let x = match noise {
            Some(noise) => Dual {
                value: x.value.clone() + noise.cast(x.value.dtype()),
                tangent: x.tangent,
            },
            None => x,
        };
        self.forward(x, Some(bias))
    }

    /// Leaky ReLU on the CPU without intermediate results.
    #[cfg(feature = "flex")]
    fn in_one_pass(&self, x: Tensor<4>, noise: Option<Tensor<4>>, bias: Tensor<1>) -> Tensor<4> {
        use rayon::prelude::*;

        let (device, dims) = (x.device(), x.dims());
        let [_, c, h, w] = dims;
        let noise = noise.map_or_else(Vec::new, super::floats);
        let bias = super::floats(bias);
        let mut values = super::floats(x);
        #[allow(clippy::cast_possible_truncation)]
        let (gain, slope, bound) = (
            self.gain.unwrap_or_else(|| self.activation.default_gain()) as f32,
            self.slope as f32,
            self.clamp.unwrap_or(f64::INFINITY) as f32,
        );
        let arch = pulp::Arch::new();
        values
            .par_chunks_mut(h * w)
            .enumerate()
            .for_each(|(plane, values)| {
                let bias = bias[plane % c];
                let first = if noise.len() > h * w {
                    plane / c * h * w
                } else {
                    0
                };
                let noise = noise.get(first..first + h * w);
                arch.dispatch(
                    #[inline(always)]
                    || {
                        let act = |y: f32| {
                            let y = (if y < 0.0 { y * slope } else { y }) * gain;
                            // Comparisons, not `min` and `max`: a NaN stays one.
                            if y > bound {
                                bound
                            } else if y < -bound {
                                -bound
                            } else {
                                y
                            }
                        };
                        match noise {
                            Some(noise) => {
                                for (v, n) in values.iter_mut().zip(noise) {
                                    *v = act(*v + n + bias);
                                }
                            }
                            None => {
                                for v in values.iter_mut() {
                                    *v = act(*v + bias);
                                }
                            }
                        }
                    },
                );
            });
        Tensor::from_data(burn::tensor::TensorData::new(values, dims), &device)
    }

    /// Applies bias (along dimension 1), activation, gain and clamp.
    ///
    /// # Shapes
    ///
    /// - x: `[N, C, ...]`, bias: `[C]`
    /// - output: as `x`
    pub fn forward<const D: usize>(&self, x: Dual<D>, bias: Option<Tensor<1>>) -> Dual<D> {
        let gain = self.gain.unwrap_or_else(|| self.activation.default_gain());
        let x = match bias {
            Some(bias) => {
                let mut shape = [1; D];
                shape[1] = bias.dims()[0];
                // Not `add_constant`: the bias never changes the shape of `x`.
                Dual {
                    value: x.value + bias.reshape(shape),
                    tangent: x.tangent,
                }
            }
            None => x,
        };
        let y = match (self.activation, x.tangent) {
            (Activation::Linear, tangent) => Dual {
                value: x.value,
                tangent,
            }
            .scale(gain),
            // One pass instead of two: for a positive gain the factor moves inside.
            (Activation::Lrelu, None) if gain > 0.0 => {
                Dual::constant(activation::leaky_relu(x.value * gain, self.slope))
            }
            (act, tangent) => Dual {
                value: x.value,
                tangent,
            }
            .elementwise(
                |x| act.apply(x, self.slope),
                |x| act.derivative(x, self.slope),
            )
            .scale(gain),
        };
        match self.clamp {
            None => y,
            Some(bound) => {
                let tangent = y.tangent.map(|t| {
                    let outside = y.value.clone().abs().greater_elem(bound);
                    t.mask_fill(outside, 0.0)
                });
                Dual {
                    value: y.value.clamp(-bound, bound),
                    tangent,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn one_pass_equals_the_separate_steps() {
        let device = Device::default();
        let normal = Distribution::Normal(0.0, 1.0);
        let x = Tensor::<4>::random([2, 5, 6, 7], normal, &device);
        let bias = Tensor::<1>::random([5], normal, &device);
        for n in [0, 1, 2] {
            let noise = (n > 0).then(|| Tensor::<4>::random([n, 1, 6, 7], normal, &device));
            for clamp in [None, Some(0.8)] {
                let act = BiasAct::new(Activation::Lrelu)
                    .with_clamp(clamp)
                    .with_gain(Some(1.1));
                let fast = act.forward_with_noise(x.clone().into(), noise.clone(), bias.clone());
                let sum = noise.clone().map_or_else(|| x.clone(), |n| x.clone() + n);
                let slow = act.forward(sum.into(), Some(bias.clone()));
                let worst: f32 = (fast.value - slow.value).abs().max().into_scalar();
                assert!(worst < 1e-6, "noise {n}, clamp {clamp:?}: {worst:e}");
            }
        }
    }
}
