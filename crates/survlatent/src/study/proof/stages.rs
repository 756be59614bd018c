//! The stages, for studies that start from photos.

use latent_attribute::HealthDirection;
use latent_inversion::{Photo, PhotoLimits};
use serde::{Deserialize, Serialize};

use super::super::account::ReportPart;
use super::super::data::StudyData;
use super::super::directed::Directed;
use super::super::photos::{self, Inverted};
use super::super::results::Input;
use super::super::stages::{Run, key};
use super::super::{ModelKind, OutOfFoldPredictions, ProofSettings, Step, Study, StudyFile};
use super::masks::Looked;
use super::traversal::{absent, mean, pictures};
use super::{Evidence, Generator, Given, Shown, occlusion};
use crate::error::{Error, Result};
use crate::latents::Latents;
use crate::proof::{
    Outcome, Picture, PictureLawSettings, Portraits, RegionMap, RegionModels, Saliency,
    SaliencyFigures, ShortcutFigures, ShortcutTest, Thumbnails,
};

/// Side of the thumbnails on which shortcuts are looked for.
const SIDE: usize = 16;

/// All that pictures tell, and what was read for it beside the data; the statistics do not depend on it.
pub(in super::super) fn gather(
    run: &Run<'_>,
    file: &StudyFile,
    study: &Study,
    data: &StudyData,
    predictions: &OutOfFoldPredictions,
    given: &Given<'_>,
) -> Result<(Evidence, Vec<Input>)> {
    let mut inputs = Vec::new();
    if let (Ok(generator), None) = (given.generator, given.inverted) {
        inputs.push(generator.input.clone());
    }
    let masks = file.proof.masks.as_deref();
    inputs.extend(masks.map(photos::folder_input).transpose()?);
    let unit = &file.report.time_unit;
    let run = run.with_key(key(&(run.key(), &file.proof, &inputs, unit))?);
    let mut found = evidence(&run, file, study, data, predictions, given)?;
    if given.directed.is_none() {
        found.lacks(ReportPart::Direction, given.no_direction);
    }
    Ok((found, inputs))
}

/// All stages. What cannot be there says why.
fn evidence(
    run: &Run<'_>,
    file: &StudyFile,
    study: &Study,
    data: &StudyData,
    predictions: &OutOfFoldPredictions,
    given: &Given<'_>,
) -> Result<Evidence> {
    let generator = match given.generator {
        Ok(generator) => generator,
        Err(reason) => return Ok(Evidence::none(reason)),
    };
    let mut found = Evidence::default();
    let settings = &file.proof;
    if let Some(directed) = given.directed {
        let both = (generator, directed);
        of_direction(run, file, study, data, given, both, &mut found)?;
    } else {
        found.lacks(ReportPart::Pictures, given.no_direction);
        found.lacks(ReportPart::Saliency, given.no_direction);
    }
    let not_inverted =
        "the latents were given: it needs photos that this run has cut out and inverted";
    match given.inverted {
        None => found.lacks(ReportPart::Shortcut, not_inverted),
        Some(_) if settings.draws == 0 => found.lacks(ReportPart::Shortcut, "proof.draws is 0"),
        Some(inverted) => {
            let risk = predictions.of(ModelKind::FaceW).map(|p| {
                let n = p.risk.len() as f64;
                let of = |i: usize| p.risk.iter().map(|r| r[i]).sum::<f64>() / n;
                (0..data.n()).map(of).collect::<Vec<f64>>()
            });
            let v = &study.validation;
            // Three models, each on all folds and bootstrap replicates.
            let total = 3 * (v.repeats * v.outer_folds + v.bootstraps);
            let drawn = run.stage("7-shortcut", total, |step| {
                let photos = thumbnails(data, inverted, SIDE)?;
                let net = &generator.net;
                shortcut(study, settings, data, net, &photos, risk.as_deref(), step)
            })?;
            if let Some(reason) = drawn.figures.why_no_test {
                found.lacks(ReportPart::Shortcut, reason);
            }
            found.shortcut = drawn.figures.test;
            found.region_models = Some(drawn.figures.models);
            found.shortcuts = drawn.shown;
        }
    }
    match given.inverted {
        None => found.lacks(ReportPart::Occlusion, not_inverted),
        Some(_) if settings.occlusion == 0 => {
            found.lacks(ReportPart::Occlusion, "proof.occlusion is 0");
        }
        Some(inverted) => {
            let count = settings.occlusion;
            found.occlusion = occlusion::stage(run, study, count, data, predictions, inverted)?;
            if found.occlusion.is_empty() {
                let reason = match predictions.of(ModelKind::FaceW) {
                    None => "there is no face model (face_w) whose risk could change",
                    Some(_) => {
                        "the face model of the first repeat gives everybody the same risk, or no photo \
                         could be inverted again"
                    }
                };
                found.lacks(ReportPart::Occlusion, reason);
            }
        }
    }
    Ok(found)
}

/// Pictures of the direction, and where it looks.
fn of_direction(
    run: &Run<'_>,
    file: &StudyFile,
    study: &Study,
    data: &StudyData,
    given: &Given<'_>,
    (generator, directed): (&Generator, &Directed),
    found: &mut Evidence,
) -> Result<()> {
    let (settings, net) = (&file.proof, &generator.net);
    let unit = &file.report.time_unit;
    let drawn = run.stage("5-pictures", settings.replicates.max(1), |step| {
        pictures(study, settings, data, net, (directed, unit), step)
    })?;
    found.pictures = drawn.figures;
    found.direction = drawn.shown;
    let landmarks = given.inverted.map(|i| &i.landmarks);
    let looked = Looked::at(data, settings.masks.as_deref(), landmarks, net.side())?;
    let own = run.with_key(key(&(run.key(), looked.labels()))?);
    let drawn = own.stage("6-saliency", 1, |step| {
        let drawn = saliency(study, data, net, &directed.direction, &looked)?;
        step()?;
        Ok(drawn)
    })?;
    found.saliency = Some(drawn.figures);
    found.where_it_looks = drawn.shown;
    Ok(())
}

/// The faces of the study's rows.
pub(in super::super) fn thumbnails(
    data: &StudyData,
    inverted: &Inverted,
    side: usize,
) -> Result<Thumbnails> {
    let mut out = Thumbnails::new(side);
    let ids = data.w.as_ref().and_then(Latents::ids).unwrap_or_default();
    for id in ids {
        let path = inverted.files.get(id).ok_or_else(|| Error::Study {
            reason: format!("there is no face of `{id}`"),
        })?;
        let photo = Photo::open(path, &PhotoLimits::default())?;
        out.push(photo.rgb(), photo.width(), photo.height())?;
    }
    Ok(out)
}

/// What the stages about pictures leave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Drawn<T> {
    pub(super) figures: T,
    pub(super) shown: Vec<Shown>,
}

impl Shown {
    pub(super) fn png(file: &str, picture: &Picture, alt: &str, caption: &str) -> Result<Self> {
        Ok(Self {
            file: file.to_owned(),
            alt: alt.to_owned(),
            caption: caption.to_owned(),
            bytes: picture.png()?,
        })
    }
}

/// The derivative along the direction at the cohort's latents, by region.
pub(super) fn saliency(
    study: &Study,
    data: &StudyData,
    net: &dyn Portraits,
    direction: &HealthDirection,
    looked: &Looked,
) -> Result<Drawn<SaliencyFigures>> {
    let latents = data.w.as_ref().ok_or_else(absent)?;
    let Looked { rows, regions, .. } = looked;
    let p = latents.p();
    let w: Vec<f32> = rows
        .iter()
        .flat_map(|&i| (0..p).map(move |j| latents.get(i, j) as f32))
        .collect();
    let settings = Saliency {
        bootstraps: study.validation.bootstraps.max(1),
        level: study.validation.level,
        seed: study.seed,
    };
    let mut figures = settings.fit(net, direction, &w, rows.len(), regions)?;
    figures.masks = looked.masks;
    figures.landmarks = looked.landmarks;
    let mean: Vec<f32> = mean(latents).iter().map(|v| *v as f32).collect();
    let face = Picture::of(net, &mean)?;
    let shown = Shown::png(
        "saliency.png",
        &figures.picture(&face, &RegionMap::canonical(net.side()))?,
        "The cohort's mean face, labelled synthetic, and a map in gray of how much each pixel changes \
         along the direction.",
        if looked.masks || looked.landmarks {
            "How much each pixel changes along the direction, mean over patients; white is most. The \
             thin line is the oval of aligned portraits in general; what was counted as face is each \
             photo's own."
        } else {
            "How much each pixel changes along the direction, mean over patients; white is most. The \
             thin line is the oval that was counted as face."
        },
    )?;
    // The picture has it, and the figures stay readable.
    figures.map.clear();
    Ok(Drawn {
        figures,
        shown: vec![shown],
    })
}

/// What the test for shortcuts and the models of face and background found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shortcuts {
    pub(super) test: Option<ShortcutFigures>,
    /// Why there is no test, where there is none.
    #[serde(default)]
    pub(super) why_no_test: Option<String>,
    pub(super) models: RegionModels,
}

/// The outcome and the pixels of the photos, one per row.
pub(super) fn shortcut(
    study: &Study,
    settings: &ProofSettings,
    data: &StudyData,
    net: &dyn Portraits,
    photos: &Thumbnails,
    face_risk: Option<&[f64]>,
    step: &Step<'_>,
) -> Result<Drawn<Shortcuts>> {
    let law = PictureLawSettings {
        side: photos.side(),
        draws: settings.draws,
        seed: study.seed,
        ..PictureLawSettings::default()
    }
    .fit(net)?;
    let test = ShortcutTest {
        seed: study.seed,
        ..ShortcutTest::default()
    };
    let outcome = Outcome {
        surv: &data.surv,
        patient: &data.patient,
        covariates: data.clinical.as_ref().or(data.age_sex.as_ref()),
        face_risk,
    };
    // Covariates that its Cox model refuses leave the rest of the report as it is.
    let (mut found, why_no_test) = match test.fit(&law, photos, &outcome) {
        Ok(found) => (Some(found), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let mut shown = Vec::new();
    if let Some(found) = found.as_ref().filter(|found| found.p.is_some()) {
        let about = "Map of differences over the photos of all patients; shows nobody";
        shown.push(Shown {
            file: "shortcut.png".into(),
            alt: "A map in gray of how much each pixel goes with the outcome's part that no generated \
                  portrait shows."
                .into(),
            caption: "Where the photos differ with what is new in them and goes best with the outcome, \
                      over all patients; white is most."
                .into(),
            bytes: found.picture().png_about(about)?,
        });
    }
    if let Some(found) = &mut found {
        found.map.clear();
    }
    let models = RegionModels::fit(study, data, photos, step)?;
    Ok(Drawn {
        figures: Shortcuts {
            test: found,
            why_no_test,
            models,
        },
        shown,
    })
}

/// The first row of every patient.
pub(super) fn one_each(patient: &[u32]) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    (0..patient.len())
        .filter(|&i| seen.insert(patient[i]))
        .collect()
}
