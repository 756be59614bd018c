//! What the face alone and everything but the face say, by models fitted to those pixels.

use serde::{Deserialize, Serialize};

use super::regions::RegionMap;
use super::thumbnails::Thumbnails;
use crate::error::{Error, Result};
use crate::latents::{Latents, Values};
use crate::study::{Interval, ModelKind, Step, Study, StudyData};

/// Harrell's concordance of one and the same model, principal components and Cox, fitted to the pixels
/// of thumbnails, out of fold.
///
/// Hair, neck and background do say something of a person, age for one: a concordance of the
/// background above 0.5 is no proof of a shortcut, and one as high as the face's is a reason to look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegionModels {
    /// All pixels.
    pub whole: Option<Interval>,
    /// Pixels of the face.
    pub face: Option<Interval>,
    /// All others.
    pub background: Option<Interval>,
    /// Share of the pixels that are face.
    pub face_area: f64,
    /// Side of the thumbnails.
    pub side: usize,
}

impl RegionModels {
    /// Fits and judges the three models on the folds of `study`; `step` hears of every fold and every
    /// bootstrap replicate. A model that cannot be fitted has no concordance.
    ///
    /// # Errors
    /// [`Error::Rows`] for another number of pictures than rows; what the statistics refuse.
    pub fn fit(
        study: &Study,
        data: &StudyData,
        pictures: &Thumbnails,
        step: &Step<'_>,
    ) -> Result<Self> {
        if pictures.n() != data.n() {
            return Err(Error::Rows {
                latents: pictures.n(),
                patients: data.n(),
            });
        }
        let regions = RegionMap::canonical(pictures.side());
        let mut study = study.clone();
        study.models.kinds = vec![ModelKind::PcaCox];
        let of = |keep: &dyn Fn(bool) -> bool| -> Result<Option<Interval>> {
            let kept: Vec<usize> = regions
                .labels()
                .iter()
                .enumerate()
                .filter(|(_, label)| keep(label.is_face()))
                .flat_map(|(k, _)| 3 * k..3 * k + 3)
                .collect();
            let values = (0..pictures.n())
                .flat_map(|i| kept.iter().map(move |&k| pictures.row(i)[k]))
                .collect();
            let pixels = Latents::new(Values::F32(values), pictures.n(), kept.len())?;
            let data = StudyData {
                w: Some(pixels),
                w_plus: None,
                clinical: None,
                age_sex: None,
                subgroups: Vec::new(),
                ..data.clone()
            };
            let predictions = study.predict(&data, step)?;
            let (models, _) = study.judge(&data, &predictions, step)?;
            Ok(models.first().and_then(|m| m.harrell))
        };
        Ok(Self {
            whole: of(&|_| true)?,
            face: of(&|face| face)?,
            background: of(&|face| !face)?,
            face_area: regions.face_area(),
            side: pictures.side(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::PortraitSurv;
    use crate::study::{StudyModels, Validation};

    /// Noise all over, and the log hazard as the brightness of one half of the pixels.
    #[test]
    fn the_half_that_tells_is_the_half_that_predicts() {
        let n = 200;
        let settings = PortraitSurv {
            n,
            dim: 4,
            true_c: 0.8,
            ..PortraitSurv::default()
        };
        let cohort = settings.simulate().unwrap();
        let regions = RegionMap::canonical(8);
        let pictures = |in_face: bool| {
            let mut out = Thumbnails::new(8);
            for (i, risk) in cohort.truth.face_log_risk.iter().enumerate() {
                let noise = crate::simulate::normals(5, i as u64, 64);
                let rgb: Vec<u8> = regions
                    .labels()
                    .iter()
                    .zip(&noise)
                    .flat_map(|(label, noise)| {
                        let told = if label.is_face() == in_face {
                            15.0 * risk
                        } else {
                            0.0
                        };
                        #[allow(clippy::cast_sign_loss)]
                        let v = (128.0 + told + 15.0 * noise).clamp(0.0, 255.0) as u8;
                        [v; 3]
                    })
                    .collect();
                out.push(&rgb, 8, 8).unwrap();
            }
            out
        };
        let data = StudyData {
            surv: cohort.surv().unwrap(),
            patient: (0..n as u32).collect(),
            w: Some(cohort.latents.clone()),
            w_plus: None,
            clinical: None,
            age_sex: None,
            condition: None,
            subgroups: vec![],
            diagnosis: None,
        };
        let study = Study {
            models: StudyModels {
                components: vec![1, 2],
                ..StudyModels::default()
            },
            validation: Validation {
                repeats: 1,
                bootstraps: 20,
                ..Validation::default()
            },
            seed: 3,
        };
        for in_face in [true, false] {
            let found = RegionModels::fit(&study, &data, &pictures(in_face), &|| Ok(())).unwrap();
            let c = |part: Option<Interval>| part.unwrap().estimate;
            let (told, mute) = if in_face {
                (c(found.face), c(found.background))
            } else {
                (c(found.background), c(found.face))
            };
            assert!(told > 0.7 && (0.4..0.6).contains(&mute), "{found:?}");
            assert!(c(found.whole) > 0.7);
        }
        let few = pictures(true).select(&[0, 1]);
        assert!(RegionModels::fit(&study, &data, &few, &|| Ok(())).is_err());
    }
}
