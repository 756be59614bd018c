//! How much a direction would change with another sample of patients.

use std::fmt;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use serde::Serialize;

use crate::check;
use crate::error::{Error, Result};
use crate::vector::{column_sizes, cosine, dot, normalise, varies};

/// Cosines between a direction and its bootstrap replicates. Made by [`direction_stability`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirectionStability {
    cosines: Vec<f64>,
    dim: usize,
    zero_replicates: usize,
    level: f64,
    mean: f64,
    median: f64,
    interval: (f64, f64),
    pairwise_mean: f64,
    pairwise_interval: (f64, f64),
}

impl DirectionStability {
    /// Cosine of each replicate to the reference, in the order given.
    pub fn cosines(&self) -> &[f64] {
        &self.cosines
    }

    /// Number of replicates.
    pub fn replicates(&self) -> usize {
        self.cosines.len()
    }

    /// Replicates that were the zero vector; they count with cosine 0.
    pub fn zero_replicates(&self) -> usize {
        self.zero_replicates
    }

    /// Dimension of the space.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Confidence level of the intervals, for example 0.95.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// Mean cosine to the reference.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Median cosine to the reference.
    pub fn median(&self) -> f64 {
        self.median
    }

    /// Percentile interval of the cosine to the reference.
    pub fn interval(&self) -> (f64, f64) {
        self.interval
    }

    /// Mean cosine over all pairs of replicates.
    pub fn pairwise_mean(&self) -> f64 {
        self.pairwise_mean
    }

    /// Percentile interval of the cosine over all pairs of replicates.
    pub fn pairwise_interval(&self) -> (f64, f64) {
        self.pairwise_interval
    }

    /// Standard deviation of the cosine between two unrelated directions, `1 / sqrt(dim)`: what a
    /// cosine has to be compared with.
    pub fn chance(&self) -> f64 {
        (self.dim as f64).sqrt().recip()
    }
}

impl fmt::Display for DirectionStability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.level * 100.0;
        writeln!(
            f,
            "Direction stability over {} replicates",
            self.replicates()
        )?;
        let (low, high) = self.interval;
        let (mean, median) = (self.mean, self.median);
        writeln!(
            f,
            "  cosine to the estimate  mean {mean:.3}, median {median:.3}, {percent}% [{low:.3}, {high:.3}]"
        )?;
        let (low, high) = self.pairwise_interval;
        let mean = self.pairwise_mean;
        writeln!(
            f,
            "  cosine between pairs    mean {mean:.3}, {percent}% [{low:.3}, {high:.3}]"
        )?;
        if self.zero_replicates > 0 {
            let zero = self.zero_replicates;
            writeln!(
                f,
                "  no direction found in   {zero} replicates (counted as cosine 0)"
            )?;
        }
        let (dim, chance) = (self.dim, self.chance());
        write!(
            f,
            "  unrelated directions    0 +- {chance:.3} in {dim} dimensions"
        )
    }
}

/// Compares bootstrap replicates of a direction (or of a coefficient vector) with the estimate;
/// [`bootstrap_directions`](crate::bootstrap_directions) makes them.
///
/// `reference` and all `replicates` are vectors of one kind in one space, not necessarily of
/// length 1; `level` in `(0, 1)` is that of the percentile intervals (quantiles interpolated
/// linearly between order statistics). A replicate of zeros, as a lasso that selects nothing
/// returns it, counts with cosine 0.
///
/// Each replicate shares about 63% of the patients with the estimate, so the intervals describe
/// how the procedure varies, not the distance to a true direction. The pairwise cosine compares
/// replicates with each other and does not lean on the estimate.
///
/// Cost: `O(B dim + B^2 dim)` for `B` replicates.
pub fn direction_stability(
    reference: &[f64],
    replicates: &[Vec<f64>],
    level: f64,
) -> Result<DirectionStability> {
    if !(level > 0.0 && level < 1.0) {
        let what = "confidence level".to_owned();
        return Err(Error::OutOfRange {
            what,
            value: level,
            range: "between 0 and 1",
        });
    }
    if replicates.len() < 2 {
        let what = "replicates".to_owned();
        return Err(Error::TooFew {
            what,
            needed: 2,
            found: replicates.len(),
        });
    }
    let dim = reference.len();
    let mut unit = check::finite("reference direction", reference)?;
    normalise(&mut unit).ok_or(Error::ZeroDirection {
        what: "the reference direction",
    })?;

    let mut zero_replicates = 0;
    let mut units = Vec::with_capacity(replicates.len());
    for (index, replicate) in replicates.iter().enumerate() {
        let mut v = check::vector(&format!("replicate {index}"), replicate, dim)?;
        if normalise(&mut v).is_none() {
            zero_replicates += 1;
        }
        units.push(v);
    }
    let cosines: Vec<f64> = units
        .iter()
        .map(|v| dot(&unit, v).clamp(-1.0, 1.0))
        .collect();
    let mut sorted = cosines.clone();
    sorted.sort_by(f64::total_cmp);
    let mut pairs = pairwise_cosines(&units);
    pairs.sort_by(f64::total_cmp);

    let tail = (1.0 - level) / 2.0;
    let interval = |sorted: &[f64]| (quantile(sorted, tail), quantile(sorted, 1.0 - tail));
    Ok(DirectionStability {
        dim,
        zero_replicates,
        level,
        mean: mean(&cosines),
        median: quantile(&sorted, 0.5),
        interval: interval(&sorted),
        pairwise_mean: mean(&pairs),
        pairwise_interval: interval(&pairs),
        cosines,
    })
}

/// Cosines of all pairs `i < j` of unit (or zero) vectors, by one product `U U'`.
fn pairwise_cosines(units: &[Vec<f64>]) -> Vec<f64> {
    let (count, dim) = (units.len(), units[0].len());
    // Columns are vectors, so that reading them is contiguous.
    let u = Mat::from_fn(dim, count, |i, j| units[j][i]);
    let mut gram = Mat::<f64>::zeros(count, count);
    matmul(
        gram.as_mut(),
        Accum::Replace,
        u.transpose(),
        u.as_ref(),
        1.0,
        Par::Seq,
    );
    (0..count)
        .flat_map(|j| (0..j).map(move |i| (i, j)))
        .map(|pair| gram[pair].clamp(-1.0, 1.0))
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Quantile of sorted values, linear between order statistics (R's type 7).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the position lies within the slice"
)]
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let low = (position.floor() as usize).min(sorted.len() - 1);
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (position - low as f64) * (sorted[high] - sorted[low])
}

/// Cosine between the risk scores of two coefficient vectors over the same centred rows.
///
/// Two directions can be far apart in angle and still rank patients alike, because latent
/// coordinates are correlated. This is the correlation of the scores `X a` and `X b`, for `latents`
/// row-major `[n, dim]`: close to 1 means the disagreement is invisible in this cohort. Scores that vary by
/// no more than rounding have no correlation: [`Error::ZeroDirection`].
pub fn score_correlation<T: Copy + Into<f64>>(
    latents: &[T],
    n: usize,
    a: &[f64],
    b: &[f64],
) -> Result<f64> {
    check::matrix("latents", latents, n, a.len())?;
    let a = check::finite("first vector", a)?;
    let b = check::vector("second vector", b, a.len())?;
    let sizes = column_sizes(latents, a.len());
    let centred_scores = |v: &[f64], what| {
        let mut scores: Vec<f64> = latents
            .chunks_exact(v.len())
            .map(|row| dot(v, row))
            .collect();
        let centre = mean(&scores);
        for score in &mut scores {
            *score -= centre;
        }
        if varies(dot(&scores, &scores) / n as f64, v, &sizes, n) {
            Ok(scores)
        } else {
            Err(Error::ZeroDirection { what })
        }
    };
    cosine(
        &centred_scores(&a, "the spread of the first vector's scores")?,
        &centred_scores(&b, "the spread of the second vector's scores")?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Twin: every pair by its own dot product, and the closed form of the mean over pairs.
        #[test]
        fn pairwise_cosines_match_the_double_loop(
            cells in prop::collection::vec(-1.0..1.0_f64, 7 * 5),
        ) {
            let vectors: Vec<Vec<f64>> = cells.chunks_exact(5).map(<[f64]>::to_vec).collect();
            let stability = direction_stability(&vectors[0], &vectors, 0.9).unwrap();
            let mut slow = Vec::new();
            for j in 0..7 {
                for i in 0..j {
                    slow.push(cosine(&vectors[i], &vectors[j]).unwrap());
                }
            }
            prop_assert!((stability.pairwise_mean() - mean(&slow)).abs() < 1e-14);
            slow.sort_by(f64::total_cmp);
            let (low, high) = stability.pairwise_interval();
            prop_assert!((low - quantile(&slow, 0.05)).abs() < 1e-14);
            prop_assert!((high - quantile(&slow, 0.95)).abs() < 1e-14);
            prop_assert!((stability.cosines()[0] - 1.0).abs() < 1e-14);

            let mut sum = vec![0.0; 5];
            for v in &vectors {
                let mut unit = v.clone();
                normalise(&mut unit).unwrap();
                sum.iter_mut().zip(&unit).for_each(|(s, u)| *s += u);
            }
            let closed = (dot(&sum, &sum) - 7.0) / 42.0;
            prop_assert!((stability.pairwise_mean() - closed).abs() < 1e-13);
        }
    }

    #[test]
    fn quantiles_follow_type_7() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert!((quantile(&sorted, 0.5) - 3.0).abs() < 1e-15);
        assert!((quantile(&sorted, 0.1) - 1.3).abs() < 1e-15);
        assert!((quantile(&sorted, 1.0) - 8.0).abs() < 1e-15);
    }

    #[test]
    fn zero_replicates_count_as_no_agreement() {
        let replicates = vec![
            vec![1.0, 0.0],
            vec![0.0, 0.0],
            vec![2.0, 0.0],
            vec![0.0, 3.0],
        ];
        let stability = direction_stability(&[5.0, 0.0], &replicates, 0.95).unwrap();
        assert_eq!(stability.zero_replicates(), 1);
        assert!((stability.mean() - 0.5).abs() < 1e-15);
        assert!((stability.pairwise_mean() - 1.0 / 6.0).abs() < 1e-15);
        let expected = "\
Direction stability over 4 replicates
  cosine to the estimate  mean 0.500, median 0.500, 95% [0.000, 1.000]
  cosine between pairs    mean 0.167, 95% [0.000, 0.875]
  no direction found in   1 replicates (counted as cosine 0)
  unrelated directions    0 +- 0.707 in 2 dimensions";
        assert_eq!(stability.to_string(), expected);
    }

    #[test]
    fn misuse_is_named() {
        let two = vec![vec![1.0], vec![1.0]];
        assert!(matches!(
            direction_stability(&[0.0], &two, 0.95),
            Err(Error::ZeroDirection { .. })
        ));
        assert!(matches!(
            direction_stability(&[1.0], &two, 1.0),
            Err(Error::OutOfRange { .. })
        ));
        assert!(matches!(
            direction_stability(&[1.0], &two[..1], 0.9),
            Err(Error::TooFew { .. })
        ));
        let error = direction_stability(&[1.0, 2.0], &two, 0.9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "replicate 0: 1 values where 2 are needed"
        );
    }

    #[test]
    fn directions_apart_can_score_alike() {
        // The second coordinate is twice the first, so both directions give one ranking.
        let latents = [1.0, 2.0, 2.0, 4.0, 5.0, 10.0];
        let agreement = score_correlation(&latents, 3, &[1.0, 0.0], &[0.0, 1.0]).unwrap();
        assert!((agreement - 1.0).abs() < 1e-14);
    }

    #[test]
    fn scores_that_do_not_vary_have_no_correlation() {
        let latents: Vec<f64> = (0..10).flat_map(|i| [0.1, f64::from(i)]).collect();
        let error = score_correlation(&latents, 10, &[0.0, 1.0], &[1.0, 0.0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the spread of the second vector's scores is zero, so it has no direction"
        );
    }
}
