//! Bootstrap replicates of a direction; the caller does the refits.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::check;
use crate::error::{Error, Result};

/// Refits on `replicates` bootstrap samples of `n` rows and collects the vectors.
///
/// `fit` is given the row numbers drawn (from 0, with repeats, `n` of them) and returns the
/// direction or coefficient vector of that sample; all must have one length. Replicate `r` draws
/// from its own stream of `ChaCha8` ([`resample_rows`]), so the result does not depend on the number
/// of threads. If fits fail, the error of the first failing replicate is returned.
///
/// Rows should be patients: where a patient has several photographs, draw patients and let `fit`
/// look up their rows.
///
/// ```
/// use latent_attribute::{bootstrap_directions, direction_stability};
///
/// // The "fit" is a difference of two column means.
/// let x = [[1.0, 0.2], [0.8, -0.1], [1.1, 0.3], [0.9, 0.1]];
/// let fit = |rows: &[usize]| -> Result<Vec<f64>, std::convert::Infallible> {
///     let n = rows.len() as f64;
///     Ok((0..2).map(|j| rows.iter().map(|&i| x[i][j]).sum::<f64>() / n).collect())
/// };
/// let estimate = fit(&[0, 1, 2, 3])?;
/// let replicates = bootstrap_directions(4, 200, 7, fit)?;
/// let stability = direction_stability(&estimate, &replicates, 0.95)?;
/// assert!(stability.mean() > 0.9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn bootstrap_directions<F, E>(
    n: usize,
    replicates: usize,
    seed: u64,
    fit: F,
) -> Result<Vec<Vec<f64>>>
where
    F: Fn(&[usize]) -> std::result::Result<Vec<f64>, E> + Sync,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if n == 0 {
        return Err(Error::Empty {
            what: "rows to resample".to_owned(),
        });
    }
    let fitted: Vec<Result<Vec<f64>>> = (0..replicates)
        .into_par_iter()
        .map(|replicate| {
            fit(&resample_rows(n, replicate, seed)).map_err(|error| Error::Replicate {
                replicate,
                source: error.into(),
            })
        })
        .collect();
    let vectors = fitted.into_iter().collect::<Result<Vec<_>>>()?;
    if let Some(first) = vectors.first() {
        for (index, vector) in vectors.iter().enumerate() {
            check::length(&format!("replicate {index}"), first.len(), vector.len())?;
        }
    }
    Ok(vectors)
}

/// The `n` row numbers that bootstrap replicate `replicate` draws, with replacement.
///
/// Each replicate has its own `ChaCha8` stream under one seed; a number is drawn as the high half of
/// a 128-bit product, with the biased remainder rejected (Lemire 2019).
pub fn resample_rows(n: usize, replicate: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(replicate as u64);
    (0..n).map(|_| below(&mut rng, n)).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a value below n fits where n does"
)]
fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    let n = n as u64;
    let rejected = n.wrapping_neg() % n;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(n);
        if product as u64 >= rejected {
            return (product >> 64) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicates_do_not_depend_on_threads() {
        let fit = |rows: &[usize]| -> std::result::Result<Vec<f64>, std::convert::Infallible> {
            Ok(rows.iter().map(|&row| row as f64).collect())
        };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| bootstrap_directions(50, 40, 3, fit))
                .unwrap()
        };
        let one = run(1);
        assert_eq!(one, run(4));
        assert!(one[0] != one[1]);
        assert!(bootstrap_directions(50, 40, 4, fit).unwrap() != one);
        let drawn: Vec<f64> = resample_rows(50, 17, 3)
            .iter()
            .map(|&row| row as f64)
            .collect();
        assert_eq!(drawn, one[17]);
    }

    #[test]
    fn rows_are_drawn_evenly() {
        let (n, reps) = (6, 5000);
        let mut counts = vec![0.0; n];
        for replicate in 0..reps {
            for row in resample_rows(n, replicate, 1) {
                counts[row] += 1.0;
            }
        }
        let expected = reps as f64;
        let chi_squared: f64 = counts
            .iter()
            .map(|c| (c - expected).powi(2) / expected)
            .sum();
        // 0.9999 quantile of chi-squared with 5 degrees of freedom.
        assert!(chi_squared < 25.74, "{chi_squared}");
    }

    #[test]
    fn the_first_failing_replicate_is_named() {
        let fit = |rows: &[usize]| {
            if rows[0] == 0 {
                Err("no events")
            } else {
                Ok(vec![1.0])
            }
        };
        let first = (0..100).find(|&r| resample_rows(3, r, 9)[0] == 0).unwrap();
        let error = bootstrap_directions(3, 100, 9, fit).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("bootstrap replicate {first}: no events")
        );
    }

    #[test]
    fn vectors_of_unequal_length_are_refused() {
        let ragged = |rows: &[usize]| -> std::result::Result<Vec<f64>, std::convert::Infallible> {
            Ok(vec![1.0; 1 + rows[0]])
        };
        assert!(matches!(
            bootstrap_directions(5, 20, 0, ragged),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            bootstrap_directions(0, 20, 0, ragged),
            Err(Error::Empty { .. })
        ));
    }
}
