//! Colours: one affine map of the channels per image.

use super::matrix::Affine3;
use super::upload;
use crate::tangent::Dual;

/// $x' = M x + b$ for each pixel; with one channel the mean of the three rows.
pub(super) fn apply(x: Dual<4>, colors: &[Affine3]) -> Dual<4> {
    let [n, c, h, w] = x.dims();
    let mut linear = Vec::with_capacity(n * c * c);
    let mut shift = Vec::with_capacity(n * c);
    for m in colors {
        if c == 1 {
            let sum: f64 = m.0.iter().flat_map(|row| &row[..3]).sum();
            linear.push((sum / 3.0) as f32);
            shift.push((m.0.iter().map(|row| row[3]).sum::<f64>() / 3.0) as f32);
        } else {
            for row in &m.0 {
                linear.extend(row[..3].iter().map(|&v| v as f32));
                shift.push(row[3] as f32);
            }
        }
    }
    let shift = upload(shift, [n, c, 1, 1], &x.value);
    let x = if c == 1 {
        let gain = upload(linear, [n, 1, 1, 1], &x.value);
        x.linear(|t| t * gain.clone())
    } else {
        // Products and sums, not a matrix product: there, some GPUs round to ten bits.
        let mix = upload(linear, [n, 3, 3, 1, 1], &x.value);
        x.linear(|t| {
            (t.reshape([n, 1, 3, h, w]) * mix.clone()) // [N, to, from, H, W]
                .sum_dim(2)
                .reshape([n, 3, h, w])
        })
    };
    Dual {
        value: x.value + shift,
        tangent: x.tangent,
    }
}
