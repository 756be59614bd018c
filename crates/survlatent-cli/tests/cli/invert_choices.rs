//! Choices of `invert` and `train-encoder`: weights of LPIPS, precision, pivotal tuning, photos.

use std::path::Path;

use crate::support::{files, golden, run_in};

/// Pictures of the golden network, as photos.
fn photos(dir: &Path, seeds: &str) {
    let network = golden("stylegan2/official_uncond32.pkl");
    let line = format!(
        "generate --network {} --seeds {seeds} --out faces",
        network.display()
    );
    assert_eq!(run_in(dir, &line).code, Some(0));
}

/// The command with the golden network.
fn invert(rest: &str) -> String {
    let network = golden("stylegan2/official_uncond32.pkl");
    format!("invert --network {} {rest}", network.display())
}

#[test]
fn weights_that_are_not_there_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(dir, "1-1");
    let hybrid = |rest: &str| {
        invert(&format!(
            "--photos faces --method hybrid --steps 2 --out o {rest}"
        ))
    };
    let absent = run_in(dir, &hybrid("--lpips vgg16.safetensors"));
    absent.fails(1, &["vgg16.safetensors", "AlexNet", "docs/inversion.md"]);
    let heads = golden("lpips/squeeze.pth");
    let heads = heads.display();
    let other = run_in(dir, &hybrid(&format!("--lpips {heads}")));
    other.fails(1, &["0aaf366c", "squeeze.pth"]);
    let other = run_in(
        dir,
        &hybrid(&format!("--lpips {heads} --lpips-heads {heads}")),
    );
    other.fails(1, &["b8a52dc0 (squeezenet1_1-b8a52dc0.pth)"]);
    run_in(dir, &hybrid(&format!("--lpips-heads {heads}"))).fails(2, &["--lpips"]);
    assert!(!dir.join("o").exists());
}

/// Half precision is another result, and does not mix with full precision.
#[test]
fn precision_is_a_setting() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let refused = invert("--photos . --method hybrid --precision f16 --out o");
    std::fs::copy(golden("photos/alpha.png"), dir.join("a.png")).unwrap();
    run_in(dir, &refused).fails(2, &["official_uncond32.pkl", "half precision"]);
    // The shipped network allows it.
    assert_eq!(
        run_in(dir, "generate --seeds 1-2 --out faces").code,
        Some(0)
    );
    let line = |precision: &str, out: &str| {
        format!(
            "invert --photos faces --method hybrid --steps 6 --precision {precision} --out {out}"
        )
    };
    for precision in ["f32", "bf16"] {
        let done = run_in(dir, &line(precision, precision));
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    let w = |out: &str| {
        let bytes = std::fs::read(dir.join(out).join("latents.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let (numbers, _) = file.tensor("w").unwrap().data().as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|b| f32::from_le_bytes(*b)).collect();
        numbers
    };
    let (full, half) = (w("f32"), w("bf16"));
    let off = crate::support::worst(&full, &half);
    assert!(off > 0.0 && off < 0.5, "{off}");
    run_in(dir, &(line("f16", "bf16") + " --resume")).fails(1, &["other settings"]);
}

#[test]
fn photos_that_are_missing_may_be_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(dir, "1-1");
    let face = &files(&dir.join("faces"))[0];
    let table = format!("id,file\nhere,faces/{face}\ngone,faces/none.png\n");
    std::fs::write(dir.join("cohort.csv"), table).unwrap();
    let line = invert("--photos cohort.csv --method hybrid --steps 2 --out o");
    run_in(dir, &line).fails(1, &["line 3", "none.png"]);
    let done = run_in(dir, &(line + " --skip-missing --json")).json();
    assert_eq!(
        (&done["inverted"], &done["set_aside"]),
        (&1.into(), &1.into())
    );
    let table = std::fs::read_to_string(dir.join("o/latents.csv")).unwrap();
    let row = table.lines().last().unwrap();
    assert!(
        row.starts_with("gone,") && row.contains("set_aside"),
        "{row}"
    );
}

/// A tuned network is kept while photo, latent and settings are the same, and made anew when one is not.
#[test]
fn tuned_networks_belong_to_their_settings() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(dir, "1-2");
    let line = |shard: &str, steps: usize| {
        invert(&format!(
            "--photos faces --method pti --steps 2 --tuning-steps {steps} --out o --resume --shard {shard}"
        ))
    };
    let run = |shard: &str, steps| {
        let done = run_in(dir, &line(shard, steps));
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    };
    run("0/2", 1);
    run("1/2", 1);
    let tuned = || {
        let names = files(&dir.join("o/tuned"));
        let first = names.iter().find(|n| n.ends_with(".safetensors")).unwrap();
        std::fs::read(dir.join("o/tuned").join(first)).unwrap()
    };
    let first = tuned();
    // What is kept is not looked into.
    let names = files(&dir.join("o/tuned"));
    assert_eq!(names.len(), 4);
    let network = names.iter().find(|n| n.ends_with(".safetensors")).unwrap();
    let network = dir.join("o/tuned").join(network);
    std::fs::write(&network, b"mark").unwrap();
    run("0/2", 1);
    assert!(tuned() == b"mark");
    run("0/2", 2);
    assert!(tuned() != b"mark" && tuned() != first);
    run("0/2", 1);
    assert!(tuned() == first);

    let gathered = run_in(dir, "gather o --out all.safetensors --json").json();
    assert_eq!(gathered["tuned"], "all-tuned.csv");
    let table = std::fs::read_to_string(dir.join("all-tuned.csv")).unwrap();
    assert!(
        table.starts_with("id,lpips,psnr,steps,seconds\n"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 3);
    std::fs::remove_file(dir.join("o/tuned-00001-of-00002.csv")).unwrap();
    run_in(dir, "gather o --out all.safetensors").fails(1, &["no table of tuned networks"]);
}

#[test]
fn pivotal_tuning_of_no_photo_and_of_bad_names() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join("faces")).unwrap();
    std::fs::write(dir.join("faces/a.png"), "no picture").unwrap();
    let line = |photos: &str| invert(&format!("--photos {photos} --method pti --steps 2 --out o"));
    let done = run_in(dir, &(line("faces") + " --json")).json();
    assert_eq!(
        (&done["inverted"], &done["set_aside"]),
        (&0.into(), &1.into())
    );
    let table = std::fs::read_to_string(dir.join("o/tuned.csv")).unwrap();
    assert_eq!(table, "id,lpips,psnr,steps,seconds\n");
    for id in ["../x", "/abs", "a//b"] {
        std::fs::write(dir.join("m.csv"), format!("id,file\n{id},faces/a.png\n")).unwrap();
        run_in(dir, &(line("m.csv") + " --resume")).fails(2, &[id, "OUT/tuned"]);
    }
}

#[test]
fn an_encoder_is_refined_on_photos() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(dir, "1-4");
    std::fs::write(dir.join("faces/broken.png"), "no picture").unwrap();
    let network = golden("stylegan2/official_uncond32.pkl");
    let train = |rest: &str| {
        let line = format!(
            "train-encoder --network {} --batch 4 {rest}",
            network.display()
        );
        run_in(dir, &line)
    };
    let first = train("--channel-base 128 --channel-max 32 --kimg 0.016 --out first");
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    train("--photos faces --out refined").fails(2, &["--from"]);
    let from = "--from first/encoder.safetensors --photos faces --out refined --json";
    let refined = train(&format!("{from} --kimg 0.012"));
    assert!(
        refined.stderr.contains("1 of 5 photos cannot be used"),
        "{}",
        refined.stderr
    );
    assert_eq!(refined.json()["images"], 16 + 12);
    train("--resume --kimg 0.02 --out refined").fails(2, &["photos"]);
    let on = train("--resume --kimg 0.02 --photos faces --out refined --json");
    assert_eq!(on.json()["images"], 16 + 20);
    let lines = std::fs::read_to_string(dir.join("refined/stats.jsonl")).unwrap();
    assert!(
        lines.contains("held_out_cosine") && !lines.contains("\"cosine\""),
        "{lines}"
    );
}

/// What would have no effect is refused before anything is opened.
#[test]
fn options_without_effect_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join("faces")).unwrap();
    let refused = |rest: &str, words: &[&str]| {
        run_in(dir, &format!("invert --photos faces --out o {rest}")).fails(2, words);
    };
    refused(
        "--method hybrid --encoder none",
        &["--encoder", "mean latent"],
    );
    refused("--method projector --encoder none", &["--encoder"]);
    refused("--method encoder --steps 3", &["--steps"]);
    refused("--tuning-steps 3", &["--tuning-steps", "pti"]);
    refused("--skip-missing", &["--skip-missing", "table"]);
    let sized = run_in(
        dir,
        "train-encoder --from none --channel-max 64 --kimg 0.1 --out r",
    );
    sized.fails(2, &["--channel-max", "starts from"]);
    assert!(!dir.join("o").exists() && !dir.join("r").exists());
}

/// A run that is gone on with keeps its settings: others are refused, the same again are not.
#[test]
fn a_resumed_training_refuses_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let network = golden("stylegan2/official_uncond32.pkl");
    let train = |rest: &str| {
        let line = format!(
            "train-encoder --network {} --out run {rest}",
            network.display()
        );
        run_in(dir, &line)
    };
    let settings = "--channel-base 128 --channel-max 32 --batch 4 --units whitened --seed 3";
    let first = train(&format!("{settings} --kimg 0.008"));
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    for other in [
        "--batch 8",
        "--seed 0",
        "--units plain",
        "--channel-max 64",
        "--latent 2",
    ] {
        let name = other.split(' ').next().unwrap();
        train(&format!("--resume --kimg 0.012 {other}")).fails(2, &[name, "its own"]);
    }
    let on = train(&format!("--resume {settings} --kimg 0.012 --json"));
    assert_eq!(on.json()["images"], 12);
}

/// What was learnt before an error is there after it.
#[test]
fn an_error_does_not_lose_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(dir, "1-2");
    let network = golden("stylegan2/official_uncond32.pkl");
    let train = |rest: &str| {
        let line = format!(
            "train-encoder --network {} --batch 2 {rest}",
            network.display()
        );
        run_in(dir, &line)
    };
    let first = train("--channel-base 128 --channel-max 32 --kimg 0.004 --out first");
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    // Steps so long that the loss is no number soon.
    let from = "--from first/encoder.safetensors --out far --learning-rate 1000";
    let far = train(&format!("{from} --kimg 0.1"));
    far.fails(
        1,
        &["the loss is", "lower learning rate", "what was learnt"],
    );
    let expected = ["encoder.safetensors", "state.safetensors"];
    assert_eq!(files(&dir.join("far")), expected);
}
