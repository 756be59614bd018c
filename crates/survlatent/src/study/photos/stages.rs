//! The stages in order: a cohort if one is simulated, faces, an encoder if one is trained, latents.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use latent_inversion::cohort::{Entry, Manifest};
use rayon::prelude::*;

use super::super::file::StudyFile;
use super::super::results::Input;
use super::super::stages::{Run, StageObserver, key};
use super::super::{direction, read};
use super::align::{self, Face};
use super::network::{self, EncoderFile, Network};
use super::{Inverted, PhotoSettings, Reinversion, invert};
use crate::error::{Error, Result};
use crate::simulate::{PortraitSurv, Portraits, Truth};

/// Turns the photos of a study, or a simulation, into latents, and points the study's `data` at
/// them. Nothing where it starts from latents.
pub(in super::super) fn latents(
    file: &mut StudyFile,
    folder: &Path,
    observer: &StageObserver<'_>,
) -> Result<Option<Inverted>> {
    if !file.inverts() {
        return Ok(None);
    }
    let run = Run::new(folder, observer, String::new());
    let mut settings = file.photos.clone();
    settings.network = settings.network.filter(|path| !super::is_shipped(path));
    let network = Network::open(settings.network.as_deref())?;
    whole_side(file, network.side)?;
    let simulated = match file.simulate.take() {
        Some(cohort) => Some(simulate(&run, file, &network, &cohort)?),
        None => None,
    };
    let source = file.data.photos.clone().unwrap_or_default();
    let photos = of_rows(file, &source)?;
    let mut inputs = vec![digest(&source, &photos)?, network.input()];

    let faces = if settings.align && simulated.is_none() {
        let how = align::settings(network.side, settings.largest);
        let run = run.with_key(key(&(&inputs[0], &how))?);
        let cut = run.own_folder("faces")?;
        let mut faces = align::faces(&run, &photos, how, &cut)?;
        for face in &mut faces {
            face.file = face.file.take().map(|f| cut.join(f));
        }
        faces
    } else {
        let whole = |(id, path): &(String, PathBuf)| Face {
            id: id.clone(),
            file: Some(path.clone()),
            reason: None,
            landmarks: None,
        };
        photos.iter().map(whole).collect()
    };
    let manifest = manifest(&faces)?;

    let seed = file.seed;
    let encoder = match &settings.encoder {
        Some(path) => Some(EncoderFile::open(path)?),
        None if settings.train_encoder > 0.0 => {
            Some(network::train(&run, &settings, &network, seed)?)
        }
        None if settings.network.is_none() => Some(EncoderFile::shipped()),
        None => None,
    };
    inputs.extend(encoder.as_ref().map(|e| e.input.clone()));
    let inverter = invert::inverter(&settings, encoder.is_some(), seed)?;
    let [z_dim, w_dim] = network.widths;
    let inverter = inverter.suited_to(z_dim, w_dim);
    let inverted = key(&(&inputs, settings.align, settings.largest, &inverter))?;
    inputs.push(Input {
        role: "latents (by what they depend on)".into(),
        name: "inverted in this run".into(),
        sha256: inverted.clone(),
    });
    let run = run.with_key(inverted);
    let store = run.own_folder("latents")?;
    let path = store.join("latents.safetensors");
    if !path.is_file() {
        run.forget("0-latents");
    }
    let how = Reinversion {
        inverter,
        batch: settings.batch,
        network,
        encoder,
    };
    let found = invert::invert(&run, &how, &manifest, &store)?;

    let drop_untrusted = settings.drop_untrusted;
    let mut figures = invert::figures(&found, &inverter, &how.network, drop_untrusted);
    if let Some(known) = simulated {
        figures.correlation_with_truth = correlation(file, &known, &path)?;
    }
    let mut notes = Vec::new();
    if !found.fits {
        notes.push("the encoder was trained for another state of the generator".to_owned());
    }
    file.data.latents = Some(path);
    let landmarks = faces
        .iter()
        .filter_map(|face| Some((face.id.clone(), face.landmarks?)))
        .collect();
    let files = faces
        .iter()
        .filter_map(|face| Some((face.id.clone(), face.file.clone()?)))
        .collect();
    Ok(Some(Inverted {
        files,
        landmarks,
        side: how.network.side,
        how,
        set_aside: set_aside(&faces, &found, &settings),
        inputs,
        figures,
        notes,
    }))
}

/// Refuses networks of photos larger than the faces are.
fn whole_side(file: &StudyFile, faces: usize) -> Result<()> {
    match file.models.training.side {
        Some(side) if side > faces && !file.models.wanted_networks().is_empty() => {
            let reason = format!("models.training.side is {side}; the faces have {faces} pixels");
            Err(Error::Study { reason })
        }
        _ => Ok(()),
    }
}

/// The faces there are.
fn manifest(faces: &[Face]) -> Result<Manifest> {
    let entry = |face: &Face| {
        let path = face.file.clone()?;
        let id = face.id.clone();
        let patient = None;
        Some(Entry { id, path, patient })
    };
    let manifest = Manifest::new(faces.iter().filter_map(entry).collect())?;
    if manifest.entries().is_empty() {
        let reasons: HashSet<&str> = faces.iter().filter_map(|f| f.reason.as_deref()).collect();
        let mut reasons: Vec<&str> = reasons.into_iter().collect();
        reasons.sort_unstable();
        return Err(Error::Study {
            reason: format!("every photo was set aside: {}", reasons.join("; ")),
        });
    }
    Ok(manifest)
}

/// The photos whose ids are those of rows.
pub(super) fn of_rows(file: &StudyFile, source: &Path) -> Result<Vec<(String, PathBuf)>> {
    let ids = read::table_ids(file)?;
    let mut photos: Vec<(String, PathBuf)> = super::photos(source)?.into_iter().collect();
    photos.retain(|(id, _)| ids.contains(id));
    if photos.is_empty() {
        return Err(Error::Study {
            reason: format!(
                "{}: no photo has the id of a row in the table (column `{}`; a photo's id is its \
                 name without the ending)",
                source.display(),
                file.columns.id
            ),
        });
    }
    Ok(photos)
}

/// Simulates the cohort and draws its portraits; gives the file of the known latents.
fn simulate(
    run: &Run<'_>,
    file: &mut StudyFile,
    network: &Network,
    cohort: &PortraitSurv,
) -> Result<PathBuf> {
    const STAGE: &str = "0-cohort";
    let run = run.with_key(key(&(&network.sha256, cohort))?);
    let folder = run.own_folder("cohort")?;
    let photos = folder.join("photos");
    if !photos.is_dir() {
        run.forget(STAGE);
    }
    let total = cohort.n * cohort.photos;
    run.stage(STAGE, total, |step| {
        let decoder = network.decoder()?;
        let portraits = Portraits::new(&decoder, cohort.seed);
        let people = cohort.simulate_from(&portraits)?;
        std::fs::create_dir_all(&photos).map_err(|source| Error::Io {
            path: photos.clone(),
            source,
        })?;
        people.write(&folder)?;
        portraits.write(&people, &photos, step)
    })?;
    file.data.table = folder.join("table.csv");
    file.data.truth = Some(folder.join("truth.json"));
    file.data.photos = Some(photos);
    Ok(folder.join("latents.safetensors"))
}

/// The photos as one input: SHA-256 over their ids and the SHA-256 of each.
pub(super) fn digest(folder: &Path, photos: &[(String, PathBuf)]) -> Result<Input> {
    let each: Result<Vec<(&str, String)>> = photos
        .par_iter()
        .map(|(id, path)| Ok((id.as_str(), read::sha256(&read::bytes(path)?))))
        .collect();
    let name = folder.file_name().map(|n| n.to_string_lossy().into_owned());
    Ok(Input {
        role: "photos".into(),
        name: format!("{} ({} files)", name.unwrap_or_default(), photos.len()),
        sha256: key(&each?)?,
    })
}

/// Correlation of the planted score of found and known latents.
fn correlation(file: &StudyFile, known: &Path, found: &Path) -> Result<Option<f64>> {
    let Some(truth) = &file.data.truth else {
        return Ok(None);
    };
    let truth: Truth =
        serde_json::from_slice(&read::bytes(truth)?).map_err(|error| Error::Format {
            format: "truth.json",
            reason: error.to_string(),
        })?;
    let (known, found) = (read::latents(known)?.0, read::latents(found)?.0);
    let Some(ids) = found.ids() else {
        return Ok(None);
    };
    let known = known.align(ids)?;
    let a = known.covariates()?.times(&truth.direction)?;
    let b = found.covariates()?.times(&truth.direction)?;
    Ok(Some(direction::correlation(&a, &b)))
}

/// Why photos are not in the study, most frequent kinds of faults of faces first in order of name.
fn set_aside(
    faces: &[Face],
    found: &invert::Found,
    settings: &PhotoSettings,
) -> Vec<(String, HashSet<String>)> {
    let mut out: Vec<(String, HashSet<String>)> = Vec::new();
    let mut add = |reason: &str, id: &str| {
        let at = out.iter().position(|(r, _)| r == reason);
        let at = at.unwrap_or_else(|| {
            out.push((reason.to_owned(), HashSet::new()));
            out.len() - 1
        });
        out[at].1.insert(id.to_owned());
    };
    for face in faces {
        if let Some(reason) = &face.reason {
            add(reason, &face.id);
        }
    }
    for photo in &found.photos {
        match &photo.quality {
            None => add(
                "the photo could not be inverted (see latents.csv)",
                &photo.id,
            ),
            Some(q) if settings.drop_untrusted && !q.trusted => {
                add("the inversion is not to be trusted", &photo.id);
            }
            Some(_) => {}
        }
    }
    out
}
