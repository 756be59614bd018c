//! Numbers for tests that look like chance and are always the same.

/// The `k`-th of a stream of uniform numbers between 0 and 1 (`SplitMix64`).
pub(super) fn uniform(stream: u64, k: usize) -> f64 {
    let mut z = (stream << 40)
        .wrapping_add(k as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + 1e-17
}

/// A standard normal number, by Box and Muller.
pub(super) fn normal(stream: u64, k: usize) -> f64 {
    let (u, v) = (uniform(2 * stream, k), uniform(2 * stream + 1, k));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
