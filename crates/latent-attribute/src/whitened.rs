//! Conditioning in the metric of the data: attributes stay, and what goes along with them.

use crate::check;
use crate::condition::Attribute;
use crate::direction::{DirectionKind, HealthDirection};
use crate::error::{Error, Result};
use crate::from_cox::covariance_times;
use crate::vector::dot;

/// An attribute whose variance beside those before it is less than this share adds nothing.
const NEW: f64 = 1e-10;

impl HealthDirection {
    /// The direction with its parts along other attributes removed in the metric of the covariance `S`
    /// of `latents`, row-major `[n, dim]`. With the attributes' normals as the columns of `A`,
    ///
    /// ```text
    /// u - S A (A' S A)^-1 A' u
    /// ```
    ///
    /// normalised. An edit along it leaves the linear scores `A' x` unchanged, as it does after
    /// [`conditioned_on`](Self::conditioned_on); what is taken away is not the normals themselves
    /// but `S A`, that which changes in the data along with the scores. Where latents are uncorrelated and
    /// of equal variance, both are the same. `S` is never formed: `O(n dim c)` for `c` attributes.
    ///
    /// ```
    /// use latent_attribute::{Attribute, FeatureMap, LatentRisk, LatentSpace};
    ///
    /// // The second coordinate goes with the first, which is the attribute.
    /// let latents = [2.0, 2.0, -2.0, -2.0, 0.0, 1.0, 0.0, -1.0];
    /// let risk = LatentRisk::from_cox(LatentSpace::W { dim: 2 }, &[1.0, 1.0], FeatureMap::identity(2))?;
    /// let age = Attribute::new("age", &[1.0, 0.0])?;
    /// let direction = risk.weights()?.conditioned_in_data(&[age], &latents, 4);
    /// // Without the first coordinate and its companion nothing is left of (1, 1).
    /// assert!(direction.is_err());
    /// # Ok::<(), latent_attribute::Error>(())
    /// ```
    pub fn conditioned_in_data<T: Copy + Into<f64>>(
        &self,
        attributes: &[Attribute],
        latents: &[T],
        n: usize,
    ) -> Result<Self> {
        let p = self.dim();
        check::matrix("latents", latents, n, p)?;
        if n < 2 {
            return Err(Error::TooFew {
                what: "rows for the covariance".to_owned(),
                needed: 2,
                found: n,
            });
        }
        for attribute in attributes {
            let what = format!("normal of attribute `{}`", attribute.name());
            check::length(&what, p, attribute.normal().len())?;
        }
        let mut direction = self.clone();
        let basis = orthonormal(attributes, latents, p);
        let mut left = direction.unit.clone();
        // A second pass takes what rounding left of the first.
        for _ in 0..2 {
            for (a, s) in &basis {
                subtract(&mut left, s, dot(&direction.unit, a));
            }
            direction.unit.clone_from(&left);
        }
        if dot(&left, &left).sqrt() < 1e-8 {
            return Err(Error::InSpan);
        }
        direction.kind = DirectionKind::Projected;
        direction.conditions.extend_from_slice(attributes);
        direction.reoriented()
    }
}

/// Combinations `a` of the normals with `a' S a = 1` and `a' S b = 0`, each beside `S a`.
fn orthonormal<T: Copy + Into<f64>>(
    attributes: &[Attribute],
    latents: &[T],
    p: usize,
) -> Vec<(Vec<f64>, Vec<f64>)> {
    let mut basis: Vec<(Vec<f64>, Vec<f64>)> = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let mut a = attribute.normal().to_vec();
        let mut s = covariance_times(latents, p, &a);
        let whole = dot(&a, &s);
        for _ in 0..2 {
            for (b, t) in &basis {
                let along = dot(&a, t);
                subtract(&mut a, b, along);
                subtract(&mut s, t, along);
            }
        }
        let variance = dot(&a, &s);
        // A score that does not vary in the data, or only with earlier ones, cannot be told apart.
        if variance > NEW * whole && variance > 0.0 {
            let scale = variance.sqrt();
            for value in a.iter_mut().chain(&mut s) {
                *value /= scale;
            }
            basis.push((a, s));
        }
    }
    basis
}

fn subtract(from: &mut [f64], what: &[f64], times: f64) {
    for (value, part) in from.iter_mut().zip(what) {
        *value -= times * part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature_map::FeatureMap;
    use crate::from_cox::LatentRisk;
    use crate::space::LatentSpace;
    use faer::linalg::solvers::Solve;
    use faer::{Mat, Side};
    use proptest::prelude::*;

    fn weights(beta: &[f64]) -> HealthDirection {
        let dim = beta.len();
        let space = LatentSpace::W { dim };
        let risk = LatentRisk::from_cox(space, beta, FeatureMap::identity(dim)).unwrap();
        risk.weights().unwrap()
    }

    proptest! {
        /// Twin: the formula with matrices.
        #[test]
        fn projection_matches_the_formula(
            beta in prop::collection::vec(-1.0..1.0_f64, 5),
            normals in prop::collection::vec(-1.0..1.0_f64, 10),
            x in prop::collection::vec(-2.0..2.0_f64, 5 * 12),
        ) {
            let plain = weights(&beta);
            let attributes: Vec<Attribute> = normals
                .chunks_exact(5)
                .map(|normal| Attribute::new("a", normal).unwrap())
                .collect();
            let mean: Vec<f64> = (0..5).map(|j| (0..12).map(|i| x[i * 5 + j]).sum::<f64>() / 12.0).collect();
            let centred = Mat::from_fn(12, 5, |i, j| x[i * 5 + j] - mean[j]);
            let s = centred.transpose() * &centred;
            let a = Mat::from_fn(5, 2, |i, j| attributes[j].normal()[i]);
            let gram = a.transpose() * &s * &a;
            let determinant = gram[(0, 0)] * gram[(1, 1)] - gram[(0, 1)] * gram[(1, 0)];
            prop_assume!(determinant > 1e-2);
            let u = Mat::from_fn(5, 1, |i, _| plain.unit()[i]);
            let solved = gram.llt(Side::Lower).unwrap().solve(a.transpose() * &u);
            let left = &u - &s * &a * solved;
            let length = left.norm_l2();
            prop_assume!(length > 1e-3);
            let slope: f64 = (0..5).map(|i| beta[i] * left[(i, 0)]).sum();
            prop_assume!(slope.abs() > 1e-6);
            let found = plain.conditioned_in_data(&attributes, &x, 12).unwrap();
            let turn = if found.reversed() { -1.0 } else { 1.0 };
            for i in 0..5 {
                prop_assert!((turn * found.unit()[i] - left[(i, 0)] / length).abs() < 1e-7);
            }
            for attribute in &attributes {
                prop_assert!(dot(found.unit(), attribute.normal()).abs() < 1e-12);
            }
            let back = HealthDirection::from_bytes(&found.to_bytes().unwrap()).unwrap();
            prop_assert_eq!(back, found);
        }
    }

    #[test]
    fn repeated_attributes_are_harmless_and_bad_shapes_are_told() {
        let x = [2.0, 0.0, -2.0, 0.0, 0.0, 1.0, 0.0, -1.0];
        let direction = weights(&[1.0, 1.0]);
        let age = Attribute::new("age", &[1.0, 0.0]).unwrap();
        let twice = [age.clone(), age];
        let found = direction.conditioned_in_data(&twice, &x, 4).unwrap();
        assert!((found.unit()[1] + 1.0).abs() < 1e-15);
        assert_eq!(found.kind(), DirectionKind::Projected);
        assert!(direction.conditioned_in_data(&twice, &x, 3).is_err());
        assert!(direction.conditioned_in_data(&twice, &x[..2], 1).is_err());
        let short = Attribute::new("short", &[1.0]).unwrap();
        assert!(direction.conditioned_in_data(&[short], &x, 4).is_err());
    }
}
