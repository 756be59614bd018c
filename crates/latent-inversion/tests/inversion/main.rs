//! Inversion against the reference programs, and of a generator's own samples.

mod batches;
mod cohort;
#[path = "../common/mod.rs"]
mod common;
mod encoder;
mod projector;
