//! From a photo to its latents:
//! `cargo run --release --example invert_photo --features gan -- PHOTO NETWORK OUT.png [ENCODER]`.
//!
//! The face is found, cut out as the generator was trained, inverted in W and W+, and shown beside
//! its inversions, as `survlatent invert` does it. Without arguments it is a portrait of ORL and the
//! network that ships, with its encoder; neither has seen a portrait of ORL.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use latent_inversion::align::{AlignSettings, Aligner};
use latent_inversion::lpips::Lpips;
use latent_inversion::{
    Decoder, Encoder, Inverter, Method, Photo, PhotoLimits, StyleGan2, Tools, WDistribution,
    broadcast,
};
use stylegan2_burn::Checkpoint;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let orl = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/orl/s01_01.png");
    let picture = args.first().unwrap_or(&orl);
    let temporary = std::env::temp_dir().join("inversion.png");
    let out = args.get(2).unwrap_or(&temporary);
    let device = Device::default();

    let file = match args.get(1) {
        Some(path) => Checkpoint::open(path)?,
        None => Checkpoint::from_bytes(survlatent::assets::FACES_64.to_vec())?,
    };
    let name = file.default_generator().ok_or("no generator in the file")?;
    let decoder = StyleGan2::new(&file.generator(name, &device)?)?;
    let [_, side, _] = decoder.shape();

    let aligner = Aligner::new(AlignSettings::default().with_size(side), &device)?;
    let photo = Photo::open(picture, &PhotoLimits::default())?;
    let face = match aligner.align(&photo)? {
        Ok(face) => face.picture.to_tensor(&device), // [1, 3, side, side]
        Err(reason) => return Err(format!("{}: {reason}", picture.display()).into()),
    };

    let lpips = Lpips::alexnet(&device)?;
    let distribution = WDistribution::estimate(&decoder, WDistribution::SAMPLES, 0)?;
    // The shipped network's own; a network of one's own has none without one.
    let encoder = match (args.get(3), args.get(1)) {
        (Some(path), _) => Some(Encoder::open(path, &device)?),
        (None, None) => {
            let shipped = survlatent::assets::FACES_64_ENCODER;
            Some(Encoder::from_bytes(shipped, &device)?)
        }
        (None, Some(_)) => None,
    };
    let tools = Tools {
        decoder: &decoder,
        lpips: &lpips,
        distribution: &distribution,
        encoder: encoder.as_ref(),
    };
    // With an encoder, from what it reads off; without, from the mean face.
    let inverter = if encoder.is_some() {
        Inverter::new(Method::Default)
    } else {
        Inverter::new(Method::Hybrid).with_steps(60)
    };
    let inverter = inverter.suited_to(decoder.z_dim(), decoder.w_dim());
    let on = &mut |_: usize, _: usize| ControlFlow::Continue(());
    let found = inverter.invert(&tools, face.clone(), &["photo"], on)?;
    let found = found.ok_or("broken off")?.remove(0);
    println!("{}", found.quality);

    let rows = decoder.num_ws();
    let w = Tensor::<1>::from_floats(found.w.as_slice(), &device);
    let w_plus = Tensor::<1>::from_floats(found.w_plus.as_slice(), &device);
    let width = decoder.w_dim();
    let in_w = decoder.decode(broadcast(w.reshape([1, width]), rows), None);
    let in_w_plus = decoder.decode(w_plus.reshape([1, rows, width]), None);
    Photo::from_tensor(Tensor::cat(vec![face, in_w, in_w_plus], 3))?.save_png(out)?;
    println!("{}: photo | W | W+", out.display());
    Ok(())
}
