//! Obvious versions of the kernels, written straight from the definitions, and comparisons.
//!
//! Cost `O(n d)` for the likelihood and `O(n p^2 d)` for the information: every risk set is
//! gathered anew, every denominator of a tie is written out.

#![allow(
    clippy::needless_range_loop,
    reason = "formulas are written with their indices"
)]

use faer::Mat;
use proptest::prelude::*;

use super::Ties;
use super::baseline::baseline;
use super::design::Design;
use super::information::information;
use super::likelihood::Likelihood;
use super::robust::score_residuals;
use crate::{Covariates, Surv};

/// A small data set as the user would hand it over; row-major covariates.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pub(crate) time: Vec<f64>,
    pub(crate) event: Vec<bool>,
    pub(crate) entry: Option<Vec<f64>>,
    pub(crate) strata: Option<Vec<u8>>,
    pub(crate) weights: Option<Vec<f64>>,
    pub(crate) x: Vec<f64>,
    pub(crate) p: usize,
}

impl Data {
    pub(crate) fn n(&self) -> usize {
        self.time.len()
    }

    pub(crate) fn surv(&self) -> crate::Result<Surv> {
        let mut builder = Surv::builder(&self.time, &self.event);
        if let Some(entry) = &self.entry {
            builder = builder.entry(entry);
        }
        if let Some(strata) = &self.strata {
            builder = builder.strata(strata);
        }
        if let Some(weights) = &self.weights {
            builder = builder.weights(weights);
        }
        builder.build()
    }

    pub(crate) fn covariates(&self) -> Covariates<'_> {
        Covariates::from_rows(&self.x, self.n(), self.p).unwrap()
    }

    /// The same patients in another order.
    pub(crate) fn permuted(&self, order: &[usize]) -> Self {
        Self {
            time: order.iter().map(|&i| self.time[i]).collect(),
            event: order.iter().map(|&i| self.event[i]).collect(),
            entry: self
                .entry
                .as_ref()
                .map(|v| order.iter().map(|&i| v[i]).collect()),
            strata: self
                .strata
                .as_ref()
                .map(|v| order.iter().map(|&i| v[i]).collect()),
            weights: self
                .weights
                .as_ref()
                .map(|v| order.iter().map(|&i| v[i]).collect()),
            x: order
                .iter()
                .flat_map(|&i| self.x[i * self.p..(i + 1) * self.p].to_vec())
                .collect(),
            p: self.p,
        }
    }
}

/// Small data with ties, in which entry, strata and weights (zeros among them) come and go.
pub(crate) fn data(rows: std::ops::Range<usize>, columns: usize) -> impl Strategy<Value = Data> {
    let row = (
        0u8..9,
        prop::bool::weighted(0.6),
        1u8..7,
        0u8..3,
        prop::sample::select(vec![0.0, 0.5, 1.0, 1.0, 2.0, 3.25]),
        prop::collection::vec(-2.0..2.0f64, columns),
    );
    let switches = (any::<bool>(), any::<bool>(), any::<bool>());
    (prop::collection::vec(row, rows), 1..=columns, switches).prop_map(
        |(rows, p, (entry, strata, weights))| Data {
            time: rows.iter().map(|r| f64::from(r.0)).collect(),
            event: rows.iter().map(|r| r.1).collect(),
            entry: entry.then(|| {
                rows.iter()
                    .map(|r| f64::from(r.0) - f64::from(r.2))
                    .collect()
            }),
            strata: strata.then(|| rows.iter().map(|r| r.3).collect()),
            weights: weights.then(|| rows.iter().map(|r| r.4).collect()),
            x: rows.iter().flat_map(|r| r.5[..p].to_vec()).collect(),
            p,
        },
    )
}

pub(crate) fn any_ties() -> impl Strategy<Value = Ties> {
    prop_oneof![Just(Ties::Efron), Just(Ties::Breslow)]
}

/// Everything the kernels compute, by definition, in input order.
pub(crate) struct Slow {
    pub(crate) loglik: f64,
    pub(crate) score: Vec<f64>,
    pub(crate) information: Mat<f64>,
    /// `dl / d eta` of every row: its weighted martingale residual.
    pub(crate) residual: Vec<f64>,
    /// Unweighted score residuals, row-major.
    pub(crate) score_residuals: Vec<f64>,
    /// Per stratum code: event times ascending and the cumulative hazard, at `eta = 0`.
    pub(crate) hazard: Vec<(Vec<f64>, Vec<f64>)>,
}

pub(crate) fn slow(surv: &Surv, x: &[f64], p: usize, eta: &[f64], ties: Ties) -> Slow {
    let n = surv.n();
    let row = |i: usize| &x[i * p..(i + 1) * p];
    let mut out = Slow {
        loglik: 0.0,
        score: vec![0.0; p],
        information: Mat::zeros(p, p),
        residual: vec![0.0; n],
        score_residuals: vec![0.0; n * p],
        hazard: Vec::new(),
    };
    for stratum in 0..surv.stratum_names().len() as u32 {
        let here = |i: usize| surv.stratum()[i] == stratum && surv.weight(i) > 0.0;
        let mut times: Vec<f64> = (0..n)
            .filter(|&i| here(i) && surv.event()[i])
            .map(|i| surv.time()[i])
            .collect();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let mut cumulative = 0.0;
        let mut hazard = Vec::new();
        for &t in &times {
            let at_risk: Vec<usize> = (0..n)
                .filter(|&i| here(i) && t <= surv.time()[i])
                .filter(|&i| surv.entry().is_none_or(|entry| entry[i] < t))
                .collect();
            let dies = |i: usize| surv.event()[i] && surv.time()[i] <= t;
            let events: Vec<usize> = at_risk.iter().copied().filter(|&i| dies(i)).collect();
            let d = events.len() as f64;
            let mean = events.iter().map(|&i| surv.weight(i)).sum::<f64>() / d;
            for &i in &events {
                out.loglik += surv.weight(i) * eta[i];
                out.residual[i] += surv.weight(i);
                for j in 0..p {
                    out.score[j] += surv.weight(i) * row(i)[j];
                }
            }
            let risks: Vec<f64> = at_risk.iter().map(|&i| eta[i].exp()).collect();
            for l in 0..events.len() {
                // How much of each patient is left in the l-th denominator, times its risk.
                let left: Vec<f64> = at_risk
                    .iter()
                    .zip(&risks)
                    .map(|(&i, risk)| match ties {
                        Ties::Efron if dies(i) => (1.0 - l as f64 / d) * risk,
                        _ => *risk,
                    })
                    .collect();
                let (mut s0, mut xbar) = (0.0, vec![0.0; p]);
                for (&i, left) in at_risk.iter().zip(&left) {
                    s0 += surv.weight(i) * left;
                    for (m, x) in xbar.iter_mut().zip(row(i)) {
                        *m += surv.weight(i) * left * x;
                    }
                }
                for m in &mut xbar {
                    *m /= s0;
                }
                out.loglik -= mean * s0.ln();
                cumulative += mean / s0;
                for (&i, left) in at_risk.iter().zip(&left) {
                    let increment = left * mean / s0;
                    out.residual[i] -= surv.weight(i) * increment;
                    let counted = if dies(i) { 1.0 / d } else { 0.0 };
                    for j in 0..p {
                        let away = row(i)[j] - xbar[j];
                        out.score_residuals[i * p + j] += (counted - increment) * away;
                        for k in 0..p {
                            out.information[(j, k)] +=
                                surv.weight(i) * increment * away * (row(i)[k] - xbar[k]);
                        }
                    }
                }
                for j in 0..p {
                    out.score[j] -= mean * xbar[j];
                }
            }
            hazard.push(cumulative);
        }
        out.hazard.push((times, hazard));
    }
    out
}

/// `|a - b| <= tolerance (1 + |b|)`.
fn near(what: &str, a: f64, b: f64, tolerance: f64) {
    assert!(
        (a - b).abs() <= tolerance * (1.0 + b.abs()),
        "{what}: {a} is not {b}"
    );
}

/// The fast kernels at `beta` (in scaled units) beside the slow ones on the same scaled rows.
pub(crate) fn compare(surv: &Surv, x: &Covariates<'_>, beta: &[f64], ties: Ties, tolerance: f64) {
    let design = Design::new(surv, x).unwrap();
    let (n, p) = (design.n, design.p);
    let mut by_position = vec![0.0; n];
    design.times(beta, &mut by_position);
    let mut likelihood = Likelihood::new(surv, ties);
    likelihood.evaluate(&by_position);
    let fast = information(&design, &likelihood);
    let residuals = score_residuals(&design, &likelihood);

    let (mut eta, mut rows) = (vec![0.0; n], vec![0.0; n * p]);
    for (position, &i) in surv.sorted.order.iter().enumerate() {
        let i = i as usize;
        eta[i] = by_position[position];
        rows[i * p..(i + 1) * p].copy_from_slice(&design.rows[position * p..(position + 1) * p]);
    }
    let want = slow(surv, &rows, p, &eta, ties);
    near("loglik", likelihood.loglik, want.loglik, tolerance);
    for j in 0..p {
        near("score", fast.score[j], want.score[j], tolerance * n as f64);
        for k in 0..=j {
            let (got, want) = (fast.matrix[(j, k)], want.information[(j, k)]);
            near("information", got, want, tolerance * n as f64);
        }
    }
    for (position, &i) in surv.sorted.order.iter().enumerate() {
        let i = i as usize;
        let got = likelihood.residual[position];
        near("residual", got, want.residual[i], tolerance);
        for j in 0..p {
            // Rows of weight 0 carry no weight in the variance; their residual is left at 0.
            if surv.weight(i) > 0.0 {
                let got = residuals[position * p + j];
                near(
                    "score residual",
                    got,
                    want.score_residuals[i * p + j],
                    tolerance,
                );
            }
        }
    }
    let hazards = baseline(surv, &likelihood, &vec![0.0; p], &vec![0.0; p]);
    assert_eq!(hazards.len(), want.hazard.len());
    for (got, (time, hazard)) in hazards.iter().zip(&want.hazard) {
        assert_eq!(&got.time, time);
        assert_eq!(got.hazard.len(), hazard.len());
        for (got, want) in got.hazard.iter().zip(hazard) {
            assert!(
                (got - want).abs() <= tolerance * want,
                "hazard {got} {want}"
            );
        }
    }
}

/// Numbers without pattern, the same everywhere: uniform in `[-1, 1)`.
pub(crate) fn noise(seed: u64, k: usize) -> f64 {
    let mut z = (seed << 32 | k as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / 2f64.powi(63) - 1.0
}

/// Rows of `n` patients whose hazard follows the first columns, with ties, strata of very
/// different size (one without events), entry and weights, as asked.
pub(crate) fn cohort(n: usize, p: usize, seed: u64, entry: bool, strata: bool) -> Data {
    let x: Vec<f64> = (0..n * p).map(|k| 1.7 * noise(seed, k)).collect();
    let u = |stream: u64, i: usize| 0.5 * (noise(seed + stream, i) + 1.0);
    let effect = |i: usize| {
        (0..p.min(3))
            .map(|j| x[i * p + j] / (j + 1) as f64)
            .sum::<f64>()
    };
    let time: Vec<f64> = (0..n)
        .map(|i| {
            let t = -(1.0 - u(101, i)).ln() * (-effect(i)).exp();
            // Half of the times are rounded, so that ties of all sizes occur.
            if i % 2 == 0 {
                (t * 64.0).ceil() / 64.0
            } else {
                t
            }
        })
        .collect();
    let group: Vec<u8> = (0..n)
        .map(|i| match u(102, i) {
            v if v < 0.5 => 0,
            v if v < 0.52 => 1,
            v if v < 0.9 => 2,
            _ => 3,
        })
        .collect();
    Data {
        event: (0..n)
            .map(|i| u(103, i) < 0.7 && !(strata && group[i] == 1))
            .collect(),
        entry: entry.then(|| (0..n).map(|i| time[i] * (1.4 * u(104, i) - 0.5)).collect()),
        strata: strata.then_some(group),
        weights: None,
        time,
        x,
        p,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn kernels_are_what_the_definitions_say(
        data in data(2..30, 4),
        beta in prop::collection::vec(-1.5..1.5f64, 4),
        ties in any_ties(),
    ) {
        let Ok(surv) = data.surv() else { return Ok(()) };
        let x = data.covariates();
        if Design::new(&surv, &x).is_err() {
            return Ok(());
        }
        compare(&surv, &x, &beta[..data.p], ties, 1e-11);
    }
}

#[test]
fn kernels_agree_across_parts_strata_and_entry() {
    // 5000 rows make five parts; strata and groups straddle their borders.
    for (entry, strata, ties) in [
        (true, false, Ties::Efron),
        (false, true, Ties::Breslow),
        (true, true, Ties::Efron),
    ] {
        let mut data = cohort(5000, 2, 5, entry, strata);
        data.weights = strata.then(|| (0..5000).map(|i| f64::from(i % 5) * 0.5).collect());
        let surv = data.surv().unwrap();
        compare(&surv, &data.covariates(), &[0.8, -0.5], ties, 1e-11);
    }
}

#[test]
fn late_entry_after_high_risk_leaves_the_digits() {
    // Patients whose risk is e^20 of the others' are gone when these come under observation.
    let mut data = cohort(200, 2, 7, true, false);
    for i in 0..200 {
        let early = i % 2 == 0;
        let (from, upto) = if early { (0.0, 1.0) } else { (1.0, 2.0) };
        data.time[i] = f64::midpoint(from, upto) + 0.49 * noise(8, i);
        data.entry.as_mut().unwrap()[i] = from;
        data.x[2 * i] = if early { 20.0 } else { 0.0 } + noise(9, i);
    }
    let surv = data.surv().unwrap();
    let (beta, scale) = (
        1.0,
        Design::new(&surv, &data.covariates()).unwrap().scale[0],
    );
    for ties in [Ties::Efron, Ties::Breslow] {
        for sign in [1.0, -1.0] {
            let beta = [sign * beta * scale, 0.4];
            compare(&surv, &data.covariates(), &beta, ties, 1e-11);
        }
    }
}
