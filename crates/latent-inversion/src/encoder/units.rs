//! The units of an encoder under training.

use burn::tensor::Tensor;

use crate::decoder::Decoder;
use crate::distribution::{WDistribution, Whitening};
use crate::error::Result;
use crate::projector::Coordinates;

/// What the network's numbers mean.
pub(super) struct Units {
    /// `[1, w_dim]`
    pub(super) mean: Tensor<2>,
    scale: Scale,
}

enum Scale {
    /// $w = \mu + s v$
    Plain(f64),
    /// $w = \mu + L v$
    Whitened(Box<Whitening>),
}

impl Units {
    pub(super) fn new(decoder: &dyn Decoder, coordinates: Coordinates) -> Result<Self> {
        let distribution = WDistribution::estimate(decoder, WDistribution::SAMPLES, 0)?;
        let whitening = distribution.on(&decoder.device());
        let d = decoder.w_dim();
        Ok(Self {
            mean: whitening.mean.clone().reshape([1, d]),
            scale: match coordinates {
                Coordinates::Plain => Scale::Plain(distribution.std() / (d as f64).sqrt()),
                Coordinates::Whitened => Scale::Whitened(Box::new(whitening)),
            },
        })
    }

    /// From w to the network's units.
    pub(super) fn measure(&self, w: Tensor<2>) -> Tensor<2> {
        match &self.scale {
            Scale::Plain(scale) => (w - self.mean.clone()) * (1.0 / scale),
            Scale::Whitened(whitening) => rows(w, |ws| whitening.whiten(ws)),
        }
    }

    /// From the network's units to w.
    pub(super) fn latent(&self, v: Tensor<2>) -> Tensor<2> {
        match &self.scale {
            Scale::Plain(scale) => v * *scale + self.mean.clone(),
            Scale::Whitened(whitening) => rows(v, |v| whitening.colour(v)),
        }
    }

    /// The last layer's weight and bias such that it gives w.
    pub(super) fn fold(&self, parts: Vec<Tensor<1>>) -> Vec<Tensor<1>> {
        self.change_last(parts, |v| self.latent(v))
    }

    /// The opposite of [`Units::fold`].
    pub(super) fn unfold(&self, parts: Vec<Tensor<1>>) -> Vec<Tensor<1>> {
        self.change_last(parts, |w| self.measure(w))
    }

    /// Composes an affine map with the layers that make the latent: $A (W x + b) + c$.
    fn change_last(
        &self,
        mut parts: Vec<Tensor<1>>,
        map: impl Fn(Tensor<2>) -> Tensor<2>,
    ) -> Vec<Tensor<1>> {
        let d = self.mean.dims()[1];
        let origin = map(self.mean.zeros_like());
        // The columns of a weight are differences of latents.
        let differences = |columns: Tensor<2>| map(columns) - origin.clone();
        let weight = |part: Tensor<1>| {
            let columns = part.dims()[0] / d;
            let changed = differences(part.reshape([d, columns]).transpose());
            changed.transpose().reshape([columns * d])
        };
        let last = parts.len() - 2;
        parts[0] = weight(parts[0].clone());
        parts[1] = differences(parts[1].clone().reshape([1, d])).reshape([d]);
        parts[last] = weight(parts[last].clone());
        parts[last + 1] = map(parts[last + 1].clone().reshape([1, d])).reshape([d]);
        parts
    }
}

fn rows(x: Tensor<2>, map: impl Fn(Tensor<3>) -> Tensor<3>) -> Tensor<2> {
    let [n, d] = x.dims();
    map(x.reshape([n, 1, d])).reshape([n, d])
}
