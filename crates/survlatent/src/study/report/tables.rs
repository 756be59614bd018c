//! Tables of the report as HTML.

use std::fmt::Write as _;

use super::super::OcclusionFigures;
use super::super::curves::drawn;
use super::super::interval::Interval;
use super::super::results::{InversionFigures, Quantiles, StudyReport};
use crate::proof::{Region, RegionModels, RegionShare, SaliencyFigures, ShortcutFigures};

/// Text made safe inside HTML.
pub(super) fn safe(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A table with a header; cells are safe already. It scrolls by itself on a narrow screen.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"wide\"><table><thead><tr>");
    for cell in header {
        let _ = write!(out, "<th scope=\"col\">{}</th>", safe(cell));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (k, cell) in row.iter().enumerate() {
            let tag = if k == 0 { "th scope=\"row\"" } else { "td" };
            let _ = write!(out, "<{tag}>{cell}</{}>", if k == 0 { "th" } else { "td" });
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// A table of words, whose lines break instead of scrolling.
pub(super) fn text_table(header: &[&str], rows: &[Vec<String>]) -> String {
    table(header, rows).replacen("<table>", "<table class=\"text\">", 1)
}

/// `0.680 (0.661 to 0.699)`.
pub(super) fn interval(value: &Interval, digits: usize) -> String {
    match (value.lower, value.upper) {
        (Some(lower), Some(upper)) => format!(
            "{:.digits$} <span class=\"ci\">({lower:.digits$} to {upper:.digits$})</span>",
            value.estimate
        ),
        _ => format!("{:.digits$}", value.estimate),
    }
}

pub(super) fn optional(value: Option<&Interval>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| interval(v, digits))
}

pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
}

/// A p value as journals print it.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 {
        "&lt; 0.001".to_owned()
    } else {
        format!("{p:.3}")
    }
}

pub(super) fn flow(report: &StudyReport) -> String {
    let mut out = String::from("<ol class=\"flow\">");
    let step = |e: &super::super::results::Exclusion| e.left + e.rows;
    let start = report.exclusions.first().map_or(report.cohort.rows, step);
    let _ = write!(
        out,
        "<li class=\"box\"><b>{start}</b> rows in the table</li>"
    );
    for e in &report.exclusions {
        let examples = match e.examples.len() {
            0 => String::new(),
            k if k < e.rows => format!(": {}, ...", safe(&e.examples.join(", "))),
            _ => format!(": {}", safe(&e.examples.join(", "))),
        };
        let _ = write!(
            out,
            "<li class=\"out\">{} set aside: {}{examples}</li><li class=\"box\"><b>{}</b> rows left</li>",
            e.rows,
            safe(&e.reason),
            e.left
        );
    }
    let c = &report.cohort;
    let _ = write!(
        out,
        "<li class=\"box last\"><b>{}</b> rows of <b>{}</b> patients studied, <b>{}</b> patients with the event</li></ol>",
        c.rows, c.patients, c.patients_with_event
    );
    out
}

pub(super) fn cohort(report: &StudyReport) -> String {
    let c = &report.cohort;
    let unit = safe(&report.time_unit);
    let mut rows = vec![
        vec!["Rows (photos)".to_owned(), c.rows.to_string()],
        vec!["Patients".to_owned(), c.patients.to_string()],
        vec![
            "Patients with the event".to_owned(),
            format!(
                "{} ({:.0} %)",
                c.patients_with_event,
                100.0 * c.patients_with_event as f64 / c.patients as f64
            ),
        ],
        vec![
            format!("Median survival ({unit})"),
            number(c.median_survival, 2),
        ],
        vec![
            format!("Median follow-up ({unit})"),
            number(c.median_follow_up, 2),
        ],
    ];
    for x in &c.covariates {
        let text = match (x.mean, x.sd) {
            (Some(mean), _) if x.indicator => format!("{:.0} %", 100.0 * mean),
            (Some(mean), Some(sd)) => {
                format!("{mean:.1} (SD {sd:.1}, {:.1} to {:.1})", x.min, x.max)
            }
            _ => "too few".to_owned(),
        };
        rows.push(vec![safe(&x.name), text]);
    }
    table(&["", "Cohort"], &rows)
}

pub(super) fn inversion(found: &InversionFigures) -> String {
    let row = |name: &str, q: &Quantiles, digits: usize| {
        let mut row = vec![safe(name)];
        row.extend([q.p5, q.p25, q.median, q.p75, q.p95].map(|v| number(v, digits)));
        row
    };
    let header = ["", "5 %", "25 %", "Median", "75 %", "95 %"];
    table(
        &header,
        &[
            row("LPIPS, picture of w", &found.lpips_w, 3),
            row("LPIPS, picture of W+", &found.lpips, 3),
            row("PSNR, picture of w (dB)", &found.psnr_w, 1),
            row("PSNR, picture of W+ (dB)", &found.psnr, 1),
            row("Mahalanobis distance of w", &found.mahalanobis, 1),
        ],
    )
}

pub(super) fn models(report: &StudyReport) -> String {
    let header = [
        "Model",
        "Harrell's C",
        "Uno's C",
        "Mean AUC",
        "Integrated Brier",
        "Calibration slope",
    ];
    let mut rows: Vec<Vec<String>> = report
        .models
        .iter()
        .map(|m| match &m.failed {
            Some(reason) => {
                let mut row = vec![safe(&m.title), format!("not fitted: {}", safe(reason))];
                row.resize(header.len(), String::new());
                row
            }
            None => vec![
                safe(&m.title),
                optional(m.harrell.as_ref(), 3),
                optional(m.uno.as_ref(), 3),
                optional(m.auc.as_ref(), 3),
                optional(m.ibs.as_ref(), 3),
                optional(m.calibration_slope.as_ref(), 2),
            ],
        })
        .collect();
    if let Some(reference) = report.models.iter().find_map(|m| m.ibs_reference) {
        let mut row = vec!["Nobody known (Kaplan-Meier)".to_owned()];
        row.extend(["0.500", "0.500", "0.500"].map(str::to_owned));
        row.extend([format!("{reference:.3}"), "-".to_owned()]);
        rows.push(row);
    }
    table(&header, &rows)
}

pub(super) fn increment(report: &StudyReport) -> String {
    let title = |kind: super::super::ModelKind| kind.title().to_owned();
    let row = |g: &super::super::results::Increment| {
        vec![
            format!(
                "{} against {}",
                safe(&title(g.with_face)),
                safe(&title(g.base))
            ),
            optional(g.harrell.as_ref(), 3),
            optional(g.uno.as_ref(), 3),
            optional(g.ibs.as_ref(), 4),
            match (g.chi_squared, g.p) {
                (Some(statistic), Some(p)) => {
                    format!("{}: {statistic:.1}, p {}", g.test.title(), p_value(p))
                }
                _ => "-".to_owned(),
            },
            number(g.hazard_ratio_per_sd, 2),
        ]
    };
    let header = [
        "",
        "Gain in Harrell's C",
        "Gain in Uno's C",
        "Fall of Brier score",
        "Test (1 df)",
        "Hazard ratio per SD of face",
    ];
    table(
        &header,
        &report.increment.iter().map(row).collect::<Vec<_>>(),
    )
}

pub(super) fn calibration(report: &StudyReport) -> String {
    let mut rows = Vec::new();
    for m in &report.models {
        for c in &m.calibration {
            rows.push(vec![
                safe(&m.title),
                format!("{}", c.time),
                format!("{:.3}", c.predicted),
                number(c.observed, 3),
                interval(&c.ici, 3),
                format!("{:.3}", c.emax),
                optional(c.intercept.as_ref(), 2),
                optional(c.slope.as_ref(), 2),
            ]);
        }
    }
    let time = format!("Horizon ({})", report.time_unit);
    table(
        &[
            "Model",
            &time,
            "Mean predicted risk",
            "Observed",
            "Calibration index (ICI)",
            "Largest error",
            "Intercept",
            "Slope",
        ],
        &rows,
    )
}

/// Of the models that are drawn together: a column for each of a dozen would not fit a page.
pub(super) fn subgroups(report: &StudyReport) -> String {
    let shown = drawn(&report.models);
    let mut header = vec!["Group", "Patients", "With the event"];
    header.extend(shown.iter().map(|m| m.title.as_str()));
    let row = |g: &super::super::results::SubgroupFigures| {
        let hidden = || safe(g.hidden.as_deref().unwrap_or("-"));
        let count = |n: Option<usize>| n.map_or_else(hidden, |n| n.to_string());
        let mut row = vec![
            safe(&format!("{}: {}", g.column, g.level)),
            count(g.patients),
            count(g.events),
        ];
        row.extend(shown.iter().map(|m| {
            let own = g.harrell.iter().find(|h| h.model == m.name);
            optional(own.map(|h| &h.harrell), 3)
        }));
        row
    };
    table(
        &header,
        &report.subgroups.iter().map(row).collect::<Vec<_>>(),
    )
}

pub(super) fn diagnoses(report: &StudyReport) -> String {
    let mut rows = Vec::new();
    for d in &report.diagnoses {
        let count = |n: Option<usize>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let mut row =
            |what: &str, own: Option<&Interval>, p: Option<f64>, all: Option<&Interval>| {
                rows.push(vec![
                    safe(&d.level),
                    count(d.patients),
                    count(d.events),
                    safe(what),
                    optional(own, 3),
                    p.map_or_else(|| "-".to_owned(), p_value),
                    optional(all, 3),
                ]);
            };
        if let Some(reason) = d.hidden.as_ref().or(d.failed.as_ref()) {
            row(reason, None, None, None);
        }
        for m in &d.models {
            row(m.model.title(), m.own.as_ref(), None, m.all.as_ref());
        }
        for g in &d.increment {
            let gain = format!("{} against {}: gain", g.with_face.title(), g.base.title());
            row(&gain, g.own.as_ref(), g.p, g.all.as_ref());
        }
    }
    table(
        &[
            "Diagnosis",
            "Patients",
            "With the event",
            "Model",
            "C, fitted to this diagnosis",
            "p of the gain",
            "C, fitted to all",
        ],
        &rows,
    )
}

pub(super) fn leakage(report: &StudyReport) -> String {
    let Some(direction) = &report.direction else {
        return String::new();
    };
    let change = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:+.2} SD"));
    let row = |l: &super::super::results::Leakage| {
        vec![
            safe(&l.name),
            format!("{:.2}", l.r_squared),
            format!("{:+.2} SD", l.unconditional),
            change(l.adjusted),
            change(l.conditional),
        ]
    };
    table(
        &[
            "Covariate",
            "R squared from latents, out of fold",
            "Halving the hazard",
            "The same, covariates in the model",
            "The same, projected as well",
        ],
        &direction.leakage.iter().map(row).collect::<Vec<_>>(),
    )
}

pub(super) fn saliency(found: &SaliencyFigures) -> String {
    let percent = |v: f64| format!("{:.1} %", 100.0 * v);
    let part = |r: &&RegionShare| r.region == Region::Eyes && r.area > 0.0;
    let whole = found.masks && !found.regions.iter().any(|r| part(&r));
    let row = |r: &RegionShare| {
        let limits = match (r.share.lower, r.share.upper) {
            (Some(lower), Some(upper)) => {
                format!(
                    " <span class=\"ci\">({:.1} to {:.1})</span>",
                    100.0 * lower,
                    100.0 * upper
                )
            }
            _ => String::new(),
        };
        let title = match r.region {
            // Most masks tell the face no further.
            Region::Skin if whole => "face",
            region => region.title(),
        };
        vec![
            safe(title),
            percent(r.share.estimate) + &limits,
            percent(r.area),
        ]
    };
    let there = found.regions.iter().filter(|r| r.area > 0.0);
    let rows: Vec<Vec<String>> = there.map(row).collect();
    table(
        &["Region", "Share of the change", "Share of the picture"],
        &rows,
    )
}

pub(super) fn shortcut(found: &ShortcutFigures) -> String {
    let p = |p: Option<f64>| p.map_or_else(|| "-".to_owned(), p_value);
    let rows = vec![
        vec![
            "Alarm".to_owned(),
            if found.alarm { "yes" } else { "no" }.to_owned(),
        ],
        vec!["Novel directions".to_owned(), found.novel.to_string()],
        vec![
            "Largest variance (threshold)".to_owned(),
            format!("{} ({:.1})", number(found.largest, 1), found.threshold),
        ],
        vec!["p given the clinical covariates".to_owned(), p(found.p)],
        vec![
            "p given the face's risk, too".to_owned(),
            p(found.p_given_face),
        ],
        vec![
            "Hazard ratio per SD of the novel score, in sample".to_owned(),
            number(found.hazard_ratio_per_sd, 2),
        ],
        vec![
            "Correlation of that score with the face's risk".to_owned(),
            number(found.risk_correlation, 2),
        ],
        vec![
            "Its share inside the face (area)".to_owned(),
            format!("{} ({:.2})", number(found.face_share, 2), found.face_area),
        ],
    ];
    table(&["", "Test"], &rows)
}

pub(super) fn region_models(found: &RegionModels) -> String {
    let row = |name: &str, c: Option<&Interval>| vec![name.to_owned(), optional(c, 3)];
    let rows = [
        row("All pixels", found.whole.as_ref()),
        row("Face alone", found.face.as_ref()),
        row("Everything but the face", found.background.as_ref()),
    ];
    table(&["Pixels", "Harrell's C"], &rows)
}

pub(super) fn occlusion(found: &[OcclusionFigures]) -> String {
    let row = |f: &OcclusionFigures| {
        vec![
            safe(f.edit.title()),
            format!("{:.0} %", 100.0 * f.area),
            interval(&f.absolute, 2),
            interval(&f.change, 2),
            format!(
                "{} to {}",
                number(f.harrell_before, 3),
                number(f.harrell, 3)
            ),
            optional(f.harrell_change.as_ref(), 3),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    table(
        &[
            "Edit",
            "Share of the picture",
            "Size of the change (SD)",
            "Mean change (SD)",
            "Harrell's C of these photos",
            "Its change",
        ],
        &rows,
    )
}
