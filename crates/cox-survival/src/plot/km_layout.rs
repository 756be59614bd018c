//! Where the parts of a Kaplan-Meier picture go, and drawing them there.

use super::axis;
use super::km::KmPlot;
use super::steps::Scale;
use super::svg::{Anchor, Canvas, Type};
use super::{COLORS, DASHES, GREY, GRID, INK};
use crate::error::{Error, Result};
use crate::kaplan_meier::KmCurve;

/// White space around the picture.
const MARGIN: f64 = 16.0;
/// Names beside the table are cut at this width; the legend has them whole.
const NAME_WIDTH: f64 = 150.0;
/// Height of the curves where no size is asked for.
const CURVES_HEIGHT: f64 = 340.0;
const TITLE_SIZE: f64 = 17.0;
const LABEL_SIZE: f64 = 13.0;
const TICK_SIZE: f64 = 12.0;
const LEGEND_LINE: f64 = 20.0;
const TABLE_LINE: f64 = 17.0;

fn color(k: usize) -> &'static str {
    COLORS[k % COLORS.len()]
}

fn dash(k: usize, plot: &KmPlot) -> &'static str {
    let turn = if plot.dashed { k } else { k / COLORS.len() };
    DASHES[turn % DASHES.len()]
}

/// Where everything goes.
pub(super) struct Layout {
    pub(super) height: f64,
    scale: Scale,
    step: f64,
    title_top: f64,
    legend_top: f64,
    /// Legend items by line: curve and x.
    legend: Vec<Vec<(usize, f64)>>,
    /// Baseline of the annotation when it stands above the curves.
    note: Option<f64>,
}

impl Layout {
    pub(super) fn new(
        plot: &KmPlot,
        curves: &[KmCurve],
        names: &[String],
        note: bool,
    ) -> Result<Self> {
        let last = curves.iter().filter_map(|c| c.time.last().copied());
        let last = last.fold(0.0, f64::max);
        let x_max = plot
            .x_max
            .unwrap_or(if last > 0.0 { last * 1.02 } else { 1.0 });

        let mut top = MARGIN;
        top += if plot.title.is_empty() { 0.0 } else { 24.0 };
        top += if plot.subtitle.is_empty() { 0.0 } else { 19.0 };
        let legend = legend_lines(names, plot.width - 2.0 * MARGIN);
        let legend_top = top;
        top += LEGEND_LINE * legend.len() as f64;
        let note = note.then(|| {
            top += LEGEND_LINE;
            top - 6.0
        });
        top += 8.0;

        let ticks = Type::new(TICK_SIZE, INK);
        let widest = |texts: &mut dyn Iterator<Item = String>| {
            texts.map(|t| ticks.width(&t)).fold(0.0, f64::max)
        };
        let mut left = MARGIN + LABEL_SIZE + 8.0 + ticks.width("0.00") + 10.0;
        let mut below = MARGIN + TICK_SIZE + LABEL_SIZE + 14.0;
        let mut numbers = 0.0;
        if plot.risk_table {
            let at_start = curves.iter().map(|c| at_risk(c.n_max));
            numbers = widest(&mut at_start.into_iter());
            let bold = ticks.bold();
            let name_widths = names.iter().map(|n| bold.width(&bold.fit(n, NAME_WIDTH)));
            let name_width = name_widths.fold(0.0, f64::max);
            left = left.max(MARGIN + name_width + 14.0 + 0.5 * numbers);
            below += 16.0 + TABLE_LINE * (curves.len() + 1) as f64;
        }
        let height = plot.height.unwrap_or(top + CURVES_HEIGHT + below);
        let bottom = height - below;
        let right = plot.width - MARGIN - 14.0;
        if !(right - left >= 80.0 && bottom - top >= 60.0) {
            return Err(Error::Setting {
                name: "size",
                value: format!("{} x {height}", plot.width),
                expected: "a size that leaves room for the curves beside names, legend and table",
            });
        }

        let mut most = 8;
        let step = loop {
            let step = plot
                .tick_step
                .unwrap_or_else(|| axis::tick_step(x_max, most));
            let room = (right - left) * step / x_max;
            let label = ticks.width(&axis::tick_label(
                axis::ticks(x_max, step).pop().unwrap_or(0.0),
                step,
            ));
            if room >= label.max(numbers) + 14.0 || most == 1 || plot.tick_step.is_some() {
                break step;
            }
            most -= 1;
        };
        Ok(Self {
            height,
            scale: Scale {
                left,
                right,
                top,
                bottom,
                x_max,
            },
            step,
            title_top: MARGIN,
            legend_top,
            legend,
            note,
        })
    }

    pub(super) fn heading(&self, plot: &KmPlot, canvas: &mut Canvas) {
        let room = plot.width - 2.0 * MARGIN;
        let mut y = self.title_top;
        if !plot.title.is_empty() {
            let style = Type::new(TITLE_SIZE, INK).bold();
            canvas.write(MARGIN, y + 15.0, &style.fit(&plot.title, room), style);
            y += 24.0;
        }
        if !plot.subtitle.is_empty() {
            let style = Type::new(LABEL_SIZE, GREY);
            canvas.write(MARGIN, y + 12.0, &style.fit(&plot.subtitle, room), style);
        }
    }

    pub(super) fn legend(&self, names: &[String], plot: &KmPlot, canvas: &mut Canvas) {
        let style = Type::new(LABEL_SIZE, INK);
        for (line, items) in self.legend.iter().enumerate() {
            let y = self.legend_top + LEGEND_LINE * line as f64 + 10.0;
            for &(k, x) in items {
                canvas.line((x, y), (x + 26.0, y), color(k), 2.0, dash(k, plot));
                let room = plot.width - MARGIN - x - 33.0;
                canvas.write(x + 33.0, y + 4.5, &style.fit(&names[k], room), style);
            }
        }
    }

    pub(super) fn axes(&self, plot: &KmPlot, canvas: &mut Canvas) {
        let s = &self.scale;
        let tick_style = Type::new(TICK_SIZE, INK);
        for quarter in 0..=4u8 {
            let value = f64::from(quarter) / 4.0;
            let y = s.y(value);
            if quarter > 0 {
                canvas.line((s.left, y), (s.right, y), GRID, 1.0, "");
            }
            canvas.line((s.left - 5.0, y), (s.left, y), INK, 1.0, "");
            let label = if plot.percent {
                format!("{}%", u32::from(quarter) * 25)
            } else {
                format!("{value:.2}")
            };
            canvas.write(s.left - 8.0, y + 4.3, &label, tick_style.at(Anchor::End));
        }
        for t in axis::ticks(s.x_max, self.step) {
            let x = s.x(t);
            canvas.line((x, s.bottom), (x, s.bottom + 5.0), INK, 1.0, "");
            let label = axis::tick_label(t, self.step);
            canvas.write(x, s.bottom + 18.0, &label, tick_style.at(Anchor::Middle));
        }
        canvas.line((s.left, s.top), (s.left, s.bottom), INK, 1.0, "");
        canvas.line((s.left - 0.5, s.bottom), (s.right, s.bottom), INK, 1.0, "");
        let label = Type::new(LABEL_SIZE, INK).at(Anchor::Middle);
        let room = s.right - s.left + 40.0;
        let (x, y) = (0.5 * (s.left + s.right), s.bottom + 37.0);
        canvas.write(x, y, &label.fit(&plot.x_label, room), label);
        let x = s.left - 8.0 - tick_style.width("0.00") - 10.0;
        let text = label.fit(&plot.y_label, s.bottom - s.top + 20.0);
        canvas.write_upwards(x, 0.5 * (s.top + s.bottom), &text, label);
    }

    pub(super) fn curves(&self, plot: &KmPlot, curves: &[KmCurve], canvas: &mut Canvas) {
        let s = &self.scale;
        if plot.confidence {
            // Many bands on each other turn to mud.
            let opacity = if curves.len() > 4 { 0.10 } else { 0.16 };
            for (k, curve) in curves.iter().enumerate() {
                canvas.area(&s.band(curve), color(k), opacity);
            }
        }
        if plot.median_lines {
            let medians = curves.iter().filter_map(|c| c.median);
            let shown: Vec<f64> = medians.filter(|&m| m <= s.x_max).collect();
            if !shown.is_empty() {
                let end = s.x(shown.iter().copied().fold(0.0, f64::max));
                canvas.line((s.left, s.y(0.5)), (end, s.y(0.5)), GREY, 1.0, "2 3");
            }
            for median in shown {
                let x = s.x(median);
                canvas.line((x, s.y(0.5)), (x, s.bottom), GREY, 1.0, "2 3");
            }
        }
        for (k, curve) in curves.iter().enumerate() {
            canvas.path(&s.curve(curve), color(k), 2.0, dash(k, plot));
        }
        if plot.censoring {
            for (k, curve) in curves.iter().enumerate() {
                let marks = s.censoring(curve);
                if !marks.is_empty() {
                    canvas.path(&marks, color(k), 1.3, "");
                }
            }
        }
    }

    /// Where the annotation fits without touching curves or bands: its anchor point.
    pub(super) fn free_corner(
        &self,
        plot: &KmPlot,
        curves: &[KmCurve],
    ) -> Option<(f64, f64, Anchor)> {
        let s = &self.scale;
        let width = Type::new(LABEL_SIZE, INK).width(&plot.annotation) + 12.0;
        let height = LABEL_SIZE + 10.0;
        let (low, high) = (s.bottom - 12.0, s.top + 20.0);
        let corners = [
            (s.left + 12.0, low, Anchor::Start),
            (s.right - 6.0, high, Anchor::End),
            (s.right - 6.0, low, Anchor::End),
        ];
        corners.into_iter().find(|&(x, y, anchor)| {
            let left = if anchor == Anchor::Start {
                x - 6.0
            } else {
                x - width + 6.0
            };
            let fits = left >= s.left && left + width <= s.right + 6.0;
            let (above, below) = (y - height + 4.0, y + 6.0);
            fits && !curves.iter().any(|curve| {
                s.touches(curve, plot.confidence, (left, left + width), (above, below))
            })
        })
    }

    pub(super) fn note(
        &self,
        plot: &KmPlot,
        corner: Option<(f64, f64, Anchor)>,
        canvas: &mut Canvas,
    ) {
        if plot.annotation.is_empty() {
            return;
        }
        let style = Type::new(LABEL_SIZE, INK);
        if let Some((x, y, anchor)) = corner {
            canvas.write(x, y, &plot.annotation, style.at(anchor));
        } else if let Some(y) = self.note {
            let text = style.fit(&plot.annotation, plot.width - 2.0 * MARGIN);
            canvas.write(MARGIN, y, &text, style);
        }
    }

    pub(super) fn table(&self, curves: &[KmCurve], names: &[String], canvas: &mut Canvas) {
        let s = &self.scale;
        let style = Type::new(TICK_SIZE, INK);
        let mut y = s.bottom + 37.0 + 16.0 + 12.0;
        canvas.write(MARGIN, y, "Number at risk", style.bold());
        for (k, curve) in curves.iter().enumerate() {
            y += TABLE_LINE;
            let name = Type::new(TICK_SIZE, color(k)).bold();
            canvas.write(MARGIN, y, &name.fit(&names[k], NAME_WIDTH), name);
            for t in axis::ticks(s.x_max, self.step) {
                let number = at_risk(curve.n_risk_at(t));
                canvas.write(s.x(t), y, &number, style.at(Anchor::Middle));
            }
        }
    }
}

/// Whole numbers as they are, weighted ones to one decimal.
fn at_risk(n: f64) -> String {
    if (n - n.round()).abs() < 1e-9 || n >= 1000.0 {
        format!("{:.0}", n.round() + 0.0)
    } else {
        format!("{n:.1}")
    }
}

/// Legend items from left to right, in as many lines as they need; none for a single curve.
fn legend_lines(names: &[String], room: f64) -> Vec<Vec<(usize, f64)>> {
    let style = Type::new(LABEL_SIZE, INK);
    let mut lines: Vec<Vec<(usize, f64)>> = vec![];
    if names.len() < 2 {
        return lines;
    }
    let mut x = f64::INFINITY;
    for (k, name) in names.iter().enumerate() {
        let width = 33.0 + style.width(name);
        if x + width > MARGIN + room {
            lines.push(vec![]);
            x = MARGIN;
        }
        if let Some(line) = lines.last_mut() {
            line.push((k, x));
        }
        x += width + 22.0;
    }
    lines
}
