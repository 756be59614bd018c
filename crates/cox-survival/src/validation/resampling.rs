//! Which rows a bootstrap replicate is made of.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result, check_length};

/// What is drawn with replacement: rows, or whole clusters of rows, throughout or within strata.
///
/// ```
/// use cox_survival::Resampling;
/// let patient = ["a", "a", "b", "c", "c"];
/// let event = [true, false, false, true, true];
/// let rows = Resampling::rows(5).clusters(&patient)?.within(&event)?.draw(1, 0);
/// assert_eq!(rows.iter().filter(|&&i| i == 2).count(), 1, "the only patient without an event");
/// assert_eq!(
///     rows.iter().filter(|&&i| i == 3).count(),
///     rows.iter().filter(|&&i| i == 4).count(),
///     "both rows of a patient or neither",
/// );
/// # Ok::<(), cox_survival::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resampling {
    n: usize,
    /// Rows of every unit that is drawn whole.
    units: Vec<Vec<u32>>,
    /// Units of every stratum.
    strata: Vec<Vec<u32>>,
}

impl Resampling {
    /// Single rows out of `n`.
    pub fn rows(n: usize) -> Self {
        Self {
            n,
            units: (0..n as u32).map(|row| vec![row]).collect(),
            strata: vec![(0..n as u32).collect()],
        }
    }

    /// Whole clusters: rows with equal labels (one patient, several photographs) are drawn
    /// together. Comes before [`Resampling::within`], whose strata it undoes.
    pub fn clusters<L: Ord>(self, labels: &[L]) -> Result<Self> {
        check_length("clusters", labels.len(), self.n)?;
        let units = groups(labels);
        Ok(Self {
            n: self.n,
            strata: vec![(0..units.len() as u32).collect()],
            units,
        })
    }

    /// Draws within strata, as many units of each as there are: with the event indicator every
    /// replicate has as many events as the data. A cluster belongs to the stratum of its largest
    /// label (`true` if any row has the event).
    pub fn within<L: Ord>(self, labels: &[L]) -> Result<Self> {
        check_length("strata", labels.len(), self.n)?;
        let of_unit: Vec<Option<&L>> = self
            .units
            .iter()
            .map(|rows| rows.iter().map(|&row| &labels[row as usize]).max())
            .collect();
        Ok(Self {
            strata: groups(&of_unit),
            ..self
        })
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of units drawn: rows or clusters.
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// Rows of replicate `replicate` under `seed`. Every replicate has a random stream of its
    /// own, so the draw depends on nothing else.
    pub fn draw(&self, seed: u64, replicate: u64) -> Vec<usize> {
        let mut rows = Vec::with_capacity(self.n);
        self.each(seed, replicate, |unit| {
            rows.extend(unit.iter().map(|&row| row as usize));
        });
        rows
    }

    /// The same replicate as the number of times each row is in it.
    pub fn multiplicities(&self, seed: u64, replicate: u64) -> Vec<u32> {
        let mut times = vec![0; self.n];
        self.each(seed, replicate, |unit| {
            for &row in unit {
                times[row as usize] += 1;
            }
        });
        times
    }

    /// All rows but those of one unit.
    pub(crate) fn without(&self, unit: usize) -> Vec<usize> {
        let mut kept = vec![true; self.n];
        for &row in &self.units[unit] {
            kept[row as usize] = false;
        }
        (0..self.n).filter(|&row| kept[row]).collect()
    }

    /// Sums of a value per row over the rows of each unit.
    pub(crate) fn sums(&self, values: &[f64]) -> Vec<f64> {
        let sum = |rows: &Vec<u32>| rows.iter().map(|&row| values[row as usize]).sum();
        self.units.iter().map(sum).collect()
    }

    pub(crate) fn check(&self, n: usize) -> Result<()> {
        check_length("resampling", self.n, n)?;
        if self.units.len() < 2 {
            return Err(Error::TooFewGroups {
                found: self.units.len(),
            });
        }
        Ok(())
    }

    fn each(&self, seed: u64, replicate: u64, mut take: impl FnMut(&[u32])) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(replicate);
        for stratum in &self.strata {
            for _ in 0..stratum.len() {
                let drawn = stratum[rng.random_range(0..stratum.len() as u32) as usize];
                take(&self.units[drawn as usize]);
            }
        }
    }
}

/// Places of equal labels, labels ascending.
fn groups<L: Ord>(labels: &[L]) -> Vec<Vec<u32>> {
    let mut order: Vec<u32> = (0..labels.len() as u32).collect();
    order.sort_by_key(|&i| &labels[i as usize]);
    order
        .chunk_by(|&a, &b| labels[a as usize] == labels[b as usize])
        .map(<[u32]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn draws_keep_clusters_whole_and_strata_full(
            rows in prop::collection::vec((0u8..6, any::<bool>()), 1..40),
            seed in any::<u64>(), replicate in 0u64..5,
        ) {
            let n = rows.len();
            let cluster: Vec<u8> = rows.iter().map(|r| r.0).collect();
            let event: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let any = |c: u8| (0..n).any(|i| cluster[i] == c && event[i]);
            let plan = Resampling::rows(n).clusters(&cluster).unwrap().within(&event).unwrap();
            let times = plan.multiplicities(seed, replicate);
            let mut drawn = vec![0; n];
            for row in plan.draw(seed, replicate) {
                drawn[row] += 1;
            }
            prop_assert_eq!(&times, &drawn);
            let mut levels = cluster.clone();
            levels.sort_unstable();
            levels.dedup();
            for with in [false, true] {
                let of = |c: &&u8| any(**c) == with;
                let expected = levels.iter().filter(of).count();
                let first = |c: u8| cluster.iter().position(|&d| d == c).unwrap();
                let found: u32 = levels.iter().filter(of).map(|&c| times[first(c)]).sum();
                prop_assert_eq!(found as usize, expected);
            }
            for i in 0..n {
                for j in 0..n {
                    prop_assert!(cluster[i] != cluster[j] || times[i] == times[j]);
                }
            }
            prop_assert_eq!(plan.units(), levels.len());
            let kept = plan.without(0);
            prop_assert!(kept.iter().all(|&i| cluster[i] != levels[0]));
            prop_assert_eq!(kept.len(), cluster.iter().filter(|&&c| c != levels[0]).count());
        }
    }

    #[test]
    fn rows_are_drawn_evenly_and_replicates_differ() {
        let plan = Resampling::rows(5);
        let mut total = [0u32; 5];
        for replicate in 0..2000 {
            for (t, m) in total.iter_mut().zip(plan.multiplicities(3, replicate)) {
                *t += m;
            }
        }
        // 2,000 expected in each, standard deviation 40.
        assert!(total.iter().all(|&t| t.abs_diff(2000) < 200), "{total:?}");
        assert_ne!(
            Resampling::rows(50).draw(3, 0),
            Resampling::rows(50).draw(3, 1)
        );
        assert_ne!(
            Resampling::rows(50).draw(3, 0),
            Resampling::rows(50).draw(4, 0)
        );
    }
}
