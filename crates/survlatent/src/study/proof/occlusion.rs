//! Photos of the study with a part covered or swapped, inverted again.

use std::path::{Path, PathBuf};

use cox_survival::{Harrell, Permutation, Resampling};
use latent_inversion::cohort::{Entry, Manifest};
use latent_inversion::{Photo, PhotoLimits};

use super::super::data::StudyData;
use super::super::fold::Training;
use super::super::interval::Interval;
use super::super::judge::unstratified;
use super::super::photos::Inverted;
use super::super::predict::repeat_seed;
use super::super::stages::Run;
use super::super::{ModelKind, OutOfFoldPredictions, Study, read};
use super::edits::{OcclusionFigures, PhotoEdit};
use super::stages::one_each;
use crate::error::{Error, Result};
use crate::latents::Latents;
use crate::proof::RegionMap;

const STAGE: &str = "8-occlusion";

/// Covers and swaps parts of `count` photos and tells what that does to their risk. Nothing where there
/// is no face model, or one that gives everybody the same risk.
pub(super) fn stage(
    run: &Run<'_>,
    study: &Study,
    count: usize,
    data: &StudyData,
    predictions: &OutOfFoldPredictions,
    inverted: &Inverted,
) -> Result<Vec<OcclusionFigures>> {
    let (Some(latents), Some(own)) = (&data.w, predictions.of(ModelKind::FaceW)) else {
        return Ok(Vec::new());
    };
    let sd = deviation(&own.risk[0]);
    let rows = sample(data, count, study.seed);
    if rows.len() < 2 || sd.is_nan() || sd <= 0.0 {
        return Ok(Vec::new());
    }
    let edits = PhotoEdit::ALL;
    run.stage(STAGE, edits.len() * rows.len(), |_| {
        let fold = &predictions.folds[0];
        let coefs = fold_models(study, data, fold)?;
        let ids = latents.ids().unwrap_or_default();
        let ids: Vec<&str> = rows.iter().map(|&i| ids[i].as_str()).collect();
        let photos: Vec<Photo> = ids
            .iter()
            .map(|id| {
                let path = inverted.files.get(*id).ok_or_else(|| Error::Study {
                    reason: format!("there is no face of `{id}`"),
                })?;
                Ok(Photo::open(path, &PhotoLimits::default())?)
            })
            .collect::<Result<_>>()?;
        let folder = run.own_folder("occlusion")?;
        let sets: Vec<(Manifest, PathBuf)> = edits
            .iter()
            .map(|&edit| {
                let folder = folder.join(edit.name());
                Ok((write(edit, &photos, &ids, &folder)?, folder))
            })
            .collect::<Result<_>>()?;
        let total = edits.len() * rows.len();
        let mut progress = |done| run.progress(STAGE, done, total);
        let files = inverted.how.again(&sets, &mut progress)?;
        let score = |i: usize, w: &Latents, row: usize| -> f64 {
            let coef = &coefs[fold[i] as usize];
            (0..w.p()).map(|j| coef[j] * w.get(row, j)).sum()
        };
        let mut out = Vec::new();
        for (&edit, file) in edits.iter().zip(&files) {
            let found = read::latents(file)?.0;
            let known = found.ids().unwrap_or_default();
            let pairs: Vec<Pair> = rows
                .iter()
                .zip(&ids)
                .zip(&own_risk(&own.risk[0], &rows))
                .filter_map(|((&i, id), &before)| {
                    // A photo that could not be inverted is not there.
                    let row = known.iter().position(|k| k == id)?;
                    let change = score(i, &found, row) - score(i, latents, i);
                    Some(Pair {
                        row: i,
                        before,
                        change,
                    })
                })
                .collect();
            let area = edit.area(&RegionMap::canonical(inverted.side));
            out.extend(figures(study, data, edit, area, &pairs, sd)?);
        }
        // They show patients, and whoever wants them again has the settings.
        for (_, folder) in &sets {
            let _ = std::fs::remove_dir_all(folder.join("photos"));
        }
        Ok(out)
    })
}

fn own_risk(risk: &[f64], rows: &[usize]) -> Vec<f64> {
    rows.iter().map(|&i| risk[i]).collect()
}

/// One photo's log risk by the model of its fold, and what the edit adds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) row: usize,
    pub(super) before: f64,
    pub(super) change: f64,
}

/// The figures of one edit; nothing where no photo could be inverted again.
pub(super) fn figures(
    study: &Study,
    data: &StudyData,
    edit: PhotoEdit,
    area: f64,
    pairs: &[Pair],
    sd: f64,
) -> Result<Option<OcclusionFigures>> {
    if pairs.is_empty() {
        return Ok(None);
    }
    let everybody: Vec<usize> = (0..pairs.len()).collect();
    let v = &study.validation;
    let resampling = Resampling::rows(pairs.len());
    let draws: Vec<Vec<usize>> = (0..v.bootstraps as u64)
        .map(|r| resampling.draw(study.seed, r))
        .collect();
    let surv = unstratified(&data.surv)?;
    let concordance = |some: &[usize], edited: bool| -> Option<f64> {
        let rows: Vec<usize> = some.iter().map(|&k| pairs[k].row).collect();
        let risk: Vec<f64> = some
            .iter()
            .map(|&k| pairs[k].before + if edited { pairs[k].change } else { 0.0 })
            .collect();
        let fit = Harrell::new().variance(false);
        let c = fit.fit(&surv.subset(&rows).ok()?, &risk).ok()?;
        Some(c.concordance()).filter(|c| c.is_finite())
    };
    let mean = |some: &[usize], of: &dyn Fn(f64) -> f64| -> Option<f64> {
        let sum: f64 = some.iter().map(|&k| of(pairs[k].change / sd)).sum();
        Some(sum / some.len() as f64)
    };
    let apart = |some: &[usize]| Some(concordance(some, true)? - concordance(some, false)?);
    let interval = |of: &dyn Fn(&[usize]) -> Option<f64>| -> Option<Interval> {
        let replicates: Vec<Option<f64>> = draws.iter().map(|d| of(d)).collect();
        Some(Interval::new(of(&everybody)?, &replicates, v.level, 1.0))
    };
    let (Some(change), Some(absolute)) = (
        interval(&|some| mean(some, &|c| c)),
        interval(&|some| mean(some, &f64::abs)),
    ) else {
        return Ok(None);
    };
    Ok(Some(OcclusionFigures {
        edit,
        area,
        photos: pairs.len(),
        change,
        absolute,
        harrell_before: concordance(&everybody, false),
        harrell: concordance(&everybody, true),
        harrell_change: interval(&apart),
    }))
}

/// One photo each of so many patients, drawn without looking at anything.
fn sample(data: &StudyData, count: usize, seed: u64) -> Vec<usize> {
    let first = one_each(&data.patient);
    let order = Permutation::new(1).seed(seed).draw(first.len(), 0);
    let mut rows: Vec<usize> = order.into_iter().take(count).map(|k| first[k]).collect();
    rows.sort_unstable();
    rows
}

/// Coefficients of the face model of each fold of the first repeat, as it was fitted for the predictions.
fn fold_models(study: &Study, data: &StudyData, fold: &[u32]) -> Result<Vec<Vec<f64>>> {
    let count = fold.iter().max().map_or(0, |&f| f as usize + 1);
    (0..count)
        .map(|k| {
            let rows = (0..fold.len()).filter(|&i| fold[i] as usize != k).collect();
            let seed = repeat_seed(study.seed, 0).wrapping_add(k as u64 + 1);
            let inner = study.validation.inner_folds;
            let training = Training::new(data, &study.models, &data.surv, rows, inner, seed)?;
            let (_, fitted) = training.fit(&[ModelKind::FaceW]).swap_remove(0);
            fitted?.coef.ok_or_else(|| Error::Study {
                reason: "the face model has no coefficients".into(),
            })
        })
        .collect()
}

fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// Writes the edited photos under the ids of the photos they come from.
fn write(edit: PhotoEdit, photos: &[Photo], ids: &[&str], folder: &Path) -> Result<Manifest> {
    let pictures = folder.join("photos");
    std::fs::create_dir_all(&pictures).map_err(|source| Error::Io {
        path: pictures.clone(),
        source,
    })?;
    let mut entries = Vec::new();
    for (k, (rgb, photo)) in edited(edit, photos).into_iter().zip(photos).enumerate() {
        let path = pictures.join(format!("{k}.png"));
        Photo::from_rgb(photo.width(), photo.height(), rgb)?.save_png(&path)?;
        entries.push(Entry {
            id: ids[k].to_owned(),
            path,
            patient: None,
        });
    }
    Ok(Manifest::new(entries)?)
}

/// The pixels after the edit. What comes from another photo comes from the next one, the last one's from
/// the first.
pub(super) fn edited(edit: PhotoEdit, photos: &[Photo]) -> Vec<Vec<u8>> {
    // A region's pixels by place in the picture: (pixel, number of it in the row).
    let touched: Vec<Vec<usize>> = photos
        .iter()
        .map(|p| {
            // Aligned photos are square.
            let regions = RegionMap::canonical(p.width());
            let label = |k: &usize| regions.labels().get(*k).is_some_and(|r| edit.changes(*r));
            (0..p.width() * p.height()).filter(label).collect()
        })
        .collect();
    let (mut sum, mut count) = ([0_u64; 3], 0);
    for (photo, touched) in photos.iter().zip(&touched) {
        for &k in touched {
            for (s, v) in sum.iter_mut().zip(&photo.rgb()[3 * k..]) {
                *s += u64::from(*v);
            }
        }
        count += touched.len() as u64;
    }
    let colour = sum.map(|s| (s / count.max(1)) as u8);
    let of = |(at, touched): (usize, &Vec<usize>)| {
        let photo = &photos[at];
        let other = &photos[(at + 1) % photos.len()];
        let mut rgb = photo.rgb().to_vec();
        for &k in touched {
            let pixel = if edit.swaps() {
                let x = k % photo.width() * other.width() / photo.width();
                let y = k / photo.width() * other.height() / photo.height();
                let from = 3 * (y * other.width() + x);
                [0, 1, 2].map(|c| other.rgb()[from + c])
            } else {
                colour
            };
            rgb[3 * k..3 * k + 3].copy_from_slice(&pixel);
        }
        rgb
    };
    touched.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::PortraitSurv;

    fn photo(value: u8) -> Photo {
        Photo::from_rgb(16, 16, vec![value; 16 * 16 * 3]).unwrap()
    }

    #[test]
    fn an_edit_changes_its_region_and_nothing_else() {
        let photos = [photo(10), photo(30), photo(80)];
        let regions = RegionMap::canonical(16);
        for edit in PhotoEdit::ALL {
            let found = edited(edit, &photos);
            for (at, rgb) in found.iter().enumerate() {
                for (k, region) in regions.labels().iter().enumerate() {
                    let want = match (edit.changes(*region), edit.swaps()) {
                        (false, _) => [10, 30, 80][at],
                        (true, true) => [30, 80, 10][at],
                        // The mean of all three.
                        (true, false) => 40,
                    };
                    assert_eq!(rgb[3 * k..3 * k + 3], [want; 3], "{edit:?} {at} {region:?}");
                }
            }
        }
        // Twice as large, the other's pixels are those of the same place.
        let mut halves = vec![0; 32 * 32 * 3];
        halves[16 * 32 * 3..].fill(200);
        let large = Photo::from_rgb(32, 32, halves).unwrap();
        let found = edited(PhotoEdit::SwapBackground, &[photo(10), large]);
        assert_eq!(regions.at(0, 6), crate::proof::Region::Background);
        assert_eq!(found[0][3 * (6 * 16)], 0);
        assert!(found[1].iter().all(|v| [0, 10, 200].contains(v)));
    }

    #[test]
    fn figures_are_those_of_the_pairs() {
        let settings = PortraitSurv {
            n: 60,
            dim: 2,
            true_c: 0.8,
            ..PortraitSurv::default()
        };
        let cohort = settings.simulate().unwrap();
        let data = StudyData {
            surv: cohort.surv().unwrap(),
            patient: (0..60).collect(),
            w: Some(cohort.latents.clone()),
            w_plus: None,
            clinical: None,
            age_sex: None,
            condition: None,
            subgroups: vec![],
            diagnosis: None,
        };
        let mut study = Study::default();
        study.validation.bootstraps = 60;
        let risk = &cohort.truth.face_log_risk;
        let pairs = |change: &dyn Fn(usize) -> f64| -> Vec<Pair> {
            let of = |row: usize| Pair {
                row,
                before: risk[row],
                change: change(row),
            };
            (0..60).map(of).collect()
        };
        let of = |change: &dyn Fn(usize) -> f64| {
            let pairs = pairs(change);
            let found = figures(&study, &data, PhotoEdit::CoverFace, 0.3, &pairs, 2.0);
            found.unwrap().unwrap()
        };
        // Everybody alike: the order stays.
        let shift = of(&|_| 3.0);
        assert!((shift.change.estimate - 1.5).abs() < 1e-12 && shift.change.contains(1.5));
        let apart = shift.harrell_change.unwrap();
        assert!(apart.estimate.abs() < 1e-12 && apart.contains(0.0));
        assert_eq!(shift.harrell, shift.harrell_before);
        // The risk is gone: C falls to chance, with certainty; signs cancel.
        let gone = of(&|row| -risk[row] + if row % 2 == 0 { 1e-9 } else { -1e-9 });
        assert!(gone.harrell_before.unwrap() > 0.7);
        assert!((gone.harrell.unwrap() - 0.5).abs() < 0.15);
        assert!(gone.harrell_change.unwrap().upper.unwrap() < 0.0);
        assert!(gone.change.estimate.abs() < gone.absolute.estimate);
        assert!(
            figures(&study, &data, PhotoEdit::CoverFace, 0.3, &[], 2.0)
                .unwrap()
                .is_none()
        );
    }
}
