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
//! `... -- quality FOLDER [steps]` inverts the photos of a folder (faces of 64 px) by the default method and by
//! the published projector and prints what both reach, with the noise images the projector has made for
//! itself, and with the latents alone, which is what is stored; of those also the identity cosine, and for
//! comparison that of different photos. `w=N` and `plus=N` (here and for `own`) change the default method's steps in W
//! and W+, `reuse=N` and `tolerance=X` the search in Z, `rate=X`, `squared=X` and `delta=X` the learning rate and weights in W+; without any steps of the projector it is left out.

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use cpu_time::ProcessTime;
use latent_inversion::align::Landmarks;
use latent_inversion::cohort::{Cohort, Manifest, open_face};
use latent_inversion::face::{Embedding, FaceDetector, Identity};
use latent_inversion::lpips::{Lpips, Trunk};
use latent_inversion::{
    CounterDraws, Decoder, Encoder, Inversion, Inverter, Method, Photo, PhotoLimits, Projector,
    Quality, StyleGan2, Target, Tools, WDistribution, broadcast,
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
        return quality(&shipped, &default, Path::new(folder), steps);
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
    for (i, width) in trunk.widths().into_iter().enumerate() {
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

/// Which persons the photos show, for the network that tells persons apart.
struct Identities {
    network: Identity,
    landmarks: Vec<Landmarks>,
    photos: Vec<Embedding>,
}

impl Identities {
    fn of(images: &Tensor<4>) -> Fallible<Self> {
        let device = images.device();
        let detector = FaceDetector::new(&device)?;
        let network = Identity::new(&device)?;
        let photos = pictures(images)?;
        let mut landmarks = Vec::new();
        for photo in &photos {
            let found = detector.detect(photo)?;
            let face = found.first().ok_or("a photo without a face")?;
            landmarks.push(Landmarks::from_five(face.landmarks)?);
        }
        let mut own = Self {
            network,
            landmarks,
            photos: Vec::new(),
        };
        own.photos = own.embed(&photos)?;
        Ok(own)
    }

    /// At the places where the photos have their faces.
    fn embed(&self, pictures: &[Photo]) -> Fallible<Vec<Embedding>> {
        let faces = pictures.iter().zip(self.landmarks.iter().copied());
        Ok(self.network.embed_all(&faces.collect::<Vec<_>>())?)
    }

    /// The mean cosine of each photo and its picture.
    fn cosine(&self, images: &Tensor<4>) -> Fallible<f64> {
        let found = self.embed(&pictures(images)?)?;
        let cosines = found.iter().zip(&self.photos).map(|(a, b)| a.cosine(b));
        Ok(cosines.sum::<f64>() / found.len() as f64)
    }

    /// The mean cosine of different photos.
    fn of_others(&self) -> f64 {
        let n = self.photos.len();
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        let cosines = pairs.map(|(i, j)| self.photos[i].cosine(&self.photos[j]));
        cosines.sum::<f64>() / (n * (n - 1) / 2).max(1) as f64
    }
}

fn pictures(images: &Tensor<4>) -> Fallible<Vec<Photo>> {
    let n = images.dims()[0];
    let each = (0..n).map(|k| Photo::from_tensor(images.clone().narrow(0, k, 1)));
    Ok(each.collect::<Result<_, _>>()?)
}

/// What the default method and the projector reach on photos, and what they cost.
fn quality(shipped: &Shipped, default: &Inverter, folder: &Path, steps: usize) -> Fallible<()> {
    let manifest = Manifest::of_folder(folder)?;
    let decoder = &shipped.decoder;
    let (ids, images): (Vec<String>, Vec<Tensor<4>>) = manifest
        .entries()
        .iter()
        .map(|e| {
            Ok((
                e.id.clone(),
                open_face(&e.path, &PhotoLimits::default(), decoder)?,
            ))
        })
        .collect::<Fallible<Vec<_>>>()?
        .into_iter()
        .unzip();
    let images = Tensor::cat(images, 0);
    let identities = Identities::of(&images)?;
    println!(
        "identity cosine of different photos: {:.3}",
        identities.of_others()
    );
    let (n, rows, width) = (ids.len(), decoder.num_ws(), decoder.w_dim());
    for (name, inverter) in [
        ("default", *default),
        (
            "projector",
            shipped.inverter(Method::Projector).with_steps(steps),
        ),
    ] {
        if steps == 0 && name == "projector" {
            break;
        }
        let started = ProcessTime::now();
        let on = &mut |_: usize, _: usize| ControlFlow::Continue(());
        let found = inverter.invert(&shipped.tools(), images.clone(), &ids, on)?;
        let seconds = started.elapsed().as_secs_f64() / n as f64;
        let found = found.ok_or("broken off")?;
        let mean = |of: &dyn Fn(&Quality) -> f64| {
            found.iter().map(|f| of(&f.quality)).sum::<f64>() / n as f64
        };
        let target = shipped.lpips.features(images.clone());
        let alone = |ws: Tensor<3>| -> Fallible<[f64; 3]> {
            let picture = decoder.decode(ws, None).clamp(-1.0, 1.0);
            let features = shipped.lpips.features(picture.clone());
            let distance = shipped.lpips.distance(&features, &target);
            let identity = identities.cosine(&picture)?;
            let squares = (picture - images.clone()).square();
            let squares = squares.mean_dim(3).mean_dim(2).mean_dim(1).reshape([n]);
            let psnr = (squares.recip() * 4.0).log() * (10.0 / std::f64::consts::LN_10);
            let [distance, psnr] =
                [distance, psnr].map(|v| f64::from(v.mean().into_scalar::<f32>()));
            Ok([distance, psnr, identity])
        };
        let all = |of: fn(&Inversion) -> &[f32]| -> Vec<f32> {
            found.iter().flat_map(|f| of(f).iter().copied()).collect()
        };
        let device = decoder.device();
        let w = TensorData::new(all(|f| &f.w), [n, width]);
        let w = alone(broadcast(Tensor::from_data(w, &device), rows))?;
        let plus = TensorData::new(all(|f| &f.w_plus), [n, rows, width]);
        let plus = alone(Tensor::from_data(plus, &device))?;
        println!(
            "{name:9} {n} photos, {seconds:.2} CPU s each; reported LPIPS W {:.4} W+ {:.4}, PSNR W {:.2} W+ {:.2}; \
             latents alone LPIPS W {:.4} W+ {:.4}, PSNR W {:.2} W+ {:.2}, identity cosine W {:.3} W+ {:.3}; \
             Mahalanobis {:.1}, trusted {}",
            mean(&|q| q.lpips_w),
            mean(&|q| q.lpips),
            mean(&|q| q.psnr_w),
            mean(&|q| q.psnr),
            w[0],
            plus[0],
            w[1],
            plus[1],
            w[2],
            plus[2],
            mean(&|q| q.mahalanobis),
            found.iter().filter(|f| f.quality.trusted).count(),
        );
    }
    Ok(())
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
