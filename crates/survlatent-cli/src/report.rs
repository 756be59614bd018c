//! What goes to standard output and standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use serde::Serialize;
use survlatent::cox_survival::Surv;
use survlatent::{Cohort, Error};

use crate::failure::Failure;

/// Prints a result: its JSON or its table.
pub(crate) fn result(json: Option<&impl Serialize>, table: &impl Display) -> Result<(), Failure> {
    let text = match json {
        None => table.to_string(),
        Some(json) => match serde_json::to_string(json) {
            Ok(text) => text + "\n",
            Err(error) => return Err(output(error.into())),
        },
    };
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(output)
}

fn output(error: std::io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::Closed;
    }
    Failure::from(Error::Io {
        path: PathBuf::from("standard output"),
        source: error,
    })
}

/// Says on standard error how the table was read.
pub(crate) fn notices(cohort: &Cohort) {
    for notice in cohort.notices() {
        note(notice);
    }
}

/// Says that `what` takes weights as numbers of patients, where they cannot be that.
pub(crate) fn weights_as_counts(surv: &Surv, what: &str, otherwise: &str) {
    let fractional = |weight: &f64| weight.fract().abs() > 0.0;
    if surv
        .weights()
        .is_some_and(|weights| weights.iter().any(fractional))
    {
        note(&format!(
            "{what} take weights as numbers of patients, and not all of these are whole; for other weights {otherwise}"
        ));
    }
}

/// One note on standard error.
pub(crate) fn note(note: &impl Display) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "note: {note}");
}
