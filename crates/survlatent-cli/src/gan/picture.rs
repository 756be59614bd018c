//! PNG files.

use std::path::Path;

use image::{ExtendedColorType, ImageEncoder};
use stylegan2_burn::image::Pixels;
use survlatent::OutputFile;

use crate::failure::Failure;

/// Writes a PNG: gray, gray with alpha, RGB or RGBA for 1 to 4 channels.
pub(crate) fn write_png(path: &Path, picture: &Pixels) -> Result<(), Failure> {
    let bytes = encode(path, picture)?;
    Ok(OutputFile::create(path)?.write(&bytes)?)
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
