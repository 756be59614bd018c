//! What moves during training, and what an iteration says.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::memory::PhaseMemory;
use crate::train::ada::AdaController;

/// Everything that moves during training, apart from networks and moments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Iterations done.
    pub iteration: u64,
    /// Real images shown.
    pub images: u64,
    /// Running mean of the path length.
    pub path_mean: f64,
    /// What moves the probability of augmentation, where it is adaptive.
    pub ada: Option<AdaController>,
}

/// What one iteration did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Iterations done.
    pub iteration: u64,
    /// Thousands of real images shown.
    pub kimg: f64,
    /// Mean loss of the generator.
    pub generator_loss: f64,
    /// Mean loss of the discriminator: generated and real images.
    pub discriminator_loss: f64,
    /// Mean path-length penalty, where it was due.
    pub path_penalty: Option<f64>,
    /// Mean R1 penalty, where it was due.
    pub r1_penalty: Option<f64>,
    /// Mean logit of real images.
    pub real_score: f64,
    /// Mean logit of generated images.
    pub fake_score: f64,
    /// Mean sign of the logits of real images.
    pub real_sign: f64,
    /// Mean sign of the logits of generated images.
    pub fake_sign: f64,
    /// Running mean of the path length.
    pub path_mean: f64,
    /// Probability of augmentation.
    pub p: f64,
    /// Real images in this iteration.
    pub batch: usize,
    /// Memory at the end of each phase, where an observer told it.
    #[serde(default)]
    pub memory: PhaseMemory,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kimg {:.2}  s/kimg {:.1}  G {:.3}  D {:.3}  p {:.3}  real {:+.2}  fake {:+.2}",
            self.kimg,
            self.seconds_per_kimg(),
            self.generator_loss,
            self.discriminator_loss,
            self.p,
            self.real_score,
            self.fake_score,
        )
    }
}

impl StepReport {
    /// Wall time of a thousand images at the speed of this iteration.
    pub fn seconds_per_kimg(&self) -> f64 {
        self.seconds * 1000.0 / self.batch as f64
    }
}
