//! `survlatent align`: faces cut out of photos.

mod files;
mod table;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use latent_inversion::align::{AlignSettings, Aligner, Choice, Landmarks};
use latent_inversion::face::DetectorSettings;
use latent_inversion::{Photo, PhotoLimits};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use survlatent::{Error, OutputFile};

use crate::device::DeviceArg;
use crate::failure::Failure;
use crate::interrupt::interrupts;
use crate::progress::Progress;
use crate::{gan, report, value};
use files::Entry;
use table::Row;

/// How often the table is written while photos are aligned.
const SAVE: Duration = Duration::from_secs(10);

/// Find the face in each photo of a folder and cut it out as generators are trained on it
#[derive(Args)]
#[command(after_long_help = NOTES)]
pub(crate) struct Align {
    /// Photos: PNG, JPEG, GIF, WebP, TIFF, BMP, PGM and PPM files, in folders of any depth
    #[arg(value_name = "IN_DIR")]
    photos: PathBuf,
    /// Where the faces go, as PNG, with aligned.csv
    #[arg(value_name = "OUT_DIR")]
    out: PathBuf,
    /// Side of the faces, in pixels
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = value::count::<16>)]
    size: usize,
    /// Take the landmarks from this table instead of searching for faces
    #[arg(long, value_name = "CSV")]
    landmarks: Option<PathBuf>,
    /// The face to take where there are several: the only one of its size, or the largest
    #[arg(long, value_enum, default_value_t = Take::Only)]
    take: Take,
    /// Least distance between the eyes in the photo, in pixels [default: a sixteenth of the size]
    #[arg(long, value_name = "PX", value_parser = value::positive)]
    min_eye_distance: Option<f64>,
    /// Least sharpness; 0 takes blurred faces too [default: 0.03]
    #[arg(long, value_name = "S", value_parser = value::not_negative)]
    min_sharpness: Option<f64>,
    /// Greatest angle by which a face may be turned to a side, in degrees [default: 45]
    #[arg(long, value_name = "DEG", value_parser = value::not_negative)]
    max_yaw: Option<f64>,
    /// By which share of its side the square may leave the photo [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = value::unit)]
    max_beyond: Option<f64>,
    /// Smallest face looked for, in pixels [default: 20 or a 25th of the photo's shorter side]
    #[arg(long, value_name = "PX", value_parser = value::positive)]
    min_face_size: Option<f64>,
    #[command(flatten)]
    device: DeviceArg,
    /// Print one JSON object instead of the counts
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Take {
    Only,
    Largest,
}

const NOTES: &str = "\
Photos that are set aside:
  no_face, several_faces (of similar size; see --take), too_small, too_blurred, turned_away,
  beyond_photo (cut too close), landmarks (given ones that cannot be), unreadable. The reason is in
  aligned.csv; the exit code is 0 all the same.

IN_DIR:
  What begins with a dot is passed over, and so are folders that are links; a name that is not UTF-8
  is an error.

OUT_DIR:
  One PNG per face, named as its photo (with the photo's ending where two differ only in it), and
  aligned.csv: file, bytes, status, reason, message, output, probability, the box, the five
  landmarks and the corners of the square in pixels of the photo, eye_distance, sharpness, yaw,
  beyond. aligned.json holds the settings. An interrupted run goes on with the same command; photos
  that are in the table, unchanged, are not looked at again. The face of a photo that is gone, or is
  set aside now, is removed. PNGs in a folder without aligned.csv are none of align's: it refuses
  that folder.

Landmarks:
  A table with a column file (the path below IN_DIR) and left_eye_x, left_eye_y, and so on for
  right_eye, nose, mouth_left, mouth_right (left is the viewer's), or the 68 points x1, y1 to x68,
  y68. Photos that are not in it are set aside.

JSON:
  photos, aligned, set_aside, unreadable, kept (from an earlier run), reasons (name: count)

Examples:
  survlatent align photos faces --size 512
  survlatent align photos faces --take largest --min-sharpness 0.02
  survlatent align photos faces --landmarks landmarks.csv";

/// What results depend on, beside the photos.
#[derive(PartialEq, Serialize, Deserialize)]
struct Made {
    program: String,
    settings: AlignSettings,
    given_landmarks: bool,
}

#[derive(Serialize)]
struct Counts {
    photos: usize,
    aligned: usize,
    set_aside: usize,
    unreadable: usize,
    kept: usize,
    reasons: BTreeMap<String, usize>,
    #[serde(skip)]
    table: String,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} photos: {} aligned", self.photos, self.aligned)?;
        if self.set_aside + self.unreadable > 0 {
            write!(f, ", {} set aside", self.set_aside + self.unreadable)?;
        }
        if self.kept > 0 {
            write!(f, " ({} in an earlier run)", self.kept)?;
        }
        writeln!(f)?;
        for (reason, count) in &self.reasons {
            writeln!(f, "  {reason:<14} {count}")?;
        }
        writeln!(f, "{}", self.table)
    }
}

type Given = BTreeMap<String, Result<Landmarks, String>>;

impl Align {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let device = self.device.open()?;
        let aligner = Aligner::new(self.settings(), &device).map_err(|error| match error {
            latent_inversion::Error::Argument { .. } => Failure::usage(error.to_string()),
            error => Failure::run(error.to_string()),
        })?;
        if !self.photos.is_dir() {
            return Err(Failure::run(format!(
                "{}: no such folder; align takes a folder of photos",
                self.photos.display()
            )));
        }
        gan::make_folder(&self.out)?;
        if self.photos.canonicalize().ok() == self.out.canonicalize().ok() {
            return Err(Failure::usage(
                "faces and photos would be in one folder; give another OUT_DIR",
            ));
        }
        let given = self
            .landmarks
            .as_deref()
            .map(table::landmarks)
            .transpose()?;
        let entries = files::list(&self.photos, &self.out)?;
        if entries.is_empty() {
            return Err(Failure::run(format!(
                "{}: no photos; files ending in {} are taken",
                self.photos.display(),
                Photo::EXTENSIONS.join(", ")
            )));
        }
        if let Some(given) = &given {
            missing(given, &entries);
        }
        let table = self.out.join("aligned.csv");
        let mut rows = self.earlier(&table, &entries, given.as_ref())?;
        let kept = rows.len();
        let todo: Vec<&Entry> = entries
            .iter()
            .filter(|e| !rows.contains_key(&e.name))
            .collect();
        let ended = self.align(&aligner, &device, &todo, given.as_ref(), &table, &mut rows);
        table::write(&table, rows.values())?;
        ended?;
        if rows.len() < entries.len() {
            return Err(Failure::run(format!(
                "interrupted after {} of {} photos; the same command goes on",
                rows.len(),
                entries.len()
            )));
        }
        let counts = count(&rows, kept, &table);
        report::result(self.json.then_some(&counts), &counts)
    }

    fn settings(&self) -> AlignSettings {
        let mut settings =
            AlignSettings::default()
                .with_size(self.size)
                .with_choice(match self.take {
                    Take::Only => Choice::Only,
                    Take::Largest => Choice::Largest,
                });
        if let Some(pixels) = self.min_eye_distance {
            settings = settings.with_min_eye_distance(pixels);
        }
        if let Some(sharpness) = self.min_sharpness {
            settings = settings.with_min_sharpness(sharpness);
        }
        if let Some(degrees) = self.max_yaw {
            settings = settings.with_max_yaw(degrees);
        }
        if let Some(share) = self.max_beyond {
            settings = settings.with_max_beyond(share);
        }
        if let Some(pixels) = self.min_face_size {
            let detector = DetectorSettings::default().with_min_face_size(pixels);
            settings = settings.with_detector(detector);
        }
        settings
    }

    /// What an earlier run with the same settings has done and still stands; records the settings.
    fn earlier(
        &self,
        table: &Path,
        entries: &[Entry],
        given: Option<&Given>,
    ) -> Result<BTreeMap<String, Row>, Failure> {
        let made = Made {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            settings: self.settings(),
            given_landmarks: given.is_some(),
        };
        let path = self.out.join("aligned.json");
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
                path: path.clone(),
                source,
            })?;
            let before: Option<Made> = serde_json::from_str(&text).ok();
            if before.as_ref() != Some(&made) {
                return Err(Failure::usage(format!(
                    "{} was made with other settings, see {}; give another OUT_DIR, or delete \
                     aligned.json, aligned.csv and the faces there",
                    self.out.display(),
                    path.display()
                )));
            }
        } else if table.exists() {
            return Err(Failure::usage(format!(
                "{}: made with unknown settings, aligned.json is missing; give another OUT_DIR, or \
                 delete the table and the faces beside it",
                table.display()
            )));
        }
        if !table.exists()
            && let Some(stray) = files::picture(&self.out, &self.photos)?
        {
            return Err(Failure::usage(format!(
                "{}: a picture that no aligned.csv lists, which would be taken for a face of this run; \
                 give another OUT_DIR, or delete it",
                stray.display()
            )));
        }
        let mut text =
            serde_json::to_string_pretty(&made).map_err(|error| Failure::run(error.to_string()))?;
        text.push('\n');
        OutputFile::create(&path)?.write(text.as_bytes())?;

        let mut rows = table::read(table)?;
        let mut stands = BTreeMap::new();
        for entry in entries {
            let Some(row) = rows.remove(&entry.name) else {
                continue;
            };
            let same_points = given.is_none_or(|given| {
                let points = given.get(&entry.name).and_then(|l| l.as_ref().ok());
                row.landmarks == points.map(Landmarks::points)
            });
            let there = row.status != "aligned"
                || (row.output == entry.output && self.out.join(&row.output).is_file());
            if row.bytes == entry.bytes && same_points && there {
                stands.insert(entry.name.clone(), row);
            } else {
                rows.insert(entry.name.clone(), row);
            }
        }
        // Faces of photos that are gone, or others now, or set aside: whoever takes the folder takes every
        // picture in it.
        let aside = |entry: &&Entry| {
            stands
                .get(&entry.name)
                .is_some_and(|row| row.output.is_empty())
        };
        let aside = entries.iter().filter(aside).map(|entry| &entry.output);
        for output in rows.values().map(|row| &row.output).chain(aside) {
            files::remove(&self.out, output).map_err(|source| Error::Io {
                path: self.out.join(output),
                source,
            })?;
        }
        // From here on what the folder holds is this run's.
        table::write(table, stands.values())?;
        Ok(stands)
    }

    /// Aligns until the end or the first interrupt.
    fn align(
        &self,
        aligner: &Aligner,
        device: &Device,
        todo: &[&Entry],
        given: Option<&Given>,
        table: &Path,
        rows: &mut BTreeMap<String, Row>,
    ) -> Result<(), Failure> {
        let interrupted = interrupts()?;
        let bar = Progress::new(todo.len(), "photos");
        let mut saved = Instant::now();
        for batch in todo.chunks(rayon::current_num_threads().max(1) * 4) {
            let one = |entry: &&Entry| {
                let row = self.one(aligner, entry, given);
                bar.inc();
                row
            };
            let done: Vec<_> = batch
                .par_iter()
                .filter(|_| !interrupted.load(Ordering::SeqCst))
                .map(one)
                .collect();
            let done = alone_where_full(batch, done, |entry| {
                device.memory_cleanup();
                self.one(aligner, entry, given)
            });
            let mut fault = None;
            for row in done {
                match row {
                    Ok(row) => drop(rows.insert(row.file.clone(), row)),
                    Err(error) => fault = fault.or(Some(error)),
                }
            }
            if let Some(error) = fault {
                return Err(Failure::run(error.to_string()));
            }
            if interrupted.load(Ordering::SeqCst) {
                break;
            }
            if saved.elapsed() > SAVE {
                table::write(table, rows.values())?;
                saved = Instant::now();
            }
        }
        bar.finish();
        Ok(())
    }

    /// What becomes of a photo; without a face of its own it keeps none of a run that was killed.
    fn one(
        &self,
        aligner: &Aligner,
        entry: &Entry,
        given: Option<&Given>,
    ) -> Result<Row, latent_inversion::Error> {
        let row = self.row(aligner, entry, given)?;
        if row.output.is_empty() {
            files::remove(&self.out, &entry.output).map_err(|source| {
                latent_inversion::Error::Io {
                    path: self.out.join(&entry.output),
                    source,
                }
            })?;
        }
        Ok(row)
    }

    fn row(
        &self,
        aligner: &Aligner,
        entry: &Entry,
        given: Option<&Given>,
    ) -> Result<Row, latent_inversion::Error> {
        let photo = match Photo::open(&entry.path, &PhotoLimits::default()) {
            Ok(photo) => photo,
            // The table has a column for the file already.
            Err(latent_inversion::Error::Photo { fault, .. }) => {
                return Ok(Row::unreadable(entry, fault.to_string()));
            }
            Err(latent_inversion::Error::Io { source, .. }) => {
                return Ok(Row::unreadable(entry, source.to_string()));
            }
            Err(error) => return Err(error),
        };
        let result = match given {
            None => aligner.align(&photo)?,
            Some(given) => match given.get(&entry.name) {
                None => {
                    let message = "no landmarks were given for this photo";
                    return Ok(Row::no_landmarks(entry, message));
                }
                Some(Ok(landmarks)) => aligner.align_at(&photo, *landmarks),
                Some(Err(reason)) => return Ok(Row::no_landmarks(entry, reason)),
            },
        };
        match result {
            Err(why) => Ok(Row::set_aside(entry, &why)),
            Ok(alignment) => {
                let path = self.out.join(&entry.output);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(|source| {
                        latent_inversion::Error::Io {
                            path: folder.to_owned(),
                            source,
                        }
                    })?;
                }
                alignment.picture.save_png(&path)?;
                Ok(Row::aligned(entry, &alignment))
            }
        }
    }
}

/// Results of photos that were aligned at the same time, those for which the device's memory was too small then
/// done again by themselves.
fn alone_where_full<T, P>(
    photos: &[P],
    results: Vec<Result<T, latent_inversion::Error>>,
    mut again: impl FnMut(&P) -> Result<T, latent_inversion::Error>,
) -> Vec<Result<T, latent_inversion::Error>> {
    let pairs = photos.iter().zip(results);
    pairs
        .map(|(photo, result)| match result {
            Err(latent_inversion::Error::OutOfMemory { .. }) => again(photo),
            result => result,
        })
        .collect()
}

/// Says which photos of the table of landmarks are not there.
fn missing(given: &Given, entries: &[Entry]) {
    let names: HashSet<&str> = entries.iter().map(|e| e.name.as_str()).collect();
    let absent = given.keys().filter(|name| !names.contains(name.as_str()));
    let absent: Vec<&String> = absent.collect();
    if let Some(first) = absent.first() {
        report::note(&format!(
            "{} photos of the landmarks are not in the folder, the first being {first}",
            absent.len()
        ));
    }
}

fn count(rows: &BTreeMap<String, Row>, kept: usize, table: &Path) -> Counts {
    let with = |status: &str| rows.values().filter(|r| r.status == status).count();
    let mut reasons = BTreeMap::new();
    for row in rows.values().filter(|r| !r.reason.is_empty()) {
        *reasons.entry(row.reason.clone()).or_default() += 1;
    }
    Counts {
        photos: rows.len(),
        aligned: with("aligned"),
        set_aside: with("set_aside"),
        unreadable: with("unreadable"),
        kept,
        reasons,
        table: table.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_photos_that_found_no_memory_are_done_again() {
        let full = || latent_inversion::Error::OutOfMemory {
            reason: "full".to_owned(),
        };
        let broken = latent_inversion::Error::Argument {
            name: "a",
            reason: "b".to_owned(),
        };
        let results = vec![Ok(1), Err(full()), Err(broken), Err(full())];
        let mut again = Vec::new();
        let results = alone_where_full(&["p", "q", "r", "s"], results, |photo| {
            again.push(*photo);
            if *photo == "q" { Ok(2) } else { Err(full()) }
        });
        assert_eq!(again, ["q", "s"]);
        let found: Vec<Option<i32>> = results.into_iter().map(Result::ok).collect();
        assert_eq!(found, [Some(1), Some(2), None, None]);
    }
}
