//! Training: data, augmentation, losses, run folders.

mod source;

pub use source::ImageSource;
