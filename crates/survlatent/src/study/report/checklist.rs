//! TRIPOD+AI, the reporting guideline for prediction models: what this program can say, and what is
//! left to the authors.
//!
//! G. Collins et al., TRIPOD+AI statement, BMJ 385, e078378, 2024, whose numbers of items these are; they are
//! named in our own words, and an item's parts are kept together where the run says nothing to them.

use super::super::results::StudyReport;

/// One item: its number, what it asks, and what the run says to it; nothing for the authors'.
pub(super) struct Item {
    pub(super) number: &'static str,
    pub(super) asks: &'static str,
    pub(super) filled: Option<String>,
}

/// The items in order.
#[expect(clippy::too_many_lines, reason = "a list, item by item")]
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
        filled(
            "8a",
            "Outcome, how and when it is assessed; horizons and their reason",
            match report.models.iter().find(|m| !m.calibration.is_empty()) {
                Some(m) => format!(
                    "horizons: {} ({}); definition and reason: authors to write",
                    m.calibration
                        .iter()
                        .map(|h| h.time.to_string())
                        .collect::<Vec<_>>()
                        .join(", "),
                    report.time_unit
                ),
                None => "no horizon; definition: authors to write".to_owned(),
            },
        ),
        item("8b, 8c", "Who assessed the outcome; blinding"),
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
        filled(
            "12b",
            "Handling of predictors",
            "linear terms; categories as indicators; latents standardised, or their principal components"
                .to_owned(),
        ),
        filled(
            "12c",
            "Models, their building, tuning and internal validation",
            format!(
                "{}; {} x {} outer folds by patient, {} inner folds; seed {}",
                models.join("; "),
                v.repeats,
                v.outer_folds,
                v.inner_folds,
                report.seed
            ),
        ),
        filled(
            "12d",
            "Heterogeneity between clusters",
            format!("{} subgroups looked at", report.subgroups.len()),
        ),
        filled(
            "12e",
            "Measures of performance",
            "Harrell's and Uno's C, time-dependent AUC, Brier score, calibration slope and index, net \
             benefit"
                .to_owned(),
        ),
        filled("12f", "Model updating", "none".to_owned()),
        filled(
            "12g",
            "How predictions are computed",
            "log hazard from the fold's model, probability from it and the Breslow hazard of the \
             training rows"
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
        item("20c", "Differences between data sets: there is one"),
        filled("21", "Numbers of participants and events", format!("{} and {}", c.patients, c.patients_with_event)),
        filled("22", "Model specification", "health_direction.safetensors; clinical hazard ratios".to_owned()),
        filled("23a", "Performance with confidence intervals, in subgroups too", "see models and subgroups".to_owned()),
        item("23b", "Heterogeneity of performance between clusters"),
        item("24", "Model updating: none was done"),
        item("25", "Interpretation of the results, fairness included"),
        item("26", "Limitations"),
        match &report.inversion {
            Some(found) => filled(
                "27a",
                "Handling of poor input",
                format!(
                    "photos without a clear face are set aside; {} inversions not to be trusted were {}",
                    found.inverted - found.trusted,
                    if found.untrusted_left_out { "left out" } else { "kept" }
                ),
            ),
            None => item("27a", "Handling of poor input"),
        },
        item("27b, 27c", "Users' interaction and expertise; next steps"),
    ]
}
