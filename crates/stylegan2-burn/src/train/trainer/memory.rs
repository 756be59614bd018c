//! Memory in use, phase by phase.

use serde::{Deserialize, Serialize};

/// The phases of an iteration, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainPhase {
    /// The generator's main loss.
    Generator,
    /// The path-length penalty.
    PathLength,
    /// The discriminator's main loss.
    Discriminator,
    /// The R1 penalty.
    R1,
}

/// Bytes of memory in use at the end of each phase; `None` where the phase was not due or nobody
/// told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseMemory {
    /// After the generator's main loss.
    pub generator: Option<u64>,
    /// After the path-length penalty.
    pub path_length: Option<u64>,
    /// After the discriminator's main loss.
    pub discriminator: Option<u64>,
    /// After the R1 penalty.
    pub r1: Option<u64>,
}

impl PhaseMemory {
    /// Phase by phase the larger of both.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self {
            generator: self.generator.max(other.generator),
            path_length: self.path_length.max(other.path_length),
            discriminator: self.discriminator.max(other.discriminator),
            r1: self.r1.max(other.r1),
        }
    }

    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_of_two_is_taken_phase_by_phase() {
        let one = PhaseMemory {
            generator: Some(3),
            r1: Some(9),
            ..PhaseMemory::default()
        };
        let other = PhaseMemory {
            generator: Some(5),
            ..PhaseMemory::default()
        };
        let most = one.max(&other);
        assert_eq!((most.generator, most.r1), (Some(5), Some(9)));
        assert!(most.path_length.is_none() && !most.is_empty());
        assert!(PhaseMemory::default().is_empty());
    }
}
