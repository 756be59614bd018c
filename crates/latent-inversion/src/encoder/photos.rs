//! Photos that an encoder is refined on.

use std::path::PathBuf;

use burn::tensor::Tensor;
use rand::RngExt as _;

use crate::cohort::{Manifest, checksum, open_face, open_with_checksum};
use crate::decoder::Decoder;
use crate::draws::rng;
use crate::error::Result;
use crate::photo::PhotoLimits;
use crate::tensors::malformed;

/// The stream of the seed that orders photos.
const ORDER: u64 = 8 << 40;

/// Aligned photos of a generator's size, read anew whenever they are shown, so that any number of them fits.
#[derive(Clone, Debug)]
pub struct FacePhotos {
    files: Vec<PathBuf>,
    limits: PhotoLimits,
    fingerprint: String,
    /// The round that the photos are in, and their order in it.
    order: (u64, Vec<usize>),
}

impl FacePhotos {
    /// Those photos of a manifest that can be used for a generator, and the ids of the others with the reason.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`](crate::Error::Malformed) if none can be used; it names the first.
    pub fn open(
        manifest: &Manifest,
        limits: &PhotoLimits,
        decoder: &dyn Decoder,
    ) -> Result<(Self, Vec<(String, String)>)> {
        let (mut files, mut sums, mut others) = (Vec::new(), String::new(), Vec::new());
        for entry in manifest.entries() {
            let (sum, picture) = open_with_checksum(&entry.path, limits, decoder);
            match picture {
                Ok(_) => {
                    files.push(entry.path.clone());
                    sums += &sum.unwrap_or_default();
                }
                Err(reason) => others.push((entry.id.clone(), reason)),
            }
        }
        if let (true, [first, ..], Some((_, reason))) =
            (files.is_empty(), manifest.entries(), others.first())
        {
            let reason = format!("{reason}; no other photo can be used, either");
            return Err(malformed(&first.path, reason));
        }
        let photos = Self {
            files,
            limits: *limits,
            fingerprint: checksum(sums.as_bytes()),
            order: (u64::MAX, Vec::new()),
        };
        Ok((photos, others))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none; there is one at least.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// A name that two sets share only if they have the same files in the same order.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The photos of a step: all of them are shown, in an order that the seed decides, before one is shown
    /// again.
    pub(super) fn batch(
        &mut self,
        decoder: &dyn Decoder,
        seed: u64,
        step: u64,
        count: usize,
    ) -> Result<Tensor<4>> {
        let first = step * count as u64;
        let places = (first..first + count as u64).map(|at| self.place(seed, at));
        let places: Vec<usize> = places.collect();
        let pictures = places
            .into_iter()
            .map(|k| open_face(&self.files[k], &self.limits, decoder));
        Ok(Tensor::cat(pictures.collect::<Result<Vec<_>>>()?, 0))
    }

    /// Which photo is the `at`th shown.
    fn place(&mut self, seed: u64, at: u64) -> usize {
        let n = self.files.len() as u64;
        let (round, within) = (at / n, (at % n) as usize);
        if self.order.0 != round {
            let mut rng = rng(seed, ORDER + round);
            let mut keyed: Vec<(u64, usize)> =
                (0..self.files.len()).map(|k| (rng.random(), k)).collect();
            keyed.sort_unstable();
            self.order = (round, keyed.into_iter().map(|(_, k)| k).collect());
        }
        self.order.1[within]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_photo_is_shown_once_a_round() {
        let mut photos = FacePhotos {
            files: vec![PathBuf::new(); 7],
            limits: PhotoLimits::default(),
            fingerprint: String::new(),
            order: (u64::MAX, Vec::new()),
        };
        let mut rounds = Vec::new();
        for round in 0..3 {
            let order: Vec<usize> = (0..7).map(|k| photos.place(5, round * 7 + k)).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
            rounds.push(order);
        }
        assert!(rounds[0] != rounds[1] || rounds[1] != rounds[2]);
        // What a resumed training asks for first.
        let again: Vec<usize> = (7..14).map(|k| photos.place(5, k)).collect();
        assert_eq!(again, rounds[1]);
    }
}
