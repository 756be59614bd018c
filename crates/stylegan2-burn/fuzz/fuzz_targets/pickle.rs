//! Pickles only: the first bytes are those of one, so that nothing goes to the other readers.
//!
//! Run `cargo +nightly fuzz run pickle corpus/pickle seeds` in this folder.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stylegan2_burn::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let mut pickle = bytes.to_vec();
    if pickle.len() < 2 { return };
    pickle[0] = 0x80;
    pickle[1] = 2 + pickle[1] % 4;
    let Ok(file) = Checkpoint::from_bytes(pickle) else { return };
    for name in ["G", "D", "G_ema"] {
        for tensor in file.tensors(name).into_iter().flatten() {
            let _ = file.tensor(name, &tensor.name);
        }
    }
});
