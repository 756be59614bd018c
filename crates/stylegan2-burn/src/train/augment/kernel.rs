//! The resampling of [`Warp`] on the CPU, with its adjoint.
//!
//! Plane by plane, without the doubled images in memory: only the part of the doubled image that
//! the transformed grid can reach is made, and each row of that grid is halved as soon as it is
//! sampled. Planes are independent, so that the result does not depend on the number of threads.
//! Cost per plane: about $24\,H W$ multiplications for doubling, 16 per pixel of the grid
//! ($4\,H W$) for sampling, as many for halving.

// What runs inside a SIMD dispatch must be inlined into it to be compiled for that instruction set.
#![allow(clippy::inline_always)]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::filter::reflected;
use super::geometry::{TAPS, Warp, taps};
use crate::ops::vectorized;

/// Resamples `x` `[N, C, H, W]`.
pub(super) fn warp(x: Tensor<4>, warp: Warp) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as CpuWarp>::cpu_warp(x.into_dispatch(), warp))
}

/// The back ends' side of [`warp`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait CpuWarp: Backend {
    /// Resamples `x` as `warp` says.
    fn cpu_warp(x: FloatTensor<Self>, warp: Warp) -> FloatTensor<Self>;
}

impl CpuWarp for Flex {
    fn cpu_warp(x: FloatTensor<Self>, warp: Warp) -> FloatTensor<Self> {
        run(x, &warp, false)
    }
}

impl<C: CheckpointStrategy> CpuWarp for Autodiff<Flex, C> {
    fn cpu_warp(x: FloatTensor<Self>, warp: Warp) -> FloatTensor<Self> {
        match warp
            .clone()
            .prepare::<C>([x.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((), Flex::cpu_warp(x.into_primitive(), warp)),
            OpsKind::UnTracked(prep) => prep.finish(Flex::cpu_warp(x.into_primitive(), warp)),
        }
    }
}

impl Backward<Flex, 1> for Warp {
    type State = ();

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let g = grads.consume::<Flex>(&ops.node);
        if let Some(node) = node {
            grads.register::<Flex>(node.id, run(g, &self, true));
        }
    }
}

/// Resamples every plane, or carries every plane's gradient back.
fn run(x: FloatTensor<Flex>, warp: &Warp, adjoint: bool) -> FloatTensor<Flex> {
    let x = x.to_contiguous();
    let values: &[f32] = x.as_slice().expect("contiguous and in single precision");
    let [h, w] = warp.size;
    let n = warp.maps.len();
    let channels = values.len() / (n * h * w);
    let mut out = vec![0.0; values.len()];
    let arch = pulp::Arch::new();
    out.par_chunks_mut(channels * h * w)
        .zip(values.par_chunks(channels * h * w))
        .enumerate()
        .for_each(|(i, (out, image))| {
            let mut plane = Plane::new(warp, i);
            for (out, x) in out.chunks_exact_mut(h * w).zip(image.chunks_exact(h * w)) {
                vectorized(
                    arch,
                    #[inline(always)]
                    || {
                        if adjoint {
                            plane.adjoint(x, out);
                        } else {
                            plane.forward(x, out);
                        }
                    },
                );
            }
        });
    FloatTensor::<Flex>::from_data(TensorData::new(out, [n, channels, h, w]))
}

/// Positions along one side that are made or read, `start..end`.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn len(self) -> usize {
        self.end - self.start
    }
}

/// The scratch space and the sizes for the planes of one image.
struct Plane<'a> {
    warp: &'a Warp,
    /// Coefficients of the position in the doubled image.
    map: [[f64; 3]; 2],
    /// Rows and columns of the doubled image that the grid reaches.
    rows: Span,
    columns: Span,
    /// Rows of the padded image that those need.
    sources: Span,
    /// Where each padded row and column comes from in the image.
    from_row: Vec<usize>,
    from_column: Vec<usize>,
    taps: [f32; TAPS],
    /// A row of the padded image.
    line: Vec<f32>,
    /// Rows doubled along x.
    wide: Vec<f32>,
    /// The doubled image within its spans.
    big: Vec<f32>,
    /// A row of the transformed grid, and that row halved.
    grid: Vec<f32>,
    half: Vec<f32>,
}

impl<'a> Plane<'a> {
    fn new(warp: &'a Warp, index: usize) -> Self {
        let map = warp.maps[index].0;
        let [h, w] = warp.size;
        let [grid_h, grid_w] = warp.grid();
        let [up_h, up_w] = warp.doubled();
        let reach = |row: [f64; 3], size: usize| {
            let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
            for j in [0, grid_w - 1] {
                for i in [0, grid_h - 1] {
                    let at = row[0] * j as f64 + row[1] * i as f64 + row[2];
                    low = low.min(at);
                    high = high.max(at);
                }
            }
            // One more on each side: positions are computed in single precision later.
            #[allow(clippy::cast_sign_loss)]
            let inside = |v: f64| v.clamp(0.0, size as f64) as usize;
            let start = inside(low.floor() - 1.0);
            let end = inside(high.floor() + 3.0).max(start);
            Span { start, end }
        };
        let (rows, columns) = (reach(map[1], up_h), reach(map[0], up_w));
        let sources = Span {
            start: (rows.start / 2).saturating_sub(3),
            end: (rows.end / 2 + 4).min(up_h / 2),
        };
        let from = |len: usize, margins: [usize; 2]| -> Vec<usize> {
            let margin = margins[0].cast_signed();
            (0..(len + margins[0] + margins[1]).cast_signed())
                .map(|i| reflected(i - margin, len))
                .collect()
        };
        // Zeros beyond both ends stand for what the filter reads outside of the padded image.
        Self {
            warp,
            map,
            rows,
            columns,
            sources,
            from_row: from(h, warp.margins[0]),
            from_column: from(w, warp.margins[1]),
            taps: taps(),
            line: vec![0.0; up_w / 2 + 6],
            wide: vec![0.0; sources.len() * columns.len()],
            big: vec![0.0; rows.len() * columns.len()],
            grid: vec![0.0; grid_w],
            half: vec![0.0; w],
        }
    }

    /// Tap `k` of the two filters that give even and odd positions of the doubled line: position
    /// `2 r` reads padded positions `r - 3 ..= r + 2`, `2 r + 1` reads `r - 2 ..= r + 3`.
    fn phase(&self, odd: bool) -> [f32; 6] {
        std::array::from_fn(|k| {
            2.0 * if odd {
                self.taps[10 - 2 * k]
            } else {
                self.taps[11 - 2 * k]
            }
        })
    }

    #[inline(always)]
    fn forward(&mut self, x: &[f32], out: &mut [f32]) {
        self.double(x);
        let [h, w] = self.warp.size;
        out.fill(0.0);
        for i in 1..self.warp.grid()[0] - 1 {
            self.sample(i);
            self.halve();
            // Row i of the grid is tap i - 1 - 2 r of row r.
            for r in halved_by(i, h) {
                let tap = self.taps[i - 1 - 2 * r];
                let row = &mut out[r * w..(r + 1) * w];
                for (o, v) in row.iter_mut().zip(&self.half) {
                    *o += tap * v;
                }
            }
        }
    }

    #[inline(always)]
    fn adjoint(&mut self, g: &[f32], out: &mut [f32]) {
        let [h, w] = self.warp.size;
        self.big.fill(0.0);
        for i in 1..self.warp.grid()[0] - 1 {
            self.half.fill(0.0);
            for r in halved_by(i, h) {
                let tap = self.taps[i - 1 - 2 * r];
                for (o, v) in self.half.iter_mut().zip(&g[r * w..(r + 1) * w]) {
                    *o += tap * v;
                }
            }
            self.unhalve();
            self.scatter(i);
        }
        self.undouble(out);
    }

    /// Makes `big` from the image.
    #[inline(always)]
    fn double(&mut self, x: &[f32]) {
        let w = self.warp.size[1];
        let (even, odd) = (self.phase(false), self.phase(true));
        let width = self.columns.len();
        for (s, wide) in self.wide.chunks_exact_mut(width.max(1)).enumerate() {
            let row = self.from_row[self.sources.start + s];
            let row = &x[row * w..(row + 1) * w];
            let padded = self.from_column.len();
            for (to, &from) in self.line[3..3 + padded].iter_mut().zip(&self.from_column) {
                *to = row[from];
            }
            for (at, to) in (self.columns.start..).zip(wide) {
                let (r, taps) = if at.is_multiple_of(2) {
                    (at / 2, &even)
                } else {
                    (at / 2 + 1, &odd)
                };
                let read = &self.line[r..r + 6];
                *to = taps.iter().zip(read).map(|(t, v)| t * v).sum();
            }
        }
        for (b, row) in self.big.chunks_exact_mut(width.max(1)).enumerate() {
            let at = self.rows.start + b;
            let taps = if at.is_multiple_of(2) { &even } else { &odd };
            row.fill(0.0);
            for (k, &tap) in taps.iter().enumerate() {
                // Padded row: zero outside.
                let Some(source) = source_row(at, k, self.sources) else {
                    continue;
                };
                let from = &self.wide[source * width..(source + 1) * width];
                for (o, v) in row.iter_mut().zip(from) {
                    *o += tap * v;
                }
            }
        }
    }

    /// The adjoint of `double`: from `big` to the image.
    #[inline(always)]
    fn undouble(&mut self, out: &mut [f32]) {
        let w = self.warp.size[1];
        let (even, odd) = (self.phase(false), self.phase(true));
        let width = self.columns.len();
        self.wide.fill(0.0);
        for (b, row) in self.big.chunks_exact(width.max(1)).enumerate() {
            let at = self.rows.start + b;
            let taps = if at.is_multiple_of(2) { &even } else { &odd };
            for (k, &tap) in taps.iter().enumerate() {
                let Some(source) = source_row(at, k, self.sources) else {
                    continue;
                };
                let to = &mut self.wide[source * width..(source + 1) * width];
                for (o, v) in to.iter_mut().zip(row) {
                    *o += tap * v;
                }
            }
        }
        out.fill(0.0);
        for (s, wide) in self.wide.chunks_exact(width.max(1)).enumerate() {
            self.line.fill(0.0);
            for (at, v) in (self.columns.start..).zip(wide) {
                let (r, taps) = if at.is_multiple_of(2) {
                    (at / 2, &even)
                } else {
                    (at / 2 + 1, &odd)
                };
                for (o, t) in self.line[r..r + 6].iter_mut().zip(taps) {
                    *o += t * v;
                }
            }
            let row = self.from_row[self.sources.start + s];
            let row = &mut out[row * w..(row + 1) * w];
            for (v, &to) in self.line[3..].iter().zip(&self.from_column) {
                row[to] += v;
            }
        }
        // The line is shared with `double`, which relies on zeros at its ends.
        self.line.fill(0.0);
    }

    /// The four neighbours of grid position `j` of row `i`: index of the first in `big`, weights
    /// along x and y, and whether all four are inside.
    #[inline(always)]
    fn position(&self, base: [f64; 2], j: usize) -> (isize, isize, f32, f32) {
        let x = (base[0] + self.map[0][0] * j as f64) as f32;
        let y = (base[1] + self.map[1][0] * j as f64) as f32;
        let (fx, fy) = (x.floor(), y.floor());
        // Far outside is outside; sums with one must not overflow.
        let whole = |v: f32| v.clamp(-2.0, 1e9) as isize;
        (whole(fx), whole(fy), x - fx, y - fy)
    }

    fn base(&self, i: usize) -> [f64; 2] {
        [0, 1].map(|k| {
            let start = [self.columns.start, self.rows.start][k] as f64;
            self.map[k][1] * i as f64 + self.map[k][2] - start
        })
    }

    /// Reads row `i` of the transformed grid from `big`.
    #[inline(always)]
    fn sample(&mut self, i: usize) {
        let base = self.base(i);
        let (height, width) = (self.rows.len(), self.columns.len());
        let mut grid = std::mem::take(&mut self.grid);
        for (j, to) in grid.iter_mut().enumerate() {
            let (x, y, a, b) = self.position(base, j);
            *to = if inside(x, y, width, height) {
                let at = y.unsigned_abs() * width + x.unsigned_abs();
                let upper = &self.big[at..at + 2];
                let lower = &self.big[at + width..at + width + 2];
                let top = upper[0] + a * (upper[1] - upper[0]);
                let bottom = lower[0] + a * (lower[1] - lower[0]);
                top + b * (bottom - top)
            } else {
                let mut sum = 0.0;
                for (x, y, weight) in corners(x, y, a, b) {
                    if let Some(at) = index(x, y, width, height) {
                        sum += weight * self.big[at];
                    }
                }
                sum
            };
        }
        self.grid = grid;
    }

    /// The adjoint of `sample`.
    #[inline(always)]
    fn scatter(&mut self, i: usize) {
        let base = self.base(i);
        let (height, width) = (self.rows.len(), self.columns.len());
        for j in 0..self.grid.len() {
            let v = self.grid[j];
            let (x, y, a, b) = self.position(base, j);
            if inside(x, y, width, height) {
                let at = y.unsigned_abs() * width + x.unsigned_abs();
                let (low, high) = (v * (1.0 - b), v * b);
                let upper = &mut self.big[at..at + 2];
                upper[0] += low * (1.0 - a);
                upper[1] += low * a;
                let lower = &mut self.big[at + width..at + width + 2];
                lower[0] += high * (1.0 - a);
                lower[1] += high * a;
            } else {
                for (x, y, weight) in corners(x, y, a, b) {
                    if let Some(at) = index(x, y, width, height) {
                        self.big[at] += weight * v;
                    }
                }
            }
        }
    }

    /// Halves a row of the grid: position `c` reads `2 c + 1 ..= 2 c + 12`.
    #[inline(always)]
    fn halve(&mut self) {
        for (c, to) in self.half.iter_mut().enumerate() {
            let read = &self.grid[2 * c + 1..2 * c + 1 + TAPS];
            *to = self.taps.iter().zip(read).map(|(t, v)| t * v).sum();
        }
    }

    /// The adjoint of `halve`.
    #[inline(always)]
    fn unhalve(&mut self) {
        self.grid.fill(0.0);
        for (c, v) in self.half.iter().enumerate() {
            let to = &mut self.grid[2 * c + 1..2 * c + 1 + TAPS];
            for (o, t) in to.iter_mut().zip(self.taps) {
                *o += t * v;
            }
        }
    }
}

/// The rows of the image that read row `i` of the grid: `2 r + 1 <= i <= 2 r + 12`.
fn halved_by(i: usize, h: usize) -> std::ops::Range<usize> {
    let first = i.saturating_sub(TAPS).div_ceil(2);
    first..h.min(i.div_ceil(2))
}

/// Index within `sources` of the padded row that tap `k` of doubled row `at` reads.
fn source_row(at: usize, k: usize, sources: Span) -> Option<usize> {
    let row = (at / 2 + at % 2 + k).checked_sub(3)?;
    (sources.start..sources.end)
        .contains(&row)
        .then(|| row - sources.start)
}

fn inside(x: isize, y: isize, width: usize, height: usize) -> bool {
    x >= 0 && y >= 0 && x + 1 < width.cast_signed() && y + 1 < height.cast_signed()
}

fn corners(x: isize, y: isize, a: f32, b: f32) -> [(isize, isize, f32); 4] {
    [
        (x, y, (1.0 - a) * (1.0 - b)),
        (x + 1, y, a * (1.0 - b)),
        (x, y + 1, (1.0 - a) * b),
        (x + 1, y + 1, a * b),
    ]
}

fn index(x: isize, y: isize, width: usize, height: usize) -> Option<usize> {
    let within = |v: isize, size: usize| (0..size.cast_signed()).contains(&v);
    (within(x, width) && within(y, height)).then(|| y.unsigned_abs() * width + x.unsigned_abs())
}
