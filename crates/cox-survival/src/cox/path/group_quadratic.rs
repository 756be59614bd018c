//! The quadratic model under a group penalty.
//!
//! Minimises `-q'd + d'Kd/2 + sum_g l1_g |b_g + d_g| + l2_g |b_g + d_g|^2 / 2` with Euclidean
//! norms. Sweeps over the groups, each moved to the minimum of a bound of the model, find which
//! groups are zero; Newton steps on the others, where the penalty is smooth, land on the minimum.
//! The Newton system has `s` unknowns when `K` is formed, and otherwise `n` by Woodbury's identity
//! (`wide.rs`). Cost: `k p_g` or `n p_g` per group of a sweep, `s^3 / 3` or `n^2 s` per step.
//! References: Yuan & Lin (2006), JRSS B 68:49; Yang & Zou (2015), Statistics and Computing
//! 25:1129 (the bound); Roth & Fischer (2008), ICML (Newton steps on the active groups).

use std::ops::Range;

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::solvers::Solve;
use faer::{Accum, Col, Mat, MatRef, Par, Side};

use super::gram::Gram;
use crate::cox::design::dot;

const ROUNDS: usize = 50;
const SWEEPS: usize = 2;
const NEWTON: usize = 8;
/// Rounds that may pass without halving the violation.
const STUCK: usize = 6;
/// Ridge along a group's own direction, relative to the diagonal of `K`, where its penalty bends
/// nothing and `K` is not formed: Woodbury's identity needs one.
const ALONG: f64 = 1e-7;

/// A group in the working set.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// Its places there.
    pub(super) at: Range<usize>,
    pub(super) l1: f64,
    pub(super) l2: f64,
    /// At least the largest eigenvalue of its block of `K`.
    pub(super) bound: f64,
}

pub(super) struct Model<'a> {
    pub(super) gram: &'a Gram,
    pub(super) blocks: &'a [Block],
    pub(super) total: f64,
}

pub(super) fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// How far a group is from its optimality condition; `q` is the gradient of what is smooth.
pub(super) fn violation(q: &[f64], b: &[f64], l1: f64, l2: f64) -> f64 {
    let size = norm(b);
    let violation = if size > 0.0 {
        let share = l2 + l1 / size;
        let off = |(q, b): (&f64, &f64)| (q - share * b) * (q - share * b);
        q.iter().zip(b).map(off).sum::<f64>().sqrt()
    } else {
        (norm(q) - l1).max(0.0)
    };
    // `max` passes over NaN, and a certificate must not.
    if violation.is_nan() || q.iter().any(|q| q.is_nan()) {
        f64::INFINITY
    } else {
        violation
    }
}

impl Model<'_> {
    /// Moves `b` until no group misses its condition by more than `target`; `q` follows.
    pub(super) fn minimise(&self, q: &mut [f64], b: &mut [f64], target: f64) {
        let (mut least, mut stuck) = (f64::INFINITY, 0);
        for _ in 0..ROUNDS {
            for _ in 0..SWEEPS {
                self.sweep(q, b);
            }
            for _ in 0..NEWTON {
                if self.worst(q, b) <= target || !self.newton(q, b) {
                    break;
                }
            }
            let worst = self.worst(q, b);
            stuck = if worst < 0.5 * least { 0 } else { stuck + 1 };
            least = least.min(worst);
            // A model without minimum never gets there.
            if worst <= target || stuck >= STUCK {
                return;
            }
        }
    }

    fn worst(&self, q: &[f64], b: &[f64]) -> f64 {
        let one = |block: &Block| {
            let at = block.at.clone();
            violation(&q[at.clone()], &b[at], block.l1, block.l2)
        };
        self.blocks.iter().map(one).fold(0.0, f64::max)
    }

    /// Moves every group once, the others held.
    fn sweep(&self, q: &mut [f64], b: &mut [f64]) {
        let wide = self.gram.is_wide();
        let mut gd = vec![0.0; if wide { self.gram.rows() } else { 0 }];
        for block in self.blocks {
            let at = block.at.clone();
            let curvature = block.bound + block.l2;
            if curvature <= 0.0 {
                continue;
            }
            let mut target: Vec<f64> = at
                .clone()
                .map(|c| {
                    let moved = if wide {
                        dot(self.gram.wide_column(c), &gd) / self.total
                    } else {
                        0.0
                    };
                    q[c] - moved + block.bound * b[c]
                })
                .collect();
            let size = norm(&target);
            let share = if size > block.l1 {
                (1.0 - block.l1 / size) / curvature
            } else {
                0.0
            };
            for (t, c) in target.iter_mut().zip(at.clone()) {
                let next = share * *t;
                *t = next - b[c];
                b[c] = next;
            }
            if wide {
                self.combine(at, &target, &mut gd);
            } else {
                self.subtract(at, &target, q);
            }
        }
        if wide {
            self.subtract_wide(&gd, q);
        }
    }

    /// `gd += G d` for the columns at `at`.
    fn combine(&self, at: impl Iterator<Item = usize>, d: &[f64], gd: &mut [f64]) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (c, d) in at.zip(d).filter(|(_, d)| d.abs() > 0.0) {
                    for (s, g) in gd.iter_mut().zip(self.gram.wide_column(c)) {
                        *s += d * g;
                    }
                }
            },
        );
    }

    /// `out -= K d` from `G d`.
    fn subtract_wide(&self, gd: &[f64], out: &mut [f64]) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (c, out) in out.iter_mut().enumerate() {
                    *out -= dot(self.gram.wide_column(c), gd) / self.total;
                }
            },
        );
    }

    /// `out -= K d` for the columns at `at`, when `K` is formed.
    fn subtract(&self, at: impl Iterator<Item = usize>, d: &[f64], out: &mut [f64]) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (c, d) in at.zip(d).filter(|(_, d)| d.abs() > 0.0) {
                    for (o, k) in out.iter_mut().zip(self.gram.column(c)) {
                        *o -= d * k;
                    }
                }
            },
        );
    }

    /// One Newton step on the groups that are not zero; false if it does not lower the model.
    fn newton(&self, q: &mut [f64], b: &mut [f64]) -> bool {
        let active: Vec<&Block> = self
            .blocks
            .iter()
            .filter(|block| block.l1 <= 0.0 || norm(&b[block.at.clone()]) > 0.0)
            .collect();
        if active.is_empty() {
            return false;
        }
        let bends: Vec<Bend> = active.iter().map(|block| Bend::new(block, b)).collect();
        let rhs: Vec<f64> = active
            .iter()
            .zip(&bends)
            .flat_map(|(block, bend)| {
                let (q, b) = (&*q, &*b);
                block.at.clone().map(move |c| q[c] - bend.across * b[c])
            })
            .collect();
        let solved = if self.gram.is_wide() {
            self.solve_wide(&active, &bends, &rhs)
        } else {
            self.solve(&active, &bends, &rhs)
        };
        let Some(step) = solved else { return false };
        // A group that would come out beyond zero stops there; if that does not descend, all go
        // only part of the way.
        let mut stopped = step.clone();
        let mut from = 0;
        let mut any = false;
        for (block, bend) in active.iter().zip(&bends) {
            let range = from..from + block.at.len();
            from = range.end;
            let b = &b[block.at.clone()];
            let beyond = |d: &[f64]| b.iter().zip(d).map(|(b, d)| b * (b + d)).sum::<f64>() <= 0.0;
            if bend.bent && beyond(&step[range.clone()]) {
                any = true;
                for (d, b) in stopped[range].iter_mut().zip(b) {
                    *d = -b;
                }
            }
        }
        if any && self.go(&active, &stopped, q, b, &[1.0]) {
            return true;
        }
        self.go(&active, &step, q, b, &[1.0, 0.5, 0.25, 0.1, 0.03, 0.01])
    }

    /// Goes the largest of `shares` of a step that lowers the model.
    fn go(
        &self,
        active: &[&Block],
        step: &[f64],
        q: &mut [f64],
        b: &mut [f64],
        shares: &[f64],
    ) -> bool {
        let at: Vec<usize> = active.iter().flat_map(|block| block.at.clone()).collect();
        let mut minus_kd = vec![0.0; q.len()];
        if self.gram.is_wide() {
            let mut gd = vec![0.0; self.gram.rows()];
            self.combine(at.iter().copied(), step, &mut gd);
            self.subtract_wide(&gd, &mut minus_kd);
        } else {
            self.subtract(at.iter().copied(), step, &mut minus_kd);
        }
        let pairs = || at.iter().zip(step);
        let slope: f64 = pairs().map(|(&c, d)| d * q[c]).sum();
        let square: f64 = pairs().map(|(&c, d)| -d * minus_kd[c]).sum();
        let penalty = |share: f64| -> f64 {
            let mut from = 0;
            let one = |block: &&Block| {
                let d = &step[from..from + block.at.len()];
                from += block.at.len();
                let moved = b[block.at.clone()].iter().zip(d);
                let size: f64 = moved.map(|(b, d)| (b + share * d).powi(2)).sum();
                block.l1 * size.sqrt() + 0.5 * block.l2 * size
            };
            active.iter().map(one).sum()
        };
        let before = penalty(0.0);
        let lower = |share: &&f64| {
            let smooth = **share * (0.5 * **share * square - slope);
            smooth + penalty(**share) - before < 0.0
        };
        let Some(&share) = shares.iter().find(lower) else {
            return false;
        };
        for (&c, d) in at.iter().zip(step) {
            let stops = share >= 1.0 && d.total_cmp(&-b[c]).is_eq();
            b[c] = if stops { 0.0 } else { b[c] + share * d };
        }
        for (q, kd) in q.iter_mut().zip(&minus_kd) {
            *q += share * kd;
        }
        true
    }

    /// `(K + D)^-1 rhs` on the active groups, with `K`.
    fn solve(&self, active: &[&Block], bends: &[Bend], rhs: &[f64]) -> Option<Vec<f64>> {
        let at: Vec<usize> = active.iter().flat_map(|block| block.at.clone()).collect();
        let mut matrix = Mat::from_fn(at.len(), at.len(), |i, j| {
            if i >= j {
                self.gram.column(at[j])[at[i]]
            } else {
                0.0
            }
        });
        let largest = (0..at.len()).map(|i| matrix[(i, i)]).fold(0.0, f64::max);
        let mut from = 0;
        for (block, bend) in active.iter().zip(bends) {
            let less = bend.across - bend.along;
            for i in 0..block.at.len() {
                matrix[(from + i, from + i)] += bend.across + 1e-11 * largest;
                for j in 0..=i {
                    matrix[(from + i, from + j)] -= less * bend.unit[i] * bend.unit[j];
                }
            }
            from += block.at.len();
        }
        let solved = matrix.llt(Side::Lower).ok()?;
        let solved = solved.solve(Col::from_fn(rhs.len(), |i| rhs[i]));
        Some((0..rhs.len()).map(|i| solved[i]).collect())
    }

    /// The same in `n` dimensions.
    fn solve_wide(&self, active: &[&Block], bends: &[Bend], rhs: &[f64]) -> Option<Vec<f64>> {
        let n = self.gram.rows();
        let places = || active.iter().flat_map(|block| block.at.clone());
        let largest = places()
            .map(|c| self.gram.wide_diagonal(c))
            .fold(0.0, f64::max);
        let least = ALONG * largest;
        let inverse = |bend: &Bend| {
            let across = 1.0 / bend.across.max(least);
            (across, (1.0 / bend.along.max(least) - across).max(0.0))
        };
        // `W + G D^-1 G'`, of columns whose squares add up to it.
        let mut columns = Vec::with_capacity(n * (rhs.len() + active.len()));
        for (block, bend) in active.iter().zip(bends) {
            let (across, more) = inverse(bend);
            for c in block.at.clone() {
                let root = across.sqrt();
                columns.extend(self.gram.wide_column(c).iter().map(|g| root * g));
            }
            let mut gu = vec![0.0; n];
            self.combine(block.at.clone(), &bend.unit, &mut gu);
            columns.extend(gu.iter().map(|g| more.sqrt() * g));
        }
        let mut matrix = Mat::from_fn(n, n, |i, j| if i == j { self.total } else { 0.0 });
        let c = MatRef::from_column_major_slice(&columns, n, columns.len() / n);
        triangular::matmul(
            matrix.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            c,
            BlockStructure::Rectangular,
            c.transpose(),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
        let factor = matrix.llt(Side::Lower).ok()?;
        let scaled = |x: &[f64]| -> Vec<f64> {
            let mut out = Vec::with_capacity(x.len());
            let mut from = 0;
            for (block, bend) in active.iter().zip(bends) {
                let x = &x[from..from + block.at.len()];
                from += block.at.len();
                let (across, more) = inverse(bend);
                let along = more * dot(&bend.unit, x);
                out.extend(
                    x.iter()
                        .zip(&bend.unit)
                        .map(|(x, u)| across * x + along * u),
                );
            }
            out
        };
        let first = scaled(rhs);
        let mut gd = vec![0.0; n];
        self.combine(places(), &first, &mut gd);
        let solved = factor.solve(Col::from_fn(n, |i| gd[i]));
        let solved: Vec<f64> = (0..n).map(|i| solved[i]).collect();
        let back: Vec<f64> = places()
            .zip(rhs)
            .map(|(c, r)| r - dot(self.gram.wide_column(c), &solved))
            .collect();
        Some(scaled(&back))
    }
}

/// The second derivative of a group's penalty: `across` in all directions but that of the group
/// itself, `unit`, in which it is `along`.
struct Bend {
    across: f64,
    along: f64,
    unit: Vec<f64>,
    bent: bool,
}

impl Bend {
    fn new(block: &Block, b: &[f64]) -> Self {
        let b = &b[block.at.clone()];
        let size = norm(b);
        let bent = block.l1 > 0.0 && size > 0.0;
        let share = |b: &f64| if bent { b / size } else { 0.0 };
        Self {
            across: block.l2 + if bent { block.l1 / size } else { 0.0 },
            along: block.l2,
            unit: b.iter().map(share).collect(),
            bent,
        }
    }
}
