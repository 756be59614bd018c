//! A simulated cohort and what is true of it.

use std::fmt::Write as _;
use std::path::Path;

use cox_survival::Surv;
use latent_attribute::{FeatureMap, HealthDirection, LatentRisk, LatentSpace};
use serde::{Deserialize, Serialize};

use super::law::Along;
use super::oracle::expected_concordance;
use super::{PortraitSurv, log_risk_sd_of_concordance};
use crate::error::Result;
use crate::latents::{Latents, Values};
use crate::output::OutputFile;

/// One patient before the outcome.
pub(super) struct Person {
    pub(super) face: f64,
    pub(super) age: f64,
    pub(super) male: bool,
    pub(super) shortcut: bool,
}

/// Patients with their latents, and the truth about them.
#[derive(Debug, Clone)]
pub struct SimulatedCohort {
    /// One row per photo, patient after patient, with the photos' ids.
    pub latents: Latents,
    /// Patient of every photo, from 0.
    pub patient: Vec<usize>,
    /// Time of every patient.
    pub time: Vec<f64>,
    /// Whether it is that of the event.
    pub event: Vec<bool>,
    /// Age of every patient.
    pub age: Vec<f64>,
    /// Whether the patient is a man.
    pub male: Vec<bool>,
    /// What was planted.
    pub truth: Truth,
}

/// What was planted; the content of `truth.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// The settings.
    pub settings: PortraitSurv,
    /// Standard deviation of the face's log hazard.
    pub log_risk_sd: f64,
    /// What perfect scores would reach.
    pub oracle: Oracle,
    /// Share of patients censored.
    pub censored: f64,
    /// Gradient of the log hazard by the latent, `[dim]`: up it is more ill.
    pub direction: Vec<f64>,
    /// The face's part of the log hazard of every patient.
    pub face_log_risk: Vec<f64>,
    /// The part of age and sex.
    pub clinical_log_risk: Vec<f64>,
    /// The whole of it.
    pub log_risk: Vec<f64>,
    /// Who wears the shortcut.
    pub shortcut: Vec<bool>,
}

/// Expected concordances of perfect scores in these patients, without censoring.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Oracle {
    /// The face's part alone.
    pub face: f64,
    /// Age and sex alone.
    pub clinical: f64,
    /// Face, age and sex.
    pub face_and_clinical: f64,
    /// All there is, shortcut included.
    pub all: f64,
}

#[expect(clippy::too_many_arguments, reason = "the parts of one cohort")]
pub(super) fn assemble(
    settings: &PortraitSurv,
    w: Vec<f32>,
    dim: usize,
    risk: &Along,
    people: &[Person],
    clinical: &[f64],
    log_hazard: &[f64],
    outcome: &[(f64, bool)],
) -> Result<SimulatedCohort> {
    let sd = log_risk_sd_of_concordance(settings.true_c);
    let face: Vec<f64> = people.iter().map(|p| p.face).collect();
    let both: Vec<f64> = face.iter().zip(clinical).map(|(f, c)| f + c).collect();
    let oracle = Oracle {
        face: expected_concordance(&face, log_hazard),
        clinical: expected_concordance(clinical, log_hazard),
        face_and_clinical: expected_concordance(&both, log_hazard),
        all: expected_concordance(log_hazard, log_hazard),
    };
    let patient: Vec<usize> = (0..settings.n)
        .flat_map(|i| std::iter::repeat_n(i, settings.photos))
        .collect();
    let ids = patient
        .iter()
        .enumerate()
        .map(|(row, &i)| photo_id(i, row % settings.photos, settings.photos))
        .collect();
    let rows = patient.len();
    let (time, event): (Vec<f64>, Vec<bool>) = outcome.iter().copied().unzip();
    let censored = event.iter().filter(|e| !**e).count() as f64 / settings.n as f64;
    Ok(SimulatedCohort {
        latents: Latents::new(Values::F32(w), rows, dim)?.with_ids(ids)?,
        patient,
        time,
        event,
        age: people.iter().map(|p| p.age).collect(),
        male: people.iter().map(|p| p.male).collect(),
        truth: Truth {
            settings: settings.clone(),
            log_risk_sd: sd,
            oracle,
            censored,
            direction: risk.gradient.iter().map(|g| g * sd).collect(),
            face_log_risk: face,
            clinical_log_risk: clinical.to_vec(),
            log_risk: log_hazard.to_vec(),
            shortcut: people.iter().map(|p| p.shortcut).collect(),
        },
    })
}

fn patient_id(i: usize) -> String {
    format!("P{:05}", i + 1)
}

fn photo_id(i: usize, photo: usize, photos: usize) -> String {
    match photos {
        1 => patient_id(i),
        _ => format!("{}-{}", patient_id(i), photo + 1),
    }
}

impl SimulatedCohort {
    /// The outcome, one row per photo.
    ///
    /// # Errors
    /// What [`Surv`] refuses: no event at all.
    pub fn surv(&self) -> Result<Surv> {
        let time: Vec<f64> = self.patient.iter().map(|&i| self.time[i]).collect();
        let event: Vec<bool> = self.patient.iter().map(|&i| self.event[i]).collect();
        Ok(Surv::new(&time, &event)?)
    }

    /// The table as CSV, one row per photo: `id,patient,time,status,age,sex`.
    pub fn table(&self) -> String {
        let mut text = String::from("id,patient,time,status,age,sex\n");
        let photos = self.truth.settings.photos;
        for (row, &i) in self.patient.iter().enumerate() {
            let id = photo_id(i, row % photos, photos);
            let sex = if self.male[i] { "male" } else { "female" };
            let (patient, status) = (patient_id(i), u8::from(self.event[i]));
            let (time, age) = (self.time[i], self.age[i]);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{id},{patient},{time},{status},{age},{sex}");
        }
        text
    }

    /// The planted direction, towards health.
    ///
    /// # Errors
    /// [`crate::Error::Direction`] where nothing was planted (a true C of 0.5).
    pub fn direction(&self) -> Result<HealthDirection> {
        let dim = self.latents.p();
        let space = LatentSpace::W { dim };
        let risk = LatentRisk::from_cox(space, &self.truth.direction, FeatureMap::identity(dim))?;
        Ok(risk.weights()?)
    }

    /// Writes `table.csv`, `latents.safetensors` and `truth.json` into a folder that exists.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        let table = OutputFile::create(folder.join("table.csv"))?;
        let latents = OutputFile::create(folder.join("latents.safetensors"))?;
        let truth = OutputFile::create(folder.join("truth.json"))?;
        table.write(self.table().as_bytes())?;
        latents.write(&self.latents.to_safetensors("w"))?;
        truth.write(&crate::json::pretty(&self.truth)?)
    }
}
