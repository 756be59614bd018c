//! Inversion by optimisation: in Z, W or W+, or in one after the other.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::adam::{Adam, Moments};
use crate::decoder::{Decoder, check_images};
use crate::device::read;
use crate::distribution::{WDistribution, Whitening};
use crate::draws::Draws;
use crate::error::{Error, Result};
use crate::lpips::Lpips;
use crate::objective::{At, Objective, Target, Terms};
use crate::preimage::preimage;

/// Which latents are sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// One z: w stays among those that the mapping network makes. For generators whose Z is much
    /// narrower than W; the coordinates are z, whatever [`Projector::coordinates`] says.
    Z,
    /// One w for all layers.
    W,
    /// A row for each layer.
    WPlus,
}

/// Coordinates the optimiser moves in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coordinates {
    /// W itself.
    Plain,
    /// $L^{-1} (w - \mu)$: a step goes furthest where latents differ most.
    Whitened,
}

/// Settings of an optimisation.
///
/// The learning rate at $t$ = step / steps is `learning_rate` times
/// $(1 - \cos(\pi \min(1, (1 - t) / \text{ramp\_down}))) / 2$ times
/// $\min(1, t / \text{ramp\_up})$, and w is disturbed by normal numbers of
/// $\sigma_w\,\text{w\_noise} \max(0, 1 - t / \text{w\_noise\_until})^2$.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Projector {
    /// Which latents are sought.
    pub space: Space,
    /// Coordinates the optimiser moves in.
    pub coordinates: Coordinates,
    /// Number of steps.
    pub steps: usize,
    /// Adam's learning rate at its height.
    pub learning_rate: f64,
    /// Adam's decays of the mean and of the mean square of the gradient, 0.9 and 0.999 as published. A few dozen
    /// steps go further with shorter memories.
    pub betas: [f64; 2],
    /// Share of the steps in which the learning rate rises.
    pub ramp_up: f64,
    /// Share of the steps in which it falls.
    pub ramp_down: f64,
    /// Strength of the disturbance of w at the start.
    pub w_noise: f64,
    /// Share of the steps after which w is not disturbed any more.
    pub w_noise_until: f64,
    /// Whether the noise images are optimised, too.
    pub optimise_noise: bool,
    /// What is minimised.
    pub objective: Objective,
}

impl Default for Projector {
    /// W in whitened coordinates, 200 steps, noise images as they are.
    fn default() -> Self {
        Self {
            space: Space::W,
            coordinates: Coordinates::Whitened,
            steps: 200,
            learning_rate: 0.1,
            betas: [0.9, 0.999],
            ramp_up: 0.05,
            ramp_down: 0.5,
            w_noise: 0.0,
            w_noise_until: 0.75,
            optimise_noise: false,
            objective: Objective::default(),
        }
    }
}

impl Projector {
    /// The published projector: 1,000 steps in W, with noise images.
    pub fn published() -> Self {
        Self {
            space: Space::W,
            coordinates: Coordinates::Plain,
            steps: 1000,
            learning_rate: 0.1,
            betas: [0.9, 0.999],
            ramp_up: 0.05,
            ramp_down: 0.25,
            w_noise: 0.05,
            w_noise_until: 0.75,
            optimise_noise: true,
            objective: Objective::published(),
        }
    }

    /// Sets the number of steps.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Sets the latents that are sought.
    pub fn with_space(mut self, space: Space) -> Self {
        self.space = space;
        self
    }

    /// Sets the objective.
    pub fn with_objective(mut self, objective: Objective) -> Self {
        self.objective = objective;
        self
    }

    /// Sets the learning rate.
    pub fn with_learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// Sets Adam's decays.
    pub fn with_betas(mut self, betas: [f64; 2]) -> Self {
        self.betas = betas;
        self
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        self.objective.validate()?;
        let range = |name, value: f64, least: f64, most: f64| {
            if value >= least && value <= most {
                return Ok(());
            }
            Err(Error::Argument {
                name,
                reason: format!("{value}; from {least} to {most} is taken"),
            })
        };
        range("learning_rate", self.learning_rate, 0.0, 1e6)?;
        range("betas", self.betas[0], 0.0, 1.0 - f64::EPSILON)?;
        range("betas", self.betas[1], 0.0, 1.0 - f64::EPSILON)?;
        range("ramp_up", self.ramp_up, 0.0, 1.0)?;
        range("ramp_down", self.ramp_down, 0.0, 1.0)?;
        range("w_noise", self.w_noise, 0.0, 1e6)?;
        range("w_noise_until", self.w_noise_until, f64::MIN_POSITIVE, 1.0)
    }

    /// The learning rate of a step, from 0.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        let t = step as f64 / self.steps as f64;
        let share = |part: f64, whole: f64| {
            if whole > 0.0 {
                (part / whole).min(1.0)
            } else {
                1.0
            }
        };
        let down = 0.5 - 0.5 * (std::f64::consts::PI * share(1.0 - t, self.ramp_down)).cos();
        self.learning_rate * down * share(t, self.ramp_up)
    }

    /// Optimises the latents of a batch of photos, from the mean latent or from `start`
    /// (`[N, 1 or num_ws, w_dim]`).
    ///
    /// Every photo's result depends on its own pixels, start and draws alone. In W+ the first row
    /// of the start is what `delta` measures from. The observer sees the terms at every step,
    /// before the step is made; when it breaks off, what was reached is the result.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for settings out of range, images of another size than the generator's, or
    /// a start of another shape; [`Error::NotFinite`] if a photo's loss is; [`Error::OutOfMemory`] or
    /// [`Error::Device`] if the device says so.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        decoder: &dyn Decoder,
        lpips: &Lpips,
        distribution: &WDistribution,
        target: &Target,
        start: Option<Tensor<3>>,
        draws: &dyn Draws,
        observer: &mut dyn FnMut(usize, &Terms, &State) -> ControlFlow<()>,
    ) -> Result<State> {
        self.validate()?;
        check_images(decoder, &target.images)?;
        let (n, d) = (target.len(), decoder.w_dim());
        let rows = match self.space {
            Space::Z | Space::W => 1,
            Space::WPlus => decoder.num_ws(),
        };
        let device = decoder.device();
        let whitening = distribution.on(&device);
        let start = match start {
            None => whitening.mean.clone().expand([n, 1, d]),
            Some(start) => start.inner(),
        };
        let [sn, srows, sd] = start.dims();
        if sn != n || sd != d || (srows != 1 && srows != rows) {
            return Err(Error::Argument {
                name: "start",
                reason: format!("{:?} instead of [{n}, 1 or {rows}, {d}]", start.dims()),
            });
        }
        let pivot = (rows > 1).then(|| start.clone().slice([0..n, 0..1, 0..d]));
        let start = if srows < rows {
            start.expand([n, rows, d])
        } else {
            start
        };
        let mut values = match (self.space, self.coordinates) {
            (Space::Z, _) => preimage(decoder, start.reshape([n, d]))?.unsqueeze_dim(1),
            (_, Coordinates::Plain) => start,
            (_, Coordinates::Whitened) => whitening.whiten(start),
        };
        let mut moments = Moments::zeros(&values);
        let mut noise = NoiseImages::draw(self.optimise_noise, decoder, n, draws);
        let adam = Adam {
            beta1: self.betas[0],
            beta2: self.betas[1],
            ..Adam::default()
        };
        for step in 0..self.steps {
            let t = step as f64 / self.steps as f64;
            let leaf = values.clone().autodiff().require_grad();
            let ws = self.latent(decoder, &whitening, leaf.clone());
            let strength =
                distribution.std() * self.w_noise * (1.0 - t / self.w_noise_until).max(0.0).powi(2);
            let disturbed = if strength > 0.0 {
                let draw: Vec<f32> = (0..n).flat_map(|k| draws.w(k, step, d)).collect();
                let draw = Tensor::<3>::from_data(TensorData::new(draw, [n, 1, d]), &device);
                ws.clone() + draw * strength
            } else {
                ws.clone()
            };
            let leaves = noise.leaves();
            let full = disturbed.expand([n, decoder.num_ws(), d]);
            let image = decoder.decode(full, leaves.as_deref());
            let terms = self.objective.terms(
                lpips,
                target,
                &At {
                    ws: &ws,
                    pivot: pivot.as_ref(),
                    image: &image,
                    noise: leaves.as_deref(),
                    whitening: &whitening,
                },
            );
            let total = terms.total();
            check_finite(&total, step)?;
            // One photo's latent is in no other photo's term.
            let gradients = total.sum().backward();
            let state = || State {
                ws: self.latent(decoder, &whitening, values.clone()),
                noise: noise.images.clone(),
                steps: step,
            };
            if observer(step, &terms, &state()).is_break() {
                return Ok(state());
            }
            let rate = self.learning_rate_at(step);
            let gradient = leaf.grad(&gradients).unwrap_or_else(|| values.zeros_like());
            values = adam.step(&mut moments, values, gradient, rate);
            if let Some(leaves) = leaves {
                noise.step(&leaves, &gradients, adam, rate);
            }
        }
        Ok(State {
            ws: self.latent(decoder, &whitening, values),
            noise: noise.images,
            steps: self.steps,
        })
    }

    /// The latent at the optimiser's coordinates.
    fn latent(&self, decoder: &dyn Decoder, whitening: &Whitening, values: Tensor<3>) -> Tensor<3> {
        match (self.space, self.coordinates) {
            (Space::Z, _) => decoder.map(values.squeeze_dim(1)).unsqueeze_dim(1),
            (_, Coordinates::Plain) => values,
            (_, Coordinates::Whitened) => whitening.colour(values),
        }
    }
}

/// Latents on the way, and at its end.
#[derive(Clone, Debug)]
pub struct State {
    /// `[N, 1 or num_ws, w_dim]`
    pub ws: Tensor<3>,
    /// The optimised noise images, `[N, 1, R, R]` each.
    pub noise: Option<Vec<Tensor<4>>>,
    /// Steps made.
    pub steps: usize,
}

impl State {
    /// The images reached.
    ///
    /// # Shapes
    ///
    /// - output: `[N, C, H, W]`
    pub fn decode(&self, decoder: &dyn Decoder) -> Tensor<4> {
        let [n, _, d] = self.ws.dims();
        let ws = self.ws.clone().expand([n, decoder.num_ws(), d]);
        decoder.decode(ws, self.noise.as_deref())
    }
}

/// Noise images under optimisation, if any.
struct NoiseImages {
    images: Option<Vec<Tensor<4>>>,
    moments: Vec<Moments<4>>,
}

impl NoiseImages {
    fn draw(wanted: bool, decoder: &dyn Decoder, n: usize, draws: &dyn Draws) -> Self {
        let sides = decoder.noise_sides();
        let images: Option<Vec<Tensor<4>>> = (wanted && !sides.is_empty()).then(|| {
            let maps = sides.iter().enumerate();
            maps.map(|(map, &side)| {
                let values = (0..n).flat_map(|photo| draws.noise(photo, map, side));
                let data = TensorData::new(values.collect::<Vec<f32>>(), [n, 1, side, side]);
                Tensor::from_data(data, &decoder.device())
            })
            .collect()
        });
        let moments = images.iter().flatten().map(Moments::zeros).collect();
        Self { images, moments }
    }

    fn leaves(&self) -> Option<Vec<Tensor<4>>> {
        let images = self.images.as_ref()?.iter();
        Some(
            images
                .map(|x| x.clone().autodiff().require_grad())
                .collect(),
        )
    }

    /// An update, after which every image has mean 0 and mean square 1 again.
    fn step(
        &mut self,
        leaves: &[Tensor<4>],
        gradients: &burn::tensor::Gradients,
        adam: Adam,
        rate: f64,
    ) {
        let images = self.images.iter_mut().flatten();
        for ((image, moments), leaf) in images.zip(&mut self.moments).zip(leaves) {
            let gradient = leaf.grad(gradients).unwrap_or_else(|| image.zeros_like());
            let moved = adam.step(moments, image.clone(), gradient, rate);
            let centred = moved.clone() - moved.mean_dim(3).mean_dim(2);
            let square = (centred.clone() * centred.clone()).mean_dim(3).mean_dim(2);
            *image = centred / square.sqrt();
        }
    }
}

fn check_finite(total: &Tensor<1>, step: usize) -> Result<()> {
    let values = read(total.clone().inner())?;
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(photo) => Err(Error::NotFinite {
            index: photo,
            id: None,
            reason: format!(
                "the loss is {} at step {step}; a lower learning rate may help",
                values[photo]
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schedule_by_hand() {
        let projector = Projector::published();
        let rate = |step| projector.learning_rate_at(step);
        assert!(rate(0).abs() < 1e-12);
        assert!((rate(25) - 0.05).abs() < 1e-12);
        assert!((rate(400) - 0.1).abs() < 1e-12);
        // Half way down: 1 - t is 0.125 of 0.25.
        assert!((rate(875) - 0.05).abs() < 1e-12);
        assert!(rate(999) < 1e-5);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let mut projector = Projector {
            ramp_up: -0.1,
            ..Projector::default()
        };
        let text = projector.validate().unwrap_err().to_string();
        assert!(text.contains("ramp_up") && text.contains("-0.1"), "{text}");
        projector.ramp_up = 0.0;
        projector.betas = [0.9, 1.0];
        assert!(
            projector
                .validate()
                .unwrap_err()
                .to_string()
                .contains("betas")
        );
        projector.betas = [0.7, 0.9];
        projector.learning_rate = f64::NAN;
        assert!(projector.validate().is_err());
    }
}
