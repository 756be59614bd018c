//! Age and sex estimated from the photos of a study whose table lacks them.

use std::collections::HashMap;

use super::super::file::StudyFile;
use super::super::results::{EstimatedColumn, Input};
use super::settings::PhotoEstimate;
use crate::error::{Error, Result};
use crate::table::Table;

/// What the stage leaves to the statistics.
pub(in super::super) struct Estimates {
    wanted: Vec<PhotoEstimate>,
    /// Years, and 1 for male, by the photo's id; photos without an estimate are absent.
    by_id: HashMap<String, [f64; 2]>,
    /// The photos, by what the estimates depend on.
    pub(in super::super) input: Input,
    source: &'static str,
}

impl Estimates {
    /// Whether there is an estimate of a photo.
    pub(in super::super) fn has(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// The table with a column for each estimate. Rows without one get 0: the reader must drop them.
    pub(in super::super) fn add_to(&self, mut table: Table, ids: &[String]) -> Result<Table> {
        for what in &self.wanted {
            let value = |id: &String| {
                let [age, male] = self.by_id.get(id).copied().unwrap_or_default();
                match what {
                    PhotoEstimate::Age => age,
                    PhotoEstimate::Sex => male,
                }
            };
            table = table.with_numbers(what.column(), ids.iter().map(value).collect())?;
        }
        Ok(table)
    }

    /// The columns as the report names them.
    pub(in super::super) fn columns(&self) -> Vec<EstimatedColumn> {
        let of = |what: &PhotoEstimate| EstimatedColumn {
            column: what.column().to_owned(),
            what: *what,
            by: self.source.to_owned(),
        };
        self.wanted.iter().map(of).collect()
    }
}

/// Refuses a study that asks for estimates and has no photos, knows the columns already, or is read by a
/// program that cannot estimate.
pub(in super::super) fn check(file: &StudyFile) -> Result<()> {
    let wanted = file.photos.estimates();
    if wanted.is_empty() {
        return Ok(());
    }
    let fault = |reason: String| {
        Err(Error::Study {
            reason: format!("photos.estimate: {reason}"),
        })
    };
    if !cfg!(feature = "age-sex") {
        return fault("needs a program built with the feature `age-sex`".into());
    }
    if file.simulate.is_some() {
        return fault("a simulated cohort has age and sex; leave it out".into());
    }
    if file.data.photos.is_none() {
        return fault("needs data.photos, the folder of the photos".into());
    }
    let table = Table::read(&file.data.table)?;
    for what in wanted {
        let role = match what {
            PhotoEstimate::Age => &file.columns.age,
            PhotoEstimate::Sex => &file.columns.sex,
        };
        let name = what.name();
        if let Some(column) = role {
            return fault(format!(
                "columns.{name} is the table's `{column}`; leave one of the two out"
            ));
        }
        let taken = |column: &&crate::table::Column| {
            [name, what.column()]
                .iter()
                .any(|n| column.name().eq_ignore_ascii_case(n))
        };
        if let Some(column) = table.columns().iter().find(taken) {
            let column = column.name();
            return fault(format!(
                "the table has a column `{column}`; set columns.{name} = \"{column}\" and leave \
                 \"{name}\" out, or rename the column"
            ))
            .map_err(|error| error.in_file(&file.data.table));
        }
    }
    Ok(())
}

#[cfg(feature = "age-sex")]
pub(in super::super) use stage::estimates;

/// None in a program without the networks, where [`check`] refuses what asks for them.
#[cfg(not(feature = "age-sex"))]
#[expect(clippy::unnecessary_wraps, reason = "as where there are networks")]
pub(in super::super) fn estimates(
    _file: &mut StudyFile,
    _folder: &std::path::Path,
    _observer: &super::super::StageObserver<'_>,
) -> Result<Option<Estimates>> {
    Ok(None)
}

#[cfg(feature = "age-sex")]
mod stage {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use burn::tensor::Device;
    use latent_inversion::align::{Aligner, Landmarks};
    use latent_inversion::face::{AgeSex, AgeSexEstimate, FaceDetector, Sex};
    use latent_inversion::{Error as InversionError, Photo, PhotoLimits};
    use rayon::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::super::super::file::StudyFile;
    use super::super::super::results::Input;
    use super::super::super::stages::{Run, StageObserver, key};
    use super::super::align;
    use super::super::settings::PhotoEstimate;
    use super::super::stages::{digest, of_rows};
    use super::Estimates;
    use crate::error::Result;
    use crate::proof::ALIGNED;

    const STAGE: &str = "0-estimates";
    /// How often what is done is written down.
    const SAVE: Duration = Duration::from_secs(10);
    /// Side of the pictures that decide whether a face can be relied on; they are not kept.
    const SIDE: usize = 64;

    /// What was found in a photo.
    #[derive(Serialize, Deserialize)]
    struct Guess {
        id: String,
        /// None if there is no face that can be relied on.
        found: Option<AgeSexEstimate>,
    }

    /// Estimates what the study asks for, from the photos as they are, and names the columns to the study.
    pub(in super::super::super) fn estimates(
        file: &mut StudyFile,
        folder: &Path,
        observer: &StageObserver<'_>,
    ) -> Result<Option<Estimates>> {
        let wanted = file.photos.estimates();
        let (Some(source), false) = (file.data.photos.clone(), wanted.is_empty()) else {
            return Ok(None);
        };
        let photos = of_rows(file, &source)?;
        let (align, largest) = (file.photos.align, file.photos.largest);
        let digest = digest(&source, &photos)?;
        let inputs = key(&(&digest, align, largest, AgeSex::SOURCE))?;
        let run = Run::new(folder, observer, inputs.clone());
        let guesses = guesses(&run, &photos, align, largest)?;
        for what in &wanted {
            let role = match what {
                PhotoEstimate::Age => &mut file.columns.age,
                PhotoEstimate::Sex => &mut file.columns.sex,
            };
            *role = Some(what.column().to_owned());
        }
        // The guesses hold both; which of them are covariates is what the models depend on.
        let inputs = key(&(&inputs, &wanted))?;
        let value = |guess: Guess| {
            let found = guess.found?;
            let male = f64::from(u8::from(found.sex() == Sex::Male));
            Some((guess.id, [found.age, male]))
        };
        Ok(Some(Estimates {
            wanted,
            by_id: guesses.into_iter().filter_map(value).collect(),
            input: Input {
                role: "estimates (by what they depend on)".into(),
                name: format!("from {}", digest.name),
                sha256: inputs,
            },
            source: AgeSex::SOURCE,
        }))
    }

    /// Looks at every photo, or finds what was done before.
    fn guesses(
        run: &Run<'_>,
        photos: &[(String, PathBuf)],
        align: bool,
        largest: bool,
    ) -> Result<Vec<Guess>> {
        run.stage(STAGE, photos.len(), |_| {
            let networks = Networks::new(align, largest)?;
            let part = format!("{STAGE}-part");
            let earlier: Vec<Guess> = run.load(&part).unwrap_or_default();
            let mut done: BTreeMap<String, Guess> =
                earlier.into_iter().map(|g| (g.id.clone(), g)).collect();
            let todo: Vec<&(String, PathBuf)> = photos
                .iter()
                .filter(|(id, _)| !done.contains_key(id))
                .collect();
            let mut saved = Instant::now();
            for batch in todo.chunks(rayon::current_num_threads().max(1) * 4) {
                let some: Result<Vec<Guess>> = batch
                    .par_iter()
                    .map(|(id, path)| {
                        let found = networks.look(path)?;
                        let id = id.clone();
                        Ok(Guess { id, found })
                    })
                    .collect();
                done.extend(some?.into_iter().map(|g| (g.id.clone(), g)));
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

    /// What finds faces and judges them.
    struct Networks {
        faces: Faces,
        estimator: AgeSex,
    }

    enum Faces {
        /// In photos of any kind, by the rules of alignment.
        Found(Box<Aligner>),
        /// In pictures that were aligned before.
        Aligned(Box<FaceDetector>),
    }

    impl Networks {
        fn new(align: bool, largest: bool) -> Result<Self> {
            let device = Device::default();
            let faces = if align {
                let aligner = Aligner::new(align::settings(SIDE, largest), &device)?;
                Faces::Found(Box::new(aligner))
            } else {
                Faces::Aligned(Box::new(FaceDetector::new(&device)?))
            };
            Ok(Self {
                faces,
                estimator: AgeSex::new(&device)?,
            })
        }

        fn look(&self, path: &Path) -> Result<Option<AgeSexEstimate>> {
            let photo = match Photo::open(path, &PhotoLimits::default()) {
                Ok(photo) => photo,
                Err(InversionError::Photo { .. } | InversionError::Io { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let Some(landmarks) = self.landmarks(&photo)? else {
                return Ok(None);
            };
            match self.estimator.estimate(&photo, &landmarks) {
                Ok(found) => Ok(Some(found)),
                // The square lies outside the photo.
                Err(InversionError::Argument { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }

        fn landmarks(&self, photo: &Photo) -> Result<Option<Landmarks>> {
            match &self.faces {
                Faces::Found(aligner) => {
                    let found = aligner.align(photo)?;
                    Ok(found.ok().map(|alignment| alignment.landmarks))
                }
                Faces::Aligned(detector) => {
                    let found = detector.detect(photo)?;
                    let own = found
                        .first()
                        .and_then(|f| Landmarks::from_five(f.landmarks).ok());
                    let side = photo.width() as f64;
                    let usual = ALIGNED.map(|p| p.map(|v| v * side - 0.5));
                    Ok(own.or_else(|| Landmarks::from_five(usual).ok()))
                }
            }
        }
    }
}
