//! Where training images come from.

use crate::error::Result;

/// Images of one shape, with or without labels, by index.
///
/// A source is read from several threads and any number of times: the same index gives the same
/// bytes.
pub trait ImageSource: Send + Sync {
    /// The number of images.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels, height and width of every image.
    fn shape(&self) -> [usize; 3];

    /// The length of every label; 0 without labels.
    fn label_dim(&self) -> usize;

    /// One image, `channels * height * width` bytes, channel by channel.
    fn image(&self, index: usize) -> Result<Vec<u8>>;

    /// One label; `None` without labels.
    fn label(&self, index: usize) -> Option<Vec<f32>>;
}
