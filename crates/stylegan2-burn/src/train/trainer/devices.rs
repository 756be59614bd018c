//! A batch over several devices.
//!
//! The parts of a batch, those of [`TrainSettings::micro_batch`](crate::train::TrainSettings), go to the
//! devices in turn, each to a copy of the networks; gradients and w come back to the first device and are
//! added there in the order of the parts. Sums in a fixed order are why this is no all-reduce: the bits
//! depend on the parts alone, and not on how many devices there are or which is the fastest.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Trainer, check};
use crate::error::Result;
use crate::synthesis::Noise;
use crate::train::loss::{Latents, StyleMix};

/// Where a copy of the networks is; `None` for the trainer's own device.
#[derive(Clone, Debug, Default)]
pub(super) struct Place(Option<Device>);

impl Place {
    pub(super) fn module<M: Module>(&self, module: M) -> M {
        match &self.0 {
            Some(device) => module.to_device(device),
            None => module,
        }
    }

    pub(super) fn tensor<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        match &self.0 {
            Some(device) => tensor.to_device(device),
            None => tensor,
        }
    }

    pub(super) fn latents(&self, latents: Latents) -> Latents {
        if self.0.is_none() {
            return latents;
        }
        Latents {
            z: self.tensor(latents.z),
            c: latents.c.map(|c| self.tensor(c)),
            mix: latents.mix.map(|mix| StyleMix {
                z: self.tensor(mix.z),
                ..mix
            }),
            noise: match latents.noise {
                Noise::Given(images) => {
                    Noise::Given(images.into_iter().map(|i| self.tensor(i)).collect())
                }
                other => other,
            },
        }
    }
}

impl Trainer {
    /// The same training on further devices beside the networks' own.
    ///
    /// Every device takes whole parts of a batch ([`TrainSettings::micro_batch`](crate::train::TrainSettings);
    /// without it as many parts as devices). With the same parts the bits are those of one device, where
    /// the devices compute alike. A state does not hold the devices: name them again after
    /// [`Trainer::resume`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) if one lacks the precision that was asked for.
    pub fn with_devices(mut self, further: &[Device]) -> Result<Self> {
        for device in further {
            check::precision(self.settings.precision, device)?;
        }
        let own = std::iter::once(Place(None));
        let further = further.iter().map(|d| Place(Some(d.clone().inner())));
        self.places = own.chain(further).collect();
        Ok(self)
    }

    /// The number of devices.
    pub fn device_count(&self) -> usize {
        self.places.len()
    }

    /// Something at every place.
    pub(super) fn at_places<M>(&self, make: impl Fn(&Place) -> M) -> Vec<(Place, M)> {
        let places = self.places.iter();
        places.map(|p| (p.clone(), make(p))).collect()
    }

    /// Samples computed at once, of `n` in groups of `group`.
    pub(super) fn part_size(&self, n: usize, group: usize) -> Option<usize> {
        let devices = self.places.len();
        let share = || (n / group.max(1)).div_ceil(devices) * group;
        self.settings
            .micro_batch
            .or_else(|| (devices > 1).then(share))
    }
}

/// Works on parts 0 to `count`, each at the next place, and takes the results in their order.
pub(super) fn spread<M: Sync, T: Send>(
    places: &[(Place, M)],
    count: usize,
    work: impl Fn(&Place, &M, usize) -> T + Sync,
    mut take: impl FnMut(T),
) {
    if let [(place, module)] = places {
        for part in 0..count {
            take(work(place, module, part));
        }
        return;
    }
    // As many results at a time as there are devices: they are as large as a network.
    for first in (0..count).step_by(places.len()) {
        let work = &work;
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (first..count)
                .zip(places)
                .map(|(part, (place, module))| scope.spawn(move || work(place, module, part)))
                .collect();
            threads
                .into_iter()
                .map(std::thread::ScopedJoinHandle::join)
                .collect()
        });
        for result in results {
            match result {
                Ok(result) => take(result),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_round_the_places_and_come_back_in_order() {
        for devices in [1, 2, 3, 9] {
            let places: Vec<(Place, usize)> = (0..devices).map(|k| (Place(None), k)).collect();
            let mut seen = Vec::new();
            spread(
                &places,
                7,
                |_, place, part| (*place, part),
                |r| seen.push(r),
            );
            let expected: Vec<_> = (0..7).map(|k| (k % devices, k)).collect();
            assert_eq!(seen, expected);
        }
    }
}
