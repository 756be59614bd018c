//! Amplification of frequency bands.

use std::sync::OnceLock;

use burn::tensor::Tensor;

use super::upload;

/// Low-pass filter of the Daubechies wavelet with two vanishing moments.
const SYM2: [f64; 4] = [
    -0.129_409_522_550_921_45,
    0.224_143_868_041_857_35,
    0.836_516_303_737_469,
    0.482_962_913_144_690_25,
];
/// Expected power of natural images per band ($1/f$ amplitude), lowest band first.
const POWER: [f64; 4] = [10.0 / 13.0, 1.0 / 13.0, 1.0 / 13.0, 1.0 / 13.0];
/// Taps of the band filters.
pub(super) const TAPS: usize = 43;

/// Four filters that sum to a unit impulse: the bands of an undecimated wavelet decomposition.
///
/// Band 0 is the lowest. Each step halves the frequencies of the bands so far (zeros inserted,
/// low-passed) and adds the high-pass band on top.
pub(super) fn bands() -> &'static [[f64; TAPS]; 4] {
    static BANDS: OnceLock<[[f64; TAPS]; 4]> = OnceLock::new();
    BANDS.get_or_init(|| {
        let high: Vec<f64> = SYM2
            .iter()
            .enumerate()
            .map(|(k, v)| if k.is_multiple_of(2) { *v } else { -v })
            .collect();
        let (low, high) = (autocorrelation(&SYM2), autocorrelation(&high));
        let mut bands: [Vec<f64>; 4] = [0, 1, 2, 3].map(|i| vec![if i == 0 { 1.0 } else { 0.0 }]);
        for top in 1..4 {
            for band in &mut bands {
                let mut spread = vec![0.0; 2 * band.len() - 1];
                for (k, v) in band.iter().enumerate() {
                    spread[2 * k] = *v;
                }
                *band = convolve(&spread, &low);
            }
            let start = (bands[top].len() - high.len()) / 2;
            for (k, v) in high.iter().enumerate() {
                bands[top][start + k] += v;
            }
        }
        bands.map(|band| std::array::from_fn(|k| band[k]))
    })
}

fn autocorrelation(f: &[f64]) -> Vec<f64> {
    let reversed: Vec<f64> = f.iter().rev().copied().collect();
    convolve(f, &reversed).iter().map(|v| v / 2.0).collect()
}

fn convolve(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; a.len() + b.len() - 1];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            out[i + j] += x * y;
        }
    }
    out
}

/// Rescales gains so that an image of the expected power keeps it.
pub(super) fn normalized(gains: [f64; 4]) -> [f64; 4] {
    let power: f64 = gains.iter().zip(POWER).map(|(g, p)| p * g * g).sum();
    gains.map(|g| g / power.sqrt())
}

/// Position `i` of a line that is mirrored at its ends, end points not repeated.
pub(super) fn reflected(i: isize, len: usize) -> usize {
    if len == 1 {
        return 0;
    }
    let last = len.cast_signed() - 1;
    let k = i.rem_euclid(2 * last);
    (if k > last { 2 * last - k } else { k }).unsigned_abs()
}

/// The matrix of each band filter on a line of `len` pixels, mirrored at the ends: `[4, len * len]`.
fn line_matrices(len: usize) -> Vec<f32> {
    let half = (TAPS / 2).cast_signed();
    let mut out = vec![0.0_f64; 4 * len * len];
    for (band, taps) in bands().iter().enumerate() {
        for row in 0..len {
            for (k, tap) in taps.iter().enumerate() {
                let from = reflected(row.cast_signed() + k.cast_signed() - half, len);
                out[(band * len + row) * len + from] += tap;
            }
        }
    }
    out.into_iter().map(|v| v as f32).collect()
}

/// Filters lines and columns of each image with its mixture of the bands.
///
/// The filter acts as a matrix from both sides, $A\,x\,A^\top$: at these sizes products are faster
/// than 43 taps twice, and mirroring is exact at any size.
pub(super) fn apply(x: Tensor<4>, gains: &[[f64; 4]]) -> Tensor<4> {
    let [n, _, h, w] = x.dims();
    let gains = gains.iter().flatten().map(|&g| g as f32).collect();
    let gains = upload(gains, [n, 4, 1, 1], &x);
    let mixed = |len: usize| -> Tensor<4> {
        let lines = upload(line_matrices(len), [1, 4, len, len], &x);
        (lines * gains.clone()).sum_dim(1) // [N, 1, len, len]
    };
    let rows = mixed(h);
    let columns = if h == w { rows.clone() } else { mixed(w) };
    rows.matmul(x).matmul(columns.swap_dims(2, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bands_sum_to_an_impulse() {
        for k in 0..TAPS {
            let sum: f64 = bands().iter().map(|b| b[k]).sum();
            let expected = if k == TAPS / 2 { 1.0 } else { 0.0 };
            assert!((sum - expected).abs() < 1e-11, "tap {k}: {sum}");
        }
    }

    #[test]
    fn mirroring_works_at_any_distance() {
        let line: Vec<usize> = (-5..9).map(|i| reflected(i, 4)).collect();
        assert_eq!(line, [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(reflected(-7, 1), 0);
    }

    #[test]
    fn equal_gains_change_nothing() {
        for gain in [1.0, 3.0] {
            assert!(
                normalized([gain; 4])
                    .iter()
                    .all(|g| (g - 1.0).abs() < 1e-12)
            );
        }
    }
}
