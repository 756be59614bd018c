//! Faces cut out of the photos of a study.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use latent_inversion::align::{AlignSettings, Aligner, Choice, Reason};
use latent_inversion::{Error as InversionError, Photo, PhotoLimits};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::stages::Run;
use crate::error::{Error, Result};

/// How often what is done is written down.
const SAVE: Duration = Duration::from_secs(10);

/// What became of a photo.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Face {
    pub(super) id: String,
    /// Below the stage's folder; none if it was set aside.
    pub(super) file: Option<PathBuf>,
    /// Why it was set aside, in words without numbers.
    pub(super) reason: Option<String>,
    /// Eyes, nose and corners of the mouth in pixels of the picture.
    pub(super) landmarks: Option<[[f64; 2]; 5]>,
}

/// Settings of a study's alignment.
pub(super) fn settings(side: usize, largest: bool) -> AlignSettings {
    let choice = if largest {
        Choice::Largest
    } else {
        Choice::Only
    };
    AlignSettings::default().with_size(side).with_choice(choice)
}

/// Cuts out the face of every photo into `folder`, or finds what was done before.
pub(super) fn faces(
    run: &Run<'_>,
    photos: &[(String, PathBuf)],
    settings: AlignSettings,
    folder: &Path,
) -> Result<Vec<Face>> {
    const STAGE: &str = "0-faces";
    run.stage(STAGE, photos.len(), |_| {
        let aligner = Aligner::new(settings, &Device::default())?;
        let part = format!("{STAGE}-part");
        let earlier: Vec<Face> = run.load(&part).unwrap_or_default();
        let mut done: BTreeMap<String, Face> =
            earlier.into_iter().map(|f| (f.id.clone(), f)).collect();
        let todo: Vec<&(String, PathBuf)> = photos
            .iter()
            .filter(|(id, _)| !done.contains_key(id))
            .collect();
        let mut saved = Instant::now();
        for batch in todo.chunks(rayon::current_num_threads().max(1) * 4) {
            let some: Result<Vec<Face>> = batch
                .par_iter()
                .map(|(id, path)| face(&aligner, id, path, folder))
                .collect();
            done.extend(some?.into_iter().map(|f| (f.id.clone(), f)));
            if saved.elapsed() > SAVE {
                run.save(&part, &done.values().collect::<Vec<_>>())?;
                saved = Instant::now();
            }
            run.progress(STAGE, done.len(), photos.len())?;
        }
        run.forget(&part);
        Ok(done.into_values().collect())
    })
}

fn face(aligner: &Aligner, id: &str, path: &Path, folder: &Path) -> Result<Face> {
    let set_aside = |reason: &str| Face {
        id: id.to_owned(),
        file: None,
        reason: Some(reason.to_owned()),
        landmarks: None,
    };
    let photo = match Photo::open(path, &PhotoLimits::default()) {
        Ok(photo) => photo,
        Err(InversionError::Photo { .. } | InversionError::Io { .. }) => {
            return Ok(set_aside("the photo cannot be read"));
        }
        Err(error) => return Err(error.into()),
    };
    match aligner.align(&photo)? {
        Err(why) => Ok(set_aside(in_words(&why.reason))),
        Ok(alignment) => {
            let file = PathBuf::from(format!("{id}.png"));
            let path = folder.join(&file);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|source| Error::Io {
                    path: folder.to_owned(),
                    source,
                })?;
            }
            alignment.picture.save_png(&path)?;
            Ok(Face {
                id: id.to_owned(),
                file: Some(file),
                reason: None,
                landmarks: Some(
                    alignment
                        .landmarks
                        .points()
                        .map(|p| alignment.to_aligned(p)),
                ),
            })
        }
    }
}

/// A reason as the flow of rows counts them.
fn in_words(reason: &Reason) -> &'static str {
    match reason {
        Reason::NoFace => "no face was found",
        Reason::SeveralFaces { .. } => "several faces of similar size were found",
        Reason::TooSmall { .. } => "the face is too small",
        Reason::TooBlurred { .. } => "the face is too blurred",
        Reason::TurnedAway { .. } => "the face is turned away",
        Reason::BeyondPhoto { .. } => "the photo is cut too close to the face",
        _ => "the face could not be placed",
    }
}
