//! Counting comparable pairs: the one kernel under every concordance.
//!
//! Letters: at the time of event group `g`, `i` is a patient with the event and `j` one still at
//! risk who does not have it then; `w` are case weights and `v_g` the weight of a pair compared
//! at `g`. The pair is concordant if `score_i > score_j`.

use super::prefix_tree::{PrefixTree, Tally};
use crate::error::{Error, Result};
use crate::sort::dense_ranks;
use crate::surv::{Stratum, Surv};

/// An outcome and a score, ready for counting with any case weights and pair weights.
///
/// Needs a score of `surv.n()` finite values. Preparing costs one sort of the scores; each count
/// after it costs `O(n log n)` additions and no sort, which is what a bootstrap repeats.
pub(crate) struct Pairs<'a> {
    surv: &'a Surv,
    /// Position -> rank of its score within the stratum.
    rank: Vec<u32>,
    /// Number of distinct scores of each stratum.
    distinct: Vec<usize>,
}

/// Weighted numbers of pairs, and the information of the score test they belong to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) concordant: f64,
    pub(crate) discordant: f64,
    /// Same score, different times.
    pub(crate) tied_score: f64,
    /// Events at the same time, different scores.
    pub(crate) tied_time: f64,
    /// Events at the same time with the same score.
    pub(crate) tied_both: f64,
    /// Sum over events of `w_i v_g n_g^2` times the variance of the ranks at risk.
    pub(crate) information: f64,
}

impl Totals {
    pub(crate) fn comparable(&self) -> f64 {
        self.concordant + self.discordant + self.tied_score
    }

    pub(crate) fn concordance(&self) -> f64 {
        (self.concordant + self.tied_score / 2.0) / self.comparable()
    }
}

/// For each position the pairs it is part of, per unit of its own weight: (concordant + half of
/// those tied in the score, all comparable).
pub(crate) type Shares = Vec<(f64, f64)>;

/// Everything counted: the totals, and on request each row's shares as the one with the event
/// (`own`) and as the one at risk (`others`).
pub(crate) struct Counted {
    pub(crate) totals: Totals,
    pub(crate) own: Shares,
    pub(crate) others: Shares,
}

impl Counted {
    /// `w_i dC/dw_i` of every row, the pair weights held fixed, in input order.
    pub(crate) fn dfbeta(&self, surv: &Surv) -> Vec<f64> {
        let (c, comparable) = (self.totals.concordance(), self.totals.comparable());
        let mut dfbeta = vec![0.0; self.own.len()];
        for ((own, others), &row) in self.own.iter().zip(&self.others).zip(&surv.sorted.order) {
            let row = row as usize;
            let excess = own.0 + others.0 - c * (own.1 + others.1);
            dfbeta[row] = surv.weight(row) * excess / comparable;
        }
        dfbeta
    }
}

/// Ranks present in a tree, with the weight at each when scores repeat.
struct Present<T> {
    tree: PrefixTree<T>,
    /// Empty when no two scores of the stratum are equal.
    at: Vec<T>,
    total: T,
    /// Rows of positive weight, where `total` does not tell whether there is any.
    rows: u32,
    /// Sum of the cubed weights of the distinct scores.
    cubes: f64,
}

impl<T: Tally> Present<T> {
    fn new() -> Self {
        Self {
            tree: PrefixTree::new(),
            at: vec![],
            total: T::default(),
            rows: 0,
            cubes: 0.0,
        }
    }

    fn reset(&mut self, distinct: usize, rows: usize) {
        self.tree.reset(distinct);
        self.at.clear();
        if distinct < rows {
            self.at.resize(distinct, T::default());
        }
        self.total = T::default();
        self.rows = 0;
        self.cubes = 0.0;
    }

    /// Whether nobody of positive weight is present.
    #[inline]
    fn is_empty(&self) -> bool {
        if T::EXACT {
            self.total.to_f64() <= 0.0
        } else {
            self.rows == 0
        }
    }

    #[inline]
    fn insert(&mut self, rank: u32, weight: T) {
        self.tree.add(rank, weight);
        self.total = self.total.plus(weight);
        if !T::EXACT {
            self.rows += u32::from(weight.to_f64() > 0.0);
        }
        let before = self.equal(rank);
        if let Some(at) = self.at.get_mut(rank as usize) {
            *at = at.plus(weight);
        }
        self.cubes += cube(before.plus(weight).to_f64()) - cube(before.to_f64());
    }

    #[inline]
    fn remove(&mut self, rank: u32, weight: T) {
        self.tree.remove(rank, weight);
        self.total = self.total.minus(weight);
        let mut left = T::default();
        if let Some(at) = self.at.get_mut(rank as usize) {
            *at = at.minus(weight);
            left = *at;
        }
        self.cubes += cube(left.to_f64()) - cube(left.plus(weight).to_f64());
        if !T::EXACT {
            self.rows -= u32::from(weight.to_f64() > 0.0);
            if self.rows == 0 {
                // What rounding has left of the sums is nobody.
                self.total = T::default();
                self.cubes = 0.0;
            }
        }
    }

    /// Weight at this very rank.
    #[inline]
    fn equal(&self, rank: u32) -> T {
        self.at.get(rank as usize).copied().unwrap_or_default()
    }

    /// Weights (below, at, above) `rank`.
    #[inline]
    fn split(&self, rank: u32) -> (f64, f64, f64) {
        let (below, equal) = (self.tree.below(rank), self.equal(rank));
        let above = self.total.minus(below).minus(equal).to_f64();
        (below.to_f64(), equal.to_f64(), above.max(0.0))
    }

    /// `sum_j w_j (B_j - A_j)^2 / n` over those present, `B` and `A` the weights below and above:
    /// tied scores are atoms on a line of length `n`, which gives `(n^3 - sum of cubes) / 3n`.
    fn rank_variance(&self) -> f64 {
        let n = self.total.to_f64();
        ((cube(n) - self.cubes) / (3.0 * n)).max(0.0)
    }
}

#[inline]
fn cube(x: f64) -> f64 {
    x * x * x
}

impl<'a> Pairs<'a> {
    /// `sign` is 1 for a score that grows with the risk, -1 for a protective one.
    pub(crate) fn new(surv: &'a Surv, score: &[f64], sign: f64) -> Self {
        let sorted = &surv.sorted;
        let mut rank = vec![0; score.len()];
        let ranked = |stratum: &Stratum| {
            let rows = stratum.positions.clone();
            let by_position = sorted.order[rows.clone()]
                .iter()
                .map(|&i| sign * score[i as usize]);
            dense_ranks(by_position, &mut rank[rows])
        };
        let distinct = sorted.strata.iter().map(ranked).collect();
        Self {
            surv,
            rank,
            distinct,
        }
    }

    /// Both passes below, the second only for `shares`; on two threads where there are two.
    ///
    /// `weight` are case weights by position, `pair_weights` by group (1 if absent). Fails when
    /// no pair is comparable.
    pub(crate) fn evaluate<T: Tally>(
        &self,
        weight: impl Fn(usize) -> T + Sync,
        pair_weights: Option<&[f64]>,
        shares: bool,
    ) -> Result<Counted> {
        let rows = if shares { self.rank.len() } else { 0 };
        let mut own: Shares = vec![(0.0, 0.0); rows];
        let mut others: Shares = vec![(0.0, 0.0); rows];
        let forward = || match (pair_weights, shares) {
            (None, false) => self.count(&weight, |_| 1.0, |_, _, _| ()),
            (Some(v), false) => self.count(&weight, |g| v[g], |_, _, _| ()),
            (None, true) => self.count(&weight, |_| 1.0, |p, c, m| own[p] = (c, m)),
            (Some(v), true) => self.count(&weight, |g| v[g], |p, c, m| own[p] = (c, m)),
        };
        let backward = || match (pair_weights, shares) {
            (_, false) => (),
            (None, true) => self.count_at_risk(|p, _| weight(p), &mut others),
            (Some(v), true) => {
                self.count_at_risk(|p, g| weight(p).to_f64() * v[g], &mut others);
            }
        };
        let (totals, ()) = rayon::join(forward, backward);
        if totals.comparable() > 0.0 {
            Ok(Counted {
                totals,
                own,
                others,
            })
        } else {
            Err(Error::Undefined {
                what: "the concordance",
                reason: "no two patients are comparable",
            })
        }
    }

    /// All pair counts. `weight` is by position, `pair_weight` by group; `share(position, c, m)`
    /// is called for every event `i` with its concordant (ties half) and comparable pairs.
    ///
    /// One pass from the latest time to the earliest: rows enter the tree at their time and leave
    /// it at their entry, events are looked up before they enter. `O(n log n)`.
    pub(crate) fn count<T: Tally>(
        &self,
        weight: impl Fn(usize) -> T,
        pair_weight: impl Fn(usize) -> f64,
        mut share: impl FnMut(usize, f64, f64),
    ) -> Totals {
        let sorted = &self.surv.sorted;
        let mut sums = Totals::default();
        let mut present = Present::new();
        let mut tied: Vec<(u32, f64)> = vec![];
        for (stratum, &distinct) in sorted.strata.iter().zip(&self.distinct) {
            present.reset(distinct, stratum.positions.len());
            let mut next = stratum.positions.start;
            let mut gone = stratum.positions.start;
            for g in stratum.groups.clone() {
                let group = &sorted.groups[g];
                for p in (next..group.events.start).chain(group.events.end..group.upto) {
                    present.insert(self.rank[p], weight(p));
                }
                next = group.upto;
                if let Some(entry) = &sorted.entry {
                    for &p in &entry.order[gone..group.not_entered] {
                        present.remove(self.rank[p as usize], weight(p as usize));
                    }
                    gone = group.not_entered;
                }
                let v = pair_weight(g);
                let total = present.total.to_f64();
                let mut events = 0.0;
                let alone = present.is_empty();
                for p in group.events.clone() {
                    let w = weight(p).to_f64();
                    events += w;
                    if alone {
                        continue;
                    }
                    let (below, equal, above) = present.split(self.rank[p]);
                    sums.concordant += v * w * below;
                    sums.discordant += v * w * above;
                    sums.tied_score += v * w * equal;
                    share(p, v * (below + equal / 2.0), v * total);
                }
                if group.events.len() > 1 {
                    tied.clear();
                    let one = |p: usize| (self.rank[p], weight(p).to_f64());
                    tied.extend(group.events.clone().map(one));
                    let (time, both) = tied_pairs(&mut tied);
                    sums.tied_time += v * time;
                    sums.tied_both += v * both;
                }
                for p in group.events.clone() {
                    present.insert(self.rank[p], weight(p));
                }
                if events > 0.0 {
                    sums.information += v * events * present.rank_variance();
                }
            }
        }
        sums
    }

    /// Adds to `shares` what every row contributes as `j`, at risk when others had their events.
    ///
    /// One pass from the earliest time to the latest, with the events in the tree at weight
    /// `event_weight(position, group) = w_i v_g`. `O(n log n)`.
    pub(crate) fn count_at_risk<T: Tally>(
        &self,
        event_weight: impl Fn(usize, usize) -> T,
        shares: &mut Shares,
    ) {
        let sorted = &self.surv.sorted;
        let mut present = Present::new();
        let mut credit = |present: &Present<T>, p: usize, sign: f64| {
            if present.is_empty() {
                return;
            }
            let (_, equal, above) = present.split(self.rank[p]);
            shares[p].0 += sign * (above + equal / 2.0);
            shares[p].1 += sign * present.total.to_f64();
        };
        for (stratum, &distinct) in sorted.strata.iter().zip(&self.distinct) {
            present.reset(distinct, stratum.positions.len());
            for g in stratum.groups.clone().rev() {
                let group = &sorted.groups[g];
                let start = stratum.positions.start;
                let (later, left) = if g == stratum.groups.start {
                    (start, start)
                } else {
                    let before = &sorted.groups[g - 1];
                    (before.upto, before.not_entered)
                };
                for p in group.events.clone() {
                    credit(&present, p, 1.0);
                }
                for p in group.events.clone() {
                    present.insert(self.rank[p], event_weight(p, g));
                }
                for p in (later..group.events.start).chain(group.events.end..group.upto) {
                    credit(&present, p, 1.0);
                }
                // Who enters at or after this time was at risk at none of the events so far.
                if let Some(entry) = &sorted.entry {
                    for &p in &entry.order[left..group.not_entered] {
                        credit(&present, p as usize, -1.0);
                    }
                }
            }
        }
    }
}

/// Pairs among tied events, given as (rank, weight): (different scores, same score).
fn tied_pairs(events: &mut [(u32, f64)]) -> (f64, f64) {
    events.sort_unstable_by_key(|e| e.0);
    let (mut time, mut both) = (0.0, 0.0);
    let mut lower = 0.0;
    for same in events.chunk_by(|a, b| a.0 == b.0) {
        let mut seen = 0.0;
        for &(_, w) in same {
            time += w * lower;
            both += w * seen;
            seen += w;
        }
        lower += seen;
    }
    (time, both)
}

#[cfg(test)]
mod tests {
    use crate::{Error, Harrell, Surv};

    #[test]
    fn rounding_is_nobody_at_risk() {
        // The first leaves before the others enter, and they have no event.
        let (time, entry) = ([1.0, 3.0, 4.0, 4.0], [0.0, 2.0, 2.0, 2.0]);
        let event = [true, false, false, false];
        let fit = |scale: f64| {
            let weights = [1.0, 0.1, 0.3, 0.7].map(|w| scale * w);
            let surv = Surv::builder(&time, &event).entry(&entry).weights(&weights);
            let surv = surv.build().unwrap();
            Harrell::new().fit(&surv, &[2.0, 1.0, 3.0, 2.0])
        };
        for scale in [1.0, 0.01, 3.0] {
            let found = fit(scale);
            assert!(matches!(found, Err(Error::Undefined { .. })), "{found:?}");
        }
    }

    #[test]
    fn who_comes_after_an_empty_risk_set_is_counted_as_before() {
        // The rows of 1 and 4 again, and a pair at 6 and 7 that is concordant.
        let time = [1.0, 3.0, 4.0, 4.0, 6.0, 7.0, 0.5, 0.75];
        let entry = [0.0, 2.0, 2.0, 2.0, 5.0, 5.0, 0.0, 0.0];
        let event = [true, false, false, false, true, true, true, true];
        let weights = [1.0, 0.1, 0.3, 0.7, 0.9, 0.2, 0.4, 0.6];
        let score = [2.0, 1.0, 3.0, 2.0, 1.0, 0.0, 2.5, 1.5];
        let surv = Surv::builder(&time, &event).entry(&entry).weights(&weights);
        let c = Harrell::new().fit(&surv.build().unwrap(), &score).unwrap();
        let near = |found: f64, want: f64| assert!((found - want).abs() < 1e-15, "{found} {want}");
        // At 6: 0.9 * 0.2. At 0.5: above 0.6 and 1 of those who stay. At 0.75: below 1.
        near(c.concordant(), 0.18 + 0.4 * 1.6);
        near(c.discordant(), 0.6);
        near(c.tied_score(), 0.0);
        near(c.dfbeta().unwrap()[1..4].iter().sum(), 0.0);
    }
}
