//! Training: what the command line asks for in vain, and is told.

use std::path::Path;

use crate::support::{Run, network, run_in};

fn pictures(folder: &Path, count: u8, side: u32) {
    std::fs::create_dir_all(folder).unwrap();
    for k in 0..count {
        let pixel = |x: u32, y: u32| image::Rgb([(x * 7) as u8, (y * 9) as u8, 40 * k]);
        let picture = image::RgbImage::from_fn(side, side, pixel);
        picture.save(folder.join(format!("{k}.png"))).unwrap();
    }
}

#[track_caller]
fn notes(run: &Run, words: &[&str]) {
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{word}: {}", run.stderr);
    }
}

#[test]
fn what_the_networks_of_a_file_decide_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    pictures(&dir.join("data"), 4, 32);
    let labels = "{\"labels\": [[\"0.png\", 0], [\"1.png\", 1], [\"2.png\", 0], [\"3.png\", 1]]}";
    std::fs::write(dir.join("data/dataset.json"), labels).unwrap();
    let from = network("official_uncond32.pkl");
    let dry = |from: &str, extra: &str| {
        let line = format!("train --data data --dry-run --batch 8 --from {from} {extra}");
        run_in(dir, &line)
    };
    dry(&from, "--channel-base 64").fails(2, &["--channel-base", "official_uncond32.pkl"]);
    dry(&from, "--channel-max 64").fails(2, &["--channel-max", "official_uncond32.pkl"]);
    dry(&from, "--labels").fails(2, &["--labels", "official_uncond32.pkl"]);
    // These networks have no resolution in half precision.
    dry(&from, "--precision bf16").fails(2, &["--precision", "official_uncond32.pkl"]);
    // A new discriminator has the size that was asked for.
    let generator = run_in(dir, &format!("convert {from} g.safetensors --which G_ema"));
    assert_eq!(generator.code, Some(0), "{}", generator.stderr);
    let plan = dry("g.safetensors", "--channel-max 24").json();
    assert_eq!(plan["discriminator"]["channel_max"], 24);
}

#[test]
fn options_of_an_augmentation_that_there_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    pictures(&dir.join("data"), 3, 16);
    let dry = |extra: &str| run_in(dir, &format!("train --data data --dry-run {extra}"));
    dry("--augment fixed:0.2 --start-p 0.1").fails(2, &["--start-p", "fixed"]);
    let kept = dry("--augment none --start-p 0.1 --augment-pipe bg");
    notes(&kept, &["note: --start-p", "note: --augment-pipe"]);
    assert_eq!(kept.json()["settings"]["augment_start"], 0.1);
    let used = dry("--start-p 0.1 --augment-pipe bg");
    assert!(!used.stderr.contains("--start-p"), "{}", used.stderr);
    assert_eq!(used.json()["settings"]["augment_start"], 0.1);
    dry("--freeze G.maping").fails(1, &["frozen", "G.maping"]);
    dry("--freeze-d 100").fails(1, &["freeze_d", "100"]);
}

#[test]
fn a_dry_run_refuses_a_folder_that_holds_something_and_sets_that_cannot_be_measured() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for (name, count, side) in [("data", 4, 32), ("three", 3, 32), ("small", 4, 16)] {
        pictures(&dir.join(name), count, side);
    }
    let dry = |line: &str| run_in(dir, &format!("train --dry-run --data {line}"));
    dry("data --out three").fails(1, &["three", "not empty"]);
    notes(&dry("data --out new"), &[]);
    assert!(!dir.join("new").exists());
    dry("data --metrics three").fails(2, &["--metrics", "3 pictures", "4"]);
    notes(&dry("data --metrics data"), &[]);
    // Inception takes any picture, LPIPS does not.
    let inception = "--metrics small --metrics-inception no.pth --metrics-path-length 4";
    dry(&format!("small {inception}")).fails(2, &["--metrics", "16 pixels", "path length", "31"]);
    let fd = |line: &str| run_in(dir, &format!("fd {line}"));
    let net = network("official_uncond32.pkl");
    fd(&format!("--network {net} --data three")).fails(1, &["three", "3 pictures", "4"]);
    let net = network("official_gray16_resnetG_skipD.pkl");
    fd(&format!(
        "--network {net} --data small --inception no.pth --path-length 4"
    ))
    .fails(1, &["16 pixels", "path length", "31"]);
}

/// A fine-tuning that goes on for longer, and one that becomes adaptive.
#[test]
fn a_fine_tuning_that_goes_on_is_still_one() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    pictures(&dir.join("data"), 4, 32);
    let from = network("official_uncond32.pkl");
    let begun = run_in(
        dir,
        &format!(
            "train --data data --out run --from {from} --kimg 1 --batch 500 --micro-batch 100 --augment none \
             --pl-weight 0"
        ),
    );
    assert_eq!(begun.code, Some(0), "{}", begun.stderr);
    let dry = |extra: &str| {
        run_in(
            dir,
            &format!("train --data data --resume run --dry-run {extra}"),
        )
    };
    let longer = dry("--kimg 4 --augment ada");
    notes(&longer, &["half-life of 0.05", "--ema-kimg 0.2"]);
    assert_eq!(
        longer.json()["settings"]["augment"]["adaptive"]["kimg"],
        100.0
    );
    let given = dry("--kimg 4 --ema-kimg 0.2");
    assert!(!given.stderr.contains("half-life"), "{}", given.stderr);
}
