//! Stable radix argsort of finite `f64` keys: `O(n)`, many times faster than a comparison sort
//! at a million rows, and the one sort on which every kernel relies.

/// Order-preserving map from a finite float to an unsigned integer; `-0.0` and `0.0` are one.
#[inline]
fn key(x: f64) -> u64 {
    let bits = (x + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | (1 << 63)
    }
}

/// The half of a word that holds a place.
const PLACE: u64 = 0xffff_ffff;

/// Lowest bit and width of the digits by which cells are sorted.
const DIGITS: [(u32, u32); 3] = [(32, 11), (43, 11), (54, 10)];

/// Words `cell | place` of `keys`, ascending by key, equal keys by place.
///
/// The range of the keys is cut into 2^32 cells; a cell and a place make one word, and three
/// passes sort the words by cell. Only where different keys share a cell are they compared:
/// `O(n)` for keys spread over many more cells than there are keys, `O(n log n)` at worst.
fn words(keys: &[u64]) -> Vec<u64> {
    let (mut low, mut high) = (u64::MAX, 0);
    for &k in keys {
        low = low.min(k);
        high = high.max(k);
    }
    let shift = (high - low.min(high)).leading_zeros().min(63);
    let cell = |k: u64| ((k - low) << shift) & !PLACE;
    let mut words: Vec<u64> = keys.iter().zip(0u64..).map(|(&k, i)| cell(k) | i).collect();
    if words.len() < 256 {
        words.sort_unstable();
    } else {
        radix_sort(&mut words);
    }
    let key = |word: &u64| keys[(word & PLACE) as usize];
    for shared in words.chunk_by_mut(|a, b| a >> 32 == b >> 32) {
        if shared.len() > 1 && !shared.is_sorted_by_key(key) {
            shared.sort_by_key(key);
        }
    }
    words
}

/// Places of `keys` in ascending order of the keys, equal keys in order of place.
fn order(keys: &[u64]) -> Vec<u32> {
    words(keys).into_iter().map(|word| word as u32).collect()
}

/// Ranks from 0 of `values`, equal values sharing one, into `rank`; returns the number of
/// distinct values.
pub(crate) fn dense_ranks(values: impl ExactSizeIterator<Item = f64>, rank: &mut [u32]) -> usize {
    let keys: Vec<u64> = values.map(key).collect();
    let mut distinct = 0u32;
    for shared in words(&keys).chunk_by(|a, b| a >> 32 == b >> 32) {
        if let [word] = shared {
            rank[(word & PLACE) as usize] = distinct;
        } else {
            let key = |word: u64| keys[(word & PLACE) as usize];
            let mut previous = key(shared[0]);
            for &word in shared {
                let k = key(word);
                distinct += u32::from(k != previous);
                previous = k;
                rank[(word & PLACE) as usize] = distinct;
            }
        }
        distinct += 1;
    }
    distinct as usize
}

fn radix_sort(items: &mut Vec<u64>) {
    let digit = |item: u64, (low, bits): (u32, u32)| ((item >> low) & ((1 << bits) - 1)) as usize;
    let mut counts = DIGITS.map(|(_, bits)| vec![0u32; 1 << bits]);
    for &item in &*items {
        for (count, place) in counts.iter_mut().zip(DIGITS) {
            count[digit(item, place)] += 1;
        }
    }
    let mut other = vec![0u64; items.len()];
    for (count, place) in counts.iter_mut().zip(DIGITS) {
        if count.iter().any(|&c| c as usize == items.len()) {
            continue;
        }
        let mut start = 0;
        for c in count.iter_mut() {
            start += std::mem::replace(c, start);
        }
        for &item in &*items {
            let slot = &mut count[digit(item, place)];
            other[*slot as usize] = item;
            *slot += 1;
        }
        std::mem::swap(items, &mut other);
    }
}

/// Sorts `index` by `value(i)` ascending, keeping the order of equal values.
fn sort_by_key(index: &mut Vec<u32>, value: impl Fn(u32) -> u64) {
    let keys: Vec<u64> = index.iter().map(|&i| value(i)).collect();
    *index = order(&keys)
        .into_iter()
        .map(|i| index[i as usize])
        .collect();
}

/// Sorts row numbers by `values` ascending, stably.
pub(crate) fn ascending(index: &mut Vec<u32>, values: &[f64]) {
    sort_by_key(index, |i| key(values[i as usize]));
}

/// Sorts row numbers by `values` descending, stably.
pub(crate) fn descending(index: &mut Vec<u32>, values: &[f64]) {
    sort_by_key(index, |i| !key(values[i as usize]));
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
        fn dense_ranks_agree_with_the_definition(values in prop_oneof![
            prop::collection::vec(-3.0..3.0f64, 1..900),
            prop::collection::vec((0..7i32).prop_map(f64::from), 1..900),
            // One far value leaves the others in few cells.
            prop::collection::vec(
                prop_oneof![Just(0.0), Just(-0.0), Just(1e300), 1.0..1.000_000_1f64], 1..900),
        ]) {
            let mut rank = vec![0; values.len()];
            let distinct = super::dense_ranks(values.iter().copied(), &mut rank);
            prop_assert_eq!((rank, distinct), by_definition(&values));
        }

        #[test]
        fn agrees_with_the_standard_sort(
            values in prop::collection::vec(
                prop_oneof![-3.0..3.0f64, Just(0.0), Just(-0.0), Just(1.0), -1e300..1e300f64],
                0..900,
            ),
            narrow in any::<bool>(),
        ) {
            // One far value leaves the others in few cells, where they must be compared.
            let values: Vec<f64> = if narrow {
                values.iter().map(|v| if *v > 1e299 { 1e300 } else { 1.0 + v.signum() * v.abs().min(1.0) * 1e-9 }).collect()
            } else {
                values
            };
            let mut fast: Vec<u32> = (0..values.len() as u32).collect();
            let mut slow = fast.clone();
            super::ascending(&mut fast, &values);
            slow.sort_by(|&a, &b| (values[a as usize] + 0.0).total_cmp(&(values[b as usize] + 0.0)));
            prop_assert_eq!(&fast, &slow);
            super::descending(&mut fast, &values);
            slow.sort_by(|&a, &b| (values[b as usize] + 0.0).total_cmp(&(values[a as usize] + 0.0)));
            prop_assert_eq!(values.len(), fast.len());
            for (a, b) in fast.iter().zip(&slow) {
                prop_assert!(values[*a as usize].to_bits() << 1 == values[*b as usize].to_bits() << 1
                    || values[*a as usize].total_cmp(&values[*b as usize]).is_eq());
            }
        }
    }
}
