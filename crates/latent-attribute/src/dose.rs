//! Edits dosed in hazard ratio.

use crate::check;
use crate::direction::HealthDirection;
use crate::error::{Error, Result};
use crate::vector::dot;

/// One edited latent of a [`walk`](HealthDirection::walk).
#[derive(Debug, Clone, PartialEq)]
pub struct WalkStep {
    /// Hazard relative to the latent the walk starts from, by the model.
    pub hazard_ratio: f64,
    /// Signed step along the direction's unit vector.
    pub step: f64,
    /// The edited latent.
    pub latent: Vec<f64>,
}

impl HealthDirection {
    /// The step along the unit vector that multiplies the modelled hazard by `hazard_ratio`:
    /// `step = ln(hazard_ratio) / risk_slope`.
    ///
    /// Below 1 the step is positive (healthier), above 1 negative (more ill).
    pub fn step_for_hazard_ratio(&self, hazard_ratio: f64) -> Result<f64> {
        if !(hazard_ratio > 0.0 && hazard_ratio.is_finite()) {
            return Err(Error::OutOfRange {
                what: "hazard ratio".to_owned(),
                value: hazard_ratio,
                range: "finite and above 0",
            });
        }
        let step = hazard_ratio.ln() / self.risk_slope;
        Ok(check::finite("step", &[step])?[0])
    }

    /// The hazard ratio that a step gives, by the model: `exp(step x risk_slope)`.
    pub fn hazard_ratio_for_step(&self, step: f64) -> f64 {
        (step * self.risk_slope).exp()
    }

    /// Moves a latent by `step` along the unit vector. Closed layers keep their values exactly.
    pub fn apply<T: Copy + Into<f64>>(&self, latent: &[T], step: f64) -> Result<Vec<f64>> {
        let mut edited = check::vector("latent", latent, self.dim())?;
        check::finite("step", &[step])?;
        for (index, (value, u)) in edited.iter_mut().zip(&self.unit).enumerate() {
            if self.space.is_open(index) {
                *value += step * u;
            }
        }
        check::finite("edited latent", &edited)
    }

    /// Moves a latent so that its modelled hazard is multiplied by `hazard_ratio`.
    ///
    /// Re-predicting the edited latent through scaler, projection and coefficients gives that
    /// ratio up to rounding in `f64`; an edit rounded to `f32` afterwards keeps about six digits.
    pub fn apply_hazard_ratio<T: Copy + Into<f64>>(
        &self,
        latent: &[T],
        hazard_ratio: f64,
    ) -> Result<Vec<f64>> {
        self.apply(latent, self.step_for_hazard_ratio(hazard_ratio)?)
    }

    /// Edited latents for a series of hazard ratios, each relative to `latent` itself.
    ///
    /// [`log_spaced`] makes a series with even steps.
    pub fn walk<T: Copy + Into<f64>>(
        &self,
        latent: &[T],
        hazard_ratios: &[f64],
    ) -> Result<Vec<WalkStep>> {
        hazard_ratios
            .iter()
            .map(|&hazard_ratio| {
                let step = self.step_for_hazard_ratio(hazard_ratio)?;
                Ok(WalkStep {
                    hazard_ratio,
                    step,
                    latent: self.apply(latent, step)?,
                })
            })
            .collect()
    }

    /// Position of a latent along the unit vector, `u . x`.
    pub fn project<T: Copy + Into<f64>>(&self, latent: &[T]) -> Result<f64> {
        Ok(dot(
            &self.unit,
            &check::vector("latent", latent, self.dim())?,
        ))
    }

    /// Standard deviation of `n` latents (row-major `[n, dim]`) along the unit vector.
    ///
    /// A step divided by this says how far an edit goes compared with how people differ; beyond
    /// about 3 the model is asked about latents it has not seen.
    pub fn spread<T: Copy + Into<f64>>(&self, latents: &[T], n: usize) -> Result<f64> {
        check::matrix("latents", latents, n, self.dim())?;
        if n < 2 {
            let what = "rows for the spread".to_owned();
            return Err(Error::TooFew {
                what,
                needed: 2,
                found: n,
            });
        }
        let positions: Vec<f64> = latents
            .chunks_exact(self.dim())
            .map(|row| dot(&self.unit, row))
            .collect();
        let mean = positions.iter().sum::<f64>() / n as f64;
        let squares: f64 = positions.iter().map(|v| (v - mean).powi(2)).sum();
        Ok((squares / (n - 1) as f64).sqrt())
    }
}

/// `count` hazard ratios from `first` to `last`, both included, evenly spaced in the logarithm.
///
/// ```
/// let ratios = latent_attribute::log_spaced(0.25, 4.0, 5)?;
/// assert!((ratios[1] - 0.5).abs() < 1e-12 && (ratios[2] - 1.0).abs() < 1e-12);
/// # Ok::<(), latent_attribute::Error>(())
/// ```
pub fn log_spaced(first: f64, last: f64, count: usize) -> Result<Vec<f64>> {
    for value in [first, last] {
        if !(value > 0.0 && value.is_finite()) {
            let what = "hazard ratio".to_owned();
            return Err(Error::OutOfRange {
                what,
                value,
                range: "finite and above 0",
            });
        }
    }
    if count < 2 {
        let what = "hazard ratios of a series".to_owned();
        return Err(Error::TooFew {
            what,
            needed: 2,
            found: count,
        });
    }
    let (low, high) = (first.ln(), last.ln());
    let mut series: Vec<f64> = (0..count)
        .map(|i| (low + (high - low) * i as f64 / (count - 1) as f64).exp())
        .collect();
    series[0] = first;
    series[count - 1] = last;
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature_map::FeatureMap;
    use crate::from_cox::LatentRisk;
    use crate::pca::PcaConfig;
    use crate::space::{LatentSpace, LayerMask};
    use crate::standardizer::Standardizer;
    use proptest::prelude::*;

    fn fitted(cells: &[f64], beta: &[f64], n: usize, layers: usize, dim: usize) -> LatentRisk {
        let p = layers * dim;
        let scaler = Standardizer::fit(cells, n, p).unwrap();
        let map = FeatureMap::identity(p).then(scaler).unwrap();
        let z = map.transform(cells).unwrap();
        let pca = PcaConfig::default()
            .with_components(beta.len())
            .fit(&z, n, p)
            .unwrap();
        let map = map.then(pca).unwrap();
        LatentRisk::from_cox(LatentSpace::w_plus(layers, dim), beta, map).unwrap()
    }

    proptest! {
        /// Asked for a hazard ratio, the model re-predicts it: both kinds, with and without mask.
        #[test]
        fn the_edited_latent_has_the_hazard_ratio_asked_for(
            cells in prop::collection::vec(-3.0..3.0_f64, 14 * 8),
            beta in prop::collection::vec(-1.0..1.0_f64, 3),
            latent in prop::collection::vec(-3.0..3.0_f64, 8),
            log_ratio in -3.0..3.0_f64,
            open in prop::collection::vec(any::<bool>(), 4),
        ) {
            prop_assume!(beta.iter().any(|b| b.abs() > 0.05));
            let risk = fitted(&cells, &beta, 14, 4, 2);
            let ratio = log_ratio.exp();
            let kept: Vec<usize> = (0..4).filter(|&layer| open[layer]).collect();
            for whole in [risk.weights().unwrap(), risk.pattern(&cells, 14).unwrap()] {
                let mut directions = vec![whole.clone()];
                if let Ok(mask) = LayerMask::only(&kept, 4) {
                    directions.push(whole.restricted_to(&mask).unwrap());
                }
                for direction in directions {
                    prop_assert!(direction.risk_slope() < 0.0);
                    let length = dot(direction.unit(), direction.unit());
                    prop_assert!((length - 1.0).abs() < 1e-14);
                    let step = direction.step_for_hazard_ratio(ratio).unwrap();
                    // Far outside the data rounding of large risks that cancel takes over.
                    prop_assume!(step.abs() < 1e3);
                    let edited = direction.apply_hazard_ratio(&latent, ratio).unwrap();
                    let found = risk.hazard_ratio(&latent, &edited).unwrap();
                    prop_assert!((found / ratio - 1.0).abs() < 1e-10, "{found} for {ratio}");
                    let by_step = direction.hazard_ratio_for_step(step);
                    prop_assert!((by_step / ratio - 1.0).abs() < 1e-12);
                    for (index, (after, before)) in edited.iter().zip(&latent).enumerate() {
                        if !direction.space().is_open(index) {
                            prop_assert_eq!(after.to_bits(), before.to_bits());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_full_size_w_plus_edit_is_exact() {
        let (n, layers, dim) = (40, 18, 512);
        let cells: Vec<f64> = (0..n * layers * dim)
            .map(|i| ((i as f64) * 0.618_033_988_75).fract() * 2.0 - 1.0 + ((i * i) as f64).sin())
            .collect();
        let beta: Vec<f64> = (0..20).map(|i| 0.3 / f64::from(i + 1)).collect();
        let risk = fitted(&cells, &beta, n, layers, dim);
        let mask = LayerMask::range(8..18, layers).unwrap();
        let latent = &cells[..layers * dim];
        for whole in [risk.weights().unwrap(), risk.pattern(&cells, n).unwrap()] {
            let direction = whole.restricted_to(&mask).unwrap();
            let edited = direction.apply_hazard_ratio(latent, 0.5).unwrap();
            let found = risk.hazard_ratio(latent, &edited).unwrap();
            assert!((found / 0.5 - 1.0).abs() < 1e-10, "{found}");
            let through = risk.log_hazard_through_map(&edited).unwrap();
            assert!((through - risk.log_hazard(&edited).unwrap()).abs() < 1e-11);
        }
    }

    #[test]
    fn a_walk_is_strictly_monotone_in_risk() {
        let risk = LatentRisk::from_cox(
            LatentSpace::Z { dim: 2 },
            &[0.5, 0.1],
            FeatureMap::identity(2),
        )
        .unwrap();
        let direction = risk.weights().unwrap();
        let ratios = log_spaced(4.0, 0.25, 9).unwrap();
        let walk = direction.walk(&[1.0_f32, -1.0], &ratios).unwrap();
        let risks: Vec<f64> = walk
            .iter()
            .map(|s| risk.log_hazard(&s.latent).unwrap())
            .collect();
        assert!(risks.windows(2).all(|pair| pair[1] < pair[0]));
        assert!(walk[4].step.abs() < 1e-12);
        assert!(walk[0].step < 0.0 && walk[8].step > 0.0);
    }

    #[test]
    fn bad_doses_are_refused() {
        let risk = LatentRisk::from_cox(
            LatentSpace::Z { dim: 1 },
            &[1e-300],
            FeatureMap::identity(1),
        )
        .unwrap();
        let direction = risk.weights().unwrap();
        for ratio in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(
                direction.step_for_hazard_ratio(ratio),
                Err(Error::OutOfRange { .. })
            ));
        }
        assert!(direction.step_for_hazard_ratio(0.5).is_ok());
        assert!(matches!(
            direction.apply(&[0.0], f64::NAN),
            Err(Error::NotFinite { .. })
        ));
        assert!(matches!(
            direction.apply(&[0.0; 2], 1.0),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            direction.apply(&[f64::NAN], 1.0),
            Err(Error::NotFinite { .. })
        ));
        assert!(log_spaced(0.0, 1.0, 3).is_err());
        assert!(matches!(log_spaced(0.5, 1.0, 1), Err(Error::TooFew { .. })));
    }

    #[test]
    fn spread_is_the_standard_deviation_along_the_direction() {
        let risk = LatentRisk::from_cox(
            LatentSpace::Z { dim: 2 },
            &[0.0, -2.0],
            FeatureMap::identity(2),
        )
        .unwrap();
        let direction = risk.weights().unwrap();
        let spread = direction
            .spread(&[9.0, 1.0, -7.0, 2.0, 5.0, 3.0], 3)
            .unwrap();
        assert!((spread - 1.0).abs() < 1e-15);
        assert!((direction.project(&[9.0, 1.5]).unwrap() - 1.5).abs() < 1e-15);
    }
}
