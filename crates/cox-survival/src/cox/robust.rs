//! Score residuals and the robust (sandwich) variance.
//!
//! `u_i = int (x_i - xbar(t)) dM_i(t)`; the variance is `D'D` with `D = sum over a cluster of
//! w_i u_i' I^-1`. With Efron's method an event of a tie of `d` is present in the `l`-th
//! denominator with weight `1 - l/d`, in its own residual as in everybody's.
//! Cost: `O(n p)`. Reference: Lin & Wei (1989), JASA 84:1074; Therneau & Grambsch (2000), 4.3, 7.1.

use faer::Mat;

use super::design::Design;
use super::likelihood::{Likelihood, Sum};
use super::newton::{COLLINEAR, Factor};
use super::risk_means::RiskMeans;

/// Unweighted score residuals, row-major `[n, p]` by position, in scaled units.
pub(crate) fn score_residuals(design: &Design, likelihood: &Likelihood<'_>) -> Vec<f64> {
    let (n, p) = (design.n, design.p);
    let sorted = likelihood.sorted;
    let row = |i: usize| &design.rows[i * p..(i + 1) * p];
    let mut out = vec![0.0; n * p];

    let RiskMeans {
        mean,
        mut drift,
        spared,
    } = RiskMeans::new(design, likelihood);
    // Rounding errors of the accumulated drifts, which late entry subtracts from each other.
    let mut low = match sorted.entry {
        Some(_) => vec![0.0; drift.len()],
        None => Vec::new(),
    };
    for stratum in &sorted.strata {
        // Walk back in time order to accumulate from the earliest group.
        let end = stratum.groups.end;
        for g in stratum.groups.clone().rev().skip(1) {
            for at in g * p..(g + 1) * p {
                if low.is_empty() {
                    drift[at] += drift[at + p];
                } else {
                    let mut sum = Sum::new(drift[at + p], low[at + p]);
                    sum.add(drift[at]);
                    (drift[at], low[at]) = sum.parts();
                }
            }
        }
        let from = |g: u32, j: usize| {
            if (g as usize) < end {
                let at = g as usize * p + j;
                (drift[at], low.get(at).copied().unwrap_or(0.0))
            } else {
                (0.0, 0.0)
            }
        };
        for i in stratum.positions.clone() {
            let weight = likelihood.weight(i);
            if weight <= 0.0 {
                continue;
            }
            let relative = likelihood.risk[i] / weight;
            let residual = likelihood.residual[i] / weight;
            let x = row(i);
            for j in 0..p {
                let (mut path, rest) = from(sorted.first_group[i], j);
                if let Some(entry) = &sorted.entry {
                    let before = from(entry.last_group[i], j);
                    path = (path - before.0) + (rest - before.1);
                }
                out[i * p + j] = residual * x[j] + relative * path;
            }
        }
        for g in stratum.groups.clone() {
            for i in sorted.groups[g].events.clone() {
                let relative = likelihood.risk[i] / likelihood.weight(i);
                for j in 0..p {
                    out[i * p + j] -= mean[g * p + j] + relative * spared[g * p + j];
                }
            }
        }
    }
    out
}

/// Weighted score residuals summed over clusters, `[p, clusters]`.
pub(crate) fn cluster_sums(
    residuals: &[f64],
    likelihood: &Likelihood<'_>,
    cluster: Option<&[u32]>,
    p: usize,
) -> Mat<f64> {
    let n = residuals.len() / p;
    let clusters = cluster.map_or(n, |c| c.iter().max().map_or(0, |&m| m as usize + 1));
    let mut sums = Mat::<f64>::zeros(p, clusters);
    for position in 0..n {
        let row = likelihood.sorted.order[position] as usize;
        let c = cluster.map_or(position, |codes| codes[row] as usize);
        let weight = likelihood.weight(position);
        for j in 0..p {
            sums[(j, c)] += weight * residuals[position * p + j];
        }
    }
    sums
}

/// Sandwich variance from the sums over clusters at the estimates.
pub(crate) fn sandwich(sums: &Mat<f64>, inverse: &Mat<f64>) -> Mat<f64> {
    let dfbeta = inverse * sums;
    &dfbeta * dfbeta.transpose()
}

/// The score test with the clusters' own spread in place of the information: `u' (sum u_c u_c')^-1 u` with
/// `u = sum u_c`, from the sums over clusters at the null hypothesis. None where clusters are too few or too
/// alike for it.
pub(crate) fn score_test(sums: &Mat<f64>, free: &[usize]) -> Option<f64> {
    let clusters = sums.ncols();
    let product =
        |a: usize, b: usize| -> f64 { (0..clusters).map(|c| sums[(a, c)] * sums[(b, c)]).sum() };
    let spread = Mat::from_fn(free.len(), free.len(), |a, b| product(free[a], free[b]));
    let total = |&j: &usize| -> f64 { (0..clusters).map(|c| sums[(j, c)]).sum() };
    let score: Vec<f64> = free.iter().map(total).collect();
    if free.is_empty() {
        return None;
    }
    let factor = Factor::new(&spread).ok()?;
    if factor.pivots().iter().any(|&d| d < COLLINEAR) {
        return None;
    }
    let solved = factor.solve(&score);
    let statistic: f64 = score.iter().zip(&solved).map(|(a, b)| a * b).sum();
    statistic.is_finite().then_some(statistic)
}
