//! The encoder: it learns, goes on to the bit, and its file is the same network.

use burn::tensor::Device;
use latent_inversion::cohort::Manifest;
use latent_inversion::{
    Coordinates, Decoder, Encoder, EncoderSettings, EncoderTrainer, EncoderTraining, Error,
    FacePhotos, Photo, PhotoLimits, Precision, StyleGan2, broadcast,
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
    for coordinates in [Coordinates::Plain, Coordinates::Whitened] {
        let settings = EncoderTraining {
            coordinates,
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
        let [expected, found] = [&whole, &part].map(|path| std::fs::read(path).unwrap());
        assert!(expected == found, "{coordinates:?}");
    }

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

/// Pictures of the generator as photos, and one that is none.
fn photos(decoder: &StyleGan2, folder: &std::path::Path) -> FacePhotos {
    let z = stylegan2_burn::seed::latents(&[1, 2, 3, 4, 5], 32, &decoder.device());
    let images = decoder.decode(broadcast(decoder.map(z), decoder.num_ws()), None);
    for k in 0..5 {
        let photo = Photo::from_tensor(images.clone().slice_dim(0, k..k + 1)).unwrap();
        photo.save_png(folder.join(format!("{k}.png"))).unwrap();
    }
    std::fs::write(folder.join("5.png"), b"none").unwrap();
    let manifest = Manifest::of_folder(folder).unwrap();
    let (photos, others) = FacePhotos::open(&manifest, &PhotoLimits::default(), decoder).unwrap();
    assert_eq!((photos.len(), others.len()), (5, 1));
    assert_eq!(others[0].0, "5");
    photos
}

/// On photos the pictures come closer to them; stopped and resumed is the same as not stopped.
#[test]
fn photos_refine_an_encoder() {
    let decoder = generator(&Device::default());
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(&decoder, folder.path());
    let start = EncoderTrainer::new(&decoder, "tiny", training()).unwrap();
    let encoder = start.encoder();
    let settings = EncoderTraining {
        squared: 1.0,
        perceptual: 1.0,
        batch: 5,
        kimg: 0.2,
        learning_rate: 3e-3,
        ..training()
    };
    let begin = |settings: &EncoderTraining| {
        EncoderTrainer::from_encoder(&decoder, "tiny", settings.clone(), &encoder).unwrap()
    };
    let mut trainer = begin(&settings).with_photos(photos.clone()).unwrap();
    let first = trainer.step().unwrap();
    assert_eq!(first.cosine, None);
    let [whole, part] = ["whole", "part"].map(|name| folder.path().join(name));
    trainer.step().unwrap();
    trainer.save(&part).unwrap();
    let mut last = first;
    while !trainer.is_finished() {
        last = trainer.step().unwrap();
    }
    assert!(last.loss < 0.8 * first.loss, "{first:?} {last:?}");
    assert_eq!(trainer.images(), 200);
    trainer.save(&whole).unwrap();

    let resume = || EncoderTrainer::resume(&decoder, &part, |_| {}).unwrap();
    let error = resume().step().unwrap_err().to_string();
    assert!(error.contains("photos"), "{error}");
    let mut again = resume().with_photos(photos.clone()).unwrap();
    while !again.is_finished() {
        again.step().unwrap();
    }
    again.save(&part).unwrap();
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&part).unwrap());

    let refused = |trainer: Result<EncoderTrainer<'_>, Error>, says: &str| {
        let Err(error) = trainer else {
            panic!("taken in spite of: {says}");
        };
        assert!(error.to_string().contains(says), "{error}");
    };
    // A photo less is another training, and a training on samples does not turn into one on photos.
    std::fs::remove_file(folder.path().join("3.png")).unwrap();
    let manifest = Manifest::of_folder(folder.path()).unwrap();
    let (fewer, _) = FacePhotos::open(&manifest, &PhotoLimits::default(), &decoder).unwrap();
    refused(resume().with_photos(fewer), "others than those");
    let mut samples = begin(&settings);
    samples.step().unwrap();
    refused(samples.with_photos(photos.clone()), "one on samples");
    refused(begin(&training()).with_photos(photos), "both are zero");
}

/// LPIPS needs pictures of 31 px: an error, not a panic within it.
#[test]
fn pictures_too_small_for_lpips_are_refused() {
    let small = GeneratorConfig::new(16)
        .with_channel_base(128)
        .with_z_dim(8)
        .with_w_dim(8)
        .init(&Device::default())
        .unwrap();
    let small = StyleGan2::new(&small).unwrap();
    let settings = EncoderTraining {
        perceptual: 1.0,
        ..training()
    };
    let Err(error) = EncoderTrainer::new(&small, "small", settings) else {
        panic!("taken");
    };
    assert!(error.to_string().contains("16 x 16"), "{error}");
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
