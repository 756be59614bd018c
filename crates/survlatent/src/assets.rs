//! What ships with the program, as bytes: nothing here needs Burn.

/// Generator (`G_ema`) and discriminator (`D`) of faces, 64 x 64 pixels, RGB, in half precision;
/// `stylegan2_burn::Checkpoint::from_bytes` opens them.
///
/// `z_dim` and `w_dim` are 512, W+ has 10 rows. Trained by this project on official portraits and
/// on volunteers' photographs with free licences: data, command, measurements and known faults are in
/// the model card, `assets/FACES_64.md`.
pub static FACES_64: &[u8] = include_bytes!("../assets/faces_64.safetensors");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_networks_are_whole() {
        let file = safetensors::SafeTensors::deserialize(FACES_64).expect("a safetensors file");
        let affine = file
            .tensor("G_ema.synthesis.b64.conv1.affine.weight")
            .unwrap();
        assert_eq!(affine.shape(), [32, 512]);
        assert!(file.tensor("D.b4.out.weight").is_ok());
        assert!(FACES_64.len() < 10_000_000, "small enough to ship");
    }
}
