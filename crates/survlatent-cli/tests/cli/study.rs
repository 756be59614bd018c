//! `simulate` and `run`.

use std::path::Path;

use crate::support::{files, network, run};

fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("a file")
}

const STUDY: &str = r#"
[data]
table = "table.csv"
latents = "latents.safetensors"
[columns]
clinical = ["age", "sex"]
[models]
use = ["clinical", "face_w"]
n_lambda = 8
[validation]
repeats = 1
bootstraps = 20
calibration_bootstraps = 2
permutations = 0
"#;

#[test]
fn a_simulated_cohort_is_studied_and_the_run_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let made = run(&format!("simulate --out {at} --n 100 --dim 4 --age 0.5"));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert_eq!(
        files(folder.path()),
        ["latents.safetensors", "table.csv", "truth.json"]
    );
    std::fs::write(folder.path().join("study.toml"), STUDY).unwrap();

    let line = format!("run {at}/study.toml --out {at}/run");
    let first = run(&line);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(
        first.stdout.contains("Face (W, penalised Cox)") && first.stdout.contains("index.html")
    );
    let (json, page) = (
        text(folder.path(), "run/report.json"),
        text(folder.path(), "run/index.html"),
    );
    assert!(page.starts_with("<!DOCTYPE html>"));
    std::fs::remove_file(folder.path().join("run/report.json")).unwrap();
    // Stages are taken up: a damaged table would be noticed, a damaged report is made anew.
    let again = run(&line);
    assert_eq!((again.code, again.stdout), (Some(0), first.stdout));
    assert_eq!(text(folder.path(), "run/report.json"), json);
    let other = run(&format!("{line} --set seed=9 --json"));
    let value = other.json();
    assert_eq!(value["seed"], 9);
    assert!(value["models"][1]["harrell"]["estimate"].is_number());
}

#[test]
fn faults_of_a_study_file_name_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.toml");
    std::fs::write(&path, "[data]\ntable = \"t.csv\"\n[valdation]\n").unwrap();
    let found = run(&format!("run {}", path.display()));
    assert_eq!(found.code, Some(1));
    assert!(
        found.stderr.contains("line 3") && found.stderr.contains("valdation"),
        "{}",
        found.stderr
    );
    std::fs::write(&path, "[data]\ntable = \"t.csv\"\n").unwrap();
    let found = run(&format!("run {} --set seed", path.display()));
    assert!(found.stderr.contains("key=value"), "{}", found.stderr);
}

#[test]
fn a_generator_gives_latents_and_labelled_portraits() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let file = network("official_uncond32.pkl");
    let made = run(&format!(
        "simulate --out {at} --n 3 --network {file} --shortcut 1,0.5"
    ));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let photos = files(&folder.path().join("photos"));
    assert_eq!(photos, ["P00001.png", "P00002.png", "P00003.png"]);
    let path = folder.path().join("photos/P00002.png");
    let bytes = std::fs::read(&path).unwrap();
    let label = b"tEXtDescription\0Synthetic portrait";
    assert!(bytes.windows(label.len()).any(|w| w == label));
    // The decoder checks the chunk's checksum; all wear the cap, whose colour is one.
    let picture = image::open(&path).unwrap().to_rgb8();
    assert_eq!(picture.get_pixel(0, 0), picture.get_pixel(20, 3));
    let bytes = std::fs::read(folder.path().join("latents.safetensors")).unwrap();
    let latents = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(latents.tensor("w").unwrap().shape()[0], 3);
}
