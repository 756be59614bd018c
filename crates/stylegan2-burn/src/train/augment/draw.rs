//! The random part, on the host.

use std::f64::consts::PI;

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::config::AugmentConfig;
use super::geometry::Warp;
use super::matrix::{Affine2, Affine3};
use super::{filter, upload};

/// Where the random numbers of the augmentation come from.
///
/// The pipeline asks in a fixed order, so that recorded numbers can be replayed.
pub trait DrawSource {
    /// `len` uniform draws from [0, 1).
    fn uniform(&mut self, len: usize) -> Vec<f32>;

    /// `len` standard normal draws.
    fn normal(&mut self, len: usize) -> Vec<f32>;
}

impl DrawSource for ChaCha8Rng {
    fn uniform(&mut self, len: usize) -> Vec<f32> {
        // 24 bits: every result is exact and below one.
        (0..len)
            .map(|_| (self.next_u32() >> 8) as f32 / 16_777_216.0)
            .collect()
    }

    fn normal(&mut self, len: usize) -> Vec<f32> {
        // Box and Muller (1958), two at a time; the first uniform draw is never zero.
        let mut out = Vec::with_capacity(len + 1);
        while out.len() < len {
            let u = (f64::from(self.next_u32()) + 1.0) / 4_294_967_296.0;
            let v = f64::from(self.next_u32()) / 4_294_967_296.0;
            let radius = (-2.0 * u.ln()).sqrt();
            let (sin, cos) = (2.0 * PI * v).sin_cos();
            out.push((radius * cos) as f32);
            out.push((radius * sin) as f32);
        }
        out.truncate(len);
        out
    }
}

/// The transformations of one batch; made by [`Augment::draw`](super::Augment::draw).
#[derive(Clone, Debug)]
pub struct AugmentDraw {
    pub(super) n: usize,
    pub(super) shape: [usize; 3],
    pub(super) geometry: Option<Warp>,
    pub(super) color: Option<Vec<Affine3>>,
    pub(super) filter: Option<Vec<[f64; 4]>>,
    pub(super) noise: Option<Vec<f32>>,
    pub(super) cutout: Option<Vec<Hole>>,
}

/// A rectangle of zeros, relative to the size of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    x: f64,
    y: f64,
    side: f64,
}

impl AugmentDraw {
    /// The number of images.
    pub fn batch(&self) -> usize {
        self.n
    }

    /// The transformations of some of the images, in the order of `samples`.
    ///
    /// # Panics
    ///
    /// Panics if a number is out of range.
    pub fn select(&self, samples: &[usize]) -> Self {
        fn pick<T: Clone>(all: &[T], samples: &[usize]) -> Vec<T> {
            samples.iter().map(|&k| all[k].clone()).collect()
        }
        let pixels = self.shape.iter().product::<usize>();
        Self {
            n: samples.len(),
            shape: self.shape,
            geometry: self.geometry.as_ref().map(|warp| Warp {
                maps: pick(&warp.maps, samples),
                ..warp.clone()
            }),
            color: self.color.as_ref().map(|all| pick(all, samples)),
            filter: self.filter.as_ref().map(|all| pick(all, samples)),
            noise: self.noise.as_ref().map(|all| {
                samples
                    .iter()
                    .flat_map(|k| all[k * pixels..(k + 1) * pixels].iter().copied())
                    .collect()
            }),
            cutout: self.cutout.as_ref().map(|all| pick(all, samples)),
        }
    }

    pub(super) fn new(
        config: &AugmentConfig,
        n: usize,
        shape: [usize; 3],
        p: f64,
        source: &mut impl DrawSource,
    ) -> Self {
        let [c, h, w] = shape;
        let mut draws = Draws { n, p, source };
        let geometry = config
            .moves()
            .then(|| Warp::new(geometry(config, h, w, &mut draws), h, w));
        let color = config.colors().then(|| color(config, c, &mut draws));
        let filter = (config.imgfilter > 0.0).then(|| filter(config, &mut draws));
        let noise = (config.noise > 0.0).then(|| noise(config, c * h * w, &mut draws));
        let cutout = (config.cutout > 0.0).then(|| cutout(config, &mut draws));
        Self {
            n,
            shape,
            geometry,
            color,
            filter,
            noise,
            cutout,
        }
    }
}

struct Draws<'a, S> {
    n: usize,
    p: f64,
    source: &'a mut S,
}

impl<S: DrawSource> Draws<'_, S> {
    fn uniform(&mut self, per_image: usize) -> Vec<f64> {
        let values = self.source.uniform(self.n * per_image);
        values.into_iter().map(f64::from).collect()
    }

    fn normal(&mut self, per_image: usize) -> Vec<f64> {
        let values = self.source.normal(self.n * per_image);
        values.into_iter().map(f64::from).collect()
    }

    /// Which images a transformation of this probability applies to.
    fn gate(&mut self, probability: f64) -> Vec<bool> {
        let draws = self.uniform(1);
        // In single precision, as the draws are.
        draws
            .into_iter()
            .map(|u| (u as f32) < probability as f32)
            .collect()
    }

    /// Draws per image, then the gate: the values of the images it applies to.
    fn gated<T: Copy>(&mut self, values: Vec<T>, multiplier: f64) -> Vec<Option<T>> {
        let gate = self.gate(multiplier * self.p);
        values
            .into_iter()
            .zip(gate)
            .map(|(v, on)| on.then_some(v))
            .collect()
    }
}

/// Maps from the transformed to the original image, in pixels about the centre.
fn geometry<S: DrawSource>(
    config: &AugmentConfig,
    h: usize,
    w: usize,
    draws: &mut Draws<'_, S>,
) -> Vec<Affine2> {
    let (h, w) = (h as f64, w as f64);
    let mut maps = vec![Affine2::IDENTITY; draws.n];
    let mut then = |steps: Vec<Option<Affine2>>| {
        for (map, step) in maps.iter_mut().zip(steps) {
            if let Some(step) = step {
                *map = map.after(&step);
            }
        }
    };
    // Each step is the inverse of what it does to the image: the map reads where a pixel came from.
    if config.xflip > 0.0 {
        let on = draws.uniform(1).into_iter().map(|u| (u * 2.0).floor());
        let flips = on.map(|i| Affine2::scaling(1.0 - 2.0 * i, 1.0)).collect();
        then(draws.gated(flips, config.xflip));
    }
    if config.rotate90 > 0.0 {
        let turns = draws.uniform(1).into_iter().map(|u| (u * 4.0).floor());
        let turns = turns.map(|i| Affine2::rotation(PI / 2.0 * i)).collect();
        then(draws.gated(turns, config.rotate90));
    }
    if config.xint > 0.0 {
        let shifts = draws.uniform(2);
        let pixels =
            |u: f64, size: f64| ((2.0 * u - 1.0) * config.xint_max * size).round_ties_even();
        let shifts = shifts
            .chunks_exact(2)
            .map(|t| Affine2::translation(-pixels(t[0], w), -pixels(t[1], h)))
            .collect();
        then(draws.gated(shifts, config.xint));
    }
    if config.scale > 0.0 {
        let scales = draws.normal(1).into_iter();
        let scales = scales
            .map(|z| (-z * config.scale_std).exp2())
            .map(|s| Affine2::scaling(s, s))
            .collect();
        then(draws.gated(scales, config.scale));
    }
    // Before and after the anisotropic scaling, so that one of the two happens with `rotate * p`.
    let one_of_two = 1.0 - (1.0 - config.rotate * draws.p).clamp(0.0, 1.0).sqrt();
    let rotations = |draws: &mut Draws<'_, S>| {
        let angles = draws.uniform(1).into_iter();
        let rotations: Vec<_> = angles
            .map(|u| Affine2::rotation((2.0 * u - 1.0) * PI * config.rotate_max))
            .collect();
        let gate = draws.gate(one_of_two);
        rotations
            .into_iter()
            .zip(gate)
            .map(|(r, on)| on.then_some(r))
            .collect()
    };
    if config.rotate > 0.0 {
        then(rotations(draws));
    }
    if config.aniso > 0.0 {
        let scales = draws.normal(1).into_iter();
        let scales = scales
            .map(|z| (z * config.aniso_std).exp2())
            .map(|s| Affine2::scaling(1.0 / s, s))
            .collect();
        then(draws.gated(scales, config.aniso));
    }
    if config.rotate > 0.0 {
        then(rotations(draws));
    }
    if config.xfrac > 0.0 {
        let shifts = draws.normal(2);
        let shifts = shifts
            .chunks_exact(2)
            .map(|t| {
                let [x, y] = [t[0] * w, t[1] * h].map(|t| -t * config.xfrac_std);
                Affine2::translation(x, y)
            })
            .collect();
        then(draws.gated(shifts, config.xfrac));
    }
    maps
}

fn color<S: DrawSource>(
    config: &AugmentConfig,
    channels: usize,
    draws: &mut Draws<'_, S>,
) -> Vec<Affine3> {
    let mut maps = vec![Affine3::IDENTITY; draws.n];
    let mut then = |steps: Vec<Option<Affine3>>| {
        for (map, step) in maps.iter_mut().zip(steps) {
            if let Some(step) = step {
                *map = step.after(map);
            }
        }
    };
    if config.brightness > 0.0 {
        let shifts = draws.normal(1).into_iter();
        let shifts = shifts
            .map(|z| Affine3::shift(z * config.brightness_std))
            .collect();
        then(draws.gated(shifts, config.brightness));
    }
    if config.contrast > 0.0 {
        let gains = draws.normal(1).into_iter();
        let gains = gains
            .map(|z| (z * config.contrast_std).exp2())
            .map(|s| Affine3::gray_axis(s, s))
            .collect();
        then(draws.gated(gains, config.contrast));
    }
    if config.lumaflip > 0.0 {
        let flips = draws.uniform(1).into_iter().map(|u| (u * 2.0).floor());
        let flips = flips
            .map(|i| Affine3::gray_axis(1.0 - 2.0 * i, 1.0))
            .collect();
        then(draws.gated(flips, config.lumaflip));
    }
    if config.hue > 0.0 && channels > 1 {
        let angles = draws.uniform(1).into_iter();
        let turns = angles
            .map(|u| Affine3::hue((2.0 * u - 1.0) * PI * config.hue_max))
            .collect();
        then(draws.gated(turns, config.hue));
    }
    if config.saturation > 0.0 && channels > 1 {
        let gains = draws.normal(1).into_iter();
        let gains = gains
            .map(|z| Affine3::gray_axis(1.0, (z * config.saturation_std).exp2()))
            .collect();
        then(draws.gated(gains, config.saturation));
    }
    maps
}

fn filter<S: DrawSource>(config: &AugmentConfig, draws: &mut Draws<'_, S>) -> Vec<[f64; 4]> {
    let mut gains = vec![[1.0; 4]; draws.n];
    for (band, multiplier) in config.imgfilter_bands.into_iter().enumerate() {
        let amplified = draws.normal(1).into_iter();
        let amplified = amplified
            .map(|z| (z * config.imgfilter_std).exp2())
            .collect();
        let amplified = draws.gated(amplified, config.imgfilter * multiplier);
        for (gains, gain) in gains.iter_mut().zip(amplified) {
            let mut alone = [1.0; 4];
            alone[band] = gain.unwrap_or(1.0);
            let alone = filter::normalized(alone);
            for (g, a) in gains.iter_mut().zip(alone) {
                *g *= a;
            }
        }
    }
    gains
}

fn noise<S: DrawSource>(config: &AugmentConfig, size: usize, draws: &mut Draws<'_, S>) -> Vec<f32> {
    let sigmas = draws.normal(1).into_iter();
    let sigmas = sigmas.map(|z| z.abs() * config.noise_std).collect();
    let sigmas = draws.gated(sigmas, config.noise);
    let mut noise = draws.source.normal(draws.n * size);
    for (noise, sigma) in noise.chunks_exact_mut(size).zip(sigmas) {
        let sigma = sigma.unwrap_or(0.0) as f32;
        for v in noise {
            *v *= sigma;
        }
    }
    noise
}

fn cutout<S: DrawSource>(config: &AugmentConfig, draws: &mut Draws<'_, S>) -> Vec<Hole> {
    let gate = draws.gate(config.cutout * draws.p);
    let centres = draws.uniform(2);
    centres
        .chunks_exact(2)
        .zip(gate)
        .map(|(centre, on)| Hole {
            x: centre[0],
            y: centre[1],
            side: if on { config.cutout_size } else { 0.0 },
        })
        .collect()
}

/// 1 outside the holes, 0 inside: `[N, 1, H, W]`.
pub(super) fn cutout_mask(holes: &[Hole], h: usize, w: usize, like: &Tensor<4>) -> Tensor<4> {
    let along = |size: usize, centre: fn(&Hole) -> f64| -> Vec<f32> {
        holes
            .iter()
            .flat_map(|hole| {
                (0..size).map(move |i| {
                    let distance = ((i as f64 + 0.5) / size as f64 - centre(hole)).abs();
                    if distance < hole.side / 2.0 { 1.0 } else { 0.0 }
                })
            })
            .collect()
    };
    let x = upload(along(w, |hole| hole.x), [holes.len(), 1, 1, w], like);
    let y = upload(along(h, |hole| hole.y), [holes.len(), 1, h, 1], like);
    -(x * y) + 1.0
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn chacha_gives_uniform_and_normal_numbers_by_seed() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let u = rng.uniform(20_000);
        assert!(u.iter().all(|&u| (0.0..1.0).contains(&u)));
        let mean = u.iter().sum::<f32>() / 20_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let z = rng.normal(20_001);
        assert_eq!(z.len(), 20_001);
        let moment = |k: i32| z.iter().map(|z| f64::from(*z).powi(k)).sum::<f64>() / 20_001.0;
        assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.04);
        assert!((moment(4) - 3.0).abs() < 0.3, "{}", moment(4));
        let mut again = ChaCha8Rng::seed_from_u64(3);
        assert_eq!(again.uniform(20_000), u);
    }

    /// The share of images that each transformation leaves alone is `1 - p`.
    #[test]
    fn transformations_happen_with_the_probability_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let share = |config: AugmentConfig, rng: &mut ChaCha8Rng| {
            let draw = AugmentDraw::new(&config, 4000, [3, 8, 8], 0.3, rng);
            let still = draw.color.unwrap();
            let still = still.iter().filter(|m| **m == Affine3::IDENTITY).count();
            still as f64 / 4000.0
        };
        let brightness = AugmentConfig {
            brightness: 1.0,
            ..AugmentConfig::default()
        };
        assert!((share(brightness, &mut rng) - 0.7).abs() < 0.03);
        let contrast = AugmentConfig {
            contrast: 2.0,
            ..AugmentConfig::default()
        };
        assert!((share(contrast, &mut rng) - 0.4).abs() < 0.03);
        let config = AugmentConfig {
            rotate: 1.0,
            ..AugmentConfig::default()
        };
        let mut draws = Draws {
            n: 4000,
            p: 0.3,
            source: &mut rng,
        };
        let maps = geometry(&config, 8, 8, &mut draws);
        let still = maps.iter().filter(|m| **m == Affine2::IDENTITY).count();
        assert!((still as f64 / 4000.0 - 0.7).abs() < 0.03, "{still}");
    }
}
