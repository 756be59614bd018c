//! The risk sets at all distinct times, censored ones included.

use crate::surv::{Stratum, Surv};

/// One distinct time of one stratum.
pub(super) struct TimeBlock {
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
