//! Means of the covariates over the risk sets, and their integrals.
//!
//! Needs: an evaluated [`Likelihood`] and the [`Design`]. Returns, per event group and in scaled
//! units, the mean `xbar` that the group's events are compared with, and the increments of
//! `int xbar dH`. With Efron's method all are means over the group's denominators. Cost: `O(n p)`.

use super::design::Design;
use super::information::gather;
use super::likelihood::{GroupTerms, Likelihood};
use super::sums::Sums;

/// Row-major `[groups, p]` each.
pub(crate) struct RiskMeans {
    /// `sum_l (1/d) (S1 - (l/d) E1) / S0_l`.
    pub(crate) mean: Vec<f64>,
    /// Increment of `int xbar dH`, on the scale of the shifted risks.
    pub(crate) drift: Vec<f64>,
    /// The share of `drift` from which the group's own events are spared.
    pub(crate) spared: Vec<f64>,
}

impl RiskMeans {
    pub(crate) fn new(design: &Design, likelihood: &Likelihood<'_>) -> Self {
        let p = design.p;
        let sorted = likelihood.sorted;
        let row = |i: usize| &design.rows[i * p..(i + 1) * p];
        let groups = sorted.groups.len();
        let mut means = Self {
            mean: vec![0.0; groups * p],
            drift: vec![0.0; groups * p],
            spared: vec![0.0; groups * p],
        };
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
                    for (e, x) in e1.iter_mut().zip(row(i)) {
                        *e += likelihood.risk[i] * x;
                    }
                }
                let terms = &likelihood.groups[g];
                let [a, b, c] = square_terms(terms, group.events.len());
                for (j, (s, e)) in s1.values().iter().zip(&e1).enumerate() {
                    means.mean[g * p + j] = (terms.hazard * s - terms.spared * e) / terms.weight;
                    means.drift[g * p + j] = a * s - b * e;
                    means.spared[g * p + j] = b * s - c * e;
                }
            }
        }
        means
    }
}

/// `sum_l wbar f^k / S0_l^2` for `k = 0, 1, 2`, recovered from the rows of `Z`.
fn square_terms(terms: &GroupTerms, d: usize) -> [f64; 3] {
    let [a, b] = terms.square();
    if d == 1 {
        return [a, 0.0, 0.0];
    }
    let [_, z1, z2] = terms.z;
    [a, b, z1 * z1 + z2 * z2]
}
