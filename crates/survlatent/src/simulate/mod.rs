//! `PortraitSurv` (settings) -> `simulate` -> `SimulatedCohort`: patients whose risk is known.

mod censoring;
mod law;
#[cfg(feature = "gan")]
mod mapped;
mod oracle;
#[cfg(feature = "photos")]
mod portraits;
mod shortcut;
mod truth;

use serde::{Deserialize, Serialize};

#[cfg(all(feature = "photos", feature = "deep"))]
pub(crate) use law::rng;
pub use law::{Along, Draws, NormalLaw, normals};
#[cfg(feature = "gan")]
pub(crate) use mapped::mapped;
pub use oracle::{concordance_of_log_risk_sd, log_risk_sd_of_concordance};
#[cfg(feature = "photos")]
pub use portraits::{Portraits, SYNTHETIC};
pub use shortcut::{Shortcut, ShortcutKind};
pub use truth::{Oracle, SimulatedCohort, Truth};

use crate::error::{Error, Result};
use law::{Purpose, normal, uniform};

/// A cohort whose log hazard is known: a direction in latent space, age, sex and, if asked for,
/// something in the picture that has nothing to do with the face.
///
/// ```text
/// log hazard = s (w - mu)' d / sd((w - mu)' d) + a (age - mean) / 10 + b [male] + c [shortcut]
/// S(t)       = exp(-(t / scale)^shape exp(log hazard))
/// ```
///
/// The direction `d` is the difference between the latents of two more draws, as an attribute of
/// faces is: what tells one face from another. `s` follows from `true_c`, the concordance of the
/// face's log hazard where nothing else acts (0.680 is `s = 0.735`). Censoring times are uniform
/// from 0 to the time that gives the share asked for. Every number is drawn by counter, so that a
/// patient's latent and draws depend on the seed and on the patient's place alone.
///
/// ```
/// use survlatent::simulate::PortraitSurv;
/// let cohort = PortraitSurv { n: 50, dim: 8, ..PortraitSurv::default() }.simulate()?;
/// assert_eq!((cohort.latents.n(), cohort.latents.p()), (50, 8));
/// assert_eq!(cohort.truth.direction.len(), 8);
/// assert!(cohort.table().starts_with("id,patient,time,status,age,sex\n"));
/// # Ok::<(), survlatent::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PortraitSurv {
    /// Patients.
    pub n: usize,
    /// Photos of each patient; all but the first are a little off the patient's latent.
    pub photos: usize,
    /// How far: the share of another draw's deviation that is added.
    pub photo_noise: f64,
    /// Seed of everything.
    pub seed: u64,
    /// Concordance of the face's log hazard in uncensored patients where nothing else acts.
    pub true_c: f64,
    /// Shape of the Weibull distribution of times; 1 is a constant hazard.
    pub shape: f64,
    /// Its scale, the time by which 63 % of patients of log hazard 0 have the event.
    pub scale: f64,
    /// Share of patients to be censored.
    pub censored: f64,
    /// Mean age.
    pub age_mean: f64,
    /// Standard deviation of age.
    pub age_sd: f64,
    /// Log hazard ratio of ten years.
    pub age_log_hr: f64,
    /// Correlation of age with a direction of its own in latent space, so that the face shows it.
    pub age_in_face: f64,
    /// Share of men.
    pub male: f64,
    /// Log hazard ratio of men against women.
    pub sex_log_hr: f64,
    /// Something painted into the picture that goes with the hazard.
    pub shortcut: Option<Shortcut>,
    /// Width of the latents where no generator gives them.
    pub dim: usize,
    /// Spectrum of those latents: the variance of component `k` is `exp(-decay k / dim)`. 6 is near
    /// that of a small generator of portraits.
    pub decay: f64,
}

impl Default for PortraitSurv {
    fn default() -> Self {
        Self {
            n: 2000,
            photos: 1,
            photo_noise: 0.3,
            seed: 1,
            true_c: 0.680,
            shape: 1.2,
            scale: 5.0,
            censored: 0.3,
            age_mean: 62.0,
            age_sd: 12.0,
            age_log_hr: 0.0,
            age_in_face: 0.0,
            male: 0.5,
            sex_log_hr: 0.0,
            shortcut: None,
            dim: 512,
            decay: 6.0,
        }
    }
}

impl PortraitSurv {
    /// A cohort whose latents are drawn from a [`NormalLaw`].
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn simulate(&self) -> Result<SimulatedCohort> {
        self.check()?;
        let law = NormalLaw::new(self.dim, self.decay, self.seed)?;
        self.simulate_from(&law)
    }

    /// A cohort whose latents are drawn from `law`, a generator's mapping network say.
    ///
    /// # Errors
    /// A setting out of its range, and what `law` refuses.
    pub fn simulate_from(&self, law: &dyn Draws) -> Result<SimulatedCohort> {
        self.check()?;
        let (n, dim) = (self.n, law.dim());
        let ends = law.draws(Purpose::Direction.start(), 4)?;
        let apart = |k: usize| -> Vec<f64> {
            let (a, b) = (&ends[2 * k * dim..], &ends[(2 * k + 1) * dim..]);
            (0..dim)
                .map(|j| f64::from(a[j]) - f64::from(b[j]))
                .collect()
        };
        let risk = law.along(&apart(0))?;
        let age = law.along(&apart(1))?;

        let base = law.draws(Purpose::Patient.start(), n)?;
        let latent = |i: usize| &base[i * dim..(i + 1) * dim];
        let s = log_risk_sd_of_concordance(self.true_c);
        let person = |i: usize| {
            let own = normal(self.seed, Purpose::Age, i as u64);
            let rest = (1.0 - self.age_in_face.powi(2)).sqrt();
            let years = self.age_in_face * age.score(latent(i)) + rest * own;
            truth::Person {
                face: s * risk.score(latent(i)),
                age: ((self.age_mean + self.age_sd * years) * 10.0).round() / 10.0,
                male: uniform(self.seed, Purpose::Sex, i as u64) < self.male,
                shortcut: self
                    .shortcut
                    .is_some_and(|cap| uniform(self.seed, Purpose::Shortcut, i as u64) < cap.share),
            }
        };
        let people: Vec<truth::Person> = (0..n).map(person).collect();
        let clinical: Vec<f64> = people
            .iter()
            .map(|p| {
                let sex = if p.male { self.sex_log_hr } else { 0.0 };
                self.age_log_hr * (p.age - self.age_mean) / 10.0 + sex
            })
            .collect();
        let planted = |p: &truth::Person| match self.shortcut {
            Some(cap) if p.shortcut => cap.log_hr,
            _ => 0.0,
        };
        let log_hazard: Vec<f64> = people
            .iter()
            .zip(&clinical)
            .map(|(p, c)| p.face + c + planted(p))
            .collect();
        let died: Vec<f64> = log_hazard
            .iter()
            .enumerate()
            .map(|(i, eta)| {
                let u = uniform(self.seed, Purpose::Time, i as u64);
                self.scale * (-(1.0 - u).ln() * (-eta).exp()).powf(1.0 / self.shape)
            })
            .collect();
        let end = censoring::end_of_study(self, &log_hazard);
        let outcome: Vec<(f64, bool)> = died
            .iter()
            .enumerate()
            .map(|(i, &t)| {
                let left = match end {
                    Some(end) => end * uniform(self.seed, Purpose::Censoring, i as u64),
                    None => f64::INFINITY,
                };
                // Days of 0 length are a fault of rounding, not of patients.
                (t.min(left).max(1e-6), t <= left)
            })
            .collect();
        let w = self.photographed(law, &base)?;
        truth::assemble(
            self,
            w,
            dim,
            &risk,
            &people,
            &clinical,
            &log_hazard,
            &outcome,
        )
    }

    /// Latents of all photos, patient after patient.
    fn photographed(&self, law: &dyn Draws, base: &[f32]) -> Result<Vec<f32>> {
        if self.photos == 1 {
            return Ok(base.to_vec());
        }
        let dim = law.dim();
        let others = law.draws(Purpose::Photo.start(), self.n * (self.photos - 1))?;
        let mean = law.mean()?;
        let mut w = Vec::with_capacity(self.n * self.photos * dim);
        for (i, own) in base.chunks_exact(dim).enumerate() {
            w.extend_from_slice(own);
            for k in 0..self.photos - 1 {
                let other = &others[(i * (self.photos - 1) + k) * dim..][..dim];
                let moved = own.iter().zip(other).zip(&mean).map(|((w, o), m)| {
                    (f64::from(*w) + self.photo_noise * (f64::from(*o) - m)) as f32
                });
                w.extend(moved);
            }
        }
        Ok(w)
    }

    fn check(&self) -> Result<()> {
        let refuse = |name: &'static str, value: f64, expected: &'static str| {
            Err(Error::Cox(cox_survival::Error::Setting {
                name,
                value: value.to_string(),
                expected,
            }))
        };
        let share = |v: f64| (0.0..=1.0).contains(&v);
        let positive = |v: f64| v > 0.0 && v.is_finite();
        let cap = self.shortcut.unwrap_or(Shortcut {
            share: 0.0,
            log_hr: 0.0,
            kind: ShortcutKind::Cap,
        });
        match self {
            s if s.n < 2 => refuse("n", s.n as f64, "must be at least 2"),
            s if s.photos == 0 => refuse("photos", 0.0, "must be at least 1"),
            s if !(0.5..0.99).contains(&s.true_c) => {
                refuse("true_c", s.true_c, "must lie in 0.5 to below 0.99")
            }
            s if !positive(s.shape) => refuse("shape", s.shape, "must be above 0"),
            s if !positive(s.scale) => refuse("scale", s.scale, "must be above 0"),
            s if !(0.0..0.99).contains(&s.censored) => {
                refuse("censored", s.censored, "must lie in 0 to below 0.99")
            }
            s if !share(s.male) => refuse("male", s.male, "must lie in 0 to 1"),
            s if !share(s.age_in_face) => {
                refuse("age_in_face", s.age_in_face, "must lie in 0 to 1")
            }
            s if !positive(s.age_sd) => refuse("age_sd", s.age_sd, "must be above 0"),
            s if !share(s.photo_noise) => {
                refuse("photo_noise", s.photo_noise, "must lie in 0 to 1")
            }
            s if !(s.age_mean + s.age_log_hr + s.sex_log_hr + cap.log_hr).is_finite() => {
                refuse("age_mean", s.age_mean, "effects must be finite")
            }
            _ if !share(cap.share) => refuse("shortcut.share", cap.share, "must lie in 0 to 1"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
