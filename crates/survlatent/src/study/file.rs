//! `study.toml`: what is studied and how.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::Study;
use super::models::{StudyModels, Validation};
use super::photos::PhotoSettings;
use super::results::Input;
use crate::error::{Error, Result};
use crate::simulate::PortraitSurv;

/// A study as its file describes it. Paths are relative to the file.
///
/// ```
/// use survlatent::study::StudyFile;
/// let text = r#"
/// title = "Portraits of the north"
/// [data]
/// table = "table.csv"
/// latents = "latents.safetensors"
/// [columns]
/// clinical = ["age", "stage"]
/// "#;
/// let study = StudyFile::parse(text, &["validation.repeats=1".to_owned()])?;
/// assert_eq!(study.validation.repeats, 1);
/// let error = StudyFile::parse("[data]\ntabel = \"x.csv\"\n", &[]).unwrap_err().to_string();
/// assert!(error.contains("line 2") && error.contains("tabel"));
/// # Ok::<(), survlatent::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StudyFile {
    /// Title of the report.
    pub title: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Files.
    pub data: DataFiles,
    /// A cohort to be simulated in place of table and photos: its portraits are generated and inverted
    /// from their pixels.
    pub simulate: Option<PortraitSurv>,
    /// How photos become latents.
    pub photos: PhotoSettings,
    /// Columns of the table.
    pub columns: Columns,
    /// Models.
    pub models: StudyModels,
    /// How they are judged.
    pub validation: Validation,
    /// The report.
    pub report: ReportSettings,
    /// Pictures of the direction, and what shows where it looks.
    pub proof: ProofSettings,
    /// The file it was read from, with the hash of its bytes.
    #[serde(skip)]
    pub source: Option<Input>,
}

/// The files of a study.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataFiles {
    /// Follow-up, one row per photo, as CSV.
    pub table: PathBuf,
    /// Latents in W with the photos' ids.
    pub latents: Option<PathBuf>,
    /// Latents in W+; by default the array `w_plus` of the same file, where it has one.
    pub w_plus: Option<PathBuf>,
    /// Folder of the photos, whose ids are their paths in it without the ending. Without `latents`
    /// they are inverted; in either case photos and rows that do not pair up are listed.
    pub photos: Option<PathBuf>,
    /// `truth.json` of a simulated cohort, to compare with.
    pub truth: Option<PathBuf>,
}

/// Which column is what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// Identifier of the photo.
    pub id: String,
    /// Identifier of the patient; rows are patients without it.
    pub patient: Option<String>,
    /// Time of the event or of the end of follow-up.
    pub time: String,
    /// Whether it is the event.
    pub status: String,
    /// Time of entry (left truncation).
    pub entry: Option<String>,
    /// Clinical covariates.
    pub clinical: Vec<String>,
    /// Those that are categories although their levels are numbers.
    pub categorical: Vec<String>,
    /// Age.
    pub age: Option<String>,
    /// Sex.
    pub sex: Option<String>,
    /// Covariates that the adjusted and the conditional direction hold fixed: `clinical`, `age` and `sex`
    /// unless named; may be others, a smile score say. An empty list holds none.
    pub condition: Option<Vec<String>>,
    /// Columns whose levels are looked at one by one; numbers are cut into bands.
    pub subgroups: Vec<String>,
    /// Where the numbers of a column of `subgroups` or `diagnosis` are cut; thirds unless given.
    pub subgroup_cuts: BTreeMap<String, Vec<f64>>,
    /// Diagnosis: models are fitted to each of its levels by itself, too.
    pub diagnosis: Option<String>,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            id: "id".into(),
            patient: None,
            time: "time".into(),
            status: "status".into(),
            entry: None,
            clinical: vec![],
            categorical: vec![],
            age: None,
            sex: None,
            condition: None,
            subgroups: vec![],
            subgroup_cuts: BTreeMap::new(),
            diagnosis: None,
        }
    }
}

impl Columns {
    /// Without what makes no difference to the models and their rows.
    #[cfg(all(feature = "photos", feature = "deep"))]
    pub(super) fn of_models(&self) -> Self {
        Self {
            condition: None,
            subgroups: Vec::new(),
            subgroup_cuts: BTreeMap::new(),
            diagnosis: None,
            ..self.clone()
        }
    }

    /// Columns of which groups are made.
    pub(super) fn groups(&self) -> impl Iterator<Item = &String> {
        self.subgroups.iter().chain(&self.diagnosis)
    }

    fn complete(&self) -> Result<()> {
        let known = |name: &&String| self.groups().any(|g| g == *name);
        match self.subgroup_cuts.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => Err(Error::Study {
                reason: format!(
                    "columns.subgroup_cuts names `{name}`, which is neither in columns.subgroups nor \
                     columns.diagnosis"
                ),
            }),
        }
    }
}

/// What the report says of units and of identifiers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportSettings {
    /// Unit of the time column.
    pub time_unit: String,
    /// Whether page and `report.json` name the first identifiers of rows and photos that were set aside;
    /// all of them are in `exclusions.csv`.
    pub ids: bool,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            time_unit: "years".into(),
            ids: false,
        }
    }
}

/// How much is computed for pictures and proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProofSettings {
    /// Bootstrap refits of the direction for the picture of its stability; 0 for none.
    pub replicates: usize,
    /// Pictures the generator draws for the test for shortcuts, and as many again to know chance; at
    /// least 1,536, or 0 for no test.
    pub draws: usize,
    /// Photos, one per patient, of which parts are covered or swapped and that are inverted again, eight
    /// times each; at least 2, or 0 for none.
    pub occlusion: usize,
    /// Folder with a mask of every aligned photo, `ID.png`, of any size, not black where the face is, or with the
    /// numbers of its parts ([`RegionMap::from_mask`](crate::proof::RegionMap::from_mask)). With it the
    /// share of the saliency inside the face is that of the photos' own masks.
    pub masks: Option<PathBuf>,
}

impl Default for ProofSettings {
    fn default() -> Self {
        Self {
            replicates: 20,
            draws: 4000,
            occlusion: 40,
            masks: None,
        }
    }
}

/// Fewest draws that tell thumbnails of 16 x 16 pixels in three colours: two for each of their numbers.
const FEWEST_DRAWS: usize = 1536;

impl ProofSettings {
    /// Refuses values out of their range.
    ///
    /// # Errors
    /// [`Error::Study`] with the key.
    pub fn validate(&self) -> Result<()> {
        let reason = if self.occlusion == 1 {
            "proof.occlusion must be 0 or at least 2: parts are swapped between photos".to_owned()
        } else if (1..FEWEST_DRAWS).contains(&self.draws) {
            format!("proof.draws must be 0 or at least {FEWEST_DRAWS}")
        } else {
            return Ok(());
        };
        Err(Error::Study { reason })
    }
}

impl StudyFile {
    /// Reads a file; `set` holds `key=value` pairs that replace what it says. Paths of the file are
    /// taken from its folder, those of `set` from the current one.
    ///
    /// # Errors
    /// [`Error::Io`]; otherwise what [`StudyFile::parse`] refuses, with the file's name.
    pub fn read(path: &Path, set: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let named = |error: Error| error.in_file(path);
        let mut own = Self::parse_some(&text, &[]).map_err(named)?;
        let whole = Self::parse_some(&text, set).map_err(named)?;
        whole.complete().map_err(named)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut out = whole;
        out.source = Some(Input {
            role: "study file".into(),
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            sha256: super::read::sha256(text.as_bytes()),
        });
        out.data.resolve(&mut own.data, folder);
        for (path, own) in [
            (&mut out.photos.network, own.photos.network),
            (&mut out.photos.encoder, own.photos.encoder),
            (&mut out.proof.masks, own.proof.masks),
        ] {
            if *path == own && !path.as_deref().is_some_and(super::photos::is_shipped) {
                *path = path.take().map(|p| folder.join(p));
            }
        }
        Ok(out)
    }

    /// From the text of a file.
    ///
    /// # Errors
    /// [`Error::Study`]: an unknown key or a wrong type with its line; [`Error::Set`]: the pair of `set` that
    /// is at fault.
    pub fn parse(text: &str, set: &[String]) -> Result<Self> {
        let study = Self::parse_some(text, set)?;
        study.complete()?;
        Ok(study)
    }

    fn parse_some(text: &str, set: &[String]) -> Result<Self> {
        let fault = |reason: String| Error::Study { reason };
        let plain: Self =
            toml::from_str(text).map_err(|e| fault(e.to_string().trim().to_owned()))?;
        if set.is_empty() {
            return Ok(plain);
        }
        let mut table: Table = toml::from_str(text).map_err(|e| fault(e.to_string()))?;
        let refused = |pair: &String, reason: String| Error::Set {
            pair: pair.clone(),
            reason,
        };
        let mut reasons = Vec::new();
        let mut study = plain;
        for pair in set {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| refused(pair, "expected key=value".to_owned()))?;
            put(&mut table, key.trim(), value.trim()).map_err(|reason| refused(pair, reason))?;
            let read: std::result::Result<Self, toml::de::Error> =
                Value::Table(table.clone()).try_into();
            reasons.push(match read {
                Ok(read) => {
                    study = read;
                    None
                }
                Err(error) => Some(error.message().to_owned()),
            });
        }
        // A pair may need a later one (a share and its hazard): what counts is the fault that remains.
        match reasons.last() {
            Some(Some(reason)) => {
                let sound = reasons.iter().rposition(|r| r.as_ref() != Some(reason));
                Err(refused(&set[sound.map_or(0, |k| k + 1)], reason.clone()))
            }
            _ => Ok(study),
        }
    }

    fn complete(&self) -> Result<()> {
        let data = &self.data;
        let reason = match self.simulate {
            None if data.table.as_os_str().is_empty() => {
                "data.table is not set: the CSV file of follow-up"
            }
            Some(_) if *data != DataFiles::default() => {
                "a study with the table [simulate] makes its own data; leave [data] out"
            }
            _ => return self.columns.complete(),
        };
        Err(Error::Study {
            reason: reason.into(),
        })
    }

    /// Whether the run has to turn photos into latents.
    pub fn inverts(&self) -> bool {
        self.simulate.is_some() || (self.data.photos.is_some() && self.data.latents.is_none())
    }

    /// The statistics' part.
    pub fn study(&self) -> Study {
        Study {
            models: self.models.clone(),
            validation: self.validation.clone(),
            seed: self.seed,
        }
    }
}

impl DataFiles {
    /// Puts the file's folder before the paths that come from the file.
    fn resolve(&mut self, own: &mut Self, folder: &Path) {
        if self.table == own.table {
            self.table = folder.join(&self.table);
        }
        for (path, own) in [
            (&mut self.latents, &own.latents),
            (&mut self.w_plus, &own.w_plus),
            (&mut self.photos, &own.photos),
            (&mut self.truth, &own.truth),
        ] {
            if path == own {
                *path = path.take().map(|p| folder.join(p));
            }
        }
    }
}

/// Puts a value at a dotted key; what is no TOML value is a string.
fn put(table: &mut Table, key: &str, value: &str) -> std::result::Result<(), String> {
    let parsed: Value = toml::from_str::<Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts
        .pop()
        .filter(|p| !p.is_empty())
        .ok_or("an empty key")?;
    let mut at = table;
    for part in parts {
        let next = at
            .entry(part.to_owned())
            .or_insert_with(|| Value::Table(Table::new()));
        at = next
            .as_table_mut()
            .ok_or_else(|| format!("`{part}` is no table"))?;
    }
    at.insert(last.to_owned(), parsed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_line_or_flag() {
        let text = "seed = 3\n\n[validation]\nrepeat = 2\n";
        let error = StudyFile::parse(text, &[]).unwrap_err().to_string();
        assert!(
            error.contains("line 4") && error.contains("repeat"),
            "{error}"
        );
        let set = |pair: &str| {
            let text = "[data]\ntable = \"t.csv\"\n";
            StudyFile::parse(text, &[pair.to_owned()]).map_err(|e| e.to_string())
        };
        assert!(
            set("validation.repeat=2")
                .unwrap_err()
                .contains("--set validation.repeat=2")
        );
        assert!(set("seed").unwrap_err().contains("key=value"));
        let several = |pairs: &[&str]| {
            let pairs: Vec<String> = pairs.iter().map(ToString::to_string).collect();
            let text = "[data]\ntable = \"t.csv\"\n";
            StudyFile::parse(text, &pairs).map_err(|e| e.to_string())
        };
        let wrong = several(&["validation.repeats=2", "seed=x", "title=y"]).unwrap_err();
        assert!(
            wrong.starts_with("--set seed=x: invalid type: string"),
            "{wrong}"
        );
        // Half a table is sound once the other half is there, and the last of two values is the one.
        let shortcut = ["simulate.shortcut.share=0.2", "simulate.shortcut.log_hr=1"];
        let of_shortcut = |text: String| assert!(text.contains("leave [data] out"), "{text}");
        of_shortcut(several(&shortcut).unwrap_err());
        assert!(
            several(&shortcut[..1])
                .unwrap_err()
                .contains("--set simulate.shortcut.share=0.2")
        );
        assert_eq!(several(&["seed=x", "seed=3"]).unwrap().seed, 3);
        let late = several(&[shortcut[0], "seed=x", shortcut[1]]).unwrap_err();
        assert!(late.starts_with("--set seed=x: "), "{late}");
        let two = set("columns.clinical=[\"age\", \"sex\"]").unwrap();
        assert_eq!(two.columns.clinical, ["age", "sex"]);
        assert_eq!(
            set("data.photos=some/folder").unwrap().data.photos,
            Some("some/folder".into())
        );
        // The older name of a key.
        let old = set("validation.min_rows=7").unwrap();
        assert_eq!(old.validation.min_patients, 7);
        let cuts = set("columns.subgroup_cuts={ age = [50, 65] }").unwrap_err();
        assert!(cuts.contains("`age`"), "{cuts}");
        let error = StudyFile::parse("seed = 1", &[]).unwrap_err().to_string();
        assert!(error.contains("data.table"), "{error}");
    }

    #[test]
    fn too_few_draws_are_refused_by_their_key() {
        let proof = |draws| ProofSettings {
            draws,
            ..ProofSettings::default()
        };
        assert!([0, 1536].iter().all(|&k| proof(k).validate().is_ok()));
        let error = proof(1000).validate().unwrap_err().to_string();
        assert!(
            error.contains("proof.draws") && error.contains("1536"),
            "{error}"
        );
    }

    #[test]
    fn paths_of_the_file_start_at_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("study.toml");
        std::fs::write(&path, "[data]\ntable = \"t.csv\"\nlatents = \"l.npy\"\n").unwrap();
        let study = StudyFile::read(&path, &["data.latents=here.npy".to_owned()]).unwrap();
        assert_eq!(study.data.table, folder.path().join("t.csv"));
        assert_eq!(study.data.latents, Some("here.npy".into()));
    }
}
