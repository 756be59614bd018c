//! TRIPOD+AI, the reporting guideline for prediction models: what this program can say, and what is
//! left to the authors.
//!
//! G. Collins et al., TRIPOD+AI statement, BMJ 385, 2024. Items are named in our own words.

use super::super::results::StudyReport;

/// One item: its number, what it asks, and what the run says to it; nothing for the authors'.
pub(super) struct Item {
    pub(super) number: &'static str,
    pub(super) asks: &'static str,
    pub(super) filled: Option<String>,
}

/// The items in order.
pub(super) fn items(report: &StudyReport) -> Vec<Item> {
    let v = &report.validation;
    let c = &report.cohort;
    let item = |number, asks| Item {
        number,
        asks,
        filled: None,
    };
    let filled = |number, asks, text: String| Item {
        number,
        asks,
        filled: Some(text),
    };
    let covariates: Vec<&str> = c.covariates.iter().map(|c| c.name.as_str()).collect();
    let left_out: usize = report.exclusions.iter().map(|e| e.rows).sum();
    let models: Vec<&str> = report.models.iter().map(|m| m.title.as_str()).collect();
    vec![
        item("1", "Title: development or evaluation, population, outcome"),
        item("2", "Structured abstract"),
        item("3", "Background, intended use, known inequalities"),
        item("4", "Objectives"),
        item("5", "Source of the data, dates, representativeness"),
        item("6", "Setting, eligibility, treatments received"),
        filled(
            "7",
            "Data preparation",
            "Constant columns were left out; latents were standardised, and components fitted, \
             within each training fold."
                .to_owned(),
        ),
        item("8a", "Outcome and its assessment; horizon chosen why"),
        filled(
            "8b",
            "Horizons",
            match report.models.iter().find(|m| !m.calibration.is_empty()) {
                Some(m) => m
                    .calibration
                    .iter()
                    .map(|h| format!("{} {}", h.time, report.time_unit))
                    .collect::<Vec<_>>()
                    .join(", "),
                None => "none".to_owned(),
            },
        ),
        filled(
            "9",
            "Predictors",
            format!("{} latent columns; {}", c.latents, covariates.join(", ")),
        ),
        filled(
            "10",
            "Sample size",
            format!("{} rows of {} patients, {} events", c.rows, c.patients, c.events),
        ),
        filled(
            "11",
            "Missing data",
            format!("complete cases; {left_out} rows and files set aside (see the flow of rows)"),
        ),
        filled("12a", "Use of the data", "nested cross-validation; no row judges a model it trained".to_owned()),
        filled("12b", "Models", models.join("; ")),
        filled(
            "12c",
            "Model building, tuning, internal validation",
            format!(
                "{} x {} outer folds by patient, {} inner folds; seed {}",
                v.repeats, v.outer_folds, v.inner_folds, report.seed
            ),
        ),
        filled(
            "12d",
            "Heterogeneity between groups",
            format!("{} subgroups looked at", report.subgroups.len()),
        ),
        filled(
            "12e",
            "Measures of performance",
            "Harrell's and Uno's C, time-dependent AUC, Brier score, calibration slope and index, net \
             benefit"
                .to_owned(),
        ),
        item("13", "Class imbalance: not adjusted for (time to event)"),
        item("14", "Fairness: approach and rationale; see subgroups"),
        filled("15", "Model output", "log hazard and survival probability".to_owned()),
        item("16", "Differences between training and evaluation data"),
        item("17", "Ethical approval"),
        item("18", "Funding, conflicts, protocol, registration, sharing of data and code"),
        item("19", "Patient and public involvement"),
        filled("20a", "Flow of participants", "see the flow of rows".to_owned()),
        filled("20b", "Characteristics", "see the cohort's table".to_owned()),
        filled("21", "Numbers of participants and events", format!("{} and {}", c.rows, c.events)),
        filled("22", "Model specification", "health_direction.safetensors; clinical hazard ratios".to_owned()),
        filled("23", "Performance with confidence intervals", "see the models' table".to_owned()),
        item("24", "Model updating: none was done"),
        item("25", "Interpretation of the results, fairness included"),
        item("26", "Limitations"),
        item("27", "Usability: input needed, handling of poor input, next steps"),
    ]
}
