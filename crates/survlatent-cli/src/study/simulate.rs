//! `survlatent simulate`: a cohort whose truth is known.

use std::path::PathBuf;

use burn::tensor::{Tensor, TensorData};
use clap::Args;
use stylegan2_burn::image::Pixels;
use survlatent::Error;
use survlatent::simulate::{Draws, PortraitSurv, Shortcut, SimulatedCohort, normals};

use crate::failure::Failure;
use crate::gan::network::{NetworkArgs, Opened, values};
use crate::gan::picture::{SYNTHETIC, write_labelled};
use crate::gan::{make_folder, progress};
use crate::value;

/// Make a cohort whose risk is known: table, latents, truth and, with a network, portraits
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Simulate {
    /// Folder for the cohort; made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Generator of the latents and portraits (default: normal latents, no portraits)
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Patients
    #[arg(long, default_value_t = 2000, value_parser = value::count::<2>)]
    n: usize,
    /// Photos of each patient
    #[arg(long, default_value_t = 1, value_parser = value::count::<1>)]
    photos: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Concordance of the face's log hazard where nothing else acts
    #[arg(long, value_name = "C", default_value_t = 0.680, value_parser = value::inside)]
    true_c: f64,
    /// Shape of the Weibull times
    #[arg(long, default_value_t = 1.2, value_parser = value::positive)]
    shape: f64,
    /// Scale of the Weibull times
    #[arg(long, default_value_t = 5.0, value_parser = value::positive)]
    scale: f64,
    /// Share of patients to be censored
    #[arg(long, value_name = "SHARE", default_value_t = 0.3, value_parser = value::unit)]
    censored: f64,
    /// Log hazard ratio of ten years of age
    #[arg(long, value_name = "LOGHR", default_value_t = 0.0, value_parser = value::finite,
        allow_negative_numbers = true)]
    age: f64,
    /// Correlation of age with a direction of its own in latent space
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = value::unit)]
    age_in_face: f64,
    /// Log hazard ratio of men against women
    #[arg(long, value_name = "LOGHR", default_value_t = 0.0, value_parser = value::finite,
        allow_negative_numbers = true)]
    sex: f64,
    /// Paint a cap on some, who have another hazard: share and log hazard ratio, such as 0.25,1
    #[arg(long, value_name = "SHARE,LOGHR", value_parser = shortcut)]
    shortcut: Option<Shortcut>,
    /// Width of the latents without a network
    #[arg(long, default_value_t = 512, value_parser = value::count::<2>, conflicts_with = "network")]
    dim: usize,
}

const NOTES: &str = "\
Files:
  table.csv            id, patient, time, status, age, sex; one row per photo
  latents.safetensors  w, [photos, w], with the ids
  truth.json           settings, direction, every patient's log hazard, what perfect scores reach
  photos/ID.png        with --network; the metadata say that they are synthetic

Examples:
  survlatent simulate --out cohort --n 2000 --age 0.3 --sex 0.4
  survlatent simulate --out cohort --network faces.safetensors --shortcut 0.25,1";

fn shortcut(text: &str) -> Result<Shortcut, String> {
    let parts = text
        .split_once(',')
        .map(|(a, b)| (value::unit(a), value::finite(b)));
    match parts {
        Some((Ok(share), Ok(log_hr))) => Ok(Shortcut { share, log_hr }),
        _ => Err("a share from 0 to 1 and a log hazard ratio, such as 0.25,1".to_owned()),
    }
}

impl Simulate {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let settings = PortraitSurv {
            n: self.n,
            photos: self.photos,
            seed: self.seed,
            true_c: self.true_c,
            shape: self.shape,
            scale: self.scale,
            censored: self.censored,
            age_log_hr: self.age,
            age_in_face: self.age_in_face,
            sex_log_hr: self.sex,
            shortcut: self.shortcut,
            dim: self.dim,
            ..PortraitSurv::default()
        };
        let Some(network) = &self.network else {
            let cohort = settings.simulate()?;
            make_folder(&self.out)?;
            return Ok(cohort.write(&self.out)?);
        };
        let law = Mapped {
            net: NetworkArgs::of(network).open()?,
            seed: self.seed,
        };
        let cohort = settings.simulate_from(&law)?;
        make_folder(&self.out)?;
        cohort.write(&self.out)?;
        self.portraits(&law, &cohort)
    }

    fn portraits(&self, law: &Mapped, cohort: &SimulatedCohort) -> Result<(), Failure> {
        let folder = self.out.join("photos");
        make_folder(&folder)?;
        let config = &law.net.config;
        let (rows, width) = (config.num_ws(), config.w_dim);
        let bar = progress(cohort.patient.len(), "portraits");
        let ids = cohort.latents.ids().unwrap_or_default();
        for (row, (id, &patient)) in ids.iter().zip(&cohort.patient).enumerate() {
            let w: Vec<f32> = (0..width)
                .map(|j| cohort.latents.get(row, j) as f32)
                .collect();
            let w = Tensor::<3>::from_data(TensorData::new(w, [1, 1, width]), &law.net.device);
            let mut picture = law.net.picture(w.expand([1, rows, width]), row as u64);
            if cohort.truth.shortcut[patient] {
                paint_cap(&mut picture);
            }
            write_labelled(&folder.join(format!("{id}.png")), &picture, SYNTHETIC)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
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

/// W of a mapping network, z by counter.
struct Mapped {
    net: Opened,
    seed: u64,
}

/// Latents mapped at once.
const CHUNK: u64 = 1000;

impl Draws for Mapped {
    fn dim(&self) -> usize {
        self.net.config.w_dim
    }

    fn draws(&self, first: u64, count: usize) -> Result<Vec<f32>, Error> {
        let (width, end) = (self.net.config.z_dim, first + count as u64);
        let mut out = Vec::with_capacity(count * self.dim());
        for start in (first..end).step_by(CHUNK as usize) {
            let some = start..(start + CHUNK).min(end);
            let rows = (some.end - some.start) as usize;
            let z: Vec<f32> = some
                .flat_map(|k| normals(self.seed, k, width))
                .map(|v| v as f32)
                .collect();
            let z = Tensor::<2>::from_data(TensorData::new(z, [rows, width]), &self.net.device);
            let ws = self.net.map(z, None).narrow(1, 0, 1);
            let w = values(ws).map_err(|_| Error::Study {
                reason: "the mapping network gave no numbers".into(),
            })?;
            out.extend(w);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortcuts_are_a_share_and_an_effect() {
        assert_eq!(
            shortcut("0.25, 1").map(|s| (s.share, s.log_hr)),
            Ok((0.25, 1.0))
        );
        assert!(shortcut("2,1").is_err() && shortcut("0.5").is_err());
    }
}
