//! Events against controls from their risk sets: the batches of Kvamme, Borgan & Scheel (2019), JMLR 20:129.
//!
//! A row of weight `w` stands for `w` patients: a control is drawn in proportion to the weights of those at
//! risk, and an event's term counts `w` times. Unweighted it is their sampling.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::surv::Surv;

/// All events with the positions of their risk sets.
pub(super) struct Cases<'a> {
    surv: &'a Surv,
    all: Vec<Case>,
    /// Weight of the positions before each, and of all; nothing without weights.
    before: Vec<f64>,
    /// Of an event.
    mean_weight: f64,
}

/// An event.
#[derive(Debug, Clone)]
pub(super) struct Case {
    position: usize,
    at_risk: Range<usize>,
}

impl<'a> Cases<'a> {
    pub(super) fn new(surv: &'a Surv) -> Self {
        let sorted = &surv.sorted;
        let mut all = Vec::with_capacity(surv.n_events());
        for stratum in &sorted.strata {
            for group in &sorted.groups[stratum.groups.clone()] {
                let at_risk = stratum.positions.start..group.upto;
                all.extend(group.events.clone().map(|position| Case {
                    position,
                    at_risk: at_risk.clone(),
                }));
            }
        }
        let mut before = Vec::new();
        if let Some(weights) = surv.weights() {
            let mut sum = 0.0;
            before.push(sum);
            before.extend(sorted.order.iter().map(|&row| {
                sum += weights[row as usize];
                sum
            }));
        }
        let weight = |case: &Case| surv.weight(sorted.order[case.position] as usize);
        let mean_weight = all.iter().map(weight).sum::<f64>() / all.len() as f64;
        Self {
            surv,
            all,
            before,
            mean_weight,
        }
    }

    pub(super) fn shuffle(&mut self, rng: &mut ChaCha8Rng) {
        self.all.shuffle(rng);
    }

    /// So many events at a time.
    pub(super) fn batches(&self, size: usize) -> impl Iterator<Item = &[Case]> {
        self.all.chunks(size)
    }

    /// Each event's row and those of its controls, event after event.
    pub(super) fn rows(&self, batch: &[Case], controls: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let row = |position: usize| self.surv.sorted.order[position] as usize;
        let mut rows = Vec::with_capacity(batch.len() * (controls + 1));
        for case in batch {
            rows.push(row(case.position));
            for _ in 0..controls {
                rows.push(row(self.draw(&case.at_risk, rng)));
            }
        }
        rows
    }

    /// A position at risk.
    fn draw(&self, at_risk: &Range<usize>, rng: &mut ChaCha8Rng) -> usize {
        if self.before.is_empty() {
            return rng.random_range(at_risk.clone());
        }
        let (low, high) = (self.before[at_risk.start], self.before[at_risk.end]);
        let at = low + (high - low) * rng.random::<f64>();
        // The last position before which there is no more weight than that; one of weight 0 is never it,
        // unless rounding puts `at` at the very end.
        let found = self.before.partition_point(|&sum| sum <= at);
        let found = found.clamp(at_risk.start + 1, at_risk.end) - 1;
        let weight = |p: usize| self.before[p + 1] - self.before[p];
        (at_risk.start..=found)
            .rev()
            .find(|&p| weight(p) > 0.0)
            .unwrap_or(found)
    }

    /// Mean over the events of `w log sum_k exp(risk_k - risk_case)`, `k` the case and its controls, in units
    /// of the mean weight of all events; `risk` is `[events, 1 + controls]`, the event first.
    pub(super) fn loss(&self, batch: &[Case], risk: Tensor<2>) -> Tensor<1> {
        let own = risk.clone().slice([0..batch.len(), 0..1]);
        let top = risk.clone().max_dim(1).detach();
        let sum = (risk - top.clone()).exp().sum_dim(1).log() + top;
        let terms = sum - own;
        let Some(weights) = self.surv.weights() else {
            return terms.mean();
        };
        let weight = |case: &Case| {
            let row = self.surv.sorted.order[case.position] as usize;
            (weights[row] / self.mean_weight) as f32
        };
        let data = TensorData::new(batch.iter().map(weight).collect(), [batch.len(), 1]);
        (terms.clone() * Tensor::from_data(data, &terms.device())).mean()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::SeedableRng;

    use super::*;

    /// Two strata; the third row of the first has weight 0.
    fn weighted() -> Surv {
        let time = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0];
        let event = [false, true, true, false, true, true, true];
        Surv::builder(&time, &event)
            .weights(&[1.0, 4.0, 0.0, 2.0, 3.0, 1.0, 5.0])
            .strata(&[0, 0, 0, 0, 0, 1, 1])
            .build()
            .unwrap()
    }

    #[test]
    fn controls_are_drawn_by_weight_from_the_risk_set() {
        let surv = weighted();
        let cases = Cases::new(&surv);
        let rows = |case: &Case| cases.surv.sorted.order[case.position] as usize;
        let events: Vec<usize> = cases.all.iter().map(rows).collect();
        assert_eq!(events, [1, 4, 5, 6], "row 2 has weight 0");
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // The risk set of row 4 is its stratum, of weight 10.
        let drawn = cases.rows(&cases.all[1..2], 20_000, &mut rng);
        assert_eq!(drawn[0], 4);
        for (row, weight) in [1.0, 4.0, 0.0, 2.0, 3.0, 0.0, 0.0].into_iter().enumerate() {
            let count = drawn[1..].iter().filter(|&&r| r == row).count();
            let share = count as f64 / 20_000.0;
            assert!((share - weight / 10.0).abs() < 0.015, "{row}: {share}");
        }
        // That of row 5 is itself alone.
        assert!(
            cases
                .rows(&cases.all[2..3], 50, &mut rng)
                .iter()
                .all(|&row| row == 5)
        );
    }

    #[test]
    fn the_loss_of_weights_is_that_of_the_rows_written_out() {
        let surv = weighted();
        let cases = Cases::new(&surv);
        let device = Device::flex();
        let risk = [[0.3f32, -0.2], [1.0, 0.4], [0.1, 0.1], [-2.0, 0.7]];
        let term = |[own, other]: [f32; 2]| f64::from((1.0 + (other - own).exp()).ln());
        let weights = [4.0, 3.0, 1.0, 5.0];
        let want: f64 = risk
            .into_iter()
            .zip(weights)
            .map(|(r, w)| w * term(r))
            .sum();
        let loss = cases.loss(&cases.all, Tensor::from_data(risk, &device));
        let loss = f64::from(loss.into_scalar::<f32>());
        assert!((loss - want / 13.0).abs() < 1e-6, "{loss} {want}");
    }
}
