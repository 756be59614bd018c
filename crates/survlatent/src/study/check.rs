//! What can be known to be wrong before anything is computed.

use std::collections::HashSet;

use super::bands::Levels;
use super::file::StudyFile;
use super::{networks, photos, read};
use crate::error::{Error, Result};

/// Refuses what settings and table alone show to be wrong, before hours are spent on photos.
pub(super) fn check(file: &StudyFile) -> Result<()> {
    file.study().check()?;
    file.proof.validate()?;
    networks::check(file)?;
    photos::check_estimates(file)?;
    masks(file)?;
    categorical(file)?;
    if file.simulate.is_some() {
        return Ok(());
    }
    table(file).map_err(|error| error.in_file(&file.data.table))
}

fn masks(file: &StudyFile) -> Result<()> {
    match &file.proof.masks {
        Some(folder) if !folder.is_dir() => Err(Error::Study {
            reason: format!("proof.masks: there is no folder {}", folder.display()),
        }),
        _ => Ok(()),
    }
}

/// A column that is declared categorical and has no part is a misspelt one.
fn categorical(file: &StudyFile) -> Result<()> {
    let columns = &file.columns;
    let mut known = read::features(columns);
    known.extend(columns.groups().cloned());
    let estimates = file.photos.estimates();
    known.extend(estimates.iter().map(|e| e.column().to_owned()));
    let used = |name: &&String| known.contains(name);
    match columns.categorical.iter().find(|name| !used(name)) {
        None => Ok(()),
        Some(name) => Err(Error::CategoricalNotUsed { name: name.clone() }),
    }
}

/// Every column that has a part, the horizons, and events of too few patients.
fn table(file: &StudyFile) -> Result<()> {
    let (columns, study) = (&file.columns, file.study());
    let table = read::table(file).map_err(|error| match error {
        // The caller names it.
        Error::InFile { source, .. } => *source,
        other => other,
    })?;
    read::ids(&table, file)?;
    let age = columns.age.iter();
    for age in age.filter(|name| !columns.categorical.contains(name)) {
        table.numbers(age)?;
    }
    // Those estimated from photos are no columns yet.
    let estimates = file.photos.estimates();
    let mut features = read::features(columns);
    features.retain(|name| estimates.iter().all(|e| e.column() != name));
    let whole = read::roles(file, &features).cohort(&table)?;
    let levels = Levels {
        categorical: &columns.categorical,
        cuts: &columns.subgroup_cuts,
    };
    for column in columns.groups() {
        levels.of(&table, column, whole.rows())?;
    }
    study.horizons(whole.surv())?;
    let patient = columns.patient.as_ref();
    let patient = patient.map(|c| table.identifiers(c)).transpose()?;
    let (mut all, mut with_event) = (HashSet::new(), HashSet::new());
    for (&row, &event) in whole.rows().iter().zip(whole.surv().event()) {
        let who = match &patient {
            None => Some(row as u32),
            Some(labels) => labels.code(row),
        };
        all.extend(who);
        with_event.extend(who.filter(|_| event));
    }
    study.check_events(all.len(), with_event.len())
}
