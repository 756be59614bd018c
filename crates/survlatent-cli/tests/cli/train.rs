//! Training: interrupted and resumed, settings, bad input.

use std::path::Path;
use std::time::{Duration, Instant};

#[cfg(unix)]
use crate::support::run_limited;
use crate::support::{files, network, program, run_in};

const SIDE: u32 = 16;

fn write_pictures(folder: &Path, count: u32) {
    std::fs::create_dir_all(folder).unwrap();
    for k in 0..count {
        let pixel = |x: u32, y: u32| {
            let v = |c: u32| ((x * (k + 2) + y * c * 5 + 40 * k) % 256) as u8;
            image::Rgb([v(1), v(2), v(3)])
        };
        let picture = image::RgbImage::from_fn(SIDE, SIDE, pixel);
        picture.save(folder.join(format!("{k:03}.png"))).unwrap();
    }
}

const TINY: &str = "--kimg 1 --batch 100 --channel-base 64 --mirror --seed 3 --snapshot 1";

/// The end of a job's time, as an interrupt, saves, and what follows is what would have followed.
#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write_pictures(&dir.join("data"), 9);
    let whole = run_in(dir, &format!("train --data data --out whole {TINY}"));
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    assert!(
        whole.stderr.contains("9 pictures of 16 px"),
        "{}",
        whole.stderr
    );
    assert!(whole.stderr.contains("finished"), "{}", whole.stderr);

    let mut child = program()
        .current_dir(dir)
        .args(format!("train --data data --out part {TINY}").split(' '))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !dir.join("part/fakes000000.png").exists() {
        assert!(
            begun.elapsed() < Duration::from_mins(2),
            "the run never began"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let lines = |run: &str| {
        let text = std::fs::read_to_string(dir.join(run).join("stats.jsonl")).unwrap();
        text.lines().count()
    };
    assert!(dir.join("part/state.safetensors").exists());
    let again = run_in(dir, "train --data data --resume part --snapshot 1");
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(lines("part") >= lines("whole"));
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    assert!(read("part/state.safetensors") == read("whole/state.safetensors"));
    assert!(read("part/fakes000001.png") == read("whole/fakes000001.png"));
    let names = files(&dir.join("whole"));
    for name in ["config.toml", "network-000001.safetensors", "reals.png"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
    // A run is not written over.
    run_in(dir, &format!("train --data data --out whole {TINY}")).fails(1, &["whole", "not empty"]);
}

/// The snapshot and the state of before stay, the message says so, and the run goes on with the same
/// bits.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_snapshot_and_state() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write_pictures(&dir.join("data"), 9);
    let sizes = "--batch 100 --channel-base 64 --seed 3 --snapshot 1";
    let whole = run_in(
        dir,
        &format!("train --data data --out whole --kimg 2 {sizes}"),
    );
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let first = run_in(
        dir,
        &format!("train --data data --out part --kimg 1 {sizes}"),
    );
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let (state, snapshot) = (
        read("part/state.safetensors"),
        read("part/network-000001.safetensors"),
    );

    let go_on = "train --data data --resume part --kimg 2 --snapshot 1";
    assert!(snapshot.len() > 110_000, "{}", snapshot.len());
    run_limited(dir, 200, go_on).fails(
        1,
        &[
            "network-000002.safetensors",
            "the state at 1 thousand pictures is whole",
            "--resume part",
        ],
    );
    assert!(read("part/state.safetensors") == state);
    assert!(read("part/network-000001.safetensors") == snapshot);
    let names = files(&dir.join("part"));
    let left = |n: &String| n.contains(".part") || n.contains("000002");
    assert!(!names.iter().any(left), "{names:?}");

    let again = run_in(dir, go_on);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(read("part/state.safetensors") == read("whole/state.safetensors"));
}

#[test]
fn settings_are_resolved_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write_pictures(&dir.join("data"), 3);
    let plan = run_in(
        dir,
        "train --data data --dry-run --augment fixed:0.2 --kimg 7",
    )
    .json();
    assert_eq!(plan["generator"]["resolution"], 16);
    assert_eq!(plan["settings"]["batch"], 32);
    assert_eq!(plan["settings"]["kimg"], 7);
    assert_eq!(plan["settings"]["augment"]["fixed"], 0.2);
    assert!((plan["settings"]["r1_gamma"].as_f64().unwrap() - 0.0016).abs() < 1e-9);
    let small = run_in(dir, "train --data data --out run --metrics data");
    small.fails(2, &["--metrics", "16 pixels"]);
    let from = network("official_uncond32.pkl");
    let fault = run_in(dir, &format!("train --data data --out run --from {from}"));
    fault.fails(1, &["16 x 16", "32 x 32"]);
}

#[test]
fn faults_in_the_data_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let train = |extra: &str| run_in(dir, &format!("train --data data --out run {extra}"));
    train("").fails(1, &["data"]);
    write_pictures(&dir.join("data"), 0);
    train("").fails(1, &["data", "no PNG or JPEG"]);
    write_pictures(&dir.join("data"), 1);
    train("").fails(1, &["single image"]);
    write_pictures(&dir.join("data"), 4);
    std::fs::write(dir.join("data/bad.png"), b"no picture").unwrap();
    train("").fails(1, &["bad.png"]);
    image::RgbImage::new(24, 24)
        .save(dir.join("data/bad.png"))
        .unwrap();
    train("").fails(1, &["bad.png", "24 x 24"]);
    let spared = run_in(dir, "train --data data --dry-run --set-aside");
    assert_eq!(spared.code, Some(0), "{}", spared.stderr);
    assert!(spared.stderr.contains("bad.png"), "{}", spared.stderr);
    run_in(dir, "train --data data").fails(2, &["--out"]);
    run_in(dir, "train --data data --set-aside --resume run").fails(1, &["state.safetensors"]);
    train("--augment 0.5").fails(2, &["ada, none or fixed:P"]);
    train("--set-aside --batch 6").fails(1, &["batch", "group size"]);
}
