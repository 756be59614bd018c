//! Vector arithmetic of the other files: products, lengths, angles, digits.

use crate::check;
use crate::error::{Error, Result};

/// Cosine of the angle between two vectors of one length, neither of them zero.
pub fn cosine<T, U>(a: &[T], b: &[U]) -> Result<f64>
where
    T: Copy + Into<f64>,
    U: Copy + Into<f64>,
{
    let mut a = check::finite("first vector", a)?;
    let mut b = check::vector("second vector", b, a.len())?;
    normalise(&mut a).ok_or(Error::ZeroDirection {
        what: "the first vector",
    })?;
    normalise(&mut b).ok_or(Error::ZeroDirection {
        what: "the second vector",
    })?;
    Ok(dot(&a, &b).clamp(-1.0, 1.0))
}

pub(crate) fn dot<T: Copy + Into<f64>>(a: &[f64], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(x, &y)| x * y.into()).sum()
}

/// Euclidean length, without overflow of the squares.
pub(crate) fn norm(v: &[f64]) -> f64 {
    let largest = v.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    if largest > 0.0 {
        largest * v.iter().map(|x| (x / largest).powi(2)).sum::<f64>().sqrt()
    } else {
        0.0
    }
}

/// Scales to length 1 and returns the former length; `None` leaves a zero vector alone.
pub(crate) fn normalise(v: &mut [f64]) -> Option<f64> {
    let largest = v.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    if largest <= 0.0 {
        return None;
    }
    for value in v.iter_mut() {
        *value /= largest;
    }
    let length = dot(v, v).sqrt();
    for value in v.iter_mut() {
        *value /= length;
    }
    Some(length * largest)
}

/// The largest size in each column of a row-major matrix with `p` columns.
pub(crate) fn column_sizes<T: Copy + Into<f64>>(x: &[T], p: usize) -> Vec<f64> {
    let mut sizes = vec![0.0_f64; p];
    for row in x.chunks_exact(p) {
        for (size, &value) in sizes.iter_mut().zip(row) {
            *size = size.max(value.into().abs());
        }
    }
    sizes
}

/// Whether a score `v' x` over `n` rows varies by more than the rounding of means and products, whose
/// standard deviation stays below `(n + p) eps sum |v_j| max |x_j|`.
pub(crate) fn varies(variance: f64, v: &[f64], sizes: &[f64], n: usize) -> bool {
    let size: f64 = v.iter().zip(sizes).map(|(v, s)| v.abs() * s).sum();
    let rounding = (n + v.len()) as f64 * f64::EPSILON * size;
    // An overflow is for the checks of what comes of it.
    variance > 0.0 && (variance.is_infinite() || variance.sqrt() > rounding) || variance.is_nan()
}

/// Six significant digits, in exponent form where a plain number would be long.
pub(crate) fn significant(value: f64) -> String {
    let short = format!("{value:.5e}");
    if !(1e-4..1e6).contains(&value.abs()) {
        return short;
    }
    // The exponent after rounding: 9.999999 is 10.0000.
    let exponent = short.split_once('e').and_then(|(_, e)| e.parse().ok());
    let digits = usize::try_from(5 - exponent.unwrap_or(0_i32)).unwrap_or(0);
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_and_digits() {
        assert!((cosine(&[1.0, 0.0], &[1.0_f32, 1.0]).unwrap() - 0.5_f64.sqrt()).abs() < 1e-15);
        assert!((cosine(&[1e300, 0.0], &[1e-300, 0.0]).unwrap() - 1.0).abs() < 1e-15);
        assert!(matches!(
            cosine(&[0.0], &[1.0]),
            Err(Error::ZeroDirection { .. })
        ));
        assert!(matches!(
            cosine(&[1.0], &[1.0, 2.0]),
            Err(Error::Length { .. })
        ));
        assert_eq!(significant(123.456_789), "123.457");
        assert_eq!(significant(-0.000_012_345_6), "-1.23456e-5");
        assert_eq!(significant(0.0), "0.00000e0");
        assert_eq!(significant(0.000_345_67), "0.000345670");
        assert_eq!(significant(-0.5), "-0.500000");
        assert_eq!(significant(9.999_999), "10.0000");
        assert_eq!(significant(999_999.9), "1000000");
    }
}
