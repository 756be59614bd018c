//! The fitted path.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::covariates::Covariates;
use crate::cox::Ties;
use crate::error::{Error, Result, check_length};
use crate::format_version::FormatVersion;
use crate::table::Table;

/// Nonzero coefficients of one lambda, in original units.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SparseColumn {
    /// Column numbers from 0, ascending.
    pub index: Vec<u32>,
    /// Their coefficients.
    pub value: Vec<f64>,
}

impl SparseColumn {
    pub(super) fn from_dense(beta: impl Iterator<Item = f64>) -> Self {
        let (index, value) = (0u32..).zip(beta).filter(|(_, b)| b.abs() > 0.0).unzip();
        Self { index, value }
    }

    /// From standardised to original units.
    pub(super) fn unscaled(mut self, scale: &[f64]) -> Self {
        for (j, b) in self.index.iter().zip(&mut self.value) {
            *b /= scale[*j as usize];
        }
        self
    }

    /// Takes off what rounding put beyond the limits.
    pub(super) fn limit(&mut self, limits: &[[f64; 2]]) {
        for (j, b) in self.index.iter().zip(&mut self.value) {
            let [lower, upper] = limits[*j as usize];
            *b = b.max(lower).min(upper);
        }
    }

    /// All `p` coefficients.
    pub fn dense(&self, p: usize) -> Vec<f64> {
        let mut beta = vec![0.0; p];
        for (&j, &b) in self.index.iter().zip(&self.value) {
            beta[j as usize] = b;
        }
        beta
    }
}

/// A fitted elastic-net path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathFit {
    pub(super) version: FormatVersion,
    pub(super) names: Vec<String>,
    pub(super) n: usize,
    pub(super) n_events: usize,
    pub(super) ties: Ties,
    pub(super) alpha: f64,
    pub(super) lambda: Vec<f64>,
    pub(super) beta: Vec<SparseColumn>,
    #[serde(with = "crate::number::vector")]
    pub(super) dev_ratio: Vec<f64>,
    pub(super) nulldev: f64,
    #[serde(with = "crate::number::vector")]
    pub(super) kkt: Vec<f64>,
    pub(super) steps: Vec<usize>,
}

impl PathFit {
    /// Column names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Mixing parameter.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// How ties were treated.
    pub fn ties(&self) -> Ties {
        self.ties
    }

    /// Lambda sequence, decreasing.
    pub fn lambda(&self) -> &[f64] {
        &self.lambda
    }

    /// Coefficients at the `k`-th lambda, in original units.
    ///
    /// # Panics
    /// When `k` is not below the number of lambdas.
    pub fn beta(&self, k: usize) -> &SparseColumn {
        &self.beta[k]
    }

    /// Number of nonzero coefficients at each lambda.
    pub fn df(&self) -> Vec<usize> {
        self.beta.iter().map(|b| b.index.len()).collect()
    }

    /// Share of the null deviance explained at each lambda (in-sample).
    pub fn dev_ratio(&self) -> &[f64] {
        &self.dev_ratio
    }

    /// Null deviance: twice the log partial likelihood between the saturated model and zero.
    pub fn nulldev(&self) -> f64 {
        self.nulldev
    }

    /// Largest violation of the optimality conditions over all features at each lambda,
    /// relative to `lambda * alpha` (`lambda * 0.001` for the ridge), times the penalty factor of
    /// the column that enters first if that is below 1: the certificate. Lambdas below 1e-4 of the
    /// largest count as that much.
    pub fn kkt(&self) -> &[f64] {
        &self.kkt
    }

    /// Newton steps taken at each lambda.
    pub fn steps(&self) -> &[usize] {
        &self.steps
    }

    /// All coefficients at any lambda, linear between the two nearest of the sequence and
    /// constant beyond its ends.
    pub fn coef_at(&self, lambda: f64) -> Result<Vec<f64>> {
        if lambda.is_nan() {
            return Err(Error::Setting {
                name: "lambda",
                value: lambda.to_string(),
                expected: "must be a number",
            });
        }
        let p = self.names.len();
        let (k, share) = self.between(lambda);
        let (a, b) = (
            self.beta[k].dense(p),
            self.beta[(k + 1).min(self.beta.len() - 1)].dense(p),
        );
        Ok(a.iter().zip(&b).map(|(a, b)| a + share * (b - a)).collect())
    }

    /// The lambda at or above `lambda`, and how far towards the next one it lies.
    fn between(&self, lambda: f64) -> (usize, f64) {
        match self.lambda.partition_point(|&l| l > lambda) {
            0 => (0, 0.0),
            k if k == self.lambda.len() => (k - 1, 0.0),
            k => {
                let (above, below) = (self.lambda[k - 1], self.lambda[k]);
                (k - 1, (above - lambda) / (above - below))
            }
        }
    }

    /// Linear predictors of new rows at other lambdas, interpolated like [`PathFit::coef_at`].
    pub(crate) fn predict_along(
        &self,
        x: &Covariates<'_>,
        lambda: &[f64],
    ) -> Result<Vec<Vec<f64>>> {
        let eta = self.predict_all(x)?;
        let last = eta.len() - 1;
        Ok(lambda
            .iter()
            .map(|&l| {
                let (k, share) = self.between(l);
                let (a, b) = (&eta[k], &eta[(k + 1).min(last)]);
                a.iter().zip(b).map(|(a, b)| a + share * (b - a)).collect()
            })
            .collect())
    }

    /// Linear predictor of new rows at the `k`-th lambda; every value of `x` must be finite, also
    /// where the coefficient is 0.
    pub fn predict(&self, k: usize, x: &Covariates<'_>) -> Result<Vec<f64>> {
        check_length("covariates (columns)", x.p(), self.names.len())?;
        if k >= self.lambda.len() {
            return Err(Error::Setting {
                name: "lambda index",
                value: k.to_string(),
                expected: "must be below the number of lambdas",
            });
        }
        x.check(x.n())?;
        x.times(&self.beta[k].dense(x.p()))
    }

    /// Linear predictors of new rows at every lambda, each column of `x` read once.
    pub(crate) fn predict_all(&self, x: &Covariates<'_>) -> Result<Vec<Vec<f64>>> {
        check_length("covariates (columns)", x.p(), self.names.len())?;
        x.check(x.n())?;
        let mut uses: Vec<Vec<(u32, f64)>> = vec![Vec::new(); x.p()];
        for (k, beta) in self.beta.iter().enumerate() {
            for (&j, &b) in beta.index.iter().zip(&beta.value) {
                uses[j as usize].push((k as u32, b));
            }
        }
        let rows: Vec<u32> = (0..x.n() as u32).collect();
        let mut column = vec![0.0; x.n()];
        let mut eta = vec![vec![0.0; x.n()]; self.lambda.len()];
        for (j, uses) in uses.iter().enumerate().filter(|(_, uses)| !uses.is_empty()) {
            x.gather_block(&rows, j, &mut column);
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for &(k, b) in uses {
                        for (e, v) in eta[k as usize].iter_mut().zip(&column) {
                            *e += b * v;
                        }
                    }
                },
            );
        }
        Ok(eta)
    }
}

impl PathFit {
    /// The path as it is printed, with a row for every lambda.
    pub fn table(&self) -> Table {
        self.rows(0..self.lambda.len())
    }

    fn rows(&self, places: impl Iterator<Item = usize>) -> Table {
        let row = |k: usize| {
            vec![
                (k + 1).to_string(),
                format!("{:.6}", self.lambda[k]),
                self.beta[k].index.len().to_string(),
                format!("{:.2}", 100.0 * self.dev_ratio[k]),
                format!("{:.0e}", self.kkt[k]),
            ]
        };
        let header = ["", "lambda", "df", "%dev (in-sample)", "KKT"];
        Table::new(&header, places.map(row).collect())
    }
}

impl fmt::Display for PathFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Cox elastic-net path, alpha = {}, {} ties",
            self.alpha,
            self.ties.name()
        )?;
        writeln!(
            f,
            "n = {}, number of events = {}, {} columns\n",
            self.n,
            self.n_events,
            self.names.len()
        )?;
        let last = self.lambda.len() - 1;
        let every = self.lambda.len().div_ceil(20);
        let shown = (0..=last).filter(|k| k % every == 0 || *k == last);
        self.rows(shown).fmt(f)
    }
}
