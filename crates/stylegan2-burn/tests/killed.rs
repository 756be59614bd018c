//! A run that is killed at a random step and goes on has the bits of one that never stopped.
//!
//! The run is this program once more, with the ignored test below, so that there is a process to
//! kill; `SIGKILL` leaves it no time to finish anything.

#![cfg(all(unix, feature = "train", feature = "flex"))]
// The step that was drawn, and the child's way to say where it is.
#![allow(clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use burn::tensor::Device;
use stylegan2_burn::train::{
    AugmentStrength, Ending, ImageSource, Networks, RunSettings, SavedRun, TrainRun, TrainSettings,
    Trainer,
};
use stylegan2_burn::{DiscriminatorConfig, GeneratorConfig, MappingConfig, Result};

const SIDE: usize = 16;
/// 1 kimg in batches of 40.
const STEPS: u64 = 25;
/// Where the child finds its folder.
const FOLDER: &str = "KILLED_RUN_FOLDER";

struct Pictures;

impl ImageSource for Pictures {
    fn len(&self) -> usize {
        11
    }
    fn shape(&self) -> [usize; 3] {
        [3, SIDE, SIDE]
    }
    fn label_dim(&self) -> usize {
        0
    }
    fn image(&self, index: usize) -> Result<Vec<u8>> {
        let value = |k: usize| (k * (index + 3) * 7 % 251) as u8;
        Ok((0..3 * SIDE * SIDE).map(value).collect())
    }
    fn label(&self, _: usize) -> Option<Vec<f32>> {
        None
    }
}

fn create(folder: &Path) -> TrainRun {
    let g = GeneratorConfig::new(SIDE)
        .with_channel_base(64)
        .with_z_dim(6)
        .with_w_dim(5)
        .with_mapping(MappingConfig::new().with_num_layers(2));
    let d = DiscriminatorConfig::new(SIDE)
        .with_channel_base(64)
        .with_mbstd_group(Some(2));
    let networks = Networks::init(&g, &d, 1, &Device::default()).unwrap();
    let settings = TrainSettings::new()
        .with_batch(40)
        .with_kimg(1)
        .with_path_interval(Some(2))
        .with_r1_interval(Some(3))
        .with_mirror(true)
        .with_augment_interval(2)
        .with_augment(AugmentStrength::Adaptive {
            target: -0.9,
            kimg: 1.0,
        })
        .with_seed(5);
    let trainer = Trainer::new(settings, networks, Arc::new(Pictures)).unwrap();
    // A state at every second step, so that the kill also falls into the writing of one.
    let times = RunSettings::new()
        .with_tick_kimg(0.04)
        .with_state_kimg(0.08)
        .with_snapshot_kimg(0.2)
        .with_grid([2, 1]);
    TrainRun::create(folder, trainer, times).unwrap()
}

#[test]
#[ignore = "the process that the other test kills"]
fn the_run_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let mut run = create(&PathBuf::from(folder));
    run.train(|report| {
        println!("step {}", report.iteration);
        ControlFlow::Continue(())
    })
    .unwrap();
}

#[test]
fn a_killed_run_goes_on_with_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    let ending = create(&whole).train(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(ending, Ending::Finished);

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let drawn = u64::from(now.unwrap().subsec_nanos()) / 100;
    let (step, wait) = (1 + drawn % (STEPS - 1), drawn / STEPS % 40);
    println!("killed {wait} ms after step {step}");

    let part = root.path().join("part");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "the_run_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, &part)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reached = lines
        .map_while(std::result::Result::ok)
        .any(|line| line.ends_with(&format!("step {step}")));
    std::thread::sleep(Duration::from_millis(wait));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(reached, "the run ended before step {step}: {status}");

    let saved = SavedRun::open(&part).unwrap();
    let from = saved.state().progress().iteration;
    println!("goes on from iteration {from}");
    // The state of two steps ago at most, or a newer one.
    assert!(from + 2 >= step, "{from}");
    let mut again = saved
        .resume(Arc::new(Pictures), &Device::default(), |_| ())
        .unwrap();
    let ending = again.train(|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(ending, Ending::Finished);
    for name in [
        "state.safetensors",
        "network-000001.safetensors",
        "network-000000.800.safetensors",
        "fakes000001.png",
    ] {
        let read = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
        assert!(
            read(&part) == read(&whole),
            "{name}: step {step}, from {from}"
        );
    }
    let iterations = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("stats.jsonl")).unwrap();
        let of = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["iteration"].as_u64().unwrap()
        };
        text.lines().map(of).collect::<Vec<u64>>()
    };
    let last = |folder: &Path| iterations(folder).last().copied();
    assert_eq!(last(&part), last(&whole));
    let all = iterations(&part);
    assert!(all.windows(2).all(|w| w[0] < w[1]), "{all:?}");
    let left = std::fs::read_dir(&part).unwrap();
    let half = |e: std::io::Result<std::fs::DirEntry>| {
        e.unwrap().file_name().to_string_lossy().ends_with(".part")
    };
    assert_eq!(left.map(half).filter(|h| *h).count(), 0);
}
