//! Faces against the reference implementation, and cut out.
#![allow(clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use latent_inversion::align::{AlignSettings, Aligner, Choice, Landmarks};
use latent_inversion::face::{DetectorSettings, FaceDetector};
use latent_inversion::{Photo, PhotoLimits};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    bounds: [f64; 4],
    probability: f64,
    landmarks: [[f64; 2]; 5],
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn open(name: &str) -> Photo {
    Photo::open(root().join(name), &PhotoLimits::default()).unwrap()
}

/// With weights in half precision, against float32: 0.5 pixels were asked for.
#[test]
fn faces_are_where_the_reference_finds_them() {
    let text = std::fs::read_to_string(root().join("tests/golden/mtcnn/faces.json")).unwrap();
    let expected: BTreeMap<String, Vec<Reference>> = serde_json::from_str(&text).unwrap();
    assert_eq!(expected.len(), 8);
    let detector = FaceDetector::new(&Device::default()).unwrap();
    let (mut worst, mut worst_probability) = (0.0_f64, 0.0_f64);
    for (name, expected) in &expected {
        let found = detector.detect(&open(name)).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (got, want) in found.iter().zip(expected) {
            let off = |a: &[f64], b: &[f64]| {
                let pairs = a.iter().zip(b);
                pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
            };
            worst = worst.max(off(&got.bounds, &want.bounds));
            worst = worst.max(off(
                got.landmarks.as_flattened(),
                want.landmarks.as_flattened(),
            ));
            worst_probability = worst_probability.max((got.probability - want.probability).abs());
        }
    }
    assert!(worst < 0.1, "{worst} pixels");
    assert!(worst_probability < 1e-3, "{worst_probability}");
}

#[derive(Deserialize)]
struct Case {
    landmarks: [[f64; 2]; 5],
    quad: [[f64; 2]; 4],
}

/// Within 0.01 pixels and 40 dB of numpy and Pillow.
#[test]
fn squares_are_drawn_as_by_pillow() {
    let text = std::fs::read_to_string(root().join("tests/golden/align/case.json")).unwrap();
    let case: Case = serde_json::from_str(&text).unwrap();
    let settings = AlignSettings::default().with_size(64);
    let aligner = Aligner::new(settings, &Device::default()).unwrap();
    let landmarks = Landmarks::from_five(case.landmarks).unwrap();
    let photo = open("tests/golden/align/photo.png");
    let alignment = aligner.align_at(&photo, landmarks).unwrap();
    let corners = alignment.quad.corners();
    for (got, want) in corners.as_flattened().iter().zip(case.quad.as_flattened()) {
        assert!((got - want).abs() < 0.01, "{got} {want}");
    }
    let want = open("tests/golden/align/face.png");
    let pairs = alignment.picture.rgb().iter().zip(want.rgb());
    let squares: f64 = pairs
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    let mean = squares / want.rgb().len() as f64;
    let psnr = 10.0 * (255.0 * 255.0 / mean.max(1e-12)).log10();
    assert!(psnr > 40.0, "{psnr} dB");
}

/// Twenty people's photos, of which all but one at the most are to be found. Enlarged into blocks of
/// four pixels, the eyes move by a few percent of their distance; sharp photos of 256 pixels repeat
/// themselves better (docs/alignment.md).
#[test]
fn small_gray_portraits_are_aligned_and_alignment_repeats_itself() {
    let settings = AlignSettings::default().with_size(128);
    let aligner = Aligner::new(settings, &Device::default()).unwrap();
    let mut aligned = 0;
    let mut shifts = Vec::new();
    for person in (1..=40).step_by(2) {
        let name = format!("examples/data/orl/s{person:02}_{:02}.png", person % 10 + 1);
        let photo = open(&name);
        let Ok(first) = aligner.align(&photo).unwrap() else {
            continue;
        };
        aligned += 1;
        // The photo inside a larger one, twice the size: the face is to be cut out alike.
        let (w, h) = (photo.width(), photo.height());
        let twice = (0..2 * h + 40)
            .flat_map(|y| (0..2 * w + 60).map(move |x| (x, y)))
            .flat_map(|(x, y)| {
                let (x, y) = ((x / 2).min(w - 1), (y / 2).min(h - 1));
                let at = 3 * (y * w + x);
                [photo.rgb()[at], photo.rgb()[at + 1], photo.rgb()[at + 2]]
            });
        let twice = Photo::from_rgb(2 * w + 60, 2 * h + 40, twice.collect()).unwrap();
        let Ok(second) = aligner.align(&twice).unwrap() else {
            continue;
        };
        for eye in &first.landmarks.points()[..2] {
            let [x, y] = second.to_aligned(eye.map(|v| 2.0 * v + 0.5));
            let [u, v] = first.to_aligned(*eye);
            let distance = {
                let [a, b, ..] = second.landmarks.points().map(|p| second.to_aligned(p));
                (a[0] - b[0]).hypot(a[1] - b[1])
            };
            shifts.push((x - u).hypot(y - v) / distance);
        }
    }
    assert!(aligned >= 19, "{aligned} of 20");
    assert!(shifts.len() >= 36, "{}", shifts.len());
    shifts.sort_unstable_by(f64::total_cmp);
    let median = shifts[shifts.len() / 2];
    assert!(median < 0.06, "{median}");
}

#[test]
fn photos_that_cannot_be_relied_on_are_set_aside() {
    let device = Device::default();
    let aligner = |settings: AlignSettings| Aligner::new(settings, &device).unwrap();
    let why = |aligner: &Aligner, photo: &Photo| {
        let set_aside = aligner.align(photo).unwrap().unwrap_err();
        set_aside.reason.name()
    };
    let standard = aligner(AlignSettings::default());
    let pair = open("tests/golden/mtcnn/pair.png");
    assert_eq!(why(&standard, &pair), "several_faces");
    let largest = aligner(AlignSettings::default().with_choice(Choice::Largest));
    let face = largest.align(&pair).unwrap().unwrap().face.unwrap();
    assert!(
        face.bounds[2] < 170.0,
        "the larger one is on the left: {face:?}"
    );

    let photo = open("examples/data/orl/s03_04.png");
    assert!(standard.align(&photo).unwrap().is_ok());
    let near = AlignSettings::default().with_min_eye_distance(60.0);
    assert_eq!(why(&aligner(near), &photo), "too_small");
    let straight = AlignSettings::default().with_max_yaw(0.0);
    assert_eq!(why(&aligner(straight), &photo), "turned_away");
    let whole = AlignSettings::default().with_max_beyond(0.0);
    assert_eq!(why(&aligner(whole), &photo), "beyond_photo");

    // Blurred by a sixteenth of the eyes' distance; the landmarks are those of the sharp photo.
    let landmarks =
        Landmarks::from_five(standard.align(&photo).unwrap().unwrap().landmarks.points());
    let (w, h) = (photo.width() as u32, photo.height() as u32);
    let sharp = image::RgbImage::from_raw(w, h, photo.rgb().to_vec()).unwrap();
    let landmarks = landmarks.unwrap();
    let soft = image::imageops::blur(&sharp, (landmarks.eye_distance() / 16.0) as f32);
    let soft = Photo::from_rgb(photo.width(), photo.height(), soft.into_raw()).unwrap();
    let set_aside = standard.align_at(&soft, landmarks).unwrap_err();
    assert_eq!(set_aside.reason.name(), "too_blurred");
    assert!(set_aside.to_string().contains("too blurred"), "{set_aside}");
    let outside = landmarks.points().map(|[x, y]| [x + 100.0, y]);
    let outside = Landmarks::from_five(outside).unwrap();
    let set_aside = standard.align_at(&photo, outside).unwrap_err();
    assert_eq!(set_aside.reason.name(), "landmarks");
}

/// Batches and strips of fixed size: the same bits from any number of threads.
#[test]
fn results_do_not_depend_on_the_threads() {
    let detector = FaceDetector::new(&Device::default()).unwrap();
    let photo = open("tests/golden/mtcnn/pair.png");
    let here = detector.detect(&photo).unwrap();
    let pool = |n| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build()
            .unwrap()
    };
    for n in [1, 3] {
        assert_eq!(pool(n).install(|| detector.detect(&photo)).unwrap(), here);
    }
}

/// The search at half the size, and a picture too small for any face.
#[test]
fn photos_of_any_size_are_searched() {
    let detector = FaceDetector::new(&Device::default()).unwrap();
    let dot = Photo::from_rgb(1, 1, vec![9; 3]).unwrap();
    assert!(detector.detect(&dot).unwrap().is_empty());
    let photo = open("examples/data/orl/s03_04.png");
    let (w, h, times) = (photo.width(), photo.height(), 44);
    let pixel = |k: usize| {
        let (x, y) = (k % (w * times) / times, k / (w * times) / times);
        photo.rgb()[3 * (y * w + x)]
    };
    let large = (0..w * h * times * times).flat_map(|k| [pixel(k); 3]);
    let large = Photo::from_rgb(w * times, h * times, large.collect()).unwrap();
    assert!(large.width() * large.height() > 1 << 24);
    let settings = DetectorSettings::default().with_min_face_fraction(20.0 / 92.0);
    let detector = detector.with_settings(settings).unwrap();
    let (small, found) = (
        detector.detect(&photo).unwrap(),
        detector.detect(&large).unwrap(),
    );
    assert_eq!((small.len(), found.len()), (1, 1));
    for (a, b) in found[0]
        .landmarks
        .as_flattened()
        .iter()
        .zip(small[0].landmarks.as_flattened())
    {
        let at = (a + 0.5) / times as f64 - 0.5;
        assert!((at - b).abs() < 2.0, "{at} {b}");
    }
}
