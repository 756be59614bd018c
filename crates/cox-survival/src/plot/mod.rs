//! Pictures of survival analyses, as SVG text and PNG bytes.
//!
//! The drawing is our own: the plotting crates at hand draw a Kaplan-Meier curve from raw times
//! and compute it themselves, without entry, weights or other intervals than plain ones; a picture
//! must show the numbers of the fit it belongs to.

mod axis;
mod chart;
mod chart_layout;
mod forest;
mod km;
mod km_layout;
mod lines;
mod png;
mod steps;
mod svg;

pub use chart::{Chart, Picture};
pub use forest::{ForestPlot, ForestRow};
pub use km::KmPlot;
pub use lines::ChartLine;
pub use png::svg_to_png;

/// Okabe and Ito's colours in an order that keeps the first ones far apart, also for people who
/// do not see red and green as others do. Yellow is left out: it vanishes on white.
const COLORS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444",
];

/// Dash patterns for the second and third round through the colours.
const DASHES: [&str; 3] = ["", "7 3", "2 3"];

/// Text and axes.
const INK: &str = "#222222";
/// Secondary text.
const GREY: &str = "#666666";
/// Grid lines.
const GRID: &str = "#e6e6e6";
