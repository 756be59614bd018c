//! The bits of a photo are the same in batches of any size, with the network that ships: its layers are of the
//! widths at which the CPU back end changes the kernel of its products between one size and another.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use latent_inversion::cohort::{Cohort, Manifest, gather};
use latent_inversion::lpips::Lpips;
use latent_inversion::{
    Decoder, Encoder, Inverter, Method, Photo, StyleGan2, Target, Tools, WDistribution, broadcast,
};
use stylegan2_burn::Checkpoint;

use crate::common::floats;

/// Sizes of batches, with some from each side of every change.
const SIZES: [usize; 6] = [1, 2, 3, 5, 9, 10];

struct Shipped {
    decoder: StyleGan2,
    encoder: Encoder,
    lpips: Lpips,
    distribution: WDistribution,
}

impl Shipped {
    fn open() -> Self {
        let device = Device::default();
        let assets = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../survlatent/assets"));
        let file = Checkpoint::open(assets.join("faces_64.safetensors")).unwrap();
        let decoder = StyleGan2::new(&file.generator("G_ema", &device).unwrap()).unwrap();
        Self {
            encoder: Encoder::open(assets.join("faces_64_encoder.safetensors"), &device).unwrap(),
            lpips: Lpips::alexnet(&device).unwrap(),
            distribution: WDistribution::estimate(&decoder, 600, 0).unwrap(),
            decoder,
        }
    }

    fn tools(&self) -> Tools<'_> {
        Tools {
            decoder: &self.decoder,
            lpips: &self.lpips,
            distribution: &self.distribution,
            encoder: Some(&self.encoder),
        }
    }

    fn latents(&self, count: u32) -> Tensor<2> {
        let seeds: Vec<u32> = (0..count).collect();
        let z = stylegan2_burn::seed::latents(&seeds, self.decoder.z_dim(), &self.decoder.device());
        self.decoder.map(z)
    }
}

fn bits<const D: usize>(x: Tensor<D>) -> Vec<u32> {
    floats(x).into_iter().map(f32::to_bits).collect()
}

/// Latents of z, pictures, features, encoded latents and the gradient of w, for the first of ten latents.
#[test]
fn every_part_gives_a_photo_the_same_bits_in_any_batch() {
    let shipped = Shipped::open();
    let (decoder, lpips) = (&shipped.decoder, &shipped.lpips);
    let whitening = shipped.distribution.on(&decoder.device());
    let whole = shipped.latents(10);
    let target = decoder.decode(broadcast(whole.clone().flip([0]), decoder.num_ws()), None);
    let parts = |n: usize| -> Vec<(&str, Vec<u32>)> {
        let w = whole.clone().narrow(0, 0, n);
        let target = lpips.features(target.clone().narrow(0, 0, n));
        let image = decoder.decode(broadcast(w.clone(), decoder.num_ws()), None);
        let leaf = w.clone().autodiff().require_grad();
        let pictures = decoder.decode(broadcast(leaf.clone(), decoder.num_ws()), None);
        let apart = lpips.distance(&lpips.features(pictures.clone()), &target);
        let length = whitening
            .whiten(leaf.clone().unsqueeze_dim(1))
            .square()
            .sum();
        let loss = apart.sum() + pictures.square().mean() * n as f64 + length;
        let gradient = leaf.grad(&loss.backward()).unwrap();
        vec![
            ("w", bits(shipped.latents(n as u32))),
            ("picture", bits(image.clone())),
            (
                "distance",
                bits(lpips.distance(&lpips.features(image.clone()), &target)),
            ),
            ("encoded", bits(shipped.encoder.encode(image))),
            ("gradient", bits(gradient)),
        ]
    };
    let all = parts(10);
    let mut off = Vec::new();
    for n in SIZES {
        for ((name, found), (_, expected)) in parts(n).into_iter().zip(&all) {
            if found != expected[..found.len()] {
                off.push(format!("{name} among {n}"));
            }
        }
    }
    assert!(off.is_empty(), "{off:?}");
}

/// Whole inversions by each method, a cohort in shards that the changes lie between.
#[test]
fn shards_of_any_size_are_one_run() {
    let shipped = Shipped::open();
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    let ws = broadcast(shipped.latents(10), shipped.decoder.num_ws());
    let images = shipped.decoder.decode(ws, None);
    for k in 0..10 {
        let photo = Photo::from_tensor(images.clone().slice_dim(0, k..k + 1)).unwrap();
        photo.save_png(photos.join(format!("{k}.png"))).unwrap();
    }
    let manifest = Manifest::of_folder(&photos).unwrap();
    for (name, method, steps) in [
        ("default", Method::Default, 6),
        ("hybrid", Method::Hybrid, 6),
        ("projector", Method::Projector, 3),
        ("encoder", Method::Encoder, 1),
    ] {
        let (z_dim, w_dim) = (shipped.decoder.z_dim(), shipped.decoder.w_dim());
        let run = |batch: usize, shard: &str, out: &Path| {
            let inverter = Inverter::new(method).with_steps(steps);
            let cohort = Cohort {
                inverter: inverter.suited_to(z_dim, w_dim),
                batch,
                shard: shard.parse().unwrap(),
                ..Cohort::default()
            };
            let go = &mut |_: &_| ControlFlow::Continue(());
            let done = cohort.run(&shipped.tools(), &manifest, out, go);
            done.unwrap().unwrap().latents
        };
        let at = |part: &str| folder.path().join(format!("{name}-{part}"));
        let whole = std::fs::read(run(10, "0/1", &at("whole"))).unwrap();
        // Batches of 3 and 2, of 4 and 1.
        for (shard, batch) in [("0/2", 3), ("1/2", 4)] {
            run(batch, shard, &at("shards"));
        }
        let gathered = at("gathered.safetensors");
        gather(&[at("shards")], &gathered).unwrap();
        assert!(std::fs::read(gathered).unwrap() == whole, "{name}");
    }
}

/// What is reported are the iterations that Gauss-Newton made, photo by photo, not their limit.
#[test]
fn iterations_are_those_made() {
    let shipped = Shipped::open();
    let decoder = &shipped.decoder;
    let sample = decoder.decode(broadcast(shipped.latents(1), decoder.num_ws()), None);
    let flat = Tensor::ones_like(&sample) * 0.3;
    let images = Tensor::cat(vec![flat, sample.clamp(-1.0, 1.0)], 0);
    let mut inverter = Inverter::new(Method::Default).suited_to(decoder.z_dim(), decoder.w_dim());
    inverter.in_w_plus.steps = 0;
    let found = inverter.invert(
        &shipped.tools(),
        images.clone(),
        &["flat", "sample"],
        &mut |_, _| ControlFlow::Continue(()),
    );
    let reported = found.unwrap().unwrap().into_iter();
    let reported: Vec<usize> = reported.map(|i| i.quality.iterations).collect();
    let start = shipped.encoder.encode(images.clone()).unsqueeze_dim(1);
    let mut made = vec![0; 2];
    let search = inverter.in_z.unwrap().with_iterations(12);
    let target = Target::new(&shipped.lpips, images);
    search
        .run(
            decoder,
            &shipped.lpips,
            &shipped.distribution,
            &target,
            start,
            &mut |photo, count| {
                made[photo] = count;
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    assert_eq!(reported, made);
    assert!(made.iter().any(|made| *made < 12), "{made:?}");
}
