//! LPIPS: distance in the features of a network trained on photographs.
//!
//! Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric",
//! version 0.1 of the linear heads.

mod features;
#[cfg(all(feature = "flex", feature = "stylegan2"))]
mod kernel;
#[cfg(feature = "stylegan2")]
mod network;
#[cfg(feature = "stylegan2")]
mod torch;
mod trunk;
pub(crate) mod weights;

use burn::tensor::{Device, Tensor, TensorData};

pub use features::LpipsFeatures;
pub use trunk::Trunk;

use trunk::Convolution;

/// Shift and scale of the colours, from [-1, 1] to the range the trunks were trained on.
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];

/// The perceptual distance, ready to use.
///
/// With features $f_l$ of layer $l$, brought to unit length at each pixel, and the head's weights
/// $w_l \ge 0$:
/// $d(x, y) = \sum_l \operatorname{mean}_{hw} \sum_c w_{lc} (f_{lc}(x) - f_{lc}(y))^2$.
#[derive(Clone, Debug)]
pub struct Lpips {
    trunk: Trunk,
    convolutions: Vec<Convolution>,
    heads: Vec<Tensor<4>>,
    /// Images are in [0, 1] instead of [-1, 1].
    normalize: bool,
}

impl Lpips {
    /// Takes images in [0, 1] instead of [-1, 1].
    pub fn with_normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    /// The network whose features are compared.
    pub fn trunk(&self) -> Trunk {
        self.trunk
    }

    /// The features of images; compute those of a target once.
    ///
    /// A gray image counts as a colour image of three equal channels.
    ///
    /// # Shapes
    ///
    /// - images: `[N, 1 or 3, H, W]`
    ///
    /// # Panics
    ///
    /// Panics for another number of channels, or if a side is shorter than
    /// [`Trunk::smallest_side`].
    pub fn features(&self, images: Tensor<4>) -> LpipsFeatures {
        let [_, _, h, w] = images.dims();
        let layers = self.activations(images);
        let raw = compared_raw(&layers[0]);
        let unit = |x| if raw { x } else { unit_length(x) };
        LpipsFeatures {
            layers: layers.into_iter().map(unit).collect(),
            raw,
            size: [h, w],
        }
    }

    /// The activations of the tapped layers, as they are.
    ///
    /// # Shapes
    ///
    /// - images: `[N, 1 or 3, H, W]`
    /// - outputs: `[N, C, H', W']` with the channels of [`Trunk::widths`]
    ///
    /// # Panics
    ///
    /// As [`Lpips::features`].
    pub fn activations(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let [_, c, h, w] = images.dims();
        let least = self.trunk.smallest_side();
        assert!(
            c == 1 || c == 3,
            "images of {c} channels; LPIPS takes 1 or 3"
        );
        assert!(
            h >= least && w >= least,
            "images of {w} x {h} pixels; this network needs {least} x {least}"
        );
        let images = if self.normalize {
            images * 2.0 - 1.0
        } else {
            images
        };
        let images = if c == 1 {
            images.repeat_dim(1, 3)
        } else {
            images
        };
        let (device, dtype) = (images.device(), images.dtype());
        let channels = |values: [f32; 3]| {
            Tensor::<4>::from_data(
                TensorData::new(values.to_vec(), [1, 3, 1, 1]),
                (&device, dtype),
            )
        };
        let images = (images - channels(SHIFT)) * channels(SCALE.map(|s| 1.0 / s));
        self.trunk.run(&self.convolutions, images)
    }

    /// The distance of each pair of images.
    ///
    /// # Shapes
    ///
    /// - a: features of `N` images, b: of `N` or of one
    /// - output: `[N]`
    ///
    /// # Panics
    ///
    /// Panics if the images differ in size or number.
    pub fn distance(&self, a: &LpipsFeatures, b: &LpipsFeatures) -> Tensor<1> {
        let layers = self.per_layer(a, b);
        let [n, _] = layers.dims();
        layers.sum_dim(1).reshape([n])
    }

    /// What each layer adds to the distance.
    ///
    /// # Shapes
    ///
    /// - a, b: as for [`Lpips::distance`]
    /// - output: `[N, L]` with `L` layers, see [`Trunk::widths`]
    ///
    /// # Panics
    ///
    /// As [`Lpips::distance`].
    pub fn per_layer(&self, a: &LpipsFeatures, b: &LpipsFeatures) -> Tensor<2> {
        #[cfg(all(feature = "flex", feature = "stylegan2"))]
        if let Some(layers) = self.in_one_pass(a, b) {
            return layers;
        }
        let means = self.maps(a, b).into_iter().map(|map| {
            let [n, ..] = map.dims();
            map.mean_dim(3).mean_dim(2).reshape([n, 1])
        });
        Tensor::cat(means.collect(), 1)
    }

    /// What each layer adds, where a kernel does it.
    #[cfg(all(feature = "flex", feature = "stylegan2"))]
    fn in_one_pass(&self, a: &LpipsFeatures, b: &LpipsFeatures) -> Option<Tensor<2>> {
        if !(a.raw && b.raw) || a.size != b.size {
            return None;
        }
        let pairs = a.layers.iter().zip(&b.layers).zip(&self.heads);
        let layers: Option<Vec<Tensor<2>>> = pairs
            .map(|((x, y), head)| {
                let n = x.dims()[0];
                let y = if y.dims()[0] == 1 {
                    y.clone().repeat_dim(0, n)
                } else {
                    y.clone()
                };
                let layer = kernel::Layer::suited(x, &y, head)?;
                Some(layer.apply(x.clone(), y, head.clone()).reshape([n, 1]))
            })
            .collect();
        Some(Tensor::cat(layers?, 1))
    }

    /// The distance at each pixel: the layers' maps, enlarged bilinearly and summed.
    ///
    /// # Shapes
    ///
    /// - a, b: as for [`Lpips::distance`]
    /// - output: `[N, 1, H, W]`
    ///
    /// # Panics
    ///
    /// As [`Lpips::distance`].
    pub fn spatial(&self, a: &LpipsFeatures, b: &LpipsFeatures) -> Tensor<4> {
        let maps = self.maps(a, b).into_iter();
        maps.map(|map| features::enlarge(map, a.size))
            .reduce(|sum, map| sum + map)
            .expect("a layer at least")
    }

    /// What the squares of sum up to the distance: `[N, C H' W']` per layer.
    pub(crate) fn residuals(&self, a: &LpipsFeatures, b: &LpipsFeatures) -> Vec<Tensor<2>> {
        let layers = a.unit_layers().into_iter().zip(b.unit_layers());
        layers
            .zip(&self.heads)
            .map(|((a, b), head)| {
                let [n, c, h, w] = a.dims();
                let weight = (head.clone() * (1.0 / (h * w) as f64)).sqrt();
                let difference = a - b;
                let weight = weight.cast(difference.dtype());
                (difference * weight).reshape([n, c * h * w])
            })
            .collect()
    }

    /// Weighted squared differences per layer: `[N, 1, H', W']`.
    fn maps(&self, a: &LpipsFeatures, b: &LpipsFeatures) -> Vec<Tensor<4>> {
        assert_eq!(a.size, b.size, "sizes of the compared images");
        a.unit_layers()
            .into_iter()
            .zip(b.unit_layers())
            .zip(&self.heads)
            .map(|((a, b), head)| {
                let difference = a - b;
                let head = head.clone().cast(difference.dtype());
                (difference.clone() * difference * head).sum_dim(1)
            })
            .collect()
    }
}

/// Whether layers like this one are compared by a kernel, which sees to their length itself.
#[cfg(all(feature = "flex", feature = "stylegan2"))]
fn compared_raw(x: &Tensor<4>) -> bool {
    stylegan2_burn::ops::cpu::here(x)
}

#[cfg(not(all(feature = "flex", feature = "stylegan2")))]
fn compared_raw(_: &Tensor<4>) -> bool {
    false
}

/// Features of unit length at each pixel; where all are zero they stay zero.
fn unit_length(x: Tensor<4>) -> Tensor<4> {
    let squares = (x.clone() * x.clone()).sum_dim(1);
    // Far below any sum of squares; without it the derivative at zero would not be finite.
    let length = (squares + 1e-20).sqrt() + 1e-10;
    x / length
}

/// A tensor of host numbers.
fn upload<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_without_activation_have_finite_gradients() {
        let device = Device::default().autodiff();
        let x = Tensor::<4>::zeros([1, 4, 2, 2], &device).require_grad();
        let y = unit_length(x.clone());
        let grads = (y * 3.0).sum().backward();
        let worst: f32 = x.grad(&grads).unwrap().abs().max().into_scalar();
        assert!(worst.is_finite());
    }

    #[test]
    fn an_image_is_no_distance_from_itself_and_gray_is_equal_channels() {
        let device = Device::default();
        let lpips = Lpips::alexnet(&device).unwrap();
        let gray = Tensor::<4>::random(
            [1, 1, 64, 64],
            burn::tensor::Distribution::Uniform(-1.0, 1.0),
            &device,
        );
        let features = lpips.features(gray.clone());
        let colour = lpips.features(gray.clone().repeat_dim(1, 3));
        let found: f32 = lpips.distance(&features, &colour).into_scalar();
        assert!(found.abs() < 1e-12, "{found}");
        let unit = lpips
            .clone()
            .with_normalize(true)
            .features(gray * 0.5 + 0.5);
        let found: f32 = lpips.distance(&features, &unit).into_scalar();
        assert!(found.abs() < 1e-9, "{found}");
    }
}
