//! Conditioning in the metric of the data: attributes stay, and what goes along with them.

use crate::check;
use crate::condition::Attribute;
use crate::direction::{DirectionKind, HealthDirection};
use crate::error::{Error, Result};
use crate::from_cox::covariance_times;
use crate::space::LatentSpace;
use crate::vector::{column_sizes, dot, varies};

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
    /// In W+ all of it concerns the open layers alone: closed entries of `A` are zero, and of `S A` those
    /// rows are left out. So the mask comes first, and [`restricted_to`](Self::restricted_to) refuses to
    /// narrow the result. `A` holds the conditions of earlier calls as well. An attribute whose score does
    /// not vary in the data is left out of the formula, and its normal is removed as it is.
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
        direction.conditions.extend_from_slice(attributes);
        let basis = orthonormal(&direction.conditions, latents, &self.space);
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
        direction.reoriented()
    }
}

/// Combinations `a` of the normals with `a' S a = 1` and `a' S b = 0`, each beside `S a`; all of it
/// within the open layers.
fn orthonormal<T: Copy + Into<f64>>(
    attributes: &[Attribute],
    latents: &[T],
    space: &LatentSpace,
) -> Vec<(Vec<f64>, Vec<f64>)> {
    let p = space.dim();
    let sizes = column_sizes(latents, p);
    let close = |v: &mut [f64]| {
        for (index, value) in v.iter_mut().enumerate() {
            if !space.is_open(index) {
                *value = 0.0;
            }
        }
    };
    let mut basis: Vec<(Vec<f64>, Vec<f64>)> = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let mut a = attribute.normal().to_vec();
        close(&mut a);
        let mut s = covariance_times(latents, p, &a);
        close(&mut s);
        let whole = dot(&a, &s);
        // A score that does not vary in the data has no pattern, only rounding.
        if !varies(whole, &a, &sizes, latents.len() / p) {
            continue;
        }
        for _ in 0..2 {
            for (b, t) in &basis {
                let along = dot(&a, t);
                subtract(&mut a, b, along);
                subtract(&mut s, t, along);
            }
        }
        let variance = dot(&a, &s);
        // A score that varies only with earlier ones cannot be told apart.
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
    use crate::space::LayerMask;
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

    proptest! {
        /// Twin: the formula with the matrices of the open layers, whether conditions come together or
        /// one by one.
        #[test]
        fn projection_within_a_mask_matches_the_formula_of_the_open_layers(
            beta in prop::collection::vec(-1.0..1.0_f64, 8),
            normals in prop::collection::vec(-1.0..1.0_f64, 16),
            x in prop::collection::vec(-2.0..2.0_f64, 8 * 14),
        ) {
            let (n, open) = (14, [0, 1, 4, 5, 6, 7]);
            let risk = LatentRisk::from_cox(LatentSpace::w_plus(4, 2), &beta, FeatureMap::identity(8));
            let mask = LayerMask::only(&[0, 2, 3], 4).unwrap();
            let plain = risk.unwrap().weights().unwrap().restricted_to(&mask).unwrap();
            let attributes: Vec<Attribute> = normals
                .chunks_exact(8)
                .map(|normal| Attribute::new("a", normal).unwrap())
                .collect();
            let mean: Vec<f64> = (0..8).map(|j| (0..n).map(|i| x[i * 8 + j]).sum::<f64>() / n as f64).collect();
            let centred = Mat::from_fn(n, 6, |i, j| x[i * 8 + open[j]] - mean[open[j]]);
            let s = centred.transpose() * &centred;
            let a = Mat::from_fn(6, 2, |i, j| attributes[j].normal()[open[i]]);
            let gram = a.transpose() * &s * &a;
            let determinant = gram[(0, 0)] * gram[(1, 1)] - gram[(0, 1)] * gram[(1, 0)];
            prop_assume!(determinant > 1e-2);
            let u = Mat::from_fn(6, 1, |i, _| plain.unit()[open[i]]);
            let solved = gram.llt(Side::Lower).unwrap().solve(a.transpose() * &u);
            let left = &u - &s * &a * solved;
            let length = left.norm_l2();
            prop_assume!(length > 1e-3);
            let slope: f64 = (0..6).map(|i| beta[open[i]] * left[(i, 0)]).sum();
            prop_assume!(slope.abs() > 1e-6);
            let together = plain.conditioned_in_data(&attributes, &x, n).unwrap();
            let one = plain.conditioned_in_data(&attributes[..1], &x, n);
            prop_assume!(one.is_ok());
            let one_by_one = one.unwrap().conditioned_in_data(&attributes[1..], &x, n);
            prop_assume!(one_by_one.is_ok());
            for found in [together, one_by_one.unwrap()] {
                let turn = if found.reversed() { -1.0 } else { 1.0 };
                for (i, &j) in open.iter().enumerate() {
                    prop_assert!((turn * found.unit()[j] - left[(i, 0)] / length).abs() < 1e-7);
                }
                prop_assert!(found.unit()[2..4].iter().all(|u| u.abs() <= 0.0));
                let back = HealthDirection::from_bytes(&found.to_bytes().unwrap()).unwrap();
                prop_assert_eq!(back, found);
            }
        }
    }

    #[test]
    fn a_mask_after_the_projection_is_refused() {
        let space = LatentSpace::w_plus(3, 1);
        let risk = LatentRisk::from_cox(space, &[1.0, 1.0, 1.0], FeatureMap::identity(3)).unwrap();
        let x = [
            2.0, 1.0, 0.0, -2.0, -1.0, 0.5, 0.0, 1.0, -1.0, 0.3, -1.0, 0.2,
        ];
        let age = Attribute::new("age", &[1.0, 0.0, 0.0]).unwrap();
        let whole = risk.weights().unwrap();
        let found = whole.conditioned_in_data(&[age], &x, 4).unwrap();
        let error = found.restricted_to(&LayerMask::only(&[1, 2], 3).unwrap());
        assert!(matches!(error, Err(Error::MaskAfterProjection)));
        assert_eq!(
            found.restricted_to(&LayerMask::all(3)).unwrap().space(),
            found.space()
        );
    }

    #[test]
    fn an_attribute_that_does_not_vary_is_no_direction_of_the_data() {
        // The first column is 0.1 throughout, and the mean of ten of them is off by an ulp.
        let cells = |i: i32| [0.1, f64::from(i), f64::from(i * i % 7)];
        let x: Vec<f64> = (0..10).flat_map(cells).collect();
        let still = Attribute::new("still", &[1.0, 0.0, 0.0]).unwrap();
        let found = weights(&[1.0, 1.0, 1.0])
            .conditioned_in_data(&[still], &x, 10)
            .unwrap();
        let half = 0.5_f64.sqrt();
        for (found, expected) in found.unit().iter().zip([0.0, -half, -half]) {
            assert!((found - expected).abs() < 1e-15);
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
