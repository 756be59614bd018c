//! `survlatent invert --method pti`: after the latents, a generator tuned for each photo.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use latent_inversion::cohort::{CohortResult, open_face, read_latents};
use latent_inversion::lpips::Lpips;
use latent_inversion::{Decoder, PhotoLimits, PivotalTuning, StyleGan2};
use serde::{Deserialize, Serialize};
use stylegan2_burn::checkpoint::save;
use stylegan2_burn::{FloatFormat, GeneratorConfig, Network};
use survlatent::{Error, OutputFile};

use crate::failure::Failure;
use crate::gan;

/// What tuning reached for a photo; one line of the table.
#[derive(Serialize, Deserialize)]
struct Figures {
    id: String,
    lpips: f64,
    psnr: f64,
    steps: usize,
    seconds: f64,
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

impl Tuning<'_> {
    /// Tunes for every photo with latents what is not there yet, into `tuned/ID.safetensors`; gives
    /// the table.
    pub(super) fn run(&self, result: &CohortResult) -> Result<PathBuf, Failure> {
        let (ids, w, _) = read_latents(&result.latents, self.device)?;
        let out = result.latents.parent().unwrap_or(Path::new("."));
        let bar = gan::progress(ids.len(), "generators");
        let mut lines = Vec::new();
        for (k, id) in ids.iter().enumerate() {
            let file = out.join("tuned").join(format!("{id}.safetensors"));
            let figures = file.with_extension("json");
            // The figures are written last: without them the network is tuned again.
            let done = std::fs::read(&figures).ok();
            let done = done.and_then(|bytes| serde_json::from_slice::<Figures>(&bytes).ok());
            let line = match done {
                Some(line) if file.is_file() => line,
                _ => {
                    let status = result.status.iter().find(|s| s.id == *id);
                    let photo = PathBuf::from(status.map_or("", |s| s.file.as_str()));
                    let pivot = w.clone().narrow(0, k, 1).unsqueeze_dim(1);
                    let line = self.photo(id, &photo, pivot, &file)?;
                    let text =
                        serde_json::to_vec(&line).map_err(|e| Failure::run(e.to_string()))?;
                    OutputFile::create(&figures)?.write(&text)?;
                    line
                }
            };
            lines.push(line);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let name = result.table.file_name().unwrap_or_default();
        let name = name.to_string_lossy().replacen("latents", "tuned", 1);
        let table = out.join(name);
        let mut csv = csv::Writer::from_writer(Vec::new());
        for line in &lines {
            csv.serialize(line)
                .map_err(|e| Failure::run(e.to_string()))?;
        }
        let bytes = csv.into_inner().map_err(|e| Failure::run(e.to_string()))?;
        OutputFile::create(&table)?.write(&bytes)?;
        Ok(table)
    }

    fn photo(
        &self,
        id: &str,
        photo: &Path,
        pivot: burn::tensor::Tensor<3>,
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
