//! Golden-data helpers shared by the workspace tests.

pub mod golden;
pub mod golden_metrics;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

/// Every covariate of the golden file `veteran.csv`.
pub const VETERAN_ALL: [&str; 8] = [
    "trt",
    "karno",
    "diagtime",
    "age",
    "prior",
    "cell_small",
    "cell_adeno",
    "cell_large",
];

/// Folder of the golden case `name`.
pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

/// Reads a golden JSON file.
///
/// # Panics
/// When the file is absent or not JSON: a test without its golden data must fail.
pub fn json(path: &str) -> Value {
    let path = golden(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Numeric columns of a golden CSV file by name.
///
/// # Panics
/// When the file is absent or holds anything but numbers.
pub fn csv(path: &str) -> BTreeMap<String, Vec<f64>> {
    let path = golden(path);
    let mut reader =
        csv::Reader::from_path(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let names: Vec<String> = reader
        .headers()
        .expect("headers")
        .iter()
        .map(Into::into)
        .collect();
    let mut columns = vec![Vec::new(); names.len()];
    for record in reader.records() {
        for (column, cell) in columns.iter_mut().zip(&record.expect("record")) {
            column.push(
                cell.parse()
                    .unwrap_or_else(|_| panic!("{}: {cell}", path.display())),
            );
        }
    }
    names.into_iter().zip(columns).collect()
}

/// A JSON array of numbers.
///
/// # Panics
/// When it is anything else.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items
            .iter()
            .map(|v| v.as_f64().expect("a number"))
            .collect(),
        Value::Number(x) => vec![x.as_f64().expect("a number")],
        other => panic!("not numbers: {other}"),
    }
}

/// Asserts that `found` and `wanted` agree to a relative tolerance.
///
/// # Panics
/// When they do not.
#[track_caller]
pub fn close(found: f64, wanted: f64, relative: f64, what: &str) {
    let error = (found - wanted).abs() / wanted.abs().max(1e-300);
    assert!(
        error <= relative,
        "{what}: {found} against {wanted}, relative error {error:.1e}"
    );
}

/// [`close`] for slices, relative to the size of each value.
///
/// # Panics
/// When lengths or values differ.
#[track_caller]
pub fn all_close(found: &[f64], wanted: &[f64], relative: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    for (k, (f, w)) in found.iter().zip(wanted).enumerate() {
        close(*f, *w, relative, &format!("{what}[{k}]"));
    }
}
