//! Features of a batch of images, and maps of their size.

use burn::tensor::Tensor;

use super::{unit_length, upload};

/// The features of images, as [`Lpips::features`](super::Lpips::features) makes them.
#[derive(Clone, Debug)]
pub struct LpipsFeatures {
    /// `[N, C, H', W']` per layer, of unit length at each pixel unless `raw`.
    pub(super) layers: Vec<Tensor<4>>,
    /// Whether the layers are the activations as they are.
    pub(super) raw: bool,
    /// Height and width of the images.
    pub(super) size: [usize; 2],
}

impl LpipsFeatures {
    /// The number of images.
    pub fn batch(&self) -> usize {
        self.layers[0].dims()[0]
    }

    /// Those of some of the images, in this order.
    pub(crate) fn select(&self, images: &[usize]) -> Self {
        let of = |x: &Tensor<4>| {
            let picked = images.iter().map(|k| x.clone().narrow(0, *k, 1));
            Tensor::cat(picked.collect(), 0)
        };
        Self {
            layers: self.layers.iter().map(of).collect(),
            ..*self
        }
    }

    /// The layers, of unit length at each pixel.
    pub(super) fn unit_layers(&self) -> Vec<Tensor<4>> {
        let unit = |x| if self.raw { unit_length(x) } else { x };
        self.layers.iter().cloned().map(unit).collect()
    }

    /// The features without a history of gradients: those of a fixed target.
    pub fn detach(self) -> Self {
        let layers = self.layers.into_iter().map(Tensor::detach).collect();
        Self { layers, ..self }
    }
}

/// Bilinear enlargement to `size`, pixel centres aligned: a matrix from both sides, which has a
/// gradient on every back end.
///
/// # Shapes
///
/// - map: `[N, 1, H', W']`
/// - output: `[N, 1, H, W]`
pub(super) fn enlarge(map: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, h, w] = map.dims();
    let device = map.device();
    let along = |from: usize, to: usize| -> Tensor<4> {
        upload(weights(from, to), [1, 1, to, from], &device).cast(map.dtype())
    };
    let (rows, columns) = (along(h, size[0]), along(w, size[1]));
    rows.matmul(map).matmul(columns.swap_dims(2, 3))
}

/// The weights of `from` pixels for each of `to`: `[to, from]`.
fn weights(from: usize, to: usize) -> Vec<f32> {
    let mut out = vec![0.0; from * to];
    for (i, row) in out.chunks_exact_mut(from).enumerate() {
        let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        #[allow(clippy::cast_sign_loss)]
        let first = (at.floor() as usize).min(from - 1);
        let share = (at - first as f64) as f32;
        row[first] += 1.0 - share;
        row[(first + 1).min(from - 1)] += share;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_a_line_by_hand() {
        let found = weights(2, 4);
        let expected = [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0];
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6),
            "{found:?}"
        );
        let sums = weights(3, 7);
        assert!(
            sums.chunks(3)
                .all(|r| (r.iter().sum::<f32>() - 1.0).abs() < 1e-6)
        );
    }
}
