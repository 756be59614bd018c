//! The stages, for studies that start from photos.

use latent_attribute::{HealthDirection, bootstrap_directions};
use latent_inversion::{Photo, PhotoLimits};
use serde::{Deserialize, Serialize};

use super::super::data::StudyData;
use super::super::fold::Training;
use super::super::interval::Interval;
use super::super::photos::Inverted;
use super::super::stages::{Run, key};
use super::super::{ModelKind, OutOfFoldPredictions, ProofSettings, Step, Study, StudyFile};
use super::masks::Looked;
use super::{Evidence, PictureFigures, Shown, occlusion};
use crate::error::{Error, Result};
use crate::latents::Latents;
use crate::proof::{
    DEFAULT_RATIOS, FaceNetwork, Outcome, Picture, PictureLawSettings, Portraits, RegionMap,
    RegionModels, Saliency, SaliencyFigures, ShortcutFigures, ShortcutTest, Thumbnails, film,
    stability, strip, triptych,
};

/// The ratio of triptych and stability.
const RATIO: f64 = 4.0;
/// Side of the thumbnails on which shortcuts are looked for.
const SIDE: usize = 16;

/// All three stages. What concerns the direction is left out where there is none.
pub(in super::super) fn evidence(
    run: &Run<'_>,
    file: &StudyFile,
    study: &Study,
    data: &StudyData,
    predictions: &OutOfFoldPredictions,
    inverted: &Inverted,
    has_direction: bool,
) -> Result<Evidence> {
    let net = match &file.photos.network {
        Some(path) => FaceNetwork::open(path)?,
        None => FaceNetwork::shipped()?,
    };
    let mut found = Evidence::default();
    let load = |name: &str| HealthDirection::load(run.path(name)).ok();
    let settings = &file.proof;
    if has_direction && let Some(direction) = load("health_direction.safetensors") {
        let conditional = load("health_direction_conditional.safetensors");
        let drawn = run.stage("5-pictures", settings.replicates.max(1), |step| {
            let both = (&direction, conditional.as_ref());
            pictures(study, settings, data, &net, both, step)
        })?;
        found.pictures = drawn.figures;
        found.direction = drawn.shown;
        let looked = Looked::at(data, settings.masks.as_deref(), net.side())?;
        let own = run.with_key(key(&(run.key(), looked.labels()))?);
        let drawn = own.stage("6-saliency", 1, |step| {
            let drawn = saliency(study, data, &net, &direction, &looked)?;
            step()?;
            Ok(drawn)
        })?;
        found.saliency = Some(drawn.figures);
        found.where_it_looks = drawn.shown;
    }
    let risk = predictions.of(ModelKind::FaceW).map(|p| {
        let n = p.risk.len() as f64;
        let of = |i: usize| p.risk.iter().map(|r| r[i]).sum::<f64>() / n;
        (0..data.n()).map(of).collect::<Vec<f64>>()
    });
    let v = &study.validation;
    // Three models, each on all folds and bootstrap replicates.
    let total = 3 * (v.repeats * v.outer_folds + v.bootstraps);
    if settings.draws > 0 {
        let drawn = run.stage("7-shortcut", total, |step| {
            let photos = thumbnails(data, inverted, SIDE)?;
            shortcut(study, settings, data, &net, &photos, risk.as_deref(), step)
        })?;
        found.shortcut = Some(drawn.figures.test);
        found.region_models = Some(drawn.figures.models);
        found.shortcuts = drawn.shown;
    }
    if settings.occlusion > 0 {
        found.occlusion =
            occlusion::stage(run, study, settings.occlusion, data, predictions, inverted)?;
    }
    for shown in found
        .direction
        .iter()
        .chain(&found.where_it_looks)
        .chain(&found.shortcuts)
    {
        run.write(&shown.file, &shown.bytes)?;
    }
    Ok(found)
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
    fn png(file: &str, picture: &Picture, alt: &str, caption: &str) -> Result<Self> {
        Ok(Self {
            file: file.to_owned(),
            alt: alt.to_owned(),
            caption: caption.to_owned(),
            bytes: picture.png()?,
        })
    }
}

/// Strips, triptych, film and stability at the mean latent of the cohort.
pub(super) fn pictures(
    study: &Study,
    settings: &ProofSettings,
    data: &StudyData,
    net: &dyn Portraits,
    (direction, conditional): (&HealthDirection, Option<&HealthDirection>),
    step: &Step<'_>,
) -> Result<Drawn<Option<PictureFigures>>> {
    let latents = data.w.as_ref().ok_or_else(absent)?;
    let mean = mean(latents);
    let doses = "Hazard ratios are relative to the face in the middle.";
    let alt = "Five generated faces from a quarter of the hazard on the left to four times the hazard \
               on the right, each labelled synthetic.";
    let mut shown = vec![Shown::png(
        "strip.png",
        &strip(net, direction, &mean, &DEFAULT_RATIOS)?,
        alt,
        &format!("The cohort's mean face along the direction. {doses} All faces are synthetic."),
    )?];
    if let Some(conditional) = conditional {
        shown.push(Shown::png(
            "strip_conditional.png",
            &strip(net, conditional, &mean, &DEFAULT_RATIOS)?,
            alt,
            &format!(
                "The same along the conditional direction, which leaves the covariates' predictions as \
                 they are. {doses}"
            ),
        )?);
    }
    let somebody: Vec<f64> = net
        .draws(study.seed, 0, 1)?
        .iter()
        .map(|v| f64::from(*v))
        .collect();
    shown.push(Shown::png(
        "strip_generated.png",
        &strip(net, direction, &somebody, &DEFAULT_RATIOS)?,
        alt,
        &format!("A face that the generator drew, nobody's portrait, along the direction. {doses}"),
    )?);
    shown.push(Shown::png(
        "triptych.png",
        &triptych(net, direction, &mean, RATIO)?,
        "Three generated faces, of low, mean and high hazard, and a map of where the first and the \
         last differ.",
        "The mean face at low and at high hazard, and where the two differ: white is the largest \
         difference, black none.",
    )?);
    shown.push(Shown {
        file: "traversal.gif".into(),
        alt: "A generated face that moves from low to high hazard and back.".into(),
        caption: "The mean face from a quarter to four times the hazard and back.".into(),
        bytes: film(net, direction, &mean, (1.0 / RATIO, RATIO), 13)?,
    });
    let replicates = replicates(study, settings.replicates, data, direction, step)?;
    if replicates.is_empty() {
        let figures = None;
        return Ok(Drawn { figures, shown });
    }
    let maps = stability(net, direction, &replicates, &mean, RATIO)?;
    shown.push(Shown::png(
        "stability.png",
        &maps.maps,
        "Two maps in gray: the mean change of each pixel over bootstrap directions, and its standard \
         deviation.",
        "Change of each pixel from low to high hazard over directions refitted to bootstrap samples of \
         patients: its mean and its standard deviation on one scale. Where the second is as bright as \
         the first, the picture is not to be read.",
    )?);
    let (lower, upper) = maps.cosines.interval();
    Ok(Drawn {
        figures: Some(PictureFigures {
            replicates: replicates.len(),
            cosine: Interval {
                estimate: maps.cosines.mean(),
                lower: Some(lower),
                upper: Some(upper),
            },
            picture: maps.picture.iter().sum::<f64>() / maps.picture.len() as f64,
        }),
        shown,
    })
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
    let mean: Vec<f32> = mean(latents).iter().map(|v| *v as f32).collect();
    let face = Picture::of(net, &mean)?;
    let shown = Shown::png(
        "saliency.png",
        &figures.picture(&face, &RegionMap::canonical(net.side()))?,
        "The cohort's mean face, labelled synthetic, and a map in gray of how much each pixel changes \
         along the direction.",
        "How much each pixel changes along the direction, mean over patients; white is most. The thin \
         line is the oval that counts as face where photos have no masks.",
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
    pub(super) test: ShortcutFigures,
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
    let mut found = test.fit(&law, photos, &outcome)?;
    let mut shown = Vec::new();
    if found.p.is_some() {
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
    found.map.clear();
    let models = RegionModels::fit(study, data, photos, step)?;
    Ok(Drawn {
        figures: Shortcuts {
            test: found,
            models,
        },
        shown,
    })
}

/// Directions refitted to bootstrap samples of patients; those without any direction are left out.
fn replicates(
    study: &Study,
    count: usize,
    data: &StudyData,
    direction: &HealthDirection,
    step: &Step<'_>,
) -> Result<Vec<HealthDirection>> {
    let dim = direction.dim();
    let mut rows_of = vec![Vec::new(); data.patients()];
    for (row, patient) in data.patient.iter().enumerate() {
        rows_of[*patient as usize].push(row);
    }
    let fit = |patients: &[usize]| -> Result<Vec<f64>> {
        let rows: Vec<usize> = patients
            .iter()
            .flat_map(|&p| rows_of[p].iter().copied())
            .collect();
        let inner = study.validation.inner_folds;
        let training = Training::new(data, &study.models, &data.surv, rows, inner, study.seed)?;
        let (_, fitted) = training.fit(&[ModelKind::FaceW]).swap_remove(0);
        step()?;
        // A sample that no model can be fitted to has no direction.
        let coef = fitted.ok().and_then(|f| f.coef);
        Ok(coef.unwrap_or_else(|| vec![0.0; dim]))
    };
    let coefs = bootstrap_directions(rows_of.len(), count, study.seed, fit)?;
    coefs
        .iter()
        .filter(|coef| coef.iter().any(|b| b.abs() > 0.0))
        .map(|coef| {
            let space = latent_attribute::LatentSpace::W { dim };
            let map = latent_attribute::FeatureMap::identity(dim);
            Ok(latent_attribute::LatentRisk::from_cox(space, coef, map)?.weights()?)
        })
        .collect()
}

/// The first row of every patient.
pub(super) fn one_each(patient: &[u32]) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    (0..patient.len())
        .filter(|&i| seen.insert(patient[i]))
        .collect()
}

fn mean(latents: &Latents) -> Vec<f64> {
    let n = latents.n() as f64;
    (0..latents.p())
        .map(|j| (0..latents.n()).map(|i| latents.get(i, j)).sum::<f64>() / n)
        .collect()
}

fn absent() -> Error {
    Error::Study {
        reason: "pictures need latents".into(),
    }
}
