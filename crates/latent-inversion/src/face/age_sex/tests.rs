//! Against onnxruntime, and what cannot be estimated.

use super::*;
use crate::photo::PhotoLimits;

#[derive(Deserialize)]
struct Case {
    photo: String,
    landmarks: [[f64; 2]; 5],
    inside: bool,
    single: Answer,
    half: Answer,
}

#[derive(Deserialize)]
struct Answer {
    age: f64,
    years: Vec<f32>,
    male: f64,
}

fn open(name: &str) -> Photo {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    Photo::open(format!("{root}{name}"), &PhotoLimits::default()).unwrap()
}

fn cases() -> Vec<Case> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/age-sex/cases.json"
    );
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 8);
    cases
}

/// The faces of a golden picture, which stand side by side.
fn chips(side: usize) -> Vec<Photo> {
    let strip = open(&format!("tests/golden/age-sex/chips_{side}.png"));
    let part = |k: usize| {
        let rows = strip.rgb().chunks_exact(3 * strip.width());
        let rgb: Vec<u8> = rows
            .flat_map(|row| &row[3 * k * side..3 * (k + 1) * side])
            .copied()
            .collect();
        Photo::from_rgb(side, side, rgb).unwrap()
    };
    (0..strip.width() / side).map(part).collect()
}

#[test]
fn the_networks_answer_as_in_onnxruntime() {
    let networks = AgeSex::new(&Device::default()).unwrap();
    let (wide, narrow, cases) = (chips(64), chips(32), cases());
    let years = floats(networks.age.run(tensor(&wide, &networks.device)));
    let sexes = floats(networks.sex.run(tensor(&narrow, &networks.device)));
    let estimates = networks.judge(&wide, &narrow);
    let (mut same, mut rounded) = (0.0_f64, 0.0_f64);
    for (k, case) in cases.iter().enumerate() {
        for (answer, worst) in [(&case.half, &mut same), (&case.single, &mut rounded)] {
            for (got, want) in years[81 * k..].iter().zip(&answer.years) {
                *worst = worst.max(f64::from((got - want).abs()));
            }
            *worst = worst.max((f64::from(sexes[2 * k + 1]) - answer.male).abs());
        }
        assert!((estimates[k].age - case.half.age).abs() < 1e-3);
        assert!((estimates[k].age - case.single.age).abs() < 0.02);
        assert!((estimates[k].male_probability - case.single.male).abs() < 1e-4);
    }
    assert!(same < 1e-5, "{same}");
    assert!(rounded < 2e-3, "{rounded}");
}

/// 40 dB of numpy where the square lies inside the photo; elsewhere the photo is extended in another way.
#[test]
fn faces_are_cut_out_as_by_numpy() {
    let mut inside = 0;
    for side in [64, 32] {
        for (case, want) in cases().iter().zip(chips(side)) {
            let landmarks = Landmarks::from_five(case.landmarks).unwrap();
            let got = cut(&open(&case.photo), &landmarks, side, PADDING, 0).unwrap();
            if !case.inside {
                continue;
            }
            inside += 1;
            let pairs = got.rgb().iter().zip(want.rgb());
            let squares: f64 = pairs
                .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
                .sum();
            let mean = squares / want.rgb().len() as f64;
            let psnr = 10.0 * (255.0_f64.powi(2) / mean.max(1e-9)).log10();
            assert!(psnr > 40.0, "{}: {psnr} dB", case.photo);
        }
    }
    assert!(inside >= 2);
}

#[test]
fn photos_are_judged_singly_and_in_batches_alike() {
    let networks = AgeSex::new(&Device::default()).unwrap().with_batch(3);
    let cases = cases();
    let photos: Vec<Photo> = cases.iter().map(|case| open(&case.photo)).collect();
    let faces: Vec<(&Photo, Landmarks)> = photos
        .iter()
        .zip(&cases)
        .map(|(photo, case)| (photo, Landmarks::from_five(case.landmarks).unwrap()))
        .collect();
    let all = networks.estimate_all(&faces).unwrap();
    for ((photo, landmarks), (found, case)) in faces.iter().zip(all.iter().zip(&cases)) {
        let alone = networks.estimate(photo, landmarks).unwrap();
        assert!((alone.age - found.age).abs() < 1e-3);
        assert!((alone.male_probability - found.male_probability).abs() < 1e-5);
        let male = case.single.male > 0.5;
        assert_eq!(found.sex() == Sex::Male, male, "{}", case.photo);
        if case.inside {
            assert!((found.age - case.single.age).abs() < 1.0, "{found}");
        }
        assert!(found.age_sd > 0.5 && found.age_sd < 30.0, "{found}");
    }
    assert!(networks.estimate_all(&[]).unwrap().is_empty());
}

#[test]
fn the_mean_counts_the_first_class_as_a_quarter_of_a_year() {
    let mut years = vec![0.0; 81];
    (years[0], years[80]) = (0.5, 0.5);
    let estimate = AgeSexEstimate::of(&years, &[0.75, 0.25]);
    assert!((estimate.age - 40.125).abs() < 1e-9);
    assert!((estimate.age_sd - 39.875).abs() < 1e-9);
    assert_eq!(estimate.sex(), Sex::Female);
    assert_eq!(
        estimate.to_string(),
        "40.1 years (SD 39.9), male with probability 0.250"
    );
}

#[test]
fn faces_outside_the_photo_and_other_weights_are_refused() {
    let device = Device::default();
    let networks = AgeSex::new(&device).unwrap();
    let case = &cases()[0];
    let photo = open(&case.photo);
    let whole = Landmarks::from_five(case.landmarks).unwrap();
    for shift in [300.0, 1e12] {
        let away = case.landmarks.map(|[x, y]| [x + shift, y]);
        let away = Landmarks::from_five(away).unwrap();
        let error = networks.estimate_all(&[(&photo, whole), (&photo, away)]);
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("landmarks: photo 2") && error.contains("92 x 112"),
            "{error}"
        );
    }
    // A nose that is nowhere near: an answer or an error, and no panic.
    let mut points = case.landmarks;
    points[2] = [-1e15, 1e15];
    let _ = networks.estimate(&photo, &Landmarks::from_five(points).unwrap());
    let pixel = Photo::from_rgb(1, 1, vec![9; 3]).unwrap();
    assert!(networks.estimate(&pixel, &whole).is_err());
    let error = AgeSex::from_bytes(&WEIGHTS[..100], &device).unwrap_err();
    assert!(error.to_string().starts_with("weights"), "{error}");
    let mtcnn = super::super::WEIGHTS;
    let error = AgeSex::from_bytes(mtcnn, &device).unwrap_err().to_string();
    assert!(error.contains("`age.conv1.weight`"), "{error}");
}
