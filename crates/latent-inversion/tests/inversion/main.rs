//! Inversion against the reference programs, and of a generator's own samples.

#[path = "../common/mod.rs"]
mod common;
mod projector;
