//! The mapping network Z (and label) -> W.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use crate::config::MappingConfig;
use crate::layers::FullyConnected;
use crate::ops::{Activation, normalize_second_moment};
use crate::tangent::Dual;

/// How far w is pulled towards the mean: `w_avg + psi (w - w_avg)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truncation {
    /// 1 leaves w alone, 0 gives the mean.
    pub psi: f64,
    /// Only the first so many rows of W+; `None` is all.
    pub cutoff: Option<usize>,
}

impl Default for Truncation {
    fn default() -> Self {
        Self {
            psi: 1.0,
            cutoff: None,
        }
    }
}

impl Truncation {
    /// Truncation of all rows by `psi`.
    pub fn psi(psi: f64) -> Self {
        Self { psi, cutoff: None }
    }
}

/// Maps latents and labels to W.
#[derive(Module, Debug)]
pub struct Mapping {
    /// Embeds the label; absent without labels.
    pub embed: Option<FullyConnected>,
    /// The layers.
    pub layers: Vec<FullyConnected>,
    /// Running mean of w, `[w]`; absent in a discriminator.
    pub w_avg: Option<Param<Tensor<1>>>,
    z_dim: usize,
    w_avg_beta: f64,
    num_ws: usize,
}

impl MappingConfig {
    /// Makes a mapping network; `z_dim` or `c_dim` may be 0, `num_ws` 0 means no running mean.
    pub fn init(
        &self,
        z_dim: usize,
        c_dim: usize,
        w_dim: usize,
        num_ws: usize,
        device: &Device,
    ) -> Mapping {
        let embedded = if c_dim == 0 {
            0
        } else {
            self.embed_features.unwrap_or(w_dim)
        };
        let hidden = self.layer_features.unwrap_or(w_dim);
        let mut widths = vec![z_dim + embedded];
        widths.resize(self.num_layers, hidden);
        widths.push(w_dim);
        Mapping {
            embed: (c_dim > 0).then(|| {
                FullyConnected::init([c_dim, embedded], Activation::Linear, 1.0, 0.0, device)
            }),
            layers: widths
                .windows(2)
                .map(|io| {
                    let io = [io[0], io[1]];
                    FullyConnected::init(io, self.activation, self.lr_multiplier, 0.0, device)
                })
                .collect(),
            w_avg: (num_ws > 0).then(|| {
                Initializer::Zeros
                    .init([w_dim], device)
                    .set_require_grad(false)
            }),
            z_dim,
            w_avg_beta: self.w_avg_beta,
            num_ws,
        }
    }
}

impl Mapping {
    /// One w per sample, before truncation.
    ///
    /// # Shapes
    ///
    /// - z: `[N, z]`, c: `[N, c]`
    /// - output: `[N, w]`
    ///
    /// # Panics
    ///
    /// Panics if a label is given to an unconditional network or missing for a conditional one.
    pub fn w(&self, z: Option<Dual<2>>, c: Option<Tensor<2>>) -> Dual<2> {
        assert_eq!(
            self.embed.is_some(),
            c.is_some(),
            "labels are given if and only if c_dim > 0"
        );
        assert_eq!(
            self.z_dim > 0,
            z.is_some(),
            "latents are given if and only if z_dim > 0"
        );
        let mut parts: Vec<Dual<2>> = z.into_iter().map(normalize_second_moment).collect();
        if let (Some(embed), Some(c)) = (&self.embed, c) {
            parts.push(normalize_second_moment(embed.forward(c.into())));
        }
        let x = if parts.len() == 1 {
            parts.remove(0)
        } else {
            Dual::cat(parts, 1)
        };
        self.layers.iter().fold(x, |x, layer| layer.forward(x))
    }

    /// W+ of latents: the same w in all rows, truncated.
    ///
    /// # Shapes
    ///
    /// - z: `[N, z]`, c: `[N, c]`
    /// - output: `[N, num_ws, w]`
    pub fn forward(&self, z: Tensor<2>, c: Option<Tensor<2>>, truncation: Truncation) -> Tensor<3> {
        self.truncate(self.broadcast(self.w(Some(z.into()), c)), truncation)
            .value
    }

    /// W+ and its derivative along `dz`.
    ///
    /// # Shapes
    ///
    /// - z, dz: `[N, z]`, c: `[N, c]`
    /// - outputs: `[N, num_ws, w]` twice
    pub fn jvp(
        &self,
        z: Tensor<2>,
        dz: Tensor<2>,
        c: Option<Tensor<2>>,
        truncation: Truncation,
    ) -> (Tensor<3>, Tensor<3>) {
        let w = self.w(Some(Dual::new(z, dz)), c);
        let ws = self.truncate(self.broadcast(w), truncation);
        (ws.value.clone(), ws.tangent_or_zero())
    }

    /// Repeats w for all layers.
    ///
    /// # Shapes
    ///
    /// - w: `[N, w]`
    /// - output: `[N, num_ws, w]`
    pub fn broadcast(&self, w: Dual<2>) -> Dual<3> {
        let [n, d] = w.dims();
        w.linear(|t| t.reshape([n, 1, d]).expand([n, self.num_ws, d]))
    }

    /// Pulls W+ towards the running mean.
    ///
    /// # Shapes
    ///
    /// - ws: `[N, num_ws, w]`
    /// - output: as `ws`
    pub fn truncate(&self, ws: Dual<3>, truncation: Truncation) -> Dual<3> {
        let Some(mean) = &self.w_avg else { return ws };
        if (truncation.psi - 1.0).abs() < f64::EPSILON {
            return ws;
        }
        let [n, rows, d] = ws.dims();
        let mean = mean.val().reshape([1, 1, d]);
        let cut = truncation.cutoff.unwrap_or(rows).min(rows);
        let pull = |t: Dual<3>| {
            let offset = Dual::constant(mean.clone().neg())
                .plus(t)
                .scale(truncation.psi);
            offset.add_constant(mean.clone())
        };
        if cut == rows {
            return pull(ws);
        }
        let head = pull(ws.clone().linear(|t| t.slice([0..n, 0..cut, 0..d])));
        let tail = ws.linear(|t| t.slice([0..n, cut..rows, 0..d]));
        Dual::cat(vec![head, tail], 1)
    }

    /// Moves the running mean towards the mean of a batch of w, as training does.
    ///
    /// # Shapes
    ///
    /// - w: `[N, w]`
    #[must_use]
    pub fn track(mut self, w: Tensor<2>) -> Self {
        let beta = self.w_avg_beta;
        self.w_avg = self.w_avg.map(|mean| {
            let d = mean.dims()[0];
            let batch = w.detach().mean_dim(0).reshape([d]);
            mean.map(|m| {
                (batch.clone() + (m - batch) * beta)
                    .detach()
                    .set_require_grad(false)
            })
        });
        self
    }

    /// Rows of W+.
    pub fn num_ws(&self) -> usize {
        self.num_ws
    }
}
