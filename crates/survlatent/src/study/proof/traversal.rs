//! Pictures of the direction: strips, triptych, film, and how stable they are.

use latent_attribute::{HealthDirection, bootstrap_directions};

use super::super::data::StudyData;
use super::super::directed::Directed;
use super::super::fold::Training;
use super::super::interval::Interval;
use super::super::{ModelKind, ProofSettings, Step, Study};
use super::stages::Drawn;
use super::{PictureFigures, Shown};
use crate::error::{Error, Result};
use crate::latents::Latents;
use crate::proof::{
    DEFAULT_RATIOS, Portraits, film, stability_at, strip, strip_with_survival, triptych,
};

/// The ratio of triptych and stability.
const RATIO: f64 = 4.0;

/// Strips, triptych, film and stability at the mean latent of the cohort.
pub(super) fn pictures(
    study: &Study,
    settings: &ProofSettings,
    data: &StudyData,
    net: &dyn Portraits,
    (directed, unit): (&Directed, &str),
    step: &Step<'_>,
) -> Result<Drawn<Option<PictureFigures>>> {
    let latents = data.w.as_ref().ok_or_else(absent)?;
    let mean = mean(latents);
    let Directed {
        direction,
        conditional,
        model,
        ..
    } = directed;
    let horizon = model.median_horizon();
    let strip = |direction: &HealthDirection, latent: &[f64]| match horizon {
        None => strip(net, direction, latent, &DEFAULT_RATIOS),
        Some(time) => {
            let own = model.survival(latent, time)?;
            strip_with_survival(net, direction, latent, &DEFAULT_RATIOS, own)
        }
    };
    let told = horizon.map_or_else(String::new, |time| {
        format!(
            ", S is the probability of survival to {time} {unit} by the face model fitted to everybody"
        )
    });
    let doses = format!("Hazard ratios are relative to the face in the middle{told}.");
    let alt = "Five generated faces from a quarter of the hazard on the left to four times the hazard \
               on the right, each labelled synthetic.";
    let mut shown = vec![Shown::png(
        "strip.png",
        &strip(direction, &mean)?,
        alt,
        &format!("The cohort's mean face along the direction. {doses} All faces are synthetic."),
    )?];
    if let Some(conditional) = conditional {
        shown.push(Shown::png(
            "strip_conditional.png",
            &strip(conditional, &mean)?,
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
        &strip(direction, &somebody)?,
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
    let scale = (RATIO, study.validation.level);
    let maps = stability_at(net, direction, &replicates, &mean, scale)?;
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

/// The mean latent.
pub(super) fn mean(latents: &Latents) -> Vec<f64> {
    let n = latents.n() as f64;
    (0..latents.p())
        .map(|j| (0..latents.n()).map(|i| latents.get(i, j)).sum::<f64>() / n)
        .collect()
}

/// A study without latents got here.
pub(super) fn absent() -> Error {
    Error::Study {
        reason: "pictures need latents".into(),
    }
}
