//! Bytes of any kind must load as a consistent matrix or give a typed error.
//!
//! `mkdir -p corpus/latents && cargo +nightly fuzz run latents corpus/latents seeds/latents`, from the folder
//! `crates/survlatent/fuzz`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use survlatent::LatentsReader;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(latents) = LatentsReader::new().read_bytes(bytes) {
        assert_eq!(latents.values().len(), latents.n() * latents.p());
        let x = latents.covariates().expect("a matrix that loaded fits a model");
        let mut cells = (0..x.n()).flat_map(|i| (0..x.p()).map(move |j| (i, j)));
        assert!(cells.all(|(i, j)| x.get(i, j).is_finite()));
    }
});
