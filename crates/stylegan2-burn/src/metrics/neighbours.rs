//! Precision and recall, and nearest neighbours.

use super::features::Features;
use crate::error::{Error, Result};

/// How much of the generated images looks real, and how much of the real images is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// The share of generated images within the manifold of the real ones.
    pub precision: f64,
    /// The share of real images within the manifold of the generated ones.
    pub recall: f64,
}

/// Precision and recall with manifolds of balls that reach to the `k`-th neighbour.
///
/// A vector is within a set's manifold if it is no farther from some member than that member's
/// `k`-th nearest neighbour in the set (Kynkaanniemi et al. 2019, equation 1; the published metric
/// has `k` = 3). Cost: $O((n_a + n_b)^2 d)$.
///
/// # Errors
///
/// [`Error::Argument`] for sets of different dimension or with at most `k` vectors, or `k` = 0.
pub fn precision_recall(real: &Features, fake: &Features, k: usize) -> Result<PrecisionRecall> {
    real.check(fake, k + 1)?;
    if k == 0 {
        return Err(Error::Argument {
            name: "k",
            reason: "0; at least one neighbour is needed".to_owned(),
        });
    }
    Ok(PrecisionRecall {
        precision: share_within(real, fake, k),
        recall: share_within(fake, real, k),
    })
}

/// The share of `probes` within the manifold of `set`.
fn share_within(set: &Features, probes: &Features, k: usize) -> f64 {
    let radii: Vec<f64> = set
        .rows()
        .map(|x| {
            let mut distances: Vec<f64> = set.rows().map(|y| squared(x, y)).collect();
            // The vector itself is the nearest.
            *distances.select_nth_unstable_by(k, f64::total_cmp).1
        })
        .collect();
    let within = |x: &[f32]| set.rows().zip(&radii).any(|(y, r)| squared(x, y) <= *r);
    let count = probes.rows().filter(|x| within(x)).count();
    count as f64 / probes.len() as f64
}

/// For each of `probes` the index and the Euclidean distance of the nearest vector in `set`.
///
/// Between generated images and the images a network was trained on it shows whether the network
/// has memorised.
///
/// # Errors
///
/// [`Error::Argument`] for sets of different dimension.
pub fn nearest(set: &Features, probes: &Features) -> Result<Vec<(usize, f64)>> {
    set.check(probes, 1)?;
    Ok(probes.rows().map(|x| closest(set, x, None)).collect())
}

/// For each vector of `set` the index and the Euclidean distance of the nearest other one: what
/// [`nearest`] is to be compared with.
///
/// # Errors
///
/// [`Error::Argument`] for fewer than two vectors.
pub fn nearest_other(set: &Features) -> Result<Vec<(usize, f64)>> {
    set.check(set, 2)?;
    let rows = set.rows().enumerate();
    Ok(rows.map(|(i, x)| closest(set, x, Some(i))).collect())
}

fn closest(set: &Features, x: &[f32], except: Option<usize>) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (i, y) in set.rows().enumerate() {
        let d = squared(x, y);
        if d < best.1 && except != Some(i) {
            best = (i, d);
        }
    }
    (best.0, best.1.sqrt())
}

fn squared(x: &[f32], y: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 16];
    for (x, y) in x.chunks(16).zip(y.chunks(16)) {
        for ((s, x), y) in sums.iter_mut().zip(x).zip(y) {
            *s += (f64::from(*x) - f64::from(*y)).powi(2);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 1).unwrap()
    }

    #[test]
    fn shares_on_a_line() {
        // Radii with one neighbour: 1, 1, 1, 7.
        let real = line(&[0.0, 1.0, 2.0, 9.0]);
        // Within: 2.5, 3 (on the edge of the third ball) and 20 not.
        let fake = line(&[2.5, 3.0, 20.0, 0.5]);
        let found = precision_recall(&real, &fake, 1).unwrap();
        assert!((found.precision - 0.75).abs() < 1e-12);
        // Radii of the generated ones: 0.5, 0.5, 17, 2: 0, 1, 2 (0.5 away from 2.5), 9.
        assert!((found.recall - 1.0).abs() < 1e-12);
        assert!(precision_recall(&real, &fake, 4).is_err());
        assert!(precision_recall(&real, &fake, 0).is_err());
    }

    #[test]
    fn the_nearest_of_each() {
        let found = nearest(&line(&[0.0, 5.0]), &line(&[4.0, -1.0])).unwrap();
        assert_eq!(found[0].0, 1);
        assert_eq!(found[1].0, 0);
        assert!((found[0].1 - 1.0).abs() < 1e-12);
        let others = nearest_other(&line(&[0.0, 5.0, 6.0])).unwrap();
        let indices: Vec<usize> = others.iter().map(|o| o.0).collect();
        assert_eq!(indices, [1, 2, 1]);
        assert!(nearest_other(&line(&[0.0])).is_err());
    }
}
