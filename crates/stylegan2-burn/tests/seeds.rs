//! The random generator against numpy.

mod common;

use common::{Golden, max_difference};
use stylegan2_burn::seed::RandomState;

#[test]
fn latents_are_numpys_bit_for_bit() {
    let golden = Golden::open("rng.safetensors");
    for seed in [0, 85, 123, 600] {
        let expected = golden.values(&format!("numpy.RandomState({seed}).randn(1,512)"));
        let drawn = RandomState::new(seed).randn(512);
        assert!(
            drawn
                .iter()
                .zip(expected)
                .all(|(a, b)| a.to_bits() == b.to_bits()),
            "seed {seed}"
        );
    }
    let expected = golden.values("numpy.RandomState(7).rand(8)");
    let mut state = RandomState::new(7);
    let drawn: Vec<f64> = (0..8).map(|_| state.uniform()).collect();
    assert!(max_difference(&drawn, expected) <= 0.0);
}

#[test]
fn a_long_stream_stays_in_step() {
    let golden = Golden::open("rng.safetensors");
    let drawn = RandomState::new(123).randn(10_000 * 512);
    let expected = golden.values("numpy.RandomState(123).randn(10000,512)[9999]");
    assert!(max_difference(&drawn[9999 * 512..], expected) <= 0.0);
}
