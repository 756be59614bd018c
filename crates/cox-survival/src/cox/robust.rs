//! Score residuals and the robust (sandwich) variance.
//!
//! `u_i = int (x_i - xbar(t)) dM_i(t)`; the variance is `D'D` with `D = sum over a cluster of
//! w_i u_i' I^-1`. With Efron's method an event of a tie of `d` is present in the `l`-th
//! denominator with weight `1 - l/d`, in its own residual as in everybody's.
//! Cost: `O(n p)`. Reference: Lin & Wei (1989), JASA 84:1074; Therneau & Grambsch (2000), 4.3, 7.1.

use faer::Mat;

use super::design::Design;
use super::information::gather;
use super::likelihood::{Likelihood, Sum};
use super::sums::Sums;

/// Unweighted score residuals, row-major `[n, p]` by position, in scaled units.
pub(crate) fn score_residuals(design: &Design, likelihood: &Likelihood<'_>) -> Vec<f64> {
    let (n, p) = (design.n, design.p);
    let sorted = likelihood.sorted;
    let row = |i: usize| &design.rows[i * p..(i + 1) * p];
    let mut out = vec![0.0; n * p];

    // Per group: the mean at the events, and the increments of `int xbar dLambda`.
    let groups = sorted.groups.len();
    let mut mean = vec![0.0; groups * p];
    let mut drift = vec![0.0; groups * p];
    let mut spared = vec![0.0; groups * p];
    // Rounding errors of the accumulated drifts, which late entry subtracts from each other.
    let mut low = vec![
        0.0;
        if sorted.entry.is_some() {
            groups * p
        } else {
            0
        }
    ];
    let mut s1 = Sums::new(p, sorted.entry.is_some());
    let mut e1 = vec![0.0; p];
    for stratum in &sorted.strata {
        s1.clear();
        let (mut next, mut left) = (stratum.positions.start, stratum.positions.start);
        for g in stratum.groups.clone() {
            let group = &sorted.groups[g];
            for i in next..group.upto {
                s1.add(likelihood.risk[i], row(i));
            }
            next = group.upto;
            if let Some(entry) = &sorted.entry {
                for &i in &entry.order[left..group.not_entered] {
                    s1.add(-likelihood.risk[i as usize], row(i as usize));
                }
                left = group.not_entered;
            }
            gather(&mut s1, g, design, likelihood);
            s1.settle();
            e1.fill(0.0);
            for i in group.events.clone() {
                axpy(&mut e1, likelihood.risk[i], row(i));
            }
            let terms = &likelihood.groups[g];
            let [a, b, c] = square_terms(terms, group.events.len());
            let at = g * p..(g + 1) * p;
            for (j, (m, (s, e))) in mean[at.clone()]
                .iter_mut()
                .zip(s1.values().iter().zip(&e1))
                .enumerate()
            {
                // sum_l (1/d) (S1 - (l/d) E1) / S0_l
                *m = (terms.hazard * s - terms.spared * e) / terms.weight;
                drift[g * p + j] = a * s - b * e;
                spared[g * p + j] = b * s - c * e;
            }
        }
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

/// `sum_l wbar f^k / S0_l^2` for `k = 0, 1, 2`, recovered from the rows of `Z`.
fn square_terms(terms: &super::likelihood::GroupTerms, d: usize) -> [f64; 3] {
    let [a, b] = terms.square;
    if d == 1 {
        return [a, 0.0, 0.0];
    }
    let [_, z1, z2] = terms.z;
    [a, b, z1 * z1 + z2 * z2]
}

/// Sandwich variance from score residuals (row-major by position), weights and cluster codes.
pub(crate) fn sandwich(
    residuals: &[f64],
    likelihood: &Likelihood<'_>,
    cluster: Option<&[u32]>,
    inverse: &Mat<f64>,
) -> Mat<f64> {
    let p = inverse.nrows();
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
    let dfbeta = inverse * sums;
    &dfbeta * dfbeta.transpose()
}

#[inline]
fn axpy(sum: &mut [f64], factor: f64, row: &[f64]) {
    for (s, x) in sum.iter_mut().zip(row) {
        *s += factor * x;
    }
}
