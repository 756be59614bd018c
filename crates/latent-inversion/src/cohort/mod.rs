//! Inversion of a cohort of photos: in shards, restartable, with a table of quality.
//!
//! A shard's photos are done in batches. Each batch is a file of its own, written whole or not at
//! all, until the shard is complete and its file and table take their place. What is done is not
//! done again, and a photo's bits depend on its pixels, its id and the settings, not on batch,
//! shard or interruption.

mod gather;
mod latents;
mod manifest;
mod picture;
mod record;
mod shard;
mod store;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};

pub use gather::{Gathered, gather};
pub use manifest::{Entry, Manifest};
pub(crate) use picture::open as open_with_checksum;
pub use picture::{checksum, open_face};
pub use record::{Status, table};
pub use shard::Shard;

use crate::device::guarded;
use crate::error::{Error, Result};
use crate::inverter::{Inversion, Inverter, Tools};
use crate::photo::PhotoLimits;
use crate::tensors::malformed;
use record::{Record, Settings};
use store::{Done, Store};

/// Settings of the inversion of a cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// How each photo is inverted.
    pub inverter: Inverter,
    /// Photos computed at once.
    pub batch: usize,
    /// Which part of the cohort is done.
    pub shard: Shard,
    /// What a photo may cost before it is refused.
    pub limits: PhotoLimits,
}

impl Default for Cohort {
    fn default() -> Self {
        Self {
            inverter: Inverter::default(),
            batch: 8,
            shard: Shard::default(),
            limits: PhotoLimits::default(),
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CohortProgress {
    /// Photos of the shard done, those of an earlier run included.
    pub done: usize,
    /// Photos of the shard done by an earlier run.
    pub earlier: usize,
    /// Photos of the shard.
    pub photos: usize,
    /// Share of the steps of the batch at hand, from 0 to 1.
    pub within: f64,
    /// Photos of the batch at hand.
    pub batch: usize,
    /// Photos computed at once from here on: the cohort's `batch`, or less once the device's memory has
    /// turned out too small for it.
    pub at_once: usize,
}

/// What a shard came to.
#[derive(Clone, Debug, PartialEq)]
pub struct CohortResult {
    /// The latents; `w`, `w_plus` and, in the header, `ids`.
    pub latents: PathBuf,
    /// One line per photo.
    pub table: PathBuf,
    /// The photos, in order.
    pub status: Vec<Status>,
    /// Photos done by an earlier run.
    pub earlier: usize,
}

impl CohortResult {
    /// Photos with latents.
    pub fn inverted(&self) -> usize {
        self.status.iter().filter(|s| s.quality.is_some()).count()
    }

    /// Those whose latents are to be trusted.
    pub fn trusted(&self) -> usize {
        let qualities = self.status.iter().filter_map(|s| s.quality);
        qualities.filter(|q| q.trusted).count()
    }
}

impl Cohort {
    /// Inverts the shard's photos into files of the folder `out`, or finishes what an earlier run
    /// began there; a photo that is another since then, under the same id, is done again. Photos that cannot be read or have another shape than the generator's are set
    /// aside with the reason. When the device's memory is full, the run goes on with half the batch,
    /// which the observer sees as [`CohortProgress::at_once`]; the bits are those of that batch. None
    /// is returned if the observer breaks off; what is done by then stays.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if `out` holds results of other settings, or the shard is finished and a photo
    /// is another since then, or there where it was missing; as [`Inverter::invert`];
    /// [`Error::OutOfMemory`] if not even two photos at once fit; [`Error::Io`] if a file cannot be
    /// written. What was written before stays.
    pub fn run(
        &self,
        tools: &Tools<'_>,
        manifest: &Manifest,
        out: impl AsRef<Path>,
        observer: &mut dyn FnMut(&CohortProgress) -> ControlFlow<()>,
    ) -> Result<Option<CohortResult>> {
        if self.batch == 0 {
            return Err(Error::Argument {
                name: "batch",
                reason: "0 photos at once".to_owned(),
            });
        }
        self.inverter.validate(tools)?;
        let entries = &manifest.entries()[self.shard.range(manifest.entries().len())];
        let settings = Settings::new(&self.inverter, tools, manifest, self.shard);
        let store = Store::new(out.as_ref(), self.shard, settings)?;
        if let Some(status) = store.finished(entries)? {
            return Ok(Some(CohortResult {
                latents: store.latents(),
                table: store.table(),
                earlier: entries.len(),
                status,
            }));
        }
        let mut done: HashMap<String, Done> = store.parts(entries)?;
        let earlier = done.len();
        let missing: Vec<&Entry> = entries
            .iter()
            .filter(|e| !done.contains_key(&e.id))
            .collect();
        let (mut rest, mut at_once) = (missing.as_slice(), self.batch);
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(at_once.min(rest.len()));
            let mut progress = CohortProgress {
                done: done.len(),
                earlier,
                photos: entries.len(),
                within: 0.0,
                batch: batch.len(),
                at_once,
            };
            if observer(&progress).is_break() {
                return Ok(None);
            }
            let records = guarded(|| {
                self.batch(tools, batch, &mut |step, steps| {
                    progress.within = step as f64 / steps.max(1) as f64;
                    observer(&progress)
                })
            });
            let records = match records {
                // A photo alone is computed with a twin: one is no less than two.
                Err(Error::OutOfMemory { .. }) if batch.len() > 2 => {
                    at_once = batch.len() / 2;
                    tools.decoder.device().memory_cleanup();
                    continue;
                }
                records => records?,
            };
            let Some(records) = records else {
                return Ok(None);
            };
            done.extend(store.add_part(records)?);
            rest = later;
        }
        let photos = entries.iter().filter_map(|e| done.remove(&e.id));
        let status = store.finish(photos.collect())?;
        Ok(Some(CohortResult {
            latents: store.latents(),
            table: store.table(),
            status,
            earlier,
        }))
    }

    /// Whether `out` holds results of this shard, finished or not.
    pub fn is_begun(&self, out: impl AsRef<Path>) -> bool {
        let stem = self.shard.stem();
        let file = |ending: &str| out.as_ref().join(format!("{stem}.{ending}")).exists();
        file("safetensors") || file("parts")
    }

    fn batch(
        &self,
        tools: &Tools<'_>,
        entries: &[&Entry],
        observer: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<Record>>> {
        let opened = entries
            .iter()
            .map(|e| picture::open(&e.path, &self.limits, tools.decoder));
        let (photos, pictures): (Vec<Option<String>>, Vec<Result<Tensor<4>, String>>) =
            opened.unzip();
        let usable = entries.iter().zip(&pictures);
        let (ids, images): (Vec<&str>, Vec<Tensor<4>>) = usable
            .filter_map(|(e, p)| Some((e.id.as_str(), p.as_ref().ok()?.clone())))
            .unzip();
        let found = if images.is_empty() {
            Vec::new()
        } else {
            let images = Tensor::cat(images, 0);
            let found = self.inverter.invert(tools, images, &ids, observer)?;
            let Some(found) = found else {
                return Ok(None);
            };
            found
        };
        let mut found = found.into_iter();
        let results = entries.iter().zip(photos).zip(pictures);
        let records = results.map(|((entry, photo), picture)| {
            let inversion: Result<Inversion, String> =
                picture.and_then(|_| found.next().ok_or_else(|| "no result".to_owned()));
            Record::new(entry, photo, inversion)
        });
        Ok(Some(records.collect()))
    }
}

/// The latents of a file that [`Cohort::run`] or [`gather`] wrote: ids, `w` and `w_plus`.
///
/// # Shapes
///
/// - w: `[N, w_dim]`
/// - w_plus: `[N, num_ws, w_dim]`
///
/// # Errors
///
/// [`Error::Io`], or [`Error::Malformed`] if it is no such file.
pub fn read_latents(
    path: impl AsRef<Path>,
    device: &Device,
) -> Result<(Vec<String>, Tensor<2>, Tensor<3>)> {
    let path = path.as_ref();
    let (settings, records) = latents::read(path)?;
    let (rows, d) = (settings.num_ws, settings.w_dim);
    let records: Vec<_> = records.into_iter().filter(|r| !r.w.is_empty()).collect();
    let n = records.len();
    if n == 0 {
        return Err(malformed(path, "no photo of it could be inverted"));
    }
    let ids = records.iter().map(|r| r.status.id.clone()).collect();
    let w: Vec<f32> = records.iter().flat_map(|r| r.w.iter().copied()).collect();
    let plus = records.iter().flat_map(|r| r.w_plus.iter().copied());
    let plus: Vec<f32> = plus.collect();
    Ok((
        ids,
        Tensor::from_data(TensorData::new(w, [n, d]), device),
        Tensor::from_data(TensorData::new(plus, [n, rows, d]), device),
    ))
}
