//! The discriminator.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::config::{Architecture, DiscriminatorConfig, log2};
use crate::error::Result;
use crate::layers::{ConvLayer, ConvLayerInit, FullyConnected, Precision};
use crate::mapping::Mapping;
use crate::ops::{Activation, downsample2d, fir_filter, minibatch_std};
use crate::tangent::Dual;

/// One resolution of the discriminator.
#[derive(Module, Debug)]
pub struct DiscriminatorBlock {
    /// Reads the image: in the first block, and in every block of the skip architecture.
    pub fromrgb: Option<ConvLayer>,
    /// First convolution.
    pub conv0: ConvLayer,
    /// Second convolution, halves the size.
    pub conv1: ConvLayer,
    /// Residual connection of the resnet architecture.
    pub skip: Option<ConvLayer>,
    filter: Tensor<2>,
    carries_image: bool,
    half: bool,
}

/// The last block, 4 px to logits.
#[derive(Module, Debug)]
pub struct Epilogue {
    /// Reads the image in the skip architecture.
    pub fromrgb: Option<ConvLayer>,
    /// Convolution after the minibatch standard deviation.
    pub conv: ConvLayer,
    /// Hidden layer.
    pub fc: FullyConnected,
    /// Output layer.
    pub out: FullyConnected,
    group: Option<usize>,
    features: usize,
}

/// A StyleGAN2 discriminator.
#[derive(Module, Debug)]
pub struct Discriminator {
    /// Blocks from the image resolution down to 8 px.
    pub blocks: Vec<DiscriminatorBlock>,
    /// Maps the label; absent without labels.
    pub mapping: Option<Mapping>,
    /// The last block.
    pub b4: Epilogue,
}

impl DiscriminatorConfig {
    /// Makes a discriminator with random weights.
    pub fn init(&self, device: &Device) -> Result<Discriminator> {
        self.validate()?;
        let mut layers = 0;
        let blocks = (3..=log2(self.resolution))
            .rev()
            .map(|k| self.block(1 << k, &mut layers, device))
            .collect();
        let cmap = self.mapped_label();
        let mapping = (cmap > 0).then(|| self.mapping.init(0, self.c_dim, cmap, 0, device));
        Ok(Discriminator {
            blocks,
            mapping,
            b4: self.epilogue(cmap, device),
        })
    }

    fn layer(&self, channels: [usize; 2], kernel: usize, down: usize) -> ConvLayerInit<'_> {
        ConvLayerInit {
            channels,
            kernel,
            up: 1,
            down,
            bias: true,
            activation: self.activation,
            clamp: self.conv_clamp,
            taps: &self.resample_filter,
            frozen: false,
        }
    }

    fn block(&self, resolution: usize, layers: &mut usize, device: &Device) -> DiscriminatorBlock {
        let width = self.channels_at(resolution);
        let out = self.channels_at(resolution / 2);
        let reads = resolution == self.resolution || self.architecture == Architecture::Skip;
        let lowest_half = (self.resolution * 2) >> self.half_resolutions.min(32);
        // Freeze-D counts layers in this order, from the image side.
        let mut next = |init: ConvLayerInit<'_>| {
            let frozen = *layers < self.freeze_layers;
            *layers += 1;
            ConvLayerInit { frozen, ..init }.init(device)
        };
        DiscriminatorBlock {
            fromrgb: reads.then(|| next(self.layer([self.channels, width], 1, 1))),
            conv0: next(self.layer([width, width], 3, 1)),
            conv1: next(self.layer([width, out], 3, 2)),
            skip: (self.architecture == Architecture::Resnet).then(|| {
                next(ConvLayerInit {
                    bias: false,
                    activation: Activation::Linear,
                    clamp: None,
                    ..self.layer([width, out], 1, 2)
                })
            }),
            filter: fir_filter(&self.resample_filter, device),
            carries_image: self.architecture == Architecture::Skip,
            half: self.half_resolutions > 0 && resolution >= lowest_half.max(8),
        }
    }

    fn epilogue(&self, cmap: usize, device: &Device) -> Epilogue {
        let width = self.channels_at(4);
        let fc = |io, act| FullyConnected::init(io, act, 1.0, 0.0, device);
        Epilogue {
            fromrgb: (self.architecture == Architecture::Skip).then(|| {
                ConvLayerInit {
                    clamp: None,
                    ..self.layer([self.channels, width], 1, 1)
                }
                .init(device)
            }),
            conv: self
                .layer([width + self.mbstd_features, width], 3, 1)
                .init(device),
            fc: fc([width * 16, width], self.activation),
            out: fc([width, cmap.max(1)], Activation::Linear),
            group: self.mbstd_group,
            features: self.mbstd_features,
        }
    }
}

impl Discriminator {
    /// The logits of images: positive means "looks real".
    ///
    /// # Shapes
    ///
    /// - images: `[N, channels, R, R]`, c: `[N, c]`
    /// - output: `[N, 1]`
    ///
    /// # Panics
    ///
    /// Panics if the group size of the minibatch standard deviation does not divide `N`.
    pub fn forward(&self, images: Tensor<4>, c: Option<Tensor<2>>) -> Tensor<2> {
        self.run(images.into(), c, Precision::Full).value
    }

    /// As [`Discriminator::forward`], with the highest resolutions in another precision.
    ///
    /// # Shapes
    ///
    /// - images: `[N, channels, R, R]`, c: `[N, c]`
    /// - output: `[N, 1]`
    pub fn forward_with(
        &self,
        images: Tensor<4>,
        c: Option<Tensor<2>>,
        precision: Precision,
    ) -> Tensor<2> {
        self.run(images.into(), c, precision).value
    }

    /// The logits and their exact derivative along `direction`.
    ///
    /// # Shapes
    ///
    /// - images, direction: `[N, channels, R, R]`, c: `[N, c]`
    /// - outputs: `[N, 1]` twice
    pub fn jvp(
        &self,
        images: Tensor<4>,
        direction: Tensor<4>,
        c: Option<Tensor<2>>,
    ) -> (Tensor<2>, Tensor<2>) {
        let logits = self.run(Dual::new(images, direction), c, Precision::Full);
        (logits.value.clone(), logits.tangent_or_zero())
    }

    fn run(&self, images: Dual<4>, c: Option<Tensor<2>>, precision: Precision) -> Dual<2> {
        let mut image = Some(images);
        let mut x = None;
        for block in &self.blocks {
            (x, image) = block.forward(x, image, precision);
        }
        let label = match (&self.mapping, c) {
            (Some(mapping), c) => Some(mapping.w(None, c).value),
            (None, None) => None,
            (None, Some(_)) => panic!("labels given to an unconditional discriminator"),
        };
        self.b4
            .forward(x.expect("at least one block"), image, label)
    }
}

impl DiscriminatorBlock {
    fn forward(
        &self,
        x: Option<Dual<4>>,
        image: Option<Dual<4>>,
        precision: Precision,
    ) -> (Option<Dual<4>>, Option<Dual<4>>) {
        let dtype = precision.dtype(self.half, self.conv0.weight.val().dtype());
        let to = |d: Dual<4>| {
            if d.value.dtype() == dtype {
                d
            } else {
                d.linear(|t| t.cast(dtype))
            }
        };
        let mut x = x.map(to);
        let mut image = image;
        if let Some(fromrgb) = &self.fromrgb {
            let source = to(image.take().expect("blocks with fromrgb have an image"));
            let y = fromrgb.forward(source.clone(), 1.0);
            x = Some(match x {
                Some(x) => x.plus(y),
                None => y,
            });
            image = self
                .carries_image
                .then(|| source.linear(|t| downsample2d(t, &self.filter, 2, [0; 4], false, 1.0)));
        }
        let x = x.expect("the first block reads the image");
        let gain = if self.skip.is_some() {
            0.5_f64.sqrt()
        } else {
            1.0
        };
        let residual = self.skip.as_ref().map(|s| s.forward(x.clone(), gain));
        let y = self.conv1.forward(self.conv0.forward(x, 1.0), gain);
        let y = match residual {
            Some(r) => r.plus(y),
            None => y,
        };
        (Some(y), image)
    }
}

impl Epilogue {
    fn forward(&self, x: Dual<4>, image: Option<Dual<4>>, label: Option<Tensor<2>>) -> Dual<2> {
        let full = self.conv.weight.val().dtype();
        let mut x = x.linear(|t| t.cast(full));
        if let Some(fromrgb) = &self.fromrgb {
            let image = image.expect("the skip architecture carries the image");
            x = x.plus(fromrgb.forward(image.linear(|t| t.cast(full)), 1.0));
        }
        if self.features > 0 {
            x = minibatch_std(x, self.group, self.features);
        }
        let x = self.conv.forward(x, 1.0);
        let [n, c, h, w] = x.dims();
        let x = self
            .out
            .forward(self.fc.forward(x.linear(|t| t.reshape([n, c * h * w]))));
        match label {
            None => x,
            Some(label) => {
                let scale = 1.0 / (label.dims()[1] as f64).sqrt();
                x.times(label.into()).linear(|t| t.sum_dim(1) * scale)
            }
        }
    }
}
