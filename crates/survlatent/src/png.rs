//! PNG files that may say what they show.

use image::{ExtendedColorType, ImageEncoder};

use crate::error::{Error, Result};

/// A picture of 1 to 4 interleaved channels (gray, gray with alpha, RGB, RGBA) as PNG, with a line of
/// text in its metadata, as its description, where one is given.
///
/// # Errors
///
/// [`Error::Format`] if `data` is not `width * height * channels` long, or a side is beyond what PNG
/// can have.
pub fn encode(
    data: &[u8],
    [width, height]: [usize; 2],
    channels: usize,
    text: Option<&str>,
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
    let values = width
        .checked_mul(height)
        .and_then(|n| n.checked_mul(channels));
    if values != Some(data.len()) {
        return Err(fault(format!(
            "{} values for {width} x {height} pixels of {channels} channels",
            data.len()
        )));
    }
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(data, side(width)?, side(height)?, color)
        .map_err(|error| fault(error.to_string()))?;
    Ok(match text {
        Some(text) => described(bytes, text),
        None => bytes,
    })
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

    #[test]
    fn pictures_come_back_with_and_without_a_description() {
        let data: Vec<u8> = (0..2 * 3 * 4).map(|v| v * 9).collect();
        for (text, there) in [(None, false), (Some("a face"), true)] {
            let png = encode(&data, [2, 3], 4, text).unwrap();
            let back = image::load_from_memory(&png).unwrap().to_rgba8();
            assert_eq!((back.width(), back.height()), (2, 3));
            assert_eq!(back.into_raw(), data);
            assert_eq!(png.windows(6).any(|w| w == b"a face"), there);
        }
        let error = encode(&data, [2, 2], 4, None).unwrap_err().to_string();
        assert!(error.contains("24 values"), "{error}");
    }

    /// The checksum of the text "IEND" is in every PNG.
    #[test]
    fn the_checksum_is_that_of_png() {
        assert_eq!(crc(b"IEND"), 0xae42_6082);
    }
}
