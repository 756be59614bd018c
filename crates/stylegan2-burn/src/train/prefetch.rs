//! Reading ahead of the training loop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::inputs::Epoch;
use super::source::ImageSource;
use crate::error::{Error, Result};

/// Images and labels of one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What was asked for: indices of images, or those plus their number for mirror images.
    pub entries: Vec<usize>,
    /// `[N, C, H, W]` bytes.
    pub images: Vec<u8>,
    /// `[N, label_dim]`; empty without labels.
    pub labels: Vec<f32>,
}

/// Reads batches in a thread of its own, a few ahead.
///
/// Batches come in the order asked for, whatever the timing. Of `n` images, entry `n + i` is the
/// mirror image of entry `i`.
///
/// ```
/// use std::sync::Arc;
/// use stylegan2_burn::train::{ImageSource, Prefetch};
/// # use stylegan2_burn::Result;
/// # struct Gray;
/// # impl ImageSource for Gray {
/// #     fn len(&self) -> usize { 4 }
/// #     fn shape(&self) -> [usize; 3] { [1, 4, 4] }
/// #     fn label_dim(&self) -> usize { 0 }
/// #     fn image(&self, index: usize) -> Result<Vec<u8>> { Ok(vec![index as u8; 16]) }
/// #     fn label(&self, _: usize) -> Option<Vec<f32>> { None }
/// # }
/// let mut batches = Prefetch::start(Arc::new(Gray), vec![vec![3, 1], vec![0, 2]].into_iter(), 2);
/// assert_eq!(batches.next().unwrap().unwrap().images[..16], [3; 16]);
/// ```
pub struct Prefetch {
    receiver: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    /// Starts to read the batches that `order` lists, up to `ahead` of them beyond what is taken.
    pub fn start(
        source: Arc<dyn ImageSource>,
        order: impl Iterator<Item = Vec<usize>> + Send + 'static,
        ahead: usize,
    ) -> Self {
        let (sender, receiver) = sync_channel(ahead.max(1));
        let thread = std::thread::spawn(move || {
            for entries in order {
                // An error means that nobody listens any more.
                if sender.send(read(source.as_ref(), entries)).is_err() {
                    return;
                }
            }
        });
        Self {
            receiver: Some(receiver),
            thread: Some(thread),
        }
    }
}

impl Iterator for Prefetch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.as_ref()?.recv().ok()
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // Hang up first, so that the thread does not wait for room.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(source: &dyn ImageSource, entries: Vec<usize>) -> Result<Batch> {
    let [c, h, w] = source.shape();
    let count = source.len();
    let mut images = Vec::with_capacity(entries.len() * c * h * w);
    let mut labels = Vec::with_capacity(entries.len() * source.label_dim());
    for &entry in &entries {
        let index = entry % count;
        let image = source.image(index)?;
        if image.len() != c * h * w {
            return Err(Error::Argument {
                name: "source",
                reason: format!(
                    "image {index} has {} bytes; expected {c} x {h} x {w}",
                    image.len()
                ),
            });
        }
        let start = images.len();
        images.extend(image);
        if entry >= count {
            images[start..]
                .chunks_exact_mut(w)
                .for_each(<[u8]>::reverse);
        }
        labels.extend(source.label(index).unwrap_or_default());
    }
    Ok(Batch {
        entries,
        images,
        labels,
    })
}

/// Batches read ahead.
const AHEAD: usize = 2;

/// The real images of a training, from any position on.
pub(crate) struct Reader {
    source: Arc<dyn ImageSource>,
    seed: u64,
    mirror: bool,
    /// What is being read, and the position and size of the next batch.
    ahead: Option<(Prefetch, u64, usize)>,
}

impl Reader {
    pub(crate) fn new(source: Arc<dyn ImageSource>, seed: u64, mirror: bool) -> Self {
        Self {
            source,
            seed,
            mirror,
            ahead: None,
        }
    }

    /// The images shown as the `position`-th and `size - 1` following ones since the beginning.
    pub(crate) fn take(&mut self, position: u64, size: usize) -> Result<Batch> {
        let (mut batches, ..) = match self.ahead.take() {
            Some(ahead) if ahead.1 == position && ahead.2 == size => ahead,
            _ => (self.start(position, size), position, size),
        };
        let batch = batches.next().unwrap_or_else(|| {
            Err(Error::Argument {
                name: "source",
                reason: "the thread that reads its images has ended".to_owned(),
            })
        })?;
        self.ahead = Some((batches, position + size as u64, size));
        Ok(batch)
    }

    fn start(&self, position: u64, size: usize) -> Prefetch {
        let entries = self.source.len() * (1 + usize::from(self.mirror));
        let (seed, mut epoch) = (self.seed, Epoch::default());
        let order = (0_u64..).map(move |k| {
            let first = position + k * size as u64;
            let shown = first..first + size as u64;
            shown.map(|p| epoch.entry(seed, entries, p)).collect()
        });
        Prefetch::start(Arc::clone(&self.source), order, AHEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    struct Numbers;

    impl ImageSource for Numbers {
        fn len(&self) -> usize {
            10
        }
        fn shape(&self) -> [usize; 3] {
            [1, 2, 2]
        }
        fn label_dim(&self) -> usize {
            1
        }
        fn image(&self, index: usize) -> Result<Vec<u8>> {
            if index == 9 {
                return Err(Error::Argument {
                    name: "index",
                    reason: "nine".to_owned(),
                });
            }
            Ok((0..4).map(|k| 10 * k + index as u8).collect())
        }
        fn label(&self, index: usize) -> Option<Vec<f32>> {
            Some(vec![index as f32])
        }
    }

    #[test]
    fn batches_come_in_order_and_faults_come_through() {
        let order = vec![vec![1, 2], vec![0, 9], vec![5, 15]];
        let mut batches = Prefetch::start(Arc::new(Numbers), order.into_iter(), 1);
        let first = batches.next().unwrap().unwrap();
        assert_eq!(first.images, [1, 11, 21, 31, 2, 12, 22, 32]);
        assert_eq!(first.labels, [1.0, 2.0]);
        assert!(batches.next().unwrap().is_err());
        let last = batches.next().unwrap().unwrap();
        assert_eq!(last.entries, [5, 15]);
        assert_eq!(last.images, [5, 15, 25, 35, 15, 5, 35, 25], "mirrored");
        assert_eq!(last.labels, [5.0, 5.0]);
        assert!(batches.next().is_none());
    }

    #[test]
    fn an_endless_order_can_be_dropped() {
        let mut batches = Prefetch::start(Arc::new(Numbers), (0..).map(|i| vec![i % 9]), 3);
        for i in 0..20 {
            assert_eq!(batches.next().unwrap().unwrap().entries, [i % 9]);
        }
        drop(batches);
    }

    #[derive(Debug)]
    struct Eight;

    impl ImageSource for Eight {
        fn len(&self) -> usize {
            8
        }
        fn shape(&self) -> [usize; 3] {
            [1, 1, 1]
        }
        fn label_dim(&self) -> usize {
            0
        }
        fn image(&self, index: usize) -> Result<Vec<u8>> {
            Ok(vec![index as u8])
        }
        fn label(&self, _: usize) -> Option<Vec<f32>> {
            None
        }
    }

    #[test]
    fn any_position_gives_the_images_that_reading_on_gives() {
        let reader = || Reader::new(Arc::new(Eight), 3, true);
        let mut on = reader();
        let images: Vec<Vec<u8>> = (0..7).map(|k| on.take(k * 3, 3).unwrap().images).collect();
        // Later, earlier, and with another size.
        let mut other = reader();
        for k in [4, 1, 2, 6, 0] {
            assert_eq!(other.take(3 * k as u64, 3).unwrap().images, images[k]);
        }
        assert_eq!(other.take(3, 6).unwrap().images, images[1..3].concat());
    }
}
