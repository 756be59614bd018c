//! PNG files that say what they show.

use image::{ExtendedColorType, ImageEncoder};

use crate::error::{Error, Result};

/// A picture of 1 to 4 interleaved channels as PNG, with a line of text in its metadata, as its
/// description.
pub(crate) fn encode(
    data: &[u8],
    [width, height]: [usize; 2],
    channels: usize,
    text: &str,
) -> Result<Vec<u8>> {
    let fault = |reason: String| Error::Format {
        format: "PNG",
        reason,
    };
    let color = match channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let side = |n: usize| u32::try_from(n).map_err(|_| fault(format!("{n} pixels a side")));
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(data, side(width)?, side(height)?, color)
        .map_err(|error| fault(error.to_string()))?;
    Ok(described(bytes, text))
}

/// A PNG file with a line of text in its metadata, as its description.
fn described(mut png: Vec<u8>, text: &str) -> Vec<u8> {
    // The signature and the header chunk, which comes first.
    const HEAD: usize = 8 + 25;
    let rest = png.split_off(HEAD);
    png.extend(text_chunk("Description", text));
    png.extend(rest);
    png
}

/// A chunk of the kind `tEXt` (PNG specification, 11.3.4.3).
fn text_chunk(keyword: &str, text: &str) -> Vec<u8> {
    let mut body = b"tEXt".to_vec();
    body.extend(keyword.bytes().chain([0]).chain(text.bytes()));
    let mut chunk = ((body.len() - 4) as u32).to_be_bytes().to_vec();
    let check = crc(&body);
    chunk.extend(body);
    chunk.extend(check.to_be_bytes());
    chunk
}

/// The checksum of chunks (PNG specification, annex D), bit by bit: chunks here are short.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (0xedb8_8320 * low);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checksum of the text "IEND" is in every PNG.
    #[test]
    fn the_checksum_is_that_of_png() {
        assert_eq!(crc(b"IEND"), 0xae42_6082);
    }
}
