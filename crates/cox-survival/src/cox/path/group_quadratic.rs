//! The quadratic model under a group penalty.
//!
//! Minimises `-q'd + d'Kd/2 + sum_g l1_g |b_g + d_g| + l2_g |b_g + d_g|^2 / 2` with Euclidean
//! norms. Sweeps over the groups, each moved to the minimum of a bound of the model, find which
//! groups are zero; Newton steps on the others, where the penalty is smooth, land on the minimum.
//! The Newton system has `s` unknowns when `K` is formed, and otherwise `n` by Woodbury's identity
//! (`wide.rs`), with `G_g G_g'` of the wide groups kept while the weights are frozen. Cost: `k p_g`
//! or `n p_g` per group of a sweep; `s^3 / 3` per step, or `n^3 / 3 + n s` and `n^2` per group.
//! References: Yuan & Lin (2006), JRSS B 68:49; Yang & Zou (2015), Statistics and Computing
//! 25:1129 (the bound); Roth & Fischer (2008), ICML (Newton steps on the active groups).

use std::ops::Range;

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::solvers::Solve;
use faer::{Accum, Col, Mat, MatMut, MatRef, Par, Side};

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

/// `G_g G_g'` (lower triangle, column-major) of groups at least half as wide as there are rows, by
/// block, made when a group is first active under the frozen weights.
pub(super) type Kernels = Vec<Option<Vec<f64>>>;

pub(super) struct Model<'a> {
    pub(super) gram: &'a Gram,
    pub(super) blocks: &'a [Block],
    pub(super) kernels: &'a mut Kernels,
    pub(super) total: f64,
}

/// Newton steps in `n` dimensions that only the groups that were active have followed.
#[derive(Default)]
struct Pending {
    /// Blocks that were active.
    active: Vec<usize>,
    /// `G d / W` of the steps.
    moved: Vec<f64>,
}

/// A Newton step, and in `n` dimensions `x = G d / W` with `G_S' x`.
struct Step {
    d: Vec<f64>,
    wide: Option<(Vec<f64>, Vec<f64>)>,
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

impl Block {
    /// Whether its penalty, if it has any, is smooth at `b`.
    fn is_active(&self, b: &[f64]) -> bool {
        self.l1 <= 0.0 || b[self.at.clone()].iter().any(|b| b.abs() > 0.0)
    }
}

impl Model<'_> {
    /// Moves `b` until no group misses its condition by more than `target`; `q` follows.
    pub(super) fn minimise(&mut self, q: &mut [f64], b: &mut [f64], target: f64) {
        let (mut least, mut stuck) = (f64::INFINITY, 0);
        let mut pending = Pending::default();
        for round in 0..ROUNDS {
            // Which groups are zero is known from the last model, until it proves wrong.
            let known = round == 0 && self.blocks.iter().any(|block| block.is_active(b));
            for _ in 0..if known { 0 } else { SWEEPS } {
                self.sweep(q, b);
            }
            for _ in 0..NEWTON {
                let active = |block: &Block| block.is_active(b);
                if self.worst(q, b, active) <= target || !self.newton(q, b, &mut pending) {
                    break;
                }
            }
            self.follow(&mut pending, q);
            let worst = self.worst(q, b, |_| true);
            stuck = if worst < 0.5 * least { 0 } else { stuck + 1 };
            least = least.min(worst);
            // A model without minimum never gets there.
            if worst <= target || stuck >= STUCK {
                return;
            }
        }
    }

    fn worst(&self, q: &[f64], b: &[f64], which: impl Fn(&Block) -> bool) -> f64 {
        let one = |block: &Block| {
            let at = block.at.clone();
            violation(&q[at.clone()], &b[at], block.l1, block.l2)
        };
        let blocks = self.blocks.iter().filter(|block| which(block));
        blocks.map(one).fold(0.0, f64::max)
    }

    /// Lets the groups that were not active follow the steps of those that were.
    fn follow(&self, pending: &mut Pending, q: &mut [f64]) {
        if pending.moved.is_empty() {
            return;
        }
        let mut active = pending.active.iter().copied().peekable();
        for (g, block) in self.blocks.iter().enumerate() {
            if active.next_if_eq(&g).is_none() {
                self.transposed(block.at.clone(), &pending.moved, |c, moved| q[c] -= moved);
            }
        }
        pending.moved.clear();
    }

    /// `G_c' v` for the columns at `at`.
    fn transposed(&self, at: Range<usize>, v: &[f64], mut take: impl FnMut(usize, f64)) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for c in at {
                    take(c, dot(self.gram.wide_column(c), v));
                }
            },
        );
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
    fn newton(&mut self, q: &mut [f64], b: &mut [f64], pending: &mut Pending) -> bool {
        let active: Vec<usize> = (0..self.blocks.len())
            .filter(|&g| self.blocks[g].is_active(b))
            .collect();
        if active.is_empty() {
            return false;
        }
        if active != pending.active {
            self.follow(pending, q);
        }
        let blocks: Vec<&Block> = active.iter().map(|&g| &self.blocks[g]).collect();
        let bends: Vec<Bend> = blocks.iter().map(|block| Bend::new(block, b)).collect();
        let rhs: Vec<f64> = blocks
            .iter()
            .zip(&bends)
            .flat_map(|(block, bend)| {
                let (q, b) = (&*q, &*b);
                block.at.clone().map(move |c| q[c] - bend.across * b[c])
            })
            .collect();
        let solved = if self.gram.is_wide() {
            self.fill_kernels(&active);
            self.solve_wide(&active, &bends, &rhs)
        } else {
            let d = self.solve(&blocks, &bends, &rhs);
            d.map(|d| Step { d, wide: None })
        };
        let Some(step) = solved else { return false };
        // A group that would come out beyond zero stops there; if that does not descend, all go
        // only part of the way.
        let mut stopped = step.d.clone();
        let mut from = 0;
        let mut any = false;
        for (block, bend) in blocks.iter().zip(&bends) {
            let range = from..from + block.at.len();
            from = range.end;
            let b = &b[block.at.clone()];
            let beyond = |d: &[f64]| b.iter().zip(d).map(|(b, d)| b * (b + d)).sum::<f64>() <= 0.0;
            if bend.bent && beyond(&step.d[range.clone()]) {
                any = true;
                for (d, b) in stopped[range].iter_mut().zip(b) {
                    *d = -b;
                }
            }
        }
        if any {
            self.follow(pending, q);
            if self.go(&blocks, &stopped, q, b, &[1.0]) {
                return true;
            }
        }
        let shares = [1.0, 0.5, 0.25, 0.1, 0.03, 0.01];
        let Some((x, back)) = &step.wide else {
            return self.go(&blocks, &step.d, q, b, &shares);
        };
        let square = self.total * dot(x, x);
        let Some(share) = lowers(&blocks, &step.d, q, b, square, &shares) else {
            return false;
        };
        let at = blocks.iter().flat_map(|block| block.at.clone());
        for (c, (d, back)) in at.zip(step.d.iter().zip(back)) {
            b[c] += share * d;
            q[c] -= share * back;
        }
        pending.active = active;
        pending.moved.resize(x.len(), 0.0);
        for (moved, x) in pending.moved.iter_mut().zip(x) {
            *moved += share * x;
        }
        true
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
        let square: f64 = pairs().map(|(&c, d)| -d * minus_kd[c]).sum();
        let Some(share) = lowers(active, step, q, b, square, shares) else {
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

    fn fill_kernels(&mut self, active: &[usize]) {
        let n = self.gram.rows();
        self.kernels.resize_with(self.blocks.len(), || None);
        for &g in active {
            let at = &self.blocks[g].at;
            if self.kernels[g].is_none() && 2 * at.len() >= n {
                let mut kernel = vec![0.0; n * n];
                let to = MatMut::from_column_major_slice_mut(&mut kernel, n, n);
                add_outer(to, self.gram.wide_columns(at.clone()));
                self.kernels[g] = Some(kernel);
            }
        }
    }

    /// The same in `n` dimensions.
    fn solve_wide(&self, active: &[usize], bends: &[Bend], rhs: &[f64]) -> Option<Step> {
        let n = self.gram.rows();
        let blocks = || active.iter().map(|&g| &self.blocks[g]).zip(bends);
        let diagonal = |(block, _): (&Block, &Bend)| {
            let at = block.at.clone();
            at.map(|c| self.gram.wide_diagonal(c)).fold(0.0, f64::max)
        };
        let least = ALONG * blocks().map(diagonal).fold(0.0, f64::max);
        let inverse = |bend: &Bend| {
            let across = 1.0 / bend.across.max(least);
            (across, (1.0 / bend.along.max(least) - across).max(0.0))
        };
        // `W + G D^-1 G'`, and `G D^-1 rhs`.
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            matrix[i * n + i] = self.total;
        }
        let mut gd = vec![0.0; n];
        let mut columns = Vec::new();
        let mut from = 0;
        for (&g, bend) in active.iter().zip(bends) {
            let at = self.blocks[g].at.clone();
            let rhs = &rhs[from..from + at.len()];
            from += at.len();
            let (across, more) = inverse(bend);
            let [mut gr, mut gu] = [vec![0.0; n], vec![0.0; n]];
            self.combine_two(at.clone(), [rhs, &bend.unit], [&mut gr, &mut gu]);
            let along = more * dot(&bend.unit, rhs);
            for (gd, (r, u)) in gd.iter_mut().zip(gr.iter().zip(&gu)) {
                *gd += across * r + along * u;
            }
            columns.extend(gu.iter().map(|u| more.sqrt() * u));
            if let Some(kernel) = &self.kernels[g] {
                add_lower(&mut matrix, kernel, across, n);
            } else {
                let root = across.sqrt();
                for c in at {
                    columns.extend(self.gram.wide_column(c).iter().map(|g| root * g));
                }
            }
        }
        let to = MatMut::from_column_major_slice_mut(&mut matrix, n, n);
        add_outer(to, &columns);
        let matrix = MatRef::from_column_major_slice(&matrix, n, n);
        let solved = matrix
            .llt(Side::Lower)
            .ok()?
            .solve(Col::from_fn(n, |i| gd[i]));
        let x: Vec<f64> = (0..n).map(|i| solved[i]).collect();
        let mut back = Vec::with_capacity(rhs.len());
        for (block, _) in blocks() {
            self.transposed(block.at.clone(), &x, |_, v| back.push(v));
        }
        // As `D d = rhs - G' x` and `(W + G D^-1 G') x = G D^-1 rhs`, `G d = W x`.
        let mut d: Vec<f64> = rhs.iter().zip(&back).map(|(r, v)| r - v).collect();
        let mut from = 0;
        for (block, bend) in blocks() {
            let d = &mut d[from..from + block.at.len()];
            from += block.at.len();
            let (across, more) = inverse(bend);
            let along = more * dot(&bend.unit, d);
            for (d, u) in d.iter_mut().zip(&bend.unit) {
                *d = across * *d + along * u;
            }
        }
        Some(Step {
            d,
            wide: Some((x, back)),
        })
    }

    /// `out += G d` for two steps `d` of the columns at `at`.
    fn combine_two(&self, at: Range<usize>, d: [&[f64]; 2], out: [&mut [f64]; 2]) {
        let [first, second] = out;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (c, (d, e)) in at.zip(d[0].iter().zip(d[1])) {
                    let column = self.gram.wide_column(c);
                    let both = first.iter_mut().zip(second.iter_mut());
                    for ((f, s), g) in both.zip(column) {
                        *f += d * g;
                        *s += e * g;
                    }
                }
            },
        );
    }
}

/// `to += C C'` in the lower triangle.
fn add_outer(to: MatMut<'_, f64>, columns: &[f64]) {
    let n = to.nrows();
    let c = MatRef::from_column_major_slice(columns, n, columns.len() / n);
    triangular::matmul(
        to,
        BlockStructure::TriangularLower,
        Accum::Add,
        c,
        BlockStructure::Rectangular,
        c.transpose(),
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
}

/// `to += share * from` in the lower triangle.
fn add_lower(to: &mut [f64], from: &[f64], share: f64, n: usize) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for j in 0..n {
                let lower = j * n + j..(j + 1) * n;
                for (t, f) in to[lower.clone()].iter_mut().zip(&from[lower]) {
                    *t += share * f;
                }
            }
        },
    );
}

/// The largest of `shares` of a step that lowers the model; `square` is `d'Kd`.
fn lowers(
    active: &[&Block],
    step: &[f64],
    q: &[f64],
    b: &[f64],
    square: f64,
    shares: &[f64],
) -> Option<f64> {
    let at = active.iter().flat_map(|block| block.at.clone());
    let slope: f64 = at.zip(step).map(|(c, d)| d * q[c]).sum();
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
    let lower = |share: &f64| {
        let smooth = share * (0.5 * share * square - slope);
        smooth + penalty(*share) - before < 0.0
    };
    shares.iter().copied().find(lower)
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
