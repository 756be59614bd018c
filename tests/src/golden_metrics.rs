//! Golden cases of the metrics.

use serde::Deserialize;

/// All concordance cases made by R.
#[derive(Debug, Deserialize)]
pub struct Concordances {
    /// By name.
    pub cases: std::collections::BTreeMap<String, ConcordanceCase>,
    /// Two scores on the same patients.
    pub compare: Comparison,
}

/// One data set and what R reports on it.
#[derive(Debug, Deserialize)]
#[expect(
    missing_docs,
    reason = "the names are those of R's arguments and results"
)]
pub struct ConcordanceCase {
    pub time: Vec<f64>,
    pub event: Vec<u8>,
    pub score: Vec<f64>,
    pub entry: Option<Vec<f64>>,
    pub weights: Option<Vec<f64>>,
    pub strata: Option<Vec<u32>>,
    pub cluster: Option<Vec<u32>>,
    pub reverse: bool,
    pub timewt: String,
    pub ymin: Option<f64>,
    pub ymax: Option<f64>,
    pub concordance: f64,
    pub count: [f64; 5],
    pub var: f64,
    pub cvar: f64,
    pub dfbeta: Vec<f64>,
}

/// Two scores with the joint variance of their concordances.
#[derive(Debug, Deserialize)]
#[expect(
    missing_docs,
    reason = "the names are those of R's arguments and results"
)]
pub struct Comparison {
    pub time: Vec<f64>,
    pub event: Vec<u8>,
    pub score_a: Vec<f64>,
    pub score_b: Vec<f64>,
    pub concordance: [f64; 2],
    pub var: [[f64; 2]; 2],
}

/// All Uno cases made by scikit-survival.
#[derive(Debug, Deserialize)]
pub struct Unos {
    /// By name.
    pub cases: std::collections::BTreeMap<String, UnoCase>,
}

/// One data set split in two, and its IPCW concordances.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the generator script")]
pub struct UnoCase {
    pub time: Vec<f64>,
    pub event: Vec<bool>,
    pub score: Vec<f64>,
    pub train: Vec<usize>,
    pub test: Vec<usize>,
    pub tau: f64,
    pub uno: f64,
    pub uno_tau: f64,
    pub uno_tau_same: f64,
}

/// Reads `golden/concordance/concordance.json`.
///
/// # Panics
/// If the file cannot be read.
pub fn concordances() -> Concordances {
    read("concordance/concordance.json")
}

/// Reads `golden/uno/uno.json`.
///
/// # Panics
/// If the file cannot be read.
pub fn unos() -> Unos {
    read("uno/uno.json")
}

fn read<T: serde::de::DeserializeOwned>(path: &str) -> T {
    let text = std::fs::read_to_string(crate::golden(path)).expect("the file is in the repository");
    serde_json::from_str(&text).expect("the file is as its script writes it")
}
