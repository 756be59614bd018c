//! `survlatent invert --method pti`: after the latents, a generator tuned for each photo.

use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::{DType, Device, Tensor};
use latent_inversion::cohort::{CohortResult, Manifest, Status, checksum, open_face, read_latents};
use latent_inversion::lpips::Lpips;
use latent_inversion::{Decoder, PhotoLimits, PivotalTuning, StyleGan2};
use serde::{Deserialize, Serialize};
use stylegan2_burn::checkpoint::save;
use stylegan2_burn::{FloatFormat, GeneratorConfig, Network};
use survlatent::{Error, OutputFile};

use crate::failure::Failure;
use crate::progress::Progress;

/// What tuning reached for a photo; one line of the table.
#[derive(Serialize, Deserialize)]
struct Figures {
    id: String,
    lpips: f64,
    psnr: f64,
    steps: usize,
    seconds: f64,
}

const COLUMNS: [&str; 5] = ["id", "lpips", "psnr", "steps", "seconds"];

/// What a tuned network depends on.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Made {
    settings: PivotalTuning,
    generator: String,
    precision: Option<String>,
    lpips: String,
    /// Checksum of the photo's file.
    photo: Option<String>,
    /// Of its w.
    latent: String,
}

/// What lies beside a tuned network.
#[derive(Serialize, Deserialize)]
struct Record {
    figures: Figures,
    made: Made,
}

/// What the photos are tuned with.
pub(super) struct Tuning<'a> {
    pub(super) settings: PivotalTuning,
    pub(super) decoder: &'a StyleGan2,
    pub(super) config: &'a GeneratorConfig,
    pub(super) lpips: &'a Lpips,
    pub(super) device: &'a Device,
    pub(super) interrupted: &'a AtomicBool,
}

/// Refuses ids that are no names of files below a folder: each gets a file of its own.
pub(super) fn check_ids(manifest: &Manifest) -> Result<(), Failure> {
    let bad = manifest.entries().iter().find(|e| !names_a_file(&e.id));
    bad.map_or(Ok(()), |entry| {
        Err(Failure::usage(format!(
            "id `{}`: with --method pti an id becomes the name of a file below OUT/tuned; parts such as \
             `..`, or a whole path, cannot be",
            entry.id
        )))
    })
}

/// Parts between single slashes, none of them special: no two such ids are one file, and none is elsewhere.
fn names_a_file(id: &str) -> bool {
    let parts = Path::new(id).components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let parts: Option<Vec<&str>> = parts.collect();
    parts.is_some_and(|parts| !parts.is_empty() && parts.join("/") == id)
        && !id.contains(['\\', '\0'])
}

impl Tuning<'_> {
    /// Tunes for every photo with latents what is not there yet, into `tuned/ID.safetensors`; gives
    /// the table.
    pub(super) fn run(&self, result: &CohortResult) -> Result<PathBuf, Failure> {
        let out = result.latents.parent().unwrap_or(Path::new("."));
        let mut lines = Vec::new();
        // A shard may have no photo that can be used.
        if result.inverted() > 0 {
            let (ids, w, _) = read_latents(&result.latents, self.device)?;
            let lpips = self.lpips.fingerprint();
            let bar = Progress::new(ids.len(), "generators");
            for (k, id) in ids.iter().enumerate() {
                let file = out.join("tuned").join(format!("{id}.safetensors"));
                let status = result.status.iter().find(|s| s.id == *id);
                let status = status
                    .ok_or_else(|| Failure::run(format!("photo `{id}` is not in the table")))?;
                let pivot = w.clone().narrow(0, k, 1);
                lines.push(self.tuned(status, &lpips, pivot, &file)?);
                bar.inc();
            }
            bar.finish();
        }
        let name = result.table.file_name().unwrap_or_default();
        let name = name.to_string_lossy().replacen("latents", "tuned", 1);
        let table = out.join(name);
        let failed = |e: csv::Error| Failure::run(e.to_string());
        let mut csv = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(Vec::new());
        csv.write_record(COLUMNS).map_err(failed)?;
        for line in &lines {
            csv.serialize(line).map_err(failed)?;
        }
        let bytes = csv.into_inner().map_err(|e| Failure::run(e.to_string()))?;
        OutputFile::create(&table)?.write(&bytes)?;
        Ok(table)
    }

    /// A photo's figures: those that are there, if its network was made of the same, or new ones.
    fn tuned(
        &self,
        status: &Status,
        lpips: &str,
        pivot: Tensor<2>,
        file: &Path,
    ) -> Result<Figures, Failure> {
        let w = pivot.clone().into_data_dtype(DType::F32);
        let made = Made {
            settings: self.settings,
            generator: self.decoder.fingerprint(),
            precision: self.decoder.precision().map(str::to_owned),
            lpips: lpips.to_owned(),
            photo: status.photo.clone(),
            latent: checksum(w.as_bytes()),
        };
        let path = file.with_extension("json");
        // The record is written last: without it the network is tuned again.
        let before = std::fs::read(&path).ok();
        let before = before.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        match before {
            Some(record) if record.made == made && file.is_file() => return Ok(record.figures),
            None => {}
            // While another network takes its place it says nothing true.
            Some(_) => std::fs::remove_file(&path).map_err(|source| Error::Io {
                path: path.clone(),
                source,
            })?,
        }
        let photo = PathBuf::from(&status.file);
        let figures = self.photo(&status.id, &photo, pivot.unsqueeze_dim(1), file)?;
        let record = Record { figures, made };
        let text = serde_json::to_vec(&record).map_err(|e| Failure::run(e.to_string()))?;
        OutputFile::create(&path)?.write(&text)?;
        Ok(record.figures)
    }

    fn photo(
        &self,
        id: &str,
        photo: &Path,
        pivot: Tensor<3>,
        file: &Path,
    ) -> Result<Figures, Failure> {
        let started = Instant::now();
        let decoder = self.decoder as &dyn Decoder;
        let image = open_face(photo, &PhotoLimits::default(), decoder)?;
        let stop = || self.interrupted.load(Ordering::SeqCst);
        let tuned = self
            .settings
            .run(self.decoder, self.lpips, image, pivot, &mut |_, _| {
                if stop() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        let tuned = tuned.map_err(|error| match error {
            latent_inversion::Error::NotFinite { index, reason, .. } => {
                let id = Some(id.to_owned());
                latent_inversion::Error::NotFinite { index, id, reason }
            }
            error => error,
        })?;
        if stop() {
            return Err(Failure::run(
                "interrupted; the same command with --resume goes on",
            ));
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            path: folder.to_owned(),
            source,
        })?;
        let network = Network::Generator(self.config, tuned.decoder.generator());
        save(file, &[("G_ema", network)], FloatFormat::F32)?;
        Ok(Figures {
            id: id.to_owned(),
            lpips: tuned.quality[0][0],
            psnr: tuned.quality[0][1],
            steps: tuned.steps,
            seconds: started.elapsed().as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_leave_the_folder_are_no_files() {
        for id in ["a", "P1-a", "sub/c", "a.b/..c", "photo 7"] {
            assert!(names_a_file(id), "{id}");
        }
        for id in [
            "../x", "a/../b", "/abs", "..", ".", "./a", "a/./b", "a//b", "a/", "", "a\\b", "a\0",
        ] {
            assert!(!names_a_file(id), "{id}");
        }
    }
}
