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

/// Six significant digits, in exponent form where a plain number would be long.
pub(crate) fn significant(value: f64) -> String {
    let size = value.abs();
    if (1e-4..1e6).contains(&size) {
        let mut digits = 5;
        let mut bound = 10.0;
        while digits > 0 && size >= bound {
            digits -= 1;
            bound *= 10.0;
        }
        format!("{value:.digits$}")
    } else {
        format!("{value:.5e}")
    }
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
    }
}
