//! Plain-text tables with right-aligned columns, as R prints them.

use std::fmt::{self, Write as _};

/// Writes a header and rows; the first column is left-aligned, the others right-aligned.
pub(crate) fn write(
    f: &mut fmt::Formatter<'_>,
    header: &[&str],
    rows: &[Vec<String>],
) -> fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.fold(header[column].chars().count(), usize::max)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (column, cell) in cells.enumerate() {
            let w = widths[column];
            if column == 0 {
                write!(text, "{cell:<w$}")?;
            } else {
                write!(text, " {cell:>w$}")?;
            }
        }
        writeln!(f, "{}", text.trim_end())
    };
    line(&mut header.iter().copied())?;
    for row in rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// A number to `digits` significant digits without trailing zeros; NaN and absent are `NA`.
pub(crate) fn significant(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NA".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let rounded: f64 = scientific.parse().unwrap_or(value);
    let magnitude = rounded.abs();
    if magnitude > 0.0 && !(1e-4..1e15).contains(&magnitude) {
        return scientific;
    }
    // Whole digits are never dropped: 1234.5 prints as 1234, not as 1230.
    let mut decimals = digits.saturating_sub(1);
    let mut scale = magnitude;
    while scale >= 10.0 && decimals > 0 {
        scale /= 10.0;
        decimals -= 1;
    }
    while scale > 0.0 && scale < 1.0 {
        scale *= 10.0;
        decimals += 1;
    }
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// An optional number, `NA` when absent.
pub(crate) fn optional(value: Option<f64>, digits: usize) -> String {
    significant(value.unwrap_or(f64::NAN), digits)
}

/// A p-value: one to three significant digits, scientific when small.
pub(crate) fn p_value(p: f64) -> String {
    if p < f64::MIN_POSITIVE {
        "<2e-308".to_owned()
    } else if p < 1e-3 {
        format!("{p:.1e}")
    } else {
        significant(p, 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_a_statistician_reads_them() {
        assert_eq!(significant(80.0, 4), "80");
        assert_eq!(significant(62.123_456, 4), "62.12");
        assert_eq!(significant(0.000_123_456, 3), "0.000123");
        assert_eq!(significant(1234.56, 3), "1235");
        assert_eq!(significant(9.9999, 3), "10");
        assert_eq!(significant(f64::NAN, 3), "NA");
        assert_eq!(significant(0.0, 3), "0");
        assert_eq!(significant(1e-12, 3), "1.00e-12");
        assert_eq!(p_value(1.27e-5), "1.3e-5");
        assert_eq!(p_value(0.927_7), "0.928");
    }
}
