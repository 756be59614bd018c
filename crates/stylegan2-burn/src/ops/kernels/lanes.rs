//! Loops over several rows of numbers at once, as many numbers at a time as the machine computes.
//!
//! What is written as a loop over slices the compiler turns into such code only where it can prove that every
//! index is in range and no slice overlaps another; with six slices read and six written it often cannot.

// What runs inside a SIMD dispatch must be inlined into it to be compiled for that instruction set.
#![allow(clippy::inline_always)]

use core::ops::{Add, Mul, Sub};

use pulp::Simd;

/// One number, or several at once.
pub(super) trait Number:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<f32, Output = Self>
{
}

impl<T: Copy + Add<Output = T> + Sub<Output = T> + Mul<f32, Output = T>> Number for T {}

/// Of `N` numbers, `M` others.
pub(super) trait Transform<const N: usize, const M: usize> {
    fn of<T: Number>(x: [T; N]) -> [T; M];
}

/// As many numbers as the machine computes at once.
#[derive(Clone, Copy)]
struct Lanes<S: Simd>(S, S::f32s);

impl<S: Simd> Add for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0, self.0.add_f32s(self.1, other.1))
    }
}

impl<S: Simd> Sub for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0, self.0.sub_f32s(self.1, other.1))
    }
}

impl<S: Simd> Mul<f32> for Lanes<S> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, factor: f32) -> Self {
        Self(self.0, self.0.mul_f32s(self.1, self.0.splat_f32s(factor)))
    }
}

/// Applies the transform to the numbers of each place of `from`, which are as long as those of `to` at least.
#[inline(always)]
pub(super) fn lanes<F: Transform<N, M>, S: Simd, const N: usize, const M: usize>(
    simd: S,
    from: [&[f32]; N],
    to: [&mut [f32]; M],
) {
    let length = to[0].len();
    let from = from.map(|s| S::as_simd_f32s(&s[..length]));
    let mut to = to.map(|s| S::as_mut_simd_f32s(&mut s[..length]));
    // Loops over arrays, as what `array::from_fn` calls may be left a function, for the smallest machine.
    let mut x = [Lanes(simd, simd.splat_f32s(0.0)); N];
    for i in 0..to[0].0.len() {
        for (x, from) in x.iter_mut().zip(&from) {
            x.1 = from.0[i];
        }
        for (to, y) in to.iter_mut().zip(F::of(x)) {
            to.0[i] = y.1;
        }
    }
    if !to[0].1.is_empty() {
        for (x, from) in x.iter_mut().zip(&from) {
            x.1 = simd.partial_load_f32s(from.1);
        }
        for (to, y) in to.iter_mut().zip(F::of(x)) {
            simd.partial_store_f32s(to.1, y.1);
        }
    }
}

/// The first `N` parts of `length` numbers.
#[inline(always)]
pub(super) fn parts<const N: usize>(slice: &[f32], length: usize) -> [&[f32]; N] {
    core::array::from_fn(|k| &slice[k * length..(k + 1) * length])
}

/// The first `N` parts of `length` numbers.
#[inline(always)]
pub(super) fn parts_mut<const N: usize>(mut slice: &mut [f32], length: usize) -> [&mut [f32]; N] {
    core::array::from_fn(|_| {
        let (part, rest) = core::mem::take(&mut slice).split_at_mut(length);
        slice = rest;
        part
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulp::{Arch, WithSimd};

    use super::*;

    struct Mixed;

    impl Transform<3, 2> for Mixed {
        fn of<T: Number>([a, b, c]: [T; 3]) -> [T; 2] {
            [a + b * 3.0, c - a * 0.5]
        }
    }

    proptest! {
        #[test]
        fn equals_one_number_at_a_time(
            rows in prop::collection::vec([-9.0_f32..9.0, -9.0_f32..9.0, -9.0_f32..9.0], 0..70),
        ) {
            struct Job<'a>([&'a [f32]; 3], [&'a mut [f32]; 2]);
            impl WithSimd for Job<'_> {
                type Output = ();

                fn with_simd<S: Simd>(self, simd: S) {
                    lanes::<Mixed, _, _, _>(simd, self.0, self.1);
                }
            }
            let from = [0, 1, 2].map(|k| rows.iter().map(|r| r[k]).collect::<Vec<_>>());
            let (mut first, mut second) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
            let slices = [0, 1, 2].map(|k| &from[k][..]);
            Arch::new().dispatch(Job(slices, [&mut first[..], &mut second[..]]));
            for (i, row) in rows.iter().enumerate() {
                let slow = Mixed::of(*row);
                prop_assert_eq!(first[i].to_bits(), slow[0].to_bits());
                prop_assert_eq!(second[i].to_bits(), slow[1].to_bits());
            }
        }
    }
}
