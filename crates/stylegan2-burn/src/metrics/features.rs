//! Feature vectors and the networks they come from.

use burn::tensor::{DType, Tensor};

use crate::error::{Error, Result};

/// A network that turns images into feature vectors.
pub trait FeatureNetwork {
    /// One vector per image.
    ///
    /// # Shapes
    ///
    /// - images: `[N, 1 or 3, H, W]` in [-1, 1]
    /// - output: `[N, features]`
    fn features(&self, images: Tensor<4>) -> Tensor<2>;

    /// The name that distances carry, such as "AlexNet".
    fn name(&self) -> &str;
}

/// "FID" and "KID" for Inception, `kind-network` ("FD-AlexNet") for every other network.
pub fn distance_name(kind: &str, network: &str) -> String {
    match (kind, network) {
        ("FD", "Inception") => "FID".to_owned(),
        ("KD", "Inception") => "KID".to_owned(),
        _ => format!("{kind}-{network}"),
    }
}

/// A set of feature vectors, one per image.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    values: Vec<f32>,
    dim: usize,
}

impl Features {
    /// From vectors of `dim` values, one after the other.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if there are none, if `values` is no multiple of `dim`, or if a value is
    /// not finite.
    pub fn new(values: Vec<f32>, dim: usize) -> Result<Self> {
        let fault = |reason| {
            Err(Error::Argument {
                name: "features",
                reason,
            })
        };
        if dim == 0 || values.is_empty() || !values.len().is_multiple_of(dim) {
            return fault(format!("{} values for vectors of {dim}", values.len()));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let (row, column) = (at / dim, at % dim);
            return fault(format!("vector {row}, value {column}: {}", values[at]));
        }
        Ok(Self { values, dim })
    }

    /// Runs batches of images, `[N, C, H, W]` in [-1, 1], through a network.
    ///
    /// # Errors
    ///
    /// As [`Features::new`], and those of the batches.
    pub fn extract(
        network: &dyn FeatureNetwork,
        batches: impl IntoIterator<Item = Result<Tensor<4>>>,
    ) -> Result<Self> {
        let mut values: Vec<f32> = Vec::new();
        let mut dim = 0;
        for batch in batches {
            let features = network.features(batch?);
            dim = features.dims()[1];
            let data = features.into_data_dtype(DType::F32);
            values.extend(data.try_to_vec::<f32>().unwrap_or_default());
        }
        Self::new(values, dim)
    }

    /// The number of vectors.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there are none; never true.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The length of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The vectors.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    pub(super) fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..(index + 1) * self.dim]
    }

    /// Checks that two sets can be compared and have at least `least` vectors each.
    pub(super) fn check(&self, other: &Self, least: usize) -> Result<()> {
        let fault = |reason| {
            Err(Error::Argument {
                name: "features",
                reason,
            })
        };
        if self.dim != other.dim {
            return fault(format!(
                "vectors of {} and of {} values",
                self.dim, other.dim
            ));
        }
        let fewest = self.len().min(other.len());
        if fewest < least {
            return fault(format!("{fewest} vectors; at least {least} are needed"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    struct Means;

    impl FeatureNetwork for Means {
        fn features(&self, images: Tensor<4>) -> Tensor<2> {
            let [n, c, _, _] = images.dims();
            images.mean_dim(3).mean_dim(2).reshape([n, c])
        }

        fn name(&self) -> &'static str {
            "means"
        }
    }

    #[test]
    fn batches_are_joined() {
        let device = Device::default();
        let batch = |v: f32, n| Ok(Tensor::full([n, 3, 4, 4], v, &device));
        let features = Features::extract(&Means, [batch(0.5, 2), batch(-1.0, 1)]).unwrap();
        assert_eq!((features.len(), features.dim()), (3, 3));
        assert!(features.row(2).iter().all(|v| (v + 1.0).abs() < 1e-6));
        assert_eq!(features.rows().len(), 3);
    }

    #[test]
    fn faults_name_vector_and_value() {
        let error = Features::new(vec![0.0, 1.0, 2.0, f32::NAN], 2).unwrap_err();
        assert!(
            error.to_string().contains("vector 1, value 1: NaN"),
            "{error}"
        );
        assert!(Features::new(vec![0.0; 3], 2).is_err());
        assert!(Features::new(Vec::new(), 2).is_err());
        let a = Features::new(vec![0.0; 4], 2).unwrap();
        let b = Features::new(vec![0.0; 6], 3).unwrap();
        assert!(a.check(&b, 1).is_err() && a.check(&a, 3).is_err() && a.check(&a, 2).is_ok());
    }
}
