//! Inception-v3 as it is used for the FID.

use std::path::Path;

use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData, activation};

use super::features::FeatureNetwork;
use crate::checkpoint::StateDict;
use crate::error::{Error, Result};

/// The side of the pictures that the network sees.
const SIDE: usize = 299;

/// The constant in the batch normalisation's root.
const EPSILON: f32 = 1e-3;

/// Inception-v3 (Szegedy et al. 2016) with the weights and the pooling of the FID: the 2048 values
/// after the last block, averaged over the picture.
///
/// What Heusel et al. (2017) call Inception is the network published with TensorFlow in December
/// 2015. It differs from the paper's in two places: padding does not count in averages over 3 by 3
/// pixels, and the last block takes their maximum. Pictures are resized to 299 pixels bilinearly,
/// without a filter when they shrink.
///
/// The weights are not part of this crate: they come from a file of the user's, 95 MB. Batch
/// normalisation is folded into the convolutions.
#[derive(Clone, Debug)]
pub struct Inception {
    stages: Vec<Stage>,
}

impl Inception {
    /// Opens a file with the names of torchvision's `Inception3`, as pytorch-fid distributes the
    /// weights (`pt_inception-2015-12-05-6726825d.pth`): a state dict in either of `PyTorch`'s
    /// formats, or the same tensors in safetensors. Tensors that are not needed (the classifier) are
    /// not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be read, [`Error::Tensor`] naming a tensor that is missing, has another
    /// shape or is not finite, and those of a damaged file.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let read = Reader {
            file: StateDict::open(path.as_ref())?,
            device,
        };
        Ok(Self {
            stages: vec![
                read.conv("Conv2d_1a_3x3", 3, 32, Shape::square(3).stride(2))?,
                read.conv("Conv2d_2a_3x3", 32, 32, Shape::square(3))?,
                read.conv("Conv2d_2b_3x3", 32, 64, Shape::square(3).same())?,
                Stage::Shrink,
                read.conv("Conv2d_3b_1x1", 64, 80, Shape::square(1))?,
                read.conv("Conv2d_4a_3x3", 80, 192, Shape::square(3))?,
                Stage::Shrink,
                read.fine("Mixed_5b", 192, 32)?,
                read.fine("Mixed_5c", 256, 64)?,
                read.fine("Mixed_5d", 288, 64)?,
                read.halve_fine("Mixed_6a", 288)?,
                read.middle("Mixed_6b", 128)?,
                read.middle("Mixed_6c", 160)?,
                read.middle("Mixed_6d", 160)?,
                read.middle("Mixed_6e", 192)?,
                read.halve_middle("Mixed_7a", 768)?,
                read.coarse("Mixed_7b", 1280, Stage::Mean)?,
                read.coarse("Mixed_7c", 2048, Stage::Max)?,
            ],
        })
    }
}

impl FeatureNetwork for Inception {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let [n, c, _, _] = images.dims();
        let images = if c == 1 {
            images.repeat_dim(1, 3)
        } else {
            images
        };
        let x = run(&self.stages, resize(images, SIDE));
        let channels = x.dims()[1];
        x.mean_dim(3).mean_dim(2).reshape([n, channels])
    }

    fn name(&self) -> &'static str {
        "Inception"
    }
}

/// A step from `[N, C, H, W]` to `[N, C', H', W']`.
#[derive(Clone, Debug)]
enum Stage {
    /// Convolution, bias and `ReLU`.
    Conv(Box<Convolution>),
    /// The largest of 3 by 3 pixels, at every second.
    Shrink,
    /// The largest of 3 by 3 pixels, at each.
    Max,
    /// The mean of those of 3 by 3 pixels that lie inside, at each.
    Mean,
    /// Branches of the same input, one behind the other.
    Split(Vec<Vec<Stage>>),
}

fn run(stages: &[Stage], x: Tensor<4>) -> Tensor<4> {
    stages.iter().fold(x, |x, stage| stage.run(x))
}

impl Stage {
    fn run(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => activation::relu(conv.run(x)),
            Self::Shrink => max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2])),
            Self::Max => max_pool2d(
                x,
                MaxPoolOptions::new([3, 3])
                    .with_stride([1, 1])
                    .with_padding([1, 1]),
            ),
            Self::Mean => avg_pool2d(
                x,
                AvgPoolOptions::new([3, 3])
                    .with_stride([1, 1])
                    .with_padding([1, 1])
                    .with_count_include_pad(false),
            ),
            Self::Split(branches) => {
                let outputs = branches.iter().map(|b| run(b, x.clone())).collect();
                Tensor::cat(outputs, 1)
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Convolution {
    weight: Tensor<4>,
    bias: Tensor<1>,
    shape: Shape,
}

impl Convolution {
    fn run(&self, x: Tensor<4>) -> Tensor<4> {
        let stride = [self.shape.stride; 2];
        let options = ConvOptions::new(stride, self.shape.padding, [1, 1], 1);
        conv2d(x, self.weight.clone(), Some(self.bias.clone()), options)
    }
}

/// Of a convolution.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Rows and columns.
    kernel: [usize; 2],
    stride: usize,
    padding: [usize; 2],
}

impl Shape {
    fn square(side: usize) -> Self {
        Self {
            kernel: [side; 2],
            stride: 1,
            padding: [0; 2],
        }
    }

    fn row(width: usize) -> Self {
        Self {
            kernel: [1, width],
            ..Self::square(1)
        }
        .same()
    }

    fn column(height: usize) -> Self {
        Self {
            kernel: [height, 1],
            ..Self::square(1)
        }
        .same()
    }

    fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Padded so that the size stays.
    fn same(self) -> Self {
        let padding = self.kernel.map(|k| k / 2);
        Self { padding, ..self }
    }
}

/// Builds stages from a file.
struct Reader<'a> {
    file: StateDict,
    device: &'a Device,
}

impl Reader<'_> {
    /// `name.conv.weight` with the batch normalisation `name.bn` folded in.
    fn conv(&self, name: &str, input: usize, output: usize, shape: Shape) -> Result<Stage> {
        let [height, width] = shape.kernel;
        let dims = [output, input, height, width];
        let mut weight = self.read(&format!("{name}.conv.weight"), &dims)?;
        let norm = |part: &str| self.read(&format!("{name}.bn.{part}"), &[output]);
        let (gain, shift) = (norm("weight")?, norm("bias")?);
        let (mean, variance) = (norm("running_mean")?, norm("running_var")?);
        let mut bias = Vec::with_capacity(output);
        for (k, filter) in weight.chunks_exact_mut(input * height * width).enumerate() {
            let scale = gain[k] / (variance[k] + EPSILON).sqrt();
            for weight in filter {
                *weight *= scale;
            }
            bias.push(shift[k] - mean[k] * scale);
        }
        Ok(Stage::Conv(Box::new(Convolution {
            weight: Tensor::from_data(TensorData::new(weight, dims), self.device),
            bias: Tensor::from_data(TensorData::new(bias, [output]), self.device),
            shape,
        })))
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = self.file.read(name, shape)?;
        match values.iter().find(|v| !v.is_finite()) {
            None => Ok(values),
            Some(value) => Err(Error::Tensor {
                tensor: name.to_owned(),
                reason: format!("a value of {value}"),
            }),
        }
    }

    /// A block at 35 pixels.
    fn fine(&self, block: &str, input: usize, pooled: usize) -> Result<Stage> {
        let conv = |name: &str, input, output, shape| {
            self.conv(&format!("{block}.{name}"), input, output, shape)
        };
        let one = Shape::square(1);
        Ok(Stage::Split(vec![
            vec![conv("branch1x1", input, 64, one)?],
            vec![
                conv("branch5x5_1", input, 48, one)?,
                conv("branch5x5_2", 48, 64, Shape::square(5).same())?,
            ],
            vec![
                conv("branch3x3dbl_1", input, 64, one)?,
                conv("branch3x3dbl_2", 64, 96, Shape::square(3).same())?,
                conv("branch3x3dbl_3", 96, 96, Shape::square(3).same())?,
            ],
            vec![Stage::Mean, conv("branch_pool", input, pooled, one)?],
        ]))
    }

    /// From 35 to 17 pixels.
    fn halve_fine(&self, block: &str, input: usize) -> Result<Stage> {
        let conv = |name: &str, input, output, shape| {
            self.conv(&format!("{block}.{name}"), input, output, shape)
        };
        Ok(Stage::Split(vec![
            vec![conv("branch3x3", input, 384, Shape::square(3).stride(2))?],
            vec![
                conv("branch3x3dbl_1", input, 64, Shape::square(1))?,
                conv("branch3x3dbl_2", 64, 96, Shape::square(3).same())?,
                conv("branch3x3dbl_3", 96, 96, Shape::square(3).stride(2))?,
            ],
            vec![Stage::Shrink],
        ]))
    }

    /// A block at 17 pixels, its convolutions of 7 by 7 factored into rows and columns.
    fn middle(&self, block: &str, inner: usize) -> Result<Stage> {
        let conv = |name: &str, input, output, shape| {
            self.conv(&format!("{block}.{name}"), input, output, shape)
        };
        let (one, row, column) = (Shape::square(1), Shape::row(7), Shape::column(7));
        Ok(Stage::Split(vec![
            vec![conv("branch1x1", 768, 192, one)?],
            vec![
                conv("branch7x7_1", 768, inner, one)?,
                conv("branch7x7_2", inner, inner, row)?,
                conv("branch7x7_3", inner, 192, column)?,
            ],
            vec![
                conv("branch7x7dbl_1", 768, inner, one)?,
                conv("branch7x7dbl_2", inner, inner, column)?,
                conv("branch7x7dbl_3", inner, inner, row)?,
                conv("branch7x7dbl_4", inner, inner, column)?,
                conv("branch7x7dbl_5", inner, 192, row)?,
            ],
            vec![Stage::Mean, conv("branch_pool", 768, 192, one)?],
        ]))
    }

    /// From 17 to 8 pixels.
    fn halve_middle(&self, block: &str, input: usize) -> Result<Stage> {
        let conv = |name: &str, input, output, shape| {
            self.conv(&format!("{block}.{name}"), input, output, shape)
        };
        let (one, halve) = (Shape::square(1), Shape::square(3).stride(2));
        Ok(Stage::Split(vec![
            vec![
                conv("branch3x3_1", input, 192, one)?,
                conv("branch3x3_2", 192, 320, halve)?,
            ],
            vec![
                conv("branch7x7x3_1", input, 192, one)?,
                conv("branch7x7x3_2", 192, 192, Shape::row(7))?,
                conv("branch7x7x3_3", 192, 192, Shape::column(7))?,
                conv("branch7x7x3_4", 192, 192, halve)?,
            ],
            vec![Stage::Shrink],
        ]))
    }

    /// A block at 8 pixels.
    fn coarse(&self, block: &str, input: usize, pool: Stage) -> Result<Stage> {
        let conv = |name: &str, input, output, shape| {
            self.conv(&format!("{block}.{name}"), input, output, shape)
        };
        let (one, row, column) = (Shape::square(1), Shape::row(3), Shape::column(3));
        let fork = |name: &str| {
            Ok::<_, Error>(Stage::Split(vec![
                vec![conv(&format!("{name}a"), 384, 384, row)?],
                vec![conv(&format!("{name}b"), 384, 384, column)?],
            ]))
        };
        Ok(Stage::Split(vec![
            vec![conv("branch1x1", input, 320, one)?],
            vec![conv("branch3x3_1", input, 384, one)?, fork("branch3x3_2")?],
            vec![
                conv("branch3x3dbl_1", input, 448, one)?,
                conv("branch3x3dbl_2", 448, 384, Shape::square(3).same())?,
                fork("branch3x3dbl_3")?,
            ],
            vec![pool, conv("branch_pool", input, 192, one)?],
        ]))
    }
}

/// Bilinear, between the centres of pixels: a product with a matrix for rows and one for columns.
pub(super) fn resize(x: Tensor<4>, side: usize) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let device = x.device();
    let matrix = |length| {
        let data = TensorData::new(bilinear(length, side), [1, 1, side, length]);
        Tensor::<4>::from_data(data, &device)
    };
    let x = if height == side {
        x
    } else {
        matrix(height).matmul(x)
    };
    if width == side {
        x
    } else {
        x.matmul(matrix(width).transpose())
    }
}

/// `[to, from]`: the two weights of each new pixel.
fn bilinear(from: usize, to: usize) -> Vec<f32> {
    let mut weights = vec![0.0; to * from];
    let last = from - 1;
    for (k, row) in weights.chunks_exact_mut(from).enumerate() {
        let at = (k as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let at = at.clamp(0.0, last as f64);
        // Within 0 and the last pixel.
        #[allow(clippy::cast_sign_loss)]
        let below = at as usize;
        let part = (at - below as f64) as f32;
        row[below] += 1.0 - part;
        row[(below + 1).min(last)] += part;
    }
    weights
}
