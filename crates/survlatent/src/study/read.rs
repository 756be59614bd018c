//! From files to rows: who is in, who is not, and why.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::bands::Levels;
use super::data::{Design, StudyData};
use super::file::{Columns, StudyFile};
use super::photos::{Estimates, Inverted, photos, without_ending};
use super::results::{EstimatedColumn, Exclusion, Input};
use crate::error::{Error, Result};
use crate::latents::{Latents, LatentsReader};
use crate::roles::Roles;
use crate::table::{Kind, Table};

/// Identifiers named in a list of exclusions.
const EXAMPLES: usize = 10;

/// What reading gives.
pub(super) struct Cohort {
    pub(super) data: StudyData,
    pub(super) exclusions: Vec<Exclusion>,
    pub(super) inputs: Vec<Input>,
    pub(super) notes: Vec<String>,
    /// Row of the table of every row of the data.
    pub(super) rows: Vec<usize>,
    /// Identifier and reason of every row and photo that was set aside.
    pub(super) excluded: Vec<(String, String)>,
}

#[expect(clippy::too_many_lines, reason = "the flow of rows, step by step")]
pub(super) fn cohort(
    file: &StudyFile,
    inverted: Option<&Inverted>,
    estimates: Option<&Estimates>,
) -> Result<Cohort> {
    let columns = &file.columns;
    let mut inputs = vec![input("table", &file.data.table)?];
    let table = table(file)?;
    let in_table = |error: Error| error.in_file(&file.data.table);
    let ids = ids(&table, file).map_err(in_table)?;
    let mut notes = inverted.map_or_else(Vec::new, |i| i.notes.clone());
    let table = match estimates {
        None => table,
        Some(estimates) => {
            inputs.push(estimates.input.clone());
            let told = |e: EstimatedColumn| {
                format!(
                    "{} is estimated from the photos by {}, not recorded",
                    e.column, e.by
                )
            };
            notes.extend(estimates.columns().into_iter().map(told));
            estimates.add_to(table, &ids).map_err(in_table)?
        }
    };
    let mut flow = Flow {
        ids: &ids,
        steps: vec![],
        excluded: vec![],
    };

    // One cohort of all columns says which rows are complete; parts of it are the designs.
    let age_sex: Vec<String> = columns.age.iter().chain(&columns.sex).cloned().collect();
    let whole = roles(file, &features(columns))
        .cohort(&table)
        .map_err(in_table)?;
    let mut rows = whole.rows().to_vec();
    for column in columns.groups().chain(&columns.patient) {
        table.column(column).map_err(in_table)?;
    }
    if let Some(column) = &columns.patient {
        let labels = table.identifiers(column)?;
        rows.retain(|&row| labels.code(row).is_some());
    }
    flow.keep(
        0..table.n(),
        &rows,
        "a value is missing in a column that is used",
    );

    if let Some(folder) = &file.data.photos {
        let photos = photos(folder)?;
        let (without, kept) = split(&rows, |&row| photos.contains_key(&ids[row]));
        flow.keep(rows.iter().copied(), &kept, "the row has no photo");
        drop(without);
        rows = kept;
        let known: HashSet<&String> = ids.iter().collect();
        let strays: Vec<&String> = photos.keys().filter(|id| !known.contains(id)).collect();
        flow.aside("photos without a row in the table", &strays, rows.len());
    }
    for (reason, gone) in inverted.iter().flat_map(|i| &i.set_aside) {
        let (_, kept) = split(&rows, |&row| !gone.contains(&ids[row]));
        flow.keep(rows.iter().copied(), &kept, reason);
        rows = kept;
    }
    if let Some(estimates) = estimates {
        let (_, kept) = split(&rows, |&row| estimates.has(&ids[row]));
        let reason = "no face that age or sex could be estimated from";
        flow.keep(rows.iter().copied(), &kept, reason);
        rows = kept;
    }

    let (mut w, mut w_plus) = (None, None);
    if let (Some(path), Some(inverted)) = (&file.data.latents, inverted) {
        // What they depend on stands for their file, which holds times of computing.
        inputs.extend(inverted.inputs.iter().cloned());
        let (first, second) = latents(path)?;
        let theirs: HashSet<&String> = first.ids().into_iter().flatten().collect();
        rows.retain(|&row| theirs.contains(&ids[row]));
        (w, w_plus) = (Some(first), second);
    } else if let Some(path) = &file.data.latents {
        inputs.push(input("latents", path)?);
        let (first, second) = latents(path)?;
        rows = paired(&mut flow, rows, &first, &ids, table.n(), "latents")?;
        (w, w_plus) = (Some(first), second);
    }
    if let Some(path) = &file.data.w_plus {
        inputs.push(input("w_plus", path)?);
        let own = read_array(path, Some("w_plus"))?;
        rows = paired(&mut flow, rows, &own, &ids, table.n(), "latents in W+")?;
        w_plus = Some(own);
    }
    let aligned = |latents: Option<Latents>| -> Result<Option<Latents>> {
        latents
            .map(|l| match l.ids() {
                Some(_) => l.align(&rows.iter().map(|&r| ids[r].clone()).collect::<Vec<_>>()),
                None => Ok(l.select_rows(&rows)),
            })
            .transpose()
    };
    let (w, w_plus) = (aligned(w)?, aligned(w_plus)?);
    if rows.len() < 2 {
        return Err(Error::Study {
            reason: format!(
                "{} of {} rows are left; two are needed",
                rows.len(),
                table.n()
            ),
        });
    }

    let place: HashMap<usize, usize> = whole.rows().iter().copied().zip(0..).collect();
    let picked: Vec<usize> = rows.iter().map(|r| place[r]).collect();
    let surv = whole.surv().subset(&picked)?;
    let mut design = |features: &[String], what: &str| -> Result<Option<Design>> {
        if features.is_empty() {
            return Ok(None);
        }
        let part = roles(file, features).cohort(&table).map_err(in_table)?;
        let place: HashMap<usize, usize> = part.rows().iter().copied().zip(0..).collect();
        let picked: Vec<usize> = rows.iter().map(|r| place[r]).collect();
        let (kept, constant) = Design::of(&part.covariates()?.select(&picked)?).varying();
        let constant: Vec<String> = constant
            .into_iter()
            .chain(part.single_level().to_vec())
            .collect();
        if !constant.is_empty() {
            notes.push(format!(
                "{what}: does not vary and is left out: {}",
                constant.join(", ")
            ));
        }
        Ok(Some(kept.made_of(&indicators(&table, file, features)?)))
    };
    let clinical = design(&columns.clinical, "clinical covariates")?;
    let age_sex = design(&age_sex, "age and sex")?;
    let condition = match &columns.condition {
        None => None,
        Some(held) if held.is_empty() => Some(Design::new(rows.len(), Vec::new())?),
        Some(held) => design(held, "covariates held fixed")?,
    };
    let levels = Levels {
        categorical: &columns.categorical,
        cuts: &columns.subgroup_cuts,
    };
    let groups = |column: &String| levels.of(&table, column, &rows).map_err(in_table);
    let patient = match &columns.patient {
        None => (0..rows.len() as u32).collect(),
        Some(column) => {
            let labels = table.identifiers(column)?;
            let code = |&r: &usize| labels.code(r).unwrap_or(u32::MAX);
            dense(&rows.iter().map(code).collect::<Vec<_>>())
        }
    };
    let data = StudyData {
        surv,
        patient,
        w,
        w_plus,
        clinical,
        age_sex,
        condition,
        subgroups: columns
            .subgroups
            .iter()
            .map(groups)
            .collect::<Result<_>>()?,
        diagnosis: columns.diagnosis.as_ref().map(groups).transpose()?,
    };
    if let Some(path) = &file.data.truth {
        inputs.push(input("truth", path)?);
    }
    Ok(Cohort {
        data,
        exclusions: flow.steps,
        excluded: flow.excluded,
        inputs,
        notes,
        rows,
    })
}

/// The table; what names photos and patients counts as it is written.
pub(super) fn table(file: &StudyFile) -> Result<Table> {
    let columns = &file.columns;
    let names = std::iter::once(&columns.id).chain(&columns.patient);
    let names: Vec<&str> = names.map(String::as_str).collect();
    Table::read_with(&file.data.table, &names)
}

/// Every covariate that a study names, once.
pub(super) fn features(columns: &Columns) -> Vec<String> {
    let age_sex = columns.age.iter().chain(&columns.sex);
    let held = columns.condition.iter().flatten();
    let mut out = columns.clinical.clone();
    for name in age_sex.chain(held) {
        if !out.contains(name) {
            out.push(name.clone());
        }
    }
    out
}

/// The column of each 0/1 column that is made of a level.
fn indicators(
    table: &Table,
    file: &StudyFile,
    features: &[String],
) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for name in features {
        let declared = file.columns.categorical.contains(name);
        if declared || table.column(name)?.kind() == Kind::Text {
            let labels = table.labels(name)?;
            let of = |level: &String| (format!("{name}{level}"), name.clone());
            out.extend(labels.levels().iter().map(of));
        }
    }
    Ok(out)
}

pub(super) fn roles(file: &StudyFile, features: &[String]) -> Roles {
    let columns = &file.columns;
    let categorical = columns.categorical.iter().filter(|c| features.contains(c));
    let mut roles = Roles::new(&columns.time, &columns.status)
        .features(features.to_vec())
        .categorical(categorical.cloned())
        .drop_missing(true);
    if let Some(entry) = &columns.entry {
        roles = roles.entry(entry);
    }
    roles
}

/// The flow of rows, step by step.
struct Flow<'a> {
    ids: &'a [String],
    steps: Vec<Exclusion>,
    excluded: Vec<(String, String)>,
}

impl Flow<'_> {
    fn keep(&mut self, before: impl Iterator<Item = usize>, after: &[usize], reason: &str) {
        let kept: HashSet<usize> = after.iter().copied().collect();
        let gone: Vec<usize> = before.filter(|r| !kept.contains(r)).collect();
        let named = gone
            .iter()
            .map(|&r| (self.ids[r].clone(), reason.to_owned()));
        self.excluded.extend(named);
        self.steps.push(Exclusion {
            reason: reason.to_owned(),
            rows: gone.len(),
            left: after.len(),
            examples: gone
                .iter()
                .take(EXAMPLES)
                .map(|&r| self.ids[r].clone())
                .collect(),
        });
    }

    /// What never was a row.
    fn aside(&mut self, reason: &str, ids: &[&String], left: usize) {
        let named = ids.iter().map(|id| ((*id).clone(), reason.to_owned()));
        self.excluded.extend(named);
        self.steps.push(Exclusion {
            reason: reason.to_owned(),
            rows: ids.len(),
            left,
            examples: ids.iter().take(EXAMPLES).map(|id| (*id).clone()).collect(),
        });
    }
}

/// Rows that have latents; without identifiers both are in one order.
fn paired(
    flow: &mut Flow<'_>,
    rows: Vec<usize>,
    latents: &Latents,
    ids: &[String],
    n: usize,
    what: &str,
) -> Result<Vec<usize>> {
    let Some(theirs) = latents.ids() else {
        latents.same_rows(n)?;
        return Ok(rows);
    };
    let theirs: HashSet<&String> = theirs.iter().collect();
    let (_, kept) = split(&rows, |&row| theirs.contains(&ids[row]));
    flow.keep(rows.into_iter(), &kept, &format!("the row has no {what}"));
    let known: HashSet<&String> = ids.iter().collect();
    let mut strays: Vec<&String> = theirs
        .into_iter()
        .filter(|id| !known.contains(id))
        .collect();
    strays.sort_unstable();
    flow.aside(
        &format!("{what} without a row in the table"),
        &strays,
        kept.len(),
    );
    Ok(kept)
}

fn split(rows: &[usize], keep: impl Fn(&usize) -> bool) -> (Vec<usize>, Vec<usize>) {
    rows.iter().copied().partition(|row| !keep(row))
}

/// Identifiers of the rows, or their numbers where the table has no such column. Those of photos may
/// have the photo's ending.
pub(super) fn ids(table: &Table, file: &StudyFile) -> Result<Vec<String>> {
    let column = &file.columns.id;
    let with_photos = file.data.photos.is_some();
    if table.column(column).is_err() {
        return Ok((1..=table.n()).map(|row| row.to_string()).collect());
    }
    let labels = table.identifiers(column)?;
    let mut seen = HashMap::new();
    (0..table.n())
        .map(|row| {
            let id = labels
                .code(row)
                .map(|code| labels.levels()[code as usize].clone());
            let mut id = id.unwrap_or_else(|| format!("row {}", row + 1));
            if with_photos && let Some(stem) = without_ending(&id) {
                id.truncate(stem);
            }
            match seen.insert(id.clone(), row) {
                None => Ok(id),
                Some(first) => Err(Error::DuplicateId {
                    id,
                    first,
                    second: row,
                }),
            }
        })
        .collect()
}

/// Codes from 0 without gaps, in order of the codes.
fn dense(codes: &[u32]) -> Vec<u32> {
    let mut levels = codes.to_vec();
    levels.sort_unstable();
    levels.dedup();
    codes
        .iter()
        .map(|c| levels.binary_search(c).unwrap_or(0) as u32)
        .collect()
}

/// Identifiers of the rows of the study's table.
#[cfg(feature = "photos")]
pub(super) fn table_ids(file: &StudyFile) -> Result<HashSet<String>> {
    let table = table(file)?;
    let ids = ids(&table, file).map_err(|error| error.in_file(&file.data.table))?;
    Ok(ids.into_iter().collect())
}

/// W, and W+ where the file has it.
pub(super) fn latents(path: &Path) -> Result<(Latents, Option<Latents>)> {
    let bytes = bytes(path)?;
    match arrays(&bytes) {
        Some(names) if names.iter().any(|n| n == "w") => {
            let w = read_array(path, Some("w"))?;
            let plus = names.iter().any(|n| n == "w_plus");
            let plus = plus.then(|| read_array(path, Some("w_plus"))).transpose()?;
            Ok((w, plus))
        }
        _ => Ok((read_array(path, None)?, None)),
    }
}

fn read_array(path: &Path, array: Option<&str>) -> Result<Latents> {
    let bytes = bytes(path)?;
    let named = array.filter(|name| arrays(&bytes).is_some_and(|n| n.iter().any(|a| a == name)));
    let mut reader = LatentsReader::new();
    if let Some(name) = named {
        reader = reader.array(name);
    }
    let latents = reader
        .read_bytes(&bytes)
        .map_err(|error| error.in_file(path))?;
    match (latents.ids(), metadata_ids(&bytes)) {
        (None, Some(ids)) => latents.with_ids(ids).map_err(|error| error.in_file(path)),
        _ => Ok(latents),
    }
}

pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// The header of a safetensors file.
fn header(bytes: &[u8]) -> Option<serde_json::Map<String, serde_json::Value>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    serde_json::from_slice(rest.get(..length)?).ok()
}

/// Names of the tensors of a safetensors file.
fn arrays(bytes: &[u8]) -> Option<Vec<String>> {
    Some(
        header(bytes)?
            .keys()
            .filter(|k| *k != "__metadata__")
            .cloned()
            .collect(),
    )
}

/// The rows' identifiers in the metadata of a safetensors file.
fn metadata_ids(bytes: &[u8]) -> Option<Vec<String>> {
    let header = header(bytes)?;
    serde_json::from_str(header.get("__metadata__")?.get("ids")?.as_str()?).ok()
}

fn input(role: &str, path: &Path) -> Result<Input> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    Ok(Input {
        role: role.to_owned(),
        name: name.unwrap_or_default(),
        sha256: sha256(&bytes(path)?),
    })
}

/// SHA-256 as hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
