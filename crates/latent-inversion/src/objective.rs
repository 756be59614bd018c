//! What an inversion minimises.

use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::distribution::Whitening;
use crate::error::{Error, Result};
use crate::lpips::{Lpips, LpipsFeatures};

/// Weights of the terms; a weight of zero leaves its term out of the computation.
///
/// | term | formula, per photo | default |
/// | --- | --- | --- |
/// | `perceptual` | LPIPS, both images shrunk to 256 px where they are larger | 1 |
/// | `squared` | mean of squared differences, values in [-1, 1] | 1 |
/// | `absolute` | mean of absolute differences | 0 |
/// | `noise` | autocorrelation of the noise images, see [`noise_penalty`] | 1e5 |
/// | `prior` | mean of the rows' squared Mahalanobis distances over `w_dim` | 0.001 |
/// | `delta` | mean of the rows' squared whitened distances from w, over `w_dim` | 0.01 |
///
/// `noise` counts where noise images are optimised, `delta` where W+ is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objective {
    /// Weight of LPIPS.
    pub perceptual: f64,
    /// Weight of squared differences of pixels.
    pub squared: f64,
    /// Weight of absolute differences of pixels.
    pub absolute: f64,
    /// Weight of the noise images' autocorrelation.
    pub noise: f64,
    /// Weight of the distance from the mean latent.
    pub prior: f64,
    /// Weight of the rows' distance from w.
    pub delta: f64,
}

impl Default for Objective {
    fn default() -> Self {
        Self {
            perceptual: 1.0,
            squared: 1.0,
            absolute: 0.0,
            noise: 1e5,
            prior: 0.001,
            delta: 0.01,
        }
    }
}

impl Objective {
    /// The published projector's: LPIPS and 1e5 times the noise images' autocorrelation.
    pub fn published() -> Self {
        Self {
            squared: 0.0,
            prior: 0.0,
            delta: 0.0,
            ..Self::default()
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let all = [
            ("perceptual", self.perceptual),
            ("squared", self.squared),
            ("absolute", self.absolute),
            ("noise", self.noise),
            ("prior", self.prior),
            ("delta", self.delta),
        ];
        let negative = |&(_, v): &(_, f64)| !(v >= 0.0 && v.is_finite());
        if let Some((name, value)) = all.into_iter().find(negative) {
            return Err(Error::Argument {
                name,
                reason: format!("weight {value}; finite and not negative is needed"),
            });
        }
        if self.perceptual + self.squared + self.absolute > 0.0 {
            return Ok(());
        }
        Err(Error::Argument {
            name: "objective",
            reason: "no term compares the images".to_owned(),
        })
    }

    /// The terms at one latent and image.
    pub(crate) fn terms(&self, lpips: &Lpips, target: &Target, at: &At<'_>) -> Terms {
        let mut terms = Vec::with_capacity(6);
        let mut add = |name, weight: f64, value: &dyn Fn() -> Tensor<1>| {
            if weight > 0.0 {
                terms.push((name, weight, value()));
            }
        };
        let image = at.image;
        add("perceptual", self.perceptual, &|| {
            lpips.distance(&lpips.features(to_256(image.clone())), &target.features)
        });
        let difference = || image.clone() - target.images.clone();
        add("squared", self.squared, &|| {
            per_photo(difference() * difference())
        });
        add("absolute", self.absolute, &|| per_photo(difference().abs()));
        if let Some(noise) = at.noise.filter(|n| !n.is_empty()) {
            add("noise", self.noise, &|| noise_penalty(noise));
        }
        let length = |v: Tensor<3>| {
            let [n, rows, d] = v.dims();
            let squares = (v.clone() * v).reshape([n, rows * d]).sum_dim(1);
            squares.reshape([n]) * (1.0 / (rows * d) as f64)
        };
        add("prior", self.prior, &|| {
            length(at.whitening.whiten(at.ws.clone()))
        });
        if let Some(pivot) = at.pivot {
            add("delta", self.delta, &|| {
                let whitened = |w: &Tensor<3>| at.whitening.whiten(w.clone());
                length(whitened(at.ws) - whitened(pivot))
            });
        }
        Terms(terms)
    }
}

/// Where the objective is evaluated.
pub(crate) struct At<'a> {
    /// `[N, rows, w_dim]`
    pub(crate) ws: &'a Tensor<3>,
    /// `[N, 1, w_dim]`, where rows have left it.
    pub(crate) pivot: Option<&'a Tensor<3>>,
    pub(crate) image: &'a Tensor<4>,
    pub(crate) noise: Option<&'a [Tensor<4>]>,
    pub(crate) whitening: &'a Whitening,
}

/// The images to be reached, with their features.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) images: Tensor<4>,
    pub(crate) features: LpipsFeatures,
}

impl Target {
    /// Computes the features of images.
    ///
    /// # Shapes
    ///
    /// - images: `[N, 1 or 3, H, W]` in [-1, 1]
    pub fn new(lpips: &Lpips, images: Tensor<4>) -> Self {
        let images = images.inner();
        Self {
            features: lpips.features(to_256(images.clone())),
            images,
        }
    }

    /// The images.
    pub fn images(&self) -> Tensor<4> {
        self.images.clone()
    }

    /// One photo.
    pub(crate) fn photo(&self, k: usize) -> Self {
        self.select(&[k])
    }

    /// Some of the photos, in this order.
    pub(crate) fn select(&self, photos: &[usize]) -> Self {
        if photos.iter().copied().eq(0..self.len()) {
            return self.clone();
        }
        let images = photos.iter().map(|k| self.images.clone().narrow(0, *k, 1));
        Self {
            images: Tensor::cat(images.collect(), 0),
            features: self.features.select(photos),
        }
    }

    /// Number of photos.
    pub fn len(&self) -> usize {
        self.images.dims()[0]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The terms of an [`Objective`], each with its weight and one value per photo.
#[derive(Clone, Debug)]
pub struct Terms(Vec<(&'static str, f64, Tensor<1>)>);

impl Terms {
    /// The weighted sum per photo, `[N]`, with gradients where the terms have them.
    ///
    /// # Panics
    ///
    /// Never: an objective without a term is refused before it is evaluated.
    pub fn total(&self) -> Tensor<1> {
        let weighted = self
            .0
            .iter()
            .map(|(_, weight, value)| value.clone() * *weight);
        weighted
            .reduce(|a, b| a + b)
            .expect("a term compares images")
    }

    /// Each term's name, weight and values, one per photo.
    pub fn values(&self) -> Vec<(&'static str, f64, Vec<f32>)> {
        let value = |t: &Tensor<1>| t.clone().inner().into_data_dtype(DType::F32);
        let terms = self.0.iter();
        terms
            .map(|(name, weight, t)| (*name, *weight, value(t).try_to_vec().unwrap_or_default()))
            .collect()
    }
}

fn per_photo(x: Tensor<4>) -> Tensor<1> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c * h * w]).mean_dim(1).reshape([n])
}

/// The published projector's penalty of noise images that look like something:
/// $\sum (\operatorname{mean} n\,n_{\to x})^2 + (\operatorname{mean} n\,n_{\to y})^2$ over all
/// images and, while a side is longer than 8, their means over squares of 2 x 2; an arrow is a
/// shift by one pixel, around the edges.
///
/// # Shapes
///
/// - noise: `[N, 1, R, R]` each
/// - output: `[N]`
///
/// # Panics
///
/// If `noise` is empty.
pub fn noise_penalty(noise: &[Tensor<4>]) -> Tensor<1> {
    let mut sum: Option<Tensor<1>> = None;
    for image in noise {
        let mut x = image.clone();
        loop {
            let side = x.dims()[3];
            for dim in [2, 3] {
                let shifted = Tensor::cat(
                    vec![
                        x.clone().slice_dim(dim, side - 1..side),
                        x.clone().slice_dim(dim, 0..side - 1),
                    ],
                    dim,
                );
                let mean = per_photo(x.clone() * shifted);
                let term = mean.clone() * mean;
                sum = Some(match sum {
                    Some(sum) => sum + term,
                    None => term,
                });
            }
            if side <= 8 {
                break;
            }
            x = halve(x);
        }
    }
    sum.expect("a noise image")
}

/// Means over squares of 2 x 2.
fn halve(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n * c, h / 2, 2, w / 2, 2])
        .mean_dim(4)
        .mean_dim(2)
        .reshape([n, c, h / 2, w / 2])
}

/// Shrinks images larger than 256 px to that by area, as the published projector does before it
/// compares them.
///
/// # Shapes
///
/// - images: `[N, C, H, W]`
/// - output: `[N, C, 256, 256]`, or `images` if neither side is longer
pub fn to_256(images: Tensor<4>) -> Tensor<4> {
    let [_, _, h, w] = images.dims();
    if h.max(w) <= 256 {
        return images;
    }
    shrink_by_area(images, [256, 256])
}

/// The mean over the pixels each new one covers, wholly or in part.
fn shrink_by_area(images: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, h, w] = images.dims();
    let device = images.device();
    let along = |from: usize, to: usize| -> Tensor<4> {
        let mut weights = vec![0.0_f32; from * to];
        for (i, row) in weights.chunks_exact_mut(from).enumerate() {
            let covered = i * from / to..((i + 1) * from).div_ceil(to);
            let share = 1.0 / covered.len() as f32;
            row[covered].fill(share);
        }
        let data = burn::tensor::TensorData::new(weights, [1, 1, to, from]);
        Tensor::from_data(data, (&device, images.dtype()))
    };
    let (rows, columns) = (along(h, size[0]), along(w, size[1]));
    rows.matmul(images.clone()).matmul(columns.swap_dims(2, 3))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::floats;

    #[test]
    fn the_noise_penalty_by_hand() {
        let device = Device::default();
        let stripes: Vec<f32> = (0..16)
            .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        let x = Tensor::<4>::from_data(TensorData::new(stripes, [1, 1, 4, 4]), &device);
        // Shifted along x every product is -1, along y +1.
        assert_eq!(floats(noise_penalty(std::slice::from_ref(&x))), [2.0]);
        let ones = Tensor::<4>::ones([1, 1, 16, 16], &device);
        // Sides 16 and 8.
        assert_eq!(floats(noise_penalty(&[ones, x])), [6.0]);
    }

    #[test]
    fn shrinking_averages_what_is_covered() {
        let device = Device::default();
        let x = Tensor::<4>::from_data(
            TensorData::new((0..5).map(|v| v as f32).collect::<Vec<_>>(), [1, 1, 1, 5]),
            &device,
        );
        // Pixels 0 to 2 and 2 to 4.
        assert_eq!(floats(shrink_by_area(x.clone(), [1, 2])), [1.0, 3.0]);
        assert_eq!(to_256(x).dims(), [1, 1, 1, 5]);
        let large = Tensor::<4>::ones([1, 3, 512, 512], &device) * 0.5;
        let small = to_256(large);
        assert_eq!(small.dims(), [1, 3, 256, 256]);
        let worst: f32 = (small - 0.5).abs().max().into_scalar();
        assert!(worst < 1e-6);
    }

    #[test]
    fn weights_are_checked() {
        assert!(Objective::default().validate().is_ok());
        let mut objective = Objective::published();
        objective.perceptual = 0.0;
        assert!(
            objective
                .validate()
                .unwrap_err()
                .to_string()
                .contains("compares")
        );
        objective.prior = f64::NAN;
        assert!(
            objective
                .validate()
                .unwrap_err()
                .to_string()
                .contains("prior")
        );
    }
}
