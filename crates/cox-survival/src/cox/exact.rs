//! The exact (discrete) partial likelihood of tied events, with score and information.
//!
//! Given that `d` of the patients at risk have their event at a time, the probability that it is
//! just those who had it is `prod r_i / e_d(r)`, with `e_d` the sum over all subsets of `d` of the
//! products of their risks (Cox 1972; Gail, Lubin & Rubinstein 1981, Biometrika 68:703).
//!
//! `e_d` is the coefficient of `z^d` in `prod (1 + r_i z)`: up to a factor, the probability that
//! independent coins with chances `p_i = rho r_i / (1 + rho r_i)` show `d` heads, for any `rho`.
//! With `rho` such that `d` heads are expected, that probability is the mean over `N` points of the
//! unit circle of `phi(theta) exp(-i d theta)`, `phi` the coins' characteristic function. The mean
//! is exact when `N` exceeds the number of coins, and the error falls faster than exponentially once
//! `N` exceeds a few standard deviations of the number of heads, so that a tie of hundreds costs no
//! more than some dozen points. Nothing can overflow: all factors have modulus at most 1.
//! Score and information are the mean and the variance of `sum x_i` over the coins that show heads,
//! by the same sum.
//!
//! Needs: the sorted view. Returns log-likelihood, score, information. Cost per event time with
//! ties: `O(K n p + K p^2)`, `K` about 10 to 40; single events and the `n p^2` part go through the
//! kernels of the other methods.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::Ties;
use super::design::Design;
use super::information::{Information, information};
use super::likelihood::{GroupTerms, Likelihood};
use super::newton::Objective;
use super::pairs::add_gram;
use crate::compensated::Sum;
use crate::surv::{Sorted, Surv};

/// Parts of the tied groups whose sums are added in order: fixed, so that threads change nothing.
const PARTS: usize = 16;
/// Rows gathered before each matrix product.
const BATCH: usize = 256;
/// Points of the circle beyond which `phi` is nothing.
const NOTHING: f64 = 1e-25;

/// The likelihood of one `Surv`, evaluated.
#[derive(Debug, Clone)]
pub(crate) struct ExactLikelihood<'a> {
    /// Single events.
    single: Likelihood<'a>,
    /// Groups with ties.
    tied: Vec<usize>,
    /// Log odds of a coin of risk 1, by tied group: where the search starts next time.
    tilt: Vec<f64>,
    eta: Vec<f64>,
}

impl<'a> ExactLikelihood<'a> {
    /// Weights are not looked at: the caller refuses them.
    pub(crate) fn new(surv: &'a Surv) -> Self {
        let groups = &surv.sorted.groups;
        let tied: Vec<usize> = (0..groups.len())
            .filter(|&g| groups[g].events.len() > 1)
            .collect();
        Self {
            single: Likelihood::new(surv, Ties::Breslow),
            tilt: vec![f64::NAN; tied.len()],
            tied,
            eta: vec![0.0; surv.n()],
        }
    }

    fn sorted(&self) -> &Sorted {
        self.single.sorted
    }

    fn shift(&self, g: usize) -> f64 {
        let strata = &self.sorted().strata;
        self.single.shift[strata.partition_point(|s| s.groups.end <= g)]
    }
}

impl Objective for ExactLikelihood<'_> {
    fn sums(&mut self, eta: &[f64]) -> f64 {
        self.eta.copy_from_slice(eta);
        let mut total = Sum::default();
        total.add(self.single.sums(eta));
        let this = &*self;
        let found: Vec<(f64, f64)> = this
            .tied
            .par_iter()
            .zip(&this.tilt)
            .map(|(&g, &tilt)| {
                let coins = Coins::new(this.sorted(), g, &this.eta, tilt);
                // What Breslow's method subtracted for the group, and what it should have.
                let d = this.sorted().groups[g].events.len() as f64;
                let breslow = d * (d / this.single.groups[g].hazard).ln();
                (
                    breslow - (coins.log_symmetric() - d * this.shift(g)),
                    coins.tilt,
                )
            })
            .collect();
        for (t, (correction, tilt)) in found.into_iter().enumerate() {
            total.add(correction);
            self.tilt[t] = tilt;
        }
        let loglik = total.value();
        self.single.loglik = if loglik.is_nan() {
            f64::NEG_INFINITY
        } else {
            loglik
        };
        self.single.loglik
    }

    fn derivatives(&mut self) {
        for &g in &self.tied {
            // Their events count in the residual; their risk sets are added from the coins.
            self.single.groups[g] = GroupTerms {
                anew: self.single.groups[g].anew,
                ..GroupTerms::default()
            };
        }
        self.single.derivatives();
    }

    fn events(&self) -> f64 {
        self.single.events()
    }

    fn information(&self, design: &Design) -> Information {
        let (n, p) = (design.n, design.p);
        let mut total = information(design, &self.single);
        let parts: Vec<Tied> = self
            .tied
            .par_chunks(self.tied.len().div_ceil(PARTS).max(1))
            .zip(self.tilt.par_chunks(self.tied.len().div_ceil(PARTS).max(1)))
            .map(|(groups, tilts)| {
                let mut part = Tied::new(n, p);
                for (&g, &tilt) in groups.iter().zip(tilts) {
                    Coins::new(self.sorted(), g, &self.eta, tilt).add_to(&mut part, design);
                }
                part
            })
            .collect();
        let mut weight = vec![0.0; n];
        for part in &parts {
            for (s, m) in total.score.iter_mut().zip(&part.mean) {
                *s -= m;
            }
            total.matrix += &part.matrix;
            for (w, more) in weight.iter_mut().zip(&part.weight) {
                *w += more;
            }
        }
        if !parts.is_empty() {
            weighted_gram(&mut total.matrix, design, &weight);
        }
        total
    }
}

/// Sums over tied groups.
struct Tied {
    /// Means of `sum x_i` over the heads.
    mean: Vec<f64>,
    /// Lower triangle of the variances, but for `sum weight_i x_i x_i'`.
    matrix: Mat<f64>,
    /// By position.
    weight: Vec<f64>,
}

impl Tied {
    fn new(n: usize, p: usize) -> Self {
        Self {
            mean: vec![0.0; p],
            matrix: Mat::zeros(p, p),
            weight: vec![0.0; n],
        }
    }
}

/// One risk set as independent coins of which as many as there are events are expected to show
/// heads.
struct Coins {
    /// Positions at risk.
    at: Vec<usize>,
    /// Chance of heads.
    chance: Vec<f64>,
    /// Number of events.
    d: usize,
    tilt: f64,
    /// `sum log(1 + rho r_i)`; where everybody has the event, `sum log r_i`.
    log_all: f64,
    /// `phi(theta_k) exp(-i d theta_k)` for `k = 0, 1, ..` as long as it matters; empty where
    /// everybody at risk has the event.
    phi: Vec<Complex>,
    /// Points on the whole circle (odd).
    points: usize,
}

impl Coins {
    fn new(sorted: &Sorted, g: usize, eta: &[f64], tilt: f64) -> Self {
        let at: Vec<usize> = sorted.at_risk(g).collect();
        let d = sorted.groups[g].events.len();
        if at.len() == d {
            // Certain, whatever the risks.
            let log_all = at.iter().map(|&i| eta[i]).sum();
            return Self {
                chance: vec![1.0; d],
                at,
                d,
                tilt,
                log_all,
                phi: Vec::new(),
                points: 1,
            };
        }
        let (tilt, chance) = tilted(at.iter().map(|&i| eta[i]).collect(), d, tilt);
        let mut log_all = Sum::default();
        let mut variance = 0.0;
        for (&i, p) in at.iter().zip(&chance) {
            let u = eta[i] + tilt;
            log_all.add(u.max(0.0) + (-u.abs()).exp().ln_1p());
            variance += p * (1.0 - p);
        }
        let points = points(variance, at.len());
        let mut coins = Self {
            at,
            chance,
            d,
            tilt,
            log_all: log_all.value(),
            phi: Vec::new(),
            points,
        };
        coins.circle();
        coins
    }

    fn angle(&self, k: usize) -> f64 {
        std::f64::consts::TAU * k as f64 / self.points as f64
    }

    /// Every factor shrinks from angle 0 to pi: the first point that is nothing is the last.
    fn circle(&mut self) {
        for k in 0..=self.points / 2 {
            let turn = Complex::turn(self.angle(k));
            let mut phi = Complex::turn(-self.angle(k) * self.d as f64);
            for &p in &self.chance {
                phi = phi.times(Complex(1.0 - p + p * turn.0, p * turn.1));
            }
            if phi.size() < NOTHING {
                break;
            }
            self.phi.push(phi);
        }
    }

    /// Sum of `phi`, of which the points below the axis are the conjugates of those above.
    fn total(&self) -> f64 {
        let upper: f64 = self.phi[1..].iter().map(|phi| phi.0).sum();
        self.phi[0].0 + 2.0 * upper
    }

    /// `log e_d` of the risks `exp(eta)`.
    fn log_symmetric(&self) -> f64 {
        if self.phi.is_empty() {
            return self.log_all;
        }
        self.log_all - self.d as f64 * self.tilt + (self.total() / self.points as f64).ln()
    }

    /// Adds mean and variance of `sum x_i` over the heads.
    fn add_to(&self, into: &mut Tied, design: &Design) {
        let p = design.p;
        if self.phi.is_empty() {
            // Certain: the mean is the sum.
            for &i in &self.at {
                for (m, x) in into.mean.iter_mut().zip(&design.rows[i * p..(i + 1) * p]) {
                    *m += x;
                }
            }
            return;
        }
        let total = self.total();
        let weights: Vec<Complex> = (0..self.phi.len())
            .map(|k| {
                let both = if k == 0 { 1.0 } else { 2.0 };
                Complex(both * self.phi[k].0 / total, both * self.phi[k].1 / total)
            })
            .collect();
        let turns: Vec<Complex> = (0..self.phi.len())
            .map(|k| Complex::turn(self.angle(k)))
            .collect();
        let k2 = 2 * turns.len();
        // Column 2k and 2k + 1: real and imaginary part of sum_i q_ik x_i.
        let mut sums = Mat::<f64>::zeros(p, k2);
        let (mut rows, mut heads) = (vec![0.0; BATCH * p], vec![0.0; BATCH * k2]);
        for (at, chance) in self.at.chunks(BATCH).zip(self.chance.chunks(BATCH)) {
            for (b, (&i, &p_i)) in at.iter().zip(chance).enumerate() {
                rows[b * p..(b + 1) * p].copy_from_slice(&design.rows[i * p..(i + 1) * p]);
                let mut own = 0.0;
                for (k, (turn, w)) in turns.iter().zip(&weights).enumerate() {
                    // Chance of heads on the tilted circle.
                    let heads_turn = Complex(p_i * turn.0, p_i * turn.1);
                    let q = heads_turn.over(Complex(1.0 - p_i + heads_turn.0, heads_turn.1));
                    heads[b * k2 + 2 * k] = q.0;
                    heads[b * k2 + 2 * k + 1] = q.1;
                    let spread = q.times(Complex(1.0 - q.0, -q.1));
                    own += w.times(spread).0;
                }
                into.weight[i] += own;
            }
            let m = at.len();
            matmul(
                sums.as_mut(),
                Accum::Add,
                MatRef::from_column_major_slice(&rows[..m * p], p, m),
                MatRef::from_column_major_slice(&heads[..m * k2], k2, m).transpose(),
                1.0,
                Par::Seq,
            );
        }
        let mut mean = vec![0.0; p];
        for (k, w) in weights.iter().enumerate() {
            for (j, m) in mean.iter_mut().enumerate() {
                *m += w.0 * sums[(j, 2 * k)] - w.1 * sums[(j, 2 * k + 1)];
            }
        }
        add_squares(into.matrix.as_mut(), &sums, &weights, &mean);
        for (m, more) in into.mean.iter_mut().zip(&mean) {
            *m += more;
        }
    }
}

/// Lower triangle of `target += Re sum_k w_k s_k s_k' - mean mean'`.
fn add_squares(mut target: MatMut<'_, f64>, sums: &Mat<f64>, weights: &[Complex], mean: &[f64]) {
    let p = mean.len();
    for j in 0..p {
        for i in j..p {
            let mut total = -mean[i] * mean[j];
            for (k, w) in weights.iter().enumerate() {
                let (a, b) = (
                    Complex(sums[(i, 2 * k)], sums[(i, 2 * k + 1)]),
                    Complex(sums[(j, 2 * k)], sums[(j, 2 * k + 1)]),
                );
                total += w.times(a.times(b)).0;
            }
            target[(i, j)] += total;
        }
    }
}

/// Lower triangle of `matrix += X' diag(weight) X`, weights of either sign.
fn weighted_gram(matrix: &mut Mat<f64>, design: &Design, weight: &[f64]) {
    let p = design.p;
    let mut rows = Vec::with_capacity(BATCH * p);
    for sign in [1.0, -1.0] {
        let mut flush = |rows: &mut Vec<f64>| {
            let block = MatRef::from_column_major_slice(rows, p, rows.len() / p);
            add_gram(matrix.as_mut(), block, sign);
            rows.clear();
        };
        for (row, &w) in design.rows.chunks_exact(p).zip(weight) {
            if w * sign > 0.0 {
                let root = w.abs().sqrt();
                rows.extend(row.iter().map(|x| root * x));
                if rows.len() == BATCH * p {
                    flush(&mut rows);
                }
            }
        }
        flush(&mut rows);
    }
}

/// The log odds `t` for which `sum logistic(eta_i + t) = d`, and the chances: Newton's method kept
/// between bounds. Some digits of `t` are enough, any value is correct.
fn tilted(eta: Vec<f64>, d: usize, guess: f64) -> (f64, Vec<f64>) {
    let n = eta.len() as f64;
    let d = d as f64;
    let (least, most) = eta
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &e| {
            (a.min(e), b.max(e))
        });
    // With all coins as the best or as the worst.
    let odds = (d / (n - d).max(0.5)).ln();
    let (mut low, mut high) = (odds - most, odds - least);
    let mut t = if guess > low && guess < high {
        guess
    } else {
        f64::midpoint(low, high)
    };
    let logistic = |u: f64| {
        let e = (-u.abs()).exp();
        if u >= 0.0 {
            1.0 / (1.0 + e)
        } else {
            e / (1.0 + e)
        }
    };
    for _ in 0..100 {
        let (mut mean, mut slope) = (0.0, 0.0);
        for &e in &eta {
            let p = logistic(e + t);
            mean += p;
            slope += p * (1.0 - p);
        }
        if (mean - d).abs() <= 1e-3 * slope.sqrt().max(1e-12) || high - low < 1e-9 {
            break;
        }
        if mean > d {
            high = t;
        } else {
            low = t;
        }
        let newton = t - (mean - d) / slope;
        t = if newton > low && newton < high {
            newton
        } else {
            f64::midpoint(low, high)
        };
    }
    (t, eta.into_iter().map(|e| logistic(e + t)).collect())
}

/// Points of the circle, odd (so that -1 is not one of them, where a factor may vanish): as many as
/// make the sum exact, or enough that Bennett's inequality bounds the chance of so many heads more or
/// fewer by rounding, also beside a variance that is itself small.
fn points(variance: f64, coins: usize) -> usize {
    let v = variance.max(1e-300);
    let needed = 46.0 + (-v.ln()).max(0.0);
    let mut points = 1;
    while points < coins + 1 {
        let u = points as f64 / v;
        if v * ((1.0 + u) * u.ln_1p() - u) >= needed {
            break;
        }
        points += 2;
    }
    points
}

#[derive(Debug, Clone, Copy)]
struct Complex(f64, f64);

impl Complex {
    fn turn(angle: f64) -> Self {
        Self(angle.cos(), angle.sin())
    }

    #[inline]
    fn times(self, b: Self) -> Self {
        Self(self.0 * b.0 - self.1 * b.1, self.0 * b.1 + self.1 * b.0)
    }

    #[inline]
    fn over(self, b: Self) -> Self {
        let size = b.0 * b.0 + b.1 * b.1;
        Self(
            (self.0 * b.0 + self.1 * b.1) / size,
            (self.1 * b.0 - self.0 * b.1) / size,
        )
    }

    fn size(self) -> f64 {
        self.0.hypot(self.1)
    }
}
