//! The augmentation pipeline against the reference program, and against itself.
#![cfg(feature = "train")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod common;

use burn::tensor::{DType, Device, Distribution, Tensor};
use common::{Golden, device, max_difference, values};
use stylegan2_burn::Dual;
use stylegan2_burn::train::{Augment, AugmentConfig, DrawSource};

/// Recorded numbers, in the order in which they were drawn.
struct Recorded {
    lists: Vec<(char, Vec<f32>)>,
    next: usize,
}

impl Recorded {
    fn new(lists: Vec<(char, Vec<f32>)>) -> Self {
        Self { lists, next: 0 }
    }

    fn take(&mut self, kind: char, len: usize) -> Vec<f32> {
        let (found, values) = &self.lists[self.next];
        assert_eq!((*found, values.len()), (kind, len), "draw {}", self.next);
        self.next += 1;
        values.clone()
    }

    fn all_used(&self) -> bool {
        self.next == self.lists.len()
    }
}

impl DrawSource for Recorded {
    fn uniform(&mut self, len: usize) -> Vec<f32> {
        self.take('U', len)
    }

    fn normal(&mut self, len: usize) -> Vec<f32> {
        self.take('N', len)
    }
}

/// The transformations of one image at a percentile, all of them happening.
struct Percentile {
    uniform: f32,
    normal: f32,
    /// For each draw: 'U' or 'N' for a value, '0' for a rotation left out, '<' for a gate.
    script: Vec<char>,
    next: usize,
}

impl Percentile {
    fn take(&mut self, kind: char, len: usize) -> Vec<f32> {
        let step = self.script[self.next];
        self.next += 1;
        let value = match (step, kind) {
            ('U', 'U') => self.uniform,
            ('0', 'U') => 0.5,
            ('<', 'U') => 0.0,
            ('N', 'N') => self.normal,
            other => panic!("draw {}: {other:?}", self.next - 1),
        };
        vec![value; len]
    }
}

impl DrawSource for Percentile {
    fn uniform(&mut self, len: usize) -> Vec<f32> {
        self.take('U', len)
    }

    fn normal(&mut self, len: usize) -> Vec<f32> {
        self.take('N', len)
    }
}

/// Settings by the name of a golden case, and the order of the draws.
fn case(name: &str, channels: usize) -> (AugmentConfig, Vec<char>) {
    let mut config = AugmentConfig::default();
    let only = |field: &mut f64| *field = 1.0;
    let config = match name {
        "bgcfc" => AugmentConfig {
            cutout: 1.0,
            ..AugmentConfig::preset("bgcf").unwrap()
        },
        name => {
            if let Some(config) = AugmentConfig::preset(name) {
                config
            } else {
                match name {
                    "xflip" => only(&mut config.xflip),
                    "rotate90" => only(&mut config.rotate90),
                    "xint" => only(&mut config.xint),
                    "scale" => only(&mut config.scale),
                    "rotate" => only(&mut config.rotate),
                    "aniso" => only(&mut config.aniso),
                    "xfrac" => only(&mut config.xfrac),
                    "brightness" => only(&mut config.brightness),
                    "contrast" => only(&mut config.contrast),
                    "lumaflip" => only(&mut config.lumaflip),
                    "hue" => only(&mut config.hue),
                    "saturation" => only(&mut config.saturation),
                    "imgfilter" => only(&mut config.imgfilter),
                    other => panic!("no case {other}"),
                }
                config
            }
        }
    };
    let mut script = Vec::new();
    let color = channels > 1;
    for (on, steps) in [
        (config.xflip, "U<"),
        (config.rotate90, "U<"),
        (config.xint, "U<"),
        (config.scale, "N<"),
        (config.rotate, "U<"),
        (config.aniso, "N<"),
        (config.rotate, "0<"),
        (config.xfrac, "N<"),
        (config.brightness, "N<"),
        (config.contrast, "N<"),
        (config.lumaflip, "U<"),
        (if color { config.hue } else { 0.0 }, "U<"),
        (if color { config.saturation } else { 0.0 }, "N<"),
        (config.imgfilter, "N<N<N<N<"),
        (config.cutout, "<U"),
    ] {
        if on > 0.0 {
            script.extend(steps.chars());
        }
    }
    (config, script)
}

fn every(stride: usize, values: &[f64]) -> Vec<f64> {
    values.iter().step_by(stride).copied().collect()
}

/// Images of the golden file, [-1, 1].
fn images(golden: &Golden, name: &str, device: &Device) -> Tensor<4> {
    golden.tensor::<4>(name, device) * (1.0 / 127.5) - 1.0
}

#[test]
fn every_transformation_at_percentiles() {
    let golden = Golden::open("augment.safetensors");
    let device = device();
    // The reference's "percentile" of a normal number is erf^-1(2 d - 1).
    let normal = |d: &str| match d {
        "0.1" => -0.906_193_8,
        "0.35" => -0.272_462_7,
        "0.8" => 0.595_116_1,
        other => panic!("percentile {other}"),
    };
    let names: Vec<String> = golden
        .names()
        .filter(|n| n.starts_with("debug"))
        .cloned()
        .collect();
    assert_eq!(names.len(), 47);
    for name in names {
        let parts: Vec<&str> = name.splitn(3, '.').collect();
        let (what, spec, d) = (parts[0], parts[1], parts[2]);
        let x = match what {
            "debug_gray" => images(&golden, "images", &device)
                .narrow(0, 0, 1)
                .narrow(1, 0, 1),
            "debug_rect" => images(&golden, "rect", &device).narrow(0, 0, 1),
            _ => images(&golden, "images", &device).narrow(0, 0, 1),
        };
        let [_, c, h, w] = x.dims();
        let (config, script) = case(spec, c);
        let bound = if matches!(
            spec,
            "brightness" | "contrast" | "lumaflip" | "hue" | "saturation" | "color"
        ) {
            1e-5
        } else {
            1e-4
        };
        let mut source = Percentile {
            uniform: d.parse().unwrap(),
            normal: normal(d),
            script,
            next: 0,
        };
        let augment = Augment::new(config, c).unwrap();
        let draw = augment.draw(1, [c, h, w], 1.0, &mut source);
        assert_eq!(source.next, source.script.len(), "{name}: all draws used");
        let y = values(augment.apply(x.into(), &draw).value);
        let difference = max_difference(&every(5, &y), golden.values(&name));
        assert!(
            difference <= bound,
            "{name}: differs by {difference:e}, allowed {bound:e}"
        );
    }
}

#[test]
fn recorded_draws_give_the_reference_outputs_and_gradients() {
    let golden = Golden::open("augment.safetensors");
    let device = device().autodiff();
    for (name, preset, p, bound) in [
        ("bgc.p0.0", "bgc", 0.0, 1e-4),
        ("bgc.p0.6", "bgc", 0.6, 1e-4),
        ("bgc.p1.0", "bgc", 1.0, 1e-4),
        ("bgcfnc.p0.8", "bgcfnc", 0.8, 1e-4),
        ("color.p0.7.gray", "color", 0.7, 1e-5),
    ] {
        let prefix = format!("draws.{name}.");
        let lists: Vec<(char, Vec<f32>)> = golden
            .names()
            .filter(|n| n.starts_with(&prefix) && n.ends_with(['U', 'N']))
            .map(|n| {
                let values = golden.values(n).iter().map(|&v| v as f32).collect();
                (n.chars().last().unwrap(), values)
            })
            .collect();
        let c = if name.ends_with("gray") { 1 } else { 3 };
        let x = images(&golden, "images", &device)
            .narrow(1, 0, c)
            .require_grad();
        let mut source = Recorded::new(lists);
        let augment = Augment::new(AugmentConfig::preset(preset).unwrap(), c).unwrap();
        let draw = augment.draw(4, [c, 32, 32], p, &mut source);
        assert!(source.all_used(), "{name}: all draws used");

        let y = augment.apply(x.clone().into(), &draw).value;
        let difference = max_difference(
            &every(7, &values(y.clone())),
            golden.values(&format!("{prefix}y")),
        );
        assert!(
            difference <= bound,
            "{name}: y differs by {difference:e}, allowed {bound:e}"
        );
        let own = format!("{prefix}gy");
        let gy = if golden.has(&own) {
            own
        } else {
            "draws.bgc.p0.0.gy".to_owned()
        };
        let grads = (y * golden.tensor(&gy, &device)).sum().backward();
        let gx = values(x.grad(&grads).unwrap());
        let expected = golden.values(&format!("{prefix}gx"));
        // Gains of contrast and bands multiply the gradient, and its rounding errors.
        let size = expected.iter().fold(1.0, |m, v| v.abs().max(m));
        let difference = max_difference(&every(7, &gx), expected) / size;
        assert!(
            difference <= bound,
            "{name}: gx differs by {difference:e} of {size}, allowed {bound:e}"
        );
    }
}

/// The tangent is the derivative: exact, because every transformation is affine.
#[test]
fn tangents_are_the_differences_of_values_and_the_transposes_of_gradients() {
    let device = Device::default().autodiff();
    let normal = Distribution::Normal(0.0, 1.0);
    let random = || Tensor::<4>::random([3, 3, 16, 16], normal, &device);
    let (x, direction, g) = (random().require_grad(), random(), random());
    let augment = Augment::new(AugmentConfig::preset("bgcfnc").unwrap(), 3).unwrap();
    let draw = augment.draw(3, [3, 16, 16], 0.9, &mut seeded(5));
    let y = augment.apply(Dual::new(x.clone(), direction.clone()), &draw);
    let tangent = y.tangent.unwrap();
    let moved = augment
        .apply((x.clone() + direction.clone()).into(), &draw)
        .value;
    let difference = max_difference(&values(moved - y.value.clone()), &values(tangent.clone()));
    assert!(difference < 1e-4, "{difference:e}");

    // <g, J v> = <J' g, v>.
    let left: f32 = (g.clone() * tangent).sum().into_scalar();
    let grads = (y.value * g).sum().backward();
    let right: f32 = (x.grad(&grads).unwrap() * direction.inner())
        .sum()
        .into_scalar();
    assert!(
        (left - right).abs() < 1e-4 * left.abs().max(1.0),
        "{left} {right}"
    );
}

#[test]
fn nothing_happens_to_images_without_transformations() {
    let device = Device::default();
    let x = Tensor::<4>::random([2, 3, 16, 16], Distribution::Normal(0.0, 1.0), &device);
    let augment = Augment::new(AugmentConfig::default(), 3).unwrap();
    let draw = augment.draw(2, [3, 16, 16], 1.0, &mut seeded(1));
    assert_eq!(
        values(augment.apply(x.clone().into(), &draw).value),
        values(x.clone())
    );
    // With p = 0 the reference resamples all the same; colours stay as they are.
    let augment = Augment::new(AugmentConfig::color(), 3).unwrap();
    let draw = augment.draw(2, [3, 16, 16], 0.0, &mut seeded(1));
    let y = augment.apply(x.clone().into(), &draw).value;
    assert!(max_difference(&values(y), &values(x)) < 1e-6);
}

/// The kernel for the CPU against the same in separate tensor operations, which double precision
/// takes.
#[test]
fn the_kernel_gives_what_the_separate_steps_give() {
    let device = Device::default().autodiff();
    let normal = Distribution::Normal(0.0, 1.0);
    for (seed, preset, [h, w]) in [
        (1, "bg", [16, 16]),
        (2, "bg", [32, 16]),
        (3, "geom", [16, 24]),
        (4, "blit", [8, 8]),
        (5, "geom", [64, 64]),
    ] {
        let augment = Augment::new(AugmentConfig::preset(preset).unwrap(), 2).unwrap();
        let strong = AugmentConfig {
            scale_std: 1.5,
            xfrac_std: 0.5,
            ..augment.config().clone()
        };
        for config in [augment.config().clone(), strong] {
            let augment = Augment::new(config, 2).unwrap();
            let draw = augment.draw(4, [2, h, w], 0.9, &mut seeded(seed));
            let x = Tensor::<4>::random([4, 2, h, w], normal, &device);
            let g = Tensor::<4>::random([4, 2, h, w], normal, &device);
            let run = |dtype: DType| {
                let x = x.clone().cast(dtype).require_grad();
                let y = augment.apply(x.clone().into(), &draw).value;
                let grads = (y.clone() * g.clone().cast(dtype)).sum().backward();
                (values(y), values(x.grad(&grads).unwrap()))
            };
            let (fast, slow) = (run(DType::F32), run(DType::F64));
            let (value, gradient) = (
                max_difference(&fast.0, &slow.0),
                max_difference(&fast.1, &slow.1),
            );
            assert!(
                value < 2e-4 && gradient < 2e-4,
                "{preset} {h}x{w}: {value:e}, {gradient:e}"
            );
        }
    }
}

fn seeded(seed: u64) -> rand_chacha::ChaCha8Rng {
    rand_chacha::rand_core::SeedableRng::seed_from_u64(seed)
}

/// The formulas of the metrics against the reference programs'.
#[test]
fn metrics_of_recorded_features() {
    use stylegan2_burn::metrics::{
        Features, frechet_distance, kernel_distance_of_subsets, path_length, precision_recall,
    };
    let golden = Golden::open("metrics.safetensors");
    let set = |name: &str, round: fn(f32) -> f32| {
        let values = golden.values(name).iter().map(|&v| round(v as f32));
        Features::new(values.collect(), 16).unwrap()
    };
    let (real, fake) = (set("real", |v| v), set("fake", |v| v));
    let close = |what: &str, found: f64, expected: f64| {
        let difference = (found / expected - 1.0).abs();
        assert!(difference < 1e-6, "{what}: {found} instead of {expected}");
    };
    let frechet = frechet_distance(&real, &fake).unwrap();
    close("frechet", frechet, golden.values("frechet")[0]);

    let lists: Vec<Vec<usize>> = golden
        .values("subsets")
        .chunks_exact(100)
        .map(|list| list.iter().map(|&i| i as usize).collect())
        .collect();
    let pairs: Vec<[Vec<usize>; 2]> = lists
        .chunks_exact(2)
        .map(|p| [p[0].clone(), p[1].clone()])
        .collect();
    assert_eq!(pairs.len(), 10);
    let kernel = kernel_distance_of_subsets(&fake, &real, &pairs).unwrap();
    close("kernel", kernel, golden.values("kernel")[0]);

    // The reference computes these in half precision.
    let half = |v: f32| half::f16::from_f32(v).to_f32();
    let found = precision_recall(&set("real", half), &set("fake", half), 3).unwrap();
    let expected = golden.values("precision_recall");
    assert!(
        (found.precision - expected[0]).abs() < 0.01,
        "{found:?} {expected:?}"
    );
    assert!(
        (found.recall - expected[1]).abs() < 0.01,
        "{found:?} {expected:?}"
    );

    let mean = path_length(golden.values("path.distances")).unwrap();
    close("path length", mean, golden.values("path.mean")[0]);
}
