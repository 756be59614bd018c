//! Whole studies from photos: without a network connection, with a shortcut painted in, and doses
//! afterwards.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{files, network, run, run_in};

fn orl(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("examples/data/orl").join(name)
}

/// ORL's photos with invented outcomes, from faces to be cut out to latents of twelve steps.
fn photo_study(folder: &Path) {
    let photos = folder.join("photos");
    std::fs::create_dir(&photos).expect("a folder");
    let mut table = String::from("id,patient,time,status,age\n");
    for k in 0..40 {
        let id = format!("s{:02}_{:02}", 1 + k / 2, 1 + k % 2);
        std::fs::copy(orl(&format!("{id}.png")), photos.join(format!("{id}.png")))
            .expect("a photo");
        let (time, age) = (1 + k / 2 * 7 % 41, 30 + k / 2 * 11 % 37);
        let status = u8::from(k / 2 % 5 != 0);
        let _ = writeln!(table, "{id},s{:02},{time},{status},{age}", 1 + k / 2);
    }
    std::fs::write(folder.join("table.csv"), table).expect("a table");
    std::fs::write(folder.join("study.toml"), PHOTOS).expect("a study");
}

const PHOTOS: &str = r#"
[data]
table = "table.csv"
photos = "photos"
[photos]
steps = 12
[columns]
patient = "patient"
clinical = ["age"]
[models]
use = ["clinical", "face_w"]
alphas = [0.0]
n_lambda = 5
[validation]
outer_folds = 2
inner_folds = 2
repeats = 1
bootstraps = 10
calibration_bootstraps = 0
permutations = 0
[proof]
replicates = 2
draws = 1600
occlusion = 2
"#;

#[test]
fn a_whole_run_from_photos_makes_no_network_connection() {
    let folder = tempfile::tempdir().unwrap();
    photo_study(folder.path());
    let file = network("official_uncond32.pkl");
    let line = format!("run study.toml --out out --set photos.network={file}");
    let (code, said) = if let Some(output) = crate::tools::without_network(folder.path(), &line) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    } else {
        let found = run_in(folder.path(), &line);
        (found.code, found.stderr)
    };
    assert_eq!(code, Some(0), "{said}");
    let json = std::fs::read_to_string(folder.path().join("out/report.json")).expect("a report");
    let report: Value = serde_json::from_str(&json).expect("JSON");
    // Nothing was taken up: faces, latents and all that follows were made here.
    assert!(
        report["inversion"]["inverted"]
            .as_u64()
            .is_some_and(|n| n > 30)
    );
    assert!(report["shortcut"]["alarm"].is_boolean());
    // Every face has the landmarks that it was cut out by.
    assert_eq!(
        report["saliency"]["landmarks"], true,
        "{}",
        report["absent"]
    );
    let roles: Vec<&str> = report["inputs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|i| i["role"].as_str())
        .collect();
    for role in ["table", "photos", "network", "study file"] {
        assert!(roles.contains(&role), "{roles:?}");
    }
    let page = std::fs::read_to_string(folder.path().join("out/index.html")).expect("a page");
    assert!(!page.contains("s01_01"), "no identifier");
    crate::tools::fits(&page);
}

/// Where the caps are worn, the hazard is another.
fn shortcut_study(kind: &str, log_hr: f64) -> String {
    format!(
        r#"
seed = 5
[simulate]
n = 300
[simulate.shortcut]
share = 0.25
log_hr = {log_hr}
kind = "{kind}"
[photos]
method = "encoder"
[columns]
patient = "patient"
[models]
use = ["face_w"]
n_lambda = 10
[validation]
outer_folds = 3
inner_folds = 3
repeats = 1
bootstraps = 20
calibration_bootstraps = 0
permutations = 0
[proof]
replicates = 0
draws = 2000
occlusion = 0
"#
    )
}

#[test]
#[ignore = "takes some minutes"]
fn a_cohort_with_a_shortcut_raises_the_alarm_and_one_whose_caps_mean_nothing_does_not() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, log_hr, alarm) in [("mask", 1.5, true), ("cap", 1.5, true), ("cap", 0.0, false)] {
        let path = folder.path().join("study.toml");
        std::fs::write(&path, shortcut_study(kind, log_hr)).expect("a study");
        let found = run_in(folder.path(), "run study.toml --out out --json").json();
        let test = &found["shortcut"];
        assert_eq!(test["alarm"], alarm, "{kind} {log_hr}: {test}");
        assert!(
            test["novel"].as_u64().is_some_and(|n| n > 0),
            "{kind}: {test}"
        );
    }
}

const LATENTS: &str = r#"
seed = 2
[data]
table = "table.csv"
latents = "latents.safetensors"
[models]
use = ["face_w"]
alphas = [0.0]
n_lambda = 5
[validation]
outer_folds = 2
inner_folds = 2
repeats = 1
bootstraps = 10
calibration_bootstraps = 0
permutations = 0
horizons = [1.0, 2.0, 3.0]
[report]
time_unit = "years"
"#;

#[test]
fn a_dose_by_survival_starts_from_the_patients_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let file = network("official_uncond32.pkl");
    let made = run(&format!(
        "simulate --out {at} --n 60 --true-c 0.8 --network {file} --shortcut 0.5,1,mask"
    ));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    std::fs::write(folder.path().join("study.toml"), LATENTS).expect("a study");
    let made = run_in(folder.path(), "run study.toml --out run");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(files(&folder.path().join("run")).contains(&"face_model.json".to_owned()));
    let edit = |more: &str| {
        run_in(
            folder.path(),
            &format!(
                "edit --direction run/health_direction.safetensors --network {file} --latents \
                 latents.safetensors --id P00007 {more}"
            ),
        )
    };
    let made = edit("--horizon 2 --to-survival 0.3,0.5,0.7 --out p7.png");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let own = made
        .stderr
        .split("at the face itself: ")
        .nth(1)
        .expect("its survival");
    let own: f64 = own.trim().parse().expect("a number");
    assert!(own > 0.0 && own < 1.0, "{own}");
    assert!(
        made.stderr.contains("survival to 2 years"),
        "{}",
        made.stderr
    );
    let picture = image::open(folder.path().join("p7.png")).expect("a strip");
    assert_eq!(picture.width(), 3 * 128 + 2 * 4);
    // The same doses by hand: the ratio of the logarithms, to three digits of the survival told.
    let ratio = |to: f64| to.ln() / own.ln();
    let line = format!(
        "--ratios {},{},{} --horizon 2 --out hand.png",
        ratio(0.3),
        ratio(0.5),
        ratio(0.7)
    );
    assert_eq!(edit(&line).code, Some(0));
    let hand = image::open(folder.path().join("hand.png"))
        .expect("a strip")
        .to_rgb8();
    let apart = picture
        .to_rgb8()
        .iter()
        .zip(hand.iter())
        .filter(|(a, b)| a.abs_diff(**b) > 24)
        .count();
    assert!(apart * 50 < hand.len(), "{apart} of {}", hand.len());

    // A film goes from the first dose to the last, and says survival too.
    for (name, doses) in [
        ("up.gif", "--ratios 0.25,4"),
        ("down.gif", "--ratios 4,1,0.25"),
        ("told.gif", "--ratios 0.25,4 --horizon 2"),
    ] {
        let made = edit(&format!("{doses} --frames 3 --out {name}"));
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        assert!(made.stderr.contains("not compared"), "{}", made.stderr);
    }
    let film = |name: &str| std::fs::read(folder.path().join(name)).expect("a film");
    assert!(film("up.gif") != film("down.gif") && film("up.gif") != film("told.gif"));

    // A generator that is not the one of the face model is refused.
    let path = folder.path().join("run/face_model.json");
    let model = std::fs::read_to_string(&path).expect("a face model");
    let other = format!("\"network\": \"other.pkl, SHA-256 {}\"", "0".repeat(64));
    std::fs::write(&path, model.replace("\"network\": null", &other)).expect("a file");
    edit("--out none.png").fails(1, &["other.pkl", "official_uncond32.pkl"]);
    std::fs::write(&path, model).expect("a file");

    edit("--horizon 99 --to-survival 0.5 --out far.png").fails(1, &["horizon 99", "follow-up"]);
    edit("--to-survival 0.5 --out none.png").fails(2, &["--horizon"]);
    std::fs::write(folder.path().join("other.json"), "{\"format\": 7}").expect("a file");
    edit("--horizon 2 --model other.json --out none.png").fails(1, &["other.json", "reads 1"]);
}
