//! Estimating how a model does on patients it has not seen.

pub(crate) mod bootstrap;
pub(crate) mod cross_validation;
mod curve;
#[cfg(test)]
mod faults;
pub(crate) mod folds;
#[cfg(test)]
mod honesty;
pub(crate) mod nested;
pub(crate) mod optimism;
pub(crate) mod permutation;
pub(crate) mod prevalidated;
pub(crate) mod relaxed;
pub(crate) mod repeated;
pub(crate) mod replicates;
pub(crate) mod resampling;
