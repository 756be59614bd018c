//! The figures of a study; each says whether it is out-of-fold.

use std::fmt;

use cox_survival::{Concordance, KaplanMeier, KmCurve, Surv};
use latent_attribute::{DirectionStability, HealthDirection};
use serde::{Deserialize, Serialize};

use super::cox_on_latents::CoxOnLatents;
use crate::error::Result;
use crate::latents::Latents;

/// Everything a reader needs, and the whole of `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoxOnLatentsReport {
    /// How it was run.
    pub settings: CoxOnLatents,
    /// Who was studied.
    pub cohort: CohortSummary,
    /// The penalty of the model fitted to all patients.
    pub penalty: ChosenPenalty,
    /// Discrimination for patients the models had not seen.
    pub out_of_fold: OutOfFold,
    /// The same procedure on permuted outcomes.
    pub null: Option<NullDistribution>,
    /// Out-of-fold risk groups.
    pub risk_groups: RiskGroups,
    /// The coefficients whose sign comes back most surely.
    pub coefficients: Vec<StableCoefficient>,
    /// What the model reads.
    pub weights: Option<DirectionReport>,
    /// What changes in the data along with risk.
    pub pattern: Option<DirectionReport>,
}

/// Size and follow-up of a cohort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CohortSummary {
    /// Patients.
    pub n: usize,
    /// Patients with the event.
    pub n_events: usize,
    /// Features.
    pub p: usize,
    /// Median survival by Kaplan-Meier, in the units of the time column.
    pub median_survival: Option<f64>,
    /// Median follow-up by reverse Kaplan-Meier.
    pub median_follow_up: Option<f64>,
}

impl CohortSummary {
    pub(super) fn new(surv: &Surv, latents: &Latents) -> Result<Self> {
        let median = |surv: &Surv| -> Result<Option<f64>> {
            Ok(KaplanMeier::new()
                .fit(surv)?
                .curves
                .first()
                .and_then(|c| c.median))
        };
        let censored: Vec<bool> = surv.event().iter().map(|e| !e).collect();
        let follow_up = match Surv::new(surv.time(), &censored) {
            Ok(reverse) => median(&reverse)?,
            Err(_) => None,
        };
        let plain = Surv::new(surv.time(), surv.event())?;
        Ok(Self {
            n: surv.n(),
            n_events: surv.n_events(),
            p: latents.p(),
            median_survival: median(&plain)?,
            median_follow_up: follow_up,
        })
    }
}

/// What cross-validation of all patients chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChosenPenalty {
    /// Mixing: 0 ridge, 1 lasso.
    pub alpha: f64,
    /// Penalty.
    pub lambda: f64,
    /// Nonzero coefficients.
    pub nonzero: usize,
    /// Out-of-fold partial-likelihood deviance per event at that penalty.
    pub cv_deviance: f64,
    /// Its standard error.
    pub cv_deviance_se: f64,
    /// The same at the largest penalty, where features have no say.
    pub cv_deviance_without_features: f64,
    /// Folds.
    pub folds: usize,
}

/// An estimate with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EstimateWithInterval {
    /// The estimate.
    pub estimate: f64,
    /// Standard error over patients, predictions taken as given.
    pub std_error: Option<f64>,
    /// Lower limit.
    pub lower: Option<f64>,
    /// Upper limit.
    pub upper: Option<f64>,
}

impl EstimateWithInterval {
    pub(super) fn of(c: &Concordance, level: f64) -> Self {
        let (lower, upper) = c.confidence_interval(level).unzip();
        Self {
            estimate: c.concordance(),
            std_error: c.std_error(),
            lower,
            upper,
        }
    }
}

impl fmt::Display for EstimateWithInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.estimate)?;
        match (self.lower, self.upper) {
            (Some(lower), Some(upper)) => write!(f, " ({lower:.3} to {upper:.3})"),
            _ => Ok(()),
        }
    }
}

/// Discrimination of the averaged out-of-fold risk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutOfFold {
    /// Harrell's concordance.
    pub harrell: EstimateWithInterval,
    /// Uno's concordance up to `uno_tau`.
    pub uno: EstimateWithInterval,
    /// Time up to which Uno's pairs count.
    pub uno_tau: f64,
    /// Repeats averaged.
    pub repeats: usize,
    /// Outer folds of each.
    pub outer_folds: usize,
}

/// Concordances of the whole procedure on permuted outcomes, one repeat each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NullDistribution {
    /// Harrell's concordances.
    pub harrell: Vec<f64>,
    /// Uno's concordances.
    pub uno: Vec<f64>,
    /// Mean of `harrell`.
    pub harrell_mean: f64,
    /// Largest of `harrell`.
    pub harrell_max: f64,
    /// Mean of `uno`.
    pub uno_mean: f64,
    /// Share of permutations at least as concordant as the data, the data counted in.
    pub p: f64,
}

impl NullDistribution {
    pub(super) fn new(observed: f64, harrell: Vec<f64>, uno: Vec<f64>) -> Self {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let reached = harrell.iter().filter(|&&h| h >= observed).count();
        Self {
            harrell_mean: mean(&harrell),
            harrell_max: harrell.iter().copied().fold(0.0, f64::max),
            uno_mean: mean(&uno),
            p: (reached + 1) as f64 / (harrell.len() + 1) as f64,
            harrell,
            uno,
        }
    }
}

/// Out-of-fold risk groups and the test between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskGroups {
    /// How patients were divided.
    pub cut: String,
    /// The groups.
    pub groups: Vec<RiskGroup>,
    /// Log-rank statistic.
    pub log_rank_chi_squared: Option<f64>,
    /// Its degrees of freedom.
    pub log_rank_df: Option<usize>,
    /// Its p-value.
    pub log_rank_p: Option<f64>,
}

/// One risk group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskGroup {
    /// Its name.
    pub name: String,
    /// Patients.
    pub n: usize,
    /// Events.
    pub n_events: f64,
    /// Median survival with its confidence limits.
    pub median: Option<f64>,
    /// Lower limit.
    pub median_lower: Option<f64>,
    /// Upper limit.
    pub median_upper: Option<f64>,
}

impl RiskGroup {
    pub(super) fn new(curve: &KmCurve) -> Self {
        Self {
            name: curve.name.clone(),
            n: curve.n,
            n_events: curve.n_events,
            median: curve.median,
            median_lower: curve.median_lower,
            median_upper: curve.median_upper,
        }
    }
}

/// A coefficient and how surely it comes back in bootstrap refits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StableCoefficient {
    /// Feature.
    pub name: String,
    /// Its column, from 0.
    pub column: usize,
    /// Log hazard ratio per standard deviation, in the fit to all patients (in-sample).
    pub log_hazard_ratio_per_sd: f64,
    /// Its spread over refits.
    pub bootstrap_se: f64,
    /// Share of refits in which it is not zero.
    pub chosen: Option<f64>,
    /// Share of refits in which it has this sign.
    pub same_sign: Option<f64>,
}

/// A health direction and its stability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirectionReport {
    /// `weights` or `pattern`.
    pub kind: String,
    /// Change of the log hazard per unit step along it, by the model.
    pub risk_slope: f64,
    /// Step that halves the modelled hazard.
    pub step_to_halve_hazard: Option<f64>,
    /// Median cosine between refits and the direction.
    pub cosine: Option<f64>,
    /// Lower limit over refits.
    pub cosine_lower: Option<f64>,
    /// Upper limit over refits.
    pub cosine_upper: Option<f64>,
    /// Typical size of the cosine of two unrelated directions.
    pub cosine_by_chance: Option<f64>,
}

impl DirectionReport {
    pub(super) fn new(direction: &HealthDirection, stability: Option<&DirectionStability>) -> Self {
        Self {
            kind: direction.kind().to_string(),
            risk_slope: direction.risk_slope(),
            step_to_halve_hazard: direction.step_for_hazard_ratio(0.5).ok(),
            cosine: stability.map(DirectionStability::median),
            cosine_lower: stability.map(|s| s.interval().0),
            cosine_upper: stability.map(|s| s.interval().1),
            cosine_by_chance: stability.map(DirectionStability::chance),
        }
    }
}

impl fmt::Display for CoxOnLatentsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.settings.level * 100.0;
        let time = |t: Option<f64>| t.map_or("not reached".to_owned(), |t| format!("{t:.2}"));
        let c = &self.cohort;
        writeln!(
            f,
            "Cohort        {} patients, {} events, {} features",
            c.n, c.n_events, c.p
        )?;
        writeln!(
            f,
            "              median survival {}, median follow-up {}",
            time(c.median_survival),
            time(c.median_follow_up)
        )?;
        let p = &self.penalty;
        writeln!(
            f,
            "Penalty       alpha = {}, lambda = {:.4}, {} nonzero coefficients",
            p.alpha, p.lambda, p.nonzero
        )?;
        writeln!(
            f,
            "              out-of-fold deviance per event {:.3} (se {:.3}), without features {:.3}",
            p.cv_deviance, p.cv_deviance_se, p.cv_deviance_without_features
        )?;
        let o = &self.out_of_fold;
        writeln!(
            f,
            "\nOut-of-fold concordance, nested cross-validation ({} x {} folds), {percent}% CI",
            o.repeats, o.outer_folds
        )?;
        writeln!(f, "  Harrell     {}", o.harrell)?;
        writeln!(f, "  Uno         {}  up to time {:.2}", o.uno, o.uno_tau)?;
        if let Some(null) = &self.null {
            writeln!(
                f,
                "  permuted    {:.3} on average, {:.3} at most in {} permutations (p = {:.3}); Uno {:.3}",
                null.harrell_mean,
                null.harrell_max,
                null.harrell.len(),
                null.p,
                null.uno_mean
            )?;
        }
        writeln!(f, "\nOut-of-fold risk groups ({})", self.risk_groups.cut)?;
        for group in &self.risk_groups.groups {
            writeln!(
                f,
                "  {:<10}  {} patients, {} events, median survival {} ({} to {})",
                group.name,
                group.n,
                group.n_events,
                time(group.median),
                time(group.median_lower),
                time(group.median_upper)
            )?;
        }
        if let (Some(chi), Some(df), Some(p)) = (
            self.risk_groups.log_rank_chi_squared,
            self.risk_groups.log_rank_df,
            self.risk_groups.log_rank_p,
        ) {
            writeln!(
                f,
                "  log-rank    chi-squared = {chi:.2} on {df} df, p = {p:.2e}"
            )?;
        }
        self.coefficients(f)?;
        self.directions(f)
    }
}

impl CoxOnLatentsReport {
    fn coefficients(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.coefficients.is_empty() {
            let refits = self.settings.bootstraps;
            writeln!(
                f,
                "\nMost stable coefficients (log hazard ratio per SD, {refits} bootstrap refits)"
            )?;
            for c in &self.coefficients {
                write!(f, "  {:<12} {:>8.4}", c.name, c.log_hazard_ratio_per_sd)?;
                match (c.same_sign, c.chosen) {
                    (Some(same), Some(chosen)) => writeln!(
                        f,
                        "   same sign in {:>3.0}%, nonzero in {:>3.0}%",
                        100.0 * same,
                        100.0 * chosen
                    )?,
                    _ => writeln!(f)?,
                }
            }
        }
        Ok(())
    }

    fn directions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nHealth direction")?;
        if self.weights.is_none() {
            writeln!(f, "  none: the chosen model has no coefficient")?;
        }
        for d in [&self.weights, &self.pattern].into_iter().flatten() {
            write!(
                f,
                "  {:<10}  log hazard {:+.3} per unit step",
                d.kind, d.risk_slope
            )?;
            if let Some(step) = d.step_to_halve_hazard {
                write!(f, ", {step:.2} units halve the modelled hazard")?;
            }
            writeln!(f)?;
            if let (Some(m), Some(l), Some(u), Some(chance)) =
                (d.cosine, d.cosine_lower, d.cosine_upper, d.cosine_by_chance)
            {
                writeln!(
                    f,
                    "              cosine with bootstrap refits {m:.2} ({l:.2} to {u:.2}), by chance {chance:.2}"
                )?;
            }
        }
        Ok(())
    }
}
