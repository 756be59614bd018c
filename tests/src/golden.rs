//! Reading golden files; a test without its golden data must fail, so all of it panics.

use std::path::PathBuf;

use serde_json::Value;

/// Reads `golden/<path>` as JSON.
///
/// # Panics
/// When the file is absent or not JSON.
pub fn json(path: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A JSON number, or `None` for `null` (R's `NA`, `NaN` and infinity).
///
/// # Panics
/// When it is anything else.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => None,
        other => Some(
            other
                .as_f64()
                .unwrap_or_else(|| panic!("not a number: {other}")),
        ),
    }
}

/// A JSON array of numbers and nulls.
///
/// # Panics
/// When it is anything else.
pub fn numbers(value: &Value) -> Vec<Option<f64>> {
    let items = value
        .as_array()
        .unwrap_or_else(|| panic!("not an array: {value}"));
    items.iter().map(number).collect()
}
