//! The parameterised layers both networks are made of.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor};

use crate::ops::{
    Activation, BiasAct, ConvResample, ModulatedConv, conv2d_resample, dense, fir_filter,
};
use crate::tangent::Dual;

const STANDARD_NORMAL: Initializer = Initializer::Normal {
    mean: 0.0,
    std: 1.0,
};

/// An equalised fully connected layer with activation.
#[derive(Module, Debug)]
pub struct FullyConnected {
    /// `[out, in]`, stored as a standard normal divided by the learning-rate multiplier.
    pub weight: Param<Tensor<2>>,
    /// `[out]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    activation: Activation,
    lr_multiplier: f64,
}

impl FullyConnected {
    pub(crate) fn init(
        [input, output]: [usize; 2],
        activation: Activation,
        lr_multiplier: f64,
        bias: f64,
        device: &Device,
    ) -> Self {
        let std = 1.0 / lr_multiplier;
        Self {
            weight: Initializer::Normal { mean: 0.0, std }.init([output, input], device),
            bias: Initializer::Constant { value: bias }.init([output], device),
            activation,
            lr_multiplier,
        }
    }

    /// $act(x (W g)^\top + b\,lr)$ with $g = lr/\sqrt{in}$.
    ///
    /// # Shapes
    ///
    /// - x: `[N, in]`
    /// - output: `[N, out]`
    pub fn forward(&self, x: Dual<2>) -> Dual<2> {
        let y = dense(
            x,
            self.weight.val(),
            Some(self.bias.val()),
            self.lr_multiplier,
        );
        BiasAct::new(self.activation).forward(y, None)
    }
}

/// A convolution with equalised weight, optional resampling, bias and activation.
#[derive(Module, Debug)]
pub struct ConvLayer {
    /// `[out, in, k, k]`
    pub weight: Param<Tensor<4>>,
    /// `[out]`
    pub bias: Option<Param<Tensor<1>>>,
    filter: Tensor<2>,
    #[module(skip)]
    resample: ConvResample,
    #[module(skip)]
    act: BiasAct,
}

/// What a [`ConvLayer`] is made from.
pub(crate) struct ConvLayerInit<'a> {
    pub channels: [usize; 2],
    pub kernel: usize,
    pub up: usize,
    pub down: usize,
    pub bias: bool,
    pub activation: Activation,
    pub clamp: Option<f64>,
    pub taps: &'a [f32],
    pub frozen: bool,
}

impl ConvLayerInit<'_> {
    pub(crate) fn init(&self, device: &Device) -> ConvLayer {
        let [input, output] = self.channels;
        let shape = [output, input, self.kernel, self.kernel];
        let trained = !self.frozen;
        ConvLayer {
            weight: STANDARD_NORMAL
                .init(shape, device)
                .set_require_grad(trained),
            bias: self.bias.then(|| {
                Initializer::Zeros
                    .init([output], device)
                    .set_require_grad(trained)
            }),
            filter: fir_filter(self.taps, device),
            resample: ConvResample::same(self.kernel)
                .with_up(self.up)
                .with_down(self.down)
                .with_flip_weight(self.up == 1),
            act: BiasAct::new(self.activation).with_clamp(self.clamp),
        }
    }
}

impl ConvLayer {
    /// Convolution, bias, activation; `gain` multiplies the output and the clamp.
    ///
    /// # Shapes
    ///
    /// - x: `[N, in, H, W]`
    /// - output: `[N, out, H * up / down, W * up / down]`
    pub fn forward(&self, x: Dual<4>, gain: f64) -> Dual<4> {
        let weight = self.weight.val();
        let [_, input, kh, kw] = weight.dims();
        let dtype = x.value.dtype();
        let weight = (weight * (1.0 / ((input * kh * kw) as f64).sqrt())).cast(dtype);
        let y = x.linear(|t| conv2d_resample(t, weight.clone(), &self.filter, &self.resample));
        let act = scaled(self.act, gain);
        match &self.bias {
            Some(bias) => act.forward_with_noise(y, None, bias.val().cast(dtype)),
            None => act.forward(y, None),
        }
    }
}

/// `act` with gain and clamp multiplied by `gain`.
fn scaled(act: BiasAct, gain: f64) -> BiasAct {
    let own = act.gain.unwrap_or_else(|| act.activation.default_gain());
    act.with_gain(Some(own * gain))
        .with_clamp(act.clamp.map(|c| c * gain))
}

/// How the synthesis layers compute; the result is the same up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modulation {
    /// Per-sample kernels for one image without gradients where there are more pixels than
    /// weights, scaled activations otherwise. With gradients a kernel per sample would cost a
    /// gradient of the kernel even where only the one to w is asked for.
    #[default]
    Auto,
    /// Per-sample kernels.
    Fused,
    /// Scaled activations.
    Unfused,
}

impl Modulation {
    fn fused(self, styles: &Dual<2>, weights: usize, activations: usize) -> bool {
        match self {
            Self::Auto => {
                let one = styles.dims()[0] == 1 && !styles.value.is_autodiff();
                one && weights < activations
            }
            Self::Fused => true,
            Self::Unfused => false,
        }
    }
}

/// A modulated 3x3 convolution with noise, bias and activation.
#[derive(Module, Debug)]
pub struct SynthesisLayer {
    /// W -> styles.
    pub affine: FullyConnected,
    /// `[out, in, 3, 3]`
    pub weight: Param<Tensor<4>>,
    /// `[out]`
    pub bias: Param<Tensor<1>>,
    /// The fixed noise image, `[R, R]`.
    pub noise_const: Option<Param<Tensor<2>>>,
    /// `[1]`
    pub noise_strength: Option<Param<Tensor<1>>>,
    filter: Tensor<2>,
    #[module(skip)]
    resample: ConvResample,
    #[module(skip)]
    act: BiasAct,
    resolution: usize,
}

/// What a [`SynthesisLayer`] is made from.
pub(crate) struct SynthesisLayerInit<'a> {
    pub channels: [usize; 2],
    pub w_dim: usize,
    pub resolution: usize,
    pub up: usize,
    pub use_noise: bool,
    pub activation: Activation,
    pub clamp: Option<f64>,
    pub taps: &'a [f32],
}

impl SynthesisLayerInit<'_> {
    pub(crate) fn init(&self, device: &Device) -> SynthesisLayer {
        let [input, output] = self.channels;
        let r = self.resolution;
        SynthesisLayer {
            affine: FullyConnected::init([self.w_dim, input], Activation::Linear, 1.0, 1.0, device),
            weight: STANDARD_NORMAL.init([output, input, 3, 3], device),
            bias: Initializer::Zeros.init([output], device),
            noise_const: self
                .use_noise
                .then(|| STANDARD_NORMAL.init([r, r], device).set_require_grad(false)),
            noise_strength: self.use_noise.then(|| Initializer::Zeros.init([1], device)),
            filter: fir_filter(self.taps, device),
            resample: ConvResample::same(3)
                .with_up(self.up)
                .with_flip_weight(self.up == 1),
            act: BiasAct::new(self.activation).with_clamp(self.clamp),
            resolution: r,
        }
    }
}

/// Where the noise of one layer comes from.
#[allow(clippy::large_enum_variant)]
pub(crate) enum LayerNoise {
    Const,
    Random,
    None,
    Given(Tensor<4>),
}

impl SynthesisLayer {
    /// # Shapes
    ///
    /// - x: `[N, in, H, W]`, styles: `[N, in]`
    /// - output: `[N, out, R, R]`
    pub(crate) fn forward(
        &self,
        x: Dual<4>,
        styles: Dual<2>,
        noise: LayerNoise,
        modulation: Modulation,
        gain: f64,
    ) -> Dual<4> {
        let n = styles.dims()[0];
        let dtype = x.value.dtype();
        let noise = self.noise(noise, n);
        let [_, input, height, width] = x.dims();
        let [output, _, _, _] = self.weight.dims();
        let (weights, activations) = (9 * input * output, (input + output) * height * width);
        let fused = modulation.fused(&styles, weights, activations);
        let conv = ModulatedConv::new(self.resample).with_fused(fused);
        let y = conv.forward(x, self.weight.val(), styles, &self.filter, None);
        scaled(self.act, gain).forward_with_noise(y, noise, self.bias.val().cast(dtype))
    }

    fn noise(&self, noise: LayerNoise, n: usize) -> Option<Tensor<4>> {
        let r = self.resolution;
        let strength = self.noise_strength.as_ref()?.val();
        let image = match noise {
            LayerNoise::None => return None,
            LayerNoise::Const => self.noise_const.as_ref()?.val().reshape([1, 1, r, r]),
            LayerNoise::Random => Tensor::random(
                [n, 1, r, r],
                burn::tensor::Distribution::Normal(0.0, 1.0),
                (&strength.device(), strength.dtype()),
            ),
            LayerNoise::Given(image) => image,
        };
        Some(image * strength.reshape([1, 1, 1, 1]))
    }

    /// The side of the layer's output.
    pub fn resolution(&self) -> usize {
        self.resolution
    }
}

/// The modulated 1x1 convolution that turns feature maps into an image.
#[derive(Module, Debug)]
pub struct ToRgb {
    /// W -> styles.
    pub affine: FullyConnected,
    /// `[image channels, in, 1, 1]`
    pub weight: Param<Tensor<4>>,
    /// `[image channels]`
    pub bias: Param<Tensor<1>>,
    filter: Tensor<2>,
    clamp: Option<f64>,
}

impl ToRgb {
    pub(crate) fn init(
        [input, output]: [usize; 2],
        w_dim: usize,
        clamp: Option<f64>,
        taps: &[f32],
        device: &Device,
    ) -> Self {
        Self {
            affine: FullyConnected::init([w_dim, input], Activation::Linear, 1.0, 1.0, device),
            weight: STANDARD_NORMAL.init([output, input, 1, 1], device),
            bias: Initializer::Zeros.init([output], device),
            filter: fir_filter(taps, device),
            clamp,
        }
    }

    /// The image contribution, always in the parameters' precision.
    ///
    /// # Shapes
    ///
    /// - x: `[N, in, H, W]`, styles: `[N, in]`
    /// - output: `[N, image channels, H, W]`
    pub(crate) fn forward(&self, x: Dual<4>, styles: Dual<2>, modulation: Modulation) -> Dual<4> {
        let [_, input] = styles.dims();
        let (dtype, full) = (x.value.dtype(), self.bias.val().dtype());
        let styles = styles.scale(1.0 / (input as f64).sqrt());
        let conv = ModulatedConv::new(ConvResample::new())
            .with_demodulate(false)
            .with_fused(modulation.fused(&styles, 0, 1));
        let y = conv.forward(x, self.weight.val(), styles, &self.filter, None);
        BiasAct::new(Activation::Linear)
            .with_clamp(self.clamp)
            .forward(y, Some(self.bias.val().cast(dtype)))
            .linear(|t| t.cast(full))
    }
}

/// Half precision for the blocks that allow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Everything in the parameters' own precision.
    #[default]
    Full,
    /// The highest resolutions in IEEE half precision.
    F16,
    /// The highest resolutions in bfloat16.
    Bf16,
}

impl Precision {
    /// The type of a block that may (`half`) or may not run in half precision.
    pub(crate) fn dtype(self, half: bool, full: DType) -> DType {
        match self {
            Self::F16 if half => DType::F16,
            Self::Bf16 if half => DType::BF16,
            _ => full,
        }
    }
}
