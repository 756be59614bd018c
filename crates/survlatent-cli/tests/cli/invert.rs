//! From photos to latents and on to a survival model: training of the encoder, inversion killed and
//! gone on with, gathering.

use std::path::Path;
use std::time::{Duration, Instant};

#[cfg(unix)]
use crate::support::run_limited;
use crate::support::{files, golden, program, run_in};

const NETWORK: &str = "stylegan2/official_uncond32.pkl";

/// Pictures of the network, as photos.
fn photos(dir: &Path) {
    let network = golden(NETWORK);
    let line = format!(
        "generate --network {} --seeds 1-6 --out faces",
        network.display()
    );
    assert_eq!(run_in(dir, &line).code, Some(0));
    assert_eq!(files(&dir.join("faces")).len(), 6);
}

#[test]
fn a_killed_cohort_goes_on_and_its_latents_fit_a_cox_model() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(dir);
    std::fs::write(dir.join("faces/broken.png"), "no picture").unwrap();
    let network = golden(NETWORK);
    let line = |shard: &str, out: &str| {
        format!(
            "invert --photos faces --network {} --method hybrid --steps 4 --batch 1 --shard {shard} \
             --out {out}",
            network.display()
        )
    };
    let whole = run_in(dir, &(line("0/1", "whole") + " --json")).json();
    assert_eq!(
        (&whole["photos"], &whole["set_aside"]),
        (&7.into(), &1.into())
    );

    // The process dies as soon as a batch is done.
    let mut child = program()
        .current_dir(dir)
        .args(line("0/1", "killed").split_whitespace())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let parts = dir.join("killed/latents.parts");
    let started = Instant::now();
    // A file under its final name: one that is being written is not done.
    let done = || files(&parts).iter().any(|f| f.ends_with(".safetensors"));
    while !parts.exists() || !done() {
        assert!(
            started.elapsed() < Duration::from_mins(2),
            "no part appears"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if !dir.join("killed/latents.safetensors").exists() {
        run_in(dir, &line("0/1", "killed")).fails(2, &["--resume"]);
    }
    let resumed = run_in(dir, &(line("0/1", "killed") + " --resume --json")).json();
    assert!(resumed["earlier"].as_u64().unwrap() >= 1, "{resumed}");
    let bytes = |path: &str| std::fs::read(dir.join(path)).unwrap();
    assert!(bytes("whole/latents.safetensors") == bytes("killed/latents.safetensors"));

    for shard in ["0/2", "1/2"] {
        assert_eq!(run_in(dir, &line(shard, "shards")).code, Some(0));
    }
    let gathered = run_in(dir, "gather shards --out all.safetensors --json").json();
    assert_eq!(
        (&gathered["shards"], &gathered["inverted"]),
        (&2.into(), &6.into())
    );
    assert!(bytes("whole/latents.safetensors") == bytes("all.safetensors"));
    run_in(dir, "gather faces --out none.safetensors").fails(1, &["nothing to gather"]);

    // Rows in another order than the latents': they are found by their ids.
    let ids: Vec<String> = files(&dir.join("faces"))
        .iter()
        .filter_map(|f| f.strip_suffix(".png"))
        .filter(|f| *f != "broken")
        .map(str::to_owned)
        .collect();
    let rows = ids.iter().enumerate().rev();
    let rows = rows.map(|(k, id)| format!("{id},{},{}", k + 1, usize::from(k != 2)));
    let table = ["id,time,event".to_owned()].into_iter().chain(rows);
    let table = table.collect::<Vec<_>>().join("\n");
    std::fs::write(dir.join("follow.csv"), table).unwrap();
    let cox = "cox follow.csv --time time --event event --features-file all.safetensors --path \
               --alpha 0.5 --json";
    let fit = run_in(dir, cox);
    assert_eq!(fit.code, Some(0), "{}", fit.stderr);
    assert!(fit.stderr.contains("id"), "{}", fit.stderr);
}

/// The file of all latents does not fit where those of the photos do: they stay, and the next run has
/// only the rest to do.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_no_latent() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(dir);
    let line = |out: &str| {
        format!(
            "invert --photos faces --network {} --method hybrid --steps 2 --batch 1 --device cpu \
             --out {out}",
            golden(NETWORK).display()
        )
    };
    let whole = run_in(dir, &line("whole"));
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    run_limited(dir, 12, &line("full")).fails(1, &["latents.safetensors"]);
    assert_eq!(files(&dir.join("full/latents.parts")).len(), 6);
    assert!(!dir.join("full/latents.safetensors").exists());
    let again = run_in(dir, &(line("full") + " --resume --json")).json();
    assert_eq!(
        (&again["inverted"], &again["earlier"]),
        (&6.into(), &6.into())
    );
    let read = |out: &str| std::fs::read(dir.join(out).join("latents.safetensors")).unwrap();
    assert!(read("whole") == read("full"));

    let device = |name: &str| run_in(dir, &line("none").replace("cpu", name));
    device("abacus").fails(2, &["--device", "abacus", "flex (the CPU)"]);
    device("flex:1").fails(2, &["flex:1", "this machine has one"]);
    let align = run_in(dir, "align faces aligned --device abacus");
    align.fails(2, &["this build has"]);
}

#[test]
fn an_encoder_is_trained_and_inverts() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    photos(dir);
    let network = golden(NETWORK);
    let train = format!(
        "train-encoder --network {} --channel-base 128 --channel-max 32 --batch 8 --out run",
        network.display()
    );
    let first = run_in(dir, &format!("{train} --kimg 0.064 --json")).json();
    assert_eq!(first["images"], 64);
    run_in(dir, &format!("{train} --kimg 0.1")).fails(2, &["--resume"]);
    let second = run_in(dir, &format!("{train} --resume --kimg 0.128 --json")).json();
    assert_eq!(second["images"], 128);
    let expected = ["encoder.safetensors", "state.safetensors", "stats.jsonl"];
    assert_eq!(files(&dir.join("run")), expected);
    let line = format!(
        "invert --photos faces --network {} --out latents --method encoder",
        network.display()
    );
    run_in(dir, &line).fails(2, &["--encoder", "train-encoder"]);
    let found = run_in(
        dir,
        &format!("{line} --encoder run/encoder.safetensors --json"),
    );
    assert_eq!(found.json()["inverted"], 6);
    assert_eq!(found.stderr, "");
}
