//! Any bytes: opening them and reading every tensor gives a value or a typed error.
//!
//! Run `cargo +nightly fuzz run checkpoint corpus/checkpoint seeds` in this folder.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stylegan2_burn::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Checkpoint::from_bytes(bytes.to_vec()) else { return };
    let names: Vec<String> = file.networks().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        for tensor in file.tensors(&name).into_iter().flatten() {
            let _ = file.tensor(&name, &tensor.name);
        }
    }
    let _ = file.to_string();
});
