//! The page: sections in the order a reviewer reads.

use std::fmt::Write as _;

use super::super::proof::{Evidence, Shown};
use super::super::results::{InversionFigures, StudyReport};
use super::super::{ChecklistItem, OutOfFoldPredictions, ReportPart, StudyData};
use super::pictures::{self, Figure, Groups};
use super::tables::{self, interval, number, p_value, safe};
use super::{card, summary};
use crate::proof::SaliencyFigures;

const STYLE: &str = include_str!("style.css");

/// The whole page; it needs nothing from elsewhere.
#[expect(clippy::too_many_lines, reason = "section after section")]
pub(in super::super) fn page(
    report: &StudyReport,
    data: &StudyData,
    predictions: &OutOfFoldPredictions,
    groups: Option<&Groups>,
    evidence: &Evidence,
) -> String {
    let drawn = pictures::draw(report, data, predictions, groups);
    let title = match report.title.as_str() {
        "" => "Study",
        title => title,
    };
    let title = safe(title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>"
    );
    out.push_str(&summary::summary(report));
    let mut page = Page {
        out,
        contents: Vec::new(),
    };
    let who = paragraph("Who was set aside is in exclusions.csv, in the folder of the run.");
    page.section("Flow of rows", &[tables::flow(report), who], &[]);
    page.section("Cohort", &[tables::cohort(report)], &[]);
    if let Some(found) = &report.inversion {
        let text = paragraph(&inversion(found));
        page.section("Inversion", &[text, tables::inversion(found)], &[]);
    }
    page.section(
        "Models",
        &[
            paragraph(
                "Every figure is out of fold: no model judges rows of a patient it was fitted to, and \
                 scaling, components, penalty and fusion weights are chosen within the training \
                 rows. Concordances compare rows of one fold and are averaged over repeats. In \
                 brackets: for C, AUC and calibration slopes bootstrap intervals over patients, widened for the choice of \
                 training rows; for the Brier score and intercepts bootstrap intervals that take the models as given.",
            ),
            tables::models(report),
        ],
        &[],
    );
    if !report.increment.is_empty() {
        let text = paragraph(
            "The same rows, folds and bootstrap draws for both models of a line; all three intervals are \
             bootstrap intervals over patients, widened for the choice of training rows. The test adds the \
             face's out-of-fold log risk to the covariates of the smaller model.",
        );
        page.section(
            "What the face adds",
            &[text, tables::increment(report)],
            &[],
        );
    }
    if let Some(null) = &report.permutation_null {
        let text = format!(
            "The procedure for {} on {} permuted outcomes gave concordances of mean {} ({} to \
             {}); {} of their intervals contain 0.5. Share of permutations that reach the \
             one repeat on the data, the data counted in: {}.",
            safe(null.model.title()),
            null.harrell.len(),
            number(null.mean, 3),
            number(null.min, 3),
            number(null.max, 3),
            null.intervals_with_half,
            null.p.map_or_else(|| "-".to_owned(), p_value)
        );
        page.section("What chance would give", &[format!("<p>{text}</p>")], &[]);
    }
    page.section("Risk groups", &[], &figures(drawn.groups));
    page.section("Discrimination over time", &[], &figures(drawn.auc));
    page.section("ROC curves", &[], &drawn.roc);
    page.section("Prediction error over time", &[], &figures(drawn.brier));
    let calibration = [
        paragraph(
            "Limits of the index are those of a bootstrap over patients that takes the models as given, moved \
             so that its median is the estimate.",
        ),
        tables::calibration(report),
    ];
    page.section("Calibration", &calibration, &drawn.calibration);
    page.section("Decision curve", &[], &figures(drawn.decision));
    page.section("Clinical model", &[], &figures(drawn.forest));
    if !report.subgroups.is_empty() {
        let text = format!(
            "Harrell's C within each group, with intervals from influence values, one per patient, widened \
             for the choice of training rows. Groups of fewer than {} patients, or {} with the event, are \
             not shown, and where that is one alone the next smallest is not either. Of the models that the \
             pictures show; report.json has the others.",
            report.validation.min_patients, report.validation.min_events
        );
        let tables = [paragraph(&text), tables::subgroups(report)];
        page.section("Subgroups", &tables, &[]);
    }
    if !report.diagnoses.is_empty() {
        let text = "Harrell's C within each diagnosis: of models that were fitted to patients of that \
                    diagnosis alone, with folds, choices and intervals of their own, and of those fitted \
                    to all patients.";
        let tables = [paragraph(text), tables::diagnoses(report)];
        page.section("Diagnoses", &tables, &[]);
    }
    if let Some(direction) = &report.direction {
        let mut text = format!(
            "The face model fitted to everybody ({}) gives the direction. A step of {:.3} latent \
             units along it halves the hazard.",
            safe(&direction.chosen),
            direction.step_for_half_hazard
        );
        if let Some(agreement) = direction.agreement {
            let _ = write!(
                text,
                " {:.0} % of the variance of out-of-fold scores does not depend on the choice of training \
                 rows.",
                100.0 * agreement
            );
        }
        if let Some(cosine) = direction.cosine_with_truth {
            let _ = write!(
                text,
                " Cosine to the planted direction, whitened: {cosine:.3}."
            );
        }
        let leak = "What that step does to what the latents say of each covariate: along the direction; \
                    along that of the model with the covariates in it, which is the direction at their \
                    fixed values; and along the latter projected, in the metric of the latents' \
                    covariance, off the covariates' predictions.";
        let body = [
            format!("<p>{text}</p>"),
            paragraph(leak),
            tables::leakage(report),
        ];
        let mut body = body.to_vec();
        if let Some(pictures) = &report.pictures {
            body.push(format!(
                "<p>Directions refitted to {} bootstrap samples of patients: cosine to this one {}; their \
                 pictures change as this one's does with a mean cosine of {:.2} over the pixels.</p>",
                pictures.replicates,
                interval(&pictures.cosine, 2),
                pictures.picture
            ));
        }
        body.extend(lack(report, ReportPart::Pictures));
        page.section("Health direction", &body, &shown(&evidence.direction));
    } else {
        page.section(
            "Health direction",
            &lack(report, ReportPart::Direction),
            &[],
        );
    }
    if let Some(saliency) = &report.saliency {
        let body = [paragraph(&seen(saliency)), tables::saliency(saliency)];
        page.section("Where it looks", &body, &shown(&evidence.where_it_looks));
    } else {
        page.section("Where it looks", &lack(report, ReportPart::Saliency), &[]);
    }
    let mut body = match &report.shortcut {
        Some(test) => vec![paragraph(&test.sentence()), tables::shortcut(test)],
        None => lack(report, ReportPart::Shortcut),
    };
    if let Some(models) = &report.region_models {
        body.push(paragraph(
            "The same model, principal components and Cox, fitted to pixels: all of them, those of \
             the face's oval, and all others. Hair and outline tell of a person, too: a background \
             above 0.5 is no proof of a shortcut.",
        ));
        body.push(tables::region_models(models));
    }
    page.section("Shortcuts", &body, &shown(&evidence.shortcuts));
    if let Some(first) = report.occlusion.first() {
        let text = format!(
            "Parts of {} photos, one per patient, were covered with one colour or replaced by another \
             patient's, and the photos inverted again. The change of log risk is that of the models of \
             the first repeat that had not seen the patient, in standard deviations of the score over \
             the cohort. A model that reads the face moves most when the face is covered, one that reads \
             the wall when the background is swapped. A covered photo is unlike any portrait, too, and \
             an inversion may answer to that: compare edits of similar size.",
            first.photos
        );
        let body = [paragraph(&text), tables::occlusion(&report.occlusion)];
        page.section("Covered and swapped", &body, &[]);
    } else {
        let body = lack(report, ReportPart::Occlusion);
        page.section("Covered and swapped", &body, &[]);
    }
    if let Some(truth) = &report.truth {
        let text = format!(
            "This cohort is simulated. Perfect scores would reach, without censoring: face {:.3}, age \
             and sex {:.3}, both {:.3}, all that acts {:.3}.",
            truth.face, truth.clinical, truth.face_and_clinical, truth.all
        );
        page.section("What was planted", &[paragraph(&text)], &[]);
    }
    let card: Vec<Vec<String>> = report
        .model_card
        .iter()
        .map(|line| vec![safe(&line.item), safe(&line.text)])
        .collect();
    let card = tables::text_table(&["Model card", ""], &card);
    page.section("Model card", &[card], &[]);
    page.section("TRIPOD+AI", &[tripod(report)], &[]);
    page.section("Provenance", &[provenance(report)], &[]);
    page.out.push_str("</main></body></html>\n");
    let contents = page.contents.concat();
    page.out.replacen(
        "<!--contents-->",
        &format!("<nav><ul>{contents}</ul></nav>"),
        1,
    )
}

/// How photos became latents, and what was done with those not to be trusted.
fn inversion(found: &InversionFigures) -> String {
    let (doubtful, are) = card::doubtful(found);
    let fate = match (doubtful, found.untrusted_left_out) {
        (0, _) => "",
        (_, true) => " They were left out.",
        (_, false) => " They were kept (photos.drop_untrusted = true leaves them out).",
    };
    let mut text = format!(
        "{} of {} faces were inverted into the latent space of {} (method {}, {} steps). {doubtful} of \
         them {are} not to be trusted: the picture of their latent differs from the photo, or the latent \
         lies far from all that the network knows.{fate} Mahalanobis distances of the network's own \
         latents: median {:.1}, 99th percentile {:.1}.",
        found.inverted,
        found.photos,
        found.network,
        found.method,
        found.steps,
        found.mahalanobis_of_network[0],
        found.mahalanobis_of_network[1]
    );
    if let Some(r) = found.correlation_with_truth {
        let _ = write!(
            text,
            " The planted log hazard at the latents found correlates {r:.3} with that at the true ones."
        );
    }
    text
}

struct Page {
    out: String,
    contents: Vec<String>,
}

impl Page {
    /// A section of tables and pictures; nothing where there is neither.
    fn section(&mut self, title: &str, parts: &[String], figures: &[Figure]) {
        if parts.is_empty() && figures.is_empty() {
            return;
        }
        let id = title.to_lowercase().replace([' ', '+'], "-");
        self.contents
            .push(format!("<li><a href=\"#{id}\">{title}</a></li>"));
        let _ = write!(self.out, "<section id=\"{id}\"><h2>{title}</h2>");
        for part in parts {
            self.out.push_str(part);
        }
        for figure in figures {
            let _ = write!(
                self.out,
                "<figure><div class=\"wide\">{}</div><figcaption>{}</figcaption></figure>",
                figure.svg,
                safe(&figure.caption)
            );
        }
        self.out.push_str("</section>");
    }
}

fn shown(pictures: &[Shown]) -> Vec<Figure> {
    let figure = |p: &Shown| Figure {
        svg: p.html(),
        caption: p.caption.clone(),
    };
    pictures.iter().map(figure).collect()
}

/// The share of the face beside its area, in words.
fn seen(saliency: &SaliencyFigures) -> String {
    let face = match (saliency.masks, saliency.landmarks) {
        (true, _) => " The face is that of each photo's mask.",
        (_, true) => " The face is an oval around each photo's own landmarks.",
        _ => " The face is the oval where aligned portraits have it.",
    };
    format!(
        "{:.0} % ({:.0} to {:.0}) of the picture's change along the direction lies inside the face, which \
         takes {:.0} % of the picture. Exact derivatives of the generator at the latents of {} patients; \
         limits by bootstrap over patients.{face}",
        100.0 * saliency.face_share,
        100.0 * saliency.lower,
        100.0 * saliency.upper,
        100.0 * saliency.face_area,
        saliency.rows
    )
}

fn figures(figure: Option<Figure>) -> Vec<Figure> {
    figure.into_iter().collect()
}

fn paragraph(text: &str) -> String {
    format!("<p>{}</p>", safe(text))
}

/// Why a part is not there.
fn lack(report: &StudyReport, part: ReportPart) -> Vec<String> {
    let what = match part {
        ReportPart::Direction => "There is no health direction",
        ReportPart::Pictures => "There are no pictures of it",
        ReportPart::Saliency => "There is no map of where it looks",
        ReportPart::Shortcut => "There is no test for shortcuts",
        ReportPart::Occlusion => "No photos were covered or swapped",
    };
    let own = report.absent.iter().filter(|a| a.part == part);
    own.map(|a| paragraph(&format!("{what}: {}.", a.reason)))
        .collect()
}

/// Items of a list, safe already.
pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    let mut out = String::new();
    for item in items {
        let _ = write!(out, "<li>{item}</li>");
    }
    out
}

fn tripod(report: &StudyReport) -> String {
    let items = &report.tripod_ai;
    let filled = items.iter().filter(|i| i.filled.is_some()).count();
    let row = |i: &ChecklistItem| {
        let text = i
            .filled
            .as_ref()
            .map_or_else(|| "authors to write".to_owned(), |t| safe(t));
        vec![safe(&i.item), safe(&i.asks), text]
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    let text = format!("{filled} of {} items are filled from the run.", items.len());
    paragraph(&text) + &tables::text_table(&["Item", "What it asks", "This run"], &rows)
}

fn provenance(report: &StudyReport) -> String {
    let mut rows = vec![
        vec!["survlatent".to_owned(), safe(&report.version)],
        vec!["Seed".to_owned(), report.seed.to_string()],
    ];
    for input in &report.inputs {
        let text = format!("{}<br><code>{}</code>", safe(&input.name), input.sha256);
        rows.push(vec![safe(&input.role), text]);
    }
    let chosen = report
        .models
        .iter()
        .filter(|m| !m.chosen.is_empty())
        .map(|m| format!("{}: {}", safe(&m.title), safe(&m.chosen.join("; "))));
    let chosen = list(chosen);
    format!(
        "{}<details><summary>What the folds chose</summary><ul>{chosen}</ul></details>",
        tables::table(&["", ""], &rows)
    )
}
