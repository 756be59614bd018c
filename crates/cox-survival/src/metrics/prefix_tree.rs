//! Running sums by rank: "how much weight lies below this score?" while weights come and go.

/// Children of a node; a node of `u32` sums is one cache line.
const FAN: usize = 16;
const BITS: u32 = 4;

/// What can be summed: counts (exact, half the memory) or weights.
pub(crate) trait Tally: Copy + Default + Send + Sync {
    /// Whether what was added and taken away again leaves nothing.
    const EXACT: bool;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn to_f64(self) -> f64;
}

impl Tally for u32 {
    const EXACT: bool = true;

    #[inline]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    #[inline]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Tally for f64 {
    const EXACT: bool = false;

    #[inline]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline]
    fn minus(self, other: Self) -> Self {
        self - other
    }
    #[inline]
    fn to_f64(self) -> f64 {
        self
    }
}

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Node<T>([T; FAN]);

/// A 16-way tree of prefix sums over ranks `0..size`.
///
/// Lane `d` of a node holds the sum of its children `0..d`. Adding touches the upper lanes of one
/// node per level (a vector addition), asking reads one lane per level: five levels at a million
/// ranks, of which four stay in the near cache. Both cost `O(log_16 size)`.
pub(crate) struct PrefixTree<T> {
    nodes: Vec<Node<T>>,
    /// Where each level starts in `nodes`; the leaves' parents come first.
    start: [usize; 8],
    depth: usize,
}

impl<T: Tally> PrefixTree<T> {
    /// An empty tree; [`PrefixTree::reset`] gives it a size.
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![],
            start: [0; 8],
            depth: 0,
        }
    }

    /// Forgets all weights and makes room for ranks `0..size`.
    pub(crate) fn reset(&mut self, size: usize) {
        let (mut width, mut total) = (size.max(1), 0);
        self.depth = 0;
        loop {
            width = width.div_ceil(FAN);
            self.start[self.depth] = total;
            self.depth += 1;
            total += width;
            if width == 1 {
                break;
            }
        }
        self.nodes.clear();
        self.nodes.resize(total, Node::default());
    }

    /// Adds `weight` at `rank`.
    #[inline]
    pub(crate) fn add(&mut self, rank: u32, weight: T) {
        let mut rest = rank;
        for &start in &self.start[..self.depth] {
            let digit = rest % FAN as u32;
            rest >>= BITS;
            let node = &mut self.nodes[start + rest as usize].0;
            for (lane, sum) in (0u32..).zip(node) {
                *sum = sum.plus(if lane > digit { weight } else { T::default() });
            }
        }
    }

    /// Takes `weight` away from `rank`.
    #[inline]
    pub(crate) fn remove(&mut self, rank: u32, weight: T) {
        self.add(rank, T::default().minus(weight));
    }

    /// The sum of the weights at ranks below `rank`.
    #[inline]
    pub(crate) fn below(&self, rank: u32) -> T {
        let mut rest = rank;
        let mut sum = T::default();
        for &start in &self.start[..self.depth] {
            let digit = rest as usize % FAN;
            rest >>= BITS;
            sum = sum.plus(self.nodes[start + rest as usize].0[digit]);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_sum(
            size in prop_oneof![1u32..20, 200u32..300, 4000u32..5000],
            steps in prop::collection::vec((any::<u32>(), 1u32..5), 1..60),
        ) {
            let mut tree = PrefixTree::<u32>::new();
            tree.reset(3);
            tree.add(1, 7);
            tree.reset(size as usize);
            let mut plain = vec![0u32; size as usize];
            for (r, w) in steps {
                let rank = r % size;
                tree.add(rank, w + 1);
                tree.remove(rank, 1);
                plain[rank as usize] += w;
                let ask = (r / 7) % size;
                prop_assert_eq!(tree.below(ask), plain[..ask as usize].iter().sum::<u32>());
            }
        }
    }
}
