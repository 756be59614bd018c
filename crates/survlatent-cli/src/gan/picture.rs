//! PNG files.

use std::path::Path;

use image::{ExtendedColorType, ImageEncoder};
use stylegan2_burn::image::Pixels;
use survlatent::OutputFile;

use crate::failure::Failure;

/// What the metadata of generated portraits say.
pub(crate) const SYNTHETIC: &str = "Synthetic portrait: made by a generative network, shows nobody";

/// Writes a PNG: gray, gray with alpha, RGB or RGBA for 1 to 4 channels.
pub(crate) fn write_png(path: &Path, picture: &Pixels) -> Result<(), Failure> {
    let bytes = encode(path, picture)?;
    Ok(OutputFile::create(path)?.write(&bytes)?)
}

/// The same with a line of text in its metadata, as its description.
pub(crate) fn write_labelled(path: &Path, picture: &Pixels, text: &str) -> Result<(), Failure> {
    // The signature and the header chunk, which comes first.
    const HEAD: usize = 8 + 25;
    let mut bytes = encode(path, picture)?;
    let rest = bytes.split_off(HEAD);
    bytes.extend(text_chunk("Description", text));
    bytes.extend(rest);
    Ok(OutputFile::create(path)?.write(&bytes)?)
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

fn encode(path: &Path, picture: &Pixels) -> Result<Vec<u8>, Failure> {
    let color = match picture.channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let mut bytes = Vec::new();
    let (width, height) = size(picture)?;
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(&picture.data, width, height, color)
        .map_err(|error| Failure::run(format!("{}: {error}", path.display())))?;
    Ok(bytes)
}

pub(crate) fn size(picture: &Pixels) -> Result<(u32, u32), Failure> {
    let side = |n: usize| {
        u32::try_from(n).map_err(|_| Failure::run(format!("a picture of {n} pixels a side")))
    };
    Ok((side(picture.width)?, side(picture.height)?))
}

/// A black picture like `picture`; opaque where there is an alpha channel.
pub(crate) fn blank(picture: &Pixels) -> Pixels {
    let mut data = vec![0; picture.data.len()];
    if let c @ (2 | 4) = picture.channels {
        data.iter_mut()
            .skip(c - 1)
            .step_by(c)
            .for_each(|a| *a = 255);
    }
    Pixels {
        data,
        ..picture.clone()
    }
}
