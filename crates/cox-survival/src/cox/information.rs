//! Score vector and information matrix as triangular products.
//!
//! Needs: an evaluated [`Likelihood`] and the centred [`Design`]. Returns the score `X'g` and
//! the lower triangle of `X' diag(c) X - Z'Z`, where a group of events adds at most two rows to
//! `Z` (a tie of `d` events spans only `S1` and `E1`). Cost: one pass over the covariates and about
//! `(n + groups) p^2 / 2` multiply-adds in registers, against the same number of scalar updates of a
//! running `p x p` matrix in the textbook form.
//!
//! Rows are cut into at most [`PARTS`] parts, fixed by `n` alone, so that results do not depend on
//! the number of threads. The sum `S1 = sum r x` of a part lacks what came before it, `s`. With
//! `S1 = L + s` the part's share of `Z'Z` is that of `L` alone and a correction of rank two, which is
//! added once `s` is known. Where rows leave the risk set `S1` could be a small difference of `L` and `s`:
//! with left truncation the parts' sums are therefore formed in a pass of their own.

use std::ops::Range;

use faer::Mat;
use pulp::Simd;
use rayon::prelude::*;

use super::design::Design;
use super::likelihood::Likelihood;
use super::pairs::{Pairs, padded};
use super::sums::Sums;

const PARTS: usize = 16;
const MIN_ROWS: usize = 1024;

pub(crate) struct Information {
    pub(crate) score: Vec<f64>,
    /// Lower triangle; the upper one is zero.
    pub(crate) matrix: Mat<f64>,
}

/// A part: its positions and, for each stratum it touches, groups that close in it.
struct Part {
    start: usize,
    end: usize,
    /// Index of the first group whose `upto` lies beyond `start`.
    first_group: usize,
    /// Entry rows already subtracted when the part starts.
    entered: usize,
}

/// What a part adds up.
struct Piece {
    information: Information,
    /// Whether a stratum begins in the part.
    reset: bool,
    /// `S1` since the last stratum began, or the part did.
    s1: Vec<f64>,
    /// `sum z0 Z` and `sum z0^2` over the groups before the first stratum that begins in the part.
    bend: (Vec<f64>, f64),
}

pub(crate) fn information(design: &Design, likelihood: &Likelihood<'_>) -> Information {
    let parts = partition(design.n, likelihood);
    let p = design.p;
    let mut total = Information {
        score: vec![0.0; p],
        matrix: Mat::zeros(p, p),
    };
    let mut add = |piece: &Information| {
        for (t, s) in total.score.iter_mut().zip(&piece.score) {
            *t += s;
        }
        total.matrix += &piece.matrix;
    };
    if likelihood.sorted.entry.is_none() {
        let pieces: Vec<Piece> = parts
            .par_iter()
            .map(|part| {
                pulp::Arch::new().dispatch(Sweep {
                    part,
                    design,
                    likelihood,
                })
            })
            .collect();
        let mut before = vec![0.0; p];
        for mut piece in pieces {
            let (bend, weight) = &piece.bend;
            let matrix = &mut piece.information.matrix;
            for j in 0..p {
                for i in j..p {
                    let cross = before[i] * bend[j] + bend[i] * before[j];
                    matrix[(i, j)] -= cross + weight * before[i] * before[j];
                }
            }
            add(&piece.information);
            if piece.reset {
                before.fill(0.0);
            }
            for (b, s) in before.iter_mut().zip(&piece.s1) {
                *b += s;
            }
        }
        return total;
    }
    let tails: Vec<(bool, Sums)> = parts
        .par_iter()
        .map(|part| tail(part, design, likelihood))
        .collect();
    let mut starts = Vec::with_capacity(parts.len());
    let mut carry = Sums::new(p, true);
    for (reset, sum) in &tails {
        starts.push(carry.clone());
        if *reset {
            carry.clear();
        }
        carry.append(sum);
    }
    let pieces: Vec<Information> = parts
        .par_iter()
        .zip(starts)
        .map(|(part, s1)| {
            pulp::Arch::new().dispatch(Truncated {
                part,
                s1,
                design,
                likelihood,
            })
        })
        .collect();
    for piece in pieces {
        add(&piece);
    }
    total
}

fn partition(n: usize, likelihood: &Likelihood<'_>) -> Vec<Part> {
    let sorted = likelihood.sorted;
    let rows = n.div_ceil(PARTS).max(MIN_ROWS);
    (0..n)
        .step_by(rows)
        .map(|start| {
            let first_group = sorted.groups.partition_point(|g| g.upto <= start);
            let stratum = sorted.strata.partition_point(|s| s.positions.end <= start);
            let stratum = &sorted.strata[stratum];
            let entered = if first_group > stratum.groups.start {
                sorted.groups[first_group - 1].not_entered
            } else {
                stratum.positions.start
            };
            Part {
                start,
                end: (start + rows).min(n),
                first_group,
                entered,
            }
        })
        .collect()
}

/// Walks the rows of a part; calls back at the end of each run of rows that has a meaning:
/// a group that closes, or a new stratum.
#[inline(always)]
fn walk(part: &Part, likelihood: &Likelihood<'_>, mut visit: impl FnMut(Step)) {
    let sorted = likelihood.sorted;
    let mut g = part.first_group;
    let mut position = part.start;
    let mut entered = part.entered;
    let mut s = sorted
        .strata
        .partition_point(|s| s.positions.end <= part.start);
    while position < part.end {
        let stratum = &sorted.strata[s];
        if position == stratum.positions.start {
            visit(Step::NewStratum);
            entered = stratum.positions.start;
        }
        let stop = stratum.positions.end.min(part.end);
        while g < stratum.groups.end && sorted.groups[g].upto <= stop {
            let group = &sorted.groups[g];
            visit(Step::Rows(position, group.upto));
            position = group.upto;
            if let Some(entry) = &sorted.entry {
                for &i in &entry.order[entered..group.not_entered] {
                    visit(Step::Leave(i as usize));
                }
                entered = group.not_entered;
            }
            visit(Step::Group(g));
            g += 1;
        }
        if position < stop {
            visit(Step::Rows(position, stop));
            position = stop;
        }
        if position == stratum.positions.end {
            s += 1;
        }
    }
}

enum Step {
    NewStratum,
    /// Rows `from..to` join the risk set.
    Rows(usize, usize),
    /// A row that had not yet entered leaves it.
    Leave(usize),
    /// A group of events happens.
    Group(usize),
}

/// A row of the covariates as vectors, the last one filled up with zeros.
#[inline(always)]
fn vectors<S: Simd>(simd: S, row: &[f64], mut visit: impl FnMut(usize, S::f64s)) {
    let (head, tail) = S::as_simd_f64s(row);
    for (k, x) in head.iter().enumerate() {
        visit(k, *x);
    }
    if !tail.is_empty() {
        visit(head.len(), simd.partial_load_f64s(tail));
    }
}

/// Takes the square of a row of `Z` away.
#[inline(always)]
fn square<S: Simd>(simd: S, pairs: &mut Pairs, mut z: impl FnMut(usize) -> S::f64s) {
    let (u, v) = pairs.next(simd);
    for (k, (u, v)) in u.iter_mut().zip(v).enumerate() {
        *u = z(k);
        *v = simd.neg_f64s(*u);
    }
}

/// Rows join the risk set: `S1 += r x`, `score += g x`, and the pair `(x, c x)`.
#[inline(always)]
fn join<S: Simd>(
    simd: S,
    rows: Range<usize>,
    design: &Design,
    likelihood: &Likelihood<'_>,
    [s1, score]: [&mut [S::f64s]; 2],
    pairs: &mut Pairs,
) {
    let p = design.p;
    for i in rows {
        let row = &design.rows[i * p..(i + 1) * p];
        let risk = simd.splat_f64s(likelihood.risk[i]);
        let residual = simd.splat_f64s(likelihood.residual[i]);
        let curvature = likelihood.curvature[i];
        if curvature > 0.0 {
            let curvature = simd.splat_f64s(curvature);
            let (u, v) = pairs.next(simd);
            let (u, v) = (&mut u[..s1.len()], &mut v[..s1.len()]);
            vectors(
                simd,
                row,
                #[inline(always)]
                |k, x| {
                    s1[k] = simd.mul_add_f64s(risk, x, s1[k]);
                    score[k] = simd.mul_add_f64s(residual, x, score[k]);
                    u[k] = x;
                    v[k] = simd.mul_f64s(curvature, x);
                },
            );
        } else {
            vectors(
                simd,
                row,
                #[inline(always)]
                |k, x| {
                    s1[k] = simd.mul_add_f64s(risk, x, s1[k]);
                    score[k] = simd.mul_add_f64s(residual, x, score[k]);
                },
            );
        }
    }
}

/// A part's share without left truncation.
struct Sweep<'a> {
    part: &'a Part,
    design: &'a Design,
    likelihood: &'a Likelihood<'a>,
}

impl pulp::WithSimd for Sweep<'_> {
    type Output = Piece;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Piece {
        let Self {
            part,
            design,
            likelihood,
        } = self;
        let p = design.p;
        let row = |i: usize| &design.rows[i * p..(i + 1) * p];
        let zeros = || vec![0.0; padded(p)];
        let (mut score, mut s1, mut e1, mut bend) = (zeros(), zeros(), zeros(), zeros());
        let mut weight = 0.0;
        let mut reset = false;
        let mut pairs = Pairs::new(p);
        walk(
            part,
            likelihood,
            #[inline(always)]
            |step| {
                let s1 = S::as_mut_simd_f64s(&mut s1).0;
                match step {
                    Step::NewStratum => {
                        s1.fill(simd.splat_f64s(0.0));
                        reset = true;
                    }
                    Step::Rows(from, to) => {
                        let score = S::as_mut_simd_f64s(&mut score).0;
                        join(
                            simd,
                            from..to,
                            design,
                            likelihood,
                            [&mut *s1, score],
                            &mut pairs,
                        );
                    }
                    Step::Leave(_) => {}
                    Step::Group(g) => {
                        let z = likelihood.groups[g].z;
                        let bend = &mut S::as_mut_simd_f64s(&mut bend).0[..s1.len()];
                        let keep = if reset { 0.0 } else { z[0] };
                        weight += keep * z[0];
                        let keep = simd.splat_f64s(keep);
                        let tied = z[1] > 0.0 || z[2] > 0.0;
                        let [z0, z1, z2] = z.map(|z| simd.splat_f64s(z));
                        if tied {
                            let e1 = S::as_mut_simd_f64s(&mut e1).0;
                            e1.fill(simd.splat_f64s(0.0));
                            for i in likelihood.sorted.groups[g].events.clone() {
                                let risk = simd.splat_f64s(likelihood.risk[i]);
                                vectors(
                                    simd,
                                    row(i),
                                    #[inline(always)]
                                    |k, x| {
                                        e1[k] = simd.mul_add_f64s(risk, x, e1[k]);
                                    },
                                );
                            }
                            square(
                                simd,
                                &mut pairs,
                                #[inline(always)]
                                |k| {
                                    let less = simd.mul_f64s(z1, e1[k]);
                                    let z = simd.sub_f64s(simd.mul_f64s(z0, s1[k]), less);
                                    bend[k] = simd.mul_add_f64s(keep, z, bend[k]);
                                    z
                                },
                            );
                            square(
                                simd,
                                &mut pairs,
                                #[inline(always)]
                                |k| simd.mul_f64s(z2, e1[k]),
                            );
                        } else {
                            square(
                                simd,
                                &mut pairs,
                                #[inline(always)]
                                |k| {
                                    let z = simd.mul_f64s(z0, s1[k]);
                                    bend[k] = simd.mul_add_f64s(keep, z, bend[k]);
                                    z
                                },
                            );
                        }
                    }
                }
            },
        );
        let matrix = pairs.finish(simd);
        score.truncate(p);
        Piece {
            information: Information { score, matrix },
            reset,
            s1,
            bend: (bend, weight),
        }
    }
}

/// `S1` accumulated in the part since its last new stratum.
fn tail(part: &Part, design: &Design, likelihood: &Likelihood<'_>) -> (bool, Sums) {
    let p = design.p;
    let mut sum = Sums::new(p, likelihood.sorted.entry.is_some());
    let mut reset = false;
    let row = |i: usize| &design.rows[i * p..(i + 1) * p];
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            walk(
                part,
                likelihood,
                #[inline(always)]
                |step| match step {
                    Step::NewStratum => {
                        sum.clear();
                        reset = true;
                    }
                    Step::Rows(from, to) => {
                        for i in from..to {
                            sum.add(likelihood.risk[i], row(i));
                        }
                    }
                    Step::Leave(i) => sum.add(-likelihood.risk[i], row(i)),
                    Step::Group(g) => reset |= gather(&mut sum, g, design, likelihood),
                },
            );
        },
    );
    (reset, sum)
}

/// Sums the risk set of a group row by row where the likelihood had to; says whether it did.
pub(crate) fn gather(
    s1: &mut Sums,
    g: usize,
    design: &Design,
    likelihood: &Likelihood<'_>,
) -> bool {
    if !likelihood.groups[g].anew {
        return false;
    }
    s1.clear();
    for i in likelihood.sorted.at_risk(g) {
        s1.add(
            likelihood.risk[i],
            &design.rows[i * design.p..(i + 1) * design.p],
        );
    }
    true
}

/// A part's share with left truncation, from the sum of the parts before it.
struct Truncated<'a> {
    part: &'a Part,
    s1: Sums,
    design: &'a Design,
    likelihood: &'a Likelihood<'a>,
}

impl pulp::WithSimd for Truncated<'_> {
    type Output = Information;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Information {
        let Self {
            part,
            mut s1,
            design,
            likelihood,
        } = self;
        let p = design.p;
        let row = |i: usize| &design.rows[i * p..(i + 1) * p];
        let mut score = vec![0.0; p];
        let mut e1 = vec![0.0; p];
        let mut z = vec![0.0; padded(p)];
        let mut pairs = Pairs::new(p);
        walk(
            part,
            likelihood,
            #[inline(always)]
            |step| match step {
                Step::NewStratum => s1.clear(),
                Step::Rows(from, to) => {
                    for i in from..to {
                        s1.add(likelihood.risk[i], row(i));
                        add(&mut score, likelihood.residual[i], row(i));
                        let curvature = likelihood.curvature[i];
                        if curvature > 0.0 {
                            let curvature = simd.splat_f64s(curvature);
                            let (u, v) = pairs.next(simd);
                            vectors(
                                simd,
                                row(i),
                                #[inline(always)]
                                |k, x| {
                                    u[k] = x;
                                    v[k] = simd.mul_f64s(curvature, x);
                                },
                            );
                        }
                    }
                }
                Step::Leave(i) => s1.add(-likelihood.risk[i], row(i)),
                Step::Group(g) => {
                    gather(&mut s1, g, design, likelihood);
                    s1.settle();
                    let terms = &likelihood.groups[g];
                    let [z0, z1, z2] = terms.z;
                    e1.fill(0.0);
                    if z2 > 0.0 || z1 > 0.0 {
                        for i in likelihood.sorted.groups[g].events.clone() {
                            add(&mut e1, likelihood.risk[i], row(i));
                        }
                    }
                    for (z, (s, e)) in z.iter_mut().zip(s1.values().iter().zip(&e1)) {
                        *z = z0 * s - z1 * e;
                    }
                    square(
                        simd,
                        &mut pairs,
                        #[inline(always)]
                        |k| S::as_simd_f64s(&z).0[k],
                    );
                    if z2 > 0.0 {
                        for (z, e) in z.iter_mut().zip(&e1) {
                            *z = z2 * e;
                        }
                        square(
                            simd,
                            &mut pairs,
                            #[inline(always)]
                            |k| S::as_simd_f64s(&z).0[k],
                        );
                    }
                }
            },
        );
        let matrix = pairs.finish(simd);
        Information { score, matrix }
    }
}

#[inline(always)]
fn add(sum: &mut [f64], factor: f64, row: &[f64]) {
    for (s, x) in sum.iter_mut().zip(row) {
        *s += factor * x;
    }
}
