//! Column means and scales.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{Error, Result};

/// What [`Standardizer::fit_with`] does with a column that does not vary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstantColumns {
    /// Report the first one as an error.
    #[default]
    Error,
    /// Centre it and leave its scale at 1, so that it becomes zero.
    UnitScale,
}

/// Centres and scales each column: `z_j = (x_j - mean_j) / scale_j`.
///
/// [`fit`](Self::fit) takes the sample standard deviation with divisor `n - 1` as the scale. A model
/// fitted with another convention brings its own values through [`new`](Self::new).
///
/// ```
/// use latent_attribute::Standardizer;
///
/// let scaler = Standardizer::fit(&[1.0, 10.0, 3.0, 30.0], 2, 2)?;
/// assert_eq!(scaler.mean(), [2.0, 20.0]);
/// let z = scaler.transform(&[2.0, 20.0])?;
/// assert_eq!(z, [0.0, 0.0]);
/// # Ok::<(), latent_attribute::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Standardizer {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standardizer {
    /// From means and scales of one length; scales must be positive.
    pub fn new(mean: Vec<f64>, scale: Vec<f64>) -> Result<Self> {
        if mean.is_empty() {
            return Err(Error::Empty {
                what: "scaler mean".to_owned(),
            });
        }
        check::length("scaler scale", mean.len(), scale.len())?;
        check::all_finite("scaler mean", &mean)?;
        check::all_finite("scaler scale", &scale)?;
        for &value in &scale {
            if value <= 0.0 {
                let what = "scaler scale".to_owned();
                return Err(Error::OutOfRange {
                    what,
                    value,
                    range: "positive",
                });
            }
        }
        Ok(Self { mean, scale })
    }

    /// Means and sample standard deviations of a row-major `[n, p]` matrix.
    ///
    /// Needs two rows; a constant column is an error that names it.
    pub fn fit<T: Copy + Into<f64>>(x: &[T], n: usize, p: usize) -> Result<Self> {
        Self::fit_with(x, n, p, ConstantColumns::Error)
    }

    /// As [`fit`](Self::fit), with a choice for constant columns.
    pub fn fit_with<T: Copy + Into<f64>>(
        x: &[T],
        n: usize,
        p: usize,
        constant: ConstantColumns,
    ) -> Result<Self> {
        check::matrix("latents", x, n, p)?;
        if n < 2 {
            let what = "rows to standardise".to_owned();
            return Err(Error::TooFew {
                what,
                needed: 2,
                found: n,
            });
        }
        let mean = column_means(x, p);
        let mut squares = vec![0.0; p];
        let mut low = vec![f64::INFINITY; p];
        let mut high = vec![f64::NEG_INFINITY; p];
        for row in x.chunks_exact(p) {
            for j in 0..p {
                let value: f64 = row[j].into();
                let d = value - mean[j];
                squares[j] += d * d;
                low[j] = low[j].min(value);
                high[j] = high[j].max(value);
            }
        }
        let mut scale = Vec::with_capacity(p);
        for column in 0..p {
            let sd = (squares[column] / (n - 1) as f64).sqrt();
            // A constant column can have a mean that is off by an ulp, hence an sd above zero.
            if high[column] > low[column] && sd > 0.0 {
                scale.push(sd);
            } else if constant == ConstantColumns::UnitScale {
                scale.push(1.0);
            } else {
                return Err(Error::ConstantColumn { column });
            }
        }
        Self::new(mean, scale)
    }

    /// Column means, length [`dim`](Self::dim).
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Column scales, length [`dim`](Self::dim), all positive.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// Number of columns.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Standardises one row or several, row-major.
    pub fn transform<T: Copy + Into<f64>>(&self, x: &[T]) -> Result<Vec<f64>> {
        let mut z = check::rows("latents", x, self.dim())?;
        self.apply(&mut z);
        Ok(z)
    }

    pub(crate) fn apply(&self, x: &mut [f64]) {
        for row in x.chunks_exact_mut(self.dim()) {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = (*value - mean) / scale;
            }
        }
    }
}

/// Means of the columns of a non-empty row-major matrix with `p` columns.
pub(crate) fn column_means<T: Copy + Into<f64>>(x: &[T], p: usize) -> Vec<f64> {
    let n = (x.len() / p) as f64;
    let mut mean = vec![0.0; p];
    for row in x.chunks_exact(p) {
        for (sum, &value) in mean.iter_mut().zip(row) {
            *sum += value.into();
        }
    }
    for sum in &mut mean {
        *sum /= n;
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scale_is_the_sample_standard_deviation() {
        let scaler = Standardizer::fit(&[1.0_f32, 2.0, 3.0, 4.0, 5.0], 5, 1).unwrap();
        assert!((scaler.scale()[0] - 2.5_f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn a_constant_column_is_named_or_kept_at_scale_one() {
        let x = [0.1, 1.0, 0.1, 2.0, 0.1, 4.0];
        let error = Standardizer::fit(&x, 3, 2).unwrap_err();
        assert!(matches!(error, Error::ConstantColumn { column: 0 }));
        let scaler = Standardizer::fit_with(&x, 3, 2, ConstantColumns::UnitScale).unwrap();
        assert!((scaler.scale()[0] - 1.0).abs() < f64::EPSILON);
        assert!(scaler.transform(&x).unwrap()[0].abs() < 1e-15);
    }

    #[test]
    fn bad_scales_are_refused() {
        assert!(matches!(
            Standardizer::new(vec![0.0], vec![0.0]),
            Err(Error::OutOfRange { .. })
        ));
        assert!(matches!(
            Standardizer::new(vec![0.0], vec![]),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            Standardizer::new(vec![], vec![]),
            Err(Error::Empty { .. })
        ));
        assert!(matches!(
            Standardizer::fit(&[1.0], 1, 1),
            Err(Error::TooFew { .. })
        ));
        // Squares overflow although every cell is finite.
        assert!(matches!(
            Standardizer::fit(&[1e300, -1e300], 2, 1),
            Err(Error::NotFinite { .. })
        ));
    }

    proptest! {
        #[test]
        fn transformed_columns_have_mean_zero_and_unit_variance(
            x in prop::collection::vec(-100.0..100.0_f64, 5 * 3),
        ) {
            let scaler = Standardizer::fit(&x, 5, 3).unwrap();
            let z = scaler.transform(&x).unwrap();
            for j in 0..3 {
                let column: Vec<f64> = z.iter().skip(j).step_by(3).copied().collect();
                let mean = column.iter().sum::<f64>() / 5.0;
                let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 4.0;
                prop_assert!(mean.abs() < 1e-9);
                prop_assert!((variance - 1.0).abs() < 1e-9);
            }
        }
    }
}
