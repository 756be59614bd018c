//! Drawing series on plain axes.

use std::fmt::Write as _;

use super::axis;
use super::chart::Chart;
use super::svg::{Anchor, Canvas, Type, number};
use super::{COLORS, DASHES, GREY, GRID, INK};
use crate::error::{Error, Result};

const MARGIN: f64 = 16.0;
const LABEL_SIZE: f64 = 13.0;
const TICK_SIZE: f64 = 12.0;
const LEGEND_LINE: f64 = 20.0;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Line,
    /// Horizontal from each point to the next, then up or down.
    Steps,
    /// Circles, with limits where there are any.
    Points,
}

/// One set of points, ascending or descending in x.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// In the legend; empty for none.
    pub(super) name: String,
    pub(super) mark: Mark,
    pub(super) points: Vec<(f64, f64)>,
    /// Lower and upper limit of each point, or nothing.
    pub(super) limits: Vec<(f64, f64)>,
}

impl Series {
    pub(super) fn new(name: &str, mark: Mark, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.to_owned(),
            mark,
            points,
            limits: vec![],
        }
    }
}

/// What is to be drawn.
#[derive(Debug, Clone)]
pub(super) struct Data {
    pub(super) x_label: &'static str,
    pub(super) y_label: &'static str,
    pub(super) series: Vec<Series>,
    /// Dashed vertical lines.
    pub(super) verticals: Vec<f64>,
    /// Whether both axes are one scale from 0 to 1 with a diagonal.
    pub(super) diagonal: bool,
    /// Whether every line has a pattern of its own, to be told apart without colour.
    pub(super) dashed: bool,
}

impl Data {
    pub(super) fn new(x_label: &'static str, y_label: &'static str, series: Vec<Series>) -> Self {
        Self {
            x_label,
            y_label,
            series,
            verticals: vec![],
            diagonal: false,
            dashed: false,
        }
    }

    /// Whether everything has a place on the axes.
    pub(super) fn is_finite(&self) -> bool {
        let pairs = |s: &Series| {
            let mut pairs = s.points.iter().chain(&s.limits);
            pairs.all(|p| p.0.is_finite() && p.1.is_finite())
        };
        self.series.iter().all(pairs) && self.verticals.iter().all(|x| x.is_finite())
    }
}

/// One axis: a range of values on a range of pixels, and where its ticks are.
struct Axis {
    from: f64,
    to: f64,
    pixels: (f64, f64),
    step: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, pixels: (f64, f64), most: usize) -> Self {
        let ends = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        let (mut from, mut to) = ends;
        // A single value gets room around it.
        if to - from <= 1e-12 * from.abs().max(to.abs()) {
            let room = from.abs().max(1.0) / 10.0;
            (from, to) = (from - room, to + room);
        }
        let room = 0.03 * (to - from);
        (from, to) = (from - room, to + room);
        Self {
            from,
            to,
            pixels,
            step: axis::tick_step(to - from, most),
        }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value - self.from) / (self.to - self.from);
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let first = (self.from / self.step).ceil();
        (0..100u32)
            .map(|k| (first + f64::from(k)) * self.step + 0.0)
            .take_while(|t| *t <= self.to)
            .collect()
    }
}

pub(super) fn draw(chart: &Chart, title: &str, data: &Data) -> Result<String> {
    let legend: Vec<usize> = (0..data.series.len())
        .filter(|&k| !data.series[k].name.is_empty())
        .collect();
    let mut top = MARGIN + if chart.title.is_empty() { 0.0 } else { 24.0 };
    let legend_top = top;
    let places = legend_places(&legend, data, chart.width);
    top += places.last().map_or(0.0, |p| p.1 + LEGEND_LINE) + 8.0;
    let (left, right) = (MARGIN + LABEL_SIZE + 60.0, chart.width - MARGIN);
    let bottom = chart.height - MARGIN - TICK_SIZE - LABEL_SIZE - 14.0;
    if !(right - left >= 80.0 && bottom - top >= 60.0) {
        return Err(Error::Setting {
            name: "size",
            value: format!("{} x {}", chart.width, chart.height),
            expected: "a size that leaves room for the curves",
        });
    }
    let points = || data.series.iter().flat_map(|s| s.points.iter().copied());
    let limits = data
        .series
        .iter()
        .flat_map(|s| &s.limits)
        .flat_map(|l| [l.0, l.1]);
    let ends: &[f64] = if data.diagonal { &[0.0, 1.0] } else { &[] };
    let xs = points().map(|p| p.0).chain(data.verticals.iter().copied());
    let x = Axis::new(xs.chain(ends.iter().copied()), (left, right), 8);
    let ys = points()
        .map(|p| p.1)
        .chain(limits)
        .chain(ends.iter().copied());
    let y = Axis::new(ys, (bottom, top), 6);

    let name = if chart.title.is_empty() {
        title
    } else {
        &chart.title
    };
    let mut canvas = Canvas::new(chart.width, chart.height, name);
    if !chart.title.is_empty() {
        let style = Type::new(17.0, INK).bold();
        let text = style.fit(&chart.title, chart.width - 2.0 * MARGIN);
        canvas.write(MARGIN, MARGIN + 16.0, &text, style);
    }
    axes(chart, data, &x, &y, &mut canvas);
    if data.diagonal {
        canvas.line(
            (x.at(0.0), y.at(0.0)),
            (x.at(1.0), y.at(1.0)),
            GREY,
            1.0,
            "4 4",
        );
    }
    for &v in &data.verticals {
        canvas.line((x.at(v), top), (x.at(v), bottom), GREY, 1.0, "4 4");
    }
    for (k, series) in data.series.iter().enumerate() {
        draw_series(series, k, data.dashed, &x, &y, &mut canvas);
    }
    for (&k, &(from, line)) in legend.iter().zip(&places) {
        let middle = legend_top + line + 10.0;
        match data.series[k].mark {
            Mark::Points => canvas.circle((from + 11.0, middle), 4.0, color(k)),
            _ => canvas.line(
                (from, middle),
                (from + 22.0, middle),
                color(k),
                2.0,
                dash(k, data.dashed),
            ),
        }
        let style = Type::new(TICK_SIZE, INK);
        let text = style.fit(&data.series[k].name, chart.width - 2.0 * MARGIN - 30.0);
        canvas.write(from + 28.0, middle + 4.0, &text, style);
    }
    Ok(canvas.finish())
}

fn color(k: usize) -> &'static str {
    COLORS[k % COLORS.len()]
}

fn dash(k: usize, dashed: bool) -> &'static str {
    const PATTERNS: [&str; 6] = ["", "9 4", "2 3", "12 3 2 3", "5 2", "14 3 2 3 2 3"];
    if dashed {
        PATTERNS[k % PATTERNS.len()]
    } else {
        DASHES[(k / COLORS.len()) % DASHES.len()]
    }
}

/// Left end and line (in pixels from the top of the legend) of each entry, wrapped.
fn legend_places(legend: &[usize], data: &Data, width: f64) -> Vec<(f64, f64)> {
    let style = Type::new(TICK_SIZE, INK);
    let (mut x, mut line) = (MARGIN, 0.0);
    let mut places = vec![];
    for &k in legend {
        let wide = (28.0 + style.width(&data.series[k].name) + 18.0).min(width - 2.0 * MARGIN);
        if x > MARGIN && x + wide > width - MARGIN {
            (x, line) = (MARGIN, line + LEGEND_LINE);
        }
        places.push((x, line));
        x += wide;
    }
    places
}

fn axes(chart: &Chart, data: &Data, x: &Axis, y: &Axis, canvas: &mut Canvas) {
    let ticks = Type::new(TICK_SIZE, INK);
    let ((left, right), (bottom, top)) = (x.pixels, y.pixels);
    for t in y.ticks() {
        let at = y.at(t);
        canvas.line((left, at), (right, at), GRID, 1.0, "");
        let text = axis::tick_label(t, y.step);
        canvas.write(left - 8.0, at + 4.0, &text, ticks.at(Anchor::End));
    }
    for t in x.ticks() {
        let at = x.at(t);
        canvas.line((at, bottom), (at, bottom + 5.0), INK, 1.0, "");
        let text = axis::tick_label(t, x.step);
        canvas.write(
            at,
            bottom + 5.0 + TICK_SIZE,
            &text,
            ticks.at(Anchor::Middle),
        );
    }
    canvas.line((left, bottom), (right, bottom), INK, 1.0, "");
    canvas.line((left, top), (left, bottom), INK, 1.0, "");
    let label = Type::new(LABEL_SIZE, INK).at(Anchor::Middle);
    let x_label = chart.x_label.as_deref().unwrap_or(data.x_label);
    let y_label = chart.y_label.as_deref().unwrap_or(data.y_label);
    let below = bottom + TICK_SIZE + LABEL_SIZE + 12.0;
    canvas.write(
        f64::midpoint(left, right),
        below,
        &label.fit(x_label, right - left),
        label,
    );
    let text = label.fit(y_label, bottom - top);
    canvas.write_upwards(
        MARGIN + LABEL_SIZE,
        f64::midpoint(top, bottom),
        &text,
        label,
    );
}

fn draw_series(series: &Series, k: usize, dashed: bool, x: &Axis, y: &Axis, canvas: &mut Canvas) {
    let pixels = series.points.iter().map(|p| (x.at(p.0), y.at(p.1)));
    if series.mark == Mark::Points {
        for (p, &(low, high)) in series.points.iter().zip(&series.limits) {
            let at = x.at(p.0);
            canvas.line((at, y.at(low)), (at, y.at(high)), GREY, 1.0, "");
        }
        pixels.for_each(|p| canvas.circle(p, 4.0, color(k)));
        return;
    }
    let mut d = String::new();
    for (i, (px, py)) in pixels.enumerate() {
        let (px, py) = (number(px), number(py));
        // Writing to a string cannot fail.
        let _ = match (i, series.mark) {
            (0, _) => write!(d, "M{px} {py}"),
            (_, Mark::Steps) => write!(d, "H{px}V{py}"),
            _ => write!(d, "L{px} {py}"),
        };
    }
    if !d.is_empty() {
        canvas.path(&d, color(k), 2.0, dash(k, dashed));
    }
}
