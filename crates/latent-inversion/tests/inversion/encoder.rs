//! The encoder: it learns, goes on to the bit, and its file is the same network.

use burn::tensor::Device;
use latent_inversion::{
    Coordinates, Decoder, Encoder, EncoderSettings, EncoderTrainer, EncoderTraining, Precision,
    StyleGan2, broadcast,
};
use stylegan2_burn::GeneratorConfig;

use crate::common::floats;
use crate::projector::generator;

fn training() -> EncoderTraining {
    EncoderTraining {
        network: EncoderSettings {
            channel_base: 256,
            channel_max: 64,
            hidden: 64,
        },
        kimg: 0.064,
        batch: 8,
        linear: 1024,
        ..EncoderTraining::default()
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn latents_of_samples_are_learnt() {
    let decoder = generator(&Device::default());
    let settings = EncoderTraining {
        kimg: 1.28,
        batch: 16,
        learning_rate: 2e-3,
        linear: 0,
        ..training()
    };
    let mut trainer = EncoderTrainer::new(&decoder, "tiny", settings).unwrap();
    let before = trainer.validate(64);
    let first = trainer.step().unwrap().loss;
    let mut last = first;
    while !trainer.is_finished() {
        last = trainer.step().unwrap().loss;
    }
    let after = trainer.validate(64);
    assert!(before < 0.2 && after > 0.6, "{before} {after}");
    assert!(last < 0.7 * first, "{first} {last}");
    assert_eq!(trainer.images(), 1280);
    // This network is nearly linear: least squares alone do well.
    let trainer = EncoderTrainer::new(&decoder, "tiny", training()).unwrap();
    let linear = trainer.validate(64);
    assert!(linear > 0.9, "{linear}");
}

/// Stopped and resumed is the same as not stopped: parameters and state, bit by bit, in both units.
#[test]
fn training_goes_on_to_the_bit() {
    let decoder = generator(&Device::default());
    let folder = tempfile::tempdir().unwrap();
    let [whole, part] = ["whole", "part"].map(|name| folder.path().join(name));
    let settings = EncoderTraining {
        coordinates: Coordinates::Whitened,
        squared: 0.5,
        perceptual: 0.5,
        batch: 2,
        linear: 64,
        ..training()
    };
    let mut trainer = EncoderTrainer::new(&decoder, "tiny", settings.clone()).unwrap();
    for _ in 0..4 {
        trainer.step().unwrap();
    }
    trainer.save(&whole).unwrap();
    let mut stopped = EncoderTrainer::new(&decoder, "tiny", settings).unwrap();
    for _ in 0..2 {
        stopped.step().unwrap();
    }
    stopped.save(&part).unwrap();
    let mut again = EncoderTrainer::resume(&decoder, &part, |_| {}).unwrap();
    assert_eq!(again.steps(), 2);
    for _ in 0..2 {
        again.step().unwrap();
    }
    again.save(&part).unwrap();
    assert_eq!(
        std::fs::read(&whole).unwrap(),
        std::fs::read(&part).unwrap()
    );

    let other = GeneratorConfig::new(32)
        .with_channel_base(128)
        .with_z_dim(32)
        .with_w_dim(32)
        .init(&Device::default())
        .unwrap();
    let other = StyleGan2::new(&other).unwrap();
    let Err(error) = EncoderTrainer::resume(&other, &part, |_| {}) else {
        panic!("another generator's state was taken");
    };
    assert!(
        error.to_string().contains(&decoder.fingerprint()),
        "{error}"
    );
}

#[test]
fn files_hold_the_same_network() {
    let device = Device::default();
    let decoder = generator(&device);
    let folder = tempfile::tempdir().unwrap();
    for coordinates in [Coordinates::Plain, Coordinates::Whitened] {
        let settings = EncoderTraining {
            coordinates,
            ..training()
        };
        let mut trainer = EncoderTrainer::new(&decoder, "tiny", settings.clone()).unwrap();
        while !trainer.is_finished() {
            trainer.step().unwrap();
        }
        let encoder = trainer.encoder();
        let path = folder.path().join("encoder.safetensors");
        encoder.save(&path, Precision::Single).unwrap();
        let read = Encoder::open(&path, &device).unwrap();
        assert!(read.belongs_to(&decoder) && read.generator() == "tiny");
        assert_eq!(read.images(), 64);
        let z = stylegan2_burn::seed::latents(&[1, 2, 3], 32, &device);
        let w = decoder.map(z);
        let images = decoder.decode(broadcast(w.clone(), decoder.num_ws()), None);
        let found = floats(encoder.encode(images.clone()));
        assert_eq!(bits(&found), bits(&floats(read.encode(images.clone()))));

        encoder.save(&path, Precision::Half).unwrap();
        let half = Encoder::open(&path, &device).unwrap();
        let rounded = floats(half.encode(images.clone()));
        let pairs = found.iter().zip(&rounded);
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst > 0.0 && worst < 5e-3, "{worst}");

        // The latents are in W, whatever the units of training, and training can start from them.
        let before = trainer.validate(32);
        let on = EncoderTrainer::from_encoder(&decoder, "tiny", settings, &read).unwrap();
        let after = on.validate(32);
        assert!((before - after).abs() < 1e-3, "{before} {after}");
        assert_eq!(on.images(), 64);
    }
    let path = folder.path().join("none.safetensors");
    std::fs::write(&path, b"not a file of tensors").unwrap();
    let error = Encoder::open(&path, &device).unwrap_err().to_string();
    assert!(error.contains("none.safetensors"), "{error}");
}

/// Nothing of another image reaches a latent.
#[test]
fn an_image_is_alone_in_its_batch() {
    let device = Device::default();
    let decoder = generator(&device);
    let trainer = EncoderTrainer::new(&decoder, "tiny", training()).unwrap();
    let encoder = trainer.encoder();
    let z = stylegan2_burn::seed::latents(&[1, 2, 3, 4, 5], 32, &device);
    let images = decoder.decode(broadcast(decoder.map(z), decoder.num_ws()), None);
    let all = floats(encoder.encode(images.clone()));
    for (k, expected) in all.chunks_exact(32).enumerate() {
        let one = floats(encoder.encode(images.clone().slice_dim(0, k..k + 1)));
        let worst = one.iter().zip(expected).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f32::max) < 1e-5);
    }
    assert!(encoder.check(&decoder).is_ok());
}
