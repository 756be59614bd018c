//! Values of flags, checked while the command line is read.

fn number(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is not a number"))
}

/// A finite number.
pub(crate) fn finite(text: &str) -> Result<f64, String> {
    match number(text)? {
        v if v.is_finite() => Ok(v),
        v => Err(format!("{v} is not a finite number")),
    }
}

/// A number that may be infinite.
pub(crate) fn any(text: &str) -> Result<f64, String> {
    match number(text)? {
        v if v.is_nan() => Err(format!("`{text}` is not a number")),
        v => Ok(v),
    }
}

/// A finite number `>= 0`.
pub(crate) fn not_negative(text: &str) -> Result<f64, String> {
    match number(text)? {
        v if v >= 0.0 && v.is_finite() => Ok(v),
        v => Err(format!("{v} is not a finite number of at least 0")),
    }
}

/// A finite number `> 0`.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match number(text)? {
        v if v > 0.0 && v.is_finite() => Ok(v),
        v => Err(format!("{v} is not a finite number above 0")),
    }
}

/// A number from 0 to 1, both allowed.
pub(crate) fn unit(text: &str) -> Result<f64, String> {
    match number(text)? {
        v if (0.0..=1.0).contains(&v) => Ok(v),
        v => Err(format!("{v} does not lie in [0, 1]")),
    }
}

/// A number between 0 and 1.
pub(crate) fn inside(text: &str) -> Result<f64, String> {
    match number(text)? {
        v if v > 0.0 && v < 1.0 => Ok(v),
        v => Err(format!("{v} does not lie between 0 and 1")),
    }
}

/// A whole number of at least `LEAST`.
pub(crate) fn count<const LEAST: usize>(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(v) if v >= LEAST => Ok(v),
        _ => Err(format!(
            "`{text}` is not a whole number of at least {LEAST}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_at_their_ends() {
        assert!(unit("0").is_ok() && unit("1").is_ok() && unit("1.01").is_err());
        assert!(inside("0").is_err() && inside("1").is_err() && inside("0.95").is_ok());
        assert!(positive("0").is_err() && positive("inf").is_err() && positive("1e-9").is_ok());
        assert!(finite("-1").is_ok() && finite("inf").is_err());
        assert!(not_negative("0").is_ok() && not_negative("-1").is_err());
        assert!(finite("-0.5").is_ok() && finite("nan").is_err() && finite("inf").is_err());
        assert!(unit("nan").is_err() && number("x").is_err());
        assert!(count::<2>("1").is_err() && count::<2>("2").is_ok() && count::<2>("-3").is_err());
    }
}
