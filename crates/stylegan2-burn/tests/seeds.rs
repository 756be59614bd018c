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

#[test]
fn great_circles_are_the_references() {
    use burn::tensor::Tensor;
    use common::{device, values};
    let golden = Golden::open("rng.safetensors");
    let row = |name: &str, k: i64| -> Tensor<2> {
        golden.tensor::<2>(name, &device()).slice_dim(0, k..k + 1)
    };
    for (k, &t) in (0..).zip(golden.values("slerp.t")) {
        let y = stylegan2_burn::slerp(row("slerp.a", k), row("slerp.b", k), t);
        let size = golden.values("slerp.y").len() / 4;
        let start = usize::try_from(k).unwrap() * size;
        let expected = &golden.values("slerp.y")[start..start + size];
        assert!(max_difference(&values(y), expected) < 1e-6, "row {k}");
    }
}
