//! Bytes of any kind must load as a consistent direction or give a typed error.
//!
//! `mkdir -p corpus/load && cargo +nightly fuzz run load corpus/load seeds`, from the folder
//! `crates/latent-attribute/fuzz`.
#![no_main]

use latent_attribute::HealthDirection;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(direction) = HealthDirection::from_bytes(bytes) {
        assert!(direction.risk_slope() < 0.0);
        let saved = direction.to_bytes().expect("a loaded direction can be saved");
        let again = HealthDirection::from_bytes(&saved).expect("a saved direction can be loaded");
        assert_eq!(again, direction);
        let _ = direction.to_string();
    }
});
