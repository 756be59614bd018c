//! Uno's concordance where censoring depends on covariates.

use rayon::prelude::*;

use super::censoring_model::{Bound, CensoringModel};
use super::concordance::Concordance;
use super::harrell::check_score;
use super::pairs::{Counted, Totals};
use super::uno::Uno;
use crate::error::{Error, Result};
use crate::surv::{Group, Surv};

impl Uno {
    /// Uno's C with the weights of a censoring model, a Cox model among them: a pair compared at `t` is
    /// weighted by `1 / (G(t | x_i) G(t | x_j))`, the probability that both were under observation.
    ///
    /// `G` is taken just before `t`, or at it after [`CensoringModel::at_event`]
    /// ([`Uno::censoring_at_event`] plays no part). With Kaplan-Meier weights without strata it is
    /// [`Uno::fit_with_training`]. The variance takes `G` as known, as after
    /// [`Uno::known_censoring`]; [`Bootstrap`](crate::Bootstrap) with the model fitted anew counts its
    /// estimation. Cost: events times rows.
    ///
    /// T. Gerds, M. Kattan, M. Schumacher and C. Yu, Estimating a time-dependent concordance index for
    /// survival prediction models with covariate dependent censoring, Statistics in Medicine 32, 2013.
    ///
    /// ```
    /// use cox_survival::{CensoringModel, Covariates, Surv, Uno};
    /// let time = [2.0, 4.0, 5.0, 8.0, 3.0, 6.0, 7.0];
    /// let surv = Surv::new(&time, &[true, true, false, true, false, true, false])?;
    /// let age = [61.0, 52.0, 70.0, 48.0, 66.0, 55.0, 44.0];
    /// let x = Covariates::from_columns(&age, 7, 1)?;
    /// let censoring = CensoringModel::cox(&surv, &x, &x)?;
    /// let score = [1.9, 0.3, 0.8, -1.0, 0.1, 0.4, 0.2];
    /// let c = Uno::new().tau(6.0).fit_with_censoring(&surv, &score, &censoring)?;
    /// assert!(c.concordance() > 0.5 && c.std_error().is_some());
    /// # Ok::<(), cox_survival::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoCensoringWeight`] for a row whose `G` has come down to 0 or is not known, which a
    /// smaller [`Uno::tau`] helps; [`Error::Undefined`] for left-truncated data and where no two patients
    /// can be compared.
    pub fn fit_with_censoring(
        &self,
        surv: &Surv,
        score: &[f64],
        censoring: &CensoringModel,
    ) -> Result<Concordance> {
        check_score(surv, score)?;
        let tau = self.limit()?;
        let bound = censoring.bind(surv)?;
        let sign = if self.is_protective() { -1.0 } else { 1.0 };
        let judged = Judged {
            surv,
            score,
            sign,
            bound,
        };
        let sorted = &surv.sorted;
        let strata = sorted.strata.iter();
        let groups: Vec<(usize, &Group)> = strata
            .flat_map(|s| {
                sorted.groups[s.groups.clone()]
                    .iter()
                    .map(|g| (s.positions.start, g))
            })
            .filter(|(_, group)| group.time <= tau)
            .collect();
        let mut counted = Counted {
            totals: Totals {
                // The ranks have no variance where each pair has a weight of its own.
                information: f64::NAN,
                ..Totals::default()
            },
            own: vec![(0.0, 0.0); surv.n()],
            others: vec![(0.0, 0.0); surv.n()],
        };
        // A few event times at once: each has figures for everybody at risk.
        for groups in groups.chunks(TIMES_AT_ONCE) {
            let parts: Vec<Part> = groups
                .par_iter()
                .map(|&(start, group)| judged.group(start, group))
                .collect::<Result<_>>()?;
            // In order, so that the number of threads plays no part.
            for (part, (start, group)) in parts.iter().zip(groups) {
                part.add_to(&mut counted, *start, group);
            }
        }
        if counted.totals.comparable() <= 0.0 {
            return Err(Error::Undefined {
                what: "the concordance",
                reason: "no two patients are comparable",
            });
        }
        let dfbeta = self.wants_variance().then(|| counted.dfbeta(surv));
        Ok(Concordance::new(surv.n(), &counted.totals, dfbeta, None))
    }
}

/// Event times counted in parallel.
const TIMES_AT_ONCE: usize = 64;

fn add(to: &mut (f64, f64), more: (f64, f64)) {
    to.0 += more.0;
    to.1 += more.1;
}

/// What is counted, and by which weights.
struct Judged<'a> {
    surv: &'a Surv,
    score: &'a [f64],
    sign: f64,
    bound: Bound<'a>,
}

/// The pairs of one event time.
#[derive(Default)]
struct Part {
    concordant: f64,
    discordant: f64,
    tied_score: f64,
    tied_time: f64,
    tied_both: f64,
    /// Of each event, and of everybody else at risk: (concordant + half of those tied, comparable).
    own: Vec<(f64, f64)>,
    others: Vec<(f64, f64)>,
}

impl Part {
    fn add_to(&self, counted: &mut Counted, start: usize, group: &Group) {
        counted.totals.concordant += self.concordant;
        counted.totals.discordant += self.discordant;
        counted.totals.tied_score += self.tied_score;
        counted.totals.tied_time += self.tied_time;
        counted.totals.tied_both += self.tied_both;
        for (at, more) in group.events.clone().zip(&self.own) {
            add(&mut counted.own[at], *more);
        }
        let others = (start..group.events.start).chain(group.events.end..group.upto);
        for (at, more) in others.zip(&self.others) {
            add(&mut counted.others[at], *more);
        }
    }
}

impl Judged<'_> {
    fn group(&self, start: usize, group: &Group) -> Result<Part> {
        let order = &self.surv.sorted.order;
        let rows = |positions: std::ops::Range<usize>| order[positions].iter().map(|&i| i as usize);
        let others: Vec<usize> = rows(start..group.events.start)
            .chain(rows(group.events.end..group.upto))
            .collect();
        let events: Vec<usize> = rows(group.events.clone()).collect();
        let mut part = Part {
            own: vec![(0.0, 0.0); events.len()],
            others: vec![(0.0, 0.0); others.len()],
            ..Part::default()
        };
        let used = |i: &usize| self.surv.weight(*i) > 0.0;
        let weigh = |rows: &[usize]| -> Result<Vec<f64>> {
            // Who has no weight is in no pair.
            let weight = |i: &usize| {
                if used(i) {
                    self.bound.weight_at_event(*i, group.time)
                } else {
                    Ok(0.0)
                }
            };
            rows.iter().map(weight).collect()
        };
        let inverse = match weigh(&events) {
            // Nobody but the events: no pair is comparable, and their weights need not exist.
            Err(_) if !others.iter().any(used) => return Ok(part),
            found => found?,
        };
        let inverse_others = weigh(&others)?;
        for (a, &i) in events.iter().enumerate() {
            let w = self.surv.weight(i);
            for (b, &j) in others.iter().enumerate() {
                let v = inverse[a] * inverse_others[b];
                let (own, other) = (self.surv.weight(j) * v, w * v);
                let pair = w * own;
                let ahead = self.sign * (self.score[i] - self.score[j]);
                let share = if ahead > 0.0 {
                    part.concordant += pair;
                    1.0
                } else if ahead < 0.0 {
                    part.discordant += pair;
                    0.0
                } else {
                    part.tied_score += pair;
                    0.5
                };
                add(&mut part.own[a], (share * own, own));
                add(&mut part.others[b], (share * other, other));
            }
            for (b, &k) in events.iter().enumerate().take(a) {
                let pair = w * self.surv.weight(k) * inverse[a] * inverse[b];
                if self.score[i].total_cmp(&self.score[k]).is_eq() {
                    part.tied_both += pair;
                } else {
                    part.tied_time += pair;
                }
            }
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Covariates;
    use crate::test_data::close;

    /// Ties in time, score and status; weights; `strata` of two.
    fn data(n: usize, strata: bool) -> (Surv, Vec<f64>, Vec<f64>) {
        let noise = |k: usize| (k * 7919 % 1009) as f64 / 1009.0;
        let time: Vec<f64> = (0..n)
            .map(|i| 1.0 + (noise(i + 1) * 12.0).floor())
            .collect();
        let event: Vec<bool> = (0..n).map(|i| i * 5 % 7 < 4).collect();
        let weights: Vec<f64> = (0..n).map(|i| (i % 4) as f64 * 0.5).collect();
        let stratum: Vec<usize> = (0..n).map(|i| if strata { i % 2 } else { 0 }).collect();
        let surv = Surv::builder(&time, &event)
            .weights(&weights)
            .strata(&stratum);
        let score = (0..n).map(|i| (noise(i * 3 + 2) * 9.0).floor()).collect();
        let x = (0..n).map(|i| noise(i * 11 + 5)).collect();
        (surv.build().unwrap(), score, x)
    }

    #[test]
    fn marginal_weights_are_uno_s() {
        let (surv, score, _) = data(70, false);
        for (at, tau) in [(false, 9.0), (true, 9.0), (false, 11.0)] {
            let (mut uno, mut model) = (
                Uno::new().tau(tau).known_censoring(),
                CensoringModel::kaplan_meier(&surv).unwrap(),
            );
            if at {
                (uno, model) = (uno.censoring_at_event(), model.at_event());
            }
            let want = uno.fit(&surv, &score).unwrap();
            let found = uno.fit_with_censoring(&surv, &score, &model).unwrap();
            close(found.concordance(), want.concordance(), 1e-12);
            close(found.std_error().unwrap(), want.std_error().unwrap(), 1e-12);
            close(found.concordant(), want.concordant(), 1e-11);
            close(found.tied_score(), want.tied_score(), 1e-11);
            close(found.tied_time(), want.tied_time(), 1e-11);
            close(found.tied_both(), want.tied_both(), 1e-11);
        }
    }

    #[test]
    fn weights_that_depend_on_covariates_are_those_of_the_definition() {
        let (surv, score, x) = data(80, true);
        let x = Covariates::from_columns(&x, 80, 1).unwrap();
        let model = CensoringModel::cox(&surv, &x, &x).unwrap().at_event();
        let found = Uno::new().tau(10.0).protective();
        let found = found.fit_with_censoring(&surv, &score, &model).unwrap();
        let (mut concordant, mut comparable) = (0.0, 0.0);
        // The same of the pairs of every row.
        let (mut won, mut all) = ([0.0; 80], [0.0; 80]);
        let (time, event) = (surv.time(), surv.event());
        for i in (0..80).filter(|&i| event[i] && time[i] <= 10.0) {
            for j in 0..80 {
                let later = time[j] > time[i] || (time[j] >= time[i] && !event[j]);
                if surv.stratum()[i] != surv.stratum()[j] || !later {
                    continue;
                }
                let g = |row| model.probability(&surv, row, time[i]).unwrap();
                let pair = surv.weight(i) * surv.weight(j) / (g(i) * g(j));
                let share = match score[i].total_cmp(&score[j]) {
                    std::cmp::Ordering::Less => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Greater => 0.0,
                };
                comparable += pair;
                concordant += pair * share;
                for row in [i, j] {
                    all[row] += pair;
                    won[row] += pair * share;
                }
            }
        }
        let c = concordant / comparable;
        close(found.concordance(), c, 1e-12);
        let dfbeta = found.dfbeta().unwrap();
        assert_eq!(dfbeta.len(), 80);
        assert!(dfbeta.iter().any(|d| d.abs() > 1e-3));
        for row in 0..80 {
            let want = (won[row] - c * all[row]) / comparable;
            close(dfbeta[row], want, 1e-12);
        }
        let std_error = dfbeta.iter().map(|d| d * d).sum::<f64>().sqrt();
        close(found.std_error().unwrap(), std_error, 1e-12);
        // The jackknife: influences sum to nothing.
        let sum: f64 = dfbeta.iter().sum();
        assert!(sum.abs() < 1e-12, "{sum}");
        let text = serde_json::to_string(&found).unwrap();
        let back: Concordance = serde_json::from_str(&text).unwrap();
        close(back.concordance(), found.concordance(), 0.0);
    }

    #[test]
    fn a_curve_at_zero_names_the_row() {
        let surv = Surv::new(&[1.0, 2.0, 2.5, 3.0], &[true, false, true, true]).unwrap();
        let training = Surv::new(&[1.0, 2.0, 2.0], &[true, false, false]).unwrap();
        let model = CensoringModel::kaplan_meier(&training).unwrap();
        let found = Uno::new().fit_with_censoring(&surv, &[4.0, 3.0, 2.0, 1.0], &model);
        assert!(
            matches!(found, Err(Error::NoCensoringWeight { row: 2, .. })),
            "{found:?}"
        );
        let cut = Uno::new()
            .tau(2.0)
            .fit_with_censoring(&surv, &[4.0, 3.0, 2.0, 1.0], &model);
        close(cut.unwrap().concordance(), 1.0, 0.0);
    }
}
