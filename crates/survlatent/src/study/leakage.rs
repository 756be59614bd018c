//! What latents say of covariates, and what a step along a direction does to that.

use cox_survival::Folds;
use latent_attribute::{HealthDirection, PcaConfig};

use super::Study;
use super::data::{Design, StudyData};
use super::predict::repeat_seed;
use crate::error::Result;
use crate::latents::{Latents, Values};

/// Least squares of one covariate on the latents.
pub(super) struct Predictor {
    pub(super) name: String,
    /// Change of the prediction with each latent coordinate.
    pub(super) gradient: Vec<f64>,
    /// Standard deviation of the prediction over the rows.
    spread: f64,
    /// Share of the variance explained in patients it was not fitted to.
    pub(super) r_squared: f64,
}

impl Predictor {
    /// Whether the latents say anything of the covariate.
    pub(super) fn varies(&self) -> bool {
        self.spread > 0.0
    }

    /// What halving the hazard along a direction does to the prediction, in its standard deviations.
    pub(super) fn change(&self, direction: &HealthDirection) -> Result<f64> {
        let step = direction.step_for_hazard_ratio(0.5)?;
        let unit = direction.unit().iter().zip(&self.gradient);
        let moved: f64 = unit.map(|(u, g)| u * step * g).sum();
        Ok(if self.varies() {
            moved / self.spread
        } else {
            0.0
        })
    }
}

/// A predictor of every column, fitted to all rows; how good they are, with the folds of the first
/// repeat.
pub(super) fn predictors(
    study: &Study,
    data: &StudyData,
    latents: &Latents,
    columns: &Design,
) -> Result<Vec<Predictor>> {
    let (n, width) = (data.n(), columns.names().len());
    let everybody: Vec<usize> = (0..n).collect();
    let fitted = fit(latents, columns, &everybody)?;
    let folds = study.validation.outer_folds;
    let folds = Folds::grouped(&data.surv, &data.patient, folds, repeat_seed(study.seed, 0))?;
    let mut squares = vec![0.0; width];
    for fold in 0..folds.count() {
        let lines = fit(latents, columns, &folds.training(fold))?;
        for i in folds.held_out(fold) {
            for (j, line) in lines.iter().enumerate() {
                squares[j] += (columns.column(j)[i] - line.at(latents, i)).powi(2);
            }
        }
    }
    let of = |(j, line): (usize, Line)| {
        let values = columns.column(j);
        let predicted: Vec<f64> = everybody.iter().map(|&i| line.at(latents, i)).collect();
        let whole = n as f64 * moments(values).1.powi(2);
        Predictor {
            name: columns.names()[j].clone(),
            spread: moments(&predicted).1,
            gradient: line.gradient,
            r_squared: if whole > 0.0 {
                1.0 - squares[j] / whole
            } else {
                0.0
            },
        }
    };
    Ok(fitted.into_iter().enumerate().map(of).collect())
}

/// `origin + gradient . w`
struct Line {
    gradient: Vec<f64>,
    origin: f64,
}

impl Line {
    fn at(&self, latents: &Latents, row: usize) -> f64 {
        let terms = self.gradient.iter().enumerate();
        self.origin + terms.map(|(j, g)| g * latents.get(row, j)).sum::<f64>()
    }
}

/// Least squares of each column on the leading principal components of some rows, as a gradient by
/// the latent: `sum_k v_k cov(score_k, z) / variance_k`.
fn fit(latents: &Latents, columns: &Design, rows: &[usize]) -> Result<Vec<Line>> {
    let part = latents.select_rows(rows);
    let (n, p) = (part.n(), part.p());
    let count = (n / 20).clamp(1, 64).min(p).min(n - 1);
    let settings = PcaConfig::default().with_components(count);
    let (pca, scores) = match part.values() {
        Values::F32(v) => {
            let pca = settings.fit(v, n, p)?;
            let scores = pca.transform(v)?;
            (pca, scores)
        }
        Values::F64(v) => {
            let pca = settings.fit(v, n, p)?;
            let scores = pca.transform(v)?;
            (pca, scores)
        }
    };
    let width = pca.output_dim();
    let of = |j: usize| {
        let values: Vec<f64> = rows.iter().map(|&i| columns.column(j)[i]).collect();
        let mean = moments(&values).0;
        let mut gradient = vec![0.0; p];
        for k in 0..width {
            let products = (0..n).map(|i| scores[i * width + k] * (values[i] - mean));
            let cov = products.sum::<f64>() / (n as f64 - 1.0);
            let slope = cov / pca.explained_variance()[k];
            let component = &pca.components()[k * p..(k + 1) * p];
            gradient
                .iter_mut()
                .zip(component)
                .for_each(|(g, v)| *g += slope * v);
        }
        let centre: f64 = gradient.iter().zip(pca.mean()).map(|(g, m)| g * m).sum();
        // Components that do not vary have no slope.
        let sound = gradient.iter().all(|g| g.is_finite());
        Line {
            origin: if sound { mean - centre } else { mean },
            gradient: if sound { gradient } else { vec![0.0; p] },
        }
    };
    Ok((0..columns.names().len()).map(of).collect())
}

pub(super) fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / n).sqrt())
}
