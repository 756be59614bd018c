//! The penalised quadratic model on the working set, solved exactly.
//!
//! Minimises `-q'd + d'Kd/2 + sum_c l1_c |b_c + d_c| + l2_c (b_c + d_c)^2 / 2`. A few sweeps of
//! coordinate descent find the support and its signs; a Cholesky solve on the support then lands
//! on the minimum, unless a coefficient would change its sign on the way: then the step stops
//! there, which still descends, and the sweeps go on. Cost: `O(k)` per coordinate move,
//! `O(s^3 / 3)` per new support of size `s`. Reference for the finish: Lee, Battle, Raina & Ng
//! (2007), Efficient sparse coding algorithms (feature-sign search).

use super::cholesky::Cholesky;
use super::gram::Gram;

const MAX_ROUNDS: usize = 60;
const SWEEPS: usize = 3;
/// Rounds in which a step cut short is left to the sweeps.
pub(super) const SWEEPING: usize = 4;

/// The model's penalties, by place in the working set.
pub(super) struct Penalty<'a> {
    pub(super) l1: &'a [f64],
    pub(super) l2: &'a [f64],
    /// Smallest and largest value of each coefficient.
    pub(super) limits: Option<&'a [[f64; 2]]>,
}

impl Penalty<'_> {
    #[inline(always)]
    fn limits(&self, c: usize) -> [f64; 2] {
        self.limits
            .map_or([f64::NEG_INFINITY, f64::INFINITY], |limits| limits[c])
    }

    /// Where `-target b + curvature b^2 / 2` and the absolute value are smallest together.
    #[inline(always)]
    pub(super) fn best(&self, c: usize, target: f64, curvature: f64) -> f64 {
        let [lower, upper] = self.limits(c);
        (shrink(target, self.l1[c]) / curvature)
            .max(lower)
            .min(upper)
    }

    /// Whether a limit holds a coefficient against the pull of the model.
    pub(super) fn holds(&self, c: usize, q: f64, b: f64) -> bool {
        let [lower, upper] = self.limits(c);
        let sign = if self.l1[c] > 0.0 { b.signum() } else { 0.0 };
        let pull = q - self.l2[c] * b - self.l1[c] * sign;
        (b >= upper && pull >= 0.0) || (b <= lower && pull <= 0.0)
    }

    /// What stops a step: zero, where the absolute value bends, or a limit.
    fn barrier(&self, c: usize, b: f64, step: f64) -> Option<f64> {
        let ([lower, upper], next) = (self.limits(c), b + step);
        if self.l1[c] > 0.0 && b * next <= 0.0 {
            Some(0.0)
        } else if next > upper {
            Some(upper)
        } else if next < lower {
            Some(lower)
        } else {
            None
        }
    }
}

/// By how much a coefficient misses its optimality condition, with `pull` the gradient of what is
/// smooth: 0 where it is held by the penalty or by a limit.
pub(super) fn excess(pull: f64, b: f64, l1: f64, [lower, upper]: [f64; 2]) -> f64 {
    let up = if b < 0.0 { pull + l1 } else { pull - l1 };
    let down = if b > 0.0 { pull - l1 } else { pull + l1 };
    if up > 0.0 && b < upper {
        up
    } else if down < 0.0 && b > lower {
        -down
    } else if pull.is_nan() {
        f64::INFINITY
    } else {
        0.0
    }
}

/// How far a step on the support went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    /// To the minimum over the support.
    Whole,
    /// Coefficients that would change sign stopped at zero.
    Clamped,
    /// All stopped where the first of them reached zero.
    First,
}

/// Remembers the last factorisation, which successive models share until the support moves.
#[derive(Default)]
pub(super) struct Quadratic {
    support: Vec<usize>,
    key: Option<(u64, u64)>,
    factor: Cholesky,
}

impl Quadratic {
    /// Moves `b` to the minimum; `q` (the gradient of the smooth part's decrease) follows.
    /// `key` names the matrix and the penalty, so that a factor is reused only where it holds.
    pub(super) fn solve(
        &mut self,
        gram: &Gram,
        q: &mut [f64],
        b: &mut [f64],
        penalty: &Penalty<'_>,
        key: (u64, u64),
    ) {
        for round in 0..MAX_ROUNDS {
            // Successive models of one lambda share their support: try to land on it at once.
            if round > 0 || self.key != Some(key) {
                sweeps(gram, q, b, penalty);
            }
            let mut landing = self.finish(gram, q, b, penalty, key);
            // Sweeps repair signs many at a time; a support beyond the rank of the matrix they
            // never leave, and it shrinks one feature at a time.
            for _ in 0..b.len() {
                if landing != Landing::First || round < SWEEPING {
                    break;
                }
                landing = self.finish(gram, q, b, penalty, key);
            }
            let all = self.support.len() == b.len();
            if landing == Landing::Whole && (all || settled(q, b, penalty)) {
                return;
            }
        }
        // Only a singular model without ridge part comes here; descend as far as it goes.
        for _ in 0..200 {
            sweeps(gram, q, b, penalty);
        }
    }

    /// Cholesky step on the support.
    fn finish(
        &mut self,
        gram: &Gram,
        q: &mut [f64],
        b: &mut [f64],
        penalty: &Penalty<'_>,
        key: (u64, u64),
    ) -> Landing {
        let support: Vec<usize> = (0..b.len())
            .filter(|&c| {
                (b[c].abs() > 0.0 || penalty.l1[c] <= 0.0) && !penalty.holds(c, q[c], b[c])
            })
            .collect();
        if support.is_empty() {
            return Landing::Whole;
        }
        if self.key != Some(key) || self.support != support {
            self.factor.factorise(support.len(), |target| {
                on_support(target, gram, &support, penalty.l2);
            });
            self.support = support;
            self.key = Some(key);
        }
        let support = &self.support;
        let sign = |c: usize| {
            if penalty.l1[c] > 0.0 {
                b[c].signum()
            } else {
                0.0
            }
        };
        let mut step: Vec<f64> = support
            .iter()
            .map(|&c| q[c] - penalty.l2[c] * b[c] - penalty.l1[c] * sign(c))
            .collect();
        if !self.factor.solve(&mut step) {
            return Landing::Clamped;
        }
        land(q, b, support, &step, penalty, |d, kd| {
            combine(gram, support, d, kd);
        })
    }
}

/// Goes `step` on the support, or as far as no coefficient changes its sign; `product` adds
/// `K d` to its second argument.
pub(super) fn land(
    q: &mut [f64],
    b: &mut [f64],
    support: &[usize],
    step: &[f64],
    penalty: &Penalty<'_>,
    product: impl Fn(&[f64], &mut [f64]),
) -> Landing {
    // Where a sign would change the coefficient stops at zero; at its limit it stops too.
    let barriers: Vec<Option<f64>> = support
        .iter()
        .zip(step)
        .map(|(&c, step)| penalty.barrier(c, b[c], *step))
        .collect();
    let mut landing = if barriers.iter().any(Option::is_some) {
        Landing::Clamped
    } else {
        Landing::Whole
    };
    let mut ends: Vec<f64> = support
        .iter()
        .zip(step.iter().zip(&barriers))
        .map(|(&c, (step, barrier))| barrier.unwrap_or(b[c] + step))
        .collect();
    let moves = |ends: &[f64], b: &[f64]| -> Vec<f64> {
        support.iter().zip(ends).map(|(&c, e)| e - b[c]).collect()
    };
    if landing == Landing::Whole && support.len() == b.len() {
        // At the minimum over all features (the ridge is always there) nobody asks for `q`.
        for (&c, end) in support.iter().zip(&ends) {
            b[c] = *end;
        }
        return landing;
    }
    let mut d = moves(&ends, b);
    let mut kd = vec![0.0; b.len()];
    product(&d, &mut kd);
    if landing != Landing::Whole && change(q, &kd, b, support, &d, penalty) > 0.0 {
        // Stopping some and not others need not descend; going as far as the first does.
        landing = Landing::First;
        let way = |k: usize, barrier: f64| (barrier - b[support[k]]) / step[k];
        let first = barriers
            .iter()
            .enumerate()
            .filter_map(|(k, barrier)| barrier.map(|barrier| way(k, barrier)))
            .fold(1.0, f64::min);
        for (k, end) in ends.iter_mut().enumerate() {
            *end = match barriers[k] {
                Some(barrier) if way(k, barrier) <= first => barrier,
                _ => b[support[k]] + first * step[k],
            };
        }
        d = moves(&ends, b);
        kd.fill(0.0);
        product(&d, &mut kd);
    }
    for (&c, end) in support.iter().zip(&ends) {
        b[c] = *end;
    }
    for (q, kd) in q.iter_mut().zip(&kd) {
        *q -= kd;
    }
    landing
}

/// `out += sum_k d_k K_k` over the support's columns.
fn combine(gram: &Gram, support: &[usize], d: &[f64], out: &mut [f64]) {
    pulp::Arch::new().dispatch(Combine {
        gram,
        support,
        d,
        out,
    });
}

struct Combine<'a> {
    gram: &'a Gram,
    support: &'a [usize],
    d: &'a [f64],
    out: &'a mut [f64],
}

impl pulp::WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (&c, &d) in self.support.iter().zip(self.d) {
            for (o, k) in self.out.iter_mut().zip(self.gram.column(c)) {
                *o += d * k;
            }
        }
    }
}

/// Change of the model's value along `d` on the support, with `kd = K d`.
fn change(
    q: &[f64],
    kd: &[f64],
    b: &[f64],
    support: &[usize],
    d: &[f64],
    penalty: &Penalty<'_>,
) -> f64 {
    support
        .iter()
        .zip(d)
        .map(|(&c, &d)| {
            let next = b[c] + d;
            d * (0.5 * kd[c] - q[c])
                + penalty.l1[c] * (next.abs() - b[c].abs())
                + 0.5 * penalty.l2[c] * (next * next - b[c] * b[c])
        })
        .sum()
}

/// Whether no coefficient that is zero or at a limit wants to leave it.
pub(super) fn settled(q: &[f64], b: &[f64], penalty: &Penalty<'_>) -> bool {
    (0..b.len()).all(|c| {
        let [lower, upper] = penalty.limits(c);
        if b[c].abs() > 0.0 {
            let inside = b[c] > lower && b[c] < upper;
            let pull = q[c] - penalty.l2[c] * b[c];
            inside || excess(pull, b[c], penalty.l1[c], [lower, upper]) <= 1e-10 * pull.abs()
        } else {
            let l1 = penalty.l1[c] * (1.0 + 1e-10);
            excess(q[c], 0.0, l1, [lower, upper]) <= 0.0
        }
    })
}

/// `K` plus the ridge on the support, of which the lower triangle is written into `target`.
fn on_support(target: &mut [f64], gram: &Gram, support: &[usize], l2: &[f64]) {
    let size = support.len();
    for (k, (&c, target)) in support
        .iter()
        .zip(target.chunks_exact_mut(size))
        .enumerate()
    {
        let column = gram.column(c);
        let target = &mut target[k..];
        for (t, &r) in target.iter_mut().zip(&support[k..]) {
            *t = column[r];
        }
        // A hair of ridge lets exact copies of a column through; rounds of refinement with
        // the true matrix remove its trace.
        target[0] += l2[c] + 1e-13 * column[c];
    }
}

/// Coordinate descent: one sweep over all, then over the support until signs stand still.
fn sweeps(gram: &Gram, q: &mut [f64], b: &mut [f64], penalty: &Penalty<'_>) {
    let mut list: Vec<usize> = (0..b.len()).collect();
    for sweep in 0..SWEEPS {
        let moved = pulp::Arch::new().dispatch(Sweep {
            gram,
            q,
            b,
            penalty,
            list: &list,
        });
        if sweep == 0 {
            list.retain(|&c| b[c].abs() > 0.0);
        } else if !moved {
            break;
        }
    }
}

struct Sweep<'a> {
    gram: &'a Gram,
    q: &'a mut [f64],
    b: &'a mut [f64],
    penalty: &'a Penalty<'a>,
    list: &'a [usize],
}

impl pulp::WithSimd for Sweep<'_> {
    /// Whether a coefficient changed its sign, left zero or became zero.
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> bool {
        let Self {
            gram,
            q,
            b,
            penalty,
            list,
        } = self;
        let mut moved = false;
        for &c in list {
            let column = gram.column(c);
            let curvature = column[c] + penalty.l2[c];
            if curvature <= 0.0 {
                continue;
            }
            let target = q[c] + column[c] * b[c];
            let next = penalty.best(c, target, curvature);
            let d = next - b[c];
            if d.abs() > 0.0 {
                moved |= (next > 0.0) != (b[c] > 0.0) || (next < 0.0) != (b[c] < 0.0);
                b[c] = next;
                for (q, k) in q.iter_mut().zip(column) {
                    *q -= d * k;
                }
            }
        }
        moved
    }
}

#[inline(always)]
fn shrink(x: f64, by: f64) -> f64 {
    if x > by {
        x - by
    } else if x < -by {
        x + by
    } else {
        0.0
    }
}
