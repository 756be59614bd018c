//! What ships with the program, as bytes: nothing here needs Burn.

/// Generator (`G_ema`) and discriminator (`D`) of faces, 64 x 64 pixels, RGB, in half precision;
/// `stylegan2_burn::Checkpoint::from_bytes` opens them.
///
/// `z_dim` is 24, `w_dim` 512, W+ has 10 rows. Trained by this project on official portraits and
/// on volunteers' photographs with free licences: data, command, measurements and known faults are in
/// the model card, `assets/FACES_64.md`.
pub static FACES_64: &[u8] = include_bytes!("../assets/faces_64.safetensors");

/// The encoder of [`FACES_64`], from a portrait to W; `latent_inversion::Encoder::from_bytes` opens
/// it. What it was trained on and how well it does is in the same model card.
pub static FACES_64_ENCODER: &[u8] = include_bytes!("../assets/faces_64_encoder.safetensors");

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
        let file = safetensors::SafeTensors::deserialize(FACES_64_ENCODER).expect("an encoder");
        assert_eq!(file.tensor("output.weight").unwrap().shape()[0], 512);
        assert!(FACES_64_ENCODER.len() < 10_000_000, "small enough to ship");
    }
}
