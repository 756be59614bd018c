//! The losses of both networks, with exact second-order terms.
//!
//! Every function takes one batch, or a part of one that holds whole groups of the minibatch
//! standard deviation, and gives one loss per sample; how they are weighted and added is the
//! trainer's business.
//!
//! The penalties contain a gradient. Burn differentiates once, so they are written with a
//! Jacobian-vector product. With $v = \nabla_x \sum D(x)$ held constant,
//! $\nabla_\theta \tfrac{1}{2} |\nabla_x D|^2 = \nabla_\theta \, J_D(x) v$, and with
//! $j = J_G^\top y$ and the slopes $s = \partial L / \partial |j|$ held constant,
//! $\nabla_\theta L = \nabla_\theta \, y \cdot J_G(w) u$ for $u = s\, \partial |j| / \partial j$.
//! One reverse pass gives the inner gradient, a second one goes through the tangent.

use burn::tensor::{Int, Tensor, TensorData};

use crate::discriminator::Discriminator;
use crate::generator::Generator;
use crate::layers::Precision;
use crate::ops::Activation;
use crate::synthesis::{Noise, SynthesisOptions};
use crate::tangent::Dual;

/// A map of images that the discriminator sees through, with its tangent.
pub type ImageMap<'a> = &'a dyn Fn(Dual<4>) -> Dual<4>;

/// The second latents of style mixing.
#[derive(Clone, Debug)]
pub struct StyleMix {
    /// `[N, z]`
    pub z: Tensor<2>,
    /// The first row of W+ that they drive; the same for the whole batch.
    pub cutoff: usize,
}

/// What the generator makes images from.
#[derive(Clone, Debug)]
pub struct Latents {
    /// `[N, z]`
    pub z: Tensor<2>,
    /// `[N, c]`, for networks with labels.
    pub c: Option<Tensor<2>>,
    /// Style mixing, where it takes place.
    pub mix: Option<StyleMix>,
    /// The noise inputs.
    pub noise: Noise,
}

impl Latents {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.z.dims()[0]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the samples.
    pub fn select(&self, samples: &[usize]) -> Self {
        if samples.iter().copied().eq(0..self.len()) {
            return self.clone();
        }
        let n = self.len();
        Self {
            z: select(self.z.clone(), samples),
            c: self.c.clone().map(|c| select(c, samples)),
            mix: self.mix.as_ref().map(|mix| StyleMix {
                z: select(mix.z.clone(), samples),
                cutoff: mix.cutoff,
            }),
            noise: match &self.noise {
                Noise::Given(images) => Noise::Given(
                    images
                        .iter()
                        .map(|image| match image.dims()[0] {
                            1 if n > 1 => image.clone(),
                            _ => select(image.clone(), samples),
                        })
                        .collect(),
                ),
                other => other.clone(),
            },
        }
    }

    fn lifted(self) -> Self {
        Self {
            z: self.z.autodiff(),
            c: self.c.map(Tensor::autodiff),
            mix: self.mix.map(|mix| StyleMix {
                z: mix.z.autodiff(),
                ..mix
            }),
            noise: match self.noise {
                Noise::Given(images) => {
                    Noise::Given(images.into_iter().map(Tensor::autodiff).collect())
                }
                other => other,
            },
        }
    }

    fn options(&self, precision: Precision) -> SynthesisOptions {
        SynthesisOptions {
            noise: self.noise.clone(),
            precision,
            ..Default::default()
        }
    }
}

/// Rows of a tensor.
pub(crate) fn select<const D: usize>(tensor: Tensor<D>, rows: &[usize]) -> Tensor<D> {
    if rows.iter().copied().eq(0..tensor.dims()[0]) {
        return tensor;
    }
    let indices: Vec<i32> = rows
        .iter()
        .map(|&r| i32::try_from(r).expect("batches are below 2^31"))
        .collect();
    let indices = Tensor::<1, Int>::from_ints(indices.as_slice(), &tensor.device());
    tensor.select(0, indices)
}

/// The outcome of a main loss.
#[derive(Clone, Debug)]
pub struct Scores {
    /// One loss per sample, `[N, 1]`, tracked.
    pub losses: Tensor<2>,
    /// The discriminator's logits, `[N, 1]`, untracked.
    pub logits: Tensor<2>,
}

/// W+ of latents, styles mixed, and the w of the first pass (untracked).
///
/// # Shapes
///
/// - outputs: `[N, num_ws, w]`, `[N, w]`
pub(crate) fn styles(g: &Generator, latents: &Latents) -> (Tensor<3>, Tensor<2>) {
    let w = g
        .mapping
        .w(Some(latents.z.clone().into()), latents.c.clone());
    let first = w.value.clone().detach().inner();
    let ws = g.mapping.broadcast(w).value;
    let Some(mix) = &latents.mix else {
        return (ws, first);
    };
    let second = g.mapping.w(Some(mix.z.clone().into()), latents.c.clone());
    let second = g.mapping.broadcast(second).value;
    let [n, rows, d] = ws.dims();
    let cutoff = mix.cutoff.min(rows);
    let parts = [
        (cutoff > 0).then(|| ws.slice([0..n, 0..cutoff, 0..d])),
        (cutoff < rows).then(|| second.slice([0..n, cutoff..rows, 0..d])),
    ];
    (Tensor::cat(parts.into_iter().flatten().collect(), 1), first)
}

/// Images without gradients, and the w of the first pass.
///
/// # Shapes
///
/// - outputs: `[N, channels, R, R]`, `[N, w]`
pub fn images(g: &Generator, latents: &Latents, precision: Precision) -> (Tensor<4>, Tensor<2>) {
    let (ws, w) = styles(g, latents);
    (g.synthesis.forward(ws, &latents.options(precision)), w)
}

/// The generator's loss $\log(1 + e^{-D(G(z))})$ (Goodfellow et al. 2014, section 3, the
/// non-saturating form); also gives the w of the first mapping pass, `[N, w]`.
///
/// `g` is tracked, `d` is on the same device with no parameter tracked.
pub fn generator_main(
    g: &Generator,
    d: &Discriminator,
    latents: Latents,
    map: ImageMap<'_>,
    precision: Precision,
) -> (Scores, Tensor<2>) {
    let latents = latents.lifted();
    let (image, w) = images(g, &latents, precision);
    let logits = d.forward_with(map(image.into()).value, latents.c, precision);
    (scores(logits, -1.0), w)
}

/// The discriminator's loss of generated images, $\log(1 + e^{D(x)})$.
///
/// # Shapes
///
/// - images: `[N, channels, R, R]`, c: `[N, c]`
pub fn discriminator_fake(
    d: &Discriminator,
    images: Tensor<4>,
    c: Option<Tensor<2>>,
    map: ImageMap<'_>,
    precision: Precision,
) -> Scores {
    scores(seen(d, images, c, map, precision), 1.0)
}

/// The discriminator's loss of real images, $\log(1 + e^{-D(x)})$.
///
/// # Shapes
///
/// - images: `[N, channels, R, R]`, c: `[N, c]`
pub fn discriminator_real(
    d: &Discriminator,
    images: Tensor<4>,
    c: Option<Tensor<2>>,
    map: ImageMap<'_>,
    precision: Precision,
) -> Scores {
    scores(seen(d, images, c, map, precision), -1.0)
}

fn seen(
    d: &Discriminator,
    images: Tensor<4>,
    c: Option<Tensor<2>>,
    map: ImageMap<'_>,
    precision: Precision,
) -> Tensor<2> {
    // Without gradients to the images: the map runs outside the graph.
    let images = map(images.into()).value.autodiff();
    d.forward_with(images, c.map(Tensor::autodiff), precision)
}

fn scores(logits: Tensor<2>, sign: f64) -> Scores {
    Scores {
        logits: logits.clone().detach().inner(),
        losses: Activation::Softplus.apply(logits * sign, 0.0),
    }
}

/// The outcome of the R1 penalty.
#[derive(Clone, Debug)]
pub struct R1 {
    /// $|\nabla_x D|^2$ per sample, `[N]`, untracked.
    pub penalties: Tensor<1>,
    /// The logits, `[N, 1]`, untracked.
    pub logits: Tensor<2>,
    /// A tracked number whose gradient is that of half the sum of the penalties.
    pub objective: Tensor<1>,
}

/// The R1 penalty (Mescheder et al. 2018, equation 9) with respect to the images before `map`.
///
/// `frozen` is `d` with no parameter tracked.
///
/// # Shapes
///
/// - images: `[N, channels, R, R]`, c: `[N, c]`
pub fn r1(
    d: &Discriminator,
    frozen: &Discriminator,
    images: Tensor<4>,
    c: Option<Tensor<2>>,
    map: ImageMap<'_>,
) -> R1 {
    let c = c.map(Tensor::autodiff);
    let x = images.clone().autodiff().require_grad();
    let logits = frozen.forward(map(x.clone().into()).value, c.clone());
    let v = x
        .grad(&logits.clone().sum().backward())
        .unwrap_or_else(|| images.zeros_like());
    let penalties = v.clone().square().sum_dims_squeeze::<1, _>(&[1, 2, 3]);
    let seen = map(Dual::new(images, v));
    let tangent = seen.clone().tangent_or_zero();
    let (_, along) = d.jvp(seen.value.autodiff(), tangent.autodiff(), c);
    R1 {
        penalties,
        logits: logits.detach().inner(),
        objective: along.sum(),
    }
}

/// The directions and lengths of the path-length penalty.
#[derive(Clone, Debug)]
pub struct PathLengths {
    /// $J_G^\top y$, `[N, num_ws, w]`.
    pub directions: Tensor<3>,
    /// $\sqrt{\mathrm{mean}_l \sum_k (J_G^\top y)_{lk}^2}$ of each sample.
    pub lengths: Vec<f64>,
}

/// The lengths of the images' response to W (Karras et al. 2020, section 3.2); also gives the w of
/// the first mapping pass, `[N, w]`.
///
/// `frozen` has no parameter tracked; `noise` is standard normal.
///
/// # Shapes
///
/// - noise: `[N, channels, R, R]`
pub fn path_lengths(
    frozen: &Generator,
    latents: &Latents,
    noise: Tensor<4>,
) -> (PathLengths, Tensor<2>) {
    let latents = latents.clone().lifted();
    let (ws, w) = styles(frozen, &latents);
    let ws = ws.detach().require_grad();
    let image = frozen
        .synthesis
        .forward(ws.clone(), &latents.options(Precision::Full));
    let response = (image * scaled(noise).autodiff()).sum();
    let directions = ws
        .grad(&response.backward())
        .unwrap_or_else(|| ws.clone().inner().zeros_like());
    let lengths = directions.clone().square().sum_dim(2).mean_dim(1).sqrt();
    let lengths = PathLengths {
        lengths: numbers(lengths),
        directions,
    };
    (lengths, w)
}

/// The penalties $(|j| - a)^2$ of a whole batch and their slopes.
#[derive(Clone, Debug, PartialEq)]
pub struct PathPenalty {
    /// One penalty per sample.
    pub penalties: Vec<f64>,
    /// The running mean $a$ of the lengths, this batch included.
    pub mean: f64,
    /// The derivative of the mean penalty with respect to each length.
    pub slopes: Vec<f64>,
}

/// Penalises distances of lengths from their running mean.
///
/// The mean moves first, $a = a' + d\,(\bar\ell - a')$, and the new value depends on the lengths
/// of the batch: that part of the derivative is in the slopes too.
pub fn path_penalty(lengths: &[f64], mean: f64, decay: f64) -> PathPenalty {
    let n = lengths.len() as f64;
    let batch = lengths.iter().sum::<f64>() / n;
    let mean = mean + decay * (batch - mean);
    let spread: f64 = lengths.iter().map(|l| 2.0 * (l - mean)).sum::<f64>() / n;
    PathPenalty {
        penalties: lengths.iter().map(|l| (l - mean).powi(2)).collect(),
        slopes: lengths
            .iter()
            .map(|l| 2.0 * (l - mean) / n - spread * decay / n)
            .collect(),
        mean,
    }
}

/// A tracked number whose gradient is that of the penalty with the given slopes.
///
/// # Shapes
///
/// - noise: `[N, channels, R, R]`, as for [`path_lengths`]
pub fn path_objective(
    g: &Generator,
    latents: Latents,
    noise: Tensor<4>,
    paths: PathLengths,
    slopes: &[f64],
) -> Tensor<1> {
    let [n, rows, _] = paths.directions.dims();
    // d |j| / d j = j / (rows |j|); a length of zero has no direction.
    let scale: Vec<f64> = slopes
        .iter()
        .zip(&paths.lengths)
        .map(|(s, l)| if *l > 0.0 { s / (l * rows as f64) } else { 0.0 })
        .collect();
    let device = paths.directions.device();
    let scale = TensorData::new(scale, [n, 1, 1]);
    let scale = Tensor::<3>::from_data(scale, (&device, paths.directions.dtype()));
    let u = (paths.directions * scale).autodiff();
    let latents = latents.lifted();
    let options = latents.options(Precision::Full);
    let (ws, _) = styles(g, &latents);
    let (_, tangent) = g.synthesis.jvp(ws, u, &options);
    (tangent * scaled(noise).autodiff()).sum()
}

/// $y / \sqrt{H W}$.
fn scaled(noise: Tensor<4>) -> Tensor<4> {
    let [_, _, h, w] = noise.dims();
    noise * (1.0 / ((h * w) as f64).sqrt())
}

/// The values of a small tensor.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor
        .into_data_dtype(burn::tensor::DType::F64)
        .try_to_vec()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_differences_of_the_mean_penalty() {
        let lengths = [0.4, 1.3, 0.9, 2.0];
        let total = |l: &[f64]| {
            let p = path_penalty(l, 0.7, 0.01);
            p.penalties.iter().sum::<f64>() / l.len() as f64
        };
        let found = path_penalty(&lengths, 0.7, 0.01);
        for k in 0..lengths.len() {
            let h = 1e-6;
            let (mut up, mut down) = (lengths, lengths);
            up[k] += h;
            down[k] -= h;
            let difference = (total(&up) - total(&down)) / (2.0 * h);
            assert!((difference - found.slopes[k]).abs() < 1e-8);
        }
        assert!((found.mean - (0.7 + 0.01 * (1.15 - 0.7))).abs() < 1e-12);
    }
}
