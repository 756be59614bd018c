//! A measure along a path, and the two lambdas it chooses.

use serde::{Deserialize, Serialize};

/// Averages at each lambda, the best of them, and the first within its standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Curve {
    #[serde(with = "crate::number::vector")]
    pub(super) cvm: Vec<f64>,
    #[serde(with = "crate::number::vector")]
    pub(super) cvsd: Vec<f64>,
    pub(super) index_min: usize,
    pub(super) index_1se: usize,
}

impl Curve {
    /// `sign` is 1 where less is better and -1 where more is. Ties go to the larger penalty, and
    /// what is not defined is never the best.
    pub(super) fn choose(cvm: Vec<f64>, cvsd: Vec<f64>, sign: f64) -> Self {
        let mut index_min = 0;
        for k in 0..cvm.len() {
            if sign * cvm[k] < sign * cvm[index_min]
                || (cvm[index_min].is_nan() && !cvm[k].is_nan())
            {
                index_min = k;
            }
        }
        let bound = sign * cvm[index_min] + cvsd[index_min];
        let index_1se = (0..=index_min)
            .find(|&k| sign * cvm[k] <= bound)
            .unwrap_or(index_min);
        Self {
            cvm,
            cvsd,
            index_min,
            index_1se,
        }
    }
}

/// The accessors of a type that holds a [`Curve`] in `curve` and has a method `lambda`.
macro_rules! curve_accessors {
    ($type:ty, $cvm:literal, $cvsd:literal) => {
        impl $type {
            #[doc = $cvm]
            pub fn cvm(&self) -> &[f64] {
                &self.curve.cvm
            }

            #[doc = $cvsd]
            pub fn cvsd(&self) -> &[f64] {
                &self.curve.cvsd
            }

            /// Place of the best lambda.
            pub fn index_min(&self) -> usize {
                self.curve.index_min
            }

            /// Place of the largest lambda within one standard error of the best.
            pub fn index_1se(&self) -> usize {
                self.curve.index_1se
            }

            /// The best lambda.
            pub fn lambda_min(&self) -> f64 {
                self.lambda()[self.curve.index_min]
            }

            /// The largest lambda within one standard error of the best.
            pub fn lambda_1se(&self) -> f64 {
                self.lambda()[self.curve.index_1se]
            }
        }
    };
}
pub(super) use curve_accessors;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_defined_is_never_the_best() {
        let nan = f64::NAN;
        let at = |cvm: &[f64], sd: f64, sign| {
            let curve = Curve::choose(cvm.to_vec(), vec![sd; cvm.len()], sign);
            (curve.index_min, curve.index_1se)
        };
        assert_eq!(at(&[nan, 3.0, 2.0, 2.0, nan], 0.5, 1.0), (2, 2));
        assert_eq!(at(&[nan, 2.4, 2.0, nan], 0.5, 1.0), (2, 1));
        assert_eq!(at(&[0.5, 0.7, nan, 0.8, 0.8], 0.15, -1.0), (3, 1));
        assert_eq!(at(&[3.0, 2.0], nan, 1.0), (1, 1));
        assert_eq!(at(&[nan, nan], 0.1, 1.0), (0, 0));
    }
}
