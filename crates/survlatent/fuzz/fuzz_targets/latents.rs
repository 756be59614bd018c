//! Bytes of any kind must load as a consistent matrix or give a typed error.
//!
//! `cargo +nightly fuzz run latents`, from the folder `crates/survlatent`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use survlatent::LatentsReader;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(latents) = LatentsReader::new().read_bytes(bytes) {
        assert_eq!(latents.values().len(), latents.n() * latents.p());
        let x = latents.covariates().expect("a matrix that loaded fits a model");
        assert!(x.get(x.n() - 1, x.p() - 1).is_finite());
    }
});
