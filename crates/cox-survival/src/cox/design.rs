//! The covariates in sorted order, centred and scaled once per fit.

use rayon::prelude::*;

use crate::covariates::Covariates;
use crate::error::{Error, Result};
use crate::surv::Surv;

/// Rows per block of a fixed partition: sums over blocks do not depend on the number of threads.
pub(crate) const ROWS: usize = 2048;
/// Rows copied together.
const TILE: usize = 64;

/// Row-major `[n, p]` matrix by position; column `j` holds `(x_j - mean_j) / scale_j`.
///
/// Centring keeps the information matrix, a difference of two products, from losing digits.
#[derive(Debug, Clone)]
pub(crate) struct Design {
    pub(crate) n: usize,
    pub(crate) p: usize,
    pub(crate) rows: Vec<f64>,
    pub(crate) mean: Vec<f64>,
    pub(crate) scale: Vec<f64>,
}

impl Design {
    /// Checks the covariates against the outcome and copies them.
    pub(crate) fn new(surv: &Surv, x: &Covariates<'_>) -> Result<Self> {
        x.check_size(surv.n())?;
        let (n, p) = (x.n(), x.p());
        if surv.weights().is_some() {
            // Rows of weight 0 do not show in the moments.
            x.check_finite()?;
        }
        let (mean, scale) = moments(surv, x);
        if scale.iter().any(|s| !s.is_finite()) {
            x.check_finite()?;
        }
        for (j, &s) in scale.iter().enumerate() {
            // A spread that is rounding noise of the mean is no spread.
            if s <= 1e-14 * mean[j].abs() || s < f64::MIN_POSITIVE {
                return Err(Error::ConstantColumn { column: x.name(j) });
            }
            if !s.is_finite() || !mean[j].is_finite() {
                return Err(crate::overflow::overflow(x, j));
            }
        }
        let rows = standardised(surv, x, &mean, &scale);
        Ok(Self {
            n,
            p,
            rows,
            mean,
            scale,
        })
    }

    /// `eta = X beta` by position, with `beta` in the scaled units.
    pub(crate) fn times(&self, beta: &[f64], eta: &mut [f64]) {
        let p = self.p;
        eta.par_chunks_mut(ROWS)
            .zip(self.rows.par_chunks(ROWS * p))
            .for_each(|(eta, rows)| {
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        for (e, row) in eta.iter_mut().zip(rows.chunks_exact(p)) {
                            *e = dot(row, beta);
                        }
                    },
                );
            });
    }
}

/// Dot product in eight interleaved sums, so that it vectorises and its order is fixed.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    let cut = n - n % 8;
    let mut sums = [0.0; 8];
    for (x, y) in a[..cut].chunks_exact(8).zip(b[..cut].chunks_exact(8)) {
        for k in 0..8 {
            sums[k] += x[k] * y[k];
        }
    }
    let mut tail = 0.0;
    for (x, y) in a[cut..n].iter().zip(&b[cut..n]) {
        tail += x * y;
    }
    let pairs = [
        sums[0] + sums[4],
        sums[1] + sums[5],
        sums[2] + sums[6],
        sums[3] + sums[7],
    ];
    (pairs[0] + pairs[2]) + (pairs[1] + pairs[3]) + tail
}

/// `(x - mean) / scale` by position.
///
/// Rows are read in the order in which they lie in memory, a tile of them at a time, and written to
/// their positions: a row is a few lines of the cache wherever it goes, a column would be one for each
/// row. Every thread writes a stretch of positions of its own.
fn standardised(surv: &Surv, x: &Covariates<'_>, mean: &[f64], scale: &[f64]) -> Vec<f64> {
    let (n, p) = (x.n(), x.p());
    let order = &surv.sorted.order;
    let mut position = vec![0u32; n];
    for (k, &i) in order.iter().enumerate() {
        position[i as usize] = k as u32;
    }
    let inverse: Vec<f64> = scale.iter().map(|s| 1.0 / s).collect();
    // The reciprocal of a tiny scale overflows.
    let divide = inverse.iter().any(|s| !s.is_finite());
    let mut rows = vec![0.0; n * p];
    let stretch = n.div_ceil(rayon::current_num_threads()).max(ROWS);
    rows.par_chunks_mut(stretch * p)
        .enumerate()
        .for_each(|(part, out)| {
            let from = part * stretch;
            let here = from..from + out.len() / p;
            let mut tile = vec![0.0; TILE * p];
            let mut sources = Vec::with_capacity(TILE);
            let mut write = |sources: &mut Vec<u32>| {
                let tile = &mut tile[..sources.len() * p];
                x.gather_rows(sources, tile);
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        for (row, &i) in tile.chunks_exact(p).zip(&*sources) {
                            let at = position[i as usize] as usize - from;
                            let out = &mut out[at * p..(at + 1) * p];
                            let columns = row.iter().zip(mean).zip(scale).zip(&inverse);
                            if surv.weight(i as usize) <= 0.0 {
                                // As if absent, however wild its values: the row stays 0.
                            } else if divide {
                                for (out, (((x, m), s), _)) in out.iter_mut().zip(columns) {
                                    *out = (x - m) / s;
                                }
                            } else {
                                for (out, (((x, m), _), r)) in out.iter_mut().zip(columns) {
                                    *out = (x - m) * r;
                                }
                            }
                        }
                    },
                );
                sources.clear();
            };
            for i in 0..n as u32 {
                if here.contains(&(position[i as usize] as usize)) {
                    sources.push(i);
                    if sources.len() == TILE {
                        write(&mut sources);
                    }
                }
            }
            write(&mut sources);
        });
    rows
}

/// Sums of `x - pivot` and of its square, by columns.
type Sums = (Vec<f64>, Vec<f64>);

/// Mean and standard deviation (divisor: number of used rows) of every column, by blocks.
fn moments(surv: &Surv, x: &Covariates<'_>) -> (Vec<f64>, Vec<f64>) {
    let used: Option<Vec<u32>> = surv.weights().map(|w| {
        let rows = (0..x.n() as u32).zip(w);
        rows.filter(|(_, w)| **w > 0.0).map(|(i, _)| i).collect()
    });
    let count = used.as_ref().map_or(x.n(), Vec::len);
    let p = x.p();
    let first = block_sums(x, used.as_deref(), 0, &vec![0.0; p]).0;
    let head = ROWS.min(count).max(1) as f64;
    let mut pivot: Vec<f64> = first.iter().map(|s| s / head).collect();
    let about = |pivot: &[f64]| -> (Vec<f64>, Vec<f64>) {
        let blocks: Vec<Sums> = (0..count.div_ceil(ROWS))
            .into_par_iter()
            .map(|block| block_sums(x, used.as_deref(), block, pivot))
            .collect();
        let total = |j: usize, of: &dyn Fn(&Sums) -> &Vec<f64>| -> f64 {
            blocks.iter().map(|b| of(b)[j]).sum::<f64>() / count.max(1) as f64
        };
        let shift: Vec<f64> = (0..p).map(|j| total(j, &|b| &b.0)).collect();
        let square = (0..p).map(|j| total(j, &|b| &b.1));
        let variance = square.zip(&shift).map(|(s, m)| s - m * m).collect();
        (shift, variance)
    };
    let (mut shift, mut variance) = about(&pivot);
    // A pivot far from the mean loses digits: the mean itself is a better one.
    if shift.iter().zip(&variance).any(|(m, v)| m * m > 1e3 * v) {
        for (pivot, m) in pivot.iter_mut().zip(&shift) {
            *pivot += m;
        }
        (shift, variance) = about(&pivot);
    }
    let mean = pivot.iter().zip(&shift).map(|(a, b)| a + b).collect();
    // Not `max`, to which what is no number is nothing.
    let spread = |v: f64| if v < 0.0 { 0.0 } else { v.sqrt() };
    let scale = variance.into_iter().map(spread).collect();
    (mean, scale)
}

/// The sums of one block of used rows.
fn block_sums(x: &Covariates<'_>, used: Option<&[u32]>, block: usize, pivot: &[f64]) -> Sums {
    let (n, p) = (x.n(), x.p());
    let mut sums = (vec![0.0; p], vec![0.0; p]);
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            if used.is_none() && x.column_slice(0).is_some() {
                let rows = block * ROWS..((block + 1) * ROWS).min(n);
                for (j, &pivot) in pivot.iter().enumerate() {
                    let Some(column) = x.column_slice(j).map(|c| &c[rows.clone()]) else {
                        continue;
                    };
                    let mut lanes = [[0.0; 8]; 2];
                    let (eights, rest) = column.as_chunks::<8>();
                    for eight in eights {
                        for k in 0..8 {
                            let d = eight[k] - pivot;
                            lanes[0][k] += d;
                            lanes[1][k] += d * d;
                        }
                    }
                    for v in rest {
                        let d = v - pivot;
                        lanes[0][0] += d;
                        lanes[1][0] += d * d;
                    }
                    sums.0[j] = lanes[0].iter().sum();
                    sums.1[j] = lanes[1].iter().sum();
                }
                return;
            }
            let count = used.map_or(n, <[u32]>::len);
            let mut tile = vec![0.0; TILE * p];
            let mut at = block * ROWS;
            let end = (at + ROWS).min(count);
            while at < end {
                let to = (at + TILE).min(end);
                let rows: Vec<u32> = match used {
                    Some(used) => used[at..to].to_vec(),
                    None => (at as u32..to as u32).collect(),
                };
                let tile = &mut tile[..rows.len() * p];
                x.gather_rows(&rows, tile);
                for row in tile.chunks_exact(p) {
                    for j in 0..p {
                        let d = row[j] - pivot[j];
                        sums.0[j] += d;
                        sums.1[j] += d * d;
                    }
                }
                at = to;
            }
        },
    );
    sums
}
