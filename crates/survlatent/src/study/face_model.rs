//! The face model of a study as a file: what doses by survival are computed from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::data::StudyData;
use super::fold::scale_one;
use super::read::{bytes, sha256};
use crate::assets::FACES_64;
use crate::error::{Error, Result};
use crate::output::OutputFile;
use crate::proof::hazard_ratio_of_survival;

/// The form of the file that this program writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// What stands between a generator's name and its hash.
pub(super) const MARK: &str = ", SHA-256 ";

/// The penalised Cox model of the latents in W, fitted to all rows of a study; the content of
/// `face_model.json`.
///
/// ```text
/// log hazard(w) = sum_j coefficients_j (w_j - mean_j)
/// S(t | w)      = exp(-H0(t) exp(log hazard(w)))
/// ```
///
/// `H0` is the cumulative baseline hazard of those rows at their mean latent. Survival is by the model
/// in the rows it was fitted to: it is a scale for doses, and no prediction that was judged.
///
/// ```
/// use survlatent::study::{Baseline, FaceModel};
/// let model = FaceModel {
///     coefficients: vec![0.5, 0.0],
///     mean: vec![1.0, 0.0],
///     sd: vec![1.0, 1.0],
///     baseline: Baseline { time: vec![1.0, 3.0], cumulative_hazard: vec![0.1, 0.4] },
///     follow_up: 5.0,
///     ..FaceModel::default()
/// };
/// assert!((model.survival(&[1.0, 7.0], 2.0)? - (-0.1_f64).exp()).abs() < 1e-12);
/// // From exp(-0.4) to exp(-0.2) at time 3 takes half the hazard.
/// let ratio = model.hazard_ratio_to_survival(&[1.0, 7.0], 3.0, (-0.2_f64).exp())?;
/// assert!((ratio - 0.5).abs() < 1e-12);
/// # Ok::<(), survlatent::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceModel {
    /// Version of the file's form.
    pub format: u32,
    /// Version of the program that wrote it.
    pub program: String,
    /// The generator whose latents it reads, with the SHA-256 of its file, where that is known.
    pub network: Option<String>,
    /// Unit of time.
    pub time_unit: String,
    /// Rows it was fitted to.
    pub rows: usize,
    /// Their patients.
    pub patients: usize,
    /// Their events.
    pub events: usize,
    /// Penalty and number of columns.
    pub chosen: String,
    /// Mean of every column of the latents over the rows.
    pub mean: Vec<f64>,
    /// Its standard deviation: the penalty acts on columns divided by it.
    pub sd: Vec<f64>,
    /// Log hazard ratio of one unit of every column.
    pub coefficients: Vec<f64>,
    /// Cumulative hazard at the mean latent.
    pub baseline: Baseline,
    /// The last time of follow-up; beyond it nothing is known.
    pub follow_up: f64,
    /// Survival at the study's horizons.
    pub horizons: Vec<HorizonSurvival>,
}

/// A cumulative hazard that rises at event times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Event times, ascending.
    pub time: Vec<f64>,
    /// The hazard just after each of them.
    pub cumulative_hazard: Vec<f64>,
}

/// Survival at a horizon.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HorizonSurvival {
    /// The horizon.
    pub time: f64,
    /// Probability of survival at the mean latent.
    pub at_mean: f64,
    /// Log hazard ratio, from the mean latent, of a probability of one half.
    pub log_hazard_ratio_to_half: Option<f64>,
}

/// The one field that files of all forms have.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

impl Default for FaceModel {
    fn default() -> Self {
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            network: None,
            time_unit: String::new(),
            rows: 0,
            patients: 0,
            events: 0,
            chosen: String::new(),
            mean: vec![],
            sd: vec![],
            coefficients: vec![],
            baseline: Baseline::default(),
            follow_up: 0.0,
            horizons: vec![],
        }
    }
}

impl FaceModel {
    /// Whether the model says whose latents it reads; `network` is the generator's file, none for the one
    /// that ships.
    ///
    /// # Errors
    /// [`Error::Study`] for another generator than that, [`Error::Io`].
    pub fn check_network(&self, network: Option<&Path>) -> Result<bool> {
        let Some((name, hash)) = self.network.as_ref().and_then(|n| n.rsplit_once(MARK)) else {
            return Ok(false);
        };
        let found = match network {
            Some(path) => sha256(&bytes(path)?),
            None => sha256(FACES_64),
        };
        if hash == found {
            return Ok(true);
        }
        let other = network.map_or_else(|| "the shipped network".into(), |p| p.to_string_lossy());
        Err(Error::Study {
            reason: format!(
                "the direction and its face model are of latents of {name} (SHA-256 {hash}), not of those \
                 of {other} (SHA-256 {found})"
            ),
        })
    }

    /// The model with these coefficients in the rows of `data`; nothing where there are no latents.
    pub(super) fn of(
        data: &StudyData,
        coef: &[f64],
        chosen: &str,
        horizons: &[f64],
    ) -> Result<Option<Self>> {
        let Some(w) = &data.w else {
            return Ok(None);
        };
        let n = w.n() as f64;
        let column = |j: usize| (0..w.n()).map(move |i| w.get(i, j));
        let mean: Vec<f64> = (0..w.p()).map(|j| column(j).sum::<f64>() / n).collect();
        let sd = (0..w.p())
            .map(|j| (column(j).map(|v| (v - mean[j]).powi(2)).sum::<f64>() / n).sqrt())
            .collect();
        let risk: Vec<f64> = (0..w.n())
            .map(|i| (0..w.p()).map(|j| (w.get(i, j) - mean[j]) * coef[j]).sum())
            .collect();
        let fit = scale_one(&data.surv, &risk)?;
        let curve = &fit.baseline_hazard()[0];
        let mut model = Self {
            rows: data.n(),
            patients: data.patients(),
            events: data.surv.n_events(),
            chosen: chosen.to_owned(),
            mean,
            sd,
            coefficients: coef.to_vec(),
            baseline: Baseline {
                time: curve.time.clone(),
                cumulative_hazard: curve.hazard.clone(),
            },
            follow_up: super::last_time(&data.surv),
            ..Self::default()
        };
        model.check()?;
        model.horizons = horizons
            .iter()
            .map(|&time| {
                let hazard = model.cumulative_hazard(time)?;
                let to_half = (std::f64::consts::LN_2 / hazard).ln();
                Ok(HorizonSurvival {
                    time,
                    at_mean: (-hazard).exp(),
                    log_hazard_ratio_to_half: Some(to_half).filter(|v| v.is_finite()),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Some(model))
    }

    /// Reads `face_model.json`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InFile`] with what is wrong.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_json(&bytes).map_err(|error| error.in_file(path))
    }

    /// From the bytes of such a file.
    ///
    /// # Errors
    /// [`Error::Format`] for another form, lengths that do not agree, or a hazard that falls.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let fault = |reason: String| Error::Format {
            format: "face model",
            reason,
        };
        // The form first: another one may have other fields.
        let form: Form = serde_json::from_slice(bytes).map_err(|e| fault(e.to_string()))?;
        if form.format != FORMAT {
            return Err(fault(format!(
                "the form {} of another version; this program reads {FORMAT}",
                form.format
            )));
        }
        let model: Self = serde_json::from_slice(bytes).map_err(|e| fault(e.to_string()))?;
        model.check()?;
        Ok(model)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        OutputFile::create(path.as_ref())?.write(&crate::json::pretty(self)?)
    }

    fn check(&self) -> Result<()> {
        let b = &self.baseline;
        let p = self.coefficients.len();
        let finite = |v: &[f64]| v.iter().all(|v| v.is_finite());
        let rising = |v: &[f64]| v.windows(2).all(|pair| pair[0] <= pair[1]);
        let reason = if self.mean.len() != p || self.sd.len() != p {
            "there are not as many means, deviations and coefficients"
        } else if b.time.len() != b.cumulative_hazard.len() || b.time.is_empty() {
            "the baseline needs as many hazards as times, and one of them"
        } else if !(rising(&b.time) && rising(&b.cumulative_hazard)) {
            "times and cumulative hazard of the baseline must not fall"
        } else if !(finite(&self.coefficients)
            && finite(&self.mean)
            && finite(&b.cumulative_hazard))
            || b.cumulative_hazard[0] < 0.0
        {
            "coefficients, means and hazards must be finite, hazards not negative"
        } else {
            return Ok(());
        };
        Err(Error::Format {
            format: "face model",
            reason: reason.into(),
        })
    }

    fn cumulative_hazard(&self, time: f64) -> Result<f64> {
        if !(time >= 0.0 && time <= self.follow_up) {
            return Err(Error::Study {
                reason: format!(
                    "the horizon {time} lies outside follow-up, 0 to {} {}",
                    self.follow_up, self.time_unit
                ),
            });
        }
        let past = self.baseline.time.partition_point(|t| *t <= time);
        Ok(match past {
            0 => 0.0,
            k => self.baseline.cumulative_hazard[k - 1],
        })
    }

    /// Log hazard relative to the mean latent.
    ///
    /// # Errors
    /// [`Error::Study`] for a latent of another width.
    pub fn log_hazard(&self, latent: &[f64]) -> Result<f64> {
        if latent.len() != self.coefficients.len() {
            return Err(Error::Study {
                reason: format!(
                    "a latent of {} numbers; the face model reads {}",
                    latent.len(),
                    self.coefficients.len()
                ),
            });
        }
        let terms = latent.iter().zip(&self.mean).zip(&self.coefficients);
        Ok(terms.map(|((w, m), b)| (w - m) * b).sum())
    }

    /// Probability of survival to `time`.
    ///
    /// # Errors
    /// As [`log_hazard`](Self::log_hazard); [`Error::Study`] for a time beyond follow-up.
    pub fn survival(&self, latent: &[f64], time: f64) -> Result<f64> {
        let hazard = self.cumulative_hazard(time)? * self.log_hazard(latent)?.exp();
        Ok((-hazard).exp())
    }

    /// The hazard ratio that takes the latent's survival at `time` to `to`.
    ///
    /// # Errors
    /// As [`survival`](Self::survival); [`Error::Study`] for a probability that is not between 0 and 1,
    /// now (before the first event everybody survives) or then.
    pub fn hazard_ratio_to_survival(&self, latent: &[f64], time: f64, to: f64) -> Result<f64> {
        let now = self.survival(latent, time)?;
        if !(now > 0.0 && now < 1.0) {
            return Err(Error::Study {
                reason: format!(
                    "survival at {time} {} is {now} by the model: no other can be asked for there",
                    self.time_unit
                ),
            });
        }
        hazard_ratio_of_survival(now, to)
    }

    /// The middle one of the study's horizons.
    pub fn median_horizon(&self) -> Option<f64> {
        self.horizons.get(self.horizons.len() / 2).map(|h| h.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::PortraitSurv;

    fn fitted() -> (StudyData, FaceModel) {
        let settings = PortraitSurv {
            n: 80,
            dim: 3,
            ..PortraitSurv::default()
        };
        let cohort = settings.simulate().unwrap();
        let data = StudyData {
            surv: cohort.surv().unwrap(),
            patient: (0..80).collect(),
            w: Some(cohort.latents),
            w_plus: None,
            clinical: None,
            age_sex: None,
            condition: None,
            diagnosis: None,
            subgroups: vec![],
        };
        let model = FaceModel::of(&data, &[0.4, -0.2, 0.0], "by hand", &[1.0, 2.0, 3.0]);
        (data, model.unwrap().unwrap())
    }

    #[test]
    fn the_baseline_is_breslows_and_a_dose_reaches_its_survival() {
        let (data, model) = fitted();
        let w = data.w.as_ref().unwrap();
        let row = |i: usize| (0..3).map(|j| w.get(i, j)).collect::<Vec<f64>>();
        let risk: Vec<f64> = (0..80)
            .map(|i| model.log_hazard(&row(i)).unwrap())
            .collect();
        assert!(risk.iter().sum::<f64>().abs() < 1e-9);
        // By its definition; the simulated times have no ties.
        let (time, event) = (data.surv.time(), data.surv.event());
        let hazard: f64 = (0..80)
            .filter(|&i| event[i] && time[i] <= 2.0)
            .map(|i| {
                let at_risk = (0..80).filter(|&k| time[k] >= time[i]);
                1.0 / at_risk.map(|k| risk[k].exp()).sum::<f64>()
            })
            .sum();
        assert!((model.cumulative_hazard(2.0).unwrap() - hazard).abs() < 1e-10);
        assert_eq!(model.median_horizon(), Some(2.0));
        assert!((model.horizons[1].at_mean - (-hazard).exp()).abs() < 1e-10);
        let to_half = model.horizons[1].log_hazard_ratio_to_half.unwrap();
        assert!((to_half.exp() * hazard - std::f64::consts::LN_2).abs() < 1e-9);
        let own = model.survival(&row(7), 2.0).unwrap();
        let ratio = model.hazard_ratio_to_survival(&row(7), 2.0, 0.9).unwrap();
        assert!((own.powf(ratio) - 0.9).abs() < 1e-12);
    }

    #[test]
    fn another_network_than_the_recorded_one_is_refused() {
        let model = |hash: &str| FaceModel {
            network: Some(format!("the shipped network{MARK}{hash}")),
            ..FaceModel::default()
        };
        assert!(model(&sha256(FACES_64)).check_network(None).unwrap());
        let error = model("00").check_network(None).unwrap_err().to_string();
        assert!(error.contains("SHA-256 00"), "{error}");
        assert!(!FaceModel::default().check_network(None).unwrap());
    }

    #[test]
    fn a_file_is_read_back_and_a_bad_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("face_model.json");
        let (_, model) = fitted();
        model.write(&path).unwrap();
        assert_eq!(FaceModel::read(&path).unwrap(), model);
        let text = std::fs::read_to_string(&path).unwrap();
        let fault = |from: &str, to: &str| {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            FaceModel::from_json(changed.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert!(fault("\"format\": 1", "\"format\": 2").contains("this program reads 1"));
        assert!(fault("\"mean\": [", "\"mean\": [0.5,").contains("as many"));
        assert!(
            fault("\"cumulative_hazard\": [", "\"cumulative_hazard\": [9.0,").contains("as many")
        );
        assert!(fault("\"program\"", "\"programme\"").contains("programme"));
        let of = |time: f64, to: f64| model.hazard_ratio_to_survival(&[0.0; 3], time, to);
        assert!(of(1e9, 0.5).unwrap_err().to_string().contains("follow-up"));
        assert!(
            of(0.0, 0.5)
                .unwrap_err()
                .to_string()
                .contains("by the model")
        );
        assert!(of(2.0, 1.0).is_err());
        assert!(model.survival(&[0.0; 2], 2.0).is_err());
    }
}
