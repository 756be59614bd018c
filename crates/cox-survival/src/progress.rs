//! How long work tells how far it is, and hears that it should stop.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// State of a long computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Units of work finished.
    pub done: usize,
    /// Units of work in all.
    pub total: usize,
}

/// Called after every unit of work, from any thread; `ControlFlow::Break(())` stops the work
/// with [`Error::Interrupted`].
pub type Observer<'a> = dyn Fn(Progress) -> ControlFlow<()> + Sync + 'a;

/// An observer that lets everything run.
pub(crate) fn silent(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Counts units over threads and passes them on.
pub(crate) struct Counter<'a> {
    done: AtomicUsize,
    total: usize,
    observer: &'a Observer<'a>,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(total: usize, observer: &'a Observer<'a>) -> Self {
        Self {
            done: AtomicUsize::new(0),
            total,
            observer,
        }
    }

    /// Goes on after `done` units.
    #[cfg(feature = "deep")]
    pub(crate) fn after(done: usize, total: usize, observer: &'a Observer<'a>) -> Self {
        Self {
            done: AtomicUsize::new(done),
            ..Self::new(total, observer)
        }
    }

    /// One more unit is done.
    pub(crate) fn step(&self) -> Result<()> {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match (self.observer)(Progress {
            done,
            total: self.total,
        }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted),
        }
    }
}
