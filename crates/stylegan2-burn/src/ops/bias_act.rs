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

    /// The nonlinearity alone; `slope` is that of the leaky ReLU.
    pub(crate) fn apply<const D: usize>(self, x: Tensor<D>, slope: f64) -> Tensor<D> {
        match self {
            Self::Linear => x,
            Self::Relu => activation::relu(x),
            Self::Lrelu => activation::leaky_relu(x, slope),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Elu => elu(x, 1.0),
            Self::Selu => elu(x, SELU_ALPHA) * SELU_SCALE,
            Self::Softplus => softplus(x),
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

/// Finite for every finite x, and with the slope 1/2 at 0: that of |x| there, whatever it is, cancels.
fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // ReLU as (x + |x|) / 2. The bound is beyond where anything is left, and keeps -inf from being NaN.
    let bounded = x.clone().clamp_min(-1e4);
    let relu = bounded.clone() * 0.5 + bounded.abs() * 0.5;
    relu + (-x.abs()).exp().log1p()
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
        #[cfg(feature = "winograd")]
        if let Some(lrelu) = self.in_one_pass(&x.value, noise.as_ref(), &bias) {
            let value = lrelu.apply(x.value, noise, bias);
            let tangent = x.tangent.map(|t| lrelu.tangent(t, value.clone()));
            return Dual { value, tangent };
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

    /// ReLU and leaky ReLU on the CPU without intermediate results.
    #[cfg(feature = "winograd")]
    fn in_one_pass(
        &self,
        x: &Tensor<4>,
        noise: Option<&Tensor<4>>,
        bias: &Tensor<1>,
    ) -> Option<super::kernels::act::Lrelu> {
        use super::kernels::here;

        let [n, channels, height, width] = x.dims();
        let shared = |t: &Tensor<4>| {
            let [planes, one, h, w] = t.dims();
            here(t) && (planes == 1 || planes == n) && [one, h, w] == [1, height, width]
        };
        let gain = self.gain.unwrap_or_else(|| self.activation.default_gain());
        let slope = match self.activation {
            Activation::Relu => 0.0,
            Activation::Lrelu if self.slope > 0.0 => self.slope,
            _ => return None,
        };
        let suits = gain > 0.0 && here(x) && here(bias) && noise.is_none_or(shared);
        #[allow(clippy::cast_possible_truncation)]
        suits.then(|| super::kernels::act::Lrelu {
            channels,
            pixels: height * width,
            gain: gain as f32,
            slope: slope as f32,
            bound: self.clamp.unwrap_or(f64::INFINITY) as f32,
        })
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

    /// Value and tangent, and the gradients of a random combination of both.
    fn all(
        act: BiasAct,
        fast: bool,
        [x, dx, g, dg]: [&Tensor<4>; 4],
        noise: Option<&Tensor<4>>,
        bias: &Tensor<1>,
    ) -> Vec<Vec<f32>> {
        let track = |t: &Tensor<4>| t.clone().require_grad();
        let (x, dx, noise) = (track(x), track(dx), noise.map(track));
        let bias = bias.clone().require_grad();
        let input = Dual::new(x.clone(), dx.clone());
        let y = if fast {
            act.forward_with_noise(input, noise.clone(), bias.clone())
        } else {
            let input = match noise.clone() {
                Some(noise) => input.add_constant(noise),
                None => input,
            };
            act.forward(input, Some(bias.clone()))
        };
        let tangent = y.tangent.expect("the input varies");
        let grads = (y.value.clone() * g.clone() + tangent.clone() * dg.clone())
            .sum()
            .backward();
        let list = |t: Tensor<4>| t.into_data().try_to_vec::<f32>().unwrap();
        let mut out = vec![list(y.value.inner()), list(tangent.inner())];
        out.push(list(x.grad(&grads).unwrap()));
        out.push(list(dx.grad(&grads).unwrap()));
        out.push(bias.grad(&grads).unwrap().into_data().try_to_vec().unwrap());
        out.extend(noise.map(|n| list(n.grad(&grads).unwrap())));
        out
    }

    #[test]
    fn softplus_has_its_slope_at_zero_and_bears_infinities() {
        let inf = f32::INFINITY;
        let device = Device::default().autodiff();
        let x = Tensor::<1>::from_floats([0.0, -0.0, 1.0, -2.0, 2e4, -2e4, inf, -inf], &device);
        let x = x.require_grad();
        let y = Activation::Softplus.apply(x.clone(), 0.0);
        let slope = x.grad(&y.clone().sum().backward()).unwrap();
        let list = |t: Tensor<1>| t.into_data().try_to_vec::<f32>().unwrap();
        let (y, slope) = (list(y.inner()), list(slope));
        let ln_2 = std::f32::consts::LN_2;
        let values = [ln_2, ln_2, 1.313_261_6, 0.126_928_02, 2e4, 0.0, inf, 0.0];
        let slopes = [0.5, 0.5, 0.731_058_6, 0.119_202_92, 1.0, 0.0];
        for (k, (&y, v)) in y.iter().zip(values).enumerate() {
            assert!(
                y.to_bits() == v.to_bits() || (y - v).abs() < 1e-6,
                "{k}: {y}"
            );
        }
        for (k, (s, v)) in slope.iter().zip(slopes).enumerate() {
            assert!((s - v).abs() < 1e-6, "{k}: {s}");
        }
    }

    #[test]
    fn one_pass_equals_the_separate_steps_in_value_tangent_and_gradients() {
        let device = Device::default().autodiff();
        let normal = Distribution::Normal(0.0, 1.0);
        let image = || Tensor::<4>::random([2, 5, 6, 7], normal, &device);
        let inputs = [image(), image(), image(), image()];
        let inputs = [&inputs[0], &inputs[1], &inputs[2], &inputs[3]];
        let bias = Tensor::<1>::random([5], normal, &device);
        for n in [0, 1, 2] {
            let noise = (n > 0).then(|| Tensor::<4>::random([n, 1, 6, 7], normal, &device));
            for (clamp, kind) in [
                (None, Activation::Lrelu),
                (Some(0.8), Activation::Lrelu),
                (None, Activation::Relu),
                (Some(0.8), Activation::Relu),
            ] {
                let act = BiasAct::new(kind).with_clamp(clamp).with_gain(Some(1.1));
                assert!(act.in_one_pass(inputs[0], noise.as_ref(), &bias).is_some());
                let fast = all(act, true, inputs, noise.as_ref(), &bias);
                let slow = all(act, false, inputs, noise.as_ref(), &bias);
                assert_eq!(fast.len(), slow.len());
                for (what, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
                    assert_eq!(fast.len(), slow.len());
                    for (a, b) in fast.iter().zip(slow) {
                        assert!((a - b).abs() < 2e-5, "{n} {act:?} {what}: {a} and {b}");
                    }
                }
            }
        }
    }
}
