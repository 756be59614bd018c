//! The synthesis network W+ -> image.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor};

use crate::config::{Architecture, GeneratorConfig, log2};
use crate::layers::{
    ConvLayer, ConvLayerInit, LayerNoise, Modulation, Precision, SynthesisLayer,
    SynthesisLayerInit, ToRgb,
};
use crate::ops::{Activation, fir_filter, upsample2d};
use crate::tangent::Dual;

/// Where noise inputs come from.
#[derive(Clone, Debug, Default)]
pub enum Noise {
    /// The fixed images stored with the network: the same picture every time.
    #[default]
    Const,
    /// Fresh normal draws from the device's generator.
    Random,
    /// No noise.
    None,
    /// One `[N or 1, 1, R, R]` image per convolution, in the order of [`Synthesis::noise_shapes`];
    /// multiplied by the layers' strengths like the fixed images.
    Given(Vec<Tensor<4>>),
}

/// Settings of one synthesis pass.
#[derive(Clone, Debug, Default)]
pub struct SynthesisOptions {
    /// Noise inputs.
    pub noise: Noise,
    /// Where styles are multiplied in.
    pub modulation: Modulation,
    /// Precision of the highest resolutions.
    pub precision: Precision,
}

/// One resolution of the synthesis network.
#[derive(Module, Debug)]
pub struct SynthesisBlock {
    /// The learned input of the first block, `[C, 4, 4]`.
    pub constant: Option<Param<Tensor<3>>>,
    /// The upsampling convolution; absent in the first block.
    pub conv0: Option<SynthesisLayer>,
    /// The second convolution.
    pub conv1: SynthesisLayer,
    /// The image output, where the architecture has one.
    pub torgb: Option<ToRgb>,
    /// The residual connection of the resnet architecture.
    pub skip: Option<ConvLayer>,
    filter: Tensor<2>,
    half: bool,
}

/// Turns W+ into images.
#[derive(Module, Debug)]
pub struct Synthesis {
    /// The blocks from 4 px upwards.
    pub blocks: Vec<SynthesisBlock>,
    num_ws: usize,
    w_dim: usize,
}

/// The state of the network after one block.
#[derive(Clone, Debug)]
pub struct BlockOutput {
    /// Side in pixels.
    pub resolution: usize,
    /// Feature maps, `[N, C, R, R]`.
    pub features: Tensor<4>,
    /// The image so far, `[N, channels, R, R]`, where the architecture has one.
    pub image: Option<Tensor<4>>,
}

/// One layer of S space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StyleLayer {
    /// Name, for example `b8.conv0` or `b8.torgb`.
    pub name: String,
    /// Number of styles.
    pub channels: usize,
    /// The row of W+ that drives it.
    pub row: usize,
}

impl Synthesis {
    /// Makes a network with random weights.
    pub(crate) fn init(config: &GeneratorConfig, device: &Device) -> Self {
        let top = log2(config.resolution);
        let blocks = (2..=top)
            .map(|k| SynthesisBlock::init(config, 1 << k, device))
            .collect();
        Self {
            blocks,
            num_ws: config.num_ws(),
            w_dim: config.w_dim,
        }
    }

    /// The image of W+.
    ///
    /// # Shapes
    ///
    /// - ws: `[N, num_ws, w]`
    /// - output: `[N, channels, resolution, resolution]`
    pub fn forward(&self, ws: Tensor<3>, options: &SynthesisOptions) -> Tensor<4> {
        self.image(self.dual_styles(ws.into()), options).value
    }

    /// The image and its exact derivative along `dws`.
    ///
    /// # Shapes
    ///
    /// - ws, dws: `[N, num_ws, w]`
    /// - outputs: `[N, channels, resolution, resolution]` twice
    pub fn jvp(
        &self,
        ws: Tensor<3>,
        dws: Tensor<3>,
        options: &SynthesisOptions,
    ) -> (Tensor<4>, Tensor<4>) {
        let image = self.image(self.dual_styles(Dual::new(ws, dws)), options);
        (image.value.clone(), image.tangent_or_zero())
    }

    /// The styles of all layers (S space), in the order of [`Synthesis::style_layers`].
    ///
    /// # Shapes
    ///
    /// - ws: `[N, num_ws, w]`
    /// - outputs: `[N, channels of the layer]` each
    pub fn styles(&self, ws: Tensor<3>) -> Vec<Tensor<2>> {
        self.dual_styles(ws.into())
            .into_iter()
            .map(|s| s.value)
            .collect()
    }

    /// The image of given styles.
    ///
    /// # Shapes
    ///
    /// - styles: `[N, channels of the layer]` each
    /// - output: `[N, channels, resolution, resolution]`
    ///
    /// # Panics
    ///
    /// Panics if the number of styles is not that of [`Synthesis::style_layers`].
    pub fn forward_styles(&self, styles: Vec<Tensor<2>>, options: &SynthesisOptions) -> Tensor<4> {
        self.image(styles.into_iter().map(Dual::constant).collect(), options)
            .value
    }

    /// All feature maps and partial images on the way.
    ///
    /// # Shapes
    ///
    /// - ws: `[N, num_ws, w]`
    pub fn features(&self, ws: Tensor<3>, options: &SynthesisOptions) -> Vec<BlockOutput> {
        let mut outputs = Vec::with_capacity(self.blocks.len());
        self.run(
            self.dual_styles(ws.into()),
            options,
            |resolution, x, image| {
                outputs.push(BlockOutput {
                    resolution,
                    features: x.value.clone(),
                    image: image.map(|i| i.value.clone()),
                });
            },
        );
        outputs
    }

    /// Names, widths and W+ rows of the style layers.
    pub fn style_layers(&self) -> Vec<StyleLayer> {
        let mut layers = Vec::new();
        let mut row = 0;
        for (k, block) in self.blocks.iter().enumerate() {
            let r = 4 << k;
            for (row, (name, width)) in (row..).zip(block.widths()) {
                layers.push(StyleLayer {
                    name: format!("b{r}.{name}"),
                    channels: width,
                    row,
                });
            }
            row += block.convolutions();
        }
        layers
    }

    /// Names and sides of the noise images, in the order [`Noise::Given`] takes them.
    pub fn noise_shapes(&self) -> Vec<(String, usize)> {
        let mut shapes = Vec::new();
        for (k, block) in self.blocks.iter().enumerate() {
            let r = 4 << k;
            for (name, layer) in [
                ("conv0", block.conv0.as_ref()),
                ("conv1", Some(&block.conv1)),
            ] {
                if layer.is_some_and(|l| l.noise_strength.is_some()) {
                    shapes.push((format!("b{r}.{name}"), r));
                }
            }
        }
        shapes
    }

    /// Rows of W+.
    pub fn num_ws(&self) -> usize {
        self.num_ws
    }

    /// Width of W.
    pub fn w_dim(&self) -> usize {
        self.w_dim
    }

    /// Styles with tangents.
    ///
    /// # Panics
    ///
    /// Panics if W+ has the wrong number of rows or columns.
    pub(crate) fn dual_styles(&self, ws: Dual<3>) -> Vec<Dual<2>> {
        let [n, rows, d] = ws.dims();
        assert_eq!(
            [rows, d],
            [self.num_ws, self.w_dim],
            "W+ is [N, {}, {}]",
            self.num_ws,
            self.w_dim
        );
        let pick = |row: usize| {
            ws.clone()
                .linear(|t| t.slice([0..n, row..row + 1, 0..d]).reshape([n, d]))
        };
        let mut styles = Vec::new();
        let mut row = 0;
        for block in &self.blocks {
            for (k, affine) in block.affines().into_iter().enumerate() {
                styles.push(affine.forward(pick(row + k)));
            }
            row += block.convolutions();
        }
        styles
    }

    /// The image with its tangent.
    pub(crate) fn image(&self, styles: Vec<Dual<2>>, options: &SynthesisOptions) -> Dual<4> {
        self.run(styles, options, |_, _, _| {})
    }

    fn run(
        &self,
        styles: Vec<Dual<2>>,
        options: &SynthesisOptions,
        mut observe: impl FnMut(usize, &Dual<4>, Option<&Dual<4>>),
    ) -> Dual<4> {
        let needed: usize = self.blocks.iter().map(|b| b.affines().len()).sum();
        assert_eq!(styles.len(), needed, "one style vector per layer");
        let mut styles = styles.into_iter();
        let mut noises = match &options.noise {
            Noise::Given(images) => images.clone(),
            _ => Vec::new(),
        }
        .into_iter();
        let mut noise = |layer: &SynthesisLayer| match &options.noise {
            Noise::Const => LayerNoise::Const,
            Noise::Random => LayerNoise::Random,
            Noise::None => LayerNoise::None,
            Noise::Given(_) if layer.noise_strength.is_none() => LayerNoise::None,
            Noise::Given(_) => {
                LayerNoise::Given(noises.next().expect("one noise image per convolution"))
            }
        };
        let mut x: Option<Dual<4>> = None;
        let mut image: Option<Dual<4>> = None;
        for (k, block) in self.blocks.iter().enumerate() {
            (x, image) = block.forward(x, image, &mut styles, &mut noise, options);
            if let Some(x) = &x {
                observe(4 << k, x, image.as_ref());
            }
        }
        image.expect("the last block has an image output")
    }
}

impl SynthesisBlock {
    fn init(config: &GeneratorConfig, resolution: usize, device: &Device) -> Self {
        let first = resolution == 4;
        let last = resolution == config.resolution;
        let out = config.channels_at(resolution);
        let input = if first {
            out
        } else {
            config.channels_at(resolution / 2)
        };
        let taps = &config.resample_filter;
        let layer = |channels, up| {
            SynthesisLayerInit {
                channels,
                w_dim: config.w_dim,
                resolution,
                up,
                use_noise: config.use_noise,
                activation: config.activation,
                clamp: config.conv_clamp,
                taps,
            }
            .init(device)
        };
        let has_image = last || config.architecture == Architecture::Skip;
        let residual = !first && config.architecture == Architecture::Resnet;
        let lowest_half = (config.resolution * 2) >> config.half_resolutions.min(32);
        Self {
            constant: first.then(|| {
                Initializer::Normal {
                    mean: 0.0,
                    std: 1.0,
                }
                .init([out, 4, 4], device)
            }),
            conv0: (!first).then(|| layer([input, out], 2)),
            conv1: layer([out, out], 1),
            torgb: has_image.then(|| {
                ToRgb::init(
                    [out, config.channels],
                    config.w_dim,
                    config.conv_clamp,
                    taps,
                    device,
                )
            }),
            skip: residual.then(|| {
                ConvLayerInit {
                    channels: [input, out],
                    kernel: 1,
                    up: 2,
                    down: 1,
                    bias: false,
                    activation: Activation::Linear,
                    clamp: None,
                    taps,
                    frozen: false,
                }
                .init(device)
            }),
            filter: fir_filter(taps, device),
            half: config.half_resolutions > 0 && resolution >= lowest_half.max(8),
        }
    }

    fn convolutions(&self) -> usize {
        1 + usize::from(self.conv0.is_some())
    }

    fn affines(&self) -> Vec<&crate::layers::FullyConnected> {
        let mut affines = Vec::with_capacity(3);
        affines.extend(self.conv0.as_ref().map(|l| &l.affine));
        affines.push(&self.conv1.affine);
        affines.extend(self.torgb.as_ref().map(|l| &l.affine));
        affines
    }

    fn widths(&self) -> Vec<(&'static str, usize)> {
        let mut names = Vec::with_capacity(3);
        names.extend(self.conv0.as_ref().map(|_| "conv0"));
        names.push("conv1");
        names.extend(self.torgb.as_ref().map(|_| "torgb"));
        let width = |a: &&crate::layers::FullyConnected| a.bias.lazy_shape()[0];
        names
            .into_iter()
            .zip(self.affines().iter().map(width))
            .collect()
    }

    fn forward(
        &self,
        x: Option<Dual<4>>,
        image: Option<Dual<4>>,
        styles: &mut impl Iterator<Item = Dual<2>>,
        noise: &mut impl FnMut(&SynthesisLayer) -> LayerNoise,
        options: &SynthesisOptions,
    ) -> (Option<Dual<4>>, Option<Dual<4>>) {
        let mut style = || styles.next().expect("counted by the caller");
        let modulation = options.modulation;
        let full = self.conv1.weight.val().dtype();
        let dtype = options.precision.dtype(self.half, full);
        let first = style();
        let x = match (&self.constant, &self.conv0) {
            (Some(constant), _) => {
                let constant = constant.val();
                let [c, h, w] = constant.dims();
                let n = first.dims()[0];
                let x = Dual::constant(constant.reshape([1, c, h, w]).expand([n, c, h, w]));
                let x = x.linear(|t| t.cast(dtype));
                self.conv1
                    .forward(x, first, noise(&self.conv1), modulation, 1.0)
            }
            (None, Some(conv0)) => {
                let x = x
                    .expect("only the first block has no input")
                    .linear(|t| cast(t, dtype));
                let gain = if self.skip.is_some() {
                    0.5_f64.sqrt()
                } else {
                    1.0
                };
                let residual = self.skip.as_ref().map(|s| s.forward(x.clone(), gain));
                let x = conv0.forward(x, first, noise(conv0), modulation, 1.0);
                let x = self
                    .conv1
                    .forward(x, style(), noise(&self.conv1), modulation, gain);
                match residual {
                    Some(r) => r.plus(x),
                    None => x,
                }
            }
            (None, None) => unreachable!("a block has an input"),
        };
        let image = image.map(|i| i.linear(|t| upsample2d(t, &self.filter, 2, [0; 4], false, 1.0)));
        let image = match &self.torgb {
            None => image,
            Some(torgb) => {
                let y = torgb.forward(x.clone(), style(), modulation);
                Some(match image {
                    Some(image) => image.plus(y),
                    None => y,
                })
            }
        };
        (Some(x), image)
    }
}

fn cast(x: Tensor<4>, dtype: DType) -> Tensor<4> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}
