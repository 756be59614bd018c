//! The progress line.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use stylegan2_burn::train::{Observer, StepReport, TrainPhase};

/// Shows where a run is, tells it how much memory is in use, and stops it on an interrupt.
pub(super) struct Watch {
    bar: ProgressBar,
    speed: Speed,
    total: u64,
    interrupted: Arc<AtomicBool>,
}

impl Watch {
    /// Of `total` pictures `done` have been shown.
    pub(super) fn new(total: u64, done: u64, interrupted: Arc<AtomicBool>) -> Self {
        Self {
            bar: bar(total, done),
            speed: Speed::new(done),
            total,
            interrupted,
        }
    }

    /// Removes the line.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Watch {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.bar.inc(report.batch as u64);
        self.bar.set_message(self.speed.line(report, self.total));
        if self.interrupted.load(Ordering::SeqCst) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn phase(&mut self, _: TrainPhase) -> Option<u64> {
        memory()
    }
}

fn bar(total: u64, done: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:20} {msg}") {
        bar.set_style(style);
    }
    bar.set_position(done);
    bar
}

/// Speed since the start of this process.
struct Speed {
    started: Instant,
    first: f64,
}

impl Speed {
    fn new(images: u64) -> Self {
        Self {
            started: Instant::now(),
            first: images as f64 / 1000.0,
        }
    }

    fn line(&self, step: &StepReport, total: u64) -> String {
        let rate = self.started.elapsed().as_secs_f64() / (step.kimg - self.first).max(1e-9);
        let left = rate * (total as f64 / 1000.0 - step.kimg).max(0.0) / 3600.0;
        let memory = memory().map_or(String::new(), |m| format!(", {:.1} GB", m as f64 / 1e9));
        format!(
            "kimg {:.1}, {rate:.1} s/kimg, G {:.3}, D {:.3}, p {:.3}{memory}, {left:.1} h left",
            step.kimg, step.generator_loss, step.discriminator_loss, step.p
        )
    }
}

/// Memory of this process in bytes, where the system tells.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
