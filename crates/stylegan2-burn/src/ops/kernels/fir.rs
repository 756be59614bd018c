//! Upsampling, a separable filter and downsampling in one pass over each plane.

// What runs inside a SIMD dispatch must be inlined into it to be compiled for that instruction set.
#![allow(clippy::inline_always)]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::{Dispatch, Flex};
use burn::tensor::Tensor;
use pulp::Arch;
use rayon::prelude::*;

use super::{CpuKernels, tensor, values, vectorized};

/// One dimension: insert `up - 1` zeros after each sample, pad (a negative number crops), correlate
/// with `taps`, keep every `down`-th sample.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) size: usize,
    pub(crate) up: usize,
    pub(crate) down: usize,
    pub(crate) padding: [isize; 2],
    pub(crate) taps: Vec<f32>,
}

impl Axis {
    fn padded(&self) -> usize {
        let [before, after] = self.padding;
        usize::try_from((self.size * self.up).cast_signed() + before + after).unwrap_or(0)
    }

    /// Samples of the result; `None` where padding and cropping leave less than the filter.
    pub(crate) fn output(&self) -> Option<usize> {
        let room = self.padded().checked_sub(self.taps.len())?;
        Some(room / self.down + 1)
    }

    /// The transpose of this operation.
    pub(crate) fn adjoint(&self) -> Self {
        let output = self
            .output()
            .expect("checked before it was applied")
            .cast_signed();
        let [before, _] = self.padding;
        let (size, up, down, taps) = (
            self.size.cast_signed(),
            self.up.cast_signed(),
            self.down.cast_signed(),
            self.taps.len().cast_signed(),
        );
        Self {
            size: output.unsigned_abs(),
            up: self.down,
            down: self.up,
            padding: [
                taps - before - 1,
                size * up - output * down + before - up + 1,
            ],
            taps: self.taps.iter().rev().copied().collect(),
        }
    }

    /// The samples that land in the first `length` places of the padded, zero-filled line.
    fn samples_within(&self, length: usize) -> core::ops::Range<usize> {
        let cropped = (-self.padding[0]).max(0).unsigned_abs();
        let first = cropped.div_ceil(self.up).min(self.size);
        let end = length.checked_add_signed(-self.padding[0]).unwrap_or(0);
        first..end.div_ceil(self.up).clamp(first, self.size)
    }

    /// Where sample `k` of the padded, zero-filled line comes from.
    #[inline(always)]
    fn source(&self, k: usize) -> Option<usize> {
        let at = k.checked_add_signed(-self.padding[0])?;
        (at % self.up == 0 && at / self.up < self.size).then_some(at / self.up)
    }
}

/// Both axes of an operation on `[N, C, H, W]`.
#[derive(Clone, Debug)]
pub(crate) struct Fir {
    /// Images and channels.
    pub(crate) outer: [usize; 2],
    /// Along the height.
    pub(crate) y: Axis,
    /// Along the width.
    pub(crate) x: Axis,
}

impl Fir {
    /// Applies the operation.
    pub(crate) fn apply(self, x: Tensor<4>) -> Tensor<4> {
        Tensor::from_dispatch(Dispatch::cpu_fir(x.into_dispatch(), self))
    }

    pub(super) fn dims(&self) -> [usize; 4] {
        let size = |axis: &Axis| axis.output().expect("checked before it was applied");
        [self.outer[0], self.outer[1], size(&self.y), size(&self.x)]
    }

    pub(super) fn forward(&self, values: &[f32]) -> Vec<f32> {
        fir(values, &self.y, &self.x)
    }
}

impl Backward<Flex, 1> for Fir {
    type State = ();

    fn backward(self, ops: Ops<(), 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [parent] = ops.parents;
        let g = grads.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(node) = parent {
            let back = fir(values(&g), &self.y.adjoint(), &self.x.adjoint());
            let dims = [self.outer[0], self.outer[1], self.y.size, self.x.size];
            grads.register::<Flex>(node.id, tensor(back, dims));
        }
    }
}

/// Applies `y` and `x` to every plane of `values`, `[planes, y.size, x.size]`.
pub(crate) fn fir(values: &[f32], y: &Axis, x: &Axis) -> Vec<f32> {
    let (height, width) = (y.output().expect("checked"), x.output().expect("checked"));
    let planes = values.len() / (y.size * x.size);
    let mut out = vec![0.0; planes * height * width];
    let arch = Arch::new();
    out.par_chunks_mut(height * width)
        .zip(values.par_chunks(y.size * x.size))
        .for_each(|(out, plane)| {
            vectorized(
                arch,
                #[inline(always)]
                || one_plane(plane, y, x, (height, width), out),
            );
        });
    out
}

#[inline(always)]
fn one_plane(plane: &[f32], y: &Axis, x: &Axis, (height, width): (usize, usize), out: &mut [f32]) {
    // Along x: the padded line, split by the position within a step of `down`, so that every tap
    // is a shifted copy of one of the parts.
    let length = width + x.taps.len().div_ceil(x.down);
    let mut parts = vec![0.0_f32; x.down * length];
    let mut rows = vec![0.0_f32; y.size * width];
    // The same places are written for every line; the others stay zero.
    let used = x.samples_within(x.down * length);
    for (line, row) in plane.chunks_exact(x.size).zip(rows.chunks_exact_mut(width)) {
        let first = (used.start * x.up).checked_add_signed(x.padding[0]);
        let first = first.expect("samples that are used lie within the line");
        let line = &line[used.clone()];
        match (x.up, x.down) {
            (1, 1) => parts[first..first + line.len()].copy_from_slice(line),
            (1, down) => {
                for k in 0..down.min(line.len()) {
                    let at = first + k;
                    let to = &mut parts[at % down * length + at / down..];
                    for (to, &value) in to.iter_mut().zip(line[k..].iter().step_by(down)) {
                        *to = value;
                    }
                }
            }
            (up, 1) => {
                for (to, &value) in parts[first..].iter_mut().step_by(up).zip(line) {
                    *to = value;
                }
            }
            (up, down) => {
                for (k, &value) in line.iter().enumerate() {
                    let at = first + k * up;
                    parts[at % down * length + at / down] = value;
                }
            }
        }
        let shifted = |i: usize| {
            let start = i % x.down * length + i / x.down;
            &parts[start..start + width]
        };
        add(
            row,
            x.taps.iter().enumerate().map(|(i, &tap)| (tap, shifted(i))),
        );
    }
    for (v, out) in out.chunks_exact_mut(width).enumerate().take(height) {
        add(
            out,
            y.taps.iter().enumerate().filter_map(|(j, &tap)| {
                let source = y.source(v * y.down + j)?;
                Some((tap, &rows[source * width..(source + 1) * width]))
            }),
        );
    }
}

/// Adds the rows times their taps, one after the other, four in one pass over `to`.
#[inline(always)]
fn add<'a>(to: &mut [f32], mut rows: impl Iterator<Item = (f32, &'a [f32])>) {
    let length = to.len();
    while let Some((t0, r0)) = rows.next() {
        let r0 = &r0[..length];
        let more = (rows.next(), rows.next(), rows.next());
        match more {
            (Some((t1, r1)), Some((t2, r2)), Some((t3, r3))) => {
                let (r1, r2, r3) = (&r1[..length], &r2[..length], &r3[..length]);
                for i in 0..length {
                    to[i] = to[i] + t0 * r0[i] + t1 * r1[i] + t2 * r2[i] + t3 * r3[i];
                }
            }
            (Some((t1, r1)), Some((t2, r2)), None) => {
                let (r1, r2) = (&r1[..length], &r2[..length]);
                for i in 0..length {
                    to[i] = to[i] + t0 * r0[i] + t1 * r1[i] + t2 * r2[i];
                }
            }
            (Some((t1, r1)), ..) => {
                let r1 = &r1[..length];
                for i in 0..length {
                    to[i] = to[i] + t0 * r0[i] + t1 * r1[i];
                }
            }
            (None, ..) => {
                for i in 0..length {
                    to[i] += t0 * r0[i];
                }
            }
        }
    }
}

/// The factors of a filter that is an outer product, `None` for one that is not.
pub(crate) fn separate(filter: &[f32], width: usize) -> Option<(Vec<f32>, Vec<f32>)> {
    let largest = (0..filter.len()).max_by(|&a, &b| filter[a].abs().total_cmp(&filter[b].abs()))?;
    let (row, column) = (largest / width, largest % width);
    let pivot = f64::from(filter[largest]);
    if pivot == 0.0 || !pivot.is_finite() {
        return None;
    }
    // The square root of the pivot in both, so that neither is large.
    let (root, sign) = (pivot.abs().sqrt(), pivot.signum());
    let x: Vec<f64> = (0..width)
        .map(|k| f64::from(filter[row * width + k]) / root)
        .collect();
    let y: Vec<f64> = filter
        .chunks_exact(width)
        .map(|r| f64::from(r[column]) / root * sign)
        .collect();
    let close = filter
        .iter()
        .enumerate()
        .all(|(k, &f)| (y[k / width] * x[k % width] - f64::from(f)).abs() <= 1e-6 * pivot.abs());
    let single = |v: Vec<f64>| v.into_iter().map(|f| f as f32).collect();
    close.then(|| (single(y), single(x)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::winograd::tests::numbers;
    use super::*;

    /// The definition: every output is a sum over the padded, zero-filled line.
    fn direct(line: &[f64], a: &Axis) -> Vec<f64> {
        let mut long = vec![0.0; a.size * a.up];
        for (k, &v) in line.iter().enumerate() {
            long[k * a.up] = v;
        }
        let get = |k: isize| {
            usize::try_from(k - a.padding[0])
                .ok()
                .and_then(|k| long.get(k))
                .copied()
                .unwrap_or(0.0)
        };
        (0..a.output().unwrap())
            .map(|o| {
                let terms = a.taps.iter().enumerate();
                terms
                    .map(|(i, &t)| f64::from(t) * get((o * a.down + i).cast_signed()))
                    .sum()
            })
            .collect()
    }

    prop_compose! {
        fn axis()(
            size in 4_usize..12, up in 1_usize..4, down in 1_usize..4,
            padding in [-2_isize..5, -2_isize..5], taps in prop::collection::vec(-1.0_f32..1.0, 1..6),
        ) -> Axis {
            Axis { size, up, down, padding, taps }
        }
    }

    proptest! {
        #[test]
        fn equals_the_definition_and_its_transpose(y in axis(), x in axis(), seed in any::<u64>()) {
            prop_assume!(y.output().is_some() && x.output().is_some());
            let (height, width) = (y.output().unwrap(), x.output().unwrap());
            let values = numbers(2 * y.size * x.size, seed);
            let fast = fir(&values, &y, &x);
            prop_assert_eq!(fast.len(), 2 * height * width);
            for (plane, fast) in values.chunks(y.size * x.size).zip(fast.chunks(height * width)) {
                let rows: Vec<Vec<f64>> = plane.chunks(x.size)
                    .map(|r| direct(&r.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(), &x))
                    .collect();
                for k in 0..width {
                    let column = direct(&rows.iter().map(|r| r[k]).collect::<Vec<_>>(), &y);
                    for (o, value) in column.iter().enumerate() {
                        prop_assert!((f64::from(fast[o * width + k]) - value).abs() < 1e-5);
                    }
                }
            }
            // <g, A v> = <A' g, v>.
            let g = numbers(fast.len(), seed ^ 1);
            let back = fir(&g, &y.adjoint(), &x.adjoint());
            prop_assert_eq!(back.len(), values.len());
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            prop_assert!((dot(&g, &fast) - dot(&back, &values)).abs() < 1e-3);
        }

        #[test]
        fn outer_products_are_recognised(
            y in prop::collection::vec(-2.0_f32..2.0, 1..6),
            x in prop::collection::vec(-2.0_f32..2.0, 1..6),
        ) {
            let filter: Vec<f32> = y.iter().flat_map(|a| x.iter().map(move |b| a * b)).collect();
            let size = filter.iter().fold(0.0_f32, |m, f| m.max(f.abs()));
            prop_assume!(size > 1e-3);
            let (fy, fx) = separate(&filter, x.len()).unwrap();
            for (k, f) in filter.iter().enumerate() {
                prop_assert!((fy[k / x.len()] * fx[k % x.len()] - f).abs() < 1e-5 * size);
            }
        }
    }

    #[test]
    fn a_filter_that_is_no_outer_product_is_left_alone() {
        assert!(separate(&[1.0, 0.0, 0.0, 1.0], 2).is_none());
        assert!(separate(&[0.0; 4], 2).is_none());
        assert!(separate(&[1.0, 2.0, 2.0, 4.0], 2).is_some());
    }
}
