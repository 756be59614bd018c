//! Forest plots: ratios with their confidence intervals on a log axis.

use serde::{Deserialize, Serialize};

use super::axis::tick_step;
use super::svg::{Anchor, Canvas, Type, number};
use super::{COLORS, GREY, GRID, INK, svg_to_png};
use crate::error::{Error, Result};
use crate::text_table;

const MARGIN: f64 = 16.0;
const SIZE: f64 = 12.0;
const LINE: f64 = 24.0;
const NAME_WIDTH: f64 = 240.0;

/// One line of a forest plot: a hazard ratio with its confidence interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForestRow {
    /// What it is the ratio of.
    pub name: String,
    /// The ratio, `exp(coef)`.
    pub ratio: f64,
    /// Lower confidence limit.
    pub lower: f64,
    /// Upper confidence limit.
    pub upper: f64,
    /// The p-value, if it is to be shown.
    pub p: Option<f64>,
}

impl ForestRow {
    /// A line without p-value.
    pub fn new(name: impl Into<String>, ratio: f64, lower: f64, upper: f64) -> Self {
        Self {
            name: name.into(),
            ratio,
            lower,
            upper,
            p: None,
        }
    }

    /// The same line with a p-value.
    pub fn p(mut self, p: f64) -> Self {
        self.p = Some(p);
        self
    }
}

/// Settings of a forest plot.
///
/// ```
/// use cox_survival::{ForestPlot, ForestRow};
/// let rows = [
///     ForestRow::new("age (per year)", 1.01, 0.99, 1.03).p(0.4),
///     ForestRow::new("treatment", 0.62, 0.41, 0.95).p(0.028),
/// ];
/// let svg = ForestPlot::new().title("Cox model").svg(&rows)?;
/// assert!(svg.contains("0.62 (0.41, 0.95)"));
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForestPlot {
    title: String,
    x_label: String,
    width: f64,
}

impl Default for ForestPlot {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: "Hazard ratio (95% CI)".to_owned(),
            width: 760.0,
        }
    }
}

impl ForestPlot {
    /// 760 units wide, as high as the rows need.
    pub fn new() -> Self {
        Self::default()
    }

    /// Title above the picture.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Title of the axis and of the column of figures.
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }

    /// Width of the picture in SVG units, at least 480.
    pub fn width(mut self, width: f64) -> Self {
        self.width = width;
        self
    }

    /// The picture as PNG bytes, `scale` pixels to a unit. See [`svg_to_png`].
    pub fn png(&self, rows: &[ForestRow], scale: f64) -> Result<Vec<u8>> {
        svg_to_png(&self.svg(rows)?, scale)
    }

    /// The picture as SVG text. An interval that leaves the axis ends in an arrow.
    ///
    /// # Errors
    /// [`Error::Setting`] without rows, for a ratio or limits that are not `0 < lower <= ratio <=
    /// upper`, and for a width below 480.
    pub fn svg(&self, rows: &[ForestRow]) -> Result<String> {
        let setting = |name, value: String, expected| Error::Setting {
            name,
            value,
            expected,
        };
        if rows.is_empty() {
            return Err(setting("rows", "none".into(), "at least one row"));
        }
        if !(self.width >= 480.0 && self.width < 1e5) {
            return Err(setting("width", self.width.to_string(), "at least 480"));
        }
        for row in rows {
            let ordered = 0.0 < row.ratio && row.lower <= row.ratio && row.ratio <= row.upper;
            if !(ordered && row.ratio.is_finite() && row.lower >= 0.0) {
                let value = format!("{} ({}, {})", row.ratio, row.lower, row.upper);
                return Err(setting(
                    "ratio",
                    value,
                    "0 <= lower <= ratio <= upper, ratio finite",
                ));
            }
        }
        let figures: Vec<[String; 2]> = rows.iter().map(figures).collect();
        let style = Type::new(SIZE, INK);
        let widest = |texts: &mut dyn Iterator<Item = &String>| {
            texts.map(|t| style.width(t)).fold(0.0, f64::max)
        };
        let names = widest(&mut rows.iter().map(|r| &r.name)).min(NAME_WIDTH);
        let label = style.bold().width(&self.x_label);
        let values = widest(&mut figures.iter().map(|f| &f[0])).max(label);
        let p_width = if rows.iter().any(|r| r.p.is_some()) {
            widest(&mut figures.iter().map(|f| &f[1])).max(style.width("p")) + 20.0
        } else {
            0.0
        };
        let left = MARGIN + names + 24.0;
        let right = (self.width - MARGIN - p_width - values - 24.0).max(left + 60.0);
        let top = MARGIN + if self.title.is_empty() { 0.0 } else { 30.0 };
        let bottom = top + 24.0 + LINE * rows.len() as f64;
        let height = bottom + 56.0;

        let axis = Axis::new(rows, left, right);
        let mut canvas = Canvas::new(
            self.width,
            height,
            if self.title.is_empty() {
                "Forest plot"
            } else {
                &self.title
            },
        );
        if !self.title.is_empty() {
            let title = Type::new(17.0, INK).bold();
            let text = title.fit(&self.title, self.width - 2.0 * MARGIN);
            canvas.write(MARGIN, MARGIN + 15.0, &text, title);
        }
        for &tick in &axis.ticks {
            let x = axis.x(tick);
            canvas.line((x, top + 20.0), (x, bottom), GRID, 1.0, "");
            canvas.line((x, bottom), (x, bottom + 5.0), INK, 1.0, "");
            let text = text_table::significant(tick, 3);
            canvas.write(x, bottom + 18.0, &text, style.at(Anchor::Middle));
        }
        canvas.line((left, bottom), (right, bottom), INK, 1.0, "");
        canvas.line(
            (axis.x(1.0), top + 20.0),
            (axis.x(1.0), bottom),
            GREY,
            1.2,
            "4 3",
        );
        let middle = style.at(Anchor::Middle);
        canvas.write(0.5 * (left + right), bottom + 38.0, &self.x_label, middle);
        let values_x = right + 24.0;
        canvas.write(values_x, top + 12.0, &self.x_label, style.bold());
        if p_width > 0.0 {
            canvas.write(
                self.width - MARGIN,
                top + 12.0,
                "p",
                style.bold().at(Anchor::End),
            );
        }
        for (k, row) in rows.iter().enumerate() {
            let y = top + 24.0 + LINE * (k as f64 + 0.5);
            canvas.write(MARGIN, y + 4.3, &style.fit(&row.name, NAME_WIDTH), style);
            axis.interval(row, y, &mut canvas);
            canvas.write(values_x, y + 4.3, &figures[k][0], style);
            canvas.write(
                self.width - MARGIN,
                y + 4.3,
                &figures[k][1],
                style.at(Anchor::End),
            );
        }
        Ok(canvas.finish())
    }
}

fn figures(row: &ForestRow) -> [String; 2] {
    let two = |v: f64| match v {
        v if v.is_infinite() => "Inf".to_owned(),
        v if v >= 1e6 || (v > 0.0 && v < 5e-3) => text_table::significant(v, 2),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    };
    let p = match row.p {
        None => String::new(),
        Some(p) if p < 1e-4 => "<0.0001".to_owned(),
        Some(p) => text_table::significant(p, 2),
    };
    [
        format!(
            "{} ({}, {})",
            two(row.ratio),
            two(row.lower),
            two(row.upper)
        ),
        p,
    ]
}

/// Round ratios between the logarithms `low` and `high`.
fn candidates(low: f64, high: f64) -> Vec<f64> {
    let decades = (high - low) / std::f64::consts::LN_10;
    let inside = |t: &f64| (low..=high).contains(&t.ln());
    if decades < 0.35 {
        let step = tick_step(high.exp() - low.exp(), 6);
        let first = (low.exp() / step).ceil();
        let multiples = (0..20u32).map(|k| (first + f64::from(k)) * step);
        return multiples.filter(inside).collect();
    }
    let marks: &[f64] = match decades {
        d if d < 1.3 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
        d if d < 3.2 => &[1.0, 2.0, 5.0],
        d if d < 6.0 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let powers = (low / std::f64::consts::LN_10).floor() as i32
        ..=(high / std::f64::consts::LN_10).ceil() as i32;
    let every = ((powers.end() - powers.start()) / 8).max(1);
    powers
        .filter(|d| d % every == 0)
        .flat_map(|d| marks.iter().map(move |m| m * 10f64.powi(d)))
        .filter(inside)
        .collect()
}

/// A log axis that always shows 1.
struct Axis {
    left: f64,
    right: f64,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Axis {
    fn new(rows: &[ForestRow], left: f64, right: f64) -> Self {
        // A single wild interval must not squeeze the others: ratios count in full, limits up to
        // a factor of 10 beyond the ratios.
        let low = rows.iter().map(|r| r.ratio).fold(1.0, f64::min);
        let high = rows.iter().map(|r| r.ratio).fold(1.0, f64::max);
        let least = rows
            .iter()
            .map(|r| r.lower.max(low / 10.0))
            .fold(low, f64::min);
        let most = rows
            .iter()
            .map(|r| r.upper.min(high * 10.0))
            .fold(high, f64::max);
        let pad = (0.05 * (most / least).ln()).max(0.005);
        let (low, high) = (least.ln() - pad, most.ln() + pad);
        let mut ticks = candidates(low, high);
        // Labels need room: where two come too close, the one further from 1 goes.
        let x = |t: f64| left + (right - left) * (t.ln() - low) / (high - low);
        ticks.sort_by(|a, b| a.ln().abs().total_cmp(&b.ln().abs()));
        let mut kept: Vec<f64> = vec![];
        for t in ticks {
            if kept.iter().all(|&k| (x(k) - x(t)).abs() >= 34.0) {
                kept.push(t);
            }
        }
        Self {
            left,
            right,
            low,
            high,
            ticks: kept,
        }
    }

    fn x(&self, ratio: f64) -> f64 {
        self.left + (self.right - self.left) * (ratio.ln() - self.low) / (self.high - self.low)
    }

    fn interval(&self, row: &ForestRow, y: f64, canvas: &mut Canvas) {
        let color = COLORS[0];
        let (from, to) = (
            self.x(row.lower).max(self.left),
            self.x(row.upper).min(self.right),
        );
        canvas.line((from, y), (to, y), color, 1.6, "");
        for (x, limit, turn) in [(from, row.lower, 5.0), (to, row.upper, -5.0)] {
            let outside = !(self.low..=self.high).contains(&limit.ln());
            let (a, b) = (number(x), number(y));
            let end = if outside {
                format!(
                    "M{} {}L{a} {b}L{} {}",
                    number(x + turn),
                    number(y - 4.0),
                    number(x + turn),
                    number(y + 4.0)
                )
            } else {
                format!("M{a} {}v8", number(y - 4.0))
            };
            canvas.path(&end, color, 1.6, "");
        }
        let x = self.x(row.ratio);
        canvas.area(
            &format!("M{} {}h9v9h-9Z", number(x - 4.5), number(y - 4.5)),
            color,
            1.0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_no_interval_is_refused() {
        let svg = |row: ForestRow| ForestPlot::new().svg(&[row]);
        for row in [
            ForestRow::new("x", 1.0, 1.1, 1.2),
            ForestRow::new("x", f64::NAN, 0.5, 1.2),
            ForestRow::new("x", -1.0, -2.0, 1.2),
            ForestRow::new("x", 1.0, f64::NAN, 1.2),
            ForestRow::new("x", f64::INFINITY, 0.5, f64::INFINITY),
        ] {
            assert!(matches!(
                svg(row),
                Err(Error::Setting { name: "ratio", .. })
            ));
        }
        assert!(ForestPlot::new().svg(&[]).is_err());
        let narrow = ForestPlot::new()
            .width(100.0)
            .svg(&[ForestRow::new("x", 1.0, 1.0, 1.0)]);
        assert!(matches!(narrow, Err(Error::Setting { name: "width", .. })));
    }

    #[test]
    fn wide_intervals_end_in_arrows_inside_the_axis() {
        let rows = [
            ForestRow::new("wild", 2.0, 0.0, f64::INFINITY),
            ForestRow::new("tame", 0.8, 0.7, 0.9).p(1e-9),
        ];
        let svg = ForestPlot::new().svg(&rows).unwrap();
        assert!(svg.contains("2.00 (0.00, Inf)") && svg.contains("&lt;0.0001"));
        assert!(!svg.contains("NaN") && !svg.contains(">inf"));
        assert_eq!(svg, ForestPlot::new().svg(&rows).unwrap());
    }

    #[test]
    fn an_axis_has_ticks_however_wide_it_is() {
        for width in [0.01, 0.1, 0.5, 1.0, 3.0, 8.0, 40.0f64] {
            let n = candidates(-width, width).len();
            assert!((2..40).contains(&n), "{n} ticks for {width}");
        }
    }
}
