//! Small survival data sets with ties, entry, strata and weights, for property tests.

use proptest::prelude::*;

use crate::Surv;

#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) time: Vec<f64>,
    pub(crate) event: Vec<bool>,
    pub(crate) entry: Option<Vec<f64>>,
    pub(crate) weights: Vec<f64>,
    pub(crate) strata: Vec<usize>,
    pub(crate) group: Vec<usize>,
}

impl Rows {
    pub(crate) fn at_risk(&self, i: usize, t: f64) -> bool {
        self.entry.as_ref().is_none_or(|e| e[i] < t) && t <= self.time[i]
    }

    pub(crate) fn leaves_at(&self, i: usize, t: f64) -> bool {
        self.time[i].total_cmp(&t).is_eq()
    }

    pub(crate) fn surv(&self) -> Surv {
        let mut builder = Surv::builder(&self.time, &self.event)
            .weights(&self.weights)
            .strata(&self.strata);
        if let Some(entry) = &self.entry {
            builder = builder.entry(entry);
        }
        builder.build().unwrap()
    }
}

/// Up to `most` rows at few distinct times, up to 3 strata and 3 groups, weights 0 to 3 in
/// quarters, and entry times half of the time. The first row is always a full event.
pub(crate) fn rows(most: usize) -> impl Strategy<Value = Rows> {
    let row = (
        1..9i32,
        any::<bool>(),
        1..8i32,
        0..13u8,
        0..3usize,
        0..3usize,
    );
    (prop::collection::vec(row, 2..most), any::<bool>()).prop_map(|(rows, truncated)| {
        let time: Vec<f64> = rows.iter().map(|r| f64::from(r.0)).collect();
        let entry = rows.iter().map(|r| f64::from((r.0 - r.2).max(0))).collect();
        let mut out = Rows {
            time,
            event: rows.iter().map(|r| r.1).collect(),
            entry: truncated.then_some(entry),
            weights: rows.iter().map(|r| f64::from(r.3) / 4.0).collect(),
            strata: rows.iter().map(|r| r.4).collect(),
            group: rows.iter().map(|r| r.5).collect(),
        };
        out.event[0] = true;
        out.weights[0] = 1.0;
        out
    })
}

/// Equal to `tolerance` relative (absolute below 1); infinities and NaN must be the same.
#[track_caller]
pub(crate) fn close(found: f64, want: f64, tolerance: f64) {
    let same = found.total_cmp(&want).is_eq() || (found.is_nan() && want.is_nan());
    let near = (found - want).abs() <= tolerance * want.abs().max(1.0);
    assert!(same || near, "{found} is not {want}");
}

/// A number in (-1, 1) that looks random, the same for the same `k` (the mixer of Steele, Lea & Flood 2014).
pub(crate) fn noise(k: usize) -> f64 {
    let mut z = (k as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
