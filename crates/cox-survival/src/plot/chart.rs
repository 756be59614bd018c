//! Diagnostic pictures on plain axes: log-log curves, calibration, cross-validation, paths.

use serde::{Deserialize, Serialize};

use super::chart_layout::{Data, Mark, Series};
use super::svg_to_png;
use crate::error::{Error, Result};
use crate::kaplan_meier::KmCurve;
use crate::metrics::{CalibrationFit, DecisionCurve};
use crate::validation::cross_validation::{CvFit, CvMeasure};
use crate::{PathFit, Schoenfeld};

/// Settings of a diagnostic picture; each method below draws one kind.
///
/// The same numbers and settings give the same bytes. Labels of the axes have a default for each
/// kind.
///
/// ```
/// use cox_survival::{Chart, KaplanMeier, Surv};
/// let time = [5.0, 8.0, 12.0, 20.0, 3.0, 4.0, 7.0, 9.0];
/// let event = [true, false, true, false, true, true, true, false];
/// let arm = ["new", "new", "new", "new", "old", "old", "old", "old"];
/// let fit = KaplanMeier::new().fit_by(&Surv::new(&time, &event)?, &arm)?;
/// let picture = Chart::new().title("Are the hazards proportional?").log_log(&fit.curves)?;
/// assert!(picture.svg().starts_with("<svg"));
/// assert_eq!(&picture.png(1.0)?[1..4], b"PNG");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chart {
    pub(super) title: String,
    pub(super) x_label: Option<String>,
    pub(super) y_label: Option<String>,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Default for Chart {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: None,
            y_label: None,
            width: 720.0,
            height: 480.0,
        }
    }
}

/// A finished picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    svg: String,
}

impl Picture {
    /// As SVG text.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// As PNG bytes, `scale` pixels to a unit. See [`svg_to_png`].
    pub fn png(&self, scale: f64) -> Result<Vec<u8>> {
        svg_to_png(&self.svg, scale)
    }
}

impl Chart {
    /// 720 units wide, 480 high, without title.
    pub fn new() -> Self {
        Self::default()
    }

    /// Title above the picture.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Label of the horizontal axis.
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = Some(label.into());
        self
    }

    /// Label of the vertical axis.
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = Some(label.into());
        self
    }

    /// Size of the whole picture in SVG units.
    pub fn size(mut self, width: f64, height: f64) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// `log(-log S)` against `log t`, one step curve per group: parallel where hazards are
    /// proportional. Drawn from the first event to the last with a survivor.
    pub fn log_log(&self, curves: &[KmCurve]) -> Result<Picture> {
        let series = |curve: &KmCurve| {
            let at = |k: usize| (curve.time[k].ln(), (-curve.surv[k].ln()).ln());
            let inside =
                |&k: &usize| curve.time[k] > 0.0 && curve.surv[k] < 1.0 && curve.surv[k] > 0.0;
            let points = (0..curve.time.len()).filter(inside).map(at).collect();
            Series::new(&curve.name, Mark::Steps, points)
        };
        let data = Data::new(
            "log time",
            "log(-log survival)",
            curves.iter().map(series).collect(),
        );
        self.draw("Log-log curves", &data)
    }

    /// Observed against predicted risk: the smoothed curve, the groups with their limits, and the
    /// diagonal of a calibrated model.
    pub fn calibration(&self, fit: &CalibrationFit) -> Result<Picture> {
        let mut smooth: Vec<(f64, f64)> = fit
            .predicted
            .iter()
            .copied()
            .zip(fit.observed.iter().copied())
            .collect();
        smooth.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut groups = Series::new("groups", Mark::Points, vec![]);
        for g in &fit.groups {
            if let Some(observed) = g.observed {
                groups.points.push((g.predicted, observed));
                let limits = (g.lower.unwrap_or(observed), g.upper.unwrap_or(observed));
                groups.limits.push(limits);
            }
        }
        let series = vec![Series::new("smoothed", Mark::Line, smooth), groups];
        let mut data = Data::new("Predicted risk", "Observed risk", series);
        data.diagonal = true;
        self.draw("Calibration", &data)
    }

    /// The cross-validated measure against `log lambda` with its standard errors; lines at the best
    /// lambda and at the largest within a standard error of it. A lambda of 0 has no place on that axis
    /// and is left out.
    pub fn cross_validation(&self, fit: &CvFit) -> Result<Picture> {
        let label = match fit.measure() {
            CvMeasure::Deviance { .. } => "Partial-likelihood deviance",
            CvMeasure::Concordance => "Concordance",
        };
        let mut points = Series::new("", Mark::Points, vec![]);
        for (k, &lambda) in fit.lambda().iter().enumerate() {
            let (mean, se) = (fit.cvm()[k], fit.cvsd()[k]);
            if mean.is_finite() && se.is_finite() && lambda > 0.0 {
                points.points.push((lambda.ln(), mean));
                points.limits.push((mean - se, mean + se));
            }
        }
        let mut data = Data::new("log lambda", label, vec![points]);
        data.verticals = [fit.lambda_min(), fit.lambda_1se()]
            .into_iter()
            .filter(|&lambda| lambda > 0.0)
            .map(f64::ln)
            .collect();
        self.draw("Cross-validation", &data)
    }

    /// Every coefficient that is ever not 0, against `log lambda`; the largest are named. A lambda of 0
    /// has no place on that axis and is left out.
    pub fn path(&self, fit: &PathFit) -> Result<Picture> {
        // Lambdas decrease: only the last can be 0.
        let positive = fit.lambda().iter().take_while(|&&l| l > 0.0);
        let x: Vec<f64> = positive.map(|l| l.ln()).collect();
        let mut lines: Vec<Option<Vec<(f64, f64)>>> = vec![None; fit.names().len()];
        for (k, &at) in x.iter().enumerate() {
            let beta = fit.beta(k);
            for (&j, &value) in beta.index.iter().zip(&beta.value) {
                let line = lines[j as usize]
                    .get_or_insert_with(|| x[..k].iter().map(|&before| (before, 0.0)).collect());
                line.push((at, value));
            }
            for line in lines.iter_mut().flatten().filter(|line| line.len() == k) {
                line.push((at, 0.0));
            }
        }
        let last = |points: &[(f64, f64)]| points.last().map_or(0.0, |p| p.1.abs());
        let named = fit.names().iter().zip(lines);
        let mut series: Vec<Series> = named
            .filter_map(|(name, line)| Some(Series::new(name, Mark::Line, line?)))
            .collect();
        series.sort_by(|a, b| last(&b.points).total_cmp(&last(&a.points)));
        // As many names as a legend can hold.
        for s in series.iter_mut().skip(7) {
            s.name.clear();
        }
        self.draw(
            "Coefficients",
            &Data::new("log lambda", "Coefficient", series),
        )
    }

    /// Net benefit against the threshold, beside treating everybody and nobody.
    pub fn decision(&self, curve: &DecisionCurve) -> Result<Picture> {
        let line = |name, of: fn(&crate::DecisionPoint) -> Option<f64>| {
            let at = |p: &crate::DecisionPoint| Some((p.threshold, of(p)?));
            Series::new(
                name,
                Mark::Line,
                curve.points.iter().filter_map(at).collect(),
            )
        };
        let model = line("by prediction", |p| p.net_benefit);
        let mut all = line("everybody", |p| p.treat_all);
        // Far below nobody's it would only squeeze the rest.
        let top = model.points.iter().map(|p| p.1).fold(0.01, f64::max);
        all.points.retain(|p| p.1 > -0.3 * top);
        let nobody = line("nobody", |_| Some(0.0));
        let data = Data::new("Threshold", "Net benefit", vec![model, all, nobody]);
        self.draw("Decision curve", &data)
    }

    /// Scaled Schoenfeld residuals of one column against time, smoothed, beside its coefficient in the
    /// model: a smooth curve that leaves the line shows an effect that changes with time.
    ///
    /// The smoother is a local straight line over the nearest two thirds of the events, weighted by
    /// the tricube of their distance (Cleveland 1979, without his robust steps).
    ///
    /// # Errors
    /// [`Error::Setting`] for a column that the residuals do not have.
    pub fn schoenfeld(
        &self,
        residuals: &Schoenfeld,
        column: usize,
        coefficient: f64,
    ) -> Result<Picture> {
        let events = residuals.time.len();
        let columns = residuals.values.len().checked_div(events).unwrap_or(0);
        if column >= columns {
            return Err(Error::Setting {
                name: "column",
                value: column.to_string(),
                expected: "must be one of the residuals' columns",
            });
        }
        let values = residuals.values.iter().skip(column).step_by(columns);
        let points: Vec<(f64, f64)> = residuals
            .time
            .iter()
            .copied()
            .zip(values.copied())
            .collect();
        let ends = points
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| {
                (low.min(p.0), high.max(p.0))
            });
        let level = vec![(ends.0, coefficient), (ends.1, coefficient)];
        let grid = (0..=60u8).map(|k| ends.0 + (ends.1 - ends.0) * f64::from(k) / 60.0);
        let smooth = grid
            .filter_map(|t| Some((t, local_line(&points, t)?)))
            .collect();
        let series = vec![
            Series::new("scaled residuals", Mark::Points, points),
            Series::new("smoothed", Mark::Line, smooth),
            Series::new("coefficient", Mark::Line, level),
        ];
        self.draw(
            "Schoenfeld residuals",
            &Data::new("Time", "Coefficient at the time", series),
        )
    }

    pub(super) fn draw(&self, title: &str, data: &Data) -> Result<Picture> {
        if data.series.iter().all(|s| s.points.is_empty()) {
            return Err(Error::Picture {
                reason: "there is nothing to draw".to_owned(),
            });
        }
        if !data.is_finite() {
            return Err(Error::Picture {
                reason: "a point is not finite".to_owned(),
            });
        }
        let svg = super::chart_layout::draw(self, title, data)?;
        Ok(Picture { svg })
    }
}

/// The local straight line at `t`; `None` where all points in reach have one abscissa and it is
/// not `t`, or there is none.
fn local_line(points: &[(f64, f64)], t: f64) -> Option<f64> {
    let mut distance: Vec<f64> = points.iter().map(|p| (p.0 - t).abs()).collect();
    distance.sort_unstable_by(f64::total_cmp);
    let reach = distance.get((2 * points.len()).div_ceil(3).checked_sub(1)?)? * (1.0 + 1e-9);
    let mut sums = [0.0; 5];
    for &(x, y) in points {
        let (u, x) = ((x - t).abs() / reach.max(f64::MIN_POSITIVE), x - t);
        if u < 1.0 {
            let w = (1.0 - u.powi(3)).powi(3);
            for (sum, term) in sums.iter_mut().zip([1.0, x, x * x, y, x * y]) {
                *sum += w * term;
            }
        }
    }
    let [w, x, xx, y, xy] = sums;
    let spread = w * xx - x * x;
    if spread > 1e-12 * w * xx {
        Some((xx * y - x * xy) / spread)
    } else {
        (w > 0.0 && xx <= 0.0).then_some(y / w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Calibration, Covariates, CoxPath, CrossValidation, Folds, KaplanMeier, NetBenefit, Surv,
    };

    fn data() -> (Surv, Vec<f64>) {
        let n = 80;
        let noise = |k: usize| (k * 7919 % 1009) as f64 / 504.5 - 1.0;
        let x: Vec<f64> = (0..n * 6).map(noise).collect();
        let time: Vec<f64> = (0..n).map(|i| (noise(i + 900) - x[i * 6]).exp()).collect();
        let event: Vec<bool> = (0..n).map(|i| i % 5 > 0).collect();
        (Surv::new(&time, &event).unwrap(), x)
    }

    fn count(svg: &str, what: &str) -> usize {
        svg.matches(what).count()
    }

    #[test]
    fn log_log_curves_have_a_point_for_every_step_inside() {
        let (surv, _) = data();
        let arm: Vec<&str> = (0..80).map(|k| ["a & b", "c"][k % 2]).collect();
        let fit = KaplanMeier::new().fit_by(&surv, &arm).unwrap();
        let svg = Chart::new().log_log(&fit.curves).unwrap().svg().to_owned();
        assert!(svg.contains("a &amp; b") && svg.contains("log(-log survival)"));
        assert_eq!(count(&svg, "<path"), 2);
        assert_eq!(Chart::new().log_log(&fit.curves).unwrap().svg(), svg);
        let none = KaplanMeier::new()
            .fit(&Surv::new(&[1.0, 1.0], &[true, true]).unwrap())
            .unwrap();
        assert!(matches!(
            Chart::new().log_log(&none.curves),
            Err(Error::Picture { .. })
        ));
        let tiny = Chart::new().size(50.0, 50.0).log_log(&fit.curves);
        assert!(matches!(tiny, Err(Error::Setting { name: "size", .. })));
    }

    #[test]
    fn calibration_shows_groups_with_limits_and_the_diagonal() {
        let (surv, x) = data();
        let risk: Vec<f64> = (0..80).map(|i| 1.0 / (1.0 + (-x[i * 6]).exp())).collect();
        let fit = Calibration::new(1.0).groups(4).fit(&surv, &risk).unwrap();
        let svg = Chart::new().calibration(&fit).unwrap().svg().to_owned();
        let seen = fit.groups.iter().filter(|g| g.observed.is_some()).count();
        // One circle more stands in the legend.
        assert_eq!(count(&svg, "<circle"), seen + 1);
        assert!(svg.contains("Observed risk") && svg.contains("stroke-dasharray"));
    }

    #[test]
    fn paths_and_cross_validation() {
        let (surv, x) = data();
        let x = Covariates::from_rows(&x, 80, 6).unwrap();
        let folds = Folds::stratified(&surv, 4, 1).unwrap();
        let path = CoxPath::new().n_lambda(20);
        let fit = CrossValidation::new(path).fit(&surv, &x, &folds).unwrap();
        let svg = Chart::new()
            .cross_validation(&fit)
            .unwrap()
            .svg()
            .to_owned();
        assert_eq!(count(&svg, "<circle"), fit.lambda().len());
        let svg = Chart::new().path(fit.path()).unwrap().svg().to_owned();
        let mut ever = [false; 6];
        for k in 0..fit.lambda().len() {
            fit.path()
                .beta(k)
                .index
                .iter()
                .for_each(|&j| ever[j as usize] = true);
        }
        assert_eq!(count(&svg, "<path"), ever.iter().filter(|&&e| e).count());
    }

    #[test]
    fn a_lambda_of_0_is_left_out() {
        let (surv, x) = data();
        let x = Covariates::from_rows(&x, 80, 6).unwrap();
        let folds = Folds::stratified(&surv, 4, 1).unwrap();
        let path = CoxPath::new().lambdas(vec![0.1, 0.03, 0.01, 0.0]);
        let fit = CrossValidation::new(path).fit(&surv, &x, &folds).unwrap();
        let cross_validation = Chart::new().cross_validation(&fit).unwrap();
        assert_eq!(count(cross_validation.svg(), "<circle"), 3);
        let path = Chart::new().path(fit.path()).unwrap();
        assert!(count(path.svg(), "<path") > 0);
        for svg in [cross_validation.svg(), path.svg()] {
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        let only = CoxPath::new().lambdas(vec![0.0]).fit(&surv, &x).unwrap();
        assert!(matches!(
            Chart::new().path(&only),
            Err(Error::Picture { .. })
        ));
        let fit = crate::CoxPh::new().fit(&surv, &x).unwrap();
        let residuals = fit.diagnostics(&surv, &x).unwrap().scaled_schoenfeld();
        let bad = Chart::new().schoenfeld(&residuals, 0, f64::NAN);
        assert!(matches!(bad, Err(Error::Picture { .. })));
    }

    #[test]
    fn schoenfeld_residuals_with_their_smooth() {
        let (surv, x) = data();
        let x = Covariates::from_rows(&x, 80, 6).unwrap();
        let fit = crate::CoxPh::new().fit(&surv, &x).unwrap();
        let residuals = fit.diagnostics(&surv, &x).unwrap().scaled_schoenfeld();
        let svg = Chart::new()
            .schoenfeld(&residuals, 1, fit.coef()[1])
            .unwrap();
        assert_eq!(count(svg.svg(), "<circle"), surv.n_events() + 1);
        assert_eq!(count(svg.svg(), "<path"), 2);
        let bad = Chart::new().schoenfeld(&residuals, 6, 0.0);
        assert!(matches!(bad, Err(Error::Setting { name: "column", .. })));
    }

    #[test]
    fn a_local_line_keeps_straight_lines() {
        let line: Vec<(f64, f64)> = (0..20u8)
            .map(|k| (f64::from(k), 3.0 - 0.5 * f64::from(k)))
            .collect();
        for t in [0.0, 4.3, 19.0] {
            assert!((local_line(&line, t).unwrap() - (3.0 - 0.5 * t)).abs() < 1e-9);
        }
        assert_eq!(local_line(&[], 1.0), None);
        assert!(local_line(&[(1.0, 2.0), (1.0, 4.0)], 1.0).is_none_or(|y| (y - 3.0).abs() < 1e-12));
    }

    #[test]
    fn decision_curves_have_three_lines() {
        let (surv, x) = data();
        let risk: Vec<f64> = (0..80).map(|i| 1.0 / (1.0 + (-x[i * 6]).exp())).collect();
        let at: Vec<f64> = (0..20).map(|k| f64::from(k) / 25.0).collect();
        let curve = NetBenefit::new(1.0).fit(&surv, &risk, &at).unwrap();
        let picture = Chart::new().title("Worth it?").decision(&curve).unwrap();
        assert_eq!(count(picture.svg(), "<path"), 3);
        assert!(picture.svg().contains("Worth it?"));
        assert_eq!(&picture.png(1.0).unwrap()[1..4], b"PNG");
    }
}
