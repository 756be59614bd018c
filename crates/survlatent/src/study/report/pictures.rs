//! Pictures of the report, as SVG.

use cox_survival::{KmCurve, LogRankTest};

use super::super::results::StudyReport;
use super::super::{OutOfFoldPredictions, StudyData};

/// Risk groups as the figures have them.
pub(in super::super) type Groups = (
    super::super::results::RiskGroupFigures,
    Vec<KmCurve>,
    Option<LogRankTest>,
);

/// A picture with what it shows.
pub(super) struct Figure {
    pub(super) svg: String,
    pub(super) caption: String,
}

/// Pictures by section; a section without data has none.
#[derive(Default)]
pub(super) struct Pictures {
    pub(super) groups: Option<Figure>,
    pub(super) auc: Option<Figure>,
    pub(super) roc: Vec<Figure>,
    pub(super) brier: Option<Figure>,
    pub(super) calibration: Vec<Figure>,
    pub(super) decision: Option<Figure>,
    pub(super) forest: Option<Figure>,
}

#[cfg(not(feature = "plot"))]
pub(super) fn draw(
    _: &StudyReport,
    _: &StudyData,
    _: &OutOfFoldPredictions,
    _: Option<&Groups>,
) -> Pictures {
    Pictures::default()
}

#[cfg(feature = "plot")]
pub(super) fn draw(
    report: &StudyReport,
    data: &StudyData,
    predictions: &OutOfFoldPredictions,
    groups: Option<&Groups>,
) -> Pictures {
    plot::draw(report, data, predictions, groups)
}

#[cfg(feature = "plot")]
mod plot {
    use cox_survival::{Calibration, Chart, ChartLine, ForestPlot, ForestRow, KmPlot};

    use super::super::super::curves::{drawn, fronts, risks};
    use super::super::super::judge::unstratified;
    use super::super::super::results::{ModelFigures, TimeFigure};
    use super::super::super::{DecisionFigure, ModelKind, Predictions};
    use super::{Figure, Groups, OutOfFoldPredictions, Pictures, StudyData, StudyReport};

    const SIZE: (f64, f64) = (640.0, 420.0);

    /// What cannot be drawn (a horizon nobody reaches, say) is left out.
    pub(super) fn draw(
        report: &StudyReport,
        data: &StudyData,
        predictions: &OutOfFoldPredictions,
        groups: Option<&Groups>,
    ) -> Pictures {
        let unit = &report.time_unit;
        let time = format!("Time ({unit})");
        let fronts = fronts(&report.models, predictions);
        Pictures {
            groups: groups.and_then(|(figures, curves, test)| {
                let mut plot = KmPlot::new()
                    .x_label(&time)
                    .dashed(true)
                    .size(SIZE.0, 520.0);
                if let Some(test) = test {
                    plot = plot.log_rank(test);
                }
                let caption = format!(
                    "Kaplan-Meier curves of thirds of the out-of-fold risk ({}), cut at thirds of the \
                     risks each model gave its own training rows. Numbers at risk below.",
                    figures.model.title()
                );
                Some(Figure {
                    svg: plot.svg(curves).ok()?,
                    caption,
                })
            }),
            auc: over_time(
                report, &time, "AUC",
                |m| &m.auc_over_time,
                "Cumulative/dynamic area under the ROC curve of out-of-fold risks. 0.5 is chance.",
                None,
            ),
            roc: roc(report),
            brier: over_time(
                report, &time, "Brier score",
                |m| &m.brier_over_time,
                "Brier score of out-of-fold survival probabilities; lower is better. The last line is that of \
                 a prediction that knows nobody, Kaplan-Meier's for everybody.",
                Some(nobody(report)),
            ),
            calibration: fronts
                .iter()
                .filter_map(|p| calibration(report, data, predictions, p))
                .collect(),
            decision: decision(report),
            forest: forest(report),
        }
    }

    fn over_time(
        report: &StudyReport,
        time: &str,
        label: &str,
        of: fn(&ModelFigures) -> &Vec<TimeFigure>,
        caption: &str,
        reference: Option<ChartLine>,
    ) -> Option<Figure> {
        let lines: Vec<ChartLine> = drawn(&report.models)
            .into_iter()
            .filter(|m| !of(m).is_empty())
            .map(|m| ChartLine {
                name: m.title.clone(),
                points: of(m).iter().map(|t| (t.time, t.value.estimate)).collect(),
            })
            .chain(reference.filter(|line| !line.points.is_empty()))
            .collect();
        let chart = Chart::new()
            .x_label(time)
            .y_label(label)
            .size(SIZE.0, SIZE.1);
        Some(Figure {
            svg: chart.lines(&lines).ok()?.svg().to_owned(),
            caption: caption.to_owned(),
        })
    }

    /// The Brier score of a prediction that knows nobody.
    fn nobody(report: &StudyReport) -> ChartLine {
        let points = report.curves.brier_reference.iter();
        ChartLine {
            name: "Nobody known (Kaplan-Meier)".to_owned(),
            points: points.map(|p| (p.time, p.value)).collect(),
        }
    }

    /// One picture for each horizon, its models told apart by dashes.
    fn roc(report: &StudyReport) -> Vec<Figure> {
        let all = &report.curves.roc;
        all.chunk_by(|a, b| a.time.total_cmp(&b.time).is_eq())
            .filter_map(|some| {
                let time = some.first()?.time;
                let curves = some.iter().map(|curve| ChartLine {
                    name: title(report, curve.model),
                    points: curve.points.iter().map(|p| (p[0], p[1])).collect(),
                });
                let chance = ChartLine {
                    name: "chance".to_owned(),
                    points: vec![(0.0, 0.0), (1.0, 1.0)],
                };
                let lines: Vec<ChartLine> = curves.chain([chance]).collect();
                let chart = Chart::new()
                    .x_label("False positive rate")
                    .y_label("True positive rate")
                    .size(SIZE.0, SIZE.1);
                Some(Figure {
                    svg: chart.lines(&lines).ok()?.svg().to_owned(),
                    caption: format!(
                        "ROC curves of out-of-fold risks at {time} {}: those with the event by then, weighted \
                         for censoring, against those without it.",
                        report.time_unit
                    ),
                })
            })
            .collect()
    }

    /// Predicted risks at the middle horizon.
    fn middle(
        report: &StudyReport,
        predictions: &OutOfFoldPredictions,
        p: &Predictions,
    ) -> Option<(f64, Vec<f64>)> {
        let own = report.models.iter().find(|m| m.name == p.model)?;
        let time = own.calibration.get(own.calibration.len() / 2)?.time;
        Some((time, risks(predictions, p, time)?))
    }

    fn calibration(
        report: &StudyReport,
        data: &StudyData,
        predictions: &OutOfFoldPredictions,
        p: &Predictions,
    ) -> Option<Figure> {
        let (time, risk) = middle(report, predictions, p)?;
        let fit = Calibration::new(time)
            .level(report.validation.level)
            .fit(&unstratified(&data.surv).ok()?, &risk)
            .ok()?;
        let picture = Chart::new().size(SIZE.0, SIZE.1).calibration(&fit).ok()?;
        Some(Figure {
            svg: picture.svg().to_owned(),
            caption: format!(
                "{}: predicted against observed risk at {time} {}, out of fold; tenths of the risk \
                 with {:.0} % limits, and the smoothed curve. The diagonal is a calibrated model.",
                p.model.title(),
                report.time_unit,
                100.0 * report.validation.level
            ),
        })
    }

    /// At the middle horizon, its lines told apart by dashes.
    fn decision(report: &StudyReport) -> Option<Figure> {
        let all = &report.curves.decision;
        let found = all.get(all.len() / 2)?;
        let line = |name: &str, of: fn(&DecisionFigure) -> Option<f64>| ChartLine {
            name: name.to_owned(),
            points: found
                .points
                .iter()
                .filter_map(|p| Some((p.threshold, of(p)?)))
                .collect(),
        };
        let model = line("by prediction", |p| p.net_benefit);
        let mut everybody = line("everybody", |p| p.treat_all);
        // Far below nobody's it would only squeeze the rest.
        let top = model.points.iter().map(|p| p.1).fold(0.01, f64::max);
        everybody.points.retain(|p| p.1 > -0.3 * top);
        let nobody = line("nobody", |_| Some(0.0));
        let chart = Chart::new()
            .x_label("Threshold")
            .y_label("Net benefit")
            .size(SIZE.0, SIZE.1);
        let picture = chart.lines(&[model, everybody, nobody]).ok()?;
        Some(Figure {
            svg: picture.svg().to_owned(),
            caption: format!(
                "{}: net benefit of acting on the out-of-fold risk at {} {}, beside acting on everybody and \
                 on nobody.",
                title(report, found.model),
                found.time,
                report.time_unit
            ),
        })
    }

    fn title(report: &StudyReport, name: ModelKind) -> String {
        let own = report.models.iter().find(|m| m.name == name);
        own.map_or_else(String::new, |m| m.title.clone())
    }

    fn forest(report: &StudyReport) -> Option<Figure> {
        let rows: Vec<ForestRow> = report
            .clinical_model
            .iter()
            .filter_map(|h| {
                let (lower, upper) = (h.ratio.lower?, h.ratio.upper?);
                Some(ForestRow::new(&h.name, h.ratio.estimate, lower, upper).p(h.p))
            })
            .collect();
        let plot = ForestPlot::new().width(SIZE.0).svg(&rows);
        Some(Figure {
            svg: plot.ok()?,
            caption:
                "Hazard ratios of the clinical Cox model fitted to everybody (not out of fold)."
                    .to_owned(),
        })
    }
}
