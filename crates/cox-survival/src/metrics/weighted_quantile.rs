//! Quantiles of values that carry case weights.

use crate::surv::Surv;

/// Values with their case weights, sorted.
pub(super) struct Weighted {
    value: Vec<f64>,
    /// Number of values up to and including each.
    upto: Vec<f64>,
    mean: f64,
}

impl Weighted {
    /// `rows` have positive weight. Whole weights are numbers of patients; others only say how the
    /// rows compare, and are brought to a sum of as many as there are rows.
    pub(super) fn new(surv: &Surv, rows: &[usize], values: &[f64]) -> Self {
        let mut rows = rows.to_vec();
        rows.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let (mut sum, mut total) = (0.0, 0.0);
        let mut upto = Vec::with_capacity(rows.len());
        for &i in &rows {
            total += surv.weight(i);
            sum += surv.weight(i) * values[i];
            upto.push(total);
        }
        if rows.iter().any(|&i| surv.weight(i).fract() > 0.0) {
            let scale = rows.len() as f64 / total;
            for u in &mut upto {
                *u *= scale;
            }
        }
        Self {
            value: rows.iter().map(|&i| values[i]).collect(),
            upto,
            mean: sum / total,
        }
    }

    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// R's default quantile (type 7), each value counted as often as its weight says.
    pub(super) fn quantile(&self, p: f64) -> f64 {
        let total = self.upto.last().copied().unwrap_or(0.0);
        let place = p * (total - 1.0).max(0.0);
        let at = |place: f64| {
            // Exact sums of whole numbers are further apart than this.
            let number = (place + 1.0) * (1.0 - 1e-12);
            let k = self.upto.partition_point(|&u| u < number);
            self.value[k.min(self.value.len() - 1)]
        };
        // A place that is whole but for rounding is whole, as in R.
        let whole = (place + 4.0 * f64::EPSILON * place).floor();
        let part = (place - whole).max(0.0);
        let (low, high) = (at(whole), at(whole + 1.0));
        low + part * (high - low)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_data::close;

    proptest! {
        #[test]
        fn whole_weights_repeat_values(values in prop::collection::vec((0..20i32, 1..4u8), 1..20), p in 0.0..=1.0f64) {
            let n = values.len().max(2);
            let value = |i: usize| f64::from(values[i % values.len()].0);
            let weight: Vec<f64> = (0..n).map(|i| f64::from(values[i % values.len()].1)).collect();
            let x: Vec<f64> = (0..n).map(value).collect();
            let surv = Surv::builder(&vec![1.0; n], &vec![true; n]).weights(&weight).build().unwrap();
            let rows: Vec<usize> = (0..n).collect();
            let mut long: Vec<f64> = rows.iter().flat_map(|&i| vec![x[i]; usize::from(values[i % values.len()].1)]).collect();
            long.sort_by(f64::total_cmp);
            let place = p * (long.len() - 1) as f64;
            let low = (0..long.len()).take_while(|&k| k as f64 <= place).count() - 1;
            let want = long[low] + (place - low as f64) * (long[(low + 1).min(long.len() - 1)] - long[low]);
            close(Weighted::new(&surv, &rows, &x).quantile(p), want, 1e-9);
        }

        #[test]
        fn only_the_ratio_of_other_weights_counts(values in prop::collection::vec((0..20i32, 1..40u8), 2..20), p in 0.0..=1.0f64) {
            let n = values.len();
            let x: Vec<f64> = values.iter().map(|v| f64::from(v.0)).collect();
            let rows: Vec<usize> = (0..n).collect();
            let quantile = |p: f64, weight: &dyn Fn(usize) -> f64| {
                let weights: Vec<f64> = (0..n).map(weight).collect();
                let surv = Surv::builder(&vec![1.0; n], &vec![true; n]).weights(&weights).build().unwrap();
                Weighted::new(&surv, &rows, &x).quantile(p)
            };
            // Equal weights are no weights.
            close(quantile(p, &|_| 1.0 / 7.0), quantile(p, &|_| 1.0), 1e-9);
            let some = |i: usize| f64::from(values[i].1) / 64.0 + 1.0 / 128.0;
            close(quantile(p, &|i| 1e-3 * some(i)), quantile(p, &some), 1e-9);
            close(quantile(1.0, &some), x.iter().copied().fold(0.0, f64::max), 0.0);
            prop_assert!(quantile(p, &some) <= quantile((p + 0.1).min(1.0), &some) + 1e-9);
        }
    }

    #[test]
    fn weights_that_sum_to_1_keep_the_quantiles_apart() {
        let x: Vec<f64> = (0..11u8).map(f64::from).collect();
        let surv = Surv::builder(&[1.0; 11], &[true; 11])
            .weights(&[1.0 / 11.0; 11])
            .build()
            .unwrap();
        let all: Vec<usize> = (0..11).collect();
        let weighted = Weighted::new(&surv, &all, &x);
        for (p, want) in [(0.0, 0.0), (0.5, 5.0), (0.9, 9.0), (0.95, 9.5), (1.0, 10.0)] {
            close(weighted.quantile(p), want, 1e-9);
        }
    }
}
