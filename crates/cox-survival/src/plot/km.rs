//! Kaplan-Meier curves with confidence bands, censoring marks and the numbers at risk.

use serde::{Deserialize, Serialize};

use super::km_layout::Layout;
use super::svg::Canvas;
use super::svg_to_png;
use crate::error::{Error, Result};
use crate::kaplan_meier::KmCurve;
use crate::logrank::LogRankTest;
use crate::text_table;

/// Settings of a Kaplan-Meier picture.
///
/// The axis starts at 0, the table of numbers at risk stands under the ticks, the legend above the
/// curves. Colours are distinguishable for colour-blind readers; from the eighth curve on they
/// repeat with dashes. The same curves and settings give the same bytes.
///
/// ```
/// use cox_survival::{KaplanMeier, KmPlot, LogRank, Surv};
/// let time = [5.0, 8.0, 12.0, 20.0, 3.0, 4.0, 7.0, 9.0];
/// let event = [true, false, true, false, true, true, true, false];
/// let arm = ["new", "new", "new", "new", "old", "old", "old", "old"];
/// let surv = Surv::new(&time, &event)?;
/// let fit = KaplanMeier::new().fit_by(&surv, &arm)?;
/// let test = LogRank::new().test(&surv, &arm)?;
/// let plot = KmPlot::new().title("Two arms").x_label("Time (months)").log_rank(&test);
/// let svg = plot.svg(&fit.curves)?;
/// assert!(svg.starts_with("<svg") && svg.contains("Number at risk"));
/// let png = plot.png(&fit.curves, 2.0)?;
/// assert_eq!(&png[1..4], b"PNG");
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct KmPlot {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) x_label: String,
    pub(super) y_label: String,
    pub(super) annotation: String,
    pub(super) names: Vec<String>,
    pub(super) confidence: bool,
    pub(super) censoring: bool,
    pub(super) risk_table: bool,
    pub(super) median_lines: bool,
    pub(super) percent: bool,
    pub(super) dashed: bool,
    pub(super) x_max: Option<f64>,
    pub(super) tick_step: Option<f64>,
    pub(super) width: f64,
    pub(super) height: Option<f64>,
}

impl Default for KmPlot {
    fn default() -> Self {
        Self {
            title: String::new(),
            subtitle: String::new(),
            x_label: "Time".to_owned(),
            y_label: "Survival probability".to_owned(),
            annotation: String::new(),
            names: vec![],
            confidence: true,
            censoring: true,
            risk_table: true,
            median_lines: false,
            percent: false,
            dashed: false,
            x_max: None,
            tick_step: None,
            width: 720.0,
            height: None,
        }
    }
}

impl KmPlot {
    /// 720 units wide and as high as it needs, with bands, censoring marks and table, without title.
    pub fn new() -> Self {
        Self::default()
    }

    /// Title above the picture.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Second line below the title, in grey.
    pub fn subtitle(mut self, subtitle: impl Into<String>) -> Self {
        self.subtitle = subtitle.into();
        self
    }

    /// Title of the time axis, with its unit: `Time (months)`.
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }

    /// Title of the survival axis.
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = label.into();
        self
    }

    /// A short text in a corner that the curves leave free (above the curves if there is none).
    pub fn annotation(mut self, text: impl Into<String>) -> Self {
        self.annotation = text.into();
        self
    }

    /// The p-value of a log-rank test as the annotation.
    pub fn log_rank(self, test: &LogRankTest) -> Self {
        let p = if test.p_value < 1e-4 {
            "p < 0.0001".to_owned()
        } else {
            format!("p = {}", text_table::significant(test.p_value, 2))
        };
        let name = if test.strata > 1 {
            "Stratified log-rank"
        } else {
            "Log-rank"
        };
        let rho = test.rho();
        if rho.abs() > 0.0 {
            self.annotation(format!("{name}, rho = {rho}: {p}"))
        } else {
            self.annotation(format!("{name} {p}"))
        }
    }

    /// Names instead of the curves' own, in their order.
    pub fn names(mut self, names: &[impl AsRef<str>]) -> Self {
        self.names = names.iter().map(|n| n.as_ref().to_owned()).collect();
        self
    }

    /// Whether confidence bands are drawn. On by default.
    pub fn confidence(mut self, show: bool) -> Self {
        self.confidence = show;
        self
    }

    /// Whether curves differ in dashes from the first on, to be told apart without colours. Off by
    /// default.
    pub fn dashed(mut self, dashed: bool) -> Self {
        self.dashed = dashed;
        self
    }

    /// Whether censoring times are marked. On by default.
    pub fn censoring(mut self, show: bool) -> Self {
        self.censoring = show;
        self
    }

    /// Whether the numbers at risk are written under the axis. On by default.
    pub fn risk_table(mut self, show: bool) -> Self {
        self.risk_table = show;
        self
    }

    /// Whether dotted lines lead from survival 0.5 to the medians. Off by default.
    pub fn median_lines(mut self, show: bool) -> Self {
        self.median_lines = show;
        self
    }

    /// Whether the survival axis counts in percent. Off by default.
    pub fn percent(mut self, percent: bool) -> Self {
        self.percent = percent;
        self
    }

    /// Where the time axis ends; by default a little after the last time.
    pub fn x_max(mut self, x_max: f64) -> Self {
        self.x_max = Some(x_max);
        self
    }

    /// Distance of the ticks of the time axis (365.25 for days in years); by default a round
    /// number.
    pub fn tick_step(mut self, step: f64) -> Self {
        self.tick_step = Some(step);
        self
    }

    /// Size of the whole picture in SVG units, table included. By default it is 720 wide, and as
    /// high as curves of 340 units with heading, legend and table need.
    pub fn size(mut self, width: f64, height: f64) -> Self {
        self.width = width;
        self.height = Some(height);
        self
    }

    /// The picture as PNG bytes, `scale` pixels to a unit. See [`svg_to_png`].
    pub fn png(&self, curves: &[KmCurve], scale: f64) -> Result<Vec<u8>> {
        svg_to_png(&self.svg(curves)?, scale)
    }

    /// The picture as SVG text.
    ///
    /// # Errors
    /// [`Error::Setting`] without curves, for names that do not match them, an axis or tick step
    /// that is not positive, and a size that leaves no room for the curves.
    pub fn svg(&self, curves: &[KmCurve]) -> Result<String> {
        let names = self.curve_names(curves)?;
        let mut layout = Layout::new(self, curves, &names, false)?;
        let corner = layout.free_corner(self, curves);
        if corner.is_none() && !self.annotation.is_empty() {
            layout = Layout::new(self, curves, &names, true)?;
        }
        let title = if self.title.is_empty() {
            "Kaplan-Meier curves"
        } else {
            &self.title
        };
        let mut canvas = Canvas::new(self.width, layout.height, title);
        layout.heading(self, &mut canvas);
        layout.legend(&names, self, &mut canvas);
        layout.axes(self, &mut canvas);
        layout.curves(self, curves, &mut canvas);
        layout.note(self, corner, &mut canvas);
        if self.risk_table {
            layout.table(curves, &names, &mut canvas);
        }
        Ok(canvas.finish())
    }

    fn curve_names(&self, curves: &[KmCurve]) -> Result<Vec<String>> {
        let setting = |name, value: String, expected| Error::Setting {
            name,
            value,
            expected,
        };
        if curves.is_empty() {
            return Err(setting("curves", "none".into(), "at least one curve"));
        }
        for (name, value) in [("x_max", self.x_max), ("tick_step", self.tick_step)] {
            if value.is_some_and(|v| !(v > 0.0 && v.is_finite())) {
                let value = value.unwrap_or(f64::NAN).to_string();
                return Err(setting(name, value, "a positive number"));
            }
        }
        if self.names.is_empty() {
            let own = |curve: &KmCurve| match curve.name.as_str() {
                "" => "All".to_owned(),
                name => name.to_owned(),
            };
            return Ok(curves.iter().map(own).collect());
        }
        if self.names.len() != curves.len() {
            let value = self.names.len().to_string();
            return Err(setting("names", value, "one name for each curve"));
        }
        Ok(self.names.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KaplanMeier, LogRank, Surv};

    fn curves() -> (Vec<KmCurve>, LogRankTest) {
        let time: Vec<f64> = (1..=40u16).map(|k| f64::from(k * 7 % 41)).collect();
        let event: Vec<bool> = (0..40).map(|k| k % 3 != 0).collect();
        let arm: Vec<&str> = (0..40).map(|k| ["a & b", "<c>"][k % 2]).collect();
        let surv = Surv::new(&time, &event).unwrap();
        let fit = KaplanMeier::new().fit_by(&surv, &arm).unwrap();
        (fit.curves, LogRank::new().test(&surv, &arm).unwrap())
    }

    /// Content and position of every text that is not rotated.
    fn texts(svg: &str) -> Vec<(f64, f64, String)> {
        let value = |line: &str, key: &str| {
            let rest = &line[line.find(key)? + key.len()..];
            rest[..rest.find('"')?].parse::<f64>().ok()
        };
        let lines = svg.lines().filter(|l| l.starts_with("<text x="));
        lines
            .map(|l| {
                let text = &l[l.find('>').unwrap() + 1..l.rfind("</").unwrap()];
                (
                    value(l, " x=\"").unwrap(),
                    value(l, " y=\"").unwrap(),
                    text.to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn numbers_at_risk_stand_under_their_ticks() {
        let (curves, test) = curves();
        let svg = KmPlot::new()
            .title("T")
            .log_rank(&test)
            .svg(&curves)
            .unwrap();
        let texts = texts(&svg);
        let table = texts.iter().position(|t| t.2 == "Number at risk").unwrap();
        assert_eq!(texts[table + 1].2, "&lt;c&gt;");
        for tick in [0.0, 10.0, 20.0, 30.0, 40.0] {
            let label = format!("{tick:.0}");
            let x = texts.iter().find(|t| t.2 == label).unwrap().0;
            for (k, curve) in curves.iter().enumerate() {
                let number = format!("{:.0}", curve.n_risk_at(tick));
                let row = texts[table].1 + 17.0 * (k + 1) as f64;
                let found = texts[table..]
                    .iter()
                    .any(|t| (t.0 - x).abs() < 0.01 && (t.1 - row).abs() < 0.01 && t.2 == number);
                assert!(found, "{number} at {tick} of {}", curve.name);
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let (curves, test) = curves();
        let plot = KmPlot::new()
            .log_rank(&test)
            .median_lines(true)
            .percent(true);
        assert_eq!(plot.svg(&curves).unwrap(), plot.svg(&curves).unwrap());
        assert_eq!(
            plot.png(&curves, 1.0).unwrap(),
            plot.png(&curves, 1.0).unwrap()
        );
        let text = serde_json::to_string(&plot).unwrap();
        assert_eq!(serde_json::from_str::<KmPlot>(&text).unwrap(), plot);
    }

    #[test]
    fn the_annotation_avoids_the_curves() {
        // High curves leave the bottom free; early deaths leave the top right free.
        let place = |time: &[f64], event: &[bool]| {
            let surv = Surv::new(time, event).unwrap();
            let fit = KaplanMeier::new().fit(&surv).unwrap();
            let svg = KmPlot::new().annotation("here").svg(&fit.curves).unwrap();
            texts(&svg).into_iter().find(|t| t.2 == "here").unwrap()
        };
        let time: Vec<f64> = (1..=30).map(f64::from).collect();
        let mut event = vec![false; 30];
        event[20] = true;
        let (x, y, _) = place(&time, &event);
        assert!(x < 200.0 && y > 200.0, "bottom left, not {x}, {y}");
        let time: Vec<f64> = (1..=30)
            .map(|k| if k < 30 { f64::from(k) } else { 900.0 })
            .collect();
        let (x, y, _) = place(&time, &[true; 30]);
        assert!(x > 500.0 && y < 100.0, "top right, not {x}, {y}");
    }

    #[test]
    fn a_million_times_make_a_small_picture() {
        let time: Vec<f64> = (0..300_000).map(f64::from).collect();
        let event: Vec<bool> = (0..300_000).map(|k| k % 2 == 0).collect();
        let fit = KaplanMeier::new()
            .fit(&Surv::new(&time, &event).unwrap())
            .unwrap();
        let svg = KmPlot::new().svg(&fit.curves).unwrap();
        assert!(svg.len() < 500_000, "{} bytes", svg.len());
    }

    #[test]
    fn edges_are_drawn_and_faults_are_named() {
        let fit = |time: &[f64], event: &[bool]| {
            KaplanMeier::new()
                .fit(&Surv::new(time, event).unwrap())
                .unwrap()
                .curves
        };
        for curves in [
            fit(&[0.0, 0.0], &[true, true]),
            fit(&[1e-9, 1e12], &[true, false]),
        ] {
            let svg = KmPlot::new().svg(&curves).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        let (curves, _) = curves();
        let name = |result: Result<String>| match result {
            Err(Error::Setting { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(name(KmPlot::new().svg(&[])), "curves");
        assert_eq!(name(KmPlot::new().names(&["one"]).svg(&curves)), "names");
        assert_eq!(name(KmPlot::new().x_max(0.0).svg(&curves)), "x_max");
        assert_eq!(
            name(KmPlot::new().tick_step(f64::NAN).svg(&curves)),
            "tick_step"
        );
        assert_eq!(name(KmPlot::new().size(100.0, 100.0).svg(&curves)), "size");
        assert_eq!(
            name(KmPlot::new().size(f64::NAN, 100.0).svg(&curves)),
            "size"
        );
    }
}
