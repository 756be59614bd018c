//! Principal components by a thin singular value decomposition.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, Par, Spec};
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{Error, Result};
use crate::standardizer::column_means;

/// How many components [`PcaConfig::fit`] keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentCount {
    /// All that the centred data has, at most `min(n - 1, p)`.
    #[default]
    All,
    /// This many.
    Fixed(usize),
    /// The fewest whose share of the total variance reaches this value in `(0, 1]`.
    ExplainedVariance(f64),
}

/// Settings of a principal component analysis.
///
/// ```
/// use latent_attribute::PcaConfig;
///
/// // Four points near the diagonal of the plane.
/// let x = [-2.0, -2.1, -1.0, -0.9, 1.0, 1.1, 2.0, 1.9];
/// let pca = PcaConfig::default().with_components(1).fit(&x, 4, 2)?;
/// assert!(pca.explained_variance_ratio()[0] > 0.99);
/// # Ok::<(), latent_attribute::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PcaConfig {
    /// How many components to keep; all by default.
    pub components: ComponentCount,
}

impl PcaConfig {
    /// Keep exactly `count` components.
    pub fn with_components(mut self, count: usize) -> Self {
        self.components = ComponentCount::Fixed(count);
        self
    }

    /// Keep the fewest components that explain `share` of the variance, in `(0, 1]`.
    pub fn with_explained_variance(mut self, share: f64) -> Self {
        self.components = ComponentCount::ExplainedVariance(share);
        self
    }

    /// Components of a row-major `[n, p]` matrix.
    ///
    /// With `Xc = U S V'` the centred matrix, the components are the rows of `V'` and their
    /// variances `S^2 / (n - 1)`. The sign of a component is fixed by making its entry of largest
    /// absolute value positive (the first one if several are equal).
    ///
    /// Cost `O(n p min(n, p))`: where one side is much longer, a QR factorisation first reduces the
    /// problem to the short side, so that `p >> n` is solved in `n` dimensions. Runs on one thread,
    /// so the bits do not depend on how many there are.
    pub fn fit<T: Copy + Into<f64>>(&self, x: &[T], n: usize, p: usize) -> Result<Pca> {
        check::matrix("latents", x, n, p)?;
        if n < 2 {
            let what = "rows for principal components".to_owned();
            return Err(Error::TooFew {
                what,
                needed: 2,
                found: n,
            });
        }
        let mean = column_means(x, p);
        let (singular, rows) = right_singular_vectors(x, &mean, n, p)?;

        let largest = singular.first().copied().unwrap_or(0.0);
        let tolerance = largest * f64::EPSILON * n.max(p) as f64;
        let above = singular.iter().take_while(|&&s| s > tolerance).count();
        // Centring takes one dimension; rounding in the mean can leave a trace of it.
        let rank = above.min(n - 1);
        let variance: Vec<f64> = singular.iter().map(|s| s * s / (n - 1) as f64).collect();
        let total: f64 = variance.iter().sum();
        if !total.is_finite() {
            return Err(Error::Svd);
        }
        let count = self.count(&variance[..rank], total)?;

        let mut components = rows[..count * p].to_vec();
        for component in components.chunks_exact_mut(p) {
            fix_sign(component);
        }
        Pca::new(mean, components, variance[..count].to_vec(), total)
    }

    fn count(&self, variance: &[f64], total: f64) -> Result<usize> {
        let rank = variance.len();
        match self.components {
            ComponentCount::Fixed(asked) if asked == 0 || asked > rank => {
                Err(Error::Rank { asked, rank })
            }
            ComponentCount::Fixed(asked) => Ok(asked),
            _ if rank == 0 => Err(Error::Rank { asked: 1, rank }),
            ComponentCount::All => Ok(rank),
            ComponentCount::ExplainedVariance(share) => {
                if !(share > 0.0 && share <= 1.0) {
                    let what = "share of explained variance".to_owned();
                    return Err(Error::OutOfRange {
                        what,
                        value: share,
                        range: "in (0, 1]",
                    });
                }
                let mut sum = 0.0;
                let reached = variance.iter().position(|v| {
                    sum += v;
                    sum >= share * total
                });
                Ok(reached.map_or(rank, |last| last + 1))
            }
        }
    }
}

/// Principal components: `y = C (x - mean)`, the rows of `C` orthonormal.
#[derive(Debug, Clone, PartialEq)]
pub struct Pca {
    mean: Vec<f64>,
    components: Vec<f64>,
    explained_variance: Vec<f64>,
    total_variance: f64,
}

impl Pca {
    /// From the mean (length `p`), the components (`[k, p]` row-major), their variances (length
    /// `k`) and the variance of all components together.
    ///
    /// Coefficients are mapped back exactly whatever the components are, so they are not required
    /// to be orthonormal.
    pub fn new(
        mean: Vec<f64>,
        components: Vec<f64>,
        explained_variance: Vec<f64>,
        total_variance: f64,
    ) -> Result<Self> {
        let (p, k) = (mean.len(), explained_variance.len());
        check::matrix("principal components", &components, k, p)?;
        check::all_finite("principal component mean", &mean)?;
        for &value in explained_variance.iter().chain([&total_variance]) {
            if !(value >= 0.0 && value.is_finite()) {
                let what = "explained variance".to_owned();
                return Err(Error::OutOfRange {
                    what,
                    value,
                    range: "finite and not negative",
                });
            }
        }
        Ok(Self {
            mean,
            components,
            explained_variance,
            total_variance,
        })
    }

    /// Column means, length [`input_dim`](Self::input_dim).
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Components, `[k, p]` row-major, by falling variance.
    pub fn components(&self) -> &[f64] {
        &self.components
    }

    /// Variance along each component, length `k`.
    pub fn explained_variance(&self) -> &[f64] {
        &self.explained_variance
    }

    /// Variance of the data, all components together.
    pub fn total_variance(&self) -> f64 {
        self.total_variance
    }

    /// Share of the total variance along each component, length `k`.
    pub fn explained_variance_ratio(&self) -> Vec<f64> {
        self.explained_variance
            .iter()
            .map(|v| v / self.total_variance)
            .collect()
    }

    /// Number of columns of the data, `p`.
    pub fn input_dim(&self) -> usize {
        self.mean.len()
    }

    /// Number of components, `k`.
    pub fn output_dim(&self) -> usize {
        self.explained_variance.len()
    }

    /// Scores of one row or several: `[n, p]` to `[n, k]`, row-major.
    pub fn transform<T: Copy + Into<f64>>(&self, x: &[T]) -> Result<Vec<f64>> {
        let x = check::rows("latents", x, self.input_dim())?;
        Ok(self.project(&x))
    }

    pub(crate) fn project(&self, x: &[f64]) -> Vec<f64> {
        let p = self.input_dim();
        let mut centred = vec![0.0; p];
        let mut scores = Vec::with_capacity(x.len() / p * self.output_dim());
        for row in x.chunks_exact(p) {
            for ((c, value), mean) in centred.iter_mut().zip(row).zip(&self.mean) {
                *c = value - mean;
            }
            scores.extend(self.components.chunks_exact(p).map(|component| {
                component
                    .iter()
                    .zip(&centred)
                    .map(|(a, b)| a * b)
                    .sum::<f64>()
            }));
        }
        scores
    }
}

/// Singular values, falling, and the rows of `V'` of the centred matrix.
fn right_singular_vectors<T: Copy + Into<f64>>(
    x: &[T],
    mean: &[f64],
    n: usize,
    p: usize,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let centred = Mat::from_fn(n, p, |i, j| x[i * p + j].into() - mean[j]);
    let size = n.min(p);
    let mut s = Diag::<f64>::zeros(size);
    let mut v = Mat::<f64>::zeros(p, size);
    // The sequential kernels: a parallel product may add up in another order.
    let par = Par::Seq;
    let (u_wanted, v_wanted) = (ComputeSvdVectors::No, ComputeSvdVectors::Thin);
    let scratch = svd_scratch::<f64>(n, p, u_wanted, v_wanted, par, Spec::default());
    let mut memory = MemBuffer::try_new(scratch).map_err(|_| Error::Svd)?;
    svd(
        centred.as_ref(),
        s.as_mut(),
        None,
        Some(v.as_mut()),
        par,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .map_err(|_| Error::Svd)?;

    let singular: Vec<f64> = s.column_vector().iter().copied().collect();
    let rows: Vec<f64> = v
        .col_iter()
        .flat_map(|column| column.iter().copied())
        .collect();
    if singular.iter().chain(&rows).all(|value| value.is_finite()) {
        Ok((singular, rows))
    } else {
        Err(Error::Svd)
    }
}

fn fix_sign(component: &mut [f64]) {
    let mut extreme = 0.0_f64;
    for &value in component.iter() {
        if value.abs() > extreme.abs() {
            extreme = value;
        }
    }
    if extreme < 0.0 {
        for value in component {
            *value = -*value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `cov(X) v` with the covariance written out.
    fn covariance_product(x: &[f64], n: usize, p: usize, v: &[f64]) -> Vec<f64> {
        let mean = column_means(x, p);
        let mut out = vec![0.0; p];
        for a in 0..p {
            for b in 0..p {
                let mut c = 0.0;
                for i in 0..n {
                    c += (x[i * p + a] - mean[a]) * (x[i * p + b] - mean[b]);
                }
                out[a] += c / (n - 1) as f64 * v[b];
            }
        }
        out
    }

    fn check_against_covariance(x: &[f64], n: usize, p: usize) {
        let pca = PcaConfig::default().fit(x, n, p).unwrap();
        let trace: f64 = (0..p)
            .map(|j| {
                let mut e = vec![0.0; p];
                e[j] = 1.0;
                covariance_product(x, n, p, &e)[j]
            })
            .sum();
        assert!((pca.total_variance() - trace).abs() <= 1e-11 * trace);
        let k = pca.output_dim();
        assert!(k <= (n - 1).min(p));
        for (a, component) in pca.components().chunks_exact(p).enumerate() {
            let product = covariance_product(x, n, p, component);
            for (left, right) in product.iter().zip(component) {
                let residual = left - pca.explained_variance()[a] * right;
                assert!(residual.abs() < 1e-11 * trace, "{residual}");
            }
            for (b, other) in pca.components().chunks_exact(p).enumerate() {
                let dot: f64 = component.iter().zip(other).map(|(x, y)| x * y).sum();
                assert!((dot - f64::from(u8::from(a == b))).abs() < 1e-12);
            }
            let extreme = component
                .iter()
                .fold(0.0_f64, |m, &v| if v.abs() > m.abs() { v } else { m });
            assert!(extreme > 0.0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn components_are_eigenvectors_of_the_covariance(
            n in 2_usize..24, p in 1_usize..24,
            cells in prop::collection::vec(-5.0..5.0_f64, 24 * 24),
        ) {
            check_against_covariance(&cells[..n * p], n, p);
        }
    }

    #[test]
    fn many_more_columns_than_rows() {
        let (n, p) = (6, 200);
        let x: Vec<f64> = (0..n * p).map(|i| ((i * i) as f64 * 0.37).sin()).collect();
        check_against_covariance(&x, n, p);
        let pca = PcaConfig::default().fit(&x, n, p).unwrap();
        assert_eq!(pca.output_dim(), n - 1);
        assert!(matches!(
            PcaConfig::default().with_components(n).fit(&x, n, p),
            Err(Error::Rank { asked: 6, rank: 5 })
        ));
    }

    #[test]
    fn explained_variance_picks_the_fewest_components() {
        // Two uncorrelated columns with variances 9 : 1.
        let x = [3.0, 1.0, -3.0, 1.0, 3.0, -1.0, -3.0, -1.0];
        let keep = |share| {
            PcaConfig::default()
                .with_explained_variance(share)
                .fit(&x, 4, 2)
        };
        assert_eq!(keep(0.89).unwrap().output_dim(), 1);
        assert_eq!(keep(0.91).unwrap().output_dim(), 2);
        assert!(matches!(keep(0.0), Err(Error::OutOfRange { .. })));
        assert!(matches!(keep(f64::NAN), Err(Error::OutOfRange { .. })));
    }

    #[test]
    fn degenerate_data_is_an_error() {
        let constant = [1.0; 6];
        assert!(matches!(
            PcaConfig::default().fit(&constant, 3, 2),
            Err(Error::Rank { asked: 1, rank: 0 })
        ));
        assert!(
            PcaConfig::default()
                .fit(&[1e308, -1e308, 1.0, 2.0], 2, 2)
                .is_err()
        );
        assert!(matches!(
            PcaConfig::default().fit(&[1.0], 1, 1),
            Err(Error::TooFew { .. })
        ));
        assert!(matches!(
            Pca::new(vec![0.0], vec![1.0, 2.0], vec![1.0], 1.0),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            Pca::new(vec![], vec![], vec![1.0], 1.0),
            Err(Error::Empty { .. })
        ));
    }
}
