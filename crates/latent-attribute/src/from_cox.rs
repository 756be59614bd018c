//! A Cox model's linear predictor, in the coordinates of the latent.

use std::sync::Arc;

use crate::check;
use crate::direction::{DirectionKind, HealthDirection};
use crate::error::{Error, Result};
use crate::feature_map::{Affine, FeatureMap};
use crate::space::LatentSpace;
use crate::standardizer::column_means;
use crate::vector::{column_sizes, dot, varies};

/// The log hazard of a Cox model as a function of the latent.
///
/// The model is `log h(t | x) = log h0(t) + eta(x)` with `eta(x) = beta' T(x)`, where `T` is the
/// [`FeatureMap`] between latent and model. As `T` is affine, `eta(x) = intercept + gradient . x`
/// exactly. Levels of `eta` have no meaning in a Cox model (the baseline hazard absorbs any
/// constant); differences are log hazard ratios.
///
/// A model with further covariates (age, sex, stage) gives only its latent coefficients here; the
/// direction is then the one at fixed values of those covariates.
///
/// ```
/// use latent_attribute::{FeatureMap, LatentRisk, LatentSpace};
///
/// let space = LatentSpace::W { dim: 2 };
/// let risk = LatentRisk::from_cox(space, &[0.6, -0.8], FeatureMap::identity(2))?;
/// assert_eq!(risk.log_hazard(&[1.0, 1.0])?, 0.6 - 0.8);
/// let unit = risk.weights()?.unit().to_vec();
/// assert!((unit[0] + 0.6).abs() < 1e-15 && (unit[1] - 0.8).abs() < 1e-15);
/// # Ok::<(), latent_attribute::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LatentRisk {
    space: LatentSpace,
    map: FeatureMap,
    coefficients: Vec<f64>,
    affine: Affine,
    feature_names: Option<Vec<String>>,
}

impl LatentRisk {
    /// From the coefficients of a fitted Cox model, one per output of `map`.
    ///
    /// `map` must take latents of `space`. Coefficients that are all zero, as a strongly penalised
    /// fit returns them, are an error: they name no direction.
    pub fn from_cox<T: Copy + Into<f64>>(
        space: LatentSpace,
        coefficients: &[T],
        map: FeatureMap,
    ) -> Result<Self> {
        space.validate()?;
        check::length("feature map input", space.dim(), map.input_dim())?;
        let coefficients = check::vector("coefficients", coefficients, map.output_dim())?;
        if coefficients.iter().all(|b| b.abs() <= 0.0) {
            return Err(Error::ZeroCoefficients {
                count: coefficients.len(),
            });
        }
        let affine = map.pull_back(&coefficients)?;
        Ok(Self {
            space,
            map,
            coefficients,
            affine,
            feature_names: None,
        })
    }

    /// Attaches the names of the model's features, one per coefficient.
    pub fn with_feature_names(mut self, names: Vec<String>) -> Result<Self> {
        check::length("feature names", self.coefficients.len(), names.len())?;
        self.feature_names = Some(names);
        Ok(self)
    }

    /// The space of the latents.
    pub fn space(&self) -> &LatentSpace {
        &self.space
    }

    /// The chain between latent and model.
    pub fn map(&self) -> &FeatureMap {
        &self.map
    }

    /// The model's coefficients, one per model feature.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// Change of log hazard per unit of each latent coordinate, length `space().dim()`.
    pub fn gradient(&self) -> &[f64] {
        &self.affine.gradient
    }

    /// Value of the linear predictor at the origin of the latent space.
    pub fn intercept(&self) -> f64 {
        self.affine.intercept
    }

    /// Names of the model's features, if attached.
    pub fn feature_names(&self) -> Option<&[String]> {
        self.feature_names.as_deref()
    }

    /// Log hazard (up to the constant of the baseline) of one latent.
    pub fn log_hazard<T: Copy + Into<f64>>(&self, latent: &[T]) -> Result<f64> {
        let latent = check::vector("latent", latent, self.space.dim())?;
        Ok(self.affine.at(&latent))
    }

    /// Log hazard of each row of a row-major `[n, dim]` matrix.
    pub fn log_hazards<T: Copy + Into<f64>>(&self, latents: &[T]) -> Result<Vec<f64>> {
        let p = self.space.dim();
        let latents = check::rows("latents", latents, p)?;
        Ok(latents
            .chunks_exact(p)
            .map(|row| self.affine.at(row))
            .collect())
    }

    /// Log hazard of one latent the long way: through scaler, projection and coefficients.
    ///
    /// Equal to [`log_hazard`](Self::log_hazard) up to rounding; it re-predicts an edited latent
    /// with the model as it was fitted.
    pub fn log_hazard_through_map<T: Copy + Into<f64>>(&self, latent: &[T]) -> Result<f64> {
        check::length("latent", self.space.dim(), latent.len())?;
        let features = self.map.transform(latent)?;
        Ok(dot(&features, &self.coefficients))
    }

    /// Hazard of `edited` relative to `original`, re-predicted through the feature map.
    pub fn hazard_ratio<T, U>(&self, original: &[T], edited: &[U]) -> Result<f64>
    where
        T: Copy + Into<f64>,
        U: Copy + Into<f64>,
    {
        let change =
            self.log_hazard_through_map(edited)? - self.log_hazard_through_map(original)?;
        Ok(change.exp())
    }

    /// What the model reads: `-gradient`, normalised.
    ///
    /// The shortest Euclidean edit of the latent that reaches a given hazard ratio goes along it.
    /// It need not look like anything in the data: a coordinate can carry weight only because it
    /// cancels noise in another one (Haufe et al. 2014). [`pattern`](Self::pattern) is
    /// the other half of the picture.
    pub fn weights(&self) -> Result<HealthDirection> {
        let raw = self.affine.gradient.iter().map(|g| -g).collect();
        HealthDirection::orient(Arc::new(self.clone()), DirectionKind::Weights, raw)
    }

    /// What changes in the data along with the risk: `-Sigma gradient`, normalised, with `Sigma`
    /// the covariance of `latents`, row-major `[n, dim]`.
    ///
    /// This is the activation pattern of Haufe et al. (`NeuroImage` 87, 2014, theorem 1) for one
    /// score: the slopes of the regressions of each coordinate on the risk, up to a common factor.
    /// `Sigma` is never formed: `Sigma g = Xc' (Xc g) / (n - 1)` costs `O(n dim)`.
    ///
    /// The slope of the risk along it is never positive, as `-g' Sigma g` is minus the variance of
    /// the risk. Where that variance is no more than rounding the pattern is zero:
    /// [`Error::ZeroDirection`].
    pub fn pattern<T: Copy + Into<f64>>(&self, latents: &[T], n: usize) -> Result<HealthDirection> {
        let p = self.space.dim();
        check::matrix("latents", latents, n, p)?;
        if n < 2 {
            let what = "rows for the pattern".to_owned();
            return Err(Error::TooFew {
                what,
                needed: 2,
                found: n,
            });
        }
        let gradient = &self.affine.gradient;
        let mut raw = covariance_times(latents, p, gradient);
        if !varies(dot(gradient, &raw), gradient, &column_sizes(latents, p), n) {
            return Err(Error::ZeroDirection {
                what: "the data's pattern vector (the risk does not vary in these latents)",
            });
        }
        for value in &mut raw {
            *value = -*value;
        }
        HealthDirection::orient(Arc::new(self.clone()), DirectionKind::Pattern, raw)
    }
}

/// `Sigma v` for the covariance of a row-major matrix with `p` columns and at least two rows.
pub(crate) fn covariance_times<T: Copy + Into<f64>>(x: &[T], p: usize, v: &[f64]) -> Vec<f64> {
    let mean = column_means(x, p);
    let mut centred = vec![0.0; p];
    let mut out = vec![0.0; p];
    for row in x.chunks_exact(p) {
        for j in 0..p {
            centred[j] = row[j].into() - mean[j];
        }
        let score = dot(&centred, v);
        for (sum, value) in out.iter_mut().zip(&centred) {
            *sum += value * score;
        }
    }
    let divisor = (x.len() / p - 1) as f64;
    for value in &mut out {
        *value /= divisor;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::LayerMask;
    use proptest::prelude::*;

    fn w(dim: usize) -> LatentSpace {
        LatentSpace::W { dim }
    }

    proptest! {
        /// The slow twin: covariance entries as averages over pairs of rows, then a plain product.
        #[test]
        fn covariance_product_matches_the_matrix(
            x in prop::collection::vec(-3.0..3.0_f64, 9 * 4),
            v in prop::collection::vec(-2.0..2.0_f64, 4),
        ) {
            let (n, p) = (9, 4);
            let fast = covariance_times(&x, p, &v);
            for a in 0..p {
                let mut slow = 0.0;
                for b in 0..p {
                    let mut pairs = 0.0;
                    for i in 0..n {
                        for k in 0..n {
                            pairs += (x[i * p + a] - x[k * p + a]) * (x[i * p + b] - x[k * p + b]);
                        }
                    }
                    slow += pairs / (2 * n * (n - 1)) as f64 * v[b];
                }
                prop_assert!((fast[a] - slow).abs() < 1e-11);
            }
        }
    }

    /// Haufe et al.'s point in four rows: the first coordinate is signal plus disturbance, the
    /// second the disturbance alone. The model needs both, the data change in the first only.
    #[test]
    fn weights_and_pattern_differ_where_a_coordinate_cancels_noise() {
        let mut latents = Vec::new();
        for (signal, disturbance) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
            latents.extend([signal + disturbance, disturbance]);
        }
        let risk = LatentRisk::from_cox(w(2), &[1.0, -1.0], FeatureMap::identity(2)).unwrap();
        let weights = risk.weights().unwrap();
        let pattern = risk.pattern(&latents, 4).unwrap();
        let half = 0.5_f64.sqrt();
        assert!((weights.unit()[0] + half).abs() < 1e-15);
        assert!((weights.unit()[1] - half).abs() < 1e-15);
        assert!((weights.risk_slope() + 2.0_f64.sqrt()).abs() < 1e-15);
        assert!((pattern.unit()[0] + 1.0).abs() < 1e-15);
        assert!(pattern.unit()[1].abs() < 1e-15);
        assert!((pattern.risk_slope() + 1.0).abs() < 1e-15);
    }

    #[test]
    fn weights_and_pattern_agree_on_uncorrelated_latents_of_equal_variance() {
        let latents = [1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0];
        let risk = LatentRisk::from_cox(w(2), &[0.3, 0.4], FeatureMap::identity(2)).unwrap();
        let weights = risk.weights().unwrap();
        let pattern = risk.pattern(&latents, 4).unwrap();
        for (a, b) in weights.unit().iter().zip(pattern.unit()) {
            assert!((a - b).abs() < 1e-15);
        }
    }

    #[test]
    fn misuse_is_named() {
        let from = |space, b: &[f64], dim| {
            LatentRisk::from_cox(space, b, FeatureMap::identity(dim))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            from(w(2), &[1.0, 2.0, 3.0], 2),
            "coefficients: 3 values where 2 are needed"
        );
        assert_eq!(
            from(w(3), &[1.0, 2.0], 2),
            "feature map input: 2 values where 3 are needed"
        );
        assert!(from(w(2), &[0.0, -0.0], 2).starts_with("all 2 coefficients are zero"));
        assert!(from(w(2), &[0.0, f64::NAN], 2).starts_with("coefficients: entry 1 is NaN"));
        let closed = LatentSpace::WPlus {
            dim: 1,
            mask: LayerMask::all(0),
        };
        assert!(from(closed, &[1.0], 0).contains("no layers"));

        let risk = LatentRisk::from_cox(w(2), &[1.0, 0.0], FeatureMap::identity(2)).unwrap();
        assert!(
            risk.clone()
                .with_feature_names(vec!["a".to_owned()])
                .is_err()
        );
        assert!(matches!(risk.log_hazard(&[1.0]), Err(Error::Length { .. })));
        assert!(matches!(
            risk.log_hazard_through_map(&[1.0; 4]),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            risk.pattern(&[1.0, 2.0], 1),
            Err(Error::TooFew { .. })
        ));
        // No variance in the coordinate that carries the risk: the pattern is zero.
        assert!(matches!(
            risk.pattern(&[1.0, 2.0, 1.0, 3.0], 2),
            Err(Error::ZeroDirection { .. })
        ));
    }

    #[test]
    fn a_risk_that_varies_by_rounding_only_has_no_pattern() {
        // The mean of ten times 0.1 is off by an ulp.
        let latents: Vec<f64> = (0..10).flat_map(|i| [0.1, f64::from(i)]).collect();
        let risk = LatentRisk::from_cox(w(2), &[1.0, 0.0], FeatureMap::identity(2)).unwrap();
        assert!(matches!(
            risk.pattern(&latents, 10),
            Err(Error::ZeroDirection { .. })
        ));
        // Both columns vary, and the risk takes their difference.
        let latents: Vec<f64> = (0..10).flat_map(|i| [0.1 * f64::from(i); 2]).collect();
        let risk = LatentRisk::from_cox(w(2), &[0.3, -0.3], FeatureMap::identity(2)).unwrap();
        assert!(risk.pattern(&latents, 10).is_err());
        // One part in 10^9 is variation.
        let latents: Vec<f64> = (0..10).map(|i| 1e9 + f64::from(i)).collect();
        let risk = LatentRisk::from_cox(w(1), &[1.0], FeatureMap::identity(1)).unwrap();
        assert!(risk.pattern(&latents, 10).is_ok());
    }
}
