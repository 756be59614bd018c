//! Quantiles of values that carry case weights.

use crate::surv::Surv;

/// Values with their case weights, sorted.
pub(super) struct Weighted {
    value: Vec<f64>,
    /// Weight up to and including each value.
    upto: Vec<f64>,
    mean: f64,
}

impl Weighted {
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
            let k = self.upto.partition_point(|&u| u <= place);
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
    }
}
