//! The model card: what somebody must know who holds the model and not the whole report.
//!
//! After M. Mitchell et al., Model cards for model reporting, Conference on Fairness, Accountability and
//! Transparency 2019. Figures are those of the run; where it has none, the line is not there.

use std::fmt::Write as _;

use super::super::foreground;
use super::super::interval::Interval;
use super::super::results::{
    CardItem, InversionFigures, ModelFigures, StudyReport, SubgroupFigures,
};

/// Lines of the card, from the figures that the report has already.
pub(in super::super) fn card(report: &StudyReport) -> Vec<CardItem> {
    let front = foreground(&report.models);
    let mut out = Vec::new();
    let mut add = |item: &str, text: Option<String>| {
        if let Some(text) = text {
            out.push(CardItem {
                item: item.to_owned(),
                text,
            });
        }
    };
    add("Model", Some(model(report, front)));
    add("Data", Some(data(report)));
    add("Estimated, not recorded", estimated(report));
    add("Performance", Some(performance(report, front)));
    add("What the face adds", added(report));
    add("Chance", chance(report));
    add("Groups", front.and_then(|m| groups(report, m)));
    add("What it reads from photos", reads(report));
    add("Intended use", Some(intended(report, front)));
    add(
        "Not to be used for",
        Some(
            "Decisions about a person: care, insurance, employment, or telling anybody's health from a \
             picture. Patients of other places, other times or other kinds than these, before it was \
             judged on them. Photos taken or prepared in another way. Any claim about causes."
                .to_owned(),
        ),
    );
    add("Limits", Some(limits(report)));
    add("Versions", Some(versions(report)));
    out
}

fn plain(v: &Interval, digits: usize) -> String {
    match (v.lower, v.upper) {
        (Some(l), Some(u)) => format!("{:.digits$} ({l:.digits$} to {u:.digits$})", v.estimate),
        _ => format!("{:.digits$}", v.estimate),
    }
}

fn model(report: &StudyReport, front: Option<&ModelFigures>) -> String {
    let Some(front) = front else {
        return "No model could be fitted.".to_owned();
    };
    let mut text = format!("{}. ", front.title);
    if let Some(found) = &report.direction {
        let _ = write!(text, "Fitted to everybody: {}. ", found.chosen);
    }
    if let Some(found) = &report.inversion {
        let _ = write!(
            text,
            "It reads {} latent columns, found for each photo in {} (method {}, {} steps). ",
            report.cohort.latents, found.network, found.method, found.steps
        );
    }
    text + "Output: a log hazard relative to the training patients', and survival by it and their \
            Breslow hazard."
}

fn data(report: &StudyReport) -> String {
    let c = &report.cohort;
    let mut text = match &report.truth {
        Some(_) => "A simulated cohort: ".to_owned(),
        None => String::new(),
    };
    let _ = write!(
        text,
        "{} photos of {} patients, {} of them with the event",
        c.rows, c.patients, c.patients_with_event
    );
    if let Some(follow_up) = c.median_follow_up {
        let unit = &report.time_unit;
        let _ = write!(text, ", median follow-up {follow_up:.2} {unit}");
    }
    let aside: usize = report.exclusions.iter().map(|e| e.rows).sum();
    let _ = write!(text, "; {aside} rows and files were set aside.");
    for x in &c.covariates {
        let _ = match (x.mean, x.sd) {
            (Some(mean), _) if x.indicator => write!(text, " {}: {:.0} %.", x.name, 100.0 * mean),
            (Some(mean), Some(sd)) => write!(text, " {}: mean {mean:.1}, SD {sd:.1}.", x.name),
            _ => write!(text, " {}: too few.", x.name),
        };
    }
    text
}

/// What is no record of the patients.
fn estimated(report: &StudyReport) -> Option<String> {
    let first = report.estimated.first()?;
    let names: Vec<&str> = report.estimated.iter().map(|e| e.column.as_str()).collect();
    Some(format!(
        "{}: from the photos, by {}. They say what the photos look like to these networks; what the face adds \
         to them is what it adds to another reading of the same face.",
        names.join(", "),
        first.by
    ))
}

fn performance(report: &StudyReport, front: Option<&ModelFigures>) -> String {
    let Some(front) = front else {
        return "None.".to_owned();
    };
    let v = &report.validation;
    let mut text = format!(
        "On patients not trained on ({} x {} folds), {:.0} % intervals.",
        v.repeats,
        v.outer_folds,
        100.0 * v.level
    );
    for (name, figure, digits) in [
        ("Harrell's C", &front.harrell, 3),
        ("Uno's C", &front.uno, 3),
        ("mean AUC", &front.auc, 3),
        ("calibration slope", &front.calibration_slope, 2),
        ("integrated Brier score", &front.ibs, 3),
    ] {
        if let Some(figure) = figure {
            let _ = write!(text, " {name} {};", plain(figure, digits));
        }
    }
    if let Some(reference) = front.ibs_reference {
        let _ = write!(
            text,
            " Brier score of a prediction that knows nobody {reference:.3};"
        );
    }
    for c in &front.calibration {
        let _ = write!(
            text,
            " at {} {} mean predicted risk {:.3}, calibration index {};",
            c.time,
            report.time_unit,
            c.predicted,
            plain(&c.ici, 3)
        );
    }
    text.trim_end_matches(';').to_owned() + "."
}

fn added(report: &StudyReport) -> Option<String> {
    let of = |g: &super::super::results::Increment| {
        format!(
            "{} against {}: gain in Harrell's C {}, {} test p {}.",
            g.with_face.title(),
            g.base.title(),
            g.harrell
                .as_ref()
                .map_or_else(|| "-".to_owned(), |h| plain(h, 3)),
            g.test.title(),
            match g.p {
                None => "-".to_owned(),
                Some(p) if p < 0.001 => "< 0.001".to_owned(),
                Some(p) => format!("{p:.3}"),
            }
        )
    };
    let lines: Vec<String> = report.increment.iter().map(of).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}

fn chance(report: &StudyReport) -> Option<String> {
    let null = report.permutation_null.as_ref()?;
    Some(format!(
        "The same procedure on {} permuted outcomes: Harrell's C {:.3} on average, {:.3} at most.",
        null.harrell.len(),
        null.mean?,
        null.max?
    ))
}

/// The groups of lowest and highest concordance, and those nothing is known of.
fn groups(report: &StudyReport, front: &ModelFigures) -> Option<String> {
    let of = |g: &SubgroupFigures| {
        let own = g.harrell.iter().find(|h| h.model == front.name)?;
        Some((format!("{} {}", g.column, g.level), own.harrell))
    };
    let mut known: Vec<(String, Interval)> = report.subgroups.iter().filter_map(of).collect();
    known.sort_by(|a, b| a.1.estimate.total_cmp(&b.1.estimate));
    let hidden = report.subgroups.len() - known.len();
    if report.subgroups.is_empty() {
        return None;
    }
    let mut text = match (known.first(), known.last()) {
        (Some(low), Some(high)) => format!(
            "Harrell's C from {} in {} to {} in {}.",
            plain(&low.1, 3),
            low.0,
            plain(&high.1, 3),
            high.0
        ),
        _ => "No group is large enough to be judged.".to_owned(),
    };
    if hidden > 0 {
        let _ = write!(
            text,
            " {hidden} groups are too small to be judged, or tell of one that is."
        );
    }
    Some(text)
}

fn reads(report: &StudyReport) -> Option<String> {
    let mut text = String::new();
    if let Some(found) = &report.saliency {
        let _ = write!(
            text,
            "{:.0} % of the picture's change along the direction lies inside the face, which takes {:.0} \
             % of it. ",
            100.0 * found.face_share,
            100.0 * found.face_area
        );
    }
    let mut by_size: Vec<_> = report.occlusion.iter().collect();
    by_size.sort_by(|a, b| b.absolute.estimate.total_cmp(&a.absolute.estimate));
    if let (Some(most), Some(least)) = (by_size.first(), by_size.last()) {
        let _ = write!(
            text,
            "Of eight edits of the photos, \"{}\" moves the risk most, by {} SD, and \"{}\" least, by \
             {} SD. ",
            most.edit.title(),
            plain(&most.absolute, 2),
            least.edit.title(),
            plain(&least.absolute, 2)
        );
    }
    if let Some(found) = &report.shortcut {
        text.push_str(&found.sentence());
    }
    let text = text.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn intended(report: &StudyReport, front: Option<&ModelFigures>) -> String {
    let found = front
        .and_then(|m| m.harrell)
        .is_some_and(|h| h.is_above(0.5));
    let mut text =
        "Research: whether, and with what, a portrait goes with the outcome in patients like \
                    these."
            .to_owned();
    if !found {
        text.push_str(" Discrimination was not told from chance: there is nothing to be used.");
    }
    if report.truth.is_some() {
        text.push_str(" The patients are simulated: it says how well the method works, and nothing of people.");
    }
    text
}

/// How many inversions are not to be trusted, and the verb that goes with that.
pub(super) fn doubtful(found: &InversionFigures) -> (usize, &'static str) {
    match found.inverted - found.trusted {
        1 => (1, "is"),
        n => (n, "are"),
    }
}

pub(super) fn limits(report: &StudyReport) -> String {
    let mut text =
        "Judged by cross-validation within one data set; no other place or time has seen it. \
                    Rows with a missing value were left out."
            .to_owned();
    if let Some(found) = &report.inversion {
        let (doubtful, are) = doubtful(found);
        let _ = write!(
            text,
            " {doubtful} of {} inversions {are} not to be trusted and were {}.",
            found.inverted,
            if found.untrusted_left_out {
                "left out"
            } else {
                "kept"
            }
        );
    }
    if let Some(found) = &report.direction {
        if let Some(agreement) = found.agreement {
            let _ = write!(
                text,
                " {:.0} % of the variance of its scores depends on the choice of training patients.",
                100.0 * (1.0 - agreement)
            );
        }
        let most = found
            .leakage
            .iter()
            .max_by(|a, b| a.unconditional.abs().total_cmp(&b.unconditional.abs()));
        if let Some(most) = most {
            let _ = write!(
                text,
                " A step along its direction that halves the hazard moves what the latents say of {} by \
                 {:+.2} SD.",
                most.name, most.unconditional
            );
        }
    }
    for note in &report.notes {
        let _ = write!(text, " {note}.");
    }
    text
}

fn versions(report: &StudyReport) -> String {
    let inputs: Vec<String> = report
        .inputs
        .iter()
        .map(|i| format!("{} {}", i.role, &i.sha256[..i.sha256.len().min(12)]))
        .collect();
    format!(
        "survlatent {}, seed {}; SHA-256: {}.",
        report.version,
        report.seed,
        inputs.join(", ")
    )
}
