//! Models of the probability of not yet being censored: what inverse weights are made of.

use super::censoring::CensoringCurve;
use crate::CoxPh;
use crate::covariates::Covariates;
use crate::error::{Error, Result, check_length};
use crate::surv::Surv;

/// The probability `G(t)` of not being censored up to `t`, estimated on some patients and used to
/// weight others (or the same).
///
/// By default a patient with the event at `T` is weighted by `1 / G(T-)`, the probability of having
/// been under observation just before; events come before censorings at the same time. Patients
/// still at risk at an evaluation time `t` are weighted by `1 / G(t)`. With
/// [`CensoringModel::at_event`] events are weighted by `1 / G(T)`, as scikit-survival does; the two
/// differ only where an event and a censoring are tied.
///
/// Strata of the training data give one curve each, matched by name; without strata one curve
/// serves all.
///
/// ```
/// use cox_survival::{CensoringModel, Surv};
/// let surv = Surv::new(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, true])?;
/// let censoring = CensoringModel::kaplan_meier(&surv)?;
/// assert!((censoring.probability(&surv, 0, 2.0)? - 2.0 / 3.0).abs() < 1e-15);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CensoringModel {
    strata: Vec<(String, Curve)>,
    /// `exp(x' beta)` of the patients to be weighted, in a Cox model.
    hazard_ratio: Option<Vec<f64>>,
    at_event: bool,
}

/// One stratum's part.
#[derive(Debug, Clone)]
struct Curve {
    kind: Kind,
    /// The last time at which anybody was under observation.
    last: f64,
}

#[derive(Debug, Clone)]
enum Kind {
    KaplanMeier(CensoringCurve),
    /// Cumulative hazard of being censored at the means of the covariates: times, and its value
    /// from each on.
    Cox(Vec<f64>, Vec<f64>),
}

impl CensoringModel {
    /// The Kaplan-Meier curve of the censoring times of `training` (case weights count): censoring
    /// does not depend on covariates, strata aside.
    ///
    /// # Errors
    /// [`Error::Undefined`] for left-truncated data.
    pub fn kaplan_meier(training: &Surv) -> Result<Self> {
        refuse_entry(training)?;
        let weight = |p: usize| training.weight(training.sorted.order[p] as usize);
        let strata = training.sorted.strata.iter().zip(training.stratum_names());
        let strata = strata.map(|(stratum, name)| {
            let curve = CensoringCurve::new(training, weight, stratum);
            (name.clone(), Kind::KaplanMeier(curve))
        });
        Ok(Self::new(training, strata.collect(), None))
    }

    /// A Cox model (Efron ties) of the censoring hazard, fitted to `training` with covariates
    /// `training_x`, for weighting the patients whose covariates are `x`:
    /// `G(t | x) = exp(-H(t) exp(x' beta))`.
    ///
    /// At tied times events leave before the censored, as in the Kaplan-Meier model. Without any
    /// censoring all weights are 1.
    ///
    /// # Errors
    /// Those of [`CoxPh::fit`], and [`Error::Undefined`] for left-truncated data.
    pub fn cox(training: &Surv, training_x: &Covariates<'_>, x: &Covariates<'_>) -> Result<Self> {
        refuse_entry(training)?;
        training_x.check(training.n())?;
        x.check(x.n())?;
        let censored = |i: usize| !training.event()[i] && training.weight(i) > 0.0;
        let mut hazards = vec![(vec![], vec![]); training.stratum_names().len()];
        let mut ratio = vec![1.0; x.n()];
        if (0..training.n()).any(censored) {
            let time = events_first(training);
            // Whoever has the event before anybody else leaves is never at risk of being censored.
            let rows: Vec<usize> = (0..training.n()).filter(|&i| time[i] >= 0.0).collect();
            let pick = |of: &dyn Fn(usize) -> f64| rows.iter().map(|&i| of(i)).collect::<Vec<_>>();
            let (time, weights) = (pick(&|i| time[i]), pick(&|i| training.weight(i)));
            let event: Vec<bool> = rows.iter().map(|&i| !training.event()[i]).collect();
            let stratum: Vec<u32> = rows.iter().map(|&i| training.stratum()[i]).collect();
            let reversed = Surv::builder(&time, &event)
                .weights(&weights)
                .strata(&stratum)
                .timefix(false)
                .build()?;
            let (mean, centred) = centre(training_x, None)?;
            let columns = training_x.p();
            let centred = Covariates::from_rows(&centred, training.n(), columns)?;
            let centred = centred.with_names(training_x.names())?;
            let fit = CoxPh::new()
                .concordance(false)
                .fit(&reversed, &centred.select(&rows)?)?;
            for fitted in fit.baseline_hazard() {
                // Named by its code above.
                let place = fitted.stratum.parse().ok();
                if let Some(place) = place.and_then(|s: usize| hazards.get_mut(s)) {
                    *place = (fitted.time.clone(), fitted.hazard.clone());
                }
            }
            let (_, judged) = centre(x, Some(mean))?;
            let x = Covariates::from_rows(&judged, x.n(), x.p())?;
            ratio = fit.predict(&x)?.into_iter().map(f64::exp).collect();
        }
        let names = training.stratum_names().iter().cloned();
        let strata = names.zip(
            hazards
                .into_iter()
                .map(|(time, hazard)| Kind::Cox(time, hazard)),
        );
        let strata = strata.collect();
        Ok(Self::new(training, strata, Some(ratio)))
    }

    fn new(training: &Surv, strata: Vec<(String, Kind)>, hazard_ratio: Option<Vec<f64>>) -> Self {
        let mut last = vec![0.0f64; strata.len()];
        for (i, &s) in training.stratum().iter().enumerate() {
            if training.weight(i) > 0.0 {
                last[s as usize] = last[s as usize].max(training.time()[i]);
            }
        }
        let with_end = |((name, kind), last)| (name, Curve { kind, last });
        Self {
            strata: strata.into_iter().zip(last).map(with_end).collect(),
            hazard_ratio,
            at_event: false,
        }
    }

    /// Weights an event at `T` by `1 / G(T)` instead of `1 / G(T-)`, as scikit-survival does.
    pub fn at_event(mut self) -> Self {
        self.at_event = true;
        self
    }

    /// `G(t)` of a row of `surv`, the patients to be weighted.
    pub fn probability(&self, surv: &Surv, row: usize, t: f64) -> Result<f64> {
        let bound = self.bind(surv)?;
        if row >= surv.n() {
            return Err(Error::Setting {
                name: "row",
                value: row.to_string(),
                expected: "must be below the number of rows",
            });
        }
        Ok(bound.probability(row, t, true))
    }

    /// The model for the rows of `surv`: strata matched, lengths checked.
    pub(super) fn bind<'a>(&'a self, surv: &'a Surv) -> Result<Bound<'a>> {
        refuse_entry(surv)?;
        if let Some(ratio) = &self.hazard_ratio {
            check_length(
                "covariates of the censoring model (rows)",
                ratio.len(),
                surv.n(),
            )?;
        }
        let find = |name: &String| match &self.strata[..] {
            [only] if only.0.is_empty() => Some(&only.1),
            all => all.iter().find(|(known, _)| known == name).map(|(_, c)| c),
        };
        let curves: Option<Vec<&Curve>> = surv.stratum_names().iter().map(find).collect();
        Ok(Bound {
            model: self,
            surv,
            curves: curves.ok_or(Error::Undefined {
                what: "a censoring weight",
                reason: "a stratum is absent from the training data",
            })?,
        })
    }
}

fn refuse_entry(surv: &Surv) -> Result<()> {
    match surv.entry() {
        None => Ok(()),
        Some(_) => Err(Error::Undefined {
            what: "a censoring weight",
            reason: "it does not account for left truncation",
        }),
    }
}

/// The columns less their means (or less `mean`), row-major: a hazard at covariates 0 is then one
/// of patients that exist.
fn centre(x: &Covariates<'_>, mean: Option<Vec<f64>>) -> Result<(Vec<f64>, Vec<f64>)> {
    let (n, p) = (x.n(), x.p());
    let mean = mean.unwrap_or_else(|| {
        let sum = |j: usize| x.column(j).iter().map(|v| v / n as f64).sum();
        (0..p).map(sum).collect()
    });
    check_length("covariates of the censoring model (columns)", p, mean.len())?;
    let row = |i: usize| mean.iter().enumerate().map(move |(j, m)| x.get(i, j) - m);
    let centred = (0..n).flat_map(row).collect();
    Ok((mean, centred))
}

/// Times at which nobody has the event and is censored at once: events are moved to the middle of
/// the gap before them, those at the very first time to -1.
fn events_first(surv: &Surv) -> Vec<f64> {
    let mut distinct = surv.time().to_vec();
    distinct.sort_unstable_by(f64::total_cmp);
    distinct.dedup_by(|a, b| a.total_cmp(b).is_eq());
    let moved = |(&t, &event): (&f64, &bool)| {
        if !event {
            return t;
        }
        match distinct.partition_point(|&u| u < t) {
            0 => -1.0,
            k => distinct[k - 1] + (t - distinct[k - 1]) / 2.0,
        }
    };
    surv.time().iter().zip(surv.event()).map(moved).collect()
}

/// A censoring model for given patients.
pub(super) struct Bound<'a> {
    model: &'a CensoringModel,
    surv: &'a Surv,
    curves: Vec<&'a Curve>,
}

impl Bound<'_> {
    /// `G(t)`, or `G(t-)` unless `at`.
    fn probability(&self, row: usize, t: f64, at: bool) -> f64 {
        match &self.curves[self.surv.stratum()[row] as usize].kind {
            Kind::KaplanMeier(curve) => curve.value(curve.steps(t, at)),
            Kind::Cox(time, hazard) => {
                let steps = time.partition_point(|&u| if at { u <= t } else { u < t });
                let ratio = self.model.hazard_ratio.as_ref().map_or(1.0, |r| r[row]);
                match steps {
                    0 => 1.0,
                    k => (-hazard[k - 1] * ratio).exp(),
                }
            }
        }
    }

    /// `1 / G` at the row's own time, for a row with the event.
    pub(super) fn event_weight(&self, row: usize) -> Result<f64> {
        let t = self.surv.time()[row];
        self.inverse(row, t, self.model.at_event)
    }

    /// `1 / G` of any row at the time of another's event, at the same side of it as for the event itself.
    pub(super) fn weight_at_event(&self, row: usize, t: f64) -> Result<f64> {
        self.inverse(row, t, self.model.at_event)
    }

    /// `1 / G(t)` for a row still at risk at `t`.
    pub(super) fn at_risk_weight(&self, row: usize, t: f64) -> Result<f64> {
        self.inverse(row, t, true)
    }

    fn inverse(&self, row: usize, time: f64, at: bool) -> Result<f64> {
        let missing = |reason| Error::NoCensoringWeight { row, time, reason };
        if time > self.curves[self.surv.stratum()[row] as usize].last {
            return Err(missing("the training data do not reach that far"));
        }
        let g = self.probability(row, time, at);
        if g > 0.0 {
            Ok(1.0 / g)
        } else {
            Err(missing("the censoring curve has come down to 0"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::close;

    #[test]
    fn a_cox_model_without_an_effect_is_the_marginal_curve() {
        // Tied event and censoring at 2 and at 4; x is balanced within every risk set.
        let time = [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0, 5.0, 5.0];
        let event = [
            true, true, true, true, false, false, true, true, false, false, true, true,
        ];
        let surv = Surv::new(&time, &event).unwrap();
        let x: Vec<f64> = (0..12).map(|i| f64::from(i % 2)).collect();
        let x = Covariates::from_rows(&x, 12, 1).unwrap();
        let cox = CensoringModel::cox(&surv, &x, &x).unwrap();
        // At 2: two censored out of eight once the events have left; Efron: 1/8 + 1/7.
        close(
            cox.probability(&surv, 3, 2.0).unwrap(),
            (-1.0f64 / 8.0 - 1.0 / 7.0).exp(),
            1e-12,
        );
        let km = CensoringModel::kaplan_meier(&surv).unwrap();
        close(km.probability(&surv, 3, 2.0).unwrap(), 6.0 / 8.0, 1e-15);
        let bound = km.bind(&surv).unwrap();
        close(bound.event_weight(2).unwrap(), 1.0, 1e-15);
        let at = km.clone().at_event();
        close(
            at.bind(&surv).unwrap().event_weight(2).unwrap(),
            8.0 / 6.0,
            1e-15,
        );
    }

    #[test]
    fn without_censoring_all_weights_are_one() {
        let surv = Surv::new(&[1.0, 2.0, 3.0], &[true; 3]).unwrap();
        let x = [0.1, 0.2, 0.3];
        let x = Covariates::from_rows(&x, 3, 1).unwrap();
        let cox = CensoringModel::cox(&surv, &x, &x).unwrap();
        close(cox.probability(&surv, 1, 2.5).unwrap(), 1.0, 0.0);
    }

    #[test]
    fn what_has_no_weight_says_where() {
        let train = Surv::new(&[1.0, 2.0, 3.0], &[true, true, false]).unwrap();
        let test = Surv::new(&[1.0, 3.0, 5.0], &[true, false, true]).unwrap();
        let km = CensoringModel::kaplan_meier(&train).unwrap();
        let bound = km.bind(&test).unwrap();
        assert!(matches!(
            bound.event_weight(2),
            Err(Error::NoCensoringWeight { row: 2, .. })
        ));
        assert!(matches!(
            bound.at_risk_weight(1, 3.0),
            Err(Error::NoCensoringWeight { row: 1, .. })
        ));
        let cut = Surv::builder(&[1.0, 2.0], &[true, true])
            .entry(&[0.0, 0.5])
            .build()
            .unwrap();
        assert!(matches!(
            CensoringModel::kaplan_meier(&cut),
            Err(Error::Undefined { .. })
        ));
        let strata = Surv::builder(&[1.0, 2.0], &[true, true])
            .strata(&["a", "b"])
            .build()
            .unwrap();
        let km = CensoringModel::kaplan_meier(&strata).unwrap();
        assert!(matches!(
            km.probability(&test, 0, 1.0),
            Err(Error::Undefined { .. })
        ));
    }
}
