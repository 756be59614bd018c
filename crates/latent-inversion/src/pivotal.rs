//! Pivotal tuning: the generator moved a little, so that a latent's picture becomes the photo.

use std::ops::ControlFlow;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use stylegan2_burn::train::{trained_gradients, trained_values, with_trained_values};
use stylegan2_burn::{Generator, Modulation, Noise, Synthesis, SynthesisOptions};

use crate::adam::{Adam, Moments};
use crate::decoder::{Decoder, StyleGan2, broadcast, check_images};
use crate::device::{guarded, read};
use crate::draws::{normals, rng};
use crate::error::{Error, Result};
use crate::lpips::Lpips;
use crate::objective::{Target, to_256};
use crate::quality::compare;

/// Settings of pivotal tuning (Roich et al. 2021, "Pivotal Tuning for Latent-based Editing of Real
/// Images", equations 3 to 6).
///
/// The latents (the pivots) stay; the synthesis network $\theta$ is trained with Adam on
/// $\mathrm{LPIPS}(x, G(w_p; \theta)) + \lambda_2 \operatorname{mean}(x - G(w_p; \theta))^2$ and, so
/// that it changes near the pivots only, on $\lambda_R$ times the same two terms between $G(w_r; \theta)$
/// and $G(w_r; \theta_0)$ at $w_r = w_p + \alpha (w_z - w_p) / \lVert w_z - w_p \rVert$, where $w_z$
/// is drawn anew at every step. The mapping network and the noise images stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PivotalTuning {
    /// Most steps.
    pub steps: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Weight of the mean squared difference of pixels, $\lambda_2$.
    pub squared: f64,
    /// Weight of what keeps other latents' pictures, $\lambda_R$; 0 leaves it out.
    pub locality: f64,
    /// How far from the pivot that is asked for, $\alpha$, in units of w.
    pub distance: f64,
    /// LPIPS of every photo at which it ends early.
    pub enough: f64,
    /// Seed of the latents $w_z$.
    pub seed: u64,
}

impl Default for PivotalTuning {
    fn default() -> Self {
        Self {
            steps: 350,
            learning_rate: 3e-4,
            squared: 1.0,
            locality: 0.1,
            distance: 30.0,
            enough: 0.0,
            seed: 0,
        }
    }
}

/// A generator tuned around the latents of some photos.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The generator.
    pub decoder: StyleGan2,
    /// LPIPS and PSNR (dB) of each photo and its picture.
    pub quality: Vec<[f64; 2]>,
    /// Steps made.
    pub steps: usize,
}

impl PivotalTuning {
    /// Refuses settings out of range.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        for (name, value, most) in [
            ("learning_rate", self.learning_rate, 1.0),
            ("squared", self.squared, 1e6),
            ("locality", self.locality, 1e6),
            ("distance", self.distance, 1e6),
            ("enough", self.enough, 1e6),
        ] {
            if !(value >= 0.0 && value <= most) {
                return Err(Error::Argument {
                    name,
                    reason: format!("{value}; from 0 to {most} is taken"),
                });
            }
        }
        Ok(())
    }

    /// Tunes `decoder` for photos and their latents together; `decoder` itself stays.
    ///
    /// The observer sees the number of steps made and the photos' losses without locality; when it
    /// breaks off, what was reached is the result.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]` in [-1, 1], the generator's size
    /// - ws: `[N, 1 or num_ws, w_dim]`
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for settings out of range or shapes that do not fit; [`Error::NotFinite`] for
    /// a loss that is not finite; [`Error::OutOfMemory`] if the device's memory is full.
    pub fn run(
        &self,
        decoder: &StyleGan2,
        lpips: &Lpips,
        images: Tensor<4>,
        ws: Tensor<3>,
        observer: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>,
    ) -> Result<Tuned> {
        guarded(|| self.tune(decoder, lpips, images, ws, observer))
    }

    fn tune(
        &self,
        decoder: &StyleGan2,
        lpips: &Lpips,
        images: Tensor<4>,
        ws: Tensor<3>,
        observer: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>,
    ) -> Result<Tuned> {
        self.validate()?;
        check_images(decoder, &images)?;
        let (n, rows, d) = (images.dims()[0], decoder.num_ws(), decoder.w_dim());
        let [wn, wrows, wd] = ws.dims();
        if wn != n || wd != d || (wrows != 1 && wrows != rows) {
            return Err(Error::Argument {
                name: "ws",
                reason: format!("{:?} instead of [{n}, 1 or {rows}, {d}]", ws.dims()),
            });
        }
        let ws = ws.inner().expand([n, rows, d]);
        let target = Target::new(lpips, images);
        let plain = decoder.generator();
        let mut synthesis = trainable(plain.synthesis.clone().train());
        let mut values = trained_values(&synthesis);
        let mut moments = Moments::zeros(&values);
        let mut steps = 0;
        while steps < self.steps {
            let image = picture(&synthesis, ws.clone());
            let loss = self.difference(lpips, &target, &image);
            let found = read(loss.clone().inner())?;
            if let Some(photo) = found.iter().position(|v| !v.is_finite()) {
                return Err(Error::NotFinite {
                    index: photo,
                    id: None,
                    reason: format!(
                        "the loss is {} at step {steps}; a lower learning rate may help",
                        found[photo]
                    ),
                });
            }
            let enough = self.enough > 0.0
                && compare(lpips, &target, &image.clone().inner())?
                    .iter()
                    .all(|[distance, _]| *distance <= self.enough);
            if enough || observer(steps, &found).is_break() {
                break;
            }
            let mut total = loss.sum();
            if self.locality > 0.0 {
                let near = self.elsewhere(decoder, &ws, steps);
                let before = Target::new(lpips, decoder.decode(near.clone(), None));
                let after = picture(&synthesis, near);
                total = total + self.difference(lpips, &before, &after).sum() * self.locality;
            }
            let gradient = trained_gradients(&synthesis, &total.backward());
            values = Adam::default().step(&mut moments, values, gradient, self.learning_rate);
            synthesis = with_trained_values(synthesis, values.clone());
            steps += 1;
        }
        let tuned = Generator {
            mapping: plain.mapping.clone(),
            synthesis: synthesis.valid(),
        };
        let decoder = StyleGan2::new(&tuned)?;
        let quality = compare(lpips, &target, &decoder.decode(ws, None))?;
        Ok(Tuned {
            decoder,
            quality,
            steps,
        })
    }

    /// `[N]`
    fn difference(&self, lpips: &Lpips, target: &Target, image: &Tensor<4>) -> Tensor<1> {
        let n = image.dims()[0];
        let features = lpips.features(to_256(image.clone()));
        let apart = image.clone() - target.images.clone().autodiff();
        let squares = apart.clone() * apart;
        let mean = squares.mean_dim(3).mean_dim(2).mean_dim(1).reshape([n]);
        lpips.distance(&features, &target.features) + mean * self.squared
    }

    /// Latents at the given distance from the pivots, `[N, num_ws, w_dim]`.
    fn elsewhere(&self, decoder: &StyleGan2, ws: &Tensor<3>, step: usize) -> Tensor<3> {
        let [n, rows, _] = ws.dims();
        let z_dim = decoder.z_dim();
        let z = normals(&mut rng(self.seed, step as u64), n * z_dim);
        let z = Tensor::from_data(TensorData::new(z, [n, z_dim]), &decoder.device());
        let away = broadcast(decoder.map(z), rows) - ws.clone();
        let length = (away.clone() * away.clone()).sum_dim(2).sqrt();
        ws.clone() + away / (length + 1e-12) * self.distance
    }
}

fn picture(synthesis: &Synthesis, ws: Tensor<3>) -> Tensor<4> {
    let options = SynthesisOptions {
        noise: Noise::Const,
        modulation: Modulation::Unfused,
        ..SynthesisOptions::default()
    };
    synthesis.forward(ws.autodiff(), &options)
}

/// With gradients for all parameters but the noise images.
fn trainable(synthesis: Synthesis) -> Synthesis {
    #[derive(Default)]
    struct Switch(Vec<String>);
    impl ModuleMapper for Switch {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let learns = self.0.last().is_none_or(|name| name != "noise_const");
            param.set_require_grad(learns)
        }
    }
    synthesis.map(&mut Switch::default())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};
    use stylegan2_burn::GeneratorConfig;

    use super::*;

    fn network(device: &Device) -> StyleGan2 {
        let config = GeneratorConfig::new(32)
            .with_channel_base(256)
            .with_z_dim(8)
            .with_w_dim(8);
        StyleGan2::new(&config.init(device).unwrap()).unwrap()
    }

    #[test]
    fn the_picture_comes_near_and_the_rest_stays() {
        let device = Device::default();
        let lpips = Lpips::alexnet(&device).unwrap();
        let decoder = network(&device);
        let photo = network(&device);
        let z = Tensor::<2>::random([1, 8], Distribution::Normal(0.0, 1.0), &device);
        let w = decoder.map(z.clone()).reshape([1, 1, 8]);
        let images = photo.decode(broadcast(photo.map(z), photo.num_ws()), None);
        let settings = PivotalTuning {
            steps: 12,
            learning_rate: 0.01,
            distance: 1.0,
            ..PivotalTuning::default()
        };
        let mut losses = Vec::new();
        let tuned = settings
            .run(&decoder, &lpips, images.clone(), w.clone(), &mut |_, l| {
                losses.push(l[0]);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!((tuned.steps, losses.len()), (12, 12));
        assert!(losses[11] < 0.9 * losses[0], "{losses:?}");
        let fingerprint = decoder.fingerprint();
        assert_ne!(tuned.decoder.fingerprint(), fingerprint);
        let noise = |d: &StyleGan2| {
            let layer = d.generator().synthesis.blocks[1].conv1.noise_const.clone();
            crate::floats(layer.unwrap().val())
        };
        assert_eq!(noise(&decoder), noise(&tuned.decoder));
        // No step, no change; stopped by the observer, what was reached.
        let none = PivotalTuning {
            steps: 0,
            ..settings
        };
        let same = none
            .run(&decoder, &lpips, images.clone(), w.clone(), &mut |_, _| {
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(same.decoder.fingerprint(), fingerprint);
        let stopped = settings
            .run(&decoder, &lpips, images, w, &mut |step, _| {
                if step < 2 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
            .unwrap();
        assert_eq!(stopped.steps, 2);
        // What falls is the loss; LPIPS alone, of the picture clamped to its range, need not where a network
        // of random weights makes mostly values beyond it.
        assert_ne!(tuned.quality, same.quality);
    }

    /// Over networks with random weights the share was 0.1 to 0.5, 0.23 in the mean of ten.
    #[test]
    fn locality_holds_other_pictures() {
        let device = Device::default();
        let lpips = Lpips::alexnet(&device).unwrap();
        let share = || -> f32 {
            let decoder = network(&device);
            let noise = Distribution::Uniform(-1.0, 1.0);
            let photo = Tensor::<4>::random([1, 3, 32, 32], noise, &device);
            let draw = |n| {
                let z = Tensor::<2>::random([n, 8], Distribution::Normal(0.0, 1.0), &device);
                decoder.map(z)
            };
            let w = draw(1).reshape([1, 1, 8]);
            let others = broadcast(draw(8), decoder.num_ws());
            let moved = |locality: f64| -> f32 {
                let settings = PivotalTuning {
                    steps: 10,
                    learning_rate: 0.01,
                    locality,
                    distance: 1.0,
                    ..PivotalTuning::default()
                };
                let tuned = settings
                    .run(&decoder, &lpips, photo.clone(), w.clone(), &mut |_, _| {
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                let apart = decoder.decode(others.clone(), None)
                    - tuned.decoder.decode(others.clone(), None);
                (apart.clone() * apart).mean().into_scalar()
            };
            moved(100.0) / moved(0.0)
        };
        let mean = (share() + share() + share() + share()) / 4.0;
        assert!(mean < 0.7, "{mean}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let device = Device::default();
        let lpips = Lpips::alexnet(&device).unwrap();
        let decoder = network(&device);
        let run = |settings: PivotalTuning, side: usize, width: usize| {
            let images = Tensor::<4>::zeros([1, 3, side, side], &device);
            let ws = Tensor::<3>::zeros([1, 1, width], &device);
            let found = settings.run(&decoder, &lpips, images, ws, &mut |_, _| {
                ControlFlow::Continue(())
            });
            found.unwrap_err().to_string()
        };
        let plain = PivotalTuning::default();
        assert!(run(plain, 16, 8).contains("16 x 16"));
        assert!(run(plain, 32, 9).contains("ws"));
        let wrong = PivotalTuning {
            learning_rate: f64::NAN,
            ..plain
        };
        assert!(run(wrong, 32, 8).contains("learning_rate"));
    }
}
