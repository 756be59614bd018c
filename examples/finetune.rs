//! Fine-tune a network on pictures:
//! `cargo run --release --example finetune --features gan -- NETWORK FOLDER OUT [KIMG]`.
//!
//! Without arguments a tiny network learns eight made-up pictures for a few iterations.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::Device;
use stylegan2_burn::train::{
    Ending, ImageFolder, ImageSource, Networks, Preset, RunSettings, TrainRun, Trainer,
};
use stylegan2_burn::{Checkpoint, Result};

/// Discs of several sizes and colours.
struct Discs;

impl ImageSource for Discs {
    fn len(&self) -> usize {
        8
    }
    fn shape(&self) -> [usize; 3] {
        [3, 16, 16]
    }
    fn label_dim(&self) -> usize {
        0
    }
    fn image(&self, index: usize) -> Result<Vec<u8>> {
        let inside = |x: usize, y: usize| {
            let squared = x.abs_diff(8).pow(2) + y.abs_diff(8).pow(2);
            squared < (3 + index % 4).pow(2)
        };
        let value = |c: usize, x, y| {
            if inside(x, y) {
                [230, 120, 60][(c + index) % 3]
            } else {
                20
            }
        };
        Ok((0..3 * 256)
            .map(|k| value(k / 256, k % 16, k / 16 % 16))
            .collect())
    }
    fn label(&self, _: usize) -> Option<Vec<f32>> {
        None
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let device = Device::default();
    let trainer = match args.as_slice() {
        [network, folder, _, rest @ ..] => {
            let file = Checkpoint::open(network)?;
            let name = file.default_generator().ok_or("no generator")?;
            let config = file.generator_config(name)?;
            let pictures = ImageFolder::default()
                .with_resolution(config.resolution)
                .with_channels(config.channels)
                .with_labels(config.c_dim > 0)
                .open(folder)?;
            let mut plan = Preset::Auto.plan(config.resolution, config.channels, config.c_dim);
            // Before `fine_tuning`: a short training has a fast moving average.
            plan.settings.kimg = rest.first().map_or(Ok(100), |s| s.parse())?;
            let plan = plan.fine_tuning();
            let known = Networks::has_discriminator(&file);
            let networks = if known {
                Networks::open(&file, &device)?
            } else {
                println!("{network} holds no discriminator: a new one");
                Networks::open_generator(&file, &plan.discriminator, 1, &device)?
            };
            let settings = plan
                .settings
                .with_mirror(true)
                // The layers nearest the picture know what pictures are made of, if they have learnt it.
                .with_freeze_d(if known { 4 } else { 0 });
            Trainer::new(settings, networks, Arc::new(pictures))?
        }
        [] => {
            let mut plan = Preset::Auto.plan(16, 3, 0);
            plan.generator.channel_base = 256;
            plan.discriminator.channel_base = 256;
            let settings = plan.settings.with_kimg(1).with_batch(8);
            let networks = Networks::init(&plan.generator, &plan.discriminator, 1, &device)?;
            Trainer::new(settings, networks, Arc::new(Discs))?
        }
        _ => return Err("NETWORK FOLDER OUT [KIMG], or nothing".into()),
    };

    let temporary = std::env::temp_dir().join(format!("finetune-{}", std::process::id()));
    let out = args.get(2).map_or(temporary, Into::into);
    let mut run = TrainRun::create(&out, trainer, RunSettings::new().with_snapshot_kimg(20.0))?;
    let few = args.is_empty();
    let ending = run.train(|step| {
        println!("{step}");
        if few && step.iteration == 8 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    println!(
        "{} in {}",
        if ending == Ending::Finished {
            "finished"
        } else {
            "stopped"
        },
        out.display()
    );
    Ok(())
}
