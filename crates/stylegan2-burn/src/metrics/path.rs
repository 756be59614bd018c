//! Perceptual path length.

use crate::error::{Error, Result};

/// The mean of perceptual distances without the lowest and the highest percent.
///
/// `distances` are LPIPS distances of images a small step apart, divided by the square of the step
/// (Karras et al. 2019, section 4.1). The bounds are members of the sample: the 1st percentile
/// rounded down, the 99th rounded up.
///
/// # Errors
///
/// [`Error::Argument`] if there are no distances or one is not finite.
pub fn path_length(distances: &[f64]) -> Result<f64> {
    if distances.is_empty() || distances.iter().any(|d| !d.is_finite()) {
        return Err(Error::Argument {
            name: "distances",
            reason: "none, or not all finite".to_owned(),
        });
    }
    let mut sorted = distances.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let low = sorted[last / 100];
    let high = sorted[(99 * last).div_ceil(100)];
    let kept: Vec<f64> = distances
        .iter()
        .copied()
        .filter(|d| (low..=high).contains(d))
        .collect();
    Ok(kept.iter().sum::<f64>() / kept.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_count() {
        let mut distances = vec![1.0; 300];
        distances[7] = 1e9;
        distances[8] = -1e9;
        assert!((path_length(&distances).unwrap() - 1.0).abs() < 1e-12);
        assert!(path_length(&[]).is_err() && path_length(&[f64::NAN]).is_err());
        assert!((path_length(&[2.0, 4.0]).unwrap() - 3.0).abs() < 1e-12);
    }
}
