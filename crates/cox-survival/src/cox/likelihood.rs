//! The log partial likelihood and its derivatives with respect to the linear predictor.
//!
//! Needs: the sorted view of [`Surv`](crate::Surv). Returns, per position, the risk weight
//! `r_i = w_i exp(eta_i)`, the residual `g_i = dl/d eta_i` and the curvature weight `c_i` of the
//! information `X' diag(c) X - Z' Z`; per event group the two coefficients of its rows of `Z`.
//! Cost: `O(n)` and one logarithm per event (Efron) or per event time (Breslow).
//! Reference: Efron (1977), JASA 72:557; Breslow (1974), Biometrics 30:89.
//!
//! With `d` events of weights `w` at a time, `S0` the risk sum and `E0` the part of it that
//! belongs to the events, Efron's method uses the `d` denominators `S0_l = S0 - (l/d) E0`,
//! `l = 0..d`, each with the mean weight of the events. Breslow's uses `S0` for all.

use std::ops::Range;

use rayon::prelude::*;

pub(crate) use crate::compensated::Sum;
use crate::cox::Ties;
use crate::cox::design::{Design, ROWS};
use crate::cox::exponential::{LogSum, exp_shifted};
use crate::cox::information::{Information, information};
use crate::cox::newton::Objective;
use crate::surv::{Sorted, Stratum, Surv};

/// What one event group contributes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GroupTerms {
    /// Hazard increment `sum_l wbar / S0_l` (on the scale of the shifted risks).
    pub(crate) hazard: f64,
    /// The share of `hazard` from which the group's own events are spared, `sum_l (l/d) wbar / S0_l`.
    pub(crate) spared: f64,
    /// Rows of `Z`: `z[0] S1 - z[1] E1` and `z[2] E1`.
    pub(crate) z: [f64; 3],
    /// Sum of the events' weights.
    pub(crate) weight: f64,
    /// Whether the risk set's sums must be gathered anew here: what left it was so much larger
    /// than what stays that a running sum holds nothing but rounding.
    pub(crate) anew: bool,
}

impl GroupTerms {
    /// `sum_l wbar / S0_l^2`, `sum_l (l/d) wbar / S0_l^2`: increments of `S1 / S0^2`.
    pub(crate) fn square(&self) -> [f64; 2] {
        [self.z[0] * self.z[0], self.z[0] * self.z[1]]
    }
}

/// Share of its largest value below which a running sum is gathered anew.
const DROP: f64 = 1e-12;

/// Buffers and results of one evaluation; reused from iteration to iteration.
#[derive(Debug, Clone)]
pub(crate) struct Likelihood<'a> {
    pub(crate) sorted: &'a Sorted,
    pub(crate) ties: Ties,
    /// Case weights by position; empty when all are 1.
    pub(crate) weights: Vec<f64>,
    pub(crate) loglik: f64,
    pub(crate) risk: Vec<f64>,
    pub(crate) residual: Vec<f64>,
    pub(crate) curvature: Vec<f64>,
    pub(crate) groups: Vec<GroupTerms>,
    /// Per stratum: the shift subtracted from `eta` before the exponential.
    pub(crate) shift: Vec<f64>,
    cumulative: Vec<Sum>,
}

impl<'a> Likelihood<'a> {
    pub(crate) fn new(surv: &'a Surv, ties: Ties) -> Self {
        let sorted = &surv.sorted;
        let n = surv.n();
        let weights = surv.weights().map_or_else(Vec::new, |w| {
            sorted.order.iter().map(|&i| w[i as usize]).collect()
        });
        Self {
            sorted,
            ties,
            weights,
            loglik: f64::NAN,
            risk: vec![0.0; n],
            residual: vec![0.0; n],
            curvature: vec![0.0; n],
            groups: vec![GroupTerms::default(); sorted.groups.len()],
            shift: vec![0.0; sorted.strata.len()],
            cumulative: match sorted.entry {
                Some(_) => vec![Sum::default(); sorted.groups.len()],
                None => Vec::new(),
            },
        }
    }

    /// Weight of a position.
    #[inline]
    pub(crate) fn weight(&self, position: usize) -> f64 {
        if self.weights.is_empty() {
            1.0
        } else {
            self.weights[position]
        }
    }

    /// Evaluates at the linear predictor `eta` (by position) and returns the log-likelihood,
    /// which is `-inf` when a risk sum underflows.
    pub(crate) fn evaluate(&mut self, eta: &[f64]) -> f64 {
        self.sums(eta);
        self.derivatives();
        self.loglik
    }

    /// Risk weights, group terms and the log-likelihood, without the per-row derivatives.
    pub(crate) fn sums(&mut self, eta: &[f64]) -> f64 {
        let sorted = self.sorted;
        let mut loglik = Sum::default();
        for (s, stratum) in sorted.strata.iter().enumerate() {
            let positions = stratum.positions.clone();
            let shift = self.shift_of(&eta[positions.clone()], positions.start);
            self.shift[s] = shift;
            self.risk[positions.clone()]
                .par_chunks_mut(ROWS)
                .zip(eta[positions.clone()].par_chunks(ROWS))
                .for_each(|(risk, eta)| exp_shifted(eta, shift, risk));
            if !self.weights.is_empty() {
                for i in positions.clone() {
                    let w = self.weights[i];
                    self.risk[i] = if w > 0.0 { w * self.risk[i] } else { 0.0 };
                }
            }
            if sorted.entry.is_none() && self.weights.is_empty() {
                self.plain_sums(stratum, eta, shift, &mut loglik);
                continue;
            }
            let (mut s0, mut peak) = (Sum::default(), 0.0f64);
            let (mut next, mut left) = (positions.start, positions.start);
            for g in stratum.groups.clone() {
                let group = &sorted.groups[g];
                for &r in &self.risk[next..group.upto] {
                    s0.add(r);
                }
                next = group.upto;
                let mut anew = false;
                if let Some(entry) = &sorted.entry {
                    peak = peak.max(s0.value());
                    for &i in &entry.order[left..group.not_entered] {
                        s0.add(-self.risk[i as usize]);
                    }
                    left = group.not_entered;
                    if s0.value() < DROP * peak {
                        anew = true;
                        s0 = Sum::default();
                        for i in sorted.at_risk(g) {
                            s0.add(self.risk[i]);
                        }
                        peak = s0.value();
                    }
                }
                let (mut e0, mut weight) = (0.0, 0.0);
                for i in group.events.clone() {
                    let w = self.weight(i);
                    e0 += self.risk[i];
                    weight += w;
                    loglik.add(w * (eta[i] - shift));
                }
                let (terms, log_denominators) =
                    group_terms(self.ties, s0.value(), e0, weight, group.events.len());
                loglik.add(-log_denominators);
                self.groups[g] = GroupTerms { anew, ..terms };
            }
        }
        let loglik = loglik.value();
        self.loglik = if loglik.is_nan() {
            f64::NEG_INFINITY
        } else {
            loglik
        };
        self.loglik
    }

    /// The largest linear predictor of rows from `start` on. Rows of weight 0 are as if absent: they
    /// must not set the scale of the others.
    fn shift_of(&self, eta: &[f64], start: usize) -> f64 {
        if !self.weights.is_empty() {
            let weights = &self.weights[start..];
            let used = eta.iter().zip(weights).filter(|(_, w)| **w > 0.0);
            return used.fold(f64::NEG_INFINITY, |m, (e, _)| m.max(*e));
        }
        let largest = |eta: &[f64]| {
            let mut lanes = [f64::NEG_INFINITY; 8];
            let (whole, rest) = eta.as_chunks::<8>();
            for eight in whole {
                for (m, e) in lanes.iter_mut().zip(eight) {
                    *m = if *e > *m { *e } else { *m };
                }
            }
            lanes
                .iter()
                .chain(rest)
                .fold(f64::NEG_INFINITY, |m, e| m.max(*e))
        };
        eta.par_chunks(ROWS)
            .map(largest)
            .reduce(|| f64::NEG_INFINITY, f64::max)
    }

    /// Group terms and log-likelihood of a stratum where all weights are 1 and nobody enters late.
    fn plain_sums(&mut self, stratum: &Stratum, eta: &[f64], shift: f64, loglik: &mut Sum) {
        let sorted = self.sorted;
        let mut s0 = Sum::default();
        let mut next = stratum.positions.start;
        let mut logs = LogSum::new();
        let groups = &sorted.groups[stratum.groups.clone()];
        for (group, terms) in groups.iter().zip(&mut self.groups[stratum.groups.clone()]) {
            for &r in &self.risk[next..group.upto] {
                s0.add(r);
            }
            next = group.upto;
            let d = group.events.len();
            if d == 1 {
                loglik.add(eta[group.events.start] - shift);
                let s0 = s0.value();
                let inverse = 1.0 / s0;
                logs.add(s0);
                *terms = GroupTerms {
                    hazard: inverse,
                    spared: 0.0,
                    z: [inverse, 0.0, 0.0],
                    weight: 1.0,
                    anew: false,
                };
                continue;
            }
            let mut e0 = 0.0;
            for i in group.events.clone() {
                e0 += self.risk[i];
                loglik.add(eta[i] - shift);
            }
            let (found, log_denominators) = group_terms(self.ties, s0.value(), e0, d as f64, d);
            loglik.add(-log_denominators);
            *terms = found;
        }
        loglik.add(-logs.value());
    }

    /// Residuals and curvatures by position, after [`Likelihood::sums`].
    pub(crate) fn derivatives(&mut self) {
        let sorted = self.sorted;
        for stratum in &sorted.strata {
            if sorted.entry.is_none() {
                self.plain_derivatives(stratum);
                continue;
            }
            let end = stratum.groups.end;
            let mut total = Sum::default();
            for g in stratum.groups.clone().rev() {
                total.add(self.groups[g].hazard);
                self.cumulative[g] = total;
            }
            let cumulative = &self.cumulative;
            let from = |g: u32| {
                if (g as usize) < end {
                    cumulative[g as usize]
                } else {
                    Sum::default()
                }
            };
            for i in stratum.positions.clone() {
                let upto = from(sorted.first_group[i]);
                let hazard = match &sorted.entry {
                    None => upto.value(),
                    // Early hazards can dwarf the later ones a late entry is exposed to.
                    Some(entry) => {
                        let before = from(entry.last_group[i]);
                        let between = upto.minus(before);
                        if between < DROP * upto.value() {
                            let groups = sorted.first_group[i] as usize..end;
                            let exposed = groups.take_while(|&g| g < entry.last_group[i] as usize);
                            exposed.map(|g| self.groups[g].hazard).sum()
                        } else {
                            between
                        }
                    }
                };
                self.curvature[i] = self.risk[i] * hazard;
            }
            for g in stratum.groups.clone() {
                let spared = self.groups[g].spared;
                for i in sorted.groups[g].events.clone() {
                    self.curvature[i] -= self.risk[i] * spared;
                }
            }
            for i in stratum.positions.clone() {
                self.residual[i] = -self.curvature[i];
            }
            for g in stratum.groups.clone() {
                for i in sorted.groups[g].events.clone() {
                    let weight = self.weight(i);
                    self.residual[i] += weight;
                }
            }
        }
    }

    /// Residuals and curvatures of a stratum in which nobody enters late.
    fn plain_derivatives(&mut self, stratum: &Stratum) {
        let sorted = self.sorted;
        let mut hazard = Sum::default();
        let mut end = stratum.positions.end;
        // From the earliest event time on: those who left before it met no event.
        for g in stratum.groups.clone().rev() {
            let group = &sorted.groups[g];
            self.expose(group.upto..end, hazard.value());
            hazard.add(self.groups[g].hazard);
            end = group.upto;
            let events = group.events.clone();
            self.expose(events.end..end, hazard.value());
            end = events.start;
            let spared = hazard.value() - self.groups[g].spared;
            for i in events {
                let curvature = self.risk[i] * spared;
                self.curvature[i] = curvature;
                self.residual[i] = self.weight(i) - curvature;
            }
        }
        self.expose(stratum.positions.start..end, hazard.value());
    }

    /// Rows without an event that were exposed to a cumulative hazard.
    #[inline(always)]
    fn expose(&mut self, rows: Range<usize>, hazard: f64) {
        let risk = &self.risk[rows.clone()];
        let curvature = &mut self.curvature[rows.clone()];
        for ((r, c), g) in risk.iter().zip(curvature).zip(&mut self.residual[rows]) {
            *c = r * hazard;
            *g = -*c;
        }
    }
}

impl Likelihood<'_> {
    /// The log-likelihood of the saturated model, in which every event is certain to be next:
    /// `-sum D ln D` over event times with event weight `D` (Breslow), less the share that
    /// Efron's denominators save.
    pub(crate) fn saturated(&self) -> f64 {
        let mut total = 0.0;
        for group in &self.sorted.groups {
            let weight: f64 = group.events.clone().map(|i| self.weight(i)).sum();
            let d = group.events.len() as f64;
            total -= weight * weight.ln();
            if self.ties == Ties::Efron {
                let saved: f64 = (1..group.events.len())
                    .map(|l| (1.0 - l as f64 / d).ln())
                    .sum();
                total -= weight / d * saved;
            }
        }
        total
    }
}

/// Terms of one group, and the weighted sum of the logarithms of its denominators.
#[inline]
fn group_terms(ties: Ties, s0: f64, e0: f64, weight: f64, d: usize) -> (GroupTerms, f64) {
    // Everything is relative to `s0`, whose square would overflow first.
    let inverse = 1.0 / s0;
    if d == 1 || ties != Ties::Efron {
        let hazard = weight * inverse;
        let terms = GroupTerms {
            hazard,
            spared: 0.0,
            z: [weight.sqrt() * inverse, 0.0, 0.0],
            weight,
            anew: false,
        };
        return (terms, weight * s0.ln());
    }
    let count = d as f64;
    let mean = weight / count;
    let share = e0 * inverse;
    let (mut hazard, mut spared, mut logs) = (0.0, 0.0, weight * s0.ln());
    let (mut a, mut b, mut c) = (0.0, 0.0, 0.0);
    for l in 0..d {
        let f = l as f64 / count;
        let denominator = 1.0 - f * share;
        let h = mean / denominator;
        logs += mean * denominator.ln();
        hazard += h;
        spared += f * h;
        let q = h / denominator;
        a += q;
        b += f * q;
        c += f * f * q;
    }
    // The 2 x 2 form [a, -b; -b, c] is a sum of squares, so its Cholesky factor exists.
    let root = a.sqrt();
    let z = [root, b / root, (c - b * b / a).max(0.0).sqrt()];
    (
        GroupTerms {
            hazard: hazard * inverse,
            spared: spared * inverse,
            z: z.map(|z| z * inverse),
            weight,
            anew: false,
        },
        logs,
    )
}

impl Objective for Likelihood<'_> {
    fn sums(&mut self, eta: &[f64]) -> f64 {
        Likelihood::sums(self, eta)
    }

    fn derivatives(&mut self) {
        Likelihood::derivatives(self);
    }

    fn information(&self, design: &Design) -> Information {
        information(design, self)
    }

    fn events(&self) -> f64 {
        let groups = self.sorted.groups.iter();
        groups
            .map(|group| match self.weights.get(group.events.clone()) {
                Some(weights) => weights.iter().sum(),
                None => group.events.len() as f64,
            })
            .sum()
    }
}
