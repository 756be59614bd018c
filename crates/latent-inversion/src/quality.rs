//! How faithful an inversion is, and whether to trust it.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::device::read;
use crate::distribution::WDistribution;
use crate::error::Result;
use crate::lpips::Lpips;
use crate::objective::{Target, to_256};

/// What was reached for one photo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// LPIPS between photo and the picture of W+.
    pub lpips: f64,
    /// The same for the picture of w.
    pub lpips_w: f64,
    /// Peak signal-to-noise ratio of the picture of W+ in dB, values clamped to [-1, 1].
    pub psnr: f64,
    /// The same for the picture of w.
    pub psnr_w: f64,
    /// Mahalanobis distance of w from the mean latent.
    pub mahalanobis: f64,
    /// Steps of optimisation made.
    pub iterations: usize,
    /// Seconds, the photo's share of its batch.
    pub seconds: f64,
    /// Whether photo and latent look like what the generator knows; see [`Thresholds`].
    pub trusted: bool,
}

/// Beyond these an inversion is not trusted.
///
/// Calibrated by hand on a network of faces of 64 px with the default method; docs/inversion.md
/// has the figures. A network of other pictures needs its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// The largest LPIPS of the picture of w.
    pub lpips_w: f64,
    /// The largest Mahalanobis distance, in units of the 99th percentile of the generator's own
    /// latents ([`WDistribution::typical`]).
    pub mahalanobis: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            lpips_w: 0.2,
            mahalanobis: 1.2,
        }
    }
}

impl Thresholds {
    pub(crate) fn holds(
        &self,
        lpips_w: f64,
        mahalanobis: f64,
        distribution: &WDistribution,
    ) -> bool {
        lpips_w <= self.lpips_w && mahalanobis <= self.mahalanobis * distribution.typical()[1]
    }
}

impl std::fmt::Display for Quality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "LPIPS {:.3} (W {:.3}), PSNR {:.1} dB (W {:.1}), Mahalanobis {:.1}, {} steps, {:.2} s, {}",
            self.lpips,
            self.lpips_w,
            self.psnr,
            self.psnr_w,
            self.mahalanobis,
            self.iterations,
            self.seconds,
            if self.trusted {
                "trusted"
            } else {
                "not trusted"
            }
        )
    }
}

/// LPIPS and PSNR of each picture of a batch. One at a time: sums over a batch are split among
/// threads according to its size.
pub(crate) fn compare(lpips: &Lpips, target: &Target, images: &Tensor<4>) -> Result<Vec<[f64; 2]>> {
    let one = |k: usize| -> Result<[f64; 2]> {
        let pick = |x: &Tensor<4>| x.clone().slice_dim(0, k..k + 1);
        let (photo, image) = (pick(&target.images), pick(images).clamp(-1.0, 1.0));
        let features = |x: &Tensor<4>| lpips.features(to_256(x.clone()));
        let distance = lpips.distance(&features(&image), &features(&photo));
        let pairs = read(photo)?.into_iter().zip(read(image)?);
        let squares = pairs.map(|(a, b)| f64::from(a - b).powi(2));
        let (count, sum) = squares.fold((0.0, 0.0), |(n, sum), s| (n + 1.0, sum + s));
        Ok([f64::from(read(distance)?[0]), psnr(sum / count)])
    };
    (0..images.dims()[0]).map(one).collect()
}

/// Of a mean square of differences between values in [-1, 1]; at most 100 dB, and no number where that is none.
fn psnr(mean_square: f64) -> f64 {
    let psnr = 10.0 * (4.0 / mean_square).log10();
    // Not `min`, of which the result would be 100 where there is no number.
    if psnr > 100.0 { 100.0 } else { psnr }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn psnr_by_hand() {
        let device = Device::default();
        let lpips = Lpips::alexnet(&device).unwrap();
        let target = Target::new(&lpips, Tensor::zeros([2, 3, 32, 32], &device));
        // A tenth of the range of 2 is 20 dB; 5 counts as 1, half the range.
        let a = Tensor::ones([1, 3, 32, 32], &device);
        let images = Tensor::cat(vec![a.clone() * 0.2, a * 5.0], 0);
        let found = compare(&lpips, &target, &images).unwrap();
        assert!((found[0][1] - 20.0).abs() < 1e-4, "{found:?}");
        assert!((found[1][1] - 20.0 * 2.0_f64.log10()).abs() < 1e-4);
        assert!((psnr(0.0) - 100.0).abs() < 1e-12);
        assert!(psnr(f64::NAN).is_nan());
        let same = compare(&lpips, &target, &target.images()).unwrap();
        assert!(same[0][0].abs() < 1e-9);
    }
}
