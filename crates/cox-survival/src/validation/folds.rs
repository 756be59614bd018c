//! Which rows are held out together.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_length};
use crate::surv::Surv;

/// A partition of the rows into folds.
///
/// ```
/// use cox_survival::{Folds, Surv};
/// let time: Vec<f64> = (1..=20).map(f64::from).collect();
/// let event: Vec<bool> = (0..20).map(|i| i % 2 == 0).collect();
/// let surv = Surv::new(&time, &event)?;
/// let folds = Folds::stratified(&surv, 5, 1)?;
/// for fold in 0..folds.count() {
///     let events = folds.held_out(fold).iter().filter(|&&i| event[i]).count();
///     assert_eq!(events, 2, "events are spread evenly");
/// }
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Folds {
    /// Fold of every row, from 0.
    fold: Vec<u32>,
    /// What the user called each fold.
    labels: Vec<usize>,
}

/// What a file holds, before it is believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    fold: Vec<u32>,
    labels: Vec<usize>,
}

impl TryFrom<Stored> for Folds {
    type Error = String;

    fn try_from(stored: Stored) -> std::result::Result<Self, String> {
        let Stored { fold, labels } = stored;
        let mut used = vec![false; labels.len()];
        for (row, &f) in fold.iter().enumerate() {
            *used
                .get_mut(f as usize)
                .ok_or_else(|| format!("row {row} is in fold {f} of {}", labels.len()))? = true;
        }
        if labels.len() < 2 || used.contains(&false) {
            return Err("folds need at least two labels, each with a row".into());
        }
        Ok(Self { fold, labels })
    }
}

impl Folds {
    /// `k` folds with events and censored rows spread evenly over them, drawn from `seed`.
    pub fn stratified(surv: &Surv, k: usize, seed: u64) -> Result<Self> {
        let rows: Vec<u32> = (0..surv.n() as u32).collect();
        Self::grouped(surv, &rows, k, seed)
    }

    /// `k` folds in which rows of one group (several photographs of one patient) are never
    /// separated; groups with an event are spread first, the largest before the smaller.
    pub fn grouped(surv: &Surv, groups: &[u32], k: usize, seed: u64) -> Result<Self> {
        check_length("groups", groups.len(), surv.n())?;
        let mut levels = groups.to_vec();
        levels.sort_unstable();
        levels.dedup();
        if k < 2 || k > levels.len() {
            return Err(Error::Setting {
                name: "folds",
                value: k.to_string(),
                expected: "must be at least 2 and at most the number of rows (or groups)",
            });
        }
        let place = |row: usize| levels.binary_search(&groups[row]).unwrap_or_default();
        let mut size = vec![0usize; levels.len()];
        let mut events = vec![0usize; levels.len()];
        for row in 0..surv.n() {
            // Rows of weight 0 take part in nothing: they must not balance a fold.
            let used = usize::from(surv.weight(row) > 0.0);
            size[place(row)] += used;
            events[place(row)] += used * usize::from(surv.event()[row]);
        }
        let mut order: Vec<usize> = (0..levels.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        order.sort_by_key(|&g| std::cmp::Reverse((events[g], size[g])));
        let mut fold_of = vec![0u32; levels.len()];
        let mut load = vec![(0usize, 0usize); k];
        // Ties between equally loaded folds rotate, so that no fold is always the last.
        let mut turn = 0;
        for g in order {
            let lightest = (0..k)
                .map(|s| (turn + s) % k)
                .min_by_key(|&f| {
                    if events[g] > 0 {
                        load[f]
                    } else {
                        (load[f].1, load[f].0)
                    }
                })
                .unwrap_or(0);
            turn = (lightest + 1) % k;
            fold_of[g] = lightest as u32;
            load[lightest].0 += events[g];
            load[lightest].1 += size[g];
        }
        Ok(Self {
            fold: (0..surv.n()).map(|row| fold_of[place(row)]).collect(),
            labels: (1..=k).collect(),
        })
    }

    /// Folds of one's own: any labels, at least two different ones.
    pub fn given(labels: &[usize]) -> Result<Self> {
        let mut levels = labels.to_vec();
        levels.sort_unstable();
        levels.dedup();
        if levels.len() < 2 {
            return Err(Error::Setting {
                name: "folds",
                value: levels.len().to_string(),
                expected: "must be at least 2",
            });
        }
        let fold = labels
            .iter()
            .map(|l| levels.binary_search(l).unwrap_or_default() as u32)
            .collect();
        Ok(Self {
            fold,
            labels: levels,
        })
    }

    /// Checks that no group of rows is parted between folds.
    ///
    /// # Errors
    /// [`Error::Fold`], naming the fold of a row whose group has rows in an earlier one.
    pub fn check_groups(&self, groups: &[u32]) -> Result<()> {
        check_length("groups", groups.len(), self.n())?;
        let mut fold_of = std::collections::HashMap::new();
        for (&group, &fold) in groups.iter().zip(&self.fold) {
            if *fold_of.entry(group).or_insert(fold) != fold {
                return Err(Error::Fold {
                    fold: self.label(fold as usize),
                    reason: "it parts rows that belong together from one another",
                });
            }
        }
        Ok(())
    }

    /// Number of folds.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.fold.len()
    }

    /// Fold of every row, from 0.
    pub fn fold(&self) -> &[u32] {
        &self.fold
    }

    /// Label of every row's fold: the user's own, or 1 to `k`.
    pub fn ids(&self) -> Vec<usize> {
        self.fold.iter().map(|&f| self.labels[f as usize]).collect()
    }

    /// Label of a fold.
    ///
    /// # Panics
    /// When `fold` is not below [`Folds::count`].
    pub fn label(&self, fold: usize) -> usize {
        self.labels[fold]
    }

    /// Rows held out in a fold, ascending.
    pub fn held_out(&self, fold: usize) -> Vec<usize> {
        (0..self.n())
            .filter(|&i| self.fold[i] as usize == fold)
            .collect()
    }

    /// Rows used for training in a fold, ascending.
    pub fn training(&self, fold: usize) -> Vec<usize> {
        (0..self.n())
            .filter(|&i| self.fold[i] as usize != fold)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_is_not_believed() {
        for bad in [
            r#"{"fold":[0,2],"labels":[1,2]}"#,
            r#"{"fold":[0,0],"labels":[1,2]}"#,
            r#"{"fold":[0,0],"labels":[1]}"#,
        ] {
            assert!(serde_json::from_str::<Folds>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn folds_partition_the_rows_and_keep_groups_together(
            event in prop::collection::vec(any::<bool>(), 12..80),
            groups in 6u32..12, k in 2usize..6, seed in any::<u64>(),
        ) {
            let n = event.len();
            prop_assume!(event.iter().any(|&e| e));
            let time: Vec<f64> = (0..n).map(|i| 1.0 + i as f64).collect();
            let surv = Surv::new(&time, &event).unwrap();
            // Every group has a row; those of the squares have more than others.
            let group_of = |i: u32| if i < groups { i } else { i * i % groups };
            let group: Vec<u32> = (0..n as u32).map(group_of).collect();
            let folds = Folds::grouped(&surv, &group, k, seed).unwrap();
            prop_assert_eq!(&folds, &Folds::grouped(&surv, &group, k, seed).unwrap());
            let text = serde_json::to_string(&folds).unwrap();
            prop_assert_eq!(&folds, &serde_json::from_str::<Folds>(&text).unwrap());
            for i in 0..n {
                for j in 0..n {
                    if group[i] == group[j] {
                        prop_assert_eq!(folds.fold()[i], folds.fold()[j]);
                    }
                }
            }
            prop_assert_eq!(folds.count(), k);
            prop_assert!((0..k).all(|f| !folds.held_out(f).is_empty()));
            // The next group goes to the fold of the fewest events: no two are further apart than a group.
            let events_where = |of: &[u32], which: u32| {
                of.iter().zip(&event).filter(|&(&o, &e)| e && o == which).count()
            };
            let most = (0..groups).map(|g| events_where(&group, g)).max().unwrap();
            let events: Vec<usize> = (0..k as u32).map(|f| events_where(folds.fold(), f)).collect();
            prop_assert!(events.iter().max().unwrap() - events.iter().min().unwrap() <= most);
            let free = Folds::stratified(&surv, k, seed).unwrap();
            let sizes: Vec<usize> = (0..k).map(|f| free.held_out(f).len()).collect();
            let events: Vec<usize> = (0..k)
                .map(|f| free.held_out(f).iter().filter(|&&i| event[i]).count())
                .collect();
            prop_assert_eq!(sizes.iter().sum::<usize>(), n);
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            prop_assert!(events.iter().max().unwrap() - events.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn groups_are_checked_against_given_folds() {
        let folds = Folds::given(&[5, 5, 7, 7, 5]).unwrap();
        assert_eq!(folds.check_groups(&[0, 0, 1, 2, 3]), Ok(()));
        let parted = folds.check_groups(&[0, 0, 1, 0, 3]);
        assert!(matches!(parted, Err(Error::Fold { fold: 7, .. })));
        assert!(matches!(
            folds.check_groups(&[0]),
            Err(Error::Length { .. })
        ));
    }

    #[test]
    fn rows_of_weight_zero_balance_nothing() {
        // Six events that count and six that do not: every fold gets two of the former.
        let time: Vec<f64> = (1..=24).map(f64::from).collect();
        let event: Vec<bool> = (0..24).map(|i| i % 2 == 0).collect();
        let weights: Vec<f64> = (0..24).map(|i| f64::from(u8::from(i < 12))).collect();
        let surv = Surv::builder(&time, &event)
            .weights(&weights)
            .build()
            .unwrap();
        for seed in 0..20 {
            let folds = Folds::stratified(&surv, 3, seed).unwrap();
            for f in 0..3 {
                let held = folds.held_out(f);
                let used = held.iter().filter(|&&i| weights[i] > 0.0);
                assert_eq!(used.clone().count(), 4);
                assert_eq!(used.filter(|&&i| event[i]).count(), 2);
            }
        }
    }
}
