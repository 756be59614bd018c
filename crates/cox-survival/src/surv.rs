//! The outcome: checked once, sorted once, relied on by every kernel.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::Range;

use crate::error::{Error, Result, check_finite, check_length};
use crate::sort;

/// Times closer than this, times the larger of 1 and their mean, are one time (R's `timefix`).
pub(crate) const TIME_TOLERANCE: f64 = 1.490_116_119_384_765_6e-8;

/// Right-censored survival data, optionally left-truncated, stratified and weighted.
///
/// Building it checks everything and sorts the rows once: by stratum, then by time from the
/// latest to the earliest, so that risk sets are prefixes and their sums are running sums.
///
/// ```
/// use cox_survival::Surv;
/// let surv = Surv::new(&[5.0, 3.0, 3.0, 8.0], &[true, false, true, true])?;
/// assert_eq!((surv.n(), surv.n_events()), (4, 3));
///
/// let surv = Surv::builder(&[5.0, 3.0, 3.0, 8.0], &[true, false, true, true])
///     .entry(&[0.0, 1.0, 0.0, 4.0])
///     .strata(&["north", "south", "north", "south"])
///     .weights(&[1.0, 2.0, 1.0, 0.5])
///     .build()?;
/// assert_eq!(surv.stratum_names(), ["north", "south"]);
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Surv {
    time: Vec<f64>,
    event: Vec<bool>,
    entry: Option<Vec<f64>>,
    weights: Option<Vec<f64>>,
    stratum: Vec<u32>,
    stratum_names: Vec<String>,
    n_events: usize,
    pub(crate) sorted: Sorted,
}

/// The sorted view. "Position" is a place in `order`; "row" is a place in the user's data.
#[derive(Debug, Clone)]
pub(crate) struct Sorted {
    /// Position -> row: by stratum, time descending, events before censored at equal times.
    pub(crate) order: Vec<u32>,
    /// Strata with their positions and their event groups.
    pub(crate) strata: Vec<Stratum>,
    /// Distinct event times, stratum after stratum, time descending.
    pub(crate) groups: Vec<Group>,
    /// Position -> the first group in whose risk set it may be (groups up to the end of the
    /// stratum have earlier times and hold it too, entry aside).
    pub(crate) first_group: Vec<u32>,
    /// Left truncation, when present.
    pub(crate) entry: Option<EntryOrder>,
}

#[derive(Debug, Clone)]
pub(crate) struct Stratum {
    pub(crate) positions: Range<usize>,
    pub(crate) groups: Range<usize>,
}

/// The events of one stratum at one time (only rows with positive weight).
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) time: f64,
    /// Positions of the events.
    pub(crate) events: Range<usize>,
    /// Positions from the stratum's start to here have `time >= self.time`.
    pub(crate) upto: usize,
    /// The first so many of the stratum's entry order have `entry >= self.time`: not yet at risk.
    pub(crate) not_entered: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct EntryOrder {
    /// Positions by stratum, entry descending.
    pub(crate) order: Vec<u32>,
    /// Position -> the first group at or before whose time the row has not yet entered.
    pub(crate) last_group: Vec<u32>,
}

impl Surv {
    /// Times and events only. See [`Surv::builder`] for entry, strata and weights.
    pub fn new(time: &[f64], event: &[bool]) -> Result<Self> {
        Self::builder(time, event).build()
    }

    /// Starts from times (`>= 0`) and event indicators (`false`: censored).
    pub fn builder<'a>(time: &'a [f64], event: &'a [bool]) -> SurvBuilder<'a> {
        SurvBuilder {
            time,
            event,
            entry: None,
            weights: None,
            strata: None,
            timefix: true,
        }
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.time.len()
    }

    /// Number of rows with positive weight: those that take part in anything.
    pub fn n_used(&self) -> usize {
        self.weights
            .as_ref()
            .map_or(self.n(), |w| w.iter().filter(|&&w| w > 0.0).count())
    }

    /// Number of rows with an event and positive weight.
    pub fn n_events(&self) -> usize {
        self.n_events
    }

    /// Times in input order (after merging times that differ by rounding, see
    /// [`SurvBuilder::timefix`]).
    pub fn time(&self) -> &[f64] {
        &self.time
    }

    /// Event indicators in input order.
    pub fn event(&self) -> &[bool] {
        &self.event
    }

    /// Entry times in input order, if the data are left-truncated.
    pub fn entry(&self) -> Option<&[f64]> {
        self.entry.as_deref()
    }

    /// Case weights in input order, if there are any.
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// Weight of a row (1 without weights).
    #[inline]
    pub fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |w| w[row])
    }

    /// Stratum of every row, as an index into [`Surv::stratum_names`].
    pub fn stratum(&self) -> &[u32] {
        &self.stratum
    }

    /// Names of the strata in sorted order; one empty name without strata.
    pub fn stratum_names(&self) -> &[String] {
        &self.stratum_names
    }

    /// The outcome of the rows `rows`, in that order; a row may be named several times
    /// (bootstrap). Times are not merged again, so that ties stay what they are in the whole.
    pub fn subset(&self, rows: &[usize]) -> Result<Self> {
        if let Some(&row) = rows.iter().find(|&&row| row >= self.n()) {
            return Err(Error::Setting {
                name: "row",
                value: row.to_string(),
                expected: "must be below the number of rows",
            });
        }
        let pick = |v: &[f64]| rows.iter().map(|&i| v[i]).collect::<Vec<_>>();
        let surv = Self {
            time: pick(&self.time),
            event: rows.iter().map(|&i| self.event[i]).collect(),
            entry: self.entry.as_deref().map(pick),
            weights: self.weights.as_deref().map(pick),
            stratum: rows.iter().map(|&i| self.stratum[i]).collect(),
            stratum_names: self.stratum_names.clone(),
            n_events: 0,
            sorted: Sorted::empty(),
        };
        surv.finish(None)
    }

    /// Counts and sorts what was checked; `ascending` are the rows by time if that is known.
    fn finish(mut self, ascending: Option<Vec<u32>>) -> Result<Self> {
        if self.n() < 2 {
            return Err(Error::TooFewRows { n: self.n() });
        }
        if self.n() >= u32::MAX as usize {
            return Err(Error::TooManyRows { n: self.n() });
        }
        self.n_events = (0..self.n())
            .filter(|&i| self.event[i] && self.weight(i) > 0.0)
            .count();
        let ascending = ascending.unwrap_or_else(|| {
            let mut rows: Vec<u32> = (0..self.n() as u32).collect();
            sort::ascending(&mut rows, &self.time);
            rows
        });
        self.sorted = Sorted::new(&self, &ascending);
        if self.sorted.groups.is_empty() {
            return Err(Error::NoEvents);
        }
        Ok(self)
    }
}

/// Collects the parts of a [`Surv`]; nothing is checked before [`SurvBuilder::build`].
#[derive(Debug, Clone)]
pub struct SurvBuilder<'a> {
    time: &'a [f64],
    event: &'a [bool],
    entry: Option<&'a [f64]>,
    weights: Option<&'a [f64]>,
    strata: Option<(Vec<u32>, Vec<String>)>,
    timefix: bool,
}

impl<'a> SurvBuilder<'a> {
    /// Entry times (left truncation, or the start of a counting-process interval): a row is at
    /// risk at times `t` with `entry < t <= time`.
    pub fn entry(mut self, entry: &'a [f64]) -> Self {
        self.entry = Some(entry);
        self
    }

    /// Case weights, `>= 0`. A row of weight 0 is as if it were absent: it is at risk nowhere and
    /// counted nowhere but in [`Surv::n`] (R's `coxph` refuses such rows).
    pub fn weights(mut self, weights: &'a [f64]) -> Self {
        self.weights = Some(weights);
        self
    }

    /// Stratum labels; strata are ordered by label.
    pub fn strata<L: Ord + Display>(mut self, labels: &[L]) -> Self {
        let mut levels: Vec<&L> = labels.iter().collect();
        levels.sort_unstable();
        levels.dedup();
        let codes = labels
            .iter()
            .map(|label| levels.binary_search(&label).unwrap_or_default() as u32)
            .collect();
        self.strata = Some((codes, levels.iter().map(ToString::to_string).collect()));
        self
    }

    /// The strata that rows of `surv` have there, in the order they have there (rebuilt from their
    /// names, stratum 10 would come before 2); strata without a row are left out.
    pub(crate) fn strata_of(mut self, surv: &Surv, rows: impl Iterator<Item = usize>) -> Self {
        let mut codes: Vec<u32> = rows.map(|row| surv.stratum[row]).collect();
        let mut new = vec![None; surv.stratum_names.len()];
        for &code in &codes {
            new[code as usize] = Some(0);
        }
        for (k, code) in new.iter_mut().flatten().enumerate() {
            *code = k as u32;
        }
        for code in &mut codes {
            *code = new[*code as usize].unwrap_or_default();
        }
        let named = surv.stratum_names.iter().zip(&new);
        let names = named.filter(|(_, code)| code.is_some());
        self.strata = Some((codes, names.map(|(name, _)| name.clone()).collect()));
        self
    }

    /// Whether times that differ only by rounding are merged, as R's `survival` does by default.
    /// On by default.
    ///
    /// Entry and exit times are sorted together. Neighbours at most `1.5e-8 * max(1, m)` apart,
    /// with `m` the mean of the absolute distinct times, are one time: the earliest of their run. Rows
    /// of weight 0 play no part in it and follow the others. The tolerance is therefore absolute (`1.5e-8`) where times are of the order of 1 or below:
    /// switch this off for times whose natural unit is so small, or choose a smaller unit.
    pub fn timefix(mut self, timefix: bool) -> Self {
        self.timefix = timefix;
        self
    }

    /// Checks everything and sorts.
    pub fn build(self) -> Result<Surv> {
        let n = self.time.len();
        check_length("event", self.event.len(), n)?;
        check_finite("time", self.time)?;
        if let Some(row) = self.time.iter().position(|&t| t < 0.0) {
            return Err(Error::NegativeTime {
                row,
                value: self.time[row],
            });
        }
        if let Some(weights) = self.weights {
            check_length("weights", weights.len(), n)?;
            check_finite("weights", weights)?;
            if let Some(row) = weights.iter().position(|&w| w < 0.0) {
                return Err(Error::NegativeWeight {
                    row,
                    value: weights[row],
                });
            }
        }
        if let Some(entry) = self.entry {
            check_length("entry", entry.len(), n)?;
            check_finite("entry", entry)?;
        }
        let (stratum, stratum_names) = match self.strata {
            None => (vec![0; n], vec![String::new()]),
            Some((codes, names)) => {
                check_length("strata", codes.len(), n)?;
                (codes, names)
            }
        };
        // Adding 0 turns -0 into 0: they are one time, of which the total order makes two.
        let positive_zero = |times: &[f64]| times.iter().map(|t| t + 0.0).collect::<Vec<f64>>();
        let mut time = positive_zero(self.time);
        let mut entry = self.entry.map(positive_zero);
        let ascending = self
            .timefix
            .then(|| merge_close_times(&mut time, entry.as_deref_mut(), self.weights));
        if let Some(entry) = &entry
            && let Some(row) = (0..n).find(|&i| entry[i] >= time[i])
        {
            return Err(Error::EntryNotBeforeTime {
                row,
                entry: entry[row],
                time: time[row],
            });
        }
        Surv {
            time,
            event: self.event.to_vec(),
            entry,
            weights: self.weights.map(<[f64]>::to_vec),
            stratum,
            stratum_names,
            n_events: 0,
            sorted: Sorted::empty(),
        }
        .finish(ascending)
    }
}

/// Replaces each run of times whose neighbours lie within the tolerance by the run's first;
/// returns the rows by time, ascending. Rows of weight 0 take part in no run, but follow one that
/// they lie in.
fn merge_close_times(
    time: &mut [f64],
    entry: Option<&mut [f64]>,
    weights: Option<&[f64]>,
) -> Vec<u32> {
    let n = time.len();
    let mut all: Vec<f64> = time.to_vec();
    if let Some(entry) = &entry {
        all.extend_from_slice(entry);
    }
    let mut index: Vec<u32> = (0..all.len() as u32).collect();
    sort::ascending(&mut index, &all);
    let ascending: Vec<f64> = index.iter().map(|&i| all[i as usize]).collect();
    // Entry times come after the times of leaving.
    let counts = |i: u32| weights.is_none_or(|w| w[i as usize % n] > 0.0);
    let counted: Cow<'_, [f64]> = if weights.is_none() {
        Cow::Borrowed(&ascending)
    } else {
        let both = index.iter().zip(&ascending);
        both.filter(|(i, _)| counts(**i)).map(|(_, t)| *t).collect()
    };
    let distinct = || counted.chunk_by(|a, b| a.total_cmp(b).is_eq());
    let count = distinct().count() as f64;
    // Divided before the sum, which could overflow.
    let mean: f64 = distinct().map(|same| same[0].abs() / count).sum();
    let tolerance = TIME_TOLERANCE * mean.max(1.0);
    let (mut first, mut previous) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    let mut merged = false;
    for (&i, &t) in index.iter().zip(&ascending) {
        let weighs = counts(i);
        if t - previous > tolerance {
            if weighs {
                first = t;
            }
        } else if t > first {
            all[i as usize] = first;
            merged = true;
        }
        if weighs {
            previous = t;
        }
    }
    if merged {
        time.copy_from_slice(&all[..n]);
        if let Some(entry) = entry {
            entry.copy_from_slice(&all[n..]);
        }
    }
    index.retain(|&i| (i as usize) < n);
    index
}

impl Sorted {
    fn empty() -> Self {
        Self {
            order: vec![],
            strata: vec![],
            groups: vec![],
            first_group: vec![],
            entry: None,
        }
    }

    /// Values by row, put by position.
    pub(crate) fn by_position(&self, by_row: &[f64]) -> Vec<f64> {
        self.order.iter().map(|&i| by_row[i as usize]).collect()
    }

    /// Positions at risk at an event time, found one by one: `O(n)`.
    pub(crate) fn at_risk(&self, g: usize) -> impl Iterator<Item = usize> + '_ {
        let s = self.strata.partition_point(|s| s.groups.end <= g);
        let start = self.strata[s].positions.start;
        (start..self.groups[g].upto).filter(move |&i| {
            let entry = self.entry.as_ref();
            entry.is_none_or(|entry| entry.last_group[i] as usize > g)
        })
    }

    fn new(surv: &Surv, ascending: &[u32]) -> Self {
        let n = surv.n();
        let is_event = |i: u32| surv.event[i as usize] && surv.weight(i as usize) > 0.0;
        let order = latest_first(ascending, &surv.time, is_event);
        let order = by_stratum(order, &surv.stratum, surv.stratum_names.len());
        let times: Vec<f64> = order.iter().map(|&i| surv.time[i as usize]).collect();

        let mut strata = Vec::with_capacity(surv.stratum_names.len());
        let mut groups = Vec::with_capacity(surv.n_events);
        let mut start = 0;
        for s in 0..surv.stratum_names.len() {
            let here = |&&i: &&u32| surv.stratum[i as usize] == s as u32;
            let end = match surv.stratum_names.len() {
                1 => n,
                _ => start + order[start..].iter().take_while(here).count(),
            };
            let first = groups.len();
            let mut i = start;
            while i < end {
                let time = times[i];
                let same = |t: &&f64| t.total_cmp(&time).is_eq();
                let upto = i + times[i..end].iter().take_while(same).count();
                let events = order[i..upto].iter().take_while(|&&k| is_event(k)).count();
                if events > 0 {
                    groups.push(Group {
                        time,
                        events: i..i + events,
                        upto,
                        not_entered: start,
                    });
                }
                i = upto;
            }
            strata.push(Stratum {
                positions: start..end,
                groups: first..groups.len(),
            });
            start = end;
        }

        let mut first_group = vec![0; n];
        for stratum in &strata {
            let mut g = stratum.groups.start;
            for position in stratum.positions.clone() {
                while g < stratum.groups.end && groups[g].upto <= position {
                    g += 1;
                }
                first_group[position] = g as u32;
            }
        }
        let entry = surv
            .entry
            .as_ref()
            .map(|entry| EntryOrder::new(entry, &order, &strata, &mut groups, &surv.stratum));
        Self {
            order,
            strata,
            groups,
            first_group,
            entry,
        }
    }
}

impl EntryOrder {
    fn new(
        entry: &[f64],
        order: &[u32],
        strata: &[Stratum],
        groups: &mut [Group],
        stratum: &[u32],
    ) -> Self {
        let at: Vec<f64> = order.iter().map(|&i| entry[i as usize]).collect();
        let of: Vec<u32> = order.iter().map(|&i| stratum[i as usize]).collect();
        let mut by_entry: Vec<u32> = (0..order.len() as u32).collect();
        sort::descending(&mut by_entry, &at);
        let by_entry = by_stratum(by_entry, &of, strata.len());
        let mut last_group = vec![0; order.len()];
        for stratum in strata {
            let mut k = stratum.positions.start;
            for g in stratum.groups.clone() {
                while k < stratum.positions.end && at[by_entry[k] as usize] >= groups[g].time {
                    last_group[by_entry[k] as usize] = g as u32;
                    k += 1;
                }
                groups[g].not_entered = k;
            }
            for &position in &by_entry[k..stratum.positions.end] {
                last_group[position as usize] = stratum.groups.end as u32;
            }
        }
        Self {
            order: by_entry,
            last_group,
        }
    }
}

/// Rows by time, latest first; at equal times events first, then by row.
fn latest_first(ascending: &[u32], time: &[f64], is_event: impl Fn(u32) -> bool) -> Vec<u32> {
    let at = |i: &u32| time[*i as usize];
    let mut order = Vec::with_capacity(ascending.len());
    for tied in ascending
        .chunk_by(|a, b| at(a).total_cmp(&at(b)).is_eq())
        .rev()
    {
        let start = order.len();
        order.extend_from_slice(tied);
        if tied.len() > 1 {
            order[start..].sort_unstable_by_key(|&i| (!is_event(i), i));
        }
    }
    order
}

/// Stable counting sort by stratum.
fn by_stratum(order: Vec<u32>, stratum: &[u32], strata: usize) -> Vec<u32> {
    if strata == 1 {
        return order;
    }
    let mut start = vec![0usize; strata + 1];
    for &i in &order {
        start[stratum[i as usize] as usize + 1] += 1;
    }
    for s in 0..strata {
        start[s + 1] += start[s];
    }
    let mut out = vec![0; order.len()];
    for i in order {
        let slot = &mut start[stratum[i as usize] as usize];
        out[*slot] = i;
        *slot += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named() {
        let e = [true, true];
        assert!(matches!(Surv::new(&[1.0], &e), Err(Error::Length { .. })));
        assert!(matches!(
            Surv::new(&[1.0, f64::NAN], &e),
            Err(Error::NotFinite { row: 1, .. })
        ));
        assert!(matches!(
            Surv::new(&[1.0, -1.0], &e),
            Err(Error::NegativeTime { row: 1, .. })
        ));
        assert!(matches!(
            Surv::new(&[1.0, 2.0], &[false, false]),
            Err(Error::NoEvents)
        ));
        assert!(matches!(
            Surv::new(&[1.0], &[true]),
            Err(Error::TooFewRows { n: 1 })
        ));
        let late = Surv::builder(&[1.0, 2.0], &e).entry(&[0.0, 2.0]).build();
        assert!(matches!(
            late,
            Err(Error::EntryNotBeforeTime { row: 1, .. })
        ));
        let light = Surv::builder(&[1.0, 2.0], &e).weights(&[1.0, -2.0]).build();
        assert!(matches!(light, Err(Error::NegativeWeight { row: 1, .. })));
        let weightless = Surv::builder(&[1.0, 2.0], &e).weights(&[0.0, 0.0]).build();
        assert!(matches!(weightless, Err(Error::NoEvents)));
        let short = Surv::builder(&[1.0, 2.0], &e).strata(&[1]).build();
        assert!(matches!(short, Err(Error::Length { .. })));
        assert!(Surv::new(&[0.0, 1.0], &e).is_ok(), "time zero is accepted");
    }

    #[test]
    fn times_that_differ_by_rounding_are_one() {
        let t = [1.0, 1.0 + 1e-12, 2.0];
        let e = [true, true, false];
        assert_eq!(Surv::new(&t, &e).unwrap().sorted.groups.len(), 1);
        let exact = Surv::builder(&t, &e).timefix(false).build().unwrap();
        assert_eq!(exact.sorted.groups.len(), 2);
    }

    #[test]
    fn both_zeros_are_one_time() {
        let time = [-0.0, 0.0, -0.0, 0.0, 2.0, 3.0, 4.0];
        let event = [true, true, false, true, true, true, false];
        let plain = time.map(f64::abs);
        for timefix in [true, false] {
            let surv = Surv::builder(&time, &event).timefix(timefix);
            let surv = surv.build().unwrap();
            let want = Surv::new(&plain, &event).unwrap();
            assert_eq!(surv.sorted.groups.len(), 3);
            assert_eq!(surv.sorted.order, want.sorted.order);
            let curve = |surv| crate::KaplanMeier::new().fit(surv).unwrap().curves;
            assert_eq!(format!("{:?}", curve(&surv)), format!("{:?}", curve(&want)));
            let arm = [0, 1, 0, 1, 0, 1, 1];
            let test = |surv| crate::LogRank::new().test(surv, &arm).unwrap();
            assert_eq!(test(&surv), test(&want));
        }
        let entered = Surv::builder(&time[3..], &event[3..])
            .entry(&[-1.0, -0.0, 0.0, -0.0])
            .build()
            .unwrap();
        assert!(
            entered.entry().unwrap()[1..]
                .iter()
                .all(|e| e.is_sign_positive())
        );
    }

    #[test]
    fn rows_of_weight_0_merge_nobodys_times() {
        let time = [1.0, 2.0, 2.0 + 1e-12, 3.0, 1e10, 2.0 + 2e-12];
        let event = [true; 6];
        let weights = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
        let surv = Surv::builder(&time, &event).weights(&weights);
        let surv = surv.build().unwrap();
        assert_eq!(surv.time(), [1.0, 2.0, 2.0, 3.0, 1e10, 2.0]);
        assert_eq!(surv.sorted.groups.len(), 3);
        // Nor do they bridge a gap, as entry times or as times of leaving.
        let (near, far) = (1.0 + 1.2e-8, 1.0 + 2.4e-8);
        let time = [1.0, near, far, 2.0];
        let weights = [1.0, 0.0, 1.0, 0.0];
        let surv = Surv::builder(&time, &[true; 4])
            .entry(&[0.0, 0.0, 0.0, near])
            .weights(&weights)
            .build()
            .unwrap();
        assert_eq!(surv.time(), [1.0, 1.0, far, 2.0]);
        assert_eq!(surv.sorted.groups.len(), 2);
    }

    #[test]
    fn strata_keep_their_order_and_lose_who_is_not_there() {
        let surv = Surv::builder(&[1.0, 2.0, 3.0, 4.0], &[true; 4])
            .strata(&[10, 2, 5, 10])
            .build()
            .unwrap();
        let some = Surv::builder(&[1.0, 2.0, 3.0], &[true; 3])
            .strata_of(&surv, [3, 1, 0].into_iter())
            .build()
            .unwrap();
        assert_eq!(some.stratum_names(), ["2", "10"]);
        assert_eq!(some.stratum(), [1, 0, 1]);
    }

    #[test]
    fn risk_sets_are_what_the_definition_says() {
        let time = [4.0, 2.0, 2.0, 7.0, 4.0, 1.0, 7.0];
        let event = [true, true, false, false, true, true, true];
        let entry = [0.0, 1.0, 0.5, 2.0, 3.0, 0.0, 6.0];
        let strata = [0, 0, 1, 1, 0, 1, 0];
        let surv = Surv::builder(&time, &event)
            .entry(&entry)
            .strata(&strata)
            .build()
            .unwrap();
        let sorted = &surv.sorted;
        let entered = sorted.entry.as_ref().unwrap();
        for (s, stratum) in sorted.strata.iter().enumerate() {
            for g in stratum.groups.clone() {
                let group = &sorted.groups[g];
                let mut at_risk: Vec<u32> =
                    sorted.order[stratum.positions.start..group.upto].to_vec();
                for &k in &entered.order[stratum.positions.start..group.not_entered] {
                    at_risk.retain(|&i| i != sorted.order[k as usize]);
                }
                at_risk.sort_unstable();
                let want: Vec<u32> = (0..7u32)
                    .filter(|&i| {
                        let i = i as usize;
                        strata[i] == s && entry[i] < group.time && group.time <= time[i]
                    })
                    .collect();
                assert_eq!(at_risk, want);
                for position in stratum.positions.clone() {
                    let i = sorted.order[position] as usize;
                    let by_index = sorted.first_group[position] as usize <= g
                        && g < entered.last_group[position] as usize;
                    assert_eq!(by_index, want.contains(&(i as u32)), "row {i}, group {g}");
                }
            }
        }
    }
}
