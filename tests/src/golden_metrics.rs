//! Golden cases of the metrics.

use std::path::PathBuf;

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

/// Reads `golden/concordance/concordance.json`.
///
/// # Panics
/// If the file cannot be read.
pub fn concordances() -> Concordances {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/concordance/concordance.json");
    let text = std::fs::read_to_string(path).expect("the golden file is in the repository");
    serde_json::from_str(&text).expect("the golden file is as make.R writes it")
}
