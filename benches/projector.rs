//! A step of the published projector at 256 px, and the memory of a cohort.
//!
//! `cargo bench -p survlatent-benches --bench projector --features inversion -- step [steps] [trunk ...]`
//! prints one JSON line per step, for LPIPS with `alexnet` and `vgg16` and random weights throughout;
//! `peers/projector_torch.py` does the same with `PyTorch` and alternates the two.
//!
//! `... -- memory [photos] [method] [steps]` inverts pictures of the shipped generator from files and prints
//! the resident memory after 50 and after all of them.
//!
//! `... -- own [photos]` inverts the generator's own pictures by the encoder alone and by the default method and
//! prints how near the latents come to the true ones.
//!
//! `... -- quality FOLDER [steps]` inverts the photos of a folder (faces of 64 px) by every method and prints what
//! each reaches: LPIPS, PSNR, the identity cosine, and for comparison that of different photos. `pti=N` adds N
//! steps of pivotal tuning for each photo, around the default method's w; without steps of the projector it is left
//! out, and `only=METHOD` does one. `w=N` and `plus=N` (here and for `own`) change the default method's steps in W
//! and W+, `reuse=N` and `tolerance=X` the search in Z, `rate=X`, `squared=X` and `delta=X` the learning rate and
//! weights in W+.
//!
//! `... -- orl [photos]` aligns the portraits of ORL that ship, at 64 px, inverts them by the default method as a
//! cohort and prints the time of both.

#![allow(clippy::print_stdout)]

#[path = "projector/orl.rs"]
mod orl;
#[path = "projector/quality.rs"]
mod quality;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use cpu_time::ProcessTime;
use latent_inversion::cohort::{Cohort, Manifest};
use latent_inversion::lpips::{Lpips, Trunk};
use latent_inversion::{
    CounterDraws, Decoder, Encoder, Inverter, Method, Photo, Projector, Quality, StyleGan2, Target,
    Tools, WDistribution, broadcast,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use stylegan2_burn::{Checkpoint, GeneratorConfig};
use survlatent_benches::normals;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let numbers: Vec<usize> = args.iter().filter_map(|a| a.parse().ok()).collect();
    let has = |word: &str| args.iter().any(|a| a == word);
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/survlatent/assets");
    if has("quality") || has("own") {
        let steps = numbers.first().copied().unwrap_or(1000);
        let text = |name: &str| {
            let mut own = args.iter().filter_map(|a| a.split_once('='));
            own.find(|(k, _)| *k == name).map(|(_, v)| v)
        };
        let set = |name: &str| text(name)?.parse::<f64>().ok();
        let shipped = Shipped::open(&assets)?;
        let mut default = shipped.inverter(Method::Default);
        default.in_w.steps = text("w").map_or(Ok(default.in_w.steps), str::parse)?;
        if let Some(in_z) = &mut default.in_z {
            in_z.reuse = text("reuse").map_or(Ok(in_z.reuse), str::parse)?;
            in_z.tolerance = set("tolerance").unwrap_or(in_z.tolerance);
        }
        let plus = &mut default.in_w_plus;
        plus.steps = text("plus").map_or(Ok(plus.steps), str::parse)?;
        plus.learning_rate = set("rate").unwrap_or(plus.learning_rate);
        plus.objective.squared = set("squared").unwrap_or(plus.objective.squared);
        plus.objective.delta = set("delta").unwrap_or(plus.objective.delta);
        if has("own") {
            return own(&shipped, &default, numbers.first().copied().unwrap_or(24));
        }
        let folder = args.iter().find(|a| Path::new(a).is_dir());
        let folder = folder.ok_or("quality FOLDER")?;
        let tuning = text("pti").map(str::parse).transpose()?;
        let settings = quality::Settings {
            default,
            steps,
            tuning,
            only: text("only").map(str::to_owned),
        };
        return quality::quality(&shipped, &settings, Path::new(folder));
    }
    if has("orl") {
        let photos = numbers.first().copied().unwrap_or(usize::MAX);
        return orl::orl(&Shipped::open(&assets)?, photos);
    }
    if has("memory") {
        let method = if has("encoder") {
            Method::Encoder
        } else {
            Method::Default
        };
        let photos = numbers.first().copied().unwrap_or(500);
        let steps = numbers.get(1).copied().unwrap_or(4);
        return memory(&Shipped::open(&assets)?, photos, method, steps);
    }
    let steps = numbers.first().copied().unwrap_or(3);
    for (name, trunk) in [("alexnet", Trunk::AlexNet), ("vgg16", Trunk::Vgg16)] {
        if has(name) || !(has("alexnet") || has("vgg16")) {
            step(name, trunk, steps)?;
        }
    }
    Ok(())
}

/// Times steps of the projector on one photo, the first of which is not counted.
fn step(name: &str, trunk: Trunk, steps: usize) -> Fallible<()> {
    let device = Device::default();
    let generator = GeneratorConfig::paper256().init(&device)?;
    let decoder = StyleGan2::new(&generator)?;
    let lpips = Lpips::from_bytes(trunk, &weights(trunk)?, &device)?;
    let distribution = WDistribution::estimate(&decoder, 600, 0)?;
    let image = Tensor::random([1, 3, 256, 256], Distribution::Uniform(-1.0, 1.0), &device);
    let target = Target::new(&lpips, image);
    let draws = CounterDraws::new(0, &["photo"]);
    // The observer is called once in every step, at the same place of it.
    let mut last: Option<(Instant, ProcessTime)> = None;
    let projector = Projector::published().with_steps(steps + 2);
    projector.run(
        &decoder,
        &lpips,
        &distribution,
        &target,
        None,
        &draws,
        &mut |step, terms, _| {
            let loss: f32 = terms.total().inner().into_scalar();
            if let Some((wall, cpu)) = last.filter(|_| step > 1) {
                let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
                println!(
                    "{{\"task\":\"{name}\",\"wall\":{wall:.4},\"cpu\":{cpu:.4},\"loss\":{loss:e}}}"
                );
            }
            last = Some((Instant::now(), ProcessTime::now()));
            ControlFlow::Continue(())
        },
    )?;
    Ok(())
}

/// Random weights of an LPIPS network, of the variance that keeps that of the activations.
fn weights(trunk: Trunk) -> Fallible<Vec<u8>> {
    let layers: &[[usize; 4]] = match trunk {
        Trunk::AlexNet => &[
            [0, 3, 64, 11],
            [3, 64, 192, 5],
            [6, 192, 384, 3],
            [8, 384, 256, 3],
            [10, 256, 256, 3],
        ],
        _ => &[
            [0, 3, 64, 3],
            [2, 64, 64, 3],
            [5, 64, 128, 3],
            [7, 128, 128, 3],
            [10, 128, 256, 3],
            [12, 256, 256, 3],
            [14, 256, 256, 3],
            [17, 256, 512, 3],
            [19, 512, 512, 3],
            [21, 512, 512, 3],
            [24, 512, 512, 3],
            [26, 512, 512, 3],
            [28, 512, 512, 3],
        ],
    };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let bytes = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect();
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for &[index, input, output, side] in layers {
        let fan_in = input * side * side;
        let scale = (2.0 / fan_in as f64).sqrt();
        let values = normals(output * fan_in, &mut rng);
        let values = values.into_iter().map(|v| (v * scale) as f32).collect();
        let shape = vec![output, input, side, side];
        tensors.push((format!("features.{index}.weight"), shape, bytes(values)));
        let zeros = bytes(vec![0.0; output]);
        tensors.push((format!("features.{index}.bias"), vec![output], zeros));
    }
    for (i, &width) in trunk.widths().iter().enumerate() {
        let name = format!("lin{i}.model.1.weight");
        tensors.push((name, vec![1, width, 1, 1], bytes(vec![0.5; width])));
    }
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, shape, data)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), data)?)))
        .collect();
    let views: Vec<_> = views.map_err(|e: safetensors::SafeTensorError| e)?;
    Ok(safetensors::serialize(views, None)?)
}

/// The network of faces that ships, and what inversion needs beside it.
struct Shipped {
    decoder: StyleGan2,
    encoder: Encoder,
    lpips: Lpips,
    distribution: WDistribution,
}

impl Shipped {
    fn open(assets: &Path) -> Fallible<Self> {
        let device = Device::default();
        let file = Checkpoint::open(assets.join("faces_64.safetensors"))?;
        let decoder = StyleGan2::new(&file.generator("G_ema", &device)?)?;
        Ok(Self {
            encoder: Encoder::open(assets.join("faces_64_encoder.safetensors"), &device)?,
            lpips: Lpips::alexnet(&device)?,
            distribution: WDistribution::estimate(&decoder, WDistribution::SAMPLES, 0)?,
            decoder,
        })
    }

    fn tools(&self) -> Tools<'_> {
        Tools {
            decoder: &self.decoder,
            lpips: &self.lpips,
            distribution: &self.distribution,
            encoder: Some(&self.encoder),
        }
    }

    fn inverter(&self, method: Method) -> Inverter {
        Inverter::new(method).suited_to(self.decoder.z_dim(), self.decoder.w_dim())
    }
}

fn pictures(images: &Tensor<4>) -> Fallible<Vec<Photo>> {
    let n = images.dims()[0];
    let each = (0..n).map(|k| Photo::from_tensor(images.clone().narrow(0, k, 1)));
    Ok(each.collect::<Result<_, _>>()?)
}

/// How near the latents of generated pictures come to the true ones.
fn own(shipped: &Shipped, default: &Inverter, photos: usize) -> Fallible<()> {
    let decoder = &shipped.decoder;
    let seeds: Vec<u32> = (0..u32::try_from(photos)?).map(|k| 10_000 + k).collect();
    let z = stylegan2_burn::seed::latents(&seeds, decoder.z_dim(), &decoder.device());
    let truth = decoder.map(z);
    let images = decoder.decode(broadcast(truth.clone(), decoder.num_ws()), None);
    // Through bytes, as photos come.
    let images: Vec<Tensor<4>> = pictures(&images)?
        .iter()
        .map(|photo| photo.to_tensor(&decoder.device()))
        .collect();
    let images = Tensor::cat(images, 0);
    let ids: Vec<String> = seeds.iter().map(u32::to_string).collect();
    let mean = shipped.distribution.mean();
    for (name, inverter) in [
        ("encoder", shipped.inverter(Method::Encoder)),
        ("default", *default),
    ] {
        let started = ProcessTime::now();
        let on = &mut |_: usize, _: usize| ControlFlow::Continue(());
        let found = inverter.invert(&shipped.tools(), images.clone(), &ids, on)?;
        let seconds = started.elapsed().as_secs_f64() / photos as f64;
        let found = found.ok_or("broken off")?;
        let rows: Vec<f32> = truth.to_data().try_to_vec()?;
        let truths = rows.chunks_exact(decoder.w_dim());
        let mut cosines: Vec<f64> = found
            .iter()
            .zip(truths)
            .map(|(f, truth)| cosine(&f.w, truth, mean))
            .collect();
        cosines.sort_unstable_by(f64::total_cmp);
        let average = |of: &dyn Fn(&Quality) -> f64| {
            found.iter().map(|f| of(&f.quality)).sum::<f64>() / photos as f64
        };
        println!(
            "{name:9} {photos} own pictures, {seconds:.2} CPU s each; cosine of w less the mean latent {:.4} (median {:.4}, \
             twentieth part below {:.4}); LPIPS W {:.5} W+ {:.5}, PSNR W {:.2} W+ {:.2}, trusted {}",
            cosines.iter().sum::<f64>() / photos as f64,
            cosines[photos / 2],
            cosines[photos / 20],
            average(&|q| q.lpips_w),
            average(&|q| q.lpips),
            average(&|q| q.psnr_w),
            average(&|q| q.psnr),
            found.iter().filter(|f| f.quality.trusted).count(),
        );
    }
    Ok(())
}

/// Of two latents less their mean.
fn cosine(a: &[f32], b: &[f32], mean: &[f64]) -> f64 {
    let less = |v: &[f32]| -> Vec<f64> {
        let pairs = v.iter().zip(mean);
        pairs.map(|(&v, m)| f64::from(v) - m).collect()
    };
    let (a, b) = (less(a), less(b));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// Inverts photos of the shipped generator and prints the memory on the way.
fn memory(shipped: &Shipped, photos: usize, method: Method, steps: usize) -> Fallible<()> {
    let decoder = &shipped.decoder;
    let device = decoder.device();
    let folder = tempfile::tempdir()?;
    let faces = folder.path().join("faces");
    std::fs::create_dir(&faces)?;
    for k in 0..photos {
        let z = stylegan2_burn::seed::latents(&[u32::try_from(k)?], decoder.z_dim(), &device);
        let image = decoder.decode(broadcast(decoder.map(z), decoder.num_ws()), None);
        Photo::from_tensor(image)?.save_png(faces.join(format!("{k:04}.png")))?;
    }
    let cohort = Cohort {
        inverter: shipped.inverter(method).with_steps(steps),
        ..Cohort::default()
    };
    let manifest = Manifest::of_folder(&faces)?;
    let started = ProcessTime::now();
    let mut early = None;
    cohort.run(
        &shipped.tools(),
        &manifest,
        folder.path().join("out"),
        &mut |p| {
            // The first batch after 50 photos.
            if p.done >= 50 && early.is_none() {
                early = Some((p.done, resident()));
            }
            ControlFlow::Continue(())
        },
    )?;
    let (at, [then, then_peak]) = early.ok_or("fewer than 50 photos")?;
    let [now, peak] = resident();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{{\"method\":\"{method:?}\",\"steps\":{},\"photos\":{photos},\"early\":{at},\
         \"resident_early_mb\":{then:.1},\"peak_early_mb\":{then_peak:.1},\"resident_mb\":{now:.1},\
         \"peak_mb\":{peak:.1},\"growth_of_peak\":{:.4},\"cpu\":{seconds:.1}}}",
        cohort.inverter.in_w.steps + cohort.inverter.in_w_plus.steps,
        peak / then_peak - 1.0
    );
    Ok(())
}

/// Resident memory and its peak so far, in MB; Linux only.
fn resident() -> [f64; 2] {
    ["VmRSS", "VmHWM"].map(|name| survlatent_benches::resident(name) / 1024.0)
}
