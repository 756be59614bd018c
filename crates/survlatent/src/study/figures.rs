//! Figures of the cohort: its table, its risk groups, its clinical model.

use cox_survival::{CoxPh, KaplanMeier, KmCurve, LogRank, LogRankTest, Surv};

use super::data::{Design, StudyData};
use super::interval::Interval;
use super::judge::unstratified;
use super::predict::Predictions;
use super::results::{
    CohortFigures, CovariateFigures, GroupFigures, HazardRatio, RiskGroupFigures,
};
use crate::error::Result;

/// Size, follow-up and covariates.
pub(super) fn cohort(data: &StudyData) -> Result<CohortFigures> {
    let surv = &data.surv;
    let median = |surv: &Surv| -> Result<Option<f64>> {
        let fit = KaplanMeier::new().fit(surv)?;
        Ok(fit.curves.first().and_then(|c| c.median))
    };
    let left: Vec<bool> = surv.event().iter().map(|e| !e).collect();
    let median_follow_up = match Surv::new(surv.time(), &left) {
        Ok(reverse) => median(&reverse)?,
        // Nobody is censored.
        Err(_) => None,
    };
    let mut covariates = Vec::new();
    for design in [&data.clinical, &data.age_sex].into_iter().flatten() {
        for (j, name) in design.names().iter().enumerate() {
            if covariates
                .iter()
                .all(|c: &CovariateFigures| c.name != *name)
            {
                covariates.push(covariate(name, design.column(j)));
            }
        }
    }
    Ok(CohortFigures {
        rows: data.n(),
        patients: data.patients(),
        events: surv.n_events(),
        median_survival: median(&unstratified(surv)?)?,
        median_follow_up,
        latents: data.w.as_ref().map_or(0, crate::Latents::p),
        covariates,
    })
}

fn covariate(name: &str, values: &[f64]) -> CovariateFigures {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let is = |v: f64, w: f64| v.total_cmp(&w).is_eq();
    CovariateFigures {
        name: name.to_owned(),
        indicator: values.iter().all(|&v| is(v, 0.0) || is(v, 1.0)),
        mean,
        sd: (squares / (n - 1.0)).sqrt(),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Thirds by the risk's place among each model's own training rows, with curves and test.
pub(super) fn risk_groups(
    data: &StudyData,
    predictions: &Predictions,
) -> Result<(RiskGroupFigures, Vec<KmCurve>, Option<LogRankTest>)> {
    const NAMES: [&str; 3] = ["low risk", "middle risk", "high risk"];
    let third = |p: &f64| u32::from(*p > 1.0 / 3.0) + u32::from(*p > 2.0 / 3.0);
    let group: Vec<u32> = predictions.percentile.iter().map(third).collect();
    let surv = unstratified(&data.surv)?;
    let mut curves = KaplanMeier::new().fit_by(&surv, &group)?.curves;
    for curve in &mut curves {
        let name = curve.name.parse().ok().and_then(|k: usize| NAMES.get(k));
        if let Some(name) = name {
            (*name).clone_into(&mut curve.name);
        }
    }
    let test = if group.iter().any(|g| *g != group[0]) {
        Some(LogRank::new().test(&surv, &group)?)
    } else {
        None
    };
    let groups = curves
        .iter()
        .map(|c| GroupFigures {
            name: c.name.clone(),
            rows: c.n,
            #[expect(clippy::cast_sign_loss, reason = "a count")]
            events: c.n_events as usize,
            median: c.median,
        })
        .collect();
    let figures = RiskGroupFigures {
        model: predictions.model,
        groups,
        chi_squared: test.as_ref().map(|t| t.chi_squared),
        df: test.as_ref().map(|t| t.df),
        p: test.as_ref().map(|t| t.p_value),
    };
    Ok((figures, curves, test))
}

/// Hazard ratios of the clinical covariates in everybody.
pub(super) fn clinical_model(data: &StudyData) -> Result<Vec<HazardRatio>> {
    let design: &Design = match data.clinical.as_ref().or(data.age_sex.as_ref()) {
        Some(design) if !design.names().is_empty() => design,
        _ => return Ok(Vec::new()),
    };
    let settings = CoxPh::new().concordance(false);
    let x = design.covariates()?;
    let fit = if data.one_row_each() {
        settings.fit(&data.surv, &x)?
    } else {
        settings.fit_clustered(&data.surv, &x, &data.patient)?
    };
    let (ratio, lower, upper, p) = (fit.exp_coef(), fit.lower(), fit.upper(), fit.p_values());
    let finite = |v: f64| v.is_finite().then_some(v);
    Ok((0..ratio.len())
        .filter(|&j| ratio[j].is_finite() && p[j].is_finite())
        .map(|j| HazardRatio {
            name: design.names()[j].clone(),
            ratio: Interval {
                estimate: ratio[j],
                lower: finite(lower[j]),
                upper: finite(upper[j]),
            },
            p: p[j],
        })
        .collect())
}
