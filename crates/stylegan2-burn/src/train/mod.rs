//! Training: data, augmentation, losses, run folders.

mod ada;
mod augment;
mod data;
mod events;
mod labels;
mod prefetch;
mod source;

pub use ada::{AdaConfig, AdaController};
pub use augment::{Augment, AugmentConfig, AugmentDraw, DrawSource};
pub use data::{ImageFolder, Images};
pub use events::EventWriter;
pub use prefetch::{Batch, Prefetch};
pub use source::ImageSource;
