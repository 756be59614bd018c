//! What each patient contributes to the area under a Kaplan-Meier curve: the infinitesimal jackknife
//! of the restricted mean.

use serde::{Deserialize, Serialize};

use crate::life_table::{LifeTable, Sample};
use crate::surv::Surv;

/// Who was at risk when, which is all that an area up to any time needs of the patients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stays(Vec<Stay>);

/// Rows that entered and left between the same times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Stay {
    /// Number of the curve's times up to entry.
    from: usize,
    /// At which of the times they left.
    until: usize,
    event: bool,
    /// Sum of the squared weights.
    squares: f64,
}

impl Stays {
    /// `O(n log n)`.
    pub(crate) fn new(surv: &Surv, sample: &Sample, table: &LifeTable) -> Self {
        let mut stays: Vec<Stay> = Vec::with_capacity(sample.rows.len());
        for until in 0..table.time.len() {
            let first = stays.len();
            for &row in table.leaving(until, sample) {
                let row = row as usize;
                let up_to = |entry: &[f64]| table.time.partition_point(|&t| t <= entry[row]);
                stays.push(Stay {
                    from: surv.entry().map_or(0, up_to),
                    until,
                    event: surv.event()[row],
                    squares: surv.weight(row).powi(2),
                });
            }
            stays[first..].sort_by_key(|stay| (stay.from, stay.event));
        }
        stays.dedup_by(|next, kept| {
            let same = (next.from, next.until, next.event) == (kept.from, kept.until, kept.event);
            if same {
                kept.squares += next.squares;
            }
            same
        });
        Self(stays)
    }

    /// Variance of the area of `S` over `[0, tau]`, `sum_i (w_i d area / d w_i)^2`.
    ///
    /// `right[k]` is the area over `[t_k, tau]` for the times up to `tau`, `n_risk[k]` the weight at risk
    /// and `step[k] = d/(n(n-d))`, 0 where nobody survives. With `c(t) = sum over t_k <= t of step_k right_k`, a patient at risk
    /// from `e` on has the derivative `c(t) - c(e)` as long as it stays, the last of them once it has
    /// left, and `c(t-) - c(e) - right/n` after an event at `t`. `O(n)`.
    pub(crate) fn variance(&self, right: &[f64], n_risk: &[f64], step: &[f64]) -> f64 {
        let upto = right.len();
        let mut sum = Vec::with_capacity(upto + 1);
        sum.push(0.0);
        for (k, area) in right.iter().enumerate() {
            sum.push(sum[k] + step[k] * area);
        }
        let square = |stay: &Stay| {
            let at = |k: usize| sum[k.min(upto)];
            let left = if stay.event && stay.until < upto {
                at(stay.until) - right[stay.until] / n_risk[stay.until]
            } else {
                at(stay.until + 1)
            };
            stay.squares * (left - at(stay.from)).powi(2)
        };
        self.0.iter().map(square).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::test_data::{self, close};
    use crate::{KaplanMeier, KmFit, Surv};

    proptest! {
        #[test]
        fn it_is_the_derivative_of_the_area_in_the_weights(rows in test_data::rows(20), tau in 1..20u8) {
            let tau = f64::from(tau) / 2.0;
            let fit = |rows: &test_data::Rows| KaplanMeier::new().robust(true).fit(&rows.surv()).unwrap();
            let (mean, step) = (fit(&rows), 1e-5);
            for curve in &mean.curves {
                let area = |rows: &test_data::Rows| {
                    let fit = fit(rows);
                    let curve = fit.curves.iter().find(|c| c.name == curve.name);
                    curve.unwrap().rmst(tau).unwrap().mean
                };
                let mut variance = 0.0;
                for i in (0..rows.time.len()).filter(|&i| rows.weights[i] > 0.0) {
                    let (mut up, mut down) = (rows.clone(), rows.clone());
                    up.weights[i] += step;
                    down.weights[i] -= step;
                    let slope = (area(&up) - area(&down)) / (2.0 * step);
                    variance += (rows.weights[i] * slope).powi(2);
                }
                let found = curve.rmst(tau).unwrap().std_err.powi(2);
                prop_assert!((found - variance).abs() < 1e-6, "{found} {variance}");
            }
        }
    }

    #[test]
    fn without_censoring_it_is_the_variance_of_a_mean() {
        let time = [1.0, 2.0, 2.0, 5.0, 7.0];
        let weights = [0.5, 1.5, 1.0, 0.25, 2.0];
        let surv = Surv::builder(&time, &[true; 5]).weights(&weights);
        let fit = KaplanMeier::new().robust(true);
        let fit = fit.fit(&surv.build().unwrap()).unwrap();
        let total: f64 = weights.iter().sum();
        for tau in [0.5, 3.0, 5.0, 6.0, 9.0] {
            let until = time.map(|t| f64::min(t, tau));
            let each = || until.iter().zip(weights);
            let mean = each().map(|(x, w)| w * x).sum::<f64>() / total;
            let squares: f64 = each().map(|(x, w)| (w * (x - mean)).powi(2)).sum();
            let found = fit.curves[0].rmst(tau).unwrap();
            close(found.mean, mean, 1e-14);
            close(found.std_err, squares.sqrt() / total, 1e-14);
        }
        // Twice the weight is not twice the patients, as Greenwood has it.
        let greenwood = KaplanMeier::new().fit(&Surv::new(&time, &[true; 5]).unwrap());
        let greenwood = greenwood.unwrap().curves[0].rmst(6.0).unwrap();
        let doubled = Surv::builder(&time, &[true; 5]).weights(&[2.0; 5]);
        let fit = KaplanMeier::new().robust(true);
        let fit = fit.fit(&doubled.build().unwrap()).unwrap();
        let found = fit.curves[0].rmst(6.0).unwrap();
        close(found.std_err, greenwood.std_err, 1e-14);
        let text = serde_json::to_string(&fit).unwrap();
        let back: KmFit = serde_json::from_str(&text).unwrap();
        assert_eq!(back.curves[0].rmst(6.0).unwrap(), found);
    }
}
