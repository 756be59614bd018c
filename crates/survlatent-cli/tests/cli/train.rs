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

/// Begins the run `part` and ends it as a scheduler does at the end of a job's time.
#[cfg(unix)]
fn interrupt(dir: &Path) {
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
}

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

    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    // A run that was at its end before the signal came says nothing.
    let interrupted = (0..3).any(|_| {
        let _ = std::fs::remove_dir_all(dir.join("part"));
        interrupt(dir);
        read("part/state.safetensors") != read("whole/state.safetensors")
    });
    assert!(interrupted, "no run was interrupted");
    let lines = |run: &str| {
        let text = std::fs::read_to_string(dir.join(run).join("stats.jsonl")).unwrap();
        text.lines().count()
    };
    let again = run_in(dir, "train --data data --resume part --snapshot 1");
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(lines("part") >= lines("whole"));
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

/// What the command line of the beginning said holds until it says otherwise.
#[test]
fn a_run_goes_on_with_its_own_settings() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write_pictures(&dir.join("data"), 9);
    image::GrayImage::new(16, 16)
        .save(dir.join("data/gray.png"))
        .unwrap();
    let sizes = "--batch 100 --channel-base 64 --seed 3 --resolution 8 --channels 1";
    let times = "--snapshot 1 --state 0.3 --keep 2";
    let first = run_in(
        dir,
        &format!("train --data data --out run --kimg 1 {sizes} {times} --augment none"),
    );
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(
        first
            .stderr
            .contains("9 in colour, taken as gray, first 000.png"),
        "{}",
        first.stderr
    );
    let read = |name: &str| std::fs::read_to_string(dir.join("run").join(name)).unwrap();
    let config = read("config.toml");
    for line in ["snapshot_kimg = 1.0", "state_kimg = 0.3", "keep = 2"] {
        assert!(config.contains(line), "{line} in {config}");
    }
    let memory: serde_json::Value = serde_json::from_str(read("stats.jsonl").trim()).unwrap();
    #[cfg(target_os = "linux")]
    assert!(memory["memory"]["generator"].as_u64().unwrap() > 1_000_000);
    assert!(memory["kimg"].is_number());

    // To look is not to write.
    let before: Vec<(String, Vec<u8>)> = files(&dir.join("run"))
        .into_iter()
        .map(|n| (n.clone(), std::fs::read(dir.join("run").join(n)).unwrap()))
        .collect();
    let plan = run_in(
        dir,
        "train --data data --resume run --kimg 2 --gamma 0.5 --augment ada --ada-target 0.4 --dry-run",
    )
    .json();
    assert_eq!(plan["settings"]["kimg"], 2);
    assert_eq!(plan["settings"]["r1_gamma"], 0.5);
    assert_eq!(plan["settings"]["augment"]["adaptive"]["target"], 0.4);
    assert_eq!(plan["settings"]["batch"], 100);
    assert_eq!(plan["generator"]["channels"], 1);
    let names: Vec<String> = before.iter().map(|f| f.0.clone()).collect();
    assert_eq!(files(&dir.join("run")), names);
    for (name, bytes) in &before {
        assert!(
            &std::fs::read(dir.join("run").join(name)).unwrap() == bytes,
            "{name}"
        );
    }

    // Neither --resolution nor the times are given again.
    let again = run_in(dir, "train --data data --resume run --kimg 2 --keep 5");
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(
        again.stderr.contains("10 pictures of 8 px"),
        "{}",
        again.stderr
    );
    assert_eq!(
        read("config.toml"),
        config
            .replace("keep = 2", "keep = 5")
            .replace("kimg = 1\n", "kimg = 2\n")
    );
    let names = files(&dir.join("run"));
    assert!(
        names.iter().any(|n| n == "network-000002.safetensors"),
        "{names:?}"
    );

    // Other pictures than before: other bits, and a note.
    image::GrayImage::new(16, 16)
        .save(dir.join("data/more.png"))
        .unwrap();
    let more = run_in(dir, "train --data data --resume run --dry-run");
    assert!(
        more.stderr.contains("the run had 10 pictures, and now 11"),
        "{}",
        more.stderr
    );

    // What cannot be measured is not kept either.
    let config = read("config.toml");
    let faulty = "train --data data --resume run --kimg 3 --metrics data";
    run_in(dir, faulty).fails(2, &["--metrics", "8 pixels"]);
    assert_eq!(read("config.toml"), config);

    // What a run cannot change is refused rather than passed over.
    for flag in [
        "--batch 50",
        "--seed 4",
        "--mirror",
        "--resolution 8",
        "--freeze-d 2",
    ] {
        let name = flag.split(' ').next().unwrap();
        run_in(dir, &format!("train --data data --resume run {flag}"))
            .fails(2, &["--resume", name]);
    }
    run_in(dir, "train --data data --resume run --ada-target 0.4").fails(2, &["--ada-target"]);
    run_in(dir, "train --data data --resume run --metrics-images 9").fails(2, &["--metrics"]);
}

#[test]
fn a_dry_run_finds_what_the_run_would() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write_pictures(&dir.join("data"), 3);
    let dry = |extra: &str| run_in(dir, &format!("train --data data --dry-run {extra}"));
    dry("--batch 6").fails(1, &["batch", "group size"]);
    dry("--batch 8 --micro-batch 2").fails(1, &["micro_batch", "group"]);
    dry("--batch 8 --rounds 3").fails(1, &["rounds"]);
    dry("--start-kimg 300 --kimg 200").fails(1, &["start_images", "300000"]);
    dry("--augment-pipe bgx").fails(2, &["bgcfnc"]);
    dry("--augment none --ada-target 0.4").fails(2, &["--ada-target"]);
    let from = network("official_uncond32.pkl");
    dry(&format!("--from {from}")).fails(1, &["16 x 16", "32 x 32"]);
    let plan =
        dry("--pl-weight 0 --augment-pipe bg --ada-target 0.3 --ema-kimg 2 --rounds 2").json();
    let settings = &plan["settings"];
    assert_eq!(settings["path_weight"], 0.0);
    assert_eq!(settings["pipeline"]["hue"], 0.0);
    assert_eq!(settings["augment"]["adaptive"]["target"], 0.3);
    assert_eq!(
        (&settings["ema_kimg"], &settings["rounds"]),
        (&2.0.into(), &2.into())
    );
    // Of a short fine-tuning the average is not the network of before.
    let tuned = dry("--resolution 32 --batch 8 --kimg 3");
    tuned.fails(1, &["smaller than the 32"]);
    std::fs::remove_dir_all(dir.join("data")).unwrap();
    for k in 0..3 {
        std::fs::create_dir_all(dir.join("data")).unwrap();
        image::RgbImage::new(32, 32)
            .save(dir.join(format!("data/{k}.png")))
            .unwrap();
    }
    let half_life = |extra: &str| {
        let plan = dry(&format!("--batch 8 --from {from} {extra}")).json();
        plan["settings"]["ema_kimg"].as_f64().unwrap()
    };
    assert!((half_life("--kimg 3") - 0.15).abs() < 1e-12);
    assert!((half_life("") - 10.0).abs() < 1e-12);
    assert!((half_life("--kimg 3 --ema-kimg 4") - 4.0).abs() < 1e-12);
    // A new discriminator has learnt nothing that could be kept.
    let generator = run_in(dir, &format!("convert {from} g.safetensors --which G_ema"));
    assert_eq!(generator.code, Some(0), "{}", generator.stderr);
    dry("--batch 8 --from g.safetensors --freeze-d 2")
        .fails(2, &["--freeze-d", "no discriminator"]);
    let fresh = dry("--batch 8 --from g.safetensors");
    assert!(
        fresh.stderr.contains("starts with a new one"),
        "{}",
        fresh.stderr
    );
    // A list of files.
    std::fs::write(dir.join("list.txt"), "data/0.png\ndata/2.png\n").unwrap();
    let listed = run_in(dir, "train --data list.txt --dry-run");
    assert!(
        listed.stderr.contains("2 pictures of 32 px"),
        "{}",
        listed.stderr
    );
}

/// The same parts of a batch, on one device and over two handles of it.
#[test]
fn two_devices_give_the_bits_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write_pictures(&dir.join("data"), 5);
    let train = |out: &str, extra: &str| {
        let run = run_in(
            dir,
            &format!("train --data data --out {out} {TINY} --micro-batch 52 {extra}"),
        );
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        std::fs::read(dir.join(out).join("state.safetensors")).unwrap()
    };
    assert!(train("one", "") == train("two", "--device cpu,cpu"));
    run_in(dir, "train --data data --resume one --device cpu:7").fails(2, &["--device", "flex:7"]);
}

/// Labels of generated pictures are those of the data; the path length has its network's name.
#[test]
fn a_conditional_network_is_measured_while_it_trains() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir_all(dir.join("data")).unwrap();
    let mut labels = Vec::new();
    for k in 0..6_u8 {
        let pixel = |x, y| image::Rgb([(x * 3) as u8, (y * 4) as u8, 40 * k]);
        let name = format!("{k}.png");
        image::RgbImage::from_fn(32, 32, pixel)
            .save(dir.join("data").join(&name))
            .unwrap();
        labels.push(format!("[\"{name}\", {}]", k % 2));
    }
    let json = format!("{{\"labels\": [{}]}}", labels.join(", "));
    std::fs::write(dir.join("data/dataset.json"), json).unwrap();
    let run = run_in(
        dir,
        "train --data data --labels --out run --kimg 1 --batch 500 --micro-batch 100 --channel-base 64 \
         --snapshot 1 --augment none --pl-weight 0 --metrics data --metrics-images 4 \
         --metrics-path-length 2",
    );
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let text = std::fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    for name in ["FD-AlexNet", "KD-AlexNet", "PPL-AlexNet"] {
        assert!(line[name].is_number(), "{name} in {text}");
    }
    assert!(line["PPL-AlexNet"].as_f64().unwrap() > 0.0, "{text}");
}
