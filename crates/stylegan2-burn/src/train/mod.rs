//! Training: losses, optimiser, data, run folders.
//!
//! [`Trainer::step`] runs one iteration of StyleGAN2 training (Karras et al. 2020): the
//! generator's loss, every fourth iteration the path-length penalty, the discriminator's loss,
//! every sixteenth the R1 penalty, then the moving average of the generator. Everything random
//! comes from the seed and the iteration's number, so that a state holds networks, moments and
//! counters and nothing else.

mod ada;
mod augment;
mod data;
#[cfg(test)]
mod data_test;
mod draws;
mod ema;
mod events;
#[cfg(test)]
pub(crate) mod golden_test;
mod init;
mod inputs;
mod labels;
pub mod loss;
mod map;
mod optimizer;
mod parameters;
mod picture;
mod prefetch;
mod preset;
mod run;
#[cfg(test)]
mod run_test;
mod settings;
mod source;
#[cfg(test)]
mod start_test;
mod state;
#[cfg(test)]
mod state_test;
mod store;
mod trainer;

pub use ada::{AdaConfig, AdaController};
pub use augment::{Augment, AugmentConfig, AugmentDraw, DrawSource};
pub use data::{ImageFolder, Images};
pub use ema::ema_weight;
pub use events::EventWriter;
pub use init::Networks;
pub use inputs::RoundInputs;
pub use map::{Augmentation, DrawnAugmentation, Identity};
pub use optimizer::{Adam, AdamState};
pub use parameters::{trained_gradients, trained_values, with_trained_values};
pub use prefetch::{Batch, Prefetch};
pub use preset::{Plan, Preset};
pub use run::{Ending, Measure, Observer, RunSettings, SavedRun, TrainRun};
pub use settings::{AugmentStrength, TrainPrecision, TrainSettings};
pub use source::ImageSource;
pub use state::TrainState;
pub use trainer::{PhaseMemory, Progress, StepReport, TrainPhase, Trainer};
