//! The folder of a training run.
//!
//! | file | what it is |
//! | --- | --- |
//! | `config.toml` | networks and settings |
//! | `stats.jsonl` | one line per tick: means of the [`StepReport`]s |
//! | `metrics.jsonl` | one line per snapshot, if a [`Measure`] was given |
//! | `reals.png`, `fakes000200.png` | real images; images of fixed latents at 200 kimg |
//! | `network-000200.safetensors` | `G_ema`, `G` and `D` at 200 kimg |
//! | `state.safetensors` | the last state, to go on from |
//! | `events.out.tfevents.*` | the figures for `TensorBoard`; one file per start |
//!
//! Every file but `*.jsonl` and the events appears whole or not at all.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::image::{ExtendedColorType, ImageEncoder};
use burn::config::Config;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;

use crate::checkpoint::FloatFormat;
use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::image::{Pixels, Rounding, grid, to_pixels};
use crate::synthesis::SynthesisOptions;
use crate::train::draws::{Key, Phase, Purpose};
use crate::train::events::EventWriter;
use crate::train::settings::{Plan, TrainSettings};
use crate::train::source::ImageSource;
use crate::train::trainer::{StepReport, Trainer};
use crate::{Generator, Truncation};

/// When a run writes what.
#[derive(Config, Debug, PartialEq)]
pub struct RunSettings {
    /// Thousands of images between lines of `stats.jsonl`.
    #[config(default = 1.0)]
    pub tick_kimg: f64,
    /// Thousands of images between states.
    #[config(default = 10.0)]
    pub state_kimg: f64,
    /// Thousands of images between snapshots and sample grids.
    #[config(default = 50.0)]
    pub snapshot_kimg: f64,
    /// Snapshots kept, the newest ones; 0 keeps all.
    #[config(default = 5)]
    pub keep: usize,
    /// Columns and rows of the grids.
    #[config(default = "[8, 4]")]
    pub grid: [usize; 2],
}

impl Default for RunSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl RunSettings {
    fn validate(&self) -> Result<()> {
        let positive = [
            ("tick_kimg", self.tick_kimg),
            ("state_kimg", self.state_kimg),
            ("snapshot_kimg", self.snapshot_kimg),
        ];
        for (field, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::Config {
                    field,
                    value: value.to_string(),
                    expected: "positive and finite",
                });
            }
        }
        if self.grid.iter().any(|n| !(1..=64).contains(n)) {
            return Err(Error::Config {
                field: "grid",
                value: format!("{:?}", self.grid),
                expected: "from 1 to 64 columns and rows",
            });
        }
        Ok(())
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All images have been shown.
    Finished,
    /// The observer broke off; the state is saved.
    Stopped,
}

/// What is measured of the moving average at every snapshot: figures by name.
pub type Measure = Box<dyn FnMut(&Generator) -> Result<Vec<(String, f64)>>>;

/// A training and its folder.
pub struct TrainRun {
    trainer: Trainer,
    folder: PathBuf,
    settings: RunSettings,
    tick: Tick,
    events: EventWriter,
    measure: Option<Measure>,
    /// Images of the state in the folder.
    saved: Option<u64>,
}

/// The name of the state's file.
const STATE: &str = "state.safetensors";
const STATS: &str = "stats.jsonl";
const METRICS: &str = "metrics.jsonl";

/// Reports since the last line of `stats.jsonl`.
#[derive(Default)]
struct Tick {
    reports: Vec<StepReport>,
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
        })
    }
}

impl TrainRun {
    /// Starts a run in a new or empty folder: writes `config.toml` and `reals.png`.
    pub fn create(
        folder: impl Into<PathBuf>,
        trainer: Trainer,
        settings: RunSettings,
    ) -> Result<Self> {
        settings.validate()?;
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let taken = std::fs::read_dir(&folder).map_err(Error::io(&folder))?;
        if taken.count() > 0 {
            return Err(Error::Argument {
                name: "folder",
                reason: format!(
                    "{} is not empty; go on with a run, or choose another folder",
                    folder.display()
                ),
            });
        }
        let mut run = Self {
            events: events(&folder, &trainer)?,
            trainer,
            folder,
            settings,
            tick: Tick::default(),
            measure: None,
            saved: None,
        };
        run.write_config()?;
        run.write_reals()?;
        run.write_fakes()?;
        Ok(run)
    }

    /// Goes on with the run of a folder, from its last state.
    ///
    /// Lines of `stats.jsonl` and `metrics.jsonl` behind that state are dropped: they are written
    /// again.
    pub fn resume(
        folder: impl Into<PathBuf>,
        source: Arc<dyn ImageSource>,
        device: &Device,
        settings: RunSettings,
        change: impl FnOnce(&mut TrainSettings),
    ) -> Result<Self> {
        settings.validate()?;
        let folder = folder.into();
        let trainer = Trainer::resume_with(folder.join(STATE), source, device, change)?;
        let run = Self {
            events: events(&folder, &trainer)?,
            saved: Some(trainer.progress().images),
            trainer,
            folder,
            settings,
            tick: Tick::default(),
            measure: None,
        };
        run.trim(STATS)?;
        run.trim(METRICS)?;
        run.write_config()?;
        Ok(run)
    }

    /// Measures the moving average at every snapshot, into `metrics.jsonl` and the events.
    #[must_use]
    pub fn with_measure(mut self, measure: Measure) -> Self {
        self.measure = Some(measure);
        self
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Thousands of images that had been shown when the state in the folder was saved; none before the
    /// first.
    pub fn saved_kimg(&self) -> Option<f64> {
        self.saved.map(|images| images as f64 / 1000.0)
    }

    /// Trains until all images have been shown or `observe` breaks off, and saves the state.
    ///
    /// After an error, a full disk say, the state and the snapshots saved before are untouched; a run
    /// goes on from [`TrainRun::saved_kimg`].
    pub fn train(
        &mut self,
        mut observe: impl FnMut(&StepReport) -> ControlFlow<()>,
    ) -> Result<Ending> {
        while !self.trainer.is_finished() {
            let before = self.trainer.progress().images;
            let report = self.trainer.step()?;
            let after = self.trainer.progress().images;
            let go_on = observe(&report).is_continue();
            self.tick.reports.push(report);
            let due = |kimg: f64| crossed(before, after, kimg);
            let last = self.trainer.is_finished() || !go_on;
            if due(self.settings.tick_kimg) || last {
                self.write_stats()?;
            }
            if due(self.settings.snapshot_kimg) || self.trainer.is_finished() {
                self.write_snapshot()?;
            }
            if due(self.settings.state_kimg) || last {
                self.trainer.save(self.folder.join(STATE))?;
                self.saved = Some(after);
            }
            if !go_on {
                return Ok(Ending::Stopped);
            }
        }
        Ok(Ending::Finished)
    }

    fn write_config(&self) -> Result<()> {
        #[derive(Serialize)]
        struct File {
            run: RunSettings,
            #[serde(flatten)]
            plan: Plan,
        }
        let file = File {
            run: self.settings.clone(),
            plan: self.trainer.plan(),
        };
        let text = toml::to_string(&file).map_err(|e| Error::Argument {
            name: "settings",
            reason: e.to_string(),
        })?;
        self.write("config.toml", text.as_bytes())
    }

    fn write_stats(&mut self) -> Result<()> {
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

    fn write_metrics(&mut self) -> Result<()> {
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
    fn trim(&self, name: &str) -> Result<()> {
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

    fn write_snapshot(&mut self) -> Result<()> {
        let name = format!("network-{:06}.safetensors", self.kimg());
        self.trainer
            .save_networks(self.folder.join(name), FloatFormat::F32)?;
        self.write_fakes()?;
        self.drop_old_snapshots()?;
        self.write_metrics()
    }

    fn drop_old_snapshots(&self) -> Result<()> {
        if self.settings.keep == 0 {
            return Ok(());
        }
        let entries = std::fs::read_dir(&self.folder).map_err(Error::io(&self.folder))?;
        let number = |name: &str| {
            let number = name
                .strip_prefix("network-")?
                .strip_suffix(".safetensors")?;
            number.parse::<u64>().ok()
        };
        let mut snapshots: Vec<(u64, PathBuf)> = entries
            .filter_map(std::result::Result::ok)
            .filter_map(|e| Some((number(e.file_name().to_str()?)?, e.path())))
            .collect();
        snapshots.sort_unstable();
        let old = snapshots.len().saturating_sub(self.settings.keep);
        for (_, path) in &snapshots[..old] {
            std::fs::remove_file(path).map_err(Error::io(path))?;
        }
        Ok(())
    }

    fn kimg(&self) -> u64 {
        self.trainer.progress().images / 1000
    }

    fn write_reals(&self) -> Result<()> {
        let source = self.trainer.source();
        let [c, h, w] = source.shape();
        let [columns, rows] = self.settings.grid;
        let pictures = (0..source.len().min(columns * rows))
            .map(|k| {
                // Spread over the whole set.
                let index = k * source.len() / (columns * rows).min(source.len());
                let planes = source.image(index)?;
                let data = (0..h * w)
                    .flat_map(|p| (0..c).map(move |k| (k, p)))
                    .map(|(k, p)| planes[k * h * w + p])
                    .collect();
                Ok(Pixels {
                    width: w,
                    height: h,
                    channels: c,
                    data,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        self.write("reals.png", &png(&grid(&pictures, columns))?)
    }

    fn write_fakes(&mut self) -> Result<()> {
        let [columns, rows] = self.settings.grid;
        let picture = grid(&self.trainer.samples(columns * rows), columns);
        let kimg = self.kimg();
        if matches!(picture.channels, 1 | 3) {
            self.events.image("fakes", kimg, seconds(), &picture)?;
            self.events.flush()?;
        }
        self.write(&format!("fakes{kimg:06}.png"), &png(&picture)?)
    }

    /// Writes a small file whole or not at all.
    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        write_whole(&path, |out| {
            out.write_all(content).map_err(Error::io(&path))
        })
    }
}

/// Seconds since 1970.
fn seconds() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0.0, |d| d.as_secs_f64())
}

/// A file of events for this start of the run.
fn events(folder: &Path, trainer: &Trainer) -> Result<EventWriter> {
    let iteration = trainer.progress().iteration;
    let now = seconds();
    // TensorBoard reads the files of a folder in the order of their names.
    let name = format!("events.out.tfevents.{now:.0}.{iteration}");
    EventWriter::create(folder.join(name), now)
}

/// Whether a multiple of `kimg` thousand lies in `(before, after]`.
fn crossed(before: u64, after: u64, kimg: f64) -> bool {
    let passed = |images: u64| (images as f64 / (kimg * 1000.0)).floor();
    passed(after) > passed(before)
}

/// A PNG: gray, gray with alpha, RGB or RGBA for 1 to 4 channels.
fn png(picture: &Pixels) -> Result<Vec<u8>> {
    let color = match picture.channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let mut bytes = Vec::new();
    ::image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(
            &picture.data,
            picture.width as u32,
            picture.height as u32,
            color,
        )
        .map_err(|e| Error::Argument {
            name: "grid",
            reason: e.to_string(),
        })?;
    Ok(bytes)
}

impl Trainer {
    /// Networks and settings as one plan.
    pub fn plan(&self) -> Plan {
        Plan {
            generator: self.networks.generator.clone(),
            discriminator: self.networks.discriminator.clone(),
            settings: self.settings.clone(),
        }
    }

    /// Pictures of the moving average from fixed latents, with the labels of real images.
    pub fn samples(&self, count: usize) -> Vec<Pixels> {
        const AT_ONCE: usize = 8;
        let config = &self.networks.generator;
        let device = self.device();
        let z = Key {
            seed: self.settings.seed,
            iteration: 0,
            phase: Phase::None,
            purpose: Purpose::Grid,
            index: 0,
        }
        .normals(count * config.z_dim);
        let generator: &Generator = &self.average;
        (0..count)
            .step_by(AT_ONCE)
            .flat_map(|start| {
                let n = AT_ONCE.min(count - start);
                let range = start * config.z_dim..(start + n) * config.z_dim;
                let z = TensorData::new(z[range].to_vec(), [n, config.z_dim]);
                let c = (config.c_dim > 0).then(|| {
                    let source = self.source();
                    let labels = (start..start + n)
                        .flat_map(|k| source.label(k % source.len()).unwrap_or_default())
                        .collect::<Vec<f32>>();
                    Tensor::from_data(TensorData::new(labels, [n, config.c_dim]), device)
                });
                let options = SynthesisOptions::default();
                let z = Tensor::from_data(z, device);
                let images = generator.forward(z, c, Truncation::default(), &options);
                to_pixels(images, Rounding::Nearest)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_are_crossed_once() {
        let crossings = (0..40)
            .filter(|k| crossed(k * 32, (k + 1) * 32, 0.1))
            .count();
        assert_eq!(crossings, 12, "of 1280 images every 100th");
        assert!(crossed(90, 100, 0.1) && !crossed(100, 110, 0.1));
    }
}
