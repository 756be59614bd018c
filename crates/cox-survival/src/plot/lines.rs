//! Curves of one figure for several models.

use super::chart::{Chart, Picture};
use super::chart_layout::{Data, Mark, Series};
use crate::error::{Error, Result};

/// A named line of [`Chart::lines`].
#[derive(Debug, Clone, PartialEq)]
pub struct ChartLine {
    /// Its name in the legend; empty for none.
    pub name: String,
    /// Its points, ascending in x.
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// Lines on common axes, such as an AUC over time for several models; each has a pattern of its own
    /// besides its colour.
    ///
    /// ```
    /// use cox_survival::{Chart, ChartLine};
    /// let line = |name: &str, y: f64| ChartLine {
    ///     name: name.to_owned(),
    ///     points: vec![(1.0, y), (2.0, y + 0.1)],
    /// };
    /// let picture = Chart::new().y_label("AUC").lines(&[line("a", 0.6), line("b", 0.7)])?;
    /// assert!(picture.svg().contains("stroke-dasharray"));
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Picture`] without a point, or for one that is not finite.
    pub fn lines(&self, lines: &[ChartLine]) -> Result<Picture> {
        let finite = |l: &ChartLine| l.points.iter().all(|p| p.0.is_finite() && p.1.is_finite());
        if let Some(bad) = lines.iter().find(|l| !finite(l)) {
            return Err(Error::Picture {
                reason: format!("a point of line `{}` is not finite", bad.name),
            });
        }
        let series = lines
            .iter()
            .map(|line| Series::new(&line.name, Mark::Line, line.points.clone()))
            .collect();
        let mut data = Data::new("Time", "", series);
        data.dashed = true;
        self.draw("Lines", &data)
    }
}
