//! Bytes of any kind must load as a network that predicts and is written again, or give a typed error.
//!
//! `mkdir -p corpus/deepsurv && cargo +nightly fuzz run deepsurv corpus/deepsurv seeds`, from the folder
//! `crates/cox-survival/fuzz`; the seed is a file of `DeepSurvFit::save`.
#![no_main]

use cox_survival::Covariates;
use cox_survival::deep::DeepSurvFit;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(fit) = DeepSurvFit::from_bytes(bytes) {
        let p = fit.names().len();
        let zeros = vec![0.0; p];
        let x = Covariates::from_rows(&zeros, 1, p).expect("the shape");
        assert_eq!(fit.predict(&x).expect("as many columns as names").len(), 1);
        let curves = fit.survival(&x, &[0.0, 1.0, f64::INFINITY], 0);
        assert!(curves.is_ok() != fit.baseline_hazard().is_empty());
        let written = fit.to_bytes().expect("what was read can be written");
        let again = DeepSurvFit::from_bytes(&written).expect("what was written can be read");
        assert_eq!(again.to_bytes().expect("the same"), written);
    }
});
