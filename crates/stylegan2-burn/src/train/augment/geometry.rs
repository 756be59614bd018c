//! Geometric transformations: one resampling per image, band-limited by a wavelet filter.
//!
//! The image is mirrored at its edges, doubled in size through a 12-tap filter, sampled bilinearly
//! on the transformed grid (zeros outside), and halved through the same filter.

use burn::tensor::ops::{GridSampleOptions, GridSamplePaddingMode, InterpolateMode, PadMode};
use burn::tensor::{DType, Tensor};

use super::matrix::Affine2;
use super::upload;
use crate::ops::Upfirdn;

/// Low-pass filter of the symlet with six vanishing moments.
const SYM6: [f64; 12] = [
    0.015_404_109_327_027_373,
    0.003_490_712_084_217_470_2,
    -0.117_990_111_148_190_57,
    -0.048_311_742_585_633,
    0.491_055_941_926_746_6,
    0.787_641_141_030_194,
    0.337_929_421_727_621_8,
    -0.072_637_522_786_462_52,
    -0.021_060_292_512_300_564,
    0.044_724_901_770_665_78,
    0.001_767_711_864_242_803_6,
    -0.007_800_708_325_034_148,
];
/// Taps of the filter.
pub(super) const TAPS: usize = SYM6.len();
/// Pixels that the filter needs beyond the image on each side of the transformed grid.
pub(super) const BORDER: usize = TAPS / 4;

/// The filter, summing to one.
pub(super) fn taps() -> [f32; TAPS] {
    let total: f64 = SYM6.iter().sum();
    SYM6.map(|t| (t / total) as f32)
}

/// The resampling of one batch.
#[derive(Clone, Debug)]
pub(super) struct Warp {
    /// Height and width of the images.
    pub(super) size: [usize; 2],
    /// Mirrored pixels before and after, along y and along x.
    pub(super) margins: [[usize; 2]; 2],
    /// From a pixel of the transformed grid, of twice the size and its borders, to a position in
    /// the doubled image; both count pixels from the first one's centre.
    pub(super) maps: Vec<Affine2>,
}

impl Warp {
    /// From maps about the centre, in pixels, that say where a pixel came from.
    pub(super) fn new(maps: Vec<Affine2>, h: usize, w: usize) -> Self {
        let size = [h, w];
        let margins = margins(&maps, size);
        let [up_h, up_w] = [0, 1].map(|i| doubled(size[i], margins[i]) as f64);
        let [grid_h, grid_w] = size.map(|s| grid(s) as f64);
        let offset = |m: [usize; 2]| (m[0] as f64 - m[1] as f64) / 2.0;
        let shift = Affine2::translation(offset(margins[1]), offset(margins[0]));
        let maps = maps
            .iter()
            .map(|map| {
                // Doubling moves the centre of a pixel by half of the new ones.
                Affine2::translation(up_w / 2.0 - 1.0, up_h / 2.0 - 1.0)
                    .after(&Affine2::scaling(2.0, 2.0))
                    .after(&shift)
                    .after(map)
                    .after(&Affine2::scaling(0.5, 0.5))
                    .after(&Affine2::translation(
                        1.0 - grid_w / 2.0,
                        1.0 - grid_h / 2.0,
                    ))
            })
            .collect();
        Self {
            size,
            margins,
            maps,
        }
    }

    /// Sides of the doubled image, margins included.
    pub(super) fn doubled(&self) -> [usize; 2] {
        [0, 1].map(|i| doubled(self.size[i], self.margins[i]))
    }

    /// Sides of the transformed grid.
    pub(super) fn grid(&self) -> [usize; 2] {
        self.size.map(grid)
    }

    /// Resamples; linear in `x`.
    pub(super) fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        #[cfg(feature = "winograd")]
        if crate::ops::here(&x) {
            return super::kernel::warp(x, self.clone());
        }
        self.in_steps(x)
    }

    /// As separate tensor operations, on any device.
    pub(super) fn in_steps(&self, x: Tensor<4>) -> Tensor<4> {
        let n = x.dims()[0];
        let [y, x_] = self.margins;
        let pairs = [(0, 0), (0, 0), (y[0], y[1]), (x_[0], x_[1])];
        let dtype = x.dtype();
        let x = x.cast(DType::F32).pad(pairs, PadMode::Reflect);
        let filter = upload(taps().to_vec(), [1, TAPS], &x);
        let column = filter.clone().reshape([TAPS, 1]);
        let up = Upfirdn::new().with_gain(2.0);
        let x = up
            .with_up([2, 1])
            .with_padding([6, 5, 0, 0])
            .forward(x, &filter);
        let x = up
            .with_up([1, 2])
            .with_padding([0, 0, 6, 5])
            .forward(x, &column);

        let [up_h, up_w] = self.doubled();
        let [grid_h, grid_w] = self.grid();
        // To the range of `grid_sample`: pixel i is at (2 i + 1) / size - 1.
        let coordinate = |row: usize, size: usize| -> Tensor<4> {
            let entry = |k: usize| -> Vec<f32> {
                let scale = 2.0 / size as f64;
                let end = if k == 2 { 1.0 / size as f64 - 1.0 } else { 0.0 };
                let maps = self.maps.iter();
                maps.map(|m| (m.0[row][k] * scale + end) as f32).collect()
            };
            let count = |len: usize| (0..len).map(|i| i as f32).collect::<Vec<_>>();
            let j = upload(count(grid_w), [1, 1, grid_w, 1], &x);
            let i = upload(count(grid_h), [1, grid_h, 1, 1], &x);
            let of = |k: usize| upload(entry(k), [n, 1, 1, 1], &x);
            j * of(0) + (i * of(1) + of(2))
        };
        let positions = Tensor::cat(vec![coordinate(0, up_w), coordinate(1, up_h)], 3);
        let options = GridSampleOptions::new(InterpolateMode::Bilinear)
            .with_padding_mode(GridSamplePaddingMode::Zeros)
            .with_align_corners(false);
        let x = x.grid_sample_2d(positions, options);

        let down = Upfirdn::new().with_flip_filter(true);
        let x = down
            .with_down([2, 1])
            .with_padding([-1, -1, 0, 0])
            .forward(x, &filter);
        down.with_down([1, 2])
            .with_padding([0, 0, -1, -1])
            .forward(x, &column)
            .cast(dtype)
    }
}

fn doubled(size: usize, margins: [usize; 2]) -> usize {
    2 * (size + margins[0] + margins[1])
}

fn grid(size: usize) -> usize {
    2 * (size + 2 * BORDER)
}

/// How far the corners of the transformed images reach beyond the image, over the whole batch,
/// with room for the filter on both grids; at most what mirroring once can give.
fn margins(maps: &[Affine2], size: [usize; 2]) -> [[usize; 2]; 2] {
    let half = size.map(|s| (s as f64 - 1.0) / 2.0);
    let [cy, cx] = half;
    let corners = [(-cx, -cy), (cx, -cy), (cx, cy), (-cx, cy)];
    // Least and greatest position along y and along x.
    let mut reach = [[0.0_f64; 2]; 2];
    for map in maps {
        for (x, y) in corners {
            let [x, y] = map.map(x, y);
            for (reach, at) in reach.iter_mut().zip([y, x]) {
                reach[0] = reach[0].min(at);
                reach[1] = reach[1].max(at);
            }
        }
    }
    [0, 1].map(|i| {
        [-reach[i][0], reach[i][1]].map(|far| {
            let room = (2 * BORDER) as f64 - half[i];
            #[allow(clippy::cast_sign_loss)]
            let margin = (far + room).clamp(0.0, (size[i] - 1) as f64).ceil() as usize;
            margin
        })
    })
}
