//! Which gradients must be computed again, and which cannot matter.
//!
//! The gradient of a feature is `z_j' r / W` with `r` the residual of the likelihood, so between
//! two residuals it moves by at most `|z_j| |r - r'| / W` (Cauchy and Schwarz). A feature whose
//! last known gradient is further than that below its threshold is out, without being looked at.
//! Unlike a strong rule this is no guess, and unlike a gap-safe sphere (Ndiaye et al. 2017, JMLR
//! 18:128) it needs no dual point. Cost: `n` per remembered residual.

use super::problem::Problem;

/// Residuals remembered before the slate is wiped.
const MOST: usize = 48;
const UNKNOWN: u32 = u32::MAX;
/// Covers the rounding of the dot products.
const ROUNDING: f64 = 1e-12;

/// Where each feature's gradient was computed.
#[derive(Debug, Clone)]
pub(super) struct Stale {
    residuals: Vec<Vec<f64>>,
    /// Feature -> place in `residuals`.
    reference: Vec<u32>,
}

impl Stale {
    pub(super) fn new(p: usize) -> Self {
        Self {
            residuals: Vec::new(),
            reference: vec![UNKNOWN; p],
        }
    }

    /// Features among `which` whose gradient may now reach `threshold(j)`, given `gradient` as
    /// it was known.
    pub(super) fn in_doubt(
        &mut self,
        problem: &Problem<'_>,
        residual: &[f64],
        gradient: &[f64],
        which: impl Iterator<Item = usize>,
        threshold: impl Fn(usize) -> f64,
    ) -> Vec<usize> {
        if self.residuals.len() >= MOST {
            self.residuals.clear();
            self.reference.fill(UNKNOWN);
        }
        let radius: Vec<f64> = self
            .residuals
            .iter()
            .map(|then| distance(then, residual) / problem.total)
            .collect();
        which
            .filter(|&j| {
                let Some(radius) = radius.get(self.reference[j] as usize) else {
                    return true;
                };
                let most = gradient[j].abs() + problem.norm[j] * (radius + ROUNDING);
                most >= threshold(j) || most.is_nan()
            })
            .collect()
    }

    /// The gradients of `which` are those at `residual` now.
    pub(super) fn computed(&mut self, which: &[usize], residual: &[f64]) {
        if which.is_empty() {
            return;
        }
        self.residuals.push(residual.to_vec());
        for &j in which {
            self.reference[j] = self.residuals.len() as u32 - 1;
        }
    }

    /// The gradients of `which` belong to no remembered residual any more.
    pub(super) fn forget(&mut self, which: &[usize]) {
        for &j in which {
            self.reference[j] = UNKNOWN;
        }
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    square.sqrt()
}
