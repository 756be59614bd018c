//! What the benchmarks share: data of known shape, CPU time, and R as a peer in the same run.
//!
//! Both sides time the same work inside their own process, in turn, and the table shows medians
//! of CPU seconds: start-up and reading the data are left out on both.
#![allow(clippy::print_stdout, reason = "benchmarks print their table")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use cpu_time::ProcessTime;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Survival data with features in column-major order.
pub struct Data {
    /// Rows.
    pub n: usize,
    /// Columns.
    pub p: usize,
    /// Features, column-major.
    pub x: Vec<f64>,
    /// Times.
    pub time: Vec<f64>,
    /// Events.
    pub event: Vec<bool>,
}

/// Standard normal draws (Box-Muller).
pub fn normals(count: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut out = Vec::with_capacity(count + 1);
    while out.len() < count {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        let r = (-2.0 * (1.0 - u).ln()).sqrt();
        let a = std::f64::consts::TAU * v;
        out.push(r * a.cos());
        out.push(r * a.sin());
    }
    out.truncate(count);
    out
}

/// Exponential survival times with hazard `exp(eta)` and independent censoring of about 40%.
fn outcome(eta: &[f64], rng: &mut ChaCha8Rng) -> (Vec<f64>, Vec<bool>) {
    let exponential = |rng: &mut ChaCha8Rng| -(1.0 - rng.random::<f64>()).ln();
    let time: Vec<f64> = eta.iter().map(|e| exponential(rng) * (-e).exp()).collect();
    let mut sorted = time.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let censor: Vec<f64> = eta
        .iter()
        .map(|_| exponential(rng) * median * 1.6)
        .collect();
    let event = time.iter().zip(&censor).map(|(t, c)| t <= c).collect();
    (
        time.iter().zip(&censor).map(|(t, c)| t.min(*c)).collect(),
        event,
    )
}

/// Independent normal columns, ten of them with an effect.
pub fn independent(n: usize, p: usize, seed: u64) -> Data {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let x = normals(n * p, &mut rng);
    let eta: Vec<f64> = (0..n)
        .map(|i| {
            (0..10.min(p))
                .map(|j| x[j * n + i] * (0.3 - 0.6 * j as f64 / 9.0))
                .sum()
        })
        .collect();
    let (time, event) = outcome(&eta, &mut rng);
    Data {
        n,
        p,
        x,
        time,
        event,
    }
}

/// Columns that share sixteen factors of falling strength, as latent codes do; thirty effects.
pub fn latent(n: usize, p: usize, seed: u64) -> Data {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let k = 16;
    let factors = normals(n * k, &mut rng);
    let mut x = normals(n * p, &mut rng);
    for column in x.chunks_exact_mut(n) {
        let loads = normals(k, &mut rng);
        for f in 0..k {
            let load = 0.6 * loads[f] * (-(f as f64) / 6.0).exp();
            for (v, z) in column.iter_mut().zip(&factors[f * n..]) {
                *v += load * z;
            }
        }
    }
    let mut eta = vec![0.0; n];
    for effect in normals(30, &mut rng) {
        let j = rng.random_range(0..p);
        for (e, v) in eta.iter_mut().zip(&x[j * n..]) {
            *e += 0.25 * effect * v;
        }
    }
    for e in &mut eta {
        *e = e.clamp(-6.0, 6.0);
    }
    let (time, event) = outcome(&eta, &mut rng);
    Data {
        n,
        p,
        x,
        time,
        event,
    }
}

/// CPU and wall seconds of one call.
pub fn timed<T>(work: impl FnOnce() -> T) -> (f64, f64, T) {
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    let value = work();
    (
        cpu.elapsed().as_secs_f64(),
        wall.elapsed().as_secs_f64(),
        value,
    )
}

/// Median of some figures.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    if values.is_empty() {
        f64::NAN
    } else {
        values[values.len() / 2]
    }
}

/// R as a peer: the data on disk, and a piece of R to be timed.
pub struct Peer {
    folder: tempfile::TempDir,
}

impl Peer {
    /// Writes the data; none when `Rscript` with the package is not to be had.
    pub fn new(data: &Data, package: &str) -> Option<Self> {
        let probe = Command::new("Rscript")
            .args(["-e", &format!("suppressMessages(library({package}))")])
            .output()
            .ok()?;
        if !probe.status.success() {
            return None;
        }
        let folder = tempfile::tempdir().ok()?;
        let write = |name: &str, values: &mut dyn Iterator<Item = f64>| {
            let bytes: Vec<u8> = values.flat_map(f64::to_le_bytes).collect();
            std::fs::write(folder.path().join(name), bytes).ok()
        };
        write("x", &mut data.x.iter().copied())?;
        write("time", &mut data.time.iter().copied())?;
        write(
            "event",
            &mut data.event.iter().map(|&e| f64::from(u8::from(e))),
        )?;
        Some(Self { folder })
    }

    /// CPU seconds of the R expression `work`, which may use `x`, `time`, `event`, `y`; with
    /// what it prints. `setup` is not timed.
    pub fn run(&self, data: &Data, setup: &str, work: &str) -> Option<(f64, String)> {
        let mut script = String::new();
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (n, p) = (data.n, data.p);
        writeln!(script, "suppressMessages({{library(survival); {setup}}})").ok()?;
        for name in ["time", "event"] {
            writeln!(script, "{name} <- readBin('{}', 'double', {n})", path(name)).ok()?;
        }
        writeln!(
            script,
            "x <- matrix(readBin('{}', 'double', {}), {n}, {p})",
            path("x"),
            n * p
        )
        .ok()?;
        writeln!(script, "y <- Surv(time, event)").ok()?;
        writeln!(script, "invisible(gc()); t <- system.time(r <- {{{work}}})").ok()?;
        writeln!(
            script,
            "cat(t[['user.self']] + t[['sys.self']], '|', r, '\\n')"
        )
        .ok()?;
        let file = self.folder.path().join("run.R");
        std::fs::write(&file, script).ok()?;
        let output = run_single_threaded(&file)?;
        let line = output.lines().last()?;
        let (seconds, rest) = line.split_once('|')?;
        Some((seconds.trim().parse().ok()?, rest.trim().to_owned()))
    }
}

impl Peer {
    /// CPU seconds of a task of a Python script beside the benchmarks, and what it prints. `PYTHON` names the
    /// interpreter.
    pub fn run_python(
        &self,
        script: &str,
        task: &str,
        data: &Data,
        ratio: Option<f64>,
    ) -> Option<(f64, String)> {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("peers")
            .join(script);
        let mut command = Command::new(python);
        command.arg(script);
        self.run_task(command, task, data, ratio)
    }

    /// The same of the program in `peers/rust_survival`, whose path is in `RUST_SURVIVAL`.
    pub fn run_rust(&self, task: &str, data: &Data) -> Option<(f64, String)> {
        let program = std::env::var("RUST_SURVIVAL").ok()?;
        self.run_task(Command::new(program), task, data, None)
    }

    fn run_task(
        &self,
        mut command: Command,
        task: &str,
        data: &Data,
        ratio: Option<f64>,
    ) -> Option<(f64, String)> {
        command
            .arg(task)
            .arg(self.folder.path())
            .args([data.n, data.p].map(|k| k.to_string()))
            .args(ratio.map(|r| r.to_string()));
        for name in [
            "OPENBLAS_NUM_THREADS",
            "OMP_NUM_THREADS",
            "RAYON_NUM_THREADS",
        ] {
            command.env(name, "1");
        }
        let output = command.output().ok().filter(|o| o.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (seconds, said) = text.lines().last()?.split_once('|')?;
        Some((seconds.trim().parse().ok()?, said.trim().to_owned()))
    }
}

/// A side of a contest of many: its name, and a run that gives CPU seconds and what was found; none where the
/// peer is not to be had.
pub type Side<'a> = (&'a str, Box<dyn FnMut() -> Option<(f64, String)> + 'a>);

/// Runs all sides in turn and prints the medians, with their ratio to the first.
pub fn table(title: &str, rounds: usize, sides: &mut [Side<'_>]) {
    println!("{title}");
    let mut found = vec![(Vec::new(), String::new()); sides.len()];
    for _ in 0..rounds {
        for ((_, run), (seconds, said)) in sides.iter_mut().zip(&mut found) {
            if let Some((s, text)) = run() {
                seconds.push(s);
                *said = text;
            }
        }
    }
    let first = median(found[0].0.clone());
    for ((name, _), (seconds, said)) in sides.iter().zip(found) {
        let seconds = median(seconds);
        println!(
            "  {name:<24} {seconds:>9.4} s  x{:>7.2}   {said}",
            seconds / first
        );
    }
}

fn run_single_threaded(file: &Path) -> Option<String> {
    let output = Command::new("Rscript")
        .arg(file)
        .env("OPENBLAS_NUM_THREADS", "1")
        .env("OMP_NUM_THREADS", "1")
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `ours` with one thread and with all, and the peer, in turn; prints one line of medians.
///
/// # Panics
/// When no thread can be started.
pub fn contest(
    name: &str,
    rounds: usize,
    data: &Data,
    peer: Option<(&Peer, &str, &str)>,
    mut ours: impl FnMut() -> String + Send,
) {
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    let (mut cpu, mut wall_all, mut cpu_peer) = (vec![], vec![], vec![]);
    let (mut said, mut peer_said) = (String::new(), String::new());
    for _ in 0..rounds {
        let (seconds, _, text) = one.install(|| timed(&mut ours));
        cpu.push(seconds);
        said = text;
        wall_all.push(timed(&mut ours).1);
        if let Some((peer, setup, work)) = peer
            && let Some((seconds, text)) = peer.run(data, setup, work)
        {
            cpu_peer.push(seconds);
            peer_said = text;
        }
    }
    let (ours, all, theirs) = (median(cpu), median(wall_all), median(cpu_peer));
    println!(
        "{name:<44} ours {ours:>8.4} s (all threads, wall {all:>8.4})   R {theirs:>8.4} s   R/ours {:>6.1}   [{said}] [{peer_said}]",
        theirs / ours
    );
}

/// A figure of `/proc/self/status` in KiB (Linux), such as `VmRSS` or `VmHWM`; not a number elsewhere.
pub fn resident(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    let figure = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    figure.unwrap_or(f64::NAN)
}

/// Sets the peak `VmHWM` back to what is resident now. Where that cannot be done the peak stays that of the
/// whole run, which is more.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
