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
        [
            "latents.safetensors",
            "study.toml",
            "table.csv",
            "truth.json"
        ]
    );
    assert!(made.stderr.contains("study.toml"), "{}", made.stderr);
    let own = run(&format!(
        "run {at}/study.toml --out {at}/own --json --set models.use=[\"face_w\"] --set models.n_lambda=5 \
         --set validation.repeats=1 --set validation.bootstraps=10 --set validation.permutations=0"
    ));
    assert!(own.json()["truth"]["face"].is_number());
    std::fs::write(folder.path().join("study.toml"), STUDY).unwrap();
    let made = run(&format!("simulate --out {at} --n 100 --dim 4 --age 0.5"));
    assert!(made.stderr.contains("left alone"), "{}", made.stderr);

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
    let written = || {
        let file = std::fs::metadata(folder.path().join("run/1-predictions.json"));
        file.unwrap().modified().unwrap()
    };
    let before = written();
    // Stages are taken up: a damaged table would be noticed, a damaged report is made anew.
    let again = run(&line);
    assert_eq!((again.code, again.stdout), (Some(0), first.stdout));
    assert_eq!(written(), before, "the predictions are not made again");
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
fn files_of_somebody_s_own_are_not_written_over() {
    for name in ["table.csv", "latents.safetensors", "truth.json"] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join(name), "{\"mine\": 1}").unwrap();
        let line = format!("simulate --out {at} --n 10 --dim 2");
        run(&line).fails(1, &[name, "already"]);
        assert_eq!(text(folder.path(), name), "{\"mine\": 1}");
        assert_eq!(files(folder.path()), [name]);
        std::fs::remove_file(folder.path().join(name)).unwrap();
        // What a simulation made may be made again.
        for _ in 0..2 {
            assert_eq!(run(&line).code, Some(0));
        }
    }
}

#[test]
fn settings_out_of_range_stop_a_run_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    assert_eq!(
        run(&format!("simulate --out {at} --n 30 --dim 2")).code,
        Some(0)
    );
    for pair in [
        "models.alphas=[2]",
        "models.n_lambda=0",
        "models.lambda_min_ratio=5",
        "models.components=[0]",
    ] {
        let key = pair.split('=').next().unwrap();
        run(&format!("run {at}/study.toml --out {at}/run --set {pair}")).fails(1, &[key]);
    }
    let line = format!("run {at}/study.toml --set title=x --set seed=y --set validation.repeats=1");
    let found = run(&line);
    found.fails(2, &["--set seed=y: invalid type"]);
    assert!(!found.stderr.contains("title"), "{}", found.stderr);
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

/// From the network's portraits, at a few steps of optimisation each.
const FROM_PIXELS: &str = r#"
seed = 3
[simulate]
n = 40
age_log_hr = 0.5
[photos]
steps = 12
batch = 4
[columns]
patient = "patient"
clinical = ["age"]
age = "age"
sex = "sex"
[models]
use = ["age_sex", "clinical", "face_w"]
n_lambda = 5
networks = ["vgg16"]
[models.training]
epochs = 2
patience = 1
side = 16
[validation]
outer_folds = 3
inner_folds = 3
repeats = 1
bootstraps = 10
calibration_bootstraps = 0
permutations = 0
[proof]
replicates = 2
draws = 1600
occlusion = 3
"#;

#[test]
fn a_study_from_pixels_is_killed_goes_on_and_needs_no_network() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("study.toml"), FROM_PIXELS).unwrap();
    let file = network("official_uncond32.pkl");
    let line = |out: &str| format!("run study.toml --out {out} --set photos.network={file}");
    let whole = crate::support::run_in(folder.path(), &line("whole"));
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let report = text(folder.path(), "whole/report.json");
    let value: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(value["inversion"]["inverted"], 40);
    assert!(value["inversion"]["correlation_with_truth"].is_number());
    assert_eq!(value["inversion"]["method"], "hybrid");
    let names: Vec<&str> = value["models"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|m| m["name"].as_str())
        .collect();
    let all = ["age_sex", "clinical", "face_w", "vgg16", "vgg16_fusion"];
    assert_eq!(names, all);
    for model in 0..all.len() {
        let own = &value["models"][model];
        assert!(own["harrell"]["estimate"].is_number(), "{own}");
    }
    let gain = &value["increment"]["vgg16_fusion_over_clinical"];
    assert_eq!(gain["with_face"], "vgg16_fusion");
    let edits = value["occlusion"].as_array().map_or(0, Vec::len);
    // A face model without any latent reads nothing that could be covered.
    assert!(
        edits == 8 || value["models"][2]["harrell"]["estimate"] == 0.5,
        "{edits}"
    );
    assert!(value["shortcut"]["alarm"].is_boolean());
    assert!(value["region_models"]["face"]["estimate"].is_number());
    let page = text(folder.path(), "whole/index.html");
    assert!(page.contains("LPIPS") && page.contains("Everything but the face"));
    assert!(page.contains("Not to be used for"));
    crate::tools::fits(&page);
    // Where a direction was found, it is shown.
    let shown = value["direction"].is_object();
    assert_eq!(value["saliency"]["face_share"].is_number(), shown);
    assert_eq!(
        page.contains("data:image/png;base64,"),
        shown || value["shortcut"]["p"].is_number()
    );
    assert_eq!(folder.path().join("whole/traversal.gif").is_file(), shown);

    // Killed once the first batch of photos is inverted.
    let mut child = crate::support::program()
        .current_dir(folder.path())
        .args(line("killed").split_whitespace())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let begun = || {
        let folders = std::fs::read_dir(folder.path().join("killed"));
        let mut folders = folders.into_iter().flatten().flatten();
        folders.any(|e| {
            let parts = std::fs::read_dir(e.path().join("latents.parts"));
            parts.is_ok_and(|mut p| p.next().is_some())
        })
    };
    while !begun() && child.try_wait().expect("a status").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().expect("it is killed");
    child.wait().expect("it has ended");
    let ended = folder.path().join("killed/report.json").exists();
    assert!(begun() && !ended, "killed in between");
    let alone = crate::tools::without_network(folder.path(), &line("killed"));
    let again = if let Some(output) = alone {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    } else {
        let again = crate::support::run_in(folder.path(), &line("killed"));
        (again.code, again.stderr)
    };
    assert_eq!(again.0, Some(0), "{}", again.1);
    assert_eq!(text(folder.path(), "killed/report.json"), report);
}
