//! The linear part of an encoder: least squares on samples of the generator.

use burn::tensor::Tensor;

use super::network::shrink;
use crate::distribution::{cholesky, invert_lower};

/// Share of the mean variance that is added to each pixel's: samples are not many more than pixels.
const RIDGE: f64 = 0.01;

/// Weight, row by row, and bias of the linear map from shrunk images to latents that is nearest in
/// least squares. $O(n p^2 + p^3)$ for $p$ pixels.
///
/// # Shapes
///
/// - chunks: images `[N, C, R, R]` and latents `[N, d]`
/// - outputs: `d * p` and `d` numbers
pub(super) fn fit(chunks: impl Iterator<Item = (Tensor<4>, Tensor<2>)>) -> (Vec<f32>, Vec<f32>) {
    let (mut squares, mut products) = (Vec::new(), Vec::new());
    let (mut p, mut d, mut samples) = (0, 0, 0.0);
    for (images, latents) in chunks {
        let [n, width] = latents.dims();
        let pixels = shrink(images);
        let ones = pixels
            .ones_like()
            .reshape([n, pixels.shape().num_elements() / n]);
        let count = ones.dims()[1];
        // A column of ones stands for the bias.
        let x = Tensor::cat(vec![pixels.reshape([n, count]), ones.slice_dim(1, 0..1)], 1);
        (p, d) = (count + 1, width);
        samples += n as f64;
        add(&mut squares, x.clone().transpose().matmul(x.clone()));
        add(&mut products, x.transpose().matmul(latents));
    }
    let means: Vec<f64> = (0..p).map(|i| squares[(p - 1) * p + i] / samples).collect();
    let variance = |i: usize| squares[i * p + i] / samples - means[i].powi(2);
    let mean_variance = (0..p - 1).map(variance).sum::<f64>() / (p - 1) as f64;
    for i in 0..p - 1 {
        squares[i * p + i] += samples * (RIDGE * mean_variance + 1e-9);
    }
    let inverse = invert_lower(&cholesky(squares, p), p);
    // B = L^-T L^-1 X'Y, a column of latents at a time.
    let mut weight = vec![0.0_f32; d * (p - 1)];
    let mut bias = vec![0.0_f32; d];
    let mut half = vec![0.0; p];
    let mut full = vec![0.0; p];
    for j in 0..d {
        let column: Vec<f64> = products.iter().skip(j).step_by(d).copied().collect();
        for (i, h) in half.iter_mut().enumerate() {
            let row = &inverse[i * p..=i * p + i];
            *h = row.iter().zip(&column).map(|(l, v)| l * v).sum();
        }
        full.fill(0.0);
        for (i, h) in half.iter().enumerate() {
            let row = &inverse[i * p..=i * p + i];
            for (f, l) in full.iter_mut().zip(row) {
                *f += l * h;
            }
        }
        for (w, f) in weight[j * (p - 1)..(j + 1) * (p - 1)].iter_mut().zip(&full) {
            *w = *f as f32;
        }
        bias[j] = full[p - 1] as f32;
    }
    (weight, bias)
}

fn add(sum: &mut Vec<f64>, term: Tensor<2>) {
    let term = crate::floats(term);
    sum.resize(term.len(), 0.0);
    for (s, t) in sum.iter_mut().zip(term) {
        *s += f64::from(t);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn a_linear_map_is_found_again() {
        let device = Device::default();
        let true_weight = Tensor::<2>::random([256, 3], Distribution::Normal(0.0, 0.1), &device);
        let chunks: Vec<_> = (0..20)
            .map(|_| {
                let images =
                    Tensor::<4>::random([64, 1, 16, 16], Distribution::Normal(0.5, 1.0), &device);
                let x = images.clone().reshape([64, 256]);
                (images, x.matmul(true_weight.clone()) + 2.0)
            })
            .collect();
        let (weight, bias) = fit(chunks.into_iter());
        let expected = crate::floats(true_weight.transpose());
        let worst = weight.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f32::max) < 0.02);
        assert!(bias.iter().all(|b| (b - 2.0).abs() < 0.1), "{bias:?}");
    }
}
