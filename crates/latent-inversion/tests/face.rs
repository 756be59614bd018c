//! Faces against the reference implementation.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use latent_inversion::face::FaceDetector;
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
    println!("worst: {worst} pixels, {worst_probability}");
    assert!(worst < 0.1, "{worst} pixels");
    assert!(worst_probability < 1e-3, "{worst_probability}");
}
