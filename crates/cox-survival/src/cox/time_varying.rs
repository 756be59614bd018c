//! Covariates that change with time and events that come again, several rows to a patient: held against
//! sums over patients, each with the value in force at the time.

use crate::test_data::close;
use crate::{Covariates, CoxFit, CoxPh, Surv, Ties};

/// Until `stop`, from the stop before, the covariates are `x`; `event` at its end.
struct Interval {
    stop: f64,
    event: bool,
    x: [f64; 2],
}

/// A patient under observation from `enters` on, out of sight between intervals of a gap.
struct Patient {
    enters: f64,
    intervals: Vec<Interval>,
    /// The interval before which nobody watched, and from when on somebody did again.
    gap: Option<(usize, f64)>,
}

impl Patient {
    fn start(&self, k: usize) -> f64 {
        match self.gap {
            Some((before, again)) if before == k => again,
            _ if k == 0 => self.enters,
            _ => self.intervals[k - 1].stop,
        }
    }

    /// The covariates in force at `t`, if at risk then.
    fn at(&self, t: f64) -> Option<[f64; 2]> {
        let here = |k: &usize| self.start(*k) < t && t <= self.intervals[*k].stop;
        let k = (0..self.intervals.len()).find(here)?;
        Some(self.intervals[k].x)
    }

    fn events(&self) -> impl Iterator<Item = f64> + '_ {
        let events = self.intervals.iter().filter(|i| i.event);
        events.map(|i| i.stop)
    }
}

/// Up to four events to a patient; many at the same times.
fn patients() -> Vec<Patient> {
    let noise = |k: usize| (k * 7919 % 1009) as f64 / 1009.0;
    let patient = |s: usize| {
        let enters = (noise(s) * 3.0).floor();
        let mut stop = enters;
        let intervals: Vec<Interval> = (0..2 + s % 4)
            .map(|k| {
                stop += 1.0 + (noise(31 * s + 7 * k + 5) * 4.0).floor();
                Interval {
                    stop,
                    event: (s + 3 * k) % 5 < 3,
                    x: [noise(s * 13 + k * 101 + 2) * 2.0 - 1.0, (s % 3) as f64],
                }
            })
            .collect();
        let gap = (s % 6 == 5).then(|| (1, intervals[0].stop + 0.5));
        Patient {
            enters,
            intervals,
            gap,
        }
    };
    (0..40).map(patient).collect()
}

fn fit(patients: &[Patient]) -> CoxFit {
    let (mut start, mut stop, mut event, mut x, mut id) = (vec![], vec![], vec![], vec![], vec![]);
    for (s, patient) in patients.iter().enumerate() {
        for (k, interval) in patient.intervals.iter().enumerate() {
            start.push(patient.start(k));
            stop.push(interval.stop);
            event.push(interval.event);
            x.extend(interval.x);
            id.push(s as u32);
        }
    }
    let surv = Surv::builder(&stop, &event).entry(&start).build().unwrap();
    let x = Covariates::from_rows(&x, stop.len(), 2).unwrap();
    let settings = CoxPh::new().ties(Ties::Breslow);
    settings.fit_clustered(&surv, &x, &id).unwrap()
}

/// At one time: events, `S0`, and the mean covariates of those at risk.
struct Moment {
    t: f64,
    events: f64,
    sum: f64,
    mean: [f64; 2],
}

fn hazard(x: [f64; 2], b: &[f64]) -> f64 {
    (x[0] * b[0] + x[1] * b[1]).exp()
}

fn moments(patients: &[Patient], b: &[f64]) -> Vec<Moment> {
    let mut times: Vec<f64> = patients.iter().flat_map(Patient::events).collect();
    times.sort_by(f64::total_cmp);
    let mut out: Vec<Moment> = Vec::new();
    for t in times {
        match out.last_mut() {
            Some(last) if last.t.total_cmp(&t).is_eq() => last.events += 1.0,
            _ => {
                let at_risk: Vec<[f64; 2]> = patients.iter().filter_map(|p| p.at(t)).collect();
                let sum = at_risk.iter().map(|x| hazard(*x, b)).sum::<f64>();
                let mean =
                    |j: usize| at_risk.iter().map(|x| x[j] * hazard(*x, b)).sum::<f64>() / sum;
                out.push(Moment {
                    t,
                    events: 1.0,
                    sum,
                    mean: [mean(0), mean(1)],
                });
            }
        }
    }
    out
}

#[test]
fn recurrent_events_and_changing_covariates_are_sums_over_patients() {
    let patients = patients();
    let again = patients.iter().filter(|p| p.events().count() > 1).count();
    assert!(again > 10, "events do come again");
    let fit = fit(&patients);
    let b = fit.coef();
    let moments = moments(&patients, b);
    // The likelihood, and its slope at the estimate.
    let mut loglik: f64 = moments.iter().map(|m| -m.events * m.sum.ln()).sum();
    let mut slope = [0.0; 2];
    // One influence per patient, and the information from the patients at risk at each event.
    let mut scores = vec![[0.0; 2]; patients.len()];
    let mut information = [[0.0; 2]; 2];
    for (patient, score) in patients.iter().zip(&mut scores) {
        for t in patient.events() {
            let x = patient.at(t).unwrap();
            loglik += hazard(x, b).ln();
            let m = moments.iter().find(|m| m.t.total_cmp(&t).is_eq()).unwrap();
            for j in 0..2 {
                score[j] += x[j] - m.mean[j];
                slope[j] += x[j] - m.mean[j];
            }
        }
        for m in &moments {
            let Some(x) = patient.at(m.t) else { continue };
            let share = m.events * hazard(x, b) / m.sum;
            let apart = [x[0] - m.mean[0], x[1] - m.mean[1]];
            for j in 0..2 {
                score[j] -= share * apart[j];
                for k in 0..2 {
                    information[j][k] += share * apart[j] * apart[k];
                }
            }
        }
    }
    close(fit.loglik(), loglik, 1e-11);
    assert!(slope[0].abs() < 1e-7 && slope[1].abs() < 1e-7, "{slope:?}");
    let [[a, c], [_, d]] = information;
    let determinant = a * d - c * c;
    let inverse = [
        [d / determinant, -c / determinant],
        [-c / determinant, a / determinant],
    ];
    // Lin & Wei: the patients' influences on the coefficients.
    let mut robust = [[0.0; 2]; 2];
    for score in &scores {
        let influence = inverse.map(|row| row[0] * score[0] + row[1] * score[1]);
        for j in 0..2 {
            for k in 0..2 {
                robust[j][k] += influence[j] * influence[k];
            }
        }
    }
    for j in 0..2 {
        close(fit.se()[j], inverse[j][j].sqrt(), 1e-9);
        close(fit.robust_se().unwrap()[j], robust[j][j].sqrt(), 1e-9);
        for k in 0..2 {
            close(fit.variance()[2 * j + k], inverse[j][k], 1e-9);
            close(
                fit.robust_variance().unwrap()[2 * j + k],
                robust[j][k],
                1e-9,
            );
        }
    }
}
