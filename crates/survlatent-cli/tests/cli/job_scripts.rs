//! The job scripts of docs/inversion.md, run as the cluster would run them: every shard of a small cohort,
//! then the gathering.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;

use crate::support::{golden, run_in};

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/inversion.md");
    std::fs::read_to_string(page).unwrap()
}

/// The page's first code block of a kind after a heading.
fn block(heading: &str, language: &str) -> String {
    let page = page();
    let (_, after) = page.split_once(&format!("\n{heading}\n")).expect(heading);
    let (_, code) = after.split_once(&format!("```{language}\n")).unwrap();
    code.split_once("```").unwrap().0.to_owned()
}

/// The number after a key at the start of a line.
fn number(text: &str, key: &str) -> usize {
    let line = text.lines().find_map(|l| l.trim().strip_prefix(key));
    line.expect(key).trim().parse().expect(key)
}

/// Photos, their table, a network and its encoder, under the names of the scripts.
fn cohort(dir: &Path) -> String {
    let network = golden("stylegan2/official_uncond32.pkl");
    let network = network.display();
    for line in [
        format!("generate --network {network} --seeds 1-3 --out faces"),
        format!("convert {network} faces.safetensors"),
        "train-encoder --network faces.safetensors --channel-base 128 --channel-max 32 --batch 8 --kimg 0.016 \
         --out run"
            .to_owned(),
    ] {
        let done = run_in(dir, &line);
        assert_eq!(done.code, Some(0), "{line}: {}", done.stderr);
    }
    std::fs::rename(
        dir.join("run/encoder.safetensors"),
        dir.join("encoder.safetensors"),
    )
    .unwrap();
    let faces = std::fs::read_dir(dir.join("faces")).unwrap();
    let mut faces: Vec<String> = faces
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    faces.sort();
    let rows = faces.iter().enumerate();
    let rows = rows.map(|(k, face)| format!("p{k},faces/{face}"));
    let table: Vec<String> = ["id,file".to_owned()].into_iter().chain(rows).collect();
    std::fs::write(dir.join("cohort.csv"), table.join("\n")).unwrap();
    // Where the shell looks for the program.
    let program = Path::new(env!("CARGO_BIN_EXE_survlatent"));
    let folder = program.parent().unwrap().display();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

/// Runs a script of one shard.
fn shell(dir: &Path, path: &str, shell: &str, script: &str, variables: &[(&str, String)]) {
    let done = Command::new(shell)
        .args(["-c", script])
        .current_dir(dir)
        .env("PATH", path)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{variables:?}: {said}");
}

/// The latents of the gathered file.
fn latents(dir: &Path, file: &str) -> Vec<u8> {
    let bytes = std::fs::read(dir.join(file)).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let w = file.tensor("w").unwrap();
    assert_eq!(w.shape()[0], 3);
    w.data().to_vec()
}

#[test]
fn the_scripts_of_the_page_do_every_shard() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let path = cohort(dir);

    let slurm = block("### Slurm", "sh");
    assert!(slurm.starts_with("#!/bin/bash\n"));
    let array = slurm
        .lines()
        .find_map(|l| l.strip_prefix("#SBATCH --array=0-"));
    assert_eq!(array, Some("15"));
    // As many tasks as there are photos and one more; Slurm says how many there are.
    for task in 0..4 {
        let variables = [
            ("SLURM_ARRAY_TASK_ID", task.to_string()),
            ("SLURM_ARRAY_TASK_COUNT", "4".to_owned()),
            (
                "SLURM_CPUS_PER_TASK",
                number(&slurm, "#SBATCH --cpus-per-task=").to_string(),
            ),
        ];
        shell(dir, &path, "bash", &slurm, &variables);
    }
    // The page's own command; with the name of the list of photos it would write over that.
    let command = "gather latents --out all.safetensors";
    assert!(page().contains(&format!("`survlatent {command}`")));
    run_in(dir, &command.replace("all", "cohort")).fails(2, &["cohort.csv", "overwritten"]);
    let gathered = run_in(dir, &format!("{command} --json")).json();
    assert_eq!(
        (&gathered["shards"], &gathered["inverted"]),
        (&4.into(), &3.into())
    );
    std::fs::remove_dir_all(dir.join("latents")).unwrap();

    let job = block("### Kubernetes", "yaml");
    let completions = number(&job, "completions:");
    assert_eq!(number(&job, "parallelism:"), completions);
    assert!(job.contains("completionMode: Indexed"));
    assert!(job.contains(r#"command: ["/bin/sh", "-c"]"#));
    // A folded scalar: its lines are one.
    let (_, script) = job.split_once("- >-\n").unwrap();
    let depth = script.len() - script.trim_start().len();
    let lines = script
        .lines()
        .take_while(|l| l.len() > depth && l[..depth].trim().is_empty());
    let script = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    assert!(
        script.starts_with("survlatent invert ") && script.ends_with(&format!("/{completions}\""))
    );
    let script = script.replace("/data/", &format!("{}/", dir.display()));
    for index in 0..completions {
        let variables = [("JOB_COMPLETION_INDEX", index.to_string())];
        shell(dir, &path, "/bin/sh", &script, &variables);
    }
    let gathered = run_in(dir, "gather latents --out again.safetensors --json").json();
    assert_eq!(
        (&gathered["shards"], &gathered["inverted"]),
        (&completions.into(), &3.into())
    );
    assert!(latents(dir, "all.safetensors") == latents(dir, "again.safetensors"));
}
