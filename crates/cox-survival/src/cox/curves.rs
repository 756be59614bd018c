//! Survival curves of a Cox model at given covariates, with confidence limits.
//!
//! `H(t | x) = exp(x' beta) H0(t)`, with Breslow's or Efron's increments `dH0` after the ties of the
//! fit, and its variance (Tsiatis 1981, Annals of Statistics 9:93; Therneau & Grambsch 2000, 10.2)
//!
//! ```text
//! var H(t | x) = exp(2 x' beta) ( sum m sum_l 1 / S0_l^2  +  q' V q ),
//! q = x H0(t) - int xbar dH0
//! ```
//!
//! `V` is the variance of the coefficients (robust when the fit is), so a curve far from the means of
//! the covariates is less certain.

use faer::Mat;
use serde::{Deserialize, Serialize};

use super::baseline::of_stratum;
use super::diagnostics::CoxDiagnostics;
use crate::compensated::Sum;
use crate::confidence::{ConfType, normal_quantile};
use crate::covariates::Covariates;
use crate::error::{Error, Result};
use crate::kaplan_meier::Quantile;
use crate::step::StepFunction;

/// Predicts survival curves with standard errors; from [`CoxDiagnostics::curves`].
///
/// ```
/// use cox_survival::{CoxPh, Covariates, Surv};
/// let surv = Surv::new(
///     &[5.0, 8.0, 12.0, 16.0, 23.0, 27.0, 30.0, 33.0],
///     &[true, true, false, true, true, false, true, true],
/// )?;
/// let dose = [1.0, 0.5, 1.5, 0.9, 0.2, 0.6, 0.1, 0.7];
/// let x = Covariates::from_columns(&dose, 8, 1)?;
/// let fit = CoxPh::new().fit(&surv, &x)?;
/// let curves = fit.diagnostics(&surv, &x)?.curves();
/// let found = curves.at(&Covariates::from_rows(&[0.3], 1, 1)?, 0)?;
/// let curve = &found[0];
/// assert!(curve.lower[2] < curve.surv[2] && curve.surv[2] < curve.upper[2]);
/// println!("median {:?}, mean up to 30 days {}", curve.median()?.estimate, curve.rmst(30.0)?);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CoxCurves {
    pub(super) conf_type: ConfType,
    pub(super) level: f64,
    pub(super) coef: Vec<f64>,
    pub(super) centre: Vec<f64>,
    pub(super) scale: Vec<f64>,
    /// Of the coefficients, in scaled units.
    pub(super) variance: Mat<f64>,
    pub(super) strata: Vec<Baseline>,
}

/// Running sums over the event times of a stratum, in units of `exp(shift)`.
#[derive(Debug, Clone)]
pub(super) struct Baseline {
    pub(super) shift: f64,
    pub(super) time: Vec<f64>,
    pub(super) hazard: Vec<f64>,
    pub(super) square: Vec<f64>,
    /// `int xbar dH0`, row-major `[times, p]`, scaled units.
    pub(super) drift: Vec<f64>,
}

/// One predicted curve, at the event times of its stratum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoxCurve {
    /// Index of the stratum whose baseline hazard it has.
    pub stratum: usize,
    /// Event times, ascending.
    pub time: Vec<f64>,
    /// Cumulative hazard from each time on.
    #[serde(with = "crate::number::vector")]
    pub hazard: Vec<f64>,
    /// Survival probability `exp(-hazard)`.
    #[serde(with = "crate::number::vector")]
    pub surv: Vec<f64>,
    /// Standard error of the cumulative hazard (that is, of `-log surv`).
    #[serde(with = "crate::number::vector")]
    pub std_err: Vec<f64>,
    /// Lower confidence limits of `surv`; NaN where the scale has none.
    #[serde(with = "crate::number::vector")]
    pub lower: Vec<f64>,
    /// Upper confidence limits of `surv`.
    #[serde(with = "crate::number::vector")]
    pub upper: Vec<f64>,
}

impl CoxDiagnostics<'_> {
    /// Survival curves at any covariates, with 95% limits on the log scale (R's
    /// `survfit(fit, newdata)`).
    pub fn curves(&self) -> CoxCurves {
        let p = self.p();
        let l = &self.likelihood;
        let strata = l
            .sorted
            .strata
            .iter()
            .zip(&l.shift)
            .map(|(stratum, &shift)| {
                let mut sums = Baseline {
                    shift,
                    time: Vec::new(),
                    hazard: Vec::new(),
                    square: Vec::new(),
                    drift: Vec::new(),
                };
                let (mut hazard, mut square) = (Sum::default(), Sum::default());
                let mut drift = vec![0.0; p];
                for g in stratum.groups.clone().rev() {
                    hazard.add(l.groups[g].hazard);
                    square.add(l.groups[g].square()[0]);
                    for (d, more) in drift.iter_mut().zip(&self.means.drift[g * p..]) {
                        *d += more;
                    }
                    sums.time.push(l.sorted.groups[g].time);
                    sums.hazard.push(hazard.value());
                    sums.square.push(square.value());
                    sums.drift.extend(&drift);
                }
                sums
            })
            .collect();
        CoxCurves {
            conf_type: ConfType::default(),
            level: self.fit.level(),
            coef: self.fit.coef().to_vec(),
            centre: self.design.mean.clone(),
            scale: self.design.scale.clone(),
            variance: self.scaled(self.fit.used_variance()),
            strata,
        }
    }
}

impl CoxCurves {
    /// The scale on which the limits are symmetric (default [`ConfType::Log`]).
    pub fn conf_type(mut self, conf_type: ConfType) -> Self {
        self.conf_type = conf_type;
        self
    }

    /// Level of the limits (default that of the fit).
    pub fn level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// One curve for every row of `x`, with the baseline hazard of `stratum` (0 without strata), at
    /// offset 0. Cost: `O(times p^2)` each.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of columns, [`Error::NotFinite`] for a value that is none,
    /// [`Error::Setting`] for a stratum that is not there or a level outside (0, 1).
    pub fn at(&self, x: &Covariates<'_>, stratum: usize) -> Result<Vec<CoxCurve>> {
        let p = self.coef.len();
        let eta = super::predict::centred(&self.coef, &self.centre, x)?;
        let z = normal_quantile(self.level)?;
        let baseline = of_stratum(&self.strata, stratum)?;
        let curve = |(i, eta): (usize, &f64)| {
            let new: Vec<f64> = (0..p)
                .map(|j| (x.get(i, j) - self.centre[j]) / self.scale[j])
                .collect();
            let log_factor = eta - baseline.shift;
            let factor = log_factor.exp();
            let mut out = CoxCurve {
                stratum,
                time: baseline.time.clone(),
                hazard: Vec::new(),
                surv: Vec::new(),
                std_err: Vec::new(),
                lower: Vec::new(),
                upper: Vec::new(),
            };
            for (k, &sum) in baseline.hazard.iter().enumerate() {
                let hazard = (sum.ln() + log_factor).exp();
                let q: Vec<f64> = (0..p)
                    .map(|j| new[j] * sum - baseline.drift[k * p + j])
                    .collect();
                let mut form = 0.0;
                for a in 0..p {
                    for b in 0..p {
                        form += q[a] * self.variance[(a, b)] * q[b];
                    }
                }
                let se = factor * (baseline.square[k] + form.max(0.0)).sqrt();
                let s = (-hazard).exp();
                let (lower, upper) = self.conf_type.limits(s, se, z);
                out.hazard.push(hazard);
                out.surv.push(s);
                out.std_err.push(se);
                out.lower.push(lower);
                out.upper.push(upper);
            }
            out
        };
        Ok(eta.iter().enumerate().map(curve).collect())
    }
}

impl CoxCurve {
    /// The curve as a step function, 1 before the first event.
    pub fn step(&self) -> Result<StepFunction> {
        StepFunction::new(self.time.clone(), self.surv.clone(), 1.0)
    }

    /// The time by which a fraction `p` is predicted to have had the event, with the times at which the
    /// limits come down as far; none where a curve does not.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `0 < p < 1`.
    pub fn quantile(&self, p: f64) -> Result<Quantile> {
        if !(p > 0.0 && p < 1.0) {
            return Err(Error::Setting {
                name: "p",
                value: p.to_string(),
                expected: "must lie between 0 and 1",
            });
        }
        let reach = |y: &[f64]| -> Result<Option<f64>> {
            let step = StepFunction::new(self.time.clone(), y.to_vec(), 1.0)?;
            Ok(step.descends_to(1.0 - p))
        };
        Ok(Quantile {
            p,
            estimate: reach(&self.surv)?,
            lower: reach(&self.lower)?,
            upper: reach(&self.upper)?,
        })
    }

    /// The median: the quantile at one half.
    pub fn median(&self) -> Result<Quantile> {
        self.quantile(0.5)
    }

    /// Restricted mean survival time: the area under the curve up to `tau`; with its standard error,
    /// [`CoxCurves::rmst`].
    ///
    /// # Errors
    /// [`Error::Setting`] unless `tau` is a positive number.
    pub fn rmst(&self, tau: f64) -> Result<f64> {
        if !(tau.is_finite() && tau > 0.0) {
            return Err(Error::Setting {
                name: "tau",
                value: tau.to_string(),
                expected: "must be a positive number",
            });
        }
        Ok(self.step()?.integral(0.0, tau))
    }
}
