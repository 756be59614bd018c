//! Who watches a run.

use std::ops::ControlFlow;

use crate::image::Pixels;
use crate::train::trainer::{StepReport, TrainPhase};

/// Watches a run; only [`Observer::step`] has to be there.
pub trait Observer {
    /// An iteration is done. Breaking off saves the state and ends the run.
    fn step(&mut self, report: &StepReport) -> ControlFlow<()>;

    /// A phase of an iteration is done. The answer, bytes of memory in use, goes into
    /// [`StepReport::memory`] and `stats.jsonl`.
    fn phase(&mut self, _: TrainPhase) -> Option<u64> {
        None
    }

    /// A grid of pictures of fixed latents has been made, at so many thousand images.
    fn samples(&mut self, _kimg: f64, _grid: &Pixels) {}
}

/// One that looks at iterations only.
pub(super) struct Steps<F>(pub(super) F);

impl<F: FnMut(&StepReport) -> ControlFlow<()>> Observer for Steps<F> {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0(report)
    }
}
