//! TRIPOD+AI, the reporting guideline for prediction models: what this program can say, and what is
//! left to the authors.
//!
//! G. Collins et al., TRIPOD+AI statement, BMJ 385, e078378, 2024, whose numbers of items these are; they are
//! named in our own words, and an item's parts are kept together where the run says nothing to them.

use super::super::account::ChecklistItem;
use super::super::results::{StudyReport, SubgroupFigures};
use super::super::{ReportPart, foreground};
use super::card;

/// The items in order.
#[expect(clippy::too_many_lines, reason = "a list, item by item")]
pub(in super::super) fn items(report: &StudyReport) -> Vec<ChecklistItem> {
    let v = &report.validation;
    let c = &report.cohort;
    let item = |number: &str, asks: &str| ChecklistItem {
        item: number.to_owned(),
        asks: asks.to_owned(),
        filled: None,
    };
    let filled = |number: &str, asks: &str, text: String| ChecklistItem {
        item: number.to_owned(),
        asks: asks.to_owned(),
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
        filled("7", "Data preparation", preparation(report)),
        filled(
            "8a",
            "Outcome, how and when it is assessed; horizons and their reason",
            match report.models.iter().find(|m| !m.calibration.is_empty()) {
                Some(m) => format!(
                    "horizons: {} ({}), {}; definition: authors to write",
                    m.calibration
                        .iter()
                        .map(|h| h.time.to_string())
                        .collect::<Vec<_>>()
                        .join(", "),
                    report.time_unit,
                    if v.horizons.is_empty() {
                        "the quartiles of the event times, rounded"
                    } else {
                        "chosen by the study; reason: authors to write"
                    }
                ),
                None => "no horizon; definition: authors to write".to_owned(),
            },
        ),
        item("8b, 8c", "Who assessed the outcome; blinding"),
        filled("9", "Predictors", predictors(report, &covariates)),
        filled(
            "10",
            "Sample size",
            format!(
                "{} rows of {} patients, {} events; how it was chosen: authors to write",
                c.rows, c.patients, c.events
            ),
        ),
        filled(
            "11",
            "Missing data",
            format!("complete cases; {left_out} rows and files set aside (see the flow of rows)"),
        ),
        filled(
            "12a",
            "Use of the data",
            "nested cross-validation; no row judges a model it trained".to_owned(),
        ),
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
            match columns(&report.subgroups).as_slice() {
                [] => "not looked at: the study names no column of clusters".to_owned(),
                some => format!("performance within the levels of {}", some.join(", ")),
            },
        ),
        filled(
            "12e",
            "Measures of performance",
            "Harrell's and Uno's C, time-dependent AUC and ROC curve, Brier score, calibration slope and \
             index, net benefit"
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
        filled(
            "13",
            "Class imbalance",
            format!(
                "nothing was done about it: times to event are no classes, and no rows were weighted or drawn \
                 again ({} of {} rows have the event)",
                c.events, c.rows
            ),
        ),
        filled("14", "Fairness: approach and rationale", fairness(report)),
        filled(
            "15",
            "Model output",
            "log hazard and survival probability; no threshold or class".to_owned(),
        ),
        filled(
            "16",
            "Differences between training and evaluation data",
            "none by design: training and held-out rows of every fold come from one data set, by chance"
                .to_owned(),
        ),
        item("17", "Ethical approval"),
        item("18", "Funding, conflicts, protocol, registration, sharing of data and code"),
        item("19", "Patient and public involvement"),
        filled("20a", "Flow of participants", "see the flow of rows".to_owned()),
        filled("20b", "Characteristics", "see the cohort's table".to_owned()),
        filled(
            "20c",
            "Comparison of development and evaluation data",
            "there is one data set; no other place or time has been looked at".to_owned(),
        ),
        filled(
            "21",
            "Numbers of participants and events in each analysis",
            format!(
                "{} patients, {} of them with the event, all of them in every outer fold's training or \
                 held-out part",
                c.patients, c.patients_with_event
            ),
        ),
        filled("22", "Model specification", specification(report)),
        filled(
            "23a",
            "Performance with confidence intervals, in subgroups too",
            if report.subgroups.is_empty() {
                "see the models; no subgroup was looked at".to_owned()
            } else {
                "see the models and the subgroups".to_owned()
            },
        ),
        match heterogeneity(report) {
            Some(text) => filled("23b", "Heterogeneity of performance between clusters", text),
            None => item("23b", "Heterogeneity of performance between clusters"),
        },
        filled("24", "Model updating, results", "none was done".to_owned()),
        item("25", "Interpretation of the results, fairness included"),
        filled(
            "26",
            "Limitations",
            format!("{} Others: authors to write.", card::limits(report)),
        ),
        filled("27a", "Handling of poor input", poor_input(report)),
        item("27b, 27c", "Users' interaction and expertise; next steps"),
    ]
}

fn preparation(report: &StudyReport) -> String {
    let mut text = match &report.inversion {
        Some(found) => format!(
            "Photos were {}inverted into the latent space of {}. ",
            if report.study.photos.align && report.study.simulate.is_none() {
                "cut out around the face and "
            } else {
                ""
            },
            found.network
        ),
        None => String::new(),
    };
    text.push_str(
        "Constant columns were left out; latents were standardised, and components fitted, within each \
         training fold.",
    );
    text
}

fn predictors(report: &StudyReport, covariates: &[&str]) -> String {
    let latents = match report.cohort.latents {
        0 => None,
        count => Some(format!("{count} latent columns")),
    };
    let some: Vec<String> = latents
        .into_iter()
        .chain(covariates.iter().map(|c| (*c).to_owned()))
        .collect();
    some.join(", ")
}

/// Columns of the subgroups, each once.
fn columns(groups: &[SubgroupFigures]) -> Vec<&str> {
    let mut out: Vec<&str> = groups.iter().map(|g| g.column.as_str()).collect();
    out.dedup();
    out
}

fn fairness(report: &StudyReport) -> String {
    let looked = match columns(&report.subgroups).as_slice() {
        [] => "no subgroup was looked at".to_owned(),
        some => format!(
            "performance was looked at within the levels of {}",
            some.join(", ")
        ),
    };
    format!("no model was changed for the sake of fairness; {looked}. Rationale: authors to write")
}

/// What a reader needs to compute the model's prediction.
fn specification(report: &StudyReport) -> String {
    let mut parts = Vec::new();
    if let Some(found) = &report.direction {
        parts.push(format!(
            "the face model fitted to everybody ({}), with coefficients, means and baseline hazard, in \
             face_model.json, its direction in health_direction.safetensors",
            found.chosen
        ));
    } else {
        let why = report
            .absent
            .iter()
            .find(|a| a.part == ReportPart::Direction);
        parts.push(format!(
            "no face model is given: {}",
            why.map_or("there is none", |a| a.reason.as_str())
        ));
    }
    if !report.clinical_model.is_empty() {
        parts.push("hazard ratios of the clinical model".to_owned());
    }
    parts.push("the fusion models of the folds are given by what the folds chose".to_owned());
    parts.join("; ")
}

/// The range of the foreground model's concordance over the levels of each column.
fn heterogeneity(report: &StudyReport) -> Option<String> {
    let front = foreground(&report.models)?;
    let lines: Vec<String> = columns(&report.subgroups)
        .into_iter()
        .filter_map(|column| {
            let own = report.subgroups.iter().filter(|g| g.column == column);
            let values: Vec<f64> = own
                .flat_map(|g| &g.harrell)
                .filter(|h| h.model == front.name)
                .map(|h| h.harrell.estimate)
                .collect();
            let low = values.iter().copied().reduce(f64::min)?;
            let high = values.iter().copied().reduce(f64::max)?;
            let count = values.len();
            Some(format!("{column}: {low:.3} to {high:.3} in {count} levels"))
        })
        .collect();
    (!lines.is_empty()).then(|| format!("Harrell's C of {}, {}", front.title, lines.join("; ")))
}

fn poor_input(report: &StudyReport) -> String {
    match &report.inversion {
        Some(found) => format!(
            "photos without a clear face are set aside; {} inversions not to be trusted were {}",
            found.inverted - found.trusted,
            if found.untrusted_left_out {
                "left out"
            } else {
                "kept"
            }
        ),
        None => "rows with a missing value are set aside; latents were given, and nothing is known of their \
                 photos"
            .to_owned(),
    }
}
