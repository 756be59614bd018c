//! What the face adds to a model: differences of the figures, and a test.

use cox_survival::{CoxPh, anova};
use statrs::distribution::{ContinuousCDF, Normal};

use super::data::{Design, StudyData};
use super::interval::{Interval, widening};
use super::judge::Scored;
use super::models::ModelKind;
use super::predict::{OutOfFoldPredictions, Predictions};
use super::results::{Increment, IncrementTest};
use crate::error::Result;

/// A model without the face, one with it, and the face's own.
const COMPARED: [(ModelKind, ModelKind, ModelKind); 5] = [
    (
        ModelKind::AgeSex,
        ModelKind::LateFusionAgeSex,
        ModelKind::FaceW,
    ),
    (ModelKind::Clinical, ModelKind::LateFusion, ModelKind::FaceW),
    (
        ModelKind::Clinical,
        ModelKind::EarlyFusion,
        ModelKind::FaceW,
    ),
    (
        ModelKind::Clinical,
        ModelKind::Resnet18Fusion,
        ModelKind::Resnet18,
    ),
    (
        ModelKind::Clinical,
        ModelKind::Vgg16Fusion,
        ModelKind::Vgg16,
    ),
];

/// All models on all rows and on each bootstrap draw of them.
pub(super) struct Scores<'a> {
    pub(super) models: &'a [&'a Predictions],
    pub(super) estimates: &'a [Scored],
    pub(super) replicates: &'a [Vec<Scored>],
    pub(super) level: f64,
}

impl Scores<'_> {
    /// The place of a model that has predictions.
    fn place(&self, kind: ModelKind) -> Option<usize> {
        self.models.iter().position(|p| p.model == kind)
    }

    /// One figure of the model at `b` less that of the model at `a`.
    fn gain(
        &self,
        (a, b): (usize, usize),
        of: &dyn Fn(&Scored) -> Option<f64>,
    ) -> Option<Interval> {
        let apart = |s: &[Scored]| Some(of(&s[b])? - of(&s[a])?);
        let estimate = apart(self.estimates).filter(|d| d.is_finite())?;
        let draws: Vec<Option<f64>> = self.replicates.iter().map(|r| apart(r)).collect();
        let wider = widening(self.models[b].noise);
        Some(Interval::new(estimate, &draws, self.level, wider))
    }
}

/// Every comparison that the models allow. A test that cannot be made says why.
pub(super) fn increments(
    data: &StudyData,
    all: &OutOfFoldPredictions,
    scores: &Scores<'_>,
) -> Vec<Increment> {
    let mut out = Vec::new();
    for (base, with_face, face) in COMPARED {
        let design = match base {
            ModelKind::AgeSex => data.age_sex.as_ref(),
            _ => data.clinical.as_ref(),
        };
        let places = scores.place(base).zip(scores.place(with_face));
        let (Some(both), Some(design), Some(face)) = (places, design, all.of(face)) else {
            continue;
        };
        let (tested, note) = match test(data, design, face) {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(error.to_string())),
        };
        out.push(Increment {
            base,
            with_face,
            harrell: scores.gain(both, &|s| s.harrell),
            uno: scores.gain(both, &|s| s.uno),
            ibs: scores.gain(both, &|s| s.ibs.map(|v| -v)),
            test: kind(data),
            chi_squared: tested.map(|t| t.chi_squared),
            df: 1.0,
            p: tested.map(|t| t.p),
            hazard_ratio_per_sd: tested.map(|t| t.hazard_ratio_per_sd),
            note,
        });
    }
    out
}

/// Photos of one patient are not independent, and then a likelihood has no chi-square distribution.
fn kind(data: &StudyData) -> IncrementTest {
    if data.one_row_each() {
        IncrementTest::LikelihoodRatio
    } else {
        IncrementTest::RobustWald
    }
}

#[derive(Debug, Clone, Copy)]
struct Tested {
    chi_squared: f64,
    p: f64,
    hazard_ratio_per_sd: f64,
}

/// The face's out-of-fold log risk beside the covariates of a base model.
fn test(data: &StudyData, design: &Design, face: &Predictions) -> Result<Tested> {
    let surv = &data.surv;
    let mut risk = face.mean_risk();
    let n = risk.len() as f64;
    let mean = risk.iter().sum::<f64>() / n;
    let sd = (risk.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n).sqrt();
    if sd.is_nan() || sd <= 0.0 {
        return Ok(Tested {
            chi_squared: 0.0,
            p: 1.0,
            hazard_ratio_per_sd: 1.0,
        });
    }
    for r in &mut risk {
        *r = (*r - mean) / sd;
    }
    let columns = design.names().iter().enumerate();
    let mut columns: Vec<(String, Vec<f64>)> = columns
        .map(|(j, name)| (name.clone(), design.column(j).to_vec()))
        .collect();
    columns.push(("face (out of fold)".to_owned(), risk));
    let larger = Design::new(surv.n(), columns)?;
    let cox = CoxPh::new().concordance(false);
    let (chi_squared, coef) = match kind(data) {
        IncrementTest::LikelihoodRatio => {
            let base = cox.fit(surv, &design.covariates()?)?;
            let more = cox.fit(surv, &larger.covariates()?)?;
            let test = anova(&[&base, &more])?;
            (test.chisq.first().copied(), more.coef().last().copied())
        }
        IncrementTest::RobustWald => {
            let more = cox.fit_clustered(surv, &larger.covariates()?, &data.patient)?;
            // The errors that a robust fit prints are the robust ones.
            (more.z().last().map(|z| z * z), more.coef().last().copied())
        }
    };
    let sound = chi_squared
        .zip(coef)
        .map(|(chi, coef)| (chi.max(0.0), coef.exp()))
        .filter(|(chi, ratio)| chi.is_finite() && ratio.is_finite());
    let (chi_squared, hazard_ratio_per_sd) = sound.ok_or(cox_survival::Error::Undefined {
        what: "the test of what the face adds",
        reason: "the Cox model of the covariates and the face's log risk has no finite fit",
    })?;
    // Chi-square on one degree of freedom is a squared standard normal.
    let z = (chi_squared / (1.0 + face.noise)).sqrt();
    Ok(Tested {
        chi_squared,
        p: 2.0 * Normal::standard().sf(z),
        hazard_ratio_per_sd,
    })
}

#[cfg(test)]
mod tests {
    use super::super::noise::uniform;
    use super::*;
    use cox_survival::Surv;

    /// 150 patients, each with so many photos that all say the same.
    fn cohort(photos: usize) -> (StudyData, Predictions) {
        let n = 150 * photos;
        let of = |stream: u64| (0..n).map(move |i| uniform(stream, i / photos));
        let risk: Vec<f64> = of(1).map(|u| 2.0 * u).collect();
        let hazard = risk.iter().map(|r| (0.6 * r).exp());
        let time: Vec<f64> = of(2).zip(hazard).map(|(u, h)| -u.ln() / h).collect();
        let event: Vec<bool> = of(3).map(|u| u > 0.3).collect();
        let age = Design::new(n, vec![("age".into(), of(4).collect())]);
        let data = StudyData {
            surv: Surv::new(&time, &event).unwrap(),
            patient: (0..n).map(|i| (i / photos) as u32).collect(),
            w: None,
            w_plus: None,
            clinical: Some(age.unwrap()),
            age_sex: None,
            condition: None,
            subgroups: vec![],
            diagnosis: None,
        };
        let face = Predictions {
            model: ModelKind::FaceW,
            failed: None,
            risk: vec![risk],
            log_hazard: vec![],
            percentile: vec![],
            chosen: vec![],
            noise: 0.0,
            coef: vec![],
        };
        (data, face)
    }

    #[test]
    fn more_photos_of_the_same_patients_are_no_more_evidence() {
        let found = |photos| {
            let (data, face) = cohort(photos);
            let design = data.clinical.clone().unwrap();
            (
                kind(&data),
                test(&data, &design, &face).unwrap().chi_squared,
            )
        };
        let (one, three) = (found(1), found(3));
        assert_eq!(one.0, IncrementTest::LikelihoodRatio);
        assert_eq!(three.0, IncrementTest::RobustWald);
        assert!(one.1 > 3.0, "{one:?}");
        assert!((three.1 / one.1 - 1.0).abs() < 0.35, "{one:?} {three:?}");
    }
}
