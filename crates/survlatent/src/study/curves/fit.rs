//! Curves from out-of-fold predictions.

use cox_survival::{
    Brier, Calibration, CensoringModel, KaplanMeier, KmCurve, NetBenefit, PredictedSurvival, Surv,
};

use super::super::judge::unstratified;
use super::super::predict::{OutOfFoldPredictions, Predictions};
use super::super::results::ModelFigures;
use super::super::{ModelKind, StudyData, foreground};
use super::{
    CalibrationCurve, CalibrationPoint, CurveFigures, CurvePoint, DecisionFigure, DecisionFigures,
    KmFigures, KmPoint, RocFigures,
};
use crate::error::Result;

/// Points of a curve that has one for every patient.
const POINTS: usize = 101;

/// Models in the pictures of several: more cannot be told apart.
const DRAWN: [ModelKind; 4] = [
    ModelKind::AgeSex,
    ModelKind::Clinical,
    ModelKind::FaceW,
    ModelKind::LateFusion,
];

/// The models that are drawn together.
pub(in super::super) fn drawn(models: &[ModelFigures]) -> Vec<&ModelFigures> {
    let sound = || models.iter().filter(|m| m.failed.is_none());
    let some: Vec<&ModelFigures> = sound().filter(|m| DRAWN.contains(&m.name)).collect();
    if some.is_empty() {
        sound().take(DRAWN.len()).collect()
    } else {
        some
    }
}

/// The model in the foreground, and the one that decisions would be made by.
pub(in super::super) fn fronts<'a>(
    models: &[ModelFigures],
    predictions: &'a OutOfFoldPredictions,
) -> Vec<&'a Predictions> {
    let own = foreground(models).and_then(|m| predictions.of(m.name));
    let best = predictions.of(ModelKind::LateFusion).or(own);
    let mut out: Vec<&Predictions> = own.into_iter().chain(best).collect();
    out.dedup_by_key(|p| p.model);
    out
}

/// Predicted risk of every row at a time of the grid.
pub(in super::super) fn risks(
    predictions: &OutOfFoldPredictions,
    p: &Predictions,
    time: f64,
) -> Option<Vec<f64>> {
    let m = predictions.times.len();
    let same = |t: &f64| t.total_cmp(&time).is_eq();
    let k = predictions.times.iter().position(same)?;
    let survival = p.survival();
    Some(
        survival
            .iter()
            .skip(k)
            .step_by(m)
            .map(|s| 1.0 - s)
            .collect(),
    )
}

/// Thresholds of a decision curve: up to nearly the largest risk.
fn thresholds(risk: &[f64]) -> Vec<f64> {
    let mut sorted = risk.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted[sorted.len() * 98 / 100].min(0.95);
    (0..=60u8).map(|k| last * f64::from(k) / 60.0).collect()
}

/// The curves of a study; one that is not defined (left truncation has no ROC curve) is left out.
pub(in super::super) fn curves(
    data: &StudyData,
    models: &[ModelFigures],
    predictions: &OutOfFoldPredictions,
    (horizons, level): (&[f64], f64),
    groups: &[KmCurve],
) -> Result<CurveFigures> {
    let surv = unstratified(&data.surv)?;
    let mut out = CurveFigures {
        kaplan_meier: kaplan_meier(groups),
        brier_reference: brier_reference(&surv, &predictions.times).unwrap_or_default(),
        ..CurveFigures::default()
    };
    for &time in horizons {
        for model in drawn(models) {
            let Some(p) = predictions.of(model.name) else {
                continue;
            };
            if let Some(points) = roc(&surv, &p.mean_risk(), time) {
                out.roc.push(RocFigures {
                    model: model.name,
                    time,
                    points,
                });
            }
        }
        let fronts = fronts(models, predictions);
        for p in &fronts {
            let Some(risk) = risks(predictions, p, time) else {
                continue;
            };
            out.calibration
                .extend(calibration(&surv, p.model, (time, level), &risk));
        }
        let last = fronts.last();
        if let Some((p, risk)) = last.and_then(|p| Some((p, risks(predictions, p, time)?))) {
            let curve = NetBenefit::new(time).fit(&surv, &risk, &thresholds(&risk));
            out.decision.extend(curve.ok().map(|curve| {
                DecisionFigures {
                    model: p.model,
                    time,
                    points: curve
                        .points
                        .iter()
                        .map(|p| DecisionFigure {
                            threshold: p.threshold,
                            net_benefit: p.net_benefit,
                            treat_all: p.treat_all,
                        })
                        .collect(),
                }
            }));
        }
    }
    Ok(out)
}

fn kaplan_meier(groups: &[KmCurve]) -> Vec<KmFigures> {
    let ends = groups.iter().filter_map(|c| c.time.last());
    let last = ends.copied().fold(0.0, f64::max);
    let ticks: Vec<f64> = (0..=5u8).map(|k| last * f64::from(k) / 5.0).collect();
    let finite = |v: f64| v.is_finite().then_some(v);
    let of = |c: &KmCurve| {
        let end = c.time.len().saturating_sub(1);
        let shown = (0..c.time.len()).filter(|&k| c.n_event[k] > 0.0 || k == end);
        KmFigures {
            name: c.name.clone(),
            points: shown
                .map(|k| KmPoint {
                    time: c.time[k],
                    survival: c.surv[k],
                    lower: finite(c.lower[k]),
                    upper: finite(c.upper[k]),
                    at_risk: c.n_risk[k],
                    events: c.n_event[k],
                })
                .collect(),
            at_risk: ticks
                .iter()
                .map(|&time| CurvePoint {
                    time,
                    value: c.n_risk_at(time),
                })
                .collect(),
        }
    };
    groups.iter().map(of).collect()
}

/// Brier score of the Kaplan-Meier curve of everybody at each time.
fn brier_reference(surv: &Surv, times: &[f64]) -> Result<Vec<CurvePoint>> {
    let km = KaplanMeier::new().fit(surv)?;
    let of = |_: usize, t: f64| km.curves[0].survival_at(t);
    let curves = PredictedSurvival::from_fn(surv.n(), times, of)?;
    let brier = Brier::new().fit(surv, &curves, &CensoringModel::kaplan_meier(surv)?)?;
    let pairs = brier.times.iter().zip(&brier.values);
    Ok(pairs
        .map(|(&time, &value)| CurvePoint { time, value })
        .collect())
}

/// The cumulative/dynamic ROC curve at `time`; cases are weighted by the inverse probability of not
/// having been censored before their event, as the AUC over time weighs them.
fn roc(surv: &Surv, risk: &[f64], time: f64) -> Option<Vec<[f64; 2]>> {
    let censoring = CensoringModel::kaplan_meier(surv).ok()?;
    let mut order: Vec<usize> = (0..risk.len()).collect();
    order.sort_by(|&a, &b| risk[b].total_cmp(&risk[a]));
    let (mut cases, mut controls) = (0.0, 0.0);
    let mut steps = vec![(0.0, 0.0)];
    for same in order.chunk_by(|&a, &b| risk[a].total_cmp(&risk[b]).is_eq()) {
        for &i in same {
            let t = surv.time()[i];
            if t > time {
                controls += 1.0;
            } else if surv.event()[i] {
                cases += 1.0 / censoring.probability(surv, i, t.next_down()).ok()?;
            }
        }
        steps.push((controls, cases));
    }
    let defined = cases > 0.0 && controls > 0.0 && f64::is_finite(cases);
    defined.then(|| thinned(&steps, controls, cases))
}

/// The curve through `steps` at even places of the false positive rate.
fn thinned(steps: &[(f64, f64)], controls: f64, cases: f64) -> Vec<[f64; 2]> {
    let curve: Vec<[f64; 2]> = steps
        .iter()
        .map(|(x, y)| [x / controls, y / cases])
        .collect();
    if curve.len() <= POINTS {
        return curve;
    }
    let mut out = vec![[0.0, 0.0]];
    for k in 0..POINTS {
        let x = k as f64 / (POINTS - 1) as f64;
        let right = curve.partition_point(|p| p[0] <= x);
        let [x0, y0] = curve[right.saturating_sub(1)];
        let y = match curve.get(right) {
            Some([x1, y1]) if x1 > &x0 => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
            _ => y0,
        };
        out.push([x, y]);
    }
    out.dedup();
    out
}

fn calibration(
    surv: &Surv,
    model: ModelKind,
    (time, level): (f64, f64),
    risk: &[f64],
) -> Option<CalibrationCurve> {
    let fit = Calibration::new(time).level(level).fit(surv, risk).ok()?;
    let mut smooth: Vec<[f64; 2]> = fit
        .predicted
        .iter()
        .zip(&fit.observed)
        .map(|(p, o)| [*p, *o])
        .collect();
    smooth.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let n = smooth.len();
    let smoothed = if n <= POINTS {
        smooth
    } else {
        (0..POINTS)
            .map(|k| smooth[k * (n - 1) / (POINTS - 1)])
            .collect()
    };
    Some(CalibrationCurve {
        model,
        time,
        smoothed,
        groups: fit
            .groups
            .iter()
            .map(|g| CalibrationPoint {
                rows: g.n,
                predicted: g.predicted,
                observed: g.observed,
                lower: g.lower,
                upper: g.upper,
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use cox_survival::DynamicAuc;

    use super::super::super::noise::uniform;
    use super::*;

    fn area(points: &[[f64; 2]]) -> f64 {
        points
            .windows(2)
            .map(|p| (p[1][0] - p[0][0]) * (p[1][1] + p[0][1]) / 2.0)
            .sum()
    }

    fn cohort(n: usize) -> (Surv, Vec<f64>) {
        let noise = |k: usize| (k * 7919 % 1009) as f64 / 1009.0;
        let risk: Vec<f64> = (0..n).map(|i| (noise(i) * 40.0).round()).collect();
        let time: Vec<f64> = (0..n)
            .map(|i| 0.1 + noise(i + 300) * (2.0 - risk[i] / 40.0))
            .collect();
        let event: Vec<bool> = (0..n).map(|i| i % 3 > 0).collect();
        (Surv::new(&time, &event).unwrap(), risk)
    }

    #[test]
    fn the_area_under_the_curve_is_the_auc() {
        // Ties of risk, and more rows than points.
        let (surv, risk) = cohort(400);
        let censoring = CensoringModel::kaplan_meier(&surv).unwrap();
        let auc = DynamicAuc::new()
            .fit(&surv, &risk, &[0.5, 1.0], &censoring)
            .unwrap();
        for (time, auc) in [0.5, 1.0].into_iter().zip(auc.auc) {
            let points = roc(&surv, &risk, time).unwrap();
            assert_eq!((points[0], points[points.len() - 1]), ([0.0; 2], [1.0; 2]));
            assert!((area(&points) - auc).abs() < 1e-12, "{time}");
        }
        let fine: Vec<f64> = (0..400).map(|i| risk[i] + i as f64 * 1e-4).collect();
        let points = roc(&surv, &fine, 1.0).unwrap();
        let exact = DynamicAuc::new()
            .fit(&surv, &fine, &[1.0], &censoring)
            .unwrap();
        assert!(points.len() <= POINTS + 1);
        assert!((area(&points) - exact.auc[0]).abs() < 0.01);
        assert!(points.windows(2).all(|p| p[0][1] <= p[1][1] + 1e-12));
    }

    #[test]
    fn without_censoring_weights_are_one_and_truncation_has_no_curve() {
        let time = [1.0, 2.0, 3.0, 4.0];
        let surv = Surv::new(&time, &[true; 4]).unwrap();
        let points = roc(&surv, &[4.0, 1.0, 2.0, 0.0], 2.5).unwrap();
        assert_eq!(
            points,
            [[0.0, 0.0], [0.0, 0.5], [0.5, 0.5], [0.5, 1.0], [1.0, 1.0]]
        );
        let late = Surv::builder(&time, &[true; 4]).entry(&[0.0, 0.5, 0.5, 0.0]);
        assert!(roc(&late.build().unwrap(), &[4.0, 1.0, 2.0, 0.0], 2.5).is_none());
    }

    #[test]
    fn limits_of_calibration_are_at_the_level() {
        let of = |stream: u64| (0..200).map(move |i| uniform(stream, i));
        let risk: Vec<f64> = of(1).map(|u| 0.2 + 0.5 * u).collect();
        let time: Vec<f64> = of(2).collect();
        let event: Vec<bool> = of(3).map(|u| u > 0.3).collect();
        let surv = Surv::new(&time, &event).unwrap();
        let width = |level| {
            let found = calibration(&surv, ModelKind::FaceW, (0.5, level), &risk).unwrap();
            let of = |g: &CalibrationPoint| Some(g.upper? - g.lower?);
            found.groups.iter().filter_map(of).sum::<f64>()
        };
        assert!(width(0.5) > 0.0 && width(0.5) < 0.6 * width(0.95));
    }

    #[test]
    fn kaplan_meier_points_are_those_of_events_with_numbers_at_risk() {
        let (surv, _) = cohort(30);
        let fit = KaplanMeier::new().fit(&surv).unwrap();
        let shown = &kaplan_meier(&fit.curves)[0];
        let events: f64 = shown.points.iter().map(|p| p.events).sum();
        assert!((events - surv.n_events() as f64).abs() < 1e-9);
        assert!((shown.at_risk[0].value - 30.0).abs() < 1e-9);
        assert!(shown.at_risk.windows(2).all(|p| p[0].value >= p[1].value));
        let last = shown.at_risk[5];
        assert!((last.value - 1.0).abs() < 1e-9, "{last:?}");
    }
}
