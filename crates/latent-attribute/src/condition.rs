//! Conditioning: keep an edit from moving other attributes.

use crate::check;
use crate::direction::HealthDirection;
use crate::error::{Error, Result};
use crate::space::LatentSpace;
use crate::vector::{dot, normalise};

/// Another attribute of the latent, such as age or smile: a name and the normal vector of its
/// linear score `a . x`.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    name: String,
    normal: Vec<f64>,
}

impl Attribute {
    /// From the normal vector of the attribute's score (length: the latent's dimension); it is
    /// scaled to length 1.
    pub fn new<T: Copy + Into<f64>>(name: impl Into<String>, normal: &[T]) -> Result<Self> {
        let mut normal = check::finite("attribute normal", normal)?;
        normalise(&mut normal).ok_or(Error::ZeroDirection {
            what: "the attribute normal",
        })?;
        Ok(Self {
            name: name.into(),
            normal,
        })
    }

    /// From a normal whose length is 1 already, so that its bits stay as they are.
    pub(crate) fn from_unit(name: String, normal: Vec<f64>) -> Self {
        Self { name, normal }
    }

    /// The attribute's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unit normal.
    pub fn normal(&self) -> &[f64] {
        &self.normal
    }
}

impl HealthDirection {
    /// The direction with its parts along other attributes removed, so that an edit leaves their
    /// linear scores unchanged.
    ///
    /// With `Q` an orthonormal basis of the attributes' normals within the open layers, the new
    /// direction is `u - Q Q' u`, normalised: the conditional manipulation of `InterFaceGAN` (Shen
    /// et al., CVPR 2020) for any number of attributes. Slope and dose follow anew. Calls
    /// add up: earlier conditions keep holding, also after [`restricted_to`](Self::restricted_to).
    ///
    /// Leaving a linear score unchanged is not the same as no change to the eye. The stronger
    /// remedy is to fit the Cox model with age, sex and the like as covariates.
    ///
    /// ```
    /// use latent_attribute::{Attribute, FeatureMap, LatentRisk, LatentSpace};
    ///
    /// let space = LatentSpace::W { dim: 3 };
    /// let risk = LatentRisk::from_cox(space, &[1.0, 1.0, 0.0], FeatureMap::identity(3))?;
    /// let age = Attribute::new("age", &[1.0, 0.0, 0.0])?;
    /// let direction = risk.weights()?.conditioned_on(&[age])?;
    /// assert_eq!(direction.unit(), [0.0, -1.0, 0.0]);
    /// assert_eq!(direction.risk_slope(), -1.0);
    /// # Ok::<(), latent_attribute::Error>(())
    /// ```
    pub fn conditioned_on(&self, attributes: &[Attribute]) -> Result<Self> {
        for attribute in attributes {
            let what = format!("normal of attribute `{}`", attribute.name);
            check::length(&what, self.dim(), attribute.normal.len())?;
        }
        let mut direction = self.clone();
        direction.conditions.extend_from_slice(attributes);
        direction.reoriented()
    }
}

/// Removes from a unit vector what lies in the span of the normals within the open layers, and
/// normalises again. Two passes of Gram-Schmidt keep the result orthogonal to rounding.
pub(crate) fn project_out(
    unit: &mut [f64],
    attributes: &[Attribute],
    space: &LatentSpace,
) -> Result<()> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let mut q = attribute.normal.clone();
        for (index, value) in q.iter_mut().enumerate() {
            if !space.is_open(index) {
                *value = 0.0;
            }
        }
        // An attribute that the open layers do not carry cannot be moved by the edit.
        if normalise(&mut q).is_none() {
            continue;
        }
        let left = subtract_span(&mut q, &basis);
        // One that repeats earlier ones adds nothing to their span.
        if left > 1e-10 && normalise(&mut q).is_some() {
            subtract_span(&mut q, &basis);
            normalise(&mut q);
            basis.push(q);
        }
    }
    if basis.is_empty() {
        return Ok(());
    }
    if subtract_span(unit, &basis) < 1e-8 || normalise(unit).is_none() {
        return Err(Error::InSpan);
    }
    subtract_span(unit, &basis);
    normalise(unit).ok_or(Error::InSpan)?;
    Ok(())
}

/// Subtracts the projection on an orthonormal basis; returns the length of what is left.
fn subtract_span(v: &mut [f64], basis: &[Vec<f64>]) -> f64 {
    for q in basis {
        let along = dot(v, q);
        for (value, direction) in v.iter_mut().zip(q) {
            *value -= along * direction;
        }
    }
    dot(v, v).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature_map::FeatureMap;
    use crate::from_cox::LatentRisk;
    use crate::space::LayerMask;
    use faer::linalg::solvers::Solve;
    use faer::{Mat, Side};
    use proptest::prelude::*;

    fn risk(beta: &[f64], layers: usize) -> LatentRisk {
        let space = LatentSpace::w_plus(layers, beta.len() / layers);
        LatentRisk::from_cox(space, beta, FeatureMap::identity(beta.len())).unwrap()
    }

    proptest! {
        /// Twin: the normal equations `(B B') x = B u`, `u - B' x`.
        #[test]
        fn projection_matches_the_normal_equations(
            beta in prop::collection::vec(-1.0..1.0_f64, 6),
            normals in prop::collection::vec(-1.0..1.0_f64, 12),
            latent in prop::collection::vec(-1.0..1.0_f64, 6),
        ) {
            let attributes: Vec<Attribute> = normals
                .chunks_exact(6)
                .map(|normal| Attribute::new("a", normal).unwrap())
                .collect();
            let b = Mat::from_fn(2, 6, |i, j| attributes[i].normal()[j]);
            let gram = &b * b.transpose();
            let determinant = gram[(0, 0)] * gram[(1, 1)] - gram[(0, 1)] * gram[(1, 0)];
            prop_assume!(determinant > 1e-3);
            let risk = risk(&beta, 3);
            let plain = risk.weights().unwrap();
            let u = Mat::from_fn(6, 1, |i, _| plain.unit()[i]);
            let x = gram.llt(Side::Lower).unwrap().solve(&b * &u);
            let residual = &u - b.transpose() * x;
            let length = residual.norm_l2();
            prop_assume!(length > 1e-3);

            let direction = plain.conditioned_on(&attributes).unwrap();
            for i in 0..6 {
                prop_assert!((direction.unit()[i] - residual[(i, 0)] / length).abs() < 1e-9);
            }
            let edited = direction.apply_hazard_ratio(&latent, 0.5).unwrap();
            prop_assert!((risk.hazard_ratio(&latent, &edited).unwrap() / 0.5 - 1.0).abs() < 1e-10);
            for attribute in &attributes {
                prop_assert!(dot(direction.unit(), attribute.normal()).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn conditions_survive_a_mask() {
        let whole = risk(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3).weights().unwrap();
        let age = Attribute::new("age", &[1.0, 1.0, -1.0, 2.0, 0.5, 0.0]).unwrap();
        let mask = LayerMask::only(&[0, 1], 3).unwrap();
        let one = whole.conditioned_on(std::slice::from_ref(&age)).unwrap();
        let one = one.restricted_to(&mask).unwrap();
        let other = whole.restricted_to(&mask).unwrap();
        let other = other.conditioned_on(std::slice::from_ref(&age)).unwrap();
        assert!(dot(one.unit(), age.normal()).abs() < 1e-15);
        for (a, b) in one.unit().iter().zip(other.unit()) {
            assert!((a - b).abs() < 1e-14);
        }
        assert!((one.risk_slope() - other.risk_slope()).abs() < 1e-13);
    }

    #[test]
    fn repeated_and_absent_attributes_are_harmless_but_the_full_span_is_not() {
        let whole = risk(&[1.0, 1.0, 0.0, 0.0], 2).weights().unwrap();
        let a = Attribute::new("a", &[1.0, 0.0, 0.0, 0.0]).unwrap();
        let twice = whole.conditioned_on(&[a.clone(), a.clone()]).unwrap();
        assert!((twice.unit()[1] + 1.0).abs() < 1e-15);
        let elsewhere = Attribute::new("b", &[0.0, 0.0, 1.0, 0.0]).unwrap();
        let first = whole
            .restricted_to(&LayerMask::only(&[0], 2).unwrap())
            .unwrap();
        assert!(first.conditioned_on(&[elsewhere]).is_ok());
        let itself = Attribute::new("risk", whole.unit()).unwrap();
        assert!(matches!(
            whole.conditioned_on(&[itself]),
            Err(Error::InSpan)
        ));
        let short = Attribute::new("short", &[1.0]).unwrap();
        let error = whole.conditioned_on(&[short]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "normal of attribute `short`: 1 values where 4 are needed"
        );
        assert!(matches!(
            Attribute::new("none", &[0.0]),
            Err(Error::ZeroDirection { .. })
        ));
    }
}
