//! How far generated images are from real ones.
//!
//! Images become feature vectors through a [`FeatureNetwork`]; the formulas work on those
//! ([`Features`]). Distances are named after the network: the Frechet distance is the FID only
//! with Inception's features, and values of different networks cannot be compared.

mod features;
mod frechet;
mod inception;
mod kernel;
mod neighbours;
mod path;

use std::fmt;

pub use features::{FeatureNetwork, Features, distance_name};
pub use frechet::frechet_distance;
pub use inception::Inception;
pub use kernel::{KernelDistance, kernel_distance_of_subsets};
pub use neighbours::{PrecisionRecall, nearest, nearest_other, precision_recall};
pub use path::path_length;

use crate::error::Result;

/// All metrics of one comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// The feature network.
    pub network: String,
    /// Numbers of real and generated images.
    pub images: [usize; 2],
    /// [`frechet_distance`].
    pub frechet: f64,
    /// [`KernelDistance`].
    pub kernel: f64,
    /// [`precision_recall`] with three neighbours.
    pub precision_recall: PrecisionRecall,
}

impl Quality {
    /// The fewest images of either kind that can be compared: one and its three neighbours.
    pub const FEWEST: usize = 4;

    /// Compares generated with real images by the features of `network`.
    ///
    /// `seed` chooses the subsets of the kernel distance.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) for sets of different dimension or fewer than
    /// [`Quality::FEWEST`] vectors.
    pub fn measure(network: &str, real: &Features, fake: &Features, seed: u64) -> Result<Self> {
        Ok(Self {
            network: network.to_owned(),
            images: [real.len(), fake.len()],
            frechet: frechet_distance(real, fake)?,
            kernel: KernelDistance::default()
                .with_seed(seed)
                .measure(real, fake)?,
            precision_recall: precision_recall(real, fake, 3)?,
        })
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [real, fake] = self.images;
        let PrecisionRecall { precision, recall } = self.precision_recall;
        let frechet = distance_name("FD", &self.network);
        let kernel = distance_name("KD", &self.network);
        let width = frechet.len().max(kernel.len()).max("precision".len());
        writeln!(f, "{real} real and {fake} generated images")?;
        writeln!(f, "{frechet:<width$}  {:.4}", self.frechet)?;
        writeln!(f, "{kernel:<width$}  {:.6}", self.kernel)?;
        writeln!(f, "{:<width$}  {precision:.4}", "precision")?;
        write!(f, "{:<width$}  {recall:.4}", "recall")
    }
}

#[cfg(test)]
mod inception_test;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_named_after_the_network() {
        let features = Features::new((0..32).map(|v| v as f32).collect(), 4).unwrap();
        let quality = Quality::measure("AlexNet", &features, &features, 0).unwrap();
        let text = quality.to_string();
        assert!(
            text.starts_with("8 real and 8 generated images\nFD-AlexNet  "),
            "{text}"
        );
        assert!(!text.contains("FID"));
        let text = Quality {
            network: "Inception".to_owned(),
            ..quality
        }
        .to_string();
        assert!(text.contains("FID") && text.contains("KID"), "{text}");
    }
}
