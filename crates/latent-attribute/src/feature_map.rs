//! The chain between a latent and the features a model was fitted on.

use crate::check;
use crate::error::{Error, Result};
use crate::pca::Pca;
use crate::standardizer::Standardizer;
use crate::vector::dot;

/// One affine step of a [`FeatureMap`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FeatureStep {
    /// Centre and scale.
    Standardize(Standardizer),
    /// Project on principal components.
    Pca(Pca),
    /// Keep these columns, in this order.
    Select(Vec<usize>),
}

impl From<Standardizer> for FeatureStep {
    fn from(step: Standardizer) -> Self {
        Self::Standardize(step)
    }
}

impl From<Pca> for FeatureStep {
    fn from(step: Pca) -> Self {
        Self::Pca(step)
    }
}

/// A linear predictor written in the coordinates of the latent: `eta(x) = intercept + gradient . x`.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// Change of the predictor per unit of each latent coordinate.
    pub gradient: Vec<f64>,
    /// Value of the predictor at the origin of the latent space.
    pub intercept: f64,
}

impl Affine {
    /// The predictor at `x`, which has as many entries as the gradient.
    pub(crate) fn at(&self, x: &[f64]) -> f64 {
        self.intercept + dot(&self.gradient, x)
    }
}

/// The map `T` from a latent to the model's features: scaling, selection, projection, in order.
///
/// Every step is affine, so a linear predictor `beta' T(x)` is affine in the latent and its gradient
/// `(dT)' beta` is exact, not fitted ([`pull_back`](Self::pull_back)).
///
/// ```
/// use latent_attribute::{FeatureMap, Standardizer};
///
/// let scaler = Standardizer::new(vec![1.0, 2.0], vec![2.0, 4.0])?;
/// let map = FeatureMap::identity(2).then(scaler)?;
/// let eta = map.pull_back(&[1.0, 1.0])?;
/// assert_eq!(eta.gradient, [0.5, 0.25]);
/// assert_eq!(eta.intercept, -1.0);
/// # Ok::<(), latent_attribute::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureMap {
    input_dim: usize,
    output_dim: usize,
    steps: Vec<FeatureStep>,
}

impl FeatureMap {
    /// No steps: the model was fitted on the latents themselves, `dim` values each.
    pub fn identity(dim: usize) -> Self {
        Self {
            input_dim: dim,
            output_dim: dim,
            steps: Vec::new(),
        }
    }

    /// Adds a step; its input must be as wide as the chain's output so far.
    pub fn then(mut self, step: impl Into<FeatureStep>) -> Result<Self> {
        let step = step.into();
        self.output_dim = match &step {
            FeatureStep::Standardize(scaler) => {
                check::length("scaler", self.output_dim, scaler.dim())?;
                scaler.dim()
            }
            FeatureStep::Pca(pca) => {
                check::length("principal components", self.output_dim, pca.input_dim())?;
                pca.output_dim()
            }
            FeatureStep::Select(columns) => {
                check_columns(columns, self.output_dim)?;
                columns.len()
            }
        };
        self.steps.push(step);
        Ok(self)
    }

    /// Adds a step that keeps `columns` in the order given, each at most once.
    pub fn select(self, columns: &[usize]) -> Result<Self> {
        self.then(FeatureStep::Select(columns.to_vec()))
    }

    /// Values per latent.
    pub fn input_dim(&self) -> usize {
        self.input_dim
    }

    /// Values per row of model features.
    pub fn output_dim(&self) -> usize {
        self.output_dim
    }

    /// The steps in order of application.
    pub fn steps(&self) -> &[FeatureStep] {
        &self.steps
    }

    /// Model features of one latent or several, row-major `[n, input_dim]` to `[n, output_dim]`.
    pub fn transform<T: Copy + Into<f64>>(&self, latents: &[T]) -> Result<Vec<f64>> {
        let mut x = check::rows("latents", latents, self.input_dim)?;
        let mut width = self.input_dim;
        for step in &self.steps {
            match step {
                FeatureStep::Standardize(scaler) => scaler.apply(&mut x),
                FeatureStep::Pca(pca) => {
                    x = pca.project(&x);
                    width = pca.output_dim();
                }
                FeatureStep::Select(columns) => {
                    let pick = |row: &[f64]| columns.iter().map(|&c| row[c]).collect::<Vec<_>>();
                    x = x.chunks_exact(width).flat_map(pick).collect();
                    width = columns.len();
                }
            }
        }
        Ok(x)
    }

    /// The predictor `beta' T(x)` in latent coordinates.
    ///
    /// Goes through the steps backwards: a scaler divides by its scale, a projection `C` becomes
    /// `C' b`, a selection puts zeros where columns were dropped. Cost: that of one transform.
    pub fn pull_back<T: Copy + Into<f64>>(&self, coefficients: &[T]) -> Result<Affine> {
        let mut b = check::vector("coefficients", coefficients, self.output_dim)?;
        let mut intercept = 0.0;
        for (index, step) in self.steps.iter().enumerate().rev() {
            match step {
                FeatureStep::Standardize(scaler) => {
                    for ((g, mean), scale) in b.iter_mut().zip(scaler.mean()).zip(scaler.scale()) {
                        *g /= scale;
                        intercept -= *g * mean;
                    }
                }
                FeatureStep::Pca(pca) => {
                    let p = pca.input_dim();
                    let mut g = vec![0.0; p];
                    for (component, weight) in pca.components().chunks_exact(p).zip(&b) {
                        for (sum, c) in g.iter_mut().zip(component) {
                            *sum += weight * c;
                        }
                    }
                    intercept -= g.iter().zip(pca.mean()).map(|(a, m)| a * m).sum::<f64>();
                    b = g;
                }
                FeatureStep::Select(columns) => {
                    let mut g = vec![0.0; self.width_before(index)];
                    for (&column, &weight) in columns.iter().zip(&b) {
                        g[column] = weight;
                    }
                    b = g;
                }
            }
        }
        let gradient = check::finite("coefficients in latent coordinates", &b)?;
        let intercept = check::finite("intercept", &[intercept])?[0];
        Ok(Affine {
            gradient,
            intercept,
        })
    }

    fn width_before(&self, index: usize) -> usize {
        self.steps[..index]
            .iter()
            .fold(self.input_dim, |width, step| match step {
                FeatureStep::Standardize(_) => width,
                FeatureStep::Pca(pca) => pca.output_dim(),
                FeatureStep::Select(columns) => columns.len(),
            })
    }
}

fn check_columns(columns: &[usize], available: usize) -> Result<()> {
    if columns.is_empty() {
        return Err(Error::Empty {
            what: "selected columns".to_owned(),
        });
    }
    let mut seen = vec![false; available];
    for &column in columns {
        let fault = match seen.get_mut(column) {
            None => "out of range",
            Some(seen) if *seen => "named twice",
            Some(seen) => {
                *seen = true;
                continue;
            }
        };
        return Err(Error::Column {
            column,
            available,
            fault,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pca::PcaConfig;
    use proptest::prelude::*;

    #[test]
    fn widths_must_fit() {
        let scaler = Standardizer::new(vec![0.0; 3], vec![1.0; 3]).unwrap();
        let error = FeatureMap::identity(2).then(scaler).unwrap_err();
        assert_eq!(error.to_string(), "scaler: 3 values where 2 are needed");
        let error = FeatureMap::identity(2).select(&[0, 2]).unwrap_err();
        assert!(matches!(
            error,
            Error::Column {
                column: 2,
                available: 2,
                ..
            }
        ));
        let error = FeatureMap::identity(2).select(&[1, 1]).unwrap_err();
        assert!(matches!(
            error,
            Error::Column {
                column: 1,
                fault: "named twice",
                ..
            }
        ));
        assert!(matches!(
            FeatureMap::identity(2).select(&[]),
            Err(Error::Empty { .. })
        ));
        let error = FeatureMap::identity(2).pull_back(&[1.0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "coefficients: 1 values where 2 are needed"
        );
    }

    #[test]
    fn overflow_is_reported() {
        let scaler = Standardizer::new(vec![0.0], vec![1e-300]).unwrap();
        let map = FeatureMap::identity(1).then(scaler).unwrap();
        assert!(matches!(
            map.pull_back(&[1e200]),
            Err(Error::NotFinite { .. })
        ));
    }

    proptest! {
        /// Risk through the chain against risk by the coefficients mapped back.
        #[test]
        fn mapped_back_coefficients_give_the_same_predictor(
            cells in prop::collection::vec(-4.0..4.0_f64, 12 * 7),
            probe in prop::collection::vec(-4.0..4.0_f64, 7),
            beta in prop::collection::vec(-2.0..2.0_f64, 3),
        ) {
            let (n, p) = (12, 7);
            let scaler = Standardizer::fit(&cells, n, p).unwrap();
            let kept = [6, 0, 3, 4, 1];
            let map = FeatureMap::identity(p).then(scaler).unwrap().select(&kept).unwrap();
            let z = map.transform(&cells).unwrap();
            let pca = PcaConfig::default().with_components(3).fit(&z, n, kept.len()).unwrap();
            let map = map.then(pca).unwrap();
            let rescale = Standardizer::fit(&map.transform(&cells).unwrap(), n, 3).unwrap();
            let map = map.then(rescale).unwrap();

            let features = map.transform(&probe).unwrap();
            let chained: f64 = features.iter().zip(&beta).map(|(f, b)| f * b).sum();
            let eta = map.pull_back(&beta).unwrap();
            // Rounding is relative to the terms that are added, which may cancel.
            let terms = eta.intercept.abs()
                + eta.gradient.iter().zip(&probe).map(|(g, x)| (g * x).abs()).sum::<f64>();
            prop_assert!((chained - eta.at(&probe)).abs() <= 1e-12 * terms.max(1.0));
            prop_assert!(eta.gradient[2].abs() == 0.0 && eta.gradient[5].abs() == 0.0);
        }
    }
}
