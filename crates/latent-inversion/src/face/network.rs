//! The three networks of MTCNN.
//!
//! Zhang, Zhang, Li and Qiao 2016, "Joint face detection and alignment using multitask cascaded
//! convolutional networks", figure 2; pooling windows may hang over the border, as where the
//! weights were trained.

use burn::tensor::activation::{prelu, softmax};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::SafeTensors;

use crate::error::Result;
use crate::lpips::weights::read;

/// A convolution or a dense layer, with the slopes of its PReLU; heads have none.
#[derive(Clone, Debug)]
struct Layer<const D: usize> {
    weight: Tensor<D>,
    bias: Tensor<1>,
    slope: Option<Tensor<1>>,
}

/// Where a network's weights are, and on which device they go.
struct Reader<'a> {
    file: &'a SafeTensors<'a>,
    net: &'a str,
    device: &'a Device,
}

impl Reader<'_> {
    fn tensor<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        let values = read(self.file, &format!("{}.{name}", self.net), &shape)?;
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    /// `name` and, if the layer has a PReLU, the number its slopes are filed under.
    fn layer<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        slope: Option<usize>,
    ) -> Result<Layer<D>> {
        let width = shape[0];
        let slope = slope.map(|k| self.tensor(&format!("prelu{k}.weight"), [width]));
        Ok(Layer {
            weight: self.tensor(&format!("{name}.weight"), shape)?,
            bias: self.tensor(&format!("{name}.bias"), [width])?,
            slope: slope.transpose()?,
        })
    }

    fn convolution(&self, k: usize, [input, output, side]: [usize; 3]) -> Result<Layer<4>> {
        self.layer(&format!("conv{k}"), [output, input, side, side], Some(k))
    }
}

impl Layer<4> {
    fn convolve(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let y = conv2d(x, self.weight.clone(), Some(self.bias.clone()), options);
        match &self.slope {
            Some(slope) => prelu(y, slope.clone()),
            None => y,
        }
    }
}

impl Layer<2> {
    fn multiply(&self, x: Tensor<2>) -> Tensor<2> {
        let y = x.matmul(self.weight.clone().transpose()) + self.bias.clone().unsqueeze();
        match &self.slope {
            Some(slope) => prelu(y, slope.clone()),
            None => y,
        }
    }
}

fn pool(x: Tensor<4>, side: usize) -> Tensor<4> {
    let options = MaxPoolOptions::new([side, side])
        .with_stride([2, 2])
        .with_ceil_mode(true);
    max_pool2d(x, options)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data_dtype(DType::F32)
        .try_to_vec()
        .unwrap_or_default()
}

/// The proposal network: a score and a box for each position of a grid of stride 2.
#[derive(Clone, Debug)]
pub(super) struct Proposals {
    trunk: [Layer<4>; 3],
    score: Layer<4>,
    shift: Layer<4>,
}

/// What the proposal network says of each position.
pub(super) struct Grid {
    /// Height and width.
    pub(super) size: [usize; 2],
    /// Probability of a face, row by row.
    pub(super) scores: Vec<f32>,
    /// Corrections of left, top, right and bottom, each row by row.
    pub(super) shifts: Vec<f32>,
}

impl Proposals {
    /// The side of the square that one position sees.
    pub(super) const FIELD: usize = 12;

    pub(super) fn read(file: &SafeTensors<'_>, device: &Device) -> Result<Self> {
        let net = "pnet";
        let reader = Reader { file, net, device };
        Ok(Self {
            trunk: [
                reader.convolution(1, [3, 10, 3])?,
                reader.convolution(2, [10, 16, 3])?,
                reader.convolution(3, [16, 32, 3])?,
            ],
            score: reader.layer("conv4_1", [2, 32, 1, 1], None)?,
            shift: reader.layer("conv4_2", [4, 32, 1, 1], None)?,
        })
    }

    /// # Shapes
    ///
    /// - image: `[1, 3, H, W]`, sides of at least [`Proposals::FIELD`]
    pub(super) fn run(&self, image: Tensor<4>) -> Grid {
        let [first, second, third] = &self.trunk;
        let x = pool(first.convolve(image), 2);
        let x = third.convolve(second.convolve(x));
        let scores = softmax(self.score.convolve(x.clone()), 1);
        let [_, _, h, w] = scores.dims();
        Grid {
            size: [h, w],
            scores: values(scores.narrow(1, 1, 1)),
            shifts: values(self.shift.convolve(x)),
        }
    }
}

/// A network that judges candidates of a fixed size: R-net, or O-net with landmarks.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    /// Convolutions, each with the side of the maximum taken after it.
    trunk: Vec<(Layer<4>, Option<usize>)>,
    dense: Layer<2>,
    score: Layer<2>,
    shift: Layer<2>,
    landmarks: Option<Layer<2>>,
    side: usize,
}

/// What a judge says of each candidate.
pub(super) struct Verdicts {
    /// Probability of a face.
    pub(super) scores: Vec<f32>,
    /// Corrections of left, top, right and bottom: four per candidate.
    pub(super) shifts: Vec<f32>,
    /// Five x, then five y, as fractions of the box: ten per candidate, of the O-net.
    pub(super) landmarks: Vec<f32>,
}

impl Judge {
    /// R-net: candidates of 24 pixels.
    pub(super) fn refinement(file: &SafeTensors<'_>, device: &Device) -> Result<Self> {
        let net = "rnet";
        let reader = Reader { file, net, device };
        Ok(Self {
            trunk: vec![
                (reader.convolution(1, [3, 28, 3])?, Some(3)),
                (reader.convolution(2, [28, 48, 3])?, Some(3)),
                (reader.convolution(3, [48, 64, 2])?, None),
            ],
            dense: reader.layer("dense4", [128, 576], Some(4))?,
            score: reader.layer("dense5_1", [2, 128], None)?,
            shift: reader.layer("dense5_2", [4, 128], None)?,
            landmarks: None,
            side: 24,
        })
    }

    /// O-net: candidates of 48 pixels.
    pub(super) fn output(file: &SafeTensors<'_>, device: &Device) -> Result<Self> {
        let net = "onet";
        let reader = Reader { file, net, device };
        Ok(Self {
            trunk: vec![
                (reader.convolution(1, [3, 32, 3])?, Some(3)),
                (reader.convolution(2, [32, 64, 3])?, Some(3)),
                (reader.convolution(3, [64, 64, 3])?, Some(2)),
                (reader.convolution(4, [64, 128, 2])?, None),
            ],
            dense: reader.layer("dense5", [256, 1152], Some(5))?,
            score: reader.layer("dense6_1", [2, 256], None)?,
            shift: reader.layer("dense6_2", [4, 256], None)?,
            landmarks: Some(reader.layer("dense6_3", [10, 256], None)?),
            side: 48,
        })
    }

    /// The side of the squares it takes.
    pub(super) fn side(&self) -> usize {
        self.side
    }

    /// # Shapes
    ///
    /// - candidates: `[N, 3, side, side]`
    pub(super) fn run(&self, candidates: Tensor<4>) -> Verdicts {
        let mut x = candidates;
        for (layer, side) in &self.trunk {
            x = layer.convolve(x);
            if let Some(side) = side {
                x = pool(x, *side);
            }
        }
        let [n, c, h, w] = x.dims();
        // Columns first: the order the dense weights were trained in.
        let x = x.permute([0, 3, 2, 1]).reshape([n, w * h * c]); // [N, W H C]
        let x = self.dense.multiply(x);
        let scores = softmax(self.score.multiply(x.clone()), 1).narrow(1, 1, 1);
        let landmarks = self.landmarks.as_ref();
        Verdicts {
            scores: values(scores),
            shifts: values(self.shift.multiply(x.clone())),
            landmarks: landmarks.map_or_else(Vec::new, |layer| values(layer.multiply(x))),
        }
    }
}
