//! The risk sets at all distinct times, censored ones included, and the censoring curve.

use crate::surv::{Stratum, Surv};

/// One distinct time of one stratum.
pub(super) struct TimeBlock {
    pub(super) time: f64,
    /// The event group at this time, if there is one.
    pub(super) group: Option<usize>,
    /// Weight at risk just before this time.
    pub(super) at_risk: f64,
    /// Weight of the events.
    pub(super) events: f64,
    /// Weight of the censored rows.
    pub(super) censored: f64,
}

impl TimeBlock {
    /// Weight at risk of being censored: events at the same time come first.
    pub(super) fn at_risk_of_censoring(&self) -> f64 {
        (self.at_risk - self.events).max(0.0)
    }

    /// The factor `1 - c / (n - d)` of the censoring curve.
    pub(super) fn censoring_factor(&self) -> f64 {
        let at_risk = self.at_risk_of_censoring();
        if self.censored <= 0.0 {
            1.0
        } else if self.censored >= at_risk * (1.0 - 1e-12) {
            // All of them, but for rounding in the running sums.
            0.0
        } else {
            1.0 - self.censored / at_risk
        }
    }
}

/// The distinct times of `stratum`, latest first. `weight` is by position. Cost `O(n)`.
pub(super) fn time_blocks(
    surv: &Surv,
    weight: impl Fn(usize) -> f64,
    stratum: &Stratum,
) -> Vec<TimeBlock> {
    let sorted = &surv.sorted;
    let time = |position: usize| surv.time()[sorted.order[position] as usize];
    let end = stratum.positions.end;
    let mut blocks = vec![];
    let (mut start, mut group) = (stratum.positions.start, stratum.groups.start);
    let (mut left, mut out) = (0.0, stratum.positions.start);
    while start < end {
        let now = time(start);
        let mut upto = start + 1;
        while upto < end && time(upto).total_cmp(&now).is_eq() {
            upto += 1;
        }
        let has_events = group < stratum.groups.end && sorted.groups[group].upto == upto;
        let split = if has_events {
            sorted.groups[group].events.end
        } else {
            start
        };
        let events: f64 = (start..split).map(&weight).sum();
        let censored: f64 = (split..upto).map(&weight).sum();
        left += events + censored;
        if let (Some(entry), Some(entered)) = (surv.entry(), &sorted.entry) {
            while out < end {
                let position = entered.order[out] as usize;
                if entry[sorted.order[position] as usize] < now {
                    break;
                }
                left -= weight(position);
                out += 1;
            }
        }
        blocks.push(TimeBlock {
            time: now,
            group: has_events.then_some(group),
            at_risk: left,
            events,
            censored,
        });
        group += usize::from(has_events);
        start = upto;
    }
    blocks
}

/// Kaplan-Meier curve of the censoring times of one stratum, `G(t) = P(censored after t)`.
#[derive(Debug, Clone)]
pub(super) struct CensoringCurve {
    /// Distinct censoring times, ascending.
    time: Vec<f64>,
    /// `value[k]` is the curve after the first `k` of them.
    value: Vec<f64>,
    /// At each of them, the weight at risk of censoring and the weight censored.
    at_risk: Vec<(f64, f64)>,
    /// The last time at which anybody was under observation.
    last: f64,
}

impl CensoringCurve {
    /// Cost `O(n)`. `weight` is by position.
    pub(super) fn new(surv: &Surv, weight: impl Fn(usize) -> f64, stratum: &Stratum) -> Self {
        let mut curve = Self {
            time: vec![],
            value: vec![1.0],
            at_risk: vec![],
            last: 0.0,
        };
        let mut g = 1.0;
        for block in time_blocks(surv, weight, stratum).iter().rev() {
            if block.events + block.censored > 0.0 {
                curve.last = block.time;
            }
            if block.censored > 0.0 {
                g *= block.censoring_factor();
                curve.time.push(block.time);
                curve.value.push(g);
                curve
                    .at_risk
                    .push((block.at_risk_of_censoring(), block.censored));
            }
        }
        curve
    }

    /// Number of steps.
    pub(super) fn len(&self) -> usize {
        self.time.len()
    }

    /// Where follow-up ends, and with it what the curve knows.
    pub(super) fn last(&self) -> f64 {
        self.last
    }

    /// How many censoring times lie before `time`, or at it as well.
    pub(super) fn steps(&self, time: f64, at: bool) -> usize {
        self.time
            .partition_point(|&u| if at { u <= time } else { u < time })
    }

    /// The curve after so many of its steps.
    pub(super) fn value(&self, steps: usize) -> f64 {
        self.value[steps]
    }

    /// Derivatives of `sum_i q_i ln G_i` in the case weights of the rows behind the curve, where
    /// `load[k]` is the sum of the `q_i` whose `G_i` is the curve after `k` steps. Returns, by
    /// number of steps, the part of a row that stayed at risk through so many of them, and, by
    /// step, the part of a row censored there.
    ///
    /// Step `u` is `ln(1 - c/R)`: the derivative in a weight at risk is `c / (R (R - c))`, less
    /// `1 / (R - c)` for a row censored there.
    pub(super) fn derivatives(&self, load: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let steps = self.time.len();
        let mut after = vec![0.0; steps];
        let mut sum = 0.0;
        for k in (0..steps).rev() {
            sum += load[k + 1];
            after[k] = sum;
        }
        let mut stayed = vec![0.0; steps + 1];
        let mut left = vec![0.0; steps];
        for (k, &(risk, censored)) in self.at_risk.iter().enumerate() {
            // Where the curve reaches 0 nothing that is used lies beyond.
            let survivors = risk - censored;
            let (gain, loss) = if self.value[k + 1] > 0.0 {
                (
                    after[k] * censored / (risk * survivors),
                    after[k] / survivors,
                )
            } else {
                (0.0, 0.0)
            };
            stayed[k + 1] = stayed[k] + gain;
            left[k] = -loss;
        }
        (stayed, left)
    }
}

impl AsRef<CensoringCurve> for CensoringCurve {
    fn as_ref(&self) -> &CensoringCurve {
        self
    }
}
