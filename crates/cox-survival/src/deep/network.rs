//! The network: hidden layers with an activation, and a linear head without intercept.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use faer::Mat;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Keeps variances away from 0, as is usual.
const EPSILON: f64 = 1e-5;
/// Share of a new batch in the running statistics.
const MOMENTUM: f64 = 0.1;
/// Klambauer et al. (2017), Self-normalizing neural networks.
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// What follows each hidden layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Scaled exponential linear unit.
    #[default]
    Selu,
    /// Rectified linear unit.
    Relu,
}

/// How the output of a hidden layer is normalised before its activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Not at all.
    #[default]
    None,
    /// Over the batch, by feature; by running statistics afterwards.
    Batch,
    /// Over the features, by patient.
    Layer,
}

/// What the network is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    pub(super) hidden: Vec<usize>,
    pub(super) activation: Activation,
    pub(super) norm: Norm,
    pub(super) dropout: f64,
}

/// One hidden layer on the host. `weight` is `[inputs, outputs]`, row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layer {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    /// Of the normalisation; empty without one.
    pub(super) gain: Vec<f32>,
    pub(super) shift: Vec<f32>,
    /// Of the batch normalisation; empty otherwise.
    pub(super) mean: Vec<f32>,
    pub(super) variance: Vec<f32>,
}

/// All weights on the host: what a fit keeps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Weights {
    pub(super) layers: Vec<Layer>,
    pub(super) head: Vec<f32>,
}

impl Weights {
    /// Sizes of the parameters, in the order of [`Network::updated`].
    pub(super) fn sizes(&self) -> Vec<usize> {
        let layers = self.layers.iter().flat_map(|l| {
            let all = [&l.weight, &l.bias, &l.gain, &l.shift];
            all.map(Vec::len).into_iter().filter(|&size| size > 0)
        });
        layers.chain([self.head.len()]).collect()
    }

    /// Running mean and variance of every layer with batch normalisation.
    pub(super) fn running(&self, device: &Device) -> Vec<(Tensor<1>, Tensor<1>)> {
        let tensor = |values: &[f32]| {
            Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
        };
        let layers = self.layers.iter().filter(|layer| !layer.mean.is_empty());
        layers
            .map(|layer| (tensor(&layer.mean), tensor(&layer.variance)))
            .collect()
    }

    /// Uniform with variance `1 / inputs` (`SELU`) or `2 / inputs` (`ReLU`); the head starts small, so
    /// that the first risks are nearly equal.
    pub(super) fn initial(p: usize, shape: &Shape, rng: &mut ChaCha8Rng) -> Self {
        let mut draw = |count: usize, variance: f64| -> Vec<f32> {
            let most = (3.0 * variance).sqrt();
            (0..count)
                .map(|_| rng.random_range(-most..most) as f32)
                .collect()
        };
        let gain = match shape.activation {
            Activation::Selu => 1.0,
            Activation::Relu => 2.0,
        };
        let mut inputs = p;
        let mut layers = Vec::with_capacity(shape.hidden.len());
        for &outputs in &shape.hidden {
            let normed = |value| match shape.norm {
                Norm::None => Vec::new(),
                _ => vec![value; outputs],
            };
            let running = |value| match shape.norm {
                Norm::Batch => vec![value; outputs],
                _ => Vec::new(),
            };
            layers.push(Layer {
                weight: draw(inputs * outputs, gain / inputs as f64),
                bias: vec![0.0; outputs],
                gain: normed(1.0),
                shift: normed(0.0),
                mean: running(0.0),
                variance: running(1.0),
            });
            inputs = outputs;
        }
        let head = draw(inputs, 0.01 / inputs as f64);
        Self { layers, head }
    }

    /// Log risk of every row of `x` `[n, p]`, in double precision and without dropout.
    pub(super) fn evaluate(&self, shape: &Shape, mut x: Mat<f64>) -> Vec<f64> {
        for layer in &self.layers {
            let (inputs, outputs) = (x.ncols(), layer.bias.len());
            let weight = Mat::from_fn(inputs, outputs, |i, j| {
                f64::from(layer.weight[i * outputs + j])
            });
            let mut y = Mat::<f64>::zeros(x.nrows(), outputs);
            faer::linalg::matmul::matmul(
                y.as_mut(),
                faer::Accum::Replace,
                x.as_ref(),
                weight.as_ref(),
                1.0,
                faer::Par::Seq,
            );
            for i in 0..y.nrows() {
                let mut row: Vec<f64> = (0..outputs)
                    .map(|j| y[(i, j)] + f64::from(layer.bias[j]))
                    .collect();
                layer.normalise(shape.norm, &mut row);
                for (j, v) in row.into_iter().enumerate() {
                    y[(i, j)] = shape.activation.of(v);
                }
            }
            x = y;
        }
        let risk = |i: usize| {
            let terms = self.head.iter().enumerate();
            terms.map(|(j, h)| x[(i, j)] * f64::from(*h)).sum()
        };
        (0..x.nrows()).map(risk).collect()
    }
}

impl Activation {
    fn of(self, v: f64) -> f64 {
        match self {
            Self::Relu => v.max(0.0),
            Self::Selu => SELU_SCALE * (v.max(0.0) + SELU_ALPHA * v.min(0.0).exp_m1()),
        }
    }

    fn on(self, x: Tensor<2>) -> Tensor<2> {
        let positive = burn::tensor::activation::relu(x.clone());
        match self {
            Self::Relu => positive,
            Self::Selu => {
                // Few passes: they cost as much as a multiplication by a small matrix.
                let negative = (x - positive.clone()).exp();
                let both = positive * SELU_SCALE + negative * (SELU_SCALE * SELU_ALPHA);
                both - SELU_SCALE * SELU_ALPHA
            }
        }
    }
}

impl Layer {
    fn normalise(&self, norm: Norm, row: &mut [f64]) {
        let count = row.len() as f64;
        let (mean, variance) = match norm {
            Norm::None => return,
            Norm::Batch => (None, None),
            Norm::Layer => {
                let mean = row.iter().sum::<f64>() / count;
                let square = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
                (Some(mean), Some(square / count))
            }
        };
        for (j, v) in row.iter_mut().enumerate() {
            let mean = mean.unwrap_or_else(|| f64::from(self.mean[j]));
            let variance = variance.unwrap_or_else(|| f64::from(self.variance[j]));
            let z = (*v - mean) / (variance + EPSILON).sqrt();
            *v = z * f64::from(self.gain[j]) + f64::from(self.shift[j]);
        }
    }
}

#[derive(Module, Debug)]
pub(super) struct Hidden {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    gain: Option<Param<Tensor<1>>>,
    shift: Option<Param<Tensor<1>>>,
}

/// The weights as parameters on a device.
#[derive(Module, Debug)]
pub(super) struct Network {
    hidden: Vec<Hidden>,
    head: Param<Tensor<2>>,
}

/// What training carries beside the parameters.
pub(super) struct Training {
    /// Draws the dropout, on the host, so that a seed gives the same masks everywhere.
    pub(super) rng: ChaCha8Rng,
    /// Running mean and variance of every layer with batch normalisation.
    pub(super) running: Vec<(Tensor<1>, Tensor<1>)>,
}

/// What a step of an optimiser does to a parameter.
pub(super) trait Update {
    fn update<const D: usize>(&mut self, value: Tensor<D>) -> Tensor<D>;
}

impl Network {
    /// Every parameter replaced, always in the same order.
    pub(super) fn updated(self, by: &mut impl Update) -> Self {
        fn one<const D: usize>(
            parameter: Param<Tensor<D>>,
            by: &mut impl Update,
        ) -> Param<Tensor<D>> {
            Param::from_tensor(by.update(parameter.into_value()))
        }
        let hidden = self.hidden.into_iter().map(|hidden| Hidden {
            weight: one(hidden.weight, by),
            bias: one(hidden.bias, by),
            gain: hidden.gain.map(|gain| one(gain, by)),
            shift: hidden.shift.map(|shift| one(shift, by)),
        });
        let hidden = hidden.collect();
        Self {
            hidden,
            head: one(self.head, by),
        }
    }

    pub(super) fn new(weights: &Weights, device: &Device) -> Self {
        let mut inputs = weights.layers.first().map_or(weights.head.len(), |first| {
            first.weight.len() / first.bias.len()
        });
        let mut hidden = Vec::with_capacity(weights.layers.len());
        for layer in &weights.layers {
            let outputs = layer.bias.len();
            let optional = |values: &[f32]| (!values.is_empty()).then(|| vector(values, device));
            hidden.push(Hidden {
                weight: matrix(&layer.weight, [inputs, outputs], device),
                bias: vector(&layer.bias, device),
                gain: optional(&layer.gain),
                shift: optional(&layer.shift),
            });
            inputs = outputs;
        }
        let head = matrix(&weights.head, [inputs, 1], device);
        Self { hidden, head }
    }

    /// Back to the host.
    pub(super) fn weights(&self, training: &Training) -> Weights {
        let optional =
            |p: &Option<Param<Tensor<1>>>| p.as_ref().map_or_else(Vec::new, |p| values(p.val()));
        let mut running = training.running.iter();
        let layers = self.hidden.iter().map(|hidden| {
            let (mean, variance) = running.next().map_or_else(Default::default, |(m, v)| {
                (values(m.clone()), values(v.clone()))
            });
            Layer {
                weight: values(hidden.weight.val()),
                bias: values(hidden.bias.val()),
                gain: optional(&hidden.gain),
                shift: optional(&hidden.shift),
                mean,
                variance,
            }
        });
        Weights {
            layers: layers.collect(),
            head: values(self.head.val()),
        }
    }

    /// Log risk `[n]` of `x` `[n, p]` in training: with dropout and batch statistics.
    pub(super) fn forward(
        &self,
        mut x: Tensor<2>,
        shape: &Shape,
        training: &mut Training,
    ) -> Tensor<1> {
        for (k, hidden) in self.hidden.iter().enumerate() {
            let outputs = hidden.bias.dims()[0];
            x = x.matmul(hidden.weight.val()) + hidden.bias.val().reshape([1, outputs]);
            if let (Some(gain), Some(shift)) = (&hidden.gain, &hidden.shift) {
                let over = usize::from(shape.norm == Norm::Layer);
                let mean = x.clone().mean_dim(over);
                let centred = x - mean.clone();
                let variance = (centred.clone() * centred.clone()).mean_dim(over);
                if let Some(running) = training.running.get_mut(k) {
                    let n = centred.dims()[0] as f64;
                    let move_to = |old: &mut Tensor<1>, new: Tensor<2>, by: f64| {
                        let new = new.reshape([outputs]).inner() * (MOMENTUM * by);
                        *old = old.clone() * (1.0 - MOMENTUM) + new;
                    };
                    move_to(&mut running.0, mean.detach(), 1.0);
                    let unbiased = n / (n - 1.0).max(1.0);
                    move_to(&mut running.1, variance.clone().detach(), unbiased);
                }
                let z = centred / (variance + EPSILON).sqrt();
                x = z * gain.val().reshape([1, outputs]) + shift.val().reshape([1, outputs]);
            }
            x = shape.activation.on(x);
            if shape.dropout > 0.0 {
                let mask = mask(x.dims(), shape.dropout, &mut training.rng);
                let mask = Tensor::<2>::from_data(TensorData::new(mask, x.dims()), &x.device());
                x = x * mask;
            }
        }
        let n = x.dims()[0];
        x.matmul(self.head.val()).reshape([n])
    }
}

/// 0 with probability `p`, otherwise `1 / (1 - p)`.
fn mask([n, k]: [usize; 2], p: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut bytes = vec![0u8; 2 * n * k];
    rng.fill_bytes(&mut bytes);
    let (keep, cut) = ((1.0 / (1.0 - p)) as f32, p * 65536.0);
    let pairs = bytes.as_chunks::<2>().0.iter();
    let draw = pairs.map(|b| f64::from(u16::from_le_bytes(*b)));
    draw.map(|u| if u < cut { 0.0 } else { keep }).collect()
}

fn vector(values: &[f32], device: &Device) -> Param<Tensor<1>> {
    let data = TensorData::new(values.to_vec(), [values.len()]);
    Param::from_tensor(Tensor::from_data(data, device))
}

fn matrix(values: &[f32], shape: [usize; 2], device: &Device) -> Param<Tensor<2>> {
    let data = TensorData::new(values.to_vec(), shape);
    Param::from_tensor(Tensor::from_data(data, device))
}

pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data_dtype(burn::tensor::DType::F32);
    data.try_to_vec::<f32>().unwrap_or_default()
}
