//! Ctrl-C, and the signal with which batch systems end a job.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use crate::failure::Failure;

/// A flag that the first of these signals raises, so that the work at hand is finished and saved. The
/// second ends the process on the spot.
pub(crate) fn interrupts() -> Result<Arc<AtomicBool>, Failure> {
    let raised = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        handle(signal, &raised)
            .map_err(|e| Failure::run(format!("no handler for interrupts: {e}")))?;
    }
    Ok(raised)
}

fn handle(signal: i32, raised: &Arc<AtomicBool>) -> io::Result<()> {
    // In this order: the flag is looked at before it is raised. 128 and the signal is what a shell reports.
    register_conditional_shutdown(signal, 128 + signal, Arc::clone(raised))?;
    register(signal, Arc::clone(raised))?;
    Ok(())
}
