//! Newton's method with step halving on the log partial likelihood.
//!
//! Works in the scaled units of [`Design`]. Cost per iteration: two passes over the covariates
//! and the two triangular products of [`information`](super::information). Stops when the Newton decrement
//! `U' I^-1 U` (twice the log-likelihood still to be gained) is below `1e-18 (1 + |l|)`, at which
//! point coefficients and standard errors carry about nine correct digits and, since the last
//! step is still taken, the coefficients nearly twice as many.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Col, Mat, Side};

use super::design::Design;
use super::information::Information;
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
pub(crate) const COLLINEAR: f64 = 1e-10;

/// The maximum, in scaled units.
#[derive(Debug, Clone)]
pub(crate) struct Maximum {
    pub(crate) beta: Vec<f64>,
    pub(crate) loglik0: f64,
    pub(crate) loglik: f64,
    /// Score test of the starting values; NaN with a penalty.
    pub(crate) score_test: f64,
    pub(crate) iterations: usize,
    /// Inverse of the (penalised) information at the maximum; rows of fixed coefficients are 0.
    pub(crate) variance: Mat<f64>,
    /// With a penalty: the variance of the estimates, `variance * information * variance`, and
    /// the effective degrees of freedom, the trace of `information * variance`.
    pub(crate) shrunken: Option<(Mat<f64>, f64)>,
    /// Columns whose coefficients run to infinity, with the sign of the infinity.
    pub(crate) infinite: Vec<(usize, f64)>,
}

/// What is maximised: a log partial likelihood of the linear predictor.
pub(crate) trait Objective {
    /// The log-likelihood at the linear predictor `eta` (by position).
    fn sums(&mut self, eta: &[f64]) -> f64;
    /// Whatever [`Objective::information`] needs besides.
    fn derivatives(&mut self);
    /// Score and information after both.
    fn information(&self, design: &Design) -> Information;
    /// The number of events, by weight.
    fn events(&self) -> f64;
}

/// Where Newton's method starts and what it may move, in scaled units.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Starting values; those of fixed coefficients are final.
    pub(crate) start: Vec<f64>,
    /// Columns whose coefficients are estimated, ascending.
    pub(crate) free: Vec<usize>,
    /// Ridge penalty `theta_j / 2 beta_j^2` of every column; empty without.
    pub(crate) ridge: Vec<f64>,
    /// Fixed part of the linear predictor by position; empty when 0.
    pub(crate) offset: Vec<f64>,
}

impl Terms {
    /// The size of information to be expected of a column of unit spread: of the order of the events
    /// where coefficients and offsets are 0; elsewhere it may be small and still true.
    fn usual_information(&self, events: f64) -> f64 {
        let at_zero = self.offset.is_empty() && self.start.iter().all(|b| b.abs() <= 0.0);
        if at_zero { events } else { 0.0 }
    }

    /// The linear predictor by position.
    pub(crate) fn predictor_of(&self, design: &Design, beta: &[f64]) -> Vec<f64> {
        let mut eta = vec![0.0; design.n];
        if beta.iter().any(|b| b.abs() > 0.0) {
            design.times(beta, &mut eta);
        }
        for (e, o) in eta.iter_mut().zip(&self.offset) {
            *e += o;
        }
        eta
    }

    fn penalty(&self, beta: &[f64]) -> f64 {
        let sum: f64 = self.ridge.iter().zip(beta).map(|(t, b)| t * b * b).sum();
        0.5 * sum
    }

    /// Score and information of the free coefficients, the penalty included.
    fn reduced(&self, full: Information, beta: &[f64]) -> Information {
        let mut full = full;
        for (j, theta) in self.ridge.iter().enumerate() {
            full.score[j] -= theta * beta[j];
            full.matrix[(j, j)] += theta;
        }
        if self.free.len() == beta.len() {
            return full;
        }
        let at = &self.free;
        Information {
            score: at.iter().map(|&j| full.score[j]).collect(),
            matrix: Mat::from_fn(at.len(), at.len(), |a, b| full.matrix[(at[a], at[b])]),
        }
    }

    /// A vector over the free coefficients, with zeros for the others.
    fn spread(&self, values: &[f64], p: usize) -> Vec<f64> {
        let mut out = vec![0.0; p];
        for (&j, v) in self.free.iter().zip(values) {
            out[j] = *v;
        }
        out
    }
}

pub(crate) fn maximise<L: Objective>(
    design: &Design,
    likelihood: &mut L,
    x: &Covariates<'_>,
    terms: &Terms,
) -> Result<Maximum> {
    let p = design.p;
    let mut beta = terms.start.clone();
    let mut eta = terms.predictor_of(design, &beta);
    let loglik0 = likelihood.sums(&eta);
    check_start(loglik0)?;
    likelihood.derivatives();
    let mut loglik = loglik0;
    // The objective: without a penalty the log-likelihood itself.
    let mut height = loglik0 - terms.penalty(&beta);
    let mut current = terms.reduced(likelihood.information(design), &beta);
    let usual = terms.usual_information(likelihood.events());
    check_information(&current.matrix, usual, x, &terms.free)?;
    let diagonal = |j| current.matrix[(j, j)];
    let start: Vec<f64> = (0..terms.free.len()).map(diagonal).collect();
    let mut score_test = 0.0;
    let mut iterations = 0;
    let mut last_decrement = f64::INFINITY;
    let mut last_step = vec![0.0; p];
    let mut infinite = Vec::new();
    let (mut change, mut origin) = (vec![0.0; design.n], vec![0.0; design.n]);
    while !terms.free.is_empty() {
        // Far out on a ridge that rises for ever the exponentials may overflow.
        let Some(factor) = ascent(&current.matrix, &start) else {
            infinite = walking(design, &beta, &last_step);
            break;
        };
        let step = factor.solve(&current.score);
        let decrement: f64 = step.iter().zip(&current.score).map(|(a, b)| a * b).sum();
        let step = terms.spread(&step, p);
        if iterations == 0 {
            score_test = decrement;
        }
        if decrement <= 1e-18 * (1.0 + height.abs()) {
            for (b, s) in beta.iter_mut().zip(&step) {
                *b += s;
            }
            break;
        }
        // Towards a maximum the decrement is squared from step to step; towards infinity it
        // falls by about e, and never becomes small beside a log-likelihood that tends to 0.
        let stuck = decrement <= FLAT * (1.0 + height.abs()) && decrement > 0.1 * last_decrement;
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
        let before = height;
        // One pass over the covariates: the linear predictor moves with the coefficients.
        design.times(&step, &mut change);
        let mut size = longest_step(&change);
        let mut halvings = 0;
        origin.copy_from_slice(&eta);
        let trial = loop {
            let trial: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b + size * s).collect();
            move_along(&origin, &change, size, &mut eta);
            loglik = likelihood.sums(&eta);
            height = loglik - terms.penalty(&trial);
            // Rounding in the sum of logarithms must not stop a step that is exact otherwise.
            if height >= before - 1e-12 * before.abs() {
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
        current = terms.reduced(likelihood.information(design), &beta);
        iterations += 1;
        last_decrement = decrement;
        last_step = step;
    }
    let (variance, shrunken) = variances(&current.matrix, terms, p);
    Ok(Maximum {
        beta,
        loglik0,
        loglik,
        score_test: if terms.ridge.is_empty() {
            score_test
        } else {
            f64::NAN
        },
        iterations,
        variance,
        shrunken,
        infinite,
    })
}

/// `eta = origin + size * change`.
fn move_along(origin: &[f64], change: &[f64], size: f64, eta: &mut [f64]) {
    for ((eta, o), c) in eta.iter_mut().zip(origin).zip(change) {
        *eta = o + size * c;
    }
}

/// The share of a step that changes nobody's linear predictor by more than [`LONGEST`].
fn longest_step(change: &[f64]) -> f64 {
    let largest = |change: &[f64]| {
        let mut lanes = [0.0f64; 8];
        let (whole, rest) = change.as_chunks::<8>();
        for eight in whole {
            for (m, c) in lanes.iter_mut().zip(eight) {
                let c = c.abs();
                *m = if c > *m { c } else { *m };
            }
        }
        lanes.iter().chain(rest).fold(0.0f64, |m, c| m.max(c.abs()))
    };
    let longest = largest(change);
    if longest > LONGEST {
        LONGEST / longest
    } else {
        1.0
    }
}

fn check_start(loglik0: f64) -> Result<()> {
    if loglik0.is_finite() {
        return Ok(());
    }
    Err(Error::Setting {
        name: "start",
        value: loglik0.to_string(),
        expected: "the log-likelihood of starting values, offset and fixed coefficients must be \
                   finite: they are too large",
    })
}

/// The inverse information of all coefficients and, with a penalty, what it leaves of the variance.
fn variances(matrix: &Mat<f64>, terms: &Terms, p: usize) -> (Mat<f64>, Option<(Mat<f64>, f64)>) {
    let k = terms.free.len();
    let inverse =
        Factor::new(matrix).map_or_else(|_| Mat::full(k, k, f64::NAN), |factor| factor.inverse());
    let mut place = vec![None; p];
    for (a, &j) in terms.free.iter().enumerate() {
        place[j] = Some(a);
    }
    let spread = |m: &Mat<f64>| {
        Mat::from_fn(p, p, |i, j| match (place[i], place[j]) {
            (Some(a), Some(b)) => m[(a, b)],
            _ => 0.0,
        })
    };
    let variance = spread(&inverse);
    if terms.ridge.is_empty() {
        return (variance, None);
    }
    let theta = |a: usize| terms.ridge[terms.free[a]];
    // The unpenalised information is H - diag(theta): H^-1 (H - T) H^-1 = H^-1 - H^-1 T H^-1.
    let shrunken = Mat::from_fn(k, k, |a, b| {
        let lost: f64 = (0..k)
            .map(|c| inverse[(a, c)] * theta(c) * inverse[(c, b)])
            .sum();
        inverse[(a, b)] - lost
    });
    let spent: f64 = (0..k).map(|c| theta(c) * inverse[(c, c)]).sum();
    (variance, Some((spread(&shrunken), k as f64 - spent)))
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
    pub(crate) fn pivots(&self) -> Vec<f64> {
        let l = self.factor.L();
        (0..self.scale.len())
            .map(|j| l[(j, j)] * l[(j, j)])
            .collect()
    }
}

/// Names a column without information, or one that others determine; `usual` is the size of
/// information that is expected, 0 if unknown.
fn check_information(
    matrix: &Mat<f64>,
    usual: f64,
    x: &Covariates<'_>,
    free: &[usize],
) -> Result<()> {
    let p = matrix.nrows();
    let name = |j: usize| x.name(free[j]);
    let largest = (0..p).map(|j| matrix[(j, j)]).fold(usual, f64::max);
    if let Some(j) = (0..p).find(|&j| matrix[(j, j)] <= 1e-12 * largest) {
        return Err(Error::NoInformation { column: name(j) });
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
        |_| (0..j).map(name).collect::<Vec<_>>(),
        |factor| {
            let rhs: Vec<f64> = (0..j).map(|k| matrix[(j, k)]).collect();
            let weights = factor.solve(&rhs);
            let size = |k: usize| weights[k].abs() * matrix[(k, k)].sqrt();
            let largest = (0..j).map(size).fold(0.0, f64::max);
            (0..j)
                .filter(|&k| size(k) > 1e-5 * largest)
                .map(name)
                .collect()
        },
    );
    Err(Error::Collinear {
        column: name(j),
        with,
    })
}
