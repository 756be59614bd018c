//! The projector: the published program's run, and other spaces.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use latent_inversion::lpips::{Lpips, Trunk};
use latent_inversion::{
    CounterDraws, Decoder, Draws, GaussNewton, Objective, Projector, Space, StyleGan2, Target,
    WDistribution, broadcast,
};
use safetensors::SafeTensors;
use stylegan2_burn::Checkpoint;

use crate::common::{floats, golden, golden_path, numbers, with_formula};

pub(crate) fn generator(device: &Device) -> StyleGan2 {
    let file = Checkpoint::open(golden_path("stylegan2/official_uncond32.pkl")).unwrap();
    StyleGan2::new(&file.generator("G_ema", device).unwrap()).unwrap()
}

/// The random numbers of the recorded run.
struct Recorded<'a>(SafeTensors<'a>);

const NAMES: [&str; 7] = [
    "b4.conv1",
    "b8.conv0",
    "b8.conv1",
    "b16.conv0",
    "b16.conv1",
    "b32.conv0",
    "b32.conv1",
];

impl Draws for Recorded<'_> {
    fn noise(&self, _: usize, map: usize, side: usize) -> Vec<f32> {
        let values = numbers(&self.0, &format!("noise_init.{}.noise_const", NAMES[map]));
        assert_eq!(values.len(), side * side);
        values
    }

    fn w(&self, _: usize, step: usize, w_dim: usize) -> Vec<f32> {
        numbers(&self.0, "w_noise_normal")[step * w_dim..(step + 1) * w_dim].to_vec()
    }
}

struct RecordedRun {
    losses: Vec<f32>,
    /// w after each step.
    latents: Vec<f32>,
    noise: Vec<Vec<f32>>,
}

/// 30 steps with the recorded random numbers, from the recorded mean latent.
fn recorded_run(bytes: &[u8]) -> RecordedRun {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let heads = golden("lpips/lpips.safetensors");
    let heads = SafeTensors::deserialize(&heads).unwrap();
    let device = Device::default();
    let lpips = with_formula(Trunk::Vgg16, &heads, &device);
    let decoder = generator(&device);
    let distribution = WDistribution::from_random_state(&decoder, 2000, 123).unwrap();
    let std = file.tensor("w_std").unwrap().data().try_into().unwrap();
    let std = f64::from_le_bytes(std);
    assert!((distribution.std() / std - 1.0).abs() < 1e-5);
    let mean = numbers(&file, "w_avg");
    for (found, mean) in distribution.mean().iter().zip(&mean) {
        assert!((found - f64::from(*mean)).abs() < 5e-7, "{found} {mean}");
    }
    let picture = numbers(&file, "target_u8");
    let picture = Tensor::from_data(TensorData::new(picture, [1, 3, 32, 32]), &device);
    let target = Target::new(&lpips, picture);
    let start = Tensor::from_data(TensorData::new(mean, [1, 1, 32]), &device);
    let (mut losses, mut latents) = (Vec::new(), Vec::new());
    let state = Projector::published()
        .with_steps(30)
        .run(
            &decoder,
            &lpips,
            &distribution,
            &target,
            Some(start),
            &Recorded(SafeTensors::deserialize(bytes).unwrap()),
            &mut |step, terms, state| {
                losses.extend(floats(terms.total().inner()));
                if step > 0 {
                    latents.extend(floats(state.ws.clone()));
                }
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    latents.extend(floats(state.ws));
    let noise = state.noise.unwrap().into_iter().map(floats).collect();
    RecordedRun {
        losses,
        latents,
        noise,
    }
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    let pairs = found.iter().zip(expected);
    pairs.map(|(f, e)| (f - e).abs()).fold(0.0, f32::max)
}

/// 30 steps of the published program, from its random numbers: each loss, each w, the noise.
///
/// w is not reproduced to 1e-3, because in single precision the run does not determine it so far: the
/// recorded run is 8e-3 beside the same run in double precision, and runs of the reference with other
/// threads or convolutions are 3e-3 to 8e-3 beside the recorded one (README of the golden folder). Ours was
/// 6.1e-3 beside double precision and 3.4e-3 beside the recorded one when this was written; the largest
/// distance from double precision seen was `PyTorch`'s, 1.1e-2.
#[test]
fn the_published_run_is_reproduced() {
    let bytes = golden("projector/uncond32.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let double = golden("projector/double.safetensors");
    let double = SafeTensors::deserialize(&double).unwrap();
    let found = recorded_run(&bytes);
    assert_eq!((found.losses.len(), found.latents.len()), (30, 30 * 32));
    let (recorded, exact) = (numbers(&file, "w_traj"), numbers(&double, "w_traj"));
    for losses in [numbers(&file, "loss"), numbers(&double, "loss")] {
        let pairs = found.losses.iter().zip(&losses);
        let off = pairs.map(|(f, e)| (f / e - 1.0).abs()).fold(0.0, f32::max);
        assert!(off < 1e-5, "{off:e}");
    }
    let reference = worst(&recorded, &exact);
    assert!(reference > 5e-3, "{reference:e}");
    for expected in [&recorded, &exact] {
        let (early, all) = (
            worst(&found.latents[..5 * 32], expected),
            worst(&found.latents, expected),
        );
        assert!(early < 1e-3 && all < 2e-2, "{early:e} {all:e}");
    }
    for (map, name) in found.noise.iter().zip(NAMES) {
        let expected = numbers(&file, &format!("noise_final.{name}.noise_const"));
        let off = worst(map, &expected);
        assert!(off < 1e-5, "{name}: {off:e}");
    }
}

fn own_samples(decoder: &StyleGan2, count: usize) -> (Tensor<2>, Tensor<4>) {
    let z = stylegan2_burn::seed::latents(&[7, 8, 9, 10][..count], 32, &decoder.device());
    let w = decoder.map(z);
    let images = decoder.decode(broadcast(w.clone(), decoder.num_ws()), None);
    (w, images)
}

fn quiet(_: usize, _: &latent_inversion::Terms, _: &latent_inversion::State) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The generator's own samples are found again: the image, and the latent.
#[test]
fn own_samples_are_found_in_w() {
    let device = Device::default();
    let decoder = generator(&device);
    let lpips = Lpips::alexnet(&device).unwrap();
    let distribution = WDistribution::estimate(&decoder, 2000, 1).unwrap();
    let (w, images) = own_samples(&decoder, 2);
    let target = Target::new(&lpips, images);
    let draws = CounterDraws::new(0, &["a", "b"]);
    let projector = Projector::default().with_steps(150);
    let state = projector
        .run(
            &decoder,
            &lpips,
            &distribution,
            &target,
            None,
            &draws,
            &mut quiet,
        )
        .unwrap();
    let reached = lpips.features(state.decode(&decoder));
    let distance = floats(lpips.distance(&reached, &lpips.features(target.images())));
    assert!(distance.iter().all(|d| *d < 0.01), "{distance:?}");
    let (w, found) = (floats(w), floats(state.ws));
    for (w, found) in w.chunks(32).zip(found.chunks(32)) {
        let cosine = cosine(w, found, distribution.mean());
        assert!(cosine > 0.95, "{cosine}");
    }
}

pub(crate) fn cosine(a: &[f32], b: &[f32], mean: &[f64]) -> f64 {
    let centre =
        |v: &[f32]| -> Vec<f64> { v.iter().zip(mean).map(|(v, m)| f64::from(*v) - m).collect() };
    let (a, b) = (centre(a), centre(b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// From a latent nearby Gauss-Newton finds the sample's own in a few iterations, each photo by itself.
#[test]
fn own_samples_are_found_in_z_by_gauss_newton() {
    let device = Device::default();
    let decoder = generator(&device);
    let lpips = Lpips::alexnet(&device).unwrap();
    let distribution = WDistribution::estimate(&decoder, 2000, 1).unwrap();
    let (w, images) = own_samples(&decoder, 2);
    let near = stylegan2_burn::seed::latents(&[7, 8], 32, &device)
        + stylegan2_burn::seed::latents(&[17, 18], 32, &device) * 0.5;
    let start = decoder.map(near).reshape([2, 1, 32]);
    let mut search = GaussNewton::default();
    search.objective.prior = 0.0;
    search.tolerance = 0.0;
    search.iterations = 24;
    let run = |order: [usize; 2], stop: usize| {
        let pick =
            |x: Tensor<4>| Tensor::cat(order.map(|k| x.clone().slice_dim(0, k..k + 1)).to_vec(), 0);
        let target = Target::new(&lpips, pick(images.clone()));
        let start = pick(start.clone().reshape([2, 1, 1, 32])).reshape([2, 1, 32]);
        let mut steps = 0;
        let state = search.run(
            &decoder,
            &lpips,
            &distribution,
            &target,
            start,
            &mut |_, _| {
                steps += 1;
                if steps == stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        let state = state.unwrap();
        let reached = lpips.features(state.decode(&decoder));
        let distance = lpips.distance(&reached, &lpips.features(target.images()));
        (floats(state.ws), floats(distance), steps)
    };
    let (found, distance, steps) = run([0, 1], usize::MAX);
    assert!(distance.iter().all(|d| *d < 1e-3), "{distance:?}");
    assert!((4..=48).contains(&steps), "{steps}");
    let (w, start) = (floats(w), floats(start.clone()));
    for k in [0, 32] {
        let to = |v: &[f32]| cosine(&w[k..k + 32], &v[k..k + 32], distribution.mean());
        assert!(
            to(&found) > 0.99 && to(&start) < 0.96,
            "{} {}",
            to(&found),
            to(&start)
        );
    }
    let (other, _, _) = run([1, 0], usize::MAX);
    assert_eq!((&found[..32], &found[32..]), (&other[32..], &other[..32]));
    let (broken_off, far, steps) = run([0, 1], 1);
    assert!(steps == 1 && far[0] > distance[0] && broken_off != found);
}

/// Nothing of another photo reaches a photo's result, bit by bit.
#[test]
fn a_photo_is_alone_in_its_batch() {
    let device = Device::default();
    let decoder = generator(&device);
    let lpips = Lpips::alexnet(&device).unwrap();
    let distribution = WDistribution::estimate(&decoder, 500, 1).unwrap();
    let (_, images) = own_samples(&decoder, 3);
    let run = |order: [usize; 3], space| {
        let parts = order.map(|k| images.clone().slice_dim(0, k..k + 1));
        let target = Target::new(&lpips, Tensor::cat(parts.to_vec(), 0));
        let names = order.map(|k| ["a", "b", "c"][k]);
        let mut projector = Projector::published().with_steps(4).with_space(space);
        projector.objective = Objective {
            absolute: 0.5,
            ..Objective::default()
        };
        let draws = CounterDraws::new(5, &names);
        let state = projector
            .run(
                &decoder,
                &lpips,
                &distribution,
                &target,
                None,
                &draws,
                &mut quiet,
            )
            .unwrap();
        floats(state.ws)
    };
    for (space, rows) in [(Space::W, 1), (Space::WPlus, 8)] {
        let size = rows * 32;
        let (abc, cab) = (run([0, 1, 2], space), run([2, 0, 0], space));
        assert_eq!(abc[..size], cab[size..2 * size]);
        assert_eq!(abc[..size], cab[2 * size..]);
        assert_eq!(abc[2 * size..], cab[..size]);
    }
}

/// From w, rows that may leave it come closer to the image; a heavy penalty keeps them at it.
#[test]
fn w_plus_refines_w() {
    let device = Device::default();
    let decoder = generator(&device);
    let lpips = Lpips::alexnet(&device).unwrap();
    let distribution = WDistribution::estimate(&decoder, 500, 1).unwrap();
    // Half of one picture and half of another is no picture of W.
    let (_, images) = own_samples(&decoder, 2);
    let halves = [(0, 0..16), (1, 16..32)]
        .map(|(k, rows)| images.clone().slice_dim(0, k..k + 1).slice_dim(2, rows));
    let target = Target::new(&lpips, Tensor::cat(halves.to_vec(), 2));
    let draws = CounterDraws::new(0, &["a"]);
    let solve = |projector: Projector, start| {
        let state = projector
            .run(
                &decoder,
                &lpips,
                &distribution,
                &target,
                start,
                &draws,
                &mut quiet,
            )
            .unwrap();
        let features = lpips.features(state.decode(&decoder));
        let distance = lpips.distance(&features, &lpips.features(target.images()));
        (floats(distance)[0], state.ws)
    };
    let base = Projector::default().with_steps(40);
    let (in_w, w) = solve(base, None);
    let (in_w_plus, _) = solve(base.with_space(Space::WPlus), Some(w.clone()));
    assert!(in_w_plus < 0.9 * in_w, "{in_w_plus} {in_w}");
    let mut heavy = base.with_space(Space::WPlus);
    heavy.objective.delta = 1e4;
    heavy.learning_rate = 1e-3;
    let (_, tied) = solve(heavy, Some(w.clone()));
    let spread = |ws: Tensor<3>| floats((ws - w.clone()).abs().max())[0];
    assert!(spread(tied) < 0.02);
}

#[test]
fn images_and_starts_of_other_sizes_are_refused() {
    let device = Device::default();
    let decoder = generator(&device);
    let lpips = Lpips::alexnet(&device).unwrap();
    let distribution = WDistribution::estimate(&decoder, 100, 1).unwrap();
    let draws = CounterDraws::new(0, &["a"]);
    let run = |side, start: Option<Tensor<3>>| {
        let target = Target::new(&lpips, Tensor::zeros([1, 3, side, side], &device));
        Projector::default()
            .with_steps(1)
            .run(
                &decoder,
                &lpips,
                &distribution,
                &target,
                start,
                &draws,
                &mut quiet,
            )
            .unwrap_err()
            .to_string()
    };
    let text = run(64, None);
    assert!(
        text.contains("64 x 64") && text.contains("32 x 32"),
        "{text}"
    );
    let text = run(32, Some(Tensor::zeros([1, 3, 32], &device)));
    assert!(text.contains("[1, 3, 32]"), "{text}");
}
