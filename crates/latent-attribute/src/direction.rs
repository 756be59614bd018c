//! The health direction: a unit vector of the latent space along which the modelled hazard falls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::condition::Attribute;
use crate::error::{Error, Result};
use crate::from_cox::LatentRisk;
use crate::space::{LatentSpace, LayerMask};
use crate::vector::{cosine, dot, norm, normalise, significant};

/// What a direction shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectionKind {
    /// What the model reads: minus the coefficients.
    Weights,
    /// What changes in the data along with the risk: minus covariance times coefficients.
    Pattern,
    /// One of these two with other attributes held fixed in the metric of the data's covariance.
    Projected,
}

impl fmt::Display for DirectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weights => "weights: what the model reads",
            Self::Pattern => "pattern: what changes in the data along with the risk",
            Self::Projected => "projected: other attributes stay, and what goes along with them",
        })
    }
}

/// A unit vector in a latent space; a step along it is healthier by the model.
///
/// Comes from [`LatentRisk::weights`] or [`LatentRisk::pattern`], and keeps the model with it, so
/// that an edit can be dosed in hazard ratio and re-predicted. With `g` the gradient of the log
/// hazard and `u` the unit vector, [`risk_slope`](Self::risk_slope) is `g . u`, always negative.
///
/// "Healthier" is the model's word: an association in the cohort it was fitted on, not a cause.
///
/// ```
/// use latent_attribute::{FeatureMap, LatentRisk, LatentSpace, LayerMask};
///
/// // Two layers of two values; the edit is kept to the second layer.
/// let space = LatentSpace::w_plus(2, 2);
/// let risk = LatentRisk::from_cox(space, &[0.5, 0.0, 0.3, 0.4], FeatureMap::identity(4))?;
/// let direction = risk.weights()?.restricted_to(&LayerMask::only(&[1], 2)?)?;
/// assert!((direction.risk_slope() + 0.5).abs() < 1e-15);
/// let edited = direction.apply_hazard_ratio(&[0.0; 4], 0.5)?;
/// assert_eq!(edited[..2], [0.0, 0.0]);
/// assert!((risk.hazard_ratio(&[0.0; 4], &edited)? - 0.5).abs() < 1e-12);
/// # Ok::<(), latent_attribute::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HealthDirection {
    pub(crate) risk: Arc<LatentRisk>,
    pub(crate) kind: DirectionKind,
    pub(crate) space: LatentSpace,
    pub(crate) unit: Vec<f64>,
    pub(crate) risk_slope: f64,
    pub(crate) reversed: bool,
    pub(crate) conditions: Vec<Attribute>,
    pub(crate) latent_names: Option<Vec<String>>,
    pub(crate) units: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl HealthDirection {
    /// Normalises `raw` within the open layers and turns it towards falling risk.
    pub(crate) fn orient(
        risk: Arc<LatentRisk>,
        kind: DirectionKind,
        raw: Vec<f64>,
    ) -> Result<Self> {
        let space = risk.space().clone();
        let direction = Self {
            risk,
            kind,
            space,
            unit: raw,
            risk_slope: 0.0,
            reversed: false,
            conditions: Vec::new(),
            latent_names: None,
            units: None,
            metadata: BTreeMap::new(),
        };
        direction.reoriented()
    }

    /// Restores the invariants after `unit`, `space` or `conditions` changed: zero in closed
    /// layers, orthogonal to the conditions, length 1, negative slope.
    pub(crate) fn reoriented(mut self) -> Result<Self> {
        for (index, value) in self.unit.iter_mut().enumerate() {
            if !self.space.is_open(index) {
                *value = 0.0;
            }
        }
        let what = match self.kind {
            DirectionKind::Weights => "the model's weight vector (in the open layers)",
            DirectionKind::Pattern => "the data's pattern vector (in the open layers)",
            DirectionKind::Projected => "the projected vector (in the open layers)",
        };
        check::finite(what, &self.unit)?;
        normalise(&mut self.unit).ok_or(Error::ZeroDirection { what })?;
        crate::condition::project_out(&mut self.unit, &self.conditions, &self.space)?;

        let gradient = self.risk.gradient();
        let slope = dot(gradient, &self.unit);
        let open = |(index, value): (usize, &f64)| {
            if self.space.is_open(index) {
                *value
            } else {
                0.0
            }
        };
        let reachable = norm(&gradient.iter().enumerate().map(open).collect::<Vec<_>>());
        // A slope this far below what the open layers could give is rounding, not risk.
        if slope.abs() <= 1e-12 * reachable || !slope.is_finite() {
            return Err(Error::ZeroSlope { slope });
        }
        if slope > 0.0 {
            for value in &mut self.unit {
                *value = -*value;
            }
            self.reversed = !self.reversed;
        }
        self.risk_slope = -slope.abs();
        Ok(self)
    }

    /// The same direction with edits kept to the layers of `mask` that were open so far.
    ///
    /// The slope is computed anew along the restricted direction, so a dose in hazard ratio stays
    /// exact. Conditions hold within the open layers.
    ///
    /// A direction of [`conditioned_in_data`](Self::conditioned_in_data) is refused, as its projection
    /// belongs to the layers that were open then ([`Error::MaskAfterProjection`]): there the mask
    /// comes first.
    pub fn restricted_to(&self, mask: &LayerMask) -> Result<Self> {
        let direction = self.within(mask)?;
        if self.kind == DirectionKind::Projected && direction.space != self.space {
            return Err(Error::MaskAfterProjection);
        }
        Ok(direction)
    }

    /// [`restricted_to`](Self::restricted_to) of any kind.
    pub(crate) fn within(&self, mask: &LayerMask) -> Result<Self> {
        let mut direction = self.clone();
        direction.space = self.space.narrowed(mask)?;
        direction.reoriented()
    }

    /// Attaches names of the latent coordinates, one per dimension.
    pub fn with_latent_names(mut self, names: Vec<String>) -> Result<Self> {
        check::length("latent names", self.dim(), names.len())?;
        self.latent_names = Some(names);
        Ok(self)
    }

    /// Says in which units the latent coordinates are, for the reader.
    pub fn with_units(mut self, units: impl Into<String>) -> Self {
        self.units = Some(units.into());
        self
    }

    /// Adds a free entry that is saved with the direction, such as the cohort or the date.
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The unit vector, length [`dim`](Self::dim), zero in closed layers.
    pub fn unit(&self) -> &[f64] {
        &self.unit
    }

    /// Values per latent.
    pub fn dim(&self) -> usize {
        self.unit.len()
    }

    /// The latent space, with the layers that the edit touches.
    pub fn space(&self) -> &LatentSpace {
        &self.space
    }

    /// Whether this is the model's weights or the data's pattern.
    pub fn kind(&self) -> DirectionKind {
        self.kind
    }

    /// Change of log hazard per unit step along the direction, by the model; negative.
    pub fn risk_slope(&self) -> f64 {
        self.risk_slope
    }

    /// The model that the direction came from.
    pub fn risk(&self) -> &LatentRisk {
        &self.risk
    }

    /// Whether the vector was turned round to keep the modelled risk falling along it.
    ///
    /// Never for weights. A pattern that is restricted to some layers or conditioned on attributes
    /// can be left with a part along which the model's risk rises; walking it towards health then
    /// goes against the data's pattern, and the result deserves suspicion.
    pub fn reversed(&self) -> bool {
        self.reversed
    }

    /// Attributes that the direction is orthogonal to.
    pub fn conditions(&self) -> &[Attribute] {
        &self.conditions
    }

    /// Names of the latent coordinates, if attached.
    pub fn latent_names(&self) -> Option<&[String]> {
        self.latent_names.as_deref()
    }

    /// Units of the latent coordinates, if said.
    pub fn units(&self) -> Option<&str> {
        self.units.as_deref()
    }

    /// Free entries saved with the direction.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The `count` entries of largest absolute value, largest first, as `(index, value)`.
    pub fn largest(&self, count: usize) -> Vec<(usize, f64)> {
        let mut order: Vec<(usize, f64)> = self.unit.iter().copied().enumerate().collect();
        order.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        order.truncate(count);
        order
    }

    /// Share of the squared length that lies in each layer; one share of 1 without layers.
    pub fn layer_shares(&self) -> Vec<f64> {
        let width = self.dim() / self.space.layers();
        self.unit
            .chunks_exact(width)
            .map(|layer| dot(layer, layer))
            .collect()
    }

    /// Cosine of the angle to another vector of the space.
    pub fn cosine_with<T: Copy + Into<f64>>(&self, vector: &[T]) -> Result<f64> {
        cosine(&self.unit, &check::vector("vector", vector, self.dim())?)
    }
}

impl fmt::Display for HealthDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Health direction ({})", self.kind)?;
        writeln!(f, "  space           {}", self.space)?;
        let units = self.units.as_deref().unwrap_or("latent units");
        let slope = significant(self.risk_slope);
        writeln!(
            f,
            "  risk slope      {slope} log hazard per unit step ({units})"
        )?;
        let halving = significant(-std::f64::consts::LN_2 / self.risk_slope);
        writeln!(f, "  hazard ratio    0.5 at a step of {halving}")?;
        let count = self.risk.coefficients().len();
        writeln!(
            f,
            "  model           {count} coefficients, {} map steps",
            self.risk.map().steps().len()
        )?;
        if !self.conditions.is_empty() {
            let names: Vec<&str> = self.conditions.iter().map(Attribute::name).collect();
            writeln!(f, "  orthogonal to   {}", names.join(", "))?;
        }
        let entries: Vec<String> = self
            .largest(5)
            .into_iter()
            .filter(|entry| entry.1.abs() > 0.0)
            .map(|(index, value)| match &self.latent_names {
                Some(names) => format!("{} {value:+.3}", names[index]),
                None => format!("[{index}] {value:+.3}"),
            })
            .collect();
        writeln!(f, "  largest entries {}", entries.join(", "))?;
        for (key, value) in &self.metadata {
            writeln!(f, "  {key:<15} {value}")?;
        }
        if self.reversed {
            writeln!(
                f,
                "  reversed        yes: here the model's risk rises along the data's pattern"
            )?;
        }
        write!(
            f,
            "  A positive step is healthier by the model: an association, not a cause."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature_map::FeatureMap;

    fn w_plus_risk(coefficients: &[f64], layers: usize, dim: usize) -> LatentRisk {
        let map = FeatureMap::identity(layers * dim);
        LatentRisk::from_cox(LatentSpace::w_plus(layers, dim), coefficients, map).unwrap()
    }

    #[test]
    fn weights_point_down_the_risk() {
        let direction = w_plus_risk(&[3.0, 0.0, 0.0, -4.0], 2, 2).weights().unwrap();
        assert!((direction.unit()[0] + 0.6).abs() < 1e-15);
        assert!((direction.unit()[3] - 0.8).abs() < 1e-15);
        assert!((direction.risk_slope() + 5.0).abs() < 1e-15);
        assert!(!direction.reversed());
        let shares = direction.layer_shares();
        assert!((shares[0] - 0.36).abs() < 1e-15 && (shares[1] - 0.64).abs() < 1e-15);
        assert_eq!(direction.largest(1)[0].0, 3);
    }

    #[test]
    fn a_mask_without_risk_in_it_is_refused() {
        let direction = w_plus_risk(&[1.0, 1.0, 0.0, 0.0], 2, 2).weights().unwrap();
        let second = LayerMask::only(&[1], 2).unwrap();
        let error = direction.restricted_to(&second).unwrap_err();
        assert!(matches!(error, Error::ZeroDirection { .. }));
        let first = direction
            .restricted_to(&LayerMask::only(&[0], 2).unwrap())
            .unwrap();
        assert!(matches!(
            first.restricted_to(&second),
            Err(Error::EmptyMask)
        ));
        let wrong = LayerMask::all(3);
        assert!(matches!(
            first.restricted_to(&wrong),
            Err(Error::Length { .. })
        ));
    }

    #[test]
    fn a_pattern_without_slope_on_the_mask_is_refused() {
        // Layer 1 moves with the risk of layer 0 but the model reads nothing there.
        let latents = [1.0, 2.0, -1.0, -2.0, 0.5, 1.0];
        let pattern = w_plus_risk(&[1.0, 0.0], 2, 1).pattern(&latents, 3).unwrap();
        let error = pattern
            .restricted_to(&LayerMask::only(&[1], 2).unwrap())
            .unwrap_err();
        assert!(matches!(error, Error::ZeroSlope { .. }));
    }

    #[test]
    fn a_pattern_against_the_weights_is_turned_and_says_so() {
        // Coordinates rise together; the model's weight on the second is negative.
        let latents = [2.0, 1.0, -2.0, -1.0, 0.2, 0.4];
        let pattern = w_plus_risk(&[1.0, -0.5], 2, 1)
            .pattern(&latents, 3)
            .unwrap();
        assert!(!pattern.reversed());
        let second = pattern
            .restricted_to(&LayerMask::only(&[1], 2).unwrap())
            .unwrap();
        assert!(second.reversed());
        assert!(second.risk_slope() < 0.0);
        assert!((second.unit()[1] - 1.0).abs() < 1e-15);
        assert!(second.to_string().contains("reversed"));
    }

    #[test]
    fn the_printed_summary() {
        let direction = w_plus_risk(&[0.3, 0.0, 0.0, -0.4], 2, 2)
            .weights()
            .unwrap()
            .with_latent_names(["a", "b", "c", "d"].map(str::to_owned).to_vec())
            .unwrap()
            .with_metadata("cohort", "by hand");
        let expected = "\
Health direction (weights: what the model reads)
  space           W+ (2 layers x 2), edits on all layers
  risk slope      -0.500000 log hazard per unit step (latent units)
  hazard ratio    0.5 at a step of 1.38629
  model           4 coefficients, 0 map steps
  largest entries d +0.800, a -0.600
  cohort          by hand
  A positive step is healthier by the model: an association, not a cause.";
        assert_eq!(direction.to_string(), expected);
    }
}
