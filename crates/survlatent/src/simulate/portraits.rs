//! Portraits of a simulated cohort, drawn by a generator.

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use latent_inversion::{Decoder, StyleGan2, broadcast};
use stylegan2_burn::image::{Pixels, Rounding, to_pixels};

use super::mapped::mapped;
use super::{Draws, SimulatedCohort};
use crate::error::Result;
use crate::output::OutputFile;

/// What the metadata of generated portraits say.
pub const SYNTHETIC: &str = "Synthetic portrait: made by a generative network, shows nobody";

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
    /// [`Error::Io`](crate::Error::Io), and what `step` returns.
    pub fn write(
        &self,
        cohort: &SimulatedCohort,
        folder: &Path,
        step: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let rows: Vec<usize> = (0..cohort.patient.len()).collect();
        let worn = cohort.truth.settings.shortcut;
        for batch in rows.chunks(BATCH) {
            for (&row, mut picture) in batch.iter().zip(self.pictures(cohort, batch)) {
                if let Some(shortcut) = worn.filter(|_| cohort.truth.shortcut[cohort.patient[row]])
                {
                    let size = [picture.width, picture.height];
                    shortcut
                        .kind
                        .paint(&mut picture.data, size, picture.channels);
                }
                let id = cohort.latents.ids().map_or("", |ids| &ids[row]);
                let png = crate::png::encode(
                    &picture.data,
                    [picture.width, picture.height],
                    picture.channels,
                    Some(SYNTHETIC),
                )?;
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
        let device = self.generator.device();
        let map = |z| self.generator.map(z);
        let range = [first, count as u64];
        mapped(&map, &device, self.generator.z_dim(), self.seed, range)
    }
}
