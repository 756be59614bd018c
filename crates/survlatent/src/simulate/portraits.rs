//! Portraits of a simulated cohort, drawn by a generator.

use std::path::Path;

use burn::tensor::{DType, Tensor, TensorData};
use latent_inversion::{Decoder, StyleGan2, broadcast};
use stylegan2_burn::image::{Pixels, Rounding, to_pixels};

use super::{Draws, SimulatedCohort, normals};
use crate::error::{Error, Result};
use crate::output::OutputFile;

/// What the metadata of generated portraits say.
pub const SYNTHETIC: &str = "Synthetic portrait: made by a generative network, shows nobody";

/// Latents mapped at once.
const CHUNK: u64 = 1000;
/// Portraits drawn at once.
const BATCH: usize = 16;

/// A generator as the source of a cohort: W of its mapping network, z by counter, and the portrait
/// of every latent.
pub struct Portraits<'a> {
    generator: &'a StyleGan2,
    seed: u64,
}

impl<'a> Portraits<'a> {
    /// Of a generator; `seed` is that of the cohort.
    pub fn new(generator: &'a StyleGan2, seed: u64) -> Self {
        Self { generator, seed }
    }

    /// Writes the portrait of every photo of `cohort` as `ID.png` into a folder that exists, the
    /// shortcut painted in where it is worn; `step` hears of every one of them.
    ///
    /// # Errors
    /// [`Error::Io`], and what `step` returns.
    pub fn write(
        &self,
        cohort: &SimulatedCohort,
        folder: &Path,
        step: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let rows: Vec<usize> = (0..cohort.patient.len()).collect();
        for batch in rows.chunks(BATCH) {
            for (&row, mut picture) in batch.iter().zip(self.pictures(cohort, batch)) {
                if cohort.truth.shortcut[cohort.patient[row]] {
                    paint_cap(&mut picture);
                }
                let id = cohort.latents.ids().map_or("", |ids| &ids[row]);
                let png = crate::png::encode(&picture, SYNTHETIC)?;
                OutputFile::create(folder.join(format!("{id}.png")))?.write(&png)?;
                step()?;
            }
        }
        Ok(())
    }

    fn pictures(&self, cohort: &SimulatedCohort, rows: &[usize]) -> Vec<Pixels> {
        let width = self.generator.w_dim();
        let w: Vec<f32> = rows
            .iter()
            .flat_map(|&row| (0..width).map(move |j| cohort.latents.get(row, j) as f32))
            .collect();
        let data = TensorData::new(w, [rows.len(), width]);
        let w = Tensor::<2>::from_data(data, &self.generator.device());
        let ws = broadcast(w, self.generator.num_ws());
        to_pixels(self.generator.decode(ws, None), Rounding::Generate)
    }
}

impl Draws for Portraits<'_> {
    fn dim(&self) -> usize {
        self.generator.w_dim()
    }

    fn draws(&self, first: u64, count: usize) -> Result<Vec<f32>> {
        let (width, end) = (self.generator.z_dim(), first + count as u64);
        let mut out = Vec::with_capacity(count * self.dim());
        for start in (first..end).step_by(CHUNK as usize) {
            let some = start..(start + CHUNK).min(end);
            let rows = (some.end - some.start) as usize;
            let z: Vec<f32> = some
                .flat_map(|k| normals(self.seed, k, width))
                .map(|v| v as f32)
                .collect();
            let data = TensorData::new(z, [rows, width]);
            let w = self
                .generator
                .map(Tensor::from_data(data, &self.generator.device()));
            let w: std::result::Result<Vec<f32>, _> = w.into_data_dtype(DType::F32).try_into_vec();
            out.extend(w.map_err(|_| Error::Study {
                reason: "the mapping network gave no numbers".into(),
            })?);
        }
        Ok(out)
    }
}

/// The upper fifth in one colour: what a surgical cap is to a network.
fn paint_cap(picture: &mut Pixels) {
    const COLOUR: [u8; 4] = [64, 160, 168, 255];
    let rows = picture.height.div_ceil(5) * picture.width;
    let channels = picture.channels;
    for pixel in picture.data.chunks_exact_mut(channels).take(rows) {
        pixel.copy_from_slice(&COLOUR[..channels]);
    }
}
