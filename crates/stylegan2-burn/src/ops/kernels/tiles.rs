//! The tiles of Winograd's F(4x4, 3x3) and back: transforms of pictures and of gradients.
//!
//! The same place of all tiles lies together at every stage, so that loops are as long as there are tiles: small
//! pictures have few tiles in a row.

// What runs inside a SIMD dispatch must be inlined into it to be compiled for that instruction set.
#![allow(clippy::inline_always)]

use pulp::{Simd, WithSimd};

use super::lanes::{Number, Transform, lanes, parts, parts_mut};

/// Positions of the transformed domain.
pub(super) const P: usize = 36;
/// Input side of a tile.
pub(super) const TILE: usize = 6;
/// Output side of a tile.
pub(super) const STEP: usize = 4;

/// The points squared, their product and their sum: $a^2$, $b^2$, $a^2 b^2$, $a^2 + b^2$.
pub(super) const A1: f32 = 0.75;
pub(super) const B1: f32 = 1.5;
pub(super) const A2: f32 = 0.5625;
pub(super) const B2: f32 = 2.25;
pub(super) const PRODUCT: f32 = 1.265_625;
pub(super) const SUM: f32 = 2.8125;
/// The Lagrange denominators, moved to the weights: $1/(a^2 b^2)$, $1/(2a^2(a^2 - b^2))$,
/// $1/(2b^2(b^2 - a^2))$.
pub(super) const L0: f32 = 64.0 / 81.0;
pub(super) const LA: f32 = -128.0 / 243.0;
pub(super) const LB: f32 = 32.0 / 243.0;

/// $B^\top d$ along one dimension.
struct B;

impl Transform<TILE, TILE> for B {
    #[inline(always)]
    fn of<T: Number>([d0, d1, d2, d3, d4, d5]: [T; TILE]) -> [T; TILE] {
        let (even_a, odd_a) = (d4 - d2 * B2, (d3 - d1 * B2) * A1);
        let (even_b, odd_b) = (d4 - d2 * A2, (d3 - d1 * A2) * B1);
        [
            d0 * PRODUCT - d2 * SUM + d4,
            even_a + odd_a,
            even_a - odd_a,
            even_b + odd_b,
            even_b - odd_b,
            d1 * PRODUCT - d3 * SUM + d5,
        ]
    }
}

/// $A^\top m$ along one dimension.
struct A;

impl Transform<TILE, STEP> for A {
    #[inline(always)]
    fn of<T: Number>([m0, m1, m2, m3, m4, m5]: [T; TILE]) -> [T; STEP] {
        let (even_a, odd_a) = (m1 + m2, (m1 - m2) * A1);
        let (even_b, odd_b) = (m3 + m4, (m3 - m4) * B1);
        [
            m0 + even_a + even_b,
            odd_a + odd_b,
            even_a * A2 + even_b * B2,
            odd_a * A2 + odd_b * B2 + m5,
        ]
    }
}

/// $A y$ along one dimension.
struct AAdjoint;

impl Transform<STEP, TILE> for AAdjoint {
    #[inline(always)]
    fn of<T: Number>([g0, g1, g2, g3]: [T; STEP]) -> [T; TILE] {
        let (even_a, odd_a) = (g0 + g2 * A2, (g1 + g3 * A2) * A1);
        let (even_b, odd_b) = (g0 + g2 * B2, (g1 + g3 * B2) * B1);
        [
            g0,
            even_a + odd_a,
            even_a - odd_a,
            even_b + odd_b,
            even_b - odd_b,
            g3,
        ]
    }
}

/// Numbers 0, 4, 8 and so on of a row to the first of `to`, 1, 5, 9 to the second.
#[inline(always)]
fn by_phase(row: &[f32], to: [&mut [f32]; STEP]) {
    let (fours, _) = row.as_chunks::<STEP>();
    let [a, b, c, d] = to.map(|t| &mut t[..fours.len()]);
    for (t, four) in fours.iter().enumerate() {
        [a[t], b[t], c[t], d[t]] = *four;
    }
}

/// The tiles of some rows of tiles of one channel, $B^\top d B$.
pub(super) struct InputTiles<'a> {
    /// Pixels of the channel, `width` in a row.
    pub(super) plane: &'a [f32],
    pub(super) width: usize,
    /// Rows of tiles, and the first of them.
    pub(super) rows: (usize, usize),
    /// The first tile's place among all, and how many those are.
    pub(super) place: (usize, usize),
    pub(super) scratch: &'a mut Vec<f32>,
    /// `[36, tiles]`.
    pub(super) v: &'a mut [f32],
}

impl WithSimd for InputTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            plane,
            width,
            rows: (count, first),
            place: (offset, tiles),
            scratch,
            v,
        } = self;
        let columns = width / STEP;
        let (each, tall) = (count * columns, (count + 1) * columns);
        scratch.resize(TILE * STEP * tall + P * each, 0.0);
        let (split, along_y) = scratch.split_at_mut(TILE * STEP * tall);
        // split[j][k][q]: place j of the tiles' lines, of the lines k, k + 4, ... of the padded rows.
        for line in 0..count * STEP + TILE - STEP {
            let y = first * STEP + line;
            let at = line % STEP * tall + line / STEP * columns;
            let places = parts_mut::<TILE>(split, STEP * tall);
            let [d0, d1, d2, d3, d4, d5] = places.map(|d| &mut d[at..at + columns]);
            let row = y.checked_sub(1).map(|y| y * width);
            let Some(row) = row.and_then(|start| plane.get(start..start + width)) else {
                for d in [d0, d1, d2, d3, d4, d5] {
                    d.fill(0.0);
                }
                continue;
            };
            by_phase(row, [&mut *d1, &mut *d2, &mut *d3, &mut *d4]);
            d0[0] = 0.0;
            d0[1..].copy_from_slice(&d4[..columns - 1]);
            d5[..columns - 1].copy_from_slice(&d1[1..]);
            d5[columns - 1] = 0.0;
        }
        // along_y[r][j], then v[r][c].
        for (j, lines) in split.chunks_exact(STEP * tall).enumerate() {
            let d = [0, 1, 2, 3, 4, 5].map(|r| {
                let start = r % STEP * tall + r / STEP * columns;
                &lines[start..start + each]
            });
            let out = parts_mut::<TILE>(along_y, TILE * each);
            let out = out.map(|o| &mut o[j * each..(j + 1) * each]);
            lanes::<B, _, _, _>(simd, d, out);
        }
        for (line, v) in along_y
            .chunks_exact(TILE * each)
            .zip(v.chunks_exact_mut(TILE * tiles))
        {
            let out = parts_mut::<TILE>(v, tiles).map(|o| &mut o[offset..offset + each]);
            lanes::<B, _, _, _>(simd, parts::<TILE>(line, each), out);
        }
    }
}

/// The products of one channel back to the pixels of some rows of tiles, $A^\top m A$.
pub(super) struct OutputTiles<'a> {
    /// The first tile's first place, the next place `apart`.
    pub(super) m: &'a [f32],
    pub(super) apart: usize,
    pub(super) width: usize,
    /// Rows of tiles, and the first of them.
    pub(super) rows: (usize, usize),
    pub(super) scratch: &'a mut Vec<f32>,
    /// Pixels of the channel.
    pub(super) plane: &'a mut [f32],
}

impl WithSimd for OutputTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            m,
            apart,
            width,
            rows: (count, first),
            scratch,
            plane,
        } = self;
        let columns = width / STEP;
        let each = count * columns;
        scratch.resize(STEP * (TILE + 1) * each, 0.0);
        let (half, pixels) = scratch.split_at_mut(STEP * TILE * each);
        // half[k][c], then pixels[j] of line k of every tile.
        for c in 0..TILE {
            let d = [0, 1, 2, 3, 4, 5].map(|r| {
                let start = (r * TILE + c) * apart;
                &m[start..start + each]
            });
            let out = parts_mut::<STEP>(half, TILE * each);
            lanes::<A, _, _, _>(simd, d, out.map(|o| &mut o[c * each..(c + 1) * each]));
        }
        for (k, half) in half.chunks_exact(TILE * each).enumerate() {
            let from = parts::<TILE>(half, each);
            lanes::<A, _, _, _>(simd, from, parts_mut::<STEP>(pixels, each));
            for row in 0..count {
                let y = (first + row) * STEP + k;
                let line = &mut plane[y * width..(y + 1) * width];
                let (fours, _) = line.as_chunks_mut::<STEP>();
                let of_row = row * columns..row * columns + fours.len();
                let [a, b, c, d] = parts::<STEP>(pixels, each).map(|p| &p[of_row.clone()]);
                for (t, four) in fours.iter_mut().enumerate() {
                    *four = [a[t], b[t], c[t], d[t]];
                }
            }
        }
    }
}

/// The tiles of the output's gradient, $A \bar Y A^\top$, of some rows of tiles of one channel.
pub(super) struct GradientTiles<'a> {
    /// Pixels of the channel, `width` in a row.
    pub(super) plane: &'a [f32],
    pub(super) width: usize,
    /// Rows of tiles, and the first of them.
    pub(super) rows: (usize, usize),
    /// The first tile's place among all, and how many those are.
    pub(super) place: (usize, usize),
    pub(super) scratch: &'a mut Vec<f32>,
    /// `[36, tiles]`.
    pub(super) u: &'a mut [f32],
}

impl WithSimd for GradientTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            plane,
            width,
            rows: (count, first),
            place: (offset, tiles),
            scratch,
            u,
        } = self;
        let columns = width / STEP;
        let each = count * columns;
        scratch.resize(STEP * (STEP + TILE) * each, 0.0);
        let (split, half) = scratch.split_at_mut(STEP * STEP * each);
        // split[k][j], then half[k][c], then u[r][c].
        let rows = &plane[first * STEP * width..][..each * STEP * STEP];
        for (line, row) in rows.chunks_exact(width).enumerate() {
            let at = line / STEP * columns;
            let split = &mut split[line % STEP * STEP * each..][..STEP * each];
            let places = parts_mut::<STEP>(split, each);
            by_phase(row, places.map(|d| &mut d[at..at + columns]));
        }
        for (split, half) in split
            .chunks_exact(STEP * each)
            .zip(half.chunks_exact_mut(TILE * each))
        {
            let from = parts::<STEP>(split, each);
            lanes::<AAdjoint, _, _, _>(simd, from, parts_mut::<TILE>(half, each));
        }
        for c in 0..TILE {
            let d = parts::<STEP>(half, TILE * each).map(|d| &d[c * each..(c + 1) * each]);
            let start = c * tiles + offset;
            let out = parts_mut::<TILE>(u, TILE * tiles);
            lanes::<AAdjoint, _, _, _>(simd, d, out.map(|o| &mut o[start..start + each]));
        }
    }
}
