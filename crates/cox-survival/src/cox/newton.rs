//! Newton's method with step halving on the log partial likelihood.
//!
//! Works in the scaled units of [`Design`]. Cost per iteration: two passes over the covariates
//! and the two triangular products of [`information`]. Stops when the Newton decrement
//! `U' I^-1 U` (twice the log-likelihood still to be gained) is below `1e-18 (1 + |l|)`, at which
//! point coefficients and standard errors carry about nine correct digits and, since the last
//! step is still taken, the coefficients nearly twice as many.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Col, Mat, Side};

use super::design::Design;
use super::information::information;
use super::likelihood::Likelihood;
use crate::covariates::Covariates;
use crate::error::{Error, Result};

const MAX_ITERATIONS: usize = 60;
const MAX_HALVINGS: usize = 40;
/// Largest change of anybody's linear predictor in one step: beyond it the quadratic model says
/// nothing, and where it leads the information may drown in rounding.
const LONGEST: f64 = 8.0;
/// Gain left in the log-likelihood, relative to `1 + |l|`, below which a coefficient that keeps
/// walking is called infinite.
const FLAT: f64 = 1e-9;
/// A column with less than this share of its information left by the columns before it is
/// called collinear.
const COLLINEAR: f64 = 1e-10;

/// The maximum, in scaled units.
#[derive(Debug, Clone)]
pub(crate) struct Maximum {
    pub(crate) beta: Vec<f64>,
    pub(crate) loglik0: f64,
    pub(crate) loglik: f64,
    /// Score test of `beta = 0`.
    pub(crate) score_test: f64,
    pub(crate) iterations: usize,
    /// Inverse information at the maximum.
    pub(crate) variance: Mat<f64>,
    /// Columns whose coefficients run to infinity, with the sign of the infinity.
    pub(crate) infinite: Vec<(usize, f64)>,
}

pub(crate) fn maximise(
    design: &Design,
    likelihood: &mut Likelihood<'_>,
    x: &Covariates<'_>,
) -> Result<Maximum> {
    let p = design.p;
    let mut beta = vec![0.0; p];
    let mut eta = vec![0.0; design.n];
    let mut loglik = likelihood.evaluate(&eta);
    let loglik0 = loglik;
    let mut current = information(design, likelihood);
    check_information(&current.matrix, x)?;
    let start: Vec<f64> = (0..p).map(|j| current.matrix[(j, j)]).collect();
    let mut score_test = 0.0;
    let mut iterations = 0;
    let mut last_decrement = f64::INFINITY;
    let mut last_step = vec![0.0; p];
    let mut infinite = Vec::new();
    loop {
        // Far out on a ridge that rises for ever the exponentials may overflow.
        let Some(factor) = ascent(&current.matrix, &start) else {
            infinite = walking(design, &beta, &last_step);
            break;
        };
        let step = factor.solve(&current.score);
        let decrement: f64 = step.iter().zip(&current.score).map(|(a, b)| a * b).sum();
        if iterations == 0 {
            score_test = decrement;
        }
        if decrement <= 1e-18 * (1.0 + loglik.abs()) {
            for (b, s) in beta.iter_mut().zip(&step) {
                *b += s;
            }
            break;
        }
        // Towards a maximum the decrement is squared from step to step; towards infinity it
        // falls by about e, and never becomes small beside a log-likelihood that tends to 0.
        let stuck = decrement <= FLAT * (1.0 + loglik.abs()) && decrement > 0.1 * last_decrement;
        if stuck || iterations == MAX_ITERATIONS {
            infinite = walking(design, &beta, &step);
            if !infinite.is_empty() {
                break;
            }
        }
        if iterations == MAX_ITERATIONS {
            return Err(Error::NoConvergence {
                what: "Cox model".to_owned(),
                iterations,
            });
        }
        let before = loglik;
        design.times(&step, &mut eta);
        let longest = eta.iter().fold(0.0f64, |m, e| m.max(e.abs()));
        let mut size = if longest > LONGEST {
            LONGEST / longest
        } else {
            1.0
        };
        let mut halvings = 0;
        let trial = loop {
            let trial: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b + size * s).collect();
            design.times(&trial, &mut eta);
            loglik = likelihood.sums(&eta);
            // Rounding in the sum of logarithms must not stop a step that is exact otherwise.
            if loglik >= before - 1e-12 * before.abs() {
                break Some(trial);
            }
            halvings += 1;
            if halvings > MAX_HALVINGS {
                break None;
            }
            size *= 0.5;
        };
        let Some(trial) = trial else {
            if decrement <= 1e-9 * (1.0 + before.abs()) {
                // The gain left is below what the log-likelihood can resolve.
                break;
            }
            return Err(Error::NoConvergence {
                what: "Cox model (step halving)".to_owned(),
                iterations,
            });
        };
        beta = trial;
        likelihood.derivatives();
        current = information(design, likelihood);
        iterations += 1;
        last_decrement = decrement;
        last_step = step;
    }
    let variance = Factor::new(&current.matrix)
        .map_or_else(|_| Mat::full(p, p, f64::NAN), |factor| factor.inverse());
    Ok(Maximum {
        beta,
        loglik0,
        loglik,
        score_test,
        iterations,
        variance,
        infinite,
    })
}

/// The factor of the information or, where that is lost in rounding because everybody's fate is
/// sealed, of the information plus as little of its diagonal at 0 as it takes: the step stays
/// one of ascent. None when the information is not finite.
fn ascent(matrix: &Mat<f64>, start: &[f64]) -> Option<Factor> {
    let mut share = 1e-12;
    let mut damped = matrix.clone();
    loop {
        if let Ok(factor) = Factor::new(&damped) {
            return Some(factor);
        }
        for (j, d) in start.iter().enumerate() {
            damped[(j, j)] = matrix[(j, j)] + share * d;
        }
        share *= 100.0;
        if share > 1e3 {
            return None;
        }
    }
}

/// Coefficients that still move somebody's linear predictor visibly, away from 0, although the
/// log-likelihood has stopped changing.
fn walking(design: &Design, beta: &[f64], step: &[f64]) -> Vec<(usize, f64)> {
    let p = design.p;
    let mut reach = vec![0.0f64; p];
    for row in design.rows.chunks_exact(p) {
        for (r, (x, s)) in reach.iter_mut().zip(row.iter().zip(step)) {
            *r = r.max((x * s).abs());
        }
    }
    let largest = reach.iter().fold(0.0f64, |m, r| m.max(*r));
    (0..p)
        .filter(|&j| reach[j] > 0.05 && reach[j] > 0.05 * largest)
        .filter(|&j| beta[j] * step[j] > 0.0)
        .map(|j| (j, step[j].signum()))
        .collect()
}

/// Cholesky factor of a symmetric matrix scaled to a unit diagonal.
pub(crate) struct Factor {
    factor: Llt<f64>,
    scale: Vec<f64>,
}

impl Factor {
    /// Fails with the index of the first pivot that is not positive.
    pub(crate) fn new(matrix: &Mat<f64>) -> std::result::Result<Self, usize> {
        let p = matrix.nrows();
        let mut scale = Vec::with_capacity(p);
        for j in 0..p {
            let d = matrix[(j, j)];
            if !(d.is_finite() && d > 0.0) {
                return Err(j);
            }
            scale.push(1.0 / d.sqrt());
        }
        let scaled = Mat::from_fn(p, p, |i, j| {
            if i >= j {
                matrix[(i, j)] * scale[i] * scale[j]
            } else {
                0.0
            }
        });
        match scaled.llt(Side::Lower) {
            Ok(factor) => Ok(Self { factor, scale }),
            Err(faer::linalg::cholesky::llt::factor::LltError::NonPositivePivot { index }) => {
                Err(index)
            }
        }
    }

    pub(crate) fn solve(&self, rhs: &[f64]) -> Vec<f64> {
        let scaled = Col::from_fn(rhs.len(), |i| rhs[i] * self.scale[i]);
        let solved = self.factor.solve(scaled);
        (0..rhs.len()).map(|i| solved[i] * self.scale[i]).collect()
    }

    pub(crate) fn inverse(&self) -> Mat<f64> {
        let p = self.scale.len();
        let scaled = self.factor.solve(Mat::<f64>::identity(p, p));
        // Average the two triangles: the result is used as a symmetric matrix.
        Mat::from_fn(p, p, |i, j| {
            0.5 * (scaled[(i, j)] + scaled[(j, i)]) * self.scale[i] * self.scale[j]
        })
    }

    /// Squared pivots: the share of each column's information that earlier columns leave.
    fn pivots(&self) -> Vec<f64> {
        let l = self.factor.L();
        (0..self.scale.len())
            .map(|j| l[(j, j)] * l[(j, j)])
            .collect()
    }
}

/// Names a column without information, or one that others determine.
fn check_information(matrix: &Mat<f64>, x: &Covariates<'_>) -> Result<()> {
    let p = matrix.nrows();
    let largest = (0..p).map(|j| matrix[(j, j)]).fold(0.0, f64::max);
    if let Some(j) = (0..p).find(|&j| matrix[(j, j)] <= 1e-12 * largest) {
        return Err(Error::NoInformation { column: x.name(j) });
    }
    let j = match Factor::new(matrix) {
        Err(j) => j,
        Ok(factor) => match factor.pivots().iter().position(|&d| d < COLLINEAR) {
            None => return Ok(()),
            Some(j) => j,
        },
    };
    // Regress the column on those before it to name its partners.
    let earlier = Mat::from_fn(j, j, |a, b| matrix[(a.max(b), a.min(b))]);
    let with = Factor::new(&earlier).map_or_else(
        |_| (0..j).map(|k| x.name(k)).collect::<Vec<_>>(),
        |factor| {
            let rhs: Vec<f64> = (0..j).map(|k| matrix[(j, k)]).collect();
            let weights = factor.solve(&rhs);
            let size = |k: usize| weights[k].abs() * matrix[(k, k)].sqrt();
            let largest = (0..j).map(size).fold(0.0, f64::max);
            (0..j)
                .filter(|&k| size(k) > 1e-5 * largest)
                .map(|k| x.name(k))
                .collect()
        },
    );
    Err(Error::Collinear {
        column: x.name(j),
        with,
    })
}
