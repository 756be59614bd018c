//! Calibration intercept and slope of the risks predicted for a horizon.

use cox_survival::{Covariates, CoxPh, Surv};

/// Risks are moved into `[FLOOR, 1 - FLOOR]` before their complementary log-log is taken.
const FLOOR: f64 = 1e-7;

/// What it takes to set predicted risks right; absent where it is not defined.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Recalibration {
    /// `log(observed / predicted)` of the cumulative hazard up to the horizon.
    pub(super) intercept: Option<f64>,
    /// Coefficient of the predictions' complementary log-log.
    pub(super) slope: Option<f64>,
}

/// Of the risks `risk` of the event by `time`. With `x_i = log(-log(1 - risk_i))`, follow-up ended at
/// `time` and late entry respected, the model is Cox's:
///
/// ```text
/// slope:      h_i(t) = h0(t) exp(b x_i),  b
/// intercept:  h_i(t) = h0(t) exp(x_i),    log H0(time)
/// ```
///
/// `exp(x_i)` is the cumulative hazard that was predicted, so `H0(time)` is 1 where predictions are
/// right, whatever the shape of the hazard before.
pub(super) fn recalibrate(surv: &Surv, risk: &[f64], time: f64) -> Recalibration {
    let transform = |p: &f64| (-(-p.clamp(FLOOR, 1.0 - FLOOR)).ln_1p()).ln();
    let x: Vec<f64> = risk.iter().map(transform).collect();
    Recalibration {
        intercept: Some(hazard_at_one(surv, &x, time).ln()).filter(|a| a.is_finite()),
        slope: slope(surv, &x, time),
    }
}

fn slope(surv: &Surv, x: &[f64], time: f64) -> Option<f64> {
    let entry = |i: usize| surv.entry().map_or(f64::NEG_INFINITY, |e| e[i]);
    let rows: Vec<usize> = (0..surv.n()).filter(|&i| entry(i) < time).collect();
    let of = |values: &[f64]| rows.iter().map(|&i| values[i]).collect::<Vec<f64>>();
    let until: Vec<f64> = rows.iter().map(|&i| surv.time()[i].min(time)).collect();
    let event: Vec<bool> = rows
        .iter()
        .map(|&i| surv.event()[i] && surv.time()[i] <= time)
        .collect();
    let entry = surv.entry().map(of);
    let mut builder = Surv::builder(&until, &event).timefix(false);
    if let Some(entry) = &entry {
        builder = builder.entry(entry);
    }
    let x = of(x);
    let covariates = Covariates::from_columns(&x, x.len(), 1).ok()?;
    let settings = CoxPh::new().concordance(false);
    let fit = settings.fit(&builder.build().ok()?, &covariates).ok()?;
    let sound = fit.se().first().is_some_and(|se| *se > 0.0);
    fit.coef()
        .first()
        .copied()
        .filter(|b| sound && b.is_finite())
}

/// Breslow's cumulative hazard at `time` at `x = 0`, the coefficient of `x` held at 1, ties as Efron's.
fn hazard_at_one(surv: &Surv, x: &[f64], time: f64) -> f64 {
    let latest_first = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
        order
    };
    let leaving = latest_first(surv.time());
    let entry = surv.entry().unwrap_or_default();
    let mut entering = latest_first(entry).into_iter().peekable();
    let (mut at_risk, mut hazard) = (0.0, 0.0);
    for same in leaving.chunk_by(|&a, &b| surv.time()[a].total_cmp(&surv.time()[b]).is_eq()) {
        let now = surv.time()[same[0]];
        at_risk += same.iter().map(|&i| x[i].exp()).sum::<f64>();
        while let Some(i) = entering.next_if(|&i| entry[i] >= now) {
            at_risk -= x[i].exp();
        }
        let events = same.iter().filter(|&&i| surv.event()[i]);
        let (count, sum) = events.fold((0, 0.0), |(k, sum), &i| (k + 1, sum + x[i].exp()));
        if now <= time {
            for l in 0..count {
                hazard += 1.0 / (at_risk - f64::from(l) / f64::from(count) * sum);
            }
        }
    }
    hazard
}

#[cfg(test)]
mod tests {
    use super::super::noise::uniform;
    use super::*;

    /// Exponential times whose hazards are known, and the risks that follow from them.
    fn exponential(n: usize) -> (Surv, Vec<f64>) {
        let hazard: Vec<f64> = (0..n).map(|i| 0.1 + uniform(1, i)).collect();
        let all = (0..n).map(|i| -uniform(2, i).ln() / hazard[i]);
        let (time, event): (Vec<f64>, Vec<bool>) = all.map(|t| (t.min(3.0), t < 3.0)).unzip();
        (Surv::new(&time, &event).unwrap(), hazard)
    }

    fn risks(hazard: &[f64], of: impl Fn(f64) -> f64) -> Vec<f64> {
        let risk = |h: &f64| 1.0 - (-of(h * 2.0)).exp();
        hazard.iter().map(risk).collect()
    }

    #[test]
    fn right_risks_need_nothing_and_wrong_ones_what_was_done_to_them() {
        let (surv, hazard) = exponential(6000);
        let right = recalibrate(&surv, &risks(&hazard, |h| h), 2.0);
        let (a, b) = (right.intercept.unwrap(), right.slope.unwrap());
        assert!(a.abs() < 0.06 && (b - 1.0).abs() < 0.1, "{a} {b}");
        // Half the hazard predicted: the intercept is log 2 more and the slope is the same.
        let low = recalibrate(&surv, &risks(&hazard, |h| h / 2.0), 2.0);
        assert!((low.intercept.unwrap() - a - 2f64.ln()).abs() < 1e-6);
        assert!((low.slope.unwrap() - b).abs() < 1e-6);
        // Log hazards twice as far apart: half the slope.
        let far = recalibrate(&surv, &risks(&hazard, |h| h * h), 2.0);
        assert!((far.slope.unwrap() - b / 2.0).abs() < 1e-3);
    }

    /// Twin: the Cox model with the coefficient fixed at 1.
    #[test]
    fn the_intercept_is_the_baseline_of_a_fixed_model() {
        let of = |stream: u64| (0..90).map(move |i| uniform(stream, i));
        let time: Vec<f64> = of(1).map(|u| (u * 12.0).ceil() + 1.0).collect();
        let entry: Vec<f64> = of(2).zip(&time).map(|(u, t)| u * 0.8 * t).collect();
        let event: Vec<bool> = of(3).map(|u| u > 0.3).collect();
        let x: Vec<f64> = of(4).map(|u| u - 1.0).collect();
        for entered in [false, true] {
            let mut builder = Surv::builder(&time, &event);
            if entered {
                builder = builder.entry(&entry);
            }
            let surv = builder.build().unwrap();
            let columns = Covariates::from_columns(&x, 90, 1).unwrap();
            let columns = columns.with_names(["x"]).unwrap();
            let fit = CoxPh::new().fix("x", 1.0).concordance(false);
            let fit = fit.fit(&surv, &columns).unwrap();
            let twin = fit.baseline_hazard()[0].at(6.0);
            let own = hazard_at_one(&surv, &x, 6.0);
            assert!((own / twin - 1.0).abs() < 1e-10, "{own} {twin}");
        }
    }

    #[test]
    fn one_risk_for_all_has_an_intercept_and_no_slope() {
        let (surv, _) = exponential(200);
        let one = recalibrate(&surv, &[0.5; 200], 2.0);
        assert!(one.intercept.is_some() && one.slope.is_none());
        // Nothing has happened yet.
        assert_eq!(
            recalibrate(&surv, &[0.5; 200], 1e-9),
            Recalibration::default()
        );
    }
}
