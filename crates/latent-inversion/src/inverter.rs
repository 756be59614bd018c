//! From a batch of photos to latents with their quality: the methods.

use std::ops::ControlFlow;
use std::time::Instant;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::decoder::{Decoder, broadcast};
use crate::device::{guarded, read};
use crate::distribution::WDistribution;
use crate::draws::CounterDraws;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::gauss_newton::GaussNewton;
use crate::lpips::Lpips;
use crate::objective::{Objective, Target};
use crate::projector::{Projector, Space, State};
use crate::quality::{Quality, Thresholds, compare};

/// Iterations of Gauss-Newton that take the place of [`STEPS`] steps of Adam.
const ITERATIONS: usize = 3;
const STEPS: usize = 10;
/// LPIPS (AlexNet) of two pictures that nobody tells apart.
const CLOSE: f64 = 0.002;

/// How latents are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The encoder's latent, then short optimisations of W and W+.
    #[default]
    Default,
    /// The published projector: W from the mean latent, with noise images, which are not kept: the quality
    /// is that of w with the generator's own noise. W+ is w in every row. Published in all it does it is
    /// with [`WDistribution::published`] and VGG16's LPIPS as [`Tools`].
    Projector,
    /// The encoder's latent alone.
    Encoder,
    /// W from the mean latent, then W+ tied to it.
    Hybrid,
}

impl Method {
    /// Whether it needs an [`Encoder`].
    pub fn needs_encoder(self) -> bool {
        matches!(self, Self::Default | Self::Encoder)
    }
}

/// Settings of an inversion: a [`Method`], and how long it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inverter {
    /// How latents are found.
    pub method: Method,
    /// The optimisation of w, in W or in Z; no steps for [`Method::Encoder`].
    pub in_w: Projector,
    /// What seeks w in its place, where Z is narrow and an encoder says where to begin.
    pub in_z: Option<GaussNewton>,
    /// The optimisation of W+ after it; no steps for [`Method::Projector`].
    pub in_w_plus: Projector,
    /// LPIPS of w's picture up to which W+ stays w: it is the photo already, and steps in W+ would only
    /// lead away from it. 0.002 for [`Method::Default`], 0 for the others.
    pub close: f64,
    /// When a result is trusted.
    pub thresholds: Thresholds,
    /// Seed of the random numbers, which depend on it and the photo's id.
    pub seed: u64,
}

impl Default for Inverter {
    fn default() -> Self {
        Self::new(Method::Default)
    }
}

/// What inversion works with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// The generator.
    pub decoder: &'a dyn Decoder,
    /// The perceptual distance.
    pub lpips: &'a Lpips,
    /// The generator's latents.
    pub distribution: &'a WDistribution,
    /// For the methods that need one.
    pub encoder: Option<&'a Encoder>,
}

/// The latents of a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct Inversion {
    /// For the survival model: one latent, `[w_dim]`.
    pub w: Vec<f32>,
    /// For pictures: a row per layer, `[num_ws, w_dim]`.
    pub w_plus: Vec<f32>,
    /// How good they are.
    pub quality: Quality,
}

impl Inverter {
    /// A method with its usual numbers of steps.
    ///
    /// | method | steps in W | steps in W+ |
    /// | --- | --- | --- |
    /// | default | 40 | 60 |
    /// | projector | 1000 | 0 |
    /// | encoder | 0 | 0 |
    /// | hybrid | 200 | 100 |
    pub fn new(method: Method) -> Self {
        let plus = Projector::default().with_space(Space::WPlus);
        let (in_w, in_w_plus) = match method {
            Method::Default => {
                let in_w = Projector::default().with_steps(40).with_learning_rate(0.05);
                // Few steps: what decides is LPIPS, and there is no time to go far from w.
                let objective = Objective {
                    squared: 0.1,
                    delta: 0.0003,
                    ..plus.objective
                };
                let plus = plus.with_steps(60).with_objective(objective);
                (in_w, plus.with_learning_rate(0.15).with_betas([0.7, 0.9]))
            }
            Method::Projector => (Projector::published(), plus.with_steps(0)),
            Method::Encoder => (Projector::default().with_steps(0), plus.with_steps(0)),
            Method::Hybrid => (Projector::default(), plus.with_steps(100)),
        };
        Self {
            method,
            in_w,
            in_z: None,
            in_w_plus,
            close: if method == Method::Default {
                CLOSE
            } else {
                0.0
            },
            thresholds: Thresholds::default(),
            seed: 0,
        }
    }

    /// As it suits a generator of these widths: where Z is at most a quarter as wide as W, w is sought in Z and so
    /// among the generator's own latents, which a picture then tells apart; by the default method with
    /// Gauss-Newton, three iterations for ten steps, where Z is at most 64 wide. The published
    /// projector stays as it is.
    pub fn suited_to(mut self, z_dim: usize, w_dim: usize) -> Self {
        if self.method != Method::Projector && 4 * z_dim <= w_dim {
            self.in_w.space = Space::Z;
            self.in_w.learning_rate = 0.1;
            self.in_z = (self.method == Method::Default && z_dim <= 64).then(GaussNewton::default);
        }
        self
    }

    /// Gauss-Newton in Z with as many iterations as the steps in W stand for.
    fn gauss_newton(&self) -> Option<GaussNewton> {
        let iterations = (self.in_w.steps * ITERATIONS).div_ceil(STEPS);
        self.in_z.map(|in_z| in_z.with_iterations(iterations))
    }

    /// Sets the number of steps in all, shared between W and W+ as by default.
    pub fn with_steps(mut self, steps: usize) -> Self {
        let before = self.in_w.steps + self.in_w_plus.steps;
        if let Some(in_w) = (self.in_w.steps * steps).checked_div(before) {
            self.in_w.steps = in_w;
            self.in_w_plus.steps = steps - in_w;
        }
        self
    }

    /// Sets the seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Refuses settings out of range, or a method whose encoder is missing or does not fit.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`].
    pub fn validate(&self, tools: &Tools<'_>) -> Result<()> {
        self.in_w.validate()?;
        if let Some(in_z) = &self.in_z {
            in_z.validate()?;
        }
        self.in_w_plus.validate()?;
        match (self.method.needs_encoder(), tools.encoder) {
            (true, None) => Err(Error::Argument {
                name: "encoder",
                reason: "this method starts from an encoder; train one, or take another method"
                    .to_owned(),
            }),
            (true, Some(encoder)) => encoder.check(tools.decoder),
            (false, _) => Ok(()),
        }
    }

    /// Finds the latents of a batch of photos.
    ///
    /// A photo's result depends on its own pixels and id and on the settings, not on what else is
    /// in the batch. The observer sees the number of steps made, of how many; when it breaks off,
    /// nothing is returned.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]` in [-1, 1], the generator's size
    ///
    /// # Errors
    ///
    /// As [`Inverter::validate`] and [`Projector::run`]; [`Error::Argument`] if there are not as
    /// many ids as images; [`Error::NotFinite`] with the id of a photo whose latent's picture, LPIPS or PSNR
    /// is no number; [`Error::OutOfMemory`] if the device's memory is full: fewer photos at
    /// once may fit, but one alone takes as much as two.
    pub fn invert<S: AsRef<str>>(
        &self,
        tools: &Tools<'_>,
        images: Tensor<4>,
        ids: &[S],
        observer: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<Inversion>>> {
        self.validate(tools)?;
        let n = images.dims()[0];
        if ids.len() != n {
            return Err(Error::Argument {
                name: "ids",
                reason: format!("{} for {n} images", ids.len()),
            });
        }
        if n == 1 {
            // What has a single row goes another way in the back end and rounds otherwise.
            let twice = images.repeat_dim(0, 2);
            let found = self.invert(tools, twice, &[ids[0].as_ref(); 2], observer)?;
            return Ok(found.map(|mut found| {
                found.truncate(1);
                found[0].quality.seconds *= 2.0;
                found
            }));
        }
        guarded(|| self.batch(tools, images, ids, observer)).map_err(|error| error.named(ids))
    }

    fn batch<S: AsRef<str>>(
        &self,
        tools: &Tools<'_>,
        images: Tensor<4>,
        ids: &[S],
        observer: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<Inversion>>> {
        let n = ids.len();
        let started = Instant::now();
        let decoder = tools.decoder;
        let (d, rows) = (decoder.w_dim(), decoder.num_ws());
        let target = Target::new(tools.lpips, images.clone());
        let start = match tools.encoder {
            Some(encoder) if self.method.needs_encoder() => {
                let w = encoder.encode_for(decoder, images)?;
                Some(w.reshape([n, 1, d]))
            }
            _ => None,
        };
        let total = self.in_w.steps + self.in_w_plus.steps;
        let batch = Batch {
            tools,
            target,
            ids: ids.iter().map(AsRef::as_ref).collect(),
            seed: self.seed,
            total,
        };
        let all: Vec<usize> = (0..n).collect();
        // Of each photo, as Gauss-Newton may end early.
        let mut made_in_w = vec![self.in_w.steps; n];
        let found = match (self.gauss_newton(), start) {
            (Some(search), Some(start)) => {
                made_in_w.fill(0);
                let whole = (n * search.iterations).max(1);
                let mut stopped = false;
                let found = search.run(
                    decoder,
                    tools.lpips,
                    tools.distribution,
                    &batch.target,
                    start,
                    &mut |photo, made| {
                        made_in_w[photo] = made;
                        let done = (photo * search.iterations + made) * self.in_w.steps / whole;
                        let flow = observer(done, total);
                        stopped = flow.is_break();
                        flow
                    },
                )?;
                (!stopped).then_some(found)
            }
            (_, start) => batch.run(observer, &self.in_w, &all, start, 0)?,
        };
        let Some(found) = found else {
            return Ok(None);
        };
        let w = found.ws.clone();
        let in_w = stored(found).decode(decoder);
        let of_w = compare(tools.lpips, &batch.target, &in_w)?;
        finite(&of_w, "the picture of w")?;
        let mut of_w_plus = of_w.clone();
        let mut w_plus = read(broadcast(w.clone().reshape([n, d]), rows))?;
        let mut open: Vec<usize> = (0..n).filter(|k| of_w[*k][0] > self.close).collect();
        if self.in_w_plus.steps == 0 {
            open.clear();
        }
        if !open.is_empty() {
            let refined = batch.refine(observer, &self.in_w_plus, &open, &w, self.in_w.steps)?;
            let Some(refined) = refined else {
                return Ok(None);
            };
            for (k, (ws, found)) in open.iter().zip(refined) {
                w_plus[k * rows * d..][..rows * d].copy_from_slice(&ws);
                of_w_plus[*k] = found;
            }
            finite(&of_w_plus, "the picture of w_plus")?;
        }
        let w = read(w)?;
        let seconds = started.elapsed().as_secs_f64() / n as f64;
        let each = w.chunks_exact(d).zip(w_plus.chunks_exact(rows * d));
        let results = each.zip(of_w.iter().zip(&of_w_plus)).enumerate();
        let results = results.map(|(k, ((w, w_plus), (&[lpips_w, psnr_w], &[lpips, psnr])))| {
            let made_in_w_plus = if open.contains(&k) {
                self.in_w_plus.steps
            } else {
                0
            };
            let mahalanobis = tools.distribution.mahalanobis(w);
            Inversion {
                w: w.to_vec(),
                w_plus: w_plus.to_vec(),
                quality: Quality {
                    lpips,
                    lpips_w,
                    psnr,
                    psnr_w,
                    mahalanobis,
                    iterations: made_in_w[k] + made_in_w_plus,
                    seconds,
                    trusted: self
                        .thresholds
                        .holds(lpips_w, mahalanobis, tools.distribution),
                },
            }
        });
        Ok(Some(results.collect()))
    }
}

/// What the optimisations of a batch of photos share.
struct Batch<'a> {
    tools: &'a Tools<'a>,
    target: Target,
    ids: Vec<&'a str>,
    seed: u64,
    /// Steps in all, as the observer counts them.
    total: usize,
}

impl Batch<'_> {
    /// Some of the photos from where they start; nothing when the observer breaks off.
    fn run(
        &self,
        observer: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
        projector: &Projector,
        photos: &[usize],
        start: Option<Tensor<3>>,
        before: usize,
    ) -> Result<Option<State>> {
        let mut stopped = false;
        let ids: Vec<&str> = photos.iter().map(|k| self.ids[*k]).collect();
        let state = projector.run(
            self.tools.decoder,
            self.tools.lpips,
            self.tools.distribution,
            &self.target.select(photos),
            start,
            &CounterDraws::new(self.seed, &ids),
            &mut |step, _, _| {
                let flow = observer(before + step, self.total);
                stopped = flow.is_break();
                flow
            },
        );
        // The place among these photos is that of the batch here.
        let state = state.map_err(|error| match error {
            Error::NotFinite { index, id, reason } => Error::NotFinite {
                index: photos[index],
                id,
                reason,
            },
            error => error,
        })?;
        Ok((!stopped).then_some(state))
    }

    /// W+ of some of the photos, from their w, with LPIPS and PSNR; nothing when the observer breaks off.
    #[expect(clippy::type_complexity, reason = "read where it is made")]
    fn refine(
        &self,
        observer: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
        projector: &Projector,
        photos: &[usize],
        w: &Tensor<3>,
        before: usize,
    ) -> Result<Option<Vec<(Vec<f32>, [f64; 2])>>> {
        // Twice, if it is alone: as in `invert`.
        let twice = [photos[0]; 2];
        let photos = if photos.len() == 1 { &twice } else { photos };
        let start = photos.iter().map(|k| w.clone().narrow(0, *k, 1));
        let start = Tensor::cat(start.collect(), 0);
        let Some(state) = self.run(observer, projector, photos, Some(start), before)? else {
            return Ok(None);
        };
        let width = state.ws.dims()[1] * state.ws.dims()[2];
        let ws = read(state.ws.clone())?;
        let images = stored(state).decode(self.tools.decoder);
        let found = compare(self.tools.lpips, &self.target.select(photos), &images)?;
        let each = ws.chunks_exact(width).map(<[f32]>::to_vec);
        Ok(Some(each.zip(found).collect()))
    }
}

/// Refuses LPIPS or PSNR that is no number.
fn finite(found: &[[f64; 2]], of: &str) -> Result<()> {
    let bad = |values: &[f64; 2]| values.iter().any(|v| !v.is_finite());
    let Some(index) = found.iter().position(bad) else {
        return Ok(());
    };
    let [lpips, psnr] = found[index];
    Err(Error::NotFinite {
        index,
        id: None,
        reason: format!("LPIPS of {of} is {lpips}, PSNR {psnr}"),
    })
}

/// What is stored of what was found: the latents. Their quality is that of their own pictures, with the
/// generator's noise, not with noise images that were optimised beside them and are dropped.
fn stored(found: State) -> State {
    State {
        noise: None,
        ..found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_shared_as_by_default() {
        let steps = |method, steps| {
            let inverter = Inverter::new(method).with_steps(steps);
            (inverter.in_w.steps, inverter.in_w_plus.steps)
        };
        assert_eq!(steps(Method::Default, 21), (8, 13));
        assert_eq!(steps(Method::Projector, 7), (7, 0));
        assert_eq!(steps(Method::Encoder, 7), (0, 0));
        assert_eq!(steps(Method::Hybrid, 30), (20, 10));
    }
}
