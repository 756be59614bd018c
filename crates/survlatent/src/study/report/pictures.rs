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
    use cox_survival::{Calibration, Chart, ChartLine, ForestPlot, ForestRow, KmPlot, NetBenefit};

    use super::super::super::judge::unstratified;
    use super::super::super::models::ModelKind;
    use super::super::super::results::{ModelFigures, TimeFigure};
    use super::super::super::{Predictions, foreground};
    use super::{Figure, Groups, OutOfFoldPredictions, Pictures, StudyData, StudyReport};

    /// Models in the pictures of several: more cannot be told apart.
    const DRAWN: [ModelKind; 4] = [
        ModelKind::AgeSex,
        ModelKind::Clinical,
        ModelKind::FaceW,
        ModelKind::LateFusion,
    ];
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
        let front = foreground(&report.models);
        let own = front.and_then(|m| predictions.of(m.name));
        let best = predictions.of(ModelKind::LateFusion).or(own);
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
            ),
            brier: over_time(
                report, &time, "Brier score",
                |m| &m.brier_over_time,
                "Brier score of out-of-fold survival probabilities; lower is better.",
            ),
            calibration: [own, best]
                .into_iter()
                .flatten()
                .scan(None, |before: &mut Option<ModelKind>, p| {
                    let again = before.replace(p.model) == Some(p.model);
                    Some((!again).then(|| calibration(report, data, predictions, p)).flatten())
                })
                .flatten()
                .collect(),
            decision: best.and_then(|p| decision(report, data, predictions, p)),
            forest: forest(report),
        }
    }

    fn over_time(
        report: &StudyReport,
        time: &str,
        label: &str,
        of: fn(&ModelFigures) -> &Vec<TimeFigure>,
        caption: &str,
    ) -> Option<Figure> {
        let sound: Vec<&ModelFigures> =
            report.models.iter().filter(|m| !of(m).is_empty()).collect();
        let mut drawn: Vec<&ModelFigures> = sound
            .iter()
            .copied()
            .filter(|m| DRAWN.contains(&m.name))
            .collect();
        if drawn.is_empty() {
            drawn = sound.into_iter().take(4).collect();
        }
        let lines: Vec<ChartLine> = drawn
            .iter()
            .map(|m| ChartLine {
                name: m.title.clone(),
                points: of(m).iter().map(|t| (t.time, t.value.estimate)).collect(),
            })
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

    /// Predicted risks at the middle horizon.
    fn risks(
        report: &StudyReport,
        predictions: &OutOfFoldPredictions,
        p: &Predictions,
    ) -> Option<(f64, Vec<f64>)> {
        let own = report.models.iter().find(|m| m.name == p.model)?;
        let time = own.calibration.get(own.calibration.len() / 2)?.time;
        let m = predictions.times.len();
        let k = predictions
            .times
            .iter()
            .position(|t| t.total_cmp(&time).is_eq())?;
        let survival = p.survival();
        Some((
            time,
            survival
                .iter()
                .skip(k)
                .step_by(m)
                .map(|s| 1.0 - s)
                .collect(),
        ))
    }

    fn calibration(
        report: &StudyReport,
        data: &StudyData,
        predictions: &OutOfFoldPredictions,
        p: &Predictions,
    ) -> Option<Figure> {
        let (time, risk) = risks(report, predictions, p)?;
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

    fn decision(
        report: &StudyReport,
        data: &StudyData,
        predictions: &OutOfFoldPredictions,
        p: &Predictions,
    ) -> Option<Figure> {
        let (time, risk) = risks(report, predictions, p)?;
        let mut sorted = risk.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted[sorted.len() * 98 / 100].min(0.95);
        let thresholds: Vec<f64> = (0..=60u8).map(|k| last * f64::from(k) / 60.0).collect();
        let surv = unstratified(&data.surv).ok()?;
        let curve = NetBenefit::new(time).fit(&surv, &risk, &thresholds).ok()?;
        let picture = Chart::new().size(SIZE.0, SIZE.1).decision(&curve).ok()?;
        Some(Figure {
            svg: picture.svg().to_owned(),
            caption: format!(
                "{}: net benefit of acting on the out-of-fold risk at {time} {}, beside acting on \
                 everybody and on nobody.",
                p.model.title(),
                report.time_unit
            ),
        })
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
