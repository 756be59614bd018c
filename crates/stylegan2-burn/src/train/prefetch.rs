//! Reading ahead of the training loop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::source::ImageSource;
use crate::error::Result;

/// Images and labels of one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The indices, in order.
    pub indices: Vec<usize>,
    /// `[N, C, H, W]` bytes.
    pub images: Vec<u8>,
    /// `[N, label_dim]`; empty without labels.
    pub labels: Vec<f32>,
}

/// Reads batches in a thread of its own, a few ahead.
///
/// Batches come in the order asked for, whatever the timing.
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
#[derive(Debug)]
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
            for indices in order {
                // An error means that nobody listens any more.
                if sender.send(read(source.as_ref(), indices)).is_err() {
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

fn read(source: &dyn ImageSource, indices: Vec<usize>) -> Result<Batch> {
    let size: usize = source.shape().iter().product();
    let mut images = Vec::with_capacity(indices.len() * size);
    let mut labels = Vec::with_capacity(indices.len() * source.label_dim());
    for &index in &indices {
        images.extend(source.image(index)?);
        labels.extend(source.label(index).unwrap_or_default());
    }
    Ok(Batch {
        indices,
        images,
        labels,
    })
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
            Ok(vec![index as u8; 4])
        }
        fn label(&self, index: usize) -> Option<Vec<f32>> {
            Some(vec![index as f32])
        }
    }

    #[test]
    fn batches_come_in_order_and_faults_come_through() {
        let order = vec![vec![1, 2], vec![0, 9], vec![5, 5]];
        let mut batches = Prefetch::start(Arc::new(Numbers), order.into_iter(), 1);
        let first = batches.next().unwrap().unwrap();
        assert_eq!(first.images, [1, 1, 1, 1, 2, 2, 2, 2]);
        assert_eq!(first.labels, [1.0, 2.0]);
        assert!(batches.next().unwrap().is_err());
        assert_eq!(batches.next().unwrap().unwrap().indices, [5, 5]);
        assert!(batches.next().is_none());
    }

    #[test]
    fn an_endless_order_can_be_dropped() {
        let mut batches = Prefetch::start(Arc::new(Numbers), (0..).map(|i| vec![i % 9]), 3);
        for i in 0..20 {
            assert_eq!(batches.next().unwrap().unwrap().indices, [i % 9]);
        }
        drop(batches);
    }
}
