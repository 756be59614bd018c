//! Dense ranks of finite scores.

use crate::sort;

/// Ranks from 0 of `values`, equal values sharing one, into `rank`; returns the number of
/// distinct values.
///
/// Needs finite values; `-0.0` and `0.0` are one. Costs one [`sort::order`].
pub(crate) fn dense_ranks(values: &[f64], rank: &mut [u32]) -> usize {
    let keys: Vec<u64> = values.iter().map(|&x| sort::key(x)).collect();
    let mut next = 0;
    let mut previous = None;
    for place in sort::order(&keys) {
        let key = keys[place as usize];
        next += u32::from(previous.is_some_and(|p| p != key));
        previous = Some(key);
        rank[place as usize] = next;
    }
    next as usize + usize::from(previous.is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn by_definition(values: &[f64]) -> (Vec<u32>, usize) {
        let mut levels: Vec<f64> = values.iter().map(|v| v + 0.0).collect();
        levels.sort_by(f64::total_cmp);
        levels.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let rank = |v: &f64| levels.partition_point(|l| l < v) as u32;
        (values.iter().map(rank).collect(), levels.len())
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(values in prop_oneof![
            prop::collection::vec(-3.0..3.0f64, 1..900),
            prop::collection::vec((0..7i32).prop_map(f64::from), 1..900),
            // One far value leaves the others in few cells.
            prop::collection::vec(
                prop_oneof![Just(0.0), Just(-0.0), Just(1e300), 1.0..1.000_000_1f64], 1..900),
        ]) {
            let mut rank = vec![0; values.len()];
            let distinct = super::dense_ranks(&values, &mut rank);
            prop_assert_eq!((rank, distinct), by_definition(&values));
        }
    }
}
