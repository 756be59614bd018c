//! The exact information matrix on a working set of features, with its weights frozen.
//!
//! `K = (A'A - M'M) / W` with `A = diag(sqrt c) Z` and `M` the risk-set rows of
//! `information.rs`, both for the features of the working set and for the linear predictor at
//! which [`Gram::freeze`] was last called. Features can be appended with the same weights, so
//! `K` stays positive semidefinite. Cost: `k (n + m)` for a column, `k_new k (n + m)` for the
//! products.

use std::ops::Range;

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

use super::problem::Problem;
use crate::cox::likelihood::{Likelihood, Sum};

#[derive(Debug, Clone)]
pub(super) struct Gram {
    /// Features in the working set, in order of entry.
    pub(super) set: Vec<usize>,
    /// Feature -> place in `set`, or `ABSENT`.
    place: Vec<u32>,
    /// `K`, `stride x stride` column-major, of which the first `set.len()` rows and columns count.
    values: Vec<f64>,
    stride: usize,
    root: Vec<f64>,
    risk: Vec<f64>,
    terms: Vec<[f64; 3]>,
    /// Groups whose risk sets are summed row by row, as in the likelihood.
    anew: Vec<bool>,
    rows_m: usize,
    /// Columns of `A`, or of `G` when wide.
    a: Vec<f64>,
    m: Vec<f64>,
    /// Counts freezes.
    pub(super) epoch: u64,
    /// `L` of `H = L L'` when the model is wide (see `wide.rs`); then `K` is never formed.
    wide: Option<Mat<f64>>,
    diagonal: Vec<f64>,
}

const ABSENT: u32 = u32::MAX;

impl Gram {
    pub(super) fn new(p: usize) -> Self {
        Self {
            set: Vec::new(),
            place: vec![ABSENT; p],
            values: Vec::new(),
            stride: 0,
            root: Vec::new(),
            risk: Vec::new(),
            terms: Vec::new(),
            anew: Vec::new(),
            rows_m: 0,
            a: Vec::new(),
            m: Vec::new(),
            epoch: 0,
            wide: None,
            diagonal: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn contains(&self, j: usize) -> bool {
        self.place[j] != ABSENT
    }

    /// Column `c` of `K` (which is symmetric).
    #[inline]
    pub(super) fn column(&self, c: usize) -> &[f64] {
        &self.values[c * self.stride..c * self.stride + self.set.len()]
    }

    /// Place of a feature of the working set.
    pub(super) fn place(&self, j: usize) -> usize {
        self.place[j] as usize
    }

    pub(super) fn is_wide(&self) -> bool {
        self.wide.is_some()
    }

    /// Number of rows of `Z`.
    pub(super) fn rows(&self) -> usize {
        self.root.len()
    }

    /// Column `c` of `G`.
    #[inline(always)]
    pub(super) fn wide_column(&self, c: usize) -> &[f64] {
        let n = self.root.len();
        &self.a[c * n..(c + 1) * n]
    }

    /// Columns of `G`, one after the other.
    pub(super) fn wide_columns(&self, at: Range<usize>) -> &[f64] {
        let n = self.root.len();
        &self.a[at.start * n..at.end * n]
    }

    /// Diagonal element `c` of `K` when wide.
    #[inline(always)]
    pub(super) fn wide_diagonal(&self, c: usize) -> f64 {
        self.diagonal[c]
    }

    /// `L`, when wide.
    pub(super) fn wide_root(&self) -> Option<&Mat<f64>> {
        self.wide.as_ref()
    }

    /// Takes the weights of the likelihood as it stands and rebuilds for the features `set`,
    /// `wide` or with their matrix.
    pub(super) fn freeze(
        &mut self,
        problem: &Problem<'_>,
        likelihood: &Likelihood<'_>,
        set: &[usize],
        wide: bool,
    ) {
        for &j in &self.set {
            self.place[j] = ABSENT;
        }
        self.set.clear();
        self.a.clear();
        self.m.clear();
        self.root.clear();
        self.root
            .extend(likelihood.curvature.iter().map(|c| c.max(0.0).sqrt()));
        self.risk.clone_from(&likelihood.risk);
        self.terms.clear();
        self.terms.extend(likelihood.groups.iter().map(|g| g.z));
        self.anew.clear();
        self.anew.extend(likelihood.groups.iter().map(|g| g.anew));
        self.rows_m = self
            .terms
            .iter()
            .map(|z| if z[2] > 0.0 { 2 } else { 1 })
            .sum();
        self.epoch += 1;
        self.diagonal.clear();
        self.wide = None;
        if wide {
            self.wide = self.information_root(problem.n, likelihood);
        }
        self.append(problem, likelihood, set);
    }

    /// `L` with `L L' = H`, the information in the linear predictor: `O(n^3)`.
    fn information_root(&mut self, n: usize, likelihood: &Likelihood<'_>) -> Option<Mat<f64>> {
        let mut unit = vec![0.0; n];
        for i in 0..n {
            unit[i] = 1.0;
            self.push_column(&unit, likelihood);
            unit[i] = 0.0;
        }
        let m = MatRef::from_column_major_slice(&self.m, self.rows_m, n);
        let mut h = Mat::from_fn(n, n, |i, j| {
            if i == j {
                self.root[i] * self.root[i]
            } else {
                0.0
            }
        });
        // `H` is singular along what is constant in a stratum.
        let ridge = 1e-12 * (0..n).map(|i| h[(i, i)]).fold(0.0, f64::max);
        for i in 0..n {
            h[(i, i)] += ridge;
        }
        triangular::matmul(
            h.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            m.transpose(),
            BlockStructure::Rectangular,
            m,
            BlockStructure::Rectangular,
            -1.0,
            Par::Seq,
        );
        self.a.clear();
        self.m.clear();
        let factor = h.llt(Side::Lower).ok()?;
        let l = factor.L();
        Some(Mat::from_fn(
            n,
            n,
            |i, j| if i >= j { l[(i, j)] } else { 0.0 },
        ))
    }

    /// Columns of `G = L'Z` for the features from place `from` on.
    fn append_wide(&mut self, problem: &Problem<'_>, l: &Mat<f64>, from: usize) {
        let n = problem.n;
        let z: Vec<f64> = self.set[from..]
            .iter()
            .flat_map(|&j| problem.column(j).into_owned())
            .collect();
        let count = self.set.len() - from;
        self.a.resize(self.set.len() * n, 0.0);
        triangular::matmul(
            MatMut::from_column_major_slice_mut(&mut self.a[from * n..], n, count),
            BlockStructure::Rectangular,
            Accum::Replace,
            l.transpose(),
            BlockStructure::TriangularUpper,
            MatRef::from_column_major_slice(&z, n, count),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
        let square = |g: &[f64]| g.iter().map(|g| g * g).sum::<f64>() / problem.total;
        self.diagonal
            .extend(self.a[from * n..].chunks(n).map(square));
    }

    /// Adds features under the frozen weights.
    pub(super) fn append(
        &mut self,
        problem: &Problem<'_>,
        likelihood: &Likelihood<'_>,
        new: &[usize],
    ) {
        let from = self.set.len();
        for &j in new {
            if self.contains(j) {
                continue;
            }
            self.place[j] = self.set.len() as u32;
            self.set.push(j);
            if self.wide.is_none() {
                self.push_column(&problem.column(j), likelihood);
            }
        }
        let k = self.set.len();
        if k == from {
            return;
        }
        if let Some(l) = self.wide.take() {
            self.append_wide(problem, &l, from);
            self.wide = Some(l);
            return;
        }
        self.grow(k);
        let n = problem.n;
        let a = MatRef::from_column_major_slice(&self.a, n, k);
        let m = MatRef::from_column_major_slice(&self.m, self.rows_m, k);
        let inverse = 1.0 / problem.total;
        let stride = self.stride;
        let target =
            MatMut::from_column_major_slice_with_stride_mut(&mut self.values, k, k, stride);
        // New columns only: the rectangle beside the old ones, then the lower triangle.
        let (_, _, mut beside, mut corner) = target.split_at_mut(from, from);
        for (factor, b, accumulate) in [(inverse, a, Accum::Replace), (-inverse, m, Accum::Add)] {
            let old = b.subcols(0, from);
            let fresh = b.subcols(from, k - from);
            faer::linalg::matmul::matmul(
                beside.as_mut(),
                accumulate,
                fresh.transpose(),
                old,
                factor,
                Par::Seq,
            );
            triangular::matmul(
                corner.as_mut(),
                BlockStructure::TriangularLower,
                accumulate,
                fresh.transpose(),
                BlockStructure::Rectangular,
                fresh,
                BlockStructure::Rectangular,
                factor,
                Par::Seq,
            );
        }
        for c in 0..k {
            for r in c.max(from)..k {
                if r > c {
                    self.values[r * stride + c] = self.values[c * stride + r];
                }
            }
        }
    }

    /// Adds `share` of the largest diagonal element of `A'A / W` (which unlike that of `K` is
    /// never lost in rounding) to the diagonal: steps become shorter.
    pub(super) fn damp(&mut self, problem: &Problem<'_>, share: f64) {
        let square = |a: &[f64]| a.iter().map(|a| a * a).sum::<f64>() / problem.total;
        let largest = self.a.chunks(problem.n).map(square).fold(0.0, f64::max);
        for c in 0..self.set.len() {
            self.values[c * self.stride + c] += share * largest;
        }
    }

    fn grow(&mut self, k: usize) {
        if k <= self.stride {
            return;
        }
        let stride = (2 * self.stride).max(k).max(64);
        let mut values = vec![0.0; stride * stride];
        let old = self.stride;
        for c in 0..old {
            values[c * stride..c * stride + old]
                .copy_from_slice(&self.values[c * old..(c + 1) * old]);
        }
        self.values = values;
        self.stride = stride;
    }

    fn push_column(&mut self, z: &[f64], likelihood: &Likelihood<'_>) {
        let sorted = likelihood.sorted;
        self.a.extend(z.iter().zip(&self.root).map(|(z, r)| z * r));
        for stratum in &sorted.strata {
            let mut s1 = 0.0;
            // What left truncation takes out again may be all but the last digits.
            let mut kept = Sum::default();
            let (mut next, mut left) = (stratum.positions.start, stratum.positions.start);
            for g in stratum.groups.clone() {
                let group = &sorted.groups[g];
                let joining = self.risk[next..group.upto].iter().zip(&z[next..group.upto]);
                next = group.upto;
                if let Some(entry) = &sorted.entry {
                    joining.for_each(|(r, z)| kept.add(r * z));
                    for &i in &entry.order[left..group.not_entered] {
                        kept.add(-self.risk[i as usize] * z[i as usize]);
                    }
                    left = group.not_entered;
                    if self.anew[g] {
                        kept = Sum::default();
                        let at_risk = sorted.at_risk(g);
                        at_risk.for_each(|i| kept.add(self.risk[i] * z[i]));
                    }
                    s1 = kept.value();
                } else {
                    for (r, z) in joining {
                        s1 += r * z;
                    }
                }
                let [z0, z1, z2] = self.terms[g];
                if z2 > 0.0 {
                    let e1: f64 = group.events.clone().map(|i| self.risk[i] * z[i]).sum();
                    self.m.push(z0 * s1 - z1 * e1);
                    self.m.push(z2 * e1);
                } else {
                    self.m.push(z0 * s1);
                }
            }
        }
    }
}
