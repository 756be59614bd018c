//! Figures of a run: `stats.jsonl`, `metrics.jsonl` and the events.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::TrainRun;
use crate::error::{Error, Result};
use crate::train::events::EventWriter;
use crate::train::trainer::{PhaseMemory, StepReport, Trainer};

pub(super) const STATS: &str = "stats.jsonl";
pub(super) const METRICS: &str = "metrics.jsonl";

/// Reports since the last line of `stats.jsonl`.
#[derive(Default)]
pub(super) struct Tick {
    pub(super) reports: Vec<StepReport>,
}

/// One line of `stats.jsonl`.
#[derive(Serialize)]
struct Line {
    iteration: u64,
    kimg: f64,
    seconds: f64,
    seconds_per_kimg: f64,
    generator_loss: f64,
    discriminator_loss: f64,
    path_penalty: Option<f64>,
    r1_penalty: Option<f64>,
    real_score: f64,
    fake_score: f64,
    real_sign: f64,
    fake_sign: f64,
    path_mean: f64,
    p: f64,
    /// Bytes in use at the end of each phase, the most of any iteration.
    #[serde(skip_serializing_if = "PhaseMemory::is_empty")]
    memory: PhaseMemory,
}

impl Tick {
    fn line(&self, batch: usize) -> Option<Line> {
        let last = self.reports.last()?;
        let mean = |of: &dyn Fn(&StepReport) -> Option<f64>| {
            let values: Vec<f64> = self.reports.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let all = |of: &dyn Fn(&StepReport) -> f64| mean(&|r| Some(of(r))).unwrap_or(f64::NAN);
        let seconds: f64 = self.reports.iter().map(|r| r.seconds).sum();
        Some(Line {
            iteration: last.iteration,
            kimg: last.kimg,
            seconds,
            seconds_per_kimg: seconds * 1000.0 / (self.reports.len() * batch) as f64,
            generator_loss: all(&|r| r.generator_loss),
            discriminator_loss: all(&|r| r.discriminator_loss),
            path_penalty: mean(&|r| r.path_penalty),
            r1_penalty: mean(&|r| r.r1_penalty),
            real_score: all(&|r| r.real_score),
            fake_score: all(&|r| r.fake_score),
            real_sign: all(&|r| r.real_sign),
            fake_sign: all(&|r| r.fake_sign),
            path_mean: last.path_mean,
            p: last.p,
            memory: self
                .reports
                .iter()
                .fold(PhaseMemory::default(), |most, r| most.max(&r.memory)),
        })
    }
}

impl TrainRun {
    pub(super) fn write_stats(&mut self) -> Result<()> {
        let Some(line) = self.tick.line(self.trainer.settings().batch) else {
            return Ok(());
        };
        self.tick.reports.clear();
        self.append(STATS, &line)?;
        self.write_events(&line)
    }

    fn append(&self, name: &str, line: &impl Serialize) -> Result<()> {
        let path = self.folder.join(name);
        let mut text = serde_json::to_string(line).map_err(|e| Error::Argument {
            name: "stats",
            reason: e.to_string(),
        })?;
        text.push('\n');
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io(&path))?;
        file.write_all(text.as_bytes()).map_err(Error::io(&path))
    }

    pub(super) fn write_metrics(&mut self) -> Result<()> {
        let Some(measure) = &mut self.measure else {
            return Ok(());
        };
        let figures = measure(&self.trainer.average)?;
        let (step, now) = (self.kimg(), seconds());
        let progress = self.trainer.progress();
        let mut line = serde_json::Map::new();
        line.insert("iteration".to_owned(), progress.iteration.into());
        line.insert("kimg".to_owned(), (progress.images as f64 / 1000.0).into());
        for (name, value) in figures {
            let tag = format!("metrics/{name}");
            self.events.scalar(&tag, step, now, value as f32)?;
            line.insert(name, value.into());
        }
        self.events.flush()?;
        self.append(METRICS, &line)
    }

    /// The same figures for `TensorBoard`, by kimg.
    fn write_events(&mut self, line: &Line) -> Result<()> {
        let (step, now) = (self.kimg(), seconds());
        let figures = [
            ("loss/generator", Some(line.generator_loss)),
            ("loss/discriminator", Some(line.discriminator_loss)),
            ("penalty/path_length", line.path_penalty),
            ("penalty/r1", line.r1_penalty),
            ("score/real", Some(line.real_score)),
            ("score/fake", Some(line.fake_score)),
            ("sign/real", Some(line.real_sign)),
            ("sign/fake", Some(line.fake_sign)),
            ("progress/augment", Some(line.p)),
            ("progress/path_mean", Some(line.path_mean)),
            ("progress/seconds_per_kimg", Some(line.seconds_per_kimg)),
        ];
        for (tag, value) in figures {
            if let Some(value) = value {
                self.events.scalar(tag, step, now, value as f32)?;
            }
        }
        self.events.flush()
    }

    /// Drops lines behind the state.
    pub(super) fn trim(&self, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let iteration = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line.get("iteration")?.as_u64()
        };
        let now = self.trainer.progress().iteration;
        let mut kept = String::new();
        for line in text
            .lines()
            .filter(|l| iteration(l).is_some_and(|i| i <= now))
        {
            kept.push_str(line);
            kept.push('\n');
        }
        self.write(name, kept.as_bytes())
    }
}

/// Seconds since 1970.
pub(super) fn seconds() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0.0, |d| d.as_secs_f64())
}

/// A file of events for this start of the run.
pub(super) fn events(folder: &Path, trainer: &Trainer) -> Result<EventWriter> {
    let iteration = trainer.progress().iteration;
    let now = seconds();
    // TensorBoard reads the files of a folder in the order of their names.
    let name = format!("events.out.tfevents.{now:.0}.{iteration}");
    EventWriter::create(folder.join(name), now)
}
