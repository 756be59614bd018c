//! The first lines of the page: what was found, in words, nulls as nulls.

use std::fmt::Write as _;

use super::super::interval::Interval;
use super::super::results::StudyReport;
use super::super::{Absent, ReportPart, foreground};
use super::html::list;
use super::tables::{interval, optional, p_value, safe};

/// Sentences, the notes, and the place of the contents.
pub(super) fn summary(report: &StudyReport) -> String {
    let c = &report.cohort;
    let mut text = format!(
        "{} patients, {} with the event. ",
        c.patients, c.patients_with_event
    );
    if let Some((model, harrell)) =
        foreground(&report.models).and_then(|m| Some((m, m.harrell.as_ref()?)))
    {
        let _ = write!(
            text,
            "{}: Harrell's C {}. ",
            safe(&model.title),
            interval(harrell, 3)
        );
        text.push_str(nothing(harrell));
    }
    for gain in &report.increment {
        let _ = write!(
            text,
            "{} against {}: gain {}, {} test p {}. ",
            safe(gain.with_face.title()),
            safe(gain.base.title()),
            optional(gain.harrell.as_ref(), 3),
            gain.test.title(),
            gain.p.map_or_else(|| "-".to_owned(), p_value)
        );
    }
    let _ = write!(text, "{}", safe(&headline(report)));
    let notes = list(report.notes.iter().map(|n| safe(n)));
    let notes = if notes.is_empty() {
        notes
    } else {
        format!("<ul class=\"notes\">{notes}</ul>")
    };
    format!("<p class=\"summary\">{text}</p>{notes}<!--contents-->")
}

/// What to say of a concordance that is not known to lie above chance.
fn nothing(harrell: &Interval) -> &'static str {
    match (harrell.is_above(0.5), harrell.contains(0.5)) {
        (true, _) => "",
        (_, true) => "The interval contains 0.5: nothing was found. ",
        _ if harrell.lower.is_none() => "It has no interval: nothing is known to be found. ",
        _ => "The interval lies below 0.5: nothing was found. ",
    }
}

/// Whether it looks at the face, in two sentences.
fn headline(report: &StudyReport) -> String {
    let why = |part| {
        let of = |a: &Absent| (a.part == part).then(|| a.reason.clone());
        report.absent.iter().find_map(of).unwrap_or_default()
    };
    let looks = match &report.saliency {
        Some(s) => format!(
            "Of what the picture changes along the health direction, {:.0} % ({:.0} to {:.0}) lies inside the \
             face, which takes {:.0} % of the picture.",
            100.0 * s.face_share,
            100.0 * s.lower,
            100.0 * s.upper,
            100.0 * s.face_area
        ),
        None => format!(
            "Where the model looks was not measured: {}.",
            why(ReportPart::Saliency)
        ),
    };
    let shortcut = match &report.shortcut {
        Some(test) => test.sentence(),
        None => format!(
            "Shortcuts were not tested for: {}.",
            why(ReportPart::Shortcut)
        ),
    };
    format!("{looks} {shortcut} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_above_chance_is_found() {
        let of = |lower, upper| {
            nothing(&Interval {
                estimate: 0.4,
                lower,
                upper,
            })
        };
        assert_eq!(of(Some(0.55), Some(0.7)), "");
        assert!(of(Some(0.45), Some(0.7)).contains("contains 0.5"));
        assert!(of(Some(0.196), Some(0.49)).contains("below 0.5: nothing was found"));
        assert!(of(None, None).contains("no interval"));
    }
}
