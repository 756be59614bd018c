//! Dense ranks of finite scores.

use crate::sort;

/// Digits of the radix sort: 11 + 11 + 10 bits of a 32-bit key.
const DIGITS: [(u32, u32); 3] = [(32, 11), (43, 11), (54, 10)];

/// Ranks from 0 of `values`, equal values sharing one, into `rank`; returns the number of
/// distinct values.
///
/// Needs finite values; `-0.0` and `0.0` are one. Cost `O(n)` for values spread over at least
/// `n` of the 2^32 cells into which their range is cut, `O(n log n)` at worst: three radix passes
/// order the cells, and only cells that several values share are compared further.
pub(crate) fn dense_ranks(values: &[f64], rank: &mut [u32]) -> usize {
    let keys: Vec<u64> = values.iter().map(|&x| sort::key(x)).collect();
    let (Some(&low), Some(&high)) = (keys.iter().min(), keys.iter().max()) else {
        return 0;
    };
    // Stretch the range over all 64 bits, then keep the upper half beside the row number.
    let shift = (high - low).leading_zeros().min(63);
    let mut items: Vec<u64> = keys
        .iter()
        .zip(0u64..)
        .map(|(&k, row)| ((((k - low) << shift) >> 32) << 32) | row)
        .collect();
    if items.len() < 256 {
        items.sort_unstable();
    } else {
        radix_sort(&mut items);
    }
    let mut next = 0;
    let mut start = 0;
    while start < items.len() {
        let cell = items[start] >> 32;
        let mut end = start + 1;
        while end < items.len() && items[end] >> 32 == cell {
            end += 1;
        }
        let key = |item: u64| keys[(item & 0xffff_ffff) as usize];
        let shared = &mut items[start..end];
        if !shared.is_sorted_by_key(|&item| key(item)) {
            shared.sort_unstable_by_key(|&item| key(item));
        }
        let mut previous = key(shared[0]);
        for &item in &*shared {
            let k = key(item);
            next += u32::from(k != previous);
            previous = k;
            rank[(item & 0xffff_ffff) as usize] = next;
        }
        next += 1;
        start = end;
    }
    next as usize
}

fn radix_sort(items: &mut Vec<u64>) {
    let mut counts = DIGITS.map(|(_, bits)| vec![0u32; 1 << bits]);
    for &item in &*items {
        for (count, (low, bits)) in counts.iter_mut().zip(DIGITS) {
            count[((item >> low) & ((1 << bits) - 1)) as usize] += 1;
        }
    }
    let mut other = vec![0u64; items.len()];
    for (count, (low, bits)) in counts.iter_mut().zip(DIGITS) {
        if count.iter().any(|&c| c as usize == items.len()) {
            continue;
        }
        let mut start = 0;
        for c in count.iter_mut() {
            start += std::mem::replace(c, start);
        }
        for &item in &*items {
            let slot = &mut count[((item >> low) & ((1 << bits) - 1)) as usize];
            other[*slot as usize] = item;
            *slot += 1;
        }
        std::mem::swap(items, &mut other);
    }
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
