//! Score vector and information matrix as two triangular products.
//!
//! Needs: an evaluated [`Likelihood`] and the centred [`Design`]. Returns the score `X'g` and
//! the lower triangle of `X' diag(c) X - Z'Z`, where a group of events adds at most two rows to
//! `Z` (a tie of `d` events spans only `S1` and `E1`). Cost: about `(n + events) p^2` multiply-adds
//! at the speed of a matrix product, against the same number of scalar updates of a running
//! `p x p` matrix in the textbook form.
//!
//! Rows are cut into at most [`PARTS`] parts, fixed by `n` alone. Each part starts from the sum
//! `S1 = sum r x` of the parts before it, so that parts are independent and results do not
//! depend on the number of threads.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::design::Design;
use super::likelihood::Likelihood;
use super::sums::Sums;

const PARTS: usize = 16;
const MIN_ROWS: usize = 1024;
/// Rows gathered before each call of the matrix product.
const BATCH: usize = 192;

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

pub(crate) fn information(design: &Design, likelihood: &Likelihood<'_>) -> Information {
    let parts = partition(design.n, likelihood);
    let tails: Vec<(bool, Sums)> = parts
        .par_iter()
        .map(|part| tail(part, design, likelihood))
        .collect();
    let p = design.p;
    let mut starts = Vec::with_capacity(parts.len());
    let mut carry = Sums::new(p, likelihood.sorted.entry.is_some());
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
        .map(|(part, s1)| piece(part, s1, design, likelihood))
        .collect();
    let mut total = Information {
        score: vec![0.0; p],
        matrix: Mat::zeros(p, p),
    };
    for piece in pieces {
        for (t, s) in total.score.iter_mut().zip(&piece.score) {
            *t += s;
        }
        total.matrix += &piece.matrix;
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
fn walk(part: &Part, likelihood: &Likelihood<'_>, visit: &mut dyn FnMut(Step)) {
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

#[inline(always)]
fn add(sum: &mut [f64], factor: f64, row: &[f64]) {
    for (s, x) in sum.iter_mut().zip(row) {
        *s += factor * x;
    }
}

/// `S1` accumulated in the part since its last new stratum.
fn tail(part: &Part, design: &Design, likelihood: &Likelihood<'_>) -> (bool, Sums) {
    let p = design.p;
    let mut sum = Sums::new(p, likelihood.sorted.entry.is_some());
    let mut reset = false;
    let row = |i: usize| &design.rows[i * p..(i + 1) * p];
    walk(part, likelihood, &mut |step| match step {
        Step::NewStratum => {
            sum.clear();
            reset = true;
        }
        Step::Rows(from, to) => pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for i in from..to {
                    sum.add(likelihood.risk[i], row(i));
                }
            },
        ),
        Step::Leave(i) => sum.add(-likelihood.risk[i], row(i)),
        Step::Group(g) => reset |= gather(&mut sum, g, design, likelihood),
    });
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

/// A part's share of the score and of the information.
fn piece(part: &Part, mut s1: Sums, design: &Design, likelihood: &Likelihood<'_>) -> Information {
    let p = design.p;
    let mut score = vec![0.0; p];
    let mut e1 = vec![0.0; p];
    let mut plus = Batch::new(p, 1.0);
    let mut minus = Batch::new(p, -1.0);
    let mut matrix = Mat::zeros(p, p);
    let row = |i: usize| &design.rows[i * p..(i + 1) * p];
    walk(part, likelihood, &mut |step| match step {
        Step::NewStratum => s1.clear(),
        Step::Rows(from, to) => pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for i in from..to {
                    let x = row(i);
                    s1.add(likelihood.risk[i], x);
                    add(&mut score, likelihood.residual[i], x);
                    let root = likelihood.curvature[i].max(0.0).sqrt();
                    if root > 0.0 {
                        for (b, x) in plus.next(&mut matrix).iter_mut().zip(x) {
                            *b = root * x;
                        }
                    }
                }
            },
        ),
        Step::Leave(i) => s1.add(-likelihood.risk[i], row(i)),
        Step::Group(g) => {
            gather(&mut s1, g, design, likelihood);
            s1.settle();
            let s1 = s1.values();
            let terms = &likelihood.groups[g];
            let group = &likelihood.sorted.groups[g];
            let [z0, z1, z2] = terms.z;
            if z2 > 0.0 || z1 > 0.0 {
                e1.fill(0.0);
                for i in group.events.clone() {
                    add(&mut e1, likelihood.risk[i], row(i));
                }
                for ((b, s), e) in minus.next(&mut matrix).iter_mut().zip(s1).zip(&e1) {
                    *b = z0 * s - z1 * e;
                }
                for (b, e) in minus.next(&mut matrix).iter_mut().zip(&e1) {
                    *b = z2 * e;
                }
            } else {
                for (b, s) in minus.next(&mut matrix).iter_mut().zip(s1) {
                    *b = z0 * s;
                }
            }
        }
    });
    plus.flush(&mut matrix);
    minus.flush(&mut matrix);
    Information { score, matrix }
}

/// Rows waiting for their product `sign * B'B`.
struct Batch {
    p: usize,
    sign: f64,
    rows: Vec<f64>,
    filled: usize,
}

impl Batch {
    fn new(p: usize, sign: f64) -> Self {
        Self {
            p,
            sign,
            rows: vec![0.0; BATCH * p],
            filled: 0,
        }
    }

    #[inline(always)]
    fn next(&mut self, matrix: &mut Mat<f64>) -> &mut [f64] {
        if self.filled == BATCH {
            self.flush(matrix);
        }
        let row = &mut self.rows[self.filled * self.p..(self.filled + 1) * self.p];
        self.filled += 1;
        row
    }

    #[inline(never)]
    fn flush(&mut self, matrix: &mut Mat<f64>) {
        let block = MatRef::from_column_major_slice(
            &self.rows[..self.filled * self.p],
            self.p,
            self.filled,
        );
        add_gram(matrix.as_mut(), block, self.sign);
        self.filled = 0;
    }
}

/// Lower triangle of `target += sign * B B'`.
pub(crate) fn add_gram(target: MatMut<'_, f64>, b: MatRef<'_, f64>, sign: f64) {
    triangular::matmul(
        target,
        BlockStructure::TriangularLower,
        Accum::Add,
        b,
        BlockStructure::Rectangular,
        b.transpose(),
        BlockStructure::Rectangular,
        sign,
        Par::Seq,
    );
}
