//! Counts at every distinct time, per curve: what all nonparametric estimators start from.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::compensated::Sum;
use crate::error::{Result, check_length};
use crate::sort;
use crate::step::StepFunction;
use crate::surv::Surv;

/// Rows of one curve, weight 0 left out.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) name: String,
    /// Rows by time, ascending.
    pub(crate) rows: Vec<u32>,
    /// Rows by entry, ascending; without left truncation empty.
    pub(crate) by_entry: Vec<u32>,
}

/// Weighted counts at the distinct times (of events and of censoring), ascending.
#[derive(Debug, Clone, Default)]
pub(crate) struct LifeTable {
    pub(crate) time: Vec<f64>,
    pub(crate) n_risk: Vec<f64>,
    pub(crate) n_event: Vec<f64>,
    pub(crate) n_censor: Vec<f64>,
    /// `n_risk - n_event`, exactly 0 when everybody at risk has the event.
    pub(crate) survivors: Vec<f64>,
    /// Unweighted number of events.
    pub(crate) events: Vec<u32>,
    /// Where in `Sample::rows` each time starts.
    pub(crate) start: Vec<usize>,
}

/// Labels as codes into their sorted distinct names.
pub(crate) fn encode<L: Ord + Display>(labels: &[L]) -> (Vec<u32>, Vec<String>) {
    let mut levels: Vec<&L> = labels.iter().collect();
    levels.sort_unstable();
    levels.dedup();
    let codes = labels
        .iter()
        .map(|label| levels.binary_search(&label).unwrap_or_default() as u32)
        .collect();
    (codes, levels.iter().map(ToString::to_string).collect())
}

/// One sample per stratum, in the order of the strata.
pub(crate) fn by_stratum(surv: &Surv) -> Vec<Sample> {
    let names = surv.stratum_names();
    collect(surv, |row| surv.stratum()[row] as usize, names)
}

/// One sample per label, or per label and stratum where `surv` has strata; in that order.
pub(crate) fn by_label<L: Ord + Display>(surv: &Surv, labels: &[L]) -> Result<Vec<Sample>> {
    check_length("labels", labels.len(), surv.n())?;
    let (codes, levels) = encode(labels);
    let strata = surv.stratum_names();
    let names: Vec<String> = levels
        .iter()
        .flat_map(|level| {
            strata.iter().map(move |stratum| match strata.len() {
                1 => level.clone(),
                _ => format!("{level}, {stratum}"),
            })
        })
        .collect();
    let code = |row: usize| codes[row] as usize * strata.len() + surv.stratum()[row] as usize;
    Ok(collect(surv, code, &names))
}

fn collect(surv: &Surv, code: impl Fn(usize) -> usize, names: &[String]) -> Vec<Sample> {
    let rows = (0..surv.n() as u32).filter(|&i| surv.weight(i as usize) > 0.0);
    let mut order: Vec<u32> = rows.collect();
    sort::ascending(&mut order, surv.time());
    let mut samples: BTreeMap<usize, Sample> = BTreeMap::new();
    for &i in &order {
        let k = code(i as usize);
        let sample = samples.entry(k).or_insert_with(|| Sample {
            name: names[k].clone(),
            rows: vec![],
            by_entry: vec![],
        });
        sample.rows.push(i);
    }
    let mut samples: Vec<Sample> = samples.into_values().collect();
    if let Some(entry) = surv.entry() {
        for sample in &mut samples {
            sample.by_entry.clone_from(&sample.rows);
            sort::ascending(&mut sample.by_entry, entry);
        }
    }
    samples
}

impl LifeTable {
    /// Needs `sample.rows` sorted. `O(n)`.
    ///
    /// Walks from the latest time to the earliest, so that without left truncation every risk set
    /// is a sum of positive terms. With it, rows that enter at or after the time are subtracted;
    /// their number decides when the remainder is exactly nothing.
    pub(crate) fn new(surv: &Surv, sample: &Sample) -> Self {
        let time_of = |k: usize| surv.time()[sample.rows[k] as usize];
        let mut table = Self::default();
        let mut end = sample.rows.len();
        let mut late = sample.by_entry.len();
        let (mut later, mut not_entered) = (Sum::default(), Sum::default());
        let mut later_rows = 0;
        while end > 0 {
            let time = time_of(end - 1);
            let start = sample.rows[..end]
                .partition_point(|&i| surv.time()[i as usize].total_cmp(&time).is_lt());
            if let Some(entry) = surv.entry() {
                while late > 0 && entry[sample.by_entry[late - 1] as usize] >= time {
                    late -= 1;
                    not_entered.add(surv.weight(sample.by_entry[late] as usize));
                }
            }
            let not_entered_rows = sample.by_entry.len() - late;
            let survivors = if later_rows == not_entered_rows {
                0.0
            } else {
                later.value() - not_entered.value()
            };
            let (mut events, mut n_event, mut n_censor) = (0, Sum::default(), Sum::default());
            for &i in &sample.rows[start..end] {
                let weight = surv.weight(i as usize);
                later.add(weight);
                if surv.event()[i as usize] {
                    events += 1;
                    n_event.add(weight);
                } else {
                    n_censor.add(weight);
                }
            }
            later_rows += end - start;
            table.time.push(time);
            table.n_event.push(n_event.value());
            table.n_censor.push(n_censor.value());
            table.survivors.push(survivors + n_censor.value());
            table
                .n_risk
                .push(survivors + n_censor.value() + n_event.value());
            table.events.push(events);
            table.start.push(start);
            end = start;
        }
        table.time.reverse();
        table.n_risk.reverse();
        table.n_event.reverse();
        table.n_censor.reverse();
        table.survivors.reverse();
        table.events.reverse();
        table.start.reverse();
        table
    }

    /// Rows that leave at time number `k`.
    pub(crate) fn leaving<'a>(&self, k: usize, sample: &'a Sample) -> &'a [u32] {
        let end = self.start.get(k + 1).copied();
        &sample.rows[self.start[k]..end.unwrap_or(sample.rows.len())]
    }
}

/// Weight that has entered up to each entry time, where the data are left-truncated.
pub(crate) fn entered(surv: &Surv, sample: &Sample) -> Option<StepFunction> {
    let entry = surv.entry()?;
    let (mut x, mut y): (Vec<f64>, Vec<f64>) = (vec![], vec![]);
    let mut sum = Sum::default();
    for &i in &sample.by_entry {
        let at = entry[i as usize];
        sum.add(surv.weight(i as usize));
        if x.last().is_none_or(|last| last.total_cmp(&at).is_ne()) {
            x.push(at);
            y.push(0.0);
        }
        if let Some(last) = y.last_mut() {
            *last = sum.value();
        }
    }
    StepFunction::new(x, y, 0.0).ok()
}
