//! The encoder's network: strided convolutions and residual blocks down to 4 px, two dense layers.

use burn::tensor::activation::leaky_relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
#[cfg(feature = "stylegan2")]
use stylegan2_burn::ops::{ConvResample, conv2d_resample};

use super::EncoderSettings;
use crate::device::product;
use crate::draws::{normals, rng};
use crate::error::{Error, Result};

const SLOPE: f64 = 0.2;
/// The side at which the feature maps become one vector.
const LAST_SIDE: usize = 4;
/// The least side of an image.
const LEAST_SIDE: usize = 16;
/// The side of the small image that the linear part sees, unless the image is smaller.
const LINEAR_SIDE: usize = 32;

/// What a layer does beside multiplying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A convolution and leaky ReLU, of this stride.
    Convolution(usize),
    /// The first of a residual block's two convolutions.
    BlockStart,
    /// The second: what went into the block is added before leaky ReLU.
    BlockEnd,
    /// A dense layer with leaky ReLU.
    Dense,
    /// A dense layer without.
    Output,
    /// From the image's means over squares straight to the latent.
    Linear,
}

/// A layer with weight and bias.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) name: String,
    /// Output, input, kernel height and width; a dense layer has a kernel of 1 x 1.
    pub(crate) shape: [usize; 4],
    /// Standard deviation of the first weights over that which keeps variances.
    gain: f64,
    role: Role,
}

impl Layer {
    fn weights(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The layers of a network, in order.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) layers: Vec<Layer>,
}

impl Plan {
    /// For images of `shape` (channels, height, width).
    pub(crate) fn new(settings: &EncoderSettings, shape: [usize; 3], w_dim: usize) -> Result<Self> {
        let [channels, height, width] = shape;
        if height != width || !height.is_power_of_two() || height < LEAST_SIDE {
            return Err(Error::Argument {
                name: "generator",
                reason: format!(
                    "images of {width} x {height} pixels; the encoder takes squares whose side is a \
                     power of two from {LEAST_SIDE}"
                ),
            });
        }
        let wide = |side: usize| (settings.channel_base / side).clamp(8, settings.channel_max);
        let mut layers = Vec::new();
        let mut add = |name, shape, gain, role| {
            layers.push(Layer {
                name,
                shape,
                gain,
                role,
            });
        };
        // Two by two pixels are four times the channels: nothing is lost before the first filter.
        let mut side = height / 2;
        let small = height.min(LINEAR_SIDE);
        let seen = [w_dim, channels * small * small, 1, 1];
        add("linear".to_owned(), seen, 0.1, Role::Linear);
        let stem = [wide(side), 4 * channels, 3, 3];
        add("stem".to_owned(), stem, 1.0, Role::Convolution(1));
        while side > LAST_SIDE {
            let (from, to) = (wide(side), wide(side / 2));
            side /= 2;
            let name = |part| format!("b{side}.{part}");
            add(name("down"), [to, from, 3, 3], 1.0, Role::Convolution(2));
            add(name("conv0"), [to, to, 3, 3], 1.0, Role::BlockStart);
            // A block starts near the identity.
            add(name("conv1"), [to, to, 3, 3], 0.1, Role::BlockEnd);
        }
        let flat = [settings.hidden, wide(side) * side * side, 1, 1];
        add("hidden".to_owned(), flat, 1.0, Role::Dense);
        let last = [w_dim, settings.hidden, 1, 1];
        add("output".to_owned(), last, 0.1, Role::Output);
        Ok(Self { layers })
    }

    /// Number of parameters.
    pub(crate) fn count(&self) -> usize {
        let layers = self.layers.iter();
        layers.map(|l| l.weights() + l.shape[0]).sum()
    }

    /// Places of each layer's weight and bias in the vector of parameters.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&Layer, [std::ops::Range<usize>; 2])> {
        let mut at = 0;
        self.layers.iter().map(move |layer| {
            let middle = at + layer.weights();
            let end = middle + layer.shape[0];
            let places = [at..middle, middle..end];
            at = end;
            (layer, places)
        })
    }

    /// Normal weights that keep variances through leaky ReLU (He et al. 2015), biases of zero.
    pub(crate) fn init(&self, seed: u64, device: &Device) -> Tensor<1> {
        let mut values = Vec::with_capacity(self.count());
        for (stream, layer) in self.layers.iter().enumerate() {
            let fan_in = (layer.weights() / layer.shape[0]) as f64;
            let std = layer.gain * (2.0 / (1.0 + SLOPE * SLOPE) / fan_in).sqrt();
            let mut rng = rng(seed, INIT_STREAM + stream as u64);
            let draw = normals(&mut rng, layer.weights());
            values.extend(draw.into_iter().map(|v| v * std as f32));
            values.extend(std::iter::repeat_n(0.0, layer.shape[0]));
        }
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), device)
    }

    /// The vector of parameters in parts, weight and bias of each layer.
    pub(crate) fn split(&self, values: &Tensor<1>) -> Vec<Tensor<1>> {
        let places = self.places().flat_map(|(_, places)| places);
        places
            .map(|place| values.clone().slice_dim(0, place))
            .collect()
    }

    /// The latent in the network's units.
    ///
    /// # Shapes
    ///
    /// - parts: as [`Plan::split`] gives them
    /// - images: `[N, C, R, R]` in [-1, 1]
    /// - output: `[N, w_dim]`
    pub(crate) fn forward(&self, parts: &[Tensor<1>], images: Tensor<4>) -> Tensor<2> {
        let n = images.dims()[0];
        let small = shrink(images.clone());
        let mut x = unshuffle(images);
        let mut entry = x.clone();
        let mut linear = None;
        for (layer, part) in self.layers.iter().zip(parts.chunks_exact(2)) {
            let [output, input, ..] = layer.shape;
            let (weight, bias) = (part[0].clone(), part[1].clone());
            let convolved = |x: Tensor<4>, stride| {
                let bias = bias.clone().reshape([1, output, 1, 1]);
                convolve(x, weight.clone().reshape(layer.shape), stride) + bias
            };
            let dense = |x: Tensor<4>| {
                let weight = weight.clone().reshape([output, input]).transpose();
                let y = product(x.reshape([n, input]), weight) + bias.clone().reshape([1, output]);
                y.reshape([n, output, 1, 1])
            };
            x = match layer.role {
                Role::Convolution(stride) => leaky_relu(convolved(x, stride), SLOPE),
                Role::BlockStart => {
                    entry = x.clone();
                    leaky_relu(convolved(x, 1), SLOPE)
                }
                Role::BlockEnd => leaky_relu(convolved(x, 1) + entry.clone(), SLOPE),
                Role::Dense => leaky_relu(dense(x), SLOPE),
                Role::Output => dense(x) + linear.take().expect("the linear part comes first"),
                Role::Linear => {
                    linear = Some(dense(small.clone()));
                    x
                }
            };
        }
        let [_, w_dim, ..] = x.dims();
        x.reshape([n, w_dim])
    }
}

/// Streams of the seed from which the first weights come.
const INIT_STREAM: u64 = 3 << 40;

/// A convolution with a kernel of 3 x 3 that keeps the size, or halves it with stride 2.
fn convolve(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    #[cfg(feature = "stylegan2")]
    if stride == 1 {
        // The generator's own convolution, whose kernels are the faster ones.
        let filter = Tensor::ones([1, 1], &x.device().inner());
        let options = ConvResample::same(3);
        return conv2d_resample(x, weight, &filter, &options);
    }
    let options = ConvOptions::new([stride, stride], [1, 1], [1, 1], 1);
    conv2d(x, weight, None, options)
}

/// The small image that the linear part sees: means over squares.
///
/// # Shapes
///
/// - images: `[N, C, R, R]`
/// - output: `[N, C, R, R]` with at most 32 for R
pub(crate) fn shrink(images: Tensor<4>) -> Tensor<4> {
    let [n, c, h, _] = images.dims();
    let side = h.min(LINEAR_SIDE);
    let factor = h / side;
    if factor == 1 {
        return images;
    }
    images
        .reshape([n * c, side, factor, side, factor])
        .mean_dim(4)
        .mean_dim(2)
        .reshape([n, c, side, side])
}

/// Squares of 2 x 2 pixels as channels.
///
/// # Shapes
///
/// - images: `[N, C, H, W]`
/// - output: `[N, 4 C, H / 2, W / 2]`
fn unshuffle(images: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = images.dims();
    images
        .reshape([n, c, h / 2, 2, w / 2, 2])
        .permute([0, 1, 3, 5, 2, 4])
        .reshape([n, 4 * c, h / 2, w / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(side: usize) -> Plan {
        Plan::new(&EncoderSettings::default(), [3, side, side], 512).unwrap()
    }

    #[test]
    fn layers_lead_from_the_image_to_the_latent() {
        let plan = plan(64);
        let names: Vec<&str> = plan.layers.iter().map(|l| l.name.as_str()).collect();
        let expected = "linear stem b16.down b16.conv0 b16.conv1 b8.down b8.conv0 b8.conv1 b4.down \
                        b4.conv0 b4.conv1 hidden output";
        assert_eq!(names.join(" "), expected);
        assert!(plan.count() < 6_000_000, "{}", plan.count());
        let error = Plan::new(&EncoderSettings::default(), [3, 48, 48], 8).unwrap_err();
        assert!(error.to_string().contains("48 x 48"), "{error}");
    }

    #[test]
    fn variances_are_kept_at_the_start() {
        let device = Device::default();
        let plan = plan(32);
        let mut parts = plan.split(&plan.init(1, &device));
        let images = normals(&mut rng(2, 0), 4 * 3 * 32 * 32);
        let images = Tensor::from_data(TensorData::new(images, [4, 3, 32, 32]), &device);
        let square = |parts: &[Tensor<1>]| {
            let y = crate::floats(plan.forward(parts, images.clone()));
            y.iter().map(|v| v * v).sum::<f32>() / y.len() as f32
        };
        let whole = square(&parts);
        assert!((0.005..2.0).contains(&whole), "{whole}");
        // The trunk alone: the linear part would hide a dead one.
        parts[0] = parts[0].zeros_like();
        let trunk = square(&parts);
        assert!((0.005..0.05).contains(&trunk), "{trunk}");
    }

    #[test]
    fn unshuffled_pixels_by_hand() {
        let device = Device::default();
        let x: Vec<f32> = (0..8).map(|v| v as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(x, [1, 1, 2, 4]), &device);
        let y = unshuffle(x);
        assert_eq!(y.dims(), [1, 4, 1, 2]);
        assert_eq!(crate::floats(y), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
