//! A photo of a cohort, as the generator's images are.

use std::io::Read as _;
use std::path::Path;

use burn::tensor::Tensor;
use sha2::{Digest, Sha256};

use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::photo::{Photo, PhotoLimits};
use crate::tensors::malformed;

/// The first 16 digits of the SHA-256 of some bytes: what tells one photo from another under the same name.
pub fn checksum(bytes: &[u8]) -> String {
    short(&Sha256::digest(bytes))
}

fn short(digest: &[u8]) -> String {
    let mut text = crate::hex(digest);
    text.truncate(16);
    text
}

/// The [`checksum`] of a file, piece by piece; none if it cannot be read.
pub(super) fn file_checksum(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(short(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// The checksum of a photo's file, and its picture as the generator's images are or why there is none.
pub(crate) fn open(
    path: &Path,
    limits: &PhotoLimits,
    decoder: &dyn Decoder,
) -> (Option<String>, Result<Tensor<4>, String>) {
    match limits.read(path) {
        Ok(bytes) => {
            let photo = Photo::decode(&bytes, limits).map_err(|fault| fault.to_string());
            let picture = photo.and_then(|photo| fit(&photo, decoder));
            (Some(checksum(&bytes)), picture)
        }
        // Too large to be read at once.
        Err(Error::Photo { fault, .. }) => (file_checksum(path), Err(fault.to_string())),
        Err(Error::Io { source, .. }) => (None, Err(source.to_string())),
        Err(error) => (None, Err(error.to_string())),
    }
}

/// Shrunk to the generator's size, in its channels.
fn fit(photo: &Photo, decoder: &dyn Decoder) -> Result<Tensor<4>, String> {
    let [channels, height, width] = decoder.shape();
    let (w, h) = (photo.width(), photo.height());
    if w % width != 0 || h % height != 0 || w / width != h / height {
        return Err(format!(
            "{w} x {h} pixels; the generator's pictures have {width} x {height}, see survlatent align"
        ));
    }
    let image = shrink(photo.to_tensor(&decoder.device()), w / width);
    match channels {
        3 => Ok(image),
        1 => Ok(image.mean_dim(1)),
        n => Err(format!("the generator's pictures have {n} channels")),
    }
}

/// A photo of a cohort as the generator's images are.
///
/// # Shapes
///
/// - output: `[1, C, H, W]` in [-1, 1]
///
/// # Errors
///
/// [`Error::Malformed`] with the reason for which [`Cohort::run`](super::Cohort::run) would set it aside.
pub fn open_face(
    path: impl AsRef<Path>,
    limits: &PhotoLimits,
    decoder: &dyn Decoder,
) -> Result<Tensor<4>> {
    let path = path.as_ref();
    open(path, limits, decoder)
        .1
        .map_err(|reason| malformed(path, reason))
}

/// Means over squares of `factor` x `factor` pixels.
fn shrink(image: Tensor<4>, factor: usize) -> Tensor<4> {
    if factor == 1 {
        return image;
    }
    let [n, c, h, w] = image.dims();
    let (h, w) = (h / factor, w / factor);
    image
        .reshape([n * c, h, factor, w, factor])
        .mean_dim(4)
        .mean_dim(2)
        .reshape([n, c, h, w])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn shrinking_takes_means_of_squares() {
        let device = Device::default();
        let x: Vec<f32> = (0..8).map(|v| v as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(x, [1, 1, 2, 4]), &device);
        assert_eq!(crate::floats(shrink(x, 2)), [2.5, 4.5]);
    }

    #[test]
    fn files_in_pieces_have_the_checksum_of_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        let bytes: Vec<u8> = (0..200_000_u32).map(|k| (k % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(file_checksum(&path), Some(checksum(&bytes)));
        assert_eq!(file_checksum(&folder.path().join("none")), None);
        // Of no bytes, as in every table of checksums.
        assert_eq!(checksum(b""), "e3b0c44298fc1c14");
    }
}
