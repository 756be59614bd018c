//! Figures of the cohort: its table, its risk groups, its clinical model.

use std::collections::BTreeMap;

use cox_survival::{CoxFit, CoxPh, KaplanMeier, KmCurve, LogRank, LogRankTest, Surv};

use super::data::{Design, StudyData, Subgroups};
use super::interval::Interval;
use super::judge::unstratified;
use super::models::Validation;
use super::predict::Predictions;
use super::results::{
    CohortFigures, CovariateFigures, GroupFigures, HazardRatio, RiskGroupFigures,
};
use super::subgroups::cells;
use crate::error::Result;

/// Size, follow-up and covariates.
pub(super) fn cohort(data: &StudyData, validation: &Validation) -> Result<CohortFigures> {
    let surv = &data.surv;
    let median = |surv: &Surv| -> Result<Option<f64>> {
        let fit = KaplanMeier::new().fit(surv)?;
        Ok(fit.curves.first().and_then(|c| c.median))
    };
    let left: Vec<bool> = surv.event().iter().map(|e| !e).collect();
    let mut reverse = Surv::builder(surv.time(), &left).timefix(false);
    if let Some(entry) = surv.entry() {
        reverse = reverse.entry(entry);
    }
    let median_follow_up = match reverse.build() {
        Ok(reverse) => median(&reverse)?,
        // Nobody is censored.
        Err(_) => None,
    };
    let hidden = hidden(data, validation);
    let mut covariates = Vec::new();
    for design in [&data.clinical, &data.age_sex].into_iter().flatten() {
        for (j, name) in design.names().iter().enumerate() {
            if covariates
                .iter()
                .all(|c: &CovariateFigures| c.name != *name)
            {
                let shown = !hidden.contains_key(name);
                covariates.push(covariate(name, design.column(j), shown));
            }
        }
    }
    Ok(CohortFigures {
        rows: data.n(),
        patients: data.patients(),
        events: surv.n_events(),
        patients_with_event: data.patients_with_event(),
        median_survival: median(&unstratified(surv)?)?,
        median_follow_up,
        latents: data.w.as_ref().map_or(0, crate::Latents::p),
        covariates,
    })
}

/// Indicators that are not shown, and why: the level, or one that the shown ones would tell of, has too few
/// patients. All indicators of a column go where the level is hidden that none of them stands for.
pub(super) fn hidden(data: &StudyData, validation: &Validation) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for design in [&data.clinical, &data.age_sex].into_iter().flatten() {
        let mut columns: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for j in (0..design.names().len()).filter(|&j| is_indicator(design.column(j))) {
            columns.entry(design.made_from(j)).or_default().push(j);
        }
        for (column, of) in columns {
            let level = |i: usize| of.iter().position(|&j| design.column(j)[i] > 0.5);
            let code = |i: usize| level(i).map_or(0, |k| k as u32 + 1);
            let groups = Subgroups {
                column: column.to_owned(),
                codes: (0..data.n()).map(code).collect(),
                levels: (0..=of.len()).map(|k| k.to_string()).collect(),
            };
            let small: Vec<(String, String)> = cells(data, &groups, validation)
                .into_iter()
                .filter_map(|cell| Some((cell.level, cell.hidden?)))
                .collect();
            let find = |k: usize| small.iter().find(|(level, _)| *level == k.to_string());
            for (k, &j) in of.iter().enumerate() {
                if let Some((_, why)) = find(k + 1).or_else(|| find(0)) {
                    out.insert(design.names()[j].clone(), why.clone());
                }
            }
        }
    }
    out
}

fn is_indicator(values: &[f64]) -> bool {
    let is = |v: f64, w: f64| v.total_cmp(&w).is_eq();
    values.iter().all(|&v| is(v, 0.0) || is(v, 1.0))
}

fn covariate(name: &str, values: &[f64], shown: bool) -> CovariateFigures {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    CovariateFigures {
        name: name.to_owned(),
        indicator: is_indicator(values),
        mean: shown.then_some(mean),
        sd: shown.then(|| (squares / (n - 1.0)).sqrt()),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Figures of the groups, their curves, and the log-rank test where patients have one row each.
pub(super) type Groups = (RiskGroupFigures, Vec<KmCurve>, Option<LogRankTest>);

/// Thirds by the risk's place among each model's own training rows, with curves and test.
pub(super) fn risk_groups(
    data: &StudyData,
    predictions: &Predictions,
    level: f64,
) -> Result<Groups> {
    const NAMES: [&str; 3] = ["low risk", "middle risk", "high risk"];
    let third = |p: &f64| u32::from(*p > 1.0 / 3.0) + u32::from(*p > 2.0 / 3.0);
    let group: Vec<u32> = predictions.percentile.iter().map(third).collect();
    let surv = unstratified(&data.surv)?;
    let mut curves = KaplanMeier::new()
        .level(level)
        .fit_by(&surv, &group)?
        .curves;
    for curve in &mut curves {
        let name = curve.name.parse().ok().and_then(|k: usize| NAMES.get(k));
        if let Some(name) = name {
            (*name).clone_into(&mut curve.name);
        }
    }
    let several = group.iter().any(|g| *g != group[0]);
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
    let mut figures = RiskGroupFigures {
        model: predictions.model,
        groups,
        by_patient: !data.one_row_each(),
        chi_squared: None,
        df: None,
        p: None,
    };
    let mut test = None;
    if figures.by_patient {
        if let Some((statistic, df)) = score_test(data, &surv, &group) {
            (figures.chi_squared, figures.df) = (Some(statistic), Some(df));
            figures.p = Some(chi_squared_tail(statistic, df));
        }
    } else if several {
        test = LogRank::new().test(&surv, &group).ok();
        figures.chi_squared = test.as_ref().map(|t| t.chi_squared);
        figures.df = test.as_ref().map(|t| t.df);
        figures.p = test.as_ref().map(|t| t.p_value);
    }
    let some = |v: f64| v.is_finite();
    (figures.chi_squared, figures.p) = (
        figures.chi_squared.filter(|v| some(*v)),
        figures.p.filter(|v| some(*v)),
    );
    Ok((figures, curves, test))
}

/// The log-rank test for groups whose rows are not independent: the score test of the groups'
/// indicators in a Cox model, its variance summed over the rows of each patient.
fn score_test(data: &StudyData, surv: &Surv, group: &[u32]) -> Option<(f64, usize)> {
    let mut present = group.to_vec();
    present.sort_unstable();
    present.dedup();
    let column = |&level: &u32| {
        let of = |g: &u32| f64::from(u8::from(*g == level));
        (format!("group {level}"), group.iter().map(of).collect())
    };
    let columns: Vec<(String, Vec<f64>)> = present.iter().skip(1).map(column).collect();
    let df = columns.len();
    let design = Design::new(group.len(), columns).ok()?;
    let cox = CoxPh::new().concordance(false);
    let fit: CoxFit = cox
        .fit_clustered(surv, &design.covariates().ok()?, &data.patient)
        .ok()?;
    fit.robust_score_test().map(|statistic| (statistic, df))
}

fn chi_squared_tail(statistic: f64, df: usize) -> f64 {
    use statrs::distribution::{ChiSquared, ContinuousCDF};
    ChiSquared::new(df as f64).map_or(f64::NAN, |law| law.sf(statistic))
}

/// Hazard ratios of the clinical covariates in everybody.
pub(super) fn clinical_model(data: &StudyData, level: f64) -> Result<Vec<HazardRatio>> {
    let design: &Design = match data.clinical.as_ref().or(data.age_sex.as_ref()) {
        Some(design) if !design.names().is_empty() => design,
        _ => return Ok(Vec::new()),
    };
    let settings = CoxPh::new().concordance(false).level(level);
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

#[cfg(test)]
mod tests {
    use super::super::models::ModelKind;
    use super::super::noise::uniform;
    use super::*;

    /// 120 patients, each with so many equal photos.
    fn statistic(photos: usize) -> (bool, f64, f64) {
        let n = 120 * photos;
        let of = |stream: u64| (0..n).map(move |i| uniform(stream, i / photos));
        let risk: Vec<f64> = of(1).collect();
        let time: Vec<f64> = of(2).zip(&risk).map(|(u, r)| -u.ln() / (1.0 + r)).collect();
        let event: Vec<bool> = of(3).map(|u| u > 0.2).collect();
        let data = StudyData {
            surv: Surv::new(&time, &event).unwrap(),
            patient: (0..n).map(|i| (i / photos) as u32).collect(),
            w: None,
            w_plus: None,
            clinical: None,
            age_sex: None,
            condition: None,
            subgroups: vec![],
            diagnosis: None,
        };
        let predictions = Predictions {
            model: ModelKind::FaceW,
            failed: None,
            risk: vec![],
            log_hazard: vec![],
            percentile: risk,
            chosen: vec![],
            noise: 0.0,
            coef: vec![],
        };
        let (figures, _, _) = risk_groups(&data, &predictions, 0.95).unwrap();
        assert_eq!(figures.df, Some(2));
        let (statistic, p) = (figures.chi_squared.unwrap(), figures.p.unwrap());
        (figures.by_patient, statistic, p)
    }

    /// 160 patients of three sites, a few of whom are at the third.
    fn of_sites(third: usize, reference: usize) -> (StudyData, Vec<f64>) {
        let n = 160;
        let time: Vec<f64> = (1..=n).map(|i| f64::from(i as u16)).collect();
        let event: Vec<bool> = (0..n).map(|i| i % 2 == 0).collect();
        let site = |i: usize| match i {
            i if i < third => 2,
            i if i < third + reference => 0,
            _ => 1,
        };
        let is = |k: usize| (0..n).map(|i| f64::from(u8::from(site(i) == k))).collect();
        let (b, c): (Vec<f64>, Vec<f64>) = (is(1), is(2));
        let columns = vec![
            ("siteB".to_owned(), b),
            ("siteC".to_owned(), c.clone()),
            ("age".to_owned(), time.clone()),
        ];
        let of = ["siteB", "siteC"].map(|name| (name.to_owned(), "site".to_owned()));
        let design = Design::new(n, columns).unwrap().made_of(&of.into());
        let data = StudyData {
            surv: Surv::new(&time, &event).unwrap(),
            patient: (0..n).map(|i| i as u32).collect(),
            w: None,
            w_plus: None,
            clinical: Some(design),
            age_sex: None,
            condition: None,
            subgroups: vec![],
            diagnosis: None,
        };
        (data, c)
    }

    #[test]
    fn covariates_tell_no_size_that_is_hidden() {
        let shown = |third, reference| -> Vec<bool> {
            let (data, _) = of_sites(third, reference);
            let found = cohort(&data, &Validation::default()).unwrap().covariates;
            assert!(found.iter().all(|c| c.mean.is_some() == c.sd.is_some()));
            found.iter().map(|c| c.mean.is_some()).collect()
        };
        assert_eq!(shown(40, 60), [true, true, true]);
        // The third is too small, and the second the next smallest: the first is the rest.
        assert_eq!(shown(6, 100), [false, false, true]);
        assert_eq!(shown(6, 60), [false, false, true]);
        // The reference is too small: it is what the others leave.
        assert_eq!(shown(60, 6), [false, false, true]);
        // A column of its own that is 0 or 1.
        let (data, few) = of_sites(6, 60);
        let own = StudyData {
            clinical: Some(Design::new(160, vec![("rare".into(), few)]).unwrap()),
            ..data
        };
        let hidden = hidden(&own, &Validation::default());
        assert_eq!(hidden.get("rare").map(String::as_str), Some("too few"));
    }

    #[test]
    fn the_test_of_risk_groups_counts_patients() {
        let (one, three) = (statistic(1), statistic(3));
        assert!(!one.0 && three.0);
        assert!((three.1 / one.1 - 1.0).abs() < 0.35, "{one:?} {three:?}");
        assert!(one.2 > 0.0 && three.2 > 0.0 && three.2 < 1.0);
    }
}
